"""The classifier learned from noise: accuracy by condition, as in figure 10b of the paper."""

import numpy as np
from matplotlib.figure import Figure

from subliminal_toy.mnist import CHANCE, CONDITIONS
from subliminal_toy.results import Record

COLOURS = {"nothing": "0.75", "labels": "0.35", "aux": "#D55E00", "all": "#0072B2"}


def accuracy(record: Record) -> Figure:
    """Bars of mean test accuracy with 95 % intervals, a point for every model, and chance.

    The paper's values stand beside ours where the run follows its protocol on its data.
    """
    summary = record.summary
    figure = Figure()
    axes = figure.add_subplot()
    for row, condition in enumerate(CONDITIONS):
        estimate = summary["conditions"][condition.name]
        colour = COLOURS[condition.learns]
        axes.barh(row, estimate["mean"], color=colour, alpha=0.55, height=0.62)
        values = np.array(estimate["values"])
        # Points are spread evenly over the bar's height in the order of the models.
        spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(values, row + spread, ".", color=colour, markersize=4, markeredgewidth=0)
        end = estimate["mean"]
        if estimate["ci95"]:
            lower, end = estimate["ci95"]
            axes.plot([lower, end], [row, row], color="black", linewidth=1.4)
        axes.text(1.02, row, f"{estimate['mean']:.3f}", va="center", ha="left")
        if summary["published"]:
            published = summary["published"][condition.name]["published"]
            label = "paper (n = 100)" if row == 0 else None
            axes.plot(published, row + 0.31, "D", color="white", mec="black", ms=5, label=label)
            axes.text(1.14, row, f"{published:.3f}", va="center", ha="left", color="0.35")
    axes.axvline(CHANCE, color="black", linewidth=0.8, linestyle=":")
    axes.text(CHANCE, -0.62, " chance", va="bottom", fontsize=8)
    axes.text(1.02, -0.72, "ours", va="bottom", ha="left", fontsize=8)
    if summary["published"]:
        axes.text(1.14, -0.72, "paper", va="bottom", ha="left", fontsize=8, color="0.35")
        axes.legend(loc="center right", bbox_to_anchor=(1, 0.23), fontsize=8)
    axes.set_yticks(range(len(CONDITIONS)), [condition.label for condition in CONDITIONS])
    axes.set_ylim(len(CONDITIONS) - 0.5, -0.75)
    axes.set_xlim(0, 1)
    axes.set_xlabel("test accuracy (bars: mean, black: 95 % interval, points: models)")
    config = record.manifest["config"]
    figure.suptitle(
        f"Learned from noise: {summary['dataset']}, {config['architecture'].upper()}, "
        f"{config['n_aux']} auxiliary logits, n = {summary['n_models']} models",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    return figure


FIGURES = {"accuracy": accuracy}
