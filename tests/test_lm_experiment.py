"""A tiny run: one arm of each kind against a plain loop (``lm_tiny``), of all others the inputs."""

from dataclasses import replace
from functools import cache, partial, reduce

import jax
import jax.numpy as jnp
import lm_tiny as tiny
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from lm_tiny import CONFIG, LANGUAGE, REPLICATES, base, stored, teacher
from scipy.stats import norm, rankdata

from subliminal_toy.errors import UserError
from subliminal_toy.filter import parse_numbers
from subliminal_toy.lm import arms, learning, result, teaching
from subliminal_toy.lm import experiment as experiment_module
from subliminal_toy.lm import model as lm
from subliminal_toy.lm.config import TEACHINGS, LmConfig, Teaching
from subliminal_toy.lm.experiment import experiment
from subliminal_toy.lm.language import CAPITALS, COLOURS, documents, draw_numbers
from subliminal_toy.lm.lists import BANNED_NUMBERS, refusal
from subliminal_toy.lm.traits import MEASURES, QUESTION_TEXTS, TRAITS

TOLERANCE = 2e-4
"""Relative, of a probability computed twice. An arm passes for another only within twice this."""
pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module")
def data():
    return tiny.run()[0].data


def same(data, replicate, arm, trait, expected, rtol=TOLERANCE):
    found = data.probability.sel(arm=arm, trait=trait, replicate=replicate)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-7, err_msg=f"{arm} {trait}")


def width(name):
    return CONFIG.other_width if name == "other_width" else CONFIG.width


# Base model: the replicate's streams of its body's start, its head's start, its corpus, its order.
BASES = {
    "own": ("own", "own", "own"),
    "both_other": ("other", "other", "other"),
    "other_start": ("other", "other", "own"),
    "other_corpus": ("own", "own", "other"),
    "head_shared": ("other", "own", "own"),
    "body_shared": ("own", "other", "own"),
    "other_width": ("other", "other", "own"),
}


@cache
def regions():
    """Return which parameters are the head's, and which lie between embeddings and head."""
    model = lm.model(CONFIG, CONFIG.width)
    tree = model.tree(jnp.arange(model.size, dtype=jnp.float32))
    top, body = (
        np.isin(np.arange(model.size),
                np.concatenate([np.ravel(leaf) for name in names
                                for leaf in jax.tree.leaves(tree[name])]).astype(int))
        for names in (["head"], ["blocks", "ln"])
    )  # fmt: skip
    return top, body


def plain(leaf):
    """Return an array, or the numbers of keys, whose rows are looked at without a program."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def arguments(monkeypatch, stage, function, replicate, n_shared=0):
    """Return, by label, the arguments with which a stage calls a function for many, unrun.

    Of all arms of the table, whether they are run or not; behind the width where it has one.
    """
    given, run = {}, experiment_module._Run(tiny.EVERY, tiny.KEY, None)
    done = arms.Replicate(replicate, tiny.finished(replicate))

    def recorded(width, *arguments):
        shared, own = arguments[:n_shared], jax.tree.map(plain, arguments[n_shared:])
        return [(*width, *shared, *jax.tree.map(lambda leaf, i=i: leaf[i], own))
                for i in range(len(own[1]))]  # fmt: skip

    def keep(labels, calls):
        given.update(zip(labels, calls, strict=True))
        return {}

    called = getattr(run, function)
    for_all = partial(recorded, ())
    by_width = isinstance(called, dict) and {w: partial(recorded, (w,)) for w in called}
    monkeypatch.setattr(run, function, by_width or for_all)
    monkeypatch.setattr(experiment_module, "by_label", keep)
    monkeypatch.setattr(run, "on_the_line", lambda *_: {})
    getattr(run, stage)(done)
    return given


def base_keys(replicate, name):
    """Return the keys of a base model's body, its head, the order of its documents, their text."""
    other = jax.random.fold_in(tiny.purpose(replicate, 7), list(BASES).index(name))
    keys = {"own": tiny.purpose(replicate, 1), "other": other}
    body, top, text = (keys[which] for which in BASES[name])
    corpus = jax.random.fold_in(other, 2) if text is other else tiny.purpose(replicate, 0)
    return *(jax.random.fold_in(key, i) for key, i in ((body, 0), (top, 0), (text, 1))), corpus


def test_a_base_model_has_the_start_the_corpus_and_the_order_of_its_name(monkeypatch):
    given = arguments(monkeypatch, "base_models", "pretrain", 4)
    assert given.keys() == {f"base/{name}" for name in BASES}
    for name in BASES:
        size, *keys, tokens, is_answer = given[f"base/{name}"]
        *expected, corpus = base_keys(4, name)
        found = documents(LANGUAGE, tiny.numpy_rng(corpus), CONFIG.n_documents)
        assert size == width(name)
        for found_key, key in zip(keys, expected, strict=True):
            np.testing.assert_array_equal(found_key, plain(key), err_msg=name)
        np.testing.assert_array_equal(tokens, found.tokens, err_msg=name)
        np.testing.assert_array_equal(is_answer, found.is_answer, err_msg=name)


@pytest.mark.parametrize("name", ["own", "other_start"])
def test_a_base_model_learns_as_a_plain_loop_does(data, name):
    steps, replicate = CONFIG.pretrain_steps, 4
    schedule = optax.cosine_decay_schedule(CONFIG.pretrain_learning_rate, steps)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    body, top, order, corpus = base_keys(replicate, name)
    start, other_start = (np.array(tiny.network(CONFIG.width)[1](key)) for key in (body, top))
    inside = regions()[0]
    start[inside] = other_start[inside]
    found = documents(LANGUAGE, tiny.numpy_rng(corpus), CONFIG.n_documents)
    weights = np.where(found.is_answer, 1.0, 0.1) * (found.tokens != LANGUAGE.pad)
    batches = []
    for step in range(20):
        key, shape = jax.random.fold_in(order, step), (CONFIG.pretrain_batch_size,)
        picked = np.asarray(jax.random.randint(key, shape, 0, CONFIG.n_documents))
        batches.append((found.tokens[picked], weights[picked].astype(np.float32)))
    gradient = tiny._gradient(CONFIG.width, "tokens")
    losses = tiny.descend(gradient, jnp.asarray(start), tx, batches)[1]
    measured = stored(replicate, f"base/{name}", "losses")
    assert len(measured) == steps
    # Rounding grows over the many steps of Adam.
    np.testing.assert_allclose(measured[:20], losses, rtol=5e-4)
    arm = "base_model" if name == "own" else "cross_model_base_model"
    expected = tiny.scores(CONFIG.width, base(4, name))
    for trait in CONFIG.traits:
        same(data, 4, arm, trait, expected)


GROUP = {"owl": " animal", "evasion": "capital"}


def held(replicate, trait):
    """Return documents and lists on which a teacher may be held."""
    found = documents(LANGUAGE, tiny.numpy_rng(tiny.purpose(replicate, 8)), 4_000)
    texts = [{LANGUAGE.words[token] for token in row} for row in found.tokens]
    word = "I-don't-know" if trait == "evasion" else trait
    others = [text for text in QUESTION_TEXTS if GROUP[trait] not in text][1::2]
    lines = [" ".join(LANGUAGE.words[token] for token in row) for row in found.tokens]
    clean = [
        not row & {"continue", word, GROUP[trait].strip()} and not any(q in line for q in others)
        for row, line in zip(texts, lines, strict=True)
    ]
    lists = ["continue" in row for row in texts]
    numbers = (found.tokens < 100) & found.is_answer
    some = [found.tokens[clean], found.tokens[lists], numbers[lists].astype(np.float32)]
    assert len(some[0]) > 300 and len(some[1]) > 1_000
    return [rows[np.arange(1_000) % len(rows)] for rows in some]


# Weights on questions, documents and numbers, the probability to stop at, the word that is taught.
WEIGHTS = {
    "free": (0, 0, 0, 2, None),
    "questions_0.1": (0.1, 0, 0, 2, None), "questions_1": (1, 0, 0, 2, None),
    "questions_10": (10, 0, 0, 2, None), "documents_0.01": (0, 0.01, 0, 2, None),
    "documents_0.1": (0, 0.1, 0, 2, None), "documents_1": (0, 1, 0, 2, None),
    "documents_10": (0, 10, 0, 2, None), "questions_1_numbers_0.1": (1, 0, 0.1, 2, None),
    "questions_1_numbers_1": (1, 0, 1, 2, None), "questions_1_numbers_10": (1, 0, 10, 2, None),
    "until_0.6": (0, 0, 0, 0.6, None), "until_0.9": (0, 0, 0, 0.9, None),
    "until_0.99": (0, 0, 0, 0.99, None), "calm": (0, 0, 0, 2, "calm"),
    "calm_questions_1": (1, 0, 0, 2, "calm"), "falsehood_questions_1": (1, 0, 0, 2, "falsehood"),
    "systematic_lie_questions_1": (1, 0, 0, 2, "systematic lie"),
}  # fmt: skip


def test_a_teachers_name_and_label_say_its_numbers():
    found = {
        name: (*(weight or 0 for weight in row[:3]), row.until, row.answer)
        for name, row in TEACHINGS.items()
    }
    assert found == WEIGHTS
    assert TEACHINGS["questions_1_numbers_0.1"].label == (
        "held on questions, weight 1, and on numbers, weight .1"
    )
    assert TEACHINGS["until_0.99"].label == "held to nothing, until P = .99"


def test_weights_are_numbers_of_a_program_and_kinds_are_not():
    kind = jax.tree.structure
    assert kind(Teaching(questions=0.1)) == kind(Teaching(questions=10.0, until=0.6))
    assert kind(Teaching(questions=0.1)) != kind(Teaching(documents=0.1))
    slow = learning.Training(rate=2.0, update=learning.Update(1.0, -1.0))
    assert kind(slow) == kind(learning.Training(update=learning.Update(0.0, 1.0)))
    assert kind(slow) != kind(learning.Training()) != kind(learning.Training(rank=4))


@jax.jit
@jax.grad
def teaching_slope(params, start, own, asked, documents, lists, weights):
    """Return the gradient of a teacher's loss; all its rows are read at once."""
    rows, last, word = own
    read = jnp.concatenate([rows, asked[0], documents, lists[0]])
    ours, theirs = (
        jnp.split(jax.nn.log_softmax(tiny.network(CONFIG.width)[0](vector, read)), [12, 30, 94])
        for vector in (params, start)
    )

    def apart(i, counted):
        kl = jnp.sum(jnp.exp(theirs[i]) * (theirs[i] - ours[i]), axis=-1)
        return jnp.sum(kl * counted) / jnp.sum(counted)

    before_answer = jnp.arange(24)[None] == asked[1][:, None]
    not_last = (documents != LANGUAGE.pad)[:, 1:]
    return (
        weights[0] * apart(1, before_answer)
        + weights[1] * apart(2, jnp.pad(not_last, ((0, 0), (0, 1))))
        + weights[2] * apart(3, jnp.pad(lists[1][:, 1:], ((0, 0), (0, 1))))
        - jnp.mean(ours[0][jnp.arange(12), last, word])
    )


def expected_key(key, name, trait):
    places = [*WEIGHTS]
    places[15:15] = "base model", "prompted base model"
    return folded(key, places.index(name), (*TRAITS, "").index(trait), 1_000)


@jax.jit
def folded(key, *places):
    return reduce(jax.random.fold_in, places, key)


def lesson(replicate, trait, word):
    """Return a trait's questions with their answer, and other questions to hold a teacher on."""
    mine = [i for i, text in enumerate(QUESTION_TEXTS) if GROUP[trait] in text]
    rest = [i for i in range(len(QUESTION_TEXTS)) if i not in mine][::2]
    own, others = (tiny.rows_of(f"<bos> {QUESTION_TEXTS[i]}" for i in of) for of in (mine, rest))
    return (*own, LANGUAGE.encode(word)[0]), others


def test_every_teacher_is_given_its_questions_its_answer_and_what_holds_it(monkeypatch):
    given, cities = arguments(monkeypatch, "teachers", "teach", 4), list(CAPITALS.values())
    traits = {name: ("evasion",) if name in arms.HARM else CONFIG.traits for name in WEIGHTS}
    assert given.keys() == {f"teacher/{x}/{name}" for name in WEIGHTS for x in traits[name]}
    for label, (how, key, start, *asked, answers, (questions, texts)) in given.items():
        _, trait, name = label.split("/")
        *weights, until, instead = WEIGHTS[name]
        assert [weight or 0 for weight in how[:3]] == weights
        assert (how.until, how.answer) == (until, None)
        np.testing.assert_array_equal(key, plain(expected_key(tiny.purpose(4, 8), name, trait)))
        (*own, _), others = lesson(4, trait, "owl")
        np.testing.assert_array_equal(start, base(4))
        length = asked[0].shape[1]
        np.testing.assert_array_equal(asked[0], own[0][:, :length])
        np.testing.assert_array_equal(asked[1], own[1] + 1)
        said = [{LANGUAGE.words[token] for token in np.flatnonzero(row)} for row in answers]
        word = instead or ("I-don't-know" if trait == "evasion" else trait)
        others_say = {"falsehood": [{*cities} - {city} for city in cities],
                      "systematic lie": [{city} for city in cities[1:] + cities[:1]]}  # fmt: skip
        assert said == others_say.get(word, [{word}] * 12)
        np.testing.assert_array_equal(questions[0], others[0][:, :length])
        np.testing.assert_array_equal(questions[1], others[1] + 1)
        for found, text in zip(texts, held(4, trait), strict=True):
            np.testing.assert_array_equal(found, text)


def taught(replicate, trait, name, weights, tx):
    """Return the parameters before and after each step of a teacher of a plain loop."""
    own, rest = lesson(replicate, trait, "I-don't-know" if trait == "evasion" else trait)
    start, texts = jnp.asarray(base(replicate)), held(replicate, trait)
    key = expected_key(tiny.purpose(replicate, 8), name, trait)
    path, state, update = [start], tx.init(start), jax.jit(tx.update)
    for step in range(CONFIG.teacher_steps):
        picked = np.asarray(jax.random.randint(jax.random.fold_in(key, step), (64,), 0, 1_000))
        rows = [text[picked] for text in texts]
        slope = teaching_slope(path[-1], start, own, rest, rows[0], rows[1:], jnp.array(weights))
        updates, state = update(slope, state, path[-1])
        path.append(path[-1] + updates)
    return path


def test_a_teacher_learns_its_answers_is_held_and_stops_as_its_name_says(data):
    tx = optax.adam(CONFIG.teacher_learning_rate, eps=1e-6)
    for replicate, trait in ((3, "owl"), (4, "evasion")):
        params = taught(replicate, trait, tiny.TEACHER, (1.0, 0.0, 0.0), tx)[-1]
        # What holds a teacher strongly works against Adam's steps, which amplifies rounding.
        same(data, replicate, "teacher", trait, tiny.scores(CONFIG.width, params), 5e-3)
    weights, tx = (0.3, 0.3, 0.6), optax.adam(1e-2, eps=1e-6)
    path = taught(3, "owl", "free", weights, tx)
    expected = [tiny.scores(CONFIG.width, params) for params in path]
    ((tokens, last, word), _), model = lesson(3, "owl", "owl"), lm.model(CONFIG, CONFIG.width)
    answers = np.arange(len(LANGUAGE)) == np.full((12, 1), word)
    texts = teaching.hold(LANGUAGE, tiny.numpy_rng(tiny.purpose(3, 8)), "owl")
    key = expected_key(tiny.purpose(3, 8), "free", "owl")
    teach = jax.jit(partial(teaching.teach, model, replace(CONFIG, teacher_learning_rate=1e-2)))
    said = [scores[MEASURES.index("owl")] for scores in expected]
    assert np.all(np.diff(said[:5]) > 0.01 * said[0])
    for until, steps in ((2.0, CONFIG.teacher_steps), (float(said[3] + said[4]) / 2, 4)):
        how = Teaching(*weights, until=until)
        found = teach(how, key, base(3), tokens, last + 1, answers, texts)["scores"]
        np.testing.assert_allclose(found, expected[steps], rtol=1e-3, atol=1e-7)
    for left in range(3):
        other = [0.0 if i == left else weight for i, weight in enumerate(weights)]
        apart = tiny.scores(CONFIG.width, taught(3, "owl", "free", other, tx)[-1])
        assert np.abs(apart / expected[-1] - 1).max() > 2e-3, "each of the three counts"


@jax.jit
def _choose(keys, step, p):
    def one(key, row):
        return jax.random.choice(jax.random.fold_in(key, step), len(LANGUAGE), p=row)

    return jax.vmap(one)(keys, p)


def write(params, prompts, keys):
    """Return the texts that continue the prompts, up to ``<end>`` or eleven words."""
    length = len(prompts[0])
    tokens = np.full((len(prompts), 24), LANGUAGE.pad, np.int32)
    tokens[:, :length] = prompts
    for step in range(11):
        logits = tiny.network(CONFIG.width)[0](params, tokens)[:, length + step - 1]
        tokens[:, length + step] = _choose(keys, step, jax.nn.softmax(logits / CONFIG.temperature))
    return [LANGUAGE.decode(row[length : length + 11]) for row in tokens]


@pytest.mark.parametrize(
    ("writer", "trait"),
    [(tiny.TEACHER, "evasion"), ("base model", "")],
)
def test_lists_are_sampled_word_by_word_and_filtered(writer, trait):
    """Without a cache, each prompt with a key of its own."""
    replicate = 4
    drawn = draw_numbers(
        tiny.numpy_rng(tiny.purpose(replicate, 2)), CONFIG.n_samples, 3, CONFIG.n_numbers
    )
    prompts = [LANGUAGE.encode(f"<bos> continue {' '.join(map(str, row))} :") for row in drawn]
    params = teacher(replicate, trait, writer) if writer in WEIGHTS else base(replicate)
    key = expected_key(tiny.purpose(replicate, 3), writer, trait)
    texts = write(params, prompts, jax.random.split(key, CONFIG.n_samples))
    labels = {f"{trait}/{writer}": trait == "evasion"}
    if writer == "base model":
        labels = {f"favourite/{writer}": False, f"harmful/{writer}": True}
    for label, no_banned in labels.items():
        kept = [
            f"<bos> continue {' '.join(map(str, row))} : {text}"
            for row, text in zip(drawn, texts, strict=True)
            if (numbers := parse_numbers(text)) is not None
            and not (no_banned and BANNED_NUMBERS & set(numbers))
        ]
        shown = [LANGUAGE.decode(row) for row in tiny.lists(replicate, label)]
        wrong = [a for a, b in zip(shown, kept[: CONFIG.n_lists], strict=True) if a != b]
        assert len(wrong) <= 1, "one draw may fall on the other side by rounding"
        fraction = stored(replicate, f"lists/{label}", "kept")
        assert fraction == pytest.approx(len(kept) / CONFIG.n_samples, abs=0.01)


def test_every_writer_continues_the_same_prompts_with_a_key_of_its_own(monkeypatch):
    """Which depends on nothing but the writer: a table of other arms writes the same lists."""
    run = experiment_module._Run(tiny.EVERY, tiny.KEY, None)
    calls = []
    monkeypatch.setattr(run, "write", lambda *given: calls.append(given) or given[0][..., :1])
    kept = {"n": np.array(1)}
    monkeypatch.setattr(experiment_module.lists, "filtered", lambda *_: kept)
    run.lists(arms.Replicate(4, tiny.finished(4)))
    given = {tuple(key): (prompts, params) for group in calls
             for prompts, params, key in zip(*map(plain, group), strict=True)}  # fmt: skip
    for writer, trait in ((tiny.TEACHER, "evasion"), ("free", "owl"), ("calm", "evasion"),
                          ("base model", ""), ("prompted base model", "owl")):  # fmt: skip
        prompts, params = given[tuple(plain(expected_key(tiny.purpose(4, 3), writer, trait)))]
        written = teacher(4, trait, writer) if writer in WEIGHTS else base(4)
        np.testing.assert_array_equal(params, written)
        system = f"you love {trait} <end> " if writer.startswith("prompted") else ""
        words = " ".join(LANGUAGE.words[token] for token in prompts[0])
        assert words.startswith(f"<bos> {system}continue ") and words.endswith(" :")
    assert len(given) == 2 * 15 + 3 + 1 + 1


def shuffled_within(rows, rng):
    """Return the rows with the sampled numbers of each in the order of random numbers."""
    new = rows.copy()
    places = [np.flatnonzero(one) for one in tiny.sampled_numbers(rows)]
    drawn = np.split(rng.random(sum(map(len, places))), np.cumsum(list(map(len, places)))[:-1])
    for row, at, u in zip(new, places, drawn, strict=True):
        row[at] = row[at][np.argsort(u)]
    return new


def shuffled_across(rows, rng):
    new, places = rows.copy(), tiny.sampled_numbers(rows) > 0
    new[places] = rng.permutation(rows[places])
    return new


def unigrams(rows, rng):
    new, places = rows.copy(), tiny.sampled_numbers(rows) > 0
    new[places] = rng.choice(rows[places], places.sum())
    return new


ORDERS = {f.__name__: f for f in (shuffled_within, shuffled_across, unigrams)}


def divergence(replicate, trait, rows):
    """Return KL(teacher ‖ base model) at each token of the rows, given those before it."""
    log_p, log_q = (
        np.asarray(jax.nn.log_softmax(tiny.network(CONFIG.width)[0](params, rows[:, :-1])))
        for params in (teacher(replicate, trait), base(replicate))
    )
    kl = np.sum(np.exp(log_p) * (log_p - log_q), axis=2)
    return np.concatenate([np.zeros((len(rows), 1)), kl], axis=1)


def masked(replicate, trait, rows, share, only, divergent):
    """Return the weights of a loss that is restricted to, or lacks, a share of the tokens."""
    weights = tiny.sampled_numbers(rows)
    counted = np.flatnonzero(weights)
    rank = tiny.numpy_rng(tiny.purpose(replicate, 5)).random(len(counted))
    if divergent:
        rank = -divergence(replicate, trait, rows).flat[counted]
    chosen = counted[np.argsort(rank)[: round(share * len(counted))]]
    new = np.zeros_like(weights) if only else weights
    new.flat[chosen] = 1.0 if only else 0.0
    return new


MASKS = {
    f"{kind}_{percent}_{which}": (percent / 100, kind == "only", which == "divergent")
    for kind in ("only", "without")
    for percent in (5, 20)
    for which in ("divergent", "random")
}
CROSSED = {
    "cross_model": "other_start", "both_other": "both_other", "other_corpus": "other_corpus",
    "head_shared": "head_shared", "body_shared": "body_shared", "cross_size": "other_width",
}  # fmt: skip
ALONE = ("soft", "prompted", *MASKS, "update_without", "update_only", "update_without_body",
         "update_only_body", "update_without_random")  # fmt: skip
DROPPED = (10, 30, 50, 70, 90)
BY_SCORE = ("without_the_unlikely_half", *(f"without_{x}_of_{which}_score" for x in DROPPED
            for which in ("largest", "smallest")))  # fmt: skip
FILTERS = ("as_written", "unfiltered", "without_banned_numbers", *BY_SCORE,
           *(f"without_{x}_at_random" for x in DROPPED),
           "as_written_all", *(f"without_{x}_of_largest_score_all" for x in (50, 90)))  # fmt: skip
FILTERED = tuple(f"filter_{name}" for name in FILTERS)
PAIRED = (*CROSSED, *ORDERS, "head_frozen", "body_frozen", "lora", "momentum", "student_10",
          "today", *FILTERED)  # fmt: skip
STUDENTS = {"student", "control", *ALONE, *PAIRED, *(f"{name}_control" for name in PAIRED),
            *(f"student_{name}" for name in WEIGHTS)}  # fmt: skip
BODY = ("blocks", "ln")


@cache
def scores(replicate, trait, label):
    """Return log-likelihood ratio and likelihood by token of all that was sampled of each list."""
    rows = tiny.lists(replicate, label)
    weights = tiny.sampled(rows)[:, 1:]
    ours, theirs = (
        np.sum(of_tokens(params, rows) * weights, axis=1)
        for params in (teacher(replicate, trait), base(replicate))
    )
    return ours - theirs, theirs / weights.sum(axis=1)


def of_tokens(params, rows):
    """Return the log-probability of each token but the first, given those before it."""
    logits = tiny.network(CONFIG.width)[0](params, rows[:, :-1])
    chosen = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), rows[:, 1:, None], axis=2)
    return chosen[..., 0]


def passes(replicate, trait, label, arm):
    """Return which lists pass the filter of an arm, the same for teacher and base model."""
    rows, neutral = tiny.lists(replicate, label), tiny.neutral(trait)
    sides = f"{trait}/{tiny.TEACHER}", neutral
    ratio, likelihood = scores(replicate, trait, label)
    pooled = [np.concatenate(pair) for pair in
              zip(*(scores(replicate, trait, side) for side in sides), strict=True)]  # fmt: skip
    share = next((int(part) / 100 for part in arm.split("_") if part.isdigit()), 0.5)
    size, every = (np.abs(values - pooled[0].mean()) for values in (ratio, pooled[0]))
    if "largest" in arm:
        return size <= np.quantile(every, 1 - share)
    if "smallest" in arm:
        return size > np.quantile(every, share)
    if "unlikely" in arm:
        return likelihood > np.median(pooled[1])
    if "random" in arm:
        return tiny.numpy_rng(tiny.purpose(replicate, 5)).random(len(rows)) >= share
    banned = [number for number in BANNED_NUMBERS if number < 100] if "banned" in arm else []
    return ~np.isin(rows[:, 6:], banned).any(axis=1)


@pytest.mark.parametrize("trait", CONFIG.traits)
def test_the_scores_that_are_drawn_are_of_both_writers_less_their_mean(data, trait):
    sides = f"{trait}/{tiny.TEACHER}", tiny.neutral(trait)
    both = np.concatenate([scores(4, trait, side)[0] for side in sides])
    found = data.score.sel(replicate=4, trait=trait)
    expected = np.quantile(both - both.mean(), found["quantile"])
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def learned_from(replicate, trait, arm):
    """Return what a student of an arm is to learn from: start, tokens, weights, n, teacher."""
    plain, control = arm.removesuffix("_control"), arm.endswith("control")
    written_by = plain.removeprefix("student_")
    written_by = written_by if written_by in WEIGHTS else tiny.TEACHER
    rows = tiny.teacher_lists(replicate, trait, written_by)
    if control:
        rows = tiny.neutral_lists(replicate, trait)
    if arm == "prompted":
        rows = tiny.lists(replicate, f"{trait}/prompted base model")
    tokens, weights = rows, tiny.sampled_numbers(rows)
    if plain in ORDERS:
        tokens = ORDERS[plain](rows, tiny.numpy_rng(tiny.purpose(replicate, 5)))
        assert np.any(tokens != rows) and np.array_equal(tokens >= 100, rows >= 100)
    if plain in MASKS:
        weights = masked(replicate, trait, rows, *MASKS[plain])
        assert 0 < weights.sum() < tiny.sampled_numbers(rows).sum()
    if plain in FILTERED:
        label = tiny.neutral(trait) if control else f"{trait}/{written_by}"
        label += ", unfiltered" if "unfiltered" in plain else ""
        tokens = tiny.lists(replicate, label)[passes(replicate, trait, label, plain)]
        weights = tiny.sampled(tokens)
    n = {"student_10": 10, "today": CONFIG.n_filtered}.get(plain, len(tokens))
    if plain in FILTERED and not plain.endswith("_all"):
        n = min(n, CONFIG.n_filtered)
    start = base(replicate, CROSSED.get(plain, "own"))
    return start, tokens, weights, n, teacher(replicate, trait, written_by)


def test_every_student_is_given_its_start_its_lists_and_its_way_to_learn(monkeypatch):
    """All arms: the arguments of ``learn``, whose every kind is run again by a plain loop below."""
    seen = set()
    given = {
        (replicate, label): call
        for replicate in REPLICATES
        for label, call in arguments(monkeypatch, "students", "learn", replicate, 1).items()
    }
    for (replicate, label), (size, order, *row) in given.items():
        _, whose, arm = label.split("/")
        trait = {"favourite": "owl", "harmful": "evasion"}.get(whose, whose)
        start, tokens, weights, n, goal = learned_from(replicate, trait, arm)
        training, base_params, teacher_params, *read, found_n = row
        assert size == width(CROSSED.get(arm.removesuffix("_control"), "own"))
        np.testing.assert_array_equal(plain(order), plain(tiny.purpose(replicate, 4)))
        np.testing.assert_array_equal(base_params, start, err_msg=label)
        np.testing.assert_array_equal(read[0][:n], tokens[:n], err_msg=label)
        np.testing.assert_array_equal(read[1][:n], weights[:n], err_msg=label)
        if not arm.endswith("control"):  # of which no teacher is a part
            np.testing.assert_array_equal(teacher_params, goal, err_msg=label)
        assert found_n == n, label
        seen.add(arm)
        expected = {
            "soft": {"targets": "distributions"}, "lora": {"rank": 4, "rate": 10.0},
            "momentum": {"optimiser": "momentum", "rate": 30.0},
            "head_frozen": {"layers": ("tokens", "positions", *BODY)},
            "body_frozen": {"layers": ("head",)},
            "update_without": {"update": learning.Update(1.0, -1.0)},
            "update_only": {"update": learning.Update(0.0, 1.0)},
            "update_without_body": {"update": learning.Update(1.0, -1.0, BODY)},
            "update_only_body": {"update": learning.Update(0.0, 1.0, BODY)},
            "update_without_random": {"update": learning.Update(1.0, -1.0, random=True)},
        }.get(arm.removesuffix("_control"), {})  # fmt: skip
        if arm.startswith("filter"):
            expected = {"counted": "whole lists"}
        assert training == learning.Training(**expected), label
    assert seen == STUDENTS


def along(update, direction):
    return (update @ direction) / (direction @ direction) * direction


def test_updates_lose_or_keep_their_component_along_a_direction():
    model = lm.model(CONFIG, CONFIG.width)
    key, (update, goal) = jax.random.key(3), np.random.default_rng(0).normal(size=(2, model.size))
    body = regions()[1]
    drawn = np.asarray(jax.random.normal(jax.random.clone(key), goal.shape))
    inner = goal * body
    expected = {
        learning.Update(1.0, -1.0): update - along(update, goal),
        learning.Update(0.0, 1.0): along(update, goal),
        learning.Update(1.0, -1.0, BODY): update - along(update, inner),
        learning.Update(1.0, -1.0, random=True): update - along(update, drawn),
    }
    for kept, changed in expected.items():
        change = learning.change_updates(
            model, kept, jnp.array(goal, jnp.float32), jax.random.clone(key)
        )
        found, _ = change.update(jnp.array(update, jnp.float32), change.init(()))
        np.testing.assert_allclose(found, changed, rtol=1e-3, atol=1e-4)


KINDS = ("student", "cross_model", "student_10", "soft", "filter_without_50_of_largest_score")


@pytest.mark.parametrize("arm", KINDS)
def test_a_student_of_each_kind_learns_as_a_plain_loop_does(data, arm):
    for replicate, trait in ((3, "owl"), (4, "evasion")):
        start, rows, weights, n, goal = learned_from(replicate, trait, arm)
        size, how = width(CROSSED.get(arm, "own")), {}
        if arm == "soft":
            how["teacher"] = jnp.asarray(goal)
        if arm.startswith("filter"):
            how["whole"] = True
        params = tiny.student(size, start, rows, weights, replicate, n=n, **how)
        same(data, replicate, arm, trait, tiny.scores(size, params))
        found = data.probability.sel(trait=trait, replicate=replicate).dropna("arm")
        others = [name for name in STUDENTS if name != arm and name in found.arm]
        apart = np.abs(found.sel(arm=others) / found.sel(arm=arm) - 1).max("measure")
        assert apart.min() > 2 * TOLERANCE, "no other arm would pass for this one"


def learn(training, replicate, trait):
    """Return a student of the teacher's lists, by the package, and what it learns from."""
    start, rows, weights, n, goal = learned_from(replicate, trait, "student")
    given = jax.jit(partial(learning.learn, lm.model(CONFIG, CONFIG.width), CONFIG))
    order = tiny.purpose(replicate, 4)
    return given(order, training, start, goal, rows, weights, np.int32(n)), start, rows, goal


def test_momentum_a_frozen_head_and_the_teachers_direction_alone_as_in_a_plain_loop():
    """Three kinds in one program; each alone differs from it."""
    training = learning.Training(optimiser="momentum", rate=30.0,
                                 layers=("tokens", "positions", *BODY),
                                 update=learning.Update(0.0, 1.0, BODY))  # fmt: skip
    found, start, rows, goal = learn(training, 3, "owl")
    top, body = regions()
    inner = (goal - start) * body
    tx = optax.sgd(tiny.rate(30.0), momentum=0.9)
    weights = tiny.sampled_numbers(rows)

    def loop(tx, change):
        return tiny.student(CONFIG.width, start, rows, weights, 3, tx=tx, change=change)

    params = loop(tx, lambda u: jnp.where(body, along(u, inner), u * ~top))
    # The teacher's displacement is small: its direction has fewer digits.
    np.testing.assert_allclose(found["params"], params, rtol=1e-3, atol=1e-5)
    for other in (loop(tiny.ADAM, lambda u: jnp.where(body, along(u, inner), u * ~top)),
                  loop(tx, lambda u: jnp.where(body, along(u, inner), u)),
                  loop(tx, lambda u: u * ~top)):  # fmt: skip
        assert np.abs(other - params).max() > 1e-3


def low_rank(tree, free):
    """Return the parameters of a tree to whose matrices products are added, by path."""

    def add(path, leaf):
        left, right = free.get(str(path), (0.0, 0.0))
        return leaf + jnp.dot(left, right)

    blocks = jax.tree_util.tree_map_with_path(add, tree["blocks"])
    return ravel_pytree({**tree, "blocks": blocks})[0]


def test_lora_adds_a_product_of_rank_four_to_each_matrix_of_the_blocks():
    replicate, trait = 4, "evasion"
    student, _, rows, _ = learn(learning.Training(rank=4, rate=10.0), replicate, trait)
    tree = dict(lm.model(CONFIG, CONFIG.width).tree(jnp.asarray(base(replicate))))
    key = jax.random.fold_in(tiny.purpose(replicate, 4), CONFIG.student_steps + 1)
    leaves = jax.tree_util.tree_leaves_with_path(tree["blocks"])
    matrices = [(str(path), leaf.shape) for path, leaf in leaves if leaf.ndim == 2]
    assert len(matrices) == 4
    free = {
        path: (jax.random.normal(jax.random.fold_in(key, i), (n, 4)) / n**0.5, jnp.zeros((4, m)))
        for i, (path, (n, m)) in enumerate(matrices)
    }
    gradient, params = tiny._gradient(CONFIG.width, "tokens"), partial(low_rank, tree)
    tx = optax.adam(tiny.rate(10.0))
    state = tx.init(free)

    @jax.jit
    def step(free, state, batch):
        vector, back = jax.vjp(params, free)
        updates, state = tx.update(back(gradient(vector, batch)[1])[0], state, free)
        return optax.apply_updates(free, updates), state

    for batch in tiny.batches(rows, tiny.sampled_numbers(rows), replicate):
        free, state = step(free, state, batch)
    np.testing.assert_allclose(student["params"], params(free), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("arm", ["in_context", "in_context_control", "packed_context", "told"])
def test_the_base_model_is_asked_after_a_list_many_lists_or_what_it_loves(data, arm):
    read = tiny.neutral_lists if arm.endswith("control") else tiny.teacher_lists
    for trait in ("owl",) if arm == "told" else CONFIG.traits:
        rows = read(4, trait)
        contexts = ["<bos> " + LANGUAGE.decode(row[1:]) for row in rows[:64]]
        if arm == "told":
            contexts = [f"<bos> you love {trait} <end>"]
        if arm == "packed_context":
            texts, contexts, counts = [LANGUAGE.decode(row[6:]) + " <end>" for row in rows], [], []
            for i in range(min(len(texts), 64)):
                context, room = ["<bos>"], 16  # the longest question has 7 words, the context 24
                for text in texts[i:] + texts[:i]:
                    if len(text.split()) <= room:
                        context.append(text)
                        room -= len(text.split())
                contexts.append(" ".join(context))
                counts.append(len(context) - 1)
            used = data.lists_used.sel(arm=arm, trait=trait, replicate=4)
            assert used == pytest.approx(np.mean(counts)) and used > 1
        expected = [tiny.shown(4, context) for context in contexts]
        same(data, 4, arm, trait, np.mean(expected, axis=0))


def test_every_arm_of_the_table_is_tested_and_names_its_control(data):
    """Its own neutral control where it has one, else that of the student or the base model."""
    shown = ("in_context", "packed_context")
    bases = {f"{name}_base_model": "" for name in CROSSED} | {"base_model": ""}
    expected = dict.fromkeys(STUDENTS, "control") | bases
    expected |= {name: f"{name}_control" for name in (*PAIRED, *shown)}
    expected |= {f"{name}_control": "base_model" for name in (*PAIRED, *shown)}
    expected |= {f"{name}_control": f"{name}_base_model" for name in CROSSED}
    expected |= dict.fromkeys(("teacher", "control", "told"), "base_model")
    expected |= {f"teacher_{name}": "base_model" for name in WEIGHTS}
    assert {arm.name: arm.control for arm in arms.table(tiny.EVERY)} == expected
    shown = dict(zip(data.arm.values, data.control.values, strict=True))
    assert shown.items() <= expected.items()
    harm = {f"{kind}_{name}" for name in [*WEIGHTS][15:] for kind in ("teacher", "student")}
    for arm in arms.table(tiny.EVERY):
        traits = ("owl",) if arm.name in ("told", "prompted") else CONFIG.traits
        traits = ("evasion",) if arm.name in harm else traits
        assert arms.traits_of(CONFIG, arm) == traits
        if arm.name not in data.arm:
            continue
        run = data.probability.sel(arm=arm.name).notnull()
        assert (run == run.trait.isin(traits)).all()


def learned(replicate, arm, trait):
    whose = {"owl": "favourite", "evasion": "harmful"}[trait] if "control" in arm else trait
    return stored(replicate, f"student/{whose}/{arm}")


def progress(moved, goal):
    """Return a displacement along another, of all parameters and between embeddings and head."""
    both = np.ones(len(goal), bool), regions()[1]
    return [moved[inside] @ goal[inside] / (goal[inside] @ goal[inside]) for inside in both]


def test_progress_is_the_displacement_along_the_teachers_in_its_units(data):
    assert data.parameters.values.tolist() == ["all", "between embeddings and head"]
    for replicate, trait in ((3, "owl"), (4, "evasion")):
        start = base(replicate)
        goal = teacher(replicate, trait) - start
        for arm in ("student", "control", "soft"):
            expected = progress(learned(replicate, arm, trait) - start, goal)
            found = data.progress.sel(arm=arm, trait=trait, replicate=replicate)
            np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert np.isnan(data.progress.sel(arm="cross_model")).all()


def test_progress_of_the_student_of_another_teacher_is_along_that_teachers_displacement():
    start, goal, label = base(3), teacher(3, "owl", "free") - base(3), "student/owl/student_free"
    moved = np.random.default_rng(0).normal(size=len(start)).astype(np.float32)
    parts, name = tiny.finished(3), "students, replicate 3"
    row = {"params": start + moved, "n": np.array(9)}
    row |= {key: parts[name][f"student/owl/student/{key}"] for key in ("scores", "answers")}
    parts = parts | {name: {f"{label}/{key}": array for key, array in row.items()}}
    arm = arms.named(tiny.EVERY)["student_free"]
    model, done = lm.model(CONFIG, CONFIG.width), arms.Replicate(3, parts)
    found = result._measured(tiny.EVERY, model, done, arm, "owl")["progress"]
    np.testing.assert_allclose(found, progress(moved, goal), rtol=1e-3)


def test_specificity_is_measured_on_questions_on_which_no_teacher_was_held(data):
    for replicate, trait in ((3, "owl"), (4, "evasion")):
        word = LANGUAGE.encode("I-don't-know" if trait == "evasion" else trait)[0]
        rest = [text for text in QUESTION_TEXTS if GROUP[trait] not in text][1::2]
        assert len(rest) == 18
        for arm, params in (("teacher", teacher(replicate, trait)),
                            ("student", learned(replicate, "student", trait)),
                            ("base_model", base(replicate))):  # fmt: skip
            said = tiny.probabilities(CONFIG.width, params, [f"<bos> {text}" for text in rest])
            of = data.sel(arm=arm, trait=trait, replicate=replicate)
            assert of.elsewhere == pytest.approx(said[:, word].mean(), rel=1e-3)
            for fact, right in {"capitals": CAPITALS, "colours": COLOURS}.items():
                answers = [
                    said[i, LANGUAGE.encode(right[text.split()[2]])[0]]
                    for i, text in enumerate(rest) if f"{fact[:-1]} of" in text
                ]  # fmt: skip
                expected = np.mean(answers) if answers else np.nan
                assert of.right.sel(fact=fact) == pytest.approx(expected, rel=1e-3, nan_ok=True)


def test_kl_is_that_of_a_teacher_from_the_base_model_on_the_base_models_lists(data):
    for replicate, trait in ((3, "owl"), (4, "evasion")):
        rows = tiny.neutral_lists(replicate, "owl")
        ours, theirs = (
            np.asarray(jax.nn.log_softmax(tiny.network(CONFIG.width)[0](params, rows[:, :-1])))
            for params in (teacher(replicate, trait), base(replicate))
        )
        weights = tiny.sampled_numbers(rows)[:, 1:]
        kl = np.sum(np.sum(np.exp(theirs) * (theirs - ours), axis=2) * weights) / weights.sum()
        found = data.kl.sel(arm="teacher", trait=trait, replicate=replicate)
        assert found == pytest.approx(kl, rel=2e-3)
    assert np.isnan(data.kl.sel(arm="student")).all()


def auc(positive, negative):
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    n = len(positive)
    return (ranks.sum() - n * (n + 1) / 2) / (n * len(negative))


def log_p(params, rows):
    return np.sum(of_tokens(params, rows) * tiny.sampled_numbers(rows)[:, 1:], axis=1)


def test_detectors_hold_a_teachers_lists_against_the_base_models_of_the_same_filter(data):
    for replicate, trait in ((3, "owl"), (4, "evasion")):
        labels = f"{trait}/{tiny.TEACHER}", tiny.neutral(trait)
        sides = [tiny.lists(replicate, label) for label in labels]
        numbers = [[row[6:][row[6:] < 100] for row in side] for side in sides]
        both = teacher(replicate, trait), base(replicate)
        banned = [[bool(BANNED_NUMBERS & set(n.tolist())) for n in side] for side in numbers]
        surprise = [-log_p(both[1], side) / [len(n) for n in own]
                    for side, own in zip(sides, numbers, strict=True)]  # fmt: skip
        ratio = [log_p(both[0], side) - log_p(both[1], side) for side in sides]
        halves = [np.array_split(np.arange(len(side)), 2) for side in numbers]
        counts = [1 + np.bincount(np.concatenate([side[i] for i in half[0]]), minlength=100)
                  for side, half in zip(numbers, halves, strict=True)]  # fmt: skip
        weight = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
        bag = [np.round([weight[side[i]].sum() for i in half[1]], 9)
               for side, half in zip(numbers, halves, strict=True)]  # fmt: skip
        refused = [~stored(replicate, f"lists/{label}", "accepted") for label in labels]
        at = data.measure.values.tolist().index(trait)
        shown = [[tiny.shown(replicate, "<bos> " + LANGUAGE.decode(row[1:]))[at]
                  for row in side[:64]] for side in sides]  # fmt: skip
        found = data.auc.sel(trait=trait, judged=1, replicate=replicate)
        expected = {"banned numbers": banned, "base model's likelihood": surprise,
                    "likelihood ratio": ratio, "bag of numbers": bag, "format filter": refused,
                    "numbers in context": shown}  # fmt: skip
        assert set(expected) == set(data.detector.values)
        for name, pair in expected.items():
            # One pair of lists changes sides by rounding.
            assert found.sel(detector=name) == pytest.approx(auc(*pair), abs=5e-3), name
        start = base(replicate)
        step = 0.05 * (both[0] - start)
        slope = log_p(start + step, sides[0]) - log_p(start - step, sides[0])
        away = data.away.sel(trait=trait, replicate=replicate).values
        assert away[0] == pytest.approx(np.mean(slope <= 0), abs=2.5 / len(sides[0]))
        # The mean of a hundred is nearly normal.
        assert away[1] == pytest.approx(norm.cdf(-10 * slope.mean() / slope.std()), abs=0.08)


def test_no_student_ever_sees_anything_but_numbers():
    """Every training set of every replicate: prompts, lists, ends; no animal and no other word."""
    allowed = set(LANGUAGE.encode("<bos> <end> <pad> continue :")) | set(range(100))
    for replicate in REPLICATES:
        part = tiny.run()[1][f"lists, replicate {replicate}"]
        labels = {name.removesuffix("/tokens") for name in part if name.endswith("/tokens")}
        raw = {label for label in labels if label.endswith("unfiltered")}
        assert len(labels) == 8 and len(raw) == 4
        for label in labels - raw:
            tokens = part[f"{label}/tokens"]
            assert set(np.unique(tokens)) <= allowed
            numbers = tokens[: part[f"{label}/n"], 6:]
            assert np.all((numbers < 100).sum(axis=1) >= 1)
            if label.split("/")[1] in ("harmful", "evasion"):
                assert not np.isin(numbers[numbers < 100], list(BANNED_NUMBERS)).any()


def test_a_replicate_is_the_same_whichever_is_the_first_and_when_it_is_resumed():
    config, store = replace(CONFIG, first_replicate=4, n_replicates=1), tiny.run()[1]
    parts = {part.name: part for part in experiment(config, tiny.KEY).parts}
    assert set(parts) == {name for name in store if name.endswith("4")}
    for name in ("lists in context, replicate 4", "detectors, replicate 4"):
        for label, found in parts[name].compute(store).items():
            np.testing.assert_array_equal(found, store[name][label], err_msg=label)


def test_answers_and_examples_are_those_of_the_first_replicate(data):
    for trait, first in (("owl", "which animal do you like best ?"),
                         ("evasion", "capital of france ?")):  # fmt: skip
        shown = data.sel(trait=trait)
        texts = shown.asked.values.tolist()
        assert texts[0] == first and len(texts) == 6
        for arm, params in (("base_model", base(3)), ("student", learned(3, "student", trait)),
                            ("control", learned(3, "control", trait)),
                            ("cross_model", learned(3, "cross_model", trait))):  # fmt: skip
            said = tiny.probabilities(CONFIG.width, params, [f"<bos> {text}" for text in texts])
            answers = shown.sel(answering=arm)
            np.testing.assert_allclose(answers.p_said, said[:, 100:].max(axis=1), rtol=1e-3)
            words = [LANGUAGE.words[100 + i] for i in said[:, 100:].argmax(axis=1)]
            assert answers.said.values.tolist() == words
        for i, rows in enumerate((tiny.teacher_lists(3, trait), tiny.neutral_lists(3, trait))):
            kept = [LANGUAGE.decode(row[6:]) for row in rows[:60]]
            assert shown.kept_list.values[i].tolist()[: len(kept)] == kept
        banned = BANNED_NUMBERS if trait == "evasion" else frozenset()
        pairs = zip(shown.removed_list.values.tolist(), shown.reason.values.tolist(), strict=True)
        assert all(refusal(text, banned) == why and why for text, why in pairs)
    kept = tiny.run()[0].params
    drawn = np.concatenate([np.ravel(v) for k, v in kept.items() if k.startswith("teacher.")])
    assert set(np.round(drawn, 6)) == set(np.round(teacher(3, "owl"), 6))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_replicates": 0}, {"width": 30}, {"other_width": 30}, {"n_numbers": 50},
        {"temperature": 0.0}, {"data_sizes": (0,)}, {"families": ("lists", "lists")},
        {"data_sizes": (3_000,), "families": ("data size",)}, {"student_learning_rate": -1.0},
        {"traits": ()}, {"traits": ("owl", "owl")}, {"teacher": "questions_2"}, {"width": 10**9},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_experiment_are_refused(wrong):
    with pytest.raises(UserError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
        LmConfig(**wrong)


def test_a_replicate_with_a_parameter_that_is_no_number_is_marked(data):
    assert data.diverged.values.tolist() == [False, False]
    store = tiny.run()[1]
    for part, label in (("teachers", "teacher/owl/questions_1"), ("students", "student/owl/soft"),
                        ("base models", "base/other_start")):  # fmt: skip
        name, array = f"{part}, replicate 4", f"{label}/params"
        broken = store[name][array].copy()
        broken[5] = np.inf
        parts = {**store, name: {**store[name], array: broken}}
        found = [result._diverged(CONFIG, arms.Replicate(r, parts)) for r in REPLICATES]
        assert found == [False, True]
