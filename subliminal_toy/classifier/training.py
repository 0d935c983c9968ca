"""One replicate of the classifier experiment: a teacher, its students, and what is measured.

Plain functions of one replicate, and ``many``, which runs them for many. Students of one teacher
that see the same batches are trained in one loop, as one network whose loss is the sum of theirs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key

from subliminal_toy.classifier.arms import (
    OTHER,
    OWN,
    TEACHER,
    UNTRAINED,
    Student,
    Teacher,
    numbers_of,
    without_numbers,
)
from subliminal_toy.classifier.measures import measure
from subliminal_toy.classifier.rows import (
    Keys,
    Numbers,
    Replicate,
    change_update,
    component,
    imitation_loss,
    make_inputs,
    optimiser,
)
from subliminal_toy.data import N_CLASSES, Dataset
from subliminal_toy.distill import cross_entropy, ensemble, fit, snapshots
from subliminal_toy.explain.geometry import subtract
from subliminal_toy.models import ARCHITECTURES, LAWS, Network, Params, layer_names, map_layers

Shared = tuple[Key[Array, ""], Int[Array, ""], Numbers, tuple[Array, ...]]
"""What all replicates share: key, their number, numbers of the rows, four arrays of a data set."""


def replicate_keys(
    key: Key[Array, ""], index: Int[Array, ""], n_replicates: int | Int[Array, ""]
) -> Keys:
    """Return the streams of replicate ``index``; its other initialisation is the next one's.

    The last one's is the first one's; a single replicate gets a second one for the purpose.
    """
    init, *streams = (jax.random.fold_in(key, stream) for stream in range(6))
    other = jax.random.fold_in(init, (index + 1) % jnp.maximum(n_replicates, 2))
    own, *others = (jax.random.fold_in(stream, index) for stream in (init, *streams))
    return Keys(own, other, *others)


def replicate(
    teacher: Teacher, image_shape: tuple[int, int], shared: Shared, index: Int[Array, ""]
) -> Replicate:
    """Return replicate ``index`` of a run."""
    key, n_replicates, numbers, data = shared
    keys = replicate_keys(key, index, n_replicates)
    return Replicate(teacher, network(teacher, image_shape), keys, numbers, data)


def network(teacher: Teacher, image_shape: tuple[int, int]) -> Network:
    """Return the network of a teacher and its students: ten class logits, then the auxiliary."""
    build = ARCHITECTURES[teacher.architecture]
    n_outputs = N_CLASSES + teacher.n_aux
    return build(image_shape, teacher.hidden_sizes, n_outputs, law=LAWS[teacher.initialisation])


def all_batches(
    key: Key[Array, ""], epochs: int, n_examples: int, batch_size: int
) -> Int[Array, "steps batch"]:
    """Return the example numbers of each step: every example once an epoch, each in a new order.

    The last batch of an epoch is filled up from the front of the same order.
    """
    n_batches = -(-n_examples // batch_size)
    filled = jnp.arange(n_batches * batch_size) % n_examples

    def of_epoch(epoch):
        return jax.random.permutation(jax.random.fold_in(key, epoch), n_examples)[filled]

    return jax.lax.map(of_epoch, jnp.arange(epochs)).reshape(-1, batch_size)


def teach(of: Replicate) -> dict[str, Params]:
    """Return the untrained network, and the teacher, trained on the class logits of images."""
    net, teacher, (images, labels, *_) = of.net, of.teacher, of.data

    def loss(params, batch):
        return cross_entropy(net.apply(params, images[batch]), labels[batch], slice(N_CLASSES))

    untrained, tx = net.init(of.keys.own), optimiser(teacher, of.numbers[TEACHER])
    batches = all_batches(of.keys.teacher_order, teacher.epochs, len(images), teacher.batch_size)
    taught, _ = fit(loss, untrained, tx, lambda step: batches[step], len(batches))
    return {UNTRAINED: untrained, TEACHER: taught}


def initial(student: Student, of: Replicate) -> Params:
    """Return a student's start s: the origin of each of its layers, then the perturbation."""
    net, keys = of.net, of.keys
    origins = {OWN: net.init(keys.own), OTHER: net.init(keys.other)}
    n_layers = len(layer_names(origins[OWN]))
    by_layer = (student.start,) * (n_layers + 1) if student.start in origins else student.start
    *hidden, class_head, auxiliary_head = by_layer
    sigma = of.numbers[student.name]["distance"]

    def leaf(layer, own, other, independent):
        leaves = {OWN: own, OTHER: other}
        if layer < n_layers - 1:
            chosen = leaves[hidden[layer]]
        else:
            heads = leaves[class_head][:N_CLASSES], leaves[auxiliary_head][N_CLASSES:]
            chosen = jnp.concatenate(heads)
        return (chosen + sigma * independent) / jnp.sqrt(1 + sigma**2)

    return map_layers(leaf, origins[OWN], origins[OTHER], net.init(keys.perturbation))


def direction(student: Student, of: Replicate, teacher: Params, start: Params) -> Params:
    """Return the direction of which a student's ``update`` speaks; see ``Student.along``."""
    goal = subtract(teacher, start)
    if student.along == "random":
        leaves, structure = jax.tree.flatten(goal)
        each = jax.random.split(of.keys.direction, len(leaves))
        drawn = [jax.random.normal(k, leaf.shape) for k, leaf in zip(each, leaves, strict=True)]
        return jax.tree.unflatten(structure, drawn)
    if student.along == "free":
        free = replace(student, update="all", along="teacher", checkpoints=())
        trained = train_students([free], of, teacher, {student.name: start})[student.name]
        moved = jax.tree.map(lambda end, begin: end[-1] - begin, trained, start)
        share = component(moved, goal)
        return jax.tree.map(lambda own, teachers: own - share * teachers, moved, goal)
    return goal


def together(students: Iterable[Student]) -> list[list[Student]]:
    """Group the students that see the same batches at the same steps."""
    groups: dict[tuple, list[Student]] = {}
    for s in students:
        batches = (s.inputs, s.input_scale, s.n_inputs, s.fresh, s.batch_size, s.epochs)
        groups.setdefault(batches, []).append(s)
    return list(groups.values())


def train_students(
    group: Sequence[Student], of: Replicate, teacher: Params, starts: dict[str, Params]
) -> dict[str, Params]:
    """Train students that see the same batches; return each one's parameters at its checkpoints.

    They have a leading axis of checkpoints, the last of which is the end of the training.
    """
    like = group[0]
    batches = all_batches(of.keys.student_order, like.epochs, like.n_inputs, like.batch_size)

    def batch_fn(step):
        index = batches[step] + like.fresh * like.n_inputs * (step // like.n_batches)
        inputs = make_inputs(like, of, index)
        return inputs, of.net.apply(teacher, inputs)

    def loss(students, batch):  # added: no optimiser mixes the numbers of two students
        inputs, targets = batch
        outputs = {s: of.net.apply(students[s.name], inputs) for s in group}
        losses = [imitation_loss(s, of.numbers, z, targets) for s, z in outputs.items()]
        return jnp.stack(losses).sum()

    def tx(s):
        along = direction(s, of, teacher, starts[s.name])
        return optax.chain(optimiser(s, of.numbers[s.name]), change_update(s.update, along))

    checkpoints = sorted({step for s in group for step in s.measured_at})
    each_tx = by_student({s.name: tx(s) for s in group})
    saved = snapshots(loss, starts, each_tx, batch_fn, checkpoints)

    def own_checkpoints(s):
        rows = jnp.array([checkpoints.index(step) for step in s.measured_at])
        return jax.tree.map(lambda leaf: leaf[rows], saved[s.name])

    return {s.name: own_checkpoints(s) for s in group}


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


def imitate(
    group: Sequence[Student], of: Replicate, taught: Params
) -> tuple[dict[str, dict[str, Array]], dict[str, Params]]:
    """Train students that see the same batches; return measures and parameters by name.

    Both have a leading axis of checkpoints.
    """
    starts = {s.name: initial(s, of) for s in group}
    params = train_students(group, of, taught, starts)
    each = {s.name: partial(measure, s, of, taught, starts[s.name]) for s in group}
    return {name: jax.lax.map(one, params[name]) for name, one in each.items()}, params


def train(
    students: Sequence[Student], of: Replicate
) -> tuple[dict[str, dict[str, Array]], dict[str, Params]]:
    """Train the teacher and every student of a table; return measures and parameters by arm.

    Those of students have a leading axis of checkpoints. The untrained network and the teacher are
    measured as if they were the first student.
    """
    params = teach(of)
    like = partial(measure, students[0], of, params[TEACHER], params[UNTRAINED])
    measures = {name: like(one) for name, one in params.items()}
    for group in together(students):
        measured, trained = imitate(group, of, params[TEACHER])
        measures, params = measures | measured, params | trained
    return measures, params


def many(
    function: Callable[..., Any],
    teacher: Teacher,
    students: Sequence[Student],
    n_replicates: int,
    key: Key[Array, ""],
    data: Dataset,
    replicates_per_device: int | None = None,
) -> Callable[..., Any]:
    """Return ``function(students, replicate, *own)``, compiled for many of ``n_replicates``.

    It is called with the replicates' numbers; they, ``own`` and results have a leading axis of
    replicates. Tables that differ in ``NUMBERS`` only share one program.
    """
    rows = without_numbers(teacher), tuple(map(without_numbers, students))
    shared = (key, jnp.int32(n_replicates), numbers_of(teacher, students), tuple(data[1:]))
    program = _program(function, *rows, data.image_shape, replicates_per_device)
    return partial(program, shared)


@lru_cache(maxsize=64)
def _program(
    function: Callable,
    teacher: Teacher,
    students: tuple[Student, ...],
    image_shape: tuple[int, int],
    replicates_per_device: int | None,
) -> Callable:
    def one(shared, index, *own):
        return function(students, replicate(teacher, image_shape, shared, index), *own)

    return ensemble(one, 1, replicates_per_device)
