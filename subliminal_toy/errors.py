"""The one exception that the command line turns into one sentence."""


class UserError(Exception):
    """Something outside the program is wrong; the message says what it is and what to do."""
