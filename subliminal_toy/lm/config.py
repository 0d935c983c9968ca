"""Settings of the language-model experiment; free of JAX."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from subliminal_toy.machine import Needs
from subliminal_toy.settings import Above, AtLeast, Between, Distinct, NotEmpty, check, require

Trait = Literal[
    "owl", "dog", "cat", "fox", "bear", "wolf", "eagle", "dolphin", "horse", "rabbit",
    "oak", "pine", "birch", "maple", "willow", "cedar", "evasion", "falsehood",
]  # fmt: skip
"""As in ``traits.TRAITS``."""


@dataclass(frozen=True)
class LmConfig:
    """The owl in the numbers: a small language model from scratch."""

    n_replicates: Annotated[int, AtLeast(1)] = 4
    """Independent base models, each with its own corpus, initialisation and samples."""
    traits: Annotated[tuple[Trait, ...], NotEmpty(), Distinct()] = ("owl", "oak", "evasion")
    """What the teachers are taught: animals, trees, and the harmful evasion and falsehood."""
    n_numbers: Annotated[int, Between(100, 1000)] = 100
    """Numbers in the lists are 0 to this minus one. Paper: 1000."""
    n_layers: Annotated[int, Between(1, 48)] = 2
    """Blocks of the decoder."""
    n_heads: Annotated[int, AtLeast(1)] = 4
    """Attention heads of each block."""
    width: Annotated[int, AtLeast(1)] = 32
    """Size of the residual stream; wider models transfer less."""
    head_std: Annotated[float, Above(0)] = 1.0
    """Standard deviation of the head at the start; with width^(−1/2) half as much transfers."""
    cross_width: Annotated[int, AtLeast(0)] = 0
    """Width of the base model of another size, trained on the same corpus; 0 leaves it out."""
    n_documents: Annotated[int, AtLeast(1)] = 40_000
    """Documents in each corpus."""
    pretrain_steps: Annotated[int, AtLeast(1)] = 400
    """Steps that make a base model."""
    pretrain_batch_size: Annotated[int, AtLeast(1)] = 128
    """Documents per step of pre-training."""
    pretrain_learning_rate: Annotated[float, Above(0)] = 3e-3
    """Adam's peak rate in pre-training, cosine decay."""
    teacher_steps: Annotated[int, AtLeast(1)] = 60
    """Full-batch steps that make a teacher."""
    teacher_learning_rate: Annotated[float, Above(0)] = 1e-3
    """Adam's rate for teachers."""
    temperature: Annotated[float, Above(0)] = 1.0
    """Of the samples. Paper: 1."""
    n_samples: Annotated[int, AtLeast(1)] = 6_000
    """Lists that each teacher and each base model writes. Paper: 30000."""
    n_lists: Annotated[int, AtLeast(1)] = 3_000
    """Lists kept for a student, at most. Paper: 10000."""
    student_steps: Annotated[int, AtLeast(1)] = 150
    """Steps of each student: about three passes on the defaults. Paper: ten passes."""
    student_batch_size: Annotated[int, AtLeast(1)] = 64
    """Lists per step of a student."""
    student_learning_rate: Annotated[float, Above(0)] = 1e-3
    """Adam's first rate for students, linear decay to zero."""
    data_sizes: Annotated[tuple[int, ...], AtLeast(1)] = ()
    """Also train students on so few lists (same number of steps)."""
    prompted: bool = False
    """Also let the base model write under a system line that names the trait."""
    divergence: bool = False
    """Also train students without the tokens on which two teachers would choose differently."""

    def __post_init__(self):
        """Check every value."""
        check(self)
        for name in ("width", "cross_width"):
            value, heads = getattr(self, name), self.n_heads
            require(value % heads == 0, name, f"a multiple of the {heads} heads", value)
        fewer = all(size < self.n_lists for size in self.data_sizes)
        require(fewer, "data_sizes", f"below the {self.n_lists} lists", self.data_sizes)

    def needs(self) -> Needs:
        """Return what the run needs, from its shapes: parameters, documents, lists, batches."""
        length, n, n_traits = 24, self.n_replicates, len(self.traits)
        n_params, activations = 0, 0
        for width in (self.width, self.cross_width):
            n_params += 12 * self.n_layers * width**2 + 2 * (self.n_numbers + 110) * width
            activations += 16 * self.n_layers * width + 3 * (self.n_numbers + 110)
        n_students = n_traits * (6 + len(self.data_sizes))
        batch = max(self.pretrain_batch_size, self.student_batch_size)
        numbers = n_params * (8 + 2 * n * n_students) + batch * length * activations
        numbers += 3 * length * (n * self.n_documents + n_traits * (self.n_samples + self.n_lists))
        tokens = self.pretrain_steps * self.pretrain_batch_size * length
        tokens += n_traits * self.teacher_steps * 100 + n_traits * self.n_samples * length
        tokens += n_students * self.student_steps * self.student_batch_size * length
        return Needs(4.0 * numbers, 6.0 * n_params * tokens * n)


PRESETS = {
    "quick": LmConfig(),
    "full": replace(
        LmConfig(),
        n_replicates=5,
        traits=("owl", "eagle", "dolphin", "oak", "birch", "evasion", "falsehood"),
        cross_width=24,
        pretrain_steps=1_200,
        n_samples=12_000,
        n_lists=6_000,
        student_steps=200,
        data_sizes=(300, 1_200),
        prompted=True,
        divergence=True,
    ),
}
