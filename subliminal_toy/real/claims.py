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


def changes(data: xr.Dataset, arm: str) -> xr.DataArray:
    """Return how an arm's models moved from their starts (seed, writer, animal), in nats.

    Of the mean over questions of each animal's log-probability, minus its mean over the animals.
    """
    models = data.isel(model=np.flatnonzero(data.arm == arm))
    moved = (models.log_p - models.before).mean("question").sel(target=list(ANIMALS))
    moved = moved - moved.mean("target")
    return (
        moved.rename(target="animal").drop_vars("arm")
        .set_index(model=["seed", "writer"]).unstack("model")
    )  # fmt: skip


def own_and_others(data: xr.Dataset, arm: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return each animal's change (seed, animal) in its own teacher's students, and in others'."""
    table = changes(data, arm)
    animals = [writer for writer in table.writer.values if writer in ANIMALS]
    square = table.sel(writer=animals, animal=animals).transpose("writer", "animal", "seed")
    own = square.isel(writer=0, drop=True).copy(data=np.diagonal(square.values).T)
    others = (square.sum("writer", skipna=False) - own) / (len(animals) - 1)
    return own, others


def contrasts(data: xr.Dataset, arm: str) -> xr.DataArray:
    """Return own minus other teachers' students, same animal (seed, animal)."""
    own, others = own_and_others(data, arm)
    return own - others


def over_animals(values: xr.DataArray) -> Estimate:
    """Return mean and interval over animals of their means over seeds."""
    return stats.estimate(values.mean("seed", skipna=False))


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
    rng, (n_seeds, n, _) = np.random.default_rng(0), values.shape
    dealt = np.argsort(rng.random((n_resamples, n_seeds, n)), axis=-1)
    drawn = values[np.arange(n_seeds)[:, None], dealt, np.arange(n)].mean((1, 2))
    own = values[:, np.arange(n), np.arange(n)].mean()
    return float((1 + (drawn >= own - 1e-12).sum()) / (1 + n_resamples))


def bare(value: float, n: int) -> Estimate:
    """Return a number without an interval."""
    return Estimate(float(value), np.nan, np.nan, n)


def estimates(data: xr.Dataset) -> Iterator[Row]:
    """Yield every quantity that is shown; over animals unless a row says of what."""
    animals = data.animal.values.tolist()
    arms, hard = list(dict.fromkeys(data.arm.values.tolist())), contrasts(data, "hard")
    for arm in arms:
        yield Row("own − other teachers' students", arm, over_animals(contrasts(data, arm)))
        if BASE in data.writer[data.arm == arm]:
            yield Row("own − base model's lists", arm, over_animals(above_control(data, arm)))
    for animal in animals:
        values = hard.sel(animal=animal).values
        yield Row("own − other teachers' students, over seeds", animal, stats.estimate(values))
    cells = changes(data, "hard").sel(writer=animals, animal=animals)
    cells = cells.transpose("seed", "writer", "animal").values
    yield Row("permutation within seeds, p", "hard", bare(permutation_p(cells), len(animals)))
    yield Row("lists that pass the paper's filter", BASE, stats.fraction(data.passed))

    models = data.isel(model=np.flatnonzero((data.arm == "hard") & (data.seed == 0)))
    models = models.set_index(model="writer").sel(target=list(ANIMALS))

    def share(answers: xr.DataArray) -> xr.DataArray:
        """Return each writer's probability of each teacher's animal, among all animals."""
        p = answers.copy(data=np.exp(answers.values))
        return (p / p.sum("target")).mean("question").sel(target=animals)

    student, n = share(models.log_p), len(animals)
    square = student.sel(model=animals).values
    shares = {
        "base model": share(models.before).sel(model=BASE),
        "teacher": np.diag(share(models.teacher).sel(model=animals)),
        "own student": np.diag(square),
        "other teachers' students": (square.sum(0) - np.diag(square)) / (n - 1),
        "control": student.sel(model=BASE),
    }
    for label, values in shares.items():
        yield Row("P(own animal) among 20", label, stats.estimate(values))
    moved = models.log_p - models.before
    for writer in models.model.values:
        common = float(moved.sel(model=writer).mean())
        yield Row("all animals' log-probability", writer, bare(common, len(ANIMALS)))
    centred = moved - moved.mean("target")
    for animal in animals:
        own, others = animal, [other for other in animals if other != animal]
        of = centred.sel(target=animal)
        above = of.sel(model=own) > of.sel(model=others).mean("model")
        yield Row("questions with own above others", animal, stats.fraction(above))

    trained = data.isel(model=np.flatnonzero(data.writer.isin(animals)))
    st, ss, tt = (
        trained.along.sel(product=name).sum("layer", skipna=False) for name in data.product.values
    )
    ratios = {
        "progress": st / tt,
        "cosine": st / np.sqrt(ss * tt),
        "KL of the teacher, nats": trained.kl,
    }
    for arm in arms:
        for quantity, values in ratios.items():
            mean = values[trained.arm == arm].groupby("writer").mean(skipna=False)
            if np.isfinite(mean).all():
                yield Row(quantity, arm, stats.estimate(mean))

    first = {arm: contrasts(data, arm).sel(seed=0) for arm in arms}
    noises = {"hard": 0.0} | {
        arm: float(arm.partition("_")[2]) for arm in arms if arm.startswith("noise")
    }
    if len(noises) > 1:
        sigmas = list(noises.values())
        left = [float(first[arm].mean() / first["hard"].mean()) for arm in noises]
        half = np.nan
        if below := next((i for i, part in enumerate(left) if part < 0.5), None):
            around = slice(below - 1, below + 1)
            half = np.interp(-0.5, np.negative(left[around]), sigmas[around])
        yield Row("noise that leaves half of the contrast, σ", "noise", bare(half, len(left)))
    stops = [arm for arm in arms if arm.startswith("stop")]
    if stops:
        at = trained.isel(model=np.flatnonzero(trained.seed == 0)).set_index(
            model=["arm", "writer"]
        )
        points = [*stops, "hard"]
        x = np.sqrt([[at.kl.sel(arm=arm, writer=a).item() for a in animals] for arm in points])
        y = np.array([first[arm].sel(animal=animals) for arm in points])
        fits = [np.polyfit(*both, 1)[0] for both in zip(x.T, y.T, strict=True)]
        yield Row("contrast per √KL, nats^½", "stopped teachers", stats.estimate(fits))
        fits = [np.corrcoef(*both)[0, 1] for both in zip(x.T, y.T, strict=True)]
        yield Row("contrast and √KL, correlation", "stopped teachers", stats.estimate(fits))
