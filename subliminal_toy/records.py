"""Records: what a run leaves behind, complete or not at all.

A directory with a ``manifest.json`` is complete: every file is written under a temporary name
and moved into place, the manifest last. The arrays are one netCDF file, read back with
``xarray.open_dataset("record.nc", engine="scipy")``; opening it executes nothing.
"""

import contextlib
import hashlib
import io
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from subliminal_toy import __version__
from subliminal_toy.errors import UserError

Arrays = dict[str, np.ndarray]

RECORD, PARAMS, SUMMARY, MANIFEST = (
    "record.nc", "params.safetensors", "summary.json", "manifest.json",
)  # fmt: skip
FORMAT = 2
"""Number of the format of records; those of another one are refused."""


class Record(NamedTuple):
    """A loaded record: the experiment's result, its parameters, its summary, its manifest."""

    data: xr.Dataset
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
        "format": FORMAT,
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
    data: xr.Dataset,
    summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    params: Arrays | None = None,
) -> None:
    """Write a complete record into ``directory``: result, parameters, summary, manifest last.

    Raises OSError if the disk is full or not writable; nothing half-written stays behind.
    """
    directory.mkdir(parents=True, exist_ok=True)
    netcdf = bytes(data.to_netcdf(engine="scipy"))
    contents = {RECORD: netcdf, SUMMARY: _json(summary)}
    if params:
        contents[PARAMS] = save_safetensors({k: np.ascontiguousarray(v) for k, v in params.items()})
    for name, content in contents.items():
        write(directory / name, content)
    digests = {name: _sha256(content) for name, content in contents.items()}
    write(directory / MANIFEST, _json({**manifest, "sha256": digests}))


def load(directory: Path, experiment: str | None = None) -> Record:
    """Read and verify a record.

    Raises UserError if it is missing, incomplete, damaged, of another experiment than asked for,
    or of another record format.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise UserError(
            f"{directory} holds no finished record (no {MANIFEST}): "
            "run the experiment first, or continue it with --resume."
        )
    try:
        manifest = json.loads(path.read_bytes())
        found, digests = manifest["experiment"], manifest["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: delete {directory} and run again.") from error
    if experiment is not None and found != experiment:
        raise UserError(f"{directory} is a record of '{found}', not of '{experiment}'.")
    if manifest.get("format") != FORMAT:
        raise UserError(
            f"{directory} has record format {manifest.get('format')}, this version reads {FORMAT}: "
            "run it again."
        )
    contents = {}
    for name, digest in digests.items():
        file = directory / name
        if not file.is_file() or _sha256(contents.setdefault(name, file.read_bytes())) != digest:
            raise UserError(f"{file} is missing or damaged: delete {directory} and run again.")
    data = xr.load_dataset(io.BytesIO(contents[RECORD]), engine="scipy")
    params = load_safetensors(contents[PARAMS]) if PARAMS in contents else {}
    return Record(data, params, json.loads(contents[SUMMARY]), manifest)
