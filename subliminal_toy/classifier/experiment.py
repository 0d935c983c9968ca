"""Many replicates of a table of arms, in parts, and their result."""

from collections.abc import Mapping, Sequence
from functools import partial

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
from subliminal_toy.classifier.measures import N_SAMPLES
from subliminal_toy.classifier.training import many, train
from subliminal_toy.data import Dataset
from subliminal_toy.distill import replicates_per_call
from subliminal_toy.models import named_leaves
from subliminal_toy.runs import Arrays, Experiment, Part, Result

PART = 4
"""Replicates that are trained between two ticks of the status and stored together."""

KEPT = 3
"""Replicates, from the first, whose parameters are kept, on a leading axis."""

ABOUT = {
    "accuracy": "fraction of test images classified rightly through the network's own class head",
    "teacher_head_accuracy": "the same through the teacher's class head",
    "ceiling": "that of the teacher's hidden layers under the class head of the network's start",
    "imitation_loss": "student's own loss against its teacher on its own inputs (KL: nats); of the "
    "untrained network and the teacher, the first student's",
    "first_loss": "the same loss at the start",
    "progress": "displacement of the hidden layers along the teacher's, in units of the teacher's",
    "cosine": "cosine of the two displacements of the hidden layers",
    "length": "Euclidean length of the displacement of the hidden layers",
    "diverged": "whether a parameter or the imitation loss is not a finite number",
    "sample_images": "the first test images, pixels in [−1, 1]",
    "sample_labels": "their classes",
    "sample_logits": "logits that the first replicate's networks give them",
}
"""What each variable of the result is."""
PATHS = ("accuracy", "imitation_loss", "progress")
"""Variables that are kept of students at all checkpoints too, as ``accuracy_path`` and so on."""


def experiment(config: ClassifierConfig, key: Key[Array, ""], data: Dataset) -> Experiment:
    """Return the published experiment with the settings of a config."""
    teacher, students = published_experiment(config)
    return of_table(teacher, students, config.n_replicates, key, data, config.keep_params)


def of_table(
    teacher: Teacher,
    students: Sequence[Student],
    n_replicates: int,
    key: Key[Array, ""],
    data: Dataset,
    keep_params: bool = False,
) -> Experiment:
    """Return the experiment of any table of students of one teacher.

    Variables of the result have the axes ``replicate`` and ``arm`` (see ``ABOUT``); arms are the
    untrained network, the teacher and the students, by name. If the students have the same
    checkpoints, those of ``PATHS`` are kept by ``replicate``, ``student`` and ``step`` too.
    Replicate i does not depend on ``n_replicates``, except that the last one's other initialisation
    is the first one's.
    """

    def compute(firsts: Sequence[int]) -> dict[int, Arrays]:
        """Return the arrays of the parts that begin with these replicates."""
        index = np.concatenate([np.arange(f, min(f + PART, n_replicates)) for f in firsts])
        measures, params = many(train, teacher, students, n_replicates, key, data)(index)
        arrays = {
            f"{arm}/{field}": array[:, -1] if arm in names else array
            for arm, one in measures.items()
            for field, array in one.items()
        }
        if steps:
            arrays |= {f"{s}/{field}_path": measures[s][field] for s in names for field in PATHS}
        parts = {
            first: {name: array[i * PART : (i + 1) * PART] for name, array in arrays.items()}
            for i, first in enumerate(firsts)
        }
        if 0 in parts and keep_params:
            parts[0] |= {
                name: leaf[:KEPT, -1] if arm in names else leaf[:KEPT]
                for arm, tree in params.items()
                for name, leaf in named_leaves(tree, f"params/{arm}").items()
            }
        return parts

    def part(first: int, finished: Mapping[str, Arrays]) -> Arrays:
        if first not in ready:  # it and as many of those after it as fill the devices
            left = [f for f in firsts if f >= first and file(f) not in finished]
            ready.update(compute(left[: -(-replicates_per_call() // PART)]))
        return ready.pop(first)

    firsts, file, ready = range(0, n_replicates, PART), "replicates-{:06d}".format, {}
    names, steps = [s.name for s in students], _steps(students)
    parts = [
        Part(
            file(first),
            f"replicates {first + 1}–{min(first + PART, n_replicates)} of {n_replicates}",
            min(PART, n_replicates - first),
            partial(part, first),
        )
        for first in firsts
    ]
    return Experiment(
        parts, lambda done: _assemble([done[part.name] for part in parts], names, steps, data)
    )


def _steps(students: Sequence[Student]) -> tuple[int, ...]:
    """Return the steps of the students' checkpoints and end; none if they differ or have none."""
    steps = {s.measured_at for s in students}
    return steps.pop() if students[0].checkpoints and len(steps) == 1 else ()


def _assemble(
    parts: Sequence[Arrays], students: Sequence[str], steps: Sequence[int], data: Dataset
) -> Result:
    arms = [UNTRAINED, TEACHER, *students]

    def over(arms: Sequence[str], field: str) -> np.ndarray:
        each = [np.concatenate([part[f"{arm}/{field}"] for part in parts]) for arm in arms]
        return np.stack(each, axis=1)

    measured = [name for name in ABOUT if not name.startswith("sample_")]
    variables = {name: (("replicate", "arm"), over(arms, name)) for name in measured}
    logits = np.stack([parts[0][f"{arm}/sample_logits"][0] for arm in arms])
    variables |= {
        "sample_images": (("image", "height", "width"), data.test_images[:N_SAMPLES]),
        "sample_labels": (("image",), data.test_labels[:N_SAMPLES]),
        "sample_logits": (("arm", "image", "output"), logits),
    }
    coordinates = {"arm": arms}
    if steps:
        axes = ("replicate", "student", "step")
        variables |= {f"{name}_path": (axes, over(students, f"{name}_path")) for name in PATHS}
        coordinates |= {"student": list(students), "step": list(steps)}
    result = xr.Dataset(
        {
            name: (axes, array, {"long_name": ABOUT[name.removesuffix("_path")]})
            for name, (axes, array) in variables.items()
        },
        coords=coordinates,
        attrs={"dataset": data.name},
    )
    prefix = "params/"
    params = {k.removeprefix(prefix): v for k, v in parts[0].items() if k.startswith(prefix)}
    return Result(result, params)
