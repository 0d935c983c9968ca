"""Imports run one way, inside packages too; nothing heavy comes with --help."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "subliminal_toy"

# Lower layers first; a module may import from its own layer or from below only. Configs are read
# by --help; those who learn may call the theorem, but do not know of one another, nor of the table.
LAYERS = (
    {"errors"},
    {"classifier.config", "theorem.config", "lm.config", "sweep.config"},
    {"stats", "data", "models"},
    {"claims", "distill", "transformer"},
    {"record"},
    {"theorem"},
    {"classifier", "lm"},
    {"experiments"},
    {"sweep"},
    {"plots"},
    {"findings"},
    {"report"},
    {"page", "lessons"},
    {"console"},
    {"cli"},
)
EXPERIMENTS = {"theorem", "classifier", "lm"}
EDGE = {"", "__main__"}  # the package itself and its command


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def rank(module):
    """Return the layer of a module: that of its own name, else that of its package."""
    for name in (module, module.split(".")[0]):
        for number, layer in enumerate(LAYERS):
            if name in layer:
                return number
    raise AssertionError(f"{module} has no place in LAYERS")


def imports(path):
    """Return the package's own modules that a file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("subliminal_toy"):
            inside = node.module.removeprefix("subliminal_toy").removeprefix(".")
            for alias in node.names:
                whole = f"{inside}.{alias.name}".strip(".")
                found.add(whole if whole in MODULES else inside)
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found |= {n.removeprefix("subliminal_toy.") for n in names if "subliminal_toy." in n}
    return found - EDGE


GRAPH = {name: imports(path) for name, path in MODULES.items() if name not in EDGE}


@pytest.mark.parametrize("module", sorted(GRAPH))
def test_imports_run_one_way(module):
    assert not [other for other in GRAPH[module] if rank(other) > rank(module)]
    package = module.split(".")[0]
    if package in EXPERIMENTS:
        others = {other.split(".")[0] for other in GRAPH[module]} & EXPERIMENTS
        assert others <= {package, "theorem"}


def test_there_is_no_circle():
    tuple(graphlib.TopologicalSorter(GRAPH).static_order())  # raises CycleError


def test_modules_are_imported_by_string_in_the_table_only():
    """``import_module`` of our own modules keeps --help fast, and hides an import from the rest."""
    by_string = {n for n, path in MODULES.items() if "import_module(f" in path.read_text()}
    assert by_string == {"experiments"}


def test_the_command_line_alone_prints():
    prints = {
        name for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }  # fmt: skip
    assert {name for name in prints if not name.startswith("lessons")} == {"console"}


def loaded_after(statement):
    code = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_experiments_load_no_pictures_no_command_line_and_no_data_sets():
    names = (f"subliminal_toy.{x}.{y}" for x in EXPERIMENTS for y in ("experiment", "claims"))
    loaded = loaded_after(f"import {', '.join(names)}")
    assert not loaded & {"matplotlib", "tyro", "tensorflow_datasets", "subliminal_toy.cli"}


def test_the_command_line_waits_with_everything_heavy():
    loaded = loaded_after("import subliminal_toy.cli")
    assert not loaded & {"jax", "flax", "numpy", "scipy", "matplotlib", "sklearn", "xarray"}
