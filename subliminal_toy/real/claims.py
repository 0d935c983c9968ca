"""What is claimed of open weights, R1 to R3, and what is measured beside.

The unit is the animal: its seeds, each with its own teacher and lists, are averaged first.
"""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.claims import Claim, Condition, Lower, Mean, Row
from subliminal_toy.real.config import ANIMALS, BASE
from subliminal_toy.stats import Estimate


def changes(data: xr.Dataset, arm: str, centred: bool = True) -> xr.DataArray:
    """Return how an arm's models moved from their starts (seed, writer, animal), in nats.

    Of the mean over questions of each animal's log-probability; centred: minus its mean over the
    animals.
    """
    models = data.isel(model=np.flatnonzero(data.arm == arm))
    moved = (models.log_p - models.before).mean("question").sel(target=list(ANIMALS))
    if centred:
        moved = moved - moved.mean("target")
    return (
        moved.rename(target="animal").drop_vars("arm")
        .set_index(model=["seed", "writer"]).unstack("model")
    )  # fmt: skip


def own_and_others(data: xr.Dataset, arm: str, centred: bool = True) -> tuple[xr.DataArray, ...]:
    """Return each animal's change (seed, animal) in its own teacher's students, and in others'."""
    table = changes(data, arm, centred)
    animals = [writer for writer in table.writer.values if writer in ANIMALS]
    square = table.sel(writer=animals, animal=animals).transpose("writer", "animal", "seed")
    own = square.isel(writer=0, drop=True).copy(data=np.diagonal(square.values).T)
    others = (square.sum("writer") - own) / (len(animals) - 1)
    return own, others


def contrasts(data: xr.Dataset, arm: str) -> xr.DataArray:
    """Return own minus other teachers' students, same animal (seed, animal)."""
    own, others = own_and_others(data, arm)
    return own - others


def over_animals(values: xr.DataArray) -> Estimate:
    """Return mean and interval over animals of their means over seeds."""
    return stats.estimate(values.mean("seed").values)


def above_control(data: xr.Dataset, arm: str) -> xr.DataArray:
    """Return own minus the student of the base model's lists, same animal and seed."""
    own, _ = own_and_others(data, arm)
    return own - changes(data, arm).sel(writer=BASE, animal=own.animal, drop=True)


def _cells_above(data: xr.Dataset) -> Estimate:
    values = contrasts(data, "hard").values
    return Estimate(float((values > 0).sum()), np.nan, np.nan, int(np.isfinite(values).sum()))


def _long_and_short(data: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    long = contrasts(data, "long")
    return long, contrasts(data, "hard").sel(seed=long.seed)


def _gain(data: xr.Dataset) -> Estimate:
    long, short = _long_and_short(data)
    return over_animals(long - short)


def _gain_ratio(data: xr.Dataset) -> Estimate:
    return stats.ratio(*(values.mean("seed").values for values in _long_and_short(data)))


CLAIMS = (
    Claim(
        "R1",
        "In a real open model, students of sampled lists move toward their own teacher's animal "
        "more than students of other teachers' lists.",
        "docs/real.md",
        (
            Condition(
                "own − other teachers' students, centred log-probability of the animal, mean over "
                "seeds, over animals",
                lambda data: over_animals(contrasts(data, "hard")), Lower(0), fewest=6,
            ),
            Condition(
                "animals × seeds in which it is above 0, of 18", _cells_above, Mean(at_least=16),
                fewest=18, interval=False,
            ),
        ),
        kind="prediction",
    ),
    Claim(
        "R2",
        "They move toward their teacher's animal more than a student of the base model's lists.",
        "docs/real.md",
        (
            Condition(
                "own − base model's lists, centred log-probability of the animal, mean over seeds, "
                "over animals",
                lambda data: over_animals(above_control(data, "hard")), Lower(0), fewest=6,
            ),
        ),
        kind="prediction",
    ),
    Claim(
        "R3",
        "Twice as many lists and four times as many steps pass on at least twice as much.",
        "docs/real.md",
        (
            Condition("long − short, paired over animals", _gain, Lower(0), fewest=6),
            Condition("long ÷ short, means over animals", _gain_ratio, Mean(at_least=2), fewest=6,
                      interval=False),
        ),
        kind="prediction",
        applies=lambda data: "long" in data.arm,
    ),
)  # fmt: skip


def estimates(data: xr.Dataset) -> Iterator[Row]:
    """Yield what is measured, flat."""
    for arm in dict.fromkeys(data.arm.values.tolist()):
        yield Row("contrast", arm, over_animals(contrasts(data, arm)))
