"""One monotone curve through all trainings, and how well it says what it has not seen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import root_mean_squared_error

from subliminal_toy.stats import Estimate, as_json, bootstrap

PREDICTORS = {
    "progress": True,
    "cosine": True,
    "length": True,
    "step": True,
    "imitation_loss": False,
}
"""What could explain the accuracy, and whether accuracy should rise with it."""


class Fit(NamedTuple):
    """What a curve says of every point when the point's level of a factor is left out of it.

    Arrays with an entry for every factor and point; ``guess`` is the curve's accuracy.
    """

    factor: np.ndarray
    level: np.ndarray
    replicate: np.ndarray
    accuracy: np.ndarray
    guess: np.ndarray

    def of(self, factor: str, level: str | None = None) -> "Fit":
        """Return the entries of a factor, or of one of its levels."""
        where = (self.factor == factor) & ((level is None) | (self.level == level))
        return Fit(*(array[where] for array in self))

    def r2(self) -> Estimate:
        """Return R² of all guesses together; the 95 % interval is by bootstrap over replicates."""
        y, error = self.accuracy, (self.accuracy - self.guess) ** 2
        each = np.stack([np.ones_like(y), y, y**2, error], axis=1)
        replicates = np.unique(self.replicate)
        sums = np.stack([each[self.replicate == r].sum(0) for r in replicates])
        return bootstrap(_r2, sums)

    def table(self) -> dict:
        """Return R² of all factors together, and of each."""
        factors = {name: self.of(name).r2().mean for name in _names(self.factor)}
        return {"pooled": as_json(self.r2()), **factors}

    def errors(self) -> dict[str, dict[str, float]]:
        """Return the root mean square error of every level, by factor."""
        table: dict[str, dict[str, float]] = {}
        for factor in _names(self.factor):
            for level in _names(self.of(factor).level):
                own = self.of(factor, level)
                error = root_mean_squared_error(own.accuracy, own.guess)
                table.setdefault(factor, {})[level] = float(error)
        return table

    def above(self, bound: float) -> list[str]:
        """Return the levels whose error is above a bound, as ``factor: level``."""
        return [
            f"{factor}: {level}"
            for factor, levels in self.errors().items()
            for level, error in levels.items()
            if not error <= bound
        ]


def _names(column: np.ndarray) -> list[str]:
    return list(dict.fromkeys(column.tolist()))


def _r2(sums: np.ndarray) -> np.ndarray:
    n, y, squares, error = np.moveaxis(sums, -1, 0)
    return 1 - error / (squares - y**2 / n)


def points(data: xr.Dataset) -> xr.Dataset:
    """Return all replicates, trainings and steps whose measures are finite, in one row."""
    numbered = data.assign_coords(replicate=np.arange(data.sizes["replicate"]))
    row = numbered.stack(point=("replicate", "training", "step"), create_index=False)
    measured = [row[name].values for name in ("accuracy", *PREDICTORS)]
    return row.isel(point=np.isfinite(measured).all(0)).astype(float)


def left_out(data: xr.Dataset, predictor: str, factors: Sequence[str]) -> Fit:
    """Fit accuracy on a predictor; leave out each level of each factor, and the scored replicate.

    ``data`` has ``accuracy`` and the predictor by ``replicate``, ``training`` and ``step``, where
    measured, and the factors as coordinates. A factor of one level leaves nothing to fit on and is
    passed over.
    """
    row, rising = points(data), PREDICTORS[predictor]
    x, y, replicate = (row[name].values for name in (predictor, "accuracy", "replicate"))
    scored = []
    for factor in factors:
        levels = row[factor].values.astype(str)
        for level in _names(levels) if len(_names(levels)) > 1 else ():
            for r in np.unique(replicate):
                own = (levels == level) & (replicate == r)
                seen = (levels != level) & (replicate != r)
                guess = curve(x[seen], y[seen], rising).predict(x[own])
                n = int(own.sum())
                scored.append((np.full(n, factor), levels[own], replicate[own], y[own], guess))
    return Fit(*map(np.concatenate, zip(*scored, strict=True)))


def curve(x: np.ndarray, y: np.ndarray, rising: bool = True) -> IsotonicRegression:
    """Return the monotone curve of least squares, flat beyond its ends."""
    return IsotonicRegression(increasing=rising, out_of_bounds="clip").fit(x, y)


def across_networks(data: xr.Dataset, main: str) -> dict[str, dict[str, float]]:
    """Return R² of the main network's curve of progress on every other network.

    ``raw`` for accuracy, ``by_ceiling`` for accuracy in units of each student's ceiling.
    """
    row = points(data.isel(training=(data["update"] == "all").values))
    network, q, raw = (row[name].values for name in ("of_network", "progress", "accuracy"))
    own, table = network == main, {}
    for name, y in (("raw", raw), ("by_ceiling", raw / row.ceiling.values)):
        fitted = curve(q[own], y[own])
        for other in _names(network[~own]):
            of = network == other
            error, spread = y[of] - fitted.predict(q[of]), y[of] - y[of].mean()
            table.setdefault(other, {})[name] = 1 - float((error**2).sum() / (spread**2).sum())
    return table
