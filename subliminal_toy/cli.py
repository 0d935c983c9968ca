"""The command line: the only module that prints and writes.

``--help`` answers before JAX is imported: everything heavy is imported where it is needed.
"""

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from subliminal_toy.configs import (
    LM_PRESETS,
    MNIST_PRESETS,
    THEOREM_PRESETS,
    LmConfig,
    MnistConfig,
    TheoremConfig,
)
from subliminal_toy.errors import UserError
from subliminal_toy.progress import Progress


class Experiment(NamedTuple):
    """An experiment's module, its presets, its share of the quick `reproduce`, if it wants data."""

    module: str
    presets: dict[str, Any]
    seconds: float
    wants_data: bool


EXPERIMENTS = {
    "theorem": Experiment("subliminal_toy.theorem_experiment", THEOREM_PRESETS, 45, True),
    "mnist": Experiment("subliminal_toy.mnist", MNIST_PRESETS, 60, True),
    "lm": Experiment("subliminal_toy.lm.experiment", LM_PRESETS, 90, False),
}
FAILED, NOT_REPRODUCED, INTERRUPTED = 1, 3, 130


@dataclass(frozen=True)
class Options:
    """What every experiment takes beside its config."""

    out: Path | None = None
    """Directory of the record; runs/<command>-<time> if not given."""
    seed: int = 0
    """Seed of the only key from which all randomness comes."""
    resume: bool = False
    """Continue the unfinished run in --out."""
    quiet: bool = False
    """Show no progress and no tables."""


@dataclass(frozen=True)
class Theorem:
    """Check the one-step theorem numerically, and see where it ends."""

    config: Annotated[TheoremConfig, tyro.conf.arg(name="")] = field(default_factory=TheoremConfig)
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    preset: Literal["quick", "paper"] = "quick"
    """Set of values that single flags then override."""

    def __call__(self) -> int:
        """Run the experiment and show its claims."""
        return run_alone("theorem", self.config, self.options)


@dataclass(frozen=True)
class Lm:
    """The owl in the numbers: a language model from scratch, with every control."""

    config: Annotated[LmConfig, tyro.conf.arg(name="")] = field(default_factory=LmConfig)
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    preset: Literal["quick", "demo", "full"] = "quick"
    """Set of values that single flags then override."""

    def __call__(self) -> int:
        """Run the experiment and show its claims."""
        return run_alone("lm", self.config, self.options)


@dataclass(frozen=True)
class Mnist:
    """Teacher, students and cross-model students: digits learned from noise."""

    config: Annotated[MnistConfig, tyro.conf.arg(name="")] = field(default_factory=MnistConfig)
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    preset: Literal["quick", "paper"] = "quick"
    """Set of values that single flags then override."""
    data_dir: Path | None = None
    """Folder of the four IDX files; not needed for digits."""

    def __call__(self) -> int:
        """Run the experiment and show its claims."""
        return run_alone("mnist", self.config, self.options, self.data_dir)


@dataclass(frozen=True)
class Report:
    """Draw figures and tables from records; computes nothing."""

    records: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Directories of finished records."""

    def __call__(self) -> int:
        """Draw the figures into the records' directories and print their claims."""
        from subliminal_toy import results

        loaded = {directory: results.load(directory) for directory in self.records}
        if not loaded:
            raise UserError("Name at least one directory of a finished record.")
        for directory, record in loaded.items():
            draw(record, directory)
        show_claims({str(directory): record.summary for directory, record in loaded.items()})
        return 0


@dataclass(frozen=True)
class Reproduce:
    """Run the main experiments and print the claims table."""

    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    preset: Literal["quick", "paper"] = "quick"
    """quick: minutes, embedded data; paper: the published sizes (wants --data-dir or a network)."""
    data: Literal["digits", "mnist", "fashion_mnist", "kmnist"] | None = None
    """Data set of the classifier; the preset's if not given."""
    data_dir: Path | None = None
    """Folder of the four IDX files; not needed for digits."""
    only: tuple[Literal["theorem", "mnist", "lm"], ...] = ("theorem", "mnist", "lm")
    """Experiments to run."""

    def __call__(self) -> int:
        """Run each experiment into its own folder; 0 if every tested claim is reproduced."""
        out = self.options.out or default_directory("reproduce")
        summaries = {}
        with display({n: EXPERIMENTS[n].seconds for n in self.only}, self.options.quiet) as bars:
            for name in self.only:
                presets = EXPERIMENTS[name].presets
                # What is called paper elsewhere is called full for the language model.
                config = presets[self.preset] if self.preset in presets else presets["full"]
                if self.data is not None and hasattr(config, "data"):
                    config = replace(config, data=self.data)
                options = replace(self.options, out=out / name)
                summaries[name] = run_experiment(name, config, options, bars[name], self.data_dir)
        if not self.options.quiet:
            show_claims(summaries)
        verdicts = {claim["verdict"] for s in summaries.values() for claim in s["claims"]}
        return NOT_REPRODUCED if "not reproduced" in verdicts else 0


def default_directory(command: str) -> Path:
    """Return a new directory's name for the records of a command."""
    return Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"


def run_alone(name: str, config: Any, options: Options, data_dir: Path | None = None) -> int:
    """Run one experiment with its own progress display, then show what came out."""
    out = options.out or default_directory(name)
    options = replace(options, out=out)
    with display({name: EXPERIMENTS[name].seconds}, options.quiet) as bars:
        summary = run_experiment(name, config, options, bars[name], data_dir)
    if not options.quiet:
        show_claims({name: summary})
        print(f"Record and figures: {out}")
    return 0


def run_experiment(
    name: str, config: Any, options: Options, progress: Progress, data_dir: Path | None
) -> dict[str, Any]:
    """Run an experiment into ``options.out`` and return its summary.

    What is finished there is taken; finished parts wait there until the record is complete.
    """
    out = options.out
    assert out is not None
    progress(0.0, "starting")
    import jax

    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    from subliminal_toy import data, results

    experiment = EXPERIMENTS[name]
    module = import_module(experiment.module)
    dataset = (
        data.load(getattr(config, "data", "digits"), data_dir) if experiment.wants_data else None
    )
    manifest = results.provenance(name, asdict(config), options.seed, shlex.join(sys.argv[1:]))
    identity = {k: manifest[k] for k in ("experiment", "config", "seed", "versions")}
    if dataset is not None:
        identity["data_sha256"] = manifest["data_sha256"] = dataset.sha256()
    if (out / results.MANIFEST).exists():
        return finished(out, name, identity, options.resume)
    if results.ChunkStore.exists(out) and not options.resume:
        raise UserError(
            f"{out} holds an unfinished run: continue it with --resume or choose another --out."
        )
    chunks = results.ChunkStore(out, identity)
    manifest["resumed"] = len(chunks) > 0
    began = time.perf_counter()
    result = module.run(config, jax.random.key(options.seed), dataset, chunks, progress)
    manifest["wall_s"] = time.perf_counter() - began
    summary = {
        "experiment": name,
        "dataset": dataset.name if dataset is not None else None,
        "seed": options.seed,
        "wall_s": manifest["wall_s"],
        **module.summarize(config, result),
    }
    arrays = result._asdict()
    params = arrays.pop("params", None)
    results.save(out, arrays, summary, manifest, params)
    chunks.discard()
    draw(results.load(out), out)
    progress(1.0, "done")
    return summary


def finished(out: Path, name: str, identity: Mapping[str, Any], resume: bool) -> dict[str, Any]:
    """Return the summary of the finished record in ``out`` if it is the one that was asked for."""
    from subliminal_toy import results

    record = results.load(out, name)
    asked = json.loads(json.dumps(identity))
    if not resume or any(record.manifest.get(k) != v for k, v in asked.items()):
        raise UserError(f"{out} already holds a finished record: choose another --out.")
    return record.summary


def draw(record: Any, directory: Path) -> None:
    """Draw the figures of a record into a directory."""
    from subliminal_toy import plots

    plots.save(plots.draw(record), directory)


def show_claims(summaries: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the claims of one or more summaries as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "claim", "measured", "n", "criterion", "verdict")
    for where, summary in summaries.items():
        table.add_section()
        for claim in summary["claims"]:
            interval = claim["interval"]
            bounds = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
            table.add_row(
                claim["id"], f"{claim['statement']} ({where}, {summary['dataset']})",
                f"{claim['value']:.3f}{bounds}", str(claim["n"]), claim["criterion"],
                claim["verdict"],
            )  # fmt: skip
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


def commands(preset: str | None) -> Any:
    """Return the type that tyro parses, with the preset's values as defaults."""

    def default(name):
        presets = EXPERIMENTS[name].presets
        return presets.get(preset, presets["quick"])

    subcommand = tyro.conf.subcommand
    return (
        Annotated[Reproduce, subcommand("reproduce")]
        | Annotated[Theorem, subcommand("theorem", default=Theorem(default("theorem")))]
        | Annotated[Mnist, subcommand("mnist", default=Mnist(default("mnist")))]
        | Annotated[Lm, subcommand("lm", default=Lm(default("lm")))]
        | Annotated[Report, subcommand("report")]
    )


def preset_in(arguments: list[str]) -> str | None:
    """Return the value of --preset, which must be known before the other flags are read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset")
    return parser.parse_known_args(arguments)[0].preset


def main() -> None:
    """Run the command line; mistakes outside the program end in one sentence, not a traceback."""
    # An interruption from outside is as good as one from the keyboard.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        command = tyro.cli(
            commands(preset_in(sys.argv[1:])),
            prog="subliminal-toy",
            description="Subliminal learning on a laptop: run, checked and proved.",
            config=(tyro.conf.OmitArgPrefixes,),
        )
        sys.exit(command())
    except UserError as error:
        fail(str(error), FAILED)
    except KeyboardInterrupt:
        fail("Interrupted; finished parts are kept: repeat the command with --resume.", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); Python must not flush into nothing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        fail(f"The system says: {error.strerror or error}{where}; finished parts are kept.", FAILED)


def fail(sentence: str, status: int) -> None:
    """Print the sentence to standard error and exit."""
    print(f"subliminal-toy: {sentence}", file=sys.stderr)
    sys.exit(status)
