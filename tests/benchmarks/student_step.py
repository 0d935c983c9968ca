"""What a step of the students is made of, on one core: ``python tests/benchmarks/student_step.py``.

The published experiment trains its four students in one step on one batch of noise. Each part of
that step is timed in a compiled loop of its own, the step as it is in ``train_students``. The last
line compares the step with its matrix products at the rate of one large product on this core.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from benchmark import products, random_data

from subliminal_toy.classifier import training
from subliminal_toy.classifier.arms import numbers_of, published_experiment, without_numbers
from subliminal_toy.classifier.config import PRESETS
from subliminal_toy.classifier.rows import imitation_loss, make_inputs, optimiser
from subliminal_toy.distill import THREADS
from subliminal_toy.machine import processor


@dataclass(frozen=True)
class StudentStep:
    """Repetitions."""

    steps: int = 40
    """Steps of each loop."""
    repeats: int = 5
    """Loops of each kind; the fastest counts."""


def seconds(call: Callable, repeats: int) -> float:
    """Return the least time of a call, compiled before."""
    jax.block_until_ready(call())
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        found.append(time.perf_counter() - began)
    return min(found)


def moved(tree, by):
    """Return a tree that XLA cannot know to be the same at every step of a loop."""
    return jax.tree.map(lambda leaf: leaf + 1e-30 * by, tree)


def total(tree):
    """Return the sum of all numbers of a tree: what must be computed to carry the loop on."""
    return sum(leaf.sum() for leaf in jax.tree.leaves(tree))


def parts(of, students):
    """Return one step's parts by name: functions of ``(step, carry)``."""
    like, net = students[0], of.net
    index = jnp.arange(like.batch_size)
    inputs = make_inputs(like, of, index)
    taught = net.init(of.keys.own)
    starts = {s.name: training.initial(s, of) for s in students}
    targets = net.apply(taught, inputs)

    def loss(params):
        outputs = {s: net.apply(params[s.name], inputs) for s in students}
        return sum(imitation_loss(s, of.numbers, z, targets) for s, z in outputs.items())

    tx = training.by_student({s.name: optimiser(s, of.numbers[s.name]) for s in students})
    state = tx.init(starts)
    return {
        "noise": lambda step, c: make_inputs(like, of, index + step).sum(),
        "teacher's outputs": lambda step, c: net.apply(moved(taught, c), inputs).sum(),
        "gradients of four students": lambda step, c: total(jax.grad(loss)(moved(starts, c))),
        "Adam": lambda step, c: total(tx.update(moved(starts, c), state, starts)),
    }


def main() -> None:
    """Print the milliseconds of each part, of the whole, and of its products."""
    sizes = tyro.cli(StudentStep, description=__doc__)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["PJRT_NPROC"] = str(THREADS)
    config = replace(PRESETS["paper"], n_replicates=2)
    config = replace(config, n_inputs=sizes.steps * config.batch_size, student_epochs=1)
    teacher, students = published_experiment(config)
    numbers = numbers_of(teacher, students)
    rows = tuple(map(without_numbers, students))
    arrays = tuple(map(jnp.asarray, random_data(config.batch_size)[1:]))
    shared = (jax.random.key(0), jnp.int32(2), numbers, arrays)

    def replicate(shared):
        return training.replicate(without_numbers(teacher), (28, 28), shared, jnp.int32(0))

    def loop(name):
        def run(shared):
            one = parts(replicate(shared), rows)[name]
            return jax.lax.fori_loop(0, sizes.steps, lambda i, c: c + one(i, c), 0.0)

        return jax.jit(run)

    def whole(shared):
        of = replicate(shared)
        starts = {s.name: training.initial(s, of) for s in rows}
        return training.train_students(rows, of, of.net.init(of.keys.own), starts)

    n = 2_000
    matrix = jnp.asarray(np.random.default_rng(0).standard_normal((n, n), np.float32))
    square = jax.jit(lambda a: a @ a)
    rate = 2 * n**3 / seconds(lambda: square(matrix), sizes.repeats)
    forward, training_operations = products(config)
    ideal = (forward + len(rows) * training_operations) / rate
    print(f"{processor().splitlines()[0]}, one core, {rate / 1e9:.0f} GFLOP/s in a large product")
    for name in ("noise", "teacher's outputs", "gradients of four students", "Adam"):
        run = loop(name)
        print(
            f"{1e3 * seconds(lambda r=run: r(shared), sizes.repeats) / sizes.steps:7.1f} ms {name}"
        )
    run = jax.jit(whole)
    step = seconds(lambda: run(shared), sizes.repeats) / sizes.steps
    print(
        f"{1e3 * step:7.1f} ms the step; its products at that rate {1e3 * ideal:.1f} ms, "
        f"{step / ideal:.2f} times as long"
    )


if __name__ == "__main__":
    main()
