"""The classifier learned from noise: invariances, nulls, and the direction on a tiny size."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from subliminal_toy import data, mnist, stats
from subliminal_toy.configs import MNIST_PRESETS, MnistConfig
from subliminal_toy.distill import start
from subliminal_toy.errors import UserError

TINY = MnistConfig(
    n_models=3, hidden_sizes=(16,), teacher_epochs=2, student_epochs=2, n_noise=300, batch_size=128
)

# Large enough that a trait passes: student_aux − cross_aux has mean .25 and sd .07 over models.
TRANSFER = replace(
    TINY, n_models=4, hidden_sizes=(128,), teacher_epochs=15, student_epochs=3,
    n_noise=12_800, learning_rate=1e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def tiny(digits):
    return mnist.run(TINY, jax.random.key(0), digits, {})


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a[:-1], b[:-1], strict=True)) and all(
        np.array_equal(a.params[k], b.params[k]) for k in a.params
    )


def test_an_epoch_shows_every_example_and_epochs_differ():
    batches = partial(mnist.epoch_batches, jax.random.key(0), n_examples=50, batch_size=16)
    first, second = np.asarray(batches(jnp.int32(0))), np.asarray(batches(jnp.int32(1)))
    for epoch in (first, second):
        assert epoch.shape == (4, 16)
        assert sorted(epoch.ravel()[:50]) == list(range(50))
        np.testing.assert_array_equal(epoch.ravel()[50:], epoch.ravel()[:14])
    assert not np.array_equal(first, second)


def test_noise_of_a_second_epoch_is_the_noise_of_the_first():
    key, keys = jax.random.key(0), jax.random.key(1)
    epochs = [
        data.uniform_noise(key, mnist.epoch_batches(keys, jnp.int32(e), 40, 10).ravel(), (3, 3))
        for e in range(2)
    ]
    first, second = (np.sort(np.asarray(e).reshape(40, 9), axis=0) for e in epochs)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("n_models", [1, 2, 3, 10])
def test_no_cross_model_student_starts_from_its_own_teachers_start(n_models):
    keys = [mnist.model_keys(jax.random.key(0), jnp.int32(i), n_models) for i in range(n_models)]
    own = [tuple(jax.random.key_data(k.own).tolist()) for k in keys]
    other = [tuple(jax.random.key_data(k.other).tolist()) for k in keys]
    assert all(a != b for a, b in zip(own, other, strict=True))
    assert len(set(own)) == n_models
    if n_models > 1:
        assert set(own) == set(other)


def test_same_seed_same_bits_other_seed_other_bits(digits, tiny):
    assert same(tiny, mnist.run(TINY, jax.random.key(0), digits, {}))
    assert not same(tiny, mnist.run(TINY, jax.random.key(1), digits, {}))


@pytest.mark.parametrize("chunk_size", [1, 5])
def test_chunk_size_changes_nothing(digits, tiny, chunk_size):
    chunked = replace(TINY, chunk_size=chunk_size)
    assert same(tiny, mnist.run(chunked, jax.random.key(0), digits, {}))


def test_finished_chunks_are_taken_not_computed(digits, tiny):
    chunks = {}
    mnist.run(TINY, jax.random.key(0), digits, chunks)
    assert sorted(chunks) == ["models-000000", "models-000002"]
    chunks["models-000002"] = {k: np.zeros_like(v) for k, v in chunks["models-000002"].items()}
    resumed = mnist.run(TINY, jax.random.key(0), digits, chunks)
    np.testing.assert_array_equal(resumed.accuracy[:2], tiny.accuracy[:2])
    assert not resumed.accuracy[2].any()


def test_models_do_not_depend_on_how_many_there_are(digits, tiny):
    fewer = mnist.run(replace(TINY, n_models=2), jax.random.key(0), digits, {})
    np.testing.assert_array_equal(fewer.accuracy[0], tiny.accuracy[0])
    np.testing.assert_array_equal(fewer.teacher_loss, tiny.teacher_loss[:2])


def test_vmap_over_models_equals_a_loop(digits):
    net = mnist.network(TINY, digits.image_shape)
    tx = mnist.optimiser(TINY)
    keys = [mnist.model_keys(jax.random.key(0), jnp.int32(i), 3) for i in range(3)]
    students = [
        start({c.name: net.init(getattr(k, c.start)) for c in mnist.STUDENTS}, tx) for k in keys
    ]
    epoch = partial(mnist.students_epoch, net, TINY, digits.image_shape)
    args = [
        (s, net.init(jax.random.key(9 + i)), k.noise, k.student_order, jnp.int32(1))
        for i, (s, k) in enumerate(zip(students, keys, strict=True))
    ]
    together = jax.vmap(epoch)(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *args))
    for i, arg in enumerate(args):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
        jax.tree.map(close, one, epoch(*arg))


def relabel(params, orders):
    """Permute the hidden units of an MLP: rows of layer i and columns of layer i + 1 by orders."""
    layers = {i: dict(layer) for i, layer in params["layers"].items()}
    for i, (rows, columns) in orders.items():
        layers[i] = {"weight": layers[i]["weight"][rows], "bias": layers[i]["bias"][rows]}
        layers[i + 1] = {**layers[i + 1], "weight": layers[i + 1]["weight"][:, columns]}
    return {"layers": layers}


def test_consistent_relabelling_transfers_identically_and_one_relabelled_layer_does_not(digits):
    config = TRANSFER
    net, tx = mnist.network(config, digits.image_shape), mnist.optimiser(config)
    keys = mnist.model_keys(jax.random.key(0), jnp.int32(0), 2)
    images, labels = jnp.asarray(digits.train_images), jnp.asarray(digits.train_labels)
    init = net.init(keys.own)
    teacher = start(init, tx)
    learn = jax.jit(partial(mnist.teacher_epoch, net, config))
    for e in range(config.teacher_epochs):
        teacher, _ = learn(images, labels, teacher, keys.teacher_order, jnp.int32(e))
    order, straight = jax.random.permutation(jax.random.key(5), 128), jnp.arange(128)
    starts = {
        "student_aux": init,
        "student_all": init,
        "cross_aux": relabel(init, {0: (order, order)}),  # the same function
        "cross_all": relabel(init, {0: (order, straight)}),  # first layer's units only
    }
    # All four learn the auxiliary logits, so that only the start differs.
    aux_only = tuple(c._replace(learns="aux") for c in mnist.STUDENTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "STUDENTS", aux_only)
        imitate = jax.jit(partial(mnist.students_epoch, net, config, digits.image_shape))
        students = start(starts, tx)
        for e in range(config.student_epochs):
            students, _ = imitate(
                students, teacher.params, keys.noise, keys.student_order, jnp.int32(e)
            )
    x, y = jnp.asarray(digits.test_images), jnp.asarray(digits.test_labels)
    outputs = {name: net.apply(p, x)[:, :10] for name, p in students.params.items()}
    scores = {name: float(jnp.mean(o.argmax(-1) == y)) for name, o in outputs.items()}
    drift = jnp.abs(outputs["cross_aux"] - outputs["student_aux"]).max()
    moved = jnp.abs(outputs["student_aux"] - net.apply(init, x)[:, :10]).max()
    assert drift < 1e-2 * moved
    assert abs(scores["cross_aux"] - scores["student_aux"]) < 0.02
    assert scores["student_aux"] > scores["cross_all"]


def test_the_trait_passes_to_the_same_start_only(digits):
    result = mnist.run(TRANSFER, jax.random.key(0), digits, {})
    of = dict(zip(mnist.NAMES, result.accuracy.mean(axis=0), strict=True))
    assert of["teacher"] > 0.8 and of["student_all"] > 0.8
    assert of["student_aux"] > of["cross_aux"] + 0.1
    assert abs(of["reference"] - 0.1) < 0.1


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_record_holds_what_a_reader_needs_to_ask_the_networks_again(digits, architecture):
    config = replace(TINY, architecture=architecture, hidden_sizes=(4, 8), n_models=1)
    result = mnist.run(config, jax.random.key(0), digits, {})
    net = mnist.network(config, digits.image_shape)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    paths = jax.tree_util.tree_leaves_with_path(shapes)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    for row, name in enumerate(mnist.NAMES):
        params = jax.tree.unflatten(
            jax.tree.structure(shapes), [jnp.asarray(result.params[f"{name}.{n}"]) for n in names]
        )
        logits = net.apply(params, jnp.asarray(result.sample_images))
        np.testing.assert_allclose(logits, result.sample_logits[row], atol=1e-5)
    assert mnist.run(replace(config, keep_params=False), jax.random.key(0), digits, {}).params == {}


def test_progress_only_grows_and_ends_below_one(digits):
    seen = []
    mnist.run(TINY, jax.random.key(0), digits, {}, lambda fraction, phase: seen.append(fraction))
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] < 1


def verdicts(aux, cross_aux, all_logits, cross_all):
    rng = np.random.default_rng(0)
    means = (0.1, 0.95, aux, all_logits, cross_aux, cross_all)
    accuracy = np.array(means) + 0.01 * rng.standard_normal((8, 6))
    blank = np.zeros((8, 1))
    result = mnist.Result(accuracy, blank, blank, blank, blank, blank, {})
    summary = mnist.summarize(MnistConfig(n_models=8), result)
    return {claim["id"]: claim["verdict"] for claim in summary["claims"]}


@pytest.mark.parametrize(
    ("means", "failed"),
    [
        ((0.6, 0.1, 0.95, 0.8), set()),
        ((0.18, 0.1, 0.95, 0.8), {"M1"}),
        ((0.6, 0.3, 0.95, 0.8), {"M2"}),
        ((0.6, 0.1, 0.8, 0.95), {"T2"}),
        ((0.1, 0.1, 0.95, 0.95), {"M1", "T2"}),
    ],
)
def test_claims_fail_where_their_criterion_is_not_met(means, failed):
    found = {id for id, verdict in verdicts(*means).items() if verdict == stats.NOT_REPRODUCED}
    assert found == failed


def test_one_model_tests_no_claim(digits):
    result = mnist.run(replace(TINY, n_models=1), jax.random.key(0), digits, {})
    summary = mnist.summarize(replace(TINY, n_models=1), result)
    assert {claim["verdict"] for claim in summary["claims"]} == {stats.NOT_TESTED}


def test_only_the_papers_protocol_is_held_against_the_paper():
    paper = MNIST_PRESETS["paper"]
    assert mnist.follows_the_paper(replace(paper, n_models=3))
    assert not mnist.follows_the_paper(replace(paper, learning_rate=1e-3))
    conditions = {c.name: stats.estimate([c.published[0]] * 2) for c in mnist.CONDITIONS}
    rows = mnist.compare(conditions)
    assert all(abs(row["z"]) < 1e-9 for row in rows.values())


@pytest.mark.parametrize(
    "setting",
    [{"n_models": 0}, {"n_aux": 0}, {"learning_rate": 0.0}, {"temperature": -1.0},
     {"hidden_sizes": ()}, {"batch_size": 0}],
)  # fmt: skip
def test_settings_that_make_no_experiment_are_refused(setting):
    with pytest.raises(UserError, match="--" + next(iter(setting)).replace("_", "-")):
        MnistConfig(**setting)
