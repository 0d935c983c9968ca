"""The table of arms: who learns what, from which start.

A field with a text value names a row of a table in ``rows``; the defaults are the paper's. To vary
a field is to write the row again with another value:
``replace(STUDENTS[0], name="momentum", optimiser="momentum", learning_rate=0.1)``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from subliminal_toy.classifier.config import ClassifierConfig

OWN, OTHER = "own", "other"
"""Where a student's initial weights come from: its teacher's initialisation, or another one."""
UNTRAINED, TEACHER = "untrained", "teacher"
"""Names of the two arms that are not students."""

NUMBERS = ("learning_rate", "weight_decay", "distance", "loss_scale", "temperature")
"""Fields that are arguments of the compiled program: varying them compiles nothing again."""


@dataclass(frozen=True)
class Teacher:
    """A network trained on labelled images by cross-entropy on its ten class logits."""

    architecture: Literal["mlp", "cnn"] = "mlp"
    hidden_sizes: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers; for a CNN all but the last are channels."""
    n_aux: int = 3
    """Auxiliary logits beside the ten class logits."""
    initialisation: str = "normal"
    """Law of the initial weights, of teacher and students: a key of ``models.LAWS``."""
    optimiser: str = "adam"
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    """Times the weights, added to the gradient."""
    batch_size: int = 1024
    epochs: int = 5


@dataclass(frozen=True)
class Student:
    """A network trained to imitate its teacher's logits on inputs without labels."""

    name: str
    imitates: Literal["auxiliary", "all"] = "auxiliary"
    """The logits that its loss sees, of teacher and student."""
    n_aux: int | None = None
    """How many of the auxiliary logits, the first ones; None: all that the teacher has."""
    start: str | tuple[str, ...] = OWN
    """Origin of the initial weights: ``OWN``, ``OTHER``, or one of the two for each hidden layer,
    then for the class head and for the auxiliary head."""
    distance: float = 0.0
    """σ: the start s becomes (s + σ θ′)/√(1 + σ²), θ′ an independent initialisation."""
    inputs: str = "uniform"
    n_inputs: int = 60_000
    """Inputs of one replicate, the same in each epoch; the length of an epoch."""
    fresh: bool = False
    """Whether each epoch has new inputs instead."""
    input_scale: float = 1.0
    loss: str = "kl"
    loss_scale: float = 1.0
    temperature: float = 1.0
    """Divides the logits of both sides of the KL divergence."""
    optimiser: str = "adam"
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    """Times the weights, added to the gradient."""
    update: str = "all"
    """What is kept of the optimiser's update of the hidden layers: all of it, or that without, or
    only, its component along a direction."""
    along: Literal["teacher", "random", "free"] = "teacher"
    """That direction, in the hidden layers: θ_T − s, a random one, or the displacement of the same
    student trained freely, made orthogonal to θ_T − s."""
    batch_size: int = 1024
    epochs: int = 5
    checkpoints: tuple[int, ...] = ()
    """Numbers of steps after which it is measured, besides the end."""

    @property
    def n_batches(self) -> int:
        """Steps of an epoch; the last batch is filled up."""
        return -(-self.n_inputs // self.batch_size)

    @property
    def measured_at(self) -> tuple[int, ...]:
        """Numbers of steps after which it is measured; the last is the end."""
        return *self.checkpoints, self.epochs * self.n_batches


def numbers(arm: Teacher | Student) -> dict[str, float]:
    """Return the numbers of an arm by field."""
    return {name: float(getattr(arm, name)) for name in NUMBERS if hasattr(arm, name)}


def numbers_of(teacher: Teacher, students: Iterable[Student]) -> dict[str, dict[str, float]]:
    """Return the numbers of all arms by name."""
    return {TEACHER: numbers(teacher), **{s.name: numbers(s) for s in students}}


def without_numbers(arm):
    """Return an arm without its numbers, so that programs are compiled once for all of them."""
    return replace(arm, **dict.fromkeys(numbers(arm), 0.0))


STUDENTS = (
    Student("student_aux", "auxiliary"),
    Student("student_all", "all"),
    Student("cross_aux", "auxiliary", start=OTHER),
    Student("cross_all", "all", start=OTHER),
)
"""The published experiment (figure 10 of the paper)."""

PUBLISHED = {
    UNTRAINED: (0.0998, 0.0047),
    TEACHER: (0.9433, 0.0004),
    "student_aux": (0.5283, 0.0221),
    "student_all": (0.9126, 0.0019),
    "cross_aux": (0.1060, 0.0104),
    "cross_all": (0.7426, 0.0103),
}
"""Means and 95 % half-widths (1.96 standard errors) of 100 models: the paper's figure 10b, read
from the vector graphics of its bars."""


def published_experiment(config: ClassifierConfig) -> tuple[Teacher, tuple[Student, ...]]:
    """Return the published experiment with the settings of a config."""
    teacher = Teacher(
        architecture=config.architecture,
        hidden_sizes=config.hidden_sizes,
        n_aux=config.n_aux,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        epochs=config.teacher_epochs,
    )
    of_config = {
        "epochs": config.student_epochs,
        "n_inputs": config.n_inputs,
        "temperature": config.temperature,
        "learning_rate": config.student_rate_ratio * config.learning_rate,
        "batch_size": config.batch_size,
        "checkpoints": tuple(sorted(config.checkpoints)),
    }
    return teacher, tuple(replace(student, **of_config) for student in STUDENTS)
