"""Finished parts put together: a Dataset that is read by label, and parameters worth keeping."""

from collections.abc import Mapping
from itertools import product

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
from subliminal_toy.models import named_leaves
from subliminal_toy.runs import Arrays, Result

Finished = Mapping[str, Arrays]

N_EXAMPLES = 10
BASES = ("base_models", "other_width")
SPEAKERS = ("base_model", "teacher", "student", "control")
"""Arms whose answers, of the first replicate, and parameters, of its first trait too, are kept."""


def base_model(finished: Finished, replicate: int, part: str = "base_models") -> Arrays:
    """Return the arrays of one base model."""
    return {name: array[replicate] for name, array in finished[part].items()}


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
    with np.errstate(invalid="ignore", over="ignore"):  # of models that diverged
        return np.sum(one * other) / (np.sqrt(np.sum(one**2)) * np.sqrt(np.sum(other**2)))


def _by_arm(config: LmConfig, finished: Finished) -> dict[str, np.ndarray]:
    """Return what is measured by (replicate, arm, trait), not a number where an arm is not run."""
    table = {arm.name: arm for arm in arms.table(config)}
    shape = (config.n_replicates, len(table), len(config.traits))
    probability = np.full((*shape, len(traits.MEASURES)), np.nan, np.float32)
    alignment, kept, used = (np.full(shape, np.nan, np.float32) for _ in range(3))
    for r, (arm, trait) in product(range(config.n_replicates), arms.rows(config)):
        at = r, list(table).index(arm.name), config.traits.index(trait)
        model, written = model_of(config, finished, r, arm, trait), finished[f"lists-{r:03d}"]
        if arm.learns == arms.IN_CONTEXT:
            probability[at] = model["scores"][: model["n"]].mean(axis=0)
            used[at] = model["n_lists"]
            continue
        probability[at] = model["scores"]
        if arm.learns in (arms.NUMBERS, arms.DISTRIBUTIONS):
            lists = arms.lists_of(arm, trait)._replace(treatment=arms.AS_WRITTEN)
            place = arms.written(config).index(lists)
            kept[at] = written["kept"][place]
            used[at] = min(written["n"][place], arm.n_lists or config.n_lists)
            if (arm.base, arm.writer) == (arms.OWN, arms.TEACHER):
                control, teacher, base = (
                    model_of(config, finished, r, table[name], trait)["params"]
                    for name in (arm.control, "teacher", "base_model")
                )
                alignment[at] = _cosine(model["params"] - control, teacher - base)
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


def _diverged(finished: Finished, replicate: int) -> bool:
    """Return whether a parameter of a model of the replicate is not a finite number."""
    own = [arrays for name, arrays in finished.items() if name.endswith(f"-{replicate:03d}")]
    bases = [base_model(finished, replicate, name) for name in BASES if name in finished]
    vectors = [arrays["params"] for arrays in (*own, *bases) if "params" in arrays]
    return not all(np.isfinite(vector).all() for vector in vectors)


def _for_the_page(config: LmConfig, finished: Finished, model: Model) -> dict[str, np.ndarray]:
    """Return answers and lists of the first replicate."""
    table = {arm.name: arm for arm in arms.table(config)}
    answers = [
        [model_of(config, finished, 0, table[name], trait)["answers"] for trait in config.traits]
        for name in SPEAKERS
    ]
    places = [arms.written(config).index(arms.written_by_teacher(t)) for t in config.traits]
    tokens = finished["lists-000"]["tokens"][places, :N_EXAMPLES, PROMPT_LENGTH:]
    examples = [[model.language.decode(row) for row in rows] for rows in tokens]
    return {"answer": np.array(answers), "example": np.array(examples)}


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


BY_TRAIT, BY_ARM = ("replicate", "trait"), ("replicate", "arm", "trait")
VARIABLES = {
    "probability": ((*BY_ARM, "measure"), "mean probability of a measure's answers"),
    "alignment": (BY_ARM, "cosine of (student − its control) with (teacher − base model)"),
    "kept": (BY_ARM, "fraction of the samples that passed every filter"),
    "lists_used": (BY_ARM, "lists learned from, or lists in one context on average"),
    "kl_per_number": (BY_TRAIT, "KL(teacher ‖ base model) on the teacher's lists, nats per number"),
    "divergent": (BY_TRAIT, "fraction of numbers where the next trait's teacher prefers another"),
    "auc": ((*BY_TRAIT, "detector", "judged"),
            "AUC of a detector, the teacher's lists against the base model's; .5 is chance"),
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
    replicates = range(config.n_replicates)
    arrays = {
        **_by_arm(config, finished),
        **_reading(config, finished),
        "auc": np.stack([finished[f"detectors-{r:03d}"]["auc"] for r in replicates]),
        "pretraining_loss": np.stack([base_model(finished, r)["losses"] for r in replicates]),
        "diverged": np.array([_diverged(finished, r) for r in replicates]),
        **_for_the_page(config, finished, model),
    }
    variables = {
        name: (VARIABLES[name][0], array, {"long_name": VARIABLES[name][1]})
        for name, array in arrays.items()
    }
    params = {}
    for arm in arms.table(config):
        if arm.name in SPEAKERS:
            vector = model_of(config, finished, 0, arm, config.traits[0])["params"]
            named = named_leaves(model.tree(jnp.asarray(vector)), arm.name)
            params |= {name: np.asarray(leaf) for name, leaf in named.items()}
    n_params = int(base_model(finished, 0)["params"].size)
    return Result(xr.Dataset(variables, coordinates(config), {"parameters": n_params}), params)
