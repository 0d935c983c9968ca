"""The README's commands and code run, its numbers are those of the records, and it is short."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from subliminal_toy import report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.S)


def test_it_is_read_in_five_minutes():
    assert len(README.split()) <= 1_200 and len(README.splitlines()) <= 160
    assert README.count("![") <= 3


def test_the_two_commands_stand_there_and_ci_takes_the_second_from_there():
    lines = README.splitlines()
    assert "python -m pip install -e . && subliminal-toy reproduce" in lines
    assert lines.count('python -m pip install -e ".[test]" && pytest') == 1
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_the_effect_in_thirty_lines_is_there(tmp_path):
    (code,) = PYTHON
    assert len(code.splitlines()) <= 36
    script = tmp_path / "effect.py"
    script.write_text(code)
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    accuracy = {line[:14].strip(): float(line[14:]) for line in run.stdout.splitlines()}
    assert list(accuracy) == ["teacher", "same start", "another start"]
    assert accuracy["teacher"] >= 0.9 and accuracy["same start"] >= 0.7
    assert accuracy["another start"] <= 0.2
    printed = re.findall(r"```\n(teacher .*?)```", README, flags=re.S)[0]
    shown = {line[:14].strip(): float(line[14:]) for line in printed.splitlines()}
    assert shown == pytest.approx(accuracy, abs=0.06)


@pytest.mark.parametrize(
    "name", ["README.md", "docs/claims.md", "docs/findings.md", "docs/published.md"]
)
def test_the_blocks_are_those_of_the_committed_records(name, committed):
    path = ROOT / name
    up = "../" * (len(path.relative_to(ROOT).parts) - 1)
    records = {f"{up}figures/{folder}": record for folder, record in committed.items()}
    assert report.update_blocks(path.read_text(), records) == path.read_text()


def test_sentences_outside_the_blocks_hold_no_measured_number():
    """Decimal fractions come from records, so they are inside the blocks that records make."""
    text = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", README, flags=re.S)
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    assert not set(re.findall(r"(?<![\w.])\d*\.\d+", text)) - {"2507.14805"}


def test_every_file_that_the_documents_link_to_exists():
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / link).exists(), (path.name, link)


def test_the_layout_names_every_folder():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    layout = text.partition("## Layout")[2].partition("## ")[0]
    for folder in ("proofs/", "figures/", "docs/", "tests/"):
        assert folder in layout
    for path in (ROOT / "subliminal_toy").iterdir():
        if path.is_dir() and not path.name.startswith("__"):
            assert path.name in layout, path.name
