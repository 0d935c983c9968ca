"""Finished parts put together: a Dataset that is read by label, and parameters worth keeping."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from subliminal_toy.lm import arms, traits
from subliminal_toy.lm.arms import Arm
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.detectors import DETECTORS, JUDGED
from subliminal_toy.lm.language import Language
from subliminal_toy.lm.lists import PROMPT_LENGTH, loss_weights
from subliminal_toy.lm.replicate import Finished, Replicate, stack
from subliminal_toy.lm.training import BODY, Model, layers
from subliminal_toy.models import named_leaves
from subliminal_toy.runs import Result

N_EXAMPLES = 10
SPEAKERS = ("base_model", "teacher", "student", "control")
"""Arms whose answers, of the first replicate, and parameters, of its first trait too, are kept."""
REGIONS = ("all", "between embeddings and head")
"""Parameters over which progress is measured."""
TEXTS = ("neutral lists", "copies")
"""On what drift is measured."""


def _drift(of: Replicate, arm: Arm, trait: str) -> np.ndarray | float:
    """Return the drift of a teacher or a student of the usual training, else not a number."""
    measured = (*arms.teachers(of.config), *arms.students(of.config)["students"])
    one = arms.student_of(of.config, arm, trait)
    if arm.learns == arms.ANSWERS:
        one = arms.teaching_of(of.config, arm), trait
    return of.part("drift")["kl"][measured.index(one)] if one in measured else np.nan


def _elsewhere(language: Language, trait: str, answers: np.ndarray) -> float:
    """Return the probability of a trait's answers on the held-out questions of other groups."""
    words = np.any(traits.answers_of(language, trait), axis=0)[language.n_numbers :]
    return float(answers[traits.held_out(trait)][:, words].sum(axis=1).mean())


def _fact(language: Language, trait: str, answers: np.ndarray, fact: str) -> float:
    """Return the probability of right answers to the held-out questions of a trait about a fact."""
    numbers = traits.held_out(trait)
    numbers = numbers[numbers // traits.GROUP_SIZE == traits.group_of(fact)]
    right = traits.answers_of(language, fact)[numbers % traits.GROUP_SIZE, language.n_numbers :]
    return float(np.sum(answers[numbers] * right, axis=1).mean()) if len(numbers) else np.nan


def _progress(moved: np.ndarray, goal: np.ndarray, inside: np.ndarray) -> float:
    """Return a displacement along another, in units of the other, over some parameters."""
    moved, goal = moved[inside].astype(float), goal[inside].astype(float)
    with np.errstate(invalid="ignore", over="ignore"):
        return float(moved @ goal / (goal @ goal))


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(float), other.astype(float)
    with np.errstate(invalid="ignore", over="ignore"):  # of models that diverged
        return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def _measured(of: Replicate, model: Model, arm: Arm, trait: str) -> dict[str, Any]:
    """Return what is measured of the model of an arm and trait, by variable."""
    one, config, language = of.model(arm, trait), of.config, model.language
    if arm.learns == arms.IN_CONTEXT:
        shown = one["scores"][: one["n"]].mean(axis=0)
        return {"probability": shown, "lists_used": one["n_lists"]}
    found: dict[str, Any] = {
        "probability": one["scores"],
        "elsewhere": _elsewhere(language, trait, one["answers"]),
        "right": [_fact(language, trait, one["answers"], fact) for fact in traits.FACTS],
        "drift": _drift(of, arm, trait),
    }
    if arm.learns not in (arms.NUMBERS, arms.DISTRIBUTIONS):
        return found
    lists = of.lists(arms.lists_of(config, arm, trait))
    found["kept"] = lists["kept"]
    found["lists_used"] = min(lists["n"], arm.n_lists or config.n_lists)
    if arm.base == arms.OWN and arm.writer != arms.PROMPTED:
        base = of.base()["params"]
        moved = one["params"] - base
        goal = of.teacher(arms.teaching_of(config, arm), trait)["params"] - base
        regions = np.ones(model.size, bool), layers(model, *BODY)
        found["progress"] = [_progress(moved, goal, inside) for inside in regions]
        if arm.writer != arms.BASE_MODEL:
            control = of.model(arms.named(config)["control"], trait)["params"]
            found["alignment"] = _cosine(one["params"] - control, goal)
    return found


def _by_arm(replicates: Sequence[Replicate], model: Model) -> dict[str, np.ndarray]:
    """Return what is measured by (replicate, arm, trait), not a number where an arm is not run."""
    config = replicates[0].config
    names, sizes = list(arms.named(config)), xr.Dataset(coords=coordinates(config)).sizes
    found = {
        name: np.full([sizes[axis] for axis in axes], np.nan, np.float32)
        for name, (axes, _) in VARIABLES.items()
        if axes[:3] == BY_ARM
    }
    for (r, of), (arm, trait) in product(enumerate(replicates), arms.rows(config)):
        at = r, names.index(arm.name), config.traits.index(trait)
        for name, value in _measured(of, model, arm, trait).items():
            found[name][at] = value
    return found


def _kl_per_number(of: Replicate) -> np.ndarray:
    """Return KL(teacher ‖ base model) per number of each trait's lists, (trait,)."""
    config = of.config
    own = [of.lists(arms.written_by_teacher(config, t))["tokens"] for t in config.traits]
    counted = loss_weights(np.stack(own), config.n_numbers).sum(axis=(1, 2))
    return of.part("reading")["own.kl"].sum(axis=(1, 2)) / counted


def diverged(finished: Finished, replicate: int) -> bool:
    """Return whether a parameter of a model of the replicate is not a finite number."""
    vectors = [
        arrays["params"][replicate] if name.startswith("base_models") else arrays["params"]
        for name, arrays in finished.items()
        if "params" in arrays
        and (name.startswith("base_models") or name.endswith(f"-{replicate:03d}"))
    ]
    return not all(np.isfinite(vector).all() for vector in vectors)


def coordinates(config: LmConfig) -> dict:
    """Return the names on the axes of a result, and what the table of arms says of each arm."""
    table, first = arms.table(config), config.first_replicate
    groups = np.array(traits.GROUPS)
    said = (
        "label", "base", "writer", "temperature", "treatment", "learns", "trains", "optimiser",
        "update", "control",
    )  # fmt: skip
    return {
        "replicate": np.arange(first, first + config.n_replicates, dtype=np.int32),
        "arm": [arm.name for arm in table],
        **{name: ("arm", [getattr(arm, name) for arm in table]) for name in said},
        "n_lists": ("arm", np.array([arm.n_lists or config.n_lists for arm in table], np.int32)),
        "trait": list(config.traits),
        "harmful": ("trait", [trait in traits.HARMFUL for trait in config.traits]),
        "asked": ("trait", groups[[traits.group_of(trait) for trait in config.traits]]),
        "measure": list(traits.MEASURES),
        "fact": list(traits.FACTS),
        "text": list(TEXTS),
        "parameters": list(REGIONS),
        "detector": [detector.name for detector in DETECTORS],
        "given": ("detector", [detector.given for detector in DETECTORS]),
        "informed": ("detector", [detector.informed for detector in DETECTORS]),
        "judged": np.array(JUDGED, np.int32),
        "speaker": list(SPEAKERS),
        "question": list(traits.QUESTION_TEXTS),
        "group": ("question", np.repeat(groups, traits.GROUP_SIZE)),
        "word": list(Language(config.n_numbers).words[config.n_numbers :]),
    }


BY_TRAIT, BY_ARM = ("replicate", "trait"), ("replicate", "arm", "trait")
VARIABLES = {
    "probability": ((*BY_ARM, "measure"), "mean probability of a measure's answers"),
    "elsewhere": (BY_ARM, "mean probability of the trait's answers on questions of other groups, "
                  "those on which no teacher was held"),
    "right": ((*BY_ARM, "fact"), "mean probability of the right answers to such questions about "
              "facts; none where the trait is about them"),
    "drift": ((*BY_ARM, "text"), "KL(base model ‖ model), nats per number or word"),
    "progress": ((*BY_ARM, "parameters"),
                 "displacement along the teacher's, in units of the teacher's"),
    "alignment": (BY_ARM, "cosine of (student − control) with (teacher − base model)"),
    "kept": (BY_ARM, "fraction of the samples that passed every filter"),
    "lists_used": (BY_ARM, "lists learned from, or lists in one context on average"),
    "kl_per_number": (BY_TRAIT, "KL(teacher ‖ base model) on the teacher's lists, nats per number"),
    "auc": ((*BY_TRAIT, "detector", "judged"),
            "AUC of a detector, the teacher's lists against the base model's; .5 is chance"),
    "lists_asked": (BY_TRAIT, "lists from which on Eq. (51) bounds how often their mean step "
                    "points away from the teacher"),
    "away": ((*BY_TRAIT, "judged"), "fraction of mean steps on so many of the teacher's lists that "
             "point away from the teacher"),
    "pretraining_loss": (("replicate", "step"), "loss of the base model at each step, nats"),
    "diverged": (("replicate",), "whether a parameter of a model is not a finite number"),
    "answer": (("speaker", "trait", "question", "word"),
               "probability of a word as the answer, first replicate"),
    "example": (("trait", "example"), "lists that the student learned from, first replicate"),
}  # fmt: skip
"""Axes and meaning; probabilities, fractions, cosines and AUC have no unit."""


def assemble(config: LmConfig, model: Model, finished: Finished) -> Result:
    """Put the parts of all replicates together."""
    finished = dict(finished)  # each part is read from the disk once
    replicates = [Replicate(config, finished, r) for r in range(config.n_replicates)]
    first, table = replicates[0], arms.named(config)
    written = [first.lists(arms.written_by_teacher(config, trait)) for trait in config.traits]
    examples = [lists["tokens"][:N_EXAMPLES, PROMPT_LENGTH:] for lists in written]
    answers = [
        [first.model(table[name], trait)["answers"] for trait in config.traits] for name in SPEAKERS
    ]
    arrays = {
        **_by_arm(replicates, model),
        "kl_per_number": np.stack([_kl_per_number(of) for of in replicates]),
        **stack([of.part("detectors") for of in replicates]),
        "pretraining_loss": np.stack([of.base()["losses"] for of in replicates]),
        "diverged": np.array([diverged(finished, of.number) for of in replicates]),
        "answer": np.array(answers),
        "example": np.array([[model.language.decode(row) for row in rows] for rows in examples]),
    }
    variables = {
        name: (axes, arrays[name], {"long_name": meaning})
        for name, (axes, meaning) in VARIABLES.items()
    }
    params = {}
    for name in SPEAKERS:
        vector = jnp.asarray(first.model(table[name], config.traits[0])["params"])
        params |= named_leaves(jax.device_get(model.tree(vector)), name)
    attributes = {"parameters": model.size}
    return Result(xr.Dataset(variables, coordinates(config), attributes), params)
