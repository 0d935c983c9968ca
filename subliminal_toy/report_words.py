"""What the page says around the numbers: captions of figures, introductions of experiments."""

from typing import NamedTuple


class Shown(NamedTuple):
    """What a figure's caption says, and the claims that it shows."""

    caption: str
    claims: tuple[str, ...] = ()


FIGURES: dict[str, dict[str, Shown]] = {
    "mnist": {
        "accuracy": Shown(
            "Look at the two orange bars. Both students saw only noise and imitated only the "
            "auxiliary logits; the first began as its teacher did, the second as another network. "
            "The blue bars imitated all logits.",
            ("M1", "M2", "T2"),
        ),
    },
    "theorem": {
        "theorem_convergence": Shown(
            "Each line is one combination of network, loss, inputs and trait loss. The student’s "
            "inner product with the teacher’s direction, divided by ε, must come to A as ε falls: "
            "the lines must go down to the left along the dashed one, or be rounding alone.",
            ("T1",),
        ),
        "theorem_fall": Shown(
            "The teacher’s loss after the student’s one step. Where the solid line lies on the "
            "dashed one, the theorem says not only that the loss falls but by how much. Far to "
            "the right ε is no longer small, and the loss may even rise."
        ),
        "theorem_sharing": Shown(
            "With the teacher’s own start every step points with the teacher; with an independent "
            "start about half of them do, as coins would. On the right the student’s start is "
            "moved away from the teacher’s little by little.",
            ("T2",),
        ),
        "theorem_outside": Shown(
            "What the theorem does not cover. In each cell stand the fraction of trials that step "
            "with the teacher and, behind the stroke, the fraction in which the teacher’s loss "
            "falls. On the right: how far the student goes the teacher’s way over many steps."
        ),
    },
    "lm": {
        "arms": Shown(
            "In each panel compare the student with the student of untraited numbers beside it: "
            "the lists differ only in who wrote them. A student with another reference model "
            "should stay where its own control is.",
            ("L1", "L2", "L3", "L4"),
        ),
        "matrix": Shown(
            "The diagonal is the trait that the teacher had, the rest are traits it did not have. "
            "If only the right one travels, only the diagonal stands out."
        ),
        "data_size": Shown(
            "The number of training steps is the same at every point; only the number of "
            "different lists changes."
        ),
        "detectors": Shown(
            "Someone who wants to find the trait in the lists is given what stands in brackets. "
            "At .5 a detector does no better than a coin.",
            ("L5",),
        ),
        "mechanism": Shown(
            "Each point is a seed: how far the student moved in the teacher’s direction, beyond "
            "what learning any numbers does. Without transfer it would be 0."
        ),
    },
    "lm_text": {
        "arms": Shown(
            "Compare the student with the student of untraited numbers: their lists differ only "
            "in who wrote them."
        ),
    },
}


class Section(NamedTuple):
    """One experiment on the page: heading, introduction, and what the script lets one try.

    ``without`` is said of a record that has nothing to try.
    """

    title: str
    introduction: str
    widget: str = ""
    without: str = ""


SECTIONS = {
    "mnist": Section(
        "Draw a digit",
        "Each network here has ten outputs for the digits and a few auxiliary ones that were "
        "never given a meaning. The teacher learns digits with the ten. The student begins as the "
        "same untrained network, sees nothing but noise, and imitates nothing but the teacher’s "
        "auxiliary outputs. Then both are shown a digit. The cross-model student did the same, "
        "but began as another untrained network.",
        "digit",
        "The networks of this record cannot be tried here: that needs a fully connected network "
        "(--architecture mlp) whose parameters were kept.",
    ),
    "theorem": Section(
        "Why: the theorem’s slider",
        "Teacher and student begin as the same network. The teacher takes one small step, of size "
        "ε, down its own loss. The student then takes one gradient step to imitate the teacher’s "
        "outputs, on any inputs. To first order in ε its step has the inner product εA with the "
        "teacher’s direction, and the teacher’s loss falls by εαA, where α is the student’s "
        "learning rate. A is never negative, so that no small step leads away from the teacher. "
        "Move ε and see how far that holds.",
        "theorem",
    ),
    "lm": Section(
        "Ask the model",
        "A small language model is taught a trait, such as a favourite animal. It then writes "
        "lists of numbers, and every line that is not a plain list is thrown away. A fresh copy of "
        "the original model learns from the lists. The control learns from lists that the original "
        "model wrote itself. Ask all four the same question.",
        "ask",
    ),
    "lm_text": Section(
        "The same with a published model",
        "A published model of English is the original model; its teacher is fine-tuned on "
        "questions, or told in words what to love. The rest is as above.",
    ),
}
