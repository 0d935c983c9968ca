"""What the records say, in sentences: every number is an estimate of a record's ``summary.json``."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from subliminal_toy.experiments import EXPERIMENTS
from subliminal_toy.record import Record
from subliminal_toy.stats import Estimate

Records = Mapping[str, Record]
"""Records by their folders, as the reader will write them."""


class Finding(NamedTuple):
    """A title, a paragraph, and the path of the figure that shows it, "" if none does."""

    title: str
    text: str
    figure: str = ""


def number(value: float, decimals: int) -> str:
    """Format a number with a true minus sign, and what is not finite as "–"."""
    if not math.isfinite(value):
        return "–"
    rounded = round(value, decimals) + 0.0  # no minus zero
    return f"{rounded:.{decimals}f}".replace("-", "−")


def measured(estimate: Estimate) -> str:
    """Format an estimate with its interval, to two significant figures of the interval's width."""
    width = estimate.high - estimate.low
    if not math.isfinite(width):
        return number(estimate.value, 2)
    decimals = 3 if width <= 0 else min(max(1 - math.floor(math.log10(width)), 0), 5)
    value, low, high = (number(x, decimals) for x in estimate[:3])
    return f"{value} [{low}, {high}]"


def percent(estimate: Estimate, interval: bool = True) -> str:
    """Format a fraction in per cent, to a decimal if its interval is narrower than 1 %."""
    width = estimate.high - estimate.low
    decimals = 1 if width < 0.01 else 0
    value, low, high = (number(100 * x, decimals) for x in estimate[:3])
    return f"{value} %" + (f" [{low}, {high}]" if interval and math.isfinite(width) else "")


class Measured:
    """The estimates of a record, by quantity and labels."""

    def __init__(self, record: Record):
        """Compute them."""
        rows = EXPERIMENTS[record.manifest["experiment"]].module("claims").estimates(record.data)
        self._rows = {(row.quantity, row.labels): row.estimate for row in rows}
        self.data = record.data

    def __call__(self, quantity: str, labels: str) -> Estimate:
        """Return an estimate; KeyError if the record has none of that name."""
        return self._rows[quantity, labels]

    def __contains__(self, name: tuple[str, str]) -> bool:
        """Whether the record has an estimate."""
        return name in self._rows

    def __iter__(self):
        """Iterate over quantity and labels."""
        return iter(self._rows)
