"""One replicate of the classifier experiment: a teacher, its students, and what is measured.

Plain functions of one replicate; ``experiment`` runs many. Students of one teacher that see the
same batches are trained in one loop, as one network whose loss is the sum of theirs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from subliminal_toy.classifier.arms import NUMBERS, OTHER, OWN, TEACHER, UNTRAINED, Student, Teacher
from subliminal_toy.data import N_CLASSES, uniform_noise
from subliminal_toy.distill import (
    accuracy,
    cross_entropy,
    fit,
    kl,
    snapshots,
    squared_error,
)
from subliminal_toy.models import (
    ARCHITECTURES,
    LAWS,
    Network,
    Params,
    hidden_layers,
    layer_names,
    map_layers,
)

N_SAMPLES = 40  # test images whose logits are kept, to look at
N_MEASURED = 2_048  # inputs on which a trained student's imitation loss is measured

Images = Float[Array, "images height width"]
Numbers = Mapping[str, Mapping[str, Any]]
"""The numbers (``arms.NUMBERS``) of the teacher and of every student, by name."""

OPTIMISERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "sign": optax.sign_sgd,
    "rmsprop": optax.rmsprop,
    "lion": optax.lion,
    "adagrad": optax.adagrad,
}


def _drawn(draw: Callable, key: Key[Array, ""], index: Array, images: Array) -> Array:
    """Return images of independent pixels, each image from a key of its own."""
    keys = jax.vmap(partial(jax.random.fold_in, key))(index)
    return jax.vmap(lambda k: draw(k, images.shape[1:], jnp.float32))(keys)


def _shuffled(key: Key[Array, ""], index: Array, images: Array) -> Array:
    """Return training images with the pixels of each in an order of its own."""
    keys = jax.vmap(partial(jax.random.fold_in, key))(index)
    flat = images[index % len(images)].reshape(len(index), -1)
    return jax.vmap(jax.random.permutation)(keys, flat).reshape(-1, *images.shape[1:])


INPUTS: dict[str, Callable[[Key[Array, ""], Array, Array], Array]] = {
    "uniform": lambda key, index, images: uniform_noise(
        key, index, (images.shape[1], images.shape[2])
    ),
    "gaussian": partial(_drawn, jax.random.normal),
    "signs": partial(_drawn, jax.random.rademacher),
    "images": lambda key, index, images: images[index % len(images)],
    "shuffled pixels": _shuffled,
}
"""Inputs number ``index`` of a replicate: made from its key, or from the training images."""

LOSSES: dict[str, Callable[[Array, Array, slice, Any], Array]] = {
    "kl": kl,
    "squared error": lambda z, y, columns, _: squared_error(z, y, columns),
}

UPDATES: dict[str, Callable[[Array, Array], Array]] = {
    "without": lambda update, along: update - along,
    "only": lambda update, along: along,
}
"""What becomes of an update of the hidden layers, given its component along θ_T − s; "all" of it
is kept where a row says so."""


class Keys(NamedTuple):
    """The random streams of one replicate."""

    own: Key[Array, ""]
    other: Key[Array, ""]
    teacher_order: Key[Array, ""]
    inputs: Key[Array, ""]
    student_order: Key[Array, ""]
    perturbation: Key[Array, ""]


def replicate_keys(
    key: Key[Array, ""], index: Int[Array, ""], n_replicates: int | Int[Array, ""]
) -> Keys:
    """Return the streams of replicate ``index``; its other initialisation is the next one's.

    The cyclic shift leaves no replicate its own initialisation; a single replicate gets a second
    initialisation for the purpose.
    """
    init, *streams = (jax.random.fold_in(key, stream) for stream in range(5))
    other = jax.random.fold_in(init, (index + 1) % jnp.maximum(n_replicates, 2))
    own, *others = (jax.random.fold_in(stream, index) for stream in (init, *streams))
    return Keys(own, other, *others)


def network(teacher: Teacher, image_shape: tuple[int, int]) -> Network:
    """Return the network of a teacher and its students: ten class logits, then the auxiliary."""
    build = ARCHITECTURES[teacher.architecture]
    n_outputs = N_CLASSES + teacher.n_aux
    return build(image_shape, teacher.hidden_sizes, n_outputs, law=LAWS[teacher.initialisation])


def columns(imitates: str) -> slice:
    """Return the logits that a student imitates."""
    return slice(N_CLASSES if imitates == "auxiliary" else 0, None)


def n_steps(n_examples: int, batch_size: int) -> int:
    """Return the number of steps of an epoch; the last batch is filled up (``all_batches``)."""
    return -(-n_examples // batch_size)


def all_batches(
    key: Key[Array, ""], epochs: int, n_examples: int, batch_size: int
) -> Int[Array, "steps batch"]:
    """Return the example numbers of each step: every example once an epoch, each in a new order.

    Where ``batch_size`` does not divide ``n_examples`` the last batch takes its missing examples
    from the front of the same order, so that all steps have one shape.
    """
    filled = jnp.arange(n_steps(n_examples, batch_size) * batch_size) % n_examples

    def of_epoch(epoch):
        return jax.random.permutation(jax.random.fold_in(key, epoch), n_examples)[filled]

    return jax.lax.map(of_epoch, jnp.arange(epochs)).reshape(-1, batch_size)


def optimiser(arm: Teacher | Student, numbers: Mapping[str, Any]) -> optax.GradientTransformation:
    """Return an arm's optimiser; weight decay is added to the gradient."""
    decay = optax.add_decayed_weights(numbers["weight_decay"])
    return optax.chain(decay, OPTIMISERS[arm.optimiser](numbers["learning_rate"]))


def train_teacher(
    teacher: Teacher,
    net: Network,
    numbers: Mapping[str, Any],
    images: Images,
    labels: Int[Array, " images"],
    params: Params,
    order_key: Key[Array, ""],
) -> Params:
    """Return ``params`` trained by cross-entropy on the class logits of labelled images."""
    tx = optimiser(teacher, numbers)

    def loss(params, batch):
        return cross_entropy(net.apply(params, images[batch]), labels[batch], slice(N_CLASSES))

    batches = all_batches(order_key, teacher.epochs, len(images), teacher.batch_size)
    return fit(loss, params, tx, lambda step: batches[step], len(batches))[0]


def initial(student: Student, numbers: Mapping[str, Any], net: Network, keys: Keys) -> Params:
    """Return a student's start s: the origin of each of its layers, then the perturbation."""
    origins = {OWN: net.init(keys.own), OTHER: net.init(keys.other)}
    n_layers = len(layer_names(origins[OWN]))
    by_layer = (student.start,) * (n_layers + 1) if student.start in origins else student.start
    *hidden, class_head, auxiliary_head = by_layer
    sigma = numbers["distance"]

    def leaf(layer, own, other, independent):
        of = {OWN: own, OTHER: other}
        if layer < n_layers - 1:
            chosen = of[hidden[layer]]
        else:
            chosen = jnp.concatenate([of[class_head][:N_CLASSES], of[auxiliary_head][N_CLASSES:]])
        return (chosen + sigma * independent) / jnp.sqrt(1 + sigma**2)

    return map_layers(leaf, origins[OWN], origins[OTHER], net.init(keys.perturbation))


def inner(a: Params, b: Params) -> Float[Array, ""]:
    """Return the Euclidean inner product of the hidden layers of two trees of parameters."""
    pairs = zip(hidden_layers(a), hidden_layers(b), strict=True)
    return jnp.stack([jnp.vdot(x, y) for x, y in pairs]).sum()


def change_update(kind: str, direction: Params) -> optax.GradientTransformation:
    """Return what is done to the optimiser's update of the hidden layers; see ``UPDATES``."""
    if kind == "all":
        return optax.identity()
    output = len(layer_names(direction)) - 1

    def transform(updates, _):
        share = inner(updates, direction) / inner(direction, direction)

        def leaf(layer, update, along):
            return update if layer == output else UPDATES[kind](update, share * along)

        return map_layers(leaf, updates, direction)

    return optax.stateless(transform)


def together(students: Iterable[Student]) -> list[list[Student]]:
    """Group the students that see the same batches at the same steps."""
    groups: dict[tuple, list[Student]] = {}
    for s in students:
        batches = (s.inputs, s.input_scale, s.n_inputs, s.fresh, s.batch_size, s.epochs)
        groups.setdefault(batches, []).append(s)
    return list(groups.values())


def make_inputs(
    student: Student, key: Key[Array, ""], index: Int[Array, " batch"], images: Images
) -> Float[Array, "batch height width"]:
    """Return inputs number ``index`` of a student."""
    return student.input_scale * INPUTS[student.inputs](key, index, images)


def train_students(
    group: Sequence[Student],
    net: Network,
    numbers: Numbers,
    images: Images,
    teacher: Params,
    starts: Mapping[str, Params],
    keys: Keys,
) -> dict[str, Params]:
    """Train students that see the same batches; return each one's parameters at its checkpoints.

    They have a leading axis of checkpoints, the last of which is the end of the training. The
    losses are added: no optimiser mixes the numbers of two students.
    """
    like = group[0]
    per_epoch = n_steps(like.n_inputs, like.batch_size)
    batches = all_batches(keys.student_order, like.epochs, like.n_inputs, like.batch_size)

    def batch_fn(step):
        index = batches[step] + like.fresh * like.n_inputs * (step // per_epoch)
        inputs = make_inputs(like, keys.inputs, index, images)
        return inputs, net.apply(teacher, inputs)

    def loss(students, batch):
        inputs, targets = batch
        losses = [imitation_loss(s, numbers, net, students[s.name], inputs, targets) for s in group]
        return jnp.stack(losses).sum()

    def tx(s):
        change = change_update(s.update, jax.tree.map(jnp.subtract, teacher, starts[s.name]))
        return optax.chain(optimiser(s, numbers[s.name]), change)

    checkpoints = sorted({len(batches), *(step for s in group for step in s.checkpoints)})
    own_starts = {s.name: starts[s.name] for s in group}
    each_tx = by_student({s.name: tx(s) for s in group})
    saved = snapshots(loss, own_starts, each_tx, batch_fn, checkpoints)

    def own_checkpoints(s):
        rows = jnp.array([checkpoints.index(step) for step in (*s.checkpoints, len(batches))])
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


def imitation_loss(
    student: Student,
    numbers: Numbers,
    net: Network,
    params: Params,
    inputs: Float[Array, "batch height width"],
    targets: Float[Array, "batch outputs"],
) -> Float[Array, ""]:
    """Return a student's loss against its teacher's logits (``targets``) on ``inputs``."""
    scale, temperature = numbers[student.name]["loss_scale"], numbers[student.name]["temperature"]
    z = net.apply(params, inputs)
    return scale * LOSSES[student.loss](z, targets, columns(student.imitates), temperature)


class Measures(NamedTuple):
    """What is measured of one network, all scalars but ``sample_logits``.

    ``accuracy`` on the test images through its own class head, ``teacher_head_accuracy`` through
    the teacher's; ``imitation_loss`` (the student's own loss, on its own first inputs) and the
    ``first_loss`` that it had at its start;
    ``progress`` q = ⟨θ − s, θ_T − s⟩ / ‖θ_T − s‖² over the hidden layers, s its start, and the
    ``cosine`` of the two displacements (0 where one of them is 0); ``diverged``, whether a
    parameter or the loss is not finite; ``sample_logits`` (image, output) of the first test images.
    """

    accuracy: Array
    teacher_head_accuracy: Array
    imitation_loss: Array
    first_loss: Array
    progress: Array
    cosine: Array
    diverged: Array
    sample_logits: Array


def measure(
    student: Student,
    numbers: Numbers,
    net: Network,
    data: tuple[Array, ...],
    teacher: Params,
    begin: Params,
    params: Params,
    keys: Keys,
) -> Measures:
    """Measure a network that began at ``begin`` and whose loss and inputs are the student's."""
    train_images, _, test_images, test_labels = data
    output = len(layer_names(params)) - 1

    def with_teachers_head(layer, own, teachers):
        return jnp.concatenate([teachers[:N_CLASSES], own[N_CLASSES:]]) if layer == output else own

    logits = net.apply(params, test_images)
    other_head = net.apply(map_layers(with_teachers_head, params, teacher), test_images)
    index = jnp.arange(min(student.n_inputs, N_MEASURED))
    inputs = make_inputs(student, keys.inputs, index, train_images)
    targets = net.apply(teacher, inputs)
    loss, first_loss = (
        imitation_loss(student, numbers, net, p, inputs, targets) for p in (params, begin)
    )
    moved, goal = (jax.tree.map(jnp.subtract, a, begin) for a in (params, teacher))
    along, moved_square, goal_square = inner(moved, goal), inner(moved, moved), inner(goal, goal)
    lengths = jnp.sqrt(moved_square * goal_square)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()
    return Measures(
        accuracy=accuracy(logits[:, :N_CLASSES], test_labels),
        teacher_head_accuracy=accuracy(other_head[:, :N_CLASSES], test_labels),
        imitation_loss=loss,
        first_loss=first_loss,
        progress=along / jnp.where(goal_square > 0, goal_square, 1.0),
        cosine=along / jnp.where(lengths > 0, lengths, 1.0),
        diverged=~(finite & jnp.isfinite(loss)),
        sample_logits=logits[:N_SAMPLES],
    )


def train(
    teacher: Teacher,
    students: Sequence[Student],
    image_shape: tuple[int, int],
    key: Key[Array, ""],
    n_replicates: Int[Array, ""],
    numbers: Numbers,
    data: tuple[Array, ...],
    index: Int[Array, ""],
) -> tuple[dict[str, Measures], dict[str, Params]]:
    """Train and measure replicate ``index``: its teacher, and every student of the table.

    ``data`` are the four arrays of a data set. Returns measures and parameters by arm, students
    with a leading axis of checkpoints, untrained network and teacher without one. The untrained
    network and the teacher are measured as if they were the first student.
    """
    net, keys = network(teacher, image_shape), replicate_keys(key, index, n_replicates)
    images, labels, *_ = data
    untrained = net.init(keys.own)
    taught = train_teacher(
        teacher, net, numbers[TEACHER], images, labels, untrained, keys.teacher_order
    )
    starts = {s.name: initial(s, numbers[s.name], net, keys) for s in students}
    params: dict[str, Params] = {UNTRAINED: untrained, TEACHER: taught}
    for group in together(students):
        params |= train_students(group, net, numbers, images, taught, starts, keys)
    like = students[0]
    measures = {
        name: measure(like, numbers, net, data, taught, untrained, params[name], keys)
        for name in (UNTRAINED, TEACHER)
    }
    for s in students:
        one = partial(measure, s, numbers, net, data, taught, starts[s.name], keys=keys)
        measures[s.name] = jax.lax.map(one, params[s.name])
    return measures, params


def numbers_of(teacher: Teacher, students: Sequence[Student]) -> Numbers:
    """Return the numbers of all arms by name, each with the fields that it has."""
    arms = {TEACHER: teacher, **{s.name: s for s in students}}
    return {
        name: {field: float(getattr(arm, field)) for field in NUMBERS if hasattr(arm, field)}
        for name, arm in arms.items()
    }
