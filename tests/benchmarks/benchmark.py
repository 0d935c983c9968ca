"""Our experiments against plain PyTorch: ``python tests/benchmarks/benchmark.py classifier | lm``.

All sides run the same protocol on the same sizes, in processes of their own that alternate; what is
timed is the second run, when everything is compiled. Prints what each side does in a second, its
peak memory, and the ratios of the medians. Needs the extra ``torch``.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import tyro

N_CORES = len(os.sched_getaffinity(0))
WIDTH, HEADS, LAYERS, CONTEXT, PROMPT = 32, 4, 2, 24, 6  # of the language model


@dataclass(frozen=True)
class Classifier:
    """Teacher and four students on random images of MNIST's shape.

    PyTorch once as the published script does it, one student after the other, and once with all
    students in one loop.
    """

    n_replicates: int = 16
    n_images: int = 20_480
    """Training images and noise images; the paper has 60000 of each."""
    epochs: int = 1
    """Epochs of teacher and students; the paper has 5."""
    torch_device: str = "cpu"
    """Where PyTorch runs, e.g. ``cuda``; JAX takes a GPU by itself if its extra is installed."""
    repeats: int = 3
    """Alternations of the sides."""
    side: str = ""
    """Run only this side in this process and print what was measured as JSON."""


@dataclass(frozen=True)
class Lm:
    """The small decoder of the preset ``full`` on random tokens, trained and sampled with a cache.

    Ours trains one model for each core, as the experiment does. PyTorch once has its threads, as
    people run it, and once a process with one thread for each core, which suits a small model.
    """

    vocab: int = 222
    batch: int = 64
    length: int = 16
    """Tokens read per sequence."""
    steps: int = 200
    """Training steps timed."""
    prompts: int = 2_000
    """Sequences sampled."""
    n_new: int = 11
    """Tokens sampled for each."""
    repeats: int = 3
    """Alternations of the sides."""
    side: str = ""
    """Run only this side in this process and print what was measured as JSON."""


def timed(run) -> float:
    """Return the seconds of the second run; the first one compiles."""
    run()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


# ---------- the classifier ----------


def settings(b: Classifier):
    """Return the paper's config with the benchmark's sizes, and images and labels."""
    from subliminal_toy.classifier.config import PRESETS
    from subliminal_toy.data import Dataset

    config = replace(
        PRESETS["paper"], n_replicates=b.n_replicates, n_inputs=b.n_images,
        teacher_epochs=b.epochs, student_epochs=b.epochs,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (b.n_images, 28, 28)).astype(np.float32)
    labels = rng.integers(0, 10, b.n_images).astype(np.int32)
    return config, Dataset("random", images, labels, images[:1000], labels[:1000])


def operations(b: Classifier, config) -> float:
    """Return the floating-point operations of all products of one replicate's training.

    A layer costs 2·batch·inputs·outputs forward, as much for its weights' gradient and as much
    for its inputs' gradient, which the first layer does not need. A step is forward and backward of
    the teacher, then its outputs on noise, and forward and backward of four students.
    """
    widths = (28 * 28, *config.hidden_sizes, 10 + config.n_aux)
    layers = [2 * config.batch_size * i * o for i, o in pairwise(widths)]
    forward, training = sum(layers), 3 * sum(layers) - layers[0]
    return b.epochs * -(-b.n_images // config.batch_size) * (forward + 5 * training)


def classifier_in_jax(b: Classifier) -> dict[str, float]:
    """Measure ours, also as a share of the best float32 rate of NumPy's and JAX's products here."""
    import jax

    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    from subliminal_toy import record
    from subliminal_toy.classifier.experiment import experiment

    config, data = settings(b)
    seconds = timed(lambda: record.run(experiment(config, jax.random.key(0), data)))
    a = np.random.default_rng(0).standard_normal((3000, 3000), np.float32)
    on_device, product = jax.numpy.asarray(a), jax.jit(lambda a: a @ a)
    products = (lambda: a @ a, lambda: product(on_device).block_until_ready())
    peak = 2 * 3000**3 / min(timed(multiply) for multiply in products for _ in range(4))
    rate = b.n_replicates / seconds
    return {"replicates/s": rate, "of the peak": rate * operations(b, config) / peak}


def classifier_in_torch(b: Classifier, together: bool) -> dict[str, float]:
    """Measure a plain PyTorch version, its results brought back to the host."""
    import plain_torch
    import torch

    torch.set_default_device(b.torch_device)
    config, data = settings(b)
    images, labels, test_images, test_labels = (
        torch.from_numpy(np.asarray(a)).to(b.torch_device) for a in data[1:]
    )
    flat = (images.flatten(1), labels.long(), test_images.flatten(1), test_labels.long())
    seconds = timed(lambda: [found.cpu() for found in plain_torch.run(config, *flat, together)])
    return {"replicates/s": b.n_replicates / seconds}


# ---------- the language model ----------


def lm_in_jax(b: Lm) -> dict[str, float]:
    """Measure ours, one model for each core."""
    import jax

    jax.config.update("jax_num_cpu_devices", N_CORES)
    from subliminal_toy.distill import ensemble
    from subliminal_toy.lm import learning
    from subliminal_toy.lm import model as lm
    from subliminal_toy.lm.config import LmConfig

    config = LmConfig(student_steps=b.steps, student_batch_size=b.batch)
    model, as_usual = lm.model(config, WIDTH), learning.Training()
    params = np.stack([jax.jit(model.init)(jax.random.key(i)) for i in range(N_CORES)])
    rng = np.random.default_rng(0)
    tokens = rng.integers(b.vocab, size=(N_CORES, 4_000, b.length + 1)).astype(np.int32)
    weights, n = np.ones(tokens.shape, np.float32), np.full(N_CORES, tokens.shape[1])
    learn = ensemble(
        lambda key, *lesson: learning.learn(model, config, key, as_usual, *lesson), n_shared=1
    )
    training = timed(lambda: learn(jax.random.key(0), params, params, tokens, weights, n))
    write = ensemble(partial(lm.write, model), n_shared=2)
    keys, prompts = jax.random.split(jax.random.key(1), N_CORES), tokens[0, : b.prompts, :PROMPT]
    sampling = timed(lambda: write(np.float32(config.temperature), prompts, params, keys))
    return {name: N_CORES * rate for name, rate in tokens_per_second(b, training, sampling).items()}


def tokens_per_second(b: Lm, training: float, sampling: float) -> dict[str, float]:
    """Return the rates of one model from its seconds."""
    trained, sampled = b.steps * b.batch * b.length, b.prompts * b.n_new
    return {"trained tokens/s": trained / training, "sampled tokens/s": sampled / sampling}


def lm_in_torch(b: Lm) -> dict[str, float]:
    """Measure plain PyTorch."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x, past):
            size = (*x.shape[:2], HEADS, WIDTH // HEADS)
            parts = self.qkv(self.ln_1(x)).chunk(3, -1)
            q, k, v = (part.view(size).transpose(1, 2) for part in parts)
            if past is not None:
                k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=past is None)
            x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
            x = x + self.down(nn.functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))
            return x, (k, v)

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(b.vocab, WIDTH), nn.Embedding(CONTEXT, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
            self.ln, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, b.vocab, bias=False)

        def forward(self, ids, cache=(None,) * LAYERS, position=0):
            places = torch.arange(position, position + ids.shape[1])
            x, layers = self.tokens(ids) + self.positions(places), []
            for block, past in zip(self.blocks, cache, strict=True):
                x, layer = block(x, past)
                layers.append(layer)
            return self.head(self.ln(x)), layers

    torch.manual_seed(0)
    model = Decoder()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = torch.randint(b.vocab, (4_000, b.length + 1))

    def train():
        for _ in range(b.steps):
            rows = data[torch.randint(len(data), (b.batch,))]
            logits, _ = model(rows[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    @torch.no_grad()
    def write():
        logits, cache = model(data[: b.prompts, :PROMPT])
        for position in range(PROMPT, PROMPT + b.n_new):
            token = torch.multinomial(torch.softmax(logits[:, -1], -1), 1)
            logits, cache = model(token, cache, position)

    return tokens_per_second(b, timed(train), timed(write))


# ---------- the comparison ----------

SIDES = {
    Classifier: {
        "ours": classifier_in_jax,
        "PyTorch, one student after the other": partial(classifier_in_torch, together=False),
        "PyTorch, all students in one loop": partial(classifier_in_torch, together=True),
    },
    Lm: {
        "ours": lm_in_jax,
        "PyTorch": lm_in_torch,
        "PyTorch, a process per core": lm_in_torch,
    },
}


def measured(side: str) -> dict[str, float]:
    """Run one side in processes of its own at the same time, and return the sums."""
    per_core = "per core" in side
    started = [
        subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--side", side],
            stdout=subprocess.PIPE,
            env=os.environ | ({"OMP_NUM_THREADS": "1"} if per_core else {}),
        )
        for _ in range(N_CORES if per_core else 1)
    ]
    found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]
    return {what: sum(one[what] for one in found) for what in found[0]}


def main() -> None:
    """Measure all sides in turn, or one side in this process."""
    benchmark = tyro.cli(Classifier | Lm, description=__doc__)  # pyright: ignore
    sides = SIDES[type(benchmark)]
    if benchmark.side:
        found = sides[benchmark.side](benchmark)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found | {"MB": memory}))
        return
    rows = [{side: measured(side) for side in sides} for _ in range(benchmark.repeats)]
    for side in sides:
        for what in rows[0][side]:
            median = {s: statistics.median(row[s].get(what, 0) for row in rows) for s in sides}
            ratio = median["ours"] / median[side]
            print(f"{side}: {median[side]:,.2f} {what}, ours {ratio:.2f} times that")


if __name__ == "__main__":
    main()
