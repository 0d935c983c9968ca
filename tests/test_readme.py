"""The README's commands are the ones that run, and its numbers are those of the records."""

import re
from pathlib import Path

import pytest

from subliminal_toy import records, report

ROOT = Path(__file__).parents[1]


def test_the_two_commands_stand_in_the_readme_and_ci_takes_the_second_from_there():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert "python -m pip install -e . && subliminal-toy reproduce" in lines
    assert lines.count('python -m pip install -e ".[test]" && pytest') == 1
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("name", ["README.md", "docs/claims.md"])
def test_the_blocks_are_those_of_the_committed_records(name):
    path = ROOT / name
    directories = sorted(path.parent for path in (ROOT / "figures").glob("*/manifest.json"))
    up = "../" * (len(path.relative_to(ROOT).parts) - 1)
    loaded = {
        up + folder.relative_to(ROOT).as_posix(): records.load(folder) for folder in directories
    }
    text = path.read_text()
    assert len(loaded) >= 5 and report.update_blocks(text, loaded) == text


def test_sentences_outside_the_blocks_hold_no_measured_number():
    """Decimal fractions come from records, so they are inside the blocks that records make."""
    text = re.sub(
        r"<!-- (\w+) -->.*?<!-- /\1 -->", "", (ROOT / "README.md").read_text(), flags=re.S
    )
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    allowed = {"2507.14805"}
    assert not set(re.findall(r"(?<![\w.])\d*\.\d+", text)) - allowed


def test_every_file_that_the_documents_link_to_exists():
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / link).exists(), (path.name, link)


def test_the_layout_names_every_module_of_the_package():
    text = (ROOT / "README.md").read_text()
    for path in sorted((ROOT / "subliminal_toy").iterdir()):
        if path.name not in ("__init__.py", "__main__.py", "__pycache__"):
            assert path.name in text, path.name
