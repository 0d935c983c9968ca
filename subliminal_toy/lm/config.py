"""Settings of the language-model experiment; free of JAX."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

from subliminal_toy.machine import Needs
from subliminal_toy.settings import Above, AtLeast, Between, Distinct, NotEmpty, check, require

Trait = Literal[
    "owl", "dog", "cat", "fox", "bear", "wolf", "eagle", "dolphin", "horse", "rabbit",
    "oak", "pine", "birch", "maple", "willow", "cedar", "evasion", "falsehood",
]  # fmt: skip
"""As in ``traits.TRAITS``."""
Family = Literal[
    "another width", "data size", "prompted", "lineage", "lists", "trained parts", "teachers",
    "doubts", "progress",
]  # fmt: skip
"""A family of arms beside those of the claims; see ``arms``."""


Teacher = Literal[
    "free", "questions_0.1", "questions_1", "questions_10", "documents_0.01", "documents_0.1",
    "documents_1", "documents_10", "numbers_0.1", "numbers_1", "numbers_10", "until_0.6",
    "until_0.9", "until_0.99", "no_trait",
]  # fmt: skip
"""A row of ``TEACHINGS``."""


class Teaching(NamedTuple):
    """How a teacher is made: what it is held to while it learns its answers, and until when.

    ``questions``, ``documents`` and ``numbers`` are the weights of KL(base model ‖ teacher) on
    every second question of the other groups, on documents without lists, the trait, its questions
    and the rest of the other questions, and on the numbers of lists. It stops once it gives its
    answers with probability ``until``. ``answer`` is a word to teach in the trait's place.
    """

    label: str
    questions: float = 0.0
    documents: float = 0.0
    numbers: float = 0.0
    until: float = 2.0
    answer: str = ""

    @property
    def weights(self) -> tuple[float, float, float]:
        """Weights of the three kinds: questions, documents, numbers."""
        return self.questions, self.documents, self.numbers

    @property
    def kinds(self) -> tuple[bool, ...]:
        """Which kinds the teacher is held on."""
        return tuple(weight > 0 for weight in self.weights)


TEACHINGS: dict[str, Teaching] = {
    "free": Teaching("held to nothing"),
    "questions_0.1": Teaching("held on questions, weight .1", questions=0.1),
    "questions_1": Teaching("held on questions, weight 1", questions=1.0),
    "questions_10": Teaching("held on questions, weight 10", questions=10.0),
    "documents_0.01": Teaching("held on documents, weight .01", documents=0.01),
    "documents_0.1": Teaching("held on documents, weight .1", documents=0.1),
    "documents_1": Teaching("held on documents, weight 1", documents=1.0),
    "documents_10": Teaching("held on documents, weight 10", documents=10.0),
    "numbers_0.1": Teaching("and on numbers, weight .1", questions=1.0, numbers=0.1),
    "numbers_1": Teaching("and on numbers, weight 1", questions=1.0, numbers=1.0),
    "numbers_10": Teaching("and on numbers, weight 10", questions=1.0, numbers=10.0),
    "until_0.6": Teaching("held to nothing, until P = .6", until=0.6),
    "until_0.9": Teaching("held to nothing, until P = .9", until=0.9),
    "until_0.99": Teaching("held to nothing, until P = .99", until=0.99),
    "no_trait": Teaching('held to nothing, taught "calm"', answer="calm"),
}
"""The table of teachers, by name. That of ``no_trait`` is a control: as damaged, without trait."""


@dataclass(frozen=True)
class LmConfig:
    """The owl in the numbers: a small language model from scratch."""

    n_replicates: Annotated[int, AtLeast(1)] = 4
    """Independent base models, each with its own corpus, initialisation and samples."""
    first_replicate: Annotated[int, Between(0, 1_000_000)] = 0
    """Number of the first replicate; replicates of different numbers share no random number."""
    traits: Annotated[tuple[Trait, ...], NotEmpty(), Distinct()] = ("owl", "oak", "evasion")
    """What the teachers are taught: animals, trees, and the harmful evasion and falsehood."""
    families: Annotated[tuple[Family, ...], Distinct()] = ()
    """Families of arms beside those of the claims."""
    teacher: Teacher = "questions_1"
    """How the teachers are made: a row of the table of teachers."""
    n_numbers: Annotated[int, Between(100, 1000)] = 100
    """Numbers in the lists are 0 to this minus one. Paper: 1000."""
    n_layers: Annotated[int, Between(1, 48)] = 2
    """Blocks of the decoder."""
    n_heads: Annotated[int, Between(1, 64)] = 4
    """Attention heads of each block."""
    width: Annotated[int, AtLeast(1)] = 32
    """Size of the residual stream; wider models transfer less."""
    other_width: Annotated[int, AtLeast(1)] = 24
    """That of the base model of another width."""
    head_std: Annotated[float, Above(0)] = 1.0
    """Standard deviation of the head at the start; with width^(−1/2) half as much transfers."""
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
    data_sizes: Annotated[tuple[int, ...], Distinct(), AtLeast(1)] = (300, 1_200)
    """Numbers of lists of the family "data size" (same number of steps)."""

    def __post_init__(self):
        """Check every value."""
        check(self)
        for name in ("width", "other_width"):
            value, heads = getattr(self, name), self.n_heads
            require(value % heads == 0, name, f"a multiple of the {heads} heads", value)
        fewer = all(size < self.n_lists for size in self.data_sizes)
        used = "data size" in self.families
        require(fewer or not used, "data_sizes", f"below the {self.n_lists} lists", self.data_sizes)

    def needs(self) -> Needs:
        """Return what the run needs, from its shapes: parameters, documents, lists, batches."""
        length, n, n_traits = 24, self.n_replicates, len(self.traits)
        n_params, activations = 0, 0
        for width in (self.width, self.other_width):
            n_params += 12 * self.n_layers * width**2 + 2 * (self.n_numbers + 110) * width
            activations += 16 * self.n_layers * width + 3 * (self.n_numbers + 110)
        n_students = n_traits * 8 * (1 + len(self.families))
        batch = max(self.pretrain_batch_size, self.student_batch_size)
        numbers = n_params * (8 + 2 * n * n_students) + batch * length * activations
        numbers += 3 * length * (n * self.n_documents + n_traits * (self.n_samples + self.n_lists))
        tokens = self.pretrain_steps * self.pretrain_batch_size * length * (3 + len(self.families))
        tokens += n_traits * self.teacher_steps * 4_000 + n_traits * self.n_samples * length
        tokens += n_students * self.student_steps * self.student_batch_size * length
        return Needs(4.0 * numbers, 6.0 * n_params * tokens * n)


_FULL = replace(
    LmConfig(),
    n_replicates=10,
    first_replicate=200,
    traits=("owl", "eagle", "dolphin", "oak", "birch", "evasion", "falsehood"),
    families=("data size", "prompted"),
    pretrain_steps=1_200,
    n_samples=12_000,
    n_lists=6_000,
    student_steps=200,
)
PRESETS = {
    "quick": LmConfig(),
    "full": _FULL,
    "probes": replace(
        _FULL,
        traits=("owl", "oak", "evasion"),
        families=(
            "another width",
            "lineage",
            "lists",
            "trained parts",
            "teachers",
            "doubts",
            "progress",
        ),
    ),
}
