"""The pages made from records: ``index.html``, where one trains and draws, and ``evidence.html``.

Each file needs nothing else: style, scripts, digits and figures are inside it.
"""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xarray as xr
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from subliminal_toy import __version__, data, plots, report
from subliminal_toy.classifier.config import PRESETS, ClassifierConfig
from subliminal_toy.errors import UserError
from subliminal_toy.record import Record

HERE = Path(__file__).parent
LIVE = PRESETS["live"]
INK = np.array(list("0123456789abcdefg"))
"""One character for each of the 17 shades of a pixel."""
ARMS = {"teacher": "teacher", "same": "student_aux", "other": "cross_aux"}
"""Networks of the page, and the arms that are the same in a record."""
CURVES = ("accuracy", "imitation_loss", "progress")
"""What the page draws on steps, as in a record."""
LEAST_SCALE = 0.7
"""Figures are shown at this part of their size at least, so that labels stay legible."""


def pages(records: Mapping[str, Record]) -> dict[str, str]:
    """Return the pages by file name; the same records, by their folders, give the same bytes.

    Raises UserError if there are no records.
    """
    if not records:
        raise UserError("A page needs at least one finished record.")
    environment = Environment(
        loader=FileSystemLoader(HERE, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["anchor"] = lambda path: re.sub(r"\W+", "-", path.removesuffix(".svg"))
    environment.filters["emphasised"] = lambda text: Markup(
        re.sub(r"\*(\w+)\*", r"<em>\1</em>", str(escape(text)))
    )
    # Styles and scripts, as they are.
    environment.globals |= {
        "file": lambda name: Markup((HERE / name).read_text(encoding="utf-8")),
        "version": __version__,
    }
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    rows = report.claims_rows(records)
    digits = data.load("digits")
    return {
        "index.html": environment.get_template("index.html").render(
            live=live(records, digits),
            n_test=len(digits.test_labels),
            story=_story(records),
            limits=report.limits,
            claims=[
                [row for row in rows if row.id == id] for id in dict.fromkeys(r.id for r in rows)
            ],
            verdicts=[row.verdict for row in rows if row.verdict != "not tested"],
        ),
        "evidence.html": environment.get_template("evidence.html").render(
            records=records,
            findings=report.findings(records),
            figures={folder: _figures(record) for folder, record in records.items()},
        ),
    }


def live(records: Mapping[str, Record], digits: data.Dataset) -> dict[str, Any]:
    """Return what the live training needs: digits, protocol, stored curves (None without any)."""

    def packed(images: np.ndarray, labels: np.ndarray) -> dict[str, str]:
        shades = np.rint((images.ravel() + 1) * 8).astype(int)
        return {"images": "".join(INK[shades]), "labels": "".join(map(str, labels))}

    return {
        "data": {
            "train": packed(digits.train_images, digits.train_labels),
            "test": packed(digits.test_images, digits.test_labels),
        },
        "protocol": {
            "hidden": LIVE.hidden_sizes,
            "outputs": LIVE.n_aux,
            "epochs": LIVE.teacher_epochs,
            "batch": LIVE.batch_size,
            "teacherRate": LIVE.learning_rate,
            "studentRate": LIVE.student_rate_ratio * LIVE.learning_rate,
            "steps": LIVE.n_inputs // LIVE.batch_size,
        },
        "stored": next((_curves(r.data) for r in records.values() if is_live(r)), None),
    }


def is_live(record: Record) -> bool:
    """Whether a record is of the training that the page does, whatever its number of replicates."""
    if record.manifest["experiment"] != "classifier":
        return False
    return msgspec.convert(record.manifest["config"], ClassifierConfig).follows("live")


def _measured(result: xr.Dataset, name: str, arm: str) -> xr.DataArray:
    """Return a measure of an arm (replicate, step), at the steps at which the arm was measured."""
    return result[name].sel(arm=arm).dropna("step", how="all").transpose("replicate", "step")


def _curves(result: xr.Dataset) -> dict[str, Any]:
    """Return the steps, and of each student its curves, a list for every replicate."""
    curves: dict[str, Any] = {}
    for start in ("same", "other"):
        measured = {name: _measured(result, name, ARMS[start]) for name in CURVES}
        curves["steps"] = measured["accuracy"].step.values.tolist()
        curves[start] = {k: v.values.astype(float).round(6).tolist() for k, v in measured.items()}
    return curves


def _story(records: Mapping[str, Record]) -> dict[str, Any]:
    """Return the mean accuracies of the record with most replicates of the three networks."""
    results = [r.data for r in records.values() if r.manifest["experiment"] == "classifier"]
    results = [result for result in results if set(ARMS.values()) <= set(result.arm.values)]
    if not results:
        return {}
    result = max(results, key=lambda result: result.sizes["replicate"])
    means = {k: _measured(result, "accuracy", a)[:, -1].mean().item() for k, a in ARMS.items()}
    n, n_aux = result.sizes["replicate"], int(result.n_aux.sel(arm="teacher"))
    return {"n": n, "n_aux": n_aux, "data": result.attrs["dataset"]} | means


def _figures(record: Record) -> dict[str, dict[str, Any]]:
    """Return a record's figures by name; each is an image, so that its names stay its own."""
    return {
        name: {
            "svg": base64.b64encode(plots.svg(figure)).decode(),
            "title": figure.get_suptitle().replace("\n", ". "),
            "caption": figure.get_label(),
            "least": round(LEAST_SCALE * 96 * figure.get_figwidth()),
        }
        for name, figure in plots.draw(record.manifest["experiment"], record.data).items()
    }
