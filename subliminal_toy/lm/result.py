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
from subliminal_toy.lm.training import BODY, Model, layers
from subliminal_toy.models import named_leaves
from subliminal_toy.runs import Arrays, Result

Finished = Mapping[str, Arrays]

N_EXAMPLES = 10
SPEAKERS = ("base_model", "teacher", "student", "control")
"""Arms whose answers, of the first replicate, and parameters, of its first trait too, are kept."""
REGIONS = ("all", "between embeddings and head")
"""Parameters over which progress is measured."""
TEXTS = ("neutral lists", "copies")
"""On what drift is measured."""


def base_model(finished: Finished, replicate: int, name: str = arms.OWN) -> Arrays:
    """Return the arrays of one base model: the teachers', or one of ``arms.BASES``."""
    part = finished["base_models" if name == arms.OWN else f"base_models-{name}"]
    return {field: array[replicate] for field, array in part.items()}


def model_of(config: LmConfig, finished: Finished, replicate: int, arm: Arm, trait: str) -> Arrays:
    """Return the arrays of the model of an arm and trait: ``training.Learned``, or only scores."""
    if arm.learns == arms.NOTHING:
        return base_model(finished, replicate, arm.base)
    if arm.learns == arms.ANSWERS:
        part, place = "teachers", _teacher(config, arm, trait)
    elif arm.learns == arms.IN_CONTEXT:
        context = arm.treatment, arms.lists_of(config, arm, trait)
        part, place = "in_context", arms.shown(config).index(context)
    else:
        student, groups = arms.student_of(config, arm, trait), arms.students(config)
        part = next(name for name, group in groups.items() if student in group)
        place = groups[part].index(student)
    return {name: array[place] for name, array in finished[f"{part}-{replicate:03d}"].items()}


def _teacher(config: LmConfig, arm: Arm, trait: str) -> int:
    """Return the place of an arm's teacher: its writer, or the config's teacher."""
    return arms.teachers(config).index((arms.teaching_of(config, arm), trait))


def _drift(config: LmConfig, finished: Finished, replicate: int, arm: Arm, trait: str):
    """Return the drift of a teacher or a student of the usual training, None of any other."""
    kl, n_teachers = finished[f"drift-{replicate:03d}"]["kl"], len(arms.teachers(config))
    if arm.learns == arms.ANSWERS:
        return kl[_teacher(config, arm, trait)]
    usual = arms.students(config)["students"]
    if arm.learns == arms.NUMBERS and (student := arms.student_of(config, arm, trait)) in usual:
        return kl[n_teachers + usual.index(student)]
    return None


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


def _by_arm(config: LmConfig, finished: Finished, model: Model) -> dict[str, np.ndarray]:
    """Return what is measured by (replicate, arm, trait), not a number where an arm is not run."""
    table, language = arms.named(config), model.language
    shape = (config.n_replicates, len(table), len(config.traits))
    found = {
        name: np.full((*shape, *more), np.nan, np.float32)
        for name, more in {
            "probability": (len(traits.MEASURES),), "elsewhere": (),
            "right": (len(traits.FACTS),), "drift": (len(TEXTS),),
            "progress": (len(REGIONS),), "alignment": (), "kept": (), "lists_used": (),
        }.items()
    }  # fmt: skip
    regions = [np.ones(model.size, bool), layers(model, *BODY)]
    for r, (arm, trait) in product(range(config.n_replicates), arms.rows(config)):
        at = r, list(table).index(arm.name), config.traits.index(trait)
        one, written = model_of(config, finished, r, arm, trait), finished[f"lists-{r:03d}"]
        if arm.learns == arms.IN_CONTEXT:
            found["probability"][at] = one["scores"][: one["n"]].mean(axis=0)
            found["lists_used"][at] = one["n_lists"]
            continue
        found["probability"][at] = one["scores"]
        found["elsewhere"][at] = _elsewhere(language, trait, one["answers"])
        found["right"][at] = [_fact(language, trait, one["answers"], f) for f in traits.FACTS]
        drift = _drift(config, finished, r, arm, trait)
        if drift is not None:
            found["drift"][at] = drift
        if arm.learns not in (arms.NUMBERS, arms.DISTRIBUTIONS):
            continue
        place = arms.written(config).index(arms.lists_of(config, arm, trait))
        found["kept"][at] = written["kept"][place]
        found["lists_used"][at] = min(written["n"][place], arm.n_lists or config.n_lists)
        if arm.base == arms.OWN and arm.writer != arms.PROMPTED:
            base = base_model(finished, r)["params"]
            teacher = finished[f"teachers-{r:03d}"]["params"][_teacher(config, arm, trait)]
            control = model_of(config, finished, r, table["control"], trait)["params"]
            found["progress"][at] = [
                _progress(one["params"] - base, teacher - base, inside) for inside in regions
            ]
            if arm.writer != arms.BASE_MODEL:
                found["alignment"][at] = _cosine(one["params"] - control, teacher - base)
    return found


def _kl_per_number(config: LmConfig, finished: Finished) -> np.ndarray:
    """Return KL(teacher ‖ base model) per number of each trait's lists, (replicate, trait)."""
    own = [arms.written(config).index(arms.written_by_teacher(config, t)) for t in config.traits]
    found = []
    for r in range(config.n_replicates):
        lists, kl = finished[f"lists-{r:03d}"], finished[f"reading-{r:03d}"]["own.kl"]
        counted = loss_weights(lists["tokens"][own], config.n_numbers).sum(axis=(1, 2))
        found.append(kl.sum(axis=(1, 2)) / counted)
    return np.array(found, np.float32)


def diverged(finished: Finished, replicate: int) -> bool:
    """Return whether a parameter of a model of the replicate is not a finite number."""
    own = [arrays for name, arrays in finished.items() if name.endswith(f"-{replicate:03d}")]
    bases = [
        {field: array[replicate] for field, array in arrays.items()}
        for name, arrays in finished.items()
        if name.startswith("base_models")
    ]
    vectors = [arrays["params"] for arrays in (*own, *bases) if "params" in arrays]
    return not all(np.isfinite(vector).all() for vector in vectors)


def _for_the_page(config: LmConfig, finished: Finished, model: Model) -> dict[str, np.ndarray]:
    """Return answers and lists of the first replicate."""
    table = arms.named(config)
    answers = [
        [model_of(config, finished, 0, table[name], trait)["answers"] for trait in config.traits]
        for name in SPEAKERS
    ]
    places = [arms.written(config).index(arms.written_by_teacher(config, t)) for t in config.traits]
    tokens = finished["lists-000"]["tokens"][places, :N_EXAMPLES, PROMPT_LENGTH:]
    examples = [[model.language.decode(row) for row in rows] for rows in tokens]
    return {"answer": np.array(answers), "example": np.array(examples)}


def coordinates(config: LmConfig) -> dict:
    """Return the names on the axes of a result, and what the table of arms says of each arm."""
    table, first = arms.table(config), config.first_replicate
    groups = np.array(traits.GROUPS)
    of_arm = {
        name: ("arm", [getattr(arm, name) for arm in table])
        for name in (
            "label", "base", "writer", "temperature", "treatment", "learns", "trains", "optimiser",
            "update", "control",
        )
    }  # fmt: skip
    return {
        "replicate": np.arange(first, first + config.n_replicates, dtype=np.int32),
        "arm": [arm.name for arm in table],
        **of_arm,
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
    replicates = range(config.n_replicates)
    arrays = {
        **_by_arm(config, finished, model),
        "kl_per_number": _kl_per_number(config, finished),
        **{
            name: np.stack([finished[f"detectors-{r:03d}"][name] for r in replicates])
            for name in ("auc", "lists_asked", "away")
        },
        "pretraining_loss": np.stack([base_model(finished, r)["losses"] for r in replicates]),
        "diverged": np.array([diverged(finished, r) for r in replicates]),
        **_for_the_page(config, finished, model),
    }
    variables = {
        name: (VARIABLES[name][0], array, {"long_name": VARIABLES[name][1]})
        for name, array in arrays.items()
    }
    params = {}
    for name in SPEAKERS:
        arm = arms.named(config)[name]
        vector = model_of(config, finished, 0, arm, config.traits[0])["params"]
        named = named_leaves(model.tree(jnp.asarray(vector)), name)
        params |= {name: np.asarray(leaf) for name, leaf in named.items()}
    attributes = {"parameters": model.size}
    return Result(xr.Dataset(variables, coordinates(config), attributes), params)
