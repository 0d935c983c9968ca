"""Settings of the classifier experiment, with the paper's values in the preset ``paper``."""

import math
import os
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Literal

from subliminal_toy.machine import Needs
from subliminal_toy.settings import (
    MOST,
    Above,
    AtLeast,
    AtMostValues,
    Distinct,
    NotEmpty,
    check,
    require,
)

IMAGES = {"digits": (64, 1_437), "mnist": (784, 60_000)}
"""Pixels and training images, by data set; the others are of MNIST's size."""


@dataclass(frozen=True)
class ClassifierConfig:
    """A classifier learned from noise."""

    data: Literal["digits", "mnist", "fashion_mnist", "kmnist"] = "digits"
    """Data set of the teacher and of the test. Paper: mnist."""
    architecture: Literal["mlp", "cnn"] = "mlp"
    """Network of teachers and students. Paper: mlp."""
    hidden_sizes: Annotated[tuple[int, ...], NotEmpty(), AtMostValues(16), AtLeast(1)] = (256, 256)
    """Widths of the hidden layers; for cnn all but the last are channels of 3×3 convolutions of
    stride 2. Paper: 256 256."""
    n_replicates: Annotated[int, AtLeast(1)] = 8
    """Independent replicates (a teacher and four students each). Paper: 100."""
    n_aux: Annotated[int, AtLeast(1)] = 3
    """Auxiliary logits beside the ten class logits. Paper: 3."""
    learning_rate: Annotated[float, Above(0)] = 3e-4
    """Adam's learning rate, teacher and students. Paper: 3e-4."""
    student_rate_ratio: Annotated[float, Above(0)] = 1.0
    """The students' learning rate in units of the teacher's. Paper: 1."""
    batch_size: Annotated[int, AtLeast(1)] = 256
    """Examples per step, teacher and students. Paper: 1024."""
    teacher_epochs: Annotated[int, AtLeast(1)] = 40
    """Passes of the teacher over the training images. Paper: 5."""
    student_epochs: Annotated[int, AtLeast(1)] = 10
    """Passes of each student over its noise images. Paper: 5."""
    n_inputs: Annotated[int, AtLeast(1)] = 30_000
    """Fixed noise images of one replicate, the same for its four students. Paper: 60000."""
    temperature: Annotated[float, Above(0)] = 1.0
    """Divides the logits on both sides of the students' loss. Paper: 1."""
    checkpoints: Annotated[tuple[int, ...], AtMostValues(64), AtLeast(0), Distinct()] = ()
    """Numbers of steps after which students are measured, besides the end."""
    keep_params: bool = True
    """Keep the parameters of the first three replicates' networks in the record."""

    def __post_init__(self):
        """Raise UserError for a value that breaks the constraint beside its field."""
        check(self)
        require(
            self.architecture == "mlp" or len(self.hidden_sizes) > 1,
            "hidden_sizes",
            "the channels of at least one convolution and then the width of the dense layer",
            self.hidden_sizes,
        )
        _, n_images = IMAGES.get(self.data, IMAGES["mnist"])
        passes = (
            ("teacher_epochs", n_images, ()),
            ("student_epochs", self.n_inputs, ("n_inputs",)),
        )
        for epochs, n, more in passes:
            # The last batch of an epoch is filled up.
            fits = getattr(self, epochs) * max(n, self.batch_size) <= MOST
            largest = max((epochs, "batch_size", *more), key=lambda field: getattr(self, field))
            most = f"so small that all passes together have at most {MOST} examples"
            require(fits, largest, most, getattr(self, largest))
        last = self.student_epochs * -(-self.n_inputs // self.batch_size) - 1
        before = max(self.checkpoints, default=0) <= last
        require(before, "checkpoints", f"at most {last} (before the end)", self.checkpoints)

    def follows(self, preset: str) -> bool:
        """Whether nothing but the number of replicates and what is kept differs from a preset."""
        kept = {name: getattr(self, name) for name in ("n_replicates", "keep_params")}
        return self == replace(PRESETS[preset], **kept)

    def needs(self) -> Needs:
        """Return what the run needs, from its shapes: parameters, examples, order of examples."""
        pixels, n_images = IMAGES.get(self.data, IMAGES["mnist"])
        widths = (pixels if self.architecture == "mlp" else 9, *self.hidden_sizes, 10 + self.n_aux)
        n_params = sum(math.prod(pair) for pair in pairwise(widths))
        taught, imitated = self.teacher_epochs * n_images, 4 * self.student_epochs * self.n_inputs
        # Four students at once: parameters, gradients and Adam's two moments; the teacher's.
        numbers = 18 * n_params + 8 * self.batch_size * sum(widths)
        # The order of the examples of every epoch, and what sorting one takes.
        numbers += max(taught, imitated / 4) + 6 * max(n_images, self.n_inputs)
        numbers = (os.cpu_count() or 1) * numbers + 1_000 * self.n_replicates
        return Needs(4.0 * numbers, 6.0 * n_params * (taught + imitated) * self.n_replicates)


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
        keep_params=False,
    ),
}
