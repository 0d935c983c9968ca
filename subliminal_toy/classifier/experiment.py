"""Many replicates of a table of arms, in parts, and their result."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from subliminal_toy.classifier.arms import (
    TEACHER,
    UNTRAINED,
    Student,
    Teacher,
    published_experiment,
)
from subliminal_toy.classifier.config import ClassifierConfig
from subliminal_toy.classifier.training import many, train
from subliminal_toy.data import Dataset
from subliminal_toy.models import named_leaves
from subliminal_toy.record import Arrays, Experiment, Part, Result

AT_ONCE = 4
"""Replicates that are trained between two ticks of the status and stored together, at least."""
KEPT = 3
"""Replicates, from the first, whose parameters are kept, on a leading axis."""
N_IMAGES = 6
"""Test images that a result holds, to look at."""

MEASURES = {
    "accuracy": "fraction of test images classified rightly through the network's own class head",
    "teacher_head_accuracy": "the same through the teacher's class head",
    "ceiling": "that of the teacher's hidden layers under the class head of the network's start",
    "imitation_loss": "student's own loss against its teacher on its own inputs (KL: nats); of the "
    "untrained network and the teacher, the first student's",
    "progress": "displacement of the hidden layers along the teacher's, in units of the teacher's",
    "cosine": "cosine of the two displacements of the hidden layers",
    "length": "Euclidean length of the displacement of the hidden layers",
    "diverged": "1 if a parameter or the imitation loss is not a finite number",
}
"""What is measured of every arm, by replicate, arm and step."""
FIRST_LOSS = "the imitation loss at the start"


def experiment(
    config: ClassifierConfig,
    key: Key[Array, ""],
    data: Dataset,
    replicates_per_device: int | None = None,
) -> Experiment:
    """Return the experiment of a config.

    Variables of the result have the axes ``replicate``, ``arm`` and ``step`` (numbers of training
    steps; not a number where an arm is not measured; ``final_step`` is each arm's end). Arms are
    the untrained network, the teacher and the students, by name; the fields of their rows are
    coordinates. Replicate i does not depend on the number of replicates, except that the last
    one's other initialisation is the first one's.
    """
    teacher, students = published_experiment(config)
    attributes = {
        "dataset": data.name,
        "architecture": teacher.architecture,
        "hidden_sizes": teacher.hidden_sizes,
        "published": int(config.follows("paper")),
    }
    on_a_device = replicates_per_device or (1 if jax.default_backend() == "cpu" else 64)
    chunk, n = max(AT_ONCE, on_a_device * jax.device_count()), config.n_replicates
    parts = []
    for first in range(0, n, chunk):
        index = np.arange(first, min(first + chunk, n))

        def compute(_: Mapping[str, Arrays], index: np.ndarray = index) -> Arrays:
            measures, params = many(train, teacher, students, n, key, data, replicates_per_device)(
                index
            )
            arrays = {
                f"{a}/{name}": array for a, of in measures.items() for name, array in of.items()
            }
            if index[0] == 0:
                for arm, tree in params.items():
                    arrays |= {
                        k: leaf[:KEPT] for k, leaf in named_leaves(tree, f"params/{arm}").items()
                    }
            return arrays

        parts.append(Part(f"replicates {first + 1} to {index[-1] + 1}", len(index), compute))
    return Experiment(parts, partial(_assemble, teacher, students, data, attributes))


def _assemble(
    teacher: Teacher,
    students: Sequence[Student],
    data: Dataset,
    attributes: Mapping[str, Any],
    finished: Mapping[str, Arrays],
) -> Result:
    parts = list(finished.values())
    arrays = {
        name: np.concatenate([part[name] for part in parts])
        for name in parts[0]
        if not name.startswith("params/")
    }
    n_batches = -(-len(data.train_images) // teacher.batch_size)
    rows = {UNTRAINED: ({}, (0,)), TEACHER: (asdict(teacher), (teacher.epochs * n_batches,))}
    rows |= {student.name: (asdict(student), student.measured_at) for student in students}
    steps = sorted({step for _, measured_at in rows.values() for step in measured_at})
    shape = len(arrays[f"{TEACHER}/accuracy"]), len(rows), len(steps)
    variables = {}
    for name, meaning in MEASURES.items():
        values = np.full(shape, np.nan, np.float32)
        for number, (arm, (_, measured_at)) in enumerate(rows.items()):
            measured = arrays[f"{arm}/{name}"].reshape(shape[0], -1)
            values[:, number, np.searchsorted(steps, measured_at)] = measured
        variables[name] = ("replicate", "arm", "step"), values, {"long_name": meaning}
    first = [arrays[f"{arm}/first_loss"].reshape(shape[0], -1)[:, -1] for arm in rows]
    variables["first_loss"] = ("replicate", "arm"), np.stack(first, 1), {"long_name": FIRST_LOSS}
    variables["test_images"] = (
        ("image", "height", "width"),
        data.test_images[:N_IMAGES],
        {"long_name": "the first test images, pixels in [−1, 1]"},
    )
    coordinates: dict[str, Any] = {"arm": list(rows), "step": steps}
    coordinates["final_step"] = "arm", [measured_at[-1] for _, measured_at in rows.values()]
    for field in TEXTS:
        coordinates[field] = "arm", [str(row.get(field, "")) for row, _ in rows.values()]
    for field in NUMBERS:
        values = [row.get(field, np.nan) for row, _ in rows.values()]
        coordinates[field] = "arm", np.array(values, float)
    result = xr.Dataset(variables, coordinates, attributes)
    prefix = "params/"
    params = {k.removeprefix(prefix): v for k, v in parts[0].items() if k.startswith(prefix)}
    return Result(result, params)


TEXTS = ("optimiser", "inputs", "loss", "update", "along", "imitates")
NUMBERS = (
    "learning_rate", "weight_decay", "n_aux", "n_inputs", "fresh", "input_scale", "distance",
    "loss_scale", "temperature", "batch_size", "epochs",
)  # fmt: skip
