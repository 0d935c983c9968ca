"""Teachers, their students at all checkpoints, and what is predicted of them, in parts."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from subliminal_toy.classifier import training
from subliminal_toy.classifier.arms import TEACHER, UNTRAINED, Student
from subliminal_toy.classifier.measures import measure
from subliminal_toy.classifier.rows import Replicate, imitation_loss, make_inputs
from subliminal_toy.data import N_CLASSES, Dataset
from subliminal_toy.distill import accuracy
from subliminal_toy.explain.arms import Table, factors, tables
from subliminal_toy.explain.config import ExplainConfig
from subliminal_toy.explain.geometry import descent_progress, inner, predict, subtract
from subliminal_toy.models import Params, named_leaves
from subliminal_toy.runs import Arrays, Experiment, Part, Result

PART = 2
"""Replicates of one group of students that are computed between two ticks and stored together."""
STEPS_OF_PREDICTION = 15
"""Steps k of conjugate gradients. How k and ``AT`` were chosen: docs/explain-settings.md."""
AT: Literal["start", "teacher"] = "start"
"""Where the softmax of the prediction's metric is taken."""
KEPT = ("accuracy", "progress", "cosine", "length", "imitation_loss", "ceiling", "diverged")
"""What is kept of a student at every checkpoint, by the names of ``measure``."""

ABOUT = {
    "accuracy": "fraction of test images classified rightly through the student's own class head",
    "progress": "q, displacement of the hidden layers along the teacher's, in units of the "
    "teacher's",
    "cosine": "cosine of the two displacements of the hidden layers",
    "length": "Euclidean length of the displacement of the hidden layers",
    "imitation_loss": "student's own loss against its teacher on its own inputs (KL: nats)",
    "diverged": "1 if a parameter or the imitation loss is not a finite number",
    "untrained": "accuracy of the untrained network",
    "taught": "accuracy of the teacher",
    "ceiling": "accuracy of the teacher's hidden layers under the student's untouched class head",
    "predicted": "accuracy of the network that is predicted before the student is trained",
    "predicted_progress": "its progress in the hidden layers",
    "slope": "A/‖v‖² of the one-step theorem on the student's own inputs, v = θ_T − s",
    "first_cosine": "cosine of the student's first gradient step with v",
    "descent": "vᵀ(I − (I − αF)ᵏ)v/‖v‖² of gradient descent on the linearised network, α = 1 over "
    "the largest eigenvalue of F, k the student's number of steps",
}
"""What each variable of the result is."""


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
    return {f"{s}/{name}": one[name] for s, one in measures.items() for name in KEPT}


def foresee(group: Sequence[Student], of: Replicate, taught: Params) -> dict[str, Array]:
    """Return what is predicted of students from their own inputs, as ``student/prediction``."""
    each = {s.name: _foresee_one(s, of, taught) for s in group}
    return {f"{s}/{name}": value for s, one in each.items() for name, value in one.items()}


def _foresee_one(student: Student, of: Replicate, taught: Params) -> dict[str, Array]:
    start = training.initial(student, of)
    found = predict(
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
        "predicted": expected["accuracy"],
        "predicted_progress": expected["progress"],
        "slope": found.slope,
        "first_cosine": found.first_cosine,
        "descent": descent_progress(found, inner(v, v), 1 / found.ritz.max(), steps),
    }


def experiment(config: ExplainConfig, key: Key[Array, ""], data: Dataset) -> Experiment:
    """Return the experiment of a config."""
    return of_tables(tables(config), config.n_replicates, key, data)


def of_tables(
    tables: Sequence[Table], n_replicates: int, key: Key[Array, ""], data: Dataset
) -> Experiment:
    """Return the experiment of any tables.

    Variables of the result (see ``ABOUT``) have the axes ``replicate``, ``training`` (the students
    by name; further coordinates say what is varied) and ``step``, or ``network``; where nothing
    was measured they are not a number.
    """
    by_table = [
        [
            part
            for first in range(0, n_replicates, PART)
            for part in _parts(table, first, n_replicates, key, data)
        ]
        for table in tables
    ]
    names = [[part.name for part in parts] for parts in by_table]
    return Experiment(list(chain(*by_table)), partial(_assemble, tables, names, data))


def _parts(table: Table, first: int, n_replicates: int, key: Array, data: Dataset) -> list[Part]:
    """Return the parts of some replicates: teachers, then each group, trained and predicted."""
    index = np.arange(first, min(first + PART, n_replicates))
    which = f"{table.network}, replicates {first + 1}–{index[-1] + 1} of {n_replicates}"
    teachers = _file(table, first, "teachers")

    def call(function: Callable, group: Sequence[Student], *own: Any) -> Arrays:
        return training.many(function, table.teacher, group, n_replicates, key, data)(index, *own)

    def taught(finished: Mapping[str, Arrays]) -> Any:
        net, stored = training.network(table.teacher, data.image_shape), finished[teachers]
        shapes = jax.eval_shape(net.init, key)
        leaves = [stored[name] for name in named_leaves(shapes, "params")]
        return jax.tree.unflatten(jax.tree.structure(shapes), leaves)

    def part(kind: str, number: int, function: Callable, group: Sequence, passes: int) -> Part:
        return Part(
            _file(table, first, f"{kind}-{number:02d}"),
            f"{kind}: {which}",
            len(group) * passes * group[0].n_batches / 1000,
            lambda finished: call(function, group, taught(finished)),
        )

    parts = [Part(teachers, f"teachers: {which}", 1, lambda _: call(teach, ()))]
    for number, group in enumerate(training.together(table.students)):
        parts.append(part("students", number, imitate, group, group[0].epochs))
        predicted = [s for s in group if s.name in table.predicted]
        if predicted:
            parts.append(part("predictions", number, foresee, predicted, STEPS_OF_PREDICTION))
    return parts


def _file(table: Table, first: int, what: str) -> str:
    network = "".join(c if c.isalnum() else "-" for c in table.network)
    return f"{network}-{first:06d}-{what}"


def _assemble(
    tables: Sequence[Table],
    names: Sequence[Sequence[str]],
    data: Dataset,
    finished: Mapping[str, Arrays],
) -> Result:
    students, networks = [], []
    for table, own in zip(tables, names, strict=True):
        parts = [finished[name] for name in own]
        keys = dict.fromkeys(chain(*parts))
        arrays = {k: np.concatenate([part[k] for part in parts if k in part]) for k in keys}
        of = {"untrained": arrays[UNTRAINED], "taught": arrays[TEACHER]}
        of = {name: ("replicate", array) for name, array in of.items()}
        networks.append(xr.Dataset(of, {"network": table.network}))
        students += [_student(table, student, arrays) for student in table.students]
    each = xr.concat(students, "training", coords="all", join="outer")
    result = xr.merge([each, xr.concat(networks, "network", coords="minimal")])
    for name, variable in result.data_vars.items():
        variable.attrs["long_name"] = ABOUT[str(name)]
    result.attrs["dataset"] = data.name
    return Result(result.transpose("replicate", "training", "step", "network"), {})


def _student(table: Table, student: Student, arrays: Arrays) -> xr.Dataset:
    """Return what was measured and predicted of a student in all replicates."""
    of = {n: arrays[k] for n in ABOUT if (k := f"{student.name}/{n}") in arrays}
    axes = ("replicate", "step")
    return xr.Dataset(
        {name: (axes[: array.ndim], array.astype(np.float32)) for name, array in of.items()},
        {
            "step": list(student.measured_at),
            "training": student.name,
            "of_network": table.network,
            "condition": student.name in table.conditions,
            "update": student.update,
            "epochs": student.epochs,
            "final_step": student.measured_at[-1],
            **factors(student),
        },
    )
