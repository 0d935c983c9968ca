"""What is claimed of open weights, R1 to R3, and what is measured beside.

The unit is the animal: its seeds, each with its own teacher and lists, are averaged first.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.claims import Claim, Condition, Lower, Mean, Row
from subliminal_toy.real.config import ANIMALS, BASE, GROUPS, RealConfig, arms
from subliminal_toy.stats import Estimate


def table(data: xr.Dataset, arm: str) -> xr.Dataset:
    """Return an arm's models by writer and seed."""
    models = data.isel(model=np.flatnonzero(data.arm == arm)).drop_vars("arm")
    return models.set_index(model=["writer", "seed"]).unstack("model")


def changes(data: xr.Dataset, arm: str) -> xr.DataArray:
    """Return how an arm's models moved from their starts (writer, seed, question, animal), in nats.

    Of each animal's log-probability, minus its mean over the animals.
    """
    models = table(data, arm)
    moved = (models.log_p - models.before).sel(target=list(ANIMALS))
    return (moved - moved.mean("target")).rename(target="animal")


def contrasts(data: xr.Dataset, arm: str) -> xr.DataArray:
    """Return own minus the mean of other teachers' students, same animal (seed, question, animal).

    Own minus the mean of all of n, times n / (n − 1).
    """
    moved, n = changes(data, arm).sel(animal=data.animal), data.sizes["animal"]
    own, every = moved.sel(writer=data.animal), moved.sel(writer=data.animal.values)
    return (own - every.mean("writer", skipna=False)) * (n / (n - 1))


def above_control(data: xr.Dataset, arm: str) -> xr.DataArray:
    """Return own minus the student of the base model's lists, same animal and seed."""
    moved = changes(data, arm).sel(animal=data.animal)
    return moved.sel(writer=data.animal) - moved.sel(writer=BASE)


def by_animal(values: xr.DataArray) -> xr.DataArray:
    """Return the mean over everything but animals."""
    return values.mean([axis for axis in values.dims if axis != "animal"], skipna=False)


def over_animals(values: xr.DataArray) -> Estimate:
    """Return mean and interval over animals of their means over seeds and questions."""
    return stats.estimate(by_animal(values))


def bare(value: Any, n: Any) -> Estimate:
    """Return a number without an interval."""
    return Estimate(float(value), np.nan, np.nan, int(n))


def _cells_above(data: xr.Dataset) -> Estimate:
    values = contrasts(data, "hard").mean("question", skipna=False).values
    return bare((values > 0).sum(), np.isfinite(values).sum())


def _gain(data: xr.Dataset) -> Estimate:
    return over_animals(contrasts(data, "long") - contrasts(data, "hard").sel(seed=[0]))


def _gain_ratio(data: xr.Dataset) -> Estimate:
    pair = contrasts(data, "long"), contrasts(data, "hard").sel(seed=[0])
    return stats.ratio(*map(by_animal, pair))


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
                lambda data: over_animals(contrasts(data, "hard")), Lower(0.0), fewest=6,
            ),
            Condition(
                "animals × seeds in which it is above 0, of 18", _cells_above, Mean(at_least=16.0),
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
                lambda data: over_animals(above_control(data, "hard")), Lower(0.0), fewest=6,
            ),
        ),
        kind="prediction",
    ),
    Claim(
        "R3",
        "Twice as many lists and four times as many steps pass on at least twice as much.",
        "docs/real.md",
        (
            Condition("long − short, paired over animals", _gain, Lower(0.0), fewest=6),
            Condition("long ÷ short, means over animals", _gain_ratio, Mean(at_least=2.0), fewest=6,
                      interval=False),
        ),
        kind="prediction",
        applies=lambda data: "long" in data.arm,
    ),
)  # fmt: skip


def permutation_p(values: np.ndarray, n_resamples: int = 10_000) -> float:
    """Return how often teachers dealt to animals at random, within each seed, do as well.

    ``values`` (seed, writer, animal); the statistic is the mean of each animal's own teacher.
    """
    n_seeds, n, _ = values.shape
    drawn = np.random.default_rng(0).random((n_resamples, n_seeds, n))
    drawn[0] = np.arange(n)  # as it was
    dealt = np.argsort(drawn, axis=-1)
    means = values[np.arange(n_seeds)[:, None], dealt, np.arange(n)].mean((1, 2))
    return float((means >= means[0] - 1e-12).mean())


def estimates(data: xr.Dataset) -> Iterator[Row]:
    """Yield every quantity that is shown; over animals unless a row says of what."""
    animals, n = data.animal.values, data.sizes["animal"]
    rows = {name: row for name, row in arms(RealConfig(groups=GROUPS)).items() if name in data.arm}
    models = {arm: table(data, arm) for arm in rows}
    for arm in rows:
        yield Row("own − other teachers' students", arm, over_animals(contrasts(data, arm)))
        if BASE in models[arm].writer:
            yield Row("own − base model's lists", arm, over_animals(above_control(data, arm)))
    cells = changes(data, "hard").mean("question").sel(writer=animals, animal=animals)
    p = permutation_p(cells.transpose("seed", "writer", "animal").values)
    yield Row("permutation within seeds, p", "hard", bare(p, n))
    yield Row("lists that pass the paper's filter", BASE, stats.fraction(data.passed))

    hard = models["hard"].sel(seed=0, target=list(ANIMALS))

    def share(answers: xr.DataArray) -> xr.DataArray:
        """Return the probability of each teacher's animal, among all animals (writer, animal)."""
        p = answers.copy(data=np.exp(answers.values))
        return (p / p.sum("target")).mean("question").sel(target=data.animal)

    student = share(hard.log_p)
    own, every = student.sel(writer=data.animal), student.sel(writer=animals).mean("writer")
    shares = {
        "base model": share(hard.before).sel(writer=BASE),
        "teacher": share(hard.teacher).sel(writer=data.animal),
        "own student": own,
        "other teachers' students": (n * every - own) / (n - 1),
        "control": student.sel(writer=BASE),
    }
    for label, values in shares.items():
        yield Row("P(own animal) among 20", label, stats.estimate(values))
    for writer, moved in (hard.log_p - hard.before).groupby("writer"):
        yield Row("all animals' log-probability", str(writer), bare(moved.mean(), len(ANIMALS)))
    of_seeds = contrasts(data, "hard").mean("question")
    for animal in animals:
        yield Row("own − other teachers' students, over seeds", str(animal),
                  stats.estimate(of_seeds.sel(animal=animal)))  # fmt: skip
    for animal, values in contrasts(data, "hard").sel(seed=0).groupby("animal"):
        yield Row("questions with own above others", str(animal), stats.fraction(values > 0))

    for arm in rows:
        own = models[arm].sel(writer=animals)
        st, ss, tt = (own.along.sel(product=name).sum("layer", skipna=False)
                      for name in ("st", "ss", "tt"))  # fmt: skip
        ratios = {"progress": st / tt, "cosine": st / np.sqrt(ss * tt)}
        for quantity, values in (ratios | {"KL of the teacher, nats": own.kl}).items():
            if np.isfinite(values).all():
                yield Row(quantity, arm, stats.estimate(values.mean("seed")))

    first = {arm: by_animal(contrasts(data, arm).sel(seed=[0])) for arm in rows}
    noises = [arm for arm in rows if arm == "hard" or rows[arm].sigma]
    if len(noises) > 1:
        left = np.minimum.accumulate([first[arm].mean() / first["hard"].mean() for arm in noises])
        half = np.interp(-0.5, -left, [rows[arm].sigma for arm in noises], right=np.nan)
        yield Row("noise that leaves half of the contrast, σ", "noise", bare(half, len(noises)))
    stops = [arm for arm in rows if arm == "hard" or rows[arm].stop]
    if len(stops) > 1:
        x = [np.sqrt(models[arm].kl.sel(seed=0, writer=data.animal)) for arm in stops]
        pairs = zip(np.transpose(x), np.transpose([first[arm] for arm in stops]), strict=True)
        fits = [np.polyfit(*pair, 1)[0] for pair in pairs]
        yield Row("contrast per √KL, nats^½", "stopped teachers", stats.estimate(fits))
