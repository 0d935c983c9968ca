"""Two processes run one command over the loopback, as SLURM would start them; one is killed.

JAX takes numbers from SLURM's variables; the address is given, so that a port is known to be free.
"""

import os
import socket
import subprocess
import sys

import numpy as np
import toy
import xarray as xr

JOB = {"SLURM_JOB_ID": "1", "SLURM_LOCALID": "0", "SLURM_STEP_NODELIST": "localhost",
       "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}  # fmt: skip


def run(out, processes, kill=""):
    """Return the processes, ended, of one command; the last one kills itself at a part."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        job = JOB | {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{probe.getsockname()[1]}"}
    command = [sys.executable, toy.__file__, "toy", "--distributed", "--resume", "--out", str(out)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [
        subprocess.Popen(
            command,
            env=os.environ | job | {"SLURM_PROCID": str(i), "TOY_KILL": kill * (i == 1)},
            **pipes,
        )
        for i in processes
    ]
    return [(*process.communicate(), process.returncode) for process in started]


def test_two_processes_are_one_to_rounding_and_go_on_when_one_was_killed(tmp_path):
    (_, err, status), (_, _, killed) = run(tmp_path / "two", (0, 1), kill="part/2")
    assert killed == -9 and status == 1
    assert "Another process was lost" in err and "--resume" in err and "Traceback" not in err
    assert not (tmp_path / "two" / "manifest.json").exists()
    (out, err, status), (_, silent, other) = run(tmp_path / "two", (0, 1))
    assert (status, other) == (0, 0), err
    assert "Y1" in out and "part 1" not in err and "part/2" not in silent
    alone = subprocess.run([sys.executable, toy.__file__, "toy", "--out", str(tmp_path / "one")])
    assert alone.returncode == 0
    one, two = (
        xr.load_dataset(tmp_path / name / "record.nc", engine="scipy") for name in ("one", "two")
    )
    np.testing.assert_allclose(one.x, two.x, rtol=1e-6)


def test_without_other_processes_a_sentence_says_who_starts_them(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM", "JAX_COORD"))]:
        monkeypatch.delenv(name)
    command = [sys.executable, "-m", "subliminal_toy", "theorem", "--distributed", "--out", "o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "--distributed finds no other process" in done.stderr
    assert not list(tmp_path.iterdir())
