"""The tables of arms: who learns what, from which start.

A field with a text value names a row of a table in ``training``; the defaults are the paper's. To
vary a field is to write the row again with another value:
``replace(STUDENTS[0], name="momentum", optimiser="momentum", learning_rate=0.1)``.
"""

import itertools
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar, cast

import jax

from subliminal_toy.classifier.config import ClassifierConfig

OWN, OTHER, RELABELLED = "own", "other", "relabelled"
"""Where a student's initial weights come from: its teacher's initialisation, or another one, or its
teacher's with the units of this layer in another order, while the next layer keeps the old one."""
UNTRAINED, TEACHER = "untrained", "teacher"
"""Names of the two arms that are not students."""

Number = float | jax.Array
"""Of a row that is data: an array inside a compiled program."""
Row = TypeVar("Row")


def row(cls: type[Row]) -> type[Row]:
    """Register a dataclass as a pytree whose fields ``Number`` are arguments of compiled programs.

    All other fields are constants there: another number compiles nothing again, another kind does.
    """
    numbers, kinds = [], []
    for field in fields(cast(Any, cls)):
        (numbers if field.type == Number else kinds).append(field.name)
    return jax.tree_util.register_dataclass(cls, numbers, kinds)


@row
@dataclass(frozen=True)
class Teacher:
    """A network trained on labelled images by cross-entropy on its ten class logits."""

    architecture: Literal["mlp", "cnn"] = "mlp"
    hidden_sizes: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers; for a CNN all but the last are channels."""
    n_aux: int = 3
    """Auxiliary logits beside the ten class logits."""
    initialiser: str = "normal"
    """Of teacher and students: a key of ``models.INITIALISERS``."""
    optimiser: str = "adam"
    learning_rate: Number = 3e-4
    weight_decay: Number = 0.0
    """Times the weights, added to the gradient."""
    batch_size: int = 1024
    epochs: int = 5
    line: bool = False
    """Whether accuracy is also measured along its line, from the start to it."""


@row
@dataclass(frozen=True)
class Student:
    """A network trained to imitate its teacher's logits on inputs without labels."""

    name: str
    imitates: Literal["auxiliary", "all"] = "auxiliary"
    """The logits that its loss sees, of teacher and student."""
    n_aux: int | None = None
    """How many of the auxiliary logits, the first ones; None: all that the teacher has."""
    teacher: str = TEACHER
    """Name of the network that it imitates: the teacher, or a student above it in the table."""
    start: str | tuple[str, ...] = OWN
    """Origin of the initial weights: ``OWN``, ``OTHER``, or one of the two for each hidden layer
    (of an MLP also ``RELABELLED``), then for the class head and for the auxiliary head."""
    distance: Number = 0.0
    """σ: the start s becomes (s + σ θ′)/√(1 + σ²), θ′ an independent initialisation."""
    inputs: str = "uniform"
    n_inputs: int = 60_000
    """Inputs of one replicate, the same in each epoch; the length of an epoch."""
    first_input: int = 0
    """Number of the first of them; from another one on a student sees others."""
    fresh: bool = False
    """Whether each epoch has new inputs instead."""
    input_scale: float = 1.0
    loss: str = "kl"
    loss_scale: Number = 1.0
    temperature: Number = 1.0
    """Divides the logits of both sides of the KL divergence."""
    optimiser: str = "adam"
    learning_rate: Number = 3e-4
    weight_decay: Number = 0.0
    """Times the weights, added to the gradient."""
    update: Literal["all", "without"] = "all"
    """What is kept of the optimiser's update: all of it, or that without its component along the
    hidden layers' displacement of the same student, trained freely, made orthogonal to θ_T − s."""
    batch_size: int = 1024
    epochs: int = 5
    checkpoints: tuple[int, ...] = ()
    """Numbers of steps after which it is measured, besides the end."""
    split: bool = False
    """Whether its displacement is split along its teacher's wherever it is measured."""

    @property
    def n_batches(self) -> int:
        """Steps of an epoch; the last batch is filled up."""
        return -(-self.n_inputs // self.batch_size)

    @property
    def measured_at(self) -> tuple[int, ...]:
        """Numbers of steps after which it is measured; the last is the end."""
        return *self.checkpoints, self.epochs * self.n_batches


def table(config: ClassifierConfig) -> tuple[Teacher, tuple[Student, ...]]:
    """Return the teacher and the students of a config."""
    if config.arms == "published":
        return published(config)
    if config.arms == "disputes":
        return replace(FEW.teacher, line=True), DISPUTED
    protocol = DIGITS if config.data == "digits" else MNIST
    if config.arms == "explain-quick":
        protocol = FEW
    return protocol.teacher, explaining(protocol)


# The published experiment (figure 10 of the paper).

STUDENTS = (
    Student("student_aux", "auxiliary"),
    Student("student_all", "all"),
    Student("cross_aux", "auxiliary", start=OTHER),
    Student("cross_all", "all", start=OTHER),
)
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


def published(config: ClassifierConfig) -> tuple[Teacher, tuple[Student, ...]]:
    """Return the published experiment with the settings of a config."""
    teacher = Teacher(
        architecture=config.architecture,
        hidden_sizes=config.hidden_sizes,
        n_aux=config.n_aux,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        epochs=config.teacher_epochs,
    )
    settings: dict[str, Any] = {
        "epochs": config.student_epochs,
        "n_inputs": config.n_inputs,
        "temperature": config.temperature,
        "learning_rate": config.student_rate_ratio * config.learning_rate,
        "batch_size": config.batch_size,
        "checkpoints": tuple(sorted(config.checkpoints)),
    }
    return teacher, tuple(replace(student, **settings) for student in STUDENTS)


# What explains how much a student takes over. A teacher has 50 auxiliary logits, and each of its
# students imitates the first few: the teacher's own training does not depend on them.

FREE, WITHOUT_OWN = "free", "without own"
"""Two long students: one with nothing done to its update, and one without its component along the
first one's displacement made orthogonal to θ_T − s."""


Variation = tuple[int, int, dict[str, Any]]
"""Auxiliary logits and inputs of a student, and what else is not as usual."""


@dataclass(frozen=True)
class Protocol:
    """The students on a data set, and their sizes; numbers of inputs are whole batches."""

    teacher: Teacher
    steps: int
    """Length of the two long students."""
    steps_elsewhere: int
    """Length of all others."""
    n_most: int
    """Inputs of the long students and of those of other optimisers."""
    checkpoints: tuple[int, ...]
    """Steps after which students are measured, besides the end."""
    optimisers: tuple[tuple[str, float, int], ...]
    """Optimisers, their learning rates, and the auxiliary logits that their students imitate."""
    variations: tuple[Variation, ...]
    """Students of Adam at one rate."""


def varied(
    n_aux: tuple[int, int, int], n_inputs: tuple[int, int, int], n_most: int
) -> tuple[Variation, ...]:
    """Return students of few, some and many logits and inputs, and of other kinds of inputs."""
    m_few, m, m_many = n_aux
    few, some, many = n_inputs
    return (
        (10, n_most, {"fresh": True}),
        (m_many, some, {"input_scale": 0.1}),
        *((n_aux, n, {}) for n_aux in (m_few, m, m_many) for n in (few, some, many)),
        *((n_aux, n, {"distance": 0.3}) for n_aux in (m, m_many) for n in (few, some, many)),
        (50, many, {}),
        (50, many, {"distance": 0.3}),
        (m_many, many, {"distance": 1.0}),
        (m, some, {"inputs": "gaussian"}),
        (50, some, {"inputs": "signs"}),
        (m_many, some, {"inputs": "images"}),
        (50, some, {"inputs": "images"}),
        (m_many, some, {"inputs": "shuffled pixels"}),
        (m, some, {"loss": "squared error"}),
        (50, some, {"loss": "squared error"}),
    )


DIGITS = Protocol(
    Teacher(hidden_sizes=(64, 64), n_aux=50, batch_size=256, epochs=40),
    steps=4_720,
    steps_elsewhere=1_180,
    n_most=30_208,
    checkpoints=(10, 30, 100, 300, 600, 1_200, 2_400),
    optimisers=tuple(
        (name, rate, n_aux)
        for n_aux in (3, 50)
        for name, rate in (
            ("adam", 1e-4),
            ("adam", 1e-3),
            ("momentum", 0.3),
            ("sign", 1e-4),
            ("rmsprop", 1e-4),
            ("lion", 3e-5),
            ("adagrad", 3e-3),
            ("muon", 1e-3),
        )
    ),
    variations=varied((2, 3, 10), (512, 2_560, 30_208), 30_208),
)
# The teacher of the reference protocol; a student's epoch has 60 batches, of whole size.
MNIST = Protocol(
    Teacher(n_aux=50),
    steps=960,
    steps_elsewhere=240,
    n_most=61_440,
    checkpoints=(10, 30, 60, 120, 240, 480),
    optimisers=(
        ("adam", 1e-3, 10),
        ("momentum", 0.3, 50),
        ("sign", 1e-4, 10),
        ("rmsprop", 1e-4, 50),
        ("lion", 3e-5, 10),
        ("adagrad", 3e-3, 3),
        ("muon", 1e-3, 50),
    ),
    variations=varied((3, 10, 30), (4_096, 8_192, 24_576), 61_440),
)
# Few students, all of one length, most of which see the same inputs: a quick look.
FEW = replace(
    DIGITS,
    steps=600,
    steps_elsewhere=600,
    n_most=5_120,
    optimisers=(("momentum", 0.3, 3), ("sign", 1e-4, 3), ("muon", 1e-3, 3)),
    variations=((10, 5_120, {}), (50, 5_120, {}), (10, 5_120, {"inputs": "images"})),
)


def _split(
    protocol: Protocol, name: str, steps: int, n_inputs: int | None = None, **settings: Any
) -> Student:
    size, n_inputs = protocol.teacher.batch_size, n_inputs or protocol.n_most
    sizes = {"n_inputs": n_inputs, "batch_size": size, "epochs": steps * size // n_inputs}
    return Student(name, split=True, **sizes, **settings)


def explaining(protocol: Protocol) -> tuple[Student, ...]:
    """Return the students of E6, and one without its own orthogonal displacement."""

    def student(name: str, steps: int = protocol.steps_elsewhere, **settings: Any) -> Student:
        """Return a student of Adam with 3 auxiliary logits on most inputs, but for settings."""
        before = tuple(step for step in protocol.checkpoints if step < steps)
        return _split(protocol, name, steps, checkpoints=before, **{"n_aux": 3, **settings})

    def variation(n_aux: int, n_inputs: int, settings: dict[str, Any]) -> Student:
        words = "".join(f", {name} {value}" for name, value in settings.items()).replace("_", " ")
        name = f"m {n_aux}, n {n_inputs}{words}"
        return student(name, n_aux=n_aux, n_inputs=n_inputs, **settings)

    return (
        student(FREE, protocol.steps),
        student(WITHOUT_OWN, protocol.steps, update="without"),
        *(
            student(f"{name} {rate:g}, m {m}", optimiser=name, learning_rate=rate, n_aux=m)
            for name, rate, m in protocol.optimisers
        ),
        *(variation(*values) for values in protocol.variations),
    )


# What others disagree about: students of one length, most of which see the same noise.


def _disputed(name: str, n_aux: int = 10, **settings: Any) -> Student:
    return _split(FEW, name, FEW.steps, n_aux=n_aux, **settings)


LAYERS = ("first layer", "second layer", "class head", "auxiliary head")
N_AUX, LOSSES = (3, 10, 50), ("kl", "squared error")
"""What is varied about students of every start."""


def origins(start: tuple[str, ...], n_aux: int, loss: str) -> str:
    """Return the name of a student of a start, a number of logits and a loss."""
    return f"{' '.join(start)}, m {n_aux}, {loss}"


SAME = origins((OWN,) * 4, 10, "kl")
"""The student from which those of the other disputes differ in one thing."""
OTHERWISE = (
    _disputed("first layer relabelled", start=(RELABELLED, OWN, OWN, OWN)),
    _disputed("second layer relabelled", start=(OWN, RELABELLED, OWN, OWN)),
    *(_disputed(f"distance {d:g}", distance=d) for d in (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0)),
    *(_disputed(f"{n} images", n_inputs=n) for n in (512, 2_560, 30_720)),
    _disputed("fresh images", n_inputs=30_720, fresh=True),
)
"""Those students."""
# Students of other optimisers and losses, to be compared at equal progress and not at equal steps.

REFERENCE = "adam 0.0003"
"""Kind of the students with which the others are compared."""
KINDS: dict[str, dict[str, Any]] = {
    REFERENCE: {},
    **{
        f"{optimiser} {rate:g}": {"optimiser": optimiser, "learning_rate": rate}
        for optimiser, rate, n_aux in DIGITS.optimisers
        if n_aux == N_AUX[0]
    },
    "squared error": {"loss": "squared error"},
    "squared error, momentum 0.03": {
        "loss": "squared error", "optimiser": "momentum", "learning_rate": 0.03,
    },
    **{f"loss scale {c:g}": {"loss_scale": c} for c in (1e-3, 1e3)},
    "loss scale 0.1, momentum 0.3": {
        "loss_scale": 0.1, "optimiser": "momentum", "learning_rate": 0.3,
    },
    "temperature 4": {"temperature": 4.0},
    **{f"weight decay {c:g}": {"weight_decay": c} for c in (1e-4, 1e-3, 1e-2)},
}  # fmt: skip
"""What is not as usual about them, by name; weight decay is the student's alone."""
MATCHED_N_AUX = N_AUX[:2]
MATCHED = tuple(
    _disputed(f"{kind}, m {n_aux}", n_aux, checkpoints=(10, 30, 60, 100, 200, 300, 450), **settings)
    for n_aux in MATCHED_N_AUX
    for kind, settings in KINDS.items()
)

# Chains: a student from the same start is the next one's teacher, on noise that it has not seen.

GENERATIONS, CHAIN_N_AUX = range(1, 7), (3, 10, 30)


def generation(number: int, n_aux: int) -> str:
    """Return the name of a student of a chain; the first imitates the teacher."""
    return f"generation {number}, m {n_aux}"


CHAINS = tuple(
    _disputed(
        generation(number, n_aux),
        n_aux,
        teacher=generation(number - 1, n_aux) if number > 1 else TEACHER,
        first_input=(number - 1) * FEW.n_most,
    )
    for number in GENERATIONS
    for n_aux in CHAIN_N_AUX
)
DISPUTED = (
    *(
        _disputed(origins(start, n_aux, loss), n_aux, start=start, loss=loss)
        for n_aux in N_AUX
        for loss in LOSSES
        for start in itertools.product((OWN, OTHER), repeat=len(LAYERS))
    ),
    *OTHERWISE,
    *MATCHED,
    *CHAINS,
)
CHANGES: dict[str, dict[str, str]] = {
    "start": {
        "another start": origins((OTHER,) * 4, 10, "kl"),
        **{
            f"another {layer}": origins(
                tuple(OTHER if other == layer else OWN for other in LAYERS), 10, "kl"
            )
            for layer in LAYERS
        },
        **{row.name: row.name for row in OTHERWISE if not row.name.endswith("images")},
    },
    "outputs and images": {
        **{f"{n_aux} logits": origins((OWN,) * 4, n_aux, "kl") for n_aux in (3, 50)},
        **{row.name: row.name for row in OTHERWISE if row.name.endswith("images")},
        "sixth generation": generation(GENERATIONS[-1], 10),
    },
    "training": {kind: f"{kind}, m 10" for kind in KINDS if kind != REFERENCE},
}
"""The students that are compared with ``SAME``, in groups, by what is changed about them."""
