"""An experiment run into a folder: refused before anything is written, begun, resumed, finished.

A folder holds nothing, an unfinished run (a ``runs.Store``, and perhaps all or part of its record),
or a finished one. The store is what marks it as unfinished, and goes last: whatever a killed
process has left, running again with ``--resume`` ends in the same folder.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from subliminal_toy import data, distill, files, hosts, machine, publish, records, runs
from subliminal_toy.errors import UserError
from subliminal_toy.machine import DAY, duration
from subliminal_toy.rooms import EXPERIMENTS

SAME = (
    "format", "experiment", "config", "seed", "key_implementation", "versions", "data_sha256",
    "matmul_precision",
)  # fmt: skip
"""What a resumed run must share with its beginning."""


@dataclass(frozen=True)
class Job:
    """A run whose settings have been checked; ``may_be_long``: more than a day is accepted."""

    name: str
    config: Any
    out: Path
    may_be_long: bool
    experiment: runs.Experiment
    dataset: str | None
    manifest: Mapping[str, Any]

    def run(self, status: runs.Status = runs.silent) -> records.Record:
        """Compute what is missing in the folder, write record and figures, and return the record.

        A run that fails on its settings, or before its first part is stored, leaves nothing.
        """
        if is_finished(self.out):
            with mistakes_of_machines():
                share(None)
        else:
            store = runs.Store(self.out, identity_of(self.manifest), self.manifest["device"])
            try:
                self._compute(store, status)
            except (UserError, OSError) as error:
                mistake = isinstance(error, UserError) and not store.resumed
                # Who lost a process is told to use --resume: the store stays, if only an empty one.
                if not isinstance(error, hosts.HostLost) and (mistake or not store):
                    store.forget()
                raise
        record = records.load(self.out, self.name)
        publish.write(publish.figures(record, self.out))
        runs.Store.discard(self.out)
        hosts.free_memory()
        return record

    def help(self) -> None:
        """Compute beside the first process, which runs; nothing is read or written here."""
        with mistakes_of_machines():
            finished = received()
            if finished is not None:
                runs.run(self.experiment, finished)

    def _compute(self, store: runs.Store, status: runs.Status) -> None:
        began = time.perf_counter()
        patient = status if self.may_be_long else impatient(status)
        with mistakes_of_machines():
            share(store)
            result = runs.run(self.experiment, store, patient)
        wall_s = time.perf_counter() - began
        summary = {
            "experiment": self.name,
            "dataset": self.dataset,
            "seed": self.manifest["seed"],
            "wall_s": wall_s,
            **module(self.name, "summary").summarize(self.config, result.data),
        }
        manifest = {
            **self.manifest,
            "devices": store.devices(),
            "resumed": store.resumed,
            "replicates_per_device": distill.Placement.used,
            "wall_s": wall_s,
        }
        records.save(self.out, result.data, summary, manifest, result.params)


def module(name: str, part: str) -> Any:
    """Return a module of an experiment's package."""
    return import_module(f"subliminal_toy.{name}.{part}")


def identity_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says which run a manifest is of."""
    return {key: manifest.get(key) for key in SAME}


def is_finished(out: Path) -> bool:
    """Whether a folder holds a whole record."""
    return (out / records.MANIFEST).exists()


@contextmanager
def mistakes_of_machines() -> Iterator[None]:
    """Turn an allocation that fails, or the loss of another process, into a UserError."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            raise UserError("The memory does not suffice: lower the settings.") from error
        if hosts.several():
            why = str(error).partition("\n")[0]
            raise hosts.HostLost(f"{hosts.LOST} (JAX says: {why})") from error
        raise


def share(store: runs.Store | None) -> None:
    """Send what is stored to the other processes; None: there is nothing to compute."""
    if hosts.several():
        hosts.from_first(json.dumps(None if store is None else list(store)).encode())
        for arrays in (store or {}).values():
            hosts.from_first(save_safetensors(arrays))


def received() -> dict[str, runs.Arrays] | None:
    """Return what the first process shares; None if there is nothing to compute."""
    names = json.loads(hosts.from_first())
    return None if names is None else {name: load_safetensors(hosts.from_first()) for name in names}


def prepare(
    name: str,
    config: Any,
    out: Path,
    seed: int,
    command: str,
    *,
    resume: bool = False,
    may_be_long: bool = False,
    data_dir: Path | None = None,
) -> Job:
    """Check all that can be checked before anything is written; raises UserError.

    ``resume``: what is in ``out`` may be taken. ``command`` is what the record shows.
    """
    if hosts.is_first():
        check_folder(out, resume)
    room = EXPERIMENTS[name]
    machine.refuse_too_large(config, room.presets)
    if not may_be_long:
        machine.refuse_too_long(config, room.presets)
    dataset = data.load(getattr(config, "data", "digits"), data_dir) if room.needs_data else None
    manifest = records.provenance(name, asdict(config), seed, command)
    manifest["data_sha256"] = dataset and dataset.sha256()
    if hosts.is_first() and is_finished(out):
        check_identity(out, name, identity_of(manifest))
    experiment = module(name, "experiment").experiment(config, key_of(seed), dataset)
    if hosts.several():  # the parts in one order on all processes
        experiment = experiment._replace(side_by_side=1)
    return Job(name, config, out, may_be_long, experiment, dataset and dataset.name, manifest)


def key_of(seed: int) -> Key[Array, ""]:
    """Return the key of a seed of 64 bits.

    That of ``jax.random.key``, which takes only the lower 32.
    """
    words = jnp.array([seed >> 32, seed & 0xFFFFFFFF], jnp.uint32)
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def check_folder(out: Path, resume: bool) -> None:
    """Raise UserError unless a run can begin in ``out``, or, with ``resume``, go on there."""
    files.check_folder(out)
    unfinished, finished = runs.Store.exists(out), is_finished(out)
    if unfinished and not resume:
        raise UserError(
            f"{out} holds an unfinished run: continue it with --resume or choose another --out."
        )
    if finished and not resume:
        raise UserError(f"{out} already holds a finished record: choose another --out.")
    if not (unfinished or finished) and out.exists() and any(out.iterdir()):
        raise UserError(f"{out} holds other files: choose an empty folder, or a new one.")


def check_identity(out: Path, name: str, asked: Mapping[str, Any]) -> None:
    """Raise UserError unless the finished record in ``out`` is the one that is asked for."""
    if differ := runs.differing(records.load(out, name).manifest, asked):
        raise UserError(
            f"{out} already holds a finished record with other settings ({', '.join(differ)}): "
            "choose another --out."
        )


def impatient(status: runs.Status) -> runs.Status:
    """Return a status that raises UserError when a day of work is left, at the speed so far."""
    first: list[tuple[float, float]] = []

    def listen(done: float, label: str) -> None:
        status(done, label)
        now = time.monotonic()
        if not first:
            first.append((now, done))
        start, before = first[0]
        left = (now - start) * (1 - done) / (done - before) if done > before else 0.0
        if left > DAY:
            raise UserError(
                f"This run would take about {duration(left)} more: say with --yes that it is "
                "meant, or lower the settings."
            )

    return listen
