"""What the command line shows on a terminal or in a pipe: the status of a run, and its claims."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NoReturn


def show_claims(records: Mapping[str, Any]) -> None:
    """Print the claims of records as a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from subliminal_toy import report

    table = Table("id", "claim and criterion", "measured [95 % interval]", "n", "verdict")
    folder = None
    for row in report.claims_rows(records):
        if row.record != folder:
            folder = row.record
            table.add_section()
            table.add_row("", f"[bold]{escape(folder)}[/bold] {escape(row.dataset)}")
        text = f"{escape(row.statement)}\n[dim]{escape(row.criterion)}[/dim]"
        verdict = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
        table.add_row(row.id, text, row.measured, row.n, escape(verdict))
    Console().print(table)


@contextmanager
def display(
    shares: Mapping[str, float], quiet: bool
) -> Iterator[dict[str, Callable[[float, str], None]]]:
    """Show one bar for all experiments, or plain lines where there is no terminal.

    ``shares`` are the experiments' shares of the time, in any unit; yields a status for each. The
    time left is that of the work left at the speed so far.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    total, began, shown = sum(shares.values()), time.monotonic(), [-1.0]
    bar = Progress(
        TaskProgressColumn(),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.description}"),
        console=console,
        disable=quiet or not console.is_terminal,
    )
    task = bar.add_task("", total=1.0, left="")

    def listener(name: str, before: float) -> Callable[[float, str], None]:
        def listen(fraction: float, label: str) -> None:
            done = (before + shares[name] * fraction) / total
            left = (time.monotonic() - began) * (1 - done) / done if done > 0.02 else None
            text = "estimating time left" if left is None else f"about {duration(left)} left"
            bar.update(task, completed=done, description=f"{name}: {label}", left=text)
            # Piped output gets a line for every twentieth of the work.
            if not quiet and not console.is_terminal and done >= shown[0] + 0.05:
                shown[0] = done
                print(f"{done:4.0%}  {text}  {name}: {label}", file=sys.stderr, flush=True)

        return listen

    starts = dict(zip(shares, accumulate((0.0, *shares.values())), strict=False))
    with bar:
        yield {name: listener(name, before) for name, before in starts.items()}


def duration(seconds: float) -> str:
    """Return a time span in words, seconds below two minutes and minutes above."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def end_on_signals(sentence: Callable[[], str]) -> None:
    """End the process with ``sentence`` on SIGINT (status 130) and SIGTERM (143).

    Nothing needs to be tidied up: files are written whole or not at all, and an interruption at
    any moment loses at most the parts at work.
    """

    def end(number: int, _: Any) -> NoReturn:
        fail(sentence(), 128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def fail(sentence: str, status: int) -> NoReturn:
    """Print the sentence to standard error and end the process."""
    sys.stdout.flush()
    os.write(2, f"subliminal-toy: {sentence}\n".encode())
    # Not sys.exit: programs may be running in JAX's threads, on which Python's clean-up can crash.
    os._exit(status)
