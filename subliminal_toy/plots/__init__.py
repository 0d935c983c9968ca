"""Figures, each drawn from a record alone."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from subliminal_toy.errors import UserError
from subliminal_toy.plots import classifier, explain, lm, theorem
from subliminal_toy.records import Record

STYLE = Path(__file__).parents[1] / "subliminal.mplstyle"
FIGURES: dict[str, Mapping[str, Callable[[Record], Figure | None]]] = {
    "theorem": theorem.FIGURES,
    "classifier": classifier.FIGURES,
    "explain": explain.FIGURES,
    "lm": lm.FIGURES,
}
"""Functions that draw, by experiment and by the name of the figure; None if there is nothing to."""


def draw(record: Record) -> dict[str, Figure]:
    """Return the figures of a record by name; raises UserError if its experiment has none.

    One of what was not measured is left out.
    """
    experiment = record.manifest["experiment"]
    if experiment not in FIGURES:
        raise UserError(f"There are no figures for the experiment '{experiment}'.")
    with style.context(STYLE):
        drawn = {name: figure(record) for name, figure in FIGURES[experiment].items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG, the same bytes for the same record."""
    buffer = io.BytesIO()
    with style.context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
