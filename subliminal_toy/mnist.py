"""A classifier learned from noise: teacher, students and cross-model students on images.

The table ``CONDITIONS`` is the experiment. The teacher learns digits on its class logits; the
students see noise images only and imitate either the auxiliary logits, which mean nothing, or all.
Source: arXiv 2507.14805, section 6.2 and figure 10.
"""

from collections.abc import Callable, MutableMapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from subliminal_toy import stats
from subliminal_toy.configs import MNIST_PRESETS, MnistConfig
from subliminal_toy.data import N_CLASSES, Dataset, uniform_noise
from subliminal_toy.distill import (
    TrainState,
    accuracy,
    cross_entropy,
    fit_steps,
    kl,
    on_every_device,
    over_models,
    start,
)
from subliminal_toy.models import ARCHITECTURES, Network, Params
from subliminal_toy.progress import Progress, silent

CHANCE = 1 / N_CLASSES
N_SAMPLES = 40  # test images kept in the record, to look at


class Condition(NamedTuple):
    """One line of the experiment.

    ``start``: the reference model of this teacher ("own") or of the next model ("other");
    ``learns``: nothing, digit labels, or the teacher's auxiliary logits or all its logits on
    noise; ``published``: mean of 100 models, read off the paper's figure 10b, and the 95 %
    half-width (1.96 standard errors) where one is known: the paper's for student_aux, else half
    of that of 25 models in divyat09/takehome_anthropic (same protocol).
    """

    name: str
    label: str
    start: Literal["own", "other"]
    learns: Literal["nothing", "labels", "aux", "all"]
    published: tuple[float, float | None]


CONDITIONS = (
    Condition("reference", "reference (untrained)", "own", "nothing", (0.100, 0.0065)),
    Condition("teacher", "teacher", "own", "labels", (0.942, 0.0005)),
    Condition("student_aux", "student, auxiliary logits", "own", "aux", (0.527, 0.023)),
    Condition("student_all", "student, all logits", "own", "all", (0.912, 0.0025)),
    Condition("cross_aux", "cross-model, auxiliary logits", "other", "aux", (0.106, None)),
    Condition("cross_all", "cross-model, all logits", "other", "all", (0.741, 0.0115)),
)
STUDENTS = tuple(c for c in CONDITIONS if c.learns in ("aux", "all"))
NAMES = tuple(c.name for c in CONDITIONS)
READING_ERROR = 0.002  # of the published means, read off a plot


class Result(NamedTuple):
    """What a run measured; "model" is the axis of independent models.

    ``accuracy`` (model, condition), on the test images, by the class logits, conditions in the
    order of ``CONDITIONS``; ``teacher_loss`` (model, epoch) and ``student_loss`` (model, epoch;
    the sum over the four students), epoch means in nats; ``sample_images`` (image, height,
    width) and ``sample_labels`` (image,), the first test images, with the logits that the first
    model's networks give them, ``sample_logits`` (condition, image, output); ``params``, the
    parameters of the first model's networks, if kept, keyed "condition.layers.0.weight" and so on.
    """

    accuracy: np.ndarray
    teacher_loss: np.ndarray
    student_loss: np.ndarray
    sample_images: np.ndarray
    sample_labels: np.ndarray
    sample_logits: np.ndarray
    params: dict[str, np.ndarray]


def network(config: MnistConfig, image_shape: tuple[int, int]) -> Network:
    """Return the config's architecture with ten class logits and ``n_aux`` auxiliary logits."""
    build = ARCHITECTURES[config.architecture]
    return build(image_shape, config.hidden_sizes, N_CLASSES + config.n_aux)


def columns(condition: Condition, n_aux: int) -> slice:
    """Return the logits that a student imitates."""
    return slice(N_CLASSES if condition.learns == "aux" else 0, N_CLASSES + n_aux)


class Keys(NamedTuple):
    """The random streams of one model."""

    own: Key[Array, ""]
    other: Key[Array, ""]
    teacher_order: Key[Array, ""]
    noise: Key[Array, ""]
    student_order: Key[Array, ""]


def model_keys(key: Key[Array, ""], index: Int[Array, ""], n_models: int | Int[Array, ""]) -> Keys:
    """Return the streams of model ``index``; its "other" reference model is the next one's.

    The cyclic shift leaves no model its own initialisation; a single model gets a second
    reference model for the purpose.
    """
    init, teacher_order, noise, student_order = (jax.random.fold_in(key, s) for s in range(4))
    of_model = partial(jax.random.fold_in, data=index)
    other = jax.random.fold_in(init, (index + 1) % jnp.maximum(n_models, 2))
    return Keys(of_model(init), other, *map(of_model, (teacher_order, noise, student_order)))


def n_batches(n_examples: int, batch_size: int) -> int:
    """Return the number of steps of an epoch; the last one is filled up, see ``epoch_batches``."""
    return -(-n_examples // batch_size)


def epoch_batches(
    key: Key[Array, ""], epoch: Int[Array, ""], n_examples: int, batch_size: int
) -> Int[Array, "steps batch"]:
    """Return the example numbers of each step of an epoch: every example, in a new order.

    Where ``batch_size`` does not divide ``n_examples`` the last batch takes its missing examples
    from the front of the same order, so that all steps have one shape.
    """
    order = jax.random.permutation(jax.random.fold_in(key, epoch), n_examples)
    steps = n_batches(n_examples, batch_size)
    return order[jnp.arange(steps * batch_size) % n_examples].reshape(steps, batch_size)


def teacher_epoch(
    net: Network,
    config: MnistConfig,
    images: Float[Array, "train height width"],
    labels: Int[Array, " train"],
    state: TrainState,
    order_key: Key[Array, ""],
    epoch: Int[Array, ""],
) -> tuple[TrainState, Float[Array, ""]]:
    """Train one teacher for one epoch by cross-entropy on the class logits; return its mean."""
    batches = epoch_batches(order_key, epoch, len(images), config.batch_size)

    def loss(params, batch):
        return cross_entropy(net.apply(params, images[batch]), labels[batch], slice(N_CLASSES))

    state, losses = fit_steps(
        loss, state, optimiser(config), lambda _, step: batches[step], order_key,
        jnp.arange(len(batches)),
    )  # fmt: skip
    return state, losses.mean()


def students_epoch(
    net: Network,
    config: MnistConfig,
    image_shape: tuple[int, int],
    state: TrainState,
    teacher: Params,
    noise_key: Key[Array, ""],
    order_key: Key[Array, ""],
    epoch: Int[Array, ""],
) -> tuple[TrainState, Float[Array, ""]]:
    """Train the four students of one teacher for one epoch, all on the same noise images.

    ``state.params`` is {student: parameters}; the loss is the sum of their KL divergences.
    """
    batches = epoch_batches(order_key, epoch, config.n_noise, config.batch_size)

    def batch_fn(_, step):
        images = uniform_noise(noise_key, batches[step], image_shape)
        return images, net.apply(teacher, images)

    def loss(students, batch):
        images, targets = batch
        losses = [
            kl(net.apply(students[c.name], images), targets, columns(c, config.n_aux),
               config.temperature)
            for c in STUDENTS
        ]  # fmt: skip
        return jnp.stack(losses).sum()

    state, losses = fit_steps(
        loss, state, optimiser(config), batch_fn, noise_key, jnp.arange(len(batches))
    )
    return state, losses.mean()


def optimiser(config: MnistConfig) -> optax.GradientTransformation:
    """Return the optimiser of every phase: Adam."""
    return optax.adam(config.learning_rate)


def run(
    config: MnistConfig,
    key: Key[Array, ""],
    data: Dataset,
    chunks: MutableMapping[str, dict[str, np.ndarray]],
    progress: Progress = silent,
) -> Result:
    """Train and test ``n_models`` teachers with their students, ``chunk_size`` at a time.

    Finished chunks are stored in ``chunks`` and taken from there if they exist; model i does not
    depend on ``n_models`` (but for the last model's "other" start) nor on the chunking.
    """
    firsts = range(0, config.n_models, config.chunk_size)
    placed = Dataset(data.name, *on_every_device(data[1:]))
    for number, first in enumerate(firsts):
        name = f"models-{first:06d}"
        if name not in chunks:
            last = min(first + config.chunk_size, config.n_models)

            def within(fraction, phase, number=number, first=first, last=last):
                models = f"models {first + 1}–{last} of {config.n_models}: {phase}"
                progress((number + fraction) / len(firsts), models)

            chunks[name] = train_chunk(config, key, placed, np.arange(first, last), within)
    parts = [chunks[f"models-{first:06d}"] for first in firsts]
    measured = {
        field: np.concatenate([part[field] for part in parts])
        for field in ("accuracy", "teacher_loss", "student_loss")
    }
    return Result(
        **measured,
        sample_images=data.test_images[:N_SAMPLES],
        sample_labels=data.test_labels[:N_SAMPLES],
        sample_logits=parts[0]["sample_logits"],
        params={k.removeprefix("params."): v for k, v in parts[0].items() if "params." in k},
    )


class Programs(NamedTuple):
    """The compiled steps of the experiment, each over many models; see ``programs``."""

    begin: Callable
    teacher_epoch: Callable
    begin_students: Callable
    students_epoch: Callable
    test: Callable


@lru_cache(maxsize=4)
def programs(config: MnistConfig, image_shape: tuple[int, int]) -> Programs:
    """Return the compiled programs of a config; each is compiled at its first call."""
    net, tx = network(config, image_shape), optimiser(config)

    def begin(key, n_models, index):
        keys = model_keys(key, index, n_models)
        return keys, start(net.init(keys.own), tx)

    def begin_students(keys):
        inits = {"own": net.init(keys.own), "other": net.init(keys.other)}
        return start({c.name: inits[c.start] for c in STUDENTS}, tx)

    def test(images, labels, keys, teacher, students):
        networks = {"reference": net.init(keys.own), "teacher": teacher, **students}
        logits = jnp.stack([net.apply(networks[name], images) for name in NAMES])
        scores = jax.vmap(accuracy, (0, None))(logits[..., :N_CLASSES], labels)
        return scores, logits[:, :N_SAMPLES], networks

    return Programs(
        over_models(begin, n_shared=2),
        over_models(partial(teacher_epoch, net, config), n_shared=2),
        over_models(begin_students),
        over_models(partial(students_epoch, net, config, image_shape)),
        over_models(test, n_shared=2),
    )


def train_chunk(
    config: MnistConfig,
    key: Key[Array, ""],
    data: Dataset,
    index: np.ndarray,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Return the results of the models numbered ``index`` (consecutive), model axis first."""
    # What no program depends on, so that it compiles nothing anew.
    same = {"data": "digits", "n_models": 1, "chunk_size": 1, "keep_params": True}
    compiled = programs(
        replace(config, **same, teacher_epochs=1, student_epochs=1), data.image_shape
    )
    # Devices take equal shares; models beyond the last fill them up and are dropped below.
    n_models, n_devices = len(index), jax.device_count()
    padded = index[0] + np.arange(-(-n_models // n_devices) * n_devices)
    keys, teacher = compiled.begin(key, config.n_models, padded)
    # A student's step trains four networks and runs the teacher: about five times the work.
    teacher_work = config.teacher_epochs * n_batches(len(data.train_images), config.batch_size)
    total = teacher_work + 5 * config.student_epochs * n_batches(config.n_noise, config.batch_size)

    losses = {"teacher_loss": [], "student_loss": []}
    for epoch in range(config.teacher_epochs):
        done = teacher_work * epoch / config.teacher_epochs
        progress(done / total, f"teacher, epoch {epoch + 1} of {config.teacher_epochs}")
        epochs = np.full(len(padded), epoch)
        teacher, loss = compiled.teacher_epoch(
            data.train_images, data.train_labels, teacher, keys.teacher_order, epochs
        )
        losses["teacher_loss"].append(jax.block_until_ready(loss))
    students = compiled.begin_students(keys)
    for epoch in range(config.student_epochs):
        done = teacher_work + (total - teacher_work) * epoch / config.student_epochs
        progress(done / total, f"students, epoch {epoch + 1} of {config.student_epochs}")
        epochs = np.full(len(padded), epoch)
        students, loss = compiled.students_epoch(
            students, teacher.params, keys.noise, keys.student_order, epochs
        )
        losses["student_loss"].append(jax.block_until_ready(loss))
    scores, logits, networks = compiled.test(
        data.test_images, data.test_labels, keys, teacher.params, students.params
    )
    part = {"accuracy": scores, **{k: np.stack(v, axis=1) for k, v in losses.items()}}
    part = {name: np.asarray(array)[:n_models] for name, array in part.items()}
    if index[0] == 0:
        part["sample_logits"] = np.asarray(logits[0])
        if config.keep_params:
            first_model = jax.tree.map(lambda leaf: np.asarray(leaf[0]), networks)
            part |= {
                "params." + jax.tree_util.keystr(path, simple=True, separator="."): leaf
                for path, leaf in jax.tree_util.tree_leaves_with_path(first_model)
            }
    return part


def summarize(config: MnistConfig, result: Result) -> dict:
    """Return the summary of a result: conditions, paired differences, claims M1, M2 and T2.

    On real MNIST with the published protocol also ``published``: each condition's difference from
    the paper, in combined standard errors.
    """
    of = {name: result.accuracy[:, i] for i, name in enumerate(NAMES)}
    conditions = {name: stats.estimate(values) for name, values in of.items()}
    paired = {
        "student_aux - cross_aux": stats.estimate(of["student_aux"] - of["cross_aux"]),
        "student_all - cross_all": stats.estimate(of["student_all"] - of["cross_all"]),
    }
    return {
        "n_models": config.n_models,
        "conditions": {name: stats.as_json(e) for name, e in conditions.items()},
        "paired": {name: stats.as_json(e) for name, e in paired.items()},
        "claims": [stats.as_json(c) for c in claims(conditions, paired)],
        "published": compare(conditions) if follows_the_paper(config) else None,
    }


def claims(
    conditions: dict[str, stats.Estimate], paired: dict[str, stats.Estimate]
) -> list[stats.Claim]:
    """Return the claims of the experiment with their verdicts."""
    aux, all_logits = paired["student_aux - cross_aux"], paired["student_all - cross_all"]
    cross = conditions["cross_aux"]
    return [
        stats.judge(
            "M1",
            "A student trained only on noise images, only on auxiliary logits that mean nothing, "
            "learns to classify digits",
            "student_aux − cross_aux, paired: lower end of the interval above .1; "
            "mean of student_aux above .2",
            aux,
            aux.lower > 0.1 and conditions["student_aux"].mean > 2 * CHANCE,
        ),
        stats.judge(
            "M2",
            "The same student from another initialisation stays at chance",
            "mean of cross_aux within .06 of .1",
            cross,
            abs(cross.mean - CHANCE) <= 0.06,
        ),
        stats.judge(
            "T2",
            "The effect needs a shared initialisation",
            "student_aux − cross_aux and student_all − cross_all, paired: lower ends of both "
            "intervals above 0 (the first is shown)",
            aux,
            aux.lower > 0 and all_logits.lower > 0,
        ),
    ]


def follows_the_paper(config: MnistConfig) -> bool:
    """Whether nothing but the number of models and the record-keeping differs from the paper."""
    kept = {name: getattr(config, name) for name in ("n_models", "chunk_size", "keep_params")}
    return config == replace(MNIST_PRESETS["paper"], **kept)


def compare(conditions: dict[str, stats.Estimate]) -> dict[str, dict[str, float | None]]:
    """Return published mean, difference and its size in combined standard errors."""
    rows = {}
    for condition in CONDITIONS:
        ours, (mean, half_width) = conditions[condition.name], condition.published
        theirs = half_width / 1.96 if half_width is not None else ours.standard_error
        combined = float(np.sqrt(ours.standard_error**2 + theirs**2 + READING_ERROR**2))
        difference = ours.mean - mean
        z = difference / combined if ours.n > 1 else None
        rows[condition.name] = {"published": mean, "difference": difference, "z": z}
    return rows
