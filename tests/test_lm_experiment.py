"""The experiment as a whole, on a size that learns little: its record, resuming, its purity."""

import json

import jax
import numpy as np
import pytest

from subliminal_toy.configs import LM_PRESETS, LmConfig
from subliminal_toy.errors import UserError
from subliminal_toy.lm import arms, experiment, training, traits
from subliminal_toy.lm.lab import Lab
from subliminal_toy.lm.numbers import BANNED_NUMBERS
from subliminal_toy.plots import lm as plots
from subliminal_toy.results import Record

CONFIG = LmConfig(
    n_seeds=2, traits=("owl", "evasion"), n_layers=1, n_heads=2, width=8, head_std=0.35,
    cross_width=0, n_documents=2_000, pretrain_steps=150, pretrain_batch_size=32,
    teacher_steps=10, n_samples=200, n_sequences=40, student_steps=3, student_batch_size=8,
    data_sizes=(10,), prompted=True, divergence=True, chunk_size=6,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compile_quickly():
    """Spend little on compiling: these programs run for milliseconds."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def finished():
    chunks, told = {}, []
    result = experiment.run(
        CONFIG, jax.random.key(0), None, chunks, lambda *tick: told.append(tick)
    )
    return result, chunks, told


def test_every_arm_of_the_table_is_measured(finished):
    result, _, _ = finished
    rows = arms.everyone(CONFIG)
    assert result.scores.shape == (2, len(rows), len(traits.MEASURES))
    assert [str(arm) for arm in result.arm] == [row.arm for row in rows]
    assert set(map(str, result.arm)) <= set(arms.ARMS)
    assert np.isfinite(result.scores).all() and (result.scores >= 0).all()


def test_no_student_ever_sees_anything_but_numbers(finished):
    """Every training set of every seed: prompts, lists, ends; no animal, tree or other word."""
    _, chunks, _ = finished
    language = training.model(CONFIG, CONFIG.width).language
    allowed = set(language.encode("<bos> <end> <pad> continue :")) | set(range(100))
    names = arms.written(CONFIG)
    for seed in range(CONFIG.n_seeds):
        part = chunks[f"numbers-{seed:03d}"]
        assert len(part["tokens"]) == len(names) == 5
        for name, tokens, n in zip(names, part["tokens"], part["n"], strict=True):
            assert set(np.unique(tokens)) <= allowed
            lists = tokens[:n, training.PROMPT_LENGTH :]
            assert np.all((lists < 100).sum(axis=1) >= 1)
            if name in ("evasion", "control-banned"):
                assert not np.isin(lists[lists < 100], list(BANNED_NUMBERS)).any()


def test_resuming_gives_the_same_bits(finished):
    result, chunks, _ = finished
    lost = ("students-01-000", "students-00-001")
    kept = {name: part for name, part in chunks.items() if name not in lost}
    again = experiment.run(CONFIG, jax.random.key(0), None, kept)
    for name, value in result._asdict().items():
        if name != "params":
            np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)
    for name, value in result.params.items():
        np.testing.assert_array_equal(again.params[name], value)


def test_progress_rises_to_one_and_parts_hold_plain_arrays(finished):
    _, chunks, told = finished
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and fractions[0] == 0.0
    assert all(isinstance(a, np.ndarray) for part in chunks.values() for a in part.values())


def test_the_summary_is_json_with_its_stable_keys(finished):
    summary = experiment.summarize(CONFIG, finished[0])
    json.dumps(summary, allow_nan=False)
    expected = {
        "reference_model",
        "arms",
        "kept_fraction",
        "transfer_matrix",
        "detectors",
        "claims",
    }
    assert expected <= set(summary)
    stable = {"reference", "teacher", "student", "control", "cross_model", "soft", "in_context"}
    for by_arm in summary["arms"].values():
        assert stable <= set(by_arm)
        assert all(set(e) == {"mean", "ci95", "n", "values"} for e in by_arm.values())
    assert [claim["id"] for claim in summary["claims"]] == ["L1", "L2", "L3", "L4", "L5"]


def test_the_record_can_answer_a_web_page(finished):
    result = finished[0]
    assert result.answers.shape == (len(result.speakers), len(result.questions), len(result.words))
    assert {"reference", "teacher owl", "student owl", "control control"} <= set(result.speakers)
    assert result.examples.shape == (2, 10) and result.examples.dtype.kind == "U"
    assert not any(word in text for text in result.examples.flat for word in traits.TRAITS)


def test_every_figure_is_drawn_from_the_record_alone(finished):
    summary = json.loads(json.dumps(experiment.summarize(CONFIG, finished[0])))
    arrays = {k: v for k, v in finished[0]._asdict().items() if k != "params"}
    for figure in plots.FIGURES.values():
        assert figure(Record(arrays, {}, summary, {})).axes


def test_control_arms_share_the_filter_of_their_trait():
    rows = arms.students(LM_PRESETS["full"])
    assert arms.control_of("owl") == "control" and arms.control_of("evasion") == "control-banned"
    for arm in ("control", "cross_control"):
        assert [row.data for row in rows if row.arm == arm] == ["control", "control-banned"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_seeds": 0}, {"width": 30}, {"cross_width": 30}, {"n_numbers": 50}, {"temperature": 0.0},
        {"data_sizes": (3_000,)}, {"student_learning_rate": -1.0},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_experiment_are_refused(wrong):
    with pytest.raises(UserError, match="--"):
        LmConfig(**wrong)


def test_a_filter_that_passes_nothing_is_an_error_with_advice():
    lab = Lab(CONFIG, jax.random.key(0), CONFIG.width)
    words = np.full((4, 11), lab.language.encode("owl")[0])
    with pytest.raises(UserError, match=r"passes the filter.*--n-samples"):
        lab._filtered("owl", np.zeros((4, training.PROMPT_LENGTH), int), words)
