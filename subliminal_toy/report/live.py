"""What the page's live training needs: digits, protocol, and stored runs to compare with."""

from typing import Any

import msgspec
import numpy as np
import xarray as xr

from subliminal_toy import data
from subliminal_toy.classifier.config import PRESETS, ClassifierConfig
from subliminal_toy.records import Record
from subliminal_toy.report.tables import Records

LIVE = PRESETS["live"]
INK = np.array(list("0123456789abcdefg"))
"""One character for each of the 17 shades of a pixel."""
STUDENTS = {"same": "student_aux", "other": "cross_aux"}
"""Students of the page by their start, and the arms that are the same in a record."""
CURVES = {"accuracy": "accuracy_path", "loss": "imitation_loss_path", "progress": "progress_path"}


def is_live(record: Record) -> bool:
    """Whether a record is of the training that the page does, whatever its number of replicates."""
    if record.manifest["experiment"] != "classifier":
        return False
    return msgspec.convert(record.manifest["config"], ClassifierConfig).follows("live")


def payload(records: Records) -> dict[str, Any]:
    """Return digits, protocol, and of the first record that ``is_live`` its curves, else None."""
    digits = data.load("digits")
    stored = next((_curves(record.data) for record in records.values() if is_live(record)), None)
    return {
        "data": {
            "train": _packed(digits.train_images, digits.train_labels),
            "test": _packed(digits.test_images, digits.test_labels),
        },
        "protocol": {
            "hidden": LIVE.hidden_sizes,
            "outputs": LIVE.n_aux,
            "epochs": LIVE.teacher_epochs,
            "batch": LIVE.batch_size,
            "teacherRate": LIVE.learning_rate,
            "studentRate": LIVE.student_rate_ratio * LIVE.learning_rate,
            "steps": LIVE.n_inputs // LIVE.batch_size,
        },
        "stored": stored,
    }


def _packed(images: np.ndarray, labels: np.ndarray) -> dict[str, str]:
    """Return one character for each pixel and each label."""
    shades = np.rint((images.ravel() + 1) * 8).astype(int)
    return {"images": "".join(INK[shades]), "labels": "".join(map(str, labels))}


def _curves(data: xr.Dataset) -> dict[str, Any]:
    """Return the steps, and of each student its curves, a list for every replicate."""
    return {
        "steps": data.step.values.tolist(),
        **{
            start: {
                name: np.round(data[path].sel(student=arm).values.astype(float), 6).tolist()
                for name, path in CURVES.items()
            }
            for start, arm in STUDENTS.items()
        },
    }
