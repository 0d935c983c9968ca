"""The tables: what is varied about a student of one teacher.

A teacher has 50 auxiliary logits, and each of its students imitates the first few: the teacher's
own training does not depend on them. The rows are the classifier's. To add an arm is to add a row.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

from subliminal_toy.classifier.arms import Student, Teacher
from subliminal_toy.explain.config import ExplainConfig

MAIN = "mlp"
"""The network of every claim; others stand side by side with it."""
FREE, WITHOUT, ONLY = "adam 0.0003", "without", "only"
CONTROLS = ("without random", "without own")
"""Names of the rows of E2: nothing done to the update; without its component along θ_T − s; only
that component; without a random direction's, without that of the free student's own displacement
made orthogonal to θ_T − s."""
FACTORS = (
    "optimiser",
    "learning_rate",
    "n_aux",
    "n_inputs",
    "inputs",
    "loss",
    "distance",
    "step",
)
"""What E1 varies: coordinates of the result, each level of which is left out in turn."""


@dataclass(frozen=True)
class Protocol:
    """The sizes of the experiment on a data set."""

    teacher: Teacher
    steps: int
    """Length of the students of E2, and of those with other optimisers."""
    steps_of_conditions: int
    """Length of all students of P1."""
    n_inputs: tuple[int, int, int]
    """Few, some and many inputs, in whole batches; so many epochs of each are a training."""
    checkpoints: tuple[int, ...]
    """Steps after which students are measured."""
    rates: tuple[tuple[str, float], ...]
    """Optimisers and their learning rates."""


DIGITS = Protocol(
    Teacher(hidden_sizes=(64, 64), n_aux=50, batch_size=256, epochs=40),
    steps=4_720,
    steps_of_conditions=4_720,
    n_inputs=(512, 2_560, 30_208),
    checkpoints=(10, 30, 100, 300, 600, 1_200, 2_400, 4_720),
    rates=(
        ("adam", 1e-4),
        ("adam", 3e-4),
        ("adam", 1e-3),
        ("momentum", 0.3),
        ("sign", 1e-4),
        ("rmsprop", 1e-4),
        ("lion", 3e-5),
        ("adagrad", 3e-3),
        ("muon", 1e-3),
    ),
)
MNIST = replace(
    DIGITS,
    teacher=Teacher(n_aux=50),
    steps=960,
    steps_of_conditions=480,
    n_inputs=(4_096, 12_288, 30_720),
    checkpoints=(10, 30, 60, 120, 240, 480, 960),
)
"""The reference protocol's teacher; its students' 60 batches an epoch are here 30."""
SIDE = {
    "mlp, width 32": {"hidden_sizes": (32, 32)},
    "mlp, width 256": {"hidden_sizes": (256, 256)},
    "cnn": {"architecture": "cnn", "hidden_sizes": (8, 16, 64), "learning_rate": 1e-3},
}
"""Other networks, on digits."""


class Table(NamedTuple):
    """A teacher, its students, and the names of those that are predicted before training."""

    network: str
    teacher: Teacher
    students: tuple[Student, ...]
    predicted: frozenset[str]


def tables(config: ExplainConfig) -> list[Table]:
    """Return the tables of a config: that of the claims, then those of other networks."""
    protocol = DIGITS if config.data == "digits" else MNIST
    if config.table == "short":
        return [short(protocol)]
    foreseen = conditions(protocol)
    students = (*optimisers(protocol), *ablations(protocol), *foreseen, fresh(protocol))
    main = Table(MAIN, protocol.teacher, students, frozenset(s.name for s in foreseen))
    side = SIDE if config.data == "digits" else {}
    return [main, *(beside(protocol, network) for network in side)]


def short(protocol: Protocol) -> Table:
    """Return a dozen rows of the whole table, a quarter as long."""
    protocol = replace(
        protocol,
        steps=protocol.steps // 4,
        steps_of_conditions=protocol.steps_of_conditions // 4,
        n_inputs=(*protocol.n_inputs[:2], protocol.n_inputs[1] * 2),
    )
    chosen = {"adam 0.0003", "momentum 0.3", "sign 0.0001", "muon 0.001"}
    rows = [s for s in optimisers(protocol) if s.name in chosen]
    few, some, _ = protocol.n_inputs
    foreseen = (
        of_condition(protocol, 3, some),
        of_condition(protocol, 10, some),
        of_condition(protocol, 10, few),
        of_condition(protocol, 10, some, inputs="images"),
    )
    students = (*rows, *ablations(protocol), *foreseen)
    return Table(MAIN, protocol.teacher, students, frozenset(s.name for s in foreseen))


def beside(protocol: Protocol, network: str) -> Table:
    """Return the rows of another network."""
    many = protocol.n_inputs[-1]
    students = [of_condition(protocol, m, many) for m in (3, 10, 50)]
    named = tuple(replace(s, name=f"{network}: {s.name}") for s in students)
    return Table(network, replace(protocol.teacher, **SIDE[network]), named, frozenset())


def row(protocol: Protocol, name: str, steps: int, **fields) -> Student:
    """Return a student of Adam with 3 auxiliary logits on many inputs, but for ``fields``."""
    batch_size = protocol.teacher.batch_size
    student = Student(name, n_aux=3, n_inputs=protocol.n_inputs[-1], batch_size=batch_size)
    student = replace(student, **fields)
    epochs = steps * batch_size // student.n_inputs
    before_the_end = tuple(step for step in protocol.checkpoints if step < steps)
    return replace(student, epochs=epochs, checkpoints=before_the_end)


def optimisers(protocol: Protocol) -> tuple[Student, ...]:
    """Return a student of every optimiser and rate."""
    return tuple(
        row(protocol, f"{name} {rate:g}", protocol.steps, optimiser=name, learning_rate=rate)
        for name, rate in protocol.rates
    )


def ablations(protocol: Protocol) -> tuple[Student, ...]:
    """Return the students of E2 but the free one, which is the row ``FREE``."""
    changes = {
        WITHOUT: ("without", "teacher"),
        ONLY: ("only", "teacher"),
        CONTROLS[0]: ("without", "random"),
        CONTROLS[1]: ("without", "free"),
    }
    return tuple(
        row(protocol, name, protocol.steps, update=update, along=along)
        for name, (update, along) in changes.items()
    )


def of_condition(protocol: Protocol, n_aux: int, n_inputs: int, **fields) -> Student:
    """Return a student of P1, named after what it is."""
    said = ", ".join(f"{name} {value}" for name, value in fields.items())
    name = f"m {n_aux}, n {n_inputs}" + (f", {said}" if said else "")
    steps = protocol.steps_of_conditions
    return row(protocol, name, steps, n_aux=n_aux, n_inputs=n_inputs, **fields)


def conditions(protocol: Protocol) -> tuple[Student, ...]:
    """Return the students of P1, all of one length: Adam, whatever else is varied."""
    few, some, many = protocol.n_inputs
    grid = product((2, 3, 10), protocol.n_inputs, (0.0, 0.3))
    return (
        *(of_condition(protocol, m, n, **({"distance": σ} if σ else {})) for m, n, σ in grid),
        of_condition(protocol, 50, some),
        of_condition(protocol, 3, some, distance=0.1),
        of_condition(protocol, 10, many, distance=1.0),
        of_condition(protocol, 3, some, inputs="gaussian"),
        of_condition(protocol, 10, some, inputs="signs"),
        of_condition(protocol, 10, some, input_scale=0.1),
        of_condition(protocol, 10, some, inputs="images"),
        of_condition(protocol, 50, some, inputs="images"),
        of_condition(protocol, 10, some, inputs="shuffled pixels"),
        of_condition(protocol, 3, some, loss="squared error"),
        of_condition(protocol, 50, few, loss="squared error"),
    )


def fresh(protocol: Protocol) -> Student:
    """Return a student that sees no input twice."""
    return row(protocol, "fresh", protocol.steps_of_conditions, n_aux=10, fresh=True)


def factors(student: Student) -> dict[str, str]:
    """Return what is varied about a student, as text: all of ``FACTORS`` but the step."""
    return {
        "optimiser": student.optimiser,
        "learning_rate": f"{student.learning_rate:g}",
        "n_aux": str(student.n_aux),
        "n_inputs": "fresh" if student.fresh else str(student.n_inputs),
        "inputs": student.inputs if student.input_scale == 1 else f"{student.inputs}, scaled",
        "loss": student.loss,
        "distance": f"{student.distance:g}",
    }
