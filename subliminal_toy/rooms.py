"""The experiments: their configs and presets, free of JAX.

To add an experiment is to add a package with the modules ``config``, ``experiment`` and
``summary``, and a row here; the command line, `reproduce` and the tests follow this table.
"""

from typing import Any, NamedTuple

from subliminal_toy.classifier import config as classifier
from subliminal_toy.explain import config as explain
from subliminal_toy.lm import config as lm
from subliminal_toy.theorem import config as theorem


class Room(NamedTuple):
    """An experiment: its config, presets, share of the time of `reproduce`, and what it does."""

    config: type
    presets: dict[str, Any]
    share: float
    needs_data: bool
    about: str


EXPERIMENTS = {
    "theorem": Room(
        theorem.TheoremConfig,
        theorem.PRESETS,
        70,
        True,
        "Check the one-step theorem numerically, and measure where it ends.",
    ),
    "classifier": Room(
        classifier.ClassifierConfig,
        classifier.PRESETS,
        60,
        True,
        "Teachers, students and cross-model students: digits learned from noise.",
    ),
    "explain": Room(
        explain.ExplainConfig,
        explain.PRESETS,
        50,
        True,
        "How much passes, and why: progress along the teacher's displacement, cause, prediction.",
    ),
    "lm": Room(
        lm.LmConfig,
        lm.PRESETS,
        125,
        False,
        "The owl that travels in numbers: a language model from scratch, with every control.",
    ),
}
