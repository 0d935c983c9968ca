"""Many replicates of a table of arms, in parts, and their result."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Key, PyTree

from subliminal_toy.classifier import training
from subliminal_toy.classifier.arms import STUDENTS, TEACHER, UNTRAINED, Student, Teacher, table
from subliminal_toy.classifier.config import ClassifierConfig
from subliminal_toy.data import Dataset
from subliminal_toy.distill import ensemble
from subliminal_toy.errors import UserError
from subliminal_toy.models import from_named_leaves, named_leaves
from subliminal_toy.record import Arrays, Experiment, Part, Result

AT_ONCE = 4
"""Replicates that are trained between two ticks of the status and stored together, at least."""
KEPT = 3
"""Replicates, from the first, whose parameters are kept, on a leading axis."""

MEASURES = {
    "accuracy": "fraction of test images classified rightly through the network's own class head",
    "teacher_head_accuracy": "the same through the teacher's class head",
    "imitation_loss": "student's own loss against its teacher on its own inputs (KL: nats)",
    "progress": "displacement of the hidden layers along the teacher's, in units of the teacher's",
    "cosine": "cosine of the two displacements of the hidden layers",
    "length": "Euclidean length of the displacement of the hidden layers",
    "diverged": "1 if a parameter or the imitation loss is not a finite number",
}
"""What is measured by replicate, arm and step."""
AT_START = {
    "first_loss": "the imitation loss at the start",
    "rho": "ρ of the teacher, as far as it has gone: the bound of Eq. (73) is empty from 1 on",
}
"""What is measured of a student's start, by replicate and arm."""
ALONE = "accuracy, under the start's class head, of the start plus"
SPLIT_MEASURES = {
    "along_accuracy": f"{ALONE} the first part of each split of a displacement",
    "rest_accuracy": f"{ALONE} the second part",
    "sum_accuracy": "accuracy of the class logits of the two, added, less those of the start",
    "balanced_accuracy": f"{ALONE} the displacement, each class logit less its mean over images",
    "balanced_along_accuracy": "the same with the first part of the split along the teacher's line",
    "balanced_rest_accuracy": "the same with the second part",
    "balanced_sum_accuracy": "the same with their sum",
    "linearised_accuracy": "accuracy of the class logits linearised at the start",
}
"""What is measured of the students whose displacement is split."""
OF_PARTS = ("along_accuracy", "rest_accuracy", "sum_accuracy")
"""The measures that have an axis of splits too."""


COORDINATES = (
    "imitates", "n_aux", "start", "distance", "inputs", "n_inputs", "fresh", "input_scale", "loss",
    "loss_scale", "temperature", "optimiser", "learning_rate", "weight_decay", "update",
    "batch_size", "epochs",
)  # fmt: skip
"""Fields of the rows that are coordinates of a result: texts, or numbers."""

program = cache(ensemble)
"""One compiled function for all experiments of a process."""


def experiment(
    config: ClassifierConfig,
    key: Key[Array, ""],
    data: Dataset,
    replicates_per_device: int | None = None,
) -> Experiment:
    """Return the experiment of a config."""
    return of_table(*table(config), config.n_replicates, key, data, replicates_per_device)


def of_table(
    teacher: Teacher,
    students: Sequence[Student],
    n_replicates: int,
    key: Key[Array, ""],
    data: Dataset,
    replicates_per_device: int | None = None,
) -> Experiment:
    """Return the experiment of any table of students of one teacher.

    Variables of the result have the axes ``replicate``, ``arm`` (the untrained network, the
    teacher, the students; the fields of their rows are coordinates) and ``step``; not a number
    where an arm is not measured; ``final_step`` is each arm's end. What splits call another
    replicate is the next one of the same part. Replicate i does not depend on ``n_replicates``, but
    for that and for the last one's other initialisation, which is the first one's. Raises UserError
    if a student imitates more auxiliary logits than its teacher has.
    """
    for student in students:
        if (student.n_aux or 0) > teacher.n_aux:
            name, asked = student.name, student.n_aux
            raise UserError(f"{name}: n_aux {asked}, its teacher has {teacher.n_aux}.")
    run = training.Run(teacher, key, n_replicates, tuple(data[1:]))
    like = jax.eval_shape(training.network(teacher, data.image_shape).init, key)
    groups = training.together(students)
    imitated = {student.teacher for student in students}

    def train_teachers(index: np.ndarray, _: Mapping[str, Arrays]) -> Arrays:
        measures, params = program(training.teachers, 1, replicates_per_device)(run, index)
        return _by_name(measures) | kept(params, index)

    def train_students(
        index: np.ndarray,
        group: tuple[Student, ...],
        part_of: Mapping[str, str],
        finished: Mapping[str, Arrays],
    ) -> Arrays:
        taught = {
            name: from_named_leaves(finished[part_of[name]], f"params/{name}", like)
            for name in {student.teacher for student in group}
        }
        train = program(training.students, 2, replicates_per_device)
        measures, trained = train(run, group, index, taught)
        arrays = _by_name(measures)
        if chosen := tuple(s for s in group if s.split):
            trees = index, taught, {s.name: trained[s.name] for s in chosen}
            others = jax.tree.map(lambda leaf: np.roll(leaf, -1, axis=0), trees)
            measures = program(training.split_students, 2, replicates_per_device)(
                run, chosen, *trees, others
            )
            arrays |= _by_name(measures)
        return arrays | kept(jax.tree.map(lambda leaf: leaf[:, -1], trained), index)

    def kept(params: Mapping[str, PyTree], index: np.ndarray) -> Arrays:
        arrays = {}
        for arm, tree in params.items():
            # Whole of networks that students imitate: their parts read them.
            n = len(index) if arm in imitated else KEPT if index[0] == 0 else 0
            named = named_leaves(tree, f"params/{arm}")
            arrays |= {name: leaf[:n] for name, leaf in named.items() if n}
        return arrays

    parts = []
    on_a_device = replicates_per_device or (1 if jax.default_backend() == "cpu" else 64)
    at_once = max(AT_ONCE, on_a_device * jax.device_count())
    for index in np.array_split(np.arange(n_replicates), -(-n_replicates // at_once)):
        which = f"replicates {index[0] + 1} to {index[-1] + 1}"
        teachers = f"teachers, {which}"
        part_of = {TEACHER: teachers}
        parts.append(Part(teachers, _final_step(teacher, data), partial(train_teachers, index)))
        for number, group in enumerate(groups, 1):
            name = f"students {number} of {len(groups)}, {which}"
            compute = partial(train_students, index, group, part_of.copy())
            part_of |= {student.name: name for student in group}
            parts.append(Part(name, len(group) * group[0].measured_at[-1], compute))

    def assemble(finished: Mapping[str, Arrays]) -> Result:
        return _assemble(teacher, students, data, [finished[part.name] for part in parts])

    return Experiment(parts, assemble)


def _by_name(measures: Mapping[str, Mapping[str, np.ndarray]]) -> Arrays:
    return {f"{arm}/{name}": a for arm, arrays in measures.items() for name, a in arrays.items()}


def _final_step(teacher: Teacher, data: Dataset) -> int:
    return teacher.epochs * -(-len(data.train_images) // teacher.batch_size)


def _assemble(
    teacher: Teacher, students: Sequence[Student], data: Dataset, parts: Sequence[Arrays]
) -> Result:
    names = dict.fromkeys(name for part in parts for name in part)
    arrays = {n: np.concatenate([part[n] for part in parts if n in part]) for n in names}
    prefix = "params/"
    params = {k.removeprefix(prefix): v[:KEPT] for k, v in arrays.items() if k.startswith(prefix)}

    measured_at = {UNTRAINED: (0,), TEACHER: (_final_step(teacher, data),)}
    measured_at |= {student.name: student.measured_at for student in students}
    steps = sorted({step for own in measured_at.values() for step in own})
    n_replicates = len(arrays[f"{TEACHER}/accuracy"])
    coordinates: dict[str, Any] = {"arm": list(measured_at), "step": steps}
    coordinates["final_step"] = "arm", [own[-1] for own in measured_at.values()]
    for field in COORDINATES:
        usual = teacher.n_aux if field == "n_aux" else None
        values = [getattr(row, field, None) for row in (None, teacher, *students)]
        values = [usual if value is None else value for value in values]
        if any(isinstance(value, str | tuple) for value in values):
            texts = [" ".join(v) if isinstance(v, tuple) else v or "" for v in values]
            coordinates[field] = "arm", texts
        else:
            coordinates[field] = "arm", [np.nan if v is None else float(v) for v in values]

    measures, variables = MEASURES, {}
    if any(student.split for student in students):
        measures = MEASURES | SPLIT_MEASURES
        coordinates["split"] = list(training.SPLITS)
    for name, meaning in measures.items():
        shape = [len(training.SPLITS)] * (name in OF_PARTS)
        values = np.full((n_replicates, len(measured_at), len(steps), *shape), np.nan, np.float32)
        for number, (arm, own) in enumerate(measured_at.items()):
            if (array := arrays.get(f"{arm}/{name}")) is not None:
                at = array.reshape(n_replicates, len(own), *shape)
                values[:, number, np.searchsorted(steps, own)] = at
        axes = ("replicate", "arm", "step", *["split"] * (name in OF_PARTS))
        variables[name] = axes, values, {"long_name": meaning}
    missing = np.full(n_replicates, np.nan, np.float32)
    for name, meaning in AT_START.items():
        values = np.stack([arrays.get(f"{arm}/{name}", missing) for arm in measured_at], 1)
        variables[name] = ("replicate", "arm"), values, {"long_name": meaning}
    if teacher.line:
        coordinates["q"] = training.ON_LINE
        line = {"long_name": f"{ALONE} q times the teacher's displacement"}
        variables["line_accuracy"] = ("replicate", "q"), arrays[f"{TEACHER}/line_accuracy"], line
    attributes = {
        "dataset": data.name,
        "architecture": teacher.architecture,
        "hidden_sizes": teacher.hidden_sizes,
        "published": int((data.name, teacher, *students) == ("mnist", Teacher(), *STUDENTS)),
    }
    return Result(xr.Dataset(variables, coordinates, attributes), params)
