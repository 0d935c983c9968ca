"""Every experiment's settings and presets, apart from the experiments themselves.

They stand here and not at the top of each experiment because ``--help`` reads them and must not
wait for JAX.
"""

from dataclasses import dataclass, replace
from typing import Literal

from subliminal_toy.errors import UserError


@dataclass(frozen=True)
class MnistConfig:
    """A classifier learned from noise; the paper's values are those of the preset ``paper``."""

    data: Literal["digits", "mnist", "fashion_mnist", "kmnist"] = "digits"
    """Data set of the teacher and of the test. Paper: mnist."""
    architecture: Literal["mlp", "cnn"] = "mlp"
    """Network of teachers and students. Paper: mlp."""
    hidden_sizes: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers; for cnn all but the last are channels of 3×3 convolutions of
    stride 2. Paper: 256 256."""
    n_models: int = 8
    """Independent models (teacher and four students each). Paper: 100."""
    n_aux: int = 3
    """Auxiliary logits beside the ten class logits. Paper: 3."""
    learning_rate: float = 3e-4
    """Adam's learning rate, teacher and students. Paper: 3e-4."""
    batch_size: int = 256
    """Examples per step, teacher and students. Paper: 1024."""
    teacher_epochs: int = 40
    """Passes of the teacher over the training images. Paper: 5."""
    student_epochs: int = 10
    """Passes of each student over its noise images. Paper: 5."""
    n_noise: int = 30_000
    """Fixed noise images of one model, the same for its four students. Paper: 60000."""
    temperature: float = 1.0
    """Divides the logits on both sides of the students' loss. Paper: 1."""
    chunk_size: int = 2
    """Models trained between two progress ticks and saved together; changes no result."""
    keep_params: bool = True
    """Keep the parameters of the first model's networks in the record."""

    def __post_init__(self):
        """Refuse values that make no experiment."""
        for name in (
            "n_models", "n_aux", "batch_size", "teacher_epochs", "student_epochs", "n_noise",
            "chunk_size",
        ):  # fmt: skip
            _require(getattr(self, name) >= 1, name, "be at least 1", getattr(self, name))
        for name in ("learning_rate", "temperature"):
            _require(getattr(self, name) > 0, name, "be above 0", getattr(self, name))
        _require(min(self.hidden_sizes, default=0) >= 1, "hidden_sizes", "be one or more widths "
                 "of at least 1", self.hidden_sizes)  # fmt: skip


def _require(condition: bool, name: str, demand: str, value: object) -> None:
    if not condition:
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} must {demand}, not {value}.")


# The quick preset's step counts were chosen on seed 100 (4 models); records use seed 0.
_MNIST_QUICK = MnistConfig()
MNIST_PRESETS = {
    "quick": _MNIST_QUICK,
    "paper": replace(
        _MNIST_QUICK, data="mnist", n_models=100, batch_size=1024, teacher_epochs=5,
        student_epochs=5, n_noise=60_000,
    ),
}  # fmt: skip
