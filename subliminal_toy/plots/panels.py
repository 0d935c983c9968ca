"""Panels of one figure that share an axis."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def grid(figure: Figure, n: int, across: int, sharey: bool = False) -> list[Axes]:
    """Return ``n`` panels in rows of ``across``; the lowest of each column has the labels of x."""
    shape = -(-n // across), across
    panels = figure.subplots(*shape, sharex=True, sharey=sharey, squeeze=False).flatten()
    for number in range(n, len(panels)):
        panels[number].set_axis_off()
        panels[number - across].tick_params(labelbottom=True)
    return list(panels[:n])
