"""What is rendered from the templates: the README's blocks, and the page.

The page is one HTML file that needs nothing else: style, script, figures and the arrays that the
script uses are inside it.
"""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from subliminal_toy import __version__, plots
from subliminal_toy.errors import UserError, printable
from subliminal_toy.records import Record
from subliminal_toy.report import tables
from subliminal_toy.report.payloads import PAYLOADS
from subliminal_toy.report.tables import SECTIONS, Records
from subliminal_toy.stats import NOT_TESTED, REPRODUCED

HERE = Path(__file__).parent


def markdown_text(value: Any) -> str:
    """Escape what Markdown would take for markup, a link or the end of a cell."""
    if isinstance(value, Markup):
        return value
    line = printable(str(value)).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*~$|\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)


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
    }
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    return environment


MARKDOWN = _environment(markdown_text, autoescape=False)
"""Whatever a template writes between braces is escaped, unless it is marked as safe."""
HTML = _environment(None, autoescape=True)
"""Likewise, by Jinja itself."""


BLOCKS = ("findings", "claims", "criteria", "published")
"""Blocks of Markdown that are made from records, each by the template of its name: the findings in
sentences, the claims without and with their criteria, and the accuracies beside the paper's."""


def block(name: str, records: Records) -> str:
    """Return one of ``BLOCKS`` in Markdown."""
    template = MARKDOWN.get_template(f"{name}.md")
    return template.render(rows=tables.claims_rows(records), records=records).strip()


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
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{block(name, records)}\n{end}{after}"
    return text


def page(records: Records) -> str:
    """Return the page: claims, then for each record what to try, its figures, its provenance.

    The same records give the same bytes. Raises UserError if there are none, or one of an
    experiment that has no section.
    """
    if not records:
        raise UserError("A report needs at least one finished record.")
    experiments = [record.manifest["experiment"] for record in records.values()]
    for unknown in set(experiments) - set(SECTIONS):
        raise UserError(f"The page has no section for the experiment '{unknown}'.")
    order = list(SECTIONS).index
    ordered = sorted(records.items(), key=lambda item: order(item[1].manifest["experiment"]))
    rows = tables.claims_rows(dict(ordered))
    return HTML.get_template("page.html").render(
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
        rows=rows,
        n_tested=sum(row.verdict != NOT_TESTED for row in rows),
        n_reproduced=sum(row.verdict == REPRODUCED for row in rows),
        several=[name for name in SECTIONS if experiments.count(name) > 1],
        entries={folder: _entry(f"record-{i}", r) for i, (folder, r) in enumerate(ordered)},
        version=__version__,
    )


def _entry(anchor: str, record: Record) -> dict[str, Any]:
    """Return what the page shows of a record; figures are images, so their names stay their own."""
    experiment, figures = record.manifest["experiment"], plots.draw(record)
    return {
        "anchor": anchor,
        "words": SECTIONS[experiment],
        "dataset": record.summary.get("dataset"),
        "data": PAYLOADS[experiment](record),
        "images": {n: base64.b64encode(plots.svg(f)).decode() for n, f in figures.items()},
        "manifest": record.manifest,
    }
