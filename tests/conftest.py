"""Types and shapes are checked, implicit rank promotion is an error, and keys are used once.

Strict dtype promotion stays off: optax itself mixes integers and floats in its step counts.
"""

import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

# XLA compiles faster without its newer way to emit fusions, the suite by a quarter of its processor
# time. The processes that tests start inherit it; it must be set before JAX is imported. A later
# version may not know the flag, and ends a process that has one.
if metadata.version("jaxlib").startswith("0.10."):
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_use_fusion_emitters=false"

import jax
import pytest
from jaxtyping import install_import_hook

# What one test or process has compiled, the others read: the first to come here makes the folder,
# and those it starts inherit the variables.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    folder = tempfile.TemporaryDirectory(prefix="compiled-")  # removed when its maker ends
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
CACHE = {
    "jax_compilation_cache_dir": os.environ["JAX_COMPILATION_CACHE_DIR"],
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
for option, value in CACHE.items():
    os.environ[option.upper()] = str(value)  # for the command line, which tests start
    jax.config.update(option, value)

jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("subliminal_toy", "beartype.beartype")

from subliminal_toy import record  # noqa: E402

# In a run of any experiment; in a test's own loop each operation would take several times as long.
record.run = jax.debug_key_reuse(True)(record.run)

# Those that take longest come first, so that the two workers end together.
LONG = (
    "proofs", "lm_experiment", "lessons", "real", "classifier", "live", "lm_detectors", "page",
    "theorem_experiment", "style", "sweep", "transformer", "lm_claims", "distributed", "readme",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    order = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def committed():
    """The records of ``figures/`` by folder."""
    from subliminal_toy import experiments

    figures = Path(__file__).parents[1] / "figures"
    folders = sorted(path.parent for path in figures.glob("*/manifest.json"))
    return {folder.name: experiments.load(folder) for folder in folders}


@pytest.fixture(scope="session")
def digits():
    from subliminal_toy import data

    return data.load("digits")


@pytest.fixture
def double():
    """Compute in double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def compile_quickly():
    """Spend little on compiling: the programs of the test's module run for milliseconds."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    arguments = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ]  # fmt: skip
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()
