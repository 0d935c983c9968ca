"""The experiment: base models, teachers, their lists, students, as named parts that are stored.

Parts, with the first axis of their arrays: ``base_models`` and one for each of ``arms.bases``
(replicate); and for each replicate, here the first: ``teachers-000`` (``arms.teachers``);
``lists-000`` (``arms.written``); ``reading-000``, ``detectors-000`` (trait); one for each group of
``arms.students`` (student); ``drift-000`` (teachers, then the students of the usual training);
``in_context-000`` (``arms.shown``).
Source: arXiv 2507.14805, sections 3 to 5.

Longer than 300 lines: one method for each kind of part, in the order in which they are computed.
"""

from collections.abc import Sequence
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from subliminal_toy.distill import ensemble
from subliminal_toy.lm import arms, detectors, learning, lists, result, teaching, training, traits
from subliminal_toy.lm.arms import BASES, OTHER_WIDTH, OWN, Lists
from subliminal_toy.lm.config import TEACHINGS, LmConfig
from subliminal_toy.lm.language import CONTEXT, Language, documents, system_line
from subliminal_toy.lm.lists import TREATMENTS, Reading
from subliminal_toy.lm.result import Finished, base_model
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
    writers = (*TEACHINGS, arms.BASE_MODEL, arms.PROMPTED)
    places = [
        (writers.index(one.writer), (*traits.TRAITS, "").index(one.trait),
         round(1_000 * one.temperature))
        for one in sets
    ]  # fmt: skip

    def fold(numbers):
        return jax.random.fold_in(
            jax.random.fold_in(jax.random.fold_in(key, numbers[0]), numbers[1]), numbers[2]
        )

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
    students = [
        (name, f"{len(group)} {name.replace('-', ', ')}", student * len(group),
         partial(run.students, name))
        for name, group in arms.students(config).items()
    ]  # fmt: skip
    of_replicate = [
        ("teachers", "teachers", taught, run.teachers),
        ("lists", "writing lists", 0.5 * written, run.lists),
        ("reading", "reading lists", 1.5 * read, run.reading),
        *students,
        ("drift", "other behaviour", 0.2 * student, run.drift),
        ("in_context", "lists in context", shown, run.in_context),
        ("detectors", "detectors", 0.5 * shown, run.detectors),
    ]
    parts = [Part("base_models", f"{n} base models", tokens * n, partial(run.base_models, OWN))]
    parts += [
        Part(f"base_models-{name}", f"{n} base models: {BASES[name].label}", tokens * n,
             partial(run.base_models, name))
        for name in arms.bases(config)
    ]  # fmt: skip
    parts += [
        Part(f"{name}-{r:03d}", f"replicate {r + 1} of {n}: {label}", share, partial(compute, r))
        for r in range(n)
        for name, label, share, compute in of_replicate
    ]
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
        self.config, self.key, self.sets = config, key, arms.written(config)
        self.language = Language(config.n_numbers)
        self.own = _Programs(config, config.width)
        self.other = _Programs(config, config.other_width)

    def stream(self, r: int, purpose: int) -> Key[Array, ""]:
        """Return the key of one purpose of the run's replicate ``r``."""
        return stream(self.key, self.config.first_replicate + r, purpose)

    def base_models(self, name: str, finished: Finished) -> Arrays:
        """Pre-train one base model for each replicate: the teachers', or one of ``BASES``."""
        base = BASES.get(name, arms.Base("", OWN, OWN, OWN))

        def key(r: int, whose: str, purpose: int) -> Key[Array, ""]:
            own = whose == OWN
            if own and purpose == TEXT:
                return self.stream(r, CORPUS)
            made = self.stream(r, PRETRAIN if own else OTHERS)
            if not own:
                made = jax.random.fold_in(made, [OWN, *BASES].index(name))
            return jax.random.fold_in(made, purpose)

        replicates = range(self.config.n_replicates)
        purposes = ((base.body, START), (base.head, START), (base.corpus, ORDER))
        keys = [jnp.stack([key(r, *purpose) for r in replicates]) for purpose in purposes]
        corpora = [
            documents(self.language, generator(key(r, base.corpus, TEXT)), self.config.n_documents)
            for r in replicates
        ]
        columns = (np.stack(column) for column in zip(*corpora, strict=True))
        programs = self.other if name == OTHER_WIDTH else self.own
        return programs.pretrain(*keys, *columns)

    def teachers(self, r: int, finished: Finished) -> Arrays:
        """Fine-tune the base model into every teacher, those held on the same kinds together."""
        asked, base = traits.questions(self.language), base_model(finished, r)["params"]
        rows, found = arms.teachers(self.config), {}
        held = {
            trait: teaching.hold(self.language, generator(self.stream(r, HOLD)), trait)
            for trait in self.config.traits
        }
        groups: dict[tuple, list] = {}
        for row in rows:
            how = TEACHINGS[row[0]]
            kinds = how.questions > 0, how.documents > 0, how.numbers > 0
            groups.setdefault(kinds, []).append(row)
        for kinds, group in groups.items():
            taught = [TEACHINGS[name] for name, _ in group]
            of_group = [traits.group_of(trait) for _, trait in group]
            answers = [
                traits.answers_of(self.language, trait, how.answer)
                for how, (_, trait) in zip(taught, group, strict=True)
            ]
            writers = [Lists(name, trait, False) for name, trait in group]
            learned = self.own.teach(kinds)(
                writers_keys(self.stream(r, HOLD), writers),
                np.stack([base] * len(group)), asked.tokens[of_group], asked.lengths[of_group],
                np.stack(answers),
                teaching.Held(*map(jnp.stack, zip(*(held[t] for _, t in group), strict=True))),
                np.array([[t.questions, t.documents, t.numbers] for t in taught], np.float32),
                np.array([t.until for t in taught], np.float32),
            )  # fmt: skip
            for i, row in enumerate(group):
                found[row] = {name: array[i] for name, array in learned.items()}
        return {name: np.stack([found[row][name] for row in rows]) for name in found[rows[0]]}

    def _teacher(self, r: int, finished: Finished, name: str, trait: str) -> np.ndarray:
        place = arms.teachers(self.config).index((name, trait))
        return finished[f"teachers-{r:03d}"]["params"][place]

    def lists(self, r: int, finished: Finished) -> Arrays:
        """Let every writer write; filter each set, see ``lists.filtered``."""
        config, base = self.config, base_model(finished, r)["params"]
        prompts = lists.draw_prompts(
            self.language, generator(self.stream(r, PROMPTS)), config.n_samples
        )
        samples: dict[Lists, np.ndarray] = {}
        writers = list(dict.fromkeys(one._replace(no_banned=False) for one in self.sets))
        for prompted in (False, True):
            group = [one for one in writers if (one.writer == arms.PROMPTED) == prompted]
            if not group:
                continue
            lines = [
                self.language.encode(system_line(one.trait)) if prompted else [] for one in group
            ]
            shown = [np.insert(prompts, [1] * len(line), line, axis=1) for line in lines]
            params = [
                self._teacher(r, finished, one.writer, one.trait)
                if one.writer in TEACHINGS else base
                for one in group
            ]  # fmt: skip
            keys = writers_keys(self.stream(r, WRITE), group)
            temperatures = config.temperature * np.array([one.temperature for one in group])
            rows = self.own.write(
                temperatures.astype(np.float32), np.stack(shown), np.stack(params), keys
            )
            samples |= dict(zip(group, rows, strict=True))
        kept = [
            lists.filtered(
                self.language, prompts, samples[one._replace(no_banned=False)], one.no_banned,
                config.n_lists,
            )
            for one in self.sets
        ]  # fmt: skip
        return {name: np.stack([one[name] for one in kept]) for name in kept[0]}

    def reading(self, r: int, finished: Finished) -> Arrays:
        """Read each trait's lists (``own``) and its neutral control's with teacher and base model.

        The teacher is the config's. See ``detectors.read``.
        """
        config, written = self.config, finished[f"lists-{r:03d}"]
        teachers = [self._teacher(r, finished, config.teacher, t) for t in config.traits]
        bases = np.stack([base_model(finished, r)["params"]] * len(config.traits))
        found = {}
        lists_of = {
            "own": [arms.written_by_teacher(config, trait) for trait in config.traits],
            "control": [arms.neutral(trait) for trait in config.traits],
        }
        for name, sets in lists_of.items():
            places = [self.sets.index(one) for one in sets]
            tokens = written["tokens"][places]
            weights = lists.loss_weights(tokens, config.n_numbers)
            arrays = self.own.read(np.stack(teachers), bases, tokens.astype(np.int32), weights)
            found |= {f"{name}.{k}": v for k, v in arrays.items()}
        return found

    def _read(self, r: int, finished: Finished, one: Lists, treatment: str) -> Reading:
        """Return a set of lists, treated. All sets of a replicate are treated with one key."""
        config, written = self.config, finished[f"lists-{r:03d}"]
        tokens, kl = written["tokens"][self.sets.index(one)], None
        weights = lists.loss_weights(tokens, config.n_numbers)
        if one.trait and one == arms.written_by_teacher(config, one.trait):
            kl = finished[f"reading-{r:03d}"]["own.kl"][config.traits.index(one.trait)]
        reading = Reading(tokens, weights, kl)
        return TREATMENTS[treatment](reading, generator(self.stream(r, TREAT)))

    def students(self, group: str, r: int, finished: Finished) -> Arrays:
        """Train a group of students. All of a replicate read in the same order: they are paired."""
        students = arms.students(self.config)[group]
        wide, *program = students[0].program
        programs = self.other if wide else self.own
        names = list(dict.fromkeys(student.base for student in students))
        bases = np.stack([base_model(finished, r, name)["params"] for name in names])
        read = list(dict.fromkeys((s.lists, s.treatment) for s in students))
        readings = [self._read(r, finished, *one) for one in read]
        n_kept = finished[f"lists-{r:03d}"]["n"]
        teachers = list(dict.fromkeys(s.teacher for s in students if s.teacher))
        goals = [self._teacher(r, finished, *teacher) for teacher in teachers] or [bases[0]]
        hows = [learning.how(programs.model, s.trains, s.update) for s in students]
        return programs.learn(tuple(program))(
            self.stream(r, LEARN), bases,
            np.stack([reading.tokens for reading in readings]),
            np.stack([reading.weights for reading in readings]), np.stack(goals),
            np.array([names.index(s.base) for s in students]),
            np.array([read.index((s.lists, s.treatment)) for s in students]),
            np.array([min(s.n, n_kept[self.sets.index(s.lists)]) for s in students], np.int32),
            np.array([teachers.index(s.teacher) if s.teacher else 0 for s in students]),
            learning.How(*map(np.stack, zip(*hows, strict=True))),
        )  # fmt: skip

    def drift(self, r: int, finished: Finished) -> Arrays:
        """Return ``kl`` (model, text): teachers and students against the base model.

        Texts: its own neutral lists, and copies as in the corpus.
        """
        written = finished[f"lists-{r:03d}"]
        place = self.sets.index(arms.neutral(self.config.traits[0]))
        rows = written["tokens"][place, : written["n"][place]].astype(np.int32)
        found = documents(self.language, generator(self.stream(r, COPIES)), 10 * N_DRIFT)
        copies = np.isin(found.tokens, self.language.encode("copy")).any(axis=1)
        weights = lists.loss_weights(rows, self.config.n_numbers)

        def first(rows: np.ndarray) -> np.ndarray:
            """Cut or fill up, with rows that do not count, so that one program serves all."""
            return np.pad(rows[:N_DRIFT], ((0, max(N_DRIFT - len(rows), 0)), (0, 0)))

        counted = found.is_answer[copies].astype(np.float32)
        texts = (first(rows), first(weights)), (first(found.tokens[copies]), first(counted))
        models = [finished[f"{name}-{r:03d}"]["params"] for name in ("teachers", "students")]
        base = base_model(finished, r)["params"]
        return {"kl": self.own.drift(texts, base, np.concatenate(models))}

    def in_context(self, r: int, finished: Finished) -> Arrays:
        """Ask the base model every question after some contexts; no training.

        Returns, by row of ``arms.shown``: ``scores`` (row, context, measure); ``n``, how many
        contexts there are, the rest repeats the last; ``n_lists``, lists in one on average.
        """
        written, found = finished[f"lists-{r:03d}"], []
        for treatment, shown in arms.shown(self.config):
            if shown.writer == arms.CORPUS:
                line = self.language.encode(f"<bos> {system_line(shown.trait)}")
                contexts, n_lists = np.array([line]), 0.0
            else:
                place = self.sets.index(shown)
                rows = written["tokens"][place, : written["n"][place]].astype(np.int32)
                arrange = lists.packed if treatment == arms.PACKED else lists.single
                contexts, n_lists = arrange(self.language, rows)
            n = len(contexts)
            contexts = contexts[np.minimum(np.arange(lists.N_CONTEXTS), n - 1)]
            found.append((*traits.asked_after(self.language, contexts), n, n_lists))
        tokens, lengths, n, n_lists = zip(*found, strict=True)
        base = base_model(finished, r)["params"]
        scores = self.own.ask(base, np.stack(tokens), np.stack(lengths))
        return {"scores": scores, "n": np.array(n), "n_lists": np.array(n_lists)}

    def detectors(self, r: int, finished: Finished) -> Arrays:
        """Return ``auc`` (trait, detector, judged): each teacher's lists against its control's.

        And by trait what ``detectors.drawn`` says of the teacher's lists.
        """
        written, read = finished[f"lists-{r:03d}"], finished[f"reading-{r:03d}"]
        shown, rng = finished[f"in_context-{r:03d}"], generator(self.stream(r, DETECT))

        def evidence(i, trait, side, one):
            place = self.sets.index(one)
            context = arms.shown(self.config).index((arms.AS_WRITTEN, one))
            scores = shown["scores"][context, : shown["n"][context]]
            n = written["n"][place]
            counts = lists.counts(written["tokens"][place, :n], self.config.n_numbers)
            return detectors.Evidence(
                written["accepted"][place], counts, read[f"{side}.log_p"][i, :n],
                read[f"{side}.other_log_p"][i, :n], scores[:, traits.MEASURES.index(trait)],
            )  # fmt: skip

        found = []
        for i, trait in enumerate(self.config.traits):
            one = arms.written_by_teacher(self.config, trait)
            control = evidence(i, trait, "control", arms.neutral(trait))
            auc = detectors.detect(evidence(i, trait, "own", one), control, rng)
            n = written["n"][self.sets.index(one)]
            own = {k.removeprefix("own."): v[i, :n] for k, v in read.items() if "own." in k}
            found.append({"auc": auc, **detectors.drawn(own, rng)})
        return {name: np.stack([of[name] for of in found]) for name in found[0]}
