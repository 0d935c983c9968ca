"""What is rendered from the templates: the README's blocks, and the page.

The page is one HTML file that needs nothing else: style, script, figures and the arrays that the
script uses are inside it.
"""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import image

from subliminal_toy import __version__, plots
from subliminal_toy.errors import UserError, printable
from subliminal_toy.plots.classifier import LABELS
from subliminal_toy.plots.theorem import NETWORKS
from subliminal_toy.records import Record
from subliminal_toy.report import live, tables
from subliminal_toy.report.payloads import PAYLOADS
from subliminal_toy.report.tables import SECTIONS, WORDS, Records
from subliminal_toy.stats import NOT_TESTED, REPRODUCED

HERE = Path(__file__).parent
LEAST_SCALE = 0.7
"""Figures are shown at this part of their size at least, so that labels stay legible."""


class Finding(NamedTuple):
    """What a record of an experiment says: a title, a plain sentence, and its numbers."""

    experiment: str
    title: str
    text: str
    numbers: str


def markdown_text(value: Any) -> str:
    """Escape what Markdown would take for markup, a link or the end of a cell."""
    if isinstance(value, Markup):
        return value
    line = printable(str(value)).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*~$|\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)


def _on_one_line(value: Any) -> str:
    """Keep what a record says from ending a line or a field of the findings."""
    return printable(str(value)).replace("|", "¦")


def _environment(finalize: Callable[[Any], Any] | None, autoescape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE, encoding="utf-8"),
        autoescape=autoescape,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        # Of digits, points and brackets of our own.
        "number": lambda value, decimals: Markup(tables.number(value, decimals)),
        "measured": lambda estimate: Markup(tables.measured(estimate["mean"], estimate["ci95"])),
        "percent": lambda estimate, unit=" %": Markup(tables.percent(estimate, unit)),
        "setting": tables.setting,
        "read": tables.read,
        "plain": plain,
        "unfold": lambda figures, main: [n for n, f in figures.items() if f.get("main", 0) == main],
        "emphasised": lambda line: Markup(re.sub(r"\*(\w+)\*", r"<em>\1</em>", line)),
    }
    environment.globals |= {k: WORDS[k] for k in ("limits", "why", "glossary")}
    environment.globals |= {"section_words": SECTIONS, "arms": LABELS, "networks": NETWORKS}
    # Styles and scripts, as they are.
    environment.globals["file"] = lambda name: Markup((HERE / name).read_text(encoding="utf-8"))
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    return environment


def plain(criterion: str) -> str:
    """Return a criterion with its arms in words: those that have none, without underscores."""
    return re.sub(
        r"\b[a-z]+_[a-z_]+\b",
        lambda name: LABELS.get(name[0]) or name[0].replace("_", " "),
        criterion,
    )


MARKDOWN = _environment(markdown_text, autoescape=False)
"""Whatever a template writes between braces is escaped, unless it is marked as safe."""
HTML = _environment(None, autoescape=True)
"""Likewise, by Jinja itself."""
TEXT = _environment(_on_one_line, autoescape=False)
"""Plain lines; what is made of them escapes them."""
BLOCKS = ("opening", "findings", "claims", "criteria", "published", "limits")
"""Blocks of Markdown, each by the template of its name: what a newcomer reads first, the findings
in sentences, the claims without and with their criteria, the accuracies beside the paper's, and
what is not shown."""


def findings(records: Records) -> list[Finding]:
    """Return what the records say in sentences, in the order of the page's sections."""
    extra = tables.supplements(records)
    lines = TEXT.get_template("sentences.md").render(records=records, extra=extra).splitlines()
    found = [Finding(*line.split("|")) for line in lines if line.strip()]
    return sorted(found, key=lambda finding: list(SECTIONS).index(finding.experiment))


def block(name: str, records: Records) -> str:
    """Return one of ``BLOCKS`` in Markdown."""
    rows = tables.by_kind(tables.claims_rows(records))
    return (
        MARKDOWN.get_template(f"{name}.md")
        .render(rows=rows, findings=findings(records), records=records, story=_story(records))
        .strip()
    )


def update_blocks(text: str, records: Records) -> str:
    """Rewrite each block of ``BLOCKS`` that ``text`` has: ``<!-- name -->`` … ``<!-- /name -->``.

    Raises UserError if there is none, or if markers are not in pairs, each once and in this order.
    """
    present = [name for name in BLOCKS if f"<!-- {name} -->" in text or f"<!-- /{name} -->" in text]
    if not present:
        raise UserError(f"The text has no block: <!-- {' -->, <!-- '.join(BLOCKS)} -->.")
    for name in present:
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise UserError(f"The text must hold {begin} and then {end}, each once.")
        before, after = text.partition(begin)[0], text.partition(end)[2]
        text = f"{before}{begin}\n{block(name, records)}\n{end}{after}"
    return text


def page(records: Records) -> str:
    """Return the page: the story, what was measured, why, language, limits, claims, provenance.

    The same records give the same bytes. Raises UserError if there are none, or one of an
    experiment that has no section.
    """
    if not records:
        raise UserError("A report needs at least one finished record.")
    # What stands side by side begins with the most replicates, whose record is the story's.
    n = {folder: record.summary.get("n_replicates", 0) for folder, record in records.items()}
    records = {folder: records[folder] for folder in sorted(records, key=lambda f: -n[f])}
    experiments = [record.manifest["experiment"] for record in records.values()]
    for unknown in set(experiments) - set(SECTIONS):
        raise UserError(f"The page has no section for the experiment '{unknown}'.")
    rows = tables.by_kind(tables.claims_rows(records))
    entries = {folder: _entry(f"record-{i}", r) for i, (folder, r) in enumerate(records.items())}
    for folder in tables.supplements(records):
        shown = {name for f, entry in entries.items() if f != folder for name in entry["images"]}
        new = {k: v for k, v in entries[folder]["images"].items() if k not in shown}
        entries[folder] |= {"images": new, "data": None}
    return HTML.get_template("page.html").render(
        live=live.payload(records),
        rows=rows,
        n_tested=sum(row.verdict != NOT_TESTED for row in rows),
        n_reproduced=sum(row.verdict == REPRODUCED for row in rows),
        story=_story(records),
        strips=_strips(_story(records)),
        findings=findings(records),
        entries=entries,
        sections={
            name: {folder: e for folder, e in entries.items() if e["experiment"] == name}
            for name in SECTIONS
            if name in experiments
        },
        version=__version__,
    )


def _entry(anchor: str, record: Record) -> dict[str, Any]:
    """Return what the page shows of a record; figures are images, so their names stay their own."""
    experiment, figures = record.manifest["experiment"], plots.draw(record)
    return {
        "anchor": anchor,
        "experiment": experiment,
        "setting": tables.setting(record),
        "summary": record.summary,
        "data": PAYLOADS[experiment](record),
        "images": {
            name: {
                "svg": base64.b64encode(plots.svg(figure)).decode(),
                "least": round(LEAST_SCALE * 96 * figure.get_figwidth()),
            }
            for name, figure in figures.items()
        },
        "manifest": record.manifest,
    }


def _story(records: Records) -> Record | None:
    """Return the record that the story is told of: the classifier of the most replicates."""
    found = [r for r in records.values() if r.manifest["experiment"] == "classifier"]
    return max(found, key=lambda r: r.summary["n_replicates"], default=None)


def _strips(record: Record | None) -> dict[str, str]:
    """Return six test images and six of noise, each a PNG in base64, white columns in between."""
    if record is None:
        return {}
    digits = record.data.sample_images.values[:6]
    # As students see it: every pixel by itself, evenly between black and white.
    noise = np.random.default_rng(0).uniform(-1, 1, digits.shape)
    strips = {}
    for name, images in (("digits", digits), ("noise", noise)):
        apart = np.pad(images, ((0, 0), (0, 0), (0, 1)), constant_values=1)
        strip = np.concatenate(list(apart), axis=1)[:, :-1]
        buffer = io.BytesIO()
        image.imsave(buffer, strip, cmap="gray", vmin=-1, vmax=1, format="png")
        strips[name] = base64.b64encode(buffer.getvalue()).decode()
    return strips
