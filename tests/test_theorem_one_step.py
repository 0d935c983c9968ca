"""The mathematics of the one-step theorem: every quantity two ways, and the verdicts."""

from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from subliminal_toy.distill import cross_entropy, kl, squared_error
from subliminal_toy.errors import UserError
from subliminal_toy.models import mlp
from subliminal_toy.plots import check as pictures
from subliminal_toy.theorem import one_step
from subliminal_toy.theorem.check import Verdict, check_one_step, measure
from subliminal_toy.theorem.many_steps import student_path
from subliminal_toy.theorem.one_step import EPSILONS, NODES, ROUNDOFF
from subliminal_toy.transformer import DecoderShape, decoder

pytestmark = pytest.mark.usefixtures("compile_quickly", "double")

# The same sums in another order, in float64: some hundred terms, each to 1.1e-16, and cancellation
# in softmax gradients.
TWO_WAYS = 1e-11
LOSSES = ("squared error", "weighted", "softmax", "subset", "sq. subset")


class Case:
    """A tanh network with explicit parameters, a loss, and the loss's G and M by hand."""

    def __init__(self, loss, seed=4, batch=4, hidden=3, outputs=4, activation=jnp.tanh):
        rng = np.random.default_rng(seed)
        shapes = ((3, hidden), (hidden,), (hidden, outputs), (outputs,))
        sizes = [int(np.prod(s)) for s in shapes]
        self.theta, self.v = rng.normal(size=(2, sum(sizes)))
        self.n_hidden = sum(sizes[:2])
        with jax.enable_x64(True):
            self.x = jnp.asarray(rng.normal(size=(batch, 3)))
            weights = jnp.append(0.0, rng.uniform(size=outputs - 1))
        columns, inside = slice(1, None), np.arange(outputs) >= 1

        def f(theta, x):
            parts = jnp.split(theta, np.cumsum(sizes)[:-1])
            w1, b1, w2, b2 = (part.reshape(s) for part, s in zip(parts, shapes, strict=True))
            return activation(x @ w1 + b1[None]) @ w2 + b2[None]

        self.f = f
        self.loss, self.c, self.softmax = {
            "squared error": (squared_error, np.ones(outputs), None),
            "weighted": (partial(squared_error, weights=weights), np.asarray(weights), None),
            "softmax": (kl, None, np.ones(outputs, bool)),
            "subset": (partial(kl, columns=columns), None, inside),
            "sq. subset": (partial(squared_error, columns=columns), inside.astype(float), None),
        }[loss]
        self.setting = self.f, self.loss, self.theta, self.x

    def labels(self, epsilon):
        return self.f(self.theta + epsilon * self.v, self.x)

    @cached_property
    def step(self):
        """Return the student's step from a start on the labels at ε."""
        return jax.jit(
            lambda start, epsilon: one_step.student_step(
                self.f, self.loss, start, self.x, self.labels(epsilon)
            )
        )

    @cached_property
    def dense(self):
        """Return z, its Jacobian (batch, outputs, p), and F by the formulas of M."""
        z, jacobian = jax.jit(lambda t: (self.f(t, self.x), jax.jacobian(self.f)(t, self.x)))(
            self.theta
        )
        z, jacobian = np.asarray(z), np.asarray(jacobian)
        matrix = np.einsum("bip,bij,bjq->pq", jacobian, self.matrices(z), jacobian) / len(z)
        return z, jacobian, matrix

    def probabilities(self, z):
        exponentials = np.where(self.softmax, np.exp(z), 0.0)
        return exponentials / exponentials.sum(-1, keepdims=True)

    def gradient(self, z, y):
        """Eq. (17) and (19) of proofs/README.md."""
        if self.softmax is None:
            return 2 * self.c * (z - y)
        return self.probabilities(z) - self.probabilities(y)

    def matrices(self, z):
        if self.softmax is None:
            return np.broadcast_to(2 * np.diag(self.c), (*z.shape, z.shape[-1]))
        p = self.probabilities(z)
        return p[..., None] * np.eye(z.shape[-1]) - p[:, :, None] * p[:, None, :]


each_case = pytest.mark.parametrize("case", [Case(loss) for loss in LOSSES], ids=LOSSES)


@each_case
def test_the_step_is_the_one_of_equation_6(case):
    z, jacobian, _ = case.dense
    push = case.gradient(z, np.asarray(case.labels(0.3)))
    written_out = -np.einsum("bop,bo->p", jacobian, push) / len(z)
    close = TWO_WAYS * (np.abs(written_out).max() + 1)
    np.testing.assert_allclose(case.step(case.theta, 0.3), written_out, rtol=0, atol=close)


@each_case
def test_the_slope_is_that_written_out_and_the_cross_slope_at_the_teachers_start(case):
    def two_ways(v):
        at_teacher = one_step.cross_slope(*case.setting, v, case.theta)
        return jnp.stack([one_step.predicted_slope(*case.setting, v), at_teacher])

    dense = case.v @ case.dense[2] @ case.v
    np.testing.assert_allclose(jax.jit(two_ways)(case.v), dense, rtol=TWO_WAYS)
    assert dense > 0


@each_case
@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_the_cross_slope_is_the_derivative_of_the_inner_product_at_any_start(case, epsilon):
    start = case.theta + np.random.default_rng(1).normal(size=len(case.theta))

    def both(epsilon):
        inner = jax.grad(lambda e: case.step(start, e) @ case.v)
        return one_step.cross_slope(*case.setting, case.v, start, epsilon), inner(epsilon)

    found, reverse = jax.jit(both)(epsilon)
    np.testing.assert_allclose(found, reverse, rtol=1e-9)


def test_the_remainder_is_integrated_by_the_nodes_of_gauss_and_legendre():
    np.testing.assert_allclose(2 * NODES - 1, np.polynomial.legendre.leggauss(2)[0])


@pytest.mark.parametrize("epsilon", [1e-4, 1.0, 10.0])
def test_without_slope_no_step_has_a_component_along_v(epsilon):
    # All logits rise alike: softmax does not see it, at any ε (Eq. 12).
    case = Case("softmax")
    case.v[:-4], case.v[-4:] = 0.0, 1.0
    slope, step = one_step.predicted_slope(*case.setting, case.v), case.step(case.theta, epsilon)
    size = float(np.abs(case.labels(epsilon)).max()) + epsilon
    assert abs(float(slope)) <= 1e3 * ROUNDOFF
    assert abs(float(step @ case.v)) <= 1e2 * ROUNDOFF * size


@pytest.mark.parametrize("seed", range(4))
def test_the_stated_rounding_covers_what_an_exact_expansion_shows(seed):
    # An affine network under squared error has no remainder: all that is seen is rounding.
    case = Case("weighted", seed, activation=lambda h: h)
    case.v[: case.n_hidden] = 0.0
    slope, _, rounding = map(float, one_step.slope_and_rounding(*case.setting, case.v))
    for epsilon in (1e-6, 1e-3):
        error = abs(float(case.step(case.theta, epsilon) @ case.v) / epsilon - slope)
        assert error <= rounding / epsilon + 1e-15 * slope


def test_a_measurement_of_three_steps_from_another_start():
    case, trait = Case("softmax"), lambda theta: jnp.sin(theta).sum()
    start = case.theta + 0.1 * np.random.default_rng(1).normal(size=len(case.theta))
    measured = jax.jit(partial(measure, trait, case.setting, n_steps=3))
    found = measured(v=case.v, start=start, rate=0.05, epsilon=0.3)
    moved = start
    for _ in range(3):
        moved = moved + 0.05 * case.step(moved, 0.3)  # on the labels of the shared start
    _, _, rounding = one_step.slope_and_rounding(*case.setting, case.v)
    for name, value in (
        ("inner", (moved - start) @ case.v / 0.05),
        ("change", trait(moved) - trait(start)),
        ("rounding", 3 * rounding),
    ):
        assert float(found[name]) == pytest.approx(float(value), rel=1e-9, abs=0), name


def test_the_order_is_that_of_the_points_above_rounding_and_below_higher_terms():
    epsilons, exact = np.logspace(-6, 0, 13), np.zeros(13)
    errors, place = 3.0 * epsilons, np.arange(13)
    orders = one_step.order(epsilons, np.stack([errors, errors**2]), exact)
    assert orders == pytest.approx([2.0, 3.0])
    # Rounding at small ε, higher terms at large ε, and all after five points are left out.
    rounding = np.where(epsilons < 3e-6, 10.0, 0.0)
    spoilt = np.where((epsilons < 3e-6) | (epsilons > 2e-3), 7.0, errors)
    late = np.where(place >= 5, 7.0, errors)
    for found in (
        one_step.order(epsilons, spoilt, rounding),
        one_step.order(epsilons, late, exact),
        one_step.order(epsilons, errors, exact, place < 3),
    ):
        assert found == pytest.approx(2.0)
    assert np.isnan(one_step.order(epsilons, errors, exact, place < 2))
    assert np.isnan(one_step.order(epsilons, errors, np.ones(13)))


NET = mlp((2, 2), (6,), 5, jnp.tanh)


@pytest.fixture(scope="module")
def problem():
    """Arguments of ``check_one_step``, but for the student's loss."""
    images = jax.random.normal(jax.random.key(1), (4, 2, 2))
    return {
        "apply": NET.apply,
        "params": NET.init(jax.random.key(0)),
        "inputs": images,
        "trait_loss": lambda p: -NET.apply(p, jnp.ones_like(images))[0, 1],
    }


def hard(z, y):
    """A loss on rounded labels, which do not move with ε."""
    return jnp.mean((z - jnp.round(y)) ** 2)


@pytest.mark.parametrize(
    "loss, more, verdict",
    [
        (squared_error, {}, "holds"),
        (squared_error, {"learning_rate": 0.01, "n_steps": 7}, "holds"),
        (partial(kl, columns=slice(3, 5)), {}, "holds"),
        (partial(kl, columns=slice(3, 4)), {}, "null"),
        (lambda z, y: -squared_error(z, y), {}, "fails"),
        # Two steps of a rate beyond 2/‖F‖: the teacher's loss rises, as predicted.
        (squared_error, {"learning_rate": 10.0, "n_steps": 2}, "fails"),
        (hard, {}, "fails"),
    ],
)
def test_verdicts(problem, loss, more, verdict):
    with jax.enable_x64(False):
        check = check_one_step(**problem, student_loss=loss, **more)
    assert check.verdict is Verdict(verdict)
    if verdict == "null":
        assert not check.inner_products.any() and np.isnan(check.order)
    elif loss is not hard:
        predicted, measured = check.predicted_trait_changes[1], check.trait_changes[1]
        assert measured == pytest.approx(predicted, rel=1e-2)
        assert (measured < 0) == (verdict == "holds")
    if verdict == "holds":
        assert check.order == pytest.approx(2, abs=0.1) and check.relative_errors[0] < 1e-4
        assert (check.inner_products[:10] > 0).all()


def test_a_student_from_another_start_fails_and_the_picture_shows_both(problem):
    mine = partial(check_one_step, **problem, student_loss=squared_error)
    right, wrong = mine(), mine(student_params=NET.init(jax.random.key(5)))
    assert right.verdict == "holds" and wrong.verdict == "fails"
    assert wrong.predicted_slope == right.predicted_slope
    # What it moves does not shrink with ε: the remainder has slope 0, the quotient's error −1.
    assert wrong.relative_errors[0] / wrong.relative_errors[4] == pytest.approx(100, rel=0.05)
    left, below = pictures.figure(right, wrong).axes
    dashed, of_right, of_wrong = (line.get_ydata() for line in left.lines)
    np.testing.assert_allclose(of_right, right.relative_errors * EPSILONS)
    np.testing.assert_allclose(of_wrong, wrong.relative_errors * EPSILONS)
    assert np.polyfit(np.log(EPSILONS), np.log(dashed), 1)[0] == pytest.approx(2)
    assert [line.get_label() for line in left.lines[1:]] == ["right: holds", "wrong: fails"]
    shown = {line.get_label(): line.get_xdata() for line in below.lines}
    for name, check in (("right", right), ("wrong", wrong)):
        np.testing.assert_array_equal(shown[f"{name}: fall"], EPSILONS[check.trait_changes < 0])
        np.testing.assert_array_equal(shown[f"{name}: rise"], EPSILONS[check.trait_changes >= 0])
    assert len(pictures.figure(right).axes[0].lines) == 2


def test_the_verdict_holds_for_the_language_models_decoder():
    shape = DecoderShape(vocab_size=5, context=3, n_layers=1, n_heads=1, width=4)
    net = decoder(shape)
    params = jax.jit(net.init)(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (2, 3), 0, 5)

    def trait(params):
        return -net.apply(params, tokens[:1])[0, -1, 3]

    check = check_one_step(
        lambda p, t: net.apply(p, t)[:, -1], params, tokens, squared_error, trait
    )
    assert check.verdict == "holds" and check.order == pytest.approx(2, abs=0.1)
    # float32 anywhere would leave an error of 1e-8/ε.
    assert check.relative_errors[0] < 1e-4


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"epsilons": [0.1, 0.0]}, "above 0"),
        ({"learning_rate": -1.0}, "above 0"),
        ({"n_steps": 0}, "above 0"),
        ({"student_params": {"w": jnp.zeros(3)}}, "shapes of params"),
        ({"student_params": {"w": jnp.arange(3)}}, "floating-point"),
        ({"params": {}}, "floating-point"),
        ({"params": {"w": jnp.arange(3)}}, "floating-point"),
        ({"trait_loss": lambda p: p["layers"][0]["bias"]}, "trait_loss must return a finite"),
        ({"trait_loss": lambda p: jnp.log(-jnp.ones(()))}, "trait_loss must be finite"),
        ({"student_loss": lambda z, y: z - y}, "student_loss must return a finite scalar"),
    ],
)
def test_wrong_input_is_one_clear_sentence(problem, change, sentence):
    with pytest.raises(UserError, match=sentence):
        check_one_step(**problem | {"student_loss": kl} | change)


# Proofs/README.md, Eq. (24), (25), (26) and (31): what must be exactly zero, although the student,
# of another start, has much to learn.


@pytest.fixture(scope="module")
def independent():
    """A tanh network with five outputs, and the step of a student of another start by its loss."""
    with jax.enable_x64(True):
        case = Case("softmax", seed=1, outputs=5)
        other = 2 * np.random.default_rng(2).normal(size=len(case.theta))
        y = case.f(case.theta + 3 * case.v, case.x)
        assert float(kl(case.f(other, case.x), y)) > 0.1
    return case, lambda loss: one_step.student_step(case.f, loss, other, case.x, y)


def test_one_logit_under_softmax_teaches_nothing_at_all(independent):
    _, step = independent
    assert not step(partial(kl, columns=slice(3, 4))).any()
    assert jnp.abs(step(partial(kl, columns=slice(3, 5)))).max() > 1e-2


@pytest.mark.parametrize("loss", [kl, squared_error])
def test_a_trait_on_heads_that_the_loss_does_not_reach_is_not_passed_on(independent, loss):
    case, step = independent
    head = np.zeros(len(case.theta))
    weights, bias = head[-20:-5].reshape(3, 5), head[-5:]
    weights[:, :3], bias[:3] = case.v[-20:-5].reshape(3, 5)[:, :3], case.v[-3:]
    moved = step(partial(loss, columns=slice(3, 5)))
    assert float(moved @ head) == 0 and jnp.abs(moved).max() > 1e-2 and np.abs(head).max() > 0.1


def test_heads_of_a_linear_model_pass_nothing_to_one_another(independent):
    x = independent[0].x
    rng = np.random.default_rng(3)
    theta, other, v = rng.normal(size=(3, 20))

    def f(t, x):
        return x @ t[:15].reshape(3, 5) + t[None, 15:]

    def trait(t):
        return cross_entropy(f(t, x), jnp.arange(4) % 3, slice(3))

    y = f(theta + v, x)
    step = one_step.student_step(f, partial(kl, columns=slice(3, 5)), other, x, y)
    assert jnp.abs(step).max() > 1e-2
    assert float(one_step.trait_changes(trait, other, step)) == 0


def test_a_student_equal_to_its_teacher_stands_still(independent):
    case, _ = independent
    # As the step computes it: another evaluation may round in another way.
    z, _ = jax.vjp(lambda theta: case.f(theta, case.x), case.theta)
    assert not one_step.student_step(case.f, squared_error, case.theta, case.x, z).any()
    # Under softmax up to rounding: (n + 1 + 3R + 3 log n) u in log p, R the range of the n logits.
    gradient = jnp.abs(jax.grad(kl)(z, z)).max()
    n, extent = z.shape[-1], float(np.ptp(z, axis=-1).max())
    bound = 3 * (2 * n + 3 + 3 * extent + 3 * np.log(n)) * ROUNDOFF / len(z)
    assert float(gradient) <= bound < 1e-13


# The counterexamples of proofs/README.md, from θ⁰ = 0 or 1, under squared error.


@partial(jax.jit, static_argnums=(0, 1))
def one_small_step(f, trait, x, epsilon, alpha, metrics=((1.0, 1.0), (1.0, 1.0))):
    """Return teacher, student, the change of L_T and Δ_S·v; ``metrics`` are diagonals."""
    theta, (of_teacher, of_student) = jnp.zeros(2), jnp.asarray(metrics)
    v = of_teacher * one_step.direction(trait, theta)
    teacher = one_step.teacher(theta, v, epsilon)
    step = of_student * one_step.student_step(f, squared_error, theta, x, f(teacher, x))
    return teacher, alpha * step, trait(alpha * step) - trait(theta), step @ v


def linear(theta, x):
    return (x @ theta)[:, None]


def to_one(theta):
    return 0.5 * jnp.sum((theta - 1) ** 2)


@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 0.5])
def test_the_counterexamples_are_those_of_the_proof(epsilon):
    def close(found, expected):
        assert float(jnp.squeeze(found)) == pytest.approx(expected, rel=0, abs=1e-14)

    x, elsewhere, unit = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, -2.0]]), jnp.ones((1, 1))
    # Eq. (27): on another input teacher and student move in opposite ways, though L_T falls.
    teacher, student, change, _ = one_small_step(linear, to_one, x, epsilon, 0.25)
    close(linear(teacher, elsewhere), -epsilon)
    close(linear(student, elsewhere), 0.5 * epsilon)
    close(change, 0.5 * (0.5 * epsilon - 1) ** 2 - 0.5)
    # Eq. (28): a large rate overshoots, to twice the distance.
    teacher, student, change, _ = one_small_step(linear, to_one, x, epsilon, 1.5)
    close(linear(teacher, x), epsilon)
    close(linear(student - teacher, x), 2 * epsilon)
    close(change, 0.5 * (3 * epsilon - 1) ** 2 - 0.5)
    # Eq. (38): with two metrics L_T rises.
    opposed = (2.0, 1.0), (1.0, 2.0)
    total, difference = (lambda t, x: x * t.sum()), (lambda t: t[0] - t[1])
    close(one_small_step(total, difference, unit, epsilon, 0.25, opposed)[2], 0.5 * epsilon)
    # Eq. (45): f = θ, L_T = −θ: after two steps of a large rate it rises.
    (moved,) = student_path(
        lambda t, x: x * t[None], squared_error, jnp.zeros(1), unit, epsilon * unit, 1.5, (2,)
    )
    close(-moved, 3 * epsilon)
    # Eq. (55): f = θ², from θ = 1: A = 8, and C = −8 for a student that starts at −1.
    square = (lambda t, x: x * t[None] ** 2), squared_error, unit[0], unit, unit[0]
    close(one_step.predicted_slope(*square), 8)
    close(one_step.cross_slope(*square, -unit[0]), -8)


@pytest.mark.parametrize(("epsilon", "alpha"), [(1e-3, 0.25), (2.0, -0.5)])
def test_at_the_edge_no_step_has_a_component_along_v_and_the_loss_rises(epsilon, alpha):
    # Eq. (31): f = θ₁ + θ₀², L_T = θ₁² − θ₀.
    teacher, student, change, inner = one_small_step(
        lambda t, x: x * (t[1] + t[0] ** 2), lambda t: t[1] ** 2 - t[0],
        jnp.ones((1, 1)), epsilon, alpha,
    )  # fmt: skip
    assert float(inner) == 0 and change > 0
    np.testing.assert_allclose(teacher, [epsilon, 0], rtol=1e-15)
    np.testing.assert_allclose(student, [0, 2 * alpha * epsilon**2], rtol=1e-14)
    assert float(change) == pytest.approx(4 * alpha**2 * epsilon**4, rel=1e-14)
