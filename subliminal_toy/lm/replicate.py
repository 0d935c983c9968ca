"""The finished parts of one replicate, read by what they hold."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np

from subliminal_toy.lm import arms
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.runs import Arrays

Finished = Mapping[str, Arrays]
Row = dict[str, Any]
"""What a part holds of one model or one set of lists: arrays and numbers."""


def stack(items: Sequence[Any]) -> Any:
    """Return tuples or dicts of arrays as one, the items along a new first axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *items)


def base_part(name: str) -> str:
    """Return the name of the part of a row of ``arms.BASES``."""
    return "base_models" if name == arms.OWN else f"base_models-{name}"


class Replicate:
    """The finished parts of a run's replicate ``number``, each read from the disk once."""

    def __init__(self, config: LmConfig, finished: Finished, number: int):
        """Read nothing yet."""
        self.config, self.number = config, number
        self.part = cache(lambda name: finished[f"{name}-{number:03d}"])
        self._bases = cache(lambda name: finished[base_part(name)])

    def _row(self, part: str, table: Sequence, row: Any) -> Row:
        place = table.index(row)
        return {name: array[place] for name, array in self.part(part).items()}

    def base(self, name: str = arms.OWN) -> Row:
        """Return the base model of a row of ``arms.BASES``."""
        return {field: array[self.number] for field, array in self._bases(name).items()}

    def teacher(self, name: str, trait: str) -> Row:
        """Return the teacher of a teaching and a trait."""
        return self._row("teachers", arms.teachers(self.config), (name, trait))

    def lists(self, one: arms.Lists) -> Row:
        """Return a set of lists; see ``lists.filtered``."""
        return self._row("lists", arms.written(self.config), one)

    def reading(self, side: str, trait: str) -> Row:
        """Return what was read on the lists of one side: ``own`` or ``control``."""
        found = self._row("reading", self.config.traits, trait)
        return {k.removeprefix(f"{side}."): v for k, v in found.items() if k.startswith(f"{side}.")}

    def shown(self, treatment: str, one: arms.Lists) -> Row:
        """Return what the base model says after lists in context."""
        return self._row("in_context", arms.shown(self.config), (treatment, one))

    def model(self, arm: arms.Arm, trait: str) -> Row:
        """Return the model of an arm and trait: ``training.Learned``, or only scores."""
        if arm.learns == arms.NOTHING:
            return self.base(arm.base)
        if arm.learns == arms.ANSWERS:
            return self.teacher(arms.teaching_of(self.config, arm), trait)
        if arm.learns == arms.IN_CONTEXT:
            return self.shown(arm.treatment, arms.lists_of(self.config, arm, trait))
        student, groups = arms.student_of(self.config, arm, trait), arms.students(self.config)
        part = next(name for name, group in groups.items() if student in group)
        return self._row(part, groups[part], student)
