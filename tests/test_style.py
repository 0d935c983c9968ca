"""ruff and pyright have nothing to say (basedpyright: pyright with all it needs in its wheel)."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "subliminal_toy", "tests"],
        ["ruff", "format", "--check", "subliminal_toy", "tests"],
        ["basedpyright"],
    ],
    ids=["ruff check", "ruff format", "pyright"],
)
def test_the_checkers_have_nothing_to_say(command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
