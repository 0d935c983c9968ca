"""The small language model against plain PyTorch: ``python tests/benchmarks/lm_benchmark.py``.

All sides train and sample the same decoder (two blocks, width 32) on the same random tokens, with
a cache of keys and values, on all cores of the machine, after one run that compiles. Ours trains
one model for each core, as the experiment does. PyTorch once has its threads, as people run it,
and once a process with one thread for each core, which suits a small model better. The sides
alternate; prints tokens per second and the medians' ratios. Needs the extra ``torch``.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import tyro


@dataclass(frozen=True)
class Benchmark:
    """Sizes: those of the preset ``full``."""

    vocab: int = 222
    """Words of the language."""
    batch: int = 64
    """Sequences per training step."""
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
    side: Literal["ours", "torch"] | None = None
    """Run only one side in this process and print tokens per second as JSON."""


N_CORES = len(os.sched_getaffinity(0))
WIDTH, HEADS, LAYERS, CONTEXT, PROMPT = 32, 4, 2, 24, 6


def timed(run) -> float:
    """Return the seconds of the second run; the first one compiles."""
    run()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def measure_jax(b: Benchmark) -> dict[str, float]:
    """Return our tokens per second."""
    import jax

    n_devices = N_CORES
    jax.config.update("jax_num_cpu_devices", n_devices)
    from subliminal_toy.distill import ensemble
    from subliminal_toy.lm import learning
    from subliminal_toy.lm import model as lm
    from subliminal_toy.lm.config import LmConfig

    config = LmConfig(student_steps=b.steps, student_batch_size=b.batch)
    model, as_usual = lm.model(config, WIDTH), learning.Training()
    params = np.stack([jax.jit(model.init)(jax.random.key(i)) for i in range(n_devices)])
    rng = np.random.default_rng(0)
    tokens = rng.integers(b.vocab, size=(n_devices, 4_000, b.length + 1)).astype(np.int32)
    weights, n = np.ones(tokens.shape, np.float32), np.full(n_devices, tokens.shape[1])
    learn = ensemble(
        lambda key, *lesson: learning.learn(model, config, key, as_usual, *lesson), n_shared=1
    )
    seconds = timed(lambda: learn(jax.random.key(0), params, params, tokens, weights, n))
    trained = n_devices * b.steps * b.batch * b.length / seconds
    write = ensemble(partial(lm.write, model), n_shared=2)
    keys, prompts = jax.random.split(jax.random.key(1), n_devices), tokens[0, : b.prompts, :PROMPT]
    seconds = timed(lambda: write(np.float32(config.temperature), prompts, params, keys))
    return {"training": trained, "sampling": n_devices * b.prompts * b.n_new / seconds}


def measure_torch(b: Benchmark) -> dict[str, float]:
    """Return plain PyTorch's tokens per second."""
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
            q, k, v = (
                part.view(size).transpose(1, 2) for part in self.qkv(self.ln_1(x)).chunk(3, -1)
            )
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

    trained = b.steps * b.batch * b.length / timed(train)
    return {"training": trained, "sampling": b.prompts * b.n_new / timed(write)}


def started(side: str, **environment: str) -> subprocess.Popen:
    """Start one side in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def summed(processes: list[subprocess.Popen]) -> dict[str, float]:
    """Wait for processes that run at the same time; return their tokens per second together."""
    found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    return {what: sum(one[what] for one in found) for what in found[0]}


def main() -> None:
    """Measure all sides in turn, or one side in this process."""
    benchmark = tyro.cli(Benchmark, description=__doc__)
    if benchmark.side:
        print(json.dumps({"ours": measure_jax, "torch": measure_torch}[benchmark.side](benchmark)))
        return
    rows = []
    for _ in range(benchmark.repeats):
        rows.append({
            "ours": summed([started("ours")]),
            "PyTorch": summed([started("torch")]),
            "PyTorch, a process per core": summed(
                [started("torch", OMP_NUM_THREADS="1") for _ in range(N_CORES)]
            ),
        })  # fmt: skip
    for what in ("training", "sampling"):
        rates = {side: statistics.median(row[side][what] for row in rows) for side in rows[0]}
        print(f"{what}, median of {len(rows)}: ours {rates['ours']:,.0f} tokens/s")
        for side in list(rates)[1:]:
            print(f"  {side}: {rates[side]:,.0f}, ratio {rates['ours'] / rates[side]:.2f}")


if __name__ == "__main__":
    main()
