"""What is claimed of open weights, R1 to R3, and what is measured beside.

The unit is the animal: its seeds, each with its own teacher and lists, are averaged first.
"""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.claims import Claim, Condition, Lower, Mean, Row
from subliminal_toy.real.config import ANIMALS, BASE, WORD
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


def probability(answers: xr.DataArray) -> xr.DataArray:
    """Return the mean over questions of each animal's probability among the animals."""
    p = np.exp(answers.sel(target=list(ANIMALS)))
    return (p / p.sum("target")).mean("question")


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
    models = models.set_index(model="writer")
    whole = lambda answers: np.exp(answers).mean("question")  # noqa: E731
    for measure, p in (("among 20", probability), ("of all words", whole)):
        student, teacher, base = p(models.log_p), p(models.teacher), p(models.before)
        for label, of in (("base model", base), ("teacher", teacher), ("own student", student)):
            values = [float(of.sel(model=animal, target=animal)) for animal in animals]
            yield Row(f"P(own animal) {measure}", label, stats.estimate(values))
        for label, writers in (("other teachers' students", animals), ("control", [BASE])):
            values = [
                float(student.sel(model=[w for w in writers if w != a], target=a).mean())
                for a in animals
            ]
            yield Row(f"P(own animal) {measure}", label, stats.estimate(values))
    moved = models.log_p - models.before
    for writer in models.model.values:
        common = moved.sel(model=writer, target=list(ANIMALS)).mean()
        yield Row("all animals' log-probability", writer, bare(common, len(ANIMALS)))
        if WORD in models.model:
            value = moved.sel(model=writer, target=WORD).mean()
            yield Row(f"log-probability of {WORD}", writer, bare(value, 1))
    for animal in animals:
        centred = moved.sel(target=animal) - moved.sel(target=list(ANIMALS)).mean("target")
        others = centred.sel(model=[other for other in animals if other != animal]).mean("model")
        above = centred.sel(model=animal) > others
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

    def first(arm: str, like: str) -> np.ndarray:
        """Return contrasts of the first seed for the animals of another arm."""
        names = contrasts(data, like).animal
        table = changes(data, arm).isel(seed=0).sel(writer=names.values, animal=names.values)
        values = table.transpose("writer", "animal").values
        return np.diag(values) - (values.sum(0) - np.diag(values)) / (len(values) - 1)

    noises = [arm for arm in arms if arm.startswith("noise")]
    if noises:
        sigmas = [float(arm.partition("_")[2]) for arm in noises]
        left = [first(arm, arm).mean() / first("hard", arm).mean() for arm in noises]
        below = next((i for i, share in enumerate(left) if share < 0.5), None)
        half = np.nan
        if below:
            a, b = left[below - 1], left[below]
            at = (a - 0.5) / (a - b)
            half = np.exp(np.log(sigmas[below - 1]) * (1 - at) + np.log(sigmas[below]) * at)
        yield Row("noise at which half of the contrast is left, σ", "noise", bare(half, len(left)))
    stops = [arm for arm in arms if arm.startswith("stop")]
    if stops:
        names = contrasts(data, stops[0]).animal.values
        here = [trained.isel(model=np.flatnonzero((trained.arm == arm) & (trained.seed == 0)))
                .set_index(model="writer").kl.sel(model=names).values
                for arm in (*stops, "hard")]  # fmt: skip
        x = np.sqrt(here)
        y = np.array([first(arm, stops[0]) for arm in (*stops, "hard")])
        slopes = [np.polyfit(x[:, i], y[:, i], 1)[0] for i in range(len(names))]
        yield Row("contrast per √KL, nats^½", "stopped teachers", stats.estimate(slopes))
        correlation = [np.corrcoef(x[:, i], y[:, i])[0, 1] for i in range(len(names))]
        yield Row("contrast and √KL, correlation", "stopped", stats.estimate(correlation))
