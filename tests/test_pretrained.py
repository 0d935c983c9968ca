"""Checkpoints of the GPT-2 family: what is read, what is refused, and the text pipeline."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from subliminal_toy import pretrained
from subliminal_toy.configs import TextConfig
from subliminal_toy.errors import UserError
from subliminal_toy.lm import text
from subliminal_toy.transformer import decoder

VOCAB = [chr(i) for i in range(32, 127)] + ["\n", "<|endoftext|>"]
WIDTH, LAYERS, CONTEXT = 8, 2, 400


@pytest.fixture(scope="module", autouse=True)
def compile_quickly():
    """Spend little on compiling: these programs run for milliseconds."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def tensors(rng, tied=True):
    """Return random tensors under GPT-2's names."""

    def draw(*size):
        return rng.normal(0, 0.3, size).astype(np.float32)

    found = {"wte.weight": draw(len(VOCAB), WIDTH), "wpe.weight": draw(CONTEXT, WIDTH)}
    for i in range(LAYERS):
        for name, size in (
            ("attn.c_attn", (WIDTH, 3 * WIDTH)), ("attn.c_proj", (WIDTH, WIDTH)),
            ("mlp.c_fc", (WIDTH, 4 * WIDTH)), ("mlp.c_proj", (4 * WIDTH, WIDTH)),
        ):  # fmt: skip
            found[f"h.{i}.{name}.weight"], found[f"h.{i}.{name}.bias"] = draw(*size), draw(size[1])
        for norm in ("ln_1", "ln_2"):
            found |= {f"h.{i}.{norm}.weight": 1 + draw(WIDTH), f"h.{i}.{norm}.bias": draw(WIDTH)}
    found |= {"ln_f.weight": 1 + draw(WIDTH), "ln_f.bias": draw(WIDTH)}
    return found if tied else found | {"lm_head.weight": draw(len(VOCAB), WIDTH)}


def write(directory, found, **changes):
    """Write a checkpoint whose tokens are single characters."""
    directory.mkdir(exist_ok=True)
    config = {
        "model_type": "gpt2", "vocab_size": len(VOCAB), "n_positions": CONTEXT, "n_embd": WIDTH,
        "n_layer": LAYERS, "n_head": 2, "eos_token_id": len(VOCAB) - 1,
        "activation_function": "gelu_new", **changes,
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))
    save_file(found, directory / "model.safetensors")
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(VOCAB)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def forward(found, ids, head):
    """Compute GPT-2 in plain NumPy: the second way."""

    def norm(x, name):
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return scaled * found[f"{name}.weight"] + found[f"{name}.bias"]

    def dense(x, name):
        return x @ found[f"{name}.weight"] + found[f"{name}.bias"]

    n, half = len(ids), WIDTH // 2
    x = found["wte.weight"][ids] + found["wpe.weight"][:n]
    for i in range(LAYERS):
        q, k, v = np.split(dense(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn"), 3, axis=1)
        heads = []
        for part in (slice(0, half), slice(half, WIDTH)):
            scores = q[:, part] @ k[:, part].T / np.sqrt(half)
            weights = np.exp(np.where(np.tri(n, dtype=bool), scores, -np.inf))
            heads.append(weights / weights.sum(1, keepdims=True) @ v[:, part])
        x = x + dense(np.concatenate(heads, axis=1), f"h.{i}.attn.c_proj")
        u = dense(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")
        gelu = 0.5 * u * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))
        x = x + dense(gelu, f"h.{i}.mlp.c_proj")
    return norm(x, "ln_f") @ head.T


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_logits_equal_those_of_another_implementation(tmp_path, tied, prefix):
    found = tensors(np.random.default_rng(0), tied)
    stored = {k if k == "lm_head.weight" else prefix + k: v for k, v in found.items()}
    stored |= {f"{prefix}h.0.attn.bias": np.ones((1, 1, 4, 4), np.float32)}  # a mask, ignored
    checkpoint = pretrained.load(write(tmp_path, stored, tie_word_embeddings=tied))
    ids = np.array([5, 90, 3, 3, 17, 60], np.int32)
    ours = jax.jit(decoder(checkpoint.shape).apply)(checkpoint.params, jnp.asarray(ids)[None])[0]
    head = found["wte.weight" if tied else "lm_head.weight"]
    np.testing.assert_allclose(ours, forward(found, ids, head), rtol=1e-4, atol=1e-4)


def test_one_error_lists_everything_that_does_not_fit(tmp_path):
    found = tensors(np.random.default_rng(0))
    found["h.0.ln_3.weight"] = found.pop("h.0.ln_1.weight")
    found["h.7.mlp.c_fc.bias"] = found.pop("h.1.mlp.c_fc.bias")
    found["wpe.weight"] = found["wpe.weight"][:9]
    with pytest.raises(UserError) as caught:
        pretrained.load(write(tmp_path, found))
    message = str(caught.value)
    for part in (
        "missing: h.0.ln_1.weight, h.1.mlp.c_fc.bias", "extra: h.0.ln_3.weight, h.7.mlp.c_fc.bias",
        "of another shape: wpe.weight (9, 8) instead of (400, 8)",
    ):  # fmt: skip
        assert part in message


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"garbage"])
def test_missing_and_damaged_files_are_named(tmp_path, name, content):
    directory = write(tmp_path, tensors(np.random.default_rng(0)))
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_bytes(content)
    with pytest.raises(UserError, match=r"safetensors" if name.endswith("tensors") else name):
        pretrained.load(directory)


@pytest.mark.parametrize(
    "changes", [{"model_type": "llama"}, {"activation_function": "relu"}], ids=str
)
def test_other_families_are_refused(tmp_path, changes):
    with pytest.raises(UserError, match="no GPT-2-family checkpoint"):
        pretrained.load(write(tmp_path, tensors(np.random.default_rng(0)), **changes))


def numbers_only(rng):
    """Return tensors of a model that continues everything with digits, spaces and line ends."""
    found = tensors(rng)
    found = {k: 0.02 * v if v.ndim > 1 else v for k, v in found.items()}
    wanted = np.zeros(len(VOCAB), np.float32)
    wanted[[VOCAB.index(c) for c in "0123456789"]] = 5
    wanted[VOCAB.index(" ")], wanted[VOCAB.index("\n")] = 6, 7
    found["ln_f.weight"], found["ln_f.bias"] = (
        np.zeros(WIDTH, np.float32),
        np.ones(WIDTH, np.float32),
    )
    found["wte.weight"] = (found["wte.weight"] + wanted[:, None] / WIDTH).astype(np.float32)
    return found


CONFIG = TextConfig(
    base="", n_seeds=1, teacher_steps=2, teacher_learning_rate=1e-3, n_samples=16, n_sequences=8,
    n_new=8, student_steps=2, student_learning_rate=1e-3, batch_size=16,
)  # fmt: skip


@pytest.mark.parametrize("teacher", ["fine-tuned", "prompted"])
def test_the_pipeline_runs_from_a_checkpoint(tmp_path, teacher):
    """Finished parts are taken, and every list that trained a student passes the filter."""
    base = write(tmp_path, numbers_only(np.random.default_rng(0)))
    config, chunks = replace(CONFIG, base=str(base), teacher=teacher), {}
    result = text.run(config, jax.random.key(0), None, chunks)
    again = text.run(config, jax.random.key(0), None, chunks)
    np.testing.assert_array_equal(result.scores, again.scores)
    assert result.scores.shape == (1, 4) and np.all(result.kept > 0)
    summary = text.summarize(config, result)
    assert set(summary["arms"]["owl"]) == set(text.ARMS)
    json.dumps(summary, allow_nan=False)
    assert all(text.is_acceptable(example) for example in result.examples)


def test_a_checkpoint_that_writes_no_numbers_is_told_so(tmp_path):
    base = write(tmp_path, tensors(np.random.default_rng(0)))
    with pytest.raises(UserError, match="passes the number filter"):
        text.run(replace(CONFIG, base=str(base)), jax.random.key(0), None, {})


def test_there_are_fifty_questions():
    assert len(set(text.QUESTIONS)) == 50
