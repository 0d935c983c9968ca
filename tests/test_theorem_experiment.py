"""The theorem's experiment against separate computations of what each of its numbers is."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import stats as scipy_stats

from subliminal_toy import data, record
from subliminal_toy.errors import UserError
from subliminal_toy.theorem import experiment as theorem_experiment
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.experiment import LABELS, Source, experiment
from subliminal_toy.theorem.one_step import NODES
from subliminal_toy.theorem.problems import (
    ARCHITECTURES,
    COVERED,
    GRID_TRAITS,
    INPUTS,
    STARTS,
    draw_metrics,
    output_layer,
    start_distribution,
)

# Two architectures keep the compilation short: the one with exact zeros, and one with kinks;
# metrics and labels are measured on a third. No value is a default.
CONFIG = TheoremConfig(
    architectures=("linear", "mlp-relu"),
    n_trials=2,
    epsilon=3e-5,
    learning_rate=0.07,
    n_cross=1,
    n_metrics=1,
)
WIDTHS = {"linear": (64, 13), "mlp-relu": (64, 16, 16, 13), "mlp-tanh": (64, 16, 16, 13)}
COMBINATIONS = [
    (loss, inputs, trait) for loss in COVERED for inputs in INPUTS for trait in GRID_TRAITS
]
# Every loss with two traits, and all inputs.
SOME = [
    COMBINATIONS.index((loss, INPUTS[(i + j) % len(INPUTS)], trait))
    for i, loss in enumerate(COVERED)
    for j, trait in enumerate(GRID_TRAITS)
    if (i + j) % 2 == 0
]


pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module", autouse=True)
def few_steps_of_progress():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theorem_experiment, "PROGRESS_STEPS", [1, 10, 1000])
        yield


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def source(digits):
    return Source(CONFIG, jax.random.key(0), digits)


@pytest.fixture(scope="module")
def whole(digits):
    store, heard = {}, []
    run = experiment(CONFIG, jax.random.key(0), digits)
    result = record.run(run, store, lambda *status: heard.append(status))
    return result.data, store, heard


@pytest.fixture(scope="module")
def result(whole):
    return whole[0]


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def layers(theta, widths):
    """Split parameters into (bias, weight) of each layer, by hand."""
    found, at = [], 0
    for n_in, n_out in pairwise(widths):
        bias, weight = theta[at : at + n_out], theta[at + n_out : at + n_out * (n_in + 1)]
        found.append((bias, weight.reshape(n_out, n_in)))
        at += n_out * (n_in + 1)
    assert at == len(theta)
    return found


def network(name):
    """Return f(θ, x) and the inputs of all hidden units, written out."""
    act = {"linear": None, "mlp-relu": lambda h: jnp.maximum(h, 0), "mlp-tanh": jnp.tanh}[name]

    def hidden(theta, x):
        h, seen = x.reshape(len(x), -1), []
        for bias, weight in layers(theta, WIDTHS[name])[:-1]:
            seen.append(h @ weight.T + bias[None])
            h = act(seen[-1])
        return h, seen

    def f(theta, x):
        bias, weight = layers(theta, WIDTHS[name])[-1]
        return hidden(theta, x)[0] @ weight.T + bias[None]

    return f, lambda theta, x: hidden(theta, x)[1]


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def push(loss, problem):
    """Return G(z, y), the gradient of a loss in the outputs, by its formula, per input."""
    inside = np.ones(13) if "auxiliary" not in loss else np.arange(13) >= 10

    def p(z):
        return softmax(np.where(inside, z, -np.inf))

    return {
        "squared error": lambda z, y: 2 * (z - y),
        "weighted squared error": lambda z, y: 2 * problem.weights * (z - y),
        "squared error, auxiliary": lambda z, y: 2 * inside * (z - y),
        "softmax": lambda z, y: p(z) - p(y),
        "softmax, auxiliary": lambda z, y: p(z) - p(y),
    }[loss]


def pull(loss, problem, y, u):
    """Return M u by its formula, per input."""
    inside = np.ones(13) if "auxiliary" not in loss else np.arange(13) >= 10
    if "softmax" in loss:
        p = softmax(np.where(inside, y, -np.inf))
        return p * (u - (p * u).sum(-1, keepdims=True))
    return 2 * (problem.weights if "weighted" in loss else inside) * u


def trait_loss(trait, f, problem):
    if trait == "norm":
        return lambda theta: jnp.sqrt(jnp.sum(theta**2))
    if trait == "linear":
        return lambda theta: theta @ problem.trait_r

    def classes(theta):
        z = f(theta, jnp.asarray(problem.trait_x))[:, :10]
        right = z[jnp.arange(len(z)), problem.trait_labels]
        top = jax.lax.stop_gradient(z.max(-1))
        return jnp.mean(jnp.log(jnp.sum(jnp.exp(z - top[:, None]), -1)) + top - right)

    return classes


class ByHand:
    """One problem, its teacher's direction, and a student's step from any start."""

    def __init__(self, architecture, problems, row, loss, trait):
        self.problem = jax.tree.map(lambda a: a[row], problems)
        self.theta, self.x = jnp.asarray(self.problem.theta), jnp.asarray(self.problem.x)
        self.f, self.hidden = network(architecture)
        self.trait = trait_loss(trait, self.f, self.problem)
        self.v = -jax.grad(self.trait)(self.theta)
        self.loss, self.z = loss, np.asarray(self.f(self.theta, self.x))
        self.jv = np.asarray(self.along(self.theta))

    def along(self, theta):
        return jax.jvp(lambda t: self.f(t, self.x), (theta,), (self.v,))[1]

    def teacher(self, epsilon):
        return self.theta + epsilon * self.v

    def step(self, epsilon):
        y = np.asarray(self.f(self.teacher(epsilon), self.x))
        gradient = push(self.loss, self.problem)(self.z, y) / len(self.x)
        return -jax.vjp(lambda t: self.f(t, self.x), self.theta)[1](jnp.asarray(gradient))[0]

    def response(self, u):
        """Return F u."""
        ju = jax.jvp(lambda t: self.f(t, self.x), (self.theta,), (u,))[1]
        pulled = pull(self.loss, self.problem, self.z, np.asarray(ju)) / len(self.x)
        return jax.vjp(lambda t: self.f(t, self.x), self.theta)[1](jnp.asarray(pulled))[0]

    def descend(self, epsilon, rate, n):
        """Return θ⁽ⁿ⁾."""
        y, theta = np.asarray(self.f(self.teacher(epsilon), self.x)), self.theta
        for _ in range(n):
            z, back = jax.vjp(lambda t: self.f(t, self.x), theta)
            gradient = push(self.loss, self.problem)(np.asarray(z), y) / len(self.x)
            theta = theta - rate * back(jnp.asarray(gradient))[0]
        return theta

    def slope(self, start, epsilon=0.0):
        there = np.asarray(self.along(start))
        at = self.teacher(epsilon)
        y, moving = np.asarray(self.f(at, self.x)), np.asarray(self.along(at))
        return float((there * pull(self.loss, self.problem, y, moving)).sum() / len(self.x))

    def change(self, step):
        return float(self.trait(self.theta + step) - self.trait(self.theta))


def each_of_some(architecture, problems, n_each=1, member=0):
    for row in SOME:
        loss, inputs, trait = COMBINATIONS[row]
        hand = ByHand(architecture, problems, row * n_each + member, loss, trait)
        yield {"loss": loss, "inputs": inputs, "trait": trait}, hand


@pytest.mark.parametrize("architecture", CONFIG.architectures)
def test_a_trial_is_one_step_of_the_student_at_the_shared_start(result, source, architecture):
    problems = source.draw("trials", architecture, CONFIG.n_trials)
    for names, hand in each_of_some(architecture, problems, CONFIG.n_trials, member=1):
        trial = result.sel(architecture=architecture, **names).isel(trial=1)
        step = hand.step(CONFIG.epsilon)
        size = float(jnp.linalg.norm(step) * jnp.linalg.norm(hand.v))
        assert float(trial.trial_slope) == pytest.approx(hand.slope(hand.theta), rel=1e-9)
        assert float(trial.trial_inner) == pytest.approx(float(step @ hand.v), abs=1e-9 * size)
        change = hand.change(CONFIG.learning_rate * step)
        assert float(trial.trial_change) == pytest.approx(change, rel=1e-4, abs=1e-13)


@pytest.mark.parametrize("architecture", CONFIG.architectures)
def test_a_cell_of_the_grid_moves_its_teacher_by_epsilon(result, source, architecture):
    problems = source.draw("grid", architecture, 1)
    crossed = 0
    for names, hand in each_of_some(architecture, problems):
        cell = result.sel(architecture=architecture, **names)
        assert float(cell.grid_slope) == pytest.approx(hand.slope(hand.theta), rel=1e-9)
        for epsilon in (1e-2, 10.0):
            at = cell.sel(epsilon=epsilon, method="nearest")
            step = hand.step(epsilon)
            inner, size = float(step @ hand.v), float(jnp.linalg.norm(step))
            assert float(at.grid_inner) == pytest.approx(inner, rel=1e-8, abs=1e-12 * size)
            here, there = (hand.hidden(t, hand.x) for t in (hand.theta, hand.teacher(epsilon)))
            kink = any(bool((a * b <= 0).any()) for a, b in zip(here, there, strict=True))
            assert bool(at.grid_kink) is kink
            crossed += kink
        epsilon = float(cell.small_epsilon[-1])
        near = cell.near_slope.isel(small_epsilon=-1, node=1)
        assert float(near) == pytest.approx(hand.slope(hand.theta, epsilon * NODES[1]), rel=1e-9)
        assert not cell.near_kink.any()
    assert crossed > 4 if architecture == "mlp-relu" else crossed == 0


def starts_by_hand(problem, architecture):
    """Return the student's start by every name, put together layer by layer."""
    head = layers(problem.theta, WIDTHS[architecture])[-1]
    n_head = sum(part.size for part in head)
    theta, other = jnp.asarray(problem.theta), jnp.asarray(problem.other)
    made = {
        "shared": theta,
        "independent": other,
        "heads shared": jnp.concatenate([other[:-n_head], theta[-n_head:]]),
        "hidden shared": jnp.concatenate([theta[:-n_head], other[-n_head:]]),
    }
    for sigma in (0.1, 0.3, 1.0):
        made[f"distance {sigma:g}"] = (theta + sigma * other) / np.sqrt(1 + sigma**2)
    assert set(made) == set(STARTS)
    return made


@pytest.mark.parametrize("architecture", CONFIG.architectures)
def test_a_cross_slope_is_that_of_a_student_with_the_start_of_its_name(
    result, source, architecture
):
    problems = source.draw("cross", architecture, CONFIG.n_cross)
    for names, hand in each_of_some(architecture, problems):
        stratum = result.sel(architecture=architecture, **names).isel(problem=0)
        slope = hand.slope(hand.theta)
        assert float(stratum.cross_predicted) == pytest.approx(slope, rel=1e-9)
        for start, at in starts_by_hand(hand.problem, architecture).items():
            found = float(stratum.cross_slope.sel(start=start))
            assert found == pytest.approx(hand.slope(at), rel=1e-8, abs=1e-12 * slope), start


def test_the_cross_slope_is_the_slope_at_the_shared_start_and_for_one_linear_layer(result):
    def agree(slopes, predicted):
        return bool((np.abs(slopes - predicted) <= 1e-9 * predicted).all())

    assert agree(result.cross_slope.sel(start="shared"), result.cross_predicted)
    linear = result.sel(architecture="linear")
    assert agree(linear.cross_slope, linear.cross_predicted)
    relu = result.sel(architecture="mlp-relu")
    for start in set(STARTS) - {"shared"}:
        assert not agree(relu.cross_slope.sel(start=start), relu.cross_predicted), start
    medians = (relu.cross_slope / relu.cross_predicted).median(
        ["loss", "inputs", "trait", "problem"]
    )
    order = ["shared", "distance 0.1", "distance 0.3", "distance 1", "independent"]
    assert (np.diff(medians.sel(start=order)) < 0).all()


@pytest.mark.parametrize("architecture", CONFIG.architectures)
def test_many_steps_are_those_of_their_rate_and_number(result, source, architecture):
    problems = source.draw("steps", architecture, 1)
    for i, j in ((0, 0), (2, 2), (4, 3)):
        loss, trait = list(COVERED)[i], list(GRID_TRAITS)[j]
        row = COMBINATIONS.index((loss, INPUTS[(i + j) % len(INPUTS)], trait))
        hand = ByHand(architecture, problems, row, loss, trait)
        cell = result.sel(architecture=architecture, loss=loss, trait=trait)
        assert float(cell.steps_slope) == pytest.approx(hand.slope(hand.theta), rel=1e-9)
        assert float(cell.steps_direction) == pytest.approx(float(jnp.linalg.norm(hand.v)))
        # Of any direction the form is at most the largest eigenvalue.
        top = float(cell.steps_eigenvalue)
        image = hand.response(hand.v)
        assert float(jnp.linalg.norm(image)) <= 1.1 * top * float(jnp.linalg.norm(hand.v))
        for relative, k in ((0.5, 5), (1.9, 2), (2.1, 1)):
            rate, d = relative / top, jnp.zeros_like(hand.v)
            for _ in range(k):
                d = d + rate * hand.response(hand.v - d)
            at = cell.sel(rate=relative, k=k)
            size = float(jnp.linalg.norm(d))
            scale = size * float(jnp.linalg.norm(hand.v))
            assert float(at.steps_form) == pytest.approx(float(hand.v @ d), abs=1e-9 * scale)
            assert float(at.steps_length) == pytest.approx(size, rel=1e-9)
            epsilon = float(cell.step_epsilon[-1]) / max(1.0, abs(relative - 1) ** k)
            end = hand.descend(epsilon, rate, k)
            change = (hand.trait(end) - hand.trait(hand.theta)) / epsilon
            found = float(at.steps_quotient_change)
            assert found == pytest.approx(float(change), abs=1e-7 * scale + 1e-8)
            error = float(jnp.linalg.norm((end - hand.theta) / epsilon - d)) / size
            assert float(at.steps_quotient_error) == pytest.approx(error, rel=0.05, abs=1e-8)


def test_a_step_in_metrics_multiplies_both_gradients(result, source):
    problems = source.draw("metrics", "mlp-tanh", CONFIG.n_metrics)
    rng = source.generator("metrics", "mlp-tanh", 1)
    p = problems.theta.shape[1]
    for metric in result.metric.values:
        of_teacher, of_student = draw_metrics(metric, rng, problems.theta.shape)
        assert (of_teacher is of_student) is (metric != "two positive diagonals")
        for row in SOME[::4]:
            loss, _, trait = COMBINATIONS[row]
            hand = ByHand("mlp-tanh", problems, row, loss, trait)
            q_t, q_s = (np.diag(q.diagonal[row]) + np.outer(q.vector[row], q.vector[row])
                        for q in (of_teacher, of_student))  # fmt: skip
            assert np.linalg.matrix_rank(q_t[:20, :20]) == 20 and q_t.shape == (p, p)
            g, hand.v = -hand.v, q_t @ hand.v
            step = q_s @ np.asarray(hand.step(CONFIG.epsilon))
            found = result.sel(metric=metric).isel(metric_problem=row)
            slope = -float(g @ (q_s @ np.asarray(hand.response(jnp.asarray(hand.v)))))
            size = float(np.linalg.norm(step) * np.linalg.norm(g))
            assert float(found.metric_slope) == pytest.approx(slope, rel=1e-8)
            assert float(found.metric_inner) == pytest.approx(-float(g @ step), abs=1e-8 * size)
            change = hand.change(CONFIG.learning_rate * step)
            assert float(found.metric_change) == pytest.approx(change, rel=1e-5, abs=1e-13)
            fall = -float(found.metric_change) / (CONFIG.learning_rate * CONFIG.epsilon)
            assert float(found.metric_fall) == pytest.approx(fall)


@pytest.mark.parametrize("loss", list(LABELS))
def test_sampled_labels_are_those_of_the_teacher_at_epsilon(result, source, loss):
    problems = source.draw("labels", "mlp-tanh", 1)
    first = list(COVERED).index(loss) * len(COMBINATIONS) // len(COVERED)
    inside = np.ones(13, bool) if loss == "softmax" else np.arange(13) >= 10
    for problem in (0, 7):
        names = COMBINATIONS[first + problem]
        hand = ByHand("mlp-tanh", problems, first + problem, loss, names[2])
        for epsilon in result.label_epsilon.values:
            at = result.sel(label_loss=loss, label_epsilon=epsilon).isel(label_problem=problem)
            soft = float(hand.step(epsilon) @ hand.v)
            p = softmax(
                np.where(inside, np.asarray(hand.f(hand.teacher(epsilon), hand.x)), -np.inf)
            )
            spread = (p * hand.jv**2).sum(-1) - (p * hand.jv).sum(-1) ** 2
            variance = spread.sum() / 16**2
            assert float(at.label_soft) == pytest.approx(soft, rel=1e-9)
            assert float(at.label_slope) == pytest.approx(hand.slope(hand.theta), rel=1e-9)
            assert float(at.label_variance) == pytest.approx(variance, rel=1e-9)
            assert float(at.label_variance_by_matrix) == pytest.approx(variance, rel=1e-9)
            assert float(at.label_error) < 1e-14
            draws = np.ceil(at.multiple.values * variance / soft**2)
            np.testing.assert_array_equal(at.label_draws, draws)
            bound = np.minimum(1, variance / (draws * soft**2))
            np.testing.assert_allclose(at.label_bound, bound, rtol=1e-9)
    # Means of n draws of one normal number with mean 1/√N* are wrong so often.
    many = result.label_wrong.sel(label_loss=loss, label_epsilon=0.01).mean("label_problem")
    exact = scipy_stats.norm.cdf(-np.sqrt(result.multiple.values))
    np.testing.assert_allclose(many, exact, atol=0.03)


def test_the_progress_of_a_trained_student_is_that_of_the_spectrum(result, source):
    problem = source.draw("steps", "mlp-tanh", 1)
    hand = ByHand("mlp-tanh", problem, 0, *COMBINATIONS[0][::2])
    top, size = hand.v, float(hand.v @ hand.v)
    for _ in range(50):
        top = hand.response(top / jnp.linalg.norm(top))
    first = hand.slope(hand.theta) / float(jnp.linalg.norm(top)) / size  # α = 1/‖F‖
    assert float(result.progress_predicted[0, 0]) == pytest.approx(first, rel=1e-2)
    measured, predicted = result.progress_measured, result.progress_predicted
    np.testing.assert_allclose(measured, predicted, rtol=0, atol=1e-5)
    assert (predicted.diff("progress_step") >= 0).all()
    assert (predicted <= result.progress_coverage + 1e-12).all()
    assert (result.progress_coverage < 1).all()
    # Those whose inputs show few directions have arrived.
    arrived = (measured.isel(progress_step=-1) / result.progress_coverage) > 0.95
    assert arrived.any()


def test_every_block_of_trials_is_drawn_anew(source, monkeypatch):
    monkeypatch.setattr(theorem_experiment, "BLOCK", 1)
    rows = theorem_experiment.one_step_rows(source, "linear")
    slopes = theorem_experiment.trials(source, "linear", rows)["trial_slope"]
    assert slopes.shape[-1] == CONFIG.n_trials == 2
    where = slopes[..., 0] > 0
    assert where.any() and not (slopes[..., 0] == slopes[..., 1])[where].any()


def test_resuming_gives_the_same_result_to_the_bit(whole, digits):
    result, store, _ = whole
    kept = {name: part for name, part in store.items() if name not in ("one step", "metrics")}
    assert len(kept) == len(store) - 2
    again = record.run(experiment(CONFIG, jax.random.key(0), digits), kept)
    xr.testing.assert_identical(result, again.data)


def test_the_result_is_a_file_of_named_axes_and_the_status_rises(whole, tmp_path):
    result, store, heard = whole
    path = tmp_path / "record.nc"
    result.to_netcdf(path, engine="scipy")
    xr.testing.assert_equal(xr.load_dataset(path, engine="scipy"), result)
    assert all("long_name" in variable.attrs for variable in result.data_vars.values())
    assert all(array.dtype != object for part in store.values() for array in part.values())
    assert result.metric_change.attrs["network"] == "mlp-tanh" and result.attrs["epsilon"] == 3e-5
    fractions = [fraction for fraction, _ in heard]
    assert fractions[0] == 0 and fractions[-1] == 1 and len(heard) == len(store) + 1


def test_problems_are_drawn_as_their_names_say(source, digits):
    problems = source.draw("trials", "mlp-relu", CONFIG.n_trials)
    images = {image.tobytes(): label for image, label in
              zip(digits.train_images, digits.train_labels, strict=True)}  # fmt: skip

    def is_digit(image):
        return image.astype(np.float32).tobytes() in images

    assert len(problems.loss) == CONFIG.n_trials * len(COMBINATIONS)
    for row, (loss, inputs, trait) in enumerate(COMBINATIONS):
        p = jax.tree.map(lambda a, row=row: a[CONFIG.n_trials * row], problems)
        assert list(COVERED)[p.loss] == loss and len(p.x) == 16
        same = (p.x == p.x[:1]).all()
        flat = (p.x == p.x[:, :1, :1]).all()
        within = np.abs(p.x).max() <= 1
        assert (same, flat) == (inputs in ("constant image", "single image"), "constant" in inputs)
        assert all(map(is_digit, p.x)) is (inputs == "digits")
        if inputs in ("uniform noise", "Gaussian noise"):
            assert within is np.bool_(inputs == "uniform noise")
        if trait == "digit labels":
            found = [images[image.astype(np.float32).tobytes()] for image in p.trait_x]
            assert found == p.trait_labels.tolist()
        else:
            assert len(set(p.trait_labels.tolist())) == 1 and not is_digit(p.trait_x[0])
        kind = {"norm": 1, "linear": 2}.get(trait, 0)
        assert int(p.trait) == kind and np.linalg.norm(p.trait_r) == pytest.approx(1)
        assert not (p.theta == p.other).any() and (p.weights == 0).sum() < 13
    assert 0.2 < (problems.weights == 0).mean() < 0.45
    for first, second in (("grid", "cross"), ("trials", "metrics")):
        one, two = (source.draw(stream, "mlp-relu", 1) for stream in (first, second))
        assert not (one.theta == two.theta).any()


@pytest.mark.parametrize("architecture", ["linear", "mlp-relu", "cnn-relu", "decoder"])
def test_a_start_has_the_spread_of_the_networks_own_and_the_output_layer_is_found(architecture):
    build, activation = ARCHITECTURES[architecture]
    with jax.enable_x64(False):
        net = build((8, 8), activation)
        params = net.init(jax.random.key(0))
    mean, sd = start_distribution(params)
    of_head, of_auxiliary = output_layer(params), output_layer(params, slice(10, None))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3, 8, 8)), "float32")
    at, moved = 0, []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        here = slice(at, at + leaf.size)
        at += leaf.size
        flat = np.asarray(leaf).ravel()
        if path[-1].key in ("kernel", "weight", "embedding"):
            # The mean square of n normal numbers is known to a standard error of √(2/n).
            assert abs(np.mean((flat / sd[here]) ** 2) - 1) < 5 * (2 / leaf.size) ** 0.5
            assert (mean[here] == 0).all()
        else:
            np.testing.assert_array_equal(flat, mean[here])
            assert (sd[here] == 0.1).all()
        # By numbers that differ: the decoder's last LayerNorm gives outputs whose sum is 0.
        moved.append(flat + of_auxiliary[here] * rng.normal(size=leaf.size))
    assert at == len(mean)
    # Moving what belongs to the auxiliary outputs moves them, and no class output.
    leaves = [jnp.asarray(m.reshape(leaf.shape), "float32")
              for m, leaf in zip(moved, jax.tree.leaves(params), strict=True)]  # fmt: skip
    after = jax.tree.unflatten(jax.tree.structure(params), leaves)
    with jax.enable_x64(False):
        difference = np.abs(np.asarray(net.apply(after, x) - net.apply(params, x)))
    # Not to the bit: how XLA splits a product among threads may change its last bits.
    assert (difference[:, 10:] > 1e-3).all() and (difference[:, :10] < 1e-5).all()
    n_outputs = {"linear": 64, "decoder": 8}.get(architecture, 16)
    assert of_head.sum() == 13 * n_outputs + 13 * (architecture != "decoder")
    assert of_auxiliary.sum() == of_head.sum() * 3 // 13


def test_the_config_refuses_what_cannot_be_run():
    for field in ("n_trials", "epsilon", "learning_rate", "n_cross", "n_metrics"):
        with pytest.raises(UserError, match="--" + field.replace("_", "-")):
            TheoremConfig(**{field: 0 * getattr(CONFIG, field)})
    refused: Any = (), ("linear", "linear")
    for architectures in refused:
        with pytest.raises(UserError, match="--architectures"):
            TheoremConfig(architectures=architectures)
