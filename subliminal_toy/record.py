"""How an experiment is run, and what a run leaves behind.

Finished parts of a run are stored, so that an interruption loses at most the part at work. A
finished run is a record: a folder with data, summary, perhaps parameters, and, written last, a
manifest. No file is ever half-written.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import jax
import msgspec
import numpy as np
import xarray as xr
from jax.experimental.multihost_utils import process_allgather
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from subliminal_toy import __version__
from subliminal_toy.claims import Judgement, Row
from subliminal_toy.errors import UserError
from subliminal_toy.stats import Estimate

Arrays = dict[str, np.ndarray]
Status = Callable[[float, str], None]
"""Called with the finished fraction of the work (0 to 1) and the name of the part at work."""

UNFINISHED, MANIFEST = "unfinished", "manifest.json"
RECORD, PARAMS, SUMMARY = "record.nc", "params.safetensors", "summary.json"
FORMAT = 4
"""Number of the format of records; those of another one are refused."""
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn", "xarray")
"""Those whose arithmetic a record's numbers come from."""
PACKAGE = Path(__file__).parent


# ---------- a run ----------


class Part(NamedTuple):
    """A piece of a run that is stored when finished.

    ``name`` says what it is, and names its file; ``share`` is its part of the work, in any unit;
    ``compute`` maps the finished parts before it, by name, to plain arrays.
    """

    name: str
    share: float
    compute: Callable[[Mapping[str, Arrays]], Arrays]


class Result(NamedTuple):
    """What an experiment measured: a Dataset with named axes, and parameters worth keeping."""

    data: xr.Dataset
    params: Arrays


class Experiment(NamedTuple):
    """Named parts in order, and ``assemble``, which makes the result of all finished parts."""

    parts: Sequence[Part]
    assemble: Callable[[Mapping[str, Arrays]], Result]


def silent(fraction: float, name: str) -> None:
    """Ignore the status."""


def run(
    experiment: Experiment, store: dict[str, Arrays] | None = None, status: Status = silent
) -> Result:
    """Compute what ``store`` does not hold yet, and return the assembled result.

    Several processes compute each part together, so they must agree on what is stored.
    """
    finished = {} if store is None else store
    stored = np.array([part.name in finished for part in experiment.parts])
    if (process_allgather(stored) != stored).any():
        raise UserError("The processes see different parts of this run: give all the same --out.")
    total, done = sum(part.share for part in experiment.parts), 0.0
    for part in experiment.parts:
        if part.name not in finished:
            status(done / total, part.name)
            finished[part.name] = part.compute(finished)
        done += part.share
    status(1.0, "finished")
    return experiment.assemble(finished)


# ---------- where it comes from, and what is stored of it ----------


def identity(
    experiment: str, config: Mapping[str, Any], seed: int, data_sha256: str | None
) -> dict[str, Any]:
    """Return what all parts of a run have in common, as the manifest says it."""
    versions = {"subliminal_toy": __version__, "python": platform.python_version()}
    settings: Any = jax.config
    return {
        "format": FORMAT,
        "experiment": experiment,
        "config": json.loads(json.dumps(config)),
        "seed": seed,
        "versions": versions | {name: metadata.version(name) for name in LIBRARIES},
        "matmul_precision": settings.jax_default_matmul_precision,
        "data_sha256": data_sha256,
    }


def origin() -> dict[str, Any]:
    """Return what computes now: the package's source and commit, devices and processes.

    ``commit`` is None outside a checkout; ``dirty`` says that the package differs from it.
    """
    source, commit, changes = hashlib.sha256(), None, ""
    for path in sorted(PACKAGE.rglob("*.py")):
        source.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git("ls-files", "--error-unmatch", Path(__file__).name)
        commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", ".")
    return {
        "source": source.hexdigest(),
        "commit": commit,
        "dirty": bool(changes),
        "device": f"{jax.devices()[0].device_kind} × {jax.device_count()}",
        "n_processes": jax.process_count(),
    }


def check_folder(out: Path, resume: bool, dirty: bool = False) -> None:
    """Raise UserError unless a run can begin in ``out``, or, with ``resume``, go on there."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is not a folder.")
    if dirty and out.resolve().is_relative_to(PACKAGE.parent / "figures"):
        raise UserError("Records in figures/ come from a commit: commit the package's changes.")
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    begun = names & {MANIFEST, UNFINISHED}
    if begun and not resume:
        what = "a finished record" if MANIFEST in names else "an unfinished run"
        raise UserError(f"{out} holds {what}: use it with --resume, or choose another --out.")
    if names and not begun:
        raise UserError(f"{out} holds other files: choose an empty folder, or a new one.")


def check_identity(out: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise UserError if what is in ``out`` is not of the run that is asked for."""
    if differ := [key for key, value in asked.items() if found.get(key) != value]:
        raise UserError(
            f"{out} holds a run with other settings ({', '.join(differ)}): resume it with "
            "those, or choose another --out."
        )


class Store(dict[str, Arrays]):
    """The finished parts of an unfinished run; one that is set is also written, to its own file.

    A file is three things: the SHA-256 of the rest, a line of JSON (the part's name, its origin,
    the seconds since the part before), and the arrays as safetensors. ``first``: whether this
    process is the one that writes.
    """

    def __init__(
        self, out: Path, identity: Mapping[str, Any], origin: Mapping[str, Any], first: bool = True
    ):
        """Read what is stored under ``out``; UserError if it is damaged or of another run."""
        super().__init__()
        self._folder, self._origin, self._first = out / UNFINISHED, origin, first
        self._since = time.perf_counter()
        self._about: dict[str, dict[str, Any]] = {}
        paths, marker = sorted(self._folder.glob("*.part")), self._folder / "run.json"
        if paths:
            check_identity(out, _json_of(marker), identity)
        elif first:
            self._folder.mkdir(parents=True, exist_ok=True)
            write(marker, json.dumps(identity, indent=1).encode())
        for path in paths:
            digest, _, rest = path.read_bytes().partition(b"\n")
            if digest != _sha256(rest).encode():
                raise UserError(f"{path} is damaged: delete it and resume.")
            line, _, content = rest.partition(b"\n")
            about = json.loads(line)
            self._about[about["name"]] = about
            super().__setitem__(about["name"], load_safetensors(content))

    def __setitem__(self, name: str, arrays: Arrays) -> None:
        """Keep a finished part."""
        super().__setitem__(name, arrays)
        now = time.perf_counter()
        about = {"name": name, "seconds": now - self._since, "origin": self._origin}
        self._about[name], self._since = about, now
        rest = json.dumps(about).encode() + b"\n" + _safetensors(arrays)
        if self._first:
            path = self._folder / f"{quote(name, safe=' ,')}.part"
            write(path, _sha256(rest).encode() + b"\n" + rest)

    def provenance(self) -> dict[str, Any]:
        """Return what the manifest says of all parts: their seconds, and every origin once."""
        origins = [about["origin"] for about in self._about.values()]
        seconds = sum(about["seconds"] for about in self._about.values())
        once = [origin for i, origin in enumerate(origins) if origin not in origins[:i]]
        return {"wall_s": seconds, "origins": once}


# ---------- a record ----------


class Record(NamedTuple):
    """A loaded record: data, parameters if they were kept, manifest, and its judged claims.

    ``estimates`` are those of its summary, by quantity and labels.
    """

    data: xr.Dataset
    params: Arrays
    manifest: dict[str, Any]
    judgements: list[Judgement]
    estimates: dict[tuple[str, str], Estimate]

    def __call__(self, quantity: str, labels: str) -> Estimate:
        """Return an estimate; KeyError if the record has none of that name."""
        return self.estimates[quantity, labels]

    def labelled(self, quantity: str) -> dict[str, Estimate]:
        """Return all estimates of a quantity by their labels."""
        return {labels: e for (name, labels), e in self.estimates.items() if name == quantity}


class Manifest(msgspec.Struct):
    """What every manifest has; those of newer records also ``origins`` and ``claims``."""

    experiment: str
    format: int
    config: dict[str, Any]
    seed: int
    command: str
    versions: dict[str, str]
    wall_s: float
    sha256: dict[Literal["record.nc", "params.safetensors", "summary.json"], str]
    origins: list[dict[str, Any]] = []
    claims: dict[str, str] = {}


def save(
    out: Path,
    result: Result,
    manifest: Mapping[str, Any],
    judgements: Sequence[Judgement],
    rows: Iterable[Row],
) -> None:
    """Write a complete record: files, then the manifest with their SHA-256 and the claims'."""
    contents = {
        RECORD: bytes(result.data.to_netcdf(engine="scipy")),
        SUMMARY: summary(result.data, manifest, judgements, rows),
    }
    if result.params:
        contents[PARAMS] = _safetensors(result.params)
    for name, content in contents.items():
        write(out / name, content)
    whole = {
        **manifest,
        "claims": {judgement.claim.id: judgement.claim.sha256 for judgement in judgements},
        "sha256": {name: _sha256(content) for name, content in contents.items()},
    }
    write(out / MANIFEST, (json.dumps(whole, indent=1, allow_nan=False) + "\n").encode())


def summary(
    data: xr.Dataset,
    manifest: Mapping[str, Any],
    judgements: Iterable[Judgement],
    rows: Iterable[Row],
) -> bytes:
    """Return run, claims and estimates as JSON, one of them a line.

    Numbers have six digits; what is not finite is null.
    """

    def line(estimate: Estimate, **labels: str) -> str:
        ends = zip(("value", "low", "high"), estimate[:3], strict=True)
        numbers = {k: float(f"{x:.6g}") if math.isfinite(x) else None for k, x in ends}
        return json.dumps({**labels, **numbers, "n": estimate.n}, ensure_ascii=False)

    run = {key: manifest[key] for key in ("experiment", "seed", "command", "wall_s")}
    lines = {
        "claims": [
            line(j.shown, id=j.claim.id, verdict=j.verdict, reason=j.reason) for j in judgements
        ],
        "estimates": [line(row.estimate, quantity=row.quantity, labels=row.labels) for row in rows],
    }
    lists = [f' "{name}": [\n  ' + ",\n  ".join(rows) + "\n ]" for name, rows in lines.items()]
    about = json.dumps(run | {"dataset": data.attrs.get("dataset")})
    return ("{\n" + ",\n".join([f' "run": {about}', *lists]) + "\n}\n").encode()


def load(
    out: Path, judged: Callable[[str, xr.Dataset, list[dict[str, Any]]], list[Judgement]]
) -> Record:
    """Read and verify a record; ``judged`` judges the claims of an experiment (``experiments``).

    That function is given the experiment, the data and the verdicts of the summary. Raises
    UserError if the record is missing, incomplete, damaged, of another format, or its manifest is
    not what ``Manifest`` says.
    """
    path = out / MANIFEST
    if not path.is_file():
        raise UserError(f"{out} holds no finished record: run the experiment, or --resume it.")
    manifest = _json_of(path)
    if (number := manifest.get("format")) != FORMAT:
        raise UserError(f"{out} has record format {number}, this version reads {FORMAT}.")
    try:
        msgspec.convert(manifest, Manifest)
        contents = {name: (out / name).read_bytes() for name in manifest["sha256"]}
        for name, content in contents.items():
            if _sha256(content) != manifest["sha256"][name]:
                raise UserError(f"{out / name} is damaged: run again.")
        data = xr.load_dataset(io.BytesIO(contents[RECORD]), engine="scipy")
        params = load_safetensors(contents[PARAMS]) if PARAMS in contents else {}
        lines = json.loads(contents[SUMMARY])
        estimates = {(r["quantity"], r["labels"]): _estimate(r) for r in lines["estimates"]}
        stored = [line | {"estimate": _estimate(line)} for line in lines["claims"]]
    except (msgspec.ValidationError, LookupError, OSError) as error:
        raise UserError(f"{out} is no record that can be read: {error}.") from error
    return Record(data, params, manifest, judged(manifest["experiment"], data, stored), estimates)


def _estimate(line: Mapping[str, Any]) -> Estimate:
    """Return an estimate as ``summary`` writes it."""
    value, low, high = (
        math.nan if line[name] is None else line[name] for name in ("value", "low", "high")
    )
    return Estimate(value, low, high, line["n"])


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; raises OSError if it cannot."""
    temporary = path.with_name(f".{path.name}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _safetensors(arrays: Arrays) -> bytes:
    """Return arrays as safetensors, which takes rows one after the other only."""
    return save_safetensors({name: np.asarray(a, order="C") for name, a in arrays.items()})


def _json_of(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged: delete {path.parent} and run again.") from error
