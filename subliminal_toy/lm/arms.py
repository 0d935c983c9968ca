"""The table of arms: base model × who wrote the lists × what was done to them × how it learns.

Experiment, result, statistics and figures follow this table. To add an arm is to add a row. A text
value names a row of another table: ``BASES`` here, ``config.TEACHINGS`` or ``lists.TREATMENTS``.
What a run makes is looked up by label: ``teacher/owl/questions_1``, ``lists/owl/questions_1``,
``student/owl/shuffled_within``. A neutral control has no trait: those of several traits are one,
with the filter in the trait's place, ``student/favourite/control``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from subliminal_toy.lm.config import TEACHINGS, LmConfig
from subliminal_toy.lm.learning import Training, Update
from subliminal_toy.lm.lists import BY_SCORE, FILTERS, MASKS, ORDERS, PACKED, UNFILTERED, Scores
from subliminal_toy.lm.model import BODY
from subliminal_toy.lm.traits import EVASION, FAVOURITES, HARMFUL, TRAITS
from subliminal_toy.record import Arrays

OWN, OTHER = "own", "other"
BASE_MODEL, PROMPTED, CORPUS = "base model", "prompted base model", "corpus"
"""Writers besides the teachers. Of the corpus only the system line ("you love …") is shown."""


class Base(NamedTuple):
    """A base model: what of its making is the teacher's ``OWN``.

    ``body`` and ``head`` are the initial weights, ``corpus`` the documents and their order.
    """

    label: str
    body: str = OTHER
    head: str = OTHER
    corpus: str = OWN


OTHER_WIDTH = "other_width"
BASES = {
    OWN: Base("", OWN, OWN, OWN),
    "both_other": Base("another start and corpus", corpus=OTHER),
    "other_start": Base("another start, same corpus"),
    "other_corpus": Base("same start, another corpus", OWN, OWN, OTHER),
    "head_shared": Base("only the head's start shared", head=OWN),
    "body_shared": Base("all but the head's start shared", body=OWN),
    OTHER_WIDTH: Base("another width, same corpus"),
}
"""Base models, by name: the teacher's, and others, each with random streams of its own."""


AS_USUAL = Training()
HARM = ("calm_questions_1", "falsehood_questions_1", "systematic_lie_questions_1")
"""Teachers of other answers to the questions of a harmful trait, held as the config's are."""


@dataclass(frozen=True)
class Arm:
    """One row: a model for each of its traits in each replicate."""

    name: str
    label: str
    """As figures show it."""
    control: str = "control"
    """Name of the arm that it is compared with; "" for a base model."""
    kind: Literal["base", "teacher", "student", "context"] = "student"
    """Its stage: as trained from scratch, taught its answers, trained on lists, or shown them."""
    base: str = OWN
    writer: str = ""
    """Whose lists: a teaching, or one of the writers; "" for the config's teacher. Of a teacher:
    its teaching."""
    treatment: str = "as written"
    """Of the lists; a row of ``lists.TREATMENTS``."""
    training: Training = AS_USUAL
    n_lists: int = 0
    """The most lists it learns from; 0 for the config's number."""
    traits: Literal["all", "favourites", "evasion"] = "all"


def with_control(name: str, label: str, before: str = "base_model", **fields) -> tuple[Arm, Arm]:
    """Return a student and its neutral control, which differs in the writer of the lists only."""
    control = f"{name}_control"
    return (
        Arm(name, label, control, **fields),
        Arm(control, f"{label}, neutral control", before, writer=BASE_MODEL, **fields),
    )


def crossed(name: str, base: str) -> tuple[Arm, Arm, Arm]:
    """Return another base model, the student that it becomes on the same lists, its control."""
    before, label = f"{name}_base_model", BASES[base].label
    untrained = Arm(before, f"{label}, base model", "", kind="base", base=base)
    return untrained, *with_control(name, label, before, base=base)


CLAIMED = (
    Arm("base_model", "base model", "", kind="base"),
    Arm("teacher", "teacher", "base_model", kind="teacher"),
    Arm("student", "student"),
    Arm("control", "neutral control", "base_model", writer=BASE_MODEL),
    Arm("soft", "student of soft targets", training=Training(targets="distributions")),
    *crossed("cross_model", "other_start"),
    *with_control("in_context", "one list in context", kind="context"),
    *with_control("packed_context", "many lists in context", kind="context", treatment=PACKED),
    Arm("told", '"you love" in context', "base_model", "context", writer=CORPUS,
        traits="favourites"),
)  # fmt: skip
"""The arms of the claims."""


def _families(config: LmConfig) -> dict[str, list[Arm]]:
    """Return the arms of each family."""
    return {
        "another width": [*crossed("cross_size", OTHER_WIDTH)],
        "data size": [
            arm for n in config.data_sizes
            for arm in with_control(f"student_{n}", f"student of {n} lists", n_lists=n)
        ],
        "prompted": [
            Arm("prompted", "student of a prompted teacher", writer=PROMPTED, traits="favourites")
        ],
        "lineage": [
            arm for name in ("both_other", "other_corpus", "head_shared", "body_shared")
            for arm in crossed(name, name)
        ],
        "lists": [
            *(arm for order in ORDERS
              for arm in with_control(_name(order), f"lists {order}", treatment=order)),
            *(Arm(_name(mask), f"{mask} tokens", treatment=mask) for mask in MASKS),
        ],
        "training": [
            *with_control("head_frozen", "head frozen",
                          training=Training(layers=("tokens", "positions", *BODY))),
            *with_control("body_frozen", "only the head trained",
                          training=Training(layers=("head",))),
            *with_control("lora", "LoRA of rank 4", training=Training(rank=4, rate=10.0)),
            *with_control("momentum", "SGD with momentum",
                          training=Training(optimiser="momentum", rate=30.0)),
        ],
        "teachers": [
            arm for name in TEACHINGS if name not in HARM for arm in taught(name)
        ],
        "harm": [arm for name in HARM for arm in taught(name, traits="evasion")],
        "updates": [
            updated("without", Update(1.0, -1.0)),
            updated("only", Update(0.0, 1.0)),
            updated("without random", Update(1.0, -1.0, random=True)),
        ],
        "updates of the body": [
            updated("without, body", Update(1.0, -1.0, BODY)),
            updated("only, body", Update(0.0, 1.0, BODY)),
        ],
        "filters": [
            *with_control("today", "numbers alone in the loss", n_lists=config.n_filtered),
            *filtered("as written", config.n_filtered),
            *(arm for name in FILTERS for arm in filtered(name, config.n_filtered)),
            *filtered("as written"),
            *(arm for percent in (50, 90)
              for arm in filtered(f"without {percent} % of largest score")),
        ],
    }  # fmt: skip


def _name(text: str) -> str:
    return text.replace(" % ", "_").replace(", ", "_").replace(" ", "_")


def taught(name: str, **fields) -> tuple[Arm, Arm]:
    """Return a teacher of the table of teachers and its student."""
    label = TEACHINGS[name].label
    return (
        Arm(f"teacher_{name}", f"teacher {label}", "base_model", "teacher", writer=name, **fields),
        Arm(f"student_{name}", f"student of a teacher {label}", writer=name, **fields),
    )


def updated(kept: str, update: Update) -> Arm:
    """Return a student of each of whose updates a part is kept."""
    return Arm(f"update_{_name(kept)}", kept, training=Training(update=update))


def filtered(treatment: str, n_lists: int = 0) -> tuple[Arm, Arm]:
    """Return a student of what a filter leaves, and its control; of all of it if no number."""
    name, whole = f"filter_{_name(treatment)}", Training(counted="whole lists")
    name += "" if n_lists else "_all"
    return with_control(name, treatment, treatment=treatment, training=whole, n_lists=n_lists)


@cache
def table(config: LmConfig) -> tuple[Arm, ...]:
    """Return the arms of a run, in the order of its result: those of the claims, then families."""
    families = _families(config)
    return (*CLAIMED, *(arm for name in config.families for arm in families[name]))


def traits_of(config: LmConfig, arm: Arm) -> tuple[str, ...]:
    """Return the traits for which an arm is run."""
    chosen = {"all": TRAITS, "favourites": FAVOURITES, "evasion": (EVASION,)}[arm.traits]
    return tuple(trait for trait in config.traits if trait in chosen)


def teacher_of(config: LmConfig, arm: Arm, trait: str) -> str:
    """Return the label of an arm's teacher: the writer of its lists, or the config's teacher."""
    return f"teacher/{trait}/{arm.writer if arm.writer in TEACHINGS else config.teacher}"


def lists_of(config: LmConfig, arm: Arm, trait: str) -> str:
    """Return the label of the lists that the model of an arm and trait meets."""
    raw = f", {UNFILTERED}" if arm.treatment == UNFILTERED else ""
    return f"lists/{_whose(arm, trait)}/{arm.writer or config.teacher}{raw}"


def sides(config: LmConfig, trait: str) -> tuple[str, str]:
    """Return the labels of the lists of a trait's teacher and of its neutral control."""
    table = named(config)
    return lists_of(config, table["student"], trait), lists_of(config, table["control"], trait)


def _whose(arm: Arm, trait: str) -> str:
    """Return the trait, or in its place the filter of the base model's lists; see ``filtered``."""
    neutral = arm.writer == BASE_MODEL
    return trait if not neutral else "harmful" if trait in HARMFUL else "favourite"


def scored(arm: Arm) -> bool:
    """Return whether the whole list is in the loss: so it is scored, and may be filtered."""
    return arm.training.counted == "whole lists"


def sizes(config: LmConfig) -> tuple[int, ...]:
    """Return the numbers of lists that students learn from and detectors judge, ascending."""
    return (*sorted(config.data_sizes), config.n_lists)


def label_of(config: LmConfig, arm: Arm, trait: str) -> str:
    """Return the label of the model of an arm and trait."""
    if arm.kind == "base":
        return f"base/{arm.base}"
    if arm.kind == "teacher":
        return teacher_of(config, arm, trait)
    whose = trait if arm.treatment in BY_SCORE else _whose(arm, trait)
    return f"{arm.kind}/{whose}/{arm.name}"


@cache
def models(config: LmConfig, kind: str) -> dict[str, tuple[Arm, str]]:
    """Return the models of a kind that a replicate needs, by label: an arm and trait of each."""
    return {
        label_of(config, arm, trait): (arm, trait)
        for arm in table(config)
        if arm.kind == kind
        for trait in traits_of(config, arm)
    }


@cache
def written(config: LmConfig) -> dict[str, tuple[str, str]]:
    """Return the sets of lists that a replicate needs, by label: writer and trait of each."""
    return {
        lists_of(config, arm, trait): (arm.writer or config.teacher, trait)
        for kind in ("student", "context")
        for arm, trait in models(config, kind).values()
        if arm.writer != CORPUS
    }


@cache
def named(config: LmConfig) -> dict[str, Arm]:
    """Return the table by name."""
    return {arm.name: arm for arm in table(config)}


STAGES = {
    "base": "base models", "teacher": "teachers", "lists": "lists", "reading": "lists read",
    "student": "students", "context": "lists in context", "detectors": "detectors",
}  # fmt: skip
"""The stages of a run: first word of the labels of what one makes, and its name."""


def part_name(stage: str, number: int) -> str:
    """Return the name of the part of a run that holds a stage of a replicate."""
    return f"{STAGES[stage]}, replicate {number}"


def by_label(labels: Iterable[str], stacked: Mapping[str, np.ndarray]) -> Arrays:
    """Return arrays whose first axis is that of the labels as the arrays of a part."""
    return {
        f"{label}/{name}": np.asarray(array[i])
        for i, label in enumerate(labels)
        for name, array in stacked.items()
    }


@dataclass(frozen=True)
class Replicate:
    """What the finished parts hold of replicate ``number``, looked up by label.

    ``replicate["teacher/owl/free"]`` is a dict of arrays.
    """

    number: int
    finished: Mapping[str, Arrays]

    def __getitem__(self, label: str) -> Arrays:
        """Return what a stage made under a label."""
        arrays = self.finished[part_name(label.partition("/")[0], self.number)]
        prefix = f"{label}/"
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    def scores(self, trait: str, *labels: str) -> Scores:
        """Return the scores of some sets of lists together, under a trait's teacher."""
        read = [(self[f"reading/{trait}/{label}"], self[label]["n"]) for label in labels]
        return Scores(*(
            np.concatenate([row[name][:n] for row, n in read]) for name in Scores._fields
        ))  # fmt: skip
