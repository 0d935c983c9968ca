"""Our training against the plain PyTorch of the benchmark: loss, gradient, parameters, 20 steps."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from subliminal_toy.classifier.arms import Student
from subliminal_toy.classifier.training import columns
from subliminal_toy.distill import cross_entropy, fit, kl
from subliminal_toy.models import mlp

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
plain_torch = pytest.importorskip("plain_torch")

N_STEPS, BATCH, RATE = 20, 32, 3e-3
TOLERANCE = 1e-9


@pytest.fixture
def problem(double):
    """Return network, start, images of every step and their labels."""
    rng = np.random.default_rng(0)
    net = mlp((8, 8), (16, 12), 13)
    params = jax.tree.map(
        lambda a: jnp.asarray(rng.normal(0, a.shape[-1] ** -0.5, a.shape)),
        net.init(jax.random.key(0)),
    )
    images = rng.uniform(-1, 1, (N_STEPS, BATCH, 8, 8))
    return net, params, images, rng.integers(10, size=(N_STEPS, BATCH))


def to_torch(params):
    layers = [params["layers"][i] for i in range(3)]
    return plain_torch.trainable(
        [
            (torch.tensor(np.asarray(layer["weight"]).T[None].copy()),
             torch.tensor(np.asarray(layer["bias"])[None, None].copy()))
            for layer in layers
        ]
    )  # fmt: skip


def assert_same(ours, theirs):
    for i, (weight, bias) in enumerate(theirs):
        layer = ours["layers"][i]
        for a, b in ((layer["weight"].T, weight[0]), (layer["bias"], bias[0, 0])):
            np.testing.assert_allclose(a, b.detach().numpy(), rtol=0, atol=TOLERANCE)


def compare(loss, batches, params, theirs, their_loss):
    """Compare the gradient at the start, then every loss and the parameters after all steps."""
    adam = torch.optim.Adam([p for layer in theirs for p in layer], lr=RATE)
    their_losses = []
    for step in range(N_STEPS):
        value = their_loss(step)
        adam.zero_grad()
        value.backward()
        if step == 0:
            gradient = jax.grad(loss)(params, jax.tree.map(lambda a: a[0], batches))
            assert_same(gradient, [(w.grad, b.grad) for w, b in theirs])
        adam.step()
        their_losses.append(value.item())
    at = lambda step: jax.tree.map(lambda a: a[step], batches)  # noqa: E731
    ours, losses = jax.jit(
        lambda params: fit(loss, params, optax.adam(RATE), at, N_STEPS)
    )(params)  # fmt: skip
    np.testing.assert_allclose(losses, their_losses, atol=TOLERANCE)
    assert_same(ours, theirs)


def test_teachers_agree(problem):
    net, params, images, labels = problem
    theirs = to_torch(params)
    compare(
        lambda p, batch: cross_entropy(net.apply(p, batch[0]), batch[1], slice(10)),
        (jnp.asarray(images), jnp.asarray(labels)),
        params,
        theirs,
        lambda step: plain_torch.teacher_loss(
            theirs, torch.tensor(images[step]).flatten(1)[None], torch.tensor(labels[step])[None]
        ),
    )


@pytest.mark.parametrize(("imitates", "learns"), [("auxiliary", "aux"), ("all", "all")])
def test_students_agree(problem, imitates, learns):
    net, params, images, _ = problem
    teacher = jax.tree.map(lambda a: a + 0.1 * jnp.sin(jnp.arange(a.size)).reshape(a.shape), params)
    theirs, their_teacher = to_torch(params), to_torch(teacher)
    targets = jax.vmap(lambda x: net.apply(teacher, x))(jnp.asarray(images))

    def their_loss(step):
        batch = torch.tensor(images[step]).flatten(1)[None]
        with torch.no_grad():
            targets = plain_torch.apply(their_teacher, batch)
        return plain_torch.student_loss(theirs, batch, targets, learns)

    compare(
        lambda p, batch: kl(
            net.apply(p, batch[0]), batch[1], columns(Student("", imitates=imitates))
        ),
        (jnp.asarray(images), targets),
        params,
        theirs,
        their_loss,
    )
