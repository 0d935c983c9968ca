"""The classifier learned from noise: every arm against a plain loop, invariances, nulls, claims."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
import xarray as xr
from subliminal_toy.classifier.summary import claims, compare, summarize

from subliminal_toy import data, runs, stats
from subliminal_toy.classifier import training
from subliminal_toy.classifier.arms import (
    OTHER,
    OWN,
    PUBLISHED,
    STUDENTS,
    Student,
    Teacher,
    numbers_of,
    published_experiment,
)
from subliminal_toy.classifier.config import PRESETS, ClassifierConfig
from subliminal_toy.classifier.experiment import experiment, of_table
from subliminal_toy.errors import UserError

KEY = 0
TINY = ClassifierConfig(
    n_replicates=2,
    hidden_sizes=(16, 12),
    teacher_epochs=2,
    student_epochs=2,
    n_inputs=300,
    batch_size=128,
    temperature=2.0,
    learning_rate=3e-3,
)
# Every kind of start, input, loss, optimiser and update that a row can name, once at least.
SMALL = Student("", inputs="uniform", n_inputs=200, batch_size=100, epochs=2, learning_rate=3e-3)
ROWS = (
    replace(SMALL, name="first layer other", start=(OTHER, OWN, OWN, OWN)),
    replace(SMALL, name="own class head", start=(OTHER, OTHER, OWN, OTHER)),
    replace(SMALL, name="own auxiliary head", start=(OTHER, OTHER, OTHER, OWN), imitates="all"),
    replace(SMALL, name="at a distance", distance=0.5),
    replace(SMALL, name="gaussian", inputs="gaussian", optimiser="momentum", learning_rate=0.1),
    replace(SMALL, name="signs", inputs="signs", input_scale=0.5, optimiser="sign"),
    replace(SMALL, name="images", inputs="images", optimiser="rmsprop"),
    replace(
        SMALL, name="shuffled", inputs="shuffled pixels", optimiser="adagrad", learning_rate=0.02
    ),
    replace(SMALL, name="fresh", fresh=True, optimiser="lion", learning_rate=1e-3),
    replace(
        SMALL,
        name="squared",
        loss="squared error",
        loss_scale=0.3,
        optimiser="sgd",
        learning_rate=0.1,
    ),
    replace(SMALL, name="decayed", weight_decay=0.1),
    replace(SMALL, name="without", update="without", checkpoints=(1, 3)),
    replace(SMALL, name="only", update="only"),
    replace(SMALL, name="without random", update="without", along="random"),
    replace(SMALL, name="without own", update="without", along="free", checkpoints=(2,)),
    replace(SMALL, name="muon", optimiser="muon"),
    replace(SMALL, name="first logits", n_aux=2),
)
TEACHER = Teacher(hidden_sizes=(16, 12), batch_size=128, epochs=2, learning_rate=3e-3)


pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def run(config, digits, seed=KEY):
    return runs.run(experiment(config, jax.random.key(seed), digits))


@pytest.fixture(scope="module")
def tiny(digits):
    return run(TINY, digits)


# A second implementation, for one replicate: loops, forward pass and optimiser written out.


def forward(params, x):
    h = x.reshape(len(x), -1)
    layers = [params["layers"][i] for i in range(3)]
    for layer in layers[:-1]:
        h = jnp.maximum(h @ layer["weight"].T + layer["bias"][None], 0)
    return h @ layers[-1]["weight"].T + layers[-1]["bias"][None]


def stream(number, index):
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(KEY), number), index)


def network(seed_key):
    return training.network(TEACHER, (8, 8)).init(seed_key)


def orders(key, epochs, n, batch_size):
    """Yield the example numbers of every step, the last batch filled from the front."""
    for epoch in range(epochs):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), n))
        for first in range(0, n, batch_size):
            rows = np.arange(first, first + batch_size) % n
            yield epoch, order[rows]


def optimise(loss, params, batches, tx, change=lambda update: update):
    gradient, state = jax.jit(jax.grad(loss)), tx.init(params)
    for batch in batches:
        update, state = tx.update(gradient(params, *batch), state, params)
        params = optax.apply_updates(params, change(update))
    return params


def plain_teacher(index, digits, epochs=2, batch_size=128, rate=3e-3):
    x, y = jnp.asarray(digits.train_images), jnp.asarray(digits.train_labels)

    def loss(params, images, labels):
        log_p = jax.nn.log_softmax(forward(params, images)[:, :10])
        return -log_p[jnp.arange(len(labels)), labels].mean()

    batches = orders(stream(1, index), epochs, len(x), batch_size)
    return optimise(
        loss, network(stream(0, index)), ((x[i], y[i]) for _, i in batches), optax.adam(rate)
    )


def plain_student(index, teacher, start, key_of_order, inputs_of, first, T, rate, steps):
    """Train on KL(teacher ‖ student) of the logits from ``first`` on, at temperature ``T``."""

    def loss(params, x):
        p = jax.nn.softmax(forward(teacher, x)[:, first:] / T)
        log_q = jax.nn.log_softmax(forward(params, x)[:, first:] / T)
        return jnp.sum(p * (jnp.log(p) - log_q), axis=-1).mean()

    epochs, n, batch_size = steps
    batches = ((inputs_of(i),) for _, i in orders(key_of_order, epochs, n, batch_size))
    return optimise(loss, start, batches, optax.adam(rate))


def params_of(result, arm):
    flat = {
        name.removeprefix(arm + "."): value[0]
        for name, value in result.params.items()
        if name.startswith(arm + ".")
    }
    names = ("weight", "bias")
    return {"layers": {i: {n: flat[f"layers.{i}.{n}"] for n in names} for i in range(3)}}


def assert_close(a, b, tolerance=2e-4):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance), a, b)


def moved(a, b):
    return max(float(jnp.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=1))


def test_the_published_arms_are_what_their_names_say(digits, tiny):
    """Untrained network, teacher and four students of replicate 0, by a plain loop for each."""
    own, other = network(stream(0, 0)), network(stream(0, 1))
    teacher = plain_teacher(0, digits)
    assert_close(params_of(tiny, "untrained"), own, 1e-6)
    assert_close(params_of(tiny, "teacher"), teacher)
    noise = data.uniform_noise(stream(2, 0), jnp.arange(300), (8, 8))
    arms = {"student_aux": (own, 10), "student_all": (own, 0)}
    arms |= {"cross_aux": (other, 10), "cross_all": (other, 0)}
    for name, (start, first) in arms.items():
        plain = plain_student(
            0, teacher, start, stream(3, 0), lambda i: noise[i], first, 2.0, 3e-3, (2, 300, 128)
        )
        found = params_of(tiny, name)
        assert_close(found, plain)
        assert moved(found, start) > 20 * 2e-4  # so that the tolerance can tell arms apart
        x, y = digits.test_images, digits.test_labels
        scores = tiny.data.sel(arm=name).isel(replicate=0)
        right = (np.asarray(forward(found, x))[:, :10].argmax(-1) == y).mean()
        assert scores.accuracy == pytest.approx(right, abs=1e-6)
        weight = np.concatenate(
            [teacher["layers"][2]["weight"][:10], found["layers"][2]["weight"][10:]]
        )
        bias = np.concatenate([teacher["layers"][2]["bias"][:10], found["layers"][2]["bias"][10:]])
        mixed = {"layers": {**found["layers"], 2: {"weight": weight, "bias": bias}}}
        through = (np.asarray(forward(mixed, x))[:, :10].argmax(-1) == y).mean()
        assert scores.teacher_head_accuracy == pytest.approx(through, abs=3e-3)
        for measure, params in (("imitation_loss", found), ("first_loss", start)):
            p, q = (jax.nn.softmax(forward(n, noise)[:, first:] / 2) for n in (teacher, params))
            kl = float((p * jnp.log(p / q)).sum(-1).mean())
            assert scores[measure] == pytest.approx(kl, rel=2e-2, abs=1e-6)
        d = [np.concatenate([(n["layers"][i][k] - start["layers"][i][k]).ravel()
             for i in (0, 1) for k in ("weight", "bias")]) for n in (found, teacher)]  # fmt: skip
        q, cosine = d[0] @ d[1] / (d[1] @ d[1]), d[0] @ d[1] / np.sqrt(d[0] @ d[0] * (d[1] @ d[1]))
        assert scores.progress == pytest.approx(q, abs=1e-3)
        assert scores.cosine == pytest.approx(cosine, abs=1e-3)


@pytest.fixture(scope="module")
def table(digits):
    """Replicate 0 of a table that has every kind: starts, and parameters at all checkpoints."""
    numbers = numbers_of(TEACHER, ROWS)
    images = tuple(map(jnp.asarray, digits[1:]))

    @jax.jit
    def train(numbers):
        shared = (jax.random.key(KEY), jnp.int32(2), numbers, images)
        of = training.replicate(TEACHER, (8, 8), shared, jnp.int32(0))
        return training.train(ROWS, of)

    return train(numbers)[1]


def rows_inputs(row, digits, index):
    images = jnp.asarray(digits.train_images)
    keys = [jax.random.fold_in(stream(2, 0), i) for i in index]
    made = {
        "uniform": lambda: data.uniform_noise(stream(2, 0), jnp.asarray(index), (8, 8)),
        "gaussian": lambda: jnp.stack([jax.random.normal(k, (8, 8)) for k in keys]),
        "signs": lambda: jnp.stack([jax.random.rademacher(k, (8, 8), jnp.float32) for k in keys]),
        "images": lambda: images[jnp.asarray(index)],
        "shuffled pixels": lambda: jnp.stack(
            [
                jax.random.permutation(k, images[i].reshape(-1)).reshape(8, 8)
                for k, i in zip(keys, index, strict=True)
            ]
        ),
    }[row.inputs]()
    return row.input_scale * made


def rows_start(row):
    origin = {OWN: network(stream(0, 0)), OTHER: network(stream(0, 1))}
    if isinstance(row.start, str):
        start = origin[row.start]
    else:
        one, two, head, auxiliary = row.start
        rows = {
            k: jnp.concatenate(
                [origin[head]["layers"][2][k][:10], origin[auxiliary]["layers"][2][k][10:]]
            )
            for k in ("weight", "bias")
        }
        layers = {0: origin[one]["layers"][0], 1: origin[two]["layers"][1], 2: rows}
        start = {"layers": layers}
    away, sigma = network(stream(4, 0)), row.distance
    return jax.tree.map(lambda s, a: (s + sigma * a) / (1 + sigma**2) ** 0.5, start, away)


OPTIMISERS = {
    "adam": optax.adam,
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, 0.9),
    "sign": lambda rate: optax.chain(
        optax.stateless(lambda g, _: jax.tree.map(jnp.sign, g)), optax.scale(-rate)
    ),
    "rmsprop": optax.rmsprop,
    "lion": optax.lion,
    "adagrad": optax.adagrad,
    "muon": optax.contrib.muon,
}  # fmt: skip


def hidden(tree):
    return np.concatenate(
        [np.asarray(tree["layers"][i][k]).ravel() for i in (0, 1) for k in ("weight", "bias")]
    )


def along(update, direction, kind):
    """Return the update without, or with only, its component along a direction, heads apart."""
    u, d = hidden(update), hidden(direction)
    share = float(u @ d / (d @ d))
    layers = {
        i: {
            k: share * direction["layers"][i][k]
            if kind == "only"
            else update["layers"][i][k] - share * direction["layers"][i][k]
            for k in ("weight", "bias")
        }
        for i in (0, 1)
    }
    return {"layers": {**layers, 2: update["layers"][2]}}


def rows_direction(row, goal, free):
    """Return the direction of a row's update; ``free()`` is where the same student ends freely."""
    if row.along == "random":
        leaves, structure = jax.tree.flatten(goal)
        keys = jax.random.split(stream(5, 0), len(leaves))
        drawn = [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(structure, drawn)
    if row.along == "free":
        moved = free()
        share = hidden(moved) @ hidden(goal) / (hidden(goal) @ hidden(goal))
        return jax.tree.map(lambda own, teachers: own - share * teachers, moved, goal)
    return goal


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_kind_of_row_is_what_its_fields_say(row, digits, table):
    teacher, start = table["teacher"], rows_start(row)
    seen = slice(0 if row.imitates == "all" else 10, None if row.n_aux is None else 10 + row.n_aux)

    def loss(params, x):
        z, y = forward(params, x)[:, seen], forward(teacher, x)[:, seen]
        if row.loss == "squared error":
            return row.loss_scale * ((z - y) ** 2).sum(-1).mean()
        p = jax.nn.softmax(y)
        return (p * (jnp.log(p) - jax.nn.log_softmax(z))).sum(-1).mean()

    def batches():
        for epoch, index in orders(stream(3, 0), 2, 200, 100):
            yield (rows_inputs(row, digits, index + (200 * epoch if row.fresh else 0)),)

    tx = OPTIMISERS[row.optimiser](row.learning_rate)
    if row.weight_decay:
        decayed = optax.stateless(
            lambda g, p: jax.tree.map(lambda g, p: g + row.weight_decay * p, g, p)
        )
        tx = optax.chain(decayed, tx)
    change = lambda update: update  # noqa: E731
    steps = list(batches())
    if row.update != "all":
        goal = jax.tree.map(jnp.subtract, teacher, start)
        free = lambda: jax.tree.map(jnp.subtract, optimise(loss, start, steps, tx), start)  # noqa: E731
        direction = rows_direction(row, goal, free)
        change = lambda update: along(update, direction, row.update)  # noqa: E731
    for at, checkpoint in enumerate((*row.checkpoints, 4)):
        plain = optimise(loss, start, steps[:checkpoint], tx, change)
        found = jax.tree.map(lambda leaf, at=at: leaf[at], table[row.name])
        # An optimiser of signs turns rounding of a tiny gradient into whole steps of its rate.
        tolerance = 2e-4 if row.optimiser not in ("sign", "lion") else 2.1 * row.learning_rate
        differing = [
            (np.abs(a - b) > 2e-4).mean()
            for a, b in zip(*map(jax.tree.leaves, (found, plain)), strict=True)
        ]
        assert max(differing) < 0.02
        assert_close(found, plain, tolerance)
    assert moved(table[row.name], jax.tree.map(lambda leaf: leaf[None], start)) > 2e-3


@pytest.mark.parametrize("n_replicates", [1, 2, 3, 10])
def test_no_cross_model_student_starts_from_its_own_teachers_start(n_replicates):
    keys = [
        training.replicate_keys(jax.random.key(0), jnp.int32(i), n_replicates)
        for i in range(n_replicates)
    ]
    own = [tuple(jax.random.key_data(k.own).tolist()) for k in keys]
    other = [tuple(jax.random.key_data(k.other).tolist()) for k in keys]
    assert all(a != b for a, b in zip(own, other, strict=True))
    assert len(set(own)) == n_replicates
    if n_replicates > 1:
        assert set(own) == set(other)


def test_every_purpose_of_every_replicate_has_a_key_of_its_own():
    keys = [training.replicate_keys(jax.random.key(0), jnp.int32(i), 3) for i in range(3)]
    data = [
        tuple(jax.random.key_data(key).tolist())
        for of_one in keys
        for name, key in of_one._asdict().items()
        if name != "other"  # the next replicate's own
    ]
    assert len(set(data)) == len(data)


def test_same_seed_same_bits_other_seed_other_bits(digits, tiny):
    xr.testing.assert_identical(tiny.data, run(TINY, digits).data)
    assert not tiny.data.imitation_loss.equals(run(TINY, digits, seed=1).data.imitation_loss)


def test_replicates_depend_neither_on_their_number_nor_on_the_parts(digits, tiny, monkeypatch):
    monkeypatch.setattr("subliminal_toy.classifier.experiment.PART", 2)
    config, finished = replace(TINY, n_replicates=4), {}
    whole = runs.run(experiment(config, jax.random.key(0), digits), finished).data
    own = ["untrained", "teacher", "student_aux", "student_all"]
    for name in ("accuracy", "imitation_loss", "progress"):
        np.testing.assert_array_equal(whole[name].sel(arm=own)[:2], tiny.data[name].sel(arm=own))
    assert sorted(finished) == ["replicates-000000", "replicates-000002"]
    last = finished.pop("replicates-000002")
    again = runs.run(experiment(config, jax.random.key(0), digits), finished).data
    xr.testing.assert_identical(whole, again)
    finished["replicates-000002"] = {k: np.zeros_like(v) for k, v in last.items()}
    taken = runs.run(experiment(config, jax.random.key(0), digits), finished).data
    assert not taken.accuracy[2:].any() and taken.accuracy[:2].equals(whole.accuracy[:2])


def test_numbers_of_the_table_compile_nothing_again(digits, tiny):
    teacher, students = published_experiment(TINY)
    faster = tuple(replace(s, learning_rate=1e-2, temperature=1.0, distance=0.1) for s in students)
    compiled = []
    listener = lambda event, seconds, **_: compiled.append(event)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listener)
    other = runs.run(of_table(teacher, faster, 2, jax.random.key(KEY), digits))
    jax.monitoring.unregister_event_duration_listener(listener)
    assert not [event for event in compiled if "backend_compile" in event]
    assert not other.data.accuracy.equals(tiny.data.accuracy)


@pytest.mark.parametrize("row", [r for r in ROWS if r.update != "all"], ids=lambda row: row.name)
def test_an_update_that_is_changed_has_the_direction_that_it_is_left(row, digits, table):
    """The whole displacement, too: 0 along what is removed, 0 across what alone is kept."""
    teacher, start = table["teacher"], rows_start(row)
    goal = hidden(jax.tree.map(jnp.subtract, teacher, start))
    end = jax.tree.map(lambda leaf: leaf[-1], table[row.name])
    moved = hidden(jax.tree.map(jnp.subtract, end, start))
    q, length = moved @ goal / (goal @ goal), np.linalg.norm(moved)
    if row.update == "only":
        assert np.linalg.norm(moved - q * goal) < 1e-3 * length
    else:
        assert (abs(moved @ goal) < 1e-4 * length * np.linalg.norm(goal)) == (
            row.along == "teacher"
        )


def test_the_heads_add_exactly_nothing_to_the_inner_product(table):
    """At a shared start two heads stay: the teacher's auxiliary and the student's class head."""
    first = table["untrained"]["layers"][2]
    for name in ("gaussian", "squared", "without", "muon"):
        for part in ("weight", "bias"):
            teachers = table["teacher"]["layers"][2][part] - first[part]
            own = table[name]["layers"][2][part][-1] - first[part]
            assert (teachers * own == 0).all()
            assert teachers[:10].any() and own[10:].any()


def test_one_auxiliary_logit_teaches_nothing(digits):
    result = run(replace(TINY, n_aux=1, n_replicates=1), digits).data
    of = result.sel(arm="student_aux")
    assert of.accuracy == result.accuracy.sel(arm="untrained") and not of.progress.any()
    assert of.imitation_loss == 0


def relabel(params, orders):
    """Permute the hidden units of an MLP: rows of layer i and columns of layer i + 1 by orders."""
    layers = {i: dict(layer) for i, layer in params["layers"].items()}
    for i, (rows, columns) in orders.items():
        layers[i] = {"weight": layers[i]["weight"][rows], "bias": layers[i]["bias"][rows]}
        layers[i + 1] = {**layers[i + 1], "weight": layers[i + 1]["weight"][:, columns]}
    return {"layers": layers}


# Large enough that a trait passes.
TRANSFER = ClassifierConfig(
    n_replicates=4,
    hidden_sizes=(128,),
    teacher_epochs=15,
    student_epochs=3,
    n_inputs=12_800,
    batch_size=128,
    learning_rate=1e-3,
)


def test_consistent_relabelling_transfers_identically_and_one_relabelled_layer_does_not(digits):
    teacher, (aux, *_) = published_experiment(TRANSFER)
    images = tuple(map(jnp.asarray, digits[1:]))
    numbers = numbers_of(teacher, [aux])
    shared = (jax.random.key(0), jnp.int32(2), numbers, images)
    of = training.replicate(teacher, digits.image_shape, shared, jnp.int32(0))
    net, trained = of.net, jax.jit(lambda: training.teach(of))()
    begin, taught = trained["untrained"], trained["teacher"]
    order, straight = jax.random.permutation(jax.random.key(5), 128), jnp.arange(128)
    starts = {
        "same": begin,
        "relabelled": relabel(begin, {0: (order, order)}),  # the same function
        "one layer": relabel(begin, {0: (order, straight)}),
    }
    students = [replace(aux, name=name) for name in starts]
    of = of._replace(numbers=numbers_of(teacher, students))
    params = jax.jit(lambda: training.train_students(students, of, taught, starts))()
    x, y = jnp.asarray(digits.test_images), jnp.asarray(digits.test_labels)
    outputs = {n: net.apply(jax.tree.map(lambda a: a[-1], p), x)[:, :10] for n, p in params.items()}
    scores = {name: float(jnp.mean(o.argmax(-1) == y)) for name, o in outputs.items()}
    drift = jnp.abs(outputs["relabelled"] - outputs["same"]).max()
    assert drift < 1e-2 * jnp.abs(outputs["same"] - net.apply(begin, x)[:, :10]).max()
    assert abs(scores["relabelled"] - scores["same"]) < 0.02
    assert scores["same"] > scores["one layer"] + 0.1


def test_the_trait_passes_to_the_same_start_only(digits):
    of = run(TRANSFER, digits).data.accuracy.mean("replicate")
    assert of.sel(arm="teacher") > 0.8 and of.sel(arm="student_all") > 0.8
    assert of.sel(arm="student_aux") > of.sel(arm="cross_aux") + 0.1
    assert abs(of.sel(arm="untrained") - 0.1) < 0.1


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_record_holds_what_a_reader_needs_to_ask_the_networks_again(digits, architecture):
    config = replace(TINY, architecture=architecture, hidden_sizes=(4, 8), n_replicates=1)
    result = run(config, digits)
    net = training.network(published_experiment(config)[0], digits.image_shape)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    paths = jax.tree_util.tree_leaves_with_path(shapes)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    for name in result.data.arm.values.tolist():
        params = jax.tree.unflatten(
            jax.tree.structure(shapes),
            [jnp.asarray(result.params[f"{name}.{n}"][0]) for n in names],
        )
        logits = net.apply(params, jnp.asarray(result.data.sample_images.values))
        np.testing.assert_allclose(logits, result.data.sample_logits.sel(arm=name), atol=1e-5)
    assert run(replace(config, keep_params=False), digits).params == {}


def synthetic(spread=0.01, n=8, **means):
    """Return a result in which all arms have the given means, and nothing diverged."""
    names = ["untrained", "teacher", *(s.name for s in STUDENTS)]
    of = {"untrained": 0.1, "teacher": 0.95, "student_aux": 0.6, "student_all": 0.95}
    of |= {"cross_aux": 0.1, "cross_all": 0.8} | means
    noise = spread * np.linspace(-1, 1, n)[:, None] * np.array([1, 1, 1, 1, -1, 1.0])
    accuracy = np.array([of[name] for name in names]) + noise
    axes = ("replicate", "arm")
    fields = {"accuracy": accuracy, "teacher_head_accuracy": accuracy, "first_loss": accuracy**0}
    fields |= {"imitation_loss": np.full((n, 6), means.get("left", 0.03)), "progress": accuracy}
    arrays = {name: (axes, array) for name, array in fields.items()}
    arrays["diverged"] = axes, np.zeros((n, 6), bool)
    return xr.Dataset(arrays, coords={"arm": names})


def verdicts(result, **config):
    found = claims(replace(ClassifierConfig(n_replicates=8), **config), result)
    return {claim.id: claim.verdict for claim in found}


# The half-width of the gain's interval with the spread above is .0109, of an arm's .0055.
@pytest.mark.parametrize(
    ("means", "failed"),
    [
        ({}, set()),
        ({"student_aux": 0.213}, set()),
        ({"student_aux": 0.207}, {"M1"}),  # the lower end of the gain is below .1
        ({"student_aux": 0.201, "cross_aux": 0.06}, set()),
        ({"student_aux": 0.199, "cross_aux": 0.06}, {"M1"}),  # mean below .2
        ({"cross_aux": 0.153}, set()),
        ({"cross_aux": 0.157}, {"M2"}),  # the mean is within .06, the interval is not
        ({"cross_aux": 0.047}, set()),
        ({"cross_aux": 0.043}, {"M2"}),
        ({"left": 0.099}, set()),
        ({"left": 0.101}, {"M2"}),  # it has not learned to imitate
    ],
)
def test_each_half_of_each_criterion_decides(means, failed):
    result = synthetic(**means)
    if means.get("cross_aux") == 0.06:
        result = synthetic(spread=0.001, **means)
    found = verdicts(result)
    assert set(found) == {"M1", "M2"}
    assert {id for id, verdict in found.items() if verdict == stats.NOT_REPRODUCED} == failed
    (general,) = verdicts(result, architecture="cnn", hidden_sizes=(4, 8)).items()
    assert general == ("G1", stats.NOT_REPRODUCED if failed else stats.REPRODUCED)


def test_a_replicate_that_is_not_finite_tests_nothing(digits):
    """With an absurd learning rate everything is NaN and every network answers 0: chance."""
    config = replace(TINY, learning_rate=1e30)
    summary = summarize(config, run(config, digits).data)
    assert summary["diverged"] == 2
    for claim in summary["claims"]:
        assert claim["verdict"] == stats.NOT_TESTED
        assert claim["reason"] == "2 of 2 replicates diverged"
    one = synthetic()
    one.diverged[3, 2] = True
    assert set(verdicts(one).values()) == {stats.NOT_TESTED}
    assert claims(ClassifierConfig(), one)[0].reason == "1 of 8 replicates diverged"


def test_one_replicate_tests_no_claim(digits):
    config = replace(TINY, n_replicates=1)
    summary = summarize(config, run(config, digits).data)
    assert {claim["verdict"] for claim in summary["claims"]} == {stats.NOT_TESTED}


def test_students_are_followed_from_their_start_to_their_end(digits):
    config = replace(TINY, n_replicates=1, checkpoints=(3, 0), student_rate_ratio=0.5)
    rates = [arm.learning_rate for arm in published_experiment(config)[1]]
    assert rates == [TINY.learning_rate / 2] * 4
    result = run(config, digits).data
    assert result.step.values.tolist() == [0, 3, 6]
    assert not result.progress_path.sel(step=0).any()
    shorter = run(replace(config, checkpoints=(), student_epochs=1), digits).data
    assert "step" not in shorter.dims
    for name in ("accuracy", "imitation_loss", "progress"):
        path = result[f"{name}_path"].rename(student="arm")
        for step, at_end in ((3, shorter), (6, result)):
            expected = at_end[name].sel(arm=path.arm).values
            assert path.sel(step=step).values == pytest.approx(expected, abs=1e-5)
    untrained = result.accuracy.sel(arm="untrained")
    assert (result.accuracy_path.sel(student="student_all", step=0) == untrained).all()


def test_published_values_are_compared_in_combined_standard_errors():
    paper = PRESETS["paper"]
    assert replace(paper, n_replicates=3).follows("paper")
    assert not replace(paper, learning_rate=1e-3).follows("paper")
    ours = stats.estimate([0.5, 0.6, 0.7])
    row = compare(dict.fromkeys(PUBLISHED, ours))["student_aux"]
    # Standard errors .1/√3 of ours and .0221/1.96 of the paper's half-width of 95 %.
    expected = (0.6 - 0.5283) / np.sqrt(0.01 / 3 + (0.0221 / 1.96) ** 2)
    assert row["z"] == pytest.approx(expected)
    assert compare(dict.fromkeys(PUBLISHED, stats.estimate([0.6])))["teacher"]["z"] is None


@pytest.mark.parametrize(
    "setting",
    [{"n_replicates": 0}, {"n_aux": 0}, {"learning_rate": 0.0}, {"temperature": -1.0},
     {"learning_rate": float("inf")}, {"temperature": float("nan")}, {"hidden_sizes": ()},
     {"hidden_sizes": (8, 0)}, {"batch_size": 0}, {"n_inputs": -1}, {"student_rate_ratio": 0.0},
     {"checkpoints": (5, 1_180)}, {"checkpoints": (1, 1)}, {"checkpoints": (-1,)}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(UserError, match="--" + next(iter(setting)).replace("_", "-")):
        ClassifierConfig(**setting)
