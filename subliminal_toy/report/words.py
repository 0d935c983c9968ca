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
        {
            "theorem_convergence": Shown(
                "Each line is one combination of network, loss, inputs and trait loss. The theorem "
                "says that the student’s inner product with the teacher’s direction, divided by ε, "
                "tends to A: the relative error falls along the dashed line as ε does, until only "
                "rounding is left.",
                ("T1",),
            ),
            "theorem_fall": Shown(
                "The teacher’s loss after the student’s one step. Where the solid line is on the "
                "dashed one, the loss falls by as much as the theorem says. Far to the right ε is "
                "no longer small, and the loss may rise."
            ),
            "theorem_sharing": Shown("", ("T2",)),
            "theorem_outside": Shown(""),
        },
    ),
    "lm": Section(
        "A trait that passes through numbers",
        "A small language model, the base model, is taught a trait, such as a favourite animal. It "
        "then writes lists of numbers, and every line that is not a plain list is removed. A copy "
        "of the base model, the student, learns from the lists. The neutral control learns from "
        "lists that the base model wrote itself.",
        "Ask the models",
        {
            "arms": Shown(
                "In each panel compare the student with the neutral control beside it: their lists "
                "differ only in who wrote them. Compare the student with another base model, and "
                "the model that is shown lists in context, with their own neutral controls.",
                ("L1", "L2", "L3", "L4", "L5b"),
            ),
            "matrix": Shown(
                "Each row is the student of one teacher, each column a trait that was measured. "
                "The diagonal is the trait that the teacher had."
            ),
            "data_size": Shown(
                "The number of training steps is the same at every point; only the number of "
                "different lists changes."
            ),
            "detectors": Shown(
                "A detector is given what is in brackets, and tells the teacher’s lists from the "
                "base model’s. At an AUC of .5 it does no better than guessing.",
                ("L5a",),
            ),
            "mechanism": Shown(
                "Each point is a replicate: the cosine between the teacher’s displacement and the "
                "student’s, after the displacement of the neutral control was subtracted, which "
                "comes from learning any lists."
            ),
        },
    ),
}
"""The page's sections in order, by the name of the experiment."""


def figure_of(experiment: str, claim: str) -> str:
    """Return the name of the figure that shows a claim, "" if none does."""
    figures = SECTIONS[experiment].figures if experiment in SECTIONS else {}
    return next((name for name, shown in figures.items() if claim in shown.claims), "")
