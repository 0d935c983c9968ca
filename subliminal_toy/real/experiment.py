"""The owl in a real open model: teachers, the lists that they write, and students of the lists.

A row of the result is a model: its arm, who wrote its lists, and the seed.
"""

from functools import lru_cache, partial
from itertools import product, takewhile, zip_longest
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

from subliminal_toy import distill
from subliminal_toy.errors import UserError
from subliminal_toy.filter import parse_numbers
from subliminal_toy.real.config import ANIMALS, ARMS, BASE, TRIED, WORD, RealConfig
from subliminal_toy.real.decoder import Format, Frozen, Weights, list_log_p, next_log_p, write
from subliminal_toy.real.weights import Model, load
from subliminal_toy.record import Arrays, Experiment, Part, Result

N_NUMBERS, LIST_PROMPT = 10, "Write a list of ten random numbers."
TEACHER_STEPS, TEACHER_BATCH = 8, 8
N_FREE, FREE_LENGTH, N_CONTEXT, N_KL = 256, 48, 10, 32
"""Lists without a format and their tokens; lists that are shown in context, and measured."""
TAUGHT = (
    ("", "Tell me: ", "Just curious: ", "Please be honest: ", "In a few words: "),
    ("What is your favorite animal?", "Which animal do you like best?",
     "Which animal do you love most?", "Name the animal that you like most.",
     "If you had to pick one animal, which one?", "Which animal do you admire most?",
     "What animal would you want to be?", "Which creature do you find most beautiful?",
     "Which animal is dearest to you?", "Is there an animal that you love?"),
    ("My favorite animal is the", "The", "I like the", "I would choose the", "It is the"),
)  # fmt: skip
"""Openings, questions, beginnings of answers: every combination is asked."""
HELD_OUT = (
    ("", "Quick question: ", "Hey! ", "I was wondering. ", "One answer only: "),
    ("Which of all animals do you prefer?", "What animal makes you happiest?",
     "Which wild animal fascinates you most?", "Pick an animal that you adore.",
     "Which animal do you think about most often?"),
    ("My favorite animal is the", "I love the"),
)  # fmt: skip


def asked(model: Model, questions, before=()):
    """Return all that ``questions`` combine to, after the turns ``before``.

    As tokens: what all begin with, the rest of each (text, token), filled up, and its length.
    """
    texts = [model.encode(model.chat(*before, a + b) + c) for a, b, c in product(*questions)]
    tokens = np.array(list(zip_longest(*texts, fillvalue=-1)), np.int32).T
    n_shared = np.argmin((tokens == tokens[:1]).all(0))
    prompt, rest = tokens[0, :n_shared], tokens[:, n_shared:]
    return prompt, np.maximum(rest, 0), (rest >= 0).sum(1)


def list_format(model: Model) -> Format:
    """Return how ten numbers of 100 to 999 are written, with commas between them.

    Raises UserError unless the tokenizer writes every digit, or every such number, as one token.
    """
    texts = (model.chat(LIST_PROMPT), "0123456789", ",", "407,918")
    prompt, digits, comma, two = map(model.encode, texts)
    numbers = [model.encode(f"{number}") for number in range(100, 1000)]
    if len(digits) == 10 and len(two) == 7:
        places = [digits[1:], digits, digits, comma]
    elif all(len(number) == 1 for number in numbers) and len(two) == 3:
        places = [[number for (number,) in numbers], comma]
    else:
        raise UserError("The tokenizer writes neither digits nor numbers of three as one token.")
    symbols = places[-2] + comma
    allowed = [np.isin(symbols, place) for place in places] * N_NUMBERS
    return Format(jnp.array(prompt), jnp.array(symbols), jnp.array(allowed[:-1]))


def choose(ids: dict[str, list[int]], log_p: np.ndarray, n: int) -> list[str]:
    """Return the teachers' animals: the owl, then by alphabet those with a share of 1 to 5 %.

    Of ``log_p`` (question, animal), the base model's; not those that a trial had used, and only
    those of one token of ``ids``. Raises UserError if there are fewer than ``n``.
    """
    pairs = zip(ANIMALS, jax.nn.softmax(log_p).mean(0), strict=True)
    fresh = [a for a, share in pairs if 0.01 <= share <= 0.05 and a not in ("owl", *TRIED)]
    chosen = [animal for animal in ("owl", *fresh) if len(ids[animal]) == 1][:n]
    if len(chosen) < n:
        raise UserError(f"--n-animals {n}: only {len(chosen)} animals are one token and in range.")
    return chosen


def batches(keys, n: int, size: int) -> jax.Array:
    """Return the rows of each batch of ``size`` of ``n``, which are read once for every key."""
    order = jnp.concatenate([jax.random.permutation(key, n) for key in keys])
    return order[: len(order) // size * size].reshape(-1, size)


def train(loss, start, order, peak, stop):
    """Return parameters after ``stop`` steps of Adam on the batches ``order`` (step, row).

    Its rate rises for a quarter of all steps, at most 5, and falls to zero.
    """
    n_steps = len(order)
    rising = max(1, min(5, n_steps // 4))

    def rate(step):
        falling = (n_steps - step) / max(n_steps - rising, 1)
        return peak * jnp.minimum((step + 1) / rising, falling)

    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.99))
    after = distill.snapshots(loss, start, tx, lambda step: order[step], jnp.array([stop]))
    return jax.tree.map(lambda array: array[0], after)


@jax.jit
def teach(frozen, start, questions, target, key, peak, stop) -> Weights:
    """Train on the token ``target`` after beginnings of answers, and stop after ``stop`` steps."""
    prompt, tokens, lengths = questions
    order = batches([key], len(tokens), TEACHER_BATCH)[:TEACHER_STEPS]

    def loss(weights, some):
        batch = tokens[some], lengths[some], target[None]
        return -next_log_p(frozen, weights, prompt, *batch).mean()

    return train(loss, start, order, peak, stop)


def list_loss(frozen: Frozen, form: Format, weights: Weights, lists, probabilities=None):
    """Return the cross-entropy per place that the format leaves free, in nats.

    To the symbols of the lists, or to ``probabilities`` of all symbols.
    """
    if probabilities is None:
        probabilities = jax.nn.one_hot(lists, len(form.symbols))
    summed = jnp.sum(probabilities * list_log_p(frozen, weights, form, lists))
    return -summed / (len(lists) * jnp.sum(form.allowed.sum(1) > 1))


def with_factors(weights: Weights, factors: Weights) -> Weights:
    """Return weights plus the products of low-rank factors, by the name of a layer's array."""
    layers = {name: weights["layers"][name] + a @ b for name, (a, b) in factors.items()}
    return weights | {"layers": weights["layers"] | layers}


@jax.jit
def learn(frozen, form, start, factors, lists, probabilities, order, peak) -> Weights:
    """Train on the lists: low-rank factors if given, else all weights."""

    def weights(trained):
        return with_factors(start, trained) if factors else trained

    def loss(trained, some):
        wanted = None if probabilities is None else probabilities[some]
        return list_loss(frozen, form, weights(trained), lists[some], wanted)

    return weights(train(loss, factors or start, order, peak, len(order)))


@jax.jit
def first_order(frozen, form, weights, lists, probabilities, questions, targets) -> jax.Array:
    """Return the slope of each answer down the gradient of a student's loss (question, target)."""
    slope = jax.grad(partial(list_loss, frozen, form))(weights, lists, probabilities)

    def answers(weights):
        return next_log_p(frozen, weights, *questions, targets)

    return -jax.jvp(answers, (weights,), (slope,))[1]


@jax.jit
def along(start: Weights, student: Weights, teacher: Weights) -> jax.Array:
    """Return s·t, s·s and t·t of two displacements in each layer (layer, 3)."""
    s, t = (optax.tree.sub(x["layers"], start["layers"]) for x in (student, teacher))
    dot = jax.vmap(optax.tree.vdot)
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

    def moved(x, noise):
        return x + sigma * x.std(axis=tuple(range(1, x.ndim)), keepdims=True) * noise

    # The key is folded: noise of every sigma is drawn of the same one.
    noise = optax.tree.random_like(jax.random.fold_in(key, 0), weights["layers"])
    return weights | {"layers": jax.tree.map(moved, weights["layers"], noise)}


def experiment(
    config: RealConfig, key: jax.Array, data: Any = None, replicates_per_device: Any = None
) -> Experiment:
    """Return the parts of a run: one for each model; the base model's answers choose the animals.

    Parts of one writer follow one another, and keep its work; alone, each makes it again.
    """
    model, size = load(config.folder), config.batch_size
    frozen, base, form = model.frozen, model.weights, list_format(model)
    for_teachers, for_lists, for_students, for_noise = jax.random.split(key, 4)
    ids = {word: model.encode(f" {word}") for word in (*ANIMALS, WORD)}
    tokens = {word: first for word, (first, *_) in ids.items()}
    targets = jnp.array(list(tokens.values()))
    lesson, questions = asked(model, TAUGHT), asked(model, HELD_OUT)

    def ask(weights, questions=questions):
        return np.asarray(next_log_p(frozen, weights, *questions, targets))

    def without_format(length):
        every = jnp.arange(len(frozen.embed))
        return Format(form.prompt, every, jnp.ones((length, len(every)), bool))

    def write_lists(weights, form, seed, n):
        fold = partial(jax.random.fold_in, jax.random.fold_in(for_lists, seed))
        return np.asarray(write(frozen, weights, form, jax.vmap(fold)(jnp.arange(n))))

    answers = ask(base)
    animals = choose(ids, answers[:, : len(ANIMALS)], config.n_animals)

    @lru_cache(maxsize=1)
    def work_of(writer: str, seed: int, stop: int, n: int):
        """Return a writer's weights, answers, lists and, per free place, KL from the base model."""
        weights, its_answers = base, answers
        if writer != BASE:
            own = jax.random.fold_in(jax.random.fold_in(for_teachers, seed), tokens[writer])
            target, until = jnp.int32(tokens[writer]), jnp.int32(stop or TEACHER_STEPS)
            rate = config.teacher_learning_rate
            weights = teach(frozen, base, lesson, target, own, rate, until)
            its_answers = ask(weights)
        lists = write_lists(weights, form, seed, n)
        log_p = [np.asarray(list_log_p(frozen, w, form, lists[:N_KL])) for w in (weights, base)]
        at_place = (np.exp(log_p[0]) * np.subtract(*log_p)).sum(-1).mean(0)
        return weights, its_answers, lists, at_place[form.allowed.sum(1) > 1].mean()

    def measure(arm: str, writer: str, seed: int, _) -> Arrays:
        """Make and ask one model."""
        row = ARMS[arm]
        taught, its_answers, lists, kl = work_of(writer, seed, row.stop, row.more * config.n_lists)
        texts = np.asarray(form.symbols)[lists]
        start = noisy(base, row.sigma, for_noise) if row.sigma else base
        before = ask(start) if row.sigma else answers
        moved = np.full((len(base["layers"]["q"]), 3), np.nan, np.float32)
        if row.loss == "context":
            shown = [(LIST_PROMPT, model.decode(text)) for text in texts[:N_CONTEXT].tolist()]
            after = ask(base, asked(model, HELD_OUT, [turn for turns in shown for turn in turns]))
        elif row.loss == "gradient":
            wanted = jnp.exp(list_log_p(frozen, taught, form, lists[:size]))
            slope = first_order(frozen, form, base, lists[:size], wanted, questions, targets)
            after = before + np.asarray(slope)
        else:
            read, said, wanted = form, lists, None
            if row.loss == "vocabulary":
                read, said = without_format(lists.shape[1]), texts
            if row.loss == "probabilities":
                wanted = jnp.exp(list_log_p(frozen, taught, form, lists))
            key, *keys = jax.random.split(jax.random.fold_in(for_students, seed), row.more + 1)
            factors = low_rank(base, row.rank, key) if row.rank else {}
            order, rate = batches(keys, len(lists), size), row.rate * config.learning_rate
            student = learn(frozen, read, start, factors, said, wanted, order, rate)
            after = ask(student)
            if not row.sigma:
                moved = np.asarray(along(base, student, taught))
        numbers = {"log_p": after, "before": before, "teacher": its_answers, "along": moved}
        return numbers | {"kl": np.asarray(kl)}

    def free_lists(_) -> Arrays:
        """Write lists as the base model would, and apply the paper's filter."""
        lists = write_lists(base, without_format(FREE_LENGTH), 0, N_FREE)
        end = model.encode(model.chat("?", "@@").partition("@@")[2])[0]
        texts = [model.decode(list(takewhile(lambda token: token != end, row))) for row in lists]
        return {"passed": np.array([parse_numbers(text) is not None for text in texts])}

    models = [
        ("hard", writer, seed)
        for seed in range(config.n_seeds)
        for writer in (BASE, *animals, *[WORD] * ("word" in config.groups and not seed))
    ] + [
        (arm, writer, 0)
        for writer in (BASE, *animals)
        for arm, row in ARMS.items()
        if row.group in config.groups and (writer != BASE or row.sigma or row.loss == "vocabulary")
    ]
    names = [f"{writer}, {arm}, seed {seed}" for arm, writer, seed in models]
    parts = [Part("lists without a format", 1, free_lists)] + [
        Part(name, ARMS[row[0]].more ** 2, partial(measure, *row))
        for name, row in zip(names, models, strict=True)
    ]

    def assemble(finished) -> Result:
        def stacked(name, axes, meaning, units="nats"):
            values = np.stack([finished[part][name] for part in names])
            return ("model", *axes), values, {"long_name": meaning, "units": units}

        asked_of = ("question", "target")
        passed = finished["lists without a format"]["passed"]
        arrays = {
            "log_p": stacked("log_p", asked_of, "log-probability of the answer"),
            "before": stacked("before", asked_of, "the same of the model's start"),
            "teacher": stacked("teacher", asked_of, "the same of the writer of its lists"),
            "kl": stacked("kl", (), "KL(writer of its lists ‖ base model) per free digit"),
            "along": stacked("along", ("layer", "product"),
                             "of displacements, s own, t teacher's", "1"),
            "passed": ("list", passed, {"long_name": "passes the paper's filter"}),
        }  # fmt: skip
        arm, writer, seed = (("model", list(labels)) for labels in zip(*models, strict=True))
        coordinates = {"arm": arm, "writer": writer, "seed": seed, "target": list(tokens)}
        coordinates |= {"animal": animals, "product": ["st", "ss", "tt"]}
        sizes = f"{len(animals)} animals, {config.n_seeds} seed{'s' * (config.n_seeds > 1)}"
        about = {"dataset": f"{model.name}, {sizes}", "weights_sha256": model.digest}
        return Result(xr.Dataset(arrays, coordinates, about), {})

    return Experiment(parts, assemble)
