"""A run into a folder: refused before anything is written; whatever kills it, resumed to the same.

The experiment is a stub, so that a run takes no time; each run is a process of its own, which ends
at a chosen step as SIGKILL would end it: nothing is tidied up.
"""

import errno
import json
import os
import re
import subprocess
import sys

import jax
import pytest

from subliminal_toy import files, jobs, records, runs
from subliminal_toy.errors import UserError

STUB = """
import builtins, os, sys
from pathlib import Path
import numpy as np, xarray as xr
from subliminal_toy import jobs, publish, records, runs
from subliminal_toy.classifier.config import ClassifierConfig

def part(i):
    return runs.Part(f"p{i}", f"part {i}", 1.0, lambda done: {"x": np.arange(3.0) + i})

def assemble(done):
    values = np.stack([done[f"p{i}"]["x"] for i in range(2)])
    data = xr.Dataset({"x": (("replicate", "n"), values)})
    return runs.Result(data, {"w": np.ones(3, np.float32)})

class Summary:
    summarize = staticmethod(lambda config, data: {"claims": [], "n_replicates": 2})

def job(out):
    # As records.provenance, but without JAX, which must not be started before a fork.
    manifest = {"format": records.FORMAT, "experiment": "classifier", "config": {}, "seed": 0,
                "command": "", "key_implementation": "", "versions": {}, "device": "cpu",
                "git_commit": None, "data_sha256": None}
    experiment = runs.Experiment([part(0), part(1)], assemble)
    return jobs.Job("classifier", ClassifierConfig(), out, True, experiment, None, manifest)

jobs.module = lambda name, part: Summary
publish.figures = lambda record, out: {out / f"{n}.svg": b"<svg>" + n.encode() * 50 for n in "ab"}

STEPS = [0]
def at(name, real, kill):
    def step(*args, **kwargs):
        STEPS[0] += 1
        if STEPS[0] == kill: os._exit(9)       # before it
        result = real(*args, **kwargs)
        STEPS[0] += 1
        if STEPS[0] == kill: os._exit(9)       # after it
        return result
    return step

class HalfWritten:
    def __init__(self, file, kill): self.file, self.kill = file, kill
    def __enter__(self): return self
    def __exit__(self, *_): self.file.close()
    def write(self, content):
        self.file.write(content[: len(content) // 2]); self.file.flush()
        STEPS[0] += 1
        if STEPS[0] == self.kill: os._exit(9)  # in the middle of a write
        self.file.write(content[len(content) // 2 :])
    def flush(self): self.file.flush()
    def fileno(self): return self.file.fileno()

def begin(out, kill):
    os.fsync = lambda _: None  # the disk is not what is tested
    for name in ("mkdir", "replace", "unlink", "rmdir", "fsync"):
        setattr(os, name, at(name, getattr(os, name), kill))
    real = builtins.open
    def opened(path, mode="r", *args, **kwargs):
        file = real(path, mode, *args, **kwargs)
        return HalfWritten(file, kill) if mode == "xb" else file
    builtins.open = opened
    job(out).run()

folder = Path(sys.argv[1])
def whole(out, kill):
    child = os.fork()
    if child == 0:
        try:
            begin(out, kill)
            print(STEPS[0], flush=True)
            os._exit(0)
        except BaseException:
            import traceback; traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

assert whole(folder / "uninterrupted", 0) == 0
kill = 0
while True:
    kill += 1
    out = folder / f"{kill:03d}"
    status = whole(out, kill)
    assert status in (0, 9), status
    assert whole(out, 0) == 0
    if status == 0:
        break
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Return the folders of runs that were killed at every step and resumed, in order."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STUB, str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(folder.iterdir())


TIMES = rb'"(wall_s|resumed|digest|summary\.json)": [^,\n]*'


def content(folder):
    """Return what a folder holds, but for times, flags and the hashes that depend on them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): re.sub(TIMES, b"", p.read_bytes()) for p in paths}


def test_a_run_killed_at_any_step_resumes_to_the_same_folder(killed):
    *interrupted, whole = killed
    assert whole.name == "uninterrupted" and len(interrupted) > 40
    expected = content(whole)
    assert set(expected) == {
        "record.nc", "params.safetensors", "summary.json", "manifest.json", "a.svg", "b.svg",
    }  # fmt: skip
    for folder in interrupted:
        assert content(folder) == expected, folder.name
        records.load(folder)


# ---------- refusals ----------


@pytest.fixture
def places(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked").mkdir()
    (tmp_path / "to_folder").symlink_to(tmp_path / "linked")
    return tmp_path


@pytest.mark.parametrize(
    ("place", "sentence"),
    [("file", "is not a folder"), ("file/in", "file is not a folder"),
     ("full", "holds other files"),
     ("link", "is a link"), ("to_folder", "is a link"), ("/dev/null", "is not a folder"),
     ("/dev/null/x", "is not a folder"), ("/dev/full", "is not a folder")],
)  # fmt: skip
def test_a_place_that_is_taken_is_refused_and_stays(places, place, sentence):
    before = sorted(places.rglob("*"))
    with pytest.raises(UserError, match=sentence):
        jobs.check_folder(places / place, resume=False)
    with pytest.raises(UserError, match=sentence):
        jobs.check_folder(places / place, resume=True)
    assert sorted(places.rglob("*")) == before


def test_an_empty_folder_and_a_new_one_are_taken_and_nothing_is_made(tmp_path):
    (tmp_path / "empty").mkdir()
    jobs.check_folder(tmp_path / "empty", resume=False)
    jobs.check_folder(tmp_path / "new" / "er", resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_the_only_unfinished_run_is_found(tmp_path):
    begun = runs.Store.exists
    with pytest.raises(UserError, match="nothing to resume"):
        files.only_unfinished(tmp_path / "runs", "lm", begun)
    for name in ("lm-1", "lm-2", "classifier-1"):
        (tmp_path / name / "unfinished").mkdir(parents=True)
    (tmp_path / "lm-0").mkdir()
    assert files.only_unfinished(tmp_path, "classifier", begun) == tmp_path / "classifier-1"
    with pytest.raises(UserError, match=r"2 unfinished runs of 'lm'.*lm-1.*lm-2"):
        files.only_unfinished(tmp_path, "lm", begun)


# ---------- failures ----------


def failing(error):
    def compute(_):
        raise error

    return compute


def job(out, *computes, may_be_long=True, share=1.0):
    parts = [runs.Part(f"p{i}", f"p{i}", share, c) for i, c in enumerate(computes)]
    manifest = {"format": 0, "device": "cpu"}
    experiment = runs.Experiment(parts, lambda finished: failing(UserError("assembled"))(finished))
    return jobs.Job("classifier", None, out, may_be_long, experiment, None, manifest)


FINE = lambda _: {}  # noqa: E731


def test_a_run_that_its_settings_end_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="no list passes"):
        job(tmp_path / "a" / "b", FINE, failing(UserError("no list passes"))).run()
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_keeps_its_parts_whatever_happens(tmp_path):
    with pytest.raises(RuntimeError):
        job(tmp_path / "o", FINE, failing(RuntimeError())).run()
    with pytest.raises(UserError):
        job(tmp_path / "o", FINE, failing(UserError("no"))).run()
    assert [path.name for path in (tmp_path / "o").rglob("*.arrays")] == ["p0.arrays"]


def test_a_full_disk_keeps_parts_but_no_empty_folder(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space"):
        job(tmp_path / "a", failing(full)).run()
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="No space"):
        job(tmp_path / "a", FINE, failing(full)).run()
    assert list(tmp_path.rglob("*.arrays"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a container that may not mount")
    try:
        import numpy as np

        large = lambda _: {"x": np.zeros(50_000)}  # noqa: E731
        with pytest.raises(OSError, match="No space left"):
            job(disk / "o", large).run()
        assert not list(disk.iterdir())
        with pytest.raises(OSError, match="No space left"):
            job(disk / "o", FINE, large).run()
        left = [path.name for path in disk.rglob("*") if path.is_file()]
        assert sorted(left) == ["identity.json", "p0.arrays"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_memory_that_runs_out_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="memory does not suffice"):
        job(tmp_path / "a", failing(MemoryError())).run()
    assert not list(tmp_path.iterdir())


def test_more_than_a_day_is_refused_after_the_first_part_unless_it_is_meant(tmp_path, monkeypatch):
    clock = iter(range(0, 10**9, 50_000))
    monkeypatch.setattr(jobs.time, "monotonic", lambda: next(clock))
    with pytest.raises(UserError, match=r"about \d+ days more.*--yes"):
        job(tmp_path / "a", *[FINE] * 20, may_be_long=False).run()
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="assembled"):
        job(tmp_path / "a", *[FINE] * 20).run()


def test_a_run_that_ends_forgets_compiled_programs(killed, monkeypatch):
    """So that the memory of a process does not grow with the configs that it runs."""
    monkeypatch.setattr(jobs.publish, "figures", lambda *_: {})
    traced = []
    program = jax.jit(lambda x: traced.append(x) or x)
    program(1)
    program(2)
    assert len(traced) == 1
    job(killed[-1]).run()
    program(3)
    assert len(traced) == 2


def test_a_finished_record_of_other_settings_is_named_by_what_differs(killed):
    whole = killed[-1]
    found = jobs.identity_of(json.loads((whole / "manifest.json").read_bytes()))
    jobs.check_identity(whole, "classifier", found)
    with pytest.raises(UserError, match=r"other settings \(seed, versions\)"):
        jobs.check_identity(whole, "classifier", {**found, "seed": 1, "versions": {"jax": "9"}})
    with pytest.raises(UserError, match="a record of 'classifier'"):
        jobs.check_identity(whole, "lm", found)
