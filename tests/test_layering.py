"""Imports run one way, nothing heavy comes with --help, and experiments see no pictures."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "subliminal_toy"

# Lower layers first; a module may import from its own layer's left and from below only.
LAYERS = (
    {"errors", "progress"},
    {"configs", "models", "data"},
    {"transformer", "pretrained", "distill", "stats", "results"},
    {"theorem", "lm"},
    {"mnist"},
    {"plots"},
    {"report"},
    {"console", "demos"},
    {"cli"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def imports(path):
    """Return the package's own top-level modules that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("subliminal_toy"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "subliminal_toy" and len(parts) > 1 and parts[1] != "__version__":
                yield parts[1].split("_")[0]


def own_name(path):
    # The theorem stands in several modules: theorem, theorem_….
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py").split("_")[0]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_run_one_way(path):
    name = own_name(path)
    if name == "":
        pytest.skip("the edge of the package may import all of it")
    assert name in RANK, f"{name} has no place in LAYERS"
    above = [other for other in imports(path) if other != name and RANK[other] > RANK[name]]
    assert not above


def loaded_after(statement):
    code = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("module", ["mnist", "theorem", "lm.experiment"])
def test_experiments_load_no_pictures_no_command_line_and_no_data_sets(module):
    loaded = loaded_after(f"import subliminal_toy.{module}")
    assert not loaded & {"matplotlib", "tyro", "sklearn", "tensorflow_datasets"}
    assert f"subliminal_toy.{module}" in loaded and "subliminal_toy.cli" not in loaded


def test_the_command_line_waits_with_everything_heavy():
    loaded = loaded_after("import subliminal_toy.cli")
    assert not loaded & {"jax", "flax", "numpy", "scipy", "matplotlib", "sklearn"}
