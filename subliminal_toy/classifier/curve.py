"""One monotone curve through all trainings, and its R² on what was left out of it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from sklearn.isotonic import IsotonicRegression

from subliminal_toy.stats import Estimate, bootstrap

PREDICTORS = {"progress": True, "cosine": True, "length": True, "imitation_loss": False}
"""What could explain the accuracy, and whether accuracy should rise with it."""
FACTORS = ("optimiser", "learning_rate", "n_aux", "n_inputs", "inputs", "loss", "distance", "step")
"""What E1 varies: coordinates of a result, each level of which is left out in turn."""


class Fit(NamedTuple):
    """What a curve says of every point when the point's level of a factor is left out of it.

    Arrays with an entry for every factor and point; ``guess`` is the curve's accuracy.
    """

    level: np.ndarray
    """Of which factor, and which: ``optimiser: muon``."""
    replicate: np.ndarray
    accuracy: np.ndarray
    guess: np.ndarray

    def r2(self) -> Estimate:
        """Return R² of all guesses together; its interval is over replicates."""
        y, error = self.accuracy, (self.accuracy - self.guess) ** 2
        terms = np.stack([np.ones_like(y), y, y**2, error], axis=1)
        sums = [terms[self.replicate == r].sum(0) for r in np.unique(self.replicate)]

        def r2(means: np.ndarray):
            n, y, squares, error = np.moveaxis(means, -1, 0)
            return 1 - error / (squares - y**2 / n)

        return bootstrap(r2, np.stack(sums))

    def errors(self) -> dict[str, float]:
        """Return the root mean square error of every level."""
        squares = (self.accuracy - self.guess) ** 2
        names = dict.fromkeys(self.level.tolist())
        return {name: float(squares[self.level == name].mean() ** 0.5) for name in names}


def explained(data: xr.Dataset) -> xr.Dataset:
    """Return the students of E1: of the network of the claims, nothing done to their updates."""
    chosen = (data.network == data.attrs["architecture"]) & (data["update"] == "all")
    return data.isel(arm=chosen.values)


def points(data: xr.Dataset) -> xr.Dataset:
    """Return all replicates, arms and steps whose measures are finite, in one row."""
    numbered = data[["accuracy", *PREDICTORS]].assign_coords(
        replicate=np.arange(data.sizes["replicate"])
    )
    row = numbered.stack(point=("replicate", "arm", "step"), create_index=False)
    measured = [row[name].values for name in row.data_vars]
    return row.isel(point=np.isfinite(measured).all(0)).astype(float)


def levels(row: xr.Dataset, factor: str) -> np.ndarray:
    """Return the level of a factor of every point, as text."""
    values = row[factor].values
    texts = values.astype(str) if values.dtype.kind in "OU" else [f"{v:g}" for v in values]
    special = {"n_inputs": (row.fresh == 1, "fresh"), "inputs": (row.input_scale != 1, "scaled")}
    where, word = special.get(factor, (False, ""))
    return np.where(where, word, texts)


def left_out(data: xr.Dataset, predictor: str, factors: Sequence[str] = ()) -> Fit:
    """Fit accuracy on a predictor; leave out each level of each factor, and the scored replicate.

    All arms of ``data`` are taken; without ``factors`` the replicate alone is left out. A factor of
    one level leaves nothing to fit on and is passed over.
    """
    row = points(data)
    x, y, replicate = (row[name].values for name in (predictor, "accuracy", "replicate"))

    def scored() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Yield name, scored points and points to fit on, but for their replicates."""
        if not factors:
            yield "", np.full(len(y), True), np.full(len(y), True)
        for factor in factors:
            level = levels(row, factor)
            for name in np.unique(level):
                yield f"{factor}: {name}", level == name, level != name

    fits = []
    for name, scored_points, fitted in scored():
        for r in np.unique(replicate):
            own, seen = scored_points & (replicate == r), fitted & (replicate != r)
            if own.any() and seen.any():
                curve = IsotonicRegression(increasing=PREDICTORS[predictor], out_of_bounds="clip")
                guess = curve.fit(x[seen], y[seen]).predict(x[own])
                fits.append((np.full(own.sum(), name), replicate[own], y[own], guess))
    return Fit(*map(np.concatenate, zip(*fits, strict=True)))
