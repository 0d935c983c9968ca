"""One replicate: a teacher, a group of its students, and what is predicted of them beforehand.

Plain functions of one replicate; ``experiment`` runs many.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array

from subliminal_toy.classifier import training
from subliminal_toy.classifier.arms import TEACHER, Student
from subliminal_toy.classifier.measures import measure
from subliminal_toy.classifier.rows import Replicate, imitation_loss, make_inputs
from subliminal_toy.data import N_CLASSES
from subliminal_toy.distill import accuracy
from subliminal_toy.explain.geometry import descent_progress, forecast, inner, subtract
from subliminal_toy.models import Params, named_leaves

STEPS_OF_PREDICTION = 15
"""Steps k of conjugate gradients. How k and ``AT`` were chosen: docs/explain-settings.md."""
AT: Literal["start", "teacher"] = "start"
"""Where the softmax of the prediction's metric is taken."""
KEPT = ("accuracy", "progress", "cosine", "length", "imitation_loss", "ceiling", "diverged")
"""What is kept of a student at every checkpoint, by the names of ``Measures``."""


def teach(_: Sequence[Student], of: Replicate) -> dict[str, Array]:
    """Return the teacher's parameters, by name, and the accuracies of the two first networks."""
    params = training.teach(of)
    images, labels = of.data[2:]
    accuracies = {
        name: accuracy(of.net.apply(one, images)[:, :N_CLASSES], labels)
        for name, one in params.items()
    }
    return accuracies | named_leaves(params[TEACHER], "params")


def imitate(group: Sequence[Student], of: Replicate, taught: Params) -> dict[str, Array]:
    """Train students that see the same batches; return ``KEPT`` as ``student/measure``."""
    measures, _ = training.imitate(group, of, taught)
    return {f"{s}/{name}": getattr(one, name) for s, one in measures.items() for name in KEPT}


def foresee(group: Sequence[Student], of: Replicate, taught: Params) -> dict[str, Array]:
    """Return what is predicted of students from their own inputs, as ``student/prediction``."""
    return {
        f"{s.name}/{name}": value
        for s in group
        for name, value in predictions(s, of, taught).items()
    }


def predictions(student: Student, of: Replicate, taught: Params) -> dict[str, Array]:
    """Return what is predicted of one student; see ``ABOUT`` of ``experiment``."""
    start = training.initial(student, of)
    found = forecast(
        of.net.apply,
        start,
        taught,
        make_inputs(student, of, jnp.arange(student.n_inputs)),
        partial(imitation_loss, student, of.numbers),
        STEPS_OF_PREDICTION,
        AT,
        chunks=student.n_batches,
    )
    expected = measure(student, of, taught, start, found.params)
    v, steps = subtract(taught, start), student.measured_at[-1]
    return {
        "predicted": expected.accuracy,
        "predicted_progress": expected.progress,
        "slope": found.slope,
        "first_cosine": found.first_cosine,
        "descent": descent_progress(found, inner(v, v), 1 / found.ritz.max(), steps),
    }
