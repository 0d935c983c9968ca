"""The one-step theorem: convergence, the fall of the trait loss, and signs outside of it."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from subliminal_toy.results import Record

COLOURS = {
    "linear": "#000000", "mlp-relu": "#0072B2", "mlp-tanh": "#D55E00", "cnn-relu": "#009E73",
    "decoder": "#CC79A7",
}  # fmt: skip
SHARED, INDEPENDENT, GREY = "#0072B2", "#D55E00", "0.45"


def convergence(record: Record) -> Figure:
    """Relative error of (Δ_S·v)/ε against A, every cell of the grid, a panel per architecture."""
    arrays, table = record.arrays, record.summary["grid_by_architecture"]
    epsilons = arrays["epsilons"]
    figure = Figure(figsize=(10.0, 3.4))
    panels = figure.subplots(1, len(table), sharex=True, sharey=True, squeeze=False)[0]
    for i, (axes, row) in enumerate(zip(panels, table, strict=True)):
        slope = arrays["grid_slope"][i].reshape(-1, 1)
        inner = arrays["grid_inner"][i].reshape(len(slope), -1)
        kinks = arrays["grid_teacher_kink"][i].reshape(inner.shape)
        where = slope[:, 0] > 0
        errors = np.abs(inner[where] / epsilons / slope[where] - 1)
        colour = COLOURS[row["architecture"]]
        for error in errors:
            shown = np.where(error > 0, error, np.nan)
            axes.loglog(epsilons, shown, linewidth=0.5, alpha=0.45, color=colour)
        crossed = kinks[where].any(axis=1)
        first = np.argmax(kinks[where], axis=1)[crossed]
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
        Line2D(
            [], [], color="0.2", marker="x", linestyle="", markersize=4, label="first ReLU crossed"
        ),
    ]
    panels[0].legend(handles=handles, fontsize=7, loc="upper left")
    n = sum(row["cells"] for row in table)
    figure.suptitle(f"(Δ$_S$·v)/ε → A in every cell (n = {n}, one line each)", x=0.01, ha="left")
    return figure


def _counts(row: dict[str, Any]) -> str:
    """Return how many lines a panel has, the order they show, and what is not drawn."""
    parts = [f"{row['measured']} of order {row['order'][0]:.2f}–{row['order'][1]:.2f}"]
    parts += [
        f"{row[kind]} {text}"
        for kind, text in (("rounding", "exact"), ("zero", "zero"), ("unresolved", "unresolved"))
        if row[kind]
    ]
    return "\n".join((parts[0], ", ".join(parts[1:])))


def fall(record: Record) -> Figure:
    """Trait loss after one step against ε in three cells: measured, predicted, where it turns."""
    arrays, epsilons = record.arrays, record.arrays["explored_epsilons"]
    rate = record.summary["learning_rate"]
    figure = Figure(figsize=(10.0, 3.6))
    panels = figure.subplots(1, len(arrays["explored"]), sharex=True, squeeze=False)[0]
    for i, (axes, names) in enumerate(zip(panels, arrays["explored"], strict=True)):
        change, slope = arrays["explored_change"][i], arrays["explored_slope"][i]
        falls = change < 0
        axes.loglog(epsilons, epsilons * rate * slope, "--", color="black", linewidth=1,
                    label="predicted fall εαA")  # fmt: skip
        axes.loglog(epsilons, np.where(falls, -change, np.nan), color=SHARED, label="measured fall")
        axes.loglog(epsilons, np.where(falls, np.nan, change), color=INDEPENDENT,
                    label="measured rise")  # fmt: skip
        if not falls.all():
            turn = epsilons[np.argmin(falls)]
            axes.axvline(turn, color=INDEPENDENT, linewidth=0.8, linestyle=":")
            axes.text(turn / 1.3, 0.04, f"turns at ε = {turn:.2g}", color=INDEPENDENT, fontsize=8,
                      rotation=90, ha="right", transform=axes.get_xaxis_transform())  # fmt: skip
        axes.set_title("{}, {}\n{}, {}".format(*names), fontsize=9)
        axes.set_xlabel("teacher's step ε")
    panels[0].set_ylabel("change of the trait loss, absolute")
    panels[0].legend(fontsize=8, loc="upper left")
    figure.suptitle(f"The trait loss after one student step (α = {rate:g}, n = 1 start each)",
                    x=0.01, ha="left")  # fmt: skip
    return figure


def sharing(record: Record) -> Figure:
    """Fraction of positive Δ_S·v: shared, independent, and starts shared in part."""
    summary = record.summary
    figure = Figure(figsize=(10.0, 3.8))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    kept = 1 - summary["violations"] / summary["trials"]
    rows = [("shared, all", kept, None, summary["trials"], SHARED)]
    total = next(c for c in summary["claims"] if c["id"] == "T2")
    rows.append(("independent, all", total["value"], total["interval"], total["n"], INDEPENDENT))
    rows += [
        (row["group"], row["positive"], row["positive_ci95"], row["n"], INDEPENDENT)
        for row in summary["independent"]
    ]
    for place, (_, value, interval, n, colour) in enumerate(rows):
        bold = place < 2
        left.barh(place, value, color=colour, alpha=0.75 if bold else 0.35, height=0.66)
        if interval:
            left.plot(interval, [place, place], color="black", linewidth=1.2)
        left.text(
            1.02, place, f"{value:.3f} (n = {n:,})".replace(",", " "), va="center", fontsize=8
        )
    left.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=8)
    left.invert_yaxis()
    left.set_xlim(0, 1)
    left.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    left.set_xlabel("fraction of trials with Δ$_S$·v > 0\n(shared: or exactly 0 where A = 0)")
    left.set_title("One step, shared or independent start")
    _partial(right, summary["partial_sharing"])
    return figure


def _partial(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw the fraction of positive inner products against σ, a curve per ε."""
    epsilons = sorted({row["epsilon"] for row in rows})
    for epsilon, colour, marker in zip(epsilons, (SHARED, "#009E73"), "os", strict=False):
        curve = [row for row in rows if row["epsilon"] == epsilon]
        sigma = [row["sigma"] for row in curve]
        axes.fill_between(sigma, *np.transpose([row["positive_ci95"] for row in curve]),
                          color=colour, alpha=0.2, linewidth=0)  # fmt: skip
        axes.semilogx(sigma, [row["positive"] for row in curve], marker=marker, markersize=4,
                      color=colour, label=f"ε = {epsilon:g}")  # fmt: skip
        axes.axvline(epsilon, color=colour, linewidth=0.8, linestyle=":")
    axes.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("σ (student's start + σ × another initialisation)")
    axes.set_ylabel("fraction with Δ$_S$·v > 0")
    axes.set_title(f"Partly shared start, n = {rows[0]['n']} (dotted: σ = ε)")
    axes.legend(fontsize=8, loc="lower left")


def outside(record: Record) -> Figure:
    """Signs in the cases outside the theorem, and the way of a full distillation."""
    summary, arrays = record.summary, record.arrays
    figure = Figure(figsize=(10.0, 3.9))
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    rows = summary["outside"]
    epsilons = sorted({row["epsilon"] for row in rows})
    labels = {(row["case"], row["step"]): None for row in rows}
    values = np.array(
        [[next(r for r in rows if (r["case"], r["step"], r["epsilon"]) == (*label, e))
          for e in epsilons] for label in labels]
    )  # fmt: skip
    shown = np.vectorize(lambda row: row["positive"])(values)
    image = left.imshow(shown, vmin=0, vmax=1, cmap="RdBu", aspect="auto")
    for (i, j), row in np.ndenumerate(values):
        text = f"{row['positive']:.2f} / {row['falling']:.2f}"
        strong = abs(row["positive"] - 0.5) > 0.35
        left.text(j, i, text, ha="center", va="center", fontsize=7,
                  color="white" if strong else "black")  # fmt: skip
    left.set_xticks(range(len(epsilons)), [f"{e:g}" for e in epsilons])
    left.set_yticks(range(len(labels)), [f"{case}, {step}" for case, step in labels], fontsize=8)
    left.set_xlabel("teacher's step ε")
    left.set_title(f"Fraction with Δ$_S$·v > 0 / trait loss falls, n = {rows[0]['n']}", fontsize=10)
    figure.colorbar(image, ax=left, fraction=0.04, label="fraction with Δ$_S$·v > 0")
    steps, cosine = arrays["path_steps"], arrays["path_cosine"]
    for j, (name, colour) in enumerate(zip(arrays["starts"], (SHARED, INDEPENDENT), strict=True)):
        for seed in cosine[:, j]:
            right.plot(steps[1:], seed[1:], color=colour, linewidth=0.5, alpha=0.5)
        right.plot(steps[1:], cosine[:, j, 1:].mean(0), color=colour, label=f"{name} start")
    right.axhline(0, color="black", linewidth=0.8, linestyle=":")
    right.set_xlabel("student's steps of gradient descent")
    right.set_ylabel("cosine of the displacements")
    right.set_title(f"Many steps, n = {len(cosine)} (thick: mean)", fontsize=10)
    right.legend(fontsize=8)
    return figure


FIGURES = {
    "theorem_convergence": convergence,
    "theorem_fall": fall,
    "theorem_sharing": sharing,
    "theorem_outside": outside,
}
