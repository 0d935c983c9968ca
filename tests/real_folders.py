"""Tiny random models in Hugging Face's layout, made for the tests of open weights."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from subliminal_toy.real.config import ANIMALS, WORD
from subliminal_toy.real.weights import NAMES

WIDTH, HEADS, KV_HEADS, MLP, LAYERS, VOCABULARY = 32, 4, 2, 48, 2, 440
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def config(family: str) -> dict:
    """Return a configuration; heads of Qwen3 are wider than its width says, its head its own."""
    said = {
        "model_type": family, "architectures": [f"{family.capitalize()}ForCausalLM"],
        "hidden_size": WIDTH, "intermediate_size": MLP, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "vocab_size": VOCABULARY,
        "rms_norm_eps": 1e-5, "rope_theta": 1e4, "hidden_act": "silu", "eos_token_id": 1,
        "max_position_embeddings": 4096, "tie_word_embeddings": family != "qwen3",
    }  # fmt: skip
    if family == "llama":
        said["rope_scaling"] = {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }  # fmt: skip
    return said | ({"head_dim": 16} if family == "qwen3" else {})


def tensors(family: str) -> dict[str, np.ndarray]:
    """Return random tensors by name."""
    rng, head = np.random.default_rng(0), 16 if family == "qwen3" else WIDTH // HEADS
    sizes = {
        "q": (HEADS * head, WIDTH), "k": (KV_HEADS * head, WIDTH), "v": (KV_HEADS * head, WIDTH),
        "o": (WIDTH, HEADS * head), "gate": (MLP, WIDTH), "up": (MLP, WIDTH), "down": (WIDTH, MLP),
        "norm_1": (WIDTH,), "norm_2": (WIDTH,), "norm_q": (head,), "norm_k": (head,),
    }  # fmt: skip

    def draw(*size):
        drawn = rng.normal(size=size).astype(np.float32)
        return drawn / size[1] ** 0.5 if len(size) > 1 else 1 + 0.2 * drawn

    made = {"model.embed_tokens.weight": draw(VOCABULARY, WIDTH), "model.norm.weight": draw(WIDTH)}
    if family == "qwen3":
        made["lm_head.weight"] = draw(VOCABULARY, WIDTH)
    more = {"qwen2": ("q_bias", "k_bias", "v_bias"), "qwen3": ("norm_q", "norm_k")}
    for layer in range(LAYERS):
        for key in (*list(NAMES)[:9], *more.get(family, ())):
            drawn = draw(*sizes[key.partition("_bias")[0]][: 1 if "bias" in key else None])
            made[f"model.layers.{layer}.{NAMES[key]}"] = drawn - 1 if "bias" in key else drawn
    return made


def tokenizer() -> Tokenizer:
    """Return one of bytes, single digits, and a token for each animal and other word."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [f"Ġ{word}" for word in (*ANIMALS, WORD)]
    pairs = dict.fromkeys((w[:i], w[i]) for w in words for i in range(1, len(w)))
    tokens = ["<|im_start|>", "<|im_end|>", *alphabet, *("".join(pair) for pair in pairs)]
    assert len(tokens) <= VOCABULARY
    numbered = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.BPE(vocab=numbered, merges=list(pairs)))
    digits, level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, level(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token) for token in tokens[:2]])
    return made


def make(folder: Path, family: str = "llama") -> Path:
    """Write a model and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(family)))
    save_file(tensors(family), folder / "model.safetensors", {"format": "pt"})
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": TEMPLATE, "eos_token": {"content": "<|im_end|>"}})
    )
    return folder
