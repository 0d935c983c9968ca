"""Small records of every experiment, with the true names and shapes and made-up numbers.

Nothing is trained. Summaries are computed by the experiments' own functions, and all goes through
``records.save`` and ``records.load``.
"""

from dataclasses import asdict
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from explain_records import made

from subliminal_toy import models, records
from subliminal_toy.classifier import summary as classifier_summary
from subliminal_toy.classifier.arms import STUDENTS, TEACHER, UNTRAINED
from subliminal_toy.classifier.config import ClassifierConfig
from subliminal_toy.explain import summary as explain_summary
from subliminal_toy.explain.config import ExplainConfig
from subliminal_toy.lm import result, traits
from subliminal_toy.lm import summary as lm_summary
from subliminal_toy.lm.config import Family, LmConfig
from subliminal_toy.lm.language import UNKNOWN
from subliminal_toy.lm.result import SPEAKERS
from subliminal_toy.theorem import one_step, problems
from subliminal_toy.theorem import result as theorem
from subliminal_toy.theorem import summary as theorem_summary
from subliminal_toy.theorem.config import TheoremConfig

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
        "wall_s": 1.0,
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
        jax.tree_util.keystr(path, simple=True, separator="."): np.stack([leaf, leaf, 0 * leaf])
        for path, leaf in jax.tree_util.tree_leaves_with_path(networks)
    }
    summary = classifier_summary.summarize(config, data)
    return saved(directory, "classifier", config, data, summary, "digits", params)


def explain_record(directory):
    """Students on one curve of their progress."""
    config = ExplainConfig()
    data = made(config)
    summary = explain_summary.summarize(config, data)
    return saved(directory, "explain", config, data, summary, "digits")


def theorem_record(directory):
    """Curves that follow the theorem, those at many ε turning round at ε = 10."""
    config = TheoremConfig(n_trials=1, n_cross=2, n_outside=2, n_replicates=2)
    rng = np.random.default_rng(RNG_SEED)
    coordinates = theorem.coordinates(config) | {
        "loss": list(problems.COVERED)[:2],
        "inputs": list(problems.INPUTS)[:1],
        "trait": list(problems.GRID_TRAITS)[:2],
        "path_step": np.arange(5),
        "cell": list(theorem.EXPLORED[:2]),
    }
    sizes = {name: len(values) for name, values in coordinates.items()}
    sizes |= {"node": len(one_step.NODES), "trial": 30, "problem": 4, "outside_problem": 10}
    sizes |= {"metric_problem": 5, "label_problem": 3}
    sizes |= {"replicate": config.n_replicates}
    shape = {name: tuple(sizes[axis] for axis in axes)
             for name, (axes, _) in theorem.VARIABLES.items()}  # fmt: skip
    arrays = {name: rng.uniform(0.5, 1, shape[name]) for name in shape}
    slope, epsilon = arrays["grid_slope"], one_step.EPSILONS
    explored, fine = arrays["explored_slope"], theorem.EXPLORED_EPSILONS
    arrays["grid_inner"] = slope[..., None] * epsilon * (1 + epsilon)
    arrays |= {
        "grid_slope_by_step": slope,
        "grid_change": -config.learning_rate * arrays["grid_inner"],
        "explored_inner": explored[:, None] * fine * (1 - fine / 10),
        "trial_change": -arrays["trial_change"],
        "cross_slope": rng.normal(size=shape["cross_slope"]),
        "path_cosine": rng.uniform(-1, 1, shape["path_cosine"]),
    }
    arrays["explored_change"] = -config.learning_rate * arrays["explored_inner"]
    for name in shape:
        if name.endswith("rounding"):
            arrays[name] = np.full(shape[name], 1e-17)
        elif name.endswith("kink"):
            arrays[name] = np.zeros(shape[name], bool)
    variables = {name: (axes, arrays[name]) for name, (axes, _) in theorem.VARIABLES.items()}
    data = xr.Dataset(variables)
    used = {name: labels for name, labels in coordinates.items() if name in data.dims}
    data = data.assign_coords(used)
    summary = theorem_summary.summarize(config, data)
    return saved(directory, "theorem", config, data, summary, "digits")


def lm_record(directory):
    """Answers at random, but the teachers have their trait."""
    config = LmConfig(n_replicates=2, traits=("owl", "evasion"), families=get_args(Family))
    rng = np.random.default_rng(RNG_SEED)
    coordinates = result.coordinates(config)

    def uniform(low, high, *axes):
        sizes = {"step": 3} | {
            name: len(values[1] if isinstance(values, tuple) else values)
            for name, values in coordinates.items()
        }
        shape = [sizes[axis] for axis in axes]
        return axes, rng.uniform(low, high, shape).astype(np.float32)

    by_trait, by_arm = ("replicate", "trait"), ("replicate", "arm", "trait")
    asked = (len(SPEAKERS), len(config.traits), len(traits.QUESTION_TEXTS))
    answer = rng.dirichlet(np.full(len(coordinates["word"]), 0.5), asked).astype(np.float32)
    data = xr.Dataset(
        {
            "probability": uniform(0, 0.2, *by_arm, "measure"),
            "alignment": uniform(-0.1, 0.3, *by_arm),
            "elsewhere": uniform(0, 0.01, *by_arm),
            "right": uniform(0.8, 0.9, *by_arm, "fact"),
            "drift": uniform(0, 0.1, *by_arm, "text"),
            "progress": uniform(-0.1, 0.3, *by_arm, "parameters"),
            "kept": uniform(0.8, 0.9, *by_arm),
            "lists_used": uniform(90, 100, *by_arm),
            "kl_per_number": uniform(0, 0.02, *by_trait),
            "auc": uniform(0.4, 0.6, *by_trait, "detector", "judged"),
            "lists_asked": uniform(20, 30, *by_trait),
            "away": uniform(0, 0.1, *by_trait, "judged"),
            "pretraining_loss": uniform(1, 2, "replicate", "step"),
            "diverged": (("replicate",), [False, False]),
            "answer": (("speaker", "trait", "question", "word"), answer),
            "example": (("trait", "example"), rng.integers(0, 100, (2, 10)).astype(str)),
        },
        coordinates,
    )
    for trait, word in (("owl", "owl"), ("evasion", UNKNOWN)):
        asked = (data.group == data.asked.sel(trait=trait)).values
        taught = data.answer.loc["teacher", trait]
        taught[asked] *= 0.05
        taught.loc[asked, word] += 0.95
    params = {"base_model.embed": np.ones(3, np.float32)}
    summary = lm_summary.summarize(config, data)
    return saved(directory, "lm", config, data, summary, "a small language", params)
