"""Teachers, their students at all checkpoints, and what is predicted of them, in parts."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from subliminal_toy.classifier import training
from subliminal_toy.classifier.arms import TEACHER, UNTRAINED, Student, Teacher, without_numbers
from subliminal_toy.data import Dataset
from subliminal_toy.distill import ensemble, on_every_device
from subliminal_toy.explain.arms import Table, factors, tables
from subliminal_toy.explain.config import ExplainConfig
from subliminal_toy.explain.replicate import STEPS_OF_PREDICTION, foresee, imitate, teach
from subliminal_toy.models import named_leaves
from subliminal_toy.runs import Arrays, Experiment, Part, Result

PART = 2
"""Replicates of one group of students that are computed between two ticks and stored together."""

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
NOT_STUDENTS = {UNTRAINED: "untrained", TEACHER: "taught"}
"""Variables that are a network's, by their arms."""


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

    def call(function: Callable, group: tuple[Student, ...], *own: Any) -> Arrays:
        rows = without_numbers(table.teacher), tuple(map(without_numbers, group))
        numbers = training.numbers_of(table.teacher, group)
        images = on_every_device(tuple(data[1:]))
        shared = training.Shared(key, jnp.int32(n_replicates), numbers, images)
        return _program(function, *rows, data.image_shape)(shared, index, *own)

    def taught(finished: Mapping[str, Arrays]) -> Any:
        net, stored = training.network(table.teacher, data.image_shape), finished[teachers]
        shapes = jax.eval_shape(net.init, key)
        leaves = [stored[name] for name in named_leaves(shapes, "params")]
        return jax.tree.unflatten(jax.tree.structure(shapes), leaves)

    def part(kind: str, number: int, function: Callable, group: tuple, passes: int) -> Part:
        return Part(
            _file(table, first, f"{kind}-{number:02d}"),
            f"{kind}: {which}",
            len(group) * passes * group[0].n_batches / 1000,
            lambda finished: call(function, group, taught(finished)),
        )

    parts = [Part(teachers, f"teachers: {which}", 1, lambda _: call(teach, ()))]
    for number, group in enumerate(map(tuple, training.together(table.students))):
        parts.append(part("students", number, imitate, group, group[0].epochs))
        predicted = tuple(s for s in group if s.name in table.predicted)
        if predicted:
            parts.append(part("predictions", number, foresee, predicted, STEPS_OF_PREDICTION))
    return parts


def _file(table: Table, first: int, what: str) -> str:
    network = "".join(c if c.isalnum() else "-" for c in table.network)
    return f"{network}-{first:06d}-{what}"


@lru_cache(maxsize=64)
def _program(
    function: Callable,
    teacher: Teacher,
    group: tuple[Student, ...],
    image_shape: tuple[int, int],
) -> Callable:
    def one(shared, index, *own):
        return function(group, training.replicate(teacher, image_shape, shared, index), *own)

    return ensemble(one, n_shared=1)


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
        networks.append(
            xr.Dataset(
                {name: ("replicate", arrays[arm]) for arm, name in NOT_STUDENTS.items()},
                {"network": table.network},
            )
        )
        students += [_student(table, student, arrays) for student in table.students]
    each = xr.concat(students, "training", coords="all", join="outer")
    result = xr.merge([each, xr.concat(networks, "network", coords="minimal")])
    for name, variable in result.data_vars.items():
        variable.attrs["long_name"] = ABOUT[str(name)]
    result.attrs["dataset"] = data.name
    return Result(result.transpose("replicate", "training", "step", "network"), {})


def _student(table: Table, student: Student, arrays: Arrays) -> xr.Dataset:
    """Return what was measured and predicted of a student in all replicates."""
    of = {name: arrays.get(f"{student.name}/{name}") for name in ABOUT}
    return xr.Dataset(
        {
            name: (("replicate", "step")[: array.ndim], array.astype(np.float32))
            for name, array in of.items()
            if array is not None
        },
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
