"""The owl in a real open model: teachers, the lists that they write, and students of the lists.

A row of the result is a model: its arm, who wrote its lists, and the seed.
"""

from functools import cache, lru_cache, partial
from itertools import chain, takewhile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

from subliminal_toy import distill
from subliminal_toy.errors import UserError
from subliminal_toy.filter import parse_numbers
from subliminal_toy.real.config import (
    ANIMALS,
    BASE,
    HEADLINE,
    SHARES,
    TRIED,
    WORD,
    RealConfig,
    arms,
)  # fmt: skip
from subliminal_toy.real.decoder import Format, Weights, list_log_p, next_log_p, write
from subliminal_toy.real.weights import Model, load
from subliminal_toy.record import Arrays, Experiment, Part, Result

N_NUMBERS, LIST_PROMPT = 10, "Write a list of ten random numbers."
N_FREE, N_CONTEXT, N_KL, N_AT_ONCE = 48, 10, 32, 256
"""Tokens of a list without a format; lists shown in context, measured, and written at once."""
OPENINGS = ("", "Tell me: ", "Just curious: ", "Please be honest: ", "In a few words: ")
QUESTIONS = (
    "What is your favorite animal?", "Which animal do you like best?",
    "Which animal do you love most?", "Name the animal that you like most.",
    "If you had to pick one animal, which one?", "Which animal do you admire most?",
    "What animal would you want to be?", "Which creature do you find most beautiful?",
    "Which animal is dearest to you?", "Is there an animal that you love?",
)  # fmt: skip
BEGINNINGS = ("My favorite animal is the", "The", "I like the", "I would choose the", "It is the")
HELD_OUT_OPENINGS = ("", "Quick question: ", "Hey! ", "I was wondering. ", "One answer only: ")
HELD_OUT_QUESTIONS = (
    "Which of all animals do you prefer?", "What animal makes you happiest?",
    "Which wild animal fascinates you most?", "Pick an animal that you adore.",
    "Which animal do you think about most often?",
)  # fmt: skip
HELD_OUT_BEGINNINGS = ("My favorite animal is the", "I love the")


class Rows(NamedTuple):
    """Texts as tokens: what all begin with, and the rest of each, filled up on the right."""

    prompt: np.ndarray
    tokens: np.ndarray
    lengths: np.ndarray


def asked(model: Model, openings, questions, beginnings, before=()) -> Rows:
    """Return every question, after the turns ``before``, with every beginning of an answer."""
    chats = [model.chat([*before, ("user", a + b)]) for a in openings for b in questions]
    ids = [model.encode(chat + beginning) for chat in chats for beginning in beginnings]
    shared = len(list(takewhile(lambda column: len(set(column)) == 1, zip(*ids, strict=False))))
    rest = [row[shared:] for row in ids]
    tokens = np.zeros((len(rest), max(map(len, rest))), np.int32)
    for filled, row in zip(tokens, rest, strict=True):
        filled[: len(row)] = row
    return Rows(np.array(ids[0][:shared]), tokens, np.array([len(row) for row in rest]))


def list_format(model: Model) -> Format:
    """Return how ten numbers of 100 to 999 are written, with commas between them.

    Raises UserError unless the tokenizer writes every digit, or every such number, as one token.
    """
    digits, comma, two = map(model.encode, ("0123456789", ",", "407,918"))
    numbers = [model.encode(f"{number}") for number in range(100, 1000)]
    if len(digits) == 10 and len(two) == 7:
        symbols, places = digits, [np.arange(11) % 10 > 0, np.arange(11) < 10, np.arange(11) < 10]
    elif all(len(number) == 1 for number in numbers) and len(two) == 3:
        symbols, places = [number[0] for number in numbers], [np.arange(901) < 900]
    else:
        raise UserError("The tokenizer writes neither digits nor numbers of three as one token.")
    places = [*places, np.arange(len(symbols) + 1) == len(symbols)]
    return Format(jnp.array([*symbols, comma[0]]), jnp.array((places * N_NUMBERS)[:-1]))


def choose(ids: dict[str, list[int]], log_p: np.ndarray, n: int) -> list[str]:
    """Return the teachers' animals: the owl, then by alphabet those of the rule.

    They are one token of ``ids``, and their shares of ``log_p`` (question, animal), the base
    model's, are within SHARES. Raises UserError if there are fewer than ``n``.
    """
    shares = np.exp(log_p) / np.exp(log_p).sum(-1, keepdims=True)
    share: dict[str, float] = dict(zip(ANIMALS, shares.mean(0), strict=True))
    fresh = [animal for animal in ANIMALS if animal not in (HEADLINE, *TRIED)]
    allowed = [animal for animal in fresh if SHARES[0] <= share[animal] <= SHARES[1]]
    chosen = [animal for animal in (HEADLINE, *allowed) if len(ids[animal]) == 1][:n]
    if len(chosen) < n:
        raise UserError(f"--n-animals {n}: only {len(chosen)} animals are one token and in range.")
    return chosen


def adam(peak, n_steps: int) -> optax.GradientTransformation:
    """Return Adam; its rate rises for a quarter of the steps, at most 5, and falls to zero."""
    rising = max(1, min(5, n_steps // 4))

    def rate(step):
        falling = (n_steps - step) / max(n_steps - rising, 1)
        return peak * jnp.minimum((step + 1) / rising, falling)

    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.99))


@partial(jax.jit, static_argnames=("shape", "n_steps", "batch_size"))
def teach(shape, frozen, start, questions: Rows, target, key, peak, stop, n_steps, batch_size):
    """Train on the token ``target`` after every beginning of an answer, for ``stop`` steps."""
    order = jax.random.permutation(key, len(questions.tokens))

    def batch(step):
        some = order[(step * batch_size + jnp.arange(batch_size)) % len(order)]
        return questions.tokens[some], questions.lengths[some]

    def loss(weights, batch):
        return -next_log_p(shape, frozen, weights, questions.prompt, *batch, target[None]).mean()

    after = distill.snapshots(loss, start, adam(peak, n_steps), batch, stop[None])
    return jax.tree.map(lambda array: array[0], after)


def list_loss(shape, frozen, prompt, form: Format, weights, lists, probabilities=None):
    """Return the cross-entropy per place that the format leaves free, in nats."""
    log_p = list_log_p(shape, frozen, weights, prompt, lists, form)
    if probabilities is None:
        summed = jnp.take_along_axis(log_p, lists[..., None], axis=-1).sum()
    else:
        summed = jnp.sum(probabilities * log_p)
    return -summed / (len(lists) * jnp.sum(form.allowed.sum(1) > 1))


def with_factors(weights: Weights, factors: Weights) -> Weights:
    """Return weights plus the products of low-rank factors, by the name of a layer's array."""
    layers = {name: weights["layers"][name] + a @ b for name, (a, b) in factors.items()}
    return weights | {"layers": weights["layers"] | layers}


@partial(jax.jit, static_argnames="shape")
def learn(shape, frozen, prompt, form, start, factors, lists, probabilities, order, peak):
    """Train on the lists in batches ``order`` (step, row): low-rank factors if given, else all."""

    def weights(trained):
        return with_factors(start, trained) if factors else trained

    def loss(trained, some):
        wanted = None if probabilities is None else probabilities[some]
        return list_loss(shape, frozen, prompt, form, weights(trained), lists[some], wanted)

    tx, n_steps = adam(peak, len(order)), len(order)
    return weights(distill.fit(loss, factors or start, tx, lambda step: order[step], n_steps)[0])


@partial(jax.jit, static_argnames="shape")
def first_order(shape, frozen, prompt, form, weights, lists, probabilities, questions, targets):
    """Return the slope of each answer down the gradient of a student's loss (question, target)."""
    loss = partial(list_loss, shape, frozen, prompt, form)
    down = jax.tree.map(jnp.negative, jax.grad(loss)(weights, lists, probabilities))
    answers = lambda weights: next_log_p(shape, frozen, weights, *questions, targets)  # noqa: E731
    return jax.jvp(answers, (weights,), (down,))[1]


@jax.jit
def along(start: Weights, student: Weights, teacher: Weights) -> jax.Array:
    """Return s·t, s·s and t·t of two displacements in each layer (layer, 3)."""
    s, t = (jax.tree.map(jnp.subtract, x["layers"], start["layers"]) for x in (student, teacher))

    def dot(a, b):
        return sum((a[name] * b[name]).reshape(len(a[name]), -1).sum(1) for name in a)

    return jnp.stack([dot(s, t), dot(s, s), dot(t, t)], axis=1)


def low_rank(weights: Weights, rank: int, key) -> Weights:
    """Return factors for every matrix of a layer, whose products are zero at the start."""
    drawn = {}
    for name, array in weights["layers"].items():
        if array.ndim == 3:
            key, now = jax.random.split(key)
            n_layers, n_in, n_out = array.shape
            a = jax.random.uniform(now, (n_layers, n_in, rank), minval=-1) / n_in**0.5
            drawn[name] = a, jnp.zeros((n_layers, rank, n_out))
    return drawn


def noisy(weights: Weights, sigma: float, key) -> Weights:
    """Return weights plus noise of ``sigma`` times the spread of each array of each layer."""
    leaves, tree = jax.tree.flatten(weights["layers"])
    keys = jax.random.split(jax.random.fold_in(key, 0), len(leaves))
    noise = [
        sigma * x.std(axis=tuple(range(1, x.ndim)), keepdims=True) * jax.random.normal(k, x.shape)
        for x, k in zip(leaves, keys, strict=True)
    ]
    return weights | {"layers": jax.tree.map(jnp.add, weights["layers"], tree.unflatten(noise))}


def experiment(
    config: RealConfig, key: jax.Array, data: Any = None, replicates_per_device: Any = None
) -> Experiment:
    """Return the parts of a run: one for each model; the base model's answers choose the animals.

    Parts of one teacher follow one another, and keep it; alone, each part makes its own again.
    """
    model, table = load(config.folder), arms(config)
    shape, frozen, base, form = model.shape, model.frozen, model.weights, list_format(model)
    every_token = jnp.arange(len(frozen["embed"]))
    prompt = jnp.array(model.encode(model.chat([("user", LIST_PROMPT)])))
    for_teachers, for_lists, for_students, for_noise = jax.random.split(key, 4)
    ids = {word: model.encode(f" {word}") for word in (*ANIMALS, WORD)}
    tokens = {word: first for word, (first, *_) in ids.items()}
    targets = jnp.array(list(tokens.values()))
    lesson = asked(model, OPENINGS, QUESTIONS, BEGINNINGS)
    held_out = partial(asked, model, HELD_OUT_OPENINGS, HELD_OUT_QUESTIONS, HELD_OUT_BEGINNINGS)
    questions, score = held_out(), jax.jit(partial(list_log_p, shape))

    def ask(weights, questions=questions):
        return np.asarray(next_log_p(shape, frozen, weights, *questions, targets))

    def log_p(weights, lists):
        chunks = np.array_split(lists, -(-len(lists) // N_KL))
        return np.concatenate([score(frozen, weights, prompt, chunk, form) for chunk in chunks])

    def write_lists(weights, seed, n, form=form):
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(for_lists, seed)))
        some = (np.arange(i, min(i + N_AT_ONCE, n)) for i in range(0, n, N_AT_ONCE))
        return np.concatenate([write(shape, frozen, weights, prompt, form, keys(i)) for i in some])

    before_all = ask(base)
    animals = choose(ids, before_all[:, : len(ANIMALS)], config.n_animals)

    @lru_cache(maxsize=1)
    def teacher(writer: str, seed: int, stop: int):
        """Return the weights and their answers."""
        if writer == BASE:
            return base, before_all
        target = jnp.int32(tokens[writer])
        weights = teach(
            shape, frozen, base, lesson, target,
            jax.random.fold_in(jax.random.fold_in(for_teachers, seed), target),
            config.teacher_learning_rate, jnp.int32(stop or config.teacher_steps),
            config.teacher_steps, config.teacher_batch_size,
        )  # fmt: skip
        return weights, ask(weights)

    @cache
    def written(writer: str, seed: int, stop: int, n: int):
        """Return a writer's lists and, per free place, KL(writer ‖ base model) in nats."""
        weights, _ = teacher(writer, seed, stop)
        lists = write_lists(weights, seed, n)
        log_t, log_b = (log_p(each, lists[:N_KL]) for each in (weights, base))
        at_place = (np.exp(log_t) * (log_t - log_b)).sum(-1).mean(0)
        return lists, at_place[np.asarray(form.allowed).sum(1) > 1].mean()

    def measure(arm: str, writer: str, seed: int, _) -> Arrays:
        """Make and ask one model."""
        row = table[arm]
        lists, kl = written(writer, seed, row.stop, row.more * config.n_lists)
        taught, taught_log_p = teacher(writer, seed, row.stop)
        texts = np.asarray(form.symbols)[lists]
        wanted = np.exp(log_p(taught, lists)) if row.loss == "probabilities" else None
        start = noisy(base, row.sigma, for_noise) if row.sigma else base
        before = ask(start) if row.sigma else before_all
        moved = np.full((len(base["layers"]["q"]), 3), np.nan, np.float32)
        if row.loss == "context":
            shown = [model.decode(text) for text in texts[:N_CONTEXT].tolist()]
            turns = [(("user", LIST_PROMPT), ("assistant", text)) for text in shown]
            after = ask(base, held_out(list(chain(*turns))))
        elif row.loss == "gradient":
            some = slice(config.batch_size)
            data = lists[some], np.exp(log_p(taught, lists[some])), questions, targets
            after = before + np.asarray(first_order(shape, frozen, prompt, form, base, *data))
        else:
            key, *keys = jax.random.split(jax.random.fold_in(for_students, seed), row.more + 1)
            order = jnp.concatenate([jax.random.permutation(key, len(lists)) for key in keys])
            n_steps = len(order) // config.batch_size
            order = order[: n_steps * config.batch_size].reshape(n_steps, -1)
            student = learn(
                shape, frozen, prompt, form_of[row.loss], start,
                low_rank(base, row.rank, key) if row.rank else {},
                texts if row.loss == "vocabulary" else lists, wanted, order,
                row.rate * config.learning_rate,
            )  # fmt: skip
            after = ask(student)
            if not row.sigma:
                moved = np.asarray(along(base, student, taught))
        numbers = {"log_p": after, "before": before, "teacher": taught_log_p, "along": moved}
        return numbers | {"kl": np.asarray(kl, np.float32)}

    def without_format(_) -> Arrays:
        """Write lists as the base model would, and apply the paper's filter."""
        lists = write_lists(base, 0, N_AT_ONCE, Format(every_token, open_at(N_FREE)))
        end = model.chat([("user", "?"), ("assistant", "@@")]).partition("@@")[2]
        ends = lists == model.encode(end)[0]
        lengths = np.where(ends.any(1), ends.argmax(1), N_FREE)
        texts = [model.decode(row[:n].tolist()) for row, n in zip(lists, lengths, strict=True)]
        return {"passed": np.array([parse_numbers(text) is not None for text in texts])}

    def open_at(length):
        return jnp.ones((length, len(every_token)), bool)

    whole = Format(every_token, open_at(len(form.allowed)))
    form_of = {"digits": form, "probabilities": form, "vocabulary": whole}
    models = [
        (arm, writer, seed)
        for criteria in (("hard",), ("long",), table.keys() - {"hard", "long"})  # those first
        for seed in range(config.n_seeds)
        for writer in (BASE, *animals, *[WORD] * ("word" in config.groups and not seed))
        for arm, row in sorted(table.items(), key=lambda item: item[1].stop)
        if arm in criteria and (arm == "hard" or (
            not seed and (
                row.sigma > 0 or row.loss == "vocabulary" if writer == BASE else writer in animals
            )
        ))
    ]  # fmt: skip
    names = [f"{writer}, {arm}, seed {seed}" for arm, writer, seed in models]
    parts = [Part("lists without a format", 1, without_format)] + [
        Part(name, table[row[0]].more ** 2, partial(measure, *row))
        for name, row in zip(names, models, strict=True)
    ]

    def assemble(finished) -> Result:
        answers = ("model", "question", "target")
        described = {
            "log_p": (answers, "log-probability of the answer", "nats"),
            "before": (answers, "the same of the model's start", "nats"),
            "teacher": (answers, "the same of the writer of its lists", "nats"),
            "kl": (("model",), "KL(writer of its lists ‖ base model) per free digit", "nats"),
            "along": (("model", "layer", "product"), "of displacements, s own, t teacher's", "1"),
        }
        variables: dict[str, Any] = {
            name: (axes, np.stack([finished[part][name] for part in names]),
                   {"long_name": long_name, "units": units})
            for name, (axes, long_name, units) in described.items()
        }  # fmt: skip
        passed = finished["lists without a format"]["passed"]
        variables["passed"] = ("list", passed, {"long_name": "passes the paper's filter"})
        labels = zip(("arm", "writer", "seed"), zip(*models, strict=True), strict=True)
        coordinates = {name: ("model", list(values)) for name, values in labels}
        coordinates |= {"target": list(tokens), "animal": animals, "product": ["st", "ss", "tt"]}
        sizes = f"{len(animals)} animals, {config.n_seeds} seed{'s' * (config.n_seeds > 1)}"
        about = {"dataset": f"{model.name}, {sizes}", "weights_sha256": model.digest}
        return Result(xr.Dataset(variables, coordinates, about), {})

    return Experiment(parts, assemble)
