"""Two processes run one command over the loopback, as SLURM would start them; killed and resumed.

JAX takes addresses and numbers from SLURM's variables. All processes are forked from one that has
imported everything, since importing takes as long as all that they compute.
"""

import json
import os
import socket
import subprocess
import sys

import pytest

# Two parts of the classifier and two of the language model, on tiny configs.
RUN = """
import json, os, signal, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import joblib, numpy as np, xarray as xr
from dataclasses import replace
from subliminal_toy import cli, jobs, publish, runs
from subliminal_toy.classifier import experiment as classifier
from subliminal_toy.classifier.arms import STUDENTS, Teacher
from subliminal_toy.lm import experiment as lm

FEW = ("replicates-000000", "replicates-000004", "base_models", "base_models-other_start")

def few(real):
    def experiment(config, key, data):
        parts = [part for part in real(config, key, data).parts if part.name in FEW]
        assert len(parts) == 2
        def assemble(finished):
            arrays = {f"{p.name}.{n}": a for p in parts for n, a in finished[p.name].items()}
            return runs.Result(xr.Dataset({"n": np.int32(1)}), arrays)
        return runs.Experiment(parts, assemble)
    return experiment

def one_student(config, key, data):
    return classifier.of_table(Teacher(hidden_sizes=(8,), epochs=1), (ROW,), 6, key, data)

ROW = replace(STUDENTS[0], n_inputs=256, epochs=1)
TINY = dict(n_replicates=2, n_layers=1, n_heads=2, width=8, n_documents=300, pretrain_steps=20,
            pretrain_batch_size=32)
room = cli.EXPERIMENTS["lm"]
config = replace(room.presets["quick"], **TINY)
cli.EXPERIMENTS["lm"] = room._replace(presets={"quick": config})
classifier.experiment, lm.experiment = few(one_student), few(lm.experiment)
publish.page = publish.figures = lambda *_: {}
class Nothing:
    summarize = staticmethod(lambda config, data: {"claims": []})
real_module = jobs.module
jobs.module = lambda name, part: Nothing if part == "summary" else real_module(name, part)

def killed_at(part):
    def run(experiment, *args, real=runs.run):
        def compute(finished, one=None):
            if one.name == part: os.kill(os.getpid(), signal.SIGKILL)
            return one.compute(finished)
        parts = [p._replace(compute=lambda done, p=p: compute(done, p)) for p in experiment.parts]
        return real(experiment._replace(parts=parts), *args)
    runs.run = run

def start(log, n_devices, out, arguments=(), die="", **environment):
    child = os.fork()
    if child:
        return child
    for number, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{log}.{kind}", os.O_WRONLY | os.O_CREAT), number)
    os.environ |= environment
    joblib.cpu_count = lambda: n_devices
    killed_at(die)
    sys.argv = ["", "reproduce", "--only", "classifier", "lm", "--out", str(out), *arguments]
    status = 1
    try:
        cli.main()
    except SystemExit as end:
        status = end.code
    finally:
        os._exit(status)

def pair(folder, name, job, arguments=(), killed=None, part=""):
    job = {"SLURM_JOB_ID": str(job), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    children = [
        start(folder / f"{name}.{i}", 2, folder / "two", ("--distributed", *arguments),
              part if i == killed else "", **job, SLURM_PROCID=str(i), SLURM_LOCALID=str(i))
        for i in (0, 1)
    ]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

folder, (one, two, three) = Path(sys.argv[1]), map(int, sys.argv[2:])
alone = start(folder / "alone", 4, folder / "one")
status = {
    "alone": [os.waitstatus_to_exitcode(os.waitpid(alone, 0)[1])],
    "other": pair(folder, "other", one, (), 1, "replicates-000000"),
    "first": pair(folder, "first", two, ["--resume"], 0, "base_models-other_start"),
    "end": pair(folder, "end", three, ["--resume"]),
}
print(json.dumps(status))
"""
BUSY = """
import os, signal
from functools import partial
from subliminal_toy import console, distill, hosts
distill.host_devices(2)
hosts.join(partial(console.fail, hosts.LOST, 1))
hosts.from_first()
if hosts.is_first():
    os.kill(os.getpid(), signal.SIGKILL)
while True:
    pass
"""
RECORDS = ("classifier/params.safetensors", "lm/params.safetensors", "lm/record.nc")
LOST = "subliminal-toy: Another process of this run has ended or cannot be reached; "
LOWEST = 61_440  # of the ports that JAX chooses from by SLURM's number of a job


def free_jobs(n):
    """Return numbers of jobs whose ports are free."""
    found = []
    for port in range(LOWEST + os.getpid() % 4_000, 65_536):
        with socket.socket(socket.AF_INET6) as probe:
            if probe.connect_ex(("::1", port)) != 0:
                found.append(str(port - LOWEST))
        if len(found) == n:
            return found
    raise AssertionError("no port is free")


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Return the folder of all runs and the exit statuses of their processes."""
    folder = tmp_path_factory.mktemp("distributed")
    command = [sys.executable, "-c", RUN, str(folder), *free_jobs(3)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def shown(folder, process):
    return [(folder / f"{process}.{kind}").read_text() for kind in ("out", "err")]


@pytest.mark.parametrize(("killed", "left"), [("other", 0), ("first", 1)])
def test_a_host_that_dies_ends_the_other_with_one_sentence(ended, killed, left):
    folder, status = ended
    out, err = shown(folder, f"{killed}.{left}")
    assert status[killed][1 - left] == -9 and status[killed][left] == 1, err
    *progress, sentence = err.splitlines()
    assert out == "" and sentence.startswith(LOST)
    assert all("%" in line for line in progress) and bool(progress) == (left == 0)


def test_only_the_first_process_shows_anything(ended):
    folder, status = ended
    assert status["alone"] == [0] and status["end"] == [0, 0]
    out, err = shown(folder, "end.0")
    assert "Page:" in out and "Gloo" not in out, err
    assert shown(folder, "end.1") == ["", ""]


@pytest.mark.parametrize("name", RECORDS)
def test_two_processes_killed_and_resumed_leave_the_bits_of_one(ended, name):
    one, two = (ended[0] / which / name for which in ("one", "two"))
    assert two.read_bytes() == one.read_bytes()


def test_a_process_that_computes_alone_ends_with_the_first():
    """JAX aborts it from a thread of its own, in the middle of whatever it does."""
    (job,) = free_jobs(1)
    job = {"SLURM_JOB_ID": job, "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", BUSY]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first, other = (
        subprocess.Popen(command, env=os.environ | job | {"SLURM_PROCID": i, "SLURM_LOCALID": i},
                         **pipes) for i in "01"
    )  # fmt: skip
    out, err = other.communicate()
    first.communicate()
    assert (other.returncode, out) == (1, "") and err.startswith(LOST) and err.count("\n") == 1
