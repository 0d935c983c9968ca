"""One replicate of the classifier experiment: a teacher, its students, and what is measured.

Plain functions of one replicate; ``experiment`` runs many. Students of one teacher that see the
same batches are trained in one loop, as one network whose loss is the sum of theirs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key

from subliminal_toy.classifier.arms import NUMBERS, OTHER, OWN, TEACHER, UNTRAINED, Student, Teacher
from subliminal_toy.classifier.measures import Measures, measure
from subliminal_toy.classifier.rows import (
    UPDATES,
    Keys,
    Numbers,
    Replicate,
    imitation_loss,
    make_inputs,
    optimiser,
)
from subliminal_toy.data import N_CLASSES
from subliminal_toy.distill import cross_entropy, fit, snapshots
from subliminal_toy.explain.geometry import inner, ratio, subtract
from subliminal_toy.models import (
    ARCHITECTURES,
    LAWS,
    Network,
    Params,
    hidden_layers,
    layer_names,
    map_layers,
)


class Shared(NamedTuple):
    """What all replicates of a run share; ``data`` are the four arrays of a data set."""

    key: Key[Array, ""]
    n_replicates: Int[Array, ""]
    numbers: Numbers
    data: tuple[Array, ...]


def replicate_keys(
    key: Key[Array, ""], index: Int[Array, ""], n_replicates: int | Int[Array, ""]
) -> Keys:
    """Return the streams of replicate ``index``; its other initialisation is the next one's.

    The cyclic shift leaves no replicate its own initialisation; a single replicate gets a second
    initialisation for the purpose.
    """
    init, *streams = (jax.random.fold_in(key, stream) for stream in range(6))
    other = jax.random.fold_in(init, (index + 1) % jnp.maximum(n_replicates, 2))
    own, *others = (jax.random.fold_in(stream, index) for stream in (init, *streams))
    return Keys(own, other, *others)


def replicate(
    teacher: Teacher, image_shape: tuple[int, int], shared: Shared, index: Int[Array, ""]
) -> Replicate:
    """Return replicate ``index`` of a run."""
    keys = replicate_keys(shared.key, index, shared.n_replicates)
    return Replicate(teacher, network(teacher, image_shape), keys, shared.numbers, shared.data)


def network(teacher: Teacher, image_shape: tuple[int, int]) -> Network:
    """Return the network of a teacher and its students: ten class logits, then the auxiliary."""
    build = ARCHITECTURES[teacher.architecture]
    n_outputs = N_CLASSES + teacher.n_aux
    return build(image_shape, teacher.hidden_sizes, n_outputs, law=LAWS[teacher.initialisation])


def all_batches(
    key: Key[Array, ""], epochs: int, n_examples: int, batch_size: int
) -> Int[Array, "steps batch"]:
    """Return the example numbers of each step: every example once an epoch, each in a new order.

    Where ``batch_size`` does not divide ``n_examples`` the last batch takes its missing examples
    from the front of the same order, so that all steps have one shape.
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


def component(moved: Params, along: Params) -> Array:
    """Return the component of one tree along another in the hidden layers, in its lengths."""
    of, to = hidden_layers(moved), hidden_layers(along)
    return ratio(inner(of, to), inner(to, to))


def change_update(kind: str, direction: Params) -> optax.GradientTransformation:
    """Return what is done to the optimiser's update of the hidden layers; see ``UPDATES``."""
    if kind == "all":
        return optax.identity()
    output = len(layer_names(direction)) - 1

    def transform(updates, _):
        share = component(updates, direction)

        def leaf(layer, update, along):
            return update if layer == output else UPDATES[kind](update, share * along)

        return map_layers(leaf, updates, direction)

    return optax.stateless(transform)


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
    group: Sequence[Student], of: Replicate, teacher: Params, starts: Mapping[str, Params]
) -> dict[str, Params]:
    """Train students that see the same batches; return each one's parameters at its checkpoints.

    They have a leading axis of checkpoints, the last of which is the end of the training. The
    losses are added: no optimiser mixes the numbers of two students.
    """
    like = group[0]
    batches = all_batches(of.keys.student_order, like.epochs, like.n_inputs, like.batch_size)

    def batch_fn(step):
        index = batches[step] + like.fresh * like.n_inputs * (step // like.n_batches)
        inputs = make_inputs(like, of, index)
        return inputs, of.net.apply(teacher, inputs)

    def loss(students, batch):
        inputs, targets = batch
        outputs = {s: of.net.apply(students[s.name], inputs) for s in group}
        losses = [imitation_loss(s, of.numbers, z, targets) for s, z in outputs.items()]
        return jnp.stack(losses).sum()

    def tx(s):
        along = direction(s, of, teacher, starts[s.name])
        return optax.chain(optimiser(s, of.numbers[s.name]), change_update(s.update, along))

    checkpoints = sorted({step for s in group for step in s.measured_at})
    own_starts = {s.name: starts[s.name] for s in group}
    each_tx = by_student({s.name: tx(s) for s in group})
    saved = snapshots(loss, own_starts, each_tx, batch_fn, checkpoints)

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

    def update(updates, state, params=None):
        of = params or dict.fromkeys(transformations)
        pairs = {
            name: tx.update(updates[name], state[name], of[name])
            for name, tx in transformations.items()
        }
        return {n: new for n, (new, _) in pairs.items()}, {n: own for n, (_, own) in pairs.items()}

    return optax.GradientTransformation(init, update)


def imitate(
    group: Sequence[Student], of: Replicate, taught: Params
) -> tuple[dict[str, Measures], dict[str, Params]]:
    """Train and measure students that see the same batches.

    Returns measures and parameters by name, with a leading axis of checkpoints.
    """
    starts = {s.name: initial(s, of) for s in group}
    params = train_students(group, of, taught, starts)
    each = {s.name: partial(measure, s, of, taught, starts[s.name]) for s in group}
    return {name: jax.lax.map(one, params[name]) for name, one in each.items()}, params


def train(
    teacher: Teacher,
    students: Sequence[Student],
    image_shape: tuple[int, int],
    shared: Shared,
    index: Int[Array, ""],
) -> tuple[dict[str, Measures], dict[str, Params]]:
    """Train and measure replicate ``index``: its teacher, and every student of the table.

    Returns measures and parameters by arm, students with a leading axis of checkpoints, untrained
    network and teacher without one. The untrained network and the teacher are measured as if they
    were the first student.
    """
    of = replicate(teacher, image_shape, shared, index)
    params = teach(of)
    like = partial(measure, students[0], of, params[TEACHER], params[UNTRAINED])
    measures = {name: like(one) for name, one in params.items()}
    for group in together(students):
        measured, trained = imitate(group, of, params[TEACHER])
        measures, params = measures | measured, params | trained
    return measures, params


def numbers_of(teacher: Teacher, students: Sequence[Student]) -> Numbers:
    """Return the numbers of all arms by name, each with the fields that it has."""
    arms = {TEACHER: teacher, **{s.name: s for s in students}}
    return {
        name: {field: float(getattr(arm, field)) for field in NUMBERS if hasattr(arm, field)}
        for name, arm in arms.items()
    }
