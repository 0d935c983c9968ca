"""The work of a run in parts that are stored when finished: reference models, then each seed."""

from collections.abc import Callable, MutableMapping, Sequence

import jax
import numpy as np

from subliminal_toy.configs import LmConfig
from subliminal_toy.lm import arms, probes, training, traits
from subliminal_toy.lm.lab import MASK, PROBE, Arrays, Lab, generator, stream
from subliminal_toy.progress import Progress


class Work:
    """Takes finished parts from ``chunks`` or computes and stores them, and tells the progress."""

    def __init__(self, config: LmConfig, chunks: MutableMapping[str, Arrays], progress: Progress):
        """Estimate the work of all parts, in tokens read by training or its equivalent."""
        self._chunks, self._progress, self._done = chunks, progress, 0.0
        n_traits, n_rows = len(config.traits), len(arms.students(config))
        student = config.student_steps * config.student_batch_size * training.ROW_LENGTH
        self.cost = {
            "reference": float(config.pretrain_steps * config.pretrain_batch_size * 24),
            "numbers": 0.5 * config.n_samples * training.ROW_LENGTH * len(arms.written(config)),
            "comparisons": 1.5 * config.n_sequences * training.ROW_LENGTH * n_traits,
            "students": float(student),
            "soft": 1.6 * student * n_traits,
            "shown": 25_000.0 * (n_traits + 1),
        }
        n_small = len(arms.of_other_size(config))
        seed = (
            n_rows * student
            + n_small * student
            + sum(self.cost[part] for part in ("numbers", "comparisons", "soft", "shown"))
        )
        n_references = max(config.n_seeds, 2) + (config.n_seeds if n_small else 0)
        self._total = config.n_seeds * seed + n_references * self.cost["reference"]

    def part(self, name: str, phase: str, cost: float, compute: Callable[[], Arrays]) -> Arrays:
        """Return the part of this name, computed if it is not there yet."""
        self._progress(min(self._done / self._total, 1.0), phase)
        if name not in self._chunks:
            self._chunks[name] = compute()
        self._done += cost
        return self._chunks[name]


def in_groups(items: Sequence, size: int) -> list[Sequence]:
    """Cut into groups of ``size``, the last one perhaps smaller."""
    return [items[first : first + size] for first in range(0, len(items), size)]


def pretrained(lab: Lab, work: Work, name: str, n: int) -> list[Arrays]:
    """Return the reference models of the first ``n`` seeds, each on its own corpus."""
    found = []
    for seeds in in_groups(range(n), jax.device_count()):
        label = f"{name}-{seeds[0]:03d}-{seeds[-1]:03d}"
        together = work.part(
            label,
            f"reference models {seeds[0] + 1}–{seeds[-1] + 1} of {n}",
            work.cost["reference"] * len(seeds),
            lambda seeds=seeds: lab.references(seeds),
        )
        found += [{k: v[i] for k, v in together.items()} for i in range(len(seeds))]
    return found


def one_seed(lab: Lab, work: Work, seed: int, reference: Arrays, bases: np.ndarray) -> dict:
    """Return all parts of one seed by name."""
    config, base = lab.config, reference["params"]
    of_seed = f"seed {seed + 1} of {config.n_seeds}"

    def part(name, phase, cost, compute):
        return work.part(f"{name}-{seed:03d}", f"{of_seed}: {phase}", cost, compute)

    teachers = part("teachers", "teachers", 0.0, lambda: lab.teachers(base))
    numbers = part(
        "numbers", "teachers write numbers", work.cost["numbers"],
        lambda: lab.numbers(seed, base, teachers["params"]),
    )  # fmt: skip
    compared = part(
        "comparisons", "reading the numbers", work.cost["comparisons"],
        lambda: compared_pairs(lab, base, teachers["params"], numbers),
    )  # fmt: skip
    names, numbers = with_masks(lab, seed, numbers, compared)
    rows = arms.students(config)
    # The last group is filled with repetitions, so that all groups are one compiled program.
    n_groups = -(-len(rows) // config.chunk_size)
    size = -(-len(rows) // n_groups)
    students = []
    for i, group in enumerate(in_groups(rows, size)):
        full = (*group, *(group[-1],) * (size - len(group)))
        trained = part(
            f"students-{i:02d}", f"students {i * size + 1}–{i * size + len(group)} of {len(rows)}",
            work.cost["students"] * len(group),
            lambda full=full: lab.learners(seed, bases, numbers, names, full),
        )  # fmt: skip
        students.append({k: v[: len(group)] for k, v in trained.items()})
    soft = part(
        "soft", "students of distributions", work.cost["soft"],
        lambda: lab.soft_learners(seed, base, numbers, teachers["params"]),
    )  # fmt: skip
    shown = part(
        "shown", "numbers in context", work.cost["shown"],
        lambda: lab.shown(base, numbers, range(len(config.traits) + len(arms.controls(config)))),
    )  # fmt: skip
    return {
        "reference": reference,
        "teachers": teachers,
        "numbers": numbers,
        "compared": compared,
        "students": {k: np.concatenate([s[k] for s in students]) for k in students[0]},
        "soft": soft,
        "shown": shown,
        "detection": detection(lab, seed, numbers, compared, shown),
    }


def compared_pairs(lab: Lab, base: np.ndarray, teachers: np.ndarray, numbers: Arrays) -> Arrays:
    """Read with each teacher and the reference model: its numbers, its control's, in this order.

    Then, with each teacher and the next trait's teacher: its numbers, if wanted.
    """
    config, names = lab.config, arms.written(lab.config)
    own = list(range(len(config.traits)))
    control = [names.index(arms.control_of(trait)) for trait in config.traits]
    data, first = own + control, [*teachers, *teachers]
    others = [base] * len(first)
    if config.divergence:
        data, first = data + own, [*first, *teachers]
        others += [*np.roll(teachers, -1, axis=0)]
    return lab.comparisons(np.stack(first), np.stack(others), numbers["tokens"][data])


def with_masks(
    lab: Lab, seed: int, numbers: Arrays, compared: Arrays
) -> tuple[tuple[str, ...], Arrays]:
    """Add the weights of the tokens, and the data sets that leave some of them out."""
    config, names = lab.config, arms.written(lab.config)
    weights = [lab.weights(numbers["tokens"])]
    source = list(range(len(names)))
    rng = generator(stream(lab.key, seed, MASK))
    if config.divergence:
        n_traits = len(config.traits)
        for trait in arms.probed(config):
            i = config.traits.index(trait)
            differs, counted = compared["differs"][2 * n_traits + i], weights[0][i]
            weights.append((counted * ~differs)[None])
            weights.append(probes.random_mask(counted, int(differs.sum()), rng)[None])
            source += [i, i]
    more = {"tokens": numbers["tokens"][source], "n": numbers["n"][source]}
    return (*names, *arms.masked(config)), {**numbers, **more, "weights": np.concatenate(weights)}


def detection(lab: Lab, seed: int, numbers: Arrays, compared: Arrays, shown: Arrays) -> np.ndarray:
    """Return the AUC of every detector for every trait (trait, detector, 2)."""
    config, names = lab.config, arms.written(lab.config)
    rng = generator(stream(lab.key, seed, PROBE))
    lists = np.where(numbers["weights"] > 0, numbers["tokens"], -1)
    n_traits = len(config.traits)

    def evidence(data, pair, trait):
        n = numbers["n"][data]
        log_p, reference = (compared[k][pair][:n] for k in ("log_p", "other_log_p"))
        measure = traits.MEASURES.index(trait)
        in_context = shown["scores"][data][:n, measure]
        return probes.Evidence(
            numbers["accepted"][data], lists[data][:n], log_p, reference, in_context
        )

    return np.stack([
        probes.detect(
            evidence(i, i, trait),
            evidence(names.index(arms.control_of(trait)), n_traits + i, trait),
            config.n_numbers,
            rng,
        )
        for i, trait in enumerate(config.traits)
    ])  # fmt: skip


def other_size(lab: Lab, work: Work, seed: int, reference: Arrays, numbers: Arrays) -> Arrays:
    """Return scores of the model of another width: before, and after learning (row, measure)."""
    rows = arms.of_other_size(lab.config)
    bases = np.stack([reference["params"]] * 2)
    names = (*arms.written(lab.config), *arms.masked(lab.config))
    trained = work.part(
        f"other-size-{seed:03d}",
        f"seed {seed + 1} of {lab.config.n_seeds}: students of another width",
        work.cost["students"] * len(rows),
        lambda: lab.learners(seed, bases, numbers, names, rows),
    )
    return {"scores": np.concatenate([reference["scores"][None], trained["scores"]])}
