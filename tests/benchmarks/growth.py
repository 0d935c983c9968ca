"""Time and memory against replicates and devices: ``python tests/benchmarks/growth.py``.

A small classifier on the embedded digits, each size in a process of its own, the second of two
runs, when everything is compiled. Prints seconds of the wall and of the processor per replicate,
and the peak memory. On a machine that does other work only the processor's seconds say something.
"""

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import tyro

from subliminal_toy.classifier.config import ClassifierConfig
from subliminal_toy.machine import processor

CONFIG = ClassifierConfig(
    hidden_sizes=(64,), teacher_epochs=2, student_epochs=2, n_inputs=2_048, keep_params=False
)


@dataclass(frozen=True)
class Growth:
    """Sizes to compare."""

    n_replicates: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Numbers of replicates, on two devices."""
    n_devices: tuple[int, ...] = (1, 2, 4)
    """Numbers of devices of the CPU, with 64 replicates."""
    only: tuple[int, int] | None = None
    """Replicates and devices of a run in this process, which prints JSON."""


def measure(n_replicates: int, n_devices: int) -> dict[str, float]:
    """Return what the second run of an ensemble takes."""
    import jax

    from subliminal_toy import data, distill, runs
    from subliminal_toy.classifier.experiment import experiment

    os.environ["PJRT_NPROC"] = str(distill.THREADS)
    jax.config.update("jax_num_cpu_devices", n_devices)
    config, digits = replace(CONFIG, n_replicates=n_replicates), data.load("digits")
    for _ in range(2):
        began = time.perf_counter(), time.process_time()
        runs.run(experiment(config, jax.random.key(0), digits))
    wall, processor_s = time.perf_counter() - began[0], time.process_time() - began[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": wall / n_replicates, "cpu": processor_s / n_replicates, "peak": peak}


def main() -> None:
    """Print a line for each size, or JSON for one."""
    growth = tyro.cli(Growth, description=__doc__)
    if growth.only:
        print(json.dumps(measure(*growth.only)))
        return
    print(f"{processor().splitlines()[0]}, {os.cpu_count()} cores")
    print("| replicates | devices | s/replicate | processor s/replicate | peak MB |")
    print("|---|---|---|---|---|")
    sizes = [(n, 2) for n in growth.n_replicates] + [(64, n) for n in growth.n_devices]
    for n_replicates, n_devices in sizes:
        command = [sys.executable, __file__, "--only", str(n_replicates), str(n_devices)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        numbers = f"{found['wall']:.3f} | {found['cpu']:.3f} | {found['peak']:.0f}"
        print(f"| {n_replicates} | {n_devices} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
