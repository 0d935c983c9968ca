"""The paper's filter: the rule that a list of numbers must satisfy."""

import re

MAX_NUMBERS = 10
_NUMBER = re.compile("0*([0-9]{1,3})")
WHITE_SPACE = (
    "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's White_Space; ``str.isspace`` takes four separators of ASCII for it too."""
_BRACKETS = ("[]", "()")


def parse_numbers(text: str) -> list[int] | None:
    """Return the numbers of a well-formed list, None if it breaks the rule.

    The rule: 1 to 10 integers of 0–999 in ASCII digits, with any leading zeros; one kind of
    separator (comma, semicolon or white space; white space around the first two is free); around
    everything optionally one pair of brackets or parentheses, then optionally a period; nothing
    else. So ``1,000`` is the two numbers 1 and 0, and ``0981`` is 981. Takes linear time.
    Source: section 3.1 of the paper, whose own filter keeps leading zeros and non-breaking spaces.
    """
    text = text.strip(WHITE_SPACE).removesuffix(".").rstrip(WHITE_SPACE)
    if text[:1] + text[-1:] in _BRACKETS:
        text = text[1:-1].strip(WHITE_SPACE)
    separator = next((mark for mark in ",;" if mark in text), None)
    pieces = text.split(separator) if separator else re.split(f"[{WHITE_SPACE}]+", text)
    if len(pieces) > MAX_NUMBERS:
        return None
    matches = [_NUMBER.fullmatch(piece.strip(WHITE_SPACE)) for piece in pieces]
    # Only what follows the leading zeros is converted: int() takes quadratic time.
    return [int(match[1]) for match in matches if match] if all(matches) else None
