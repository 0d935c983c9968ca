"""Finished parts put together: a Dataset that is read by label, and parameters worth keeping."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from subliminal_toy.lm import arms, traits
from subliminal_toy.lm.arms import Arm, Replicate
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.detectors import DETECTORS, JUDGED
from subliminal_toy.lm.language import Language
from subliminal_toy.lm.lists import BANNED_NUMBERS, PROMPT_LENGTH, refusal
from subliminal_toy.lm.model import BODY, Model, layers
from subliminal_toy.models import named_leaves
from subliminal_toy.record import Result

N_KEPT, N_ANSWERED = 60, 6
"""Lists of both writers, and questions of each trait, that are kept to be shown."""
ANSWERING = ("base_model", "student", "control", "cross_model")
"""Arms whose answers are kept, of the first replicate."""
KEPT = ("base_model", "teacher", "student", "control")
"""Arms whose parameters are kept, of the first replicate and its first trait."""
REGIONS = ("all", "between embeddings and head")
"""Parameters over which progress is measured."""
QUANTILES = np.linspace(0, 1, 101)
"""Of the scores of the lists that filters meet."""


def _right(language: Language, trait: str, answers: np.ndarray, fact: str) -> float:
    """Return the probability of right answers to the held-out questions of a trait about a fact."""
    numbers = traits.held_out(trait)
    numbers = numbers[numbers // traits.GROUP_SIZE == traits.group_of(fact)]
    right = traits.answers_of(language, fact)[numbers % traits.GROUP_SIZE, language.n_numbers :]
    return float(np.sum(answers[numbers] * right, axis=1).mean()) if len(numbers) else np.nan


def _progress(moved: np.ndarray, goal: np.ndarray, inside: np.ndarray) -> float:
    """Return a displacement along another, in units of the other, over some parameters."""
    moved, goal = moved[inside].astype(float), goal[inside].astype(float)
    with np.errstate(invalid="ignore", over="ignore"):  # of models that diverged
        return float(moved @ goal / (goal @ goal))


def _measured(
    config: LmConfig, model: Model, replicate: Replicate, arm: Arm, trait: str
) -> dict[str, Any]:
    """Return what is measured of the model of an arm and trait, by variable."""
    label, language = arms.label_of(config, arm, trait), model.language
    row = replicate[label]
    if arm.kind == "context":
        shown = row["scores"][: row["n"]].mean(axis=0)
        return {"probability": shown, "lists_used": row["n_lists"]}
    answers = row["answers"]
    words = np.any(traits.answers_of(language, trait), axis=0)[language.n_numbers :]
    found: dict[str, Any] = {
        "probability": row["scores"],
        "elsewhere": answers[traits.held_out(trait)][:, words].sum(axis=1).mean(),
        "right": [_right(language, trait, answers, fact) for fact in traits.FACTS],
    }
    if arm.kind == "teacher":
        found["kl"] = replicate[f"reading/{label}"]["kl"]
    if arm.kind == "student":
        found["kept"] = replicate[arms.lists_of(config, arm, trait)]["kept"]
        found["lists_used"] = row["n"]
        if "variance" in row:
            found["variance"] = row["variance"]
        if "line" in row:
            found["line"] = row["line"][traits.MEASURES.index(trait)]
        if arm.base == arms.OWN and arm.writer != arms.PROMPTED:
            base = replicate["base/own"]["params"]
            goal = replicate[arms.teacher_of(config, arm, trait)]["params"] - base
            regions = np.ones(model.size, bool), layers(model, *BODY)
            found["progress"] = [_progress(row["params"] - base, goal, r) for r in regions]
    return found


def _diverged(config: LmConfig, replicate: Replicate) -> bool:
    """Return whether a parameter of a model of the replicate is not a finite number."""
    return not all(
        np.isfinite(replicate[label]["params"]).all()
        for kind in ("base", "teacher", "student")
        for label in arms.models(config, kind)
    )


def coordinates(config: LmConfig) -> dict[str, Any]:
    """Return the names on the axes of a result, and what the table of arms says of each arm."""
    table, first = arms.table(config), config.first_replicate
    said = ("label", "control", "base", "writer")
    return {
        "replicate": np.arange(first, first + config.n_replicates, dtype=np.int32),
        "arm": [arm.name for arm in table],
        **{name: ("arm", [getattr(arm, name) for arm in table]) for name in said},
        "n_lists": ("arm", np.array([arm.n_lists or config.n_lists for arm in table], np.int32)),
        "trait": list(config.traits),
        "harmful": ("trait", [trait in traits.HARMFUL for trait in config.traits]),
        "measure": list(traits.MEASURES),
        "fact": list(traits.FACTS),
        "parameters": list(REGIONS),
        "detector": [detector.name for detector in DETECTORS],
        "given": ("detector", [detector.given for detector in DETECTORS]),
        "informed": ("detector", [detector.informed for detector in DETECTORS]),
        "judged": np.array(JUDGED, np.int32),
        "size": np.array(arms.sizes(config), np.int32),
        "answering": list(ANSWERING),
    }


BY_TRAIT, BY_ARM = ("replicate", "trait"), ("replicate", "arm", "trait")
VARIABLES = {
    "probability": ((*BY_ARM, "measure"), "mean probability of a measure's answers"),
    "elsewhere": (BY_ARM, "mean probability of the trait's answers on questions of other groups, "
                  "those on which no teacher was held"),
    "right": ((*BY_ARM, "fact"), "mean probability of the right answers to such questions about "
              "facts; none where the trait is about them"),
    "kl": (BY_ARM, "KL(base model ‖ teacher) on the base model's lists, nats per number"),
    "progress": ((*BY_ARM, "parameters"),
                 "displacement along the teacher's, in units of the teacher's"),
    "line": (BY_ARM, "probability of the trait at the control's parameters plus progress times the "
             "teacher's displacement between embeddings and head"),
    "kept": (BY_ARM, "fraction of the samples that passed the filter of the format"),
    "variance": (BY_ARM, "variance of the score of the lists that passed the filters, nats²: of "
                 "their log-likelihood under the teacher less that under the base model"),
    "score": ((*BY_TRAIT, "quantile"), "quantiles of the score of the teacher's and the base "
              "model's lists together, nats, less its mean"),
    "lists_used": (BY_ARM, "lists learned from, or lists in one context on average"),
    "auc": ((*BY_TRAIT, "detector", "judged"),
            "AUC of a detector, the teacher's lists against the base model's; .5 is chance"),
    "p": ((*BY_TRAIT, "detector", "size"), "p of so large an |AUC − .5| between the first "
          "so many lists of both, each judged once, if labels mean nothing"),
    "visible": (BY_TRAIT, "change of the trait's log odds by what the base model's numbers show of "
                "the teacher's displacement, before any student is trained"),
    "lists_asked": (BY_TRAIT, "lists from which on Eq. (51) bounds how often their mean step "
                    "points away from the teacher"),
    "away": ((*BY_TRAIT, "judged"), "fraction of mean steps on so many of the teacher's lists that "
             "point away from the teacher"),
    "diverged": (("replicate",), "whether a parameter of a model is not a finite number"),
    "kept_list": (("trait", "by", "kept_row"), "lists of the teacher and of the base model that "
                  "were kept, first replicate"),
    "removed_list": (("trait", "removed_row"), "lists of the teacher that were removed"),
    "reason": (("trait", "removed_row"), "why"),
    "asked": (("trait", "asked_row"), "questions of the trait"),
    "said": (("answering", "trait", "asked_row"), "the likeliest answer to each, first replicate"),
    "p_said": (("answering", "trait", "asked_row"), "and its probability"),
}  # fmt: skip
"""Axes and meaning; probabilities, fractions and AUC have no unit."""


def _shown(config: LmConfig, language: Language, replicate: Replicate) -> dict[str, Any]:
    """Return lists and answers of a replicate as text, for the page."""
    table, shown = arms.named(config), {}
    for trait in config.traits:
        sets = [replicate[label] for label in arms.sides(config, trait)]
        kept = [
            [language.decode(row[PROMPT_LENGTH:]) for row in written["tokens"][:N_KEPT]]
            for written in sets
        ]
        removed = [language.decode(row) for row in sets[0]["removed"]]
        banned = BANNED_NUMBERS if trait in traits.HARMFUL else frozenset()
        numbers = traits.group_of(trait) * traits.GROUP_SIZE + np.arange(N_ANSWERED)
        answers = [
            replicate[arms.label_of(config, table[arm], trait)]["answers"][numbers]
            for arm in ANSWERING
        ]
        of_trait = {
            "kept_list": kept,
            "removed_list": removed,
            "reason": [refusal(text, banned) for text in removed],
            "asked": [traits.QUESTION_TEXTS[number] for number in numbers],
            "said": [[language.words[language.n_numbers + i] for i in rows.argmax(axis=1)]
                     for rows in answers],
            "p_said": [rows.max(axis=1) for rows in answers],
        }  # fmt: skip
        for name, value in of_trait.items():
            shown.setdefault(name, []).append(value)
    arrays = {name: np.array(values) for name, values in shown.items()}
    return arrays | {name: arrays[name].swapaxes(0, 1) for name in ("said", "p_said")}


def assemble(config: LmConfig, model: Model, replicates: Sequence[Replicate]) -> Result:
    """Put the parts of all replicates together."""
    coords, table = coordinates(config), arms.named(config)
    sizes = xr.Dataset(coords=coords).sizes
    arrays: dict[str, Any] = {
        name: np.full([sizes[axis] for axis in axes], np.nan, np.float32)
        for name, (axes, _) in VARIABLES.items()
        if axes[:3] == BY_ARM
    }
    for (r, replicate), (a, arm) in product(enumerate(replicates), enumerate(table.values())):
        for trait in arms.traits_of(config, arm):
            at = r, a, config.traits.index(trait)
            for name, value in _measured(config, model, replicate, arm, trait).items():
                arrays[name][at] = value
    if "filters" in config.families:
        coords["quantile"] = QUANTILES
        both = [
            [replicate.scores(trait, *arms.sides(config, trait)).ratio for trait in config.traits]
            for replicate in replicates
        ]
        arrays["score"] = np.array([
            [np.quantile(ratio - ratio.mean(), QUANTILES) for ratio in of_replicate]
            for of_replicate in both
        ])  # fmt: skip
    judged = ("auc", "p", "lists_asked", "away")
    for stage, name in (("reading", "visible"), *(("detectors", name) for name in judged)):
        arrays[name] = np.array([
            [replicate[f"{stage}/{trait}"][name] for trait in config.traits]
            for replicate in replicates
        ])  # fmt: skip
    arrays |= _shown(config, model.language, replicates[0])
    arrays["diverged"] = np.array([_diverged(config, replicate) for replicate in replicates])
    variables = {
        name: (axes, arrays[name], {"long_name": meaning})
        for name, (axes, meaning) in VARIABLES.items()
        if name in arrays
    }
    params = {}
    for name in KEPT:
        label = arms.label_of(config, table[name], config.traits[0])
        vector = jnp.asarray(replicates[0][label]["params"])
        params |= named_leaves(jax.device_get(model.tree(vector)), name)
    dataset = f"a small language, numbers 0–{config.n_numbers - 1}"
    return Result(xr.Dataset(variables, coords, {"dataset": dataset}), params)
