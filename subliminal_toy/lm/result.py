"""Finished parts put together: a Dataset that is read by label, and parameters worth keeping."""

from collections.abc import Mapping

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
from subliminal_toy.lm.training import Model
from subliminal_toy.runs import Arrays, Result

Finished = Mapping[str, Arrays]

GROUP = 8
"""Base models trained in one part."""
N_EXAMPLES = 10
SPEAKERS = ("base_model", "teacher", "student", "control")
"""Arms whose answers and parameters are kept: of the first replicate and, parameters, trait."""


def base_model(finished: Finished, replicate: int, part: str = "base_models") -> Arrays:
    """Return the arrays of one base model."""
    arrays = finished[f"{part}-{replicate // GROUP:03d}"]
    return {name: array[replicate % GROUP] for name, array in arrays.items()}


def model_of(config: LmConfig, finished: Finished, replicate: int, arm: Arm, trait: str) -> Arrays:
    """Return the arrays of the model of an arm and trait: ``training.Learned``, or only scores."""
    if arm.learns == arms.NOTHING and arm.base == arms.OTHER_WIDTH:
        return base_model(finished, replicate, "other_width")
    if arm.learns == arms.NOTHING:
        place = replicate + (arm.base == arms.ANOTHER)
        return base_model(finished, place % max(config.n_replicates, 2))
    if arm.learns == arms.NUMBERS:
        part, bases = "students", (arms.OWN, arms.ANOTHER)
        if arm.base == arms.OTHER_WIDTH:
            part, bases = "other_width_students", (arms.OTHER_WIDTH,)
        place = arms.students(config, *bases).index(arms.student_of(config, arm, trait))
    elif arm.learns == arms.IN_CONTEXT:
        part = "in_context"
        place = arms.shown(config).index((arm.treatment, arms.lists_of(arm, trait)))
    else:
        part = {arms.ANSWERS: "teachers", arms.DISTRIBUTIONS: "soft"}[arm.learns]
        place = config.traits.index(trait)
    arrays = finished[f"{part}-{replicate:03d}"]
    return {name: array[place] for name, array in arrays.items()}


def _cosine(one: np.ndarray, other: np.ndarray) -> np.floating:
    return np.sum(one * other) / (np.sqrt(np.sum(one**2)) * np.sqrt(np.sum(other**2)))


def _by_arm(config: LmConfig, finished: Finished) -> dict[str, np.ndarray]:
    """Return what is measured by (replicate, arm, trait), not a number where an arm is not run."""
    table = {arm.name: arm for arm in arms.table(config)}
    sets = arms.written(config)
    shape = (config.n_replicates, len(table), len(config.traits))
    probability = np.full((*shape, len(traits.MEASURES)), np.nan, np.float32)
    alignment, kept, used = (np.full(shape, np.nan, np.float32) for _ in range(3))
    for r, (a, arm), (t, trait) in (
        (r, a, t) for r in range(shape[0]) for a in enumerate(table.values())
        for t in enumerate(config.traits) if t[1] in arms.traits_of(config, a[1])
    ):  # fmt: skip
        model = model_of(config, finished, r, arm, trait)
        if arm.learns == arms.IN_CONTEXT:
            probability[r, a, t] = model["scores"][: model["n"]].mean(axis=0)
            used[r, a, t] = model["n_lists"]
            continue
        probability[r, a, t] = model["scores"]
        if arm.learns not in (arms.NUMBERS, arms.DISTRIBUTIONS):
            continue
        lists, origin = finished[f"lists-{r:03d}"], arms.lists_of(arm, trait)
        place = sets.index(origin._replace(treatment=arms.AS_WRITTEN))
        kept[r, a, t] = lists["kept"][place]
        used[r, a, t] = min(lists["n"][place], arm.n_lists or config.n_lists)
        if (arm.base, arm.writer) == (arms.OWN, arms.TEACHER):
            control, teacher, base = (
                model_of(config, finished, r, table[name], trait)["params"]
                for name in (arm.control, "teacher", "base_model")
            )
            alignment[r, a, t] = _cosine(model["params"] - control, teacher - base)
    return {"probability": probability, "alignment": alignment, "kept": kept, "lists_used": used}


def _reading(config: LmConfig, finished: Finished) -> dict[str, np.ndarray]:
    """Return what reading the lists says of each trait, by (replicate, trait)."""
    own = [arms.written(config).index(arms.written_by_teacher(trait)) for trait in config.traits]
    found = {"kl_per_number": [], "divergent": []}
    for r in range(config.n_replicates):
        read, lists = finished[f"reading-{r:03d}"], finished[f"lists-{r:03d}"]
        counted = loss_weights(lists["tokens"][own], config.n_numbers).sum(axis=(1, 2))
        found["kl_per_number"].append(read["own.kl"].sum(axis=1) / counted)
        if config.divergence:
            found["divergent"].append(read["next.differs"].sum(axis=(1, 2)) / counted)
    return {name: np.array(values, np.float32) for name, values in found.items() if values}


def _for_the_page(config: LmConfig, finished: Finished, model: Model) -> dict:
    """Return answers and lists of the first replicate, as variables of the Dataset."""
    table = {arm.name: arm for arm in arms.table(config)}
    answers = [
        [model_of(config, finished, 0, table[name], trait)["answers"] for trait in config.traits]
        for name in SPEAKERS
    ]
    places = [arms.written(config).index(arms.written_by_teacher(t)) for t in config.traits]
    tokens = finished["lists-000"]["tokens"][places, :N_EXAMPLES, PROMPT_LENGTH:]
    examples = [[model.language.decode(row) for row in rows] for rows in tokens]
    return {
        "answer": (("speaker", "trait", "question", "word"), np.array(answers),
                   {"long_name": "probability of a word as the answer, first replicate"}),
        "example": (("trait", "example"), np.array(examples),
                    {"long_name": "lists that the student learned from, first replicate"}),
    }  # fmt: skip


def coordinates(config: LmConfig) -> dict:
    """Return the names on the axes of a result, and what the table of arms says of each arm."""
    table = arms.table(config)
    groups = np.array(traits.GROUPS)
    of_arm = {
        name: ("arm", [getattr(arm, name) for arm in table])
        for name in ("label", "base", "writer", "treatment", "learns", "n_lists", "control")
    }
    return {
        "replicate": np.arange(config.n_replicates, dtype=np.int32),
        "arm": [arm.name for arm in table],
        **of_arm,
        "n_lists": ("arm", np.array([arm.n_lists or config.n_lists for arm in table], np.int32)),
        "trait": list(config.traits),
        "harmful": ("trait", [trait in traits.HARMFUL for trait in config.traits]),
        "asked": ("trait", groups[[traits.group_of(trait) for trait in config.traits]]),
        "measure": list(traits.MEASURES),
        "detector": [detector.name for detector in DETECTORS],
        "given": ("detector", [detector.given for detector in DETECTORS]),
        "informed": ("detector", [detector.informed for detector in DETECTORS]),
        "judged": np.array(JUDGED, np.int32),
        "speaker": list(SPEAKERS),
        "question": list(traits.QUESTION_TEXTS),
        "group": ("question", np.repeat(groups, traits.GROUP_SIZE)),
        "word": list(Language(config.n_numbers).words[config.n_numbers :]),
    }


MEANING = {
    "probability": "mean probability of a measure's answers",
    "alignment": "cosine of (student − its control) with (teacher − base model)",
    "kept": "fraction of the samples that passed every filter",
    "lists_used": "lists learned from, or lists in one context on average",
    "kl_per_number": "KL(teacher ‖ base model) on the teacher's lists, nats per number",
    "divergent": "fraction of numbers at which the next trait's teacher prefers another number",
    "auc": "AUC of a detector, the teacher's lists against the base model's; .5 is chance",
    "pretraining_loss": "loss of the base model at each step, nats",
}
"""The variables and their units; probabilities, fractions, cosines and AUC have none."""


def assemble(config: LmConfig, model: Model, finished: Finished) -> Result:
    """Put the parts of all replicates together."""
    finished = dict(finished)  # each part is read from the disk once
    replicates = range(config.n_replicates)
    arrays = {
        **_by_arm(config, finished),
        **_reading(config, finished),
        "auc": np.stack([finished[f"detectors-{r:03d}"]["auc"] for r in replicates]),
        "pretraining_loss": np.stack([base_model(finished, r)["losses"] for r in replicates]),
    }
    axes = {"probability": ("replicate", "arm", "trait", "measure"),
            "auc": ("replicate", "trait", "detector", "judged"),
            "pretraining_loss": ("replicate", "step")}  # fmt: skip
    by_arm, by_trait = ("replicate", "arm", "trait"), ("replicate", "trait")
    variables = {
        name: (axes.get(name, by_arm if array.ndim == 3 else by_trait), array,
               {"long_name": MEANING[name]})
        for name, array in arrays.items()
    }  # fmt: skip
    data = xr.Dataset(
        variables | _for_the_page(config, finished, model),
        coordinates(config),
        {"parameters": int(base_model(finished, 0)["params"].size)},
    )
    table = {arm.name: arm for arm in arms.table(config)}
    params = {}
    for name in SPEAKERS:
        vector = model_of(config, finished, 0, table[name], config.traits[0])["params"]
        for path, leaf in jax.tree_util.tree_leaves_with_path(model.tree(jnp.asarray(vector))):
            params[f"{name}.{jax.tree_util.keystr(path, simple=True, separator='.')}"] = leaf
    return Result(data, {name: np.asarray(leaf) for name, leaf in params.items()})
