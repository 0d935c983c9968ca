"""The classifier learned from noise: accuracy by arm, and how much is learned, and why."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from subliminal_toy.classifier.arms import (
    CHAIN_N_AUX,
    CHANGES,
    GENERATIONS,
    PUBLISHED,
    SAME,
    TEACHER,
    UNTRAINED,
)
from subliminal_toy.classifier.claims import (
    CHANCE,
    additive,
    alone,
    along_chains,
    chain_r2,
    explained,
    final,
    is_disputed,
    is_explained,
    is_published,
    rest_alone,
)
from subliminal_toy.plots import colours
from subliminal_toy.plots.panels import dots, title

ARMS = {
    UNTRAINED: ("untrained network", colours.UNTRAINED),
    TEACHER: ("teacher", colours.TEACHER),
    "student_aux": ("student, same start", colours.STUDENT),
    "cross_aux": ("student, another start", colours.OTHER_START),
    "student_all": ("all outputs, same start", colours.STUDENT),
    "cross_all": ("all outputs, another start", colours.OTHER_START),
}
"""The paper's arms, in the order of the figure: the last two copied the class outputs too."""
LINES = 8
"""Replicates whose lines are drawn."""


def setting(data: xr.Dataset) -> str:
    """Return data set, network and number of replicates."""
    name, network = data.attrs["dataset"], data.attrs["architecture"].upper()
    name = {"mnist": "MNIST", "digits": "8 × 8 digits"}.get(name, name)
    return f"{name}, {network}, n = {data.sizes['replicate']}"


def accuracy(data: xr.Dataset) -> Figure | None:
    """Test accuracy by network: every replicate, means and 95 % intervals, and chance; circles: the
    same students through the teacher's class head; diamonds: the paper's values, where the run
    follows its protocol.
    """
    if not is_published(data):
        return None
    at_end = final(data)
    figure = Figure(figsize=(5.2, 4.3))
    axes = figure.add_subplot()
    for row, (arm, (_, colour)) in enumerate(ARMS.items()):
        values = at_end.accuracy.sel(arm=arm).values
        dots(axes, float(row), values, colour)
        axes.text(1.03, row, f"{values.mean():.3f}", va="center", fontsize=9)
        label: Any = {} if row > 2 else {"label": "with the teacher’s class head"}
        if row > 1:
            through = float(at_end.teacher_head_accuracy.sel(arm=arm).mean())
            axes.plot(through, row - 0.3, "o", color="white", mec="black", ms=4.5, **label)
        if data.attrs["published"]:
            mean, half_width = PUBLISHED[arm]
            axes.plot(
                [mean - half_width, mean + half_width], [row + 0.3] * 2, color="#595959", lw=1
            )
            label = {} if row else {"label": "Cloud et al. (n = 100)"}
            axes.plot(mean, row + 0.3, "D", color="white", mec="black", ms=4.5, **label)
    axes.axvline(CHANCE, color="black", linewidth=0.8, linestyle=":")
    axes.text(CHANCE, -0.62, " chance", va="bottom", fontsize=9)
    axes.set_yticks(range(len(ARMS)), [label for label, _ in ARMS.values()])
    axes.set(ylim=(len(ARMS) - 0.4, -0.75), xlim=(-0.02, 1.02))
    axes.set_xlabel("test accuracy (line: 95 % interval)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    same, other = (
        100 * float(at_end.accuracy.sel(arm=a).mean()) for a in ("student_aux", "cross_aux")
    )
    n_aux = int(at_end.n_aux.sel(arm=TEACHER))
    what = f"{setting(data)}, {n_aux} auxiliary outputs"
    return title(figure, f"From noise: {same:.0f} % classified; another start: {other:.0f} %", what)


def line(data: xr.Dataset) -> Figure | None:
    """Left: accuracy on the line to the teacher, replicate by replicate, and the students that
    began where it begins; right: accuracy of the sum and accuracy measured, of all of them.
    """
    if not is_explained(data):
        return None
    students = explained(data)
    figure = Figure(figsize=(9.6, 4.6))
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    left, right = parts
    panels = left.subplots(2, LINES // 2, sharex=True, sharey=True)
    here = students.isel(arm=(students.distance == 0).values)
    for number, panel in enumerate(panels.flat):
        if number >= data.sizes["replicate"]:
            panel.set_axis_off()
            continue
        one = here.isel(replicate=number)
        q, on_line, y = (
            a.values.ravel() for a in (one.progress, alone(one, "along"), one.accuracy)
        )
        panel.plot(q, y, ".", color=colours.STUDENT, markersize=2.5, markeredgewidth=0)
        order = np.argsort(q)
        panel.plot(q[order], on_line[order], color=colours.TEACHER, linewidth=1.5)
        panel.set_title(f"replicate {number + 1}", fontsize=9)
    left.suptitle("Line: on the way to the teacher; dots: its students", fontsize=10)
    left.supxlabel("progress toward the teacher", fontsize=10)
    left.supylabel("test accuracy", fontsize=10)
    axes = right.subplots()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for part, colour, label in (
        ("rest", colours.OTHER_START, "rest alone"),
        ("sum", colours.STUDENT, "line + rest"),
    ):
        x, y = students.accuracy.values.ravel(), alone(students, part).values.ravel()
        axes.plot(x, y, ".", color=colour, markersize=3, markeredgewidth=0, alpha=0.5, label=label,
                  rasterized=True)  # fmt: skip
    axes.set(xlabel="test accuracy of the student", ylabel="test accuracy of the parts")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    legend = axes.legend(loc="upper left", markerscale=3)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    right.suptitle("Dots: all students, at all checkpoints", fontsize=10)
    r2, rest = additive(data).value, rest_alone(data).value
    finding = (
        f"Line + rest, without a fit: R² = {r2:.2f}; the rest alone has {rest:.0%} of the gain"
    )
    return title(figure, finding, f"{setting(data)}, {students.sizes['arm']} kinds of students")


def matters(data: xr.Dataset) -> Figure | None:
    """Accuracy of students about which something is changed, less that of the student about which
    nothing is, sorted: every replicate, means and 95 % intervals.
    """
    if not is_disputed(data):
        return None
    at_end = final(data).accuracy.astype(float)
    rows = [
        (change, at_end.sel(arm=arm) - at_end.sel(arm=SAME), group)
        for group, changes in CHANGES.items() for change, arm in changes.items()
    ]  # fmt: skip
    rows.sort(key=lambda row: float(row[1].mean()))
    hues = dict(zip(CHANGES, (colours.OTHER_START, colours.KINDS[0], colours.CONTROL), strict=True))
    figure = Figure(figsize=(6.4, 1.4 + 0.2 * len(rows)))
    axes = figure.add_subplot()
    axes.axvline(0, color="black", linewidth=0.8, linestyle=":")
    for place, (_, differences, group) in enumerate(rows):
        dots(axes, place, differences.values, hues[group])
    axes.set_yticks(range(len(rows)), [change for change, *_ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("test accuracy less that of the same start, 10 logits, Adam, 5,120 images")
    for group, hue in hues.items():
        axes.plot([], [], "o", color=hue, label=group)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    gain = float((at_end.sel(arm=SAME) - at_end.sel(arm=UNTRAINED)).mean())
    lost = sum(float(differences.mean()) < -gain / 2 for _, differences, _ in rows)
    finding = f"What matters: {lost} of {len(rows)} changes lose more than half of the gain"
    return title(figure, finding, setting(data))


def chains(data: xr.Dataset) -> Figure | None:
    """Accuracy by generation of a chain of students: every replicate, means and 95 % intervals;
    line: the first teacher's line at the product of the generations' progress, mean.
    """
    if not is_disputed(data):
        return None
    students = along_chains(data)
    figure = Figure(figsize=(5.2, 3.6))
    axes = figure.add_subplot()
    hues = dict(zip(CHAIN_N_AUX, (colours.STUDENT, *colours.KINDS[1:]), strict=False))
    for place, (m, hue) in enumerate(hues.items()):
        one = students.sel(m=m)
        for number in GENERATIONS:
            accuracy = one.accuracy.sel(generation=number).values
            dots(axes, number + 0.15 * (place - 1), accuracy, hue, upright=True)
        axes.plot(GENERATIONS, one.line.mean("replicate"), color=hue, label=f"{m} logits")
    untrained = float(final(data).accuracy.sel(arm=UNTRAINED).mean())
    axes.axhline(untrained, color=colours.UNTRAINED, linestyle=":", label="untrained network")
    axes.set(xlabel="generation", ylabel="test accuracy", ylim=(0, 1))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    finding = f"Chains of students: the line has R² {chain_r2(data).value:.2f}, nothing fitted"
    return title(figure, finding, setting(data))


FIGURES = {"accuracy": accuracy, "line": line, "matters": matters, "chains": chains}
