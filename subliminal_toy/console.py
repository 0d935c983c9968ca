"""What the command line shows: the progress of a run, its claims, and why it refuses."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, NoReturn

from subliminal_toy.errors import printable

if TYPE_CHECKING:
    from subliminal_toy.claims import Judgement
    from subliminal_toy.stats import Estimate

MOST_COLUMNS = 8
"""Of a table of estimates."""


def say(sentence: str) -> None:
    """Print a line to standard output."""
    print(printable(sentence), flush=True)


def fail(sentence: str, status: int) -> NoReturn:
    """Print a sentence to standard error and end the process, whatever its threads compute."""
    print(f"subliminal-toy: {printable(sentence)}", file=sys.stderr, flush=True)
    # Not sys.exit, which waits for the threads, and on which Python's clean-up can crash in JAX's.
    os._exit(status)


def show_claims(records: Mapping[str, "Iterable[Judgement]"]) -> None:
    """Print a table of judged claims, by the name of their record."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from subliminal_toy.findings import measured

    table = Table("id", "claim and criterion", "measured [95 % interval]", "n", "verdict")
    for name, judgements in records.items():
        table.add_section()
        table.add_row("", Text(printable(name), "bold"))
        for claim, estimates, verdict, reason in judgements:
            what = Text(claim.sentence) + Text(f"\n{claim.criterion}", "dim")
            decided = f"{verdict}: {reason}" if reason else str(verdict)
            n = str(estimates[0].n)
            table.add_row(claim.id, what, Text(measured(estimates[0])), n, Text(decided))
    Console().print(table)


def show_estimates(quantity: str, estimates: Mapping[str, "Estimate"]) -> None:
    """Print one quantity's values by their labels; what follows a comma heads a column.

    Unless that makes too many columns.
    """
    from rich.console import Console
    from rich.table import Table

    from subliminal_toy.findings import number

    columns = list(dict.fromkeys(labels.partition(", ")[2] for labels in estimates))
    split = len(columns) <= MOST_COLUMNS
    columns = columns if split else [""]
    cells: dict[str, dict[str, str]] = {}
    for labels, estimate in estimates.items():
        row, _, column = labels.partition(", ") if split else (labels, "", "")
        cells.setdefault(row.replace("_", " "), {})[column] = number(estimate.value, 2)
    table = Table(f"mean {quantity}", *columns)
    for row, values in cells.items():
        table.add_row(row, *(values.get(column, "") for column in columns))
    Console().print(table)


@contextmanager
def progress(
    shares: Mapping[str, float], quiet: bool
) -> Iterator[dict[str, Callable[[float, str], None]]]:
    """Show one bar for all runs, or plain lines where there is no terminal.

    ``shares`` are the runs' shares of the time, in any unit; yields a status for each.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TaskProgressColumn(),
        BarColumn(),
        TimeElapsedColumn(),  # moves within a part, too
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        disable=quiet or not console.is_terminal,
        speed_estimate_period=float("inf"),  # a part may take minutes
    )
    total = sum(shares.values())
    bar.add_task("starting", total=total)
    task, last = bar.tasks[0], [-1]

    def status_of(name: str, before: float) -> Callable[[float, str], None]:
        def status(fraction: float, part: str) -> None:
            done, what = before + shares[name] * fraction, f"{name}: {printable(part)}"
            bar.update(task.id, completed=done, description=what)
            twentieth = int(20 * done / total)
            if bar.disable and not quiet and twentieth > last[0]:
                left = task.time_remaining
                time_left = "" if left is None else f"{timedelta(seconds=int(left))} left  "
                print(f"{done / total:4.0%}  {time_left}{what}", file=sys.stderr, flush=True)
                last[0] = twentieth

        return status

    starts = accumulate(shares.values(), initial=0.0)
    with bar:
        yield {name: status_of(name, start) for name, start in zip(shares, starts, strict=False)}
