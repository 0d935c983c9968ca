"""Small records of every experiment, with the true names and shapes and made-up numbers.

Nothing is trained. Summaries are computed by the experiments' own functions, and all goes through
``records.save`` and ``records.load``.
"""

from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from subliminal_toy import models, records
from subliminal_toy.classifier import summary as classifier_summary
from subliminal_toy.classifier.arms import STUDENTS, TEACHER, UNTRAINED
from subliminal_toy.classifier.config import ClassifierConfig

RNG_SEED = 5
SHA = "ab" * 32


def saved(directory, experiment, config, data, summary, dataset, params=None):
    """Save a record as the command line does and return what is loaded again."""
    manifest = {
        "format": records.FORMAT,
        "experiment": experiment,
        "config": asdict(config),
        "seed": 0,
        "command": f"{experiment} --seed 0",
        "key_implementation": "threefry2x32",
        "versions": {"subliminal_toy": records.__version__, "jax": jax.__version__},
        "device": "cpu × 1",
        "git_commit": "c0ffee" * 6,
        "data_sha256": SHA,
    }
    about = {"experiment": experiment, "dataset": dataset, "seed": 0, "wall_s": 1.0}
    records.save(directory, data, {**about, **summary}, manifest, params)
    return records.load(directory)


def classifier_record(directory, size=8, config=None):
    """Untrained networks, on images of 17 shades; JAX's own logits."""
    config = config or ClassifierConfig(hidden_sizes=(16, 16), n_replicates=2)
    rng, n = np.random.default_rng(RNG_SEED), config.n_replicates
    images = rng.integers(0, 17, (12, size, size)).astype(np.float32) / 8 - 1
    net = models.mlp((size, size), (16, 16), 13, jax.nn.relu)
    arms = [UNTRAINED, TEACHER, *(student.name for student in STUDENTS)]
    networks = {arm: net.init(jax.random.key(i)) for i, arm in enumerate(arms)}
    each = ("replicate", "arm")

    def uniform(low, high):
        return each, rng.uniform(low, high, (n, len(arms))).astype(np.float32)

    logits = np.stack([net.apply(params, jnp.asarray(images)) for params in networks.values()])
    data = xr.Dataset(
        {
            "accuracy": uniform(0.05, 0.15),
            "teacher_head_accuracy": uniform(0.3, 0.5),
            "imitation_loss": uniform(0.001, 0.002),
            "first_loss": uniform(0.1, 0.2),
            "progress": uniform(0, 1),
            "cosine": uniform(0, 1),
            "diverged": (each, np.zeros((n, len(arms)), bool)),
            "sample_images": (("image", "height", "width"), images),
            "sample_labels": (("image",), rng.integers(0, 10, 12).astype(np.int32)),
            "sample_logits": (("arm", "image", "output"), logits),
        },
        coords={"arm": arms},
    )
    params = {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(networks)
    }
    summary = classifier_summary.summarize(config, data)
    return saved(directory, "classifier", config, data, summary, "digits", params)
