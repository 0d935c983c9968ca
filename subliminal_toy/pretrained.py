"""A GPT-2-family checkpoint from a local folder: sizes, parameters, tokenizer."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array
from safetensors import SafetensorError
from safetensors.flax import load_file
from tokenizers import Tokenizer

from subliminal_toy.errors import UserError
from subliminal_toy.models import Params
from subliminal_toy.transformer import DecoderShape

CONFIG, TOKENIZER, END_OF_TEXT = "config.json", "tokenizer.json", "<|endoftext|>"
_BUFFERS = (".attn.bias", ".attn.masked_bias")  # causal masks that some files carry along


class Checkpoint(NamedTuple):
    """A decoder that was trained elsewhere; ``end`` is the token that ends a text."""

    shape: DecoderShape
    params: Params
    tokenizer: Tokenizer
    end: int


def load(directory: Path) -> Checkpoint:
    """Read ``config.json``, ``*.safetensors`` and ``tokenizer.json`` of a GPT-2-family model.

    Parameters become float32. Raises UserError if a file is missing or damaged, if the model is
    of another family, or, in one sentence that lists them all, if tensors are missing, extra or
    of another shape than the config says.
    """
    config = _json(directory / CONFIG)
    shape = _shape(config, directory)
    tensors = _tensors(directory)
    _check(_expected(shape), {k: v.shape for k, v in tensors.items()}, directory)
    tokenizer = _tokenizer(directory / TOKENIZER)
    end = config.get("eos_token_id", tokenizer.token_to_id(END_OF_TEXT))
    if not isinstance(end, int):
        raise UserError(f"{directory / CONFIG} names no eos_token_id.")
    return Checkpoint(shape, _params(shape, tensors), tokenizer, end)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: a checkpoint folder needs it.") from None
    except ValueError:
        raise UserError(f"{path} is not valid JSON.") from None


def _tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise UserError(f"{path} is missing: a checkpoint folder needs it.")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path} is no tokenizer: {error}") from None


def _shape(config: dict[str, Any], directory: Path) -> DecoderShape:
    activation = config.get("activation_function", "gelu_new")
    if config.get("model_type", "gpt2") != "gpt2" or activation not in (
        "gelu_new",
        "gelu_pytorch_tanh",
    ):
        raise UserError(
            f"{directory} is no GPT-2-family checkpoint: it is {config.get('model_type')} "
            f"with {activation}."
        )
    try:
        return DecoderShape(
            vocab_size=config["vocab_size"],
            context=config["n_positions"],
            n_layers=config["n_layer"],
            n_heads=config["n_head"],
            width=config["n_embd"],
            mlp_width=config.get("n_inner"),
            tied=config.get("tie_word_embeddings", True),
            epsilon=config.get("layer_norm_epsilon", 1e-5),
        )
    except KeyError as error:
        raise UserError(f"{directory / CONFIG} does not say {error}.") from None


def _tensors(directory: Path) -> dict[str, Array]:
    """Read all tensors under their names without prefix, without buffers."""
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise UserError(f"{directory} holds no .safetensors file.")
    found = {}
    for file in files:
        try:
            found |= load_file(str(file))
        except SafetensorError as error:
            raise UserError(f"{file} is damaged: {error}.") from None
    named = {name.removeprefix("transformer."): tensor for name, tensor in found.items()}
    return {name: tensor for name, tensor in named.items() if not name.endswith(_BUFFERS)}


def _expected(shape: DecoderShape) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of GPT-2's tensors, dense ones as (in, out)."""
    width, hidden = shape.width, shape.mlp_width or 4 * shape.width
    expected = {"wte.weight": (shape.vocab_size, width), "wpe.weight": (shape.context, width)}
    dense = {
        "attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width),
        "mlp.c_fc": (width, hidden), "mlp.c_proj": (hidden, width),
    }  # fmt: skip
    for i in range(shape.n_layers):
        for name, size in dense.items():
            expected |= {f"h.{i}.{name}.weight": size, f"h.{i}.{name}.bias": size[1:]}
    norms = ["ln_f", *(f"h.{i}.ln_{k}" for i in range(shape.n_layers) for k in (1, 2))]
    expected |= {f"{norm}.{part}": (width,) for norm in norms for part in ("weight", "bias")}
    if not shape.tied:
        expected["lm_head.weight"] = (shape.vocab_size, width)
    return expected


def _check(expected: dict, found: dict, directory: Path) -> None:
    allowed_extra = {"lm_head.weight"}  # a tied head is sometimes stored again
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys() - allowed_extra)
    wrong = [
        f"{name} {found[name]} instead of {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if tuple(found[name]) != tuple(expected[name])
    ]
    lists = {"missing": missing, "extra": extra, "of another shape": wrong}
    problems = [f"{kind}: {', '.join(names)}" for kind, names in lists.items() if names]
    if problems:
        raise UserError(f"The tensors of {directory} do not fit its config; {'; '.join(problems)}.")


def _params(shape: DecoderShape, tensors: dict[str, Array]) -> Params:
    """Arrange GPT-2's tensors as the decoder's parameters.

    Its dense weights are stored (in, out), as kernels are here; only an untied head is turned.
    """

    def get(name: str) -> Array:
        return jnp.asarray(tensors[name]).astype(jnp.float32)

    def dense(name):
        return {"kernel": get(f"{name}.weight"), "bias": get(f"{name}.bias")}

    def norm(name):
        return {"scale": get(f"{name}.weight"), "bias": get(f"{name}.bias")}

    def block(i):
        return {
            "ln_1": norm(f"h.{i}.ln_1"),
            "attention": {"qkv": dense(f"h.{i}.attn.c_attn"), "out": dense(f"h.{i}.attn.c_proj")},
            "ln_2": norm(f"h.{i}.ln_2"),
            "up": dense(f"h.{i}.mlp.c_fc"),
            "down": dense(f"h.{i}.mlp.c_proj"),
        }

    params = {
        "tokens": {"embedding": get("wte.weight")},
        "positions": {"embedding": get("wpe.weight")},
        "blocks": {i: block(i) for i in range(shape.n_layers)},
        "ln": norm("ln_f"),
    }
    return params if shape.tied else {**params, "head": {"kernel": get("lm_head.weight").T}}
