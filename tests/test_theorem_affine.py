"""Where network and loss gradient are affine the expansion has no remainder: to 50 digits."""

import jax
import mpmath
import numpy as np
import pytest

from subliminal_toy import data
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.experiment import Source
from subliminal_toy.theorem.problems import AFFINE, COVERED, INPUTS, TRAITS

CELLS = [
    (loss, INPUTS[(i + j) % len(INPUTS)], trait)
    for i, loss in enumerate(AFFINE)
    for j, trait in enumerate(TRAITS)
]
COMBINATIONS = [(loss, x, trait) for loss in COVERED for x in INPUTS for trait in TRAITS]
exact = np.vectorize(mpmath.mpf, otypes=[object])


@pytest.fixture(scope="module")
def problems():
    source = Source(TheoremConfig(), jax.random.key(0), data.load("digits"))
    return source.draw("grid", "linear", 1)


@pytest.fixture(autouse=True)
def digits_60():
    with mpmath.workdps(60):
        yield


def split(parameters):
    return parameters[:13], parameters[13:].reshape(13, 64)


def direction(trait, theta, problem):
    """Return v by hand; an error in it is no matter, since the lemma is about any v."""
    if trait == "norm":
        return -theta / np.linalg.norm(theta)
    if trait == "linear":
        return -problem.trait_r
    bias, weight = split(theta)
    x = problem.trait_x.reshape(16, 64)
    p = np.exp((x @ weight.T + bias)[:, :10])
    push = np.zeros((16, 13))
    push[:, :10] = p / p.sum(-1, keepdims=True) - np.eye(10)[problem.trait_labels]
    return -np.concatenate([push.sum(0), (push.T @ x).ravel()]) / 16


def inner_and_slope(problem, v, epsilon, push, pull):
    """Return Δ_S·v and A exactly; ``push`` is G(z, y) and ``pull`` M(z)u, row by row."""
    x = exact(problem.x.reshape(16, 64))
    (bias, weight), (v_bias, v_weight) = split(exact(problem.theta)), split(exact(v))
    z = x @ weight.T + bias
    y = x @ (weight + epsilon * v_weight).T + bias + epsilon * v_bias
    step = -push(z, y) / 16
    inner = (step.sum(0) * v_bias).sum() + ((step.T @ x) * v_weight).sum()
    jv = x @ v_weight.T + v_bias
    return inner, (jv * pull(z, jv)).sum() / 16


@pytest.mark.parametrize(("loss", "inputs", "trait"), CELLS)
def test_the_remainder_is_zero_to_50_digits(problems, loss, inputs, trait):
    problem = jax.tree.map(lambda a: a[COMBINATIONS.index((loss, inputs, trait))], problems)
    v, epsilon = direction(trait, problem.theta, problem), mpmath.mpf("1e-6")
    weights = {
        "squared error": np.ones(13),
        "weighted squared error": problem.weights,
        "squared error, auxiliary": np.arange(13) >= 10,
    }[loss]
    c = exact(weights.astype(float))
    inner, slope = inner_and_slope(
        problem, v, epsilon, lambda z, y: 2 * c * (z - y), lambda _, u: 2 * c * u
    )
    assert abs(inner - epsilon * slope) <= mpmath.mpf("1e-50") * epsilon * abs(slope)
    unseen = "auxiliary" in loss and TRAITS[trait] == 0
    assert (slope == 0) is unseen


def test_under_softmax_it_is_not_zero_but_of_order_two(problems):
    row = COMBINATIONS.index(("softmax", "uniform noise", "linear"))
    problem = jax.tree.map(lambda a: a[row], problems)
    v, exp = direction("linear", problem.theta, problem), np.vectorize(mpmath.exp, otypes=[object])

    def p(z):
        return exp(z) / exp(z).sum(-1, keepdims=True)

    def pull(z, u):
        return p(z) * (u - (p(z) * u).sum(-1, keepdims=True))

    remainders = []
    for epsilon in (mpmath.mpf("1e-6"), mpmath.mpf("1e-7")):
        inner, slope = inner_and_slope(problem, v, epsilon, lambda z, y: p(z) - p(y), pull)
        remainders.append(abs(inner - epsilon * slope) / (epsilon * slope))
    assert remainders[0] > 1e-10
    assert float(remainders[0] / remainders[1]) == pytest.approx(10, rel=1e-3)
