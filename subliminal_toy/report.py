"""Records in words: the claims table for terminal, README and page, and the page itself.

The page is one HTML file that needs nothing else: style, script, figures and the arrays to play
with are inside it. It computes nothing but what its reader asks of it.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure

from subliminal_toy import __version__, plots
from subliminal_toy.errors import UserError
from subliminal_toy.report_data import PAYLOADS
from subliminal_toy.report_words import FIGURES, SECTIONS, Shown
from subliminal_toy.results import Record
from subliminal_toy.stats import NOT_REPRODUCED, NOT_TESTED, REPRODUCED

Records = Mapping[str, Record]
"""Records by the folder they stand in, as their reader will write it."""


class ClaimRow(NamedTuple):
    """One line of the claims table, as text; ``figure`` is "" where no figure shows the claim."""

    id: str
    statement: str
    dataset: str
    measured: str
    n: str
    criterion: str
    verdict: str
    record: str
    figure: str


def claims_rows(records: Records) -> list[ClaimRow]:
    """Return the claims of all records: the one source of terminal, README and page."""
    return [
        ClaimRow(
            claim["id"], claim["statement"], record.summary["dataset"] or "",
            _measured(claim["value"], claim["interval"]), f"{claim['n']:,}",
            claim["criterion"], claim["verdict"], where, _figure_of(record, claim["id"]),
        )
        for where, record in records.items()
        for claim in record.summary["claims"]
    ]  # fmt: skip


def _measured(value: float, interval: Sequence[float] | None) -> str:
    """Format with the decimals that show the interval's width to two figures, three at least."""
    if not interval:
        return _number(value, 3)
    width = interval[1] - interval[0]
    decimals = 3 if width <= 0 else min(max(3, 1 - int(np.floor(np.log10(width)))), 6)
    lower, upper = (_number(end, decimals) for end in interval)
    return f"{_number(value, decimals)} [{lower}, {upper}]"


def _number(value: float, decimals: int) -> str:
    rounded = round(value, decimals) + 0.0  # no minus zero
    return f"{rounded:.{decimals}f}".replace("-", "−")


def _figure_of(record: Record, claim: str) -> str:
    figures = FIGURES.get(record.manifest["experiment"], {})
    return next((name for name, shown in figures.items() if claim in shown.claims), "")


def claims_markdown(records: Records) -> str:
    """Return the claims table in Markdown, each line with links to its figure and its record."""
    lines = [
        "| | claim | ours [95 % interval] | n | criterion | verdict | from |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in claims_rows(records):
        folder = quote(row.record)
        links = f"[{_cell(row.record)}]({folder}/)"
        if row.figure:
            links = f"[figure]({folder}/{row.figure}.svg), {links}"
        statement = f"{row.statement} ({row.dataset})" if row.dataset else row.statement
        cells = (row.id, statement, row.measured, row.n, row.criterion, row.verdict)
        lines.append("| " + " | ".join((*map(_cell, cells), links)) + " |")
    return "\n".join(lines)


def published_markdown(records: Records) -> str:
    """Return, in Markdown, the means beside the paper's for runs that follow its protocol."""
    lines = [
        "| condition | ours [95 % interval] | n | paper | difference | in standard errors | from |",
        "|---|---|---|---|---|---|---|",
    ]
    for where, record in records.items():
        for name, theirs in (record.summary.get("published") or {}).items():
            ours, z = record.summary["conditions"][name], theirs["z"]
            cells = (
                name, _measured(ours["mean"], ours["ci95"]), str(ours["n"]),
                _number(theirs["published"], 3), _number(theirs["difference"], 3),
                "" if z is None else _number(z, 1),
            )  # fmt: skip
            lines.append("| " + " | ".join((*cells, f"[{_cell(where)}]({quote(where)}/)")) + " |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Escape what would end a cell or begin a tag in Markdown."""
    return " ".join(escape(text, quote=False).split()).replace("|", "\\|")


def update_block(text: str, name: str, content: str) -> str:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises UserError unless both markers are there once and in this order.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"The text must hold {begin} and then {end}, each once.")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def page(records: Records) -> str:
    """Return the page: claims, then for each record what to try, its figures, where it is from.

    The same records give the same bytes. Raises UserError if there are none.
    """
    if not records:
        raise UserError("A report needs at least one finished record.")
    known = list(SECTIONS)
    ordered = sorted(
        records.items(), key=lambda item: [*known, _kind(item[1])].index(_kind(item[1]))
    )
    anchors = {where: f"record-{number}" for number, (where, _) in enumerate(ordered)}
    here = Path(__file__)
    return Template(here.with_suffix(".html").read_text(encoding="utf-8")).substitute(
        style=here.with_suffix(".css").read_text(encoding="utf-8"),
        script=here.with_suffix(".js").read_text(encoding="utf-8"),
        links=_links(ordered, anchors),
        claims=_claims_table(claims_rows(dict(ordered)), anchors),
        sections="\n".join(_section(anchors[where], where, record) for where, record in ordered),
        version=__version__,
    )


def _links(ordered: list[tuple[str, Record]], anchors: Mapping[str, str]) -> str:
    """Return the table of contents; records of one experiment are told apart by their folders."""
    titles = [_title(record) for _, record in ordered]
    return "".join(
        f'<li><a href="#{anchors[where]}">{escape(title)}'
        + (f" ({escape(where)})" if titles.count(title) > 1 else "")
        + "</a></li>"
        for title, (where, _) in zip(titles, ordered, strict=True)
    )


def _kind(record: Record) -> str:
    return record.manifest["experiment"]


def _title(record: Record) -> str:
    return SECTIONS[_kind(record)].title if _kind(record) in SECTIONS else _kind(record)


VERDICT_CLASSES = {REPRODUCED: "met", NOT_REPRODUCED: "missed", NOT_TESTED: "untested"}


def _claims_table(rows: list[ClaimRow], anchors: Mapping[str, str]) -> str:
    """Return the table with the roles that styles for narrow screens would take from it."""
    heads = ("", "claim", "ours [95 % interval]", "n", "criterion", "verdict", "from")
    head = "".join(f'<th role="columnheader" scope="col">{h}</th>' for h in heads)
    body = []
    for row in rows:
        anchor = anchors[row.record]
        links = f'<a href="#{anchor}-provenance">{escape(row.record)}</a>'
        if row.figure:
            links = f'<a href="#{anchor}-{row.figure}">figure</a>, {links}'
        dataset = f' <span class="quiet">({escape(row.dataset)})</span>' if row.dataset else ""
        verdict = f'<span class="{VERDICT_CLASSES[row.verdict]}">{escape(row.verdict)}</span>'
        cells = (
            escape(row.statement) + dataset, escape(row.measured), row.n, escape(row.criterion),
            verdict, links,
        )  # fmt: skip
        body.append(
            f'<tr role="row"><th role="rowheader" scope="row">{escape(row.id)}</th>'
            + "".join(
                f'<td role="cell" data-head="{h}">{cell}</td>'
                for h, cell in zip(heads[1:], cells, strict=True)
            )
            + "</tr>"
        )
    tested = [row for row in rows if row.verdict != NOT_TESTED]
    met = sum(row.verdict == REPRODUCED for row in tested)
    untested = f"; {len(rows) - len(tested)} not tested" if len(tested) < len(rows) else ""
    return (
        f'<section id="claims"><h2>What came out</h2>'
        f"<p>{met} of {len(tested)} tested claims reproduced{untested}. "
        "Every criterion stands in the code beside its claim.</p>"
        f'<table role="table" class="claims"><thead role="rowgroup"><tr role="row">{head}</tr>'
        f'</thead><tbody role="rowgroup">{"".join(body)}</tbody></table></section>'
    )


def _section(anchor: str, where: str, record: Record) -> str:
    """Return one record's section: introduction, what to try, figures, provenance."""
    words = SECTIONS.get(_kind(record))
    dataset = f" · {escape(record.summary['dataset'])}" if record.summary.get("dataset") else ""
    parts = [
        f'<section id="{anchor}"><p class="quiet">{escape(_kind(record))}{dataset}</p>'
        f"<h2>{escape(_title(record))}</h2>"
    ]
    if words:
        parts.append(f"<p>{escape(words.introduction)}</p>")
        payload = PAYLOADS[_kind(record)](record) if words.widget else None
        if payload:
            parts.append(_widget(words.widget, payload))
        elif words.without:
            parts.append(f"<p>{escape(words.without)}</p>")
    parts += [
        _figure(f"{anchor}-{name}", figure, FIGURES.get(_kind(record), {}).get(name, Shown(name)))
        for name, figure in plots.draw(record).items()
    ]
    parts.append(_provenance(anchor, where, record))
    return "\n".join(parts) + "</section>"


def _widget(name: str, payload: dict[str, Any]) -> str:
    """Return the place of a thing to try, with its data; the script builds the rest."""
    data = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Only "<" could end the script element; as an escape it is the same JSON.
    data = data.replace("<", r"\u003c")
    return (
        f'<div class="widget" data-widget="{name}">'
        f'<script type="application/json">{data}</script></div>'
    )


def _figure(anchor: str, figure: Figure, shown: Shown) -> str:
    """Return a figure as an image inside the page, so that its style and names stay its own."""
    buffer = io.BytesIO()
    with style.context(plots.STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    title = escape(shown.caption)
    return (
        f'<figure id="{anchor}"><div class="wide" tabindex="0" role="group" '
        f'aria-label="Figure, can be scrolled"><img alt="{title}" '
        f'src="data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"></div>'
        f"<figcaption>{title}</figcaption></figure>"
    )


def _provenance(anchor: str, where: str, record: Record) -> str:
    """Return what the manifest says of the run, closed until it is asked for."""
    manifest = record.manifest
    lines = {
        "command": f"subliminal-toy {manifest['command']}",
        "record": where,
        "git commit": manifest["git_commit"] or "not run from a checkout",
        "versions": ", ".join(f"{k} {v}" for k, v in manifest["versions"].items()),
        "device": manifest["device"],
        "seed": f"{manifest['seed']} ({manifest['key_implementation']})",
        "settings": ", ".join(f"{k} {v}" for k, v in manifest["config"].items()),
        **{f"SHA-256 of {name}": digest for name, digest in manifest["sha256"].items()},
    }
    if "data_sha256" in manifest:
        lines["SHA-256 of the data"] = manifest["data_sha256"]
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in lines.items())
    return (
        f'<details id="{anchor}-provenance"><summary>Where these numbers come from</summary>'
        f"<dl>{items}</dl></details>"
    )
