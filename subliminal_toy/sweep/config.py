"""Settings of ``sweep``, which varies fields of an experiment, and of ``compare``."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta
from tyro.conf import Positional, UseAppendAction

from subliminal_toy.errors import Count, check

Data = Literal["digits", "mnist", "fashion_mnist", "kmnist"]


@dataclass(frozen=True)
class SweepConfig:
    """An experiment, with one or two of its fields varied."""

    experiment: Positional[Literal["classifier", "theorem", "lm"]]
    """What is run at each value."""
    over: Annotated[UseAppendAction[tuple[tuple[str, ...], ...]], Meta(max_length=2)] = ()
    """A field and its values, such as: n_aux 1 3 10, or student.learning_rate 1e-4..1e-2 (two
    values a decade). Given twice, every pair of values."""
    base: str = "quick"
    """Preset of the experiment, of which all else is taken."""
    data: Data = "digits"
    """Data set of the classifier."""
    n_replicates: Count | None = None
    """Replicates at each value; the preset's if not given."""

    def __post_init__(self):
        """Raise UserError for a value that breaks the bound beside its field."""
        check(self)


@dataclass(frozen=True)
class CompareConfig:
    """Published set-ups of ``compare.toml``."""

    factors: tuple[str, ...] = ()
    """Factors whose set-ups are run, such as "weight decay"; all if not given."""
    n_replicates: Annotated[int, Meta(ge=2, le=1_000)] = 8
    """Replicates of every set-up."""
    data: Data = "mnist"
    """Data set; all values were published for mnist."""

    def __post_init__(self):
        """Raise UserError for a value that breaks the bound beside its field."""
        check(self)


SWEEP_PRESETS = {"quick": SweepConfig("classifier")}
SWEEP_ABOUT = {"quick": "the experiment's own quick preset at every value"}
COMPARE_PRESETS = {
    "quick": CompareConfig(("protocol",), n_replicates=4),
    "full": CompareConfig(),
}
COMPARE_ABOUT = {
    "quick": "the paper's protocol, 4 replicates; minutes on 2 cores",
    "full": "140 published values, 8 replicates; 6 hours of one core",
}
