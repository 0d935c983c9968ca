"""The one-step theorem: convergence, the fall of the trait loss, other starts, and its limits."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from subliminal_toy.records import Record

COLOURS = {
    "linear": "#000000", "mlp-relu": "#0072B2", "mlp-tanh": "#D55E00", "cnn-relu": "#009E73",
    "decoder": "#CC79A7",
}  # fmt: skip
SHARED, INDEPENDENT = "#0072B2", "#D55E00"
RATE_COLOURS = ("#009E73", "#0072B2", "#D55E00")


def convergence(record: Record) -> Figure:
    """Relative error of (Δ_S·v)/ε against A, every cell of the grid, a panel per architecture."""
    data, table = record.data, record.summary["grid_by_architecture"]
    epsilons = data.epsilon.values
    figure = Figure(figsize=(10.0, 3.4))
    panels = figure.subplots(1, len(table), sharex=True, sharey=True, squeeze=False)[0]
    for axes, row in zip(panels, table, strict=True):
        cells = data.sel(architecture=row["architecture"]).stack(line=("loss", "inputs", "trait"))
        cells = cells.isel(line=np.flatnonzero(cells.grid_slope > 0))
        errors = np.abs(cells.grid_inner / cells.epsilon / cells.grid_slope - 1)
        errors = errors.transpose("line", "epsilon").values
        kinks = cells.grid_kink.transpose("line", "epsilon").values
        colour = COLOURS[row["architecture"]]
        shown = np.where(errors > 0, errors, np.nan)
        axes.loglog(epsilons, shown.T, linewidth=0.5, alpha=0.45, color=colour)
        crossed = np.flatnonzero(kinks.any(axis=1))
        first = np.argmax(kinks[crossed], axis=1)
        axes.loglog(
            epsilons[first], errors[crossed, first], "x",
            color="0.2", markersize=2.5, markeredgewidth=0.5,
        )  # fmt: skip
        axes.loglog(epsilons, epsilons, "--", color="black", linewidth=1)
        axes.set_title(f"{row['architecture']}\n{_counts(row)}", fontsize=9)
        axes.set_ylim(1e-16, 1e4)
        axes.set_xticks([1e-6, 1e-3, 1])
    panels[0].set_ylabel("relative error of (Δ$_S$·v)/ε")
    figure.supxlabel("teacher's step ε", fontsize=10)
    handles = [
        Line2D([], [], color="black", linestyle="--", linewidth=1, label="slope 1 (order 2)"),
        Line2D([], [], color="0.2", marker="x", ls="", markersize=4, label="first ReLU crossed"),
    ]
    panels[0].legend(handles=handles, fontsize=7, loc="upper left")
    n = sum(row["cells"] for row in table)
    figure.suptitle(f"(Δ$_S$·v)/ε → A in every cell (n = {n}, one line each)", x=0.01, ha="left")
    return figure


def _counts(row: dict[str, Any]) -> str:
    """Return how many lines a panel has, the order they show, and which have none."""
    low, high = row["order_by_integral"] or (np.nan, np.nan)
    parts = [f"{row['by_integral']} of order {low:.2f}–{high:.2f}"]
    others = [f"{row[kind]} {kind}" for kind in ("affine", "zero") if row[kind]]
    return "\n".join((parts[0], ", ".join(others)))


def fall(record: Record) -> Figure | None:
    """Trait loss after one step against ε in a few cells: measured, predicted, where it turns.

    None where no network with such a cell was run.
    """
    data, rate = record.data, record.summary["learning_rate"]
    if "explored_slope" not in data:
        return None
    epsilons = data.explored_epsilon.values
    figure = Figure(figsize=(10.0, 3.6))
    panels = figure.subplots(1, data.sizes["cell"], sharex=True, squeeze=False)[0]
    for axes, name in zip(panels, data.cell.values, strict=True):
        cell = data.sel(cell=name)
        change, slope = cell.explored_change.values, float(cell.explored_slope)
        falls = change < 0
        axes.loglog(epsilons, epsilons * rate * slope, "--", color="black", linewidth=1,
                    label="predicted fall εαA")  # fmt: skip
        axes.loglog(epsilons, np.where(falls, -change, np.nan), color=SHARED, label="measured fall")
        axes.loglog(epsilons, np.where(falls, np.nan, change), color=INDEPENDENT,
                    label="measured rise")  # fmt: skip
        if not falls.all():
            turn = epsilons[np.argmin(falls)]
            axes.axvline(turn, color=INDEPENDENT, linewidth=0.8, linestyle=":")
            axes.text(turn / 1.3, 0.04, f"rises from ε = {turn:.2g}", color=INDEPENDENT, fontsize=8,
                      rotation=90, ha="right", transform=axes.get_xaxis_transform())  # fmt: skip
        axes.set_title("{} · {}\n{} · {}".format(*str(name).split(" · ")), fontsize=9)
        axes.set_xlabel("teacher's step ε")
    panels[0].set_ylabel("change of the trait loss, absolute")
    panels[0].legend(fontsize=8, loc="upper left")
    figure.suptitle(f"The trait loss after one student step (α = {rate:g}, n = 1 start each)",
                    x=0.01, ha="left")  # fmt: skip
    return figure


def cross_slope(record: Record) -> Figure:
    """Fraction of negative cross-slopes, and C/A, by architecture, start and stratum."""
    summary = record.summary
    totals = [row for row in summary["cross_slope_by_start"] if row["architecture"] != "linear"]
    architectures = list(dict.fromkeys(row["architecture"] for row in totals))
    # From the teacher's start away from it.
    starts = sorted(dict.fromkeys(row["start"] for row in totals), key=_from_shared)
    figure = Figure(figsize=(10.0, 5.4))
    panels = figure.subplots(
        2, max(len(architectures), 1), sharex=True, sharey="row", squeeze=False
    )
    for (above, below), architecture in zip(panels.T, architectures, strict=False):
        colour = COLOURS[architecture]
        strata = [r for r in summary["cross_slope"] if r["architecture"] == architecture and r["n"]]
        for row in strata:
            place = starts.index(row["start"])
            _dot(above, place, row["negative"] / row["n"], colour)
            _dot(below, place, row["median_ratio"], colour)
        for row in totals:
            if row["architecture"] == architecture:
                place = starts.index(row["start"])
                _total(above, place, row["negative"])
                _total(below, place, row["median_ratio"])
        n = max((row["n"] for row in strata), default=0)
        above.set_title(f"{architecture}, n = {n} a dot", fontsize=10)
        below.set_xticks(range(len(starts)), starts, rotation=60, ha="right", fontsize=8)
        below.axhline(1, color="black", linewidth=0.8, linestyle=":")
        below.axhline(0, color="black", linewidth=0.8)
    panels[0, 0].set_ylim(-0.03, 1.03)
    panels[1, 0].set_ylim(-0.6, 1.6)
    panels[0, 0].set_ylabel("fraction with C < 0")
    panels[1, 0].set_ylabel("median of C/A")
    figure.suptitle(
        "What the teacher's move does to a student with another start (a dot: one loss and trait; "
        "black: all, 95 %)", x=0.01, ha="left", fontsize=10,
    )  # fmt: skip
    return figure


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
    figure = Figure(figsize=(10.0, 3.9))
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    rows = record.summary["outside"]
    table = {(f"{row['case']}, {row['step']}", row["case_epsilon"]): row for row in rows}
    labels = list(dict.fromkeys(label for label, _ in table))
    epsilons = sorted({epsilon for _, epsilon in table})
    shown = [[table[label, e]["positive"]["mean"] for e in epsilons] for label in labels]
    image = left.imshow(shown, vmin=0, vmax=1, cmap="RdBu", aspect="auto")
    for (label, epsilon), row in table.items():
        positive, falling = row["positive"]["mean"], row["falling"]["mean"]
        left.text(epsilons.index(epsilon), labels.index(label), f"{positive:.2f} / {falling:.2f}",
                  ha="center", va="center", fontsize=7,
                  color="white" if abs(positive - 0.5) > 0.35 else "black")  # fmt: skip
    left.set_xticks(range(len(epsilons)), [f"{e:g}" for e in epsilons])
    left.set_yticks(range(len(labels)), labels, fontsize=8)
    left.set_xlabel("teacher's step ε")
    left.set_title(
        f"Fraction with Δ$_S$·v > 0 / trait loss falls, n = {rows[0]['positive']['n']}", fontsize=10
    )
    figure.colorbar(image, ax=left, fraction=0.04, label="fraction with Δ$_S$·v > 0")
    data = record.data.isel(path_step=slice(1, None))
    for start, colour in (("shared", SHARED), ("independent", INDEPENDENT)):
        cosine = data.path_cosine.sel(path_start=start).transpose("path_step", "replicate")
        right.plot(data.path_step, cosine, color=colour, linewidth=0.5, alpha=0.5)
        right.plot(data.path_step, cosine.mean("replicate"), color=colour, label=f"{start} start")
    right.axhline(0, color="black", linewidth=0.8, linestyle=":")
    right.set_xlabel("student's steps of gradient descent")
    right.set_ylabel("cosine of the displacements")
    right.set_title(f"Many steps, n = {data.sizes['replicate']} (thick: mean)", fontsize=10)
    right.legend(fontsize=8)
    return figure


def many_steps(record: Record) -> Figure:
    """Remainder after many steps, where the teacher's loss rises, and progress to the coverage."""
    data, summary = record.data, record.summary
    figure = Figure(figsize=(10.0, 3.6))
    left, middle, right = figure.subplots(1, 3)
    epsilons = data.step_epsilon[1:]
    for rate, colour in zip(data.rate.values, RATE_COLOURS, strict=True):
        cells = data.sel(rate=rate).isel(k=-1, step_epsilon=slice(1, None))
        cells = cells.stack(line=("architecture", "loss", "trait"))
        cells = cells.isel(line=np.flatnonzero(cells.steps_slope > 0))
        errors = cells.steps_error.transpose("step_epsilon", "line").values
        left.loglog(epsilons, errors, color=colour, linewidth=0.5, alpha=0.5)
        steps = [row for row in summary["steps"] if row["rate"] == rate]
        k = [row["k"] for row in steps]
        middle.semilogx(k, [row["rises"]["mean"] for row in steps], "o-", color=colour,
                        markersize=4, label=f"α‖F‖ = {rate:g}")  # fmt: skip
        middle.vlines(k, *np.transpose([row["rises"]["ci95"] for row in steps]), color=colour)
    left.loglog(epsilons, epsilons, "--", color="black", linewidth=1)
    left.set_xlabel("teacher's step ε (over its growth)")
    left.set_ylabel(f"relative error of dθ/dε, k = {int(data.k[-1])}")
    left.set_title("Dashed: slope 1, remainder of order 2", fontsize=10)
    middle.set_xlabel("student's steps k")
    middle.set_ylabel("fraction in which L$_T$ rises")
    middle.set_ylim(-0.03, 1.03)
    middle.set_title(f"n = {summary['steps'][0]['rises']['n']} problems", fontsize=10)
    middle.legend(fontsize=8)
    for loss, colour in zip(data.loss.values, COLOURS.values(), strict=False):
        one = data.sel(loss=loss)
        right.semilogx(data.progress_step, one.progress_predicted, color=colour, label=str(loss))
        right.semilogx(data.progress_step, one.progress_measured, "o", color=colour, markersize=3)
        right.axhline(float(one.progress_coverage), color=colour, linewidth=0.8, linestyle=":")
    right.set_xlabel("student's steps k")
    right.set_ylabel("progress q$_k$")
    right.set_ylim(0, 1.02)
    right.set_title("Line: predicted; dotted: coverage", fontsize=10)
    right.legend(fontsize=7, loc="upper left", title="student's loss (n = 1 each)",
                 title_fontsize=7)  # fmt: skip
    return figure


def sampled(record: Record) -> Figure:
    """Steps in metrics, and means of steps on sampled labels."""
    data, summary = record.data, record.summary
    figure = Figure(figsize=(10.0, 3.4))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    rows = summary["metrics"]
    places = np.arange(len(rows))
    left.plot([row["rises"]["mean"] for row in rows], places, "o", color=INDEPENDENT)
    left.hlines(places, *np.transpose([row["rises"]["ci95"] for row in rows]), color=INDEPENDENT)
    left.set_yticks(places, [row["metric"] for row in rows], fontsize=8)
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_xlabel("fraction in which L$_T$ rises")
    left.set_title(f"One step in a metric, n = {rows[0]['rises']['n']} each", fontsize=10)
    ratio = data.label_draws * data.label_soft**2 / data.label_variance
    for loss, colour in zip(data.label_loss.values, (SHARED, INDEPENDENT), strict=False):
        at = {"label_loss": loss}
        right.plot(ratio.sel(at).values.ravel(), data.label_wrong.sel(at).values.ravel(), ".",
                   color=colour, alpha=0.5, label=str(loss))  # fmt: skip
    grid = np.geomspace(float(ratio.min()), float(ratio.max()), 200)
    right.plot(grid, np.minimum(1, 1 / grid), "--", color="black", linewidth=1,
               label="bound Var/(N(Δ$_S$·v)²)")  # fmt: skip
    right.set_xscale("log")
    right.set_xlabel("draws N, in units of N* = Var/(Δ$_S$·v)²")
    right.set_ylabel("fraction of means against v")
    n, n_means = data.sizes["label_problem"], summary["sampled"][0]["wrong"]["n"]
    right.set_title(f"Sampled labels; a dot: {n_means // n} means of one problem", fontsize=10)
    right.legend(fontsize=8)
    return figure


FIGURES = {
    "theorem_convergence": convergence,
    "theorem_fall": fall,
    "theorem_cross_slope": cross_slope,
    "theorem_outside": outside,
    "theorem_many_steps": many_steps,
    "theorem_sampled": sampled,
}
