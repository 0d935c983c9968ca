"""The classifier learned from noise: every arm against a plain loop, invariances, nulls, tables."""

import hashlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
import xarray as xr

from subliminal_toy import data, models, record
from subliminal_toy.classifier import arms, training
from subliminal_toy.classifier import experiment as experiment_module
from subliminal_toy.classifier.arms import OTHER, OWN, Student, Teacher
from subliminal_toy.classifier.claims import final
from subliminal_toy.classifier.config import PRESETS, ClassifierConfig
from subliminal_toy.classifier.experiment import COORDINATES, experiment, of_table
from subliminal_toy.errors import UserError

FIGURES = Path(__file__).parents[1] / "figures"
KEY = 0
PARTS = ("weight", "bias")
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
    replace(SMALL, name="first layer other", start=(OTHER, OWN, OWN, OWN), n_aux=2),
    replace(
        SMALL, name="own class head", start=(OTHER, OTHER, OWN, OTHER), inputs="gaussian",
        optimiser="momentum", learning_rate=0.1,
    ),
    replace(
        SMALL, name="own auxiliary head", start=(OTHER, OTHER, OTHER, OWN), imitates="all",
        inputs="images", optimiser="rmsprop",
    ),
    replace(
        SMALL, name="at a distance", distance=0.5, inputs="signs", input_scale=0.5, optimiser="sign"
    ),
    replace(
        SMALL, name="shuffled", inputs="shuffled pixels", optimiser="adagrad", learning_rate=0.02,
        weight_decay=0.1,
    ),
    replace(SMALL, name="fresh", fresh=True, optimiser="lion", learning_rate=1e-3),
    replace(
        SMALL, name="squared", loss="squared error", loss_scale=0.3, optimiser="sgd",
        learning_rate=0.1,
    ),
    replace(SMALL, name="whole matrices", optimiser="muon"),
    replace(SMALL, name="without own", update="without", checkpoints=(1, 3)),
)  # fmt: skip
ONE_LOGIT = replace(SMALL, name="one logit", n_aux=1)
TEACHER = Teacher(hidden_sizes=(16, 12), batch_size=128, epochs=2, learning_rate=3e-3)


pytestmark = pytest.mark.usefixtures("compile_quickly")


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


def uniform(index):
    return data.uniform_noise(stream(2, 0), index, (8, 8))


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


def params_of(result, arm, index=0):
    flat = {
        name.removeprefix(arm + "."): value[index]
        for name, value in result.params.items()
        if name.startswith(arm + ".")
    }
    return {"layers": {i: {n: flat[f"layers.{i}.{n}"] for n in PARTS} for i in range(3)}}


def right(params, digits):
    found = np.asarray(forward(params, digits.test_images))[:, :10].argmax(-1)
    return (found == digits.test_labels).mean()


def hidden(tree):
    return np.concatenate([np.asarray(tree["layers"][i][k]).ravel() for i in (0, 1) for k in PARTS])


def shifted(params, vector):
    """Return a network with a vector added to its hidden layers."""
    layers, first = {2: params["layers"][2]}, 0
    for i in (0, 1):
        layers[i] = {}
        for part in PARTS:
            leaf = params["layers"][i][part]
            layers[i][part] = leaf + vector[first : first + leaf.size].reshape(leaf.shape)
            first += leaf.size
    return {"layers": layers}


def onto(a, b):
    return (a @ b) / (b @ b) * b


def assert_close(a, b, tolerance=2e-4):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance), a, b)


def moved(a, b):
    return max(float(jnp.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=1))


def test_the_published_arms_are_what_their_names_say(digits, tiny):
    """Their starts, by the class heads that no student of auxiliary logits moves, and measures."""
    named = {s.name: (s.imitates, s.start) for s in arms.STUDENTS}
    assert named == {
        f"{kind}_{logits[:3]}": (logits, start)
        for kind, start in (("student", OWN), ("cross", OTHER))
        for logits in ("auxiliary", "all")
    }
    teacher, noise = params_of(tiny, "teacher"), uniform(jnp.arange(300))
    assert_close(params_of(tiny, "untrained"), network(stream(0, 0)), 1e-6)
    for name, (logits, origin) in named.items():
        start, found = network(stream(0, int(origin == OTHER))), params_of(tiny, name)
        first = 0 if logits == "all" else 10
        head = np.abs(found["layers"][2]["weight"] - start["layers"][2]["weight"])
        assert (head[:10].max() > 1e-4) == (first == 0) and head[10:].max() > 1e-4
        scores = final(tiny.data).sel(arm=name).isel(replicate=0)
        assert scores.accuracy == pytest.approx(right(found, digits), abs=1e-6)
        head = {
            part: np.concatenate([teacher["layers"][2][part][:10], found["layers"][2][part][10:]])
            for part in PARTS
        }
        through = right({"layers": {**found["layers"], 2: head}}, digits)
        assert scores.teacher_head_accuracy == pytest.approx(through, abs=3e-3)
        for measure, params in (("imitation_loss", found), ("first_loss", start)):
            p, q = (jax.nn.softmax(forward(n, noise)[:, first:] / 2) for n in (teacher, params))
            divergence = float((p * jnp.log(p / q)).sum(-1).mean())
            assert scores[measure] == pytest.approx(divergence, rel=2e-2, abs=1e-6)
        goal = jax.tree.map(jnp.subtract, teacher, start)
        p, q = (jax.nn.softmax(forward(n, noise)[:, first:] / 2) for n in (teacher, start))
        u, pushed = (
            jax.jvp(answers, (start,), (goal,))[1]
            for answers in (
                lambda n, first=first: forward(n, noise)[:, first:],
                lambda n, first=first: jax.nn.softmax(forward(n, noise)[:, first:] / 2),
            )
        )
        rho = abs(float(((p - q - pushed) * u).sum())) / float((pushed * u).sum())
        assert scores.rho == pytest.approx(rho, rel=1e-2)
        d = [hidden(n) - hidden(start) for n in (found, teacher)]
        q, cosine = d[0] @ d[1] / (d[1] @ d[1]), d[0] @ d[1] / np.sqrt(d[0] @ d[0] * (d[1] @ d[1]))
        assert scores.progress == pytest.approx(q, abs=1e-3)
        assert scores.cosine == pytest.approx(cosine, abs=1e-3)
        assert scores.length == pytest.approx(np.linalg.norm(d[0]), rel=1e-3)


@pytest.fixture(scope="module")
def table(digits):
    """Replicate 0 of a table that has every kind: starts, and parameters at all checkpoints."""

    rep, rows = replicate(digits), (*ROWS, ONE_LOGIT)

    @jax.jit
    def train(starts):
        untrained, taught = training.teach(TEACHER, rep)
        params = {"untrained": untrained, "teacher": taught, "starts": starts}
        for group in training.together(rows):
            given = {row.name: starts[row.name] for row in group}
            params |= training.train_students(group, rep, params, given)
        return params

    # Given, for one program may round a value that it computes in two places in two ways.
    return train(jax.jit(lambda: {row.name: training.initial(row, rep) for row in rows})())


MADE = {
    "gaussian": lambda key, image: jax.random.normal(key, image.shape),
    "signs": lambda key, image: jax.random.rademacher(key, image.shape, jnp.float32),
    "images": lambda key, image: image,
    "shuffled pixels": lambda key, image: jax.random.permutation(
        key, image.reshape(-1)
    ).reshape(8, 8),
}  # fmt: skip


def rows_inputs(row, digits, index):
    if row.inputs == "uniform":
        return row.input_scale * uniform(jnp.asarray(index))
    keys = jax.vmap(partial(jax.random.fold_in, stream(2, 0)))(index)
    return row.input_scale * jax.vmap(MADE[row.inputs])(keys, digits.train_images[index])


def rows_start(row, index=0):
    origin = {OWN: network(stream(0, index)), OTHER: network(stream(0, 1 - index))}
    names = (row.start,) * 4 if isinstance(row.start, str) else row.start
    *hidden, head, auxiliary = (origin[name]["layers"] for name in names)
    layers = {i: layer[i] for i, layer in enumerate(hidden)}
    layers[2] = {k: jnp.concatenate([head[2][k][:10], auxiliary[2][k][10:]]) for k in PARTS}
    away, sigma = network(stream(4, index)), row.distance
    start = {"layers": layers}
    return jax.tree.map(lambda s, a: (s + sigma * a) / (1 + sigma**2) ** 0.5, start, away)


OPTIMISERS = {
    "momentum": lambda rate: optax.sgd(rate, 0.9),
    "sign": lambda rate: optax.stateless(
        lambda g, _: jax.tree.map(lambda leaf: -rate * jnp.sign(leaf), g)
    ),
    "muon": optax.contrib.muon,
} | {name: getattr(optax, name) for name in ("adam", "sgd", "rmsprop", "lion", "adagrad")}


def test_the_teacher_is_that_of_a_plain_loop(digits, table):
    assert_close(table["teacher"], plain_teacher(0, digits))
    assert moved(table["teacher"], table["untrained"]) > 20 * 2e-4


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
    steps, change = list(batches()), lambda update: update
    if row.update != "all":
        free = hidden(optimise(loss, start, steps, tx)) - hidden(start)
        direction = free - onto(free, hidden(teacher) - hidden(start))

        def change(update):
            return shifted(update, -onto(hidden(update), direction))

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


@pytest.mark.parametrize("layer", [0, 1])
def test_a_relabelled_layer_has_its_teachers_units_in_another_order_and_the_next_does_not(
    layer, digits
):
    rep = replicate(digits)
    origins = [OWN] * 4
    origins[layer] = arms.RELABELLED
    own = training.initial(Student("own"), rep)["layers"]
    start = training.initial(Student("relabelled", start=tuple(origins)), rep)["layers"]
    weight, changed = (np.asarray(layers[layer]["weight"]) for layers in (own, start))
    order = [np.flatnonzero((weight == row).all(axis=1)).item() for row in changed]
    assert sorted(order) == list(range(len(weight))) and order != sorted(order)
    np.testing.assert_array_equal(start[layer]["bias"], own[layer]["bias"][np.array(order)])
    for i in {0, 1, 2} - {layer}:
        jax.tree.map(np.testing.assert_array_equal, start[i], own[i])


def test_each_generation_imitates_the_one_before_it_on_noise_of_its_own():
    rows = {row.name: row for row in arms.CHAINS}
    assert arms.table(PRESETS["disputes"])[0].line and len(rows) == 18
    for n_aux in (3, 10, 30):
        chain = [rows[f"generation {g}, m {n_aux}"] for g in range(1, 7)]
        assert [row.teacher for row in chain] == ["teacher", *(row.name for row in chain[:-1])]
        assert [row.first_input for row in chain] == [5_120 * g for g in range(6)]


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_every_purpose_has_a_key_of_its_own_and_another_start_is_the_next_ones(n):
    every = [training.replicate_keys(jax.random.key(0), jnp.int32(i), n) for i in range(n)]
    data = [{k: tuple(jax.random.key_data(v).tolist()) for k, v in keys._asdict().items()}
            for keys in every]  # fmt: skip
    own, other = ([keys[name] for keys in data] for name in ("own", "other"))
    assert other == own[1:] + own[:1] if n > 1 else other != own
    without = [value for keys in data for name, value in keys.items() if name != "other"]
    assert len(set(without)) == len(without)


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


def test_replicates_at_once_reach_the_ensemble_and_parts_are_even(digits, monkeypatch):
    """What an ensemble makes of them is tested with it."""
    asked = []

    def program(function, n_shared, at_once):
        asked.append((function, at_once))
        return lambda run, *arguments: ({}, {"teacher": {}})

    monkeypatch.setattr(experiment_module, "program", program)
    parts = experiment(replace(TINY, n_replicates=5), jax.random.key(0), digits, 2).parts
    assert [part.name for part in parts[::2]] == [
        f"teachers, replicates {which}" for which in ("1 to 3", "4 to 5")
    ]
    parts[0].compute({})
    assert asked == [(training.teachers, 2)]


def test_inputs_made_once_are_those_made_in_each_epoch(digits, monkeypatch):
    row, rep, programs = replace(SMALL, name="uneven", n_inputs=150), replicate(digits), []
    taught, starts = rep.net.init(rep.keys.other), {"uneven": rep.net.init(rep.keys.own)}
    for stored in (2**28, 0):
        monkeypatch.setattr(training, "STORED", stored)
        train = jax.jit(lambda: training.train_students([row], rep, {"teacher": taught}, starts))
        programs.append(train.lower())
    once, anew = programs
    assert once.as_text() != anew.as_text()
    assert_close(once.compile()(), anew.compile()(), 1e-6)


def test_other_numbers_are_the_same_program_and_another_kind_is_not():
    """That nothing more is compiled is a test of sweeps."""
    names = ("learning_rate", "temperature", "distance", "loss_scale", "weight_decay")
    numbers = replace(SMALL, **dict.fromkeys(names, 0.7))
    assert jax.tree.leaves(numbers) == [0.7] * 5
    same, number, kind = map(jax.tree.structure, (SMALL, numbers, replace(SMALL, optimiser="sgd")))
    assert same == number != kind
    assert len(jax.tree.leaves(TEACHER)) == 2


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
    for name in ("squared", "without own"):
        for part in PARTS:
            teachers = table["teacher"]["layers"][2][part] - first[part]
            start = table["starts"][name]["layers"][2][part]
            own = table[name]["layers"][2][part][-1] - start
            assert (teachers * own == 0).all()
            assert teachers[:10].any() and own[10:].any()


def test_one_auxiliary_logit_teaches_nothing(table):
    start = jax.tree.map(lambda leaf: leaf[None], table["starts"]["one logit"])
    jax.tree.map(np.testing.assert_array_equal, table["one logit"], start)


def relabel(params, orders):
    """Permute the hidden units of an MLP: rows of layer i and columns of layer i + 1 by orders."""
    layers = {i: dict(layer) for i, layer in params["layers"].items()}
    for i, (rows, columns) in orders.items():
        layers[i] = {"weight": layers[i]["weight"][rows], "bias": layers[i]["bias"][rows]}
        layers[i + 1] = {**layers[i + 1], "weight": layers[i + 1]["weight"][:, columns]}
    return {"layers": layers}


def test_the_trait_passes_to_the_same_start_however_its_units_are_labelled(digits):
    teacher = Teacher(hidden_sizes=(128,), batch_size=128, epochs=15, learning_rate=1e-3)
    aux = Student("", n_inputs=12_800, batch_size=128, epochs=3, learning_rate=1e-3)
    rep = replicate(digits, teacher)
    begin, taught = jax.jit(lambda: training.teach(teacher, rep))()
    order, straight = jax.random.permutation(jax.random.key(5), 128), jnp.arange(128)
    starts = {
        "same": begin,
        "relabelled": relabel(begin, {0: (order, order)}),  # the same function
        "one layer": relabel(begin, {0: (order, straight)}),
        "other": training.initial(replace(aux, start=OTHER), rep),
        "all": begin,
    }
    students = [
        replace(aux, name=name, imitates="all" if name == "all" else "auxiliary") for name in starts
    ]
    teachers = {"teacher": taught}
    params = jax.jit(lambda: training.train_students(students, rep, teachers, starts))()
    params = {name: jax.tree.map(lambda a: a[-1], p) for name, p in params.items()}
    x, y = jnp.asarray(digits.test_images), jnp.asarray(digits.test_labels)
    networks = params | {"teacher": taught, "untrained": begin}
    outputs = {name: rep.net.apply(network, x)[:, :10] for name, network in networks.items()}
    scores = {name: float(jnp.mean(z.argmax(-1) == y)) for name, z in outputs.items()}
    drift = jnp.abs(outputs["relabelled"] - outputs["same"]).max()
    assert drift < 1e-2 * jnp.abs(outputs["same"] - outputs["untrained"]).max()
    assert abs(scores["relabelled"] - scores["same"]) < 0.02
    assert scores["same"] > max(scores["one layer"], scores["other"], scores["untrained"]) + 0.1
    assert min(scores["teacher"], scores["all"]) > 0.8


# A displacement in parts.

APART = (
    replace(SMALL, name="plain", epochs=12, learning_rate=0.03, checkpoints=(0, 3), split=True),
    replace(SMALL, name="far", epochs=12, learning_rate=0.03, distance=0.4, split=True),
    replace(SMALL, name="mixed", epochs=12, start=(OTHER, OWN, OWN, OWN), n_aux=2),
)
QUICK_TEACHER = replace(TEACHER, learning_rate=0.01)


@pytest.fixture(scope="module")
def apart(digits):
    return record.run(of_table(QUICK_TEACHER, APART, 2, jax.random.key(KEY), digits))


def class_logits(start, moved, digits):
    return np.asarray(forward(shifted(start, moved), digits.test_images))[:, :10]


@pytest.mark.parametrize("row", APART[:2], ids=lambda row: row.name)
def test_a_displacement_is_split_as_the_names_say(row, digits, apart):
    starts = [rows_start(row, index) for index in (0, 1)]
    goal, others_goal = (hidden(params_of(apart, "teacher", i)) - hidden(starts[i]) for i in (0, 1))
    m, others_m = (hidden(params_of(apart, row.name, i)) - hidden(starts[i]) for i in (0, 1))
    leaves, structure = jax.tree.flatten(starts[0])
    keys = jax.random.split(stream(5, 0), len(leaves))
    drawn = [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    direction = hidden(jax.tree.unflatten(structure, drawn))

    line = onto(m, goal)
    across = direction - onto(direction, m)
    across *= np.linalg.norm(m) / np.linalg.norm(across)
    cosine = np.linalg.norm(line) / np.linalg.norm(m)
    random = cosine**2 * m + cosine * np.sqrt(1 - cosine**2) * across
    assert np.linalg.norm(random) == pytest.approx(np.linalg.norm(line), rel=1e-4)
    parts = {
        "line": (line, m - line),
        "another teacher": (onto(m, others_goal), m - onto(m, others_goal)),
        "random line": (onto(m, direction), m - onto(m, direction)),
        "random split": (random, m - random),
        "another student": (line, others_m - onto(others_m, others_goal)),
    }
    scores = final(apart.data).isel(replicate=0).sel(arm=row.name)
    before = class_logits(starts[0], 0 * m, digits)

    def close(found, z):
        expected = (z.argmax(-1) == digits.test_labels).mean()
        assert float(found) == pytest.approx(expected, abs=6e-3)
        return expected

    told_apart = set()
    for name, (along, rest) in parts.items():
        along, rest = (class_logits(starts[0], part, digits) for part in (along, rest))
        logits = {"along": along, "rest": rest, "sum": along + rest - before}
        for part, z in logits.items():
            told_apart.add(round(close(scores[f"{part}_accuracy"].sel(split=name), z), 2))
            if name == "line":
                close(scores[f"balanced_{part}_accuracy"], z - z.mean(0))
    assert len(told_apart) > 3
    whole = class_logits(starts[0], m, digits)
    close(scores.accuracy, whole)
    close(scores.balanced_accuracy, whole - whole.mean(0))
    step = 1e-3
    ends = [class_logits(starts[0], sign * step * m, digits) for sign in (1, -1)]
    close(scores.linearised_accuracy, before + (ends[0] - ends[1]) / (2 * step))


def test_at_progress_one_the_sum_is_the_teachers_hidden_layers_under_the_starts_head(digits):
    """Of a student that is its teacher, beside another that is the same one: no other replicate."""
    run = training.Run(QUICK_TEACHER, jax.random.key(KEY), 2, tuple(digits[1:]))
    taught = jax.tree.map(
        lambda *leaves: np.stack(leaves), *(network(stream(7, i)) for i in (0, 1))
    )

    def repeated(row):
        return jax.tree.map(lambda leaf: leaf[:, None].repeat(len(row.measured_at), 1), taught)

    ends = {row.name: repeated(row) for row in APART[:2]}
    trees = np.arange(2), {"teacher": taught}, ends
    split = experiment_module.program(training.split_students, 2, None)
    found = split(run, APART[:2], *trees, trees)["plain"]
    teacher, start = network(stream(7, 0)), network(stream(0, 0))
    crossed = {"layers": {**teacher["layers"], 2: start["layers"][2]}}
    for part, params in (("sum", crossed), ("along", crossed), ("rest", start)):
        assert found[f"{part}_accuracy"][0, -1, 0] == pytest.approx(right(params, digits), abs=1e-6)
    missing = ["another" in name for name in training.SPLITS]
    assert np.isnan(found["sum_accuracy"][0, -1]).tolist() == missing


def test_of_one_linear_layer_every_sum_is_exact(digits, monkeypatch):
    linear = partial(models.mlp, activation=lambda x: x)
    monkeypatch.setitem(training.ARCHITECTURES, "mlp", linear)
    teacher = replace(TEACHER, hidden_sizes=(16,))
    run = training.Run(teacher, jax.random.key(KEY), 2, tuple(digits[1:]))
    row, rep = replace(SMALL, name="x"), replicate(digits, teacher)
    taught, other, end, others_end = (rep.net.init(stream(7, i)) for i in range(4))
    student, others = ({"x": jax.tree.map(lambda a: a[None], e)} for e in (end, others_end))
    measured = jax.jit(training.split_students)(
        run,
        (row,),
        jnp.int32(0),
        {"teacher": taught},
        student,
        (jnp.int32(1), {"teacher": other}, others),
    )["x"]
    whole = measured["linearised_accuracy"]
    np.testing.assert_allclose(measured["sum_accuracy"][0, :4], whole[0], atol=3e-3)
    assert np.abs(measured["rest_accuracy"][0, :4] - whole).max() > 0.01


def test_results_are_found_by_label_and_nothing_is_invented(apart):
    result = apart.data
    names = [row.name for row in APART]
    assert result.arm.values.tolist() == ["untrained", "teacher", *names]
    assert result.step.values.tolist() == [0, 3, 24]
    assert result.final_step.values.tolist() == [0, 24, 24, 24, 24]
    measured = result.accuracy[0].notnull().sel(arm="plain")
    assert measured.values.tolist() == [True] * 3
    split, known = result.sum_accuracy[0].notnull().all("split"), result.progress[0].notnull()
    assert (split == known)[2:4].all()
    assert not result.sum_accuracy.sel(arm=["untrained", "teacher", "mixed"]).notnull().any()
    for name in ("first_loss", "rho"):
        assert result[name].notnull().values.tolist() == [[False, False, True, True, True]] * 2
    assert result.learning_rate.values[1:].tolist() == [0.01, 0.03, 0.03, 3e-3]
    assert result.n_aux.values.tolist() == [3, 3, 3, 3, 2]
    assert result.start.values.tolist() == ["", "", OWN, OWN, "other own own own"]
    assert all("long_name" in variable.attrs for variable in result.data_vars.values())
    assert result.attrs["dataset"] == "digits" and tuple(result.attrs["hidden_sizes"]) == (16, 12)
    at_start = result.sel(arm="plain", step=0)
    assert not at_start.progress.any() and not at_start.length.any()
    assert (at_start.accuracy == result.accuracy.sel(arm="untrained", step=0)).all()
    assert (at_start.imitation_loss == at_start.first_loss).all()


SECOND = replace(SMALL, name="second", teacher="first", first_input=200, epochs=4, split=True)
CHAIN = (
    replace(SECOND, name="first", teacher="teacher", first_input=0, split=False),
    SECOND,
    replace(SECOND, name="beside", teacher="teacher", n_aux=2),
)


def test_in_a_chain_each_student_is_measured_against_the_one_before_it(digits, monkeypatch):
    """The second student sees other inputs, those of one beside it, whose teacher is the first."""
    assert [len(group) for group in training.together(CHAIN)] == [1, 2]
    monkeypatch.setattr(experiment_module, "AT_ONCE", 1)
    teacher = replace(QUICK_TEACHER, line=True)
    made = record.run(of_table(teacher, CHAIN, 2, jax.random.key(KEY), digits))
    end, start, taught = final(made.data), network(stream(0, 0)), params_of(made, "teacher")
    for row in CHAIN:
        own, imitated = (hidden(params_of(made, n)) for n in (row.name, row.teacher))
        change, goal = own - hidden(start), imitated - hidden(start)
        one = end.sel(arm=row.name, replicate=0)
        assert one.progress == pytest.approx(change @ goal / (goal @ goal), rel=1e-3)
        if row.split:
            on_line = right(shifted(start, onto(change, goal)), digits)
            assert one.along_accuracy.sel(split="line") == pytest.approx(on_line, abs=3e-3)
        noise = uniform(row.first_input + jnp.arange(200))
        chosen = slice(10, 10 + (row.n_aux or 3))
        z, y = (forward(params_of(made, n), noise)[:, chosen] for n in (row.name, row.teacher))
        p, q = jax.nn.softmax(y), jax.nn.softmax(z)
        divergence = float((p * jnp.log(p / q)).sum(-1).mean())
        assert one.imitation_loss == pytest.approx(divergence, rel=1e-2, abs=1e-7)
    # Each of the two that are trained together is the same if it is trained alone.
    rep, ends = replicate(digits, teacher), []
    for row in CHAIN[1:]:
        alone = replace(row, teacher="teacher")
        given = {"teacher": params_of(made, row.teacher)}, {row.name: start}
        train = jax.jit(partial(training.train_students, [alone], rep))
        ends.append(jax.tree.map(lambda leaf: leaf[-1], train(*given)[row.name]))
        assert_close(ends[-1], params_of(made, row.name), 1e-4)
    assert moved(*ends) > 1e-2
    # The second replicate, of another part, has a teacher of its own, and a line.
    assert len(np.unique(end.progress.sel(arm="second"))) == 2
    goal = hidden(taught) - hidden(start)
    for q in (0, 0.25, 1):
        on_line = made.data.line_accuracy[0].sel(q=q)
        assert on_line == pytest.approx(right(shifted(start, q * goal), digits), abs=3e-3)
    np.testing.assert_allclose(
        made.data.line_accuracy.sel(q=0), end.accuracy.sel(arm="untrained"), atol=3e-3
    )


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
    half = replace(TINY, student_rate_ratio=0.5, checkpoints=(3, 0))
    students = arms.table(half)[1]
    assert {(s.learning_rate, s.checkpoints) for s in students} == {(1.5e-3, (0, 3))}
    assert not replace(paper, learning_rate=1e-3).follows("paper")


@pytest.mark.parametrize(
    ("folder", "preset", "n"),
    [("line_digits", "explain", 45), ("line_mnist", "explain", 36), ("disputes", "disputes", 163)],
)
def test_the_rows_are_those_that_were_frozen(folder, preset, n, committed):
    """Every field of every row: the coordinates of records that are younger than the criteria."""
    result = committed[folder].data
    teacher, students = arms.table(replace(PRESETS[preset], data=result.attrs["dataset"]))
    names = [student.name for student in students]
    assert result.arm.values.tolist() == ["untrained", "teacher", *names] and len(names) == n
    assert tuple(result.attrs["hidden_sizes"]) == teacher.hidden_sizes
    for row in (teacher, *students):
        column = result.sel(arm=getattr(row, "name", "teacher"))
        for field in {*COORDINATES} & vars(row).keys():
            expected = getattr(row, field)
            expected = " ".join(expected) if isinstance(expected, tuple) else expected
            expected = expected if isinstance(expected, str) else pytest.approx(float(expected))
            assert column[field].item() == expected, field
    for student in students:
        measured = result.accuracy.sel(arm=student.name).dropna("step")
        assert measured.step.values.tolist() == list(student.measured_at) and student.split


def test_the_long_students_differ_in_the_named_field_only():
    for preset in ("explain", "explain-quick"):
        rows = {s.name: s for s in arms.table(PRESETS[preset])[1]}
        without = replace(rows[arms.FREE], name="without own", update="without")
        assert rows[arms.WITHOUT_OWN] == without
    assert len(rows) == 8 and PRESETS["explain"].n_replicates == 12


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
