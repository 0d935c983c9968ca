"""What a result of the classifier says: arms, differences, claims M1, M2 and G1."""

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.classifier.arms import PUBLISHED
from subliminal_toy.classifier.config import ClassifierConfig
from subliminal_toy.data import N_CLASSES

CHANCE = 1 / N_CLASSES
LEAST_GAIN, NEAR_CHANCE, MOST_LEFT = 0.1, 0.06, 0.1
"""M1: of the student over the cross-model student. M2: around chance; of the imitation loss."""
FIRST_STUDIED = ("digits", "mnist")
"""Data sets on which an MLP is M1 and M2; any other network or data set is G1."""
NETWORKS = {"mlp": "an MLP", "cnn": "a convolutional network"}

LEARNS = (
    "A student trained only on noise images, only on auxiliary logits that mean nothing, learns to "
    "classify digits"
)
GAIN = (
    f"student_aux − cross_aux, paired: lower end of the interval above {LEAST_GAIN:g}; mean of "
    f"student_aux above {2 * CHANCE:g}"
)
STAYS = "The same student from another initialisation stays at chance on its own class outputs"
AT_CHANCE = (
    f"cross_aux: whole interval within {NEAR_CHANCE:g} of {CHANCE:g}; it has learned to imitate: "
    f"its imitation loss at most {MOST_LEFT:g} of that at its start, on average"
)


def summarize(config: ClassifierConfig, data: xr.Dataset) -> dict:
    """Return the summary of a result.

    ``conditions`` has each arm's accuracy, ``teacher_head`` that through the teacher's class head.
    For a run that follows the paper ``published`` has each arm's difference from the paper's value,
    in combined standard errors.
    """
    return {
        "n_replicates": config.n_replicates,
        "diverged": int(data.diverged.any("arm").sum()),
        "conditions": _json(data.accuracy),
        "teacher_head": _json(data.teacher_head_accuracy),
        "imitation_loss": _json(data.imitation_loss),
        "progress": _json(data.progress),
        "claims": [stats.as_json(claim) for claim in claims(config, data)],
        "published": compare(_by_arm(data.accuracy)) if config.follows("paper") else None,
    }


def _by_arm(values: xr.DataArray) -> dict[str, stats.Estimate]:
    return {arm: stats.estimate(values.sel(arm=arm)) for arm in values.arm.values.tolist()}


def _json(values: xr.DataArray) -> dict[str, dict]:
    return {arm: stats.as_json(e) for arm, e in _by_arm(values).items()}


def claims(config: ClassifierConfig, data: xr.Dataset) -> list[stats.Claim]:
    """Return M1 and M2, or G1 for a network or a data set beyond the first studied."""
    of = _by_arm(data.accuracy)
    student, cross = of["student_aux"], of["cross_aux"]
    gain = stats.estimate(data.accuracy.sel(arm="student_aux") - data.accuracy.sel(arm="cross_aux"))
    left = stats.estimate((data.imitation_loss / data.first_loss).sel(arm="cross_aux"))
    diverged = int(data.diverged.any("arm").sum())
    untested = f"{diverged} of {len(data.replicate)} replicates diverged" if diverged else ""
    learns = gain.lower > LEAST_GAIN and student.mean > 2 * CHANCE
    stays = cross.within(CHANCE - NEAR_CHANCE, CHANCE + NEAR_CHANCE) and left.mean < MOST_LEFT
    if config.architecture == "mlp" and config.data in FIRST_STUDIED:
        return [
            stats.judge("M1", LEARNS, GAIN, gain, learns, (student,), untested),
            stats.judge("M2", STAYS, AT_CHANCE, cross, stays, (left,), untested),
        ]
    general = (
        f"The same holds for {NETWORKS[config.architecture]}: the student learns to classify from "
        "noise, from another initialisation it does not"
    )
    used, criterion = (student, cross, left), f"{GAIN}; {AT_CHANCE}"
    return [stats.judge("G1", general, criterion, gain, learns and stays, used, untested)]


def compare(conditions: dict[str, stats.Estimate]) -> dict[str, dict[str, float | None]]:
    """Return published mean, difference and its size in combined standard errors, by arm."""
    rows = {}
    for arm, (mean, half_width) in PUBLISHED.items():
        ours = conditions[arm]
        combined = float(np.hypot(ours.standard_error, half_width / 1.96))
        difference = ours.mean - mean
        z = difference / combined if ours.n > 1 else None
        rows[arm] = {"published": mean, "half_width": half_width, "difference": difference, "z": z}
    return rows
