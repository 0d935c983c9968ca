"""What is said of published values, C1, and the estimates of sweeps."""

import itertools
from collections.abc import Iterator

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.claims import Claim, Condition, Mean, Row
from subliminal_toy.experiments import EXPERIMENTS
from subliminal_toy.stats import Estimate

FEWEST = 80
SHOWN = (
    "progress", "accuracy on the line", "accuracy of the sum", "ρ of the teacher",
    "R² of the accuracy, nothing fitted", "share of the gain that the rest alone has",
)  # fmt: skip
"""What is shown at every value, beside what a run of the experiment prints at its end."""


def is_comparison(data: xr.Dataset) -> bool:
    """Whether a result has published values beside its own."""
    return "published" in data


def own_values(data: xr.Dataset) -> np.ndarray:
    """Return the values here (published value, replicate)."""
    pairs = zip(data.published_measure.values, data.published_arm.values, strict=True)
    return np.stack([data[str(measure)].sel(arm=arm).values for measure, arm in pairs]).astype(
        float
    )


def combined_errors(data: xr.Dataset) -> np.ndarray:
    """Return standard errors of here minus published; not a number where none was published."""
    here = [stats.standard_error(values) for values in own_values(data)]
    return np.hypot(here, data.half_width.values / 1.96)


def z(data: xr.Dataset) -> np.ndarray:
    """Return here minus published in combined standard errors; not a number where none was."""
    return (own_values(data).mean(1) - data.published.values) / combined_errors(data)


def set_ups(data: xr.Dataset) -> list[str]:
    """Return what each published value is of: its source, the factor varied, and the set-up."""
    names = "source", "factor", "setup", "published_measure"
    columns = zip(*(data[name].values.tolist() for name in names), strict=True)
    return [
        f"{source}, {factor}: {setup}" + ("" if measure == "accuracy" else ", teacher's class head")
        for source, factor, setup, measure in columns
    ]


def met(data: xr.Dataset) -> Estimate:
    """Return the fraction of values, published with an interval, that lie within 3 of them."""
    distances = z(data)
    return stats.fraction(np.abs(distances[np.isfinite(distances)]) <= 3)


CLAIMS = (
    Claim(
        "C1",
        "What others published of this experiment comes out here.",
        "sweep/compare.toml",
        (
            Condition(
                "share of the values published with an interval that lie within 3 combined "
                "standard errors", met, Mean(at_least=0.75), fewest=FEWEST,
            ),
        ),
        kind="prediction",
        applies=is_comparison,
    ),
)  # fmt: skip


def points(data: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield the label and the result of an experiment at every value of a sweep."""
    names = data.attrs["over"].split()
    for values in itertools.product(*(data[name].values.tolist() for name in names)):
        at = dict(zip(names, values, strict=True))
        yield ", ".join(f"{k} {v}" for k, v in at.items()), data.sel(at)


def estimates(data: xr.Dataset) -> Iterator[Row]:
    """Yield what a run prints at its end, and progress, at every value; or what was published."""
    if is_comparison(data):
        for label, own, distance in zip(set_ups(data), own_values(data), z(data), strict=True):
            yield Row("accuracy", label, stats.estimate(own))
            if np.isfinite(distance):
                yield Row("here − published, z", label, stats.without_interval(distance, len(own)))
        return
    entry = EXPERIMENTS[data.attrs["experiment"]]
    for label, result in points(data):
        for row in entry.module("claims").estimates(result):
            if row.quantity in (entry.shown, *SHOWN):
                yield Row(row.quantity, f"{row.labels}, {label}", row.estimate)
