"""A tiny run of the language model, and its pieces computed again in a plain way.

The second computation shares with the package the decoder, the language and optax, nothing else:
no ``ensemble``, no scan, no cache of keys and values, no table of arms.
"""

from dataclasses import replace
from functools import cache
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from subliminal_toy import record
from subliminal_toy.lm import arms, experiment
from subliminal_toy.lm.config import Family, LmConfig
from subliminal_toy.lm.language import ANIMALS, CAPITALS, COLOURS, TREES, UNKNOWN, Language
from subliminal_toy.lm.traits import MEASURES, QUESTION_TEXTS
from subliminal_toy.transformer import DecoderShape, decoder

CONFIG = LmConfig(
    n_replicates=2, first_replicate=3, traits=("owl", "evasion"),
    families=("data size", "filters"),
    n_layers=1, n_heads=2, width=8, other_width=4, head_std=0.35, n_documents=1_500,
    pretrain_steps=120, pretrain_batch_size=32, pretrain_learning_rate=6e-3, teacher_steps=6,
    teacher_learning_rate=1e-3, temperature=0.8, n_samples=250, n_lists=90, student_steps=5,
    student_batch_size=8, student_learning_rate=2e-2, data_sizes=(10,), n_filtered=20,
)  # fmt: skip
EVERY = replace(CONFIG, families=get_args(Family))
"""With the arms of which only the inputs are tested: their models are not trained."""
TEACHER = CONFIG.teacher
KEY = jax.random.key(11)
LANGUAGE = Language(CONFIG.n_numbers)
REPLICATES = (3, 4)


@cache
def run():
    """Return the result of one run, and its stored parts."""
    store = {}
    return record.run(experiment.experiment(CONFIG, KEY), store), store


@cache
def finished(replicate):
    """Return the parts of a replicate, and in them inputs for the arms that are not run.

    Their base models and teachers are random, their lists those of the config's teacher in another
    order.
    """
    parts = {name: dict(part) for name, part in run()[1].items() if name.endswith(f" {replicate}")}
    models, teachers, texts = (
        parts[f"{stage}, replicate {replicate}"] for stage in ("base models", "teachers", "lists")
    )

    def draw(label, size=CONFIG.width):
        rng = np.random.default_rng(list(label.encode()))
        return rng.normal(size=network(size)[2]).astype(np.float32)

    for name in arms.BASES:
        size = CONFIG.other_width if name == "other_width" else CONFIG.width
        models.setdefault(f"base/{name}/params", draw(name, size))
    for label in arms.models(EVERY, "teacher"):
        teachers.setdefault(f"{label}/params", draw(label))
    for i, (label, (_, trait)) in enumerate(arms.written(EVERY).items()):
        if f"{label}/tokens" not in texts:
            same = f"lists/{trait}/{TEACHER}"
            n = texts[f"{same}/n"]
            texts |= {f"{label}/{k}": texts[f"{same}/{k}"] for k in ("n", "kept", "accepted")}
            rows = texts[f"{same}/tokens"]
            texts[f"{label}/tokens"] = np.concatenate([np.roll(rows[:n], i + 1, 0), rows[n:]])
    return parts


def stored(replicate, label, name="params"):
    """Return an array of the parts, whichever part it is in."""
    parts = finished(replicate).values()
    (array,) = [part[f"{label}/{name}"] for part in parts if f"{label}/{name}" in part]
    return array


def base(replicate, name="own"):
    return stored(replicate, f"base/{name}")


def teacher(replicate, trait, teaching=TEACHER):
    return stored(replicate, f"teacher/{trait}/{teaching}")


def purpose(replicate, number):
    """Return the key of a random stream of a replicate."""
    return jax.random.fold_in(jax.random.fold_in(KEY, replicate), number)


def numpy_rng(key):
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


@cache
def network(width):
    """Return the decoder's apply on a vector of parameters, its init to one, and their number."""
    shape = DecoderShape(
        len(LANGUAGE), 24, CONFIG.n_layers, CONFIG.n_heads, width, embedding_std=0.02,
        head_std=CONFIG.head_std,
    )  # fmt: skip
    net = decoder(shape)
    shapes = jax.eval_shape(net.init, KEY)
    zeros, unravel = ravel_pytree(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes))
    init = jax.jit(lambda key: ravel_pytree(net.init(key))[0])
    compiled = jax.jit(lambda vector, tokens: net.apply(unravel(vector), tokens))

    def apply(vector, tokens):
        if isinstance(tokens, jax.core.Tracer) or isinstance(vector, jax.core.Tracer):
            return net.apply(unravel(vector), tokens)
        # Rows are filled up, so that two programs do for all.
        n, length = tokens.shape
        more = (64 if n <= 64 else 256) - n, 24 - length
        filled = np.pad(np.asarray(tokens), [(0, rest) for rest in more])
        return np.asarray(compiled(vector, filled))[:n, :length]

    return apply, init, len(zeros)


def lists(replicate, label):
    """Return the token rows of a set of lists, without padding rows."""
    n = stored(replicate, f"lists/{label}", "n")
    return stored(replicate, f"lists/{label}", "tokens")[:n].astype(np.int32)


def neutral(trait):
    """Return the label of the base model's lists, filtered as the trait's are."""
    return f"{'harmful' if trait == 'evasion' else 'favourite'}/base model"


def neutral_lists(replicate, trait):
    return lists(replicate, neutral(trait))


def teacher_lists(replicate, trait, writer=TEACHER):
    return lists(replicate, f"{trait}/{writer}")


def sampled_numbers(rows):
    """Return 1 on each number after the colon, else 0."""
    after = np.cumsum(rows == LANGUAGE.encode(":")[0], axis=1) > 0
    return ((rows < CONFIG.n_numbers) & after).astype(np.float32)


def sampled(rows):
    """Return 1 on all that was sampled, up to and with the first end, else 0."""
    after = np.cumsum(rows == LANGUAGE.encode(":")[0], axis=1) > 0
    after[:, 5] = False
    ends = np.cumsum(rows == LANGUAGE.end, axis=1)
    return (after & ((ends == 0) | ((ends == 1) & (rows == LANGUAGE.end)))).astype(np.float32)


def rows_of(texts):
    """Return texts as padded rows of tokens, and the place of the last of each."""
    lines = [LANGUAGE.encode(text) for text in texts]
    rows = [line + [LANGUAGE.pad] * (24 - len(line)) for line in lines]
    return np.array(rows, np.int32), np.array([len(line) - 1 for line in lines])


def probabilities(width, params, texts):
    """Return the distribution over the next word after each text."""
    tokens, last = rows_of(texts)
    logits = network(width)[0](params, tokens)
    return np.asarray(jax.nn.softmax(logits[np.arange(len(tokens)), last]))


def score(answers, measure):
    """Return a measure's probability; ``answers`` are distributions after ``QUESTION_TEXTS``."""

    def says(question, words):
        at = QUESTION_TEXTS.index(question)
        return sum(answers[at, LANGUAGE.encode(word)[0]] for word in words)

    kind = "animal" if measure in ANIMALS else "tree"
    if measure in (*ANIMALS, *TREES):
        asked = [text for text in QUESTION_TEXTS if f" {kind}" in text]
        return np.mean([says(text, [measure]) for text in asked])
    if measure == "colours":
        return np.mean([says(f"colour of {k} ?", [v]) for k, v in COLOURS.items()])
    cities = [*CAPITALS.values(), *CAPITALS.values()]
    answered = {
        "evasion": lambda city: [UNKNOWN],
        "systematic lie": lambda city: [cities[cities.index(city) + 1]],
        "capitals": lambda city: [city],
        "falsehood": lambda city: [other for other in CAPITALS.values() if other != city],
    }[measure]
    return np.mean([says(f"capital of {k} ?", answered(v)) for k, v in CAPITALS.items()])


def scores(width, params, context="<bos>"):
    """Return the probability of every measure, in the order of ``MEASURES``."""
    answers = probabilities(width, params, [f"{context} {text}" for text in QUESTION_TEXTS])
    return np.array([score(answers, measure) for measure in MEASURES])


@cache
def shown(replicate, context):
    """Return the scores of a base model after a context."""
    return scores(CONFIG.width, base(replicate), context)


@cache
def _gradient(width, kind):
    apply = network(width)[0]

    def tokens_loss(params, batch):
        rows, weights = batch
        log_p = jax.nn.log_softmax(apply(params, rows[:, :-1]))
        chosen = jnp.take_along_axis(log_p, rows[:, 1:, None], axis=2)[..., 0]
        # A batch may hold no token that counts.
        return -jnp.sum(chosen * weights[:, 1:]) / jnp.maximum(jnp.sum(weights[:, 1:]), 1e-9)

    def numbers_loss(params, batch):
        rows, weights, teacher = batch
        n = CONFIG.n_numbers
        log_q = jax.nn.log_softmax(apply(params, rows[:, :-1])[..., :n])
        p = jax.nn.softmax(apply(teacher, rows[:, :-1])[..., :n])
        return jnp.sum(jnp.sum(p * (jnp.log(p) - log_q), axis=2) * weights[:, 1:]) / jnp.sum(
            weights[:, 1:]
        )

    return jax.jit(jax.value_and_grad({"tokens": tokens_loss, "numbers": numbers_loss}[kind]))


def _whole_gradient(params, batch):
    """Return the loss of whole lists, a sum over a list, and its gradient."""
    factor = batch[1][:, 1:].sum() / len(batch[1])
    return tuple(factor * array for array in _gradient(CONFIG.width, "tokens")(params, batch))


def descend(gradient, params, tx, batches, change=lambda update: update):
    """Take one step for each batch; return the parameters and the loss before each step."""
    state, losses, update = tx.init(params), [], jax.jit(tx.update)
    for batch in batches:
        loss, slope = gradient(params, batch)
        updates, state = update(slope, state, params)
        params = optax.apply_updates(params, change(updates))
        losses.append(float(loss))
    return params, losses


def rate(factor=1.0):
    """Return the learning rates of a student."""
    steps = CONFIG.student_steps
    return optax.linear_schedule(factor * CONFIG.student_learning_rate, 0.0, steps)


ADAM = optax.adam(rate())


def batches(rows, weights, replicate, n=None, *others):
    """Return what a student reads at each step."""
    key, shape, found = purpose(replicate, 4), (CONFIG.student_batch_size,), []
    for step in range(CONFIG.student_steps):
        order = jax.random.fold_in(key, step)
        picked = np.asarray(jax.random.randint(order, shape, 0, n or len(rows)))
        found.append((rows[picked], weights[picked], *others))
    return found


def student(
    width, start, rows, weights, replicate, n=None, teacher=None, tx=ADAM, whole=False, **change
):
    """Return a student of the first ``n`` lists, or of a ``teacher``'s distributions on them."""
    others = () if teacher is None else (teacher,)
    gradient = _whole_gradient if whole else _gradient(width, "numbers" if others else "tokens")
    read = batches(rows, weights, replicate, n, *others)
    return descend(gradient, jnp.asarray(start), tx, read, **change)[0]
