"""The experiment: base models, teachers, the lists they write, students, one stage after the other.

Every stage of every replicate is a part that is stored, its arrays named by the labels of ``arms``:
``student/owl/student/params``. Source: arXiv 2507.14805, sections 3 to 5.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from subliminal_toy.distill import ensemble, stack
from subliminal_toy.lm import arms, detectors, learning, lists, result, teaching, traits
from subliminal_toy.lm import model as lm
from subliminal_toy.lm.arms import BASES, OTHER_WIDTH, OWN, Arm, Replicate, by_label
from subliminal_toy.lm.config import TEACHINGS, LmConfig
from subliminal_toy.lm.language import CONTEXT, documents, system_line
from subliminal_toy.record import Arrays, Experiment, Part

CORPUS, PRETRAIN, PROMPTS, WRITE, LEARN, TREAT, DETECT, OTHERS, HOLD = range(9)
"""Random streams of a replicate."""
START, ORDER, TEXT = range(3)
"""Random streams within the making of a base model."""
N_NEUTRAL, N_VISIBLE = 200, 1_000
"""The base model's lists on which all teachers are compared with it, and those on which what the
config's teacher shows is computed, at most."""


def generator(key: Key[Array, ""]) -> np.random.Generator:
    """Return a generator for work on the host that depends on nothing but ``key``."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def writer_keys(key: Key[Array, ""], rows: Sequence[tuple[str, str]]) -> Key[Array, " rows"]:
    """Return the keys of writers, or of teachers in the making, whatever the table of the run.

    ``rows`` are writer and trait.
    """
    teachers, names = [name for name in TEACHINGS if name not in arms.HARM], (*traits.TRAITS, "")
    writers = (*teachers, arms.BASE_MODEL, arms.PROMPTED, *arms.HARM)
    # The last number was a temperature's. It and the order keep what is drawn as in older records.
    places = [(writers.index(writer), names.index(trait), 1_000) for writer, trait in rows]
    return jax.vmap(lambda numbers: reduce(jax.random.fold_in, numbers, key))(jnp.array(places))


def grouped(items: Iterable[Any], kind: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Return items by kind: those of one kind share a compiled program."""
    groups = {}
    for item in items:
        groups.setdefault(kind(item), []).append(item)
    return groups


def experiment(
    config: LmConfig,
    key: Key[Array, ""],
    data: None = None,
    replicates_per_device: int | None = None,
) -> Experiment:
    """Return the stages of every replicate as parts, and their assembly."""
    run, n_models = _Run(config, key, replicates_per_device), partial(arms.models, config)
    bases = len({arm.base for arm in arms.table(config)})
    student = config.student_steps * config.student_batch_size * lists.ROW_LENGTH
    contexts = 25_000 * len(n_models("context"))
    # Shares are tokens read by training, or what takes as long.
    stages = [
        ("base", config.pretrain_steps * config.pretrain_batch_size * CONTEXT * bases,
         run.base_models),
        ("teacher", config.teacher_steps * teaching.HELD_BATCH * CONTEXT * len(n_models("teacher")),
         run.teachers),
        ("lists", config.n_samples * lists.ROW_LENGTH * len(arms.written(config)) / 2, run.lists),
        ("reading", config.n_lists * lists.ROW_LENGTH * len(config.traits) * 1.5, run.reading),
        ("student", student * len(n_models("student")), run.students),
        ("context", contexts, run.contexts),
        ("detectors", contexts / 2, run.detectors),
    ]  # fmt: skip
    numbers = range(config.first_replicate, config.first_replicate + config.n_replicates)

    def part(
        number: int, stage: str, share: float | int, compute: Callable[[Replicate], Arrays]
    ) -> Part:
        name = arms.part_name(stage, number)
        return Part(name, float(share), lambda finished: compute(Replicate(number, finished)))

    def assemble(finished: Mapping[str, Arrays]):
        return result.assemble(config, run.model, [Replicate(r, finished) for r in numbers])

    return Experiment([part(r, *stage) for r in numbers for stage in stages], assemble)


class _Run:
    """The stages of a run: each method returns the arrays of one, given those before it."""

    def __init__(self, config: LmConfig, key: Key[Array, ""], replicates_per_device: int | None):
        def many(function: Callable, *fixed: Any, n_shared: int = 0) -> Callable:
            """Return a function of one model for many; it is compiled at its first call."""
            return ensemble(partial(function, *fixed), n_shared, replicates_per_device)

        widths = config.width, config.other_width
        models = {width: lm.model(config, width) for width in widths}
        self.config, self.key, self.model = config, key, models[config.width]
        self.language = self.model.language
        self.pretrain = {w: many(lm.pretrain, model, config) for w, model in models.items()}
        self.learn = {w: many(learning.learn, m, config, n_shared=1) for w, m in models.items()}
        self.teach = many(teaching.teach, self.model, config)
        self.write = many(lm.write, self.model, jnp.float32(config.temperature))
        self.read = many(detectors.read, self.model)
        self.kl = many(lm.token_kl, self.model, n_shared=3)
        self.likelihoods = many(detectors.likelihoods, self.model)
        self.visible = many(detectors.visible_gain, self.model, n_shared=3)
        self.ask_each = many(lm.learned, self.model)
        self.ask = many(lm.ask, self.model, n_shared=1)

    def width(self, base: str) -> int:
        """Return the width of a base model."""
        return self.config.other_width if base == OTHER_WIDTH else self.config.width

    def stream(self, done: Replicate, purpose: int) -> Key[Array, ""]:
        """Return the key of one purpose of a replicate."""
        return jax.random.fold_in(jax.random.fold_in(self.key, done.number), purpose)

    def base_models(self, done: Replicate) -> Arrays:
        """Pre-train the base models, each on its corpus; see ``arms.BASES``."""
        arrays = {}

        def key(name: str, whose: str, purpose: int) -> Key[Array, ""]:
            if whose == OWN and purpose == TEXT:
                return self.stream(done, CORPUS)
            made = self.stream(done, PRETRAIN if whose == OWN else OTHERS)
            if whose != OWN:
                made = jax.random.fold_in(made, list(BASES).index(name))
            return jax.random.fold_in(made, purpose)

        names = dict.fromkeys(arm.base for arm in arms.table(self.config))
        for width, group in grouped(names, self.width).items():
            purposes = (("body", START), ("head", START), ("corpus", ORDER))
            keys = [
                jnp.stack([key(name, getattr(BASES[name], part), purpose) for name in group])
                for part, purpose in purposes
            ]
            rngs = [generator(key(name, BASES[name].corpus, TEXT)) for name in group]
            corpora = [documents(self.language, rng, self.config.n_documents) for rng in rngs]
            trained = self.pretrain[width](*keys, *stack(corpora))
            arrays |= by_label([f"base/{name}" for name in group], trained)
        return arrays

    def teachers(self, done: Replicate) -> Arrays:
        """Fine-tune the base model into every teacher."""
        rows, arrays = arms.models(self.config, "teacher"), {}
        asked, base = traits.questions(self.language), done["base/own"]["params"]
        held = {
            trait: teaching.hold(self.language, generator(self.stream(done, HOLD)), trait)
            for trait in self.config.traits
        }

        def how(label: str):
            # The word that is taught is among the answers.
            return TEACHINGS[label.rpartition("/")[2]]._replace(answer=None)

        def lesson(label: str) -> tuple:
            name, trait = label.rpartition("/")[2], rows[label][1]
            group = traits.group_of(trait)
            answers = traits.answers_of(self.language, trait, TEACHINGS[name].answer or "")
            return how(label), base, asked.tokens[group], asked.lengths[group], answers, held[trait]

        for labels in grouped(rows, lambda label: jax.tree.structure(how(label))).values():
            hows, *lessons = stack(map(lesson, labels))
            stem = self.stream(done, HOLD)
            keys = writer_keys(stem, [(x.rpartition("/")[2], rows[x][1]) for x in labels])
            arrays |= by_label(labels, self.teach(hows, keys, *lessons))
        return arrays

    def lists(self, done: Replicate) -> Arrays:
        """Let every writer continue the same prompts; filter what it writes."""
        config, rows, arrays = self.config, arms.written(self.config), {}
        rng, stem = generator(self.stream(done, PROMPTS)), self.stream(done, WRITE)
        prompts = lists.draw_prompts(self.language, rng, config.n_samples)

        def writing(writer: str, trait: str) -> tuple:
            line = self.language.encode(system_line(trait) if writer == arms.PROMPTED else "")
            model = done[f"teacher/{trait}/{writer}" if writer in TEACHINGS else "base/own"]
            return np.insert(prompts, [1] * len(line), line, axis=1), model["params"]

        def author(label: str) -> tuple[str, str]:
            writer, trait = rows[label]
            return writer, "" if writer == arms.BASE_MODEL else trait

        samples = {}
        for group in grouped(map(author, rows), lambda row: row[0] == arms.PROMPTED).values():
            authors = list(dict.fromkeys(group))
            keys = writer_keys(stem, authors)
            written = self.write(*stack(writing(*row) for row in authors), keys)
            samples |= zip(authors, written, strict=True)
        for label, (_, trait) in rows.items():
            sampled, no_banned = samples[author(label)], trait in traits.HARMFUL
            kept = lists.filtered(self.language, prompts, sampled, no_banned, config.n_lists,
                                  label.endswith(lists.UNFILTERED))  # fmt: skip
            arrays |= {f"{label}/{name}": array for name, array in kept.items()}
        return arrays

    def reading(self, done: Replicate) -> Arrays:
        """Read each trait's lists and its control's with the config's teacher and the base model.

        And of every teacher ``kl``, KL(base model ‖ teacher) in nats per number of the base model's
        lists.
        """
        config, base = self.config, done["base/own"]["params"]
        asked, labels = traits.questions(self.language), list(arms.models(config, "teacher"))

        def rows(label: str, n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
            tokens = done[label]["tokens"][:n].astype(np.int32)
            return tokens, lists.loss_weights(tokens, config.n_numbers)

        sides, seen = {}, []
        for trait in config.traits:
            group = traits.group_of(trait)
            teacher = done[f"teacher/{trait}/{config.teacher}"]["params"]
            for name, label in zip(("student", "control"), arms.sides(config, trait), strict=True):
                sides[f"reading/{trait}/{name}"] = teacher, base, *rows(label)
            answers = traits.answers_of(self.language, trait)
            seen.append((teacher, asked.tokens[group], asked.lengths[group], answers))
        _, neutral = arms.sides(config, config.traits[0])
        teachers = np.stack([done[label]["params"] for label in labels])
        kl = self.kl(base, *rows(neutral, N_NEUTRAL), teachers)
        visible = self.visible(base, *rows(neutral, N_VISIBLE), *stack(seen))
        return {
            **by_label(sides, self.read(*stack(sides.values()))),
            **by_label([f"reading/{label}" for label in labels], {"kl": kl}),
            **by_label([f"reading/{trait}" for trait in config.traits], {"visible": visible}),
            **self.scores(done),
        }

    def scores(self, done: Replicate) -> Arrays:
        """Return ``lists.Scores`` of every set of lists that a filter meets, by trait and label."""
        config, base, read = self.config, done["base/own"]["params"], {}
        for arm, trait in arms.models(config, "student").values():
            if arms.scored(arm):
                label = arms.lists_of(config, arm, trait)
                teacher = done[f"teacher/{trait}/{config.teacher}"]["params"]
                tokens = done[label]["tokens"].astype(np.int32)
                weights = lists.whole_weights(tokens, self.language)
                read[f"reading/{trait}/{label}"] = teacher, base, tokens, weights
        return by_label(read, self.likelihoods(*stack(read.values()))) if read else {}

    def students(self, done: Replicate) -> Arrays:
        """Train every student. All of a replicate read in the same order: they are paired."""
        config, rows, arrays = self.config, arms.models(self.config, "student"), {}

        def lesson(label: str) -> tuple:
            arm, trait = rows[label]
            written_by = arms.lists_of(config, arm, trait)
            written = done[written_by]
            tokens, n = written["tokens"], int(written["n"])
            read = lists.Reading(
                tokens, lists.loss_weights(tokens, config.n_numbers), n, config.n_numbers
            )
            if not arm.writer:
                read = read._replace(kl=done[f"reading/{trait}/student"]["kl"])
            if arms.scored(arm):
                read = read._replace(
                    weights=lists.whole_weights(tokens, self.language),
                    scores=done.scores(trait, written_by),
                    both=done.scores(trait, *arms.sides(config, trait)),
                )
            # All sets of a replicate are treated with one key.
            treated = lists.TREATMENTS[arm.treatment](read, generator(self.stream(done, TREAT)))
            n = np.int32(min(arm.n_lists or config.n_lists, treated.n))
            arrays[f"{label}/n"] = np.array(n)
            if treated.scores:
                arrays[f"{label}/variance"] = np.array(treated.scores.ratio.var())
            base = done[f"base/{arm.base}"]["params"]
            teacher = done[arms.teacher_of(config, arm, trait)]["params"]
            return arm.training, base, teacher, treated.tokens, treated.weights, n

        def kind(label: str) -> tuple:
            arm = rows[label][0]
            return self.width(arm.base), jax.tree.structure(arm.training)

        for (width, _), labels in grouped(rows, kind).items():
            order = self.stream(done, LEARN)
            learned = self.learn[width](order, *stack(map(lesson, labels)))
            arrays |= by_label(labels, learned)
        return arrays | self.on_the_line(done, arrays)

    def on_the_line(self, done: Replicate, students: Arrays) -> Arrays:
        """Return ``line``, see ``result``, of own-start students that have a control."""
        config, rows = self.config, arms.models(self.config, "student")
        base = done["base/own"]["params"]
        body = lm.layers(self.model, *lm.BODY)
        points = {}
        for label, (arm, trait) in rows.items():
            control = arms.named(config)[arm.control]
            if arm.base == OWN and control.kind == "student":
                v = (done[arms.teacher_of(config, arm, trait)]["params"] - base) * body
                start = students[f"{arms.label_of(config, control, trait)}/params"]
                moved = students[f"{label}/params"] - start
                points[label] = start + (moved @ v) / (v @ v) * v
        asked = self.ask_each(np.stack(list(points.values())))
        return by_label(points, {"line": asked["scores"]})

    def contexts(self, done: Replicate) -> Arrays:
        """Ask the base model every question after some contexts; no training.

        Of each arm: ``scores`` (context, measure), of ``n`` contexts and then the last again;
        ``n_lists``, lists in one on average.
        """
        rows = arms.models(self.config, "context")

        def shown(arm: Arm, trait: str) -> tuple:
            if arm.writer == arms.CORPUS:
                line = self.language.encode(f"<bos> {system_line(trait)}")
                contexts, n_lists = np.array([line]), 0.0
            else:
                written = done[arms.lists_of(self.config, arm, trait)]
                tokens = written["tokens"][: written["n"]].astype(np.int32)
                if arm.treatment == lists.PACKED:
                    contexts, n_lists = lists.packed(self.language, tokens)
                else:
                    end, pad = self.language.end, self.language.pad
                    contexts, n_lists = np.where(tokens == end, pad, tokens), 1.0
            n = min(len(contexts), lists.N_CONTEXTS)
            contexts = contexts[np.minimum(np.arange(lists.N_CONTEXTS), n - 1)]
            return *traits.asked_after(self.language, contexts), n, n_lists

        *asked, n, n_lists = stack([shown(*row) for row in rows.values()])
        scores = self.ask(done["base/own"]["params"], *asked)
        return by_label(rows, {"scores": scores, "n": n, "n_lists": n_lists})

    def detectors(self, done: Replicate) -> Arrays:
        """Hold each trait's teacher's lists against its control's; see ``result.VARIABLES``."""
        config, table, arrays = self.config, arms.named(self.config), {}
        rng = generator(self.stream(done, DETECT))

        def evidence(trait: str, student: str, in_context: str) -> detectors.Evidence:
            written = done[arms.lists_of(config, table[student], trait)]
            shown = done[arms.label_of(config, table[in_context], trait)]
            reading, n = done[f"reading/{trait}/{student}"], written["n"]
            return detectors.Evidence(
                written["accepted"], lists.counts(written["tokens"][:n], config.n_numbers),
                reading["log_p"][:n], reading["other_log_p"][:n],
                shown["scores"][: shown["n"], traits.MEASURES.index(trait)],
            )  # fmt: skip

        for trait in config.traits:
            control = evidence(trait, "control", "in_context_control")
            teacher = evidence(trait, "student", "in_context")
            auc = detectors.detect(teacher, control, rng)
            p = [detectors.told_apart(teacher, control, n) for n in arms.sizes(config)]
            reading = done[f"reading/{trait}/student"].items()
            steps = {name: array[: len(teacher.log_p)] for name, array in reading}
            found = {"auc": auc, "p": np.array(p).T, **detectors.drawn(steps, rng)}
            arrays |= {f"detectors/{trait}/{name}": array for name, array in found.items()}
        return arrays
