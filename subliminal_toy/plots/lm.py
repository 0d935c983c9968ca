"""The language model: arms, transfer matrix, number of lists, detectors, mechanism."""

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from subliminal_toy.records import Record

STUDENT, CONTROL, INFORMED, UNINFORMED = "#D55E00", "#56B4E9", "#D55E00", "#0072B2"
COLOURS = {
    "base_model": "0.75", "teacher": "0.35", "student": STUDENT, "control": CONTROL,
    "cross_model": "#009E73", "cross_control": CONTROL, "soft": "#E69F00",
    "in_context": "#CC79A7", "in_context_control": CONTROL, "packed_context": "#CC79A7",
    "packed_context_control": CONTROL, "told": "0.35", "cross_size": "#009E73",
    "cross_size_control": CONTROL,
}  # fmt: skip
"""The arms that are shown beside one another."""


def _subtitle(record: Record) -> str:
    return f"{record.summary['dataset']}, n = {record.summary['n_replicates']} replicates"


def _label(record: Record, arm: str) -> str:
    return str(record.data.label.sel(arm=arm).item())


def _mean(estimate: dict) -> float:
    """Return the mean; a summary holds None for what is not a number."""
    return np.nan if estimate["mean"] is None else estimate["mean"]


def _interval(axes: Axes, place: int, estimate: dict) -> None:
    if estimate["ci95"]:
        axes.plot([place, place], np.array(estimate["ci95"], float), color="black", linewidth=1.4)


def arms(record: Record) -> Figure:
    """One panel for each trait: means of the arms with intervals, a point for each replicate."""
    found = record.summary["arms"]
    figure = Figure(figsize=(12, 1.5 + 1.75 * len(found)))
    panels = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    shown = [arm for arm in COLOURS if any(arm in by_arm for by_arm in found.values())]
    for axes, (trait, by_arm) in zip(panels, found.items(), strict=True):
        for place, arm in enumerate(shown):
            if arm not in by_arm:
                continue
            estimate = by_arm[arm]
            axes.bar(place, _mean(estimate), color=COLOURS[arm], alpha=0.55, width=0.7)
            values = np.array(estimate["values"], float)
            # Points are spread evenly over the bar's width in the order of the replicates.
            spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(1)
            axes.plot(place + spread, values, ".", color=COLOURS[arm], markersize=5)
            _interval(axes, place, estimate)
        axes.set_ylim(0, 1)
        axes.set_ylabel(f"P({trait})")
    labels = [fill(_label(record, arm), 12, break_long_words=False) for arm in shown]
    panels[-1].set_xticks(range(len(shown)), labels, fontsize=7)
    panels[0].set_title(f"Traits that travel in numbers: {_subtitle(record)}")
    return figure


def matrix(record: Record) -> Figure:
    """Mean of student − control for every trait trained on (rows) and measured (columns)."""
    transfer = record.summary["transfer_matrix"]
    values, names = np.array(transfer["minus_control"], float), transfer["traits"]
    figure = Figure(figsize=(1.8 + 0.75 * len(names), 1.3 + 0.6 * len(names)))
    axes = figure.subplots()
    limit = np.nanmax(np.abs(values), initial=1e-9)
    image = axes.imshow(values, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.6 * limit else "black"
        text = {"ha": "center", "va": "center", "fontsize": 8, "color": colour}
        axes.text(column, row, f"{value:+.2f}", **text)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("measured trait")
    axes.set_ylabel("trait of the teacher")
    axes.set_title(f"Student − control\n{_subtitle(record)}", fontsize=9)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


def data_size(record: Record) -> Figure:
    """Student − control against the number of distinct lists, at equal training steps."""
    rows = record.summary["data_sizes"]
    figure = Figure(figsize=(5.5, 3.4))
    axes = figure.subplots()
    sizes = [row["lists"] for row in rows]
    axes.plot(sizes, [_mean(row) for row in rows], "o-", color=STUDENT)
    for row in rows:
        axes.plot(
            [row["lists"]] * len(row["values"]), np.array(row["values"], float), ".", color="0.6"
        )
        _interval(axes, row["lists"], row)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("distinct lists, same number of training steps")
    axes.set_ylabel("student − control, mean of favourites")
    axes.set_title(f"Transfer and data: {_subtitle(record)}", fontsize=10)
    return figure


def detectors(record: Record) -> Figure:
    """AUC of each detector on one list and on a hundred, with what it was given."""
    rows = record.summary["detectors"]
    figure = Figure(figsize=(7.5, 0.9 + 0.55 * len(rows)))
    axes = figure.subplots()
    kinds = (("one_list", "o", "one list"), ("hundred_lists", "D", "100 together"))
    for place, row in enumerate(rows):
        for kind, marker, label in kinds:
            estimate, colour = row[kind], INFORMED if row["labelled"] else UNINFORMED
            if estimate["ci95"]:
                axes.plot(np.array(estimate["ci95"], float), [place] * 2, color="black")
            axes.plot(_mean(estimate), place, marker, color=colour,
                      markerfacecolor=colour if marker == "o" else "white",
                      label=label if place == 0 else None)  # fmt: skip
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    names = [f"{row['detector']}\n({row['given']})" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("AUC, the teacher's lists against the base model's (.5: chance)")
    axes.legend(loc="lower left", fontsize=8)
    axes.set_title(f"Which detector tells the lists apart?\n{_subtitle(record)}", fontsize=10)
    return figure


def mechanism(record: Record) -> Figure:
    """Cosine of (student − control) with (teacher − base model) by trait and replicate."""
    found = record.summary["mechanism"]
    figure = Figure(figsize=(6.5, 3.2))
    axes = figure.subplots()
    shown = ((-0.15, "cosine_student", "student"), (0.15, "cosine_soft", "soft"))
    for place, by_kind in enumerate(found.values()):
        for shift, kind, arm in shown:
            estimate, at = by_kind[kind], place + shift
            label = _label(record, arm) if place == 0 else None
            values = np.array(estimate["values"], float)
            axes.plot([at] * len(values), values, ".", color=COLOURS[arm], label=label)
            axes.plot(at, _mean(estimate), "_", color="black", markersize=14)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(found)), list(found))
    axes.set_ylabel("cosine")
    axes.legend(fontsize=8)
    title = "(student − control) against (teacher − base model)"
    axes.set_title(f"{title}\n{_subtitle(record)}", fontsize=9)
    return figure


FIGURES = {
    "arms": arms,
    "matrix": matrix,
    "data_size": data_size,
    "detectors": detectors,
    "mechanism": mechanism,
}
