"""The table of experiments; free of JAX, so that ``--help`` is quick.

To add an experiment is to add a package with the modules ``config``, ``experiment`` and ``claims``,
and a row here; the command line follows this table.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from subliminal_toy.classifier import config as classifier
from subliminal_toy.lm import config as lm
from subliminal_toy.sweep import config as sweep
from subliminal_toy.theorem import config as theorem

if TYPE_CHECKING:
    import xarray as xr

    from subliminal_toy.claims import Judgement
    from subliminal_toy.record import Record


class Entry(NamedTuple):
    """An experiment: its purpose, its presets and what each sets and costs, its package.

    ``shown``: the quantity of which a run prints the means when it ends.
    """

    purpose: str
    presets: dict[str, Any]
    about: dict[str, str]
    package: str
    shown: str
    needs_data: bool = True

    def module(self, name: str) -> Any:
        """Import a module of its package."""
        return import_module(f"{self.package}.{name}")


EXPERIMENTS = {
    "theorem": Entry(
        "Check the one-step theorem numerically, and measure where it ends.",
        theorem.PRESETS,
        theorem.ABOUT,
        "subliminal_toy.theorem",
        "other starts: median of C/A",
    ),
    "classifier": Entry(
        "A classifier learned from noise: teachers, students, controls, and what explains them.",
        classifier.PRESETS,
        classifier.ABOUT,
        "subliminal_toy.classifier",
        "accuracy",
    ),
    "lm": Entry(
        "The owl that travels in numbers: a language model from scratch, with every control.",
        lm.PRESETS,
        lm.ABOUT,
        "subliminal_toy.lm",
        "P(own trait)",
        needs_data=False,
    ),
    "sweep": Entry(
        "Vary one field or two of an experiment: sweep classifier --over n_aux 1 3 10.",
        sweep.SWEEP_PRESETS,
        sweep.SWEEP_ABOUT,
        "subliminal_toy.sweep",
        "accuracy",
    ),
    "compare": Entry(
        "Run what others published of this experiment, and hold it against their values.",
        sweep.COMPARE_PRESETS,
        sweep.COMPARE_ABOUT,
        "subliminal_toy.sweep",
        "here − published, z",
    ),
}


class Run(NamedTuple):
    """A run of ``reproduce``: an experiment, its preset, its share of the time."""

    experiment: str
    preset: str
    share: float


REPRODUCE = {
    "quick": {
        "theorem": Run("theorem", "quick", 35.0),
        "classifier": Run("classifier", "quick", 60.0),
        "explain": Run("classifier", "explain-quick", 50.0),
        "lm": Run("lm", "quick", 125.0),
    },
    "paper": {
        "theorem": Run("theorem", "paper", 5.0),
        "classifier": Run("classifier", "paper", 25.0),
        "explain": Run("classifier", "explain", 50.0),
        "lm": Run("lm", "full", 50.0),
    },
}
"""What ``reproduce`` runs, by its own preset and by the folder of the record."""

QUICK_CLAIMS = frozenset({"T1", "T2", "T3", "T4", "T5", "M1", "L1", "L5b"})
"""What the quick preset of ``reproduce`` decides: the others need more replicates than it has."""


def judged(experiment: str, data: "xr.Dataset", stored: list[dict[str, Any]]) -> "list[Judgement]":
    """Return the judgements of an experiment's claims on a result, and those stored of earlier."""
    from subliminal_toy.claims import as_stored, judge
    from subliminal_toy.errors import UserError

    if experiment not in EXPERIMENTS:
        raise UserError(f"There is no experiment '{experiment}'.")
    claims = EXPERIMENTS[experiment].module("claims")
    return judge(claims.CLAIMS, data) + as_stored(getattr(claims, "EARLIER", ()), stored)


def load(directory: Path) -> "Record":
    """Read and verify a record, and judge its claims; raises UserError."""
    from subliminal_toy import record

    return record.load(directory, judged)
