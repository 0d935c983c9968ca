"""How an experiment tells its progress without knowing who listens."""

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called with the finished fraction of the work (0 to 1) and the name of the phase at work."""


def silent(fraction: float, phase: str) -> None:
    """Listen to nothing."""
