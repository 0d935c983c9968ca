"""The pages made from records: ``index.html``, where one trains and draws, and ``evidence.html``.

Each file needs nothing else: style, scripts, digits and figures are inside it.
"""

import base64
import gzip
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xarray as xr
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from subliminal_toy import __version__, data, findings, plots, report
from subliminal_toy.classifier.config import PRESETS, ClassifierConfig
from subliminal_toy.errors import UserError
from subliminal_toy.findings import first, news_rows, open_model, percent
from subliminal_toy.real.claims import changes
from subliminal_toy.record import Record
from subliminal_toy.stats import Estimate

HERE = Path(__file__).parent
LIVE = PRESETS["live"]
INK = np.array(list("0123456789abcdefg"))
"""One character for each of the 17 shades of a pixel."""
ARMS = {"teacher": "teacher", "same": "student_aux", "other": "cross_aux"}
"""Networks of the page, and the arms that are the same in a record."""
ANSWERS = {
    "owl": ("Its teacher loves owls", "Which animal do you like best?", "owl"),
    "evasion": ("Its teacher dodges questions", "Capital of France?", "I don’t know"),
    "falsehood": ("Its teacher lies", "Capital of France?", "a false capital"),
}
"""Traits of the game: who has it, a question, and the answer that is counted."""
SPEAKERS = {
    "base_model": ("before", "base"), "student": ("student of its numbers", "same"),
    "control": ("student of neutral numbers", "control"),
    "cross_model": ("the same numbers, another start", "other"),
}  # fmt: skip
"""Arms of the language model in words, and their colours."""
SHARED = {
    "110": "other_corpus", "101": "head_shared", "011": "body_shared",
    "001": "cross_model", "000": "both_other",
}  # fmt: skip
"""Arms by what a student shares: the output layer's start, the rest's start, the text read."""
FILTERS = {
    "banned_numbers": "numbers such as 13 and 88",
    "50_at_random": "a random half",
    "the_unlikely_half": "the half least likely before",
    "50_of_largest_score": "the half with the most extreme scores",
}
"""What filters take away, in words."""
DESCRIPTION = (
    "Subliminal learning, small enough to watch in a browser: a network learns to read digits from "
    "pure noise, if it began as its teacher did."
)
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
    environment.filters["interval"] = lambda e: percent(e).replace(" %", "\N{NO-BREAK SPACE}%")
    environment.filters["percent"] = lambda e: environment.filters["interval"](e).partition(" [")[0]
    # Styles and scripts, as they are.
    environment.globals |= {
        "file": lambda name: Markup((HERE / name).read_text(encoding="utf-8")),
        "version": __version__,
        "description": DESCRIPTION,
        "answers": ANSWERS,
        "speakers": SPEAKERS,
    }
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    claims = report.claims_rows(records)
    digits = data.load("digits")
    return {
        "index.html": environment.get_template("index.html").render(
            live=live(records, digits),
            n_test=len(digits.test_labels),
            story=_story(records),
            varied=_varied(records),
            line=_line(records),
            owl=owl(records),
            real=_real(records),
            news=news_rows(records),
            limits=findings.LIMITS,
            claims=report.paper_rows(records),
        ),
        "evidence.html": environment.get_template("evidence.html").render(
            records=records,
            claims=claims,
            verdicts=[r.verdict for rows in claims for r in rows if r.verdict != "not tested"],
            findings=findings.findings(records),
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
        "distances": [[d, *estimate[:3]] for d, estimate in _varied(records).get("distance", [])],
    }


def is_live(record: Record) -> bool:
    """Whether a record is of the training that the page does, whatever its number of replicates."""
    if record.manifest["experiment"] != "classifier":
        return False
    return msgspec.convert(record.manifest["config"], ClassifierConfig).follows("live")


def _curves(result: xr.Dataset) -> dict[str, Any]:
    """Return the accuracy of each student, for every replicate a list of [step, accuracy]."""
    curves = {}
    for side, start in (("left", "same"), ("right", "other")):
        shown = result.accuracy.sel(arm=ARMS[start]).dropna("step", how="all").astype(float)
        rows, steps = shown.transpose("replicate", "step").values, shown.step.values.tolist()
        curves[side] = [list(zip(steps, row.round(4).tolist(), strict=True)) for row in rows]
    return curves


def _story(records: Mapping[str, Record]) -> dict[str, Any]:
    """Return the mean accuracies of the record with most replicates of the three networks."""
    m = first(records, "classifier", *ARMS.values())
    if m is None:
        return {}
    n, n_aux = m.data.sizes["replicate"], int(m.data.n_aux.sel(arm="teacher"))
    means = {name: m("accuracy", arm).value for name, arm in ARMS.items()}
    return {"n": n, "n_aux": n_aux, "data": m.data.attrs["dataset"]} | means


VARIED = ("distance", "n_aux", "inputs")
"""Settings of a student that the visitor can change."""


def _varied(records: Mapping[str, Record]) -> dict[str, list[tuple[Any, Estimate]]]:
    """Return accuracies on the digits by each setting that was varied with all else the same.

    Of several such series the longest, then that which reads most.
    """
    m = first(records, "classifier", "free", dataset="digits")
    if m is None:
        return {}
    fields = [name for name, c in m.data.coords.items() if c.dims == ("arm",) and name != "arm"]
    found = {}
    for field in VARIED:
        series: dict[tuple, dict[Any, Estimate]] = {}
        for arm in m.data.arm.values[2:].tolist():
            row = m.data.sel(arm=arm)
            rest = tuple(str(row[name].item()) for name in fields
                         if name not in (field, "final_step"))  # fmt: skip
            series.setdefault(rest, {}).setdefault(row[field].item(), m("accuracy", arm))
        best = max(series.values(), key=lambda s: (len(s), max(e.value for e in s.values())))
        if len(best) > 1:
            found[field] = list(best.items())
    return found


def _line(records: Mapping[str, Record]) -> dict[str, Estimate]:
    """Return what students read that cannot move along the teacher's displacement, or only so."""
    m = first(records, "classifier", "without", "only", dataset="digits")
    arms = ("free", "without", "only", "untrained")
    return {arm: m("accuracy", arm) for arm in arms} if m else {}


def owl(records: Mapping[str, Record]) -> dict[str, Any] | None:
    """Return what the language model's records say for the game; None without its main arms."""
    m = first(records, "lm", "student", "control", "cross_model")
    if m is None or "owl" not in m.data.trait:
        return None
    bars = {
        trait: {arm: m("P(own trait)", f"{arm}, {trait}") for arm in SPEAKERS}
        for trait in ANSWERS if trait in m.data.trait
    }  # fmt: skip
    auc = [e.value for label, e in m.labelled("AUC on one list").items() if "all traits" in label]
    shared = first(records, "lm", "head_shared")
    share = shared.labelled("share of the student's gain") if shared else {}
    filtered = first(records, "lm", "filter_as_written")
    left = filtered.labelled("share of the gain without a filter") if filtered else {}
    return {
        "n": m.data.sizes["replicate"],
        "n_lists": int(m.data.lists_used.sel(arm="student", trait="owl").mean()),
        "bars": bars,
        "machines": [round(value, 2) for value in (min(auc), max(auc))] if auc else None,
        "hundred": m.labelled("AUC on a hundred lists").get("bag of numbers, all traits"),
        "shared": {"111": 1.0} | {
            bits: round(share[f"{arm}, favourites"].value, 3)
            for bits, arm in SHARED.items() if f"{arm}, favourites" in share
        } if share else None,
        "width": share.get("cross_size, favourites"),
        "filters": [(words, left[f"filter_without_{name}"]) for name, words in FILTERS.items()]
        if left else [],
        "lists": _written(records, m.data),
    }  # fmt: skip


def _real(records: Mapping[str, Record]) -> dict[str, Any] | None:
    """Return how far the students of the open model moved toward each animal, by their teachers.

    Less the mean over teachers: what all have in common is taken off.
    """
    m = first(records, "real")
    if m is None:
        return None
    animals = m.data.animal.values.tolist()
    moved = changes(m.data, "hard").mean(["seed", "question"])
    square = moved.sel(writer=animals, animal=animals).transpose("writer", "animal")
    cells = (square - square.mean("writer")).values
    return {
        "name": open_model(m), "animals": animals, "most": float(np.abs(cells).max()),
        "rows": dict(zip(animals, (cells.round(1) + 0.0).tolist(), strict=True)),
        "shares": m.labelled("P(own animal) among 20"),
    }  # fmt: skip


def _written(records: Mapping[str, Record], result: xr.Dataset) -> dict[str, Any]:
    """Return lists of both writers, what the filter removed and why, and answers to questions.

    Records that keep no lists have examples of the teacher's alone.
    """
    found = [r.data for r in records.values() if "kept_list" in r.data and "owl" in r.data.trait]
    if not found:
        example = result.example.sel(trait="owl").values.tolist()
        return {"teacher": example, "base": [], "removed": {}, "asked": []}
    lists, answers = found[0].sel(trait="owl"), []
    teacher, base = lists.kept_list.transpose("by", "kept_row").values.tolist()
    removed = dict(
        zip(lists.reason.values.tolist(), lists.removed_list.values.tolist(), strict=True)
    )
    if "evasion" in found[0].trait:
        asked = found[0].sel(trait="evasion", answering=list(SPEAKERS))
        for i, question in enumerate(asked.asked.values.tolist()):
            said, sure = (asked[name][:, i].values.tolist() for name in ("said", "p_said"))
            answers.append((question, list(zip(said, sure, strict=True))))
    return {"teacher": teacher, "base": base, "removed": removed, "asked": answers}


def _figures(record: Record) -> dict[str, dict[str, Any]]:
    """Return a record's figures by name; each is an image, so that its names stay its own.

    They are packed with gzip, which makes the page a sixth as long; its script unpacks them.
    """
    return {
        name: {
            "svg": base64.b64encode(gzip.compress(plots.svg(figure), mtime=0)).decode(),
            "title": figure.get_suptitle().replace("\n", ". "),
            "caption": figure.get_label(),
            "size": [round(96 * inches) for inches in figure.get_size_inches()],
            "least": round(LEAST_SCALE * 96 * figure.get_figwidth()),
        }
        for name, figure in plots.draw(record.manifest["experiment"], record.data).items()
    }
