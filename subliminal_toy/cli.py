"""The command line, with `console` the only module that prints and writes.

``--help`` answers before JAX is imported: everything heavy is imported where it is needed.
"""

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from subliminal_toy.configs import (
    LM_PRESETS,
    MNIST_PRESETS,
    THEOREM_PRESETS,
    LmConfig,
    MnistConfig,
    TextConfig,
    TheoremConfig,
)
from subliminal_toy.console import display, interrupt, show_claims
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
    "lm_text": Experiment("subliminal_toy.lm.text", {}, 600, False),
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
    """The owl in the numbers: a language model from scratch, with every control.

    With --base DIR it starts from the GPT-2-family checkpoint in that folder instead; see
    `lm --base DIR --help`.
    """

    config: Annotated[LmConfig, tyro.conf.arg(name="")] = field(default_factory=LmConfig)
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    preset: Literal["quick", "demo", "full"] = "quick"
    """Set of values that single flags then override."""

    def __call__(self) -> int:
        """Run the experiment and show its claims."""
        return run_alone("lm", self.config, self.options)


@dataclass(frozen=True)
class LmText:
    """The owl in the numbers from a GPT-2-family checkpoint, in English (--base)."""

    config: Annotated[TextConfig, tyro.conf.arg(name="")]
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)

    def __call__(self) -> int:
        """Run the experiment and show its claims."""
        return run_alone("lm_text", self.config, self.options)


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
    """Draw figures, tables and the page from records; computes nothing."""

    records: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Directories of finished records, or folders of such directories."""
    out: Path | None = None
    """The page to write; report.html in the first directory if not given."""
    readme: Path | None = None
    """Also rewrite the tables between the markers of this Markdown file."""

    def __call__(self) -> int:
        """Draw the figures into the records' directories, write the page, print the claims."""
        from subliminal_toy import report, results

        if not self.records:
            raise UserError("Name at least one directory of a finished record.")
        directories = [found for given in self.records for found in record_directories(given)]
        loaded = {directory: results.load(directory) for directory in directories}
        for directory, record in loaded.items():
            draw(record, directory)
        page = self.out or self.records[0] / "report.html"
        write_page(loaded, page)
        if self.readme is not None:
            here = self.readme.resolve().parent
            records = {relative(directory, here): record for directory, record in loaded.items()}
            text = self.readme.read_text()
            text = report.update_block(text, "claims", report.claims_markdown(records))
            text = report.update_block(text, "published", report.published_markdown(records))
            results.write(self.readme, text.encode())
        show_claims({str(directory): record for directory, record in loaded.items()})
        print(f"Page: {page}")
        return 0


@dataclass(frozen=True)
class Reproduce:
    """Run the theorem, the classifier and the language model, and write one page about them."""

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
        # What is finished is taken, what is not is continued, if the user says so.
        records = {}
        with display({n: EXPERIMENTS[n].seconds for n in self.only}, self.options.quiet) as bars:
            for name in self.only:
                presets = EXPERIMENTS[name].presets
                # What is called paper elsewhere is called full for the language model.
                config = presets[self.preset] if self.preset in presets else presets["full"]
                if self.data is not None and hasattr(config, "data"):
                    config = replace(config, data=self.data)
                options = replace(self.options, out=out / name)
                records[out / name] = run_experiment(
                    name, config, options, bars[name], self.data_dir
                )
        write_page(records, out / "report.html")
        if not self.options.quiet:
            show_claims({str(directory): record for directory, record in records.items()})
            print(f"Page: {out / 'report.html'}")
        verdicts = {c["verdict"] for record in records.values() for c in record.summary["claims"]}
        return NOT_REPRODUCED if "not reproduced" in verdicts else 0


@dataclass(frozen=True)
class Demos:
    """Write the three lessons as executed notebooks (wants the extra demos)."""

    out: Path = Path("lessons")
    """Folder of the notebooks."""

    def __call__(self) -> int:
        """Execute and write them."""
        from subliminal_toy import demos

        with display({"demos": 1}, quiet=False) as bars:
            paths = demos.write_notebooks(self.out, bars["demos"])
        print("\n".join(map(str, paths)))
        return 0


def record_directories(given: Path) -> list[Path]:
    """Return ``given`` if it is a record, else the records in it; itself if there are none."""
    from subliminal_toy import results

    inside = sorted(path.parent for path in given.glob(f"*/{results.MANIFEST}"))
    return [given] if (given / results.MANIFEST).exists() or not inside else inside


def relative(path: Path, start: Path) -> str:
    """Return a path as it is written in a file that stands in ``start``."""
    return Path(os.path.relpath(path.resolve(), start)).as_posix()


def write_page(records: Mapping[Path, Any], path: Path) -> None:
    """Write the page of the records, their folders named as seen from the page."""
    from subliminal_toy import report, results

    here = path.resolve().parent
    page = report.page({relative(directory, here): r for directory, r in records.items()})
    results.write(path, page.encode())


def command_line(arguments: list[str]) -> str:
    """Return the command that a record shows, with DIR for the folders of the machine it ran on."""
    shown = list(arguments)
    for i, argument in enumerate(arguments):
        for flag in ("--out", "--data-dir", "--base"):
            if argument == flag and i + 1 < len(shown):
                shown[i + 1] = "DIR"
            elif argument.startswith(flag + "="):
                shown[i] = f"{flag}=DIR"
    return shlex.join(shown)


def default_directory(command: str) -> Path:
    """Return a new directory's name for the records of a command."""
    return Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"


def run_alone(name: str, config: Any, options: Options, data_dir: Path | None = None) -> int:
    """Run one experiment with its own progress display, then show what came out."""
    out = options.out or default_directory(name)
    options = replace(options, out=out)
    with display({name: EXPERIMENTS[name].seconds}, options.quiet) as bars:
        record = run_experiment(name, config, options, bars[name], data_dir)
    if not options.quiet:
        show_claims({str(out): record})
        print(f"Record and figures: {out}")
    return 0


def run_experiment(
    name: str, config: Any, options: Options, progress: Progress, data_dir: Path | None
) -> Any:
    """Run an experiment into ``options.out`` and return its record.

    What is finished there is taken; finished parts wait there until the record is complete.
    """
    out = options.out
    assert out is not None
    progress(0.0, "starting")
    import jax
    import joblib

    jax.config.update("jax_num_cpu_devices", joblib.cpu_count())
    from subliminal_toy import data, results

    experiment = EXPERIMENTS[name]
    module = import_module(experiment.module)
    dataset = (
        data.load(getattr(config, "data", "digits"), data_dir) if experiment.wants_data else None
    )
    manifest = results.provenance(name, asdict(config), options.seed, command_line(sys.argv[1:]))
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
    record = results.load(out)
    draw(record, out)
    progress(1.0, "done")
    return record


def finished(out: Path, name: str, identity: Mapping[str, Any], resume: bool) -> Any:
    """Return the finished record in ``out`` if it is the one that was asked for."""
    from subliminal_toy import results

    record = results.load(out, name)
    asked = json.loads(json.dumps(identity))
    if not resume or any(record.manifest.get(k) != v for k, v in asked.items()):
        raise UserError(f"{out} already holds a finished record: choose another --out.")
    return record


def draw(record: Any, directory: Path) -> None:
    """Draw the figures of a record into a directory."""
    from subliminal_toy import plots

    plots.save(plots.draw(record), directory)


def commands(preset: str | None, base: str | None) -> Any:
    """Return the type that tyro parses, with the preset's values as defaults.

    With a checkpoint to start from, `lm` takes the settings of that experiment.
    """

    def default(name):
        presets = EXPERIMENTS[name].presets
        return presets.get(preset or "quick", presets["quick"])

    subcommand = tyro.conf.subcommand
    lm = Annotated[Lm, subcommand("lm", default=Lm(default("lm")))]
    if base is not None:
        lm = Annotated[LmText, subcommand("lm", default=LmText(TextConfig(base)))]
    return (
        Annotated[Reproduce, subcommand("reproduce")]
        | Annotated[Theorem, subcommand("theorem", default=Theorem(default("theorem")))]
        | Annotated[Mnist, subcommand("mnist", default=Mnist(default("mnist")))]
        | lm
        | Annotated[Report, subcommand("report")]
        | Annotated[Demos, subcommand("demos")]
    )


def chosen_in(arguments: list[str]) -> tuple[str | None, str | None]:
    """Return --preset and --base, which must be known before the other flags are read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset")
    parser.add_argument("--base")
    known, _ = parser.parse_known_args(arguments)
    return known.preset, known.base


def main() -> None:
    """Run the command line; mistakes outside the program end in one sentence, not a traceback."""
    # An interruption from outside is as good as one from the keyboard.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        command = tyro.cli(
            commands(*chosen_in(sys.argv[1:])),
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
    """Print the sentence to standard error and end the process."""
    print(f"subliminal-toy: {sentence}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: an interruption leaves programs running in JAX's threads, on which Python's
    # clean-up can crash.
    os._exit(status)
