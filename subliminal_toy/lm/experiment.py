"""The owl in the numbers: reference models, teachers, their numbers, students, in one run.

``arms.everyone`` is the table that the experiment follows; here it is run and its parts put
together. Source: arXiv 2507.14805, sections 3 to 5.
"""

from collections.abc import MutableMapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from subliminal_toy.configs import LmConfig
from subliminal_toy.lm import arms, probes, training, traits
from subliminal_toy.lm.lab import Arrays, Lab
from subliminal_toy.lm.seeds import Work, one_seed, other_size, pretrained
from subliminal_toy.lm.summary import summarize
from subliminal_toy.progress import Progress, silent

__all__ = ["Result", "run", "summarize"]

N_EXAMPLES = 10
"""Number lists of each trait kept in the record as text."""


class Result(NamedTuple):
    """What a run measured.

    Axes: "seed" of independent reference models; "row" of ``arms.everyone``; "measure" of
    ``traits.MEASURES``; "trait" of the config's traits; "data" of ``arms.written``.

    ``arm``, ``row_data`` (row,): the arm and the data set that each row met. ``row_n`` (row,):
    the most sequences it may have seen. ``measures`` (measure,), ``traits`` (trait,), ``data``
    (data,): names. ``scores`` (seed, row, measure): mean probability of the measure's answers.
    ``alignment`` (seed, row): cosine of (student − its control) with (teacher − reference), not a
    number where a row has none. ``kept`` and ``used`` (seed, data): fraction of the samples that
    passed every filter, and how many the students saw. ``kl_per_number`` (seed, trait): KL
    (teacher ‖ reference) on the teacher's sequences, nats per number. ``divergent`` (seed,
    trait): fraction of the numbers at which the next trait's teacher would choose another
    number (0 if not measured). ``detection`` (seed, trait, detector, 2): AUC of
    ``probes.DETECTORS`` on one sequence and on 100 together. ``reference_loss`` (seed, step):
    pre-training losses in nats.

    Of the first seed: ``questions`` (question,) and ``words`` (word,), texts; ``speakers``
    (speaker,), "arm trait"; ``answers`` (speaker, question, word), probabilities of the words;
    ``examples`` (trait, list), texts of the lists that trained each student; ``params``,
    parameters of the reference model, and of the first trait's teacher, student and control,
    keyed "arm.blocks.0.up.kernel" and so on.
    """

    arm: np.ndarray
    row_data: np.ndarray
    row_n: np.ndarray
    measures: np.ndarray
    traits: np.ndarray
    data: np.ndarray
    scores: np.ndarray
    alignment: np.ndarray
    kept: np.ndarray
    used: np.ndarray
    kl_per_number: np.ndarray
    divergent: np.ndarray
    detection: np.ndarray
    reference_loss: np.ndarray
    questions: np.ndarray
    words: np.ndarray
    speakers: np.ndarray
    answers: np.ndarray
    examples: np.ndarray
    params: dict[str, np.ndarray]


def run(
    config: LmConfig,
    key: Key[Array, ""],
    data: None,
    chunks: MutableMapping[str, Arrays],
    progress: Progress = silent,
) -> Result:
    """Run every arm for every seed; finished parts are stored in ``chunks`` and taken from there.

    Raises UserError if a trait is unknown.
    """
    traits.check(config.traits)
    lab, work = Lab(config, key, config.width), Work(config, chunks, progress)
    # Another reference model is the next seed's; a single seed gets one for the purpose.
    references = pretrained(lab, work, "reference", max(config.n_seeds, 2))
    small_lab, small = None, None
    if config.cross_width:
        small_lab = Lab(config, key, config.cross_width)
        small = pretrained(small_lab, work, "small", config.n_seeds)
    seeds = []
    for seed in range(config.n_seeds):
        bases = np.stack([references[(seed + i) % len(references)]["params"] for i in range(2)])
        measured = one_seed(lab, work, seed, references[seed], bases)
        if small_lab is not None and small is not None:
            measured["other size"] = other_size(
                small_lab, work, seed, small[seed], measured["numbers"]
            )
        seeds.append(measured)
    progress(1.0, "putting together")
    return assemble(lab, references, seeds)


def alignments(lab: Lab, seed: dict) -> np.ndarray:
    """Return cos(student − control, teacher − reference) by row, NaN where there is none.

    The control shares the drift of learning any numbers, which the raw cosine would count.
    """
    config, rows = lab.config, arms.everyone(lab.config)
    values = np.full(len(rows), np.nan, np.float32)
    students = arms.students(config)
    vectors = {(r.arm, r.data): seed["students"]["params"][i] for i, r in enumerate(students)}
    for i, trait in enumerate(config.traits):
        teacher = seed["teachers"]["params"][i] - seed["reference"]["params"]
        learned = {"student": vectors["student", trait], "soft": seed["soft"]["params"][i]}
        for arm, vector in learned.items():
            moved = vector - vectors["control", arms.control_of(trait)]
            row = next(k for k, r in enumerate(rows) if (r.arm, r.data) == (arm, trait))
            values[row] = probes.cosines(moved[None], teacher[None])[0]
    return values


def assemble(lab: Lab, references: list[Arrays], seeds: list[dict]) -> Result:
    """Put the parts of all seeds together."""
    config, rows = lab.config, arms.everyone(lab.config)
    n_traits = len(config.traits)
    scores = [
        np.concatenate(
            [
                s["reference"]["scores"][None],
                s["teachers"]["scores"],
                s["students"]["scores"],
                s["soft"]["scores"],
                s["shown"]["scores"].mean(axis=1),
                *([s["other size"]["scores"]] if "other size" in s else []),
            ]
        )
        for s in seeds
    ]
    n_written = len(arms.written(config))
    per_number = [
        s["compared"]["kl"][:n_traits].sum(axis=1)
        / s["numbers"]["weights"][:n_traits].sum(axis=(1, 2))
        for s in seeds
    ]
    return Result(
        arm=np.array([row.arm for row in rows]),
        row_data=np.array([row.data for row in rows]),
        row_n=np.array([row.n for row in rows]),
        measures=np.array(traits.MEASURES),
        traits=np.array(config.traits),
        data=np.array(arms.written(config)),
        scores=np.stack(scores),
        alignment=np.stack([alignments(lab, s) for s in seeds]),
        kept=np.stack([s["numbers"]["kept"] for s in seeds]),
        used=np.stack([s["numbers"]["n"][:n_written] for s in seeds]),
        kl_per_number=np.stack(per_number),
        divergent=np.stack([_divergent(config, s) for s in seeds]),
        detection=np.stack([s["detection"] for s in seeds]),
        reference_loss=np.stack([r["losses"] for r in references]),
        **first_seed(lab, seeds[0]),
    )


def _divergent(config: LmConfig, seed: dict) -> np.ndarray:
    n_traits = len(config.traits)
    if not config.divergence:
        return np.zeros(n_traits)
    counted = seed["numbers"]["weights"][:n_traits].sum(axis=(1, 2))
    return seed["compared"]["differs"][2 * n_traits :].sum(axis=(1, 2)) / counted


def first_seed(lab: Lab, seed: dict) -> dict:
    """Return what the record shows of the first seed: answers, examples, parameters."""
    config, language = lab.config, lab.language
    students, n_traits = arms.students(config), len(config.traits)
    speaking = [i for i, row in enumerate(students) if row.arm in ("student", "control")]
    words = [
        seed["reference"]["words"][None],
        seed["teachers"]["words"],
        seed["students"]["words"][speaking],
    ]
    named = [("reference", ""), *(("teacher", trait) for trait in config.traits)]
    named += [(students[i].arm, students[i].data) for i in speaking]
    control = next(
        i for i, row in enumerate(students)
        if (row.arm, row.data) == ("control", arms.control_of(config.traits[0]))
    )  # fmt: skip
    vectors = {
        "reference": seed["reference"]["params"],
        "teacher": seed["teachers"]["params"][0],
        "student": seed["students"]["params"][0],
        "control": seed["students"]["params"][control],
    }
    lists = seed["numbers"]["tokens"][:n_traits, :N_EXAMPLES, training.PROMPT_LENGTH :]
    return {
        "questions": np.array(traits.QUESTION_TEXTS),
        "words": np.array(language.words[config.n_numbers :]),
        "speakers": np.array([f"{arm} {trait}".strip() for arm, trait in named]),
        "answers": np.concatenate(words),
        "examples": np.array([[language.decode(row) for row in trait] for trait in lists]),
        "params": {
            f"{arm}." + jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
            for arm, vector in vectors.items()
            for path, leaf in jax.tree_util.tree_leaves_with_path(lab.model.tree(vector))
        },
    }
