"""The one exception that the command line turns into one sentence."""


def printable(text: str) -> str:
    """Return a text on one line, with control and other invisible characters as escapes.

    What comes from files of others cannot move a terminal's cursor or turn a line around.
    """
    line = " ".join(text.split())
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line
    )


class UserError(Exception):
    """Something outside the program is wrong; the message says what it is and what to do."""

    def __init__(self, sentence: str):
        """Keep the sentence, made ``printable``."""
        super().__init__(printable(sentence))
