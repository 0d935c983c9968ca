"""The README's commands are the ones that run."""

from pathlib import Path

from subliminal_toy import report, results

ROOT = Path(__file__).parents[1]


def test_the_two_commands_stand_in_the_readme_and_ci_takes_the_second_from_there():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert "python -m pip install -e . && subliminal-toy reproduce" in lines
    assert lines.count('python -m pip install -e ".[test]" && pytest') == 1
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_the_tables_are_those_of_the_committed_records():
    directories = sorted(path.parent for path in (ROOT / "figures").glob("*/manifest.json"))
    records = {path.relative_to(ROOT).as_posix(): results.load(path) for path in directories}
    text = (ROOT / "README.md").read_text()
    again = report.update_block(text, "claims", report.claims_markdown(records))
    again = report.update_block(again, "published", report.published_markdown(records))
    assert len(records) >= 5 and again == text
