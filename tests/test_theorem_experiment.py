"""The theorem's experiment against separate computations of what each of its numbers is."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jax.flatten_util import ravel_pytree
from scipy import special as scipy_special
from scipy import stats as scipy_stats

from subliminal_toy import record
from subliminal_toy.distill import cross_entropy, kl, squared_error
from subliminal_toy.errors import UserError
from subliminal_toy.theorem import experiment as theorem_experiment
from subliminal_toy.theorem import filter, one_step
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
# measured on another. No value is a default, and each of the two trials is drawn by itself.
NAME, MAIN = "mlp-relu", "mlp-tanh"
CONFIG = TheoremConfig(
    architectures=(NAME,),
    n_trials=2,
    epsilon=3e-5,
    learning_rate=0.07,
    n_cross=2,
    n_metrics=1,
    n_filters=1,
)
COMBINATIONS = [(loss, inputs, trait) for loss in COVERED for inputs in INPUTS for trait in TRAITS]
# Every loss, kind of inputs and trait, each at another place along its axis.
SOME = [(loss, INPUTS[(i + 1) % 5], list(TRAITS)[i % 4]) for i, loss in enumerate(COVERED)]

pytestmark = pytest.mark.usefixtures("compile_quickly", "double")


@pytest.fixture(scope="module")
def source(digits):
    return Source(CONFIG, jax.random.key(0), digits)


@pytest.fixture(scope="module")
def whole(digits):
    few = [1, 10, 1000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theorem_experiment, "BLOCK", 1)
        patch.setattr(theorem_experiment, "PROGRESS_STEPS", few)
        patch.setitem(theorem_experiment.COORDINATES, "progress_step", few)
        store = {}
        result = record.run(experiment(CONFIG, jax.random.key(0), digits), store)
        yield result.data, store


@pytest.fixture(scope="module")
def result(whole):
    return whole[0]


def hidden(theta, x):
    """Return the inputs of all units of the ReLU network."""
    h, seen = x.reshape(len(x), -1), []
    for n_in, n_out in pairwise((64, 16, 16)):
        bias, weight, theta = np.split(theta, np.cumsum([n_out, n_in * n_out]))
        seen.append(h @ weight.reshape(n_out, n_in).T + bias)
        h = np.maximum(seen[-1], 0)
    return np.concatenate([inputs.ravel() for inputs in seen])


compiled = partial(jax.jit, static_argnums=0)


class Student(NamedTuple):
    """A student by itself, its loss and trait as they are named; its methods are of one problem.

    What the functions of ``one_step`` compute is tested elsewhere.
    """

    network: str
    loss: str
    trait: str

    @property
    def columns(self):
        return slice(10 if "auxiliary" in self.loss else 0, None)

    @compiled
    def outputs(self, p, theta):
        return flat_network(self.network, (8, 8)).f(theta, p.x)

    def setting(self, p):
        loss = partial(kl if "softmax" in self.loss else squared_error, columns=self.columns)
        if "weighted" in self.loss:
            loss = partial(squared_error, weights=p.weights)
        return flat_network(self.network, (8, 8)).f, loss, p.theta, p.x

    def trait_of(self, p, theta):
        if self.trait in ("norm", "linear"):
            return jnp.linalg.norm(theta) if self.trait == "norm" else theta @ p.trait_r
        f = flat_network(self.network, (8, 8)).f
        return cross_entropy(f(theta, p.trait_x), p.trait_labels, slice(10))

    @compiled
    def v(self, p):
        return -jax.grad(partial(self.trait_of, p))(p.theta)

    @compiled
    def step(self, p, teacher):
        f, loss, theta, x = self.setting(p)
        return one_step.student_step(f, loss, theta, x, f(teacher, x))

    @compiled
    def slope(self, p, start, epsilon=0.0):
        return one_step.cross_slope(*self.setting(p), self.v(p), start, epsilon)

    @compiled
    def rounding(self, p):
        return one_step.slope_and_rounding(*self.setting(p), self.v(p))[1:]

    @compiled
    def response(self, p, u):
        return one_step.response(*self.setting(p))(u)

    @compiled
    def change(self, p, move):
        return self.trait_of(p, p.theta + move) - self.trait_of(p, p.theta)


def alone(network, problems, combination, member=0, n_each=1):
    """Return a student by itself, and one of the problems of a combination."""
    loss, _, trait = combination
    row = COMBINATIONS.index(combination) * n_each + member
    return Student(network, loss, trait), jax.tree.map(jnp.asarray, problems.rows(row))


def each_of_some(result, problems, *member):
    """Yield what was measured, a student by itself and its problem, for ``SOME``."""
    for combination in SOME:
        loss, inputs, trait = combination
        at = result.sel(architecture=NAME, loss=loss, inputs=inputs, trait=trait)
        yield at, *alone(NAME, problems, combination, *member)


def test_a_trial_is_one_step_of_the_student_at_the_shared_start(result, source):
    for trial in range(2):
        problems = source.draw("trials", NAME, 1, trial)
        for found, student, p in each_of_some(result.isel(trial=trial), problems):
            v = student.v(p)
            step = student.step(p, p.theta + CONFIG.epsilon * v)
            size = float(jnp.linalg.norm(step) * jnp.linalg.norm(v))
            slope, change = student.slope(p, p.theta), student.change(p, 0.07 * step)
            assert float(found.trial_slope) == pytest.approx(float(slope), rel=1e-9)
            assert float(found.trial_inner) == pytest.approx(float(step @ v), abs=1e-9 * size)
            assert float(found.trial_change) == pytest.approx(float(change), rel=1e-4, abs=1e-13)


def test_a_cell_of_the_grid_moves_its_teacher_by_epsilon(result, source):
    kinks = []
    for cell, student, p in each_of_some(result, source.draw("grid", NAME, 1)):
        v, slope = student.v(p), float(student.slope(p, p.theta))
        assert float(cell.grid_slope) == pytest.approx(slope, rel=1e-9)
        of_slope, of_inner = map(float, student.rounding(p))
        assert float(cell.grid_slope_rounding) == pytest.approx(of_slope, rel=1e-9)
        np.testing.assert_allclose(cell.grid_rounding * cell.epsilon, of_inner, rtol=1e-9)
        for epsilon in (1e-2, 10.0):
            at = cell.sel(epsilon=epsilon, method="nearest")
            teacher = p.theta + epsilon * v
            step = student.step(p, teacher)
            inner, size = float(step @ v), float(jnp.linalg.norm(step))
            assert float(at.grid_inner) == pytest.approx(inner, rel=1e-8, abs=1e-12 * size)
            here, there = (hidden(*map(np.asarray, (t, p.x))) for t in (p.theta, teacher))
            kinks.append(bool((here * there <= 0).any()))
            assert bool(at.grid_kink) is kinks[-1]
        near = cell.isel(small_epsilon=-1, node=1)
        slope = student.slope(p, p.theta, float(near.small_epsilon) * NODES[1])
        assert float(near.near_slope) == pytest.approx(float(slope), rel=1e-9)
        assert not cell.near_kink.any()
    assert any(kinks)


def starts_by_hand(problem):
    """Return the student's start by every name."""
    n_head = 13 * (16 + 1)
    theta, other = problem.theta, problem.other
    return {
        "shared": theta,
        "independent": other,
        "heads shared": np.concatenate([other[:-n_head], theta[-n_head:]]),
        "hidden shared": np.concatenate([theta[:-n_head], other[-n_head:]]),
        **{f"distance {s:g}": (theta + s * other) / (1 + s**2) ** 0.5 for s in (0.1, 0.3, 1.0)},
    }


def test_a_cross_slope_is_that_of_a_student_with_the_start_of_its_name(result, source):
    problems = source.draw("cross", NAME, CONFIG.n_cross)
    for stratum, student, p in each_of_some(result.isel(problem=1), problems, 1, 2):
        slope = float(student.slope(p, p.theta))
        assert float(stratum.cross_predicted) == pytest.approx(slope, rel=1e-9)
        for start, at in starts_by_hand(p).items():
            found, expected = stratum.cross_slope.sel(start=start), float(student.slope(p, at))
            assert float(found) == pytest.approx(expected, rel=1e-8, abs=1e-12 * slope), start
        assert set(starts_by_hand(p)) == set(STARTS)


@pytest.mark.parametrize(
    ("i", "j", "relative", "k"), [(0, 0, 0.5, 5), (2, 2, 1.9, 2), (4, 3, 2.1, 1)]
)
def test_many_steps_are_those_of_their_rate_and_number(result, source, i, j, relative, k):
    loss, trait = list(COVERED)[i], list(TRAITS)[j]
    combination = loss, INPUTS[(i + j) % len(INPUTS)], trait
    student, p = alone(NAME, source.draw("steps", NAME, 1), combination)
    cell = result.sel(architecture=NAME, loss=loss, trait=trait)
    v, top = student.v(p), float(cell.steps_eigenvalue)
    rate, length = relative / top, float(jnp.linalg.norm(v))
    assert float(cell.steps_slope) == pytest.approx(float(student.slope(p, p.theta)), rel=1e-9)
    assert float(cell.steps_direction) == pytest.approx(length)
    # Of any direction the form is at most the largest eigenvalue.
    assert float(jnp.linalg.norm(student.response(p, v))) <= 1.1 * top * length
    d = jnp.zeros_like(v)
    for _ in range(k):
        d = d + rate * student.response(p, v - d)

    @jax.jit
    def descend(epsilon):
        f, loss, theta, x = student.setting(p)
        y = f(theta + epsilon * v, x)
        for _ in range(k):
            theta = theta + rate * one_step.student_step(f, loss, theta, x, y)
        return theta - p.theta

    at = cell.sel(rate=relative, k=k)
    size = float(jnp.linalg.norm(d))
    assert float(at.steps_form) == pytest.approx(float(v @ d), abs=1e-9 * size * length)
    assert float(at.steps_length) == pytest.approx(size, rel=1e-9)
    epsilon = float(cell.step_epsilon[-1]) / max(1.0, abs(relative - 1) ** k)
    moved, slope = jax.jvp(descend, (epsilon,), (1.0,))
    change = float(student.change(p, moved) / epsilon)
    found = float(at.steps_quotient_change)
    assert found == pytest.approx(change, abs=1e-7 * size * length + 1e-8)
    for name, derivative in (("steps_error", slope), ("steps_quotient_error", moved / epsilon)):
        found = float(at[name].isel(step_epsilon=-1, missing_dims="ignore"))
        error = float(jnp.linalg.norm(derivative - d)) / size
        assert found == pytest.approx(error, rel=0.05, abs=1e-8), name


def test_a_step_in_metrics_multiplies_both_gradients(result, source):
    problems = source.draw("metrics", MAIN, CONFIG.n_metrics)
    rng = source.generator("metrics", MAIN, 1)
    for metric in result.metric.values:
        of_teacher, of_student = draw_metrics(metric, rng, problems.theta.shape)
        assert (of_teacher is of_student) is (metric != "two positive diagonals")
        for combination in SOME[::2]:
            row = COMBINATIONS.index(combination)
            student, p = alone(MAIN, problems, combination)
            q_t, q_s = (np.diag(q.diagonal[row]) + np.outer(q.vector[row], q.vector[row])
                        for q in (of_teacher, of_student))  # fmt: skip
            assert np.linalg.matrix_rank(q_t[:20, :20]) == 20
            g = -np.asarray(student.v(p))
            v = -q_t @ g
            step = q_s @ np.asarray(student.step(p, p.theta + CONFIG.epsilon * v))
            slope, inner = -g @ (q_s @ np.asarray(student.response(p, v))), -g @ step
            change = float(student.change(p, CONFIG.learning_rate * step))
            found = result.sel(metric=metric).isel(metric_problem=row)
            size = np.linalg.norm(step) * np.linalg.norm(g)
            assert float(found.metric_slope) == pytest.approx(slope, rel=1e-8)
            assert float(found.metric_inner) == pytest.approx(inner, abs=1e-8 * size)
            assert float(found.metric_change) == pytest.approx(change, rel=1e-5, abs=1e-13)
            fall = -float(found.metric_change) / (CONFIG.learning_rate * CONFIG.epsilon)
            assert float(found.metric_fall) == pytest.approx(fall)


@pytest.mark.parametrize("loss", LABELS)
def test_sampled_labels_are_those_of_the_teacher_at_epsilon(result, source, loss):
    problems = source.draw("labels", MAIN, 1)
    of_loss = [combination for combination in COMBINATIONS if combination[0] == loss]
    for problem in (0, 7):
        student, p = alone(MAIN, problems, of_loss[problem])
        v, slope = student.v(p), float(student.slope(p, p.theta))
        jv = jax.jvp(partial(student.outputs, p), (p.theta,), (v,))[1][:, student.columns]
        for epsilon in result.label_epsilon.values:
            at = result.sel(label_loss=loss, label_epsilon=epsilon).isel(label_problem=problem)
            teacher = p.theta + epsilon * v
            soft = float(student.step(p, teacher) @ v)
            y = np.asarray(student.outputs(p, teacher))[:, student.columns]
            chances = scipy_special.softmax(y, axis=-1)
            spread = (chances * jv**2).sum(-1) - (chances * jv).sum(-1) ** 2
            variance = float(spread.sum()) / 16**2
            assert float(at.label_soft) == pytest.approx(soft, rel=1e-9)
            assert float(at.label_slope) == pytest.approx(slope, rel=1e-9)
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


@pytest.mark.parametrize("loss", LABELS)
def test_a_filter_is_that_of_its_name_and_its_step_is_measured(result, source, loss):
    problems = source.draw("filters", NAME, CONFIG.n_filters)
    of_loss = [combination for combination in COMBINATIONS if combination[0] == loss]
    rng, n = source.generator("filters", NAME, 1), 2 * 20
    by_input, by_label = rng.uniform(size=(n, 16)), rng.uniform(size=(n, 13))
    for row in (3, 8):
        student, p = alone(NAME, problems, of_loss[row])
        _, inputs, trait = of_loss[row]
        at = result.sel(architecture=NAME, label_loss=loss, inputs=inputs, trait=trait)
        at, v = at.isel(filter_problem=0), student.v(p)

        def log_chances(t, student=student, p=p):
            logits = student.outputs(p, t)[:, student.columns]
            return (jax.nn.log_softmax(logits) - np.log(16)).ravel()

        log_p, scores = jax.jvp(log_chances, (p.theta,), (v,))
        chances, member = jnp.exp(log_p), 20 * LABELS.index(loss) + row
        labels = by_label[member][student.columns]
        filters = filter.filters_of(chances, scores, by_input[member], labels)
        expected = filter.slopes(filters, chances, scores)
        np.testing.assert_allclose(at.filter_slope, expected, rtol=1e-8, atol=1e-14)
        # Without a filter it is the slope of the soft labels, Eq. (66).
        plain = at.sel(filter="none", form="counted")
        slope = float(plain.filter_slope)
        assert slope == pytest.approx(float(student.slope(p, p.theta)))
        epsilon, rate = theorem_experiment.FILTER_EPSILON, theorem_experiment.FILTER_RATE
        gap = (student.step(p, p.theta + epsilon * v) - student.step(p, p.theta)) @ v
        assert float(plain.filter_inner) == pytest.approx(float(gap), rel=1e-6)
        assert float(plain.filter_change) == pytest.approx(-slope * rate * epsilon, rel=1e-3)


def test_the_progress_of_a_trained_student_is_that_of_the_spectrum(result, source):
    student, p = alone(MAIN, source.draw("steps", MAIN, 1), COMBINATIONS[0])
    top = v = student.v(p)
    for _ in range(50):
        top = student.response(p, top / jnp.linalg.norm(top))
    # The first step, of rate 1/‖F‖.
    first = float(student.slope(p, p.theta) / jnp.linalg.norm(top) / (v @ v))
    assert float(result.progress_predicted[0, 0]) == pytest.approx(first, rel=1e-2)
    measured = result.progress_measured
    np.testing.assert_allclose(measured, result.progress_predicted, rtol=0, atol=1e-5)
    # Those whose inputs show few directions have arrived.
    assert (measured.isel(progress_step=-1) > 0.95 * result.progress_coverage).any()


def test_networks_are_in_the_order_of_their_names(result, digits, monkeypatch):
    def stub(source, name):
        return {"length": np.array(len(name))}

    monkeypatch.setattr(theorem_experiment, "single_steps", stub)
    run = experiment(replace(CONFIG, architectures=(NAME, "linear")), jax.random.key(0), digits)
    assert run.parts[0].compute({})["length"].tolist() == [len("linear"), len(NAME)]
    sizes = {**result.sizes, "architecture": 2}
    arrays = {name: np.zeros([sizes[axis] for axis in axes])
              for name, (axes, _) in theorem_experiment.VARIABLES.items()}  # fmt: skip
    labelled = run.assemble({"all": arrays}).data
    assert labelled.architecture.values.tolist() == ["linear", NAME]


def test_resuming_gives_the_same_result_to_the_bit(whole, digits):
    result, store = whole
    lost = ("metrics", "sampled labels")
    kept = {name: part for name, part in store.items() if name not in lost}
    assert len(kept) == len(store) - 2
    again = record.run(experiment(CONFIG, jax.random.key(0), digits), kept)
    xr.testing.assert_identical(result, again.data)


def test_the_result_says_what_it_is(whole):
    result, store = whole
    assert result.architecture.values == [NAME]
    assert all("long_name" in variable.attrs for variable in result.data_vars.values())
    assert all(array.dtype != object for part in store.values() for array in part.values())
    assert result.metric_change.attrs["network"] == MAIN


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
        params = jax.jit(build((8, 8), activation).init)(jax.random.key(0))
    mean, sd, of_head = start_distribution(params)
    at = 0
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
    assert at == len(mean)
    # Moving those of the output layer moves all outputs: by numbers that differ, since the
    # decoder's last LayerNorm gives outputs whose sum is 0.
    rng, f = np.random.default_rng(0), jax.jit(flat_network(architecture, (8, 8)).f)
    x, theta = rng.normal(size=(3, 8, 8)), np.asarray(ravel_pytree(params)[0], float)
    moved = theta + of_head * rng.normal(size=at)
    assert (np.abs(f(moved, x) - f(theta, x)) > 1e-3).all()
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
