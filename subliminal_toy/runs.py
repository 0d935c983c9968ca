"""The one way an experiment is run: named parts, stored, resumed, with status.

An experiment's module offers ``experiment(config, key, data)``, which returns an ``Experiment``:
its parts and how they are put together. Finished parts are stored, so that an interruption at any
moment loses at most the parts at work.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from subliminal_toy.errors import UserError
from subliminal_toy.records import write

Arrays = dict[str, np.ndarray]
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
    missing = [part for part in experiment.parts if part.name not in finished]
    total = sum(part.share for part in experiment.parts)
    left = {part.name: part.share for part in missing}

    def work(part: Part) -> None:
        status(1 - sum(left.values()) / total, part.label)
        finished[part.name] = part.compute(finished)
        del left[part.name]

    with ThreadPoolExecutor(experiment.side_by_side) as pool:
        working = [pool.submit(work, part) for part in missing]
        try:
            for future in as_completed(working):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    status(1.0, "finished")
    return experiment.assemble(finished)


class Store(MutableMapping[str, Arrays]):
    """Finished parts of an unfinished run, one safetensors file each, beside the record to come.

    ``identity`` says which run they belong to (experiment, config, seed, versions); parts of
    another run are refused with a UserError.
    """

    def __init__(self, directory: Path, identity: Mapping[str, Any]):
        """Open or create the store under ``directory``."""
        self._directory = directory / "unfinished"
        self._directory.mkdir(parents=True, exist_ok=True)
        marker, content = self._directory / "identity.json", json.dumps(identity, indent=1).encode()
        if marker.exists() and marker.read_bytes() != content:
            raise UserError(
                f"{directory} holds an unfinished run with other settings: "
                "resume it with the same settings, or choose another --out."
            )
        write(marker, content)

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether ``directory`` holds parts of an unfinished run."""
        return (directory / "unfinished").is_dir()

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.safetensors"

    def __getitem__(self, name: str) -> Arrays:
        """Read a part; KeyError if it is not there, UserError if it is damaged."""
        try:
            return load_safetensors(self._path(name).read_bytes())
        except FileNotFoundError:
            raise KeyError(name) from None
        except SafetensorError as error:
            raise UserError(f"{self._path(name)} is damaged: delete it and resume.") from error

    def __setitem__(self, name: str, arrays: Arrays) -> None:
        """Write a part, whole or not at all."""
        # Of a number without axes NumPy makes a vector.
        contiguous = {k: np.ascontiguousarray(v).reshape(v.shape) for k, v in arrays.items()}
        write(self._path(name), save_safetensors(contiguous))

    def __delitem__(self, name: str) -> None:
        """Delete a part."""
        self._path(name).unlink()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the finished parts."""
        return (path.stem for path in sorted(self._directory.glob("*.safetensors")))

    def __len__(self) -> int:
        """Return the number of finished parts."""
        return sum(1 for _ in self)

    def discard(self) -> None:
        """Delete everything, once the record is complete."""
        shutil.rmtree(self._directory)
