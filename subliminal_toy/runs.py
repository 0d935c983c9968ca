"""The one way an experiment is run: named parts, stored, resumed, with status.

An experiment's module offers ``experiment(config, key, data)``, which returns an ``Experiment``.
Finished parts are stored, so that an interruption at any moment loses at most those at work.
"""

import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr
from safetensors.numpy import load as load_safetensors
from threadpoolctl import threadpool_limits

from subliminal_toy.errors import UserError
from subliminal_toy.files import missing, remove_empty, remove_tree, write
from subliminal_toy.records import Arrays, as_safetensors

SUFFIX = ".arrays"
Status = Callable[[float, str], None]
"""Called with the finished fraction of the work (0 to 1) and the label of the part at work."""


def silent(fraction: float, label: str) -> None:
    """Ignore the status."""


class Part(NamedTuple):
    """A piece of a run that is stored when finished.

    ``name`` is that of its file; ``label`` says what it does; ``share`` is its part of the work, in
    any unit; ``compute`` maps the finished parts before it, by name, to plain arrays.
    """

    name: str
    label: str
    share: float
    compute: Callable[[Mapping[str, Arrays]], Arrays]


class Result(NamedTuple):
    """What an experiment measured: a Dataset with named axes, and parameters worth keeping."""

    data: xr.Dataset
    params: Arrays


class Experiment(NamedTuple):
    """Named parts in order, and ``assemble``, which makes the result of all finished parts.

    ``side_by_side`` parts are computed at once; above 1 they must not use one another's arrays.
    """

    parts: Sequence[Part]
    assemble: Callable[[Mapping[str, Arrays]], Result]
    side_by_side: int = 1


def run(
    experiment: Experiment,
    store: MutableMapping[str, Arrays] | None = None,
    status: Status = silent,
) -> Result:
    """Compute what ``store`` does not hold yet, and return the assembled result.

    Each part has its own random numbers, so neither order nor interruption changes a result. Parts
    run in threads, so that the main thread can answer a signal at once.
    """
    finished = {} if store is None else store
    todo = [part for part in experiment.parts if part.name not in finished]
    total = sum(part.share for part in experiment.parts)
    left = {part.name: part.share for part in todo}

    def done() -> float:
        return 1 - sum(left.copy().values()) / total

    def work(part: Part) -> None:
        status(done(), part.label)
        finished[part.name] = part.compute(finished)
        del left[part.name]

    status(done(), f"{len(todo)} of {len(experiment.parts)} parts to compute")

    # The threads of BLAS wait busily for cores that XLA uses; their number would also change bits.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(experiment.side_by_side) as pool:
        working = [pool.submit(work, part) for part in todo]
        try:
            for future in as_completed(working):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    status(1.0, "finished")
    return experiment.assemble(finished)


def differing(found: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return the keys of ``asked``, as JSON keeps it, whose value in ``found`` is another."""
    return [k for k, value in json.loads(json.dumps(asked)).items() if found.get(k) != value]


class Store(MutableMapping[str, Arrays]):
    """Finished parts of an unfinished run, a file each, in a folder beside the record to come.

    A file is three things: the SHA-256 of the rest, the device that computed it, each on a line,
    and the arrays as safetensors. ``identity`` says which run the parts belong to (experiment,
    config, seed, versions); those of another run are refused with a UserError.
    """

    FOLDER, MARKER = "unfinished", "identity.json"

    def __init__(self, directory: Path, identity: Mapping[str, Any], device: str = ""):
        """Open or create the store under ``directory``; ``device`` computes what comes to it."""
        self._directory, self._device = directory / self.FOLDER, device
        self._made = missing(self._directory)
        marker = self._directory / self.MARKER
        if marker.exists():
            self._compare(marker, identity)
        else:
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
                write(marker, json.dumps(identity, indent=1).encode())
            except OSError:
                remove_empty(self._made)
                raise
        self.resumed = len(self) > 0
        """Whether there were finished parts."""

    def _compare(self, marker: Path, asked: Mapping[str, Any]) -> None:
        try:
            found = dict(json.loads(marker.read_bytes()))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{marker} is damaged: delete {self._directory} and run again."
            ) from error
        if differ := differing(found, asked):
            raise UserError(
                f"{self._directory.parent} holds an unfinished run with other settings "
                f"({', '.join(differ)}): resume it with the same, or choose another --out."
            )

    @classmethod
    def exists(cls, directory: Path) -> bool:
        """Whether ``directory`` holds parts of an unfinished run."""
        return (directory / cls.FOLDER).is_dir()

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{SUFFIX}"

    def devices(self) -> dict[str, str]:
        """Return the device of each finished part; UserError if one is damaged."""
        return {name: self._read(name)[0] for name in self}

    def _read(self, name: str) -> tuple[str, bytes]:
        path = self._path(name)
        digest, _, rest = path.read_bytes().partition(b"\n")
        if digest != sha256(rest).hexdigest().encode():
            raise UserError(f"{path} is damaged: delete it and resume.")
        device, _, content = rest.partition(b"\n")
        return device.decode(), content

    def __getitem__(self, name: str) -> Arrays:
        """Read a part; KeyError if it is not there, UserError if it is damaged."""
        if name not in self:
            raise KeyError(name)
        return load_safetensors(self._read(name)[1])

    def __setitem__(self, name: str, arrays: Arrays) -> None:
        """Write a part, whole or not at all."""
        rest = self._device.encode() + b"\n" + as_safetensors(arrays)
        write(self._path(name), sha256(rest).hexdigest().encode() + b"\n" + rest)

    def __contains__(self, name: object) -> bool:
        """Whether a part is finished."""
        return self._path(str(name)).is_file()

    def __delitem__(self, name: str) -> None:
        """Delete a part."""
        self._path(name).unlink()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the finished parts."""
        return (path.stem for path in sorted(self._directory.glob(f"*{SUFFIX}")))

    def __len__(self) -> int:
        """Return the number of finished parts."""
        return sum(1 for _ in self)

    @classmethod
    def discard(cls, directory: Path) -> None:
        """Delete the store under ``directory`` if there is one, the marker last."""
        if cls.exists(directory):
            remove_tree(directory / cls.FOLDER, cls.MARKER)

    def forget(self) -> None:
        """Delete the store, and the folders that were made for it if they are empty."""
        self.discard(self._directory.parent)
        remove_empty(self._made)
