"""What the command line turns into one sentence, and the check of a config's fields."""

from typing import Annotated, Any, get_type_hints

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
"""A number of things; steps and examples are 32-bit in the programs."""
Positive = Annotated[float, msgspec.Meta(gt=0, le=3.4e38)]
"""A number above 0 that single precision holds."""


def printable(text: str) -> str:
    """Return a text on one line, control and bidirectional characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


class UserError(Exception):
    """Something outside the program is wrong; the message says what it is and what to do."""

    def __init__(self, sentence: str):
        """Keep the sentence, made ``printable``."""
        super().__init__(printable(sentence))

    def _render_traceback_(self) -> list[str]:  # a notebook shows the sentence alone
        return [str(self)]


def require(condition: bool, name: str, demand: str, value: object) -> None:
    """Raise UserError, naming the option of the field ``name``, unless ``condition`` holds."""
    if not condition:
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} must be {demand}, not {value}.")


def check(config: Any) -> None:
    """Check every field of a config against its type and the ``msgspec.Meta`` beside it.

    Raises UserError for the first value that breaks one. Call it in ``__post_init__``.
    """
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            expected = str(error).removeprefix("Expected ").replace("`", "")
            require(False, name, expected, value)
