"""Constraints beside the fields of a config."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from subliminal_toy.errors import UserError
from subliminal_toy.settings import (
    Above,
    AtLeast,
    AtMostValues,
    Between,
    Distinct,
    NotEmpty,
    check,
)


@dataclass(frozen=True)
class Config:
    count: Annotated[int, AtLeast(1)] = 1
    rate: Annotated[float, Above(0)] = 1.0
    share: Annotated[float, Between(0, 1)] = 0.5
    sizes: Annotated[tuple[int, ...], NotEmpty(), AtMostValues(4), AtLeast(2)] = (2,)
    kinds: Annotated[tuple[Literal["a", "b"], ...], Distinct()] = ("a",)
    free: int = -1


def test_values_at_the_bound_are_allowed_where_it_is_said():
    check(Config())
    check(Config(share=0.0, sizes=(2, 3)))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"count": 0}, "--count must be at least 1, not 0."),
        ({"rate": 0.0}, "--rate must be above 0 and finite, not 0.0."),
        ({"rate": float("inf")}, "--rate must be above 0 and finite, not inf."),
        ({"rate": float("nan")}, "--rate must be above 0 and finite, not nan."),
        ({"count": 2**31}, "--count must be a whole number of at most 2147483647, not 2147483648."),
        ({"count": 1.5}, "--count must be a whole number of at most 2147483647, not 1.5."),
        ({"count": True}, "--count must be a whole number of at most 2147483647, not True."),
        ({"rate": 1e39}, "--rate must be of a size from 1.2e-38 to 3.4e+38, not 1e+39."),
        ({"rate": 1e-39}, "--rate must be of a size from 1.2e-38 to 3.4e+38, not 1e-39."),
        ({"rate": "fast"}, "--rate must be of type float, not fast."),
        ({"sizes": 4}, "--sizes must be a tuple, not 4."),
        ({"sizes": (2,) * 5}, "--sizes must be at most 4 values, not 2 2 2 2 2."),
        ({"kinds": ("a", "a")}, "--kinds must be different values, not a a."),
        ({"kinds": ("a", "c")}, "--kinds must be one of a, b, not a c."),
        ({"share": 1.5}, "--share must be 0 to 1, not 1.5."),
        ({"share": float("nan")}, "--share must be 0 to 1, not nan."),
        ({"sizes": ()}, "--sizes must be one or more values, not empty."),
        ({"sizes": (4, 1)}, "--sizes must be at least 2, not 4 1."),
    ],
)
def test_each_constraint_names_the_option_and_what_it_must_be(wrong, sentence):
    with pytest.raises(UserError) as error:
        check(Config(**wrong))
    assert str(error.value) == sentence
