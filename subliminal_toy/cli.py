"""The command line; with `console` the only module that prints and writes.

``--help`` answers before JAX is imported: everything heavy is imported where it is needed.
"""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from subliminal_toy.console import display, end_on_signals, fail, show_claims
from subliminal_toy.errors import UserError
from subliminal_toy.rooms import EXPERIMENTS

FAILED, NOT_REPRODUCED, DIVERGED = 1, 3, 4
Name = Literal[tuple(EXPERIMENTS)]  # pyright: ignore[reportInvalidTypeForm]


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
    """Show no status and no tables."""


@dataclass(frozen=True)
class Report:
    """Draw figures, tables and the page from records; computes nothing."""

    records: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Directories of finished records, or folders of such directories."""
    out: Path | None = None
    """The page to write; report.html in the first directory if not given."""
    readme: tuple[Path, ...] = ()
    """Also rewrite the blocks between the markers of these Markdown files."""

    def __call__(self) -> int:
        """Draw the figures into the records' directories, write the page, print the claims."""
        from subliminal_toy import records, report

        if not self.records:
            raise UserError("Name at least one directory of a finished record.")
        directories = [found for given in self.records for found in record_directories(given)]
        loaded = {directory: records.load(directory) for directory in directories}
        for directory, record in loaded.items():
            draw(record, directory)
        page = self.out or self.records[0] / "report.html"
        write_page(loaded, page)
        for readme in self.readme:
            here = readme.resolve().parent
            named = {relative(directory, here): record for directory, record in loaded.items()}
            text = report.update_blocks(readme.read_text(encoding="utf-8"), named)
            records.write(readme, text.encode())
        show_claims({str(directory): record for directory, record in loaded.items()})
        print(f"Page: {page}")
        return 0


@dataclass(frozen=True)
class Reproduce:
    """Run all experiments, and write one page about them."""

    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    preset: Literal["quick", "paper"] = "quick"
    """quick: minutes, embedded data; paper: the published sizes (--data-dir or a network)."""
    data: Literal["digits", "mnist", "fashion_mnist", "kmnist"] | None = None
    """Data set of the classifier; the preset's if not given."""
    data_dir: Path | None = None
    """Folder of the four IDX files; not needed for digits."""
    only: tuple[Name, ...] = tuple(EXPERIMENTS)  # pyright: ignore[reportInvalidTypeForm]
    """Experiments to run."""

    def __call__(self) -> int:
        """Run each experiment into its own folder; 0 if every tested claim is reproduced."""
        out = self.options.out or default_directory("reproduce")
        say_how_to_resume(out)
        records = {}
        shares = {name: EXPERIMENTS[name].share for name in self.only}
        with display(shares, self.options.quiet) as statuses:
            for name in self.only:
                presets = EXPERIMENTS[name].presets
                # What is called paper elsewhere is called full for the language model.
                config = presets[self.preset] if self.preset in presets else presets["full"]
                if self.data is not None and hasattr(config, "data"):
                    config = replace(config, data=self.data)
                options = replace(self.options, out=out / name)
                records[out / name] = run_experiment(
                    name, config, options, statuses[name], self.data_dir
                )
        write_page(records, out / "report.html")
        if not self.options.quiet:
            show_claims({str(directory): record for directory, record in records.items()})
            print(f"Page: {out / 'report.html'}")
        return outcome(*records.values())


@dataclass(frozen=True)
class Lessons:
    """Write the lessons as executed notebooks (needs the extra lessons)."""

    out: Path = Path("lessons")
    """Folder of the notebooks."""

    def __call__(self) -> int:
        """Execute and write them."""
        from subliminal_toy import lessons

        with display({"lessons": 1}, quiet=False) as statuses:
            paths = lessons.write_notebooks(self.out, statuses["lessons"])
        print("\n".join(map(str, paths)))
        return 0


class Run:
    """The command of one experiment; ``command`` gives it its fields."""

    name: str
    config: Any
    options: Options
    data_dir: Path | None = None

    def __call__(self) -> int:
        """Run the experiment and show its claims."""
        out = self.options.out or default_directory(self.name)
        say_how_to_resume(out)
        options = replace(self.options, out=out)
        with display({self.name: 1}, options.quiet) as statuses:
            record = run_experiment(
                self.name, self.config, options, statuses[self.name], self.data_dir
            )
        if not options.quiet:
            show_claims({str(out): record})
            print(f"Record and figures: {out}")
        status = outcome(record)
        return 0 if status == NOT_REPRODUCED else status


def command(name: str, preset: str | None) -> Any:
    """Return the type that tyro parses for one experiment, with a preset's values as defaults."""
    room = EXPERIMENTS[name]
    default = room.presets.get(preset or "quick", room.presets["quick"])
    unnamed, explained = tyro.conf.arg(name=""), tyro.conf.arg
    fields: list[Any] = [
        ("config", Annotated[room.config, unnamed], field(default=default)),
        ("options", Annotated[Options, unnamed], field(default_factory=Options)),
        (
            "preset",
            Annotated[
                Literal[tuple(room.presets)],  # pyright: ignore[reportInvalidTypeForm]
                explained(help="Set of values that single flags then override."),
            ],
            field(default="quick"),
        ),
    ]
    if hasattr(default, "data"):
        about = explained(help="Folder of the four IDX files; not needed for digits.")
        fields.append(("data_dir", Annotated[Path | None, about], field(default=None)))
    made = make_dataclass(
        name, fields, bases=(Run,), namespace={"name": name, "__doc__": room.about}, frozen=True
    )
    return Annotated[made, tyro.conf.subcommand(name)]


def outcome(*records: Any) -> int:
    """Return the exit status that records call for; say so where replicates diverged."""
    for record in records:
        diverged = record.summary.get("diverged", 0)
        if diverged:
            n = record.summary["n_replicates"]
            print(
                f"subliminal-toy: {diverged} of {n} replicates diverged (numbers that are not "
                "finite): lower --learning-rate.",
                file=sys.stderr,
            )
            return DIVERGED
    verdicts = {claim["verdict"] for record in records for claim in record.summary["claims"]}
    return NOT_REPRODUCED if "not reproduced" in verdicts else 0


def record_directories(given: Path) -> list[Path]:
    """Return ``given`` if it is a record, else the records in it; itself if there are none."""
    from subliminal_toy import records

    inside = sorted(path.parent for path in given.glob(f"*/{records.MANIFEST}"))
    return [given] if (given / records.MANIFEST).exists() or not inside else inside


def relative(path: Path, start: Path) -> str:
    """Return a path as a file in ``start`` refers to it."""
    return Path(os.path.relpath(path.resolve(), start)).as_posix()


def write_page(loaded: Mapping[Path, Any], path: Path) -> None:
    """Write the page of the records, their folders named as seen from the page."""
    from subliminal_toy import records, report

    here = path.resolve().parent
    page = report.page({relative(directory, here): r for directory, r in loaded.items()})
    records.write(path, page.encode())


def command_line(arguments: list[str]) -> str:
    """Return the command that a record shows, with DIR for the folders of the machine it ran on."""
    shown = list(arguments)
    for i, argument in enumerate(arguments):
        for flag in ("--out", "--data-dir"):
            if argument == flag and i + 1 < len(shown):
                shown[i + 1] = "DIR"
            elif argument.startswith(flag + "="):
                shown[i] = f"{flag}=DIR"
    return shlex.join(shown)


def default_directory(name: str) -> Path:
    """Return a new directory's name for the records of a command."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def say_how_to_resume(out: Path) -> None:
    """From here on an interruption prints the whole command that continues the run."""
    arguments = sys.argv[1:]
    if not any(argument.split("=")[0] == "--out" for argument in arguments):
        arguments = [*arguments, "--out", str(out)]
    if "--resume" not in arguments:
        arguments = [*arguments, "--resume"]
    whole = shlex.join(["subliminal-toy", *arguments])
    end_on_signals(lambda: f"Interrupted; finished parts are kept. Continue with: {whole}")


def run_experiment(
    name: str,
    config: Any,
    options: Options,
    status: Callable[[float, str], None],
    data_dir: Path | None,
) -> Any:
    """Run an experiment into ``options.out`` and return its record.

    What is finished there is taken; finished parts wait there until the record is complete.
    """
    out = options.out
    assert out is not None
    status(0.0, "starting")
    import jax
    import joblib

    jax.config.update("jax_num_cpu_devices", joblib.cpu_count())
    from subliminal_toy import data, records, runs

    dataset = None
    if EXPERIMENTS[name].needs_data:
        dataset = data.load(getattr(config, "data", "digits"), data_dir)
    manifest = records.provenance(name, asdict(config), options.seed, command_line(sys.argv[1:]))
    manifest["data_sha256"] = dataset and dataset.sha256()
    same = ("format", "experiment", "config", "seed", "versions", "data_sha256")
    identity = {key: manifest[key] for key in same}
    if (out / records.MANIFEST).exists():
        return finished(out, name, identity, options.resume)
    if runs.Store.exists(out) and not options.resume:
        raise UserError(
            f"{out} holds an unfinished run: continue it with --resume or choose another --out."
        )
    room, summary = (
        import_module(f"subliminal_toy.{name}.{module}") for module in ("experiment", "summary")
    )
    experiment = room.experiment(config, jax.random.key(options.seed), dataset)
    store = runs.Store(out, identity)
    manifest["resumed"], began = len(store) > 0, time.perf_counter()
    result = runs.run(experiment, store, status)
    manifest["wall_s"] = time.perf_counter() - began
    about = {
        "experiment": name,
        "dataset": dataset and dataset.name,
        "seed": options.seed,
        "wall_s": manifest["wall_s"],
    }
    summary = about | summary.summarize(config, result.data)
    records.save(out, result.data, summary, manifest, result.params)
    store.discard()
    record = records.load(out)
    draw(record, out)
    return record


def finished(out: Path, name: str, identity: Mapping[str, Any], resume: bool) -> Any:
    """Return the finished record in ``out`` if it is the one that was asked for."""
    from subliminal_toy import records

    record = records.load(out, name)
    asked = json.loads(json.dumps(identity))
    if not resume or any(record.manifest.get(k) != v for k, v in asked.items()):
        raise UserError(f"{out} already holds a finished record: choose another --out.")
    return record


def draw(record: Any, directory: Path) -> None:
    """Draw the figures of a record into a directory."""
    from subliminal_toy import plots

    plots.save(plots.draw(record), directory)


def chosen_preset(arguments: list[str]) -> str | None:
    """Return --preset, which must be known before the other flags are read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset")
    return parser.parse_known_args(arguments)[0].preset


def main() -> None:
    """Run the command line; mistakes outside the program end in one sentence, not a traceback."""
    end_on_signals(lambda: "Interrupted.")
    preset = chosen_preset(sys.argv[1:])
    subcommands: Any = Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    for name in EXPERIMENTS:
        subcommands |= command(name, preset)
    subcommands |= Annotated[Report, tyro.conf.subcommand("report")]
    subcommands |= Annotated[Lessons, tyro.conf.subcommand("lessons")]
    try:
        chosen = tyro.cli(
            subcommands,
            prog="subliminal-toy",
            description="Subliminal learning on a laptop: run, checked and proved.",
            config=(tyro.conf.OmitArgPrefixes,),
        )
        sys.exit(chosen())
    except UserError as error:
        fail(str(error), FAILED)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); Python must not flush into nothing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        fail(f"The system says: {error.strerror or error}{where}; finished parts are kept.", FAILED)
