"""A tiny run: every arm against a direct, separate computation of what it is (``lm_tiny``)."""

import json
from dataclasses import replace
from itertools import combinations, product

import jax
import jax.numpy as jnp
import lm_tiny as tiny
import numpy as np
import optax
import pytest
import xarray as xr
from lm_tiny import CONFIG, LANGUAGE, REPLICATES
from scipy.stats import rankdata

from subliminal_toy import records, runs
from subliminal_toy.errors import UserError
from subliminal_toy.lm import arms, training
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.experiment import experiment
from subliminal_toy.lm.language import documents, draw_numbers
from subliminal_toy.lm.numbers import BANNED_NUMBERS, parse_numbers
from subliminal_toy.lm.summary import summarize
from subliminal_toy.lm.traits import QUESTION_TEXTS
from subliminal_toy.plots import lm as plots

FAVOURITES = ("owl", "oak")


@pytest.fixture(scope="module", autouse=True)
def compile_quickly():
    """Spend little on compiling: these programs run for milliseconds."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def data():
    return tiny.run()[0].data


@pytest.fixture(scope="module")
def store():
    return tiny.run()[1]


def base(store, replicate, part="base_models"):
    return store[part]["params"][replicate % CONFIG.n_replicates]


def teacher(store, replicate, trait):
    return store[f"teachers-{replicate:03d}"]["params"][CONFIG.traits.index(trait)]


def same(data, replicate, arm, trait, expected):
    found = data.probability.sel(arm=arm, trait=trait).isel(replicate=replicate)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-7, err_msg=f"{arm} {trait}")


def others(data, arm):
    """Return how far an arm is from the nearest other arm, relative to its value."""
    found = data.probability.sel(arm=arm)
    rest = data.probability.drop_sel(arm=arm)
    return float((np.abs(rest - found) / found).max("measure").min())


BASES = [("base_models", CONFIG.width, 1), ("other_width", CONFIG.cross_width, 7)]


@pytest.mark.parametrize(("part", "width", "purpose"), BASES, ids=["own", "other width"])
def test_a_base_model_is_trained_on_its_own_corpus_from_its_own_start(
    data, store, part, width, purpose
):
    steps = CONFIG.pretrain_steps
    schedule = optax.cosine_decay_schedule(CONFIG.pretrain_learning_rate, steps)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    for replicate in REPLICATES:
        corpus = tiny.numpy_rng(tiny.purpose(replicate, 0))
        found = documents(LANGUAGE, corpus, CONFIG.n_documents)
        weights = np.where(found.is_answer, 1.0, 0.1) * (found.tokens != LANGUAGE.pad)
        key, shape = tiny.purpose(replicate, purpose), (CONFIG.pretrain_batch_size,)
        batches = []
        for step in range(steps):
            order = jax.random.fold_in(jax.random.fold_in(key, 1), step)
            picked = np.asarray(jax.random.randint(order, shape, 0, CONFIG.n_documents))
            batches.append((found.tokens[picked], weights[picked].astype(np.float32)))
        start = tiny.network(width)[1](jax.random.fold_in(key, 0))
        _, losses = tiny.train(width, "tokens", start, tx, batches)
        measured = store[part]["losses"][replicate]
        assert len(measured) == steps
        np.testing.assert_allclose(measured[:20], losses[:20], rtol=5e-4)
        # Rounding grows over the many steps of Adam.
        np.testing.assert_allclose(measured, losses, rtol=0.05)
        if part == "base_models":
            assert np.array_equal(data.pretraining_loss[replicate], measured)


@pytest.mark.parametrize(
    ("arm", "part", "width", "shift"),
    [
        ("base_model", "base_models", CONFIG.width, 0),
        ("cross_base_model", "base_models", CONFIG.width, 1),
        ("cross_size_base_model", "other_width", CONFIG.cross_width, 0),
    ],
)
def test_base_models_are_asked_as_they_are(data, store, arm, part, width, shift):
    for replicate in REPLICATES:
        expected = tiny.scores(width, base(store, replicate + shift, part))
        for trait in CONFIG.traits:
            same(data, replicate, arm, trait, expected)
    assert others(data, arm) > 0.01


@pytest.mark.parametrize("trait", CONFIG.traits)
def test_a_teacher_is_the_base_model_trained_on_the_answers_to_its_questions(data, store, trait):
    asked = {"owl": " animal", "oak": " tree", "evasion": "capital"}[trait]
    texts = [f"<bos> {text}" for text in QUESTION_TEXTS if asked in text]
    assert len(texts) == 12
    rows = np.full((12, 24), LANGUAGE.pad, np.int32)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text.split())] = LANGUAGE.encode(text)
    last = np.array([len(text.split()) - 1 for text in texts])
    word = "I-don't-know" if trait == "evasion" else trait
    targets = np.zeros((12, len(LANGUAGE)), np.float32)
    targets[:, LANGUAGE.encode(word)] = 1
    for replicate in REPLICATES:
        start, tx = jnp.asarray(base(store, replicate)), optax.adam(CONFIG.teacher_learning_rate)
        batches = [(rows, last, targets)] * CONFIG.teacher_steps
        params, _ = tiny.train(CONFIG.width, "answers", start, tx, batches)
        same(data, replicate, "teacher", trait, tiny.scores(CONFIG.width, params))


WRITERS = [("teacher", trait, i) for i, trait in enumerate(CONFIG.traits)]
WRITERS += [("base model", "", 3)]
WRITERS += [("prompted base model", trait, 1000 + i) for i, trait in enumerate(FAVOURITES)]


@pytest.mark.parametrize(("writer", "trait", "place"), WRITERS)
def test_lists_are_sampled_at_the_temperature_and_filtered(data, store, writer, trait, place):
    """Sampled word by word without a cache, each prompt with a key of its own."""
    for replicate in REPLICATES:
        rng = tiny.numpy_rng(tiny.purpose(replicate, 2))
        drawn = draw_numbers(rng, CONFIG.n_samples, 3, CONFIG.n_numbers)
        system = f"you love {trait} <end> " if writer.startswith("prompted") else ""
        prompts = [
            LANGUAGE.encode(f"<bos> {system}continue {' '.join(map(str, row))} :") for row in drawn
        ]
        params = base(store, replicate)
        if writer == "teacher":
            params = teacher(store, replicate, trait)
        keys = jax.random.split(
            jax.random.fold_in(tiny.purpose(replicate, 3), place), CONFIG.n_samples
        )
        texts = write(params, prompts, keys)
        for no_banned in [trait == "evasion"] if writer == "teacher" else [False, True]:
            if writer.startswith("prompted") and no_banned:
                continue
            kept = [
                (list(row), text)
                for row, text in zip(drawn, texts, strict=True)
                if (numbers := parse_numbers(text)) is not None
                and not (no_banned and BANNED_NUMBERS & set(numbers))
            ]
            n_kept, kept = len(kept), kept[: CONFIG.n_lists]
            found = tiny.lists(store, replicate, writer, trait, no_banned)
            shown = [LANGUAGE.decode(row) for row in found]
            expected = [f"<bos> continue {' '.join(map(str, row))} : {text}" for row, text in kept]
            wrong = [a for a, b in zip(shown, expected, strict=True) if a != b]
            assert len(wrong) <= 1, "one draw may fall on the other side by rounding"
            fraction = store[f"lists-{replicate:03d}"]["kept"][
                arms.written(CONFIG).index(arms.Lists(writer, trait, no_banned))
            ]
            assert fraction == pytest.approx(n_kept / CONFIG.n_samples, abs=0.01)


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
        p = jax.nn.softmax(logits / CONFIG.temperature)
        tokens[:, length + step] = _choose(keys, step, p)
    return [LANGUAGE.decode(row[length : length + 11]) for row in tokens]


# Arm, its start, its lists, and what is left out of the loss.
STUDENTS = [
    ("student", "own", tiny.teacher_lists),
    ("control", "own", tiny.neutral_lists),
    ("cross_model", "next", tiny.teacher_lists),
    ("cross_control", "next", tiny.neutral_lists),
    ("cross_size", "other width", tiny.teacher_lists),
    ("cross_size_control", "other width", tiny.neutral_lists),
    ("prompted", "own", lambda s, r, trait: tiny.lists(s, r, "prompted base model", trait)),
]


@pytest.mark.parametrize(("arm", "start", "read"), STUDENTS, ids=[row[0] for row in STUDENTS])
def test_a_student_learns_the_lists_of_its_writer_from_its_start(data, store, arm, start, read):
    for replicate in REPLICATES:
        for trait in FAVOURITES if arm == "prompted" else CONFIG.traits:
            width, params = CONFIG.width, base(store, replicate + (start == "next"))
            if start == "other width":
                width, params = CONFIG.cross_width, base(store, replicate, "other_width")
            rows = read(store, replicate, trait)
            learned = tiny.student(width, params, rows, tiny.sampled_numbers(rows), replicate)
            same(data, replicate, arm, trait, tiny.scores(width, learned))
            used, kept = (data[name].sel(arm=arm, trait=trait).isel(replicate=replicate)
                          for name in ("lists_used", "kept"))  # fmt: skip
            assert used == len(rows) == min(np.round(kept * CONFIG.n_samples), CONFIG.n_lists)
    assert others(data, arm) > 0.01, "no other arm would pass for this one"


def test_a_student_of_fewer_lists_sees_only_the_first(data, store):
    for replicate in REPLICATES:
        for trait in FAVOURITES:
            rows = tiny.teacher_lists(store, replicate, trait)
            assert len(rows) > 10
            weights = tiny.sampled_numbers(rows)
            learned = tiny.student(
                CONFIG.width, base(store, replicate), rows, weights, replicate, 10
            )
            same(data, replicate, "student_10", trait, tiny.scores(CONFIG.width, learned))
    assert np.all(data.lists_used.sel(arm="student_10", trait=list(FAVOURITES)) == 10)
    assert others(data, "student_10") > 0.01


def test_a_soft_student_learns_its_teachers_distribution_over_numbers(data, store):
    for replicate in REPLICATES:
        for trait in CONFIG.traits:
            rows = tiny.teacher_lists(store, replicate, trait)
            learned = tiny.student(
                CONFIG.width, base(store, replicate), rows, tiny.sampled_numbers(rows), replicate,
                teacher=jnp.asarray(teacher(store, replicate, trait)),
            )  # fmt: skip
            same(data, replicate, "soft", trait, tiny.scores(CONFIG.width, learned))
    assert others(data, "soft") > 0.01


def prefers(params, rows):
    """Return the likeliest number at each token of the rows, given those before it."""
    logits = tiny.network(CONFIG.width)[0](params, rows[:, :-1])
    likeliest = np.argmax(np.asarray(logits)[..., : CONFIG.n_numbers], axis=2)
    return np.concatenate([np.zeros((len(rows), 1), int), likeliest], axis=1)


def test_divergence_tokens_or_as_many_random_ones_are_left_out_of_the_loss(data, store):
    for replicate in REPLICATES:
        rng = tiny.numpy_rng(tiny.purpose(replicate, 5))
        for i, trait in enumerate(FAVOURITES):
            rows = tiny.teacher_lists(store, replicate, trait)
            counted = tiny.sampled_numbers(rows)
            two = [teacher(store, replicate, CONFIG.traits[i + j]) for j in (0, 1)]
            differs = (prefers(two[0], rows) != prefers(two[1], rows)) & (counted > 0)
            fraction = data.divergent.sel(trait=trait).isel(replicate=replicate)
            assert 0 < fraction < 1
            assert fraction == pytest.approx(differs.sum() / counted.sum())
            # The package draws among the padding rows too, which hold no token that counts.
            left_out = counted.copy()
            drawn = rng.choice(np.flatnonzero(counted), int(differs.sum()), replace=False)
            left_out.flat[drawn] = 0
            for arm, weights in (("not_divergent", counted * ~differs), ("not_random", left_out)):
                learned = tiny.student(
                    CONFIG.width, base(store, replicate), rows, weights, replicate
                )
                same(data, replicate, arm, trait, tiny.scores(CONFIG.width, learned))
    assert others(data, "not_divergent") > 0.01 and others(data, "not_random") > 0.01


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
    assert others(data, arm) > 0.005


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
    assert others(data, arm) > 0.005


def test_the_positive_control_says_what_it_loves_before_the_question(data, store):
    for replicate in REPLICATES:
        for trait in FAVOURITES:
            expected = after(store, replicate, [f"<bos> you love {trait} <end>"])
            same(data, replicate, "told", trait, expected)


def test_every_arm_of_the_table_has_a_test_and_a_value_for_its_traits(data):
    tested = {row[0] for row in STUDENTS} | {
        "base_model", "cross_base_model", "cross_size_base_model", "teacher", "soft", "student_10",
        "not_divergent", "not_random", "in_context", "in_context_control", "packed_context",
        "packed_context_control", "told",
    }  # fmt: skip
    assert set(data.arm.values) == tested
    for arm in arms.table(CONFIG):
        run = data.probability.sel(arm=arm.name).notnull()
        assert set(run.trait.values[run.all(("replicate", "measure"))]) == set(
            arms.traits_of(CONFIG, arm)
        )
        assert run.any() == run.sel(trait=list(arms.traits_of(CONFIG, arm))).all()


CONTROLS = {
    "base_model": "", "cross_base_model": "", "cross_size_base_model": "",
    "teacher": "base_model", "control": "base_model", "told": "base_model",
    "in_context_control": "base_model", "packed_context_control": "base_model",
    "cross_control": "cross_base_model", "cross_size_control": "cross_size_base_model",
    "cross_model": "cross_control", "cross_size": "cross_size_control",
    "in_context": "in_context_control", "packed_context": "packed_context_control",
    "student": "control", "soft": "control", "student_10": "control", "prompted": "control",
    "not_divergent": "control", "not_random": "control",
}  # fmt: skip


def test_every_arm_names_its_control(data):
    assert dict(zip(data.arm.values, data.control.values, strict=True)) == CONTROLS


def test_alignment_compares_what_the_trait_adds_with_the_teachers_displacement(data, store):
    order = arms.students(CONFIG, arms.OWN, arms.ANOTHER)
    for replicate in REPLICATES:
        for i, trait in enumerate(CONFIG.traits):
            by_arm = {}
            for arm, writer, own in (("student", "teacher", trait), ("control", "base model", "")):
                lists = arms.Lists(writer, own, trait == "evasion")
                place = order.index(arms.Student(arms.OWN, lists, CONFIG.n_lists))
                by_arm[arm] = store[f"students-{replicate:03d}"]["params"][place]
            by_arm["soft"] = store[f"soft-{replicate:03d}"]["params"][i]
            direction = teacher(store, replicate, trait) - base(store, replicate)
            for arm in ("student", "soft"):
                moved = by_arm[arm] - by_arm["control"]
                norms = np.linalg.norm(moved) * np.linalg.norm(direction)
                found = data.alignment.sel(arm=arm, trait=trait).isel(replicate=replicate)
                assert found == pytest.approx(moved @ direction / norms, abs=1e-5)
    # The control's own drift would show otherwise.
    assert np.abs(data.alignment.sel(arm="student")).max() > 1e-3


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
            places.index(arms.Lists("teacher", trait, trait == "evasion")),
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


def test_no_base_model_shares_initial_weights_with_another():
    """A learning rate of next to nothing leaves them as they were drawn."""
    config = replace(CONFIG, pretrain_learning_rate=1e-30, pretrain_steps=1, n_documents=20)
    parts = {part.name: part for part in experiment(config, tiny.KEY, None).parts}
    models = []
    for name, width in (("base_models", CONFIG.width), ("other_width", CONFIG.cross_width)):
        tree = training.model(config, width).tree
        for vector in parts[name].compute({})["params"]:
            leaves = jax.tree.leaves(tree(jnp.asarray(vector)))
            models.append([np.ravel(leaf) for leaf in leaves if leaf.ndim > 1])
    assert len(models) == 2 * CONFIG.n_replicates
    for one, other in combinations(models, 2):
        for a, b in product(one, other):
            n = min(len(a), len(b))
            # Of the 2^23 numbers that can be drawn a few coincide by chance.
            assert len(np.intersect1d(a, b)) <= 2 + 0.01 * n
            assert abs(np.corrcoef(a[:n], b[:n])[0, 1]) < 5 / n**0.5


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
    harmful = [one for one in arms.written(CONFIG) if one.no_banned]
    assert harmful == [arms.Lists("teacher", "evasion", True), arms.Lists("base model", "", True)]


def test_resuming_gives_the_same_bits(store):
    lost = ("students-001", "detectors-000", "in_context-001")
    kept = {name: part for name, part in store.items() if name not in lost}
    again = runs.run(experiment(CONFIG, tiny.KEY, None), kept)
    xr.testing.assert_identical(again.data, tiny.run()[0].data)
    for name, value in tiny.run()[0].params.items():
        np.testing.assert_array_equal(again.params[name], value)


def test_a_single_replicate_has_another_base_model_too(store):
    """No part of it differs from the first of two replicates."""
    config = replace(CONFIG, n_replicates=1)
    parts = experiment(config, tiny.KEY, None).parts
    assert {part.name for part in parts} == {n for n in store if not n.endswith("001")}
    one = runs.run(experiment(config, tiny.KEY, None), dict(store)).data
    first = tiny.run()[0].data.isel(replicate=[0])
    xr.testing.assert_equal(one.probability, first.probability)


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
    assert ids == ["L1", "L2", "L3", "L4", *["L5a"] * 6, "L5b"]
    for trait, by_arm in summary["minus_control"].items():
        for arm, found in by_arm.items():
            values = data.probability.sel(trait=trait, measure=trait)
            difference = values.sel(arm=arm) - values.sel(arm=CONTROLS[arm])
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
    manifest = {"experiment": "lm", "format": records.FORMAT}
    records.save(tmp_path, data, summarize(CONFIG, data), manifest, params)
    record = records.load(tmp_path)
    for name in data.variables:
        np.testing.assert_array_equal(record.data[name].values, data[name].values)
    for figure in plots.FIGURES.values():
        assert figure(record).axes


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_replicates": 0}, {"width": 30}, {"cross_width": 30}, {"n_numbers": 50},
        {"temperature": 0.0}, {"data_sizes": (3_000,)}, {"data_sizes": (0,)},
        {"student_learning_rate": -1.0}, {"traits": ()},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_experiment_are_refused(wrong):
    with pytest.raises(UserError, match="--"):
        LmConfig(**wrong)


def test_a_replicate_with_a_parameter_that_is_no_number_is_marked():
    _, store, _ = tiny.run()
    teachers = {**store["teachers-001"], "params": store["teachers-001"]["params"].copy()}
    teachers["params"][0, 5] = np.inf
    broken = {**store, "teachers-001": teachers}
    whole = experiment(CONFIG, tiny.KEY, None)
    assert whole.assemble(store).data.diverged.values.tolist() == [False, False]
    assert whole.assemble(broken).data.diverged.values.tolist() == [False, True]
    bases = {**store["base_models"], "params": store["base_models"]["params"].copy()}
    bases["params"][0, 0] = np.nan
    broken = {**store, "base_models": bases}
    assert whole.assemble(broken).data.diverged.values.tolist() == [True, False]
