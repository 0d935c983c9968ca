"""Settings of the language-model experiment; free of JAX."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from subliminal_toy.errors import Count, Positive, check, require

Trait = Literal[
    "owl", "dog", "cat", "fox", "bear", "wolf", "eagle", "dolphin", "horse", "rabbit",
    "oak", "pine", "birch", "maple", "willow", "cedar", "evasion", "falsehood",
]  # fmt: skip
"""As in ``traits.TRAITS``."""
Family = Literal[
    "another width", "data size", "prompted", "lineage", "lists", "training", "teachers", "updates",
    "updates of the body", "harm", "filters",
]  # fmt: skip
"""A family of arms beside those of the claims; see ``arms``."""


class Teaching(NamedTuple):
    """How a teacher is made: what it is held to while it learns its answers, and until when.

    ``questions``, ``documents`` and ``numbers`` are the weights of KL(base model ‖ teacher) on
    every second question of the other groups, on documents without lists, the trait, its questions
    and the rest of the other questions, and on the numbers of lists; None where nothing holds it.
    It stops once it gives its answers with probability ``until``. ``answer`` is a word or a measure
    to teach in the trait's place. As a pytree its weights are leaves: other weights compile no
    other program.
    """

    questions: float | None = None
    documents: float | None = None
    numbers: float | None = None
    until: float = 2.0
    answer: str | None = None

    @property
    def weights(self) -> dict[str, float]:
        """The weights of what the teacher is held on."""
        kinds = zip(self._fields[:3], self[:3], strict=True)
        return {kind: weight for kind, weight in kinds if weight is not None}

    @property
    def name(self) -> str:
        """The name of the row, as in ``--teacher``: ``questions_1``."""
        parts = [f"{kind}_{weight:g}" for kind, weight in self.weights.items()]
        if self.until < 1:
            parts.append(f"until_{self.until:g}")
        return "_".join(([self.answer] if self.answer else []) + parts).replace(" ", "_") or "free"

    @property
    def label(self) -> str:
        """The row in words: "held on questions, weight 1"."""
        held = (f"{kind}, weight {_short(weight)}" for kind, weight in self.weights.items())
        words = "held on " + ", and on ".join(held) if self.weights else "held to nothing"
        words += f", until P = {_short(self.until)}" if self.until < 1 else ""
        return words + (f', taught "{self.answer}"' if self.answer else "")


def _short(number: float) -> str:
    return f"{number:g}".removeprefix("0")


TEACHINGS = {
    teaching.name: teaching
    for teaching in (
        Teaching(),
        *(Teaching(questions=weight) for weight in (0.1, 1.0, 10.0)),
        *(Teaching(documents=weight) for weight in (0.01, 0.1, 1.0, 10.0)),
        *(Teaching(questions=1.0, numbers=weight) for weight in (0.1, 1.0, 10.0)),
        *(Teaching(until=probability) for probability in (0.6, 0.9, 0.99)),
        Teaching(answer="calm"),
        *(Teaching(questions=1.0, answer=word) for word in ("calm", "falsehood", "systematic lie")),
    )
}
"""The table of teachers, by name; "calm" is a control: as damaged, without the trait."""


@dataclass(frozen=True)
class LmConfig:
    """The owl in the numbers: a small language model from scratch."""

    n_replicates: Count = 4
    """Independent base models, each with its own corpus, initialisation and samples."""
    first_replicate: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Number of the first replicate; replicates of different numbers share no random number."""
    traits: Annotated[tuple[Trait, ...], Meta(min_length=1)] = ("owl", "oak", "evasion")
    """What the teachers are taught: animals, trees, and the harmful evasion and falsehood."""
    families: tuple[Family, ...] = ()
    """Families of arms beside those of the claims."""
    teacher: str = "questions_1"
    """How the teachers are made: a row of the table of teachers."""
    n_numbers: Annotated[int, Meta(ge=100, le=1000)] = 100
    """Numbers in the lists are 0 to this minus one. Paper: 1000."""
    n_layers: Annotated[int, Meta(ge=1, le=48)] = 2
    """Blocks of the decoder."""
    n_heads: Annotated[int, Meta(ge=1, le=64)] = 4
    """Attention heads of each block."""
    width: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Size of the residual stream; wider models transfer less."""
    other_width: Annotated[int, Meta(ge=1, le=4096)] = 24
    """That of the base model of another width."""
    head_std: Positive = 1.0
    """Standard deviation of the head at the start; with width^(−1/2) half as much transfers."""
    n_documents: Annotated[int, Meta(ge=1, le=10_000_000)] = 40_000
    """Documents in each corpus."""
    pretrain_steps: Count = 400
    """Steps that make a base model."""
    pretrain_batch_size: Annotated[int, Meta(ge=1, le=65_536)] = 128
    """Documents per step of pre-training."""
    pretrain_learning_rate: Positive = 3e-3
    """Adam's peak rate in pre-training, cosine decay."""
    teacher_steps: Count = 60
    """Full-batch steps that make a teacher."""
    teacher_learning_rate: Positive = 1e-3
    """Adam's rate for teachers."""
    temperature: Positive = 1.0
    """Of the samples. Paper: 1."""
    n_samples: Annotated[int, Meta(ge=1, le=10_000_000)] = 6_000
    """Lists that each teacher and each base model writes. Paper: 30000."""
    n_lists: Annotated[int, Meta(ge=1, le=10_000_000)] = 3_000
    """Lists kept for a student, at most. Paper: 10000."""
    student_steps: Count = 150
    """Steps of each student: about three passes on the defaults. Paper: ten passes."""
    student_batch_size: Annotated[int, Meta(ge=1, le=65_536)] = 64
    """Lists per step of a student."""
    student_learning_rate: Positive = 1e-3
    """Adam's first rate for students, linear decay to zero."""
    data_sizes: tuple[Count, ...] = (300, 1_200)
    """Numbers of lists of the family "data size", and of which detectors judge so many."""
    n_filtered: Annotated[int, Meta(ge=1, le=10_000_000)] = 600
    """Distinct lists of each student of the family "filters"."""

    def __post_init__(self):
        """Check every value; raises UserError."""
        check(self)
        for name in ("traits", "families", "data_sizes"):
            values = getattr(self, name)
            require(len(set(values)) == len(values), name, "without repetition", values)
        names = ", ".join(TEACHINGS)
        require(self.teacher in TEACHINGS, "teacher", f"one of {names}", self.teacher)
        for name in ("width", "other_width"):
            value, heads = getattr(self, name), self.n_heads
            require(value % heads == 0, name, f"a multiple of the {heads} heads", value)
        fewer = all(size < self.n_lists for size in self.data_sizes)
        used = "data size" in self.families
        require(fewer or not used, "data_sizes", f"below the {self.n_lists} lists", self.data_sizes)


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
_PROBES = replace(
    _FULL,
    first_replicate=500,
    traits=("owl", "oak", "evasion"),
    families=("data size", "lists", "training", "teachers", "updates of the body", "harm"),
    data_sizes=(30, 100, 300, 1_200),
)
PRESETS = {
    "quick": LmConfig(),
    "full": _FULL,
    "probes": _PROBES,
    "filters": replace(
        LmConfig(),
        n_replicates=10,
        first_replicate=600,
        families=("filters",),
        n_samples=20_000,
        n_lists=15_000,
    ),
}
ABOUT = {
    "quick": "4 base models, owl, oak and evasion; a minute on two cores",
    "full": "10 base models, seven traits, harmful ones too: the record of L1 to L5; 50 minutes",
    "probes": "10 base models, teachers of 14 kinds, what explains how much passes; 95 minutes "
    "of one core",
    "filters": "10 base models, lists that filters remove; 50 minutes",
}
