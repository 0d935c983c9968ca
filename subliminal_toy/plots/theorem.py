"""The one-step theorem: convergence, the fall of the trait loss, other starts, and its limits."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from subliminal_toy.plots import colours
from subliminal_toy.plots.panels import grid
from subliminal_toy.records import Record

SHARED, INDEPENDENT, BETWEEN = colours.STUDENT, colours.OTHER_START, colours.KINDS[3]
RISE, KINK = colours.KINDS[1], colours.KINDS[4]
"""By the student's start: the teacher's, one of its own, or something between."""
STARTS = {"shared": SHARED, "independent": INDEPENDENT}
NETWORKS = {
    "linear": "linear",
    "mlp-relu": "ReLU MLP",
    "mlp-tanh": "tanh MLP",
    "cnn-relu": "ReLU CNN",
}
CELL = ("architecture", "loss", "inputs", "trait")


def _name(network: str) -> str:
    return NETWORKS.get(network, network)


def _titled(figure: Figure, title: str) -> Figure:
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _lines(cells: xr.Dataset, slope: str) -> xr.Dataset:
    """Return cells with slope, one after the other along the last axis, ``line``."""
    cells = cells.stack(line=[axis for axis in CELL if axis in cells.dims])
    return cells.isel(line=np.flatnonzero(cells[slope] > 0))


def convergence(record: Record) -> Figure:
    """Relative error of (Δ_S·v)/ε against A, every cell of the grid, a panel per architecture."""
    data, table = record.data, record.summary["grid_by_architecture"]
    epsilons = data.epsilon.values
    figure = Figure(figsize=(7.8, 5.6))
    panels = grid(figure, len(table), -(-len(table) // 2), sharey=True)
    for axes, row in zip(panels, table, strict=True):
        cells = _lines(data.sel(architecture=row["architecture"]), "grid_slope")
        errors = np.abs(cells.grid_inner / cells.epsilon / cells.grid_slope - 1)
        axes.loglog(epsilons, errors.where(errors > 0), linewidth=0.5, alpha=0.45, color=SHARED)
        crossed = np.flatnonzero(cells.grid_kink.any("epsilon"))
        first = cells.grid_kink.argmax("epsilon").values[crossed]
        axes.loglog(epsilons[first], errors.values[first, crossed], "x", color=KINK,
                    markersize=2.5, markeredgewidth=0.5)  # fmt: skip
        axes.loglog(epsilons, epsilons, "--", color="black", linewidth=1)
        axes.set_title(f"{_name(row['architecture'])}\n{_counts(row)}", fontsize=9)
        axes.set(ylim=(1e-16, 1e4), xticks=[1e-6, 1e-3, 1])
    figure.supylabel("relative error of (Δ$_S$·v)/ε", fontsize=10)
    figure.supxlabel("teacher's step ε", fontsize=10)
    handles = [
        Line2D([], [], color="black", linestyle="--", linewidth=1, label="slope 1 (order 2)"),
        Line2D([], [], color=KINK, marker="x", ls="", markersize=4, label="first ReLU crossed"),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=2)
    n = sum(row["cells"] for row in table)
    return _titled(
        figure,
        f"As ε falls the student's step comes to what the theorem says\n{n} combinations of "
        "network, loss, inputs and trait, a line each",
    )


def _counts(row: dict[str, Any]) -> str:
    """Return how many lines a panel has, the order they show, and which have none."""
    low, high = row["order_by_integral"] or (np.nan, np.nan)
    others = [f"{row[kind]} {kind}" for kind in ("affine", "zero") if row[kind]]
    return f"{row['by_integral']} of order {low:.2f}–{high:.2f}\n{', '.join(others)}"


def fall(record: Record) -> Figure | None:
    """Trait loss after one step against ε in a few cells: measured, predicted, where it turns.

    None where no network with such a cell was run.
    """
    data, rate = record.data, record.summary["learning_rate"]
    if "explored_slope" not in data:
        return None
    epsilons, n = data.explored_epsilon.values, data.sizes["cell"]
    figure = Figure(figsize=(7.8, 3.2 * -(-n // 2)))
    panels = grid(figure, n, 2)
    for axes, name in zip(panels, data.cell.values, strict=True):
        cell = data.sel(cell=name)
        change, slope = cell.explored_change.values, float(cell.explored_slope)
        falls = change < 0
        axes.loglog(epsilons, epsilons * rate * slope, "--", color="black", linewidth=1,
                    label="predicted fall εαA")  # fmt: skip
        axes.loglog(epsilons, np.where(falls, -change, np.nan), color=SHARED, label="measured fall")
        axes.loglog(epsilons, np.where(falls, np.nan, change), color=RISE,
                    label="measured rise")  # fmt: skip
        if not falls.all():
            turn = epsilons[np.argmin(falls)]
            axes.axvline(turn, color=RISE, linewidth=0.8, linestyle=":")
            axes.text(turn / 1.3, 0.04, f"rises from ε = {turn:.2g}", color=RISE, fontsize=9,
                      rotation=90, ha="right", transform=axes.get_xaxis_transform())  # fmt: skip
        network, *rest = str(name).split(" · ")
        axes.set_title("{} · {}\n{} · {}".format(_name(network), *rest), fontsize=9)
        axes.set_xlabel("teacher's step ε")
    panels[0].set_ylabel("change of the trait loss, absolute")
    panels[0].legend(loc="upper left")
    return _titled(
        figure,
        "The teacher's loss falls as predicted, until its step ε is large\nafter one step of the "
        f"student, α = {rate:g}, one start each",
    )


def cross_slope(record: Record) -> Figure:
    """Fraction of negative cross-slopes, and C/A, by architecture, start and stratum."""
    summary = record.summary
    totals = [row for row in summary["cross_slope_by_start"] if row["architecture"] != "linear"]
    architectures = list(dict.fromkeys(row["architecture"] for row in totals))
    # From the teacher's start away from it.
    starts = sorted(dict.fromkeys(row["start"] for row in totals), key=_from_shared)
    figure = Figure(figsize=(7.8, 6.0))
    across = max(len(architectures), 1)
    panels = figure.subplots(2, across, sharex=True, sharey="row", squeeze=False)
    for (above, below), architecture in zip(panels.T, architectures, strict=False):
        strata = [r for r in summary["cross_slope"] if r["architecture"] == architecture and r["n"]]
        for row in strata:
            place, colour = starts.index(row["start"]), STARTS.get(row["start"], BETWEEN)
            _dot(above, place, row["negative"] / row["n"], colour)
            _dot(below, place, row["median_ratio"], colour)
        for row in totals:
            if row["architecture"] == architecture:
                place = starts.index(row["start"])
                _total(above, place, row["negative"])
                _total(below, place, row["median_ratio"])
        n = max((row["n"] for row in strata), default=0)
        above.set_title(f"{_name(architecture)}\nn = {n} a dot", fontsize=10)
        below.set_xticks(range(len(starts)), starts, rotation=90)
        below.axhline(1, color="black", linewidth=0.8, linestyle=":")
        below.axhline(0, color="black", linewidth=0.8)
    panels[0, 0].set(ylim=(-0.03, 1.03), ylabel="pulled the wrong way (C < 0)")
    panels[1, 0].set_ylabel("median of C/A")
    same, other = (
        max((100 * row["negative"]["mean"] for row in totals if row["start"] == start), default=0)
        for start in STARTS
    )
    return _titled(
        figure,
        f"The pull is the wrong way in {same:.0f} % of problems from the same start,\nin up to "
        f"{other:.0f} % from another (a dot: one loss and trait; black: all, 95 %)",
    )


def _from_shared(start: str) -> tuple[int, float]:
    """Return a sort key: shared, then distances, then layers, then independent."""
    if start.startswith("distance"):
        return 1, float(start.split()[-1])
    return {"shared": 0, "hidden shared": 2, "heads shared": 3}.get(start, 4), 0.0


def _dot(axes: Axes, place: int, value: float, colour: str) -> None:
    axes.plot(place, value, "o", color=colour, markersize=3, alpha=0.4, markeredgewidth=0)


def _total(axes: Axes, place: int, estimate: dict[str, Any]) -> None:
    axes.plot(place + 0.25, estimate["mean"], "_", color="black", markersize=8)
    if estimate["ci95"]:
        axes.plot([place + 0.25] * 2, estimate["ci95"], color="black", linewidth=1.5)


def outside(record: Record) -> Figure:
    """Signs in the cases outside the theorem, and the way of a full distillation."""
    figure = Figure(figsize=(9.4, 4.4))
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    rows = record.summary["outside"]
    labels = list(dict.fromkeys(f"{row['case']}, {row['step']}" for row in rows))
    epsilons = list(dict.fromkeys(f"{row['case_epsilon']:g}" for row in rows))
    falling = np.reshape([row["falling"]["mean"] for row in rows], (len(labels), len(epsilons)))
    left.imshow(falling, vmin=0, vmax=2, cmap="Greens", aspect="auto")
    for (row, column), mean in np.ndenumerate(falling):
        left.text(column, row, f"{mean:.2f}", ha="center", va="center", fontsize=9,
                  color=colours.INK)  # fmt: skip
    left.set_xticks(range(len(epsilons)), epsilons)
    left.set_yticks(range(len(labels)), labels)
    left.set_xlabel("teacher's step ε")
    left.set_title(f"The teacher's loss falls in, n = {rows[0]['positive']['n']}", fontsize=10)
    data = record.data.isel(path_step=slice(1, None))
    for start, colour in STARTS.items():
        cosine = data.path_cosine.sel(path_start=start).transpose("path_step", "replicate")
        right.plot(data.path_step, cosine, color=colour, linewidth=0.5, alpha=0.5)
        right.plot(data.path_step, cosine.mean("replicate"), color=colour, label=f"{start} start")
    right.axhline(0, color="black", linewidth=0.8, linestyle=":")
    right.set(xlabel="student's steps of gradient descent", ylabel="cosine of the displacements")
    right.set_title(f"Many steps, n = {data.sizes['replicate']} (thick: mean)", fontsize=10)
    right.legend()
    return _titled(
        figure,
        "Where nothing is proved: how often the teacher's loss falls, and a whole distillation",
    )


def many_steps(record: Record) -> Figure:
    """Remainder after many steps, where the teacher's loss rises, and progress to the coverage."""
    data, summary = record.data, record.summary
    figure = Figure(figsize=(10.0, 4.0))
    left, middle, right = figure.subplots(1, 3)
    epsilons = data.step_epsilon[1:]
    for rate, colour in zip(data.rate.values, colours.KINDS, strict=False):
        cells = data[["steps_error", "steps_slope"]].sel(rate=rate)
        cells = _lines(cells.isel(k=-1, step_epsilon=slice(1, None)), "steps_slope")
        left.loglog(epsilons, cells.steps_error, color=colour, linewidth=0.5, alpha=0.5)
        steps = [row for row in summary["steps"] if row["rate"] == rate]
        k = [row["k"] for row in steps]
        middle.semilogx(k, [row["rises"]["mean"] for row in steps], "o-", color=colour,
                        markersize=4, clip_on=False, label=f"α‖F‖ = {rate:g}")  # fmt: skip
        middle.vlines(k, *np.transpose([row["rises"]["ci95"] for row in steps]), color=colour)
    left.loglog(epsilons, epsilons, "--", color="black", linewidth=1)
    left.set_xlabel("teacher's step ε (over its growth)")
    left.set_ylabel(f"relative error of dθ/dε, k = {int(data.k[-1])}")
    left.set_title("Dashed: slope 1, remainder of order 2", fontsize=10)
    middle.set(xlabel="student's steps k", ylabel="fraction in which L$_T$ rises")
    middle.set_ylim(-0.03, 1.03)
    middle.set_title(f"n = {summary['steps'][0]['rises']['n']} problems", fontsize=10)
    middle.legend()
    for loss, colour in zip(data.loss.values, colours.KINDS, strict=False):
        one = data.sel(loss=loss)
        right.semilogx(data.progress_step, one.progress_predicted, color=colour, label=str(loss))
        right.semilogx(data.progress_step, one.progress_measured, "o", color=colour, markersize=3)
        right.axhline(float(one.progress_coverage), color=colour, linewidth=0.8, linestyle=":")
    right.set(xlabel="student's steps k", ylabel="progress q$_k$", ylim=(0, 1.02))
    right.set_title("Line: predicted; dotted: coverage", fontsize=10)
    right.legend(loc="upper left", title="student's loss (n = 1 each)")
    return _titled(
        figure,
        f"Many steps follow the prediction; at the largest rate the teacher's loss rises in "
        f"{100 * summary['steps'][-1]['rises']['mean']:.0f} %",
    )


def sampled(record: Record) -> Figure:
    """Steps in metrics, and means of steps on sampled labels."""
    data, summary = record.data, record.summary
    figure = Figure(figsize=(9.4, 4.0))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    rows = summary["metrics"]
    places = np.arange(len(rows))
    left.plot([row["rises"]["mean"] for row in rows], places, "o", color=RISE, clip_on=False)
    left.hlines(places, *np.transpose([row["rises"]["ci95"] for row in rows]), color=RISE)
    left.set_yticks(places, [row["metric"] for row in rows])
    left.set(xlabel="fraction in which L$_T$ rises", ylim=(len(rows) - 0.5, -0.5))
    left.set_title(f"One step in a metric, n = {rows[0]['rises']['n']} each", fontsize=10)
    ratio = data.label_draws * data.label_soft**2 / data.label_variance
    for loss, colour in zip(data.label_loss.values, colours.KINDS, strict=False):
        at = {"label_loss": loss}
        right.plot(ratio.sel(at).values.ravel(), data.label_wrong.sel(at).values.ravel(), ".",
                   color=colour, alpha=0.5, label=str(loss))  # fmt: skip
    ratios = np.geomspace(float(ratio.min()), float(ratio.max()), 200)
    right.plot(ratios, np.minimum(1, 1 / ratios), "--", color="black", linewidth=1,
               label="bound Var/(N(Δ$_S$·v)²)")  # fmt: skip
    n_means = summary["sampled"][0]["wrong"]["n"] // data.sizes["label_problem"]
    right.set(xscale="log", xlabel="draws N, in units of N* = Var/(Δ$_S$·v)²")
    right.set_ylabel("fraction of means against v")
    right.set_title(f"Sampled labels; a dot: {n_means} means of one problem", fontsize=10)
    right.legend()
    return _titled(figure, "Where the guarantee ends: two metrics, or too few sampled labels")


FIGURES = {
    "theorem_convergence": convergence,
    "theorem_fall": fall,
    "theorem_cross_slope": cross_slope,
    "theorem_outside": outside,
    "theorem_many_steps": many_steps,
    "theorem_sampled": sampled,
}
