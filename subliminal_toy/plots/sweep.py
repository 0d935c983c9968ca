"""What a varied field does, and values here against published ones."""

import itertools

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from subliminal_toy import stats
from subliminal_toy.plots import colours
from subliminal_toy.plots.panels import dots, grid, title
from subliminal_toy.sweep.claims import is_comparison, met, own_values, points

COLOURS = {
    "student_aux": colours.STUDENT, "cross_aux": colours.OTHER_START,
    "student_all": colours.KINDS[0], "cross_all": colours.KINDS[2], "teacher": colours.TEACHER,
    "untrained": colours.UNTRAINED,
}  # fmt: skip

PALETTE = (*colours.KINDS, colours.STUDENT, colours.OTHER_START, colours.CONTROL)
"""Of what has no colour of its own."""


def swept(data: xr.Dataset) -> Figure | None:
    """Final accuracy and progress at every value of a field: replicates, means, 95 % intervals."""
    if is_comparison(data) or data.attrs["experiment"] != "classifier":
        return None
    results = list(points(data))
    students = [name for name in data.arm.values.tolist() if name not in COLOURS]
    arms = dict(zip(students, itertools.cycle(PALETTE), strict=False))
    arms |= {name: colour for name, colour in COLOURS.items() if name in data.arm}
    names = list(arms)
    figure = Figure(figsize=(7.6, 2.0 + 0.06 * len(names) * len(results)))
    panels = grid(figure, 2, 2, sharey=True)
    for axes, variable in zip(panels, ("accuracy", "progress"), strict=True):
        for row, (_, result) in enumerate(results):
            at_end = result[variable].sel(step=result.final_step.astype(int))
            for number, arm in enumerate(names):
                values = at_end.sel(arm=arm).values
                place = row + 0.7 * ((number + 0.5) / len(names) - 0.5)
                dots(axes, place, values, arms[arm])
        axes.set_xlabel(variable)
    ticks = [label for label, _ in results]
    for name in data.attrs["over"].split():
        ticks = [label.replace(f"{name} ", "") for label in ticks]
    panels[0].set_yticks(range(len(results)), ticks)
    panels[0].invert_yaxis()
    for arm in names:
        panels[1].plot([], [], "o", color=arms[arm], label=arm.replace("_", " "))
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    means = [float(r.accuracy.sel(arm=names[0], step=int(r.final_step.sel(arm=names[0]))).mean())
             for _, r in results]  # fmt: skip
    ends = dict.fromkeys(f"{end(means):.2f}" for end in (min, max))
    finding = f"{names[0].replace('_', ' ').capitalize()}: {' to '.join(ends)}"
    varied = data.attrs["over"].replace(" ", " and ")
    what = f"{data.attrs['dataset']}, {varied} varied, n = {data.sizes['replicate']}"
    return title(figure, finding, what)


def published(data: xr.Dataset) -> Figure | None:
    """Accuracy here against the published one, by the factor varied, with 95 % intervals."""
    if not is_comparison(data):
        return None
    figure = Figure(figsize=(5.6, 6.2))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    own = own_values(data)
    half = np.array([e.high - e.value for e in map(stats.estimate, own)])
    factors = list(dict.fromkeys(data.factor.values.tolist()))
    for number, factor in enumerate(factors):
        rows = data.factor.values == factor
        marker = "osD^v"[number // len(PALETTE)]
        axes.errorbar(data.published.values[rows], own.mean(1)[rows], half[rows],
                      np.nan_to_num(data.half_width.values[rows]), fmt=marker, markersize=4,
                      lw=0.7, color=PALETTE[number % len(PALETTE)], label=factor)  # fmt: skip
    axes.set(
        xlabel="published test accuracy", ylabel="test accuracy here", xlim=(0, 1), ylim=(0, 1)
    )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    share = met(data)
    finding = f"{share.value:.0%} of {share.n} published values are met within 3 standard errors"
    return title(figure, finding, f"MNIST, {len(own)} values, n = {own.shape[1]} here")


FIGURES = {"swept": swept, "published": published}
