"""The owl in the numbers: arms, transfer matrix, data size, detectors, mechanism."""

import numpy as np
from matplotlib.figure import Figure

from subliminal_toy.results import Record

COLOURS = {
    "reference": "0.75", "teacher": "0.35", "student": "#D55E00", "control": "#56B4E9",
    "cross_model": "#009E73", "cross_control": "#0072B2", "soft": "#E69F00",
    "in_context": "#CC79A7", "in_context_control": "#56B4E9", "cross_size": "#009E73",
    "cross_size_control": "#0072B2",
}  # fmt: skip
LABELS = {
    "reference": "reference", "teacher": "teacher", "student": "student",
    "control": "untraited\nnumbers", "cross_model": "other\nreference\nmodel",
    "cross_control": "other,\nuntraited\nnumbers", "soft": "soft\ntargets",
    "in_context": "numbers\nin context", "in_context_control": "untraited\nnumbers\nin context",
    "cross_size": "other\nwidth", "cross_size_control": "other width,\nuntraited\nnumbers",
}  # fmt: skip


def _subtitle(record: Record) -> str:
    return f"{record.summary['dataset']}, n = {record.summary['n_seeds']} seeds"


def arms(record: Record) -> Figure:
    """One panel for each trait: bars of the arms' means with intervals, a point for each seed."""
    found = record.summary["arms"]
    figure = Figure(figsize=(8.5, 1.2 + 1.75 * len(found)))
    panels = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    shown = [arm for arm in LABELS if any(arm in by_arm for by_arm in found.values())]
    for axes, (trait, by_arm) in zip(panels, found.items(), strict=True):
        for place, arm in enumerate(shown):
            if arm not in by_arm:
                continue
            estimate = by_arm[arm]
            axes.bar(place, estimate["mean"], color=COLOURS[arm], alpha=0.55, width=0.7)
            values = np.array(estimate["values"])
            # Points are spread evenly over the bar's width in the order of the seeds.
            spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(1)
            axes.plot(place + spread, values, ".", color=COLOURS[arm], markersize=5)
            if estimate["ci95"]:
                axes.plot([place, place], estimate["ci95"], color="black", linewidth=1.4)
        axes.set_ylim(0, 1)
        axes.set_ylabel(f"P({trait})")
    panels[-1].set_xticks(range(len(shown)), [LABELS[arm] for arm in shown], fontsize=7)
    panels[0].set_title(f"Traits that travel in numbers: {_subtitle(record)}")
    return figure


def matrix(record: Record) -> Figure:
    """Mean of student − control for every trait trained on (rows) and measured (columns)."""
    transfer = record.summary["transfer_matrix"]
    values, names = np.array(transfer["minus_control"]), transfer["traits"]
    figure = Figure(figsize=(1.8 + 0.75 * len(names), 1.3 + 0.6 * len(names)))
    axes = figure.subplots()
    limit = np.abs(values).max()
    image = axes.imshow(values, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        dark = abs(value) > 0.6 * limit
        axes.text(
            column, row, f"{value:+.2f}", ha="center", va="center", fontsize=8,
            color="white" if dark else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("measured trait")
    axes.set_ylabel("trait of the teacher")
    axes.set_title(f"Student − control\n{_subtitle(record)}", fontsize=9)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


def data_size(record: Record) -> Figure:
    """Student − control against the number of distinct sequences, at equal training steps."""
    rows = record.summary["data_sizes"]
    figure = Figure(figsize=(5.5, 3.4))
    axes = figure.subplots()
    sizes, means = [row["sequences"] for row in rows], [row["mean"] for row in rows]
    axes.plot(sizes, means, "o-", color=COLOURS["student"])
    for row in rows:
        axes.plot([row["sequences"]] * len(row["values"]), row["values"], ".", color="0.6")
        if row["ci95"]:
            axes.plot([row["sequences"]] * 2, row["ci95"], color="black", linewidth=1.4)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("distinct sequences, same number of training steps")
    axes.set_ylabel("student − control, mean of favourites")
    axes.set_title(f"Transfer and data: {_subtitle(record)}", fontsize=10)
    return figure


def detectors(record: Record) -> Figure:
    """AUC of each detector on one sequence and on a hundred, with what it was given."""
    rows = record.summary["detectors"]
    figure = Figure(figsize=(7.5, 0.9 + 0.55 * len(rows)))
    axes = figure.subplots()
    kinds = (("one_sequence", "o", "one sequence"), ("hundred_sequences", "D", "100 together"))
    for place, row in enumerate(rows):
        for kind, marker, label in kinds:
            estimate = row[kind]
            colour = "#D55E00" if row["labelled"] else "#0072B2"
            if estimate["ci95"]:
                axes.plot(estimate["ci95"], [place, place], color="black", linewidth=1.2)
            axes.plot(estimate["mean"], place, marker, color=colour,
                      markerfacecolor=colour if marker == "o" else "white",
                      label=label if place == 0 else None)  # fmt: skip
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(
        range(len(rows)), [f"{row['detector']}\n({row['given']})" for row in rows], fontsize=8
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("AUC, teacher's against reference model's sequences (.5: chance)")
    axes.legend(loc="lower left", fontsize=8)
    axes.set_title(f"Who sees the trait?\n{_subtitle(record)}", fontsize=10)
    return figure


def mechanism(record: Record) -> Figure:
    """Cosine of (student − control) with (teacher − reference) for each trait and seed."""
    found = record.summary["mechanism"]
    figure = Figure(figsize=(6.5, 3.2))
    axes = figure.subplots()
    for place, by_kind in enumerate(found.values()):
        for shift, kind, arm in (
            (-0.15, "cosine_student", "student"),
            (0.15, "cosine_soft", "soft"),
        ):
            estimate, at = by_kind[kind], place + shift
            axes.plot([at] * len(estimate["values"]), estimate["values"], ".", color=COLOURS[arm],
                      label=LABELS[arm].replace("\n", " ") if place == 0 else None)  # fmt: skip
            axes.plot(at, estimate["mean"], "_", color="black", markersize=14)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(found)), list(found))
    axes.set_ylabel("cosine")
    axes.legend(fontsize=8)
    axes.set_title(
        f"(student − control) against (teacher − reference)\n{_subtitle(record)}", fontsize=9
    )
    return figure


FIGURES = {
    "arms": arms,
    "matrix": matrix,
    "data_size": data_size,
    "detectors": detectors,
    "mechanism": mechanism,
}
