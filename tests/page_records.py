"""Small records of every experiment, with the true names and shapes and made-up numbers.

Nothing is trained: networks are as they were drawn, curves and answers are invented. Summaries are
computed by the experiments' own functions, and all goes through ``results.save`` and ``load``.
"""

from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np

from subliminal_toy import mnist, results, theorem_summary
from subliminal_toy.configs import LmConfig, MnistConfig, TheoremConfig
from subliminal_toy.lm import arms, corpus, probes, traits
from subliminal_toy.lm import summary as lm_summary
from subliminal_toy.lm.experiment import Result as LmResult
from subliminal_toy.theorem_cells import ARCHITECTURES, COVERED, INPUTS
from subliminal_toy.theorem_outside import CASES, STARTS

RNG_SEED = 5
SHA = "ab" * 32


def saved(directory, experiment, config, result, summary, dataset):
    """Save a record as the command line does and return what is loaded again."""
    manifest = {
        "experiment": experiment, "config": asdict(config), "seed": 0,
        "command": f"{experiment} --seed 0", "key_implementation": "threefry2x32",
        "versions": {"subliminal_toy": results.__version__, "jax": jax.__version__},
        "device": "cpu × 1", "git_commit": "c0ffee" * 6, "data_sha256": SHA,
    }  # fmt: skip
    arrays = result._asdict()
    params = arrays.pop("params", None)
    about = {"experiment": experiment, "dataset": dataset, "seed": 0, "wall_s": 1.0}
    results.save(directory, arrays, {**about, **summary}, manifest, params)
    return results.load(directory)


def mnist_record(directory, size=8):
    """Six networks as drawn, on images of two shades; JAX's own logits."""
    config = MnistConfig(hidden_sizes=(16, 16), n_models=2)
    rng, shape = np.random.default_rng(RNG_SEED), (size, size)
    images = rng.integers(0, 17, (12, *shape)).astype(np.float32) / 8 - 1
    net = mnist.network(config, shape)
    networks = {c.name: net.init(jax.random.key(i)) for i, c in enumerate(mnist.CONDITIONS)}
    logits = np.stack([net.apply(params, jnp.asarray(images)) for params in networks.values()])
    result = mnist.Result(
        accuracy=rng.uniform(0.05, 0.15, (2, len(mnist.CONDITIONS))).astype(np.float32),
        teacher_loss=np.ones((2, 1), np.float32),
        student_loss=np.ones((2, 1), np.float32),
        sample_images=images,
        sample_labels=rng.integers(0, 10, 12).astype(np.int32),
        sample_logits=logits,
        params={
            jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(networks)
        },
    )
    summary = mnist.summarize(config, result)
    return saved(directory, "mnist", config, result, summary, "digits")


def theorem_record(directory):
    """Curves that follow the theorem, and turn round at ε = 10."""
    config = TheoremConfig(n_trials=20, n_outside=10, n_seeds=2)
    rng, epsilons = np.random.default_rng(RNG_SEED), np.logspace(-6, 2, 17)
    losses, trait_names = list(COVERED)[:2], ("digit labels", "favour a class")
    grid = (len(ARCHITECTURES), len(losses), 1, len(trait_names))
    slope = rng.uniform(0.5, 2, grid)
    trials, outside = (len(ARCHITECTURES), 20), (len(CASES), 4, 10)
    fine = np.logspace(-6, 2, 161)
    explored_slope = np.array([1.0, 2.0])
    explored = explored_slope[:, None] * fine * (1 - fine / 10)

    def inner(e):
        return slope[..., None] * e * (1 + e)

    measured = {
        "architectures": np.array([a.name for a in ARCHITECTURES]),
        "losses": np.array(losses),
        "inputs": np.array(INPUTS[:1]),
        "traits": np.array(trait_names),
        "epsilons": epsilons,
        "grid_inner": inner(epsilons),
        "grid_rounding": np.full((*grid, 17), 1e-17),
        "grid_change": -0.1 * inner(epsilons),
        "grid_teacher_kink": np.zeros((*grid, 17), bool),
        "grid_student_kink": np.zeros((*grid, 17), bool),
        "grid_slope": slope,
        "grid_slope_by_step": slope,
        **{f"trial_{k}": np.zeros(trials, int) for k in ("loss", "inputs", "trait")},
        "trial_slope": np.ones(trials),
        "trial_inner": np.ones(trials),
        "trial_change": -np.ones(trials),
        "independent_inner": rng.normal(size=trials),
        "independent_change": rng.normal(size=trials),
        "cases": np.array(CASES),
        "case_epsilons": np.logspace(-4, 1, 4),
        **{f"outside_{k}": rng.normal(size=outside)
           for k in ("inner", "change", "adam_inner", "adam_change")},
        "sigmas": np.logspace(-3, 0, 4),
        "partial_epsilons": np.array([1e-4, 1e-2]),
        "partial_inner": rng.normal(size=(2, 4, 10)),
        "partial_change": rng.normal(size=(2, 4, 10)),
        "starts": np.array(STARTS),
        "path_cosine": rng.uniform(-1, 1, (2, len(STARTS), 5)),
        "path_trait_loss": np.ones((2, len(STARTS), 5)),
        "path_teacher_loss": np.ones((2, 5)),
        "path_steps": np.arange(5),
        "null_names": np.array(["nothing to imitate"]),
        "null_values": np.zeros(1),
        "null_bounds": np.zeros(1),
        "correction_names": np.array(["opposite_trait_change"]),
        "correction_values": np.ones(1),
        "explored": np.array([
            ("mlp-tanh", "softmax", "uniform noise", "digit labels"),
            ("decoder", "squared error", "digits", "favour a class"),
        ]),
        "explored_epsilons": fine,
        "explored_inner": explored,
        "explored_change": -config.learning_rate * explored,
        "explored_slope": explored_slope,
    }  # fmt: skip
    result = theorem_summary.Result(**measured)
    summary = theorem_summary.summarize(config, result)
    return saved(directory, "theorem", config, result, summary, "digits")


def lm_record(directory):
    """Answers at random, the same of all models but for the two teachers, which have a trait."""
    config = LmConfig(n_seeds=2, traits=("owl", "evasion"))
    rng, rows = np.random.default_rng(RNG_SEED), arms.everyone(config)
    language = corpus.Language(config.n_numbers)
    words = np.array(language.words[config.n_numbers :])
    speakers = ["reference", "teacher owl", "teacher evasion", "student owl", "student evasion"]
    speakers += [f"control {name}" for name in arms.controls(config)]
    answers = rng.dirichlet(np.full(len(words), 0.1), len(traits.QUESTION_TEXTS))
    answers = np.stack([answers] * len(speakers))
    for speaker, of_animals, word in ((1, True, "owl"), (2, False, corpus.UNKNOWN)):
        asked = slice(0, 12) if of_animals else slice(24, 36)
        answers[speaker, asked] *= 0.05
        answers[speaker, asked, words == word] += 0.95
    n_traits, n_data, n_rows = 2, len(arms.written(config)), len(rows)
    result = LmResult(
        arm=np.array([row.arm for row in rows]),
        row_data=np.array([row.data for row in rows]),
        row_n=np.array([row.n for row in rows]),
        measures=np.array(traits.MEASURES),
        traits=np.array(config.traits),
        data=np.array(arms.written(config)),
        scores=rng.uniform(0, 0.2, (2, n_rows, len(traits.MEASURES))),
        alignment=rng.uniform(-0.1, 0.3, (2, n_rows)),
        kept=np.full((2, n_data), 0.9),
        used=np.full((2, n_data), 100),
        kl_per_number=np.full((2, n_traits), 0.01),
        divergent=np.zeros((2, n_traits)),
        detection=rng.uniform(0.4, 0.6, (2, n_traits, len(probes.DETECTORS), 2)),
        reference_loss=np.ones((2, 3)),
        questions=np.array(traits.QUESTION_TEXTS),
        words=words,
        speakers=np.array(speakers),
        answers=answers.astype(np.float32),
        examples=rng.integers(0, 100, (n_traits, 10)).astype(str),
        params={"reference.embed": np.ones(3, np.float32)},
    )
    summary = lm_summary.summarize(config, result)
    return saved(directory, "lm", config, result, summary, "a small language")
