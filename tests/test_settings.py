"""Constraints beside the fields of a config."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from subliminal_toy.errors import UserError
from subliminal_toy.settings import Above, AtLeast, Between, NotEmpty, check


@dataclass(frozen=True)
class Config:
    count: Annotated[int, AtLeast(1)] = 1
    rate: Annotated[float, Above(0)] = 1.0
    share: Annotated[float, Between(0, 1)] = 0.5
    sizes: Annotated[tuple[int, ...], NotEmpty(), AtLeast(2)] = (2,)
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
