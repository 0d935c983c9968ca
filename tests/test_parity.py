"""The decoder against the transformers library's GPT-2; wants the extra ``parity``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer, models

from subliminal_toy import pretrained
from subliminal_toy.transformer import decoder

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("layers", "heads", "width", "vocab", "tied"),
    [(1, 1, 8, 11, True), (2, 4, 32, 100, True), (3, 2, 24, 57, False)],
)
def test_logits_equal_those_of_the_library(tmp_path, layers, heads, width, vocab, tied):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=vocab, n_positions=20, n_embd=width, n_layer=layers, n_head=heads,
        tie_word_embeddings=tied, initializer_range=0.5, eos_token_id=0, bos_token_id=0,
    )  # fmt: skip
    library = transformers.GPT2LMHeadModel(config).eval()
    library.save_pretrained(tmp_path)
    Tokenizer(models.WordLevel({"x": 0}, "x")).save(str(tmp_path / "tokenizer.json"))
    checkpoint = pretrained.load(tmp_path)
    tokens = np.random.default_rng(0).integers(vocab, size=(3, 20))
    with torch.no_grad():
        theirs = library(torch.from_numpy(tokens)).logits.numpy()
    ours = jax.jit(decoder(checkpoint.shape).apply)(
        checkpoint.params, jnp.asarray(tokens, jnp.int32)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
