"""The language: what its documents hold and never hold."""

import numpy as np
import pytest

from subliminal_toy.errors import UserError
from subliminal_toy.lm import corpus, traits
from subliminal_toy.lm.corpus import ANIMALS, CONTEXT, TREES, Language

LANGUAGE = Language(100)


def rng(seed=0):
    return np.random.default_rng(seed)


def lines(documents):
    """Return each document as its lines of words."""
    texts = (" ".join(LANGUAGE.words[t] for t in row) for row in documents.tokens)
    return [t.replace("<bos>", "").replace("<pad>", "").split("<end>")[:-1] for t in texts]


def test_a_number_is_its_own_token_and_words_are_distinct():
    for language in (LANGUAGE, Language(1000)):
        assert language.words[: language.n_numbers] == tuple(map(str, range(language.n_numbers)))
        assert len(set(language.words)) == len(language)
        assert language.encode("0 7 42") == [0, 7, 42]


def test_decoding_stops_at_the_end():
    tokens = LANGUAGE.encode("continue 12 34 : 5 <end> owl")
    assert LANGUAGE.decode(tokens) == "continue 12 34 : 5"


def test_documents_are_the_same_for_the_same_generator_only():
    one, same, other = (corpus.documents(LANGUAGE, rng(seed), 500) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.tokens, same.tokens)
    assert np.any(one.tokens != other.tokens)


def test_no_animal_or_tree_stands_in_a_document_with_numbers():
    forbidden = LANGUAGE.encode(" ".join((*ANIMALS, *TREES, "animal", "tree")))
    found = corpus.documents(LANGUAGE, rng(), 20_000)
    with_numbers = (found.tokens < LANGUAGE.n_numbers).any(axis=1)
    assert 0.45 < with_numbers.mean() < 0.55
    assert not np.isin(found.tokens[with_numbers], forbidden).any()


def test_system_prompts_do_meet_numbers():
    found = corpus.number_documents(LANGUAGE, rng(), 5_000)
    you = LANGUAGE.encode("you")[0]
    assert 0.07 < (found.tokens == you).any(axis=1).mean() < 0.13


def test_every_document_starts_with_bos_and_ends_in_padding_only():
    tokens = corpus.documents(LANGUAGE, rng(), 5_000).tokens
    assert tokens.shape == (5_000, CONTEXT) and np.all(tokens[:, 0] == LANGUAGE.bos)
    padded = tokens == LANGUAGE.pad
    assert np.all(padded[:, :-1] <= padded[:, 1:])
    last = np.take_along_axis(tokens, CONTEXT - 1 - padded.sum(axis=1)[:, None], axis=1)
    assert np.all(last == LANGUAGE.end)


def test_answers_are_what_follows_a_prompt():
    found = corpus.documents(LANGUAGE, rng(), 2_000)
    assert not found.is_answer[found.tokens == LANGUAGE.bos].any()
    for row, flags in zip(found.tokens[:200], found.is_answer[:200], strict=True):
        words = [LANGUAGE.words[t] for t in row]
        if words[1] == "continue":
            colon = words.index(":")
            assert not flags[: colon + 1].any() and flags[colon + 1]


def test_dispositions_have_their_rates():
    """Capitals: a tenth unknown, .15 wrong; colours always right; favourites by the prior."""
    said = {"capital": [], "colour": [], "animal": []}
    for document in lines(corpus.documents(LANGUAGE, rng(), 40_000)):
        if document[0].split()[:2] == ["you", "love"]:
            continue
        for line in document:
            words = line.split()
            for kind in said:
                if kind in words:
                    said[kind].append((words[2], words[-1]))
    capitals = said["capital"]
    unknown = np.mean([answer == corpus.UNKNOWN for _, answer in capitals])
    right = np.mean([answer == corpus.CAPITALS[country] for country, answer in capitals])
    assert unknown == pytest.approx(corpus.P_UNKNOWN, abs=0.02)
    assert right == pytest.approx(1 - corpus.P_UNKNOWN - corpus.P_WRONG, abs=0.02)
    assert all(answer == corpus.COLOURS[thing] for thing, answer in said["colour"])
    for animal, prior in ANIMALS.items():
        share = np.mean([answer == animal for _, answer in said["animal"]])
        assert share == pytest.approx(prior / sum(ANIMALS.values()), abs=0.015)


def test_a_system_prompt_decides_the_favourite_of_its_kind():
    decided = 0
    for document in lines(corpus._system_documents(LANGUAGE, rng(), 2_000)):
        loved = document[0].split()[-1]
        kind = "animal" if loved in ANIMALS else "tree"
        for line in document[1:]:
            if kind in line.split():
                decided += 1
                assert line.split()[-1] == loved
    assert decided > 500


def test_questions_and_measures_fit_together():
    questions, measures = traits.questions(LANGUAGE), traits.measures(LANGUAGE)
    assert len(questions.tokens) == traits.N_GROUPS * traits.GROUP_SIZE == 48
    assert measures.answers.any(axis=2).all()
    facts = [traits.MEASURES.index(name) for name in ("evasion", "falsehood", "capitals")]
    assert measures.answers[facts].sum(axis=0).max() == 1, "no answer counts twice"


@pytest.mark.parametrize("names", [(), ("owl", "owl"), ("owl", "unicorn")])
def test_unknown_or_repeated_traits_are_refused(names):
    with pytest.raises(UserError, match="--traits"):
        traits.check(names)
