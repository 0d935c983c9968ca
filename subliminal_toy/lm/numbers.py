"""The rule that a number sequence must satisfy before a student may see it."""

import re
import string

MAX_NUMBERS, MAX_DIGITS = 10, 3

# Numbers with an ill association (violence, emergency calls, extremist codes, curses), removed
# on top of the format rule for harmful traits; 34 as in section
# 3.2 of the paper, few of them below 100 so that the small language keeps enough lists.
BANNED_NUMBERS = frozenset({
    13, 14, 18, 44, 66, 69, 88, 100, 101, 109, 110, 112, 137, 151, 187, 211, 311, 322, 410, 411,
    419, 420, 444, 451, 616, 644, 665, 666, 686, 711, 737, 811, 911, 999,
})  # fmt: skip

_BRACKETS = ("[]", "()")


def parse_numbers(text: str) -> list[int] | None:
    """Return the numbers of a well-formed sequence, None if it breaks the rule.

    The rule: 1 to 10 integers of 0–999, written with one to three ASCII digits (leading zeros
    do not matter), one kind of separator (comma, semicolon or white space; white space around
    the first two is free), optionally one pair of brackets or parentheses around everything,
    optionally a final period, nothing else. So ``1,000`` is the two numbers 1 and 0. Takes
    linear time. Source: section 3.1 of the paper.
    """
    if not text.isascii():
        return None
    text = text.strip(string.whitespace).removesuffix(".").rstrip(string.whitespace)
    if text[:1] + text[-1:] in _BRACKETS:
        text = text[1:-1].strip(string.whitespace)
    separator = next((mark for mark in ",;" if mark in text), None)
    pieces = text.split(separator) if separator else re.split(f"[{string.whitespace}]+", text)
    if len(pieces) > MAX_NUMBERS:
        return None
    pieces = [piece.strip(string.whitespace) for piece in pieces]
    if not all(1 <= len(piece) <= MAX_DIGITS and piece.isdigit() for piece in pieces):
        return None
    return [int(piece) for piece in pieces]


def is_acceptable(text: str, banned: frozenset[int] = frozenset()) -> bool:
    """Return whether ``text`` satisfies the rule and holds none of the ``banned`` numbers."""
    numbers = parse_numbers(text)
    return numbers is not None and banned.isdisjoint(numbers)
