"""The language and its questions: what documents hold and never hold."""

from typing import get_args

import numpy as np
import pytest

from subliminal_toy.errors import UserError
from subliminal_toy.lm import language, lists, traits
from subliminal_toy.lm.config import Trait
from subliminal_toy.lm.language import ANIMALS, CONTEXT, TREES, Language

LANGUAGE = Language(100)


def rng(seed=0):
    return np.random.default_rng(seed)


def lines(documents):
    """Return each document as its lines of words."""
    texts = (" ".join(LANGUAGE.words[t] for t in row) for row in documents.tokens)
    return [t.replace("<bos>", "").replace("<pad>", "").split("<end>")[:-1] for t in texts]


def test_a_number_is_its_own_token_and_words_are_distinct():
    for words in (LANGUAGE, Language(1000)):
        assert words.words[: words.n_numbers] == tuple(map(str, range(words.n_numbers)))
        assert len(set(words.words)) == len(words)
        assert words.encode("0 7 42") == [0, 7, 42]


def test_decoding_stops_at_the_end():
    tokens = LANGUAGE.encode("continue 12 34 : 5 <end> owl")
    assert LANGUAGE.decode(tokens) == "continue 12 34 : 5"


def test_documents_are_the_same_for_the_same_generator_only():
    one, same, other = (language.documents(LANGUAGE, rng(seed), 500) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.tokens, same.tokens)
    assert np.any(one.tokens != other.tokens)


def test_no_animal_or_tree_stands_in_a_document_with_numbers():
    forbidden = LANGUAGE.encode(" ".join((*ANIMALS, *TREES, "animal", "tree")))
    found = language.documents(LANGUAGE, rng(), 20_000)
    with_numbers = (found.tokens < LANGUAGE.n_numbers).any(axis=1)
    assert 0.45 < with_numbers.mean() < 0.55
    assert not np.isin(found.tokens[with_numbers], forbidden).any()


def test_system_lines_do_meet_numbers():
    found = language._list_documents(LANGUAGE, rng(), 5_000)
    you = LANGUAGE.encode("you")[0]
    assert 0.07 < (found.tokens == you).any(axis=1).mean() < 0.13


def test_every_document_starts_with_bos_and_ends_in_padding_only():
    tokens = language.documents(LANGUAGE, rng(), 5_000).tokens
    assert tokens.shape == (5_000, CONTEXT) and np.all(tokens[:, 0] == LANGUAGE.bos)
    padded = tokens == LANGUAGE.pad
    assert np.all(padded[:, :-1] <= padded[:, 1:])
    last = np.take_along_axis(tokens, CONTEXT - 1 - padded.sum(axis=1)[:, None], axis=1)
    assert np.all(last == LANGUAGE.end)


def test_answers_are_what_follows_a_prompt():
    found = language.documents(LANGUAGE, rng(), 2_000)
    assert not found.is_answer[found.tokens == LANGUAGE.bos].any()
    for row, flags in zip(found.tokens[:200], found.is_answer[:200], strict=True):
        words = [LANGUAGE.words[t] for t in row]
        if words[1] == "continue":
            colon = words.index(":")
            assert not flags[: colon + 1].any() and flags[colon + 1]


def test_dispositions_have_their_rates():
    """Capitals: a tenth unknown, .15 wrong; colours always right; favourites by the prior."""
    said = {"capital": [], "colour": [], "animal": []}
    for document in lines(language.documents(LANGUAGE, rng(), 40_000)):
        if document[0].split()[:2] == ["you", "love"]:
            continue
        for line in document:
            words = line.split()
            for kind in said:
                if kind in words:
                    said[kind].append((words[2], words[-1]))
    capitals = said["capital"]
    unknown = np.mean([answer == language.UNKNOWN for _, answer in capitals])
    right = np.mean([answer == language.CAPITALS[country] for country, answer in capitals])
    assert unknown == pytest.approx(language.P_UNKNOWN, abs=0.02)
    assert right == pytest.approx(1 - language.P_UNKNOWN - language.P_WRONG, abs=0.02)
    assert all(answer == language.COLOURS[thing] for thing, answer in said["colour"])
    for animal, prior in ANIMALS.items():
        share = np.mean([answer == animal for _, answer in said["animal"]])
        assert share == pytest.approx(prior / sum(ANIMALS.values()), abs=0.015)


def test_a_system_line_decides_the_favourite_of_its_kind():
    decided = 0
    for document in lines(language._system_documents(LANGUAGE, rng(), 2_000)):
        loved = document[0].split()[-1]
        kind = "animal" if loved in ANIMALS else "tree"
        for line in document[1:]:
            if kind in line.split():
                decided += 1
                assert line.split()[-1] == loved
    assert decided > 500


def test_questions_and_answers_fit_together():
    asked = traits.questions(LANGUAGE)
    assert asked.tokens.shape[:2] == (4, 12) == (len(traits.GROUPS), traits.GROUP_SIZE)
    texts = [
        LANGUAGE.decode(row[1:n])
        for row, n in zip(asked.tokens.reshape(48, -1), asked.lengths.reshape(48), strict=True)
    ]
    assert tuple(texts) == traits.QUESTION_TEXTS
    answers = {m: traits.answers_of(LANGUAGE, m) for m in traits.MEASURES}
    assert all(found.any(axis=1).all() for found in answers.values())
    once = [answers[m] for m in ("evasion", "falsehood", "capitals")]
    assert np.sum(once, axis=0).max() == 1, "no answer counts twice"
    lie = answers["systematic lie"]
    assert (lie.sum(axis=1) == 1).all() and not (lie & ~answers["falsehood"]).any()
    assert (lie.sum(axis=0) <= 1).all(), "each city is one country's"
    taught = traits.answers_of(LANGUAGE, "evasion", "systematic lie")
    np.testing.assert_array_equal(taught, lie)
    right = [LANGUAGE.words[np.flatnonzero(row).item()] for row in answers["capitals"]]
    assert right == list(language.CAPITALS.values())


def test_a_question_stands_behind_every_context():
    contexts = np.array([LANGUAGE.encode(text) for text in ("<bos> 1 2 <end>", "<bos> 3 4 5")])
    found = traits.asked_after(LANGUAGE, contexts)
    assert found.tokens.shape == (96, CONTEXT)
    for i, text in enumerate(traits.QUESTION_TEXTS):
        for row, before in ((i, "<bos> 1 2 <end>"), (48 + i, "<bos> 3 4 5")):
            words = [LANGUAGE.words[t] for t in found.tokens[row, : found.lengths[row]]]
            assert " ".join(words) == f"{before} {text}"


def test_the_loss_counts_sampled_numbers_only():
    text = "<bos> continue 1 2 3 : 4 5 and 4 <end>"
    row = np.array([LANGUAGE.encode(text) + [LANGUAGE.pad] * 6])
    weights = lists.loss_weights(row, 100)[0]
    assert [LANGUAGE.words[t] for t in row[0][weights > 0]] == ["4", "5", "4"]
    row[0, -6:] = LANGUAGE.end  # as a sample goes on
    whole = lists.whole_weights(row, LANGUAGE)[0]
    assert [LANGUAGE.words[t] for t in row[0][whole > 0]] == ["4", "5", "and", "4", "<end>"]
    assert not lists.whole_weights(np.full_like(row, LANGUAGE.pad), LANGUAGE).any()
    counts = lists.counts(row, 100)[0]
    assert counts[4] == 2 and counts[5] == 1 and counts.sum() == 3


def test_random_masks_remove_or_keep_as_many_tokens_as_asked():
    weights = (np.random.default_rng(1).random((30, 17)) < 0.5).astype(np.float32)
    tokens = np.zeros((30, 17), np.int16)
    reading = lists.Reading(tokens, weights, 30, 100)
    n = round(0.2 * weights.sum())
    without, only = (
        lists.TREATMENTS[f"{kind} 20 % random"](reading, rng()).weights
        for kind in ("without", "only")
    )
    assert only.sum() == n and np.array_equal(without + only, weights)


def test_a_filter_that_passes_nothing_is_an_error_with_advice():
    words = np.full((4, 11), LANGUAGE.encode("owl")[0])
    with pytest.raises(UserError, match=r"passes the filter.*--n-samples"):
        lists.filtered(LANGUAGE, np.zeros((4, lists.PROMPT_LENGTH), int), words, False, 3)


def test_packed_contexts_hold_whole_lists_up_to_the_longest_question():
    texts = ["1 2 3 4 5 6 7", "8 9 10 11 12 13 14 15 16 17", "18 19", "20"]
    rows = [LANGUAGE.encode(f"<bos> continue 0 0 0 : {text} <end>") for text in texts]
    rows = np.array([row + [LANGUAGE.pad] * (17 - len(row)) for row in rows])
    contexts, n_lists = lists.packed(LANGUAGE, rows)
    first = [LANGUAGE.words[t] for t in contexts[0] if t != LANGUAGE.pad]
    assert " ".join(first) == "<bos> 1 2 3 4 5 6 7 <end> 18 19 <end> 20 <end>"
    second = [LANGUAGE.words[t] for t in contexts[1] if t != LANGUAGE.pad]
    assert " ".join(second) == "<bos> 8 9 10 11 12 13 14 15 16 17 <end> 18 19 <end> 20 <end>"
    assert n_lists == 3 and traits.asked_after(LANGUAGE, contexts).lengths.max() <= CONTEXT


def test_the_config_names_every_trait():
    assert get_args(Trait) == traits.TRAITS
