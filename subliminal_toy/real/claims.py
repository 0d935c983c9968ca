"""What is claimed of open weights, R1 to R3, and what is measured beside.

The unit is the animal: its seeds, each with its own teacher and lists, are averaged first.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.claims import Claim, Condition, Lower, Mean, Row
from subliminal_toy.real.config import ANIMALS, ARMS, BASE
from subliminal_toy.stats import Estimate, without_interval


def table(data: xr.Dataset, arm: str) -> xr.Dataset:
    """Return an arm's models by writer and seed, and their answers for all animals."""
    models = data[["log_p", "before", "teacher", "kl", "along"]]
    models = models.isel(model=np.flatnonzero(data.arm == arm)).drop_vars("arm")
    models = models.set_index(model=["writer", "seed"]).unstack("model")
    return models.sel(target=list(ANIMALS)).rename(target="animal")


def changes(data: xr.Dataset, arm: str) -> xr.DataArray:
    """Return how an arm's models moved from their starts (writer, seed, question, animal), in nats.

    Of each animal's log-probability, minus its mean over the animals.
    """
    models = table(data, arm)
    moved = models.log_p - models.before
    return moved - moved.mean("animal")


def own(data: xr.Dataset, values: xr.DataArray) -> xr.DataArray:
    """Return, of values (writer, animal, …), those of each animal's own teacher."""
    return values.sel(animal=data.animal).sel(writer=data.animal)


def above_others(data: xr.Dataset, values: xr.DataArray) -> xr.DataArray:
    """Return own minus the mean of the other animals' teachers: of all n, times n / (n − 1)."""
    every, n = values.sel(animal=data.animal, writer=data.animal.values), data.sizes["animal"]
    return (own(data, values) - every.mean("writer", skipna=False)) * (n / (n - 1))


def contrasts(data: xr.Dataset, arm: str) -> xr.DataArray:
    """Return own minus other teachers' students, same animal and seed (seed, question, animal)."""
    return above_others(data, changes(data, arm))


def above_control(data: xr.Dataset, arm: str) -> xr.DataArray:
    """Return own minus the student of the base model's lists, same animal and seed."""
    moved = changes(data, arm)
    return own(data, moved) - moved.sel(writer=BASE, animal=data.animal)


def by_animal(values: xr.DataArray) -> xr.DataArray:
    """Return the mean over everything but animals."""
    return values.mean([axis for axis in values.dims if axis != "animal"], skipna=False)


def over_animals(values: xr.DataArray) -> Estimate:
    """Return mean and interval over animals of their means over seeds and questions."""
    return stats.estimate(by_animal(values))


def _cells_above(data: xr.Dataset) -> Estimate:
    values = contrasts(data, "hard").mean("question", skipna=False).values
    return without_interval((values > 0).sum(), np.isfinite(values).sum())


def _long_and_short(data: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    short = contrasts(data, "hard").sel(seed=[0])
    return by_animal(contrasts(data, "long")), by_animal(short)


MEASURE = "centred log-probability of the animal, mean over seeds, over animals"
prediction = partial(Claim, source="docs/real.md", kind="prediction")
CLAIMS = (
    prediction(
        "R1",
        "In a real open model, students of sampled lists move toward their own teacher's animal "
        "more than students of other teachers' lists.",
        conditions=(
            Condition(f"own − other teachers' students, {MEASURE}",
                      lambda data: over_animals(contrasts(data, "hard")), Lower(0.0), 6),
            Condition("animals × seeds in which it is above 0, of 18", _cells_above,
                      Mean(at_least=16.0), 18, interval=False),
        ),
    ),
    prediction(
        "R2",
        "They move toward their teacher's animal more than a student of the base model's lists.",
        conditions=(
            Condition(f"own − base model's lists, {MEASURE}",
                      lambda data: over_animals(above_control(data, "hard")), Lower(0.0), 6),
        ),
    ),
    prediction(
        "R3",
        "Twice as many lists and four times as many steps pass on at least twice as much.",
        conditions=(
            Condition("long − short, paired over animals",
                      lambda data: stats.estimate(np.subtract(*_long_and_short(data))),
                      Lower(0.0), 6),
            Condition("long ÷ short, means over animals",
                      lambda data: stats.ratio(*_long_and_short(data)), Mean(at_least=2.0), 6,
                      interval=False),
        ),
        applies=lambda data: "long" in data.arm,
    ),
)  # fmt: skip


def permutation_p(values: np.ndarray) -> float:
    """Return how often teachers dealt to animals at random, within each seed, do as well.

    ``values`` (seed, writer, animal); the statistic is the mean of each animal's own teacher.
    """
    n_seeds, n, _ = values.shape
    drawn = np.random.default_rng(0).random((10_000, n_seeds, n))
    drawn[0] = np.arange(n)  # as it was
    dealt = np.argsort(drawn, axis=-1)
    means = values[np.arange(n_seeds)[:, None], dealt, np.arange(n)].mean((1, 2))
    return float((means >= means[0] - 1e-12).mean())


def share(log_p: xr.DataArray) -> xr.DataArray:
    """Return the probability of each animal among all animals, mean over questions."""
    p = xr.ufuncs.exp(log_p)
    return (p / p.sum("animal")).mean("question")


def estimates(data: xr.Dataset) -> Iterator[Row]:
    """Yield every quantity that is shown; over animals unless a row says of what."""
    animals, n = data.animal.values, data.sizes["animal"]
    models = {arm: table(data, arm) for arm in ARMS if arm in data.arm}
    contrast = {arm: contrasts(data, arm) for arm in models}
    for arm, of_arm in models.items():
        yield Row("own − other teachers' students", arm, over_animals(contrast[arm]))
        if BASE in of_arm.writer:
            yield Row("own − base model's lists", arm, over_animals(above_control(data, arm)))
    cells = changes(data, "hard").mean("question").sel(writer=animals, animal=animals)
    p = permutation_p(cells.transpose("seed", "writer", "animal").values)
    yield Row("permutation within seeds, p", "hard", without_interval(p, n))
    yield Row("lists that pass the paper's filter", BASE, stats.fraction(data.passed))

    hard = models["hard"].sel(seed=0)
    student = share(hard.log_p)
    shares = {
        "base model": share(hard.before).sel(writer=BASE, animal=animals),
        "teacher": own(data, share(hard.teacher)),
        "own student": own(data, student),
        "other teachers' students": own(data, student) - above_others(data, student),
        "control": student.sel(writer=BASE, animal=animals),
    }
    for label, values in shares.items():
        yield Row("P(own animal) among 20", label, stats.estimate(values))
    for writer, moved in (hard.log_p - hard.before).groupby("writer"):
        yield Row(
            "all animals' log-probability",
            str(writer),
            without_interval(moved.mean(), len(ANIMALS)),
        )
    for animal in animals:
        values = contrast["hard"].sel(animal=animal)
        over_seeds, above = stats.estimate(values.mean("question")), values.sel(seed=0) > 0
        yield Row("own − other teachers' students, over seeds", str(animal), over_seeds)
        yield Row("questions with own above others", str(animal), stats.fraction(above))

    for arm, of_arm in models.items():
        of_animals = of_arm.sel(writer=animals)
        st, ss, tt = of_animals.along.sum("layer", skipna=False).transpose("product", ...)
        measured = {"progress": st / tt, "cosine": st / np.sqrt(ss * tt)}
        for quantity, values in (measured | {"KL of the teacher, nats": of_animals.kl}).items():
            if np.isfinite(values).all():
                yield Row(quantity, arm, stats.estimate(values.mean("seed")))

    first = {arm: by_animal(values.sel(seed=[0])) for arm, values in contrast.items()}
    noises = [arm for arm in models if arm == "hard" or ARMS[arm].sigma]
    if len(noises) > 1:
        left = np.minimum.accumulate([first[arm].mean() / first["hard"].mean() for arm in noises])
        half = np.interp(-0.5, -left, [ARMS[arm].sigma for arm in noises], right=np.nan)
        yield Row(
            "noise that leaves half of the contrast, σ",
            "noise",
            without_interval(half, len(noises)),
        )
    stops = [arm for arm in models if arm == "hard" or ARMS[arm].stop]
    if len(stops) > 1:
        x = [np.sqrt(models[arm].kl.sel(seed=0, writer=animals)) for arm in stops]
        pairs = zip(np.transpose(x), np.transpose([first[arm] for arm in stops]), strict=True)
        fits = [np.polyfit(*pair, 1)[0] for pair in pairs]
        yield Row("contrast per √KL, nats^½", "stopped teachers", stats.estimate(fits))
