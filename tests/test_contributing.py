"""The example of CONTRIBUTING.md runs as it is printed there."""

import re
from dataclasses import replace
from pathlib import Path

from subliminal_toy.classifier import arms

ROOT = Path(__file__).parents[1]


def test_the_example_of_a_new_arm_runs(compile_quickly, monkeypatch, capsys):
    # The arm that it stands beside is trained as briefly.
    brief = tuple(replace(student, n_inputs=512, epochs=1) for student in arms.STUDENTS)
    monkeypatch.setattr(arms, "STUDENTS", brief)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    exec(example, {})
    shown = capsys.readouterr().out
    assert "accuracy" in shown and "own_class_head" in shown
