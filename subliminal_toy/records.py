"""Records: what a run leaves behind, complete or not at all.

A directory with a ``manifest.json`` is complete: every file is written under a temporary name
and moved into place, the manifest last. The arrays are one netCDF file, read back with
``xarray.open_dataset("record.nc", engine="scipy")``; opening it executes nothing.
"""

import contextlib
import hashlib
import io
import json
import platform
import shlex
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import xarray as xr
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from subliminal_toy import __version__
from subliminal_toy.errors import UserError
from subliminal_toy.files import write
from subliminal_toy.rooms import EXPERIMENTS
from subliminal_toy.stats import Claim

Arrays = dict[str, np.ndarray]

RECORD, PARAMS, SUMMARY = "record.nc", "params.safetensors", "summary.json"
MANIFEST = "manifest.json"
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn", "xarray")
"""Those whose arithmetic a record's numbers come from."""
FORMAT = 3
"""Number of the format of records; those of another one are refused."""


class Record(NamedTuple):
    """A loaded record: the experiment's result, its parameters, its summary, its manifest."""

    data: xr.Dataset
    params: Arrays
    summary: dict[str, Any]
    manifest: dict[str, Any]


class Summary(msgspec.Struct):
    """What every summary has; the rest is the experiment's."""

    experiment: str
    claims: list[Claim]
    dataset: str | None
    seed: int
    wall_s: float


Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct):
    """What a manifest must have."""

    experiment: str
    format: int
    config: dict[str, Any]
    seed: int
    command: str
    key_implementation: str
    versions: dict[str, str]
    device: str
    git_commit: str | None
    wall_s: float
    sha256: dict[Literal["record.nc", "params.safetensors", "summary.json"], Digest]
    digest: Digest
    resumed: bool = False
    devices: dict[str, str] = {}
    matmul_precision: str | None = None
    n_processes: int = 1
    replicates_per_device: int = 1
    data_sha256: str | None = None


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_commit() -> str | None:
    """Return the commit that the package runs from, None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD")
    return None


def command_line(arguments: list[str]) -> str:
    """Return the command that a record shows, with DIR for the folders of the machine it ran on."""
    shown = list(arguments)
    for i, argument in enumerate(arguments):
        flag, given, _ = argument.partition("=")
        if flag.replace("_", "-") in ("--out", "--data-dir"):
            if given:
                shown[i] = f"{flag}=DIR"
            elif i + 1 < len(shown):
                shown[i + 1] = "DIR"
    return shlex.join(shown)


def provenance(
    experiment: str, config: Mapping[str, Any], seed: int, command: str
) -> dict[str, Any]:
    """Return what the manifest says of a run: what was run, with what, on what."""
    import jax

    settings: Any = jax.config
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
            **{name: metadata.version(name) for name in LIBRARIES},
        },
        "matmul_precision": settings.jax_default_matmul_precision,
        "device": f"{jax.devices()[0].device_kind} × {jax.device_count()}",
        "n_processes": jax.process_count(),
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
    contents = {RECORD: bytes(data.to_netcdf(engine="scipy")), SUMMARY: _json(summary)}
    if params:
        contents[PARAMS] = as_safetensors(params)
    for name, content in contents.items():
        write(directory / name, content)
    digests = {name: _sha256(content) for name, content in contents.items()}
    write(directory / MANIFEST, sealed({**manifest, "sha256": digests}))


def as_safetensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays as safetensors, which takes rows one after the other only."""
    return save_safetensors({name: np.asarray(a, order="C") for name, a in arrays.items()})


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """Return a manifest as its file holds it, with the digest of all that it says."""
    without = {key: value for key, value in manifest.items() if key != "digest"}
    return _json({**without, "digest": _sha256(_json(without))})


def load(directory: Path, experiment: str | None = None) -> Record:
    """Read and verify a record; nothing in it is used before.

    Raises UserError if it is missing, incomplete, damaged, of another experiment than asked for,
    of another record format, or not what the schema of records says.
    """
    manifest = _manifest(directory)
    found = manifest["experiment"]
    if experiment is not None and found != experiment:
        raise UserError(f"{directory} is a record of '{found}', not of '{experiment}'.")
    contents = {name: _verified(directory / name, d) for name, d in manifest["sha256"].items()}
    try:
        summary = json.loads(contents[SUMMARY])
        msgspec.convert(summary, Summary)
        data = xr.load_dataset(io.BytesIO(contents[RECORD]), engine="scipy")
        _check_axes(data)
        params = load_safetensors(contents[PARAMS]) if PARAMS in contents else {}
    # Whatever the readers of the two formats raise: the bytes are a stranger's.
    except Exception as error:
        raise UserError(f"{directory} is no record that can be read: {error}.") from error
    return Record(data, params, summary, manifest)


def _manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    if not path.is_file():
        raise UserError(
            f"{directory} holds no finished record (no {MANIFEST}): "
            "run the experiment first, or continue it with --resume."
        )
    content = path.read_bytes()
    try:
        manifest = dict(json.loads(content))
        number = manifest["format"]
        if number == FORMAT and sealed(manifest) != content:
            raise ValueError("it says another digest")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: delete {directory} and run again.") from error
    if number != FORMAT:
        raise UserError(
            f"{directory} has record format {number}, this version reads {FORMAT}: run it again."
        )
    try:
        msgspec.convert(manifest, Manifest)
        # A config that this version would not accept is one that it cannot show.
        if manifest["experiment"] in EXPERIMENTS:
            msgspec.convert(manifest["config"], EXPERIMENTS[manifest["experiment"]].config)
        for name in (RECORD, SUMMARY):
            if name not in manifest["sha256"]:
                raise UserError(f"it lacks {name}")
    except (msgspec.ValidationError, UserError) as error:
        raise UserError(f"{path} is no manifest that can be read: {error}.") from error
    return manifest


def _verified(path: Path, digest: str) -> bytes:
    """Return the content of a file of a record, whose SHA-256 it has."""
    if path.is_file() and _sha256(content := path.read_bytes()) == digest:
        return content
    raise UserError(f"{path} is missing or damaged: delete {path.parent} and run again.")


def _check_axes(data: xr.Dataset) -> None:
    """Raise ValueError unless all variables are numbers or texts and names along axes differ."""
    for name, variable in data.variables.items():
        texts = variable.dtype == object and all(isinstance(x, str) for x in variable.values.flat)
        if not texts and variable.dtype.kind not in "fiubUS":
            raise ValueError(f"{name} holds neither numbers nor texts")
    for name, index in data.indexes.items():
        if not index.is_unique:
            raise ValueError(f"two places along {name} have one name")
