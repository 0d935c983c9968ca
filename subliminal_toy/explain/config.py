"""Settings of the experiment on how much is transferred."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from subliminal_toy.settings import AtLeast, check


@dataclass(frozen=True)
class ExplainConfig:
    """How much a student takes over, explained, caused and predicted by its progress.

    The data set decides sizes and lengths: see ``explain.arms``.
    """

    data: Literal["digits", "mnist", "fashion_mnist", "kmnist"] = "digits"
    """Data set of the teacher and of the test."""
    table: Literal["short", "whole"] = "short"
    """short: a dozen students; whole: what the claims ask for."""
    n_replicates: Annotated[int, AtLeast(1)] = 4
    """Independent replicates (a teacher and all its students)."""

    def __post_init__(self):
        """Check every field."""
        check(self)


_QUICK = ExplainConfig()
PRESETS = {"quick": _QUICK, "full": replace(_QUICK, table="whole", n_replicates=8)}
