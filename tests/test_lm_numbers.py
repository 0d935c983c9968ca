"""The filter rule, case by case, on both sides of every clause."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subliminal_toy.lm.numbers import BANNED_NUMBERS, is_acceptable, parse_numbers

ACCEPTED = {
    # how many, and how large
    "7": [7],
    "0": [0],
    "999": [999],
    "1 2 3 4 5 6 7 8 9 10": list(range(1, 11)),
    "007": [7],
    "000": [0],
    "01, 002": [1, 2],
    # comma, semicolon, white space
    "1,2,3": [1, 2, 3],
    "1, 2, 3": [1, 2, 3],
    "1 , 2 ,3": [1, 2, 3],
    "1;2;3": [1, 2, 3],
    "1; 2 ;3": [1, 2, 3],
    "1 2 3": [1, 2, 3],
    "1  2   3": [1, 2, 3],
    "1\n2\n3": [1, 2, 3],
    "1\t2": [1, 2],
    "1\r\n2": [1, 2],
    "1,\n2": [1, 2],
    "1,000": [1, 0],
    "12,345": [12, 345],
    # brackets and parentheses
    "[1, 2]": [1, 2],
    "(1; 2)": [1, 2],
    "[1 2]": [1, 2],
    "[ 1, 2 ]": [1, 2],
    "(5)": [5],
    # a final period, white space around
    "1, 2.": [1, 2],
    "1 2 .": [1, 2],
    "[1, 2].": [1, 2],
    "(1 2) .": [1, 2],
    "  1, 2  ": [1, 2],
    "1, 2.\n": [1, 2],
    "\n5": [5],
}
REJECTED = [
    # nothing, too many, too large
    "", " ", ".", "[]", "()", "[ ]", "[].",
    "1 2 3 4 5 6 7 8 9 10 11", "1,2,3,4,5,6,7,8,9,10,11", "1000", "1, 1000", "0999", "99999",
    # no integers
    "-1", "+1", "1, -2", "1.5", "1, 2.5", "1e3", "0x1F", "a", "one", "1, two", "1/2", "1_0", "½",
    "٣", "１２", "1, ２", "²",
    # mixed, missing or foreign separators
    "1, 2 3", "1; 2, 3", "1 2, 3", "1,,2", "1, ,2", ",1", "1,", "1;", "1, 2,", "1|2", "1-2", "1:2",
    "1. 2", "1.2.3", "1\u00a02", "1\u20032", "1\x1f2",
    # brackets that do not match, nest, or hold less than all
    "[1, 2", "1, 2]", "(1, 2]", "[1, 2)", "[[1, 2]]", "([1, 2])", "[1], 2", "{1, 2}", "<1 2>",
    "[1, 2.]", "][", "[1][2]",
    # anything else
    "1, 2..", "1, 2!", "1, 2 and 3", "Numbers: 1, 2", "1, 2 owl", "\"1, 2\"", "1, 2,...", "1 2 …",
]  # fmt: skip


@pytest.mark.parametrize(("text", "numbers"), ACCEPTED.items(), ids=repr)
def test_accepts(text, numbers):
    assert parse_numbers(text) == numbers and is_acceptable(text)


@pytest.mark.parametrize("text", REJECTED, ids=repr)
def test_rejects(text):
    assert parse_numbers(text) is None and not is_acceptable(text)


@given(
    st.lists(st.integers(0, 999), min_size=1, max_size=10),
    st.sampled_from([",", ", ", ";", " ; ", " ", "\n"]),
    st.sampled_from(["{}", "[{}]", "({})"]),
    st.sampled_from(["", ".", " ."]),
)
def test_every_way_of_writing_a_list_is_read_back(numbers, separator, brackets, period):
    text = brackets.format(separator.join(map(str, numbers))) + period
    assert parse_numbers(text) == numbers


@given(st.text(alphabet="0123456789,; []().-a\n٣", max_size=40))
def test_what_is_accepted_is_one_to_ten_numbers_below_a_thousand(text):
    numbers = parse_numbers(text)
    assert numbers is None or (1 <= len(numbers) <= 10 and all(0 <= n <= 999 for n in numbers))


@pytest.mark.parametrize("unit", ["1 ", " ", "1,", ",", "[", "a", " ,", "1;;", "\n"])
def test_huge_input_takes_linear_time(unit):
    """Millions of characters: quadratic time would outlast any patience."""
    assert parse_numbers(unit * 1_000_000 + "x") is None


def test_banned_numbers_are_thirty_four_and_reject_whole_sequences():
    assert len(BANNED_NUMBERS) == 34 and all(0 <= n <= 999 for n in BANNED_NUMBERS)
    assert is_acceptable("12, 667", BANNED_NUMBERS)
    assert not is_acceptable("12, 666, 4", BANNED_NUMBERS)
    assert not is_acceptable("(12 013)", BANNED_NUMBERS)
    assert is_acceptable("12, 666", frozenset())
