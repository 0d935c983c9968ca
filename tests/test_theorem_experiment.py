"""The theorem's experiment against separate computations of what each of its numbers is."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import special as scipy_special
from scipy import stats as scipy_stats

from subliminal_toy import data, record
from subliminal_toy.distill import cross_entropy, kl, squared_error
from subliminal_toy.errors import UserError
from subliminal_toy.theorem import experiment as theorem_experiment
from subliminal_toy.theorem import one_step
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.experiment import LABELS, Source, experiment
from subliminal_toy.theorem.one_step import NODES
from subliminal_toy.theorem.problems import (
    ARCHITECTURES,
    COVERED,
    INPUTS,
    STARTS,
    TRAITS,
    draw_metrics,
    flat_network,
    start_distribution,
)

# One architecture keeps the compilation short, one with kinks; progress, metrics and labels are
# measured on another. No value is a default.
NAME = "mlp-relu"
CONFIG = TheoremConfig(
    architectures=(NAME,),
    n_trials=2,
    epsilon=3e-5,
    learning_rate=0.07,
    n_cross=1,
    n_metrics=1,
    n_filters=1,
)
WIDTHS = (64, 16, 16, 13)
COMBINATIONS = [(loss, inputs, trait) for loss in COVERED for inputs in INPUTS for trait in TRAITS]
# Every loss with two traits, and all inputs.
SOME = [
    COMBINATIONS.index((loss, INPUTS[(i + j) % len(INPUTS)], trait))
    for i, loss in enumerate(COVERED)
    for j, trait in enumerate(TRAITS)
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


def layers(theta):
    """Split parameters into (bias, weight) of each layer."""
    found, at = [], 0
    for n_in, n_out in pairwise(WIDTHS):
        bias, weight = theta[at : at + n_out], theta[at + n_out : at + n_out * (n_in + 1)]
        found.append((bias, weight.reshape(n_out, n_in)))
        at += n_out * (n_in + 1)
    assert at == len(theta)
    return found


def hidden(theta, x):
    """Return the inputs of all units of the ReLU network."""
    h, seen = x.reshape(len(x), -1), []
    for bias, weight in layers(theta)[:-1]:
        seen.append(h @ weight.T + bias)
        h = np.maximum(seen[-1], 0)
    return np.concatenate([inputs.ravel() for inputs in seen])


class Alone:
    """One problem by itself, with its loss and trait as they are named: a student from any start.

    What the functions of ``one_step`` compute is tested elsewhere.
    """

    def __init__(self, architecture, problems, row, loss, trait):
        problem = self.problem = jax.tree.map(lambda a: jnp.asarray(a[row]), problems)
        self.theta, self.x = problem.theta, problem.x
        self.f = flat_network(architecture, (8, 8)).f
        columns = slice(10 if "auxiliary" in loss else 0, None)
        self.loss = partial(kl if "softmax" in loss else squared_error, columns=columns)
        if "weighted" in loss:
            self.loss = partial(squared_error, weights=problem.weights)
        self.trait = {"norm": jnp.linalg.norm, "linear": lambda t: t @ problem.trait_r}.get(
            trait,
            lambda t: cross_entropy(self.f(t, problem.trait_x), problem.trait_labels, slice(10)),
        )
        self.v = one_step.direction(self.trait, self.theta)
        self.setting = self.f, self.loss, self.theta, self.x
        self.response = one_step.response(*self.setting)

    def teacher(self, epsilon):
        return self.theta + epsilon * self.v

    def step(self, epsilon):
        y = self.f(self.teacher(epsilon), self.x)
        return one_step.student_step(self.f, self.loss, self.theta, self.x, y)

    def descend(self, epsilon, rate, n):
        """Return θ⁽ⁿ⁾."""
        y, theta = self.f(self.teacher(epsilon), self.x), self.theta
        for _ in range(n):
            theta += rate * one_step.student_step(self.f, self.loss, theta, self.x, y)
        return theta

    def slope(self, start, epsilon=0.0):
        return float(one_step.cross_slope(*self.setting, self.v, start, epsilon))

    def change(self, step):
        return float(self.trait(self.theta + step) - self.trait(self.theta))


def each_of_some(problems, n_each=1, member=0):
    for row in SOME:
        loss, inputs, trait = COMBINATIONS[row]
        alone = Alone(NAME, problems, row * n_each + member, loss, trait)
        yield {"loss": loss, "inputs": inputs, "trait": trait}, alone


def test_a_trial_is_one_step_of_the_student_at_the_shared_start(result, source):
    problems = source.draw("trials", NAME, CONFIG.n_trials)
    for names, alone in each_of_some(problems, CONFIG.n_trials, member=1):
        trial = result.sel(architecture=NAME, **names).isel(trial=1)
        step = alone.step(CONFIG.epsilon)
        size = float(jnp.linalg.norm(step) * jnp.linalg.norm(alone.v))
        assert float(trial.trial_slope) == pytest.approx(alone.slope(alone.theta), rel=1e-9)
        assert float(trial.trial_inner) == pytest.approx(float(step @ alone.v), abs=1e-9 * size)
        change = alone.change(CONFIG.learning_rate * step)
        assert float(trial.trial_change) == pytest.approx(change, rel=1e-4, abs=1e-13)


def test_a_cell_of_the_grid_moves_its_teacher_by_epsilon(result, source):
    problems = source.draw("grid", NAME, 1)
    crossed = 0
    for names, alone in each_of_some(problems):
        cell = result.sel(architecture=NAME, **names)
        assert float(cell.grid_slope) == pytest.approx(alone.slope(alone.theta), rel=1e-9)
        for epsilon in (1e-2, 10.0):
            at = cell.sel(epsilon=epsilon, method="nearest")
            step = alone.step(epsilon)
            inner, size = float(step @ alone.v), float(jnp.linalg.norm(step))
            assert float(at.grid_inner) == pytest.approx(inner, rel=1e-8, abs=1e-12 * size)
            ends = alone.theta, alone.teacher(epsilon)
            here, there = (hidden(np.asarray(t), np.asarray(alone.x)) for t in ends)
            kink = bool((here * there <= 0).any())
            assert bool(at.grid_kink) is kink
            crossed += kink
        epsilon = float(cell.small_epsilon[-1])
        near = cell.near_slope.isel(small_epsilon=-1, node=1)
        assert float(near) == pytest.approx(alone.slope(alone.theta, epsilon * NODES[1]), rel=1e-9)
        assert not cell.near_kink.any()
    assert crossed > 4


def starts_by_hand(problem):
    """Return the student's start by every name, put together layer by layer."""
    n_head = sum(part.size for part in layers(problem.theta)[-1])
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


def test_a_cross_slope_is_that_of_a_student_with_the_start_of_its_name(result, source):
    problems = source.draw("cross", NAME, CONFIG.n_cross)
    for names, alone in each_of_some(problems):
        stratum = result.sel(architecture=NAME, **names).isel(problem=0)
        slope = alone.slope(alone.theta)
        assert float(stratum.cross_predicted) == pytest.approx(slope, rel=1e-9)
        for start, at in starts_by_hand(alone.problem).items():
            found = float(stratum.cross_slope.sel(start=start))
            assert found == pytest.approx(alone.slope(at), rel=1e-8, abs=1e-12 * slope), start


def test_many_steps_are_those_of_their_rate_and_number(result, source):
    problems = source.draw("steps", NAME, 1)
    for i, j in ((0, 0), (2, 2), (4, 3)):
        loss, trait = list(COVERED)[i], list(TRAITS)[j]
        row = COMBINATIONS.index((loss, INPUTS[(i + j) % len(INPUTS)], trait))
        alone = Alone(NAME, problems, row, loss, trait)
        cell = result.sel(architecture=NAME, loss=loss, trait=trait)
        assert float(cell.steps_slope) == pytest.approx(alone.slope(alone.theta), rel=1e-9)
        assert float(cell.steps_direction) == pytest.approx(float(jnp.linalg.norm(alone.v)))
        # Of any direction the form is at most the largest eigenvalue.
        top = float(cell.steps_eigenvalue)
        image = alone.response(alone.v)
        assert float(jnp.linalg.norm(image)) <= 1.1 * top * float(jnp.linalg.norm(alone.v))
        for relative, k in ((0.5, 5), (1.9, 2), (2.1, 1)):
            rate, d = relative / top, jnp.zeros_like(alone.v)
            for _ in range(k):
                d = d + rate * alone.response(alone.v - d)
            at = cell.sel(rate=relative, k=k)
            size = float(jnp.linalg.norm(d))
            scale = size * float(jnp.linalg.norm(alone.v))
            assert float(at.steps_form) == pytest.approx(float(alone.v @ d), abs=1e-9 * scale)
            assert float(at.steps_length) == pytest.approx(size, rel=1e-9)
            epsilon = float(cell.step_epsilon[-1]) / max(1.0, abs(relative - 1) ** k)
            end, slope = jax.jvp(partial(alone.descend, rate=rate, n=k), (epsilon,), (1.0,))
            error = float(jnp.linalg.norm(slope - d)) / size
            found = float(at.steps_error.isel(step_epsilon=-1))
            assert found == pytest.approx(error, rel=0.05, abs=1e-8)
            change = (alone.trait(end) - alone.trait(alone.theta)) / epsilon
            found = float(at.steps_quotient_change)
            assert found == pytest.approx(float(change), abs=1e-7 * scale + 1e-8)
            error = float(jnp.linalg.norm((end - alone.theta) / epsilon - d)) / size
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
            alone = Alone("mlp-tanh", problems, row, loss, trait)
            q_t, q_s = (np.diag(q.diagonal[row]) + np.outer(q.vector[row], q.vector[row])
                        for q in (of_teacher, of_student))  # fmt: skip
            assert np.linalg.matrix_rank(q_t[:20, :20]) == 20 and q_t.shape == (p, p)
            g, alone.v = -alone.v, q_t @ alone.v
            step = q_s @ np.asarray(alone.step(CONFIG.epsilon))
            found = result.sel(metric=metric).isel(metric_problem=row)
            slope = -float(g @ (q_s @ np.asarray(alone.response(jnp.asarray(alone.v)))))
            size = float(np.linalg.norm(step) * np.linalg.norm(g))
            assert float(found.metric_slope) == pytest.approx(slope, rel=1e-8)
            assert float(found.metric_inner) == pytest.approx(-float(g @ step), abs=1e-8 * size)
            change = alone.change(CONFIG.learning_rate * step)
            assert float(found.metric_change) == pytest.approx(change, rel=1e-5, abs=1e-13)
            fall = -float(found.metric_change) / (CONFIG.learning_rate * CONFIG.epsilon)
            assert float(found.metric_fall) == pytest.approx(fall)


@pytest.mark.parametrize("loss", LABELS)
def test_sampled_labels_are_those_of_the_teacher_at_epsilon(result, source, loss):
    problems = source.draw("labels", "mlp-tanh", 1)
    first = list(COVERED).index(loss) * len(COMBINATIONS) // len(COVERED)
    inside = np.ones(13, bool) if loss == "softmax" else np.arange(13) >= 10
    for problem in (0, 7):
        names = COMBINATIONS[first + problem]
        alone = Alone("mlp-tanh", problems, first + problem, loss, names[2])
        for epsilon in result.label_epsilon.values:
            at = result.sel(label_loss=loss, label_epsilon=epsilon).isel(label_problem=problem)
            soft = float(alone.step(epsilon) @ alone.v)
            y = np.asarray(alone.f(alone.teacher(epsilon), alone.x))
            p = scipy_special.softmax(np.where(inside, y, -np.inf), axis=-1)
            jv = np.asarray(one_step.outputs_along(*alone.setting, alone.v)[1])
            spread = (p * jv**2).sum(-1) - (p * jv).sum(-1) ** 2
            variance = spread.sum() / 16**2
            assert float(at.label_soft) == pytest.approx(soft, rel=1e-9)
            assert float(at.label_slope) == pytest.approx(alone.slope(alone.theta), rel=1e-9)
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


def test_a_filter_is_that_of_its_name_and_its_step_is_measured(result, source):
    problems = source.draw("filters", "mlp-relu", CONFIG.n_filters)
    rng, n = source.generator("filters", "mlp-relu", 1), 2 * 20
    by_input, by_label = rng.uniform(size=(n, 16)), rng.uniform(size=(n, 13))
    for place, loss in enumerate(LABELS):
        for row in (3, 8):
            _, inputs, trait = names = COMBINATIONS[list(COVERED).index(loss) * 20 + row]
            alone = Alone("mlp-relu", problems, COMBINATIONS.index(names), loss, trait)
            inside = slice(10 if "auxiliary" in loss else 0, None)

            def log_p(t, alone=alone, inside=inside):
                return jax.nn.log_softmax(alone.f(t, alone.x)[:, inside]) - np.log(16)

            at = result.sel(architecture="mlp-relu", label_loss=loss, inputs=inputs, trait=trait)
            at = at.isel(filter_problem=0)
            log_chances, scores = jax.jvp(log_p, (alone.theta,), (alone.v,))
            chances, member = np.exp(log_chances), 20 * place + row
            labels = np.tile(by_label[member][inside], (16, 1))
            given = {"none": np.ones_like(labels), "at random": np.full_like(labels, 0.5),
                     "of inputs": np.tile(by_input[member][:, None], labels.shape[1]),
                     "by label": labels}  # fmt: skip
            for name, phi in given.items():
                passes, moment = (phi * chances).sum(), (phi * chances * scores**2).sum()
                mean = (phi * chances * scores).sum() / passes
                expected = moment, moment / passes - mean**2
                slopes = at.filter_slope.sel(filter=name)
                np.testing.assert_allclose(slopes, expected, rtol=1e-8, atol=1e-14)
            # Without a filter it is the slope of the soft labels, Eq. (66).
            plain = at.sel(filter="none")
            assert float(plain.filter_slope[0]) == pytest.approx(alone.slope(alone.theta))
            gap = (alone.step(theorem_experiment.FILTER_EPSILON) - alone.step(0.0)) @ alone.v
            assert float(plain.filter_inner[0]) == pytest.approx(float(gap), rel=1e-6)
            fall = float(plain.filter_slope[0]) * theorem_experiment.FILTER_RATE
            fall *= theorem_experiment.FILTER_EPSILON
            assert float(plain.filter_change[0]) == pytest.approx(-fall, rel=1e-3)


def test_the_progress_of_a_trained_student_is_that_of_the_spectrum(result, source):
    problem = source.draw("steps", "mlp-tanh", 1)
    alone = Alone("mlp-tanh", problem, 0, *COMBINATIONS[0][::2])
    top, size = alone.v, float(alone.v @ alone.v)
    for _ in range(50):
        top = alone.response(top / jnp.linalg.norm(top))
    first = alone.slope(alone.theta) / float(jnp.linalg.norm(top)) / size  # α = 1/‖F‖
    assert float(result.progress_predicted[0, 0]) == pytest.approx(first, rel=1e-2)
    measured, predicted = result.progress_measured, result.progress_predicted
    np.testing.assert_allclose(measured, predicted, rtol=0, atol=1e-5)
    assert (predicted.diff("progress_step") >= 0).all()
    assert (predicted <= result.progress_coverage + 1e-12).all()
    assert (result.progress_coverage < 1).all()
    # Those whose inputs show few directions have arrived.
    arrived = (measured.isel(progress_step=-1) / result.progress_coverage) > 0.95
    assert arrived.any()


def test_networks_are_in_the_order_of_their_names(digits, monkeypatch):
    def stub(source, name):
        return {"length": np.array(len(name))}

    monkeypatch.setattr(theorem_experiment, "single_steps", stub)
    run = experiment(replace(CONFIG, architectures=(NAME, "linear")), jax.random.key(0), digits)
    assert run.parts[0].compute({})["length"].tolist() == [len("linear"), len(NAME)]
    axes = theorem_experiment.coordinates(replace(CONFIG, architectures=(NAME, "linear")))
    assert axes["architecture"] == ["linear", NAME]


def test_every_block_of_trials_is_drawn_anew(source, monkeypatch):
    monkeypatch.setattr(theorem_experiment, "BLOCK", 1)
    slopes = theorem_experiment.single_steps(source, NAME)["trial_slope"]
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

    assert len(problems.theta) == CONFIG.n_trials * len(COMBINATIONS)
    for row, (loss, inputs, trait) in enumerate(COMBINATIONS):
        p = jax.tree.map(lambda a, row=row: a[CONFIG.n_trials * row], problems)
        assert bool(p.softmax) is ("softmax" in loss) and len(p.x) == 16
        if "weighted" not in loss:
            imitated = np.arange(13) >= 10 if "auxiliary" in loss else np.ones(13)
            np.testing.assert_array_equal(p.weights, imitated)
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
        assert not (p.theta == p.other).any()
    drawn = problems.weights[~np.isin(problems.weights, (0.0, 1.0)).all(axis=1)]
    assert 0.2 < (drawn == 0).mean() < 0.45 and (drawn[drawn > 0] > 1 / 3).all()
    for first, second in (("grid", "cross"), ("trials", "metrics")):
        one, two = (source.draw(stream, "mlp-relu", 1) for stream in (first, second))
        assert not (one.theta == two.theta).any()


@pytest.mark.parametrize("architecture", ["linear", "mlp-relu", "cnn-relu", "decoder"])
def test_a_start_has_the_spread_of_the_networks_own_and_the_output_layer_is_found(architecture):
    build, activation = ARCHITECTURES[architecture]
    with jax.enable_x64(False):
        net = build((8, 8), activation)
        params = jax.jit(net.init)(jax.random.key(0))
    mean, sd, of_head = start_distribution(params)
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
        moved.append(flat + of_head[here] * rng.normal(size=leaf.size))
    assert at == len(mean)
    # Moving them moves all outputs.
    leaves = [jnp.asarray(m.reshape(leaf.shape), "float32")
              for m, leaf in zip(moved, jax.tree.leaves(params), strict=True)]  # fmt: skip
    after = jax.tree.unflatten(jax.tree.structure(params), leaves)
    with jax.enable_x64(False):
        apply = jax.jit(net.apply)
        difference = np.abs(np.asarray(apply(after, x) - apply(params, x)))
    assert (difference > 1e-3).all()
    n_outputs = {"linear": 64, "decoder": 8}.get(architecture, 16)
    assert of_head.sum() == 13 * n_outputs + 13 * (architecture != "decoder")


def test_the_config_refuses_what_cannot_be_run():
    for field in ("n_trials", "epsilon", "learning_rate", "n_cross", "n_metrics", "n_filters"):
        with pytest.raises(UserError, match="--" + field.replace("_", "-")):
            TheoremConfig(**{field: 0 * getattr(CONFIG, field)})
    refused: Any = (), ("linear", "linear")
    for architectures in refused:
        with pytest.raises(UserError, match="--architectures"):
            TheoremConfig(architectures=architectures)
