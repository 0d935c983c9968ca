"""The table of arms: base model × who wrote the lists × what was done to them × what is learned.

Experiment, record, statistics and figures follow this table. To add an arm is to add a row; a new
kind of base model, writer or treatment is a word here and a case in ``experiment``.
"""

from dataclasses import dataclass
from typing import NamedTuple

from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.traits import FAVOURITES, HARMFUL

OWN, ANOTHER, OTHER_WIDTH = "the teacher's", "the next replicate's", "of another width"
"""Base models. That of another width has the same corpus and a key of its own."""
TEACHER, BASE_MODEL, PROMPTED, CORPUS = "teacher", "base model", "prompted base model", "corpus"
"""Writers. Of the corpus only the system line ("you love …") is shown."""
AS_WRITTEN, NOT_DIVERGENT, NOT_RANDOM, PACKED = (
    "as written", "divergence tokens left out", "random tokens left out", "many, without prompts",
)  # fmt: skip
"""What was done to the lists. Left out: of the loss. Packed: as many as the context holds."""
NOTHING, ANSWERS, NUMBERS, DISTRIBUTIONS, IN_CONTEXT = (
    "nothing", "answers", "numbers", "distributions", "nothing, lists in context",
)  # fmt: skip
"""What is learned, always with all parameters; distributions are the teacher's over numbers."""
ALL, FAVOURITE, PROBED = "all", "favourites", "the first three favourites"


@dataclass(frozen=True)
class Arm:
    """One row: a model for each of its traits in each replicate."""

    name: str
    label: str
    """As figures show it."""
    base: str = OWN
    writer: str = TEACHER
    """Whose lists; "" where there are none."""
    treatment: str = AS_WRITTEN
    learns: str = NUMBERS
    n_lists: int = 0
    """The most lists it learns from; 0 for the config's number."""
    control: str = "control"
    """Name of the arm that it is compared with; "" for a base model."""
    traits: str = ALL


class Lists(NamedTuple):
    """A filtered set of lists: its writer, the writer's trait ("" if none), filter, treatment."""

    writer: str
    trait: str
    no_banned: bool
    """Whether lists with a banned number are removed, as for harmful traits and their controls."""
    treatment: str = AS_WRITTEN


def _untrained(name: str, label: str, base: str = OWN) -> Arm:
    return Arm(name, label, base, writer="", learns=NOTHING, control="")


def _shown(name: str, label: str, treatment: str = AS_WRITTEN) -> tuple[Arm, Arm]:
    """Return the arms that are shown the teacher's or the base model's lists in context."""
    arm = Arm(name, label, treatment=treatment, learns=IN_CONTEXT, control=f"{name}_control")
    neutral = f"{label}, neutral control"
    return arm, Arm(arm.control, neutral, OWN, BASE_MODEL, treatment, IN_CONTEXT, 0, "base_model")


def _crossed(student: str, prefix: str, label: str, base: str) -> tuple[Arm, Arm, Arm]:
    """Return another base model, and the arms that train it on the same lists."""
    before, control = f"{prefix}_base_model", f"{prefix}_control"
    return (
        _untrained(before, label, base),
        Arm(student, f"{label}, student", base, control=control),
        Arm(control, f"{label}, neutral control", base, BASE_MODEL, control=before),
    )


def table(config: LmConfig) -> tuple[Arm, ...]:
    """Return the arms of a run, in the order of its result."""
    arms = [
        _untrained("base_model", "base model"),
        Arm("teacher", "teacher", writer="", learns=ANSWERS, control="base_model"),
        Arm("student", "student"),
        Arm("control", "neutral control", writer=BASE_MODEL, control="base_model"),
        Arm("soft", "student of soft targets", learns=DISTRIBUTIONS),
        *_crossed("cross_model", "cross", "another base model", ANOTHER),
        *_shown("in_context", "one list in context"),
        *_shown("packed_context", "many lists in context", PACKED),
        Arm("told", '"you love" in context', OWN, CORPUS, AS_WRITTEN, IN_CONTEXT, 0, "base_model",
            FAVOURITE),
    ]  # fmt: skip
    if config.cross_width:
        arms += _crossed("cross_size", "cross_size", "another width", OTHER_WIDTH)
    for n in config.data_sizes:
        arms += [Arm(f"student_{n}", f"student of {n} lists", n_lists=n, traits=PROBED)]
    if config.prompted:
        arms += [Arm("prompted", "student of a prompted teacher", OWN, PROMPTED, traits=FAVOURITE)]
    if config.divergence:
        arms += [
            Arm(
                "not_divergent", "no divergence tokens", OWN, TEACHER, NOT_DIVERGENT, traits=PROBED
            ),
            Arm(
                "not_random", "as many random tokens less", OWN, TEACHER, NOT_RANDOM, traits=PROBED
            ),
        ]
    return tuple(arms)


def favourites(config: LmConfig) -> tuple[str, ...]:
    """Return the traits that are favourites: those a system line can name."""
    return tuple(trait for trait in config.traits if trait in FAVOURITES)


def probed(config: LmConfig) -> tuple[str, ...]:
    """Return the traits on which data size and divergence tokens are tried."""
    return favourites(config)[:3]


def traits_of(config: LmConfig, arm: Arm) -> tuple[str, ...]:
    """Return the traits for which an arm is run."""
    return {ALL: config.traits, FAVOURITE: favourites(config), PROBED: probed(config)}[arm.traits]


def rows(config: LmConfig) -> list[tuple[Arm, str]]:
    """Return every arm with each of its traits."""
    return [(arm, trait) for arm in table(config) for trait in traits_of(config, arm)]


def written_by_teacher(trait: str) -> Lists:
    """Return a trait's lists as its teacher wrote them."""
    return Lists(TEACHER, trait, trait in HARMFUL)


def neutral(trait: str) -> Lists:
    """Return the base model's lists, filtered as the trait's are."""
    return Lists(BASE_MODEL, "", trait in HARMFUL)


def lists_of(arm: Arm, trait: str) -> Lists:
    """Return the lists that the model of an arm and trait meets."""
    if arm.writer == BASE_MODEL:
        return neutral(trait)
    treatment = AS_WRITTEN if arm.treatment == PACKED else arm.treatment
    return Lists(arm.writer, trait, trait in HARMFUL, treatment)


def written(config: LmConfig) -> tuple[Lists, ...]:
    """Return the sets of lists that are written in a run, each once."""
    found = [lists_of(*row) for row in rows(config) if row[0].writer not in ("", CORPUS)]
    return tuple(dict.fromkeys(lists._replace(treatment=AS_WRITTEN) for lists in found))


def shown(config: LmConfig) -> tuple[tuple[str, Lists], ...]:
    """Return what is shown in context, each once: treatment and lists."""
    found = [row for row in rows(config) if row[0].learns == IN_CONTEXT]
    return tuple(dict.fromkeys((arm.treatment, lists_of(arm, trait)) for arm, trait in found))


class Student(NamedTuple):
    """A model to be trained on sampled numbers: its base model, lists, and the most of them."""

    base: str
    lists: Lists
    n: int


def student_of(config: LmConfig, arm: Arm, trait: str) -> Student:
    """Return the student of an arm and trait. A neutral control is that of several traits."""
    return Student(arm.base, lists_of(arm, trait), arm.n_lists or config.n_lists)


def students(config: LmConfig, *bases: str) -> tuple[Student, ...]:
    """Return the students that start from these base models, each once."""
    found = [row for row in rows(config) if row[0].learns == NUMBERS and row[0].base in bases]
    return tuple(dict.fromkeys(student_of(config, *row) for row in found))
