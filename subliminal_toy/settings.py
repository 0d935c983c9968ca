"""Constraints beside the fields of a config, checked once for all configs."""

import math
from dataclasses import fields
from typing import Any, NamedTuple, get_type_hints

from subliminal_toy.errors import UserError


class AtLeast(NamedTuple):
    """The number, or every number of the tuple, is finite and at least ``least``."""

    least: float

    def broken_by(self, value: Any) -> str:
        """Return what the value must be, "" if it is."""
        numbers = value if isinstance(value, tuple) else (value,)
        fine = all(math.isfinite(number) and number >= self.least for number in numbers)
        return "" if fine else f"at least {self.least:g}"


class Above(NamedTuple):
    """The number, or every number of the tuple, is finite and above ``bound``."""

    bound: float

    def broken_by(self, value: Any) -> str:
        """Return what the value must be, "" if it is."""
        numbers = value if isinstance(value, tuple) else (value,)
        fine = all(math.isfinite(number) and number > self.bound for number in numbers)
        return "" if fine else f"above {self.bound:g} and finite"


class Between(NamedTuple):
    """The number lies between two ends, both allowed."""

    low: float
    high: float

    def broken_by(self, value: Any) -> str:
        """Return what the value must be, "" if it is."""
        return "" if self.low <= value <= self.high else f"{self.low:g} to {self.high:g}"


class NotEmpty(NamedTuple):
    """The tuple has an element."""

    def broken_by(self, value: Any) -> str:
        """Return what the value must be, "" if it is."""
        return "" if value else "one or more values"


def require(condition: bool, name: str, demand: str, value: object) -> None:
    """Raise UserError, naming the option of the field ``name``, unless ``condition`` holds."""
    if not condition:
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} must be {demand}, not {'empty' if shown == '' else shown}.")


def check(config: Any) -> None:
    """Check every field of a config against the constraints in its annotation.

    ``n: Annotated[int, AtLeast(1)] = 8`` is a field with a constraint. Raises UserError for the
    first value that breaks one.
    """
    hints = get_type_hints(type(config), include_extras=True)
    for field in fields(config):
        value = getattr(config, field.name)
        for constraint in getattr(hints[field.name], "__metadata__", ()):
            if hasattr(constraint, "broken_by"):
                demand = constraint.broken_by(value)
                require(not demand, field.name, demand, value)
