"""What the command line shows on a terminal or in a pipe: progress and the claims table."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from types import FrameType
from typing import Any

from subliminal_toy.progress import Progress

_interrupted = threading.Event()


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal: stop at once, after a running import, or at the next tick of the progress.

    An exception out of a signal handler can crash the import of an extension module, and is lost
    in a clean-up that ignores exceptions.
    """
    _interrupted.set()
    files = (at.f_code.co_filename for at, _ in traceback.walk_stack(frame))
    if "<frozen importlib._bootstrap>" not in files:
        raise KeyboardInterrupt
    # To the process, not to the timer's thread: this also wakes the main thread where it waits.
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()


def show_claims(records: Mapping[str, Any]) -> None:
    """Print the claims of records as a table."""
    from rich.console import Console
    from rich.table import Table

    from subliminal_toy import report

    table = Table("id", "claim and criterion", "measured [95 % interval]", "n", "verdict")
    folder = None
    for row in report.claims_rows(records):
        if row.record != folder:
            folder = row.record
            table.add_section()
            table.add_row("", f"[bold]{folder}[/bold] {row.dataset}")
        text = f"{row.statement}\n[dim]{row.criterion}[/dim]"
        table.add_row(row.id, text, row.measured, row.n, row.verdict)
    Console().print(table)


@contextmanager
def display(seconds: Mapping[str, float], quiet: bool) -> Iterator[dict[str, Progress]]:
    """Show one progress bar for all experiments, or plain lines where there is no terminal.

    ``seconds`` are their expected shares of the time; the time left is that of the work left at
    the speed so far.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    total, began, shown = sum(seconds.values()), time.monotonic(), [-1.0]
    bar = Bar(
        TaskProgressColumn(), BarColumn(), TextColumn("{task.fields[left]}"),
        TextColumn("{task.description}"), console=console, disable=quiet or not console.is_terminal,
    )  # fmt: skip
    task = bar.add_task("", total=1.0, left="")

    def listener(name: str, before: float) -> Progress:
        def listen(fraction: float, phase: str) -> None:
            if _interrupted.is_set():
                raise KeyboardInterrupt
            done = (before + seconds[name] * fraction) / total
            left = (time.monotonic() - began) * (1 - done) / done if done > 0.02 else None
            text = "estimating time left" if left is None else f"about {duration(left)} left"
            bar.update(task, completed=done, description=f"{name}: {phase}", left=text)
            # Piped output gets a line for every twentieth of the way.
            if not quiet and not console.is_terminal and done >= shown[0] + 0.05:
                shown[0] = done
                print(f"{done:4.0%}  {text}  {name}: {phase}", file=sys.stderr, flush=True)

        return listen

    starts = dict(zip(seconds, accumulate((0.0, *seconds.values())), strict=False))
    with bar:
        yield {name: listener(name, before) for name, before in starts.items()}


def duration(seconds: float) -> str:
    """Return a time span in words, seconds below two minutes and minutes above."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
