"""One replicate: a teacher, a group of its students, and what is predicted of them beforehand.

Plain functions of one replicate; ``experiment`` runs many. The first arguments, up to the shape of
the images, are known when a program is compiled.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Int

from subliminal_toy.classifier import training
from subliminal_toy.classifier.arms import TEACHER, Student, Teacher
from subliminal_toy.classifier.measures import measure
from subliminal_toy.classifier.rows import Numbers, loss_of_outputs, make_inputs
from subliminal_toy.classifier.training import Shared
from subliminal_toy.data import N_CLASSES
from subliminal_toy.distill import accuracy
from subliminal_toy.explain.geometry import descent_progress, forecast, inner, subtract
from subliminal_toy.models import Network, Params, named_leaves

STEPS_OF_PREDICTION = 15
"""Steps k of conjugate gradients. How k and ``AT`` were chosen: docs/explain-settings.md."""
AT: Literal["start", "teacher"] = "start"
"""Where the softmax of the prediction's metric is taken."""
KEPT = ("accuracy", "progress", "cosine", "length", "imitation_loss", "ceiling", "diverged")
"""What is kept of a student at every checkpoint, by the names of ``Measures``."""


def teach(
    teacher: Teacher,
    group: Sequence[Student],
    image_shape: tuple[int, int],
    shared: Shared,
    index: Int[Array, ""],
) -> dict[str, Array]:
    """Return the teacher's parameters, by name, and the accuracies of the two first networks.

    The ``group`` is empty.
    """
    net = training.network(teacher, image_shape)
    params = training.teach(teacher, image_shape, shared, index)
    _, _, images, labels = shared.data
    accuracies = {
        name: accuracy(net.apply(of, images)[:, :N_CLASSES], labels) for name, of in params.items()
    }
    return accuracies | named_leaves(params[TEACHER], "params")


def imitate(
    teacher: Teacher,
    group: Sequence[Student],
    image_shape: tuple[int, int],
    shared: Shared,
    index: Int[Array, ""],
    taught: Params,
) -> dict[str, Array]:
    """Train students that see the same batches; return ``KEPT`` as ``student/measure``."""
    measures, _ = training.imitate(teacher, group, image_shape, shared, index, taught)
    return {f"{s}/{name}": getattr(of, name) for s, of in measures.items() for name in KEPT}


def foresee(
    teacher: Teacher,
    group: Sequence[Student],
    image_shape: tuple[int, int],
    shared: Shared,
    index: Int[Array, ""],
    taught: Params,
) -> dict[str, Array]:
    """Return what is predicted of students from their own inputs, as ``student/prediction``."""
    net = training.network(teacher, image_shape)
    keys, found = training.streams(shared, index), {}
    for s in group:
        start = training.initial(s, shared.numbers[s.name], net, keys)
        of = predictions(s, shared.numbers, net, shared.data, taught, start, keys)
        found |= {f"{s.name}/{name}": value for name, value in of.items()}
    return found


def predictions(
    student: Student,
    numbers: Numbers,
    net: Network,
    data: tuple[Array, ...],
    taught: Params,
    start: Params,
    keys: training.Keys,
) -> dict[str, Array]:
    """Return what is predicted of one student; see ``ABOUT`` of ``experiment``."""
    inputs = make_inputs(student, keys.inputs, jnp.arange(student.n_inputs), data[0])
    n_batches = training.n_steps(student.n_inputs, student.batch_size)
    found = forecast(
        net.apply,
        start,
        taught,
        inputs,
        partial(loss_of_outputs, student, numbers),
        STEPS_OF_PREDICTION,
        AT,
        chunks=n_batches,
    )
    expected = measure(student, numbers, net, data, taught, start, found.params, keys.inputs)
    v = subtract(taught, start)
    steps = student.epochs * n_batches
    return {
        "predicted": expected.accuracy,
        "predicted_progress": expected.progress,
        "slope": found.slope,
        "first_cosine": found.first_cosine,
        "descent": descent_progress(found, inner(v, v), 1 / found.ritz.max(), steps),
    }
