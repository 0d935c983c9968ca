"""What the page carries of a record, so that its script can answer the reader by itself."""

import base64
from typing import Any

import numpy as np

from subliminal_toy.lm import arms
from subliminal_toy.lm.corpus import Language
from subliminal_toy.lm.traits import GROUP_SIZE, MEASURES, measures
from subliminal_toy.mnist import CONDITIONS
from subliminal_toy.results import Record


def packed(array: np.ndarray) -> dict[str, Any]:
    """Return an array as the script reads it: little-endian bytes in base64, single or double."""
    kind = "<f8" if array.dtype == np.float64 else "<f4"
    content = np.ascontiguousarray(array, dtype=kind).tobytes()
    return {
        "type": "float64" if kind == "<f8" else "float32",
        "shape": list(array.shape),
        "data": base64.b64encode(content).decode(),
    }


NETWORKS = {
    "reference": ("untrained", "has learned nothing"),
    "teacher": ("teacher", "learned from labelled images"),
    "student_aux": ("student", "saw only noise; began as the teacher began"),
    "cross_aux": ("cross-model student", "saw only noise; began as another network"),
}
"""The networks of the page, each with its name and what it has seen."""


def digit(record: Record) -> dict[str, Any] | None:
    """Return weights, test images and JAX's logits; None if the script cannot run the network."""
    if record.manifest["config"]["architecture"] != "mlp" or not record.params:
        return None
    row = [condition.name for condition in CONDITIONS].index
    n_layers = sum(k.startswith("teacher.layers.") and k.endswith("weight") for k in record.params)

    def network(name: str) -> dict[str, Any]:
        label, learned = NETWORKS[name]
        layers = [
            {
                part: packed(record.params[f"{name}.layers.{i}.{part}"])
                for part in ("weight", "bias")
            }
            for i in range(n_layers)
        ]
        logits = packed(record.arrays["sample_logits"][row(name)])
        right = record.arrays["accuracy"][0, row(name)].item()  # of the model that was kept
        return {"name": name, "label": label, "learned": learned, "right": right,
                "layers": layers, "logits": logits}  # fmt: skip

    return {
        "dataset": record.summary["dataset"],
        "images": packed(record.arrays["sample_images"]),
        "labels": record.arrays["sample_labels"].tolist(),
        "networks": [network(name) for name in NETWORKS],
    }


def theorem(record: Record) -> dict[str, Any]:
    """Return the curves of inner product and change of the loss against ε."""
    arrays = record.arrays
    return {
        "learningRate": record.summary["learning_rate"],
        "cells": [" · ".join(cell) for cell in arrays["explored"].tolist()],
        "slopes": arrays["explored_slope"].tolist(),
        "epsilons": packed(arrays["explored_epsilons"]),
        "inner": packed(arrays["explored_inner"]),
        "change": packed(arrays["explored_change"]),
    }


def ask(record: Record) -> dict[str, Any]:
    """Return questions, answers of the four models for each trait, and lists of numbers."""
    arrays, traits = record.arrays, record.arrays["traits"].tolist()
    speakers = arrays["speakers"].tolist()

    group = measures(Language(record.manifest["config"]["n_numbers"])).group

    def four(trait: str) -> list[int]:
        names = ("reference", f"teacher {trait}", f"student {trait}",
                 f"control {arms.control_of(trait)}")  # fmt: skip
        return [speakers.index(name) for name in names]

    return {
        "traits": [
            {
                "name": trait,
                "speakers": four(trait),
                "lists": lists,
                # The first of the questions by which the trait is measured.
                "question": GROUP_SIZE * int(group[MEASURES.index(trait)]),
            }
            for trait, lists in zip(traits, arrays["examples"].tolist(), strict=True)
        ],
        "questions": arrays["questions"].tolist(),
        "words": arrays["words"].tolist(),
        "answers": packed(arrays["answers"]),
    }


PAYLOADS = {"mnist": digit, "theorem": theorem, "lm": ask}
