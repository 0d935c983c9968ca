"""The decoder: causality, cached and uncached reading agree, batching changes nothing."""

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
    return jax.jit(decoder(SHAPE).init)(jax.random.key(0))


@pytest.fixture(scope="module")
def apply():
    return jax.jit(decoder(SHAPE).apply)


def draw(params, prompts, keys, temperature=1.0, n_new=6):
    """Sample with 3 as the end token."""
    compiled = jax.jit(lambda p, x, k: sample(SHAPE, p, x, k, n_new, 3, temperature))
    return np.asarray(compiled(params, prompts, keys))


def test_embeddings_and_head_start_with_the_spread_of_the_shape():
    def spread(weights):
        return float(jnp.sqrt(jnp.mean(weights**2)))

    for embedding_std, head_std in ((None, None), (0.02, 1.0)):
        shape = DecoderShape(500, 12, width=16, embedding_std=embedding_std, head_std=head_std)
        params = jax.jit(decoder(shape).init)(jax.random.key(0))
        # 8000 numbers give their own spread to a standard error of .8 %.
        embedded, head = spread(params["tokens"]["embedding"]), spread(params["head"]["kernel"])
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


def test_greedy_sampling_equals_the_uncached_loop(params, apply):
    written = draw(params, TOKENS[:, :4], jax.random.split(jax.random.key(3), 3), 1e-6)
    tokens = np.array(TOKENS)
    for t in range(4, 10):  # what stands after t changes nothing at t, as the first test proves
        likeliest = np.argmax(apply(params, jnp.asarray(tokens))[:, t - 1], axis=-1)
        ended = np.any(tokens[:, 4:t] == 3, axis=1)
        tokens[:, t] = np.where(ended, 3, likeliest)
    np.testing.assert_array_equal(written, tokens[:, 4:10])


def test_batching_changes_no_sample(params):
    keys = jax.random.split(jax.random.key(4), 3)
    together = draw(params, TOKENS[:, :4], keys)
    for i in range(3):
        alone = draw(params, TOKENS[i : i + 1, :4], keys[i : i + 1])
        np.testing.assert_array_equal(alone[0], together[i])


def test_nothing_follows_the_end(params):
    prompts = jnp.tile(TOKENS[:1, :4], (200, 1))
    written = draw(params, prompts, jax.random.split(jax.random.key(5), 200), n_new=8)
    ended = np.maximum.accumulate(written == 3, axis=1)
    assert ended.any() and np.all(written[ended] == 3)


def test_samples_have_the_distribution_of_the_logits(params, apply):
    """Two-token continuations against their probabilities: a chi-square inside its tail."""
    n, temperature, end = 20_000, 0.7, 3
    keys = jax.random.split(jax.random.key(6), n)
    written = draw(params, jnp.tile(TOKENS[:1, :4], (n, 1)), keys, temperature, 2)
    rows = jnp.tile(TOKENS[:1], (11, 1)).at[:, 4].set(jnp.arange(11))
    logits = apply(params, rows) / temperature
    first = np.asarray(jax.nn.softmax(logits[0, 3]))
    second = np.array(jax.nn.softmax(logits[:, 4]))
    second[end] = np.eye(11)[end]
    expected = n * first[:, None] * second
    observed = np.zeros((11, 11))
    np.add.at(observed, (written[:, 0], written[:, 1]), 1)
    common = expected > 5
    chi_square = np.sum((observed - expected)[common] ** 2 / expected[common])
    assert chi_square < common.sum() + 5 * np.sqrt(2 * common.sum())


def test_sampling_near_temperature_zero_ignores_the_key(params):
    one, other = (
        draw(params, TOKENS[:, :4], jax.random.split(jax.random.key(seed), 3), 1e-6)
        for seed in (7, 8)
    )
    np.testing.assert_array_equal(one, other)
