"""The experiment: base models, teachers, their lists, students, as named parts that are stored.

Parts, with the first axis of their arrays: ``base_models``, ``other_width`` (replicate), and for
each replicate, here the first: ``teachers-000``, ``soft-000``, ``reading-000``, ``detectors-000``
(trait); ``lists-000`` (``arms.written``); ``students-000``, ``other_width_students-000``
(``arms.students``); ``in_context-000`` (``arms.shown``).
Source: arXiv 2507.14805, sections 3 to 5.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from subliminal_toy.distill import ensemble
from subliminal_toy.lm import arms, detectors, lists, result, training, traits
from subliminal_toy.lm.arms import ANOTHER, OTHER_WIDTH, OWN, Lists
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.language import CONTEXT, Language, documents, system_line
from subliminal_toy.lm.result import Finished, base_model
from subliminal_toy.runs import Arrays, Experiment, Part

CORPUS, PRETRAIN, PROMPTS, WRITE, LEARN, MASK, DETECT, PRETRAIN_OTHER_WIDTH = range(8)
"""Random streams of a replicate."""
FIRST_PROMPTED = 1_000
"""Place of the first prompted writer in the stream ``WRITE``."""


def stream(key: Key[Array, ""], replicate: int, purpose: int) -> Key[Array, ""]:
    """Return the key of one purpose of one replicate."""
    return jax.random.fold_in(jax.random.fold_in(key, replicate), purpose)


def generator(key: Key[Array, ""]) -> np.random.Generator:
    """Return a generator for work on the host that depends on nothing but ``key``."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def experiment(config: LmConfig, key: Key[Array, ""], data: None = None) -> Experiment:
    """Return the parts of a run and their assembly."""
    run, n, n_traits = _Run(config, key), config.n_replicates, len(config.traits)
    # Shares are tokens read by training, or what takes as long.
    student = config.student_steps * config.student_batch_size * lists.ROW_LENGTH
    n_students, n_others = (
        len(arms.students(config, *bases)) for bases in ((OWN, ANOTHER), (OTHER_WIDTH,))
    )
    written = config.n_samples * lists.ROW_LENGTH * len(arms.written(config))
    read = config.n_lists * lists.ROW_LENGTH * n_traits
    shown = 25_000 * len(arms.shown(config))
    of_replicate = [
        ("teachers", "teachers", 100 * config.teacher_steps * n_traits, run.teachers),
        ("lists", "writing lists", 0.5 * written, run.lists),
        ("reading", "reading lists", 1.5 * read, run.reading),
        ("students", f"{n_students} students", n_students * student, run.students),
        ("soft", "students of distributions", 1.6 * n_traits * student, run.soft),
        ("in_context", "lists in context", shown, run.in_context),
        ("detectors", "detectors", 0.5 * shown, run.detectors),
    ]
    tokens = config.pretrain_steps * config.pretrain_batch_size * CONTEXT
    n_bases = max(n, 2)  # a single replicate, too, needs another base model
    pretrain = partial(run.base_models, run.own, PRETRAIN, n_bases)
    parts = [Part("base_models", f"{n_bases} base models", tokens * n_bases, pretrain)]
    if config.cross_width:
        pretrain = partial(run.base_models, run.other, PRETRAIN_OTHER_WIDTH, n)
        parts += [Part("other_width", f"{n} base models of another width", tokens * n, pretrain)]
        of_replicate += [("other_width_students", "students of another width",
                          n_others * student, run.other_width_students)]  # fmt: skip
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
        self.teach = ensemble(partial(training.teach, model, config))
        self.write = ensemble(partial(training.write, model, config))
        self.read = ensemble(partial(detectors.read, model))
        self.learn = ensemble(partial(training.learn, model, config), n_shared=4)
        self.imitate = ensemble(partial(training.imitate, model, config), n_shared=4)
        self.ask = ensemble(partial(training.ask, model), n_shared=1)


class _Run:
    """The parts of one run: each method returns the arrays of one, given those before it."""

    def __init__(self, config: LmConfig, key: Key[Array, ""]):
        self.config, self.key, self.sets = config, key, arms.written(config)
        self.language = Language(config.n_numbers)
        self.own = _Programs(config, config.width)
        self.other = _Programs(config, config.cross_width) if config.cross_width else self.own

    def base_models(self, programs: _Programs, purpose: int, n: int, finished: Finished) -> Arrays:
        """Pre-train a base model for each replicate: a corpus of its own, a key for each width."""
        keys = jnp.stack([stream(self.key, r, purpose) for r in range(n)])
        generators = [generator(stream(self.key, r, CORPUS)) for r in range(n)]
        corpora = [documents(self.language, rng, self.config.n_documents) for rng in generators]
        return programs.pretrain(keys, *(np.stack(part) for part in zip(*corpora, strict=True)))

    def teachers(self, r: int, finished: Finished) -> Arrays:
        """Fine-tune the base model into the teacher of each trait."""
        names, asked = self.config.traits, traits.questions(self.language)
        groups = [traits.group_of(trait) for trait in names]
        answers = [traits.answers_of(self.language, trait) for trait in names]
        bases = np.stack([base_model(finished, r)["params"]] * len(names))
        return self.own.teach(bases, asked.tokens[groups], asked.lengths[groups], np.stack(answers))

    def lists(self, r: int, finished: Finished) -> Arrays:
        """Let every teacher and the base model write; filter each set, see ``lists.filtered``."""
        config, base = self.config, base_model(finished, r)["params"]
        rng = generator(stream(self.key, r, PROMPTS))
        prompts = lists.draw_prompts(self.language, rng, config.n_samples)
        fold = jax.vmap(partial(jax.random.fold_in, stream(self.key, r, WRITE)))

        names = [*((arms.TEACHER, trait) for trait in config.traits), (arms.BASE_MODEL, "")]
        writers = np.stack([*finished[f"teachers-{r:03d}"]["params"], base])
        keys = fold(jnp.arange(len(names)))
        samples = [*self.own.write(np.stack([prompts] * len(names)), writers, keys)]
        if config.prompted and (named := arms.favourites(config)):
            names += [(arms.PROMPTED, trait) for trait in named]
            lines = [self.language.encode(system_line(trait)) for trait in named]
            longer = [np.insert(prompts, [1] * len(line), line, axis=1) for line in lines]
            keys = fold(FIRST_PROMPTED + jnp.arange(len(named)))
            samples += [*self.own.write(np.stack(longer), np.stack([base] * len(named)), keys)]
        kept = [
            lists.filtered(
                self.language, prompts, samples[names.index((one.writer, one.trait))],
                one.no_banned, config.n_lists,
            )
            for one in self.sets
        ]  # fmt: skip
        return {name: np.stack([one[name] for one in kept]) for name in kept[0]}

    def reading(self, r: int, finished: Finished) -> Arrays:
        """Read each trait's lists (``own``) and its neutral control's with teacher and base model.

        ``next``: read the trait's lists with its and the next trait's teacher. See
        ``detectors.read``.
        """
        names, written = self.config.traits, finished[f"lists-{r:03d}"]
        teachers = finished[f"teachers-{r:03d}"]["params"]
        bases = np.stack([base_model(finished, r)["params"]] * len(names))
        pairs = {"own": (arms.written_by_teacher, bases), "control": (arms.neutral, bases)}
        if self.config.divergence:
            pairs["next"] = (arms.written_by_teacher, np.roll(teachers, -1, axis=0))
        found = {}
        for name, (lists_of, others) in pairs.items():
            tokens = written["tokens"][[self.sets.index(lists_of(trait)) for trait in names]]
            weights = lists.loss_weights(tokens, self.config.n_numbers)
            arrays = self.own.read(teachers, others, tokens.astype(np.int32), weights)
            found |= {f"{name}.{k}": v for k, v in arrays.items()}
        return found

    def _training_sets(self, r: int, finished: Finished) -> tuple[list[Lists], Arrays]:
        """Return the sets of lists, those with tokens left out of the loss too."""
        config, written = self.config, finished[f"lists-{r:03d}"]
        sets, source = [*self.sets], list(range(len(self.sets)))
        weights = [*lists.loss_weights(written["tokens"], config.n_numbers)]
        rng = generator(stream(self.key, r, MASK))
        for trait in arms.probed(config) if config.divergence else ():
            own = arms.written_by_teacher(trait)
            place = sets.index(own)
            differs = finished[f"reading-{r:03d}"]["next.differs"][config.traits.index(trait)]
            sets += [own._replace(treatment=t) for t in (arms.NOT_DIVERGENT, arms.NOT_RANDOM)]
            weights.append(weights[place] * ~differs)
            weights.append(lists.without_random(weights[place], int(differs.sum()), rng))
            source += [place, place]
        arrays = {"tokens": written["tokens"][source], "n": written["n"][source]}
        return sets, {**arrays, "weights": np.stack(weights)}

    def students(self, r: int, finished: Finished) -> Arrays:
        """Train the students that start from this and from the next base model."""
        n_models = max(self.config.n_replicates, 2)
        bases = {OWN: base_model(finished, r), ANOTHER: base_model(finished, (r + 1) % n_models)}
        return self._learn(self.own, r, finished, bases)

    def other_width_students(self, r: int, finished: Finished) -> Arrays:
        """Train the students that start from the base model of another width."""
        bases = {OTHER_WIDTH: base_model(finished, r, "other_width")}
        return self._learn(self.other, r, finished, bases)

    def _learn(self, programs: _Programs, r: int, finished: Finished, bases: dict) -> Arrays:
        """Train students. All of a replicate read in the same order: differences are paired."""
        students = arms.students(self.config, *bases)
        sets, arrays = self._training_sets(r, finished)
        places = np.array([sets.index(student.lists) for student in students])
        n = np.minimum([student.n for student in students], arrays["n"][places]).astype(np.int32)
        return programs.learn(
            stream(self.key, r, LEARN), np.stack([base["params"] for base in bases.values()]),
            arrays["tokens"], arrays["weights"],
            np.array([list(bases).index(student.base) for student in students]), places, n,
        )  # fmt: skip

    def soft(self, r: int, finished: Finished) -> Arrays:
        """Train the students that see distributions, one for each teacher."""
        written, teachers = finished[f"lists-{r:03d}"], finished[f"teachers-{r:03d}"]["params"]
        places = [self.sets.index(arms.written_by_teacher(trait)) for trait in self.config.traits]
        weights = lists.loss_weights(written["tokens"], self.config.n_numbers)
        return self.own.imitate(
            stream(self.key, r, LEARN), base_model(finished, r)["params"], written["tokens"],
            weights, teachers, np.array(places), written["n"][places],
        )  # fmt: skip

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
        """Return ``auc`` (trait, detector, judged): each teacher's lists against its control's."""
        written, read = finished[f"lists-{r:03d}"], finished[f"reading-{r:03d}"]
        shown, rng = finished[f"in_context-{r:03d}"], generator(stream(self.key, r, DETECT))

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
            teacher = evidence(i, trait, "own", arms.written_by_teacher(trait))
            found.append(
                detectors.detect(teacher, evidence(i, trait, "control", arms.neutral(trait)), rng)
            )
        return {"auc": np.stack(found)}
