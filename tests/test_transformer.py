"""The decoder: causality, cached and uncached reading agree, batching changes nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from subliminal_toy.transformer import DecoderShape, decoder, empty_cache, read, sample

pytestmark = pytest.mark.usefixtures("compile_quickly")

SHAPE = DecoderShape(vocab_size=11, context=12, n_layers=2, n_heads=2, width=8)
TOKENS = jax.random.randint(jax.random.key(1), (3, 12), 0, 11)


@pytest.fixture(scope="module")
def params():
    rng, shapes = np.random.default_rng(0), jax.eval_shape(decoder(SHAPE).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), "f4"), shapes)


@pytest.fixture(scope="module")
def apply():
    return jax.jit(decoder(SHAPE).apply)


@jax.jit
def draw(params, prompts, keys, temperature):
    """Sample six tokens with 3 as the end token."""
    return sample(SHAPE, params, prompts, keys, 6, 3, temperature)


@pytest.fixture(scope="module")
def many(params):
    """20,000 continuations of one prompt, and their keys."""
    keys = jax.random.split(jax.random.key(6), 20_000)
    prompts = jnp.tile(TOKENS[:1, :4], (20_000, 1))
    return np.asarray(draw(params, prompts, jax.random.clone(keys), 0.7)), keys


def embeddings_and_head(shape, key):
    made = decoder(shape).init(key)
    return {name: made[name] for name in ("tokens", "head")}


def test_embeddings_and_head_start_with_the_spread_of_the_shape():
    def spread(weights):
        return float(jnp.sqrt(jnp.mean(weights**2)))

    for embedding_std, head_std in ((None, None), (0.02, 1.0)):
        shape = DecoderShape(500, 12, width=16, embedding_std=embedding_std, head_std=head_std)
        made = jax.jit(partial(embeddings_and_head, shape))(jax.random.key(0))
        # 8000 numbers give their own spread to a standard error of .8 %.
        embedded, head = spread(made["tokens"]["embedding"]), spread(made["head"]["kernel"])
        assert embedded == pytest.approx(embedding_std or 16**-0.5, rel=0.04)
        assert head == pytest.approx(head_std or 16**-0.5, rel=0.04)


def test_no_position_depends_on_a_later_token(params):
    """Gradients of the logits at t by the embedding of each token are zero exactly beyond t."""
    distinct = jnp.arange(11)[None]

    @jax.jit
    def sensitivity(embedding, t):
        def logits_at(embedding):
            changed = {**params, "tokens": {"embedding": embedding}}
            return jnp.sum(decoder(SHAPE).apply(changed, distinct)[0, t] ** 2)

        return jnp.abs(jax.grad(logits_at)(embedding)).sum(axis=1)

    for t in (0, 4, 10):
        seen = np.asarray(sensitivity(params["tokens"]["embedding"], t))
        assert np.all(seen[: t + 1] > 0) and np.all(seen[t + 1 :] == 0)


def test_reading_token_by_token_equals_reading_at_once(params, apply):
    @jax.jit
    def one_by_one(params):
        def step(cache, t):
            token = jax.lax.dynamic_slice_in_dim(TOKENS, t, 1, axis=1)
            logits, cache = read(SHAPE, params, token, cache, t)
            return cache, logits[:, 0]

        return jax.lax.scan(step, empty_cache(SHAPE, 3, 12), jnp.arange(12))[1]

    at_once = apply(params, TOKENS)
    np.testing.assert_allclose(one_by_one(params).swapaxes(0, 1), at_once, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", [3, 7])
def test_sampling_near_temperature_zero_is_the_greedy_uncached_loop(params, apply, seed):
    written = draw(params, TOKENS[:, :4], jax.random.split(jax.random.key(seed), 3), 1e-6)
    tokens = np.array(TOKENS)
    for t in range(4, 10):  # what stands after t changes nothing at t, as the first test proves
        likeliest = np.argmax(apply(params, jnp.asarray(tokens))[:, t - 1], axis=-1)
        ended = np.any(tokens[:, 4:t] == 3, axis=1)
        tokens[:, t] = np.where(ended, 3, likeliest)
    np.testing.assert_array_equal(written, tokens[:, 4:10])


def test_a_sample_depends_on_no_other_of_its_batch(params, many):
    written, keys = many
    alone = draw(params, jnp.tile(TOKENS[:1, :4], (3, 1)), keys[5:8], 0.7)
    np.testing.assert_array_equal(alone, written[5:8])


def test_nothing_follows_the_end(many):
    ended = np.maximum.accumulate(many[0] == 3, axis=1)
    assert ended[:, 0].any() and not ended.all() and np.all(many[0][ended] == 3)


def test_samples_have_the_distribution_of_the_logits(params, apply, many):
    """The first two tokens against their probabilities: a chi-square inside its tail."""
    written, end = many[0], 3
    rows = jnp.tile(TOKENS[:1], (11, 1)).at[:, 4].set(jnp.arange(11))
    logits = apply(params, rows) / 0.7
    first = np.asarray(jax.nn.softmax(logits[0, 3]))
    second = np.array(jax.nn.softmax(logits[:, 4]))
    second[end] = np.eye(11)[end]
    expected = len(written) * first[:, None] * second
    observed = np.zeros((11, 11))
    np.add.at(observed, (written[:, 0], written[:, 1]), 1)
    common = expected > 5
    chi_square = np.sum((observed - expected)[common] ** 2 / expected[common])
    assert chi_square < common.sum() + 5 * np.sqrt(2 * common.sum())
