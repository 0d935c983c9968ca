"""What the page carries of a record for its script; None where the record lacks it."""

import base64
from typing import Any

import numpy as np

from subliminal_toy.records import Record
from subliminal_toy.report.tables import SECTIONS, dataset


def packed(array: np.ndarray) -> dict[str, Any]:
    """Return an array as the script reads it: little-endian bytes in base64, single or double."""
    kind = "float64" if array.dtype == np.float64 else "float32"
    content = np.ascontiguousarray(array, np.dtype(kind).newbyteorder("<")).tobytes()
    data = base64.b64encode(content).decode()
    return {"type": kind, "shape": list(array.shape), "data": data}


def classifier(record: Record) -> dict[str, Any] | None:
    """Return test images and the networks of each kept replicate.

    None unless they are MLPs whose parameters were kept: the script knows no other networks.
    """
    config, data, params = record.manifest["config"], record.data, record.params
    if config["architecture"] != "mlp" or not params:
        return None
    layers = [f"layers.{i}" for i in range(len(config["hidden_sizes"]) + 1)]
    accuracy = data.accuracy.mean("replicate")

    def network(arm: str) -> dict[str, Any]:
        weights = [
            [{part: packed(params[f"{arm}.{layer}.{part}"][i]) for part in ("weight", "bias")}
             for layer in layers]
            for i in range(len(params[f"{arm}.{layers[0]}.bias"]))
        ]  # fmt: skip
        return {"arm": arm, "members": weights, "right": accuracy.sel(arm=arm).item()}

    models = SECTIONS["classifier"]["models"]
    return {
        "dataset": dataset(record),
        "images": packed(data.sample_images.values),
        "labels": data.sample_labels.values.tolist(),
        "networks": [network(model["arm"]) | model for model in models],
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


def lm(record: Record) -> dict[str, Any] | None:
    """Return questions, the models' answers to them for each trait, and lists of numbers.

    All of the first replicate, but for ``elsewhere``: how likely each model gives a trait's answers
    to questions of other groups, where that was measured. None if the record has no answers.
    """
    data, models = record.data, SECTIONS["lm"]["models"]
    elsewhere = record.summary.get("specificity", {})
    if "answer" not in data:
        return None
    groups = data.group.values.tolist()
    answers = data.answer.sel(speaker=[model["arm"] for model in models])
    return {
        "models": models,
        "traits": [
            {
                "name": trait,
                "elsewhere": [
                    elsewhere[trait][model["arm"]]["elsewhere"]["mean"]
                    for model in models
                    if trait in elsewhere
                ],
                "lists": data.example.sel(trait=trait).values.tolist(),
                # The first of the questions by which the trait is measured.
                "question": groups.index(data.asked.sel(trait=trait).item()),
            }
            for trait in data.trait.values.tolist()
        ],
        "questions": data.question.values.tolist(),
        "words": data.word.values.tolist(),
        "answers": packed(answers.transpose("trait", "speaker", "question", "word").values),
    }


PAYLOADS = {"classifier": classifier, "theorem": theorem, "explain": lambda _: None, "lm": lm}
"""By experiment, what its section of the page lets a reader try; of explain nothing yet."""
