"""Detectors on evidence of known strength, and two models that read the same lists."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, norm

from subliminal_toy.lm import model as lm
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.detectors import (
    DETECTORS,
    JUDGED,
    Evidence,
    detect,
    drawn,
    read,
    told_apart,
    visible_gain,
)
from subliminal_toy.lm.lists import counts, loss_weights
from subliminal_toy.lm.traits import answers_of, questions

pytestmark = pytest.mark.usefixtures("compile_quickly")

NAMES = [detector.name for detector in DETECTORS]


def evidence(rng, n=20_000, shift=0.0, numbers=(0, 100)):
    """Return lists whose scores have standard deviation 1 and the mean ``shift``."""
    drawn = rng.integers(*numbers, (n, 8))
    found = np.zeros((n, 100), np.int32)
    np.add.at(found, (np.arange(n)[:, None], drawn), 1)
    scores = shift + rng.normal(size=(3, n))
    return Evidence(scores[0] < shift, found, scores[1] - 9, np.full(n, -9.0), scores[2])


def by_name(aucs):
    return dict(zip(NAMES, aucs, strict=True))


def test_detectors_are_at_chance_on_two_halves_of_the_same():
    rng = np.random.default_rng(0)
    same = detect(evidence(rng), evidence(rng), rng)
    # A hundred lists together carry ten times the noise of the 20,000 that were drawn.
    assert np.abs(same[:, 0] - 0.5).max() < 0.02 and np.abs(same[:, 1] - 0.5).max() < 0.15


@pytest.mark.parametrize("shift", [0.1, -0.2])
def test_a_hundred_lists_together_are_told_apart_ten_times_as_well(shift):
    """Of two normal distributions at distance d the AUC is Φ(d / √2)."""
    rng = np.random.default_rng(1)
    found = by_name(detect(evidence(rng, shift=shift), evidence(rng), rng))
    for detector in ("likelihood ratio", "numbers in context"):
        for auc, n in zip(found[detector], JUDGED, strict=True):
            assert auc == pytest.approx(norm.cdf(shift * n**0.5 / 2**0.5), abs=0.06)


def test_a_bag_of_numbers_is_learned_on_one_half_and_scored_on_the_other():
    rng = np.random.default_rng(2)
    low, high = (evidence(rng, 200, numbers=bounds) for bounds in ((0, 50), (50, 100)))
    assert by_name(detect(low, high, rng))["bag of numbers"][0] == 1
    turned = low._replace(counts=np.concatenate([high.counts[:100], low.counts[100:]]))
    other = high._replace(counts=np.concatenate([low.counts[:100], high.counts[100:]]))
    assert by_name(detect(turned, other, rng))["bag of numbers"][0] == 0


def test_a_side_without_a_list_to_judge_or_with_a_diverged_score_has_no_auc():
    rng = np.random.default_rng(3)
    one, fine = evidence(rng, 1), evidence(rng, 100)
    assert np.isnan(by_name(detect(one, fine, rng))["bag of numbers"]).all()
    broken = fine._replace(log_p=np.full(100, np.nan))
    found = by_name(detect(broken, fine, rng))
    assert np.isnan(found["likelihood ratio"]).all()
    assert np.isfinite(found["numbers in context"]).all()


def test_p_is_of_two_sides_of_so_many_lists_and_uniform_where_nothing_differs():
    rng = np.random.default_rng(5)
    p = np.array([told_apart(evidence(rng, 60), evidence(rng, 60), 60) for _ in range(100)])
    at = NAMES.index("likelihood ratio")
    assert kstest(p[:, at], "uniform").pvalue > 0.01
    near, far, control = evidence(rng, 400, 0.6), evidence(rng, 400, -0.6), evidence(rng, 400)
    for side in (near, far):
        small, large = (told_apart(side, control, n)[at] for n in (20, 400))
        assert large < 1e-3 and large < small
    assert np.isnan(told_apart(near, control, 401)).all()
    fewer = near._replace(in_context=near.in_context[:64])
    seen = told_apart(fewer, control, 100)
    assert np.flatnonzero(np.isnan(seen)).tolist() == [NAMES.index("numbers in context")]


def test_what_numbers_show_of_a_move_is_its_projection_on_what_they_see():
    """After so many steps of conjugate gradients, here with the whole matrix in float64."""
    config = LmConfig(n_layers=1, n_heads=2, width=4)
    model = lm.model(config, config.width)
    base = 3 * jax.jit(model.init)(jax.random.key(0))
    rows = [model.language.encode(f"<bos> continue 1 2 3 : {n} 7 <end>") for n in (5, 90)]
    tokens = jnp.array(rows, jnp.int32)
    weights = jnp.asarray(loss_weights(np.array(rows), 100))
    asked, lengths = (jnp.asarray(array[0]) for array in questions(model.language))
    answers = jnp.asarray(answers_of(model.language, "owl"))
    teacher = base + 0.1 * jax.random.normal(jax.random.key(1), base.shape)
    seen = jax.jit(lambda *given: visible_gain(model, *given, n_steps=4))(
        base, tokens, weights, teacher, asked, lengths, answers
    )

    counted = np.flatnonzero(weights[:, 1:])

    @jax.jit
    def log_p(params):
        return jax.nn.log_softmax(lm.next_logits(model, params, tokens))[counted]

    slopes = np.array(jax.jit(jax.jacobian(log_p))(base), float)
    p = np.exp(np.array(log_p(base), float))
    fisher = np.einsum("np,npi,npj->ij", p, slopes, slopes) / len(p)

    @jax.jit
    @jax.grad
    def gradient(params):
        said = jax.nn.softmax(lm.answer_logits(model, params, asked, lengths))
        return jax.scipy.special.logit(said[:, model.language.encode("owl")[0]].mean())

    g, v = np.array(gradient(base), float), np.array(teacher - base, float)
    goal = fisher @ v
    x, residual, way = np.zeros_like(v), goal, goal
    for _ in range(4):
        step = (residual @ residual) / (way @ fisher @ way)
        x, left = x + step * way, residual - step * (fisher @ way)
        way, residual = left + (left @ left) / (residual @ residual) * way, left
    assert seen == pytest.approx(g @ x, rel=2e-2)


SHOWN = """
import jax, jax.numpy as jnp
jax.config.update("jax_num_cpu_devices", 2)
from subliminal_toy.lm import model as lm
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.detectors import visible_gain
from subliminal_toy.lm.traits import answers_of, group_of, questions

model = lm.model(LmConfig(), LmConfig().width)
base = 1.5 * jax.jit(model.init)(jax.random.key(0))
asked = questions(model.language)
tokens = jax.random.randint(jax.random.key(1), (1_000, 17), 0, 100)
question = asked.tokens[group_of("owl")], asked.lengths[group_of("owl")]
teacher = base + 0.05 * jax.random.normal(jax.random.key(2), base.shape)
given = jnp.ones(tokens.shape), teacher, *question, answers_of(model.language, "owl")
print(jax.jit(lambda *given: visible_gain(model, *given))(base, tokens, *given))
"""


def test_what_numbers_show_is_the_same_whatever_memory_held():
    """In processes whose C library fills memory with a byte before it hands it out."""
    found = [
        subprocess.run(
            [sys.executable, "-c", SHOWN], env=os.environ | {"MALLOC_PERTURB_": byte},
            capture_output=True, text=True, check=True,
        ).stdout
        for byte in ("0", "165")
    ]  # fmt: skip
    assert found[0] == found[1] and np.isfinite(float(found[0]))


CONFIG = LmConfig(n_layers=1, n_heads=2, width=8)
MODEL = lm.model(CONFIG, CONFIG.width)
ROWS = [MODEL.language.encode(f"<bos> continue 1 2 3 : {n} 7 <end>") for n in (5, 90)]
TOKENS = np.array(ROWS, np.int32)
WEIGHTS = loss_weights(TOKENS, 100)
init = jax.jit(MODEL.init)


@jax.jit
def both_read(params, other):
    return read(MODEL, params, other, jnp.asarray(TOKENS), jnp.asarray(WEIGHTS))


def test_a_model_read_beside_itself_differs_nowhere():
    params = init(jax.random.key(0))
    assert counts(TOKENS, 100).sum() == 4
    found = both_read(params, params)
    np.testing.assert_array_equal(found["log_p"], found["other_log_p"])
    assert found["kl"].shape == TOKENS.shape and not np.any(found["kl"])


def test_a_lists_step_has_the_component_of_its_gradient_and_drawn_tokens_their_mean():
    model, tokens, weights = MODEL, TOKENS, WEIGHTS
    start = init(jax.random.key(0))
    teacher = start + 0.1 * init(jax.random.key(1))
    found = both_read(teacher, start)

    def slope(row, place, word):
        """Return the derivative of one token's log-probability along the teacher's displacement."""

        def log_p(vector):
            return jax.nn.log_softmax(model.apply(vector, row[None, :-1])[0, place - 1])[word]

        return jax.jvp(log_p, (start,), (teacher - start,))[1]

    words = jnp.arange(len(model.language))
    every = jax.jit(jax.vmap(slope, (None, None, 0)))
    probabilities = jax.jit(lambda *given: jax.nn.softmax(model.apply(*given)))
    for i, row in enumerate(tokens):
        places = np.flatnonzero(weights[i])
        slopes = np.array([every(jnp.asarray(row), place, words) for place in places], float)
        p, q = (np.array(probabilities(params, row[None, :-1])[0], float)[places - 1]
                for params in (teacher, start))  # fmt: skip
        mean = np.sum(p * slopes, axis=1)
        variance = np.sum(p * slopes**2, axis=1) - mean**2
        chosen = np.arange(len(places)), row[places]
        expected = {
            "along": slopes[chosen].sum(), "along_mean": mean.sum(),
            "along_variance": variance.sum(), "log_p": np.log(p[chosen]).sum(),
            "other_log_p": np.log(q[chosen]).sum(),
        }  # fmt: skip
        for name, value in expected.items():
            assert found[name][i] == pytest.approx(value, rel=1e-3, abs=1e-6), name


def test_lists_asked_count_the_spread_of_tokens_and_of_lists():
    rng = np.random.default_rng(4)
    along = rng.normal(0.1, 1.0, 20_000)
    mean = 0.1 + 0.6 * rng.normal(size=20_000)
    found = drawn(
        {"along": along, "along_mean": mean, "along_variance": np.full(20_000, 0.64)}, rng
    )
    assert found["lists_asked"] == pytest.approx((0.64 + 0.36) / 0.01, rel=0.1)
    assert found["away"] == pytest.approx([norm.cdf(-0.1), norm.cdf(-1.0)], abs=0.05)
    none = drawn({name: np.zeros(0) for name in ("along", "along_mean", "along_variance")}, rng)
    assert np.isnan(none["lists_asked"]) and np.isnan(none["away"]).all()
