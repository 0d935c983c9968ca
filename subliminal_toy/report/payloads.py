"""What the page carries of a record for its script; None where the record lacks it."""

import base64
from typing import Any

import numpy as np

from subliminal_toy.classifier.arms import TEACHER, UNTRAINED
from subliminal_toy.records import Record


def packed(array: np.ndarray) -> dict[str, Any]:
    """Return an array as the script reads it: little-endian bytes in base64, single or double."""
    kind = "float64" if array.dtype == np.float64 else "float32"
    content = np.ascontiguousarray(array, np.dtype(kind).newbyteorder("<")).tobytes()
    return {
        "type": kind,
        "shape": list(array.shape),
        "data": base64.b64encode(content).decode(),
    }


NETWORKS = {
    UNTRAINED: ("untrained network", "has learned nothing"),
    TEACHER: ("teacher", "learned from labelled images"),
    "student_aux": ("student", "saw only noise; began as the teacher began"),
    "cross_aux": ("cross-model student", "saw only noise; began as another network"),
}
"""Arms of the classifier on the page: the name there, and what the network has seen."""


def classifier(record: Record) -> dict[str, Any] | None:
    """Return weights, test images and JAX's logits of the first replicate's networks.

    None unless they are MLPs whose parameters were kept: the script knows no other networks.
    """
    config, data = record.manifest["config"], record.data
    if config["architecture"] != "mlp" or not record.params:
        return None

    def network(arm: str) -> dict[str, Any]:
        label, learned = NETWORKS[arm]
        return {
            "role": arm,
            "label": label,
            "learned": learned,
            "right": data.accuracy.isel(replicate=0).sel(arm=arm).item(),
            "layers": [
                {part: packed(record.params[f"{arm}.layers.{i}.{part}"])
                 for part in ("weight", "bias")}
                for i in range(len(config["hidden_sizes"]) + 1)
            ],
            "logits": packed(data.sample_logits.sel(arm=arm).values),
        }  # fmt: skip

    return {
        "dataset": record.summary["dataset"],
        "images": packed(data.sample_images.values),
        "labels": data.sample_labels.values.tolist(),
        "networks": [network(arm) for arm in NETWORKS],
    }


def theorem(record: Record) -> dict[str, Any] | None:
    """Return the curves of inner product and change of the loss against ε; None without cells."""
    data = record.data
    if "explored_slope" not in data:
        return None
    return {
        "learningRate": record.manifest["config"]["learning_rate"],
        "cells": data.cell.values.tolist(),
        "slopes": data.explored_slope.values.tolist(),
        "epsilons": packed(data.explored_epsilon.values),
        "inner": packed(data.explored_inner.transpose("cell", "explored_epsilon").values),
        "change": packed(data.explored_change.transpose("cell", "explored_epsilon").values),
    }


MODELS = {
    "base_model": "before anything else",
    "teacher": "the base model, taught the trait",
    "student": "the base model, trained on the teacher’s lists",
    "control": "the base model, trained on its own lists",
}
"""Arms of the language model on the page, and what each has learned."""


def lm(record: Record) -> dict[str, Any] | None:
    """Return questions, the models' answers to them for each trait, and lists of numbers.

    All of the first replicate; None if the record has no answers.
    """
    data = record.data
    if "answer" not in data:
        return None
    answers = data.answer.sel(speaker=list(MODELS))
    first_question = {
        group: data.group.values.tolist().index(group) for group in set(data.group.values.tolist())
    }
    return {
        "models": [
            {"role": arm, "label": data.label.sel(arm=arm).item(), "learned": learned}
            for arm, learned in MODELS.items()
        ],
        "traits": [
            {
                "name": trait,
                "lists": data.example.sel(trait=trait).values.tolist(),
                "question": first_question[data.asked.sel(trait=trait).item()],
            }
            for trait in data.trait.values.tolist()
        ],
        "questions": data.question.values.tolist(),
        "words": data.word.values.tolist(),
        "answers": packed(answers.transpose("trait", "speaker", "question", "word").values),
    }


PAYLOADS = {"classifier": classifier, "theorem": theorem, "lm": lm}
"""By experiment, what its section of the page lets a reader try."""
