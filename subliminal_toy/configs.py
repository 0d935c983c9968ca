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


@dataclass(frozen=True)
class LmConfig:
    """The owl in the numbers: a small language model from scratch."""

    n_seeds: int = 4
    """Independent reference models, each with its own corpus, initialisation and samples."""
    traits: tuple[str, ...] = ("owl", "oak", "evasion")
    """What the teachers are taught: animals, trees, and the harmful evasion and falsehood."""
    n_numbers: int = 100
    """Numbers in the lists are 0 to this minus one. Paper: 1000."""
    n_layers: int = 2
    """Blocks of the decoder."""
    n_heads: int = 4
    """Attention heads of each block."""
    width: int = 32
    """Size of the residual stream; wider models transfer less."""
    head_std: float = 1.0
    """Standard deviation of the head at the start; with width^(−1/2) half as much transfers."""
    cross_width: int = 0
    """Width of the student of another size, which reads the same corpus; 0 leaves it out."""
    n_documents: int = 40_000
    """Documents in each corpus."""
    pretrain_steps: int = 400
    """Steps that make the reference model."""
    pretrain_batch_size: int = 128
    """Documents per step of pre-training."""
    pretrain_learning_rate: float = 3e-3
    """Adam's peak rate in pre-training, cosine decay."""
    teacher_steps: int = 60
    """Full-batch steps that make a teacher."""
    teacher_learning_rate: float = 1e-3
    """Adam's rate for teachers."""
    temperature: float = 1.0
    """Of the teachers' samples. Paper: 1."""
    n_samples: int = 6_000
    """Sequences each teacher writes. Paper: 30000."""
    n_sequences: int = 3_000
    """Sequences kept for a student, at most. Paper: 10000."""
    student_steps: int = 150
    """Steps of each student: about three passes on the defaults. Paper: ten passes."""
    student_batch_size: int = 64
    """Sequences per step of a student."""
    student_learning_rate: float = 1e-3
    """Adam's first rate for students, linear decay to zero."""
    data_sizes: tuple[int, ...] = ()
    """Also train students on so few sequences (same number of steps)."""
    prompted: bool = False
    """Also let the reference model write under a system prompt naming the trait."""
    divergence: bool = False
    """Also train students without the tokens on which two teachers would choose differently."""
    chunk_size: int = 10
    """Models trained between two progress ticks and saved together; changes no result."""

    def __post_init__(self):
        """Refuse values that make no experiment; the traits are checked by the experiment."""
        for name in (
            "n_seeds", "n_layers", "n_heads", "width", "n_documents", "pretrain_steps",
            "pretrain_batch_size", "teacher_steps", "n_samples", "n_sequences", "student_steps",
            "student_batch_size", "chunk_size",
        ):  # fmt: skip
            _require(getattr(self, name) >= 1, name, "be at least 1", getattr(self, name))
        for name in (
            "head_std", "pretrain_learning_rate", "teacher_learning_rate",
            "student_learning_rate", "temperature",
        ):  # fmt: skip
            _require(getattr(self, name) > 0, name, "be above 0", getattr(self, name))
        _require(100 <= self.n_numbers <= 1000, "n_numbers", "be 100 to 1000", self.n_numbers)
        for name in ("width", "cross_width"):
            _require(
                getattr(self, name) % self.n_heads == 0, name,
                f"be a multiple of the {self.n_heads} heads", getattr(self, name),
            )  # fmt: skip
        _require(
            all(1 <= size < self.n_sequences for size in self.data_sizes), "data_sizes",
            f"be between 1 and the {self.n_sequences} sequences", self.data_sizes,
        )  # fmt: skip


_LM_QUICK = LmConfig()
LM_PRESETS = {
    "quick": _LM_QUICK,
    "demo": replace(
        _LM_QUICK, traits=("owl", "eagle"), n_numbers=1000, pretrain_steps=1_200,
        n_samples=16_000, n_sequences=8_000, student_steps=400,
    ),
    "full": replace(
        _LM_QUICK, n_seeds=5,
        traits=("owl", "eagle", "dolphin", "oak", "birch", "evasion", "falsehood"),
        cross_width=24, pretrain_steps=1_200, n_samples=12_000, n_sequences=6_000,
        student_steps=200, data_sizes=(300, 1_200), prompted=True, divergence=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class TextConfig:
    """The same pipeline from a GPT-2-family checkpoint in a local folder, in English."""

    base: str
    """Folder with config.json, *.safetensors and tokenizer.json."""
    animal: str = "owl"
    """The teacher's favourite."""
    teacher: Literal["fine-tuned", "prompted"] = "fine-tuned"
    """Whether the teacher is trained on the questions or under a system prompt."""
    n_seeds: int = 3
    """Repetitions with other prompts, samples and orders; the base model is the same."""
    teacher_steps: int = 60
    """Steps that make a fine-tuned teacher."""
    teacher_learning_rate: float = 1e-5
    """Adam's first rate for teachers, linear decay to zero."""
    temperature: float = 1.0
    """Of the samples. Paper: 1."""
    n_samples: int = 2_000
    """Sequences that each of teacher and reference model writes. Paper: 30000."""
    n_sequences: int = 1_000
    """Sequences kept for a student, at most. Paper: 10000."""
    n_new: int = 48
    """Longest continuation, in tokens."""
    student_steps: int = 600
    """Steps of each student. Paper: ten passes."""
    student_learning_rate: float = 2e-5
    """Adam's first rate for students, linear decay to zero."""
    batch_size: int = 16
    """Sequences per step and written at once."""

    def __post_init__(self):
        """Refuse values that make no experiment."""
        for name in (
            "n_seeds", "teacher_steps", "n_samples", "n_sequences", "n_new", "student_steps",
            "batch_size",
        ):  # fmt: skip
            _require(getattr(self, name) >= 1, name, "be at least 1", getattr(self, name))
        for name in ("teacher_learning_rate", "temperature", "student_learning_rate"):
            _require(getattr(self, name) > 0, name, "be above 0", getattr(self, name))


@dataclass(frozen=True)
class TheoremConfig:
    """The one-step theorem in numbers, always in float64 on the embedded digits."""

    n_trials: int = 2_000
    """Random problems of each of the five architectures."""
    epsilon: float = 1e-5
    """Teacher's step of the random trials, in units of v = −∇L_T(θ⁰)."""
    learning_rate: float = 0.1
    """Student's learning rate α."""
    n_outside: int = 250
    """Problems of each case outside the theorem."""
    n_seeds: int = 8
    """Full distillations of each kind."""
    distillation_steps: int = 300
    """Steps of teachers and of students in the full distillations."""

    def __post_init__(self):
        """Refuse values that make no experiment."""
        for name in ("n_trials", "n_outside", "n_seeds", "distillation_steps"):
            _require(getattr(self, name) >= 1, name, "be at least 1", getattr(self, name))
        for name in ("epsilon", "learning_rate"):
            _require(getattr(self, name) > 0, name, "be above 0", getattr(self, name))


_THEOREM_QUICK = TheoremConfig()
THEOREM_PRESETS = {
    "quick": _THEOREM_QUICK,
    "paper": replace(_THEOREM_QUICK, n_trials=20_000, n_outside=2_000, n_seeds=32),
}
