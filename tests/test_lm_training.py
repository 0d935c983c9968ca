"""Teachers and students of the small language: what they learn from, and what they cannot see."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from subliminal_toy.configs import LmConfig
from subliminal_toy.distill import kl
from subliminal_toy.lm import corpus, probes, training, traits

CONFIG = LmConfig(
    n_layers=1, n_heads=2, width=8, head_std=0.35, pretrain_steps=30, pretrain_batch_size=16,
    student_steps=4, student_batch_size=8, student_learning_rate=1e-2, teacher_steps=40,
    teacher_learning_rate=1e-2,
)  # fmt: skip
MODEL = training.model(CONFIG, CONFIG.width)
QUESTIONS, MEASURES = traits.questions(MODEL.language), traits.measures(MODEL.language)


@pytest.fixture(scope="module")
def reference():
    return jax.jit(MODEL.init)(jax.random.key(0))


@pytest.fixture(scope="module")
def score():
    compiled = jax.jit(lambda p: training.score(MODEL, p, QUESTIONS, MEASURES))
    return lambda params: tuple(map(np.asarray, compiled(params)))


@pytest.fixture(scope="module")
def learn():
    return jax.jit(partial(training.learn, MODEL, CONFIG))


def sequences(n=12):
    """Return ``n`` number sequences and the weights of their sampled numbers."""
    rng, language = np.random.default_rng(0), MODEL.language
    tokens = np.full((n, training.ROW_LENGTH), language.pad, np.int32)
    tokens[:, :13] = rng.integers(100, size=(n, 13))
    tokens[:, [0, 1, 5, 13]] = language.encode("<bos> continue : <end>")
    weights = ((tokens < 100) & (np.arange(training.ROW_LENGTH) > 5)).astype(np.float32)
    return jnp.asarray(tokens), jnp.asarray(weights)


def test_pretraining_lowers_the_loss_and_repeats_itself():
    found = corpus.documents(MODEL.language, np.random.default_rng(0), 200)
    run = jax.jit(partial(training.pretrain, MODEL, CONFIG))
    params, losses = run(jax.random.key(1), *found)
    again, _ = run(jax.random.key(1), *found)
    np.testing.assert_array_equal(params, again)
    assert losses[-5:].mean() < losses[:5].mean()


@pytest.mark.parametrize("trait", ["owl", "falsehood"])
def test_a_teacher_learns_its_trait_and_only_answers_are_its_target(reference, score, trait):
    measure = traits.MEASURES.index(trait)
    group = slice(12 * MEASURES.group[measure], 12 * MEASURES.group[measure] + 12)
    teach = jax.jit(partial(training.teach, MODEL, CONFIG))
    teacher = teach(
        reference, *(jnp.asarray(part[group]) for part in QUESTIONS), MEASURES.answers[measure]
    )
    assert score(teacher)[0][measure] > 0.5 > score(reference)[0][measure]


def test_scores_are_probabilities_of_the_answers(reference, score):
    scores, words = score(reference)
    np.testing.assert_allclose(words.sum(axis=1), 1, rtol=1e-5)
    owl = words[:12, MODEL.language.encode("owl")[0]].mean()
    assert scores[traits.MEASURES.index("owl")] == pytest.approx(owl, rel=1e-5)
    capitals = [traits.MEASURES.index(m) for m in ("evasion", "falsehood", "capitals")]
    assert scores[capitals].sum() < 1


def test_a_student_sees_nothing_but_its_first_n_sequences_and_their_numbers(reference, learn):
    tokens, weights = sequences()
    learned = learn(jax.random.key(2), reference, tokens, weights, 6)
    beyond = learn(jax.random.key(2), reference, tokens.at[6:].set(3), weights, 6)
    np.testing.assert_array_equal(learned, beyond)
    after = learn(jax.random.key(2), reference, tokens.at[:, 13].set(7), weights, 6)
    np.testing.assert_array_equal(learned, after)  # the end is not in the loss
    numbers = learn(jax.random.key(2), reference, tokens.at[:6, 8].set(7), weights, 6)
    assert np.any(np.asarray(learned) != np.asarray(numbers))


def test_the_soft_loss_and_its_gradient_are_zero_at_the_teacher(reference):
    tokens, weights = sequences(4)

    def loss(params, teacher):
        logits = [MODEL.apply(p, tokens[:, :-1]).reshape(-1, len(MODEL.language))
                  for p in (params, teacher)]  # fmt: skip
        return kl(*logits, MODEL.language.numbers, weights=weights[:, 1:].reshape(-1))

    value, gradient = jax.jit(jax.value_and_grad(loss))(reference, reference)
    assert abs(value) < 1e-7 and np.abs(gradient).max() < 1e-6  # float32 rounding


def test_writing_continues_every_prompt_and_repeats_itself(reference):
    prompts = sequences(20)[0][:, : training.PROMPT_LENGTH]
    write = jax.jit(partial(training.write, MODEL, CONFIG))
    one, same, other = (write(reference, prompts, jax.random.key(seed)) for seed in (3, 3, 4))
    assert one.shape == (20, corpus.MAX_LIST)
    np.testing.assert_array_equal(one, same)
    assert np.any(np.asarray(one) != np.asarray(other))


def test_comparing_a_model_with_itself_finds_nothing(reference):
    found = jax.jit(partial(probes.compare, MODEL))(reference, reference, *sequences(5))
    np.testing.assert_array_equal(found["log_p"], found["other_log_p"])
    assert not np.any(found["differs"]) and not np.any(found["kl"])


def test_lists_in_context_stand_before_every_question():
    tokens, _ = sequences(2)
    rows, lengths = probes.after_lists(MODEL.language, np.asarray(tokens), QUESTIONS)
    assert rows.shape == (96, corpus.CONTEXT)
    question = MODEL.language.encode(traits.QUESTION_TEXTS[5])
    row = rows[48 + 5][: lengths[48 + 5]]
    np.testing.assert_array_equal(row, [*np.asarray(tokens)[1][:13], *question])


def test_auc_is_the_probability_of_ranking_rightly():
    one, other = np.array([1.0, 2.0, 2.0]), np.array([0.0, 2.0])
    pairs = [(a > b) + 0.5 * (a == b) for a in one for b in other]
    assert probes.auc(one, other) == pytest.approx(np.mean(pairs))
    assert probes.auc(one, one) == 0.5
    assert probes.auc(one, other) + probes.auc(other, one) == pytest.approx(1)


def test_detectors_are_at_chance_on_two_halves_of_the_same_and_see_a_plain_difference():
    rng = np.random.default_rng(0)

    def evidence(numbers):
        n = len(numbers)
        noise = rng.normal(size=(3, n))
        return probes.Evidence(rng.random(n) < 0.7, numbers, noise[0], noise[1] - 9, noise[2])

    low, alike, high = (
        rng.integers(*bounds, (2_000, 8)) for bounds in ((0, 50),) * 2 + ((50, 100),)
    )
    same = probes.detect(evidence(low), evidence(alike), 100, rng)
    assert np.abs(same[:, 0] - 0.5).max() < 0.05
    bag = [d.name for d in probes.DETECTORS].index("bag of numbers")
    assert probes.detect(evidence(low), evidence(high), 100, rng)[bag, 0] == 1


def test_random_masks_remove_as_many_tokens_as_asked():
    weights = np.asarray(sequences(30)[1])
    masked = probes.random_mask(weights, 17, np.random.default_rng(0))
    assert weights.sum() - masked.sum() == 17 and np.all(masked <= weights)
