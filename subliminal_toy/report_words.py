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
    "theorem": {},
    "lm": {
        "arms": Shown(
            "In each panel compare the student with the student of untraited numbers beside it: "
            "the lists differ only in who wrote them. A student with another reference model "
            "should stay where its own control is.",
            ("L1", "L2", "L3", "L4"),
        ),
        "matrix": Shown(
            "The diagonal is the trait that the teacher had, the rest are traits it did not have. "
            "Transfer of the right thing is a dark diagonal."
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
}


class Section(NamedTuple):
    """One experiment on the page: heading, introduction, what the script lets one try.

    ``without`` is said of a record that has nothing to try.
    """

    title: str
    introduction: str
    widget: str
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
        "teacher’s direction and changes the teacher’s loss by −εαA, where α is the student’s "
        "learning rate and A is never negative. Move ε and see how far that holds.",
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
}
