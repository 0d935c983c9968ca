"""What the command line shows on a terminal or in a pipe: the status of a run, and its claims."""

import codecs
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NoReturn

from subliminal_toy.errors import printable
from subliminal_toy.machine import duration

NOT_REPRODUCED, DIVERGED = 3, 4
"""Exit statuses of runs that finished."""
PLAIN = str.maketrans({
    "−": "-", "–": "-", "’": "'", "“": '"', "”": '"', "…": "...", "×": "x", "±": "+-",
    "·": ".", "α": "alpha", "ε": "epsilon", "θ": "theta", "‖": "||", "∇": "grad ", "Δ": "Delta ",
})  # fmt: skip
"""What a terminal without UTF-8 gets for the letters that we use; a question mark for others."""


def show_claims(records: Mapping[Any, Any]) -> None:
    """Print the claims of records as a table. Texts of records are shown, never obeyed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from subliminal_toy import report

    def text(content: str, style: str = "") -> Text:
        return Text(printable(content), style)

    table = Table("id", "claim and criterion", "measured [95 % interval]", "n", "verdict")
    shown = None
    for row in report.claims_rows({str(folder): record for folder, record in records.items()}):
        if row.record != shown:
            shown = row.record
            table.add_section()
            table.add_row("", text(shown, "bold") + Text(" ") + text(row.dataset))
        claim = text(row.statement) + Text("\n") + text(row.criterion, "dim")
        verdict = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
        table.add_row(text(row.id), claim, text(row.measured), text(row.n), text(verdict))
    Console().print(table)


def say(sentence: str) -> None:
    """Print a line to standard output."""
    print(printable(sentence))


def warn(sentence: str) -> None:
    """Print a sentence to standard error."""
    print(f"subliminal-toy: {printable(sentence)}", file=sys.stderr, flush=True)


def finish(loaded: Mapping[Path, Any], where: str, quiet: bool) -> int:
    """Show the claims of records and where they are; return the exit status that they call for."""
    status = 0
    for record in loaded.values():
        diverged, n = (record.summary.get(key, 0) for key in ("diverged", "n_replicates"))
        if diverged:
            status = DIVERGED
            warn(
                f"{diverged} of {n} replicates diverged (numbers that are not finite) in "
                f"'{record.manifest['experiment']}': try a lower learning rate."
            )
    if not quiet:
        show_claims(loaded)
        say(where)
    verdicts = {c["verdict"] for record in loaded.values() for c in record.summary["claims"]}
    return status or (NOT_REPRODUCED if "not reproduced" in verdicts else 0)


class TimeLeft:
    """The time that the work left takes at the speed so far, without what was found finished."""

    def __init__(self) -> None:
        """Begin."""
        self._began, self._last, self._advanced = time.monotonic(), 0.0, 0.0

    def __call__(self, done: float, counts: bool) -> float | None:
        """Return the seconds left, None before anything is finished.

        ``done`` is the finished fraction; ``counts``: what came to it since the last call was
        computed.
        """
        self._advanced += counts * (done - self._last)
        self._last = done
        if self._advanced <= 0:
            return None
        return (time.monotonic() - self._began) * (1 - done) / self._advanced


@contextmanager
def display(
    shares: Mapping[str, float], quiet: bool
) -> Iterator[dict[str, Callable[[float, str], None]]]:
    """Show one bar for all experiments, or plain lines where there is no terminal.

    ``shares`` are the experiments' shares of the time, in any unit; yields a status for each.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    total, time_left, shown = sum(shares.values()), TimeLeft(), set()
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
        told: list[float] = []

        def listen(fraction: float, label: str) -> None:
            done = (before + shares[name] * fraction) / total
            # Until the runner counts its parts the fraction is 0, then that of the stored ones.
            left = time_left(done, counts=len(told) > 1)
            told.append(done)
            text = "estimating time left" if left is None else f"about {duration(left)} left"
            what = f"{name}: {printable(label)}"
            bar.update(task, completed=done, description=escape(what), left=text)
            # Piped output gets a line for every twentieth of the work, for the number of parts,
            # and for the first estimate.
            line = len(told) if len(told) < 3 else (int(done * 20), left is None)
            if not quiet and not console.is_terminal and line not in shown:
                shown.add(line)
                print(f"{done:4.0%}  {text}  {what}", file=sys.stderr, flush=True)

        return listen

    starts = dict(zip(shares, accumulate((0.0, *shares.values())), strict=False))
    with bar:
        yield {name: listener(name, before) for name, before in starts.items()}


@dataclass
class Interruption:
    """What SIGINT (status 130) and SIGTERM (143) do: say ``sentence`` and end the process.

    Files are written whole or not at all, and an interruption at any moment loses at most the parts
    at work; ``tidy`` removes what is outside the folder of the run.
    """

    sentence: str = "Interrupted."
    tidy: Callable[[], object] = lambda: None

    def end(self, number: int, _: Any) -> NoReturn:
        """End the process."""
        self.tidy()
        fail(self.sentence, 128 + number)


INTERRUPTION = Interruption()


def end_on_signals() -> None:
    """From here on SIGINT and SIGTERM end the process with a sentence."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, INTERRUPTION.end)


def answering_signals(command: Callable[[], int]) -> int:
    """Run a command in a thread, so that the main thread can answer a signal at once."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(command).result()


def degrade_gracefully() -> None:
    """Let output to a terminal without UTF-8 lose letters, never raise."""

    def plainer(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        text = error.object[error.start : error.end].translate(PLAIN)
        return "".join(c if c.isascii() else "?" for c in text), error.end

    codecs.register_error("plainer", plainer)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="plainer")  # pyright: ignore[reportAttributeAccessIssue]


def fail(sentence: str, status: int) -> NoReturn:
    """Print the sentence to standard error and end the process, from whatever thread is at work."""
    line = f"subliminal-toy: {printable(sentence)}\n"
    os.write(sys.stderr.fileno(), line.encode(sys.stderr.encoding, sys.stderr.errors or "strict"))
    # Not sys.exit: programs may be running in JAX's threads, on which Python's clean-up can crash.
    os._exit(status)
