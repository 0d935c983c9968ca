"""Constraints beside the fields of a config, checked once for all configs."""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from subliminal_toy.errors import UserError

MOST = 2**31 - 1
"""Largest whole number of a config: numbers of steps and examples are 32-bit in the programs."""
SMALLEST, LARGEST = 1.2e-38, 3.4e38
"""Of a number that is not 0, in size: what single precision holds."""


class Constraint(NamedTuple):
    """What a value must be, and whether it is; made by the functions below, named like types."""

    demand: str
    holds: Callable[[Any], bool]


def _each(demand: str, holds: Callable[[float | int], bool]) -> Constraint:
    return Constraint(
        demand, lambda value: all(map(holds, value if isinstance(value, tuple) else (value,)))
    )


def AtLeast(least: float | int) -> Constraint:
    """The number, or every number of the tuple, is at least ``least``, and finite."""
    return _each(f"at least {least:g}", lambda number: least <= number < math.inf)


def Above(bound: float | int) -> Constraint:
    """The number, or every number of the tuple, is above ``bound``, and finite."""
    return _each(f"above {bound:g} and finite", lambda number: bound < number < math.inf)


def Between(low: float | int, high: float | int) -> Constraint:
    """The number, or every number of the tuple, lies between two ends, both allowed."""
    return _each(f"{low:g} to {high:g}", lambda number: low <= number <= high)


def NotEmpty() -> Constraint:
    """The tuple has an element."""
    return Constraint("one or more values", bool)


def AtMostValues(most: int) -> Constraint:
    """The tuple has at most so many elements."""
    return Constraint(f"at most {most} values", lambda value: len(value) <= most)


def Distinct() -> Constraint:
    """No element of the tuple comes twice."""
    return Constraint("different values", lambda value: len(set(value)) == len(value))


def require(condition: bool, name: str, demand: str, value: object) -> None:
    """Raise UserError, naming the option of the field ``name``, unless ``condition`` holds."""
    if not condition:
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} must be {demand}, not {'empty' if shown == '' else shown}.")


def _broken_by_type(hint: Any, value: Any) -> str:
    """Return what the type says that a value must be, "" if it is; for the types of configs."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _broken_by_type(inner[0], value)
    if origin is Literal:
        return "" if value in inner else f"one of {', '.join(map(str, inner))}"
    if origin is tuple:
        if not isinstance(value, tuple):
            return "a tuple"
        return next(filter(None, (_broken_by_type(inner[0], one) for one in value)), "")
    if hint is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole and abs(value) <= MOST else f"a whole number of at most {MOST}"
    if hint is float and isinstance(value, float | int) and math.isfinite(value):
        fits = value == 0 or SMALLEST <= abs(value) <= LARGEST
        return "" if fits else f"of a size from {SMALLEST:g} to {LARGEST:g}"
    return "" if isinstance(value, hint) else f"of type {hint.__name__}"


def check(config: Any) -> None:
    """Check every field of a config against its type and the constraints in its annotation.

    ``n: Annotated[int, AtLeast(1)] = 8`` is a field with a constraint. Whole numbers are at most
    ``MOST``. Raises UserError for the first value that breaks one.
    """
    hints = get_type_hints(type(config), include_extras=True)
    for field in fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        demand = _broken_by_type(hint, value)
        require(not demand, field.name, demand, value)
        for constraint in getattr(hint, "__metadata__", ()):
            if isinstance(constraint, Constraint):
                require(constraint.holds(value), field.name, constraint.demand, value)
