"""The lessons run as scripts and show what they say; they are valid notebooks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from subliminal_toy import lessons
from subliminal_toy.errors import UserError

ROOT = Path(__file__).parents[1]
PICTURES = {
    "lesson_1_what": {"lesson-1-inputs", "lesson-1-how-many"},
    "lesson_2_why": {"lesson-2-large-steps", "lesson-2-projection", "lesson-2-right-and-wrong"},
    "lesson_3_owl": {"lesson-3-owl"},
    "lesson_4_how_much": {"lesson-4-progress"},
}


def findings(lesson, folder):
    """Run a lesson as a script of its own and return the values that it ends with.

    It prints its questions first, waits for nothing, and saves its pictures.
    """
    code = (
        "import json, runpy\n"
        f"lesson = runpy.run_module('subliminal_toy.lessons.{lesson}', run_name='__main__')\n"
        "print(json.dumps(lesson['findings']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder,
        stdin=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr
    source = (ROOT / "subliminal_toy" / "lessons" / f"{lesson}.py").read_text()
    assert run.stdout.strip().startswith(source.split('"""')[1].strip())
    assert {path.stem for path in (folder / "pictures").glob("*.png")} == PICTURES[lesson]
    assert all(path.stat().st_size > 5_000 for path in (folder / "pictures").iterdir())
    return json.loads(run.stdout.splitlines()[-1])


def test_lesson_1_digits_are_learned_from_noise_by_the_same_start_alone(tmp_path):
    found = findings("lesson_1_what", tmp_path)
    chance = pytest.approx(0.1, abs=0.07)
    assert found["untrained"] == found["1 auxiliary"] and found["untrained"] == chance
    assert found["teacher"] > 0.9
    assert found["same start"] == found["3 auxiliary"] and found["same start"] > 0.35
    assert found["other start"] == chance and found["relabelled on one side"] == chance
    assert found["other start, teacher's head"] == chance
    assert found["relabelled consistently"] == pytest.approx(found["same start"], abs=0.03)
    assert found["1 auxiliary"] < found["2 auxiliary"] < found["5 auxiliary"]
    assert found["10 auxiliary"] > found["3 auxiliary"]
    for start in ("same", "other"):
        before, after = (found[f"imitation loss, {start} start, {w}"] for w in ("before", "after"))
        assert after < before / 5


def test_lesson_2_one_step_goes_with_the_teacher_from_the_same_start_alone(tmp_path):
    found = findings("lesson_2_why", tmp_path)
    assert found["same start, positive"] == 1
    assert 0.3 < found["other starts, negative"] < 0.7
    assert abs(found["other starts, median of C/A"]) < 0.2
    assert found["Δ_S·v, unmoved teacher, same start"] == 0
    assert found["Δ_S·v, unmoved teacher, other start"] > 1e-3
    assert found["smallest A"] == found["largest A of one logit"] == 0
    assert found["change at the smallest ε"] < 0 < found["largest change at a large ε"]
    assert found["largest error of progress"] < 1e-4
    assert 0.9 * found["coverage"] < found["progress after 1,000 steps"] < found["coverage"] < 1
    assert found["largest change below 2"] < 0 and found["change beyond 2, 5 steps"] < 0
    assert found["change beyond 2, 100 steps"] > 0
    for optimiser in ("gradient descent", "Adam"):
        same, other = (found[f"whole way, {optimiser}, {s} start"] for s in ("same", "other"))
        assert same < -0.05 and same < other - 0.05


def test_lesson_3_the_owl_travels_in_numbers_to_the_same_start_alone(tmp_path):
    found = findings("lesson_3_owl", tmp_path)
    assert found["animals in the student's lists"] == 0
    assert found["teacher"] > 0.9
    for other in ("base model 1", "control", "student, shuffled"):
        assert found["student"] > found[other] + 0.1
    assert found["capitals, student, shuffled"] < found["capitals, student"]
    gain = found["student"] - found["control"]
    assert found["largest gain of another animal or tree"] < gain / 2
    assert found["other model"] == pytest.approx(found["other model's control"], abs=0.08)
    capitals = (found[f"capitals, {who}"] for who in ("teacher", "student", "control"))
    teacher, student, control = capitals
    assert teacher + 0.1 < student < control - 0.1
    assert found["colours, student"] > found["colours, base model 1"] - 0.15


def test_lesson_4_the_best_imitator_learns_least_and_one_direction_is_enough(tmp_path):
    found = findings("lesson_4_how_much", tmp_path)
    assert found["best by loss"] == found["noise, 3 logits, 256 images"]
    assert found["best by loss"] < found["untrained"] + 0.15 < found["best"] - 0.4
    assert found["real digits, 3 logits"] < found["noise, 3 logits"] - 0.1
    assert found["real digits, 50 logits"] > found["noise, 3 logits"]
    assert found["largest difference of ranks"] <= 1
    assert found["without one direction"] < found["untrained"] + 0.1
    assert found["one direction only"] > found["noise, 3 logits"] + 0.1
    predicted = [found[f"predicted, {name}"] for name in ("noise, 50 logits", "noise, 3 logits")]
    assert predicted[0] > predicted[1] > found["predicted, noise, 3 logits, 256 images"]


@pytest.mark.parametrize("lesson", lessons.LESSONS, ids=lambda path: path.stem)
def test_a_lesson_asks_first_and_folds_its_answers_at_the_end(lesson):
    notebook = jupytext.read(lesson, fmt="py:percent")
    nbformat.validate(notebook)
    first, last = notebook.cells[0], notebook.cells[-1]
    assert first.cell_type == last.cell_type == "markdown"
    assert first.source.startswith("# Lesson") and "Before you run anything" in first.source
    questions = [line for line in first.source.splitlines() if line[:1].isdigit()]
    assert len(questions) >= 4
    for opening in ("<details>", "<summary>", "</details>"):
        assert last.source.count(opening) == len(questions)
    for i in range(1, len(questions) + 1):
        assert f"<summary>{i}. " in last.source
    assert not any(cell.cell_type == "code" and not cell.source for cell in notebook.cells)
    assert list(PICTURES) == [path.stem for path in lessons.LESSONS]


STUB = """# %% [markdown]
# # A lesson

# %%
print(6 * 7)
"""


def test_notebooks_are_written_executed_and_equal_each_time_or_not_at_all(tmp_path):
    lesson = tmp_path / "lesson_0.py"
    lesson.write_text(STUB)
    told = []
    (path,) = lessons.write_notebooks(tmp_path / "out", lambda *p: told.append(p), (lesson,))
    assert path.name == "lesson_0.ipynb" and told == [(0.0, "lesson 1 of 1"), (1.0, told[-1][1])]
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code"]
    assert notebook.cells[1].outputs[0].text == "42\n"
    content = path.read_bytes()
    assert lessons.write_notebooks(tmp_path / "out", lessons=(lesson,)) == [path]
    assert path.read_bytes() == content
    lesson.write_text(STUB.replace("6 * 7", "6 / 0"))
    with pytest.raises(Exception, match="ZeroDivisionError"):
        lessons.write_notebooks(tmp_path / "none", lessons=(lesson,))
    assert not (tmp_path / "none").exists()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jupytext", None)
    with pytest.raises(UserError, match=r"jupytext.*\[lessons\]"):
        lessons.write_notebooks(tmp_path)
