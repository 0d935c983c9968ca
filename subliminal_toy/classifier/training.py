"""One replicate: its teacher, its students, and what is measured of them.

``teachers``, ``students`` and ``split_students`` are what ``experiment`` runs for many replicates.
Students of one teacher that see the same batches are trained in one loop, as one network whose loss
is the sum of theirs.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jaxtyping import Array, Float, Int, Key

from subliminal_toy.classifier.arms import (
    OTHER,
    OWN,
    RELABELLED,
    TEACHER,
    UNTRAINED,
    Student,
    Teacher,
)
from subliminal_toy.classifier.geometry import (
    component,
    cosine,
    inner,
    missed,
    split,
    split_at_random,
)
from subliminal_toy.data import N_CLASSES, uniform_noise
from subliminal_toy.distill import accuracy, cross_entropy, fit, kl, snapshots, squared_error
from subliminal_toy.models import (
    ARCHITECTURES,
    INITIALISERS,
    Network,
    Params,
    layer_names,
    map_layers,
)

STORED = 2**28
"""Bytes of inputs of a replicate up to which they, and the teacher's logits on them, are made once
for all epochs. The paper's noise has 188 MB, the logits on it 3 MB; 64 replicates at once 12 GB."""
AT_MOST = 24
"""Networks that are trained as one: the time to compile grows faster than their number."""
N_MEASURED = 2_048
"""Inputs on which a trained student's imitation loss is measured."""


# What the fields of a row name.

OPTIMISERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "sign": optax.sign_sgd,
    "rmsprop": optax.rmsprop,
    "lion": optax.lion,
    "adagrad": optax.adagrad,
    # Adam for the biases, as usual; for the heads too it is a matrix of weights like any other.
    "muon": optax.contrib.muon,
}


def _of_images(make: Callable) -> Callable[[Key[Array, ""], Array, Array], Array]:
    """Return what makes inputs by ``make(key, image)``, each image with a key of its own."""

    def inputs(key, index, images):
        keys = jax.vmap(partial(jax.random.fold_in, key))(index)
        return jax.vmap(make)(keys, images[index % len(images)])

    return inputs


INPUTS: dict[str, Callable[[Key[Array, ""], Array, Array], Array]] = {
    "uniform": lambda key, index, images: uniform_noise(
        key, index, (images.shape[1], images.shape[2])
    ),
    "gaussian": _of_images(lambda key, x: jax.random.normal(key, x.shape, jnp.float32)),
    "signs": _of_images(lambda key, x: jax.random.rademacher(key, x.shape, jnp.float32)),
    "images": lambda key, index, images: images[index % len(images)],
    "shuffled pixels": _of_images(
        lambda key, x: jax.random.permutation(key, x.ravel()).reshape(x.shape)
    ),
}
"""Inputs number ``index`` of a replicate: made from its key, or from the training images."""

LOSSES: dict[str, Callable[[Array, Array, slice, Any], Array]] = {
    "kl": kl,
    "squared error": lambda z, y, columns, _: squared_error(z, y, columns),
}


def optimiser(row: Any) -> optax.GradientTransformation:
    """Return a row's optimiser; weight decay is added to the gradient."""
    decay = optax.add_decayed_weights(row.weight_decay)
    return optax.chain(decay, OPTIMISERS[row.optimiser](row.learning_rate))


def columns(student: Student) -> slice:
    """Return the logits that a student imitates."""
    first = N_CLASSES if student.imitates == "auxiliary" else 0
    return slice(first, None if student.n_aux is None else N_CLASSES + student.n_aux)


def imitation_loss(
    student: Student, outputs: Float[Array, "batch outputs"], targets: Float[Array, "batch outputs"]
) -> Float[Array, ""]:
    """Return a student's loss of its outputs against its teacher's, the ``targets``."""
    loss = LOSSES[student.loss](outputs, targets, columns(student), student.temperature)
    return student.loss_scale * loss


# A replicate.


class Keys(NamedTuple):
    """The random streams of one replicate."""

    own: Key[Array, ""]
    other: Key[Array, ""]
    teacher_order: Key[Array, ""]
    inputs: Key[Array, ""]
    student_order: Key[Array, ""]
    perturbation: Key[Array, ""]
    direction: Key[Array, ""]
    labels: Key[Array, ""]


class Run(NamedTuple):
    """What all replicates share: teacher's row, key, their number, four arrays of a data set."""

    teacher: Teacher
    key: Key[Array, ""]
    n_replicates: Any
    data: tuple[Any, ...]


class Replicate(NamedTuple):
    """The network and the random streams of a teacher and its students, and the data set."""

    net: Network
    keys: Keys
    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


def replicate_keys(key: Key[Array, ""], index: Int[Array, ""], n_replicates: Any) -> Keys:
    """Return the streams of replicate ``index``; its other initialisation is the next one's.

    The last one's is the first one's; a single replicate gets a second one for the purpose.
    """
    init, *streams = (jax.random.fold_in(key, stream) for stream in range(7))
    other = jax.random.fold_in(init, (index + 1) % jnp.maximum(n_replicates, 2))
    own, *others = (jax.random.fold_in(stream, index) for stream in (init, *streams))
    return Keys(own, other, *others)


def network(teacher: Teacher, image_shape: tuple[int, int]) -> Network:
    """Return the network of a teacher and its students: ten class logits, then the auxiliary."""
    return ARCHITECTURES[teacher.architecture](
        image_shape,
        teacher.hidden_sizes,
        N_CLASSES + teacher.n_aux,
        initialiser=INITIALISERS[teacher.initialiser],
    )


def replicate(run: Run, index: Int[Array, ""]) -> Replicate:
    """Return replicate ``index`` of a run."""
    _, height, width = run.data[0].shape
    keys = replicate_keys(run.key, index, run.n_replicates)
    return Replicate(network(run.teacher, (height, width)), keys, *map(jnp.asarray, run.data))


def batches(
    key: Key[Array, ""], epochs: int, n_examples: int, batch_size: int
) -> Int[Array, "steps batch"]:
    """Return the example numbers of each step: every example once an epoch, each in a new order.

    The last batch of an epoch is filled up from the front of the same order.
    """
    n_batches = -(-n_examples // batch_size)
    filled = jnp.arange(n_batches * batch_size) % n_examples

    def one_epoch(epoch):
        return jax.random.permutation(jax.random.fold_in(key, epoch), n_examples)[filled]

    return jax.lax.map(one_epoch, jnp.arange(epochs)).reshape(-1, batch_size)


def teach(teacher: Teacher, rep: Replicate) -> tuple[Params, Params]:
    """Return the untrained network, and the teacher, trained on the class logits of images."""
    images, labels = rep.train_images, rep.train_labels
    order = batches(rep.keys.teacher_order, teacher.epochs, len(images), teacher.batch_size)

    def loss(params, batch):
        return cross_entropy(rep.net.apply(params, images[batch]), labels[batch], slice(N_CLASSES))

    untrained = rep.net.init(rep.keys.own)
    taught, _ = fit(loss, untrained, optimiser(teacher), lambda step: order[step], len(order))
    return untrained, taught


def initial(student: Student, rep: Replicate) -> Params:
    """Return a student's start s: the origin of each of its layers, then the perturbation."""
    own, other, independent = map(
        rep.net.init, (rep.keys.own, rep.keys.other, rep.keys.perturbation)
    )
    n_layers = len(layer_names(own))
    origins = student.start
    if isinstance(origins, str):
        origins = (origins,) * (n_layers + 1)
    *hidden, class_head, auxiliary_head = origins

    def leaf(layer, own, other, independent):
        order = jax.random.permutation(jax.random.fold_in(rep.keys.labels, layer), len(own))
        origin = {OWN: own, OTHER: other, RELABELLED: own[order]}
        if layer < n_layers - 1:
            chosen = origin[hidden[layer]]
        else:
            heads = origin[class_head][:N_CLASSES], origin[auxiliary_head][N_CLASSES:]
            chosen = jnp.concatenate(heads)
        return (chosen + student.distance * independent) / jnp.sqrt(1 + student.distance**2)

    return map_layers(leaf, own, other, independent)


def make_inputs(
    student: Student, rep: Replicate, index: Int[Array, " batch"]
) -> Float[Array, "batch height width"]:
    """Return inputs number ``index`` of a student."""
    index = student.first_input + index
    inputs = INPUTS[student.inputs](rep.keys.inputs, index, rep.train_images)
    return student.input_scale * inputs


def together(students: Iterable[Student]) -> list[tuple[Student, ...]]:
    """Group the students that see the same batches at the same steps, at most ``AT_MOST``."""
    groups: dict[tuple, list[Student]] = {}
    for s in students:
        seen = (s.inputs, s.input_scale, s.first_input, s.n_inputs, s.fresh, s.batch_size, s.epochs)
        groups.setdefault(seen, []).append(s)
    chunks = (group[i : i + AT_MOST] for group in groups.values()
              for i in range(0, len(group), AT_MOST))  # fmt: skip
    return [tuple(chunk) for chunk in chunks]


def train_students(
    group: Sequence[Student],
    rep: Replicate,
    taught: Mapping[str, Params],
    starts: Mapping[str, Params],
) -> dict[str, Params]:
    """Train students that see the same batches; return each one's parameters at its checkpoints.

    They have a leading axis of checkpoints, the last of which is the end of the training.
    ``taught`` has the networks that they imitate, by name.
    """
    like = group[0]
    imitated = sorted({s.teacher for s in group})
    order = batches(rep.keys.student_order, like.epochs, like.n_inputs, like.batch_size)

    def make(index):
        inputs = make_inputs(like, rep, index)
        return inputs, {name: rep.net.apply(taught[name], inputs) for name in imitated}

    def make_anew(step):
        epoch = step // like.n_batches
        return make(order[step] + like.fresh * like.n_inputs * epoch)

    def look_up(step):
        return jax.tree.map(lambda array: array[order[step]], stored)

    batch_fn = make_anew
    if not like.fresh and 4 * like.n_inputs * rep.train_images[0].size <= STORED:
        index = jnp.arange(like.n_batches * like.batch_size).reshape(-1, like.batch_size)
        stored = jax.tree.map(
            lambda array: array.reshape(-1, *array.shape[2:]), jax.lax.map(make, index)
        )
        batch_fn = look_up

    def loss(students, batch):  # added: no optimiser mixes the numbers of two students
        inputs, targets = batch
        outputs = [rep.net.apply(students[s.name], inputs) for s in group]
        losses = [
            imitation_loss(s, z, targets[s.teacher]) for s, z in zip(group, outputs, strict=True)
        ]
        return jnp.stack(losses).sum()

    def own_optimiser(s):
        return optax.chain(optimiser(s), change_update(s, rep, taught[s.teacher], starts[s.name]))

    tx = by_student({s.name: own_optimiser(s) for s in group})
    checkpoints = sorted({step for s in group for step in s.measured_at})
    saved = snapshots(loss, dict(starts), tx, batch_fn, checkpoints)

    def at_checkpoints(s):
        rows = jnp.array([checkpoints.index(step) for step in s.measured_at])
        return jax.tree.map(lambda leaf: leaf[rows], saved[s.name])

    return {s.name: at_checkpoints(s) for s in group}


def by_student(
    transformations: Mapping[str, optax.GradientTransformation],
) -> optax.GradientTransformation:
    """Return one transformation of ``{student: parameters}`` that gives each student its own."""

    def init(params):
        return {name: tx.init(params[name]) for name, tx in transformations.items()}

    def update(updates, state, params: Any = None):
        pairs = {n: tx.update(updates[n], state[n], params[n]) for n, tx in transformations.items()}
        return {n: new for n, (new, _) in pairs.items()}, {n: own for n, (_, own) in pairs.items()}

    return optax.GradientTransformation(init, update)


def displacement(params: Params, start: Params) -> Params:
    """Return params − start in the hidden layers, and 0 in the last, which holds the heads."""
    output = len(layer_names(params)) - 1
    return map_layers(
        lambda layer, end, begin: jnp.zeros_like(end) if layer == output else end - begin,
        params, start,
    )  # fmt: skip


def change_update(
    student: Student, rep: Replicate, taught: Params, start: Params
) -> optax.GradientTransformation:
    """Return what is done to an update of the hidden layers; see ``Student.update``."""
    if student.update == "all":
        return optax.identity()
    free = replace(student, update="all", checkpoints=())
    end = train_students([free], rep, {free.teacher: taught}, {free.name: start})[free.name]
    moved = displacement(jax.tree.map(lambda leaf: leaf[-1], end), start)
    _, direction = split(moved, displacement(taught, start))
    # It is 0 in the heads, whose updates are left as they are.
    return optax.stateless(lambda updates, _: split(updates, direction)[1])


# What is measured.


def class_logits(rep: Replicate, params: Params) -> Float[Array, "images classes"]:
    """Return a network's class logits of the test images."""
    return rep.net.apply(params, rep.test_images)[:, :N_CLASSES]


def test(rep: Replicate, params: Params) -> Array:
    """Return the fraction of test images that a network's class logits get right."""
    return accuracy(class_logits(rep, params), rep.test_labels)


def measure(rep: Replicate, taught: Params, begin: Params, params: Params) -> dict[str, Array]:
    """Measure a network that began at ``begin``; see ``MEASURES`` of ``experiment``."""
    output = len(layer_names(params)) - 1

    def with_teachers_head(layer, own, teachers):
        return jnp.concatenate([teachers[:N_CLASSES], own[N_CLASSES:]]) if layer == output else own

    goal, moved = displacement(taught, begin), displacement(params, begin)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()
    return {
        "accuracy": test(rep, params),
        "teacher_head_accuracy": test(rep, map_layers(with_teachers_head, params, taught)),
        "progress": component(moved, goal),
        "cosine": cosine(moved, goal),
        "length": jnp.sqrt(inner(moved, moved)),
        "diverged": ~finite,
    }


def teachers(run: Run, index: Int[Array, ""]) -> tuple[dict[str, dict[str, Array]], dict]:
    """Return measures and parameters of the untrained network and of the teacher."""
    rep = replicate(run, index)
    untrained, taught = teach(run.teacher, rep)
    params = {UNTRAINED: untrained, TEACHER: taught}
    measures = {arm: measure(rep, taught, untrained, p) for arm, p in params.items()}
    if run.teacher.line:
        goal = displacement(taught, untrained)

        def at(q):
            return test(rep, jax.tree.map(lambda way, begin: q * way + begin, goal, untrained))

        measures[TEACHER]["line_accuracy"] = jax.lax.map(at, jnp.asarray(ON_LINE))
    return measures, params


def students(
    run: Run, group: Sequence[Student], index: Int[Array, ""], taught: Mapping[str, Params]
) -> tuple[dict[str, dict[str, Array]], dict[str, Params]]:
    """Train students that see the same batches; return measures and parameters by name.

    Both have a leading axis of checkpoints, but for ``first_loss`` and ``rho`` (at the start).
    """
    rep = replicate(run, index)
    starts = {s.name: initial(s, rep) for s in group}
    trained = train_students(group, rep, taught, starts)

    def measures(s: Student) -> dict[str, Array]:
        inputs = make_inputs(s, rep, jnp.arange(min(s.n_inputs, N_MEASURED)))
        teacher, start = taught[s.teacher], starts[s.name]
        targets = rep.net.apply(teacher, inputs)
        imitate = partial(imitation_loss, s)

        def loss(params):
            return imitate(rep.net.apply(params, inputs), targets)

        def at_checkpoint(params):
            now = measure(rep, teacher, start, params) | {"imitation_loss": loss(params)}
            return now | {"diverged": now["diverged"] | ~jnp.isfinite(now["imitation_loss"])}

        rho = missed(rep.net.apply, start, teacher, inputs, imitate)
        at_start = {"first_loss": loss(start), "rho": rho}
        return jax.lax.map(at_checkpoint, trained[s.name]) | at_start

    return {s.name: measures(s) for s in group}, trained


ON_LINE = np.linspace(0, 1, 41)
"""Progress along a teacher's line at which accuracy is measured, if its row asks for it."""
SPLITS = ("line", "another teacher", "random line", "random split", "another student")
"""Ways to write a displacement as a sum of two: along the teacher's and the rest; along another
replicate's teacher's; along a random direction; into random parts as long as those of the first
split; and the first part of the first with the rest of another replicate's student."""


def split_students(
    run: Run,
    group: Sequence[Student],
    index: Int[Array, ""],
    taught: Mapping[str, Params],
    trained: Mapping[str, Params],
    others: tuple[Int[Array, ""], Mapping[str, Params], Mapping[str, Params]],
) -> dict[str, dict[str, Array]]:
    """Measure what each part of a student's displacement knows alone; see ``SPLIT_MEASURES``.

    ``trained`` is what ``students`` returns; ``others`` are index, teachers and trained students of
    another replicate. Measures have an axis of checkpoints, then, if of parts, of ``SPLITS``.
    """
    other_index, other_taught, other_trained = others
    rep, other = replicate(run, index), replicate(run, other_index)
    no_other = jnp.where(other_index == index, jnp.nan, 0)
    like = taught[group[0].teacher]
    drawn = optax.tree_utils.tree_random_like(rep.keys.direction, like)
    direction = displacement(drawn, jax.tree.map(jnp.zeros_like, like))
    right = partial(accuracy, labels=rep.test_labels)
    missing = jnp.stack([no_other if "another" in name else jnp.zeros(()) for name in SPLITS])

    def balanced(logits: Float[Array, "images classes"]) -> Array:
        return right(logits - logits.mean(0, keepdims=True))

    def start_and_way(s: Student, rep: Replicate, taught: Mapping[str, Params]) -> tuple:
        start = initial(s, rep)
        return start, displacement(taught[s.teacher], start)

    def stacked(trees: Iterable[Any]) -> Any:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    def of_all(trained: Mapping[str, Params]) -> Params:
        trees = [trained[s.name] for s in group]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *trees)

    known = stacked(
        (start_and_way(s, rep, taught), start_and_way(s, other, other_taught)) for s in group
    )
    member = np.repeat(np.arange(len(group)), [len(s.measured_at) for s in group])

    def at_checkpoint(checkpoint):
        member, end, others_end = checkpoint
        (start, goal), (others_start, others_goal) = jax.tree.map(lambda leaf: leaf[member], known)
        moved = displacement(end, start)
        along, rest = split(moved, goal)
        _, others_rest = split(displacement(others_end, others_start), others_goal)
        splits = (
            (along, rest),
            split(moved, others_goal),
            split(moved, direction),
            split_at_random(moved, along, direction),
            (along, others_rest),
        )

        def from_start(moved):
            return class_logits(rep, jax.tree.map(jnp.add, start, moved))

        parts = stacked(itertools.chain(*splits))
        logits = jax.lax.map(from_start, parts)
        logits = {"along": logits[::2], "rest": logits[1::2]}
        before, change = jax.jvp(from_start, (jax.tree.map(jnp.zeros_like, moved),), (moved,))
        logits["sum"] = logits["along"] + logits["rest"] - before[None]
        return {
            **{f"{part}_accuracy": jax.vmap(right)(z) + missing for part, z in logits.items()},
            **{f"balanced_{part}_accuracy": balanced(z[0]) for part, z in logits.items()},
            "balanced_accuracy": balanced(from_start(moved)),
            "linearised_accuracy": right(before + change),
        }

    measured = jax.lax.map(at_checkpoint, (member, of_all(trained), of_all(other_trained)))
    return {
        s.name: jax.tree.map(lambda leaf, number=number: leaf[member == number], measured)
        for number, s in enumerate(group)
    }
