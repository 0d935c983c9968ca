"""Records: what a run leaves behind, complete or not at all.

A directory with a ``manifest.json`` is complete: every file is written under a temporary name
and moved into place, the manifest last.
"""

import contextlib
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from subliminal_toy import __version__
from subliminal_toy.errors import UserError

Arrays = dict[str, np.ndarray]

RECORD, PARAMS, SUMMARY, MANIFEST = (
    "record.npz", "params.safetensors", "summary.json", "manifest.json",
)  # fmt: skip


class Record(NamedTuple):
    """A loaded record: the experiment's arrays, its parameters, its summary, its manifest."""

    arrays: Arrays
    params: Arrays
    summary: dict[str, Any]
    manifest: dict[str, Any]


def write(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` at once or not at all; raises OSError if it cannot."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})
    return buffer.getvalue()


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_commit() -> str | None:
    """Return the commit that the package runs from, None outside a checkout."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        here = Path(__file__).parent
        tracked = ["git", "-C", str(here), "ls-files", "--error-unmatch", Path(__file__).name]
        subprocess.run(tracked, check=True, capture_output=True)
        head = ["git", "-C", str(here), "rev-parse", "HEAD"]
        return subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
    return None


def provenance(
    experiment: str, config: Mapping[str, Any], seed: int, command: str
) -> dict[str, Any]:
    """Return what the manifest says of a run: what was run, with what, on what."""
    import jax

    return {
        "experiment": experiment,
        "config": dict(config),
        "seed": seed,
        "command": command,
        "key_implementation": str(jax.random.key_impl(jax.random.key(0))),
        "versions": {
            "subliminal_toy": __version__,
            "python": platform.python_version(),
            **{
                name: metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")
            },
        },
        "device": f"{jax.devices()[0].device_kind} × {jax.device_count()}",
        "git_commit": _git_commit(),
    }


def save(
    directory: Path,
    arrays: Arrays,
    summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    params: Arrays | None = None,
) -> None:
    """Write a complete record into ``directory``: arrays, parameters, summary, manifest last.

    Raises OSError if the disk is full or not writable; nothing half-written stays behind.
    """
    directory.mkdir(parents=True, exist_ok=True)
    contents = {RECORD: _npz(arrays), SUMMARY: _json(summary)}
    if params:
        contents[PARAMS] = save_safetensors({k: np.ascontiguousarray(v) for k, v in params.items()})
    for name, content in contents.items():
        write(directory / name, content)
    digests = {name: _sha256(content) for name, content in contents.items()}
    write(directory / MANIFEST, _json({**manifest, "sha256": digests}))


def load(directory: Path, experiment: str | None = None) -> Record:
    """Read and verify a record.

    Raises UserError if it is missing, incomplete, damaged, of another experiment than asked for,
    or written by another version of the package.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise UserError(
            f"{directory} holds no finished record (no {MANIFEST}): "
            "run the experiment first, or continue it with --resume."
        )
    try:
        manifest = json.loads(path.read_bytes())
        found, version = manifest["experiment"], manifest["versions"]["subliminal_toy"]
        digests = manifest["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: delete {directory} and run again.") from error
    if experiment is not None and found != experiment:
        raise UserError(f"{directory} is a record of '{found}', not of '{experiment}'.")
    if version != __version__:
        raise UserError(
            f"{directory} was written by version {version}, this is {__version__}: run it again."
        )
    contents = {}
    for name, digest in digests.items():
        file = directory / name
        if not file.is_file() or _sha256(contents.setdefault(name, file.read_bytes())) != digest:
            raise UserError(f"{file} is missing or damaged: delete {directory} and run again.")
    with np.load(io.BytesIO(contents[RECORD]), allow_pickle=False) as record:
        arrays = dict(record)
    params = load_safetensors(contents[PARAMS]) if PARAMS in contents else {}
    return Record(arrays, params, json.loads(contents[SUMMARY]), manifest)


class ChunkStore(MutableMapping[str, Arrays]):
    """Finished parts of an unfinished run, one safetensors file each, beside the record to come.

    ``identity`` says which run they belong to (experiment, config, seed, versions); parts of
    another run are refused with a UserError.
    """

    def __init__(self, directory: Path, identity: Mapping[str, Any]):
        """Open or create the store under ``directory``."""
        self._directory = directory / "unfinished"
        self._directory.mkdir(parents=True, exist_ok=True)
        marker, content = self._directory / "identity.json", _json(identity)
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
        contiguous = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
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
