"""A wheel of the checkout, installed away from it, has all that a run and its page need."""

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
TINY = ["classifier", "--hidden-sizes", "8", "--teacher-epochs", "1", "--student-epochs", "1",
        "--n-inputs", "64", "--n-replicates", "2", "--out", "record"]  # fmt: skip
QUICKLY = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # to compile, as ``compile_quickly``


def run(*command, cwd):
    env = os.environ | QUICKLY
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(package):
    """Return what a package holds."""
    paths = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
    return {path for path in paths if path.parent.name != "__pycache__"}


def test_the_wheel_runs_an_experiment_and_writes_its_page(tmp_path):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "subliminal_toy", source / "subliminal_toy", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", "..", ".", cwd=source)
    (wheel,) = tmp_path.glob("*.whl")

    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    (library,) = (tmp_path / "env").glob("lib/python*/site-packages")
    # The package comes from the wheel; what it depends on, to need no network, from here.
    shutil.unpack_archive(wheel, library, "zip")
    (library / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    where = run(python, "-Ic", "import subliminal_toy as s; print(s.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(library)
    assert files(library / "subliminal_toy") == files(ROOT / "subliminal_toy")

    run(python, "-Im", "subliminal_toy", *TINY, cwd=tmp_path)
    run(python, "-Im", "subliminal_toy", "report", "record", "--out", "page", cwd=tmp_path)
    evidence = (tmp_path / "page" / "evidence.html").read_text(encoding="utf-8")
    assert 'data-svg="' in evidence
    assert (tmp_path / "page" / "index.html").is_file()
    assert (tmp_path / "page" / "record" / "accuracy.svg").is_file()
