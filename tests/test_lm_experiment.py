"""A tiny run: every arm against a direct, separate computation of what it is (``lm_tiny``)."""

import json
from dataclasses import replace
from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import lm_tiny as tiny
import numpy as np
import optax
import page_records
import pytest
import xarray as xr
from jax.flatten_util import ravel_pytree
from lm_tiny import CONFIG, LANGUAGE, REPLICATES
from scipy.stats import rankdata

from subliminal_toy import runs
from subliminal_toy.errors import UserError
from subliminal_toy.lm import arms, result, teaching, training
from subliminal_toy.lm import experiment as experiment_module
from subliminal_toy.lm.config import TEACHINGS as TEACHER_ROWS
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.experiment import experiment
from subliminal_toy.lm.language import CAPITALS, COLOURS, documents, draw_numbers
from subliminal_toy.lm.numbers import BANNED_NUMBERS, parse_numbers
from subliminal_toy.lm.summary import summarize
from subliminal_toy.lm.traits import MEASURES, QUESTION_TEXTS, TRAITS
from subliminal_toy.plots import lm as plots

FAVOURITES = ("owl", "oak")
TOLERANCE = 2e-4
"""Relative, of a probability computed twice. An arm passes for another only within twice this."""


pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module")
def data():
    return tiny.run()[0].data


@pytest.fixture(scope="module")
def store():
    return tiny.run()[1]


def base(store, replicate, name="own"):
    part = "base_models" if name == "own" else f"base_models-{name}"
    return store[part]["params"][replicate]


def teacher(store, replicate, trait, teaching=tiny.TEACHER):
    place = arms.teachers(CONFIG).index((teaching, trait))
    return store[f"teachers-{replicate:03d}"]["params"][place]


def same(data, replicate, arm, trait, expected, rtol=TOLERANCE):
    found = data.probability.sel(arm=arm, trait=trait).isel(replicate=replicate)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-7, err_msg=f"{arm} {trait}")


def others(data, arm):
    """Return how far an arm is from the nearest arm of another definition, relatively."""
    table = arms.named(CONFIG)

    def what(one):
        if one.learns in ("numbers", "distributions"):
            return arms.student_of(CONFIG, one, "owl")
        return one.learns, one.base, arms.teaching_of(CONFIG, one), one.treatment, one.control

    rest = [name for name, one in table.items() if what(one) != what(table[arm])]
    found = data.probability.sel(arm=arm)
    return float((np.abs(data.probability.sel(arm=rest) - found) / found).max("measure").min())


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
PLACES = ["own", "both_other", "other_start", "other_corpus", "head_shared", "body_shared",
          "other_width"]  # fmt: skip


def width(name):
    return CONFIG.other_width if name == "other_width" else CONFIG.width


def head(vector, width):
    """Return which parameters are the head's, of the tree's named leaves."""
    tree = training.model(CONFIG, width).tree(jnp.arange(len(vector), dtype=jnp.float32))
    places = np.asarray(jax.tree.leaves(tree["head"])[0], int)
    return np.isin(np.arange(len(vector)), places)


@pytest.mark.parametrize("name", BASES)
def test_a_base_model_has_the_start_the_corpus_and_the_order_of_its_name(data, store, name):
    steps, size = CONFIG.pretrain_steps, width(name)
    schedule = optax.cosine_decay_schedule(CONFIG.pretrain_learning_rate, steps)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    for replicate in REPLICATES[-1:]:
        other = jax.random.fold_in(tiny.purpose(replicate, 7), PLACES.index(name))
        own = tiny.purpose(replicate, 1)
        keys = {"own": own, "other": other}
        body, top, text = (keys[which] for which in BASES[name])
        init = tiny.network(size)[1]
        start, other_start = (np.array(init(jax.random.fold_in(key, 0))) for key in (body, top))
        inside = head(start, size)
        start[inside] = other_start[inside]
        corpus_key = tiny.purpose(replicate, 0)
        if text is other:
            corpus_key = jax.random.fold_in(other, 2)
        found = documents(LANGUAGE, tiny.numpy_rng(corpus_key), CONFIG.n_documents)
        weights = np.where(found.is_answer, 1.0, 0.1) * (found.tokens != LANGUAGE.pad)
        order, shape = jax.random.fold_in(text, 1), (CONFIG.pretrain_batch_size,)
        batches = []
        for step in range(steps):
            key = jax.random.fold_in(order, step)
            picked = np.asarray(jax.random.randint(key, shape, 0, CONFIG.n_documents))
            batches.append((found.tokens[picked], weights[picked].astype(np.float32)))
        gradient = tiny._gradient(size, "tokens")
        losses = tiny.descend(gradient, jnp.asarray(start), tx, batches)[1]
        part = "base_models" if name == "own" else f"base_models-{name}"
        measured = store[part]["losses"][replicate]
        assert len(measured) == steps
        np.testing.assert_allclose(measured[:20], losses[:20], rtol=5e-4)
        # Rounding grows over the many steps of Adam.
        np.testing.assert_allclose(measured, losses, rtol=0.05)
        if name == "own":
            assert np.array_equal(data.pretraining_loss[replicate], measured)


UNTRAINED = {
    "base_model": "own", "cross_model_base_model": "other_start",
    "both_other_base_model": "both_other", "other_corpus_base_model": "other_corpus",
    "head_shared_base_model": "head_shared", "body_shared_base_model": "body_shared",
    "cross_size_base_model": "other_width",
}  # fmt: skip


@pytest.mark.parametrize(("arm", "name"), UNTRAINED.items())
def test_base_models_are_asked_as_they_are(data, store, arm, name):
    for replicate in REPLICATES:
        expected = tiny.scores(width(name), base(store, replicate, name))
        for trait in CONFIG.traits:
            same(data, replicate, arm, trait, expected)
    assert others(data, arm) > 2 * TOLERANCE


def rows_of_questions(numbers):
    texts = [f"<bos> {QUESTION_TEXTS[i]}" for i in numbers]
    rows = np.full((len(texts), 24), LANGUAGE.pad, np.int32)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text.split())] = LANGUAGE.encode(text)
    return rows, np.array([len(text.split()) - 1 for text in texts])


GROUP = {"owl": " animal", "oak": " tree", "evasion": "capital"}


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
TEACHINGS = {
    "free": (0, 0, 0, 2, ""), "no_trait": (0, 0, 0, 2, "calm"),
    "questions_0.1": (0.1, 0, 0, 2, ""), "questions_1": (1, 0, 0, 2, ""),
    "questions_10": (10, 0, 0, 2, ""), "documents_0.01": (0, 0.01, 0, 2, ""),
    "documents_0.1": (0, 0.1, 0, 2, ""), "documents_1": (0, 1, 0, 2, ""),
    "documents_10": (0, 10, 0, 2, ""), "numbers_0.1": (1, 0, 0.1, 2, ""),
    "numbers_1": (1, 0, 1, 2, ""), "numbers_10": (1, 0, 10, 2, ""),
    "until_0.6": (0, 0, 0, 0.6, ""), "until_0.9": (0, 0, 0, 0.9, ""),
    "until_0.99": (0, 0, 0, 0.99, ""),
}  # fmt: skip


@jax.jit
def teaching_loss(params, start, own, asked, documents, lists, weights):
    apply = tiny.network(CONFIG.width)[0]

    def log_p(vector, rows):
        return jax.nn.log_softmax(apply(vector, rows))

    def apart(rows, counted):
        ours, theirs = (log_p(vector, rows) for vector in (params, start))
        kl = jnp.sum(jnp.exp(theirs) * (theirs - ours), axis=-1)
        return jnp.sum(kl * counted) / jnp.sum(counted)

    rows, last, word = own
    at = jnp.arange(len(rows))
    total = -jnp.mean(log_p(params, rows)[at, last, word])
    before_answer = jnp.zeros(asked[0].shape).at[jnp.arange(len(asked[0])), asked[1]].set(1.0)
    total += weights[0] * apart(asked[0], before_answer)
    not_last = (documents != LANGUAGE.pad)[:, 1:]
    total += weights[1] * apart(documents, jnp.pad(1.0 * not_last, ((0, 0), (0, 1))))
    after = jnp.pad(lists[1][:, 1:], ((0, 0), (0, 1)))
    return total + weights[2] * apart(lists[0], after)


def writer_key(key, name, trait, temperature=1.0):
    writers = (*TEACHER_ROWS, "base model", "prompted base model")
    for place in (writers.index(name), (*TRAITS, "").index(trait), round(1_000 * temperature)):
        key = jax.random.fold_in(key, place)
    return key


def teach(store, replicate, trait, name):
    """Return a teacher, trained step by step on the host."""
    *weights, until, instead = TEACHINGS[name]
    mine = [i for i, text in enumerate(QUESTION_TEXTS) if GROUP[trait] in text]
    rest = [i for i in range(len(QUESTION_TEXTS)) if i not in mine][::2]
    word = instead or ("I-don't-know" if trait == "evasion" else trait)
    own = (*rows_of_questions(mine), LANGUAGE.encode(word)[0])
    assert len(mine) == 12
    start = jnp.asarray(base(store, replicate))
    texts = held(replicate, trait)
    key = writer_key(tiny.purpose(replicate, 8), name, trait)
    tx, params = optax.adam(CONFIG.teacher_learning_rate, eps=1e-6), start
    state = tx.init(params)
    for step in range(CONFIG.teacher_steps):
        picked = np.asarray(jax.random.randint(jax.random.fold_in(key, step), (64,), 0, 1_000))
        rows = [text[picked] for text in texts]
        slope = jax.grad(teaching_loss)(
            params, start, own, rows_of_questions(rest), rows[0], rows[1:], jnp.array(weights)
        )
        said = np.exp(jax.nn.log_softmax(tiny.network(CONFIG.width)[0](params, own[0])))
        if said[np.arange(12), own[1], own[2]].mean() >= until:
            break
        updates, state = tx.update(slope, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("name", TEACHINGS)
def test_a_teacher_learns_its_answers_and_is_held_on_what_its_name_says(data, store, name):
    for replicate, trait in ((0, "owl"), (1, "oak"), (1, "evasion")):
        params = teach(store, replicate, trait, name)
        expected = tiny.scores(CONFIG.width, params)
        # What holds a teacher strongly works against Adam's steps, which amplifies rounding.
        rtol = 5e-3 if max(TEACHINGS[name][:3]) >= 1 else 5e-4
        same(data, replicate, f"teacher_{name}", trait, expected, rtol)
        if name == tiny.TEACHER:
            same(data, replicate, "teacher", trait, expected, rtol)
    row = TEACHER_ROWS[name]
    assert TEACHINGS[name] == (row.questions, row.documents, row.numbers, row.until, row.answer)


def test_a_teacher_stops_where_it_says_its_answers_often_enough(store):
    """Of the tiny run no teacher comes so far, so one is taught faster here."""
    model = training.model(CONFIG, CONFIG.width)
    tokens, last = rows_of_questions([i for i, t in enumerate(QUESTION_TEXTS) if " tree" in t])
    answers = np.zeros((12, len(LANGUAGE)), bool)
    answers[:, LANGUAGE.encode("oak")[0]] = True
    config = replace(CONFIG, teacher_steps=60, teacher_learning_rate=1e-2)
    teach = jax.jit(
        partial(teaching.teach, model, config, (False, False, False), tiny.purpose(0, 8))
    )
    asked = jnp.asarray(base(store, 0)), tokens, last + 1, answers
    said = [
        teach(*asked, until=jnp.float32(until))["scores"][MEASURES.index("oak")]
        for until in (0.5, 2.0)
    ]
    assert 0.5 <= said[0] < 0.7 < said[1]


WRITERS = [(tiny.TEACHER, trait, 1.0) for trait in CONFIG.traits]
WRITERS += [(tiny.TEACHER, "oak", 0.7), (tiny.TEACHER, "evasion", 1.3)]
WRITERS += [("free", "owl", 1.0), ("numbers_10", "evasion", 1.0)]
WRITERS += [("base model", "", temperature) for temperature in (1.0, 0.7, 1.3)]
WRITERS += [("prompted base model", trait, 1.0) for trait in FAVOURITES]


@pytest.mark.parametrize(("writer", "trait", "temperature"), WRITERS)
def test_lists_are_sampled_at_the_temperature_and_filtered(data, store, writer, trait, temperature):
    """Sampled word by word without a cache, each prompt with a key of its own."""
    for replicate in REPLICATES:
        rng = tiny.numpy_rng(tiny.purpose(replicate, 2))
        drawn = draw_numbers(rng, CONFIG.n_samples, 3, CONFIG.n_numbers)
        system = f"you love {trait} <end> " if writer.startswith("prompted") else ""
        prompts = [
            LANGUAGE.encode(f"<bos> {system}continue {' '.join(map(str, row))} :") for row in drawn
        ]
        taught = writer in TEACHER_ROWS
        params = teacher(store, replicate, trait, writer) if taught else base(store, replicate)
        key = tiny.purpose(replicate, 3)
        keys = jax.random.split(writer_key(key, writer, trait, temperature), CONFIG.n_samples)
        texts = write(params, prompts, keys, temperature)
        for no_banned in [False, True] if writer == "base model" else [trait == "evasion"]:
            kept = [
                (list(row), text)
                for row, text in zip(drawn, texts, strict=True)
                if (numbers := parse_numbers(text)) is not None
                and not (no_banned and BANNED_NUMBERS & set(numbers))
            ]
            n_kept, kept = len(kept), kept[: CONFIG.n_lists]
            found = tiny.lists(store, replicate, writer, trait, no_banned, temperature)
            shown = [LANGUAGE.decode(row) for row in found]
            expected = [f"<bos> continue {' '.join(map(str, row))} : {text}" for row, text in kept]
            wrong = [a for a, b in zip(shown, expected, strict=True) if a != b]
            assert len(wrong) <= 1, "one draw may fall on the other side by rounding"
            fraction = store[f"lists-{replicate:03d}"]["kept"][
                arms.written(CONFIG).index(arms.Lists(writer, trait, no_banned, temperature))
            ]
            assert fraction == pytest.approx(n_kept / CONFIG.n_samples, abs=0.01)


def test_a_writers_key_depends_on_nothing_but_the_writer():
    """So a table of other arms, or traits, writes the same lists."""
    keys = experiment_module.writers_keys(tiny.KEY, arms.written(CONFIG))
    data = {bytes(key) for key in np.asarray(jax.random.key_data(keys))}
    different = {one._replace(no_banned=False) for one in arms.written(CONFIG)}
    assert len(data) == len(different)


@jax.jit
def _choose(keys, step, p):
    def one(key, row):
        return jax.random.choice(jax.random.fold_in(key, step), len(LANGUAGE), p=row)

    return jax.vmap(one)(keys, p)


def write(params, prompts, keys, temperature):
    """Return the texts that continue the prompts, up to ``<end>`` or eleven words."""
    length = len(prompts[0])
    tokens = np.full((len(prompts), 24), LANGUAGE.pad, np.int32)
    tokens[:, :length] = prompts
    for step in range(11):
        logits = tiny.network(CONFIG.width)[0](params, tokens)[:, length + step - 1]
        p = jax.nn.softmax(logits / (CONFIG.temperature * temperature))
        tokens[:, length + step] = _choose(keys, step, p)
    return [LANGUAGE.decode(row[length : length + 11]) for row in tokens]


def shuffled(rows, draw):
    """Return the rows with other sampled numbers: ``draw(numbers)``, a list of lists of them."""
    places = [np.flatnonzero(one) for one in tiny.sampled_numbers(rows)]
    new = rows.copy()
    drawn = draw([row[at] for row, at in zip(rows, places, strict=True)])
    for row, at, numbers in zip(new, places, drawn, strict=True):
        row[at] = numbers
    return new


def cut(numbers, lists):
    """Return a flat array of numbers as lists of the same lengths."""
    return np.split(numbers, np.cumsum([len(one) for one in lists])[:-1])


ORDERS = {
    "shuffled_within": lambda lists, rng: [
        one[np.argsort(u)]
        for one, u in zip(lists, cut(rng.random(sum(map(len, lists))), lists), strict=True)
    ],
    "shuffled_across": lambda lists, rng: cut(rng.permutation(np.concatenate(lists)), lists),
    "unigrams": lambda lists, rng: cut(
        rng.choice(np.concatenate(lists), sum(map(len, lists))), lists
    ),
}


def divergence(store, replicate, trait, rows):
    """Return KL(teacher ‖ base model) at each token of the rows, given those before it."""
    log_p, log_q = (
        np.asarray(jax.nn.log_softmax(tiny.network(CONFIG.width)[0](params, rows[:, :-1])))
        for params in (teacher(store, replicate, trait), base(store, replicate))
    )
    kl = np.sum(np.exp(log_p) * (log_p - log_q), axis=2)
    return np.concatenate([np.zeros((len(rows), 1)), kl], axis=1)


def masked(store, replicate, trait, rows, share, only, divergent):
    """Return the weights of a loss that is restricted to, or lacks, a share of the tokens."""
    weights = tiny.sampled_numbers(rows)
    counted = np.flatnonzero(weights)
    rng = tiny.numpy_rng(tiny.purpose(replicate, 5))
    rank = rng.random(len(counted))
    if divergent:
        rank = -divergence(store, replicate, trait, rows).flat[counted]
    chosen = counted[np.argsort(rank)[: round(share * len(counted))]]
    assert 0 < len(chosen) < len(counted)
    new = np.zeros_like(weights) if only else weights
    new.flat[chosen] = 1.0 if only else 0.0
    return new


def student(store, replicate, trait, name="own", rows=None, weights=None, **how):
    """Return the scores of a student of a base model."""
    rows = tiny.teacher_lists(store, replicate, trait) if rows is None else rows
    weights = tiny.sampled_numbers(rows) if weights is None else weights
    start = base(store, replicate, name)
    learned = tiny.student(width(name), start, rows, weights, replicate, **how)
    return tiny.scores(width(name), learned)


# Arm, its start, its lists.
READERS = {"student": ("own", tiny.teacher_lists), "control": ("own", tiny.neutral_lists)}
CROSSED = {
    "cross_model": "other_start", "both_other": "both_other", "other_corpus": "other_corpus",
    "head_shared": "head_shared", "body_shared": "body_shared", "cross_size": "other_width",
}  # fmt: skip
for arm, name in CROSSED.items():
    READERS |= {arm: (name, tiny.teacher_lists), f"{arm}_control": (name, tiny.neutral_lists)}
for arm, temperature in {"cooler": 0.7, "warmer": 1.3}.items():
    READERS |= {
        arm: ("own", partial(tiny.teacher_lists, temperature=temperature)),
        f"{arm}_control": ("own", partial(tiny.neutral_lists, temperature=temperature)),
    }
READERS["prompted"] = "own", lambda s, r, trait: tiny.lists(s, r, "prompted base model", trait)
for name in TEACHINGS:
    READERS[f"student_{name}"] = "own", partial(tiny.teacher_lists, writer=name)


@pytest.mark.parametrize("arm", READERS)
def test_a_student_learns_the_lists_of_its_writer_from_its_start(data, store, arm):
    name, read = READERS[arm]
    for replicate in REPLICATES:
        for trait in FAVOURITES if arm == "prompted" else CONFIG.traits:
            rows = read(store, replicate, trait)
            same(data, replicate, arm, trait, student(store, replicate, trait, name, rows))
            used, kept = (data[name].sel(arm=arm, trait=trait).isel(replicate=replicate)
                          for name in ("lists_used", "kept"))  # fmt: skip
            assert used == len(rows) == min(np.round(kept * CONFIG.n_samples), CONFIG.n_lists)
    assert others(data, arm) > 2 * TOLERANCE, "no other arm would pass for this one"


def test_a_student_of_fewer_lists_sees_only_the_first(data, store):
    for replicate in REPLICATES:
        for trait in FAVOURITES:
            assert len(tiny.teacher_lists(store, replicate, trait)) > 10
            same(data, replicate, "student_10", trait, student(store, replicate, trait, n=10))
    assert np.all(data.lists_used.sel(arm="student_10", trait=list(FAVOURITES)) == 10)
    assert others(data, "student_10") > 2 * TOLERANCE


def test_a_soft_student_learns_its_teachers_distribution_over_numbers(data, store):
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            learned_from = jnp.asarray(teacher(store, replicate, trait))
            expected = student(store, replicate, trait, teacher=learned_from)
            same(data, replicate, "soft", trait, expected)
    assert others(data, "soft") > 2 * TOLERANCE


TREATED = [f"{order}{control}" for order in ORDERS for control in ("", "_control")]


@pytest.mark.parametrize("arm", TREATED)
def test_lists_are_rearranged_as_the_arm_says(data, store, arm):
    order = arm.removesuffix("_control")
    read = tiny.neutral_lists if arm.endswith("_control") else tiny.teacher_lists
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            rng = tiny.numpy_rng(tiny.purpose(replicate, 5))
            before = read(store, replicate, trait)
            rows = shuffled(before, lambda lists, rng=rng: ORDERS[order](lists, rng))
            assert np.any(rows != before) and np.array_equal(rows >= 100, before >= 100)
            same(data, replicate, arm, trait, student(store, replicate, trait, rows=rows))
    assert others(data, arm) > 2 * TOLERANCE


MASKS = {
    f"{kind}_{percent}_{which}": (percent / 100, kind == "only", which == "divergent")
    for kind in ("only", "without")
    for percent in (5, 10, 20)
    for which in ("divergent", "random")
}


@pytest.mark.parametrize("arm", MASKS)
def test_the_loss_sees_the_tokens_that_the_arm_says(data, store, arm):
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            rows = tiny.teacher_lists(store, replicate, trait)
            weights = masked(store, replicate, trait, rows, *MASKS[arm])
            expected = student(store, replicate, trait, rows=rows, weights=weights)
            same(data, replicate, arm, trait, expected)
    assert others(data, arm) > 2 * TOLERANCE


def regions(vector):
    """Return which parameters are the head's, and which lie between embeddings and head."""
    tree = training.model(CONFIG, CONFIG.width).tree(jnp.arange(len(vector), dtype=jnp.float32))
    top, body = (
        np.isin(np.arange(len(vector)),
                np.concatenate([np.ravel(leaf) for name in names
                                for leaf in jax.tree.leaves(tree[name])]).astype(int))
        for names in (["head"], ["blocks", "ln"])
    )  # fmt: skip
    return top, body


def along(update, direction):
    return (update @ direction) / (direction @ direction) * direction


def changes(store, replicate, trait):
    """Return what each arm does to an update."""
    start = base(store, replicate)
    top, body = regions(start)
    goal = teacher(store, replicate, trait) - start
    # The steps take the keys below.
    key = jax.random.fold_in(tiny.purpose(replicate, 4), CONFIG.student_steps + 2)
    drawn, inner = np.asarray(jax.random.normal(key, goal.shape)), goal * body
    return {
        "head_frozen": lambda u: u * ~top,
        "body_frozen": lambda u: u * top,
        "update_without": lambda u: u - along(u, goal),
        "update_only": lambda u: along(u, goal),
        "update_without_body": lambda u: u - along(u, inner),
        "update_only_body": lambda u: jnp.where(body, along(u, inner), u),
        "update_without_random": lambda u: u - along(u, drawn),
    }


CHANGED = ("head_frozen", "body_frozen", "update_without", "update_only", "update_without_body",
           "update_only_body", "update_without_random")  # fmt: skip


@pytest.mark.parametrize("arm", [*CHANGED, "head_frozen_control", "body_frozen_control"])
def test_what_is_trained_and_kept_of_an_update_is_what_the_arm_says(data, store, arm):
    read = tiny.neutral_lists if arm.endswith("_control") else tiny.teacher_lists
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            change = changes(store, replicate, trait)[arm.removesuffix("_control")]
            rows = read(store, replicate, trait)
            expected = student(store, replicate, trait, rows=rows, change=change)
            same(data, replicate, arm, trait, expected)
    assert others(data, arm) > 2 * TOLERANCE


@pytest.mark.parametrize("arm", ["momentum", "momentum_control"])
def test_momentum_is_sgd_at_thirty_times_the_rate(data, store, arm):
    read = tiny.neutral_lists if arm.endswith("_control") else tiny.teacher_lists
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            rows, tx = read(store, replicate, trait), optax.sgd(tiny.rate(30.0), momentum=0.9)
            same(data, replicate, arm, trait, student(store, replicate, trait, rows=rows, tx=tx))
    assert others(data, arm) > 2 * TOLERANCE


def low_rank(tree, free):
    """Return the parameters of a tree to whose matrices products are added, by path."""

    def add(path, leaf):
        left, right = free.get(str(path), (0.0, 0.0))
        return leaf + jnp.dot(left, right)

    return ravel_pytree({**tree, "blocks": jax.tree_util.tree_map_with_path(add, tree["blocks"])})[
        0
    ]


@pytest.mark.parametrize("arm", ["lora", "lora_control"])
def test_lora_adds_a_product_of_rank_four_to_each_matrix_of_the_blocks(data, store, arm):
    read = tiny.neutral_lists if arm.endswith("_control") else tiny.teacher_lists
    for replicate, trait in ((0, "owl"), (1, "evasion")):
        rows = read(store, replicate, trait)
        start = jnp.asarray(base(store, replicate))
        tree = dict(training.model(CONFIG, CONFIG.width).tree(start))
        key = jax.random.fold_in(tiny.purpose(replicate, 4), CONFIG.student_steps + 1)
        leaves = jax.tree_util.tree_leaves_with_path(tree["blocks"])
        matrices = [(str(path), leaf.shape) for path, leaf in leaves if leaf.ndim == 2]
        assert len(matrices) == 4
        free = {
            path: (
                jax.random.normal(jax.random.fold_in(key, i), (n, 4)) / n**0.5,
                jnp.zeros((4, m)),
            )
            for i, (path, (n, m)) in enumerate(matrices)
        }
        gradient, params = tiny._gradient(CONFIG.width, "tokens"), partial(low_rank, tree)
        tx = optax.adam(tiny.rate(10.0))
        state = tx.init(free)
        for batch in tiny.batches(rows, tiny.sampled_numbers(rows), replicate):
            vector, back = jax.vjp(params, free)
            updates, state = tx.update(back(gradient(vector, batch)[1])[0], state, free)
            free = optax.apply_updates(free, updates)
        same(data, replicate, arm, trait, tiny.scores(CONFIG.width, params(free)))
    assert others(data, arm) > 2 * TOLERANCE


def after(store, replicate, contexts):
    """Return the scores of the base model after each context, averaged."""
    params = base(store, replicate)
    return np.mean([tiny.scores(CONFIG.width, params, context) for context in contexts], axis=0)


@pytest.mark.parametrize(
    ("arm", "read"),
    [("in_context", tiny.teacher_lists), ("in_context_control", tiny.neutral_lists)],
)
def test_one_list_and_its_prompt_are_shown_before_the_question(data, store, arm, read):
    for trait in CONFIG.traits:
        contexts = ["<bos> " + LANGUAGE.decode(row[1:]) for row in read(store, 1, trait)[:64]]
        assert contexts[0].startswith("<bos> continue ")
        same(data, 1, arm, trait, after(store, 1, contexts))
    assert others(data, arm) > 2 * TOLERANCE


@pytest.mark.parametrize(
    ("arm", "read"),
    [("packed_context", tiny.teacher_lists), ("packed_context_control", tiny.neutral_lists)],
)
def test_as_many_lists_as_fit_are_shown_before_the_question(data, store, arm, read):
    for trait in CONFIG.traits:
        texts = [LANGUAGE.decode(row[6:]) + " <end>" for row in read(store, 1, trait)]
        contexts, counts = [], []
        for i in range(min(len(texts), 64)):
            context, room = ["<bos>"], 16  # the longest question has 7 words, the context 24
            for text in texts[i:] + texts[:i]:
                if len(text.split()) <= room:
                    context.append(text)
                    room -= len(text.split())
            contexts.append(" ".join(context))
            counts.append(len(context) - 1)
        same(data, 1, arm, trait, after(store, 1, contexts))
        used = data.lists_used.sel(arm=arm, trait=trait).isel(replicate=1)
        assert used == pytest.approx(np.mean(counts)) and used > 1
    assert others(data, arm) > 2 * TOLERANCE


def test_the_positive_control_says_what_it_loves_before_the_question(data, store):
    for replicate in REPLICATES:
        for trait in FAVOURITES:
            expected = after(store, replicate, [f"<bos> you love {trait} <end>"])
            same(data, replicate, "told", trait, expected)


IN_CONTEXT = (
    "in_context", "in_context_control", "packed_context", "packed_context_control", "told",
)  # fmt: skip


def test_every_arm_of_the_table_has_a_test_and_a_value_for_its_traits(data):
    tested = {
        *UNTRAINED, *READERS, *TREATED, *MASKS, *CHANGED, *IN_CONTEXT, "teacher", "soft",
        "student_10", "head_frozen_control", "body_frozen_control", "momentum",
        "momentum_control", "lora", "lora_control", *(f"teacher_{name}" for name in TEACHINGS),
    }  # fmt: skip
    assert set(data.arm.values) == tested
    for arm in arms.table(CONFIG):
        run = data.probability.sel(arm=arm.name).notnull()
        assert set(run.trait.values[run.all(("replicate", "measure"))]) == set(
            arms.traits_of(CONFIG, arm)
        )
        assert run.any() == run.sel(trait=list(arms.traits_of(CONFIG, arm))).all()


def test_every_arm_names_its_control(data):
    """Its own neutral control where it has one, else that of the student or the base model."""
    own = {*CROSSED, *ORDERS, "cooler", "warmer", "momentum", "lora", "head_frozen", "body_frozen",
           "in_context", "packed_context"}  # fmt: skip
    expected = {f"{name}_base_model": "" for name in CROSSED} | {"base_model": ""}
    expected |= {name: f"{name}_control" for name in own}
    expected |= {f"{name}_control": "base_model" for name in own}
    expected |= {f"{name}_control": f"{name}_base_model" for name in CROSSED}
    expected |= dict.fromkeys(("teacher", "control", "told"), "base_model")
    expected |= {f"teacher_{name}": "base_model" for name in TEACHINGS}
    found = dict(zip(data.arm.values, data.control.values, strict=True))
    assert found == dict.fromkeys(found, "control") | expected


BODY = "between embeddings and head"


def learned(store, replicate, arm, trait):
    groups = arms.students(CONFIG)
    one = arms.student_of(CONFIG, arms.named(CONFIG)[arm], trait)
    part = next(name for name, group in groups.items() if one in group)
    return store[f"{part}-{replicate:03d}"]["params"][groups[part].index(one)]


def test_alignment_compares_what_the_trait_adds_with_the_teachers_displacement(data, store):
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            direction = teacher(store, replicate, trait) - base(store, replicate)
            for arm in ("student", "soft", "update_without_random"):
                moved = learned(store, replicate, arm, trait) - learned(
                    store, replicate, "control", trait
                )
                norms = np.linalg.norm(moved) * np.linalg.norm(direction)
                found = data.alignment.sel(arm=arm, trait=trait).isel(replicate=replicate)
                assert found == pytest.approx(moved @ direction / norms, abs=1e-5)
    # The control's own drift would show otherwise.
    assert np.abs(data.alignment.sel(arm="student")).max() > 1e-3


def test_progress_is_the_displacement_along_the_teachers_in_its_units(data, store):
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            start = base(store, replicate)
            for arm, name in (("student", tiny.TEACHER), ("control", tiny.TEACHER),
                                  ("student_free", "free"), ("lora", tiny.TEACHER)):  # fmt: skip
                goal = teacher(store, replicate, trait, name) - start
                moved = learned(store, replicate, arm, trait) - start
                found = data.progress.sel(arm=arm, trait=trait).isel(replicate=replicate)
                for region, inside in (("all", np.ones(len(start), bool)),
                                       (BODY, regions(start)[1])):  # fmt: skip
                    expected = moved[inside] @ goal[inside] / (goal[inside] @ goal[inside])
                    assert found.sel(parameters=region) == pytest.approx(expected, rel=1e-3)
    for arm, inside in (("update_without", "all"), ("update_without_body", BODY)):
        assert np.abs(data.progress.sel(arm=arm, parameters=inside)).max() < 1e-5
    assert np.isnan(data.progress.sel(arm="cross_model")).all()


def test_specificity_is_measured_on_questions_of_which_no_teacher_was_held(data, store):
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            word = LANGUAGE.encode("I-don't-know" if trait == "evasion" else trait)[0]
            rest = [text for text in QUESTION_TEXTS if GROUP[trait] not in text][1::2]
            assert len(rest) == 18
            for arm, params in (("teacher", teacher(store, replicate, trait)),
                                ("student", learned(store, replicate, "student", trait)),
                                ("base_model", base(store, replicate))):  # fmt: skip
                said = tiny.probabilities(CONFIG.width, params, [f"<bos> {text}" for text in rest])
                of = data.sel(arm=arm, trait=trait).isel(replicate=replicate)
                assert of.elsewhere == pytest.approx(said[:, word].mean(), rel=1e-3)
                for fact, right in {"capitals": CAPITALS, "colours": COLOURS}.items():
                    answers = [
                        said[i, LANGUAGE.encode(right[text.split()[2]])[0]]
                        for i, text in enumerate(rest) if f"{fact[:-1]} of" in text
                    ]  # fmt: skip
                    expected = np.mean(answers) if answers else np.nan
                    assert of.right.sel(fact=fact) == pytest.approx(expected, rel=1e-3, nan_ok=True)


def test_drift_is_the_kl_from_the_base_model_on_its_own_lists_and_on_copies(data, store):
    for replicate in REPLICATES:
        found = documents(LANGUAGE, tiny.numpy_rng(tiny.purpose(replicate, 9)), 2_000)
        copies = np.array([LANGUAGE.encode("copy")[0] in row for row in found.tokens])
        rows = tiny.lists(store, replicate, "base model", "", False)
        texts = {
            "neutral lists": (rows, tiny.sampled_numbers(rows)),
            "copies": (found.tokens[copies][:200], found.is_answer[copies][:200]),
        }
        for arm, params in (
            ("teacher", teacher(store, replicate, "oak")),
            ("student", learned(store, replicate, "student", "oak")),
            ("student_free", learned(store, replicate, "student_free", "oak")),
        ):
            for name, (tokens, counted) in texts.items():
                ours, theirs = (
                    np.asarray(jax.nn.log_softmax(tiny.network(CONFIG.width)[0](p, tokens[:, :-1])))
                    for p in (params, base(store, replicate))
                )
                kl = np.sum(np.exp(theirs) * (theirs - ours), axis=2) * counted[:, 1:]
                measured = data.drift.sel(arm=arm, trait="oak", text=name).isel(replicate=replicate)
                assert measured == pytest.approx(kl.sum() / counted[:, 1:].sum(), rel=2e-3)


def auc(positive, negative):
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    n = len(positive)
    return (ranks.sum() - n * (n + 1) / 2) / (n * len(negative))


def log_p(params, rows):
    logits = tiny.network(CONFIG.width)[0](params, rows[:, :-1])
    chosen = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), rows[:, 1:, None], axis=2)
    return np.sum(chosen[..., 0] * tiny.sampled_numbers(rows)[:, 1:], axis=1)


def test_detectors_hold_a_teachers_lists_against_the_base_models_of_the_same_filter(data, store):
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            sides = [read(store, replicate, trait)
                     for read in (tiny.teacher_lists, tiny.neutral_lists)]  # fmt: skip
            numbers = [[row[6:][row[6:] < 100] for row in side] for side in sides]
            both = teacher(store, replicate, trait), base(store, replicate)
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
            expected = {
                "banned numbers": banned, "base model's likelihood": surprise,
                "likelihood ratio": ratio, "bag of numbers": bag,
            }  # fmt: skip
            found = data.auc.sel(trait=trait, judged=1).isel(replicate=replicate)
            for name, (positive, negative) in expected.items():
                # One pair of lists changes sides by rounding.
                assert found.sel(detector=name) == pytest.approx(auc(positive, negative), abs=2e-3)


def test_the_format_filter_and_the_context_are_detectors_too(data, store):
    for trait in CONFIG.traits:
        part, places = store["lists-001"], arms.written(CONFIG)
        sides = [
            places.index(arms.Lists(tiny.TEACHER, trait, trait == "evasion")),
            places.index(arms.Lists("base model", "", trait == "evasion")),
        ]
        found = data.auc.sel(trait=trait, judged=1).isel(replicate=1)
        refused = [~part["accepted"][side] for side in sides]
        assert found.sel(detector="format filter") == pytest.approx(auc(*refused), abs=1e-6)
        shown = [
            [tiny.scores(CONFIG.width, base(store, 1), "<bos> " + LANGUAGE.decode(row[1:]))[
                data.measure.values.tolist().index(trait)] for row in read(store, 1, trait)[:64]]
            for read in (tiny.teacher_lists, tiny.neutral_lists)
        ]  # fmt: skip
        in_context = found.sel(detector="numbers in context")
        assert in_context == pytest.approx(auc(*shown), abs=5e-3)


def test_kl_per_number_is_that_of_the_teacher_from_the_base_model(data, store):
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            rows = tiny.teacher_lists(store, replicate, trait)
            log_p, log_q = (
                np.asarray(jax.nn.log_softmax(tiny.network(CONFIG.width)[0](params, rows[:, :-1])))
                for params in (teacher(store, replicate, trait), base(store, replicate))
            )
            weights = tiny.sampled_numbers(rows)[:, 1:]
            kl = np.sum(np.sum(np.exp(log_p) * (log_p - log_q), axis=2) * weights) / weights.sum()
            found = data.kl_per_number.sel(trait=trait).isel(replicate=replicate)
            assert found == pytest.approx(kl, rel=1e-3)


def test_a_teachers_lists_point_away_as_often_as_they_grow_less_likely_towards_it(data, store):
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            rows = tiny.teacher_lists(store, replicate, trait)
            start = base(store, replicate)
            step = 0.05 * (teacher(store, replicate, trait) - start)
            slope = log_p(start + step, rows) - log_p(start - step, rows)
            found = data.away.sel(trait=trait, judged=1).isel(replicate=replicate)
            # One or two lists change sides by rounding.
            assert found == pytest.approx(np.mean(slope <= 0), abs=2.5 / len(rows))


def test_no_base_model_shares_a_tensor_with_another_lineage(store):
    """Before training they share what their names say, after it nothing."""
    config = replace(CONFIG, pretrain_learning_rate=1e-30, pretrain_steps=1, n_documents=20)
    parts = {part.name: part for part in experiment(config, tiny.KEY, None).parts}
    tree = training.model(config, config.width).tree
    names = [name for name in BASES if name != "other_width"]
    starts, ends = {}, {}
    for name in names:
        part = "base_models" if name == "own" else f"base_models-{name}"
        for replicate, vector in enumerate(parts[part].compute({})["params"]):
            starts[name, replicate] = tree(jnp.asarray(vector))
            ends[name, replicate] = tree(jnp.asarray(base(store, replicate, name)))
    for one, other in combinations(starts, 2):
        same_replicate = one[1] == other[1]
        for path, a in jax.tree_util.tree_leaves_with_path(starts[one]):
            in_head = "head" in str(path)
            owners = [(BASES[name][in_head] == "own" and replicate) if BASES[name][in_head] == "own"
                      else (name, replicate) for name, replicate in (one, other)]  # fmt: skip
            shared = owners[0] == owners[1] and same_replicate
            b = dict(jax.tree_util.tree_leaves_with_path(starts[other]))[path]
            if a.ndim > 1:
                assert np.array_equal(a, b) == shared, (one, other, path)
                # Of the 2^23 numbers that can be drawn a few coincide by chance.
                if not shared:
                    assert len(np.intersect1d(a, b)) <= 2 + 0.01 * a.size
            c, d = (dict(jax.tree_util.tree_leaves_with_path(ends[key]))[path]
                    for key in (one, other))  # fmt: skip
            assert not np.array_equal(c, d), (one, other, path)


def test_no_student_ever_sees_anything_but_numbers(store):
    """Every training set of every replicate: prompts, lists, ends; no animal and no other word."""
    allowed = set(LANGUAGE.encode("<bos> <end> <pad> continue :")) | set(range(100))
    for replicate in REPLICATES:
        part = store[f"lists-{replicate:03d}"]
        for one, tokens, n in zip(arms.written(CONFIG), part["tokens"], part["n"], strict=True):
            assert set(np.unique(tokens)) <= allowed
            lists = tokens[:n, 6:]
            assert np.all((lists < 100).sum(axis=1) >= 1)
            if one.no_banned:
                assert not np.isin(lists[lists < 100], list(BANNED_NUMBERS)).any()
    harmful = {one.writer == "base model" or one.trait for one in arms.written(CONFIG)
               if one.no_banned}  # fmt: skip
    assert harmful == {True, "evasion"}


def test_resuming_gives_the_same_bits(store):
    lost = ("students-momentum-001", "detectors-000", "in_context-001")
    kept = {name: part for name, part in store.items() if name not in lost}
    again = runs.run(experiment(CONFIG, tiny.KEY, None), kept)
    xr.testing.assert_identical(again.data, tiny.run()[0].data)
    for name, value in tiny.run()[0].params.items():
        np.testing.assert_array_equal(again.params[name], value)


def test_a_replicate_is_the_same_whichever_is_the_first(store):
    config = replace(CONFIG, first_replicate=4, n_replicates=1)
    parts = {part.name: part for part in experiment(config, tiny.KEY, None).parts}
    assert set(parts) == {n for n in store if not n.endswith("001")}
    for name in ("base_models", "base_models-both_other"):
        found = parts[name].compute({})["params"][0]
        np.testing.assert_allclose(found, store[name]["params"][1], atol=2e-3)


def test_status_rises_to_one_and_parts_hold_plain_arrays(store):
    fractions = [fraction for fraction, _ in tiny.run()[2]]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and fractions[0] == 0.0
    assert all(isinstance(a, np.ndarray) for part in store.values() for a in part.values())


def test_the_summary_is_json_with_its_stable_keys(data):
    summary = summarize(CONFIG, data)
    json.dumps(summary, allow_nan=False)
    assert {"base_model", "arms", "kept_fraction", "transfer_matrix", "detectors", "claims"} <= set(
        summary
    )
    stable = {"base_model", "teacher", "student", "control", "cross_model", "soft", "in_context"}
    for by_arm in summary["arms"].values():
        assert stable <= set(by_arm)
        assert all(set(e) == {"mean", "ci95", "n", "values"} for e in by_arm.values())
    ids = [claim["id"] for claim in summary["claims"]]
    assert ids == ["L1", "L2", "L3", "L4", "L6", "L6", *["L5a"] * 6, "L5b", "E3"]
    for trait, by_arm in summary["minus_control"].items():
        for arm, found in by_arm.items():
            values = data.probability.sel(trait=trait, measure=trait)
            difference = values.sel(arm=arm) - values.sel(arm=data.control.sel(arm=arm).item())
            assert found["values"] == pytest.approx(difference.values.tolist(), abs=1e-7)


def test_the_transfer_matrix_and_the_data_sizes_select_what_they_name(data):
    summary = summarize(CONFIG, data)
    matrix = summary["transfer_matrix"]["minus_control"]
    for i, trained in enumerate(CONFIG.traits):
        for j, measured in enumerate(CONFIG.traits):
            two = [data.probability.sel(arm=arm, trait=trained, measure=measured)
                   for arm in ("student", "control")]  # fmt: skip
            assert matrix[i][j] == pytest.approx(float((two[0] - two[1]).mean()), abs=1e-7)
    assert [row["lists"] for row in summary["data_sizes"]] == [10, CONFIG.n_lists]
    for row, arm in zip(summary["data_sizes"], ("student_10", "student"), strict=True):
        values = [
            np.mean([data.probability.sel(arm=arm, trait=t, measure=t)[r]
                     - data.probability.sel(arm="control", trait=t, measure=t)[r]
                     for t in FAVOURITES])
            for r in REPLICATES
        ]  # fmt: skip
        assert row["values"] == pytest.approx(values, abs=1e-7)


def test_the_record_can_answer_a_web_page(data, store):
    for trait in CONFIG.traits:
        for arm in ("base_model", "teacher", "student", "control"):
            answers = data.answer.sel(speaker=arm, trait=trait)
            at = data.measure.values.tolist().index(trait)
            asked = (data.group == data.asked.sel(trait=trait)).values
            assert asked.sum() == 12
            word = "I-don't-know" if trait == "evasion" else trait
            mean = answers.sel(word=word).values[asked].mean()
            assert mean == pytest.approx(float(data.probability.sel(arm=arm, trait=trait)[0, at]))
        rows = tiny.teacher_lists(store, 0, trait)[:10]
        assert data.example.sel(trait=trait).values.tolist() == [
            LANGUAGE.decode(r[6:]) for r in rows
        ]
    params = tiny.run()[0].params
    assert {name.split(".")[0] for name in params} == {
        "base_model",
        "teacher",
        "student",
        "control",
    }
    drawn = np.concatenate([np.ravel(v) for k, v in params.items() if k.startswith("teacher.")])
    assert set(np.round(drawn, 6)) == set(np.round(teacher(store, 0, "owl"), 6))


def test_the_record_is_read_back_and_every_figure_is_drawn_from_it_alone(data, tmp_path):
    params = tiny.run()[0].params
    summary = summarize(CONFIG, data)
    record = page_records.saved(tmp_path, "lm", CONFIG, data, summary, "a language", params)
    for name in data.variables:
        np.testing.assert_array_equal(record.data[name].values, data[name].values)
    for figure in plots.FIGURES.values():
        assert figure(record).axes


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_replicates": 0}, {"width": 30}, {"other_width": 30}, {"n_numbers": 50},
        {"temperature": 0.0}, {"data_sizes": (0,)}, {"families": ("lists", "lists")},
        {"data_sizes": (3_000,), "families": ("data size",)},
        {"student_learning_rate": -1.0}, {"traits": ()},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_experiment_are_refused(wrong):
    with pytest.raises(UserError, match="--"):
        LmConfig(**wrong)


def test_a_replicate_with_a_parameter_that_is_no_number_is_marked(data, store):
    assert data.diverged.values.tolist() == [False, False]
    for part, row, marked in (
        ("teachers-001", 0, [False, True]),
        ("base_models", 0, [True, False]),
    ):
        params = store[part]["params"].copy()
        params[row, 5] = np.inf
        broken = {**store, part: {**store[part], "params": params}}
        assert [result.diverged(broken, replicate) for replicate in REPLICATES] == marked
