"""The settings of the theorem's experiment."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from subliminal_toy.machine import Needs
from subliminal_toy.settings import Above, AtLeast, Between, Distinct, NotEmpty, check

ArchitectureName = Literal["linear", "mlp-relu", "mlp-tanh", "cnn-relu", "decoder"]


@dataclass(frozen=True)
class TheoremConfig:
    """The one-step theorem in numbers, always in float64 on the embedded digits.

    A combination is one network, student loss, kind of inputs and trait; a network has 100 of them.
    """

    architectures: Annotated[tuple[ArchitectureName, ...], NotEmpty(), Distinct()] = (
        "linear", "mlp-relu", "mlp-tanh", "cnn-relu", "decoder",
    )  # fmt: skip
    """Networks to try."""
    n_trials: Annotated[int, AtLeast(1)] = 20
    """Random problems of each combination."""
    epsilon: Annotated[float, Above(0)] = 1e-5
    """Teacher's step in the random trials, in units of v = −∇L_T(θ⁰)."""
    learning_rate: Annotated[float, Above(0)] = 0.1
    """Student's learning rate α."""
    n_cross: Annotated[int, AtLeast(1)] = 6
    """Random problems of each combination whose cross-slope is measured, for every start."""
    n_outside: Annotated[int, AtLeast(1)] = 3
    """Random problems of each combination for every case outside the theorem."""
    n_replicates: Annotated[int, AtLeast(1)] = 8
    """Full distillations from each start."""
    distillation_steps: Annotated[int, Between(1, 1_000_000_000)] = 300
    """Steps of teachers and of students in the full distillations."""

    def __post_init__(self):
        """Check every field."""
        check(self)

    def needs(self) -> Needs:
        """Return what the run needs, from its shapes: problems of 7,000 numbers, 100 at a time."""
        n_params, problem, combinations = 1_500, 7_000, 100 * len(self.architectures)
        at_once = 100 * max(self.n_cross, self.n_outside) + self.n_replicates
        memory = 16.0 * problem * at_once + 48.0 * combinations * (self.n_trials + self.n_cross)
        # A problem has 16 images and takes some ten gradients.
        one, drawn = 960 * n_params, self.n_trials + 5 * self.n_cross
        distilled = self.n_replicates * self.distillation_steps * 3 * 6 * 64 * n_params
        work = combinations * drawn * one + 500 * self.n_outside * one + distilled
        return Needs(memory, float(work))


_QUICK = TheoremConfig()
PRESETS = {
    "quick": _QUICK,
    "paper": replace(_QUICK, n_trials=200, n_cross=20, n_outside=20, n_replicates=32),
}
