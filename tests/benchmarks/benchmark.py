"""Our experiment against plain PyTorch: ``python tests/benchmarks/benchmark.py``.

All sides run the same protocol on the same sizes in processes of their own, alternating: ours,
PyTorch as the published script does it (one student after the other), and a more careful PyTorch
that trains the four students in one loop. Each process runs the experiment twice; the second
time, when everything is compiled, is compared. Prints the ratios, the fraction of the machine's
float32 matrix-product peak that our side reaches, and the peak memory of all. Needs the extra
``torch``.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import tyro

from subliminal_toy.classifier.arms import STUDENTS
from subliminal_toy.classifier.config import PRESETS, ClassifierConfig
from subliminal_toy.data import Dataset


@dataclass(frozen=True)
class Benchmark:
    """Sizes of the benchmark; the images are random, of MNIST's shape."""

    n_replicates: tuple[int, ...] = (4, 16)
    """Ensemble sizes to compare."""
    n_images: int = 20_480
    """Training images and noise images; the paper has 60000 of each."""
    epochs: int = 1
    """Epochs of teacher and students; the paper has 5."""
    repeats: int = 3
    """Alternations of the sides."""
    torch_device: str = "cpu"
    """Where PyTorch runs, e.g. ``cuda``; JAX takes a GPU by itself if its extra is installed."""
    side: Literal["ours", "published", "together"] | None = None
    """Run only one side in this process and print what was measured as JSON."""


def config_of(benchmark: Benchmark, n_replicates: int) -> ClassifierConfig:
    """Return the paper's config with the benchmark's sizes."""
    return replace(
        PRESETS["paper"], n_replicates=n_replicates, n_inputs=benchmark.n_images,
        teacher_epochs=benchmark.epochs, student_epochs=benchmark.epochs,
    )  # fmt: skip


def products(config: ClassifierConfig) -> tuple[float, float]:
    """Return the floating-point operations of one network's products in a step: forward, training.

    A layer costs 2·batch·inputs·outputs forward, as much for its weights' gradient and as much
    for its inputs' gradient, which the first layer does not need. Noise, Adam and softmax count
    nothing.
    """
    widths = (28 * 28, *config.hidden_sizes, 10 + config.n_aux)
    layers = [2 * config.batch_size * i * o for i, o in pairwise(widths)]
    return sum(layers), 3 * sum(layers) - layers[0]


def operations(config: ClassifierConfig, n_images: int) -> float:
    """Return the floating-point operations of all products of one replicate's training."""
    forward, training = products(config)
    teacher_steps = config.teacher_epochs * -(-n_images // config.batch_size)
    student_steps = config.student_epochs * -(-config.n_inputs // config.batch_size)
    return teacher_steps * training + student_steps * (forward + len(STUDENTS) * training)


def twice(run) -> list[float]:
    """Return the seconds of two runs."""
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return seconds


def random_data(n_images: int) -> Dataset:
    """Return images and labels of MNIST's shape."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (n_images, 28, 28)).astype(np.float32)
    labels = rng.integers(0, 10, n_images).astype(np.int32)
    return Dataset("random", images, labels, images[:1000], labels[:1000])


def measure_jax(config: ClassifierConfig, data: Dataset, _: str) -> list[float]:
    """Time our experiment."""
    import jax

    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    from subliminal_toy import record
    from subliminal_toy.classifier.experiment import experiment

    return twice(lambda: record.run(experiment(config, jax.random.key(0), data)))


def measure_torch(
    config: ClassifierConfig, data: Dataset, device: str, together: bool
) -> list[float]:
    """Time a plain PyTorch version, its results brought back to the host."""
    import plain_torch
    import torch

    torch.set_default_device(device)
    arrays = [torch.from_numpy(np.asarray(a)).to(device) for a in data[1:]]
    images, labels, test_images, test_labels = arrays
    flat = (images.flatten(1), labels.long(), test_images.flatten(1), test_labels.long())
    return twice(lambda: [found.cpu() for found in plain_torch.run(config, *flat, together)])


SIDES = {
    "ours": measure_jax,
    "published": partial(measure_torch, together=False),
    "together": partial(measure_torch, together=True),
}


def matrix_product_peak() -> float:
    """Return the best float32 rate (operations per second) of NumPy, JAX and PyTorch here."""
    import jax
    import torch

    n = 3000
    a = np.random.default_rng(0).standard_normal((n, n), np.float32)
    a_jax, a_torch = jax.numpy.asarray(a), torch.from_numpy(a)
    product = jax.jit(lambda a: a @ a)
    best = []
    for multiply in (
        lambda: a @ a, lambda: product(a_jax).block_until_ready(), lambda: a_torch @ a_torch
    ):  # fmt: skip
        best.append(min(min(twice(multiply)) for _ in range(4)))
    return 2 * n**3 / min(best)


def main() -> None:
    """Run all sides in turn and print the comparison, or one side as JSON."""
    benchmark = tyro.cli(Benchmark)
    if benchmark.side is not None:
        (n_replicates,) = benchmark.n_replicates
        seconds = SIDES[benchmark.side](
            config_of(benchmark, n_replicates),
            random_data(benchmark.n_images),
            benchmark.torch_device,
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mb": peak}))
        return
    for n_replicates in benchmark.n_replicates:
        compare(benchmark, n_replicates)


def one_side(benchmark: Benchmark, n_replicates: int, side: str) -> dict:
    """Run one side in a process of its own."""
    command = [
        sys.executable, __file__, "--side", side, "--n-replicates", str(n_replicates),
        "--n-images", str(benchmark.n_images), "--epochs", str(benchmark.epochs),
        "--torch-device", benchmark.torch_device,
    ]  # fmt: skip
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def compare(benchmark: Benchmark, n_replicates: int) -> None:
    """Print one line for each alternation and the medians."""
    work = operations(config_of(benchmark, n_replicates), benchmark.n_images) * n_replicates
    rows = []
    for repeat in range(benchmark.repeats):
        peak = matrix_product_peak()
        found = {side: one_side(benchmark, n_replicates, side) for side in SIDES}
        peak = max(peak, matrix_product_peak())
        seconds = {side: row["seconds"][1] for side, row in found.items()}
        ratios = [seconds[side] / seconds["ours"] for side in ("published", "together")]
        rows.append((*ratios, work / seconds["ours"] / peak))
        sides = ", ".join(
            f"{side} {seconds[side]:.2f} s ({row['peak_mb']:.0f} MB)" for side, row in found.items()
        )
        print(
            f"{n_replicates} replicates, run {repeat + 1}: {sides}, peak {peak / 1e9:.0f} GFLOP/s"
        )
        print("  " + described(rows[-1]), flush=True)
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"{n_replicates} replicates, median of {len(rows)}: {described(medians)}", flush=True)


def described(row: Sequence[float]) -> str:
    """Return the two ratios and the fraction of the peak in words."""
    return (
        f"{row[0]:.2f} times as fast as PyTorch with one student after the other, "
        f"{row[1]:.2f} times as PyTorch with all students in one loop; {row[2]:.0%} of the peak"
    )


if __name__ == "__main__":
    main()
