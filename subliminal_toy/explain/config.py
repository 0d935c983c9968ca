"""Settings of the experiment on how much is transferred."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from subliminal_toy.machine import Needs
from subliminal_toy.settings import AtLeast, check

SIZES = {
    "digits": (12_000, 64 * 30_208, {"short": 4e6, "whole": 2e7}),
    "mnist": (282_000, 784 * 84_576, {"short": 3e6, "whole": 1.3e7}),
}
"""By data set (the others are of MNIST's size): parameters of the network, pixels of the largest
set of inputs and of the training images, and inputs that a replicate's students see."""


@dataclass(frozen=True)
class ExplainConfig:
    """How much a student takes over, explained, caused and predicted by its progress.

    The data set decides sizes and lengths: see ``explain.arms``.
    """

    data: Literal["digits", "mnist", "fashion_mnist", "kmnist"] = "digits"
    """Data set of the teacher and of the test."""
    table: Literal["short", "whole"] = "short"
    """short: a dozen students; whole: what the claims ask for."""
    n_replicates: Annotated[int, AtLeast(2)] = 4
    """Independent replicates (a teacher and all its students)."""

    def __post_init__(self):
        """Check every field."""
        check(self)

    def needs(self) -> Needs:
        """Return what the run needs, from the shapes of its tables."""
        n_params, pixels, seen = SIZES.get(self.data, SIZES["mnist"])
        work = 6.0 * n_params * seen[self.table] * self.n_replicates
        return Needs(4.0 * (50 * n_params + pixels + 10_000 * self.n_replicates), work)


_QUICK = ExplainConfig()
PRESETS = {"quick": _QUICK, "full": replace(_QUICK, table="whole", n_replicates=8)}
