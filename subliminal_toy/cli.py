"""The command line; with ``console`` the only module that prints.

``--help`` answers before JAX is imported: everything heavy is imported where it is needed.
"""

import argparse
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
import tyro
from tyro.conf import Positional, Suppress, arg, subcommand

from subliminal_toy import __version__, console
from subliminal_toy.errors import Count, UserError, check
from subliminal_toy.experiments import EXPERIMENTS, QUICK_CLAIMS, REPRODUCE

if TYPE_CHECKING:
    from subliminal_toy.record import Record, Status

FAILED, NOT_REPRODUCED, INTERRUPTED = 1, 3, 130


@dataclass(frozen=True)
class Options:
    """What every run takes."""

    out: Path | None = None
    """Folder of the record; runs/<command>-<time> if not given."""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    """Seed of the only key from which all randomness comes."""
    data_dir: Path | None = None
    """Folder of the four IDX files of a data set; not needed for digits."""
    resume: bool = False
    """Go on with the run in --out, or begin it there."""
    quiet: bool = False
    """Show neither progress nor tables."""
    keep_params: bool = False
    """Keep trained parameters in the record."""
    replicates_per_device: Count | None = None
    """Replicates that a device works on at once; 1 on a CPU and 64 elsewhere if not given."""
    matmul_precision: Literal["highest", "high", "default"] = "highest"
    """Of products of float32 matrices; default is TF32 on a GPU that has it."""
    compilation_cache: bool = True
    """Keep compiled programs in the user's cache folder."""
    distributed: bool = False
    """Run with the other processes that SLURM, MPI, Kubernetes or a TPU pod started."""

    def __post_init__(self):
        """Raise UserError for an impossible value."""
        check(self)
        if (self.resume or self.distributed) and self.out is None:
            raise UserError("--resume and --distributed need --out, the folder of the run.")

    def folder(self, command: str) -> Path:
        """Return the folder of a command's records."""
        return self.out or Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"


class Job(NamedTuple):
    """A run of an experiment into a folder, and its share of the time of a command."""

    experiment: str
    config: Any
    out: Path
    share: float = 1.0


Config = TypeVar("Config")
Preset = TypeVar("Preset")


@dataclass(frozen=True)
class Run(Generic[Config, Preset]):
    """Run one experiment, and show its claims."""

    name: Suppress[str]
    config: Annotated[Config, arg(name="")]
    preset: Preset
    options: Annotated[Options, arg(name="")] = field(default_factory=Options)

    def __call__(self) -> int:
        """Return 0, whatever the verdicts."""
        out = self.options.folder(self.name)
        records = execute({self.name: Job(self.name, self.config, out)}, out, self.options)
        for record in records.values() if not self.options.quiet else ():
            shown = EXPERIMENTS[self.name].shown
            console.show_estimates(shown, record.labelled(shown))
            console.show_claims({str(out): record.judgements})
            console.say(f"Record and figures: {out}")
            console.say(f"Its page: subliminal-toy report {shlex.quote(str(out))} --out page")
        return 0


@dataclass(frozen=True)
class Reproduce:
    """Run all experiments, and write one page about them."""

    options: Annotated[Options, arg(name="")] = field(default_factory=Options)
    preset: Literal["quick", "paper"] = "quick"
    """quick: minutes, embedded data; paper: the published sizes (--data-dir or a network)."""
    data: Literal["digits", "mnist", "fashion_mnist", "kmnist"] | None = None
    """Data set of the classifier; the preset's if not given."""
    strict: bool = False
    """End with status 3 if a claim of the paper is not reproduced."""
    open: bool = False
    """Open the page in a browser."""

    def __call__(self) -> int:
        """Return 0, or 3 if it is to be strict and a claim of the paper is not reproduced."""
        out, jobs = self.options.folder("reproduce"), {}
        for name, run in REPRODUCE[self.preset].items():
            config = EXPERIMENTS[run.experiment].presets[run.preset]
            if self.data is not None and hasattr(config, "data"):
                config = replace(config, data=self.data)
            jobs[name] = Job(run.experiment, config, out / name, run.share)
        if {path.name for path in out.glob("*")} - {*jobs, "index.html", "evidence.html"}:
            raise UserError(f"{out} holds other files: choose an empty folder, or a new one.")
        records = execute(jobs, out, self.options)
        if not records:  # not the first of several processes
            return 0
        ids = {j.claim.id for record in records.values() for j in record.judgements}
        left_out = sorted(ids - QUICK_CLAIMS) if self.preset == "quick" else []
        for name, record in records.items():
            shown = [j for j in record.judgements if j.claim.id not in left_out]
            records[name] = record._replace(judgements=shown)
        write_pages(records, out)
        if not self.options.quiet:
            console.show_claims({name: r.judgements for name, r in records.items() if r.judgements})
            if left_out:
                console.say(f"Of too few replicates here (--preset paper): {', '.join(left_out)}.")
            console.say(f"Page: {out / 'index.html'}")
        if self.open:
            import webbrowser

            webbrowser.open((out / "index.html").resolve().as_uri())
        verdicts = {j.verdict for record in records.values() for j in record.judgements}
        return NOT_REPRODUCED if self.strict and "not reproduced" in verdicts else 0


@dataclass(frozen=True)
class Report:
    """Draw the figures, the page and the tables of documents from records; computes nothing."""

    records: Positional[tuple[Path, ...]]
    """Folders of finished records, or folders of such folders."""
    out: Path | None = None
    """Folder of the page; figures go into a folder in it for each record, of the record's name, so
    that `report figures --out figures` draws those of figures/* where they are. Without it no
    figure and no page are written."""
    readme: tuple[Path, ...] = ()
    """Rewrite the blocks between the markers of these Markdown files."""

    def __call__(self) -> int:
        """Return 0."""
        from subliminal_toy import experiments, report
        from subliminal_toy.record import MANIFEST

        folders: dict[str, Path] = {}
        for given in self.records:
            inside = [] if (given / MANIFEST).exists() else sorted(given.glob(f"*/{MANIFEST}"))
            for folder in [path.parent for path in inside] or [given]:
                name = folder.resolve().name
                if folders.setdefault(name, folder) != folder:
                    raise UserError(f"{folders[name]} and {folder} have the same name.")
        if not folders:
            raise UserError("Name at least one folder of a finished record.")
        loaded = {name: experiments.load(folder) for name, folder in folders.items()}
        if self.out is not None:
            for name, record in loaded.items():
                write_figures(record, self.out / name)
            write_pages(loaded, self.out)
        for path in self.readme:
            seen = {
                Path(os.path.relpath(folders[name], path.parent)).as_posix(): record
                for name, record in loaded.items()
            }
            text = report.update_blocks(path.read_text(encoding="utf-8"), seen)
            path.write_text(text, encoding="utf-8")
            console.say(f"Rewritten: {path}")
        for name, record in loaded.items():
            verdicts = ", ".join(f"{j.claim.id} {j.verdict}" for j in record.judgements)
            console.say(f"{folders[name]}: {verdicts or 'no claim'}")
        if self.out is not None:
            console.say(f"Page: {self.out / 'index.html'}")
        return 0


@dataclass(frozen=True)
class Lessons:
    """Write the lessons as notebooks (the extra lessons brings JupyterLab to open them)."""

    out: Path = Path("lessons")
    """Folder of the notebooks."""

    def __call__(self) -> int:
        """Return 0."""
        from subliminal_toy import lessons

        for path in lessons.write_notebooks(self.out):
            console.say(str(path))
        if sentence := lessons.missing():
            console.say(sentence)
        return 0


# ---------- a run ----------


def execute(jobs: Mapping[str, Job], out: Path, options: Options) -> "dict[str, Record]":
    """Run the jobs one after the other, and return their records; none but on the first process.

    In a thread, so that the main thread can answer Ctrl-C at once.
    """
    start_jax(options)
    import jax

    shares = {name: job.share for name, job in jobs.items()}
    worker = ThreadPoolExecutor(1)
    try:
        with console.progress(shares, options.quiet or jax.process_index() > 0) as statuses:
            records = worker.submit(
                lambda: {name: run(job, options, statuses[name]) for name, job in jobs.items()}
            ).result()
    except KeyboardInterrupt:
        arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
        arguments += ["--out", str(out)] * (options.out is None) + ["--resume"]
        command = shlex.join(["subliminal-toy", *arguments])
        sentence = f"Interrupted; finished parts are kept. Continue with: {command}"
        console.fail(sentence, INTERRUPTED)
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() > 1:
            sentence = "Another process was lost; start all again with --resume. JAX says:"
            console.fail(f"{sentence} {str(error).splitlines()[0]}", FAILED)
        if "RESOURCE_EXHAUSTED" in str(error):
            raise UserError("The memory is too small: lower --replicates-per-device.") from error
        raise
    return {name: record for name, record in records.items() if record is not None}


def start_jax(options: Options) -> None:
    """Set devices, precision and cache before JAX computes, and join the other processes."""
    import jax

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jax.config.update("jax_num_cpu_devices", cores or 1)
    jax.config.update("jax_default_matmul_precision", options.matmul_precision)
    settings: Any = jax.config
    # Programs of several processes that were read back failed, or waited for each other forever.
    if options.distributed or not options.compilation_cache:
        jax.config.update("jax_enable_compilation_cache", False)
    elif settings.jax_compilation_cache_dir is None:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(base / "subliminal-toy"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if options.distributed:
        try:
            jax.distributed.initialize()
        except ValueError as error:
            raise UserError(
                f"--distributed finds no other process of this run ({error}): start it by SLURM, "
                "MPI, Kubernetes or on a TPU pod."
            ) from error


def run(job: Job, options: Options, status: "Status") -> "Record | None":
    """Compute what is missing in the folder of a job, and return the record that is then there.

    Of several processes the first alone writes and returns it.
    """
    import jax

    from subliminal_toy import claims, data, experiments, record

    entry, out, first = EXPERIMENTS[job.experiment], job.out, jax.process_index() == 0
    origin = record.origin()
    if first:
        record.check_folder(out, options.resume, origin["dirty"])
    name = getattr(job.config, "data", "digits")
    images = data.load(name, options.data_dir) if entry.needs_data else None
    config = asdict(job.config)
    identity = record.identity(job.experiment, config, options.seed, images and images.sha256())
    if not (out / record.MANIFEST).exists():
        key = jax.random.key(options.seed, impl="threefry2x32")
        experiment = entry.module("experiment").experiment(
            job.config, key, images, options.replicates_per_device
        )
        store = record.Store(out, identity, origin, first)
        result = record.run(experiment, store, status)
        if first:
            if not options.keep_params:
                result = result._replace(params={})
            judged = entry.module("claims")
            record.save(
                out,
                result,
                {**identity, "command": shown(sys.argv[1:]), **store.provenance()},
                claims.judge(judged.CLAIMS, result.data),
                judged.estimates(result.data),
            )
    if not first:
        return None
    loaded = experiments.load(out)
    record.check_identity(out, loaded.manifest, identity)
    if (out / record.UNFINISHED).exists():
        write_figures(loaded, out)
        shutil.rmtree(out / record.UNFINISHED)
    return loaded


def shown(arguments: Sequence[str]) -> str:
    """Return the command that a record shows, with DIR for the folders of the machine it ran on."""
    flags = ("--out", "--data-dir")
    pairs = zip(["", *arguments], arguments, strict=False)
    return shlex.join(
        "DIR" if before in flags else re.sub(r"^(--out|--data-dir)=.*", r"\1=DIR", argument)
        for before, argument in pairs
    )


def write_figures(record: "Record", folder: Path) -> None:
    """Draw the figures of a record into a folder."""
    from subliminal_toy import plots
    from subliminal_toy.record import write

    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in plots.draw(record.manifest["experiment"], record.data).items():
        write(folder / f"{name}.svg", plots.svg(figure))


def write_pages(records: "Mapping[str, Record]", folder: Path) -> None:
    """Write the pages about records into a folder; their names are their folders in it."""
    from subliminal_toy import page
    from subliminal_toy.record import write

    folder.mkdir(parents=True, exist_ok=True)
    for name, html in page.pages(records).items():
        write(folder / name, html.encode(errors="backslashreplace"))


# ---------- arguments ----------


def parse(arguments: Sequence[str]) -> Any:
    """Return the command that the arguments ask for; exits with status 2 if there is none."""
    if arguments[:1] == ["real"] and not [*arguments, "-"][1].startswith("-"):
        arguments = ["real", "--folder", *arguments[1:]]
    # A preset gives the other flags their defaults, so it must be known before they are read.
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="quick")
    preset = first.parse_known_args(arguments)[0].preset
    commands: Any = Annotated[Reproduce, subcommand("reproduce")]
    for name, entry in EXPERIMENTS.items():
        chosen = preset if preset in entry.presets else "quick"
        about = arg(help="; ".join(f"{name}: {what}" for name, what in entry.about.items()))
        known = Annotated[Literal[tuple(entry.presets)], about]  # pyright: ignore
        default = Run(name, entry.presets[chosen], chosen)
        command = Run[type(default.config), known]  # pyright: ignore
        commands |= Annotated[command, subcommand(name, default=default, description=entry.purpose)]
    commands |= Annotated[Report, subcommand("report")]
    commands |= Annotated[Lessons, subcommand("lessons")]
    return tyro.cli(
        commands,
        args=arguments,
        prog="subliminal-toy",
        description=f"Subliminal learning on a laptop: run, checked and proved ({__version__}). "
        "Begin with: subliminal-toy reproduce",
        config=(tyro.conf.OmitArgPrefixes,),
    )


def main() -> None:
    """Run the command line; mistakes outside the program end in one sentence, not a traceback."""
    try:
        status = parse(sys.argv[1:] or ["--help"])()
        sys.stdout.flush()
    except UserError as error:
        console.fail(str(error), FAILED)
    except KeyboardInterrupt:
        console.fail("Interrupted.", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output went away
        os._exit(FAILED)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        console.fail(f"The system says: {error.strerror or error}{where}.", FAILED)
    sys.exit(status)
