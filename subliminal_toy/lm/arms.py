"""The table of arms: base model × who wrote the lists × what was done to them × how it learns.

Experiment, result, statistics and figures follow this table. To add an arm is to add a row. A text
value names a row of a table: of ``BASES`` here, of ``config.TEACHINGS``, ``lists.TREATMENTS``,
``learning.TRAINED``, ``learning.OPTIMISERS`` or ``learning.UPDATES``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from subliminal_toy.lm.config import TEACHINGS, LmConfig
from subliminal_toy.lm.lists import MASKS, ORDERS
from subliminal_toy.lm.traits import FAVOURITES, HARMFUL

OWN, OTHER = "own", "other"
BASE_MODEL, PROMPTED, CORPUS = "base model", "prompted base model", "corpus"
"""Writers besides the teachers. Of the corpus only the system line ("you love …") is shown."""
NOTHING, ANSWERS, NUMBERS, DISTRIBUTIONS, IN_CONTEXT = (
    "nothing", "answers", "numbers", "distributions", "nothing, lists in context",
)  # fmt: skip
"""What is learned; distributions are the teacher's over numbers."""
ALL, FAVOURITE, PROBED = "all", "favourites", "the first three favourites"
LOW_RANK = "lora"
"""What is trained besides layers: LoRA's matrices, by a program of their own."""
AS_WRITTEN, PACKED = "as written", "many, without prompts"
"""What is done to the lists, besides ``lists.TREATMENTS``. Packed: as many as the context holds."""


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


@dataclass(frozen=True)
class Arm:
    """One row: a model for each of its traits in each replicate."""

    name: str
    label: str
    """As figures show it."""
    control: str = "control"
    """Name of the arm that it is compared with; "" for a base model."""
    base: str = OWN
    writer: str = ""
    """Whose lists: a teaching, or one of the writers; "" for the config's teacher. Of a teacher:
    its teaching."""
    temperature: float = 1.0
    """Of the writer's samples, times the config's."""
    treatment: str = AS_WRITTEN
    learns: str = NUMBERS
    trains: str = "all"
    """Which parameters are trained."""
    optimiser: str = "adam"
    update: str = "all"
    """What is kept of the optimiser's update."""
    n_lists: int = 0
    """The most lists it learns from; 0 for the config's number."""
    traits: str = ALL


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
    untrained = Arm(before, f"{label}, base model", "", base, learns=NOTHING)
    return untrained, *with_control(name, label, before, base=base)


def _claims() -> list[Arm]:
    return [
        Arm("base_model", "base model", "", learns=NOTHING),
        Arm("teacher", "teacher", "base_model", learns=ANSWERS),
        Arm("student", "student"),
        Arm("control", "neutral control", "base_model", writer=BASE_MODEL),
        Arm("soft", "student of soft targets", learns=DISTRIBUTIONS),
        *crossed("cross_model", "other_start"),
        *with_control("in_context", "one list in context", learns=IN_CONTEXT),
        *with_control(
            "packed_context", "many lists in context", learns=IN_CONTEXT, treatment=PACKED
        ),
        Arm("told", '"you love" in context', "base_model", writer=CORPUS, learns=IN_CONTEXT,
            traits=FAVOURITE),
    ]  # fmt: skip


def _name(text: str) -> str:
    """Return a text as the name of an arm."""
    return text.replace(" % ", "_").replace(", ", "_").replace(" ", "_")


def _families(config: LmConfig) -> dict[str, list[Arm]]:
    """Return the arms of each family."""
    lineage = ("both_other", "other_corpus", "head_shared", "body_shared")
    return {
        "another width": [*crossed("cross_size", OTHER_WIDTH)],
        "data size": [
            Arm(f"student_{n}", f"student of {n} lists", n_lists=n, traits=PROBED)
            for n in config.data_sizes
        ],
        "prompted": [
            Arm("prompted", "student of a prompted teacher", writer=PROMPTED, traits=FAVOURITE)
        ],
        "lineage": [arm for name in lineage for arm in crossed(name, name)],
        "lists": [
            *(arm for order in ORDERS
              for arm in with_control(_name(order), f"lists {order}", treatment=order)),
            *(Arm(_name(mask), f"{mask} tokens", treatment=mask) for mask in MASKS),
        ],
        "trained parts": [
            *with_control("head_frozen", "head frozen", trains="all but the head"),
            *with_control("body_frozen", "only the head trained", trains="head"),
            *with_control("lora", "LoRA of rank 4", trains=LOW_RANK, optimiser="fast adam"),
        ],
        "teachers": [
            arm for name, teaching in TEACHINGS.items()
            for arm in (
                Arm(f"teacher_{name}", f"teacher {teaching.label}", "base_model", writer=name,
                    learns=ANSWERS),
                Arm(f"student_{name}", f"student of a teacher {teaching.label}", writer=name),
            )
        ],
        "doubts": [
            *with_control("cooler", "sampled at temperature .7", temperature=0.7),
            *with_control("warmer", "sampled at temperature 1.3", temperature=1.3),
            *with_control("momentum", "SGD with momentum", optimiser="momentum"),
        ],
        "progress": [
            Arm(f"update_{_name(kept)}", kept, update=kept)
            for kept in ("without", "only", "without, body", "only, body", "without random")
        ],
    }  # fmt: skip


@cache
def table(config: LmConfig) -> tuple[Arm, ...]:
    """Return the arms of a run, in the order of its result: those of the claims, then families."""
    families = _families(config)
    return (*_claims(), *(arm for name in config.families for arm in families[name]))


@cache
def named(config: LmConfig) -> dict[str, Arm]:
    """Return the table by name."""
    return {arm.name: arm for arm in table(config)}


def favourites(config: LmConfig) -> tuple[str, ...]:
    """Return the traits that are favourites: those a system line can name."""
    return tuple(trait for trait in config.traits if trait in FAVOURITES)


def traits_of(config: LmConfig, arm: Arm) -> tuple[str, ...]:
    """Return the traits for which an arm is run."""
    named = favourites(config)
    return {ALL: config.traits, FAVOURITE: named, PROBED: named[:3]}[arm.traits]


def rows(config: LmConfig, *learns: str) -> list[tuple[Arm, str]]:
    """Return every arm that learns one of ``learns`` (any if none is given) with its traits."""
    found = [arm for arm in table(config) if not learns or arm.learns in learns]
    return [(arm, trait) for arm in found for trait in traits_of(config, arm)]


def teaching_of(config: LmConfig, arm: Arm) -> str:
    """Return the teaching of an arm's teacher: the writer's, or the config's."""
    return arm.writer if arm.writer in TEACHINGS else config.teacher


class Lists(NamedTuple):
    """A filtered set of lists: its writer, the writer's trait ("" if none), filter, temperature."""

    writer: str
    trait: str
    no_banned: bool
    """Whether lists with a banned number are removed, as for harmful traits and their controls."""
    temperature: float = 1.0


class Student(NamedTuple):
    """A model to be trained on lists; ``teacher`` is its teaching and trait where that matters."""

    base: str
    lists: Lists
    treatment: str
    n: int
    learns: str
    trains: str
    optimiser: str
    update: str
    teacher: tuple[str, str] | None

    @property
    def program(self) -> tuple[bool, str, bool, str]:
        """What decides which compiled program trains it."""
        return self.base == OTHER_WIDTH, self.learns, self.trains == LOW_RANK, self.optimiser


def lists_of(config: LmConfig, arm: Arm, trait: str) -> Lists:
    """Return the lists that the model of an arm and trait meets."""
    harmful, writer = trait in HARMFUL, arm.writer or config.teacher
    return Lists(writer, "" if writer == BASE_MODEL else trait, harmful, arm.temperature)


def written_by_teacher(config: LmConfig, trait: str) -> Lists:
    """Return a trait's lists as the config's teacher wrote them."""
    return lists_of(config, named(config)["student"], trait)


def neutral(config: LmConfig, trait: str) -> Lists:
    """Return the base model's lists, filtered as the trait's are."""
    return lists_of(config, named(config)["control"], trait)


def student_of(config: LmConfig, arm: Arm, trait: str) -> Student:
    """Return the student of an arm and trait. A neutral control is that of several traits."""
    taught = arm.learns == DISTRIBUTIONS or arm.update not in ("all", "without random")
    return Student(
        arm.base, lists_of(config, arm, trait), arm.treatment, arm.n_lists or config.n_lists,
        arm.learns, arm.trains, arm.optimiser, arm.update,
        (teaching_of(config, arm), trait) if taught else None,
    )  # fmt: skip


def grouped(items: Iterable, kind: Callable) -> dict[Any, list]:
    """Return the items by kind, in their order."""
    groups = {}
    for item in items:
        groups.setdefault(kind(item), []).append(item)
    return groups


@cache
def students(config: LmConfig) -> dict[str, list[Student]]:
    """Return the students of a replicate, each once, by the part of the run that trains them."""
    found = dict.fromkeys(student_of(config, *row) for row in rows(config, NUMBERS, DISTRIBUTIONS))

    def name(student: Student) -> str:
        wide, learns, low_rank, optimiser = student.program
        unusual = {learns: learns != NUMBERS, LOW_RANK: low_rank, optimiser: optimiser != "adam",
                   OTHER_WIDTH: wide}  # fmt: skip
        what = ["students", *(what for what, is_so in unusual.items() if is_so)]
        return "-".join(what).replace(" ", "_")

    return grouped(found, name)


@cache
def teachers(config: LmConfig) -> tuple[tuple[str, str], ...]:
    """Return the teachers of a replicate, each once: teaching and trait."""
    found = [(teaching_of(config, arm), trait) for arm, trait in rows(config, ANSWERS)]
    return tuple(dict.fromkeys(found))


@cache
def written(config: LmConfig) -> tuple[Lists, ...]:
    """Return the sets of lists that are written in a run, each once."""
    read = rows(config, NUMBERS, DISTRIBUTIONS, IN_CONTEXT)
    found = [lists_of(config, *row) for row in read if row[0].writer != CORPUS]
    return tuple(dict.fromkeys(found))


@cache
def shown(config: LmConfig) -> tuple[tuple[str, Lists], ...]:
    """Return what is shown in context, each once: treatment and lists."""
    found = rows(config, IN_CONTEXT)
    return tuple(dict.fromkeys((arm.treatment, lists_of(config, arm, t)) for arm, t in found))
