"""Every experiment has the same bits on two host devices, on four, and on a single core."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

RUN = """
import os
import sys
if int(sys.argv[1]) == 1:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax
from subliminal_toy.distill import host_devices
host_devices(int(sys.argv[1]))
from importlib import import_module
from subliminal_toy import data, runs
from subliminal_toy.classifier.config import ClassifierConfig
from subliminal_toy.theorem.config import TheoremConfig
from dataclasses import replace
from lm_tiny import CONFIG

CONFIGS = {
    # Seven replicates in parts of four and three: the second does not fill the devices.
    "classifier": ClassifierConfig(n_replicates=7, hidden_sizes=(16,), teacher_epochs=1,
                                   student_epochs=1, n_inputs=256, batch_size=128),
    "theorem": TheoremConfig(architectures=("linear", "mlp-tanh"), n_trials=1, n_cross=1,
                             n_outside=1, n_replicates=2, distillation_steps=5),
    # Two replicates on a device, or one.
    "lm": replace(CONFIG, n_replicates=3, traits=("owl",), families=()),
}
for name, config in CONFIGS.items():
    room = import_module(f"subliminal_toy.{name}.experiment")
    key, digits = jax.random.key(0), data.load("digits")
    result = runs.run(room.experiment(config, key, digits if name != "lm" else None))
    result.data.to_netcdf(f"{sys.argv[2]}/{name}.nc", engine="scipy")
    assert len(jax.devices()) == max(int(sys.argv[1]), 2)
"""
ROOMS = ("classifier", "theorem", "lm")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return all results by devices: two; four; one asked for, in a process with one core."""
    found = {}
    for n_devices in (2, 4, 1):
        out = tmp_path_factory.mktemp(f"devices-{n_devices}")
        command = [sys.executable, "-c", RUN, str(n_devices), str(out)]
        # What was compiled on several cores must not be read again on one.
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(out / "compiled")}
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found[n_devices] = {
            name: xr.load_dataset(out / f"{name}.nc", engine="scipy") for name in ROOMS
        }
    return found


@pytest.mark.parametrize("n_devices", [4, 1])
@pytest.mark.parametrize("room", ROOMS)
def test_any_number_of_devices_gives_the_same_bits_as_two(results, room, n_devices):
    two, other = results[2][room], results[n_devices][room]
    xr.testing.assert_identical(two, other)
