"""The command line; with `console` the only module that prints.

``--help`` answers before JAX is imported: everything heavy is imported where it is needed.
Longer than 300 lines: every option is explained where it is declared.
"""

import argparse
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from subliminal_toy import __version__, console, files
from subliminal_toy.errors import UserError
from subliminal_toy.rooms import EXPERIMENTS
from subliminal_toy.settings import require

FAILED = 1
RUNS = Path("runs")
PAGE = "report.html"
Name = Literal[tuple(EXPERIMENTS)]  # pyright: ignore[reportInvalidTypeForm]


@dataclass(frozen=True)
class Options:
    """What every experiment takes beside its config."""

    out: Path | None = None
    """Directory of the record; runs/<command>-<time> if not given."""
    seed: int = 0
    """Seed of the only key from which all randomness comes."""
    resume: bool = False
    """Continue the unfinished run in --out, or the only one under runs/."""
    yes: bool = False
    """Accept a run of more than a day where nobody watches."""
    quiet: bool = False
    """Show no status and no tables."""
    distributed: bool = False
    """Run with the other processes that SLURM, MPI, Kubernetes or a TPU pod started."""
    replicates_per_device: int | None = None
    """Replicates that a device works on at once; one on a CPU, else by memory, if not given."""
    matmul_precision: Literal["highest", "high", "default"] = "highest"
    """Of products of float32 matrices; default is TF32 on a GPU that has it."""
    compilation_cache: bool = True
    """Keep compiled programs in the user's cache folder."""

    def __post_init__(self):
        """Raise UserError for a number that is too small or too large."""
        require(0 <= self.seed < 2**64, "seed", "0 to 18446744073709551615", self.seed)
        at_once = self.replicates_per_device
        require(at_once is None or at_once > 0, "replicates_per_device", "at least 1", at_once)


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
        from subliminal_toy import publish, records

        if not self.records:
            raise UserError("Name at least one directory of a finished record.")
        given = [found for one in self.records for found in publish.record_directories(one)]
        loaded = {directory: records.load(directory) for directory in given}
        path = self.out or self.records[0] / PAGE
        contents = publish.page(loaded, path)
        for directory, record in loaded.items():
            contents |= publish.figures(record, directory)
        texts = publish.documents(loaded, self.readme)
        publish.write(contents)
        for readme, text in texts.items():
            files.rewrite(readme, text)
            console.say(f"Rewritten: {readme}")
        console.show_claims(loaded)
        console.say(f"Page: {path}")
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

    def __post_init__(self):
        """Raise UserError for no experiment, or one that is named twice."""
        require(bool(self.only), "only", "one or more values", self.only)
        require(len(set(self.only)) == len(self.only), "only", "different values", self.only)

    def __call__(self) -> int:
        """Run each experiment into its own folder; 0 if every tested claim is reproduced."""
        if not joined(self.options):
            for name in self.only:
                self._job(name, Path()).help()
            return 0
        out = folder_of("reproduce", self.options, lambda path: not (path / PAGE).exists())
        files.check_folder(out)
        known = {*EXPERIMENTS, PAGE, f".{PAGE}.part"}
        if out.exists() and {path.name for path in out.iterdir()} - known:
            raise UserError(f"{out} holds other files: choose an empty folder, or a new one.")
        shares = {name: EXPERIMENTS[name].share for name in self.only}
        with console.display(shares, self.options.quiet) as statuses:
            statuses[self.only[0]](0.0, "starting")
            jobs = {name: self._job(name, out) for name in self.only}
            loaded = {job.out: job.run(statuses[name]) for name, job in jobs.items()}
        from subliminal_toy import publish

        publish.write(publish.page(loaded, out / PAGE))
        return console.finish(loaded, f"Page: {out / PAGE}", self.options.quiet)

    def _job(self, name: str, out: Path) -> Any:
        presets = EXPERIMENTS[name].presets
        # What is called paper elsewhere is called full for the language model.
        config = presets[self.preset if self.preset in presets else "full"]
        if self.data is not None and hasattr(config, "data"):
            config = replace(config, data=self.data)
        return prepare(name, config, out / name, self.options, self.data_dir)


@dataclass(frozen=True)
class Lessons:
    """Write the lessons as executed notebooks (needs the extra lessons)."""

    out: Path = Path("lessons")
    """Folder of the notebooks."""

    def __call__(self) -> int:
        """Execute and write them."""
        from subliminal_toy import lessons

        files.check_folder(self.out)
        with (
            tempfile.TemporaryDirectory(prefix="lessons-") as scratch,
            console.display({"lessons": 1}, quiet=False) as statuses,
        ):
            console.INTERRUPTION.tidy = partial(shutil.rmtree, scratch, ignore_errors=True)
            paths = lessons.write_notebooks(self.out, statuses["lessons"], scratch=Path(scratch))
        for path in paths:
            console.say(str(path))
        return 0


class Run:
    """The command of one experiment; ``command`` gives it its fields."""

    name: str
    config: Any
    options: Options
    data_dir: Path | None = None

    def __call__(self) -> int:
        """Run the experiment and show its claims."""
        if not joined(self.options):
            prepare(self.name, self.config, Path(), self.options, self.data_dir).help()
            return 0
        out = folder_of(self.name, self.options, lambda path: (path / "unfinished").is_dir())
        with console.display({self.name: 1}, self.options.quiet) as statuses:
            status = statuses[self.name]
            status(0.0, "starting")
            record = prepare(self.name, self.config, out, self.options, self.data_dir).run(status)
        status = console.finish({out: record}, f"Record and figures: {out}", self.options.quiet)
        return 0 if status == console.NOT_REPRODUCED else status


def command(name: str, preset: str) -> Any:
    """Return the type that tyro parses for one experiment, with a preset's values as defaults."""
    room, arg = EXPERIMENTS[name], tyro.conf.arg
    default = room.presets.get(preset, room.presets["quick"])
    presets = Literal[tuple(room.presets)]  # pyright: ignore[reportInvalidTypeForm]
    of_presets = arg(help="Set of values that single flags then override.")
    fields: list[Any] = [
        ("config", Annotated[room.config, arg(name="")], default),
        ("options", Annotated[Options, arg(name="")], Options()),
        ("preset", Annotated[presets, of_presets], "quick"),
    ]
    if hasattr(default, "data"):
        of_files = arg(help="Folder of the four IDX files; not needed for digits.")
        fields.append(("data_dir", Annotated[Path | None, of_files], None))
    named = {"name": name, "__doc__": room.about}
    made = make_dataclass(name, fields, bases=(Run,), namespace=named, frozen=True)
    return Annotated[made, tyro.conf.subcommand(name)]


def folder_of(name: str, options: Options, begun: Callable[[Path], bool]) -> Path:
    """Return the folder of a command's records; from here on an interruption says how to go on.

    ``begun`` says of a folder of that command whether its run is unfinished. Raises UserError if
    there is nothing to resume.
    """
    if options.resume:
        out = options.out or files.only_unfinished(RUNS, name, begun)
        if not (out.is_dir() and any(out.iterdir())):
            raise UserError(f"{out} holds nothing to resume: leave --resume out.")
    else:
        out = options.out or RUNS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    arguments = ["subliminal-toy", *sys.argv[1:]]
    if not any(argument.split("=")[0] == "--out" for argument in arguments):
        arguments += ["--out", str(out)]
    if "--resume" not in arguments:
        arguments.append("--resume")
    whole = shlex.join(arguments)
    console.INTERRUPTION.sentence = f"Interrupted; finished parts are kept. Continue with: {whole}"
    return out


def joined(options: Options) -> bool:
    """Join other processes if the options say so; return whether this one writes and shows."""
    if not options.distributed:
        return True
    from subliminal_toy import hosts

    tell_jax(options)
    hosts.join(partial(console.fail, hosts.LOST, FAILED))
    return hosts.is_first()


def tell_jax(options: Options) -> None:
    """Set devices, precision and the cache before JAX computes."""
    import jax
    import joblib

    from subliminal_toy import distill, hosts

    n_devices = joblib.cpu_count()
    distill.host_devices(n_devices)
    distill.Placement.per_device = options.replicates_per_device
    jax.config.update("jax_default_matmul_precision", options.matmul_precision)
    if options.compilation_cache:
        hosts.keep_compiled(max(n_devices, distill.THREADS))


def prepare(name: str, config: Any, out: Path, options: Options, data_dir: Path | None) -> Any:
    """Return the job of one experiment, on one device for each core."""
    from subliminal_toy import hosts, jobs, records

    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"--data-dir {data_dir} is not a directory.")
    if not options.distributed:
        tell_jax(options)
    return jobs.prepare(
        name,
        config,
        out,
        options.seed,
        records.command_line(sys.argv[1:]),
        resume=options.resume,
        # Who sees the status can end it.
        may_be_long=options.yes or sys.stderr.isatty() or not hosts.is_first(),
        data_dir=data_dir,
    )


def chosen_preset(arguments: list[str]) -> str:
    """Return --preset, which must be known before the other flags are read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", default="quick")
    return parser.parse_known_args(arguments)[0].preset


def subcommands(preset: str) -> Any:
    """Return the type that tyro parses: one of all commands."""
    union: Any = Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    for name in EXPERIMENTS:
        union |= command(name, preset)
    union |= Annotated[Report, tyro.conf.subcommand("report")]
    return union | Annotated[Lessons, tyro.conf.subcommand("lessons")]


def parse(arguments: list[str]) -> Callable[[], int]:
    """Return the command that the arguments ask for; raises UserError, or exits with status 2."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument == "" or (argument.startswith("--") and argument.endswith("=")):
            flag = argument.rstrip("=") or before
            raise UserError(f"The value of {flag} is empty." if flag else "An argument is empty.")
    return tyro.cli(
        subcommands(chosen_preset(arguments)),
        args=arguments,
        prog="subliminal-toy",
        description="Subliminal learning on a laptop: run, checked and proved.",
        config=(tyro.conf.OmitArgPrefixes,),
    )


def main() -> None:
    """Run the command line; mistakes outside the program end in one sentence, not a traceback."""
    console.end_on_signals()
    console.degrade_gracefully()
    if sys.argv[1:] == ["--version"]:
        console.say(f"subliminal-toy {__version__}")
        return
    try:
        status = console.answering_signals(parse(sys.argv[1:]))
        sys.stdout.flush()
        if "jax" in sys.modules:
            sys.modules["jax"].distributed.shutdown()  # waits for the other processes
    except UserError as error:
        console.fail(str(error), FAILED)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); Python must not flush into nothing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        console.fail(f"The system says: {error.strerror or error}{where}.", FAILED)
    sys.exit(status)
