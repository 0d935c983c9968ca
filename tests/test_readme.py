"""The README's commands are the ones that run."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_two_commands_stand_in_the_readme_and_ci_takes_the_second_from_there():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert "python -m pip install -e . && subliminal-toy reproduce" in lines
    assert lines.count('python -m pip install -e ".[test]" && pytest') == 1
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
