"""The classifier learned from noise: accuracy by arm, and how much is learned, and why."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from subliminal_toy.classifier.arms import (
    FREE,
    ONLY,
    PUBLISHED,
    TEACHER,
    UNTRAINED,
    WITHOUT,
    WITHOUT_OWN,
    WITHOUT_RANDOM,
)
from subliminal_toy.classifier.claims import (
    CHANCE,
    final,
    identity,
    is_explaining,
    is_published,
    rank,
)
from subliminal_toy.classifier.curve import FACTORS, explained, left_out
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
FAMILIES = {
    "optimiser and its rate": colours.KINDS[0],
    "logits, images, steps": colours.KINDS[1],
    "kind of inputs": colours.KINDS[2],
    "loss": colours.KINDS[3],
    "distance of the start": colours.OTHER_START,
}
"""What is varied about a student beside the standard one, and its colour."""
PATHS = {
    FREE: ("nothing removed", colours.STUDENT, "-"),
    ONLY: ("only the one toward the teacher", colours.KINDS[3], "-"),
    WITHOUT: ("without the one toward the teacher", colours.KINDS[0], "-"),
    WITHOUT_RANDOM: ("without a random one", colours.KINDS[4], "--"),
    WITHOUT_OWN: ("without one of its own, orthogonal", colours.KINDS[4], ":"),
}
"""Label, colour and line of the students of E2: what is kept of their updates' directions."""


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


def family(student: xr.Dataset) -> str:
    """Return what is varied about a student."""
    if student.optimiser != "adam" or student.learning_rate != 3e-4:
        return "optimiser and its rate"
    if student.distance > 0:
        return "distance of the start"
    if student.loss != "kl":
        return "loss"
    plain = student.inputs == "uniform" and student.input_scale == 1
    return "logits, images, steps" if plain else "kind of inputs"


def curve(data: xr.Dataset) -> Figure | None:
    """Accuracy of every student and replicate at every checkpoint, on progress and on the loss."""
    if not is_explaining(data):
        return None
    students = explained(data)
    figure = Figure(figsize=(7.6, 4.2))
    axes = figure.subplots(1, 2, sharey=True)
    names = {"progress": "progress toward the teacher", "imitation_loss": "imitation loss"}
    r2 = {name: left_out(students, name, FACTORS).r2().value for name in names}
    for panel, (name, label) in zip(axes, names.items(), strict=True):
        for arm in students.arm:
            student = students.sel(arm=arm)
            kind = family(student)
            x, y = student[name].values.ravel(), student.accuracy.values.ravel()
            panel.plot(x, y, ".", color=FAMILIES[kind], markersize=3.5, markeredgewidth=0,
                       alpha=0.6, label=kind)  # fmt: skip
        panel.set_title(f"R² = {r2[name]:.2f} on what was left out", fontsize=10)
        panel.set_xlabel(label)
    axes[1].set_xscale("log")
    axes[0].set(ylabel="test accuracy", ylim=(-0.02, 1.02))
    legend(figure, axes[0])
    finding = f"Between students, progress explains {r2['progress']:.0%} of how much is learned"
    return title(figure, finding, f"{setting(data)}, {students.sizes['arm']} students")


def paths(data: xr.Dataset) -> Figure | None:
    """Accuracy of the students of E2 on steps and on progress, means over replicates."""
    if not is_explaining(data):
        return None
    figure = Figure(figsize=(7.6, 4.4))
    axes = figure.subplots(1, 2, sharey=True)
    at_end = final(data).accuracy.mean("replicate")
    untrained = float(at_end.sel(arm=UNTRAINED))
    for name, (label, colour, line) in PATHS.items():
        student = data[["accuracy", "progress"]].sel(arm=name).dropna("step", subset=["accuracy"])
        means = student.mean("replicate")
        style = {"color": colour, "linestyle": line, "marker": ".", "label": label}
        axes[0].plot(means.step, means.accuracy, **style)
        axes[1].plot(np.append(0, means.progress), np.append(untrained, means.accuracy), **style)
        low, high = student.accuracy.min("replicate"), student.accuracy.max("replicate")
        axes[0].fill_between(means.step, low, high, color=colour, alpha=0.12, linewidth=0)
    axes[0].set(xscale="log", xlabel="steps (shaded: all replicates)")
    axes[0].set(ylabel="test accuracy", ylim=(-0.02, 1.02))
    axes[1].set_xlabel("progress toward the teacher")
    for panel in axes:
        panel.axhline(untrained, color="black", linewidth=0.8, linestyle=":")
    legend(figure, axes[0])
    without, only = (100 * float(at_end.sel(arm=name)) for name in (WITHOUT, ONLY))
    finding = f"Accuracy without one direction {without:.0f} %, along it alone {only:.0f} %"
    return title(figure, finding, setting(data))


def predicted(data: xr.Dataset) -> Figure | None:
    """Measured on predicted accuracy of the conditions of P1, means and ranges over replicates.

    A white point is predicted too, and known to fail.
    """
    if not is_explaining(data):
        return None
    students = data.isel(arm=data.predicted.notnull().any("replicate").values)
    measured = final(students).accuracy
    figure = Figure(figsize=(5.2, 5.2))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for arm in students.arm:
        student = students.sel(arm=arm)
        x, y, kind = float(student.predicted.mean()), measured.sel(arm=arm), family(student)
        colour = FAMILIES[kind]
        axes.plot([x, x], [y.min(), y.max()], color=colour, linewidth=0.8)
        filled = colour if student.input_scale == 1 else "white"
        axes.plot(x, y.mean(), "o", color=colour, mfc=filled, markersize=5, label=kind)
    axes.set(xlabel="predicted accuracy, before training", xlim=(-0.02, 1.02))
    axes.set(ylabel="measured accuracy (lines: all replicates)", ylim=(-0.02, 1.02))
    legend(figure, axes)
    finding = f"Ranked before training, with a correlation of {rank(data).value:.2f}"
    n = int((students.input_scale == 1).sum())
    level = f"R² of the level {identity(data).value:.2f}"
    return title(figure, finding, f"{setting(data)}, {n} conditions; {level}")


def legend(figure: Figure, axes: Axes) -> None:
    """Write a legend in which each label of a panel stands once."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    written = figure.legend(once.values(), once, loc="outside lower center", ncols=2, markerscale=2)
    for handle in written.legend_handles:
        if handle is not None:
            handle.set_alpha(1)


FIGURES = {
    "accuracy": accuracy,
    "explain_curve": curve,
    "explain_paths": paths,
    "explain_prediction": predicted,
}
