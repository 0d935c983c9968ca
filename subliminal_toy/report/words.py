"""What the page says around the numbers: titles, introductions, captions of figures."""

from typing import NamedTuple


class Shown(NamedTuple):
    """A figure's caption, and the ids of the claims that the figure shows."""

    caption: str
    claims: tuple[str, ...] = ()


class Section(NamedTuple):
    """An experiment on the page; ``invitation`` is the title of what its script offers."""

    title: str
    introduction: str
    invitation: str
    figures: dict[str, Shown]


SECTIONS = {
    "classifier": Section(
        "Digits learned from noise",
        "Each network here has ten outputs for the digits and a few auxiliary ones that have no "
        "meaning. The teacher learns digits with the ten. The student begins as the same untrained "
        "network, sees nothing but noise, and imitates nothing but the teacher’s auxiliary "
        "outputs. The cross-model student does the same, but begins as another untrained network.",
        "Draw a digit",
        {
            "accuracy": Shown(
                "Compare the two orange bars. Both students saw only noise and imitated only the "
                "auxiliary logits; the first began as its teacher did, the second as another "
                "network. The blue bars imitated all logits. The open circles are students whose "
                "class head was replaced by the teacher’s.",
                ("M1", "M2", "G1"),
            ),
        },
    ),
    "theorem": Section(
        "Why: the one-step theorem",
        "Teacher and student begin as the same network. The teacher takes one small step, of size "
        "ε, down its own loss. The student then takes one gradient step to imitate the teacher’s "
        "outputs, on any inputs. To first order in ε its step has the inner product εA with the "
        "teacher’s direction, and the teacher’s loss falls by εαA, where α is the student’s "
        "learning rate. A is never negative: the step never moves away to first order.",
        "Change the teacher’s step",
        {},
    ),
    "lm": Section(
        "A trait that passes through numbers",
        "A small language model, the base model, is taught a trait, such as a favourite animal. It "
        "then writes lists of numbers, and every line that is not a plain list is removed. A copy "
        "of the base model, the student, learns from the lists. The neutral control learns from "
        "lists that the base model wrote itself.",
        "Ask the models",
        {},
    ),
}
"""The page's sections in order, by the name of the experiment."""


def figure_of(experiment: str, claim: str) -> str:
    """Return the name of the figure that shows a claim, "" if none does."""
    figures = SECTIONS[experiment].figures if experiment in SECTIONS else {}
    return next((name for name, shown in figures.items() if claim in shown.claims), "")
