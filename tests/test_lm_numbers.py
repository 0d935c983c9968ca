"""The filter rule, case by case and by properties, on both sides of every clause."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subliminal_toy.filter import parse_numbers
from subliminal_toy.lm.lists import BANNED_NUMBERS, refusal

ACCEPTED = {
    # how many, and how large
    "7": [7],
    "999": [999],
    "1 2 3 4 5 6 7 8 9 10": list(range(1, 11)),
    "007": [7],
    "01, 002": [1, 2],
    "0" * 9: [0],
    # comma, semicolon, white space
    "1, 2, 3": [1, 2, 3],
    "1; 2 ;3": [1, 2, 3],
    "1 2 3": [1, 2, 3],
    "1\n2\n3": [1, 2, 3],
    "1\r\n2": [1, 2],
    "1\u202f2\u20033\u30004": [1, 2, 3, 4],
    "\u00a01; 2\u00a0.": [1, 2],
    "[\u20091 2\u2009]": [1, 2],
    "1,000": [1, 0],
    # brackets and parentheses
    "[1, 2]": [1, 2],
    "(1; 2)": [1, 2],
    # a final period, white space around
    "1, 2.": [1, 2],
    "[1, 2].": [1, 2],
    "1, 2.\n": [1, 2],
}
REJECTED = [
    # nothing, too many, too large
    "", " ", ".", "[]", "()", "[ ]", "[].",
    "1 2 3 4 5 6 7 8 9 10 11", "1,2,3,4,5,6,7,8,9,10,11", "1000", "1, 1000", "01000", "99999",
    "1234567890" * 1_000, "9" * 5_000,
    # no integers
    "-1", "+1", "1, -2", "1.5", "1, 2.5", "1e3", "0x1F", "a", "one", "1, two", "1/2", "1_0", "½",
    "٣", "１２", "1, ２", "²",
    # mixed, missing or foreign separators
    "1, 2 3", "1; 2, 3", "1 2, 3", "1,,2", "1, ,2", ",1", "1,", "1;", "1, 2,", "1|2", "1-2", "1:2",
    "1. 2", "1.2.3", "1\x1f2", "1\u200b2", "1\ufeff2", "1,\u00a0", "\u00a0",
    # brackets that do not match, nest, or hold less than all
    "[1, 2", "1, 2]", "(1, 2]", "[1, 2)", "[[1, 2]]", "([1, 2])", "[1], 2", "{1, 2}", "<1 2>",
    "[1, 2.]", "][", "[1][2]",
    # anything else
    "1, 2..", "1, 2!", "1, 2 and 3", "Numbers: 1, 2", "1, 2 owl", "\"1, 2\"", "1, 2,...", "1 2 …",
]  # fmt: skip


@pytest.mark.parametrize(("text", "numbers"), ACCEPTED.items(), ids=repr)
def test_accepts(text, numbers):
    assert parse_numbers(text) == numbers and not refusal(text)


@pytest.mark.parametrize("text", REJECTED, ids=lambda text: repr(text)[:30])
def test_rejects(text):
    assert parse_numbers(text) is None and refusal(text)


SPACES = "".join(chr(c) for c in range(0x3001) if unicodedata.category(chr(c)) == "Zs") + "\n\t"
spaces = st.text(st.sampled_from(SPACES), max_size=3)
marks = st.sampled_from([",", ";", ""])
ALPHABET = "0123456789" * 3 + ",; []().-a\n\u00a0\u202f\u0663\u200b"


@given(
    st.lists(st.tuples(st.integers(0, 999), st.integers(0, 5)), min_size=1, max_size=10),
    marks, spaces, spaces, st.sampled_from(["{}", "[{}]", "({})"]), st.sampled_from(["", "."]),
)  # fmt: skip
def test_every_way_of_writing_a_list_is_read_back(numbers, mark, before, after, brackets, period):
    separator = f"{before}{mark}{after}"
    digits = ["0" * zeros + str(value) for value, zeros in numbers]
    text = brackets.format(before + (separator or " ").join(digits) + after) + before + period
    assert parse_numbers(text) == [value for value, _ in numbers]


WHITE = r"[\s\u0085]*"
NUMBER = r"0*[0-9]{1,3}"


def is_well_formed(text):
    """Return whether a text satisfies the rule, by one regular expression for each separator."""
    if any("\x1c" <= c <= "\x1f" for c in text):
        return False
    bodies = [f"{NUMBER}(?:{WHITE}{mark}{WHITE}{NUMBER}){{0,9}}" for mark in ",;"]
    bodies.append(f"{NUMBER}(?:[\\s]+{NUMBER}){{0,9}}")
    body = f"{WHITE}(?:{'|'.join(bodies)}){WHITE}"
    return bool(re.fullmatch(rf"{WHITE}(?:{body}|\[{body}\]|\({body}\)){WHITE}\.?{WHITE}", text))


@given(st.text(alphabet=ALPHABET, max_size=20))
def test_the_rule_agrees_with_a_regular_expression(text):
    numbers = parse_numbers(text)
    assert (numbers is not None) == is_well_formed(text)
    assert numbers is None or numbers == [int(n) for n in re.findall("[0-9]+", text)]


@pytest.mark.parametrize("unit", ["1 ", " ,", "1;;", "[", "0", "1\u202f"], ids=repr)
def test_huge_input_is_read(unit):
    """Millions of characters: quadratic time, or a conversion of the digits, would take hours."""
    assert parse_numbers(unit * 2_000_000 + "x") is None
    assert parse_numbers("1 " + unit * 2_000_000 + " 1,2") is None
    assert parse_numbers("0" * 1_000_000 + "7") == [7]


def test_banned_numbers_are_thirty_four_and_reject_whole_sequences():
    assert len(BANNED_NUMBERS) == 34 and all(0 <= n <= 999 for n in BANNED_NUMBERS)
    assert not refusal("12, 667", BANNED_NUMBERS)
    assert refusal("12, 666, 4", BANNED_NUMBERS)
    assert refusal("(12 013)", BANNED_NUMBERS)
    assert not refusal("12, 666", frozenset())
    assert refusal("0666 1", BANNED_NUMBERS)
