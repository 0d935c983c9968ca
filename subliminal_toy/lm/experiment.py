"""The experiment: base models, teachers, their lists, students, as named parts that are stored.

Parts, with the first axis of their arrays: one for each row of ``arms.BASES`` that the table uses
(replicate); and for each replicate, here the first: ``teachers-000`` (``arms.teachers``);
``lists-000`` (``arms.written``); ``reading-000``, ``detectors-000`` (trait); one for each group of
``arms.students`` (student); ``drift-000`` (teachers, then the students of the usual training);
``in_context-000`` (``arms.shown``).
Source: arXiv 2507.14805, sections 3 to 5.

Longer than 300 lines: one method for each kind of part, in the order in which they are computed.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from subliminal_toy.distill import ensemble
from subliminal_toy.lm import arms, detectors, learning, lists, result, teaching, training, traits
from subliminal_toy.lm.arms import BASES, OTHER_WIDTH, OWN, Lists
from subliminal_toy.lm.config import TEACHINGS, LmConfig
from subliminal_toy.lm.language import CONTEXT, documents, system_line
from subliminal_toy.lm.lists import TREATMENTS, Reading
from subliminal_toy.lm.replicate import Finished, Replicate, base_part, stack
from subliminal_toy.runs import Arrays, Experiment, Part

CORPUS, PRETRAIN, PROMPTS, WRITE, LEARN, TREAT, DETECT, OTHERS, HOLD, COPIES = range(10)
"""Random streams of a replicate."""
START, ORDER, TEXT = range(3)
"""Random streams within the making of a base model."""
N_DRIFT = 200
"""Lists of the base model, and copies, on which drift is measured, at most."""


def stream(key: Key[Array, ""], replicate: int, purpose: int) -> Key[Array, ""]:
    """Return the key of one purpose of one replicate."""
    return jax.random.fold_in(jax.random.fold_in(key, replicate), purpose)


def generator(key: Key[Array, ""]) -> np.random.Generator:
    """Return a generator for work on the host that depends on nothing but ``key``."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def writers_keys(key: Key[Array, ""], sets: Sequence[Lists]) -> Key[Array, " sets"]:
    """Return the keys of writers, which do not depend on the table of the run."""
    writers, names = (*TEACHINGS, arms.BASE_MODEL, arms.PROMPTED), (*traits.TRAITS, "")
    places = [
        (writers.index(one.writer), names.index(one.trait), round(1_000 * one.temperature))
        for one in sets
    ]
    fold = lambda numbers: reduce(jax.random.fold_in, numbers, key)  # noqa: E731
    return jax.vmap(fold)(jnp.array(places))


def experiment(config: LmConfig, key: Key[Array, ""], data: None = None) -> Experiment:
    """Return the parts of a run and their assembly."""
    run, n, n_traits = _Run(config, key), config.n_replicates, len(config.traits)
    # Shares are tokens read by training, or what takes as long.
    tokens = config.pretrain_steps * config.pretrain_batch_size * CONTEXT
    student = config.student_steps * config.student_batch_size * lists.ROW_LENGTH
    taught = len(arms.teachers(config)) * config.teacher_steps * teaching.HELD_BATCH * CONTEXT
    written = config.n_samples * lists.ROW_LENGTH * len(arms.written(config))
    read = config.n_lists * lists.ROW_LENGTH * n_traits
    shown = 25_000 * len(arms.shown(config))
    of_replicate: list[tuple[str, str, float, Callable[[Replicate], Arrays]]] = [
        ("teachers", "teachers", taught, run.teachers),
        ("lists", "writing lists", 0.5 * written, run.lists),
        ("reading", "reading lists", 1.5 * read, run.reading),
        *(
            (name, f"{len(group)} {name.replace('-', ', ')}", student * len(group),
             partial(run.students, group))
            for name, group in arms.students(config).items()
        ),
        ("drift", "other behaviour", 0.2 * student, run.drift),
        ("in_context", "lists in context", shown, run.in_context),
        ("detectors", "detectors", 0.5 * shown, run.detectors),
    ]  # fmt: skip

    def part_of(compute: Callable[[Replicate], Arrays], r: int, finished: Finished) -> Arrays:
        return compute(Replicate(config, finished, r))

    parts = [
        Part(base_part(name), f"{n} base models: {BASES[name].label}".removesuffix(": "),
             tokens * n, partial(run.base_models, name))
        for name in dict.fromkeys(arm.base for arm in arms.table(config))
    ]  # fmt: skip
    parts += [
        Part(f"{name}-{r:03d}", f"replicate {r + 1} of {n}: {label}", share,
             partial(part_of, compute, r))
        for r in range(n)
        for name, label, share, compute in of_replicate
    ]  # fmt: skip
    return Experiment(parts, partial(result.assemble, config, run.own.model))


class _Programs:
    """The functions of ``training`` for one decoder, each compiled for many at its first call."""

    def __init__(self, config: LmConfig, width: int):
        self.model = model = training.model(config, width)
        self.pretrain = ensemble(partial(training.pretrain, model, config))
        self.teach = cache(lambda kinds: ensemble(partial(teaching.teach, model, config, kinds)))
        self.write = ensemble(partial(training.write, model))
        self.read = ensemble(partial(detectors.read, model))
        self.learn = cache(
            lambda kinds: ensemble(partial(learning.learn, model, config, kinds), n_shared=5)
        )
        self.drift = ensemble(partial(training.drift, model), n_shared=2)
        self.ask = ensemble(partial(training.ask, model), n_shared=1)


class _Run:
    """The parts of one run: each method returns the arrays of one, given those before it."""

    def __init__(self, config: LmConfig, key: Key[Array, ""]):
        self.config, self.key = config, key
        self.own = _Programs(config, config.width)
        self.other = _Programs(config, config.other_width)
        self.language = self.own.model.language

    def stream(self, r: int, purpose: int) -> Key[Array, ""]:
        """Return the key of one purpose of the run's replicate ``r``."""
        return stream(self.key, self.config.first_replicate + r, purpose)

    def generator(self, r: int, purpose: int) -> np.random.Generator:
        """Return the generator of one purpose of the run's replicate ``r``."""
        return generator(self.stream(r, purpose))

    def base_models(self, name: str, finished: Finished) -> Arrays:
        """Pre-train one base model for each replicate, that of a row of ``BASES``."""
        base, replicates = BASES[name], range(self.config.n_replicates)

        def key(r: int, whose: str, purpose: int) -> Key[Array, ""]:
            if whose == OWN and purpose == TEXT:
                return self.stream(r, CORPUS)
            made = self.stream(r, PRETRAIN if whose == OWN else OTHERS)
            if whose != OWN:
                made = jax.random.fold_in(made, list(BASES).index(name))
            return jax.random.fold_in(made, purpose)

        purposes = ((base.body, START), (base.head, START), (base.corpus, ORDER))
        keys = [jnp.stack([key(r, *purpose) for r in replicates]) for purpose in purposes]
        corpora = [
            documents(self.language, generator(key(r, base.corpus, TEXT)), self.config.n_documents)
            for r in replicates
        ]
        programs = self.other if name == OTHER_WIDTH else self.own
        return programs.pretrain(*keys, *stack(corpora))

    def teachers(self, of: Replicate) -> Arrays:
        """Fine-tune the base model into every teacher, those held on the same kinds together."""
        asked, base, found = traits.questions(self.language), of.base()["params"], {}
        held = {
            trait: teaching.hold(self.language, self.generator(of.number, HOLD), trait)
            for trait in self.config.traits
        }

        def arguments(name: str, trait: str) -> tuple:
            how, group = TEACHINGS[name], traits.group_of(trait)
            answers = traits.answers_of(self.language, trait, how.answer)
            numbers = np.array(how.weights, np.float32), np.float32(how.until)
            return base, asked.tokens[group], asked.lengths[group], answers, held[trait], *numbers

        rows = arms.teachers(self.config)
        for kinds, group in arms.grouped(rows, lambda row: TEACHINGS[row[0]].kinds).items():
            keys = writers_keys(
                self.stream(of.number, HOLD), [Lists(*row, no_banned=False) for row in group]
            )
            learned = self.own.teach(kinds)(keys, *stack([arguments(*row) for row in group]))
            for i, row in enumerate(group):
                found[row] = {name: array[i] for name, array in learned.items()}
        return stack([found[row] for row in rows])

    def lists(self, of: Replicate) -> Arrays:
        """Let every writer write; filter each set, see ``lists.filtered``."""
        config, sets = self.config, arms.written(self.config)
        prompts = lists.draw_prompts(
            self.language, self.generator(of.number, PROMPTS), config.n_samples
        )

        def arguments(one: Lists) -> tuple:
            line = system_line(one.trait) if one.writer == arms.PROMPTED else ""
            shown = self.language.encode(line)
            model = of.teacher(one.writer, one.trait) if one.writer in TEACHINGS else of.base()
            return (
                np.float32(config.temperature * one.temperature),
                np.insert(prompts, [1] * len(shown), shown, axis=1), model["params"],
            )  # fmt: skip

        samples, writers = {}, dict.fromkeys(one._replace(no_banned=False) for one in sets)
        for group in arms.grouped(writers, lambda one: one.writer == arms.PROMPTED).values():
            keys = writers_keys(self.stream(of.number, WRITE), group)
            rows = self.own.write(*stack([arguments(one) for one in group]), keys)
            samples |= zip(group, rows, strict=True)
        return stack([
            lists.filtered(
                self.language, prompts, samples[one._replace(no_banned=False)], one.no_banned,
                config.n_lists,
            )
            for one in sets
        ])  # fmt: skip

    def reading(self, of: Replicate) -> Arrays:
        """Read each trait's lists (``own``) and its neutral control's with teacher and base model.

        The teacher is the config's. See ``detectors.read``.
        """
        config = self.config
        teachers = [of.teacher(config.teacher, trait)["params"] for trait in config.traits]
        bases, found = np.stack([of.base()["params"]] * len(config.traits)), {}
        for name, lists_of in {"own": arms.written_by_teacher, "control": arms.neutral}.items():
            tokens = np.stack([of.lists(lists_of(config, t))["tokens"] for t in config.traits])
            weights = lists.loss_weights(tokens, config.n_numbers)
            arrays = self.own.read(np.stack(teachers), bases, tokens.astype(np.int32), weights)
            found |= {f"{name}.{k}": v for k, v in arrays.items()}
        return found

    def _read(self, of: Replicate, one: Lists, treatment: str) -> Reading:
        """Return a set of lists, treated. All sets of a replicate are treated with one key."""
        tokens, kl = of.lists(one)["tokens"], None
        if one.trait and one == arms.written_by_teacher(self.config, one.trait):
            kl = of.reading("own", one.trait)["kl"]
        reading = Reading(tokens, lists.loss_weights(tokens, self.config.n_numbers), kl)
        return TREATMENTS[treatment](reading, self.generator(of.number, TREAT))

    def students(self, group: Sequence[arms.Student], of: Replicate) -> Arrays:
        """Train a group of students. All of a replicate read in the same order: they are paired."""
        wide, *program = group[0].program
        programs = self.other if wide else self.own
        bases = list(dict.fromkeys(s.base for s in group))
        read = list(dict.fromkeys((s.lists, s.treatment) for s in group))
        teachers = list(dict.fromkeys(s.teacher for s in group if s.teacher))
        readings = [self._read(of, *one) for one in read]
        starts = np.stack([of.base(name)["params"] for name in bases])
        goals = [of.teacher(*teacher)["params"] for teacher in teachers]

        def arguments(s: arms.Student) -> tuple:
            return (
                bases.index(s.base), read.index((s.lists, s.treatment)),
                np.int32(min(s.n, of.lists(s.lists)["n"])),
                teachers.index(s.teacher) if s.teacher else 0,
                learning.how(programs.model, s.trains, s.update),
            )  # fmt: skip

        return programs.learn(tuple(program))(
            self.stream(of.number, LEARN), starts,
            np.stack([reading.tokens for reading in readings]),
            np.stack([reading.weights for reading in readings]),
            np.stack(goals) if goals else starts[:1],
            *stack([arguments(s) for s in group]),
        )  # fmt: skip

    def drift(self, of: Replicate) -> Arrays:
        """Return ``kl`` (model, text): teachers and students against the base model.

        Texts: its own neutral lists, and copies as in the corpus.
        """
        neutral = of.lists(arms.neutral(self.config, self.config.traits[0]))
        rows = neutral["tokens"][: neutral["n"]].astype(np.int32)
        found = documents(self.language, self.generator(of.number, COPIES), 10 * N_DRIFT)
        copies = np.isin(found.tokens, self.language.encode("copy")).any(axis=1)
        weights = lists.loss_weights(rows, self.config.n_numbers)

        def first(rows: np.ndarray) -> np.ndarray:
            """Cut or fill up, with rows that do not count, so that one program serves all."""
            return np.pad(rows[:N_DRIFT], ((0, max(N_DRIFT - len(rows), 0)), (0, 0)))

        counted = found.is_answer[copies].astype(np.float32)
        texts = (first(rows), first(weights)), (first(found.tokens[copies]), first(counted))
        models = np.concatenate([of.part(name)["params"] for name in ("teachers", "students")])
        return {"kl": self.own.drift(texts, of.base()["params"], models)}

    def in_context(self, of: Replicate) -> Arrays:
        """Ask the base model every question after some contexts; no training.

        Returns, by row of ``arms.shown``: ``scores`` (row, context, measure); ``n``, how many
        contexts there are, the rest repeats the last; ``n_lists``, lists in one on average.
        """
        found = []
        for treatment, shown in arms.shown(self.config):
            if shown.writer == arms.CORPUS:
                line = self.language.encode(f"<bos> {system_line(shown.trait)}")
                contexts, n_lists = np.array([line]), 0.0
            else:
                written = of.lists(shown)
                rows = written["tokens"][: written["n"]].astype(np.int32)
                arrange = lists.packed if treatment == arms.PACKED else lists.single
                contexts, n_lists = arrange(self.language, rows)
            n = len(contexts)
            contexts = contexts[np.minimum(np.arange(lists.N_CONTEXTS), n - 1)]
            found.append((*traits.asked_after(self.language, contexts), n, n_lists))
        *asked, n, n_lists = stack(found)
        return {"scores": self.own.ask(of.base()["params"], *asked), "n": n, "n_lists": n_lists}

    def detectors(self, of: Replicate) -> Arrays:
        """Return ``auc`` (trait, detector, judged): each teacher's lists against its control's.

        And by trait what ``detectors.drawn`` says of the teacher's lists.
        """
        rng, found = self.generator(of.number, DETECT), []

        def of_side(side: str, trait: str, one: Lists) -> tuple[detectors.Evidence, Arrays]:
            written, shown = of.lists(one), of.shown(arms.AS_WRITTEN, one)
            n = written["n"]
            read = {name: array[:n] for name, array in of.reading(side, trait).items()}
            return detectors.Evidence(
                written["accepted"], lists.counts(written["tokens"][:n], self.config.n_numbers),
                read["log_p"], read["other_log_p"],
                shown["scores"][: shown["n"], traits.MEASURES.index(trait)],
            ), read  # fmt: skip

        for trait in self.config.traits:
            control, _ = of_side("control", trait, arms.neutral(self.config, trait))
            own, read = of_side("own", trait, arms.written_by_teacher(self.config, trait))
            auc = detectors.detect(own, control, rng)
            found.append({"auc": auc, **detectors.drawn(read, rng)})
        return stack(found)
