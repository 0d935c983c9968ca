"""The classifier learned from noise: every arm against a plain loop, invariances, nulls, tables."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
import xarray as xr

from subliminal_toy import data, record
from subliminal_toy.classifier import arms, training
from subliminal_toy.classifier.arms import OTHER, OWN, Student, Teacher
from subliminal_toy.classifier.claims import final
from subliminal_toy.classifier.config import PRESETS, ClassifierConfig
from subliminal_toy.classifier.experiment import COORDINATES, experiment, of_table
from subliminal_toy.classifier.geometry import predict
from subliminal_toy.distill import kl
from subliminal_toy.errors import UserError

FIGURES = Path(__file__).parents[1] / "figures"
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
    return record.run(experiment(config, jax.random.key(seed), digits))


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


def replicate(digits, teacher=TEACHER, index=0):
    run = training.Run(teacher, jax.random.key(KEY), 2, tuple(digits[1:]))
    return training.replicate(run, jnp.int32(index))


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
        scores = final(tiny.data).sel(arm=name).isel(replicate=0)
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
            divergence = float((p * jnp.log(p / q)).sum(-1).mean())
            assert scores[measure] == pytest.approx(divergence, rel=2e-2, abs=1e-6)
        d = [np.concatenate([(n["layers"][i][k] - start["layers"][i][k]).ravel()
             for i in (0, 1) for k in ("weight", "bias")]) for n in (found, teacher)]  # fmt: skip
        q, cosine = d[0] @ d[1] / (d[1] @ d[1]), d[0] @ d[1] / np.sqrt(d[0] @ d[0] * (d[1] @ d[1]))
        assert scores.progress == pytest.approx(q, abs=1e-3)
        assert scores.cosine == pytest.approx(cosine, abs=1e-3)
        assert scores.length == pytest.approx(np.linalg.norm(d[0]), rel=1e-3)
        crossed = {"layers": {**teacher["layers"], 2: start["layers"][2]}}
        ceiling = (np.asarray(forward(crossed, x))[:, :10].argmax(-1) == y).mean()
        assert scores.ceiling == pytest.approx(ceiling, abs=3e-3)


@pytest.fixture(scope="module")
def table(digits):
    """Replicate 0 of a table that has every kind: starts, and parameters at all checkpoints."""

    @jax.jit
    def train(rows):
        rep = replicate(digits)
        untrained, taught = training.teach(TEACHER, rep)
        params = {"untrained": untrained, "teacher": taught}
        for group in training.together(rows):
            starts = {row.name: training.initial(row, rep) for row in group}
            params |= training.train_students(group, rep, taught, starts)
        return params

    return train(ROWS)


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
    monkeypatch.setattr("subliminal_toy.classifier.experiment.AT_ONCE", 2)
    config, finished = replace(TINY, n_replicates=4), {}
    whole = record.run(experiment(config, jax.random.key(0), digits), finished).data
    own = ["untrained", "teacher", "student_aux", "student_all"]
    for name in ("accuracy", "imitation_loss", "progress"):
        np.testing.assert_array_equal(whole[name].sel(arm=own)[:2], tiny.data[name].sel(arm=own))
    assert list(finished) == [
        f"{kind}, replicates {which}"
        for which in ("1 to 2", "3 to 4")
        for kind in ("teachers", "students 1 of 1")
    ]
    last = finished.pop("students 1 of 1, replicates 3 to 4")
    again = record.run(experiment(config, jax.random.key(0), digits), finished).data
    xr.testing.assert_identical(whole, again)
    finished["students 1 of 1, replicates 3 to 4"] = {k: np.zeros_like(v) for k, v in last.items()}
    taken = final(record.run(experiment(config, jax.random.key(0), digits), finished).data)
    assert not taken.accuracy[2:, 2:].any()
    assert taken.accuracy[:2].equals(final(whole).accuracy[:2])


def test_many_replicates_at_once_are_those_one_after_the_other(digits, tiny):
    """A batched program against a loop; by the order of its sums it differs in the last bits."""
    at_once = record.run(experiment(TINY, jax.random.key(KEY), digits, 2)).data
    for name in ("accuracy", "imitation_loss", "progress", "length"):
        np.testing.assert_allclose(at_once[name], tiny.data[name], atol=3e-3)
    assert not at_once.length[0].equals(at_once.length[1])


def test_inputs_made_once_are_those_made_in_each_epoch(digits, monkeypatch):
    rows = [replace(SMALL, name="uneven", n_inputs=150), replace(SMALL, name="other", n_inputs=150)]

    def train(stored):
        monkeypatch.setattr(training, "STORED", stored)
        rep = replicate(digits)
        start, teacher = rep.net.init(rep.keys.own), rep.net.init(rep.keys.other)
        starts = {row.name: start for row in rows}
        made = jax.make_jaxpr(lambda: training.train_students(rows, rep, teacher, starts))()
        return made, jax.jit(lambda: training.train_students(rows, rep, teacher, starts))()

    (once, found), (anew, expected) = train(2**28), train(0)
    assert str(once) != str(anew)
    assert_close(found, expected, 1e-6)


def test_other_numbers_compile_nothing_and_another_kind_does(digits, tiny):
    teacher, students = arms.table(TINY)

    def compiled(**fields):
        events = []
        listener = lambda event, seconds, **_: events.append(event)  # noqa: E731
        jax.monitoring.register_event_duration_secs_listener(listener)
        rows = tuple(replace(student, **fields) for student in students)
        result = record.run(of_table(teacher, rows, 2, jax.random.key(KEY), digits)).data
        jax.monitoring.unregister_event_duration_listener(listener)
        return sum("backend_compile" in event for event in events), result

    numbers = {"learning_rate": 1e-2, "temperature": 1.0, "distance": 0.1, "loss_scale": 2.0}
    n, other = compiled(**numbers, weight_decay=0.1)
    assert n == 0 and not other.accuracy.equals(tiny.data.accuracy)
    n, _ = compiled(optimiser="sgd")
    assert n == 1


@pytest.mark.parametrize(
    ("change", "alone"),
    [
        ({"inputs": "gaussian"}, True), ({"input_scale": 0.1}, True), ({"n_inputs": 100}, True),
        ({"fresh": True}, True), ({"batch_size": 50}, True), ({"epochs": 3}, True),
        ({"learning_rate": 1.0}, False), ({"n_aux": 2}, False), ({"start": OTHER}, False),
        ({"loss": "squared error"}, False), ({"checkpoints": (1,)}, False),
    ],
    ids=str,
)  # fmt: skip
def test_students_are_trained_together_if_they_see_the_same_batches(change, alone):
    rows = replace(SMALL, name="a"), replace(SMALL, name="b", **change)
    assert training.together(rows) == ([rows[:1], rows[1:]] if alone else [rows])


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
    result = final(run(replace(TINY, n_aux=1, n_replicates=1), digits).data)
    student = result.sel(arm="student_aux")
    assert student.accuracy == result.accuracy.sel(arm="untrained")
    assert student.imitation_loss == 0 and not student.progress and not student.length


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
    teacher, (aux, *_) = arms.table(TRANSFER)
    rep = replicate(digits, teacher)
    begin, taught = jax.jit(lambda: training.teach(teacher, rep))()
    order, straight = jax.random.permutation(jax.random.key(5), 128), jnp.arange(128)
    starts = {
        "same": begin,
        "relabelled": relabel(begin, {0: (order, order)}),  # the same function
        "one layer": relabel(begin, {0: (order, straight)}),
    }
    students = [replace(aux, name=name) for name in starts]
    params = jax.jit(lambda: training.train_students(students, rep, taught, starts))()
    x, y = jnp.asarray(digits.test_images), jnp.asarray(digits.test_labels)
    apply = rep.net.apply
    outputs = {n: apply(jax.tree.map(lambda a: a[-1], p), x)[:, :10] for n, p in params.items()}
    scores = {name: float(jnp.mean(z.argmax(-1) == y)) for name, z in outputs.items()}
    drift = jnp.abs(outputs["relabelled"] - outputs["same"]).max()
    assert drift < 1e-2 * jnp.abs(outputs["same"] - apply(begin, x)[:, :10]).max()
    assert abs(scores["relabelled"] - scores["same"]) < 0.02
    assert scores["same"] > scores["one layer"] + 0.1


def test_the_trait_passes_to_the_same_start_only(digits):
    accuracy = final(run(TRANSFER, digits).data).accuracy.mean("replicate")
    assert accuracy.sel(arm="teacher") > 0.8 and accuracy.sel(arm="student_all") > 0.8
    assert accuracy.sel(arm="student_aux") > accuracy.sel(arm="cross_aux") + 0.1
    assert abs(accuracy.sel(arm="untrained") - 0.1) < 0.1


def test_a_prediction_is_that_of_the_network_at_the_students_start(digits):
    """Not at its teacher's start; fifteen steps, softmax at the start, as was frozen."""
    assert (training.PREDICTION_STEPS, training.SOFTMAX_AT) == (15, "start")
    teacher = Teacher(hidden_sizes=(32, 16), n_aux=10, batch_size=128, epochs=8, learning_rate=3e-3)
    row = replace(SMALL, name="far", distance=0.6, n_aux=8, temperature=2.0, predicted=True)
    result = record.run(of_table(teacher, (row,), 1, jax.random.key(KEY), digits))
    net = training.network(teacher, digits.image_shape)
    own, away = net.init(stream(0, 0)), net.init(stream(4, 0))
    taught = jax.tree.map(jnp.asarray, params_of(result, "teacher"))
    noise = data.uniform_noise(stream(2, 0), jnp.arange(200), (8, 8))
    loss = lambda z, y: kl(z, y, slice(10, 18), 2.0)  # noqa: E731

    def predicted(start, *more):
        params = predict(forward, start, taught, noise, loss, *more)
        outputs = np.asarray(forward(params, digits.test_images))
        return (outputs[:, :10].argmax(-1) == digits.test_labels).mean()

    found = float(result.data.predicted.sel(arm="far")[0])
    start = jax.tree.map(lambda s, a: (s + 0.6 * a) / 1.36**0.5, own, away)
    assert found == pytest.approx(predicted(start, 15, "start"), abs=3e-3)
    for other in (predicted(own, 15), predicted(start, 15, "teacher"), predicted(start, 10)):
        assert abs(found - other) > 5e-3


def test_results_are_found_by_label_and_nothing_is_invented(digits):
    rows = (
        replace(SMALL, name="plain", checkpoints=(1, 3), predicted=True),
        replace(SMALL, name="long", epochs=3, fresh=True, start=(OTHER, OWN, OWN, OWN), n_aux=2),
    )
    result = record.run(of_table(TEACHER, rows, 1, jax.random.key(KEY), digits)).data
    assert result.arm.values.tolist() == ["untrained", "teacher", "plain", "long"]
    assert result.step.values.tolist() == [0, 1, 3, 4, 6, 24]
    assert result.final_step.values.tolist() == [0, 24, 4, 6]
    measured = result.accuracy[0].notnull().sel(arm=rows[0].name)
    assert measured.values.tolist() == [False, True, True, True, False, False]
    assert result.predicted.notnull().values.tolist() == [[False, False, True, False]]
    assert result.first_loss.notnull().values.tolist() == [[False, False, True, True]]
    assert result.learning_rate.values[1:].tolist() == [3e-3] * 3
    assert result.n_aux.values.tolist() == [3, 3, 3, 2]
    assert result.start.values.tolist() == ["", "", OWN, "other own own own"]
    assert all("long_name" in variable.attrs for variable in result.data_vars.values())
    assert result.attrs["dataset"] == "digits" and tuple(result.attrs["hidden_sizes"]) == (16, 12)


def test_students_are_followed_from_their_start_to_their_end(digits):
    config = replace(TINY, n_replicates=1, checkpoints=(3, 0), student_rate_ratio=0.5)
    rates = [arm.learning_rate for arm in arms.table(config)[1]]
    assert rates == [TINY.learning_rate / 2] * 4
    result = run(config, digits).data
    students = [student.name for student in arms.STUDENTS]
    assert not result.progress.sel(step=0, arm=students).any()
    shorter = run(replace(config, checkpoints=(), student_epochs=1), digits).data
    for name in ("accuracy", "imitation_loss", "progress"):
        for step, whole in ((3, shorter), (6, result)):
            expected = final(whole)[name].sel(arm=students).values
            found = result[name].sel(arm=students, step=step).values
            assert found == pytest.approx(expected, abs=1e-5)
    untrained = result.accuracy.sel(arm="untrained", step=0)
    assert (result.accuracy.sel(arm="student_all", step=0) == untrained).all()


def test_a_replicate_that_is_not_finite_is_marked(digits):
    """With an absurd learning rate everything is NaN and every network answers 0: chance."""
    result = run(replace(TINY, learning_rate=1e30), digits).data
    assert (final(result).diverged.sel(arm=["teacher", "student_aux", "cross_all"]) == 1).all()
    assert not final(result).diverged.sel(arm="untrained").any()


# The tables and the data.


def test_presets_are_those_of_the_records():
    paper = PRESETS["paper"]
    teacher, students = arms.table(paper)
    assert (paper.data, paper.n_replicates) == ("mnist", 100)
    assert teacher == Teacher()  # the defaults are the paper's
    assert students == arms.STUDENTS
    assert {s.start for s in students[:2]} == {OWN} and {s.start for s in students[2:]} == {OTHER}
    quick, live = PRESETS["quick"], PRESETS["live"]
    assert (quick.teacher_epochs, quick.student_epochs, quick.n_inputs) == (40, 10, 30_000)
    assert (live.learning_rate, live.student_rate_ratio, live.n_inputs) == (1e-3, 3.0, 96_000)
    for folder, preset in (("mnist", "paper"), ("digits", "quick"), ("live", "live")):
        stored = json.loads((FIGURES / folder / "manifest.json").read_text())["config"]
        stored = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        stored.pop("keep_params", None)
        assert ClassifierConfig(**stored).follows(preset)
    assert replace(paper, n_replicates=3).follows("paper")
    assert not replace(paper, learning_rate=1e-3).follows("paper")


@pytest.mark.parametrize("folder", ["explain_digits", "explain_mnist"])
def test_the_explaining_students_are_those_of_the_records(folder):
    """Every field of every row: the coordinates of a record that was made when they were frozen."""
    result = xr.load_dataset(FIGURES / folder / "record.nc", engine="scipy")
    name = folder.removeprefix("explain_")
    teacher, students = arms.table(replace(PRESETS["explain"], data=name))
    main = result.isel(arm=(result.network == "mlp").values)
    assert main.arm.values.tolist() == ["untrained", "teacher", *(s.name for s in students)]
    assert teacher == {"digits": arms.DIGITS, "mnist": arms.MNIST}[name].teacher
    for student in students:
        column = main.sel(arm=student.name)
        for field in COORDINATES:
            expected = getattr(student, field)
            expected = expected if isinstance(expected, str) else pytest.approx(float(expected))
            assert column[field].item() == expected, field
        steps = column.accuracy.dropna("step").step.values.tolist()
        assert steps == list(student.measured_at) and column.final_step == steps[-1]
        assert (
            student.n_inputs % student.batch_size == 0
        )  # chunks of the prediction are of one size
        assert bool(column.predicted.notnull().any()) == student.predicted
    conditions = [s for s in students if s.predicted and s.input_scale == 1]
    assert len(conditions) == 25 and len({s.measured_at[-1] for s in conditions}) == 1
    assert {(s.optimiser, s.learning_rate, s.update) for s in conditions} == {("adam", 3e-4, "all")}


def test_only_the_named_field_differs_between_the_rows_of_e2():
    for preset in ("explain", "explain-quick"):
        rows = {s.name: s for s in arms.table(PRESETS[preset])[1]}
        for name, change in arms.ABLATIONS.items():
            assert rows[name] == replace(rows[arms.FREE], name=name, **change)
    assert len(rows) == 12


def test_the_digits_and_their_split_are_those_of_the_records(digits):
    digest = hashlib.sha256()
    for array in digits[1:]:
        digest.update(array.tobytes())
    for folder in ("digits", "live", "explain_digits"):
        manifest = json.loads((FIGURES / folder / "manifest.json").read_text())
        assert manifest["data_sha256"] == digest.hexdigest()
    images = [image.tobytes() for image in (*digits.train_images, *digits.test_images)]
    assert len(digits.test_images) == 360 and len(set(images)) == len(images) == 1_797
    stored = xr.load_dataset(FIGURES / "digits" / "record.nc", engine="scipy").test_images
    np.testing.assert_array_equal(digits.test_images[: len(stored)], stored)


@pytest.mark.parametrize(
    "setting",
    [{"n_replicates": 0}, {"n_aux": 0}, {"learning_rate": 0.0}, {"temperature": -1.0},
     {"learning_rate": float("inf")}, {"temperature": float("nan")}, {"hidden_sizes": ()},
     {"hidden_sizes": (8, 0)}, {"batch_size": 0}, {"n_inputs": -1}, {"student_rate_ratio": 0.0},
     {"checkpoints": (5, 1_180)}, {"checkpoints": (1, 1)}, {"checkpoints": (-1,)},
     {"architecture": "cnn", "hidden_sizes": (8,)}, {"arms": "explain", "batch_size": 64}],
    ids=str,
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused_by_name(setting):
    name = list(setting)[-1].replace("_", "-")
    with pytest.raises(UserError, match=f"--{name} must be"):
        ClassifierConfig(**setting)
