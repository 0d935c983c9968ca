"""Tables of claims and of published values, and the blocks of a text that hold them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from subliminal_toy.errors import UserError
from subliminal_toy.records import Record
from subliminal_toy.report.words import figure_of

Records = Mapping[str, Record]
"""Records by their folders, as the reader will write them."""
MISSING = "–"


class ClaimRow(NamedTuple):
    """A line of the claims table, as text.

    ``reason`` says why a claim is not tested; ``figure`` is "" where no figure shows the claim.
    """

    id: str
    statement: str
    dataset: str
    measured: str
    n: str
    criterion: str
    verdict: str
    reason: str
    record: str
    figure: str


def claims_rows(records: Records) -> list[ClaimRow]:
    """Return the claims of all records: the one source of terminal, README and page."""
    return [
        ClaimRow(
            id=claim["id"],
            statement=claim["statement"],
            dataset=record.summary.get("dataset") or "",
            measured=measured(claim["value"], claim["interval"]),
            n=f"{claim['n']:,}",
            criterion=claim["criterion"],
            verdict=claim["verdict"],
            reason=claim["reason"],
            record=folder,
            figure=figure_of(record.manifest["experiment"], claim["id"]),
        )
        for folder, record in records.items()
        for claim in record.summary["claims"]
    ]


def measured(value: float | None, interval: Sequence[float] | None) -> str:
    """Format a value and its interval, with two significant figures of the interval's width.

    At least three decimals and at most six; "–" where there is no value.
    """
    if value is None or not interval:
        return number(value, 3)
    width = interval[1] - interval[0]
    decimals = 3 if width <= 0 else min(max(3, 1 - int(np.floor(np.log10(width)))), 6)
    lower, upper = (number(end, decimals) for end in interval)
    return f"{number(value, decimals)} [{lower}, {upper}]"


def number(value: float | None, decimals: int) -> str:
    """Format a number with a true minus sign, and None as "–"."""
    if value is None:
        return MISSING
    rounded = round(value, decimals) + 0.0  # no minus zero
    return f"{rounded:.{decimals}f}".replace("-", "−")


def claims_markdown(records: Records) -> str:
    """Return the claims table in Markdown, each line with links to its figure and its record."""
    heads = ("", "claim", "ours [95 % interval]", "n", "criterion", "verdict", "from")
    rows = []
    for row in claims_rows(records):
        source = _link(row.record)
        if row.figure:
            source = f"[figure]({quote(row.record)}/{quote(row.figure)}.svg), {source}"
        statement = f"{row.statement} ({row.dataset})" if row.dataset else row.statement
        verdict = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
        before, after = map(_text, (row.id, statement)), map(_text, (row.criterion, verdict))
        rows.append((*before, row.measured, row.n, *after, source))
    return _table(heads, rows)


def published_markdown(records: Records) -> str:
    """Return, in Markdown, the accuracies of runs that follow the paper beside the paper's."""
    heads = ("arm", "ours [95 % interval]", "n", "paper ± half-width", "difference", "z",
             "through the teacher's class head", "from")  # fmt: skip
    rows = []
    for folder, record in records.items():
        for arm, paper in (record.summary.get("published") or {}).items():
            ours, through = (record.summary[key][arm] for key in ("conditions", "teacher_head"))
            numbers = (
                measured(ours["mean"], ours["ci95"]),
                str(ours["n"]),
                f"{number(paper['published'], 4)} ± {number(paper['half_width'], 4)}",
                number(paper["difference"], 4),
                number(paper["z"], 1),
                measured(through["mean"], through["ci95"]),
            )
            rows.append((_text(arm), *numbers, _link(folder)))
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (heads, ["---"] * len(heads), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Escape what Markdown would take for markup, a link or the end of a cell."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*~$|\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)


def _link(folder: str) -> str:
    return f"[{_text(folder)}]({quote(folder)}/)"


def update_block(text: str, name: str, content: str) -> str:
    """Replace what is between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises UserError unless both markers are there once and in this order.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"The text must hold {begin} and then {end}, each once.")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"
