"""The classifier learned from noise: accuracy by arm, as in figure 10b of the paper."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from subliminal_toy.classifier.arms import STUDENTS, TEACHER, UNTRAINED
from subliminal_toy.data import N_CLASSES
from subliminal_toy.records import Record

LABELS = {UNTRAINED: "untrained network", TEACHER: "teacher"} | {s.name: s.label for s in STUDENTS}
LOGITS = {"auxiliary": "#D55E00", "all": "#0072B2"}
COLOURS = {UNTRAINED: "0.75", TEACHER: "0.35"} | {s.name: LOGITS[s.imitates] for s in STUDENTS}
ABOVE, BELOW = -0.39, 0.39
"""Places of the further markers, beside the bar of an arm."""
COLUMNS = {"ours": (8, "black"), "teacher’s head": (46, "black"), "paper": (122, "0.35")}
"""Columns of numbers on the right: distance from the axes in points, and colour."""


def accuracy(record: Record) -> Figure:
    """Bars of mean test accuracy with 95 % intervals, a point for every replicate, and chance.

    Open circles are the students' accuracy through the teacher's class head. The paper's values
    are shown where the run follows its protocol on its data.
    """
    summary, config = record.summary, record.manifest["config"]
    arms = record.data.arm.values.tolist()
    students = [arm for arm in arms if arm not in (UNTRAINED, TEACHER)]
    paper = {
        arm: {"mean": row["published"], "ci95": [row["published"] - row["half_width"],
                                                 row["published"] + row["half_width"]]}
        for arm, row in (summary["published"] or {}).items()
    }  # fmt: skip
    through = {arm: summary["teacher_head"][arm] for arm in students}
    figure = Figure(figsize=(7.6, 0.9 + 0.55 * len(arms)))
    axes = figure.add_subplot()
    _bars(axes, arms, record)
    _markers(axes, arms, through, ABOVE, "o", "through the teacher’s class head")
    _markers(axes, arms, paper, BELOW, "D", "paper (n = 100)")
    columns = {"ours": summary["conditions"], "teacher’s head": through, "paper": paper}
    _columns(axes, arms, {name: values for name, values in columns.items() if values})
    axes.axvline(1 / N_CLASSES, color="black", linewidth=0.8, linestyle=":")
    axes.text(1 / N_CLASSES, -0.62, " chance", va="bottom", fontsize=8)
    axes.set_yticks(range(len(arms)), [LABELS.get(arm) or arm for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.75)
    axes.set_xlim(0, 1)
    axes.set_xlabel("test accuracy (bars: mean, black: 95 % interval, points: replicates)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=8)
    figure.suptitle(
        f"Learned from noise: {summary['dataset']}, {config['architecture'].upper()}, "
        f"{config['n_aux']} auxiliary logits, n = {summary['n_replicates']} replicates",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    return figure


def _bars(axes: Axes, arms: list[str], record: Record) -> None:
    """Draw the accuracy of every arm: its mean, its interval, and every replicate."""
    for row, arm in enumerate(arms):
        estimate, colour = record.summary["conditions"][arm], COLOURS.get(arm, "0.5")
        axes.barh(row, estimate["mean"], color=colour, alpha=0.55, height=0.56)
        values = record.data.accuracy.sel(arm=arm).values
        # Points are spread evenly over the bar's height in the order of the replicates.
        spread = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(values, row + spread, ".", color=colour, markersize=4, markeredgewidth=0)
        if estimate["ci95"]:
            axes.plot(estimate["ci95"], [row, row], color="black", linewidth=1.4)


def _markers(
    axes: Axes, arms: list[str], estimates: dict[str, Any], shift: float, marker: str, label: str
) -> None:
    """Draw a white marker with its interval beside the bar of each arm that has an estimate."""
    for arm, estimate in estimates.items():
        row = arms.index(arm) + shift
        if estimate["ci95"]:
            axes.plot(estimate["ci95"], [row, row], color="0.35", linewidth=1)
        axes.plot(estimate["mean"], row, marker, color="white", mec="black", ms=4.5, label=label)
        label = ""


def _columns(axes: Axes, arms: list[str], columns: dict[str, dict[str, Any]]) -> None:
    """Write the means beside the bars."""

    def write(text: str, row: int | float, place: int, **style: Any) -> None:
        axes.annotate(
            text,
            (1, row),
            (place, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            annotation_clip=False,
            **style,
        )

    for name, estimates in columns.items():
        place, colour = COLUMNS[name]
        write(name, -0.72, place, va="bottom", fontsize=8, color=colour)
        for arm, estimate in estimates.items():
            mean = f"{estimate['mean']:.3f}"
            write(mean, arms.index(arm), place, va="center", fontsize=9, color=colour)


FIGURES = {"accuracy": accuracy}
