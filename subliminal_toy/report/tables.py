"""The rows of the claims table, and how numbers are written."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from subliminal_toy.records import Record

Records = Mapping[str, Record]
"""Records by their folders, as the reader will write them."""

SECTIONS: dict[str, Any] = tomllib.loads(
    (Path(__file__).parent / "words.toml").read_text(encoding="utf-8")
)
"""The page's sections in order, by experiment."""


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
            **{name: claim[name] for name in ("id", "statement", "criterion", "verdict", "reason")},
            dataset=record.summary.get("dataset") or "",
            measured=measured(claim["value"], claim["interval"]),
            n=f"{claim['n']:,}",
            record=folder,
            figure=figure_of(record.manifest["experiment"], claim["id"]),
        )
        for folder, record in records.items()
        for claim in record.summary["claims"]
    ]


def figure_of(experiment: str, claim: str) -> str:
    """Return the name of the figure that shows a claim, "" if none does."""
    figures = SECTIONS.get(experiment, {"figures": {}})["figures"]
    return next((name for name, shown in figures.items() if claim in shown["claims"]), "")


def measured(value: float | None, interval: Sequence[float] | None) -> str:
    """Format a value and its interval, with two significant figures of the interval's width.

    At least three decimals and at most six.
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
        return "–"
    rounded = round(value, decimals) + 0.0  # no minus zero
    return f"{rounded:.{decimals}f}".replace("-", "−")
