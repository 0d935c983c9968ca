"""Figures, each drawn from a record alone."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from subliminal_toy.results import Record

STYLE = Path(__file__).parents[1] / "subliminal.mplstyle"


def draw(record: Record) -> dict[str, Figure]:
    """Return all figures of a record's experiment by name."""
    module = import_module(f"subliminal_toy.plots.{record.manifest['experiment']}")
    figures: dict[str, Callable[[Record], Figure]] = module.FIGURES
    with style.context(STYLE):
        return {name: figure(record) for name, figure in figures.items()}


def save(figures: dict[str, Figure], directory: Path) -> list[Path]:
    """Write each figure as SVG, the same bytes for the same record, and return the paths."""
    paths = []
    with style.context(STYLE):
        for name, figure in figures.items():
            paths.append(directory / f"{name}.svg")
            figure.savefig(paths[-1], metadata={"Date": None})
    return paths
