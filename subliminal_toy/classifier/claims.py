"""What a result says: the paper's claims M1, M2, G1, our predictions E1, E2, P1, all estimates."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.claims import Claim, Condition, Lower, Mean, Row, Upper, Within
from subliminal_toy.classifier.arms import (
    ABLATIONS,
    FREE,
    ONLY,
    PUBLISHED,
    TEACHER,
    UNTRAINED,
    WITHOUT,
    WITHOUT_OWN,
    WITHOUT_RANDOM,
)
from subliminal_toy.classifier.curve import FACTORS, PREDICTORS, explained, left_out
from subliminal_toy.data import N_CLASSES
from subliminal_toy.stats import Estimate

CHANCE = 1 / N_CLASSES
FIRST_STUDIED = ("digits", "mnist")
"""Data sets on which an MLP is M1 and M2; any other network or data set is G1."""
N_PROGRESS = 21
"""Values of the progress at which two paths are compared."""


def final(data: xr.Dataset) -> xr.Dataset:
    """Return every arm at its end: variables by ``replicate`` and ``arm``."""
    return data.sel(step=data.final_step).drop_vars("step")


def accuracy(arm: str, minus: str = "") -> Callable[[xr.Dataset], Estimate]:
    """Return the estimate of an arm's accuracy at its end, or of its difference, paired."""

    def estimate(data: xr.Dataset) -> Estimate:
        at_end = final(data).accuracy.astype(float)
        return stats.estimate(at_end.sel(arm=arm) - (at_end.sel(arm=minus) if minus else 0))

    return estimate


def is_published(data: xr.Dataset) -> bool:
    """Whether a result has the arms of the paper."""
    return "student_aux" in data.arm


def is_first_studied(data: xr.Dataset) -> bool:
    """Whether network and data set are those of M1 and M2."""
    return data.attrs["architecture"] == "mlp" and data.attrs["dataset"] in FIRST_STUDIED


def is_explaining(data: xr.Dataset) -> bool:
    """Whether a result has the arms of E1, E2 and P1."""
    return FREE in data.arm


# E1: one curve.


def r2(data: xr.Dataset) -> Estimate:
    """Return R² of the curve of progress on what was left out of it."""
    return left_out(explained(data), "progress", FACTORS).r2()


def largest_error(data: xr.Dataset) -> Estimate:
    """Return the largest root mean square error of a level; n counts the students."""
    students = explained(data)
    errors = left_out(students, "progress", FACTORS).errors()
    return Estimate(max(errors.values()), np.nan, np.nan, students.sizes["arm"])


def between_replicates(data: xr.Dataset) -> Estimate:
    """Return the squared correlation of accuracy and progress between replicates of one student.

    Of all students at all steps; each deviation is from the mean over replicates.
    """
    chosen = data[["accuracy", "progress"]].transpose("replicate", ...).astype(float)
    deviations = (chosen - chosen.mean("replicate")).fillna(0)
    y, q = (deviations[name].values.reshape(len(data.replicate), -1) for name in deviations)

    def squared(products: np.ndarray):
        yq, yy, qq = np.moveaxis(products, -1, 0)
        return yq**2 / (yy * qq)

    return stats.bootstrap(squared, np.stack([(y * q).sum(1), (y**2).sum(1), (q**2).sum(1)], 1))


# E2: the cause.


def left_without(data: xr.Dataset) -> Estimate:
    """Return what is gained without the direction to the teacher, less a quarter of all."""
    free, without, untrained = (
        final(data).accuracy.sel(arm=arm).astype(float) for arm in (FREE, WITHOUT, UNTRAINED)
    )
    return stats.estimate(without - untrained - 0.25 * (free - untrained))


def at_equal_progress(data: xr.Dataset) -> Estimate:
    """Return how far ahead the student of one component is of the free one, over common progress.

    The mean over equally spaced values of the progress that both have passed through.
    """
    untrained = final(data).accuracy.sel(arm=UNTRAINED).values
    paths = data[["accuracy", "progress"]].transpose("replicate", "arm", "step").astype(float)

    def path(arm: str, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return progress, ascending, and accuracy, the untrained network first."""
        student = paths.sel(arm=arm).isel(replicate=i).dropna("step")
        q, y = np.append(0, student.progress), np.append(untrained[i], student.accuracy)
        order = np.argsort(q, kind="stable")
        return q[order], y[order]

    def ahead(i: int) -> float:
        free, only = path(FREE, i), path(ONLY, i)
        common = np.linspace(0, min(free[0].max(), only[0].max()), N_PROGRESS)
        return float((np.interp(common, *only) - np.interp(common, *free)).mean())

    return stats.estimate([ahead(i) for i in range(len(untrained))])


def off_the_line(data: xr.Dataset, arm: str) -> np.ndarray:
    """Return how far a student ends from the line to its teacher, in lengths of that line."""
    at_end = final(data)
    free, student = (at_end.sel(arm=name) for name in (FREE, arm))
    teachers_length = free.length * free.cosine / free.progress
    along, whole = student.progress * teachers_length, student.length
    return (np.sqrt(np.maximum(whole**2 - along**2, 0)) / teachers_length).values


# P1: the prediction.


def conditions(data: xr.Dataset) -> xr.Dataset:
    """Return the students of P1 at their end: predicted, from inputs of one scale."""
    is_predicted = data.predicted.notnull().any("replicate") & (data.input_scale == 1)
    at_end = final(data)[["accuracy", "predicted"]].astype(float)
    return at_end.isel(arm=is_predicted.values).transpose("replicate", "arm")


def rank(data: xr.Dataset) -> Estimate:
    """Return Spearman's coefficient of predicted and measured accuracy, replicate means."""
    chosen = conditions(data)
    return stats.rank_correlation(chosen.accuracy.values, chosen.predicted.values)


def low(data: xr.Dataset) -> Estimate:
    """Return the share of conditions whose mean accuracy is below .2; n counts the conditions."""
    return stats.fraction(conditions(data).accuracy.mean("replicate") < 0.2)


def identity(data: xr.Dataset) -> Estimate:
    """Return R² of the accuracy as predicted, replicate means."""
    chosen = conditions(data)

    def r2(measured: np.ndarray, predicted: np.ndarray):
        spread = (measured - measured.mean(-1, keepdims=True)) ** 2
        return 1 - ((measured - predicted) ** 2).sum(-1) / spread.sum(-1)

    return stats.bootstrap(r2, chosen.accuracy.values, chosen.predicted.values)


GAIN = accuracy("student_aux", minus="cross_aux")
LEARNS = (
    Condition("student_aux − cross_aux, paired", GAIN, Lower(above=0.1)),
    Condition("student_aux", accuracy("student_aux"), Mean(at_least=0.2)),
)
STAYS = (Condition("cross_aux", accuracy("cross_aux"), Within(CHANCE - 0.06, CHANCE + 0.06)),)

EXPLAINED = (
    Condition(
        "R² of a rising curve of accuracy on progress, every level of every factor and the scored "
        "replicate left out, a point for every replicate and checkpoint",
        r2,
        Mean(at_least=0.9),
        fewest=8,
    ),
    Condition(
        "root mean square error of the level where it is largest, over the students",
        largest_error,
        Mean(at_most=0.06),
        fewest=20,
        interval=False,
    ),
)
CAUSED = (
    Condition("(without − untrained) − 0.25 (free − untrained)", left_without, Upper(0.0), 8),
    Condition("only − free, mean over equal progress", at_equal_progress, Lower(-0.1), 8),
    Condition("without random − free", accuracy(WITHOUT_RANDOM, FREE), Within(-0.05, 0.05), 8),
    Condition("without own − free", accuracy(WITHOUT_OWN, FREE), Within(-0.05, 0.05), 8),
)
PREDICTED = (
    Condition(
        "Spearman's rank correlation of predicted and measured accuracy, replicate means",
        rank,
        Mean(at_least=0.95),
        fewest=8,
    ),
    Condition(
        "share of the conditions below accuracy 0.2",
        low,
        Mean(at_most=1 / 3),
        fewest=24,
        interval=False,
    ),
)

paper = partial(Claim, source="section 6.2, figure 10b")
prediction = partial(
    Claim,
    source="proofs/README.md, section 15",
    kind="prediction",
    applies=is_explaining,
    commits="8b10bb5, 2d0370c",
)
CLAIMS = (
    paper(
        "M1",
        "A student trained on noise, to copy outputs without meaning, learns to classify digits",
        conditions=LEARNS,
        applies=lambda data: is_published(data) and is_first_studied(data),
        commits="86c5baf",
        paper="53 %",
    ),
    paper(
        "M2",
        "From another start it stays at chance",
        conditions=STAYS,
        applies=lambda data: is_published(data) and is_first_studied(data),
        fixed="no",
        commits="5bcb1af",
        paper="11 %",
    ),
    paper(
        "G1",
        "The same with another network",
        conditions=LEARNS + STAYS,
        applies=lambda data: is_published(data) and not is_first_studied(data),
        fixed="no",
        commits="5bcb1af",
    ),
    prediction(
        "E1",
        "For one network, the accuracy of students of auxiliary logits is one rising curve of "
        "their progress along the teacher's displacement",
        conditions=EXPLAINED,
    ),
    prediction(
        "E2",
        "Without the one component of its steps along the teacher's displacement a student gains "
        "little; with that component alone it gains as much as the free student at equal progress",
        conditions=CAUSED,
    ),
    prediction(
        "P1",
        "How much students of Adam take over from inputs of one scale can be ranked before any of "
        "them is trained, by the network linearised at their start",
        conditions=PREDICTED,
    ),
)


def estimates(data: xr.Dataset) -> Iterator[Row]:
    """Yield every quantity of a result that is shown."""
    at_end = final(data)
    names = data.arm.values.tolist()
    for quantity, name in (
        ("accuracy", "accuracy"),
        ("accuracy through the teacher's class head", "teacher_head_accuracy"),
        ("progress", "progress"),
        ("predicted accuracy", "predicted"),
    ):
        for arm in names if name in at_end else ():
            values = at_end[name].sel(arm=arm)
            if values.notnull().any() and (name == "accuracy" or arm not in (UNTRAINED, TEACHER)):
                yield Row(quantity, arm, stats.estimate(values))
    if is_published(data):
        yield from of_the_paper(data)
    if is_explaining(data):
        yield from of_the_explanation(data)


def of_the_paper(data: xr.Dataset) -> Iterator[Row]:
    """Yield gain and imitation loss of the paper's arms, and the paper's values if comparable.

    Distances from the paper's values are differences, also in combined standard errors.
    """
    at_end = final(data)
    yield Row("accuracy", "student_aux − cross_aux", GAIN(data))
    for arm in ("student_aux", "student_all", "cross_aux", "cross_all"):
        last, first = at_end.imitation_loss.sel(arm=arm), data.first_loss.sel(arm=arm)
        share = "share of the imitation loss left"
        yield Row(f"{share}, mean of ratios", arm, stats.estimate(last / first))
        yield Row(f"{share}, ratio of means", arm, stats.ratio(last, first))
    squared = "squared correlation of accuracy and progress between replicates"
    yield Row(squared, "student_aux", between_replicates(at_end.sel(arm=["student_aux"])))
    for arm, (mean, half_width) in PUBLISHED.items() if data.attrs["published"] else ():
        values = at_end.accuracy.sel(arm=arm)
        difference = stats.estimate(values).shifted(-mean)
        error = np.hypot(stats.standard_error(values), half_width / 1.96)
        z = Estimate(float(difference.value / error), np.nan, np.nan, difference.n)
        paper = Estimate(mean, mean - half_width, mean + half_width, 100)
        yield Row("published accuracy", arm, paper)
        yield Row("accuracy − published", arm, difference)
        yield Row("accuracy − published, in combined standard errors", arm, z)


def of_the_explanation(data: xr.Dataset) -> Iterator[Row]:
    """Yield what E1, E2 and P1 are about."""
    students = explained(data)
    fits = {name: left_out(students, name, FACTORS) for name in PREDICTORS}
    for name, fit in fits.items():
        yield Row("R² of the accuracy on what was left out", name, fit.r2())
    for level, error in fits["progress"].errors().items():
        yield Row(
            "root mean square error of a level",
            level,
            Estimate(error, np.nan, np.nan, students.sizes["replicate"]),
        )
    squared = "squared correlation of accuracy and progress between replicates"
    yield Row(squared, "each student at each step", between_replicates(students))
    plain = (
        (students.inputs == "uniform") & (students.input_scale == 1) & (students.fresh == 0)
        & (students.loss == "kl") & (students.distance == 0)
        & (students.n_inputs == students.n_inputs.max())
    )  # fmt: skip
    for n_aux in np.unique(students.n_aux.values):
        alike = students.isel(arm=(plain & (students.n_aux == n_aux)).values)
        for name in ("progress", "imitation_loss") if alike.sizes["arm"] > 1 else ():
            label = f"{name}, {n_aux:g} logits, all uniform inputs"
            yield Row("R² of the accuracy, replicate left out", label, left_out(alike, name).r2())
    yield Row("accuracy", "without: more than a quarter of the gain", left_without(data))
    yield Row("accuracy", "only − free at equal progress", at_equal_progress(data))
    for arm in (WITHOUT_RANDOM, WITHOUT_OWN):
        yield Row("accuracy", f"{arm} − free", accuracy(arm, minus=FREE)(data))
    progress = final(data).progress
    further = progress.sel(arm=WITHOUT_OWN) - progress.sel(arm=FREE)
    yield Row("progress", f"{WITHOUT_OWN} − free", stats.estimate(further))
    for arm in ABLATIONS:
        away = stats.estimate(off_the_line(data, arm))
        yield Row("distance from the line to the teacher, in its lengths", arm, away)
    yield Row("rank correlation of predicted and measured accuracy", "conditions of P1", rank(data))
    yield Row("R² of the accuracy as predicted", "conditions of P1", identity(data))
    yield Row("share below accuracy 0.2", "conditions of P1", low(data))
