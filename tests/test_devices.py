"""On four host devices every experiment gives what it gives on one; padding and sharding count."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

RUN = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
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
    # The tiny model of another width amplifies rounding a hundred thousand times in 120 steps.
    "lm": replace(CONFIG, cross_width=0, traits=("owl",), prompted=False, divergence=False,
                  data_sizes=()),
}
for name, config in CONFIGS.items():
    room = import_module(f"subliminal_toy.{name}.experiment")
    key, digits = jax.random.key(0), data.load("digits")
    result = runs.run(room.experiment(config, key, digits if name != "lm" else None))
    result.data.to_netcdf(f"{sys.argv[2]}/{name}.nc", engine="scipy")
    assert len(jax.devices()) == int(sys.argv[1])
"""
ROOMS = ("classifier", "theorem", "lm")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    found = {}
    for n_devices in (1, 4):
        out = tmp_path_factory.mktemp(f"devices-{n_devices}")
        command = [sys.executable, "-c", RUN, str(n_devices), str(out)]
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found[n_devices] = {
            name: xr.load_dataset(out / f"{name}.nc", engine="scipy") for name in ROOMS
        }
    return found


@pytest.mark.parametrize("room", ["classifier", "theorem"])
def test_four_devices_give_the_same_bits_as_one(results, room):
    xr.testing.assert_identical(results[1][room], results[4][room])


def test_four_devices_give_the_same_probabilities_of_the_language_model(results):
    one, four = (results[n]["lm"] for n in (1, 4))
    assert one.sizes == four.sizes
    np.testing.assert_allclose(one.probability, four.probability, atol=1e-4)
