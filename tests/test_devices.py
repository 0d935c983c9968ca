"""The parts of every experiment have the same bits on two host devices, on four, on one core."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import load_file

# Of theorem and language model a part of each kind of program: spread over devices or not, with
# LAPACK, with work on the host between programs.
RUN = """
import os
import sys
if int(sys.argv[1]) == 1:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax
from subliminal_toy.distill import host_devices
host_devices(int(sys.argv[1]))
from dataclasses import replace
from safetensors.numpy import save_file
from subliminal_toy import data, runs
from subliminal_toy.classifier import experiment as classifier
from subliminal_toy.classifier.arms import STUDENTS, Student, Teacher
from subliminal_toy.explain import arms, experiment as explain
from subliminal_toy.lm import experiment as lm
from subliminal_toy.theorem import experiment as theorem
from subliminal_toy.theorem.config import TheoremConfig
from lm_tiny import CONFIG

row = Student("plain", n_aux=2, n_inputs=256, batch_size=128, epochs=1, checkpoints=(1,))
table = arms.Table("mlp", Teacher(hidden_sizes=(8,), n_aux=2, batch_size=128, epochs=1), (row,),
                   frozenset({"plain"}), frozenset({"plain"}))
key, digits = jax.random.key(0), data.load("digits")
KINDS = {
    # Seven replicates in parts of four and three: the second does not fill the devices.
    "classifier": (classifier.of_table(
        Teacher(hidden_sizes=(16,), epochs=1), [replace(STUDENTS[0], n_inputs=256, epochs=1)], 7,
        key, digits), [""]),
    # Parts of two and one.
    "explain": (explain.of_tables([table], 3, key, digits), [""]),
    "theorem": (theorem.experiment(
        TheoremConfig(architectures=("linear",), n_trials=1, n_replicates=2, distillation_steps=5),
        key, digits), ["trials", "paths", "progress"]),
    # Two replicates on a device, or one.
    "lm": (lm.experiment(replace(CONFIG, n_replicates=3, traits=("owl",), families=()), key),
           ["base_models", "teachers-000", "lists-000"]),
}
for name, (experiment, chosen) in KINDS.items():
    stored = {}
    parts = [part for part in experiment.parts if part.name.startswith(tuple(chosen))]
    runs.run(experiment._replace(parts=parts, assemble=lambda done: None), stored)
    arrays = {f"{part}.{k}": a for part, arrays in stored.items() for k, a in arrays.items()}
    save_file(arrays, f"{sys.argv[2]}/{name}.safetensors")
    assert len(jax.devices()) == max(int(sys.argv[1]), 2)
"""
ROOMS = ("classifier", "explain", "theorem", "lm")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return all arrays by devices: two; four; one asked for, in a process with one core."""
    processes, folder = {}, tmp_path_factory.mktemp("devices")
    for n_devices in (2, 4, 1):
        out = folder / str(n_devices)
        out.mkdir()
        # What was compiled for others must not be read again.
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(out / "compiled")}
        processes[n_devices] = subprocess.Popen(
            [sys.executable, "-c", RUN, str(n_devices), str(out)],
            cwd=Path(__file__).parent,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
    for process in processes.values():
        said = process.communicate()[1]
        assert process.returncode == 0, said
    return {
        n: {room: load_file(folder / str(n) / f"{room}.safetensors") for room in ROOMS}
        for n in processes
    }


@pytest.mark.parametrize("n_devices", [4, 1])
@pytest.mark.parametrize("room", ROOMS)
def test_any_number_of_devices_gives_the_same_bits_as_two(results, room, n_devices):
    two, other = results[2][room], results[n_devices][room]
    assert two.keys() == other.keys()
    for name, array in two.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name, strict=True)


@pytest.mark.parametrize(("per_call", "calls"), [(2, [4, 4, 1]), (8, [8, 1])])
def test_a_call_has_as_many_replicates_as_fill_the_devices(per_call, calls, monkeypatch):
    from subliminal_toy import data, runs
    from subliminal_toy.classifier import experiment
    from subliminal_toy.classifier.arms import STUDENTS, TEACHER, UNTRAINED, Teacher

    found, stored = [], {}

    def program(index):
        found.append(len(index))
        alone = dict.fromkeys(experiment.ABOUT, index * 1.0)
        student = dict.fromkeys(experiment.ABOUT, index[:, None] * 1.0)
        named = {s.name: student for s in STUDENTS}
        return {UNTRAINED: alone, TEACHER: alone, **named}, {}

    monkeypatch.setattr(experiment, "many", lambda *_: program)
    monkeypatch.setattr(experiment, "replicates_per_call", lambda: per_call)
    key = jax.random.key(0)
    table = experiment.of_table(Teacher(), STUDENTS, 9, key, data.load("digits"))
    table = table._replace(assemble=lambda done: runs.Result(xr.Dataset(), {}))
    runs.run(table, stored)
    assert found == calls
    each = [stored[name][f"{TEACHER}/accuracy"] for name in sorted(stored)]
    np.testing.assert_array_equal(np.concatenate(each), np.arange(9))
    assert [len(array) for array in each] == [4, 4, 1]
    # Resumed: what is stored is not computed again.
    del stored["replicates-000004"]
    found.clear()
    runs.run(table, stored)
    assert found == [4]
