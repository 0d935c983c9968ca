"""Figures, each drawn from a Dataset alone."""

import inspect
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import xarray as xr
from matplotlib import style
from matplotlib.figure import Figure

from subliminal_toy.plots import classifier, lm, real, sweep, theorem
from subliminal_toy.plots.colours import DARK

STYLE = Path(__file__).parents[1] / "subliminal.mplstyle"
FIGURES: dict[str, Mapping[str, Callable[[xr.Dataset], Figure | None]]] = {
    "theorem": theorem.FIGURES,
    "classifier": classifier.FIGURES,
    "lm": lm.FIGURES,
    "real": real.FIGURES,
    "sweep": sweep.FIGURES,
    "compare": sweep.FIGURES,
}
"""Functions that draw, by experiment and by the name of the figure; None if there is nothing to."""


def draw(experiment: str, data: xr.Dataset) -> dict[str, Figure]:
    """Return the figures of an experiment's result by name, without those of what it lacks."""
    drawn = {}
    with style.context(STYLE):
        for name, function in FIGURES[experiment].items():
            figure = function(data)
            if figure is not None:
                # What is drawn, for the caption; the title says what was found.
                about = (inspect.getdoc(function) or "").partition("\n\n")[0]
                figure.set_label(about.replace("\n", " "))
                drawn[name] = figure
    return drawn


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG, the same bytes for the same record, whatever the machine.

    Text is text, title and description are there to be read out, and on a dark page it is dark.
    """
    places, names = re.compile(r"-?\d+\.\d{3,}"), {}

    def rounded(attribute: re.Match) -> str:
        return places.sub(lambda n: f"{round(float(n[0]), 2) + 0.0:.2f}", attribute[0])

    def counted(name: re.Match) -> str:
        return names.setdefault(name[0], f"{name[0][0]}{len(names)}")

    buffer = io.BytesIO()
    title = figure.get_suptitle().replace("\n", ". ")
    with style.context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    )
    dark = f'text:not([style*="fill:"]){{fill:{DARK["#000000"]}}}{rules}'
    about = (
        f"<desc>{escape(str(figure.get_label()))}</desc>\n"
        f" <style>@media (prefers-color-scheme: dark){{{dark}}}</style>\n <metadata>"
    )
    drawn = buffer.getvalue().decode().replace("<svg ", '<svg role="img" ', 1)
    # The layout is right to rounding, which differs between processors, and names are its hashes.
    drawn = re.sub(r'\b(d|x|y|width|height|viewBox|transform)="[^"]*"', rounded, drawn)
    drawn = re.sub(r"\b(?:[pm]|C\d_\d_)[0-9a-f]{10}\b", counted, drawn)
    return drawn.replace("<metadata>", about, 1).encode()
