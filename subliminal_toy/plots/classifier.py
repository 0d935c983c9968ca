"""The classifier learned from noise: accuracy by arm, as in figure 10b of the paper."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from subliminal_toy.classifier.arms import TEACHER, UNTRAINED
from subliminal_toy.data import N_CLASSES
from subliminal_toy.plots import colours
from subliminal_toy.records import Record

LABELS = {
    UNTRAINED: "untrained network",
    TEACHER: "teacher",
    "student_aux": "student, same start",
    "cross_aux": "student, another start",
    "student_all": "all outputs, same start",
    "cross_all": "all outputs, another start",
}
"""The arms in words, in the order of the figure: the last two copied the class outputs too."""
COLOURS = {
    UNTRAINED: colours.UNTRAINED,
    TEACHER: colours.TEACHER,
    "student_aux": colours.STUDENT,
    "student_all": colours.STUDENT,
}
ABOVE, BELOW = -0.39, 0.39
"""Places of the further markers, beside the bar of an arm."""


def accuracy(record: Record) -> Figure:
    """Bars of mean test accuracy by network with 95 % intervals, a point for every replicate, and
    chance; circles: the same students through the teacher's class head; diamonds: the paper's
    values.

    Those are shown where the run follows the paper's protocol on its data.
    """
    summary, config = record.summary, record.manifest["config"]
    arms = [arm for arm in LABELS if arm in summary["conditions"]]
    paper = {
        arm: {"mean": row["published"], "ci95": [row["published"] - row["half_width"],
                                                 row["published"] + row["half_width"]]}
        for arm, row in (summary["published"] or {}).items()
    }  # fmt: skip
    through = {arm: summary["teacher_head"][arm] for arm in arms[2:]}
    figure = Figure(figsize=(5.2, 1.3 + 0.5 * len(arms)))
    axes = figure.add_subplot()
    _bars(axes, arms, record)
    _markers(axes, arms, through, ABOVE, "o", "with the teacher’s class head")
    _markers(axes, arms, paper, BELOW, "D", "Cloud et al. (n = 100)")
    axes.axvline(1 / N_CLASSES, color="black", linewidth=0.8, linestyle=":")
    axes.text(1 / N_CLASSES, -0.62, " chance", va="bottom", fontsize=9)
    axes.set_yticks(range(len(arms)), [LABELS[arm] for arm in arms])
    axes.set(ylim=(len(arms) - 0.4, -0.75), xlim=(-0.02, 1.02))
    axes.set_xlabel("test accuracy (line: 95 % interval)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    same, other = (100 * _mean(summary["conditions"][arm]) for arm in arms[2:4])
    figure.suptitle(
        f"Noise teaches {same:.0f} % of the digits; from another start {other:.0f} %\n"
        f"{summary['dataset']}, {config['architecture'].upper()}, {config['n_aux']} auxiliary "
        f"outputs, n = {summary['n_replicates']}",
        x=0.01,
        ha="left",
    )
    return figure


def _mean(estimate: dict[str, Any]) -> float:
    """Return the mean; a summary holds None for what is not a number."""
    return np.nan if estimate["mean"] is None else estimate["mean"]


def _bars(axes: Axes, arms: list[str], record: Record) -> None:
    """Draw the accuracy of every arm: its mean, its interval, and every replicate."""
    for row, arm in enumerate(arms):
        estimate, colour = record.summary["conditions"][arm], COLOURS.get(arm, colours.OTHER_START)
        axes.barh(row, _mean(estimate), color=colour, alpha=0.5, height=0.56)
        axes.text(1.03, row, f"{_mean(estimate):.3f}", va="center", fontsize=9)
        values = record.data.accuracy.sel(arm=arm).values
        # Points are spread evenly over the bar's height in the order of the replicates.
        spread = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(values, row + spread, ".", color=colour, markersize=4, markeredgewidth=0,
                  clip_on=False)  # fmt: skip
        if estimate["ci95"]:
            axes.plot(estimate["ci95"], [row, row], color="black", linewidth=1.4)


def _markers(
    axes: Axes, arms: list[str], estimates: dict[str, Any], shift: float, marker: str, label: str
) -> None:
    """Draw a white marker with its interval beside the bar of each arm that has an estimate."""
    for arm, estimate in estimates.items():
        row = arms.index(arm) + shift
        if estimate["ci95"]:
            axes.plot(estimate["ci95"], [row, row], color="#595959", linewidth=1)
        axes.plot(_mean(estimate), row, marker, color="white", mec="black", ms=4.5, label=label)
        label = ""


FIGURES = {"accuracy": accuracy}
