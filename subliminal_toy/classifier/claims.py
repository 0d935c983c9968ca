"""The claims that are judged on classifiers, and what a result says: M1, M2, G1."""

from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.claims import Claim, Condition, Lower, Mean, Row, Within
from subliminal_toy.classifier.arms import PUBLISHED, TEACHER, UNTRAINED
from subliminal_toy.data import N_CLASSES
from subliminal_toy.stats import Estimate

CHANCE = 1 / N_CLASSES
FIRST_STUDIED = ("digits", "mnist")
"""Data sets on which an MLP is M1 and M2; any other network or data set is G1."""


def final(data: xr.Dataset) -> xr.Dataset:
    """Return every arm at its end: variables by ``replicate`` and ``arm``."""
    return data.sel(step=data.final_step).drop_vars("step")


def accuracy(arm: str) -> Callable[[xr.Dataset], Estimate]:
    """Return the estimate of an arm's accuracy at its end."""
    return lambda data: stats.estimate(final(data).accuracy.sel(arm=arm))


def gain(data: xr.Dataset) -> Estimate:
    """Return how much more the student of the teacher's start classifies, paired."""
    at_end = final(data).accuracy
    return stats.estimate(at_end.sel(arm="student_aux") - at_end.sel(arm="cross_aux"))


def is_published(data: xr.Dataset) -> bool:
    """Whether a result has the arms of the paper."""
    return "student_aux" in data.arm


def is_first_studied(data: xr.Dataset) -> bool:
    """Whether network and data set are those of M1 and M2."""
    return data.attrs["architecture"] == "mlp" and data.attrs["dataset"] in FIRST_STUDIED


LEARNS = (
    Condition("student_aux − cross_aux, paired", gain, Lower(above=0.1)),
    Condition("student_aux", accuracy("student_aux"), Mean(at_least=0.2)),
)
STAYS = (Condition("cross_aux", accuracy("cross_aux"), Within(CHANCE - 0.06, CHANCE + 0.06)),)

CLAIMS = (
    Claim(
        "M1",
        "A student trained only on noise images, only on auxiliary logits that mean nothing, "
        "learns to classify digits",
        "section 6.2, figure 10b",
        LEARNS,
        applies=lambda data: is_published(data) and is_first_studied(data),
    ),
    Claim(
        "M2",
        "The same student from another initialisation stays at chance",
        "section 6.2, figure 10b",
        STAYS,
        applies=lambda data: is_published(data) and is_first_studied(data),
        fixed="no",
    ),
    Claim(
        "G1",
        "The same holds for another network: the student learns to classify from noise, from "
        "another initialisation it does not",
        "section 6.2",
        LEARNS + STAYS,
        applies=lambda data: is_published(data) and not is_first_studied(data),
        fixed="no",
    ),
)


def estimates(data: xr.Dataset) -> Iterator[Row]:
    """Yield every quantity of a result that is shown."""
    at_end = final(data)
    students = [name for name in data.arm.values.tolist() if name not in (UNTRAINED, TEACHER)]
    for name in data.arm.values.tolist():
        yield Row("accuracy", name, stats.estimate(at_end.accuracy.sel(arm=name)))
    if is_published(data):
        yield Row("accuracy", "student_aux − cross_aux", gain(data))
    for name in students:
        yield Row(
            "accuracy through the teacher's class head",
            name,
            stats.estimate(at_end.teacher_head_accuracy.sel(arm=name)),
        )
    for name in students:
        yield Row("progress", name, stats.estimate(at_end.progress.sel(arm=name)))
    for name in students:
        last, first = at_end.imitation_loss.sel(arm=name), data.first_loss.sel(arm=name)
        share = "share of the imitation loss left"
        yield Row(f"{share}, mean of ratios", name, stats.estimate(last / first))
        yield Row(f"{share}, ratio of means", name, stats.ratio(last, first))
    if data.attrs["published"]:
        yield from published(at_end.accuracy)


def published(accuracy: xr.DataArray) -> Iterator[Row]:
    """Yield the paper's values, and how far those measured are from them.

    Distances are given as differences and in combined standard errors.
    """
    for arm, (mean, half_width) in PUBLISHED.items():
        measured = accuracy.sel(arm=arm)
        difference = stats.estimate(measured).shifted(-mean)
        error = np.hypot(stats.standard_error(measured), half_width / 1.96)
        z = Estimate(float(difference.value / error), np.nan, np.nan, difference.n)
        yield Row(
            "published accuracy", arm, Estimate(mean, mean - half_width, mean + half_width, 100)
        )
        yield Row("accuracy − published", arm, difference)
        yield Row("accuracy − published, in combined standard errors", arm, z)
