"""The one-step theorem: convergence, other starts, many steps, metrics and sampled labels."""

from collections.abc import Callable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from subliminal_toy.plots import colours
from subliminal_toy.plots.panels import grid, title
from subliminal_toy.stats import Estimate, fraction, median
from subliminal_toy.theorem import claims
from subliminal_toy.theorem.experiment import N_REPEATS
from subliminal_toy.theorem.problems import DISTANCES

STARTS = {
    "shared": colours.STUDENT,
    **dict.fromkeys(DISTANCES, colours.KINDS[3]),
    "hidden shared": colours.KINDS[3],
    "heads shared": colours.KINDS[3],
    "independent": colours.OTHER_START,
}
"""Where a student starts, from the teacher's start away from it, with its colour."""
RISE, KINK = colours.KINDS[1], colours.KINDS[4]
NETWORKS = {
    "linear": "linear",
    "mlp-relu": "ReLU MLP",
    "mlp-tanh": "tanh MLP",
    "cnn-relu": "ReLU CNN",
    "decoder": "decoder",
}


def convergence(data: xr.Dataset) -> Figure:
    """Relative error of (Δ_S·v)/ε against A, every cell of the grid, a panel per architecture."""
    epsilons, n = data.epsilon.values, data.sizes["architecture"]
    grids = data[["grid_inner", "grid_slope", "grid_kink"]]
    grids = grids.assign(order=claims.order_by_integral(data), affine=claims.affine(data))
    figure = Figure(figsize=(7.8, 5.6))
    panels = grid(figure, n, -(-n // 2), sharey=True)
    for axes, (network, cells) in zip(panels, claims.each(grids, "architecture"), strict=True):
        lines = cells.stack(line=["loss", "inputs", "trait"]).transpose("epsilon", "line")
        lines = lines.isel(line=np.flatnonzero(lines.grid_slope > 0))
        errors = np.abs(lines.grid_inner / lines.epsilon / lines.grid_slope - 1).values
        axes.loglog(epsilons, np.where(errors > 0, errors, np.nan), linewidth=0.5, alpha=0.45,
                    color=colours.STUDENT)  # fmt: skip
        crossed = np.flatnonzero(lines.grid_kink.any("epsilon"))
        first = lines.grid_kink.values.argmax(axis=0)[crossed]
        axes.loglog(epsilons[first], errors[first, crossed], "x", color=KINK, markersize=2.5,
                    markeredgewidth=0.5)  # fmt: skip
        axes.loglog(epsilons, epsilons, "--", color="black", linewidth=1)
        order = cells.order
        counts = {"affine": cells.affine.sum(), "zero": (cells.grid_slope == 0).sum()}
        others = ", ".join(f"{int(n)} {name}" for name, n in counts.items() if n)
        shown = f"{int(order.count())} of order {order.min():.2f}–{order.max():.2f}"
        axes.set_title(f"{NETWORKS[network]}\n{shown}\n{others}", fontsize=9)
        axes.set(ylim=(1e-16, 1e4), xticks=[1e-6, 1e-3, 1])
    figure.supylabel("relative error of (Δ$_S$·v)/ε", fontsize=10)
    figure.supxlabel("teacher's step ε", fontsize=10)
    handles = [
        Line2D([], [], color="black", linestyle="--", linewidth=1, label="slope 1 (order 2)"),
        Line2D([], [], color=KINK, marker="x", ls="", markersize=4, label="first ReLU crossed"),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=2)
    return title(
        figure,
        "As ε falls the student's step comes to what the theorem says",
        f"{data.grid_slope.size} combinations of network, loss, inputs and trait, a line each",
    )


def cross_slope(data: xr.Dataset) -> Figure:
    """Fraction of negative cross-slopes, and C/A, by architecture, start and stratum."""
    nonlinear = data.isel(architecture=np.flatnonzero(data.architecture != "linear"))
    figure = Figure(figsize=(7.8, 6.0))
    across = max(nonlinear.sizes["architecture"], 1)
    panels = figure.subplots(2, across, sharex=True, sharey="row", squeeze=False)
    negative = {start: [0.0] for start in STARTS}
    dot = {"markersize": 3, "alpha": 0.4, "markeredgewidth": 0}
    networks = claims.each(nonlinear, "architecture")
    for (above, below), (network, cells) in zip(panels.T, networks, strict=False):
        for place, (start, colour) in enumerate(STARTS.items()):
            at = cells.sel(start=start)
            strata = [claims.pulls(part) for _, part in claims.each(at, "loss", "trait")]
            for slopes, ratios in strata:
                above.plot(place, np.mean(slopes < 0), "o", color=colour, **dot)
                below.plot(place, np.median(ratios), "o", color=colour, **dot)
            n = max(len(slopes) for slopes, _ in strata)
            slopes, ratios = claims.pulls(at)
            negative[start].append(float(np.mean(slopes < 0)))
            _interval(above, place + 0.25, fraction(slopes < 0), "black", "_")
            _interval(below, place + 0.25, median(ratios), "black", "_")
        above.set_title(f"{NETWORKS[network]}\nn = {n} a dot", fontsize=10)
        below.set_xticks(range(len(STARTS)), list(STARTS), rotation=90)
        below.axhline(1, color="black", linewidth=0.8, linestyle=":")
        below.axhline(0, color="black", linewidth=0.8)
    panels[0, 0].set(ylim=(-0.03, 1.03), ylabel="pulled the wrong way (C < 0)")
    panels[1, 0].set_ylabel("median of C/A")
    same, other = (100 * max(negative[start]) for start in ("shared", "independent"))
    return title(
        figure,
        f"The pull is the wrong way in {same:.0f} % of problems from the same start,",
        f"in up to {other:.0f} % from another (a dot: one loss and trait; black: all, 95 %)",
    )


def _interval(axes: Axes, place: float, estimate: Estimate, colour: str, marker: str) -> None:
    """Draw an estimate and its interval upright."""
    axes.plot(place, estimate.value, marker, color=colour, markersize=6, clip_on=False)
    axes.plot([place] * 2, [estimate.low, estimate.high], color=colour, linewidth=1.5)


def many_steps(data: xr.Dataset) -> Figure:
    """Remainder after many steps, where the teacher's loss rises, and progress to the coverage."""
    figure = Figure(figsize=(10.0, 4.0))
    left, middle, right = figure.subplots(1, 3)
    epsilons, positive, highest = data.step_epsilon[1:], data.steps_slope.values > 0, {}
    for (rate, at), colour in zip(claims.each(data, "rate"), colours.KINDS, strict=False):
        errors = at.steps_error.isel(k=-1).values[positive][:, 1:]
        left.loglog(epsilons, errors.T, color=colour, linewidth=0.5, alpha=0.5)
        rising = {float(k): claims.rises(part) for k, part in claims.each(at, "k")}
        for k, estimate in rising.items():
            _interval(middle, k, estimate, colour, ".")
        shares = [estimate.value for estimate in rising.values()]
        middle.semilogx(data.k, shares, color=colour, clip_on=False, label=f"α‖F‖ = {rate}")
        highest[float(rate)] = 100 * max(shares)
    left.loglog(epsilons, epsilons, "--", color="black", linewidth=1)
    left.set_xlabel("teacher's step ε (over its growth)")
    left.set_ylabel(f"relative error of dθ/dε, k = {int(data.k[-1])}")
    left.set_title("Dashed: slope 1, remainder of order 2", fontsize=10)
    middle.set(xlabel="student's steps k", ylabel="fraction in which L$_T$ rises")
    middle.set_ylim(-0.03, 1.03)
    middle.set_title(f"n = {positive.sum()} problems", fontsize=10)
    middle.legend()
    for (loss, part), colour in zip(claims.each(data, "loss"), colours.KINDS, strict=True):
        right.semilogx(data.progress_step, part.progress_predicted, color=colour, label=loss)
        right.semilogx(data.progress_step, part.progress_measured, "o", color=colour, markersize=3)
        right.axhline(float(part.progress_coverage), color=colour, linewidth=0.8, linestyle=":")
    right.set(xlabel="student's steps k", ylabel="progress q$_k$", ylim=(0, 1.02))
    right.set_title("Line: predicted; dotted: coverage", fontsize=10)
    right.legend(loc="upper left", title="student's loss (n = 1 each)")
    beyond = max(share for rate, share in highest.items() if rate > 2)
    below = max(share for rate, share in highest.items() if rate < 2)
    return title(
        figure,
        "Many steps follow the prediction, and too large a rate α can undo them",
        f"the teacher's loss rises in up to {beyond:.0f} % beyond α‖F‖ = 2, in {below:.0f} % below",
    )


def sampled(data: xr.Dataset) -> Figure:
    """Steps in metrics, and means of steps on sampled labels."""
    figure = Figure(figsize=(9.4, 4.0))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    places, rises = np.arange(data.sizes["metric"]), data.metric_change > 0
    for place in places:
        share = fraction(rises.isel(metric=place))
        left.plot(share.value, place, "o", color=RISE, clip_on=False)
        left.hlines(place, share.low, share.high, color=RISE)
    left.set_yticks(places, data.metric.values)
    left.set(xlabel="fraction in which L$_T$ rises", ylim=(len(places) - 0.5, -0.5))
    left.set_title(f"One step in a metric, n = {rises.sizes['metric_problem']} each", fontsize=10)
    ratio = data.label_draws * data.label_soft**2 / data.label_variance
    for loss, colour in zip(data.label_loss.values, colours.KINDS, strict=False):
        at = {"label_loss": loss}
        right.plot(ratio.sel(at).values.ravel(), data.label_wrong.sel(at).values.ravel(), ".",
                   color=colour, alpha=0.5, label=str(loss))  # fmt: skip
    ratios = np.geomspace(float(ratio.min()), float(ratio.max()), 200)
    right.plot(ratios, np.minimum(1, 1 / ratios), "--", color="black", linewidth=1,
               label="bound Var/(N(Δ$_S$·v)²)")  # fmt: skip
    right.set(xscale="log", xlabel="draws N, in units of N* = Var/(Δ$_S$·v)²")
    right.set_ylabel("fraction of means against v")
    right.set_title(f"Sampled labels; a dot: {N_REPEATS} means of one problem", fontsize=10)
    right.legend()
    network = NETWORKS[data.metric_change.attrs["network"]]
    return title(
        figure,
        "Where the guarantee ends: two metrics, or too few sampled labels",
        f"one network, a {network}",
    )


FIGURES: dict[str, Callable[[xr.Dataset], Figure | None]] = {
    "theorem_convergence": convergence,
    "theorem_cross_slope": cross_slope,
    "theorem_many_steps": many_steps,
    "theorem_sampled": sampled,
}
