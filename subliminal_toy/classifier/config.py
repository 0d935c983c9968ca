"""Settings of the classifier experiment, with the paper's values in the preset ``paper``."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

from msgspec import Meta

from subliminal_toy.errors import Positive, check, require

Epochs = Annotated[int, Meta(ge=1, le=1_000)]
FREE = ("arms", "data", "n_replicates")
"""What can be set where the table of arms decides all else."""


@dataclass(frozen=True)
class ClassifierConfig:
    """A classifier learned from noise."""

    data: Literal["digits", "mnist", "fashion_mnist", "kmnist"] = "digits"
    """Data set of the teacher and of the test. Paper: mnist."""
    arms: Literal["published", "explain", "explain-quick", "disputes"] = "published"
    """The table of arms: the paper's, those that explain how much a student takes over, or what
    others disagree about; the last three have sizes and lengths of their own."""
    architecture: Literal["mlp", "cnn"] = "mlp"
    """Network of teachers and students. Paper: mlp."""
    hidden_sizes: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=100_000)], ...], Meta(min_length=1, max_length=16)
    ] = (256, 256)
    """Widths of the hidden layers; for cnn all but the last are channels of 3×3 convolutions of
    stride 2. Paper: 256 256."""
    n_replicates: Annotated[int, Meta(ge=1, le=1_000_000)] = 8
    """Independent replicates (a teacher and its students each). Paper: 100."""
    n_aux: Annotated[int, Meta(ge=1, le=100_000)] = 3
    """Auxiliary logits beside the ten class logits. Paper: 3."""
    learning_rate: Positive = 3e-4
    """Adam's learning rate, teacher and students. Paper: 3e-4."""
    student_rate_ratio: Positive = 1.0
    """The students' learning rate in units of the teacher's. Paper: 1."""
    batch_size: Annotated[int, Meta(ge=1, le=1_000_000)] = 256
    """Examples per step, teacher and students. Paper: 1024."""
    teacher_epochs: Epochs = 40
    """Passes of the teacher over the training images. Paper: 5."""
    student_epochs: Epochs = 10
    """Passes of each student over its noise images. Paper: 5."""
    n_inputs: Annotated[int, Meta(ge=1, le=1_000_000)] = 30_000
    """Fixed noise images of one replicate, the same for its four students. Paper: 60000."""
    temperature: Positive = 1.0
    """Divides the logits on both sides of the students' loss. Paper: 1."""
    checkpoints: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=2**31 - 1)], ...], Meta(max_length=64)
    ] = ()
    """Numbers of steps after which students are measured, besides the end."""

    def __post_init__(self):
        """Raise UserError for a value that breaks the bound beside its field."""
        check(self)
        require(
            self.architecture == "mlp" or len(self.hidden_sizes) > 1,
            "hidden_sizes",
            "the channels of at least one convolution and then the width of the dense layer",
            self.hidden_sizes,
        )
        last = self.student_epochs * -(-self.n_inputs // self.batch_size) - 1
        ascending = sorted(set(self.checkpoints))
        require(
            len(ascending) == len(self.checkpoints) and max(ascending, default=0) <= last,
            "checkpoints",
            f"different numbers up to {last} (before the end)",
            self.checkpoints,
        )
        for field in fields(self) if self.arms != "published" else ():
            value = getattr(self, field.name)
            left_alone = field.name in FREE or value == field.default
            require(left_alone, field.name, f"left alone with the arms {self.arms}", value)

    def follows(self, preset: str) -> bool:
        """Whether nothing but the number of replicates differs from a preset."""
        return self == replace(PRESETS[preset], n_replicates=self.n_replicates)


# The quick preset's numbers of epochs were chosen on seed 100 (4 replicates); records use seed 0.
_QUICK = ClassifierConfig()
PRESETS = {
    "quick": _QUICK,
    "paper": replace(
        _QUICK,
        data="mnist",
        n_replicates=100,
        batch_size=1024,
        teacher_epochs=5,
        student_epochs=5,
        n_inputs=60_000,
    ),
    # What the page trains in the browser: students see no input twice.
    "live": replace(
        _QUICK,
        hidden_sizes=(64, 64),
        n_replicates=64,
        learning_rate=1e-3,
        student_rate_ratio=3.0,
        batch_size=64,
        student_epochs=1,
        n_inputs=1_500 * 64,
        checkpoints=(0, 20, 40, 60, 100, 140, 200, 300, 400, 500, 600, 800, 1_000, 1_200),
    ),
    "explain": replace(_QUICK, arms="explain", n_replicates=12),
    "explain-quick": replace(_QUICK, arms="explain-quick", n_replicates=4),
    "disputes": replace(_QUICK, arms="disputes", n_replicates=16),
}
ABOUT = {
    "quick": "8 replicates on scikit-learn's digits; a minute on 2 cores",
    "paper": "the paper's protocol, 100 replicates on MNIST; 21 minutes on 2 cores",
    "live": "what the page trains in the browser, 64 replicates on digits; 5 minutes on 2 cores",
    "explain": "45 students of 50 auxiliary logits, 12 replicates on digits, 36 on MNIST (--data "
    "mnist): claim E6",
    "explain-quick": "8 such students on fewer inputs, 4 replicates on digits; half a minute on 2 "
    "cores",
    "disputes": "163 students of other starts, distances, inputs, optimisers and losses, and of "
    "chains, 16 replicates on digits: what others disagree about; 45 minutes of one core",
}
