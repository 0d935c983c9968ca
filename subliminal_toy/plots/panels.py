"""What all figures share: panels in a grid, titles, and one way to draw an estimate."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from subliminal_toy.stats import Values, estimate


def dots(
    axes: Axes, place: float | int, values: Values, colour: str, *, upright: bool = False
) -> None:
    """Draw a point for each replicate, their mean and its 95 % interval, at one height.

    ``upright``: along the y axis at x = ``place`` instead. Values that are no numbers are left out.
    """
    values_n = np.asarray(values, dtype=float)
    values_n = values_n[np.isfinite(values_n)]
    if not len(values_n):
        return
    mean, low, high, _ = estimate(values_n)

    def plot(numbers, *style, **more):
        along = np.atleast_1d(numbers)
        pair = (
            (np.full(len(along), place), along) if upright else (along, np.full(len(along), place))
        )
        axes.plot(*pair, *style, color=colour, **more)

    plot(values_n, ".", alpha=0.45, markersize=4, markeredgewidth=0)
    plot([low, high], linewidth=1.5)
    plot(mean, "o", markersize=5)


def title(figure: Figure, finding: str, what: str) -> Figure:
    """Write what was found, and below it what is shown and over how many replicates."""
    figure.suptitle(f"{finding}\n{what}", x=0.01, ha="left")
    return figure


def grid(figure: Figure, n: int, across: int, sharey: bool = False) -> list[Axes]:
    """Return ``n`` panels in rows of ``across``; the lowest of each column has the labels of x."""
    shape = -(-n // across), across
    panels = figure.subplots(*shape, sharex=True, sharey=sharey, squeeze=False).flatten()
    for number in range(n, len(panels)):
        panels[number].set_axis_off()
        panels[number - across].tick_params(labelbottom=True)
    return list(panels[:n])
