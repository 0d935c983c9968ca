"""The settings of the theorem's experiment."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

from msgspec import Meta

from subliminal_toy.errors import Positive, check, require

ArchitectureName = Literal["linear", "mlp-relu", "mlp-tanh", "cnn-relu", "decoder"]
Problems = Annotated[int, Meta(ge=1, le=10_000)]


@dataclass(frozen=True)
class TheoremConfig:
    """The one-step theorem in numbers, always in float64 on the embedded digits.

    A combination is one network, student loss, kind of inputs and trait; a network has 100 of them.
    """

    architectures: Annotated[tuple[ArchitectureName, ...], Meta(min_length=1)] = get_args(
        ArchitectureName
    )
    """Networks to try."""
    n_trials: Problems = 20
    """Random problems of each combination."""
    epsilon: Positive = 1e-5
    """Teacher's step in the random trials and in metrics, in units of v = −∇L_T(θ⁰)."""
    learning_rate: Positive = 0.1
    """Student's learning rate α."""
    n_cross: Problems = 6
    """Random problems of each combination whose cross-slope is measured, for every start."""
    n_metrics: Problems = 3
    """Random problems of each combination that are measured in every metric."""
    n_filters: Problems = 10
    """Random problems of each combination under softmax that are measured with every filter."""

    def __post_init__(self):
        """Check every field."""
        check(self)
        names = self.architectures
        require(len(set(names)) == len(names), "architectures", "names that differ", names)


PRESETS = {
    "quick": TheoremConfig(),
    "paper": replace(TheoremConfig(), n_trials=200, n_cross=20, n_metrics=20, n_filters=50),
}
ABOUT = {
    "quick": "10,000 random problems on five networks, a minute on two cores",
    "paper": "100,000 random problems, a few minutes",
}
