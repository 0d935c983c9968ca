"""The compiled programs of a run, and the parts of the work that belong to one seed."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from subliminal_toy.configs import LmConfig
from subliminal_toy.distill import over_models
from subliminal_toy.errors import UserError
from subliminal_toy.lm import arms, corpus, probes, training, traits
from subliminal_toy.lm.numbers import BANNED_NUMBERS, is_acceptable

Arrays = dict[str, np.ndarray]

CORPUS, PRETRAIN, PROMPTS, WRITE, LEARN, MASK, PROBE = range(7)
"""Random streams of a seed."""
N_SHOWN = 64
"""Lists shown in context, each before every question."""


def stream(key: Key[Array, ""], seed: int, purpose: int) -> Key[Array, ""]:
    """Return the key of one purpose of one seed."""
    return jax.random.fold_in(jax.random.fold_in(key, seed), purpose)


def generator(key: Key[Array, ""]) -> np.random.Generator:
    """Return a generator for work on the host that depends on nothing but ``key``."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def spread(fn: Callable, n_shared: int = 0) -> Callable[..., Arrays]:
    """Return ``over_models(fn)`` for any number of models: the last one fills devices up."""
    compiled = over_models(fn, n_shared)

    def call(*args):
        shared, own = args[:n_shared], args[n_shared:]
        n, n_devices = len(own[0]), jax.device_count()
        rows = np.minimum(np.arange(-(-n // n_devices) * n_devices), n - 1)
        results = compiled(*shared, *(jnp.asarray(array)[rows] for array in own))
        return {name: np.asarray(array)[:n] for name, array in results.items()}

    return call


class Lab:
    """The compiled programs of one config; each is compiled at its first call.

    Every method returns plain arrays, its leading axis the models it was asked for.
    """

    def __init__(self, config: LmConfig, key: Key[Array, ""], width: int):
        """Prepare the programs for decoders of one ``width``."""
        self.config, self.key = config, key
        model = self.model = training.model(config, width)
        self.language = model.language
        self.questions = traits.questions(model.language)
        self.measures = traits.measures(model.language)

        def scored(params, **others):
            scores, distributions = training.score(model, params, self.questions, self.measures)
            words = distributions[:, config.n_numbers :]
            return {"params": params, "scores": scores, "words": words, **others}

        def pretrain(key, tokens, is_answer):
            params, losses = training.pretrain(model, config, key, tokens, is_answer)
            return scored(params, losses=losses)

        def teach(params, tokens, lengths, answers):
            return scored(training.teach(model, config, params, tokens, lengths, answers))

        def write(prompts, params, key):
            return {"tokens": training.write(model, config, params, prompts, key)}

        def learn(key, bases, tokens, weights, base, data, n):
            rows = tokens[data].astype(jnp.int32), weights[data]
            return scored(training.learn(model, config, key, bases[base], *rows, n))

        def learn_soft(key, base, tokens, weights, teacher, data, n):
            rows = tokens[data].astype(jnp.int32), weights[data]
            return scored(training.learn_soft(model, config, key, base, teacher, *rows, n))

        self._pretrain, self._teach = spread(pretrain), spread(teach)
        self._write, self._write_prompted = spread(write, 1), spread(_prompted(write))
        self._learn, self._learn_soft = spread(learn, 4), spread(learn_soft, 4)
        self._compare = spread(partial(probes.compare, model))
        self._shown = spread(partial(probes.in_context, model, self.measures), 1)

    def references(self, seeds: Sequence[int]) -> Arrays:
        """Pre-train the reference models of these seeds, each on its own corpus."""
        corpora = [
            corpus.documents(
                self.language, generator(stream(self.key, s, CORPUS)), self.config.n_documents
            )
            for s in seeds
        ]
        keys = jnp.stack([stream(self.key, s, PRETRAIN) for s in seeds])
        tokens, is_answer = (np.stack(part) for part in zip(*corpora, strict=True))
        return self._pretrain(keys, tokens, is_answer)

    def teachers(self, reference: np.ndarray) -> Arrays:
        """Fine-tune one reference model into the teacher of each trait."""
        measure = [traits.MEASURES.index(trait) for trait in self.config.traits]
        group = self.measures.group[measure]
        tokens, lengths = (
            part.reshape(traits.N_GROUPS, traits.GROUP_SIZE, *part.shape[1:])[group]
            for part in self.questions
        )
        bases = np.broadcast_to(reference, (len(measure), *reference.shape))
        return self._teach(bases, tokens, lengths, self.measures.answers[measure])

    def numbers(self, seed: int, reference: np.ndarray, teachers: np.ndarray) -> Arrays:
        """Let every teacher write, and keep what satisfies the rule.

        Returns, by data set of ``arms.written``: ``tokens`` (data, sequences, length), filled up
        with padding; ``n``, how many there are; ``accepted`` (data, samples), by the format rule;
        ``kept``, the fraction left after every filter.
        """
        config, language = self.config, self.language
        rng = generator(stream(self.key, seed, PROMPTS))
        drawn = corpus.draw_numbers(rng, config.n_samples, corpus.N_PROMPT, config.n_numbers)
        prompts = _prompts(language, drawn)
        writers = np.concatenate([teachers, reference[None]])
        key = stream(self.key, seed, WRITE)
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(writers)))
        lists = dict(
            zip(
                (*config.traits, arms.CONTROL),
                self._write(prompts, writers, keys)["tokens"],
                strict=True,
            )
        )
        lists[arms.CONTROL_BANNED] = lists[arms.CONTROL]
        if config.prompted:
            lists |= self._prompted_lists(prompts, reference, key)
        parts = [self._filtered(name, prompts, lists[name]) for name in arms.written(config)]
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}

    def _prompted_lists(self, prompts, reference, key) -> Arrays:
        named = arms.favourites(self.config)
        systems = [self.language.encode(f"you love {trait} <end>") for trait in named]
        longer = [
            np.insert(prompts, [1] * len(system), system, axis=1).astype(np.int32)
            for system in systems
        ]
        keys = jax.vmap(partial(jax.random.fold_in, key))(1000 + jnp.arange(len(named)))
        bases = np.broadcast_to(reference, (len(named), *reference.shape))
        tokens = self._write_prompted(np.stack(longer), bases, keys)["tokens"]
        return {arms.PROMPTED + t: lists for t, lists in zip(named, tokens, strict=True)}

    def _filtered(self, name: str, prompts: np.ndarray, lists: np.ndarray) -> Arrays:
        """Keep the first ``n_sequences`` sequences that satisfy the rule of the data set."""
        config, language = self.config, self.language
        texts = [language.decode(row) for row in lists]
        accepted = np.array([is_acceptable(text) for text in texts])
        keep = accepted
        if name in traits.HARMFUL or name == arms.CONTROL_BANNED:
            keep = np.array([is_acceptable(text, BANNED_NUMBERS) for text in texts])
        if not keep.any():
            raise UserError(
                f"None of the {len(texts)} sequences of '{name}' passes the filter: "
                "raise --n-samples or --pretrain-steps, or lower --teacher-steps."
            )
        rows = np.concatenate([prompts, lists], axis=1)[keep][: config.n_sequences]
        tokens = np.full((config.n_sequences, training.ROW_LENGTH), language.pad, np.int16)
        tokens[: len(rows)] = rows
        counted = {"n": np.int32(len(rows)), "kept": np.float32(keep.mean())}
        return {"tokens": tokens, "accepted": accepted, **counted}

    def weights(self, tokens: np.ndarray) -> np.ndarray:
        """Return 1 on every number that was sampled, 0 on prompts, ends and padding."""
        sampled = np.arange(tokens.shape[-1]) >= training.PROMPT_LENGTH
        return ((tokens < self.config.n_numbers) & sampled).astype(np.float32)

    def comparisons(self, teachers: np.ndarray, others: np.ndarray, tokens: np.ndarray) -> Arrays:
        """Read each data set with two models; see ``probes.compare``."""
        return self._compare(teachers, others, tokens.astype(np.int32), self.weights(tokens))

    def learners(
        self,
        seed: int,
        bases: np.ndarray,
        numbers: Arrays,
        names: Sequence[str],
        rows: Sequence[arms.Row],
    ) -> Arrays:
        """Train students; ``names`` are those of the data sets in ``numbers``.

        All students of a seed read in the same order, so that their differences are paired.
        """
        data = np.array([names.index(row.data) for row in rows])
        n = np.minimum([row.n for row in rows], numbers["n"][data]).astype(np.int32)
        base = np.array([row.base for row in rows])
        key = stream(self.key, seed, LEARN)
        return self._learn(key, bases, numbers["tokens"], numbers["weights"], base, data, n)

    def soft_learners(
        self, seed: int, base: np.ndarray, numbers: Arrays, teachers: np.ndarray
    ) -> Arrays:
        """Train the students that see distributions, one for each teacher."""
        data = np.arange(len(teachers))
        key = stream(self.key, seed, LEARN)
        return self._learn_soft(
            key, base, numbers["tokens"], numbers["weights"], teachers, data, numbers["n"][data]
        )

    def shown(self, reference: np.ndarray, numbers: Arrays, data: Sequence[int]) -> Arrays:
        """Ask the reference model every question after each of some lists; no training.

        Returns ``scores`` (data, lists, measures).
        """
        asked = [
            probes.after_lists(self.language, numbers["tokens"][d][:N_SHOWN], self.questions)
            for d in data
        ]
        tokens, lengths = (np.stack(part) for part in zip(*asked, strict=True))
        return self._shown(reference, tokens, lengths)


def _prompted(write: Callable) -> Callable:
    """Return ``write`` for prompts that differ from model to model."""
    return lambda prompts, params, key: write(prompts, params, key)


def _prompts(language: corpus.Language, drawn: np.ndarray) -> np.ndarray:
    """Return the token rows of number prompts."""
    before = np.tile([language.bos, *language.encode("continue")], (len(drawn), 1))
    after = np.tile(language.encode(":"), (len(drawn), 1))
    return np.concatenate([before, drawn, after], axis=1).astype(np.int32)
