"""How much passes, and why: accuracy on progress, the paths without and with it, predictions."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from subliminal_toy.explain.arms import FREE, MAIN, ONLY, WITHOUT, WITHOUT_OWN, WITHOUT_RANDOM
from subliminal_toy.plots import colours
from subliminal_toy.records import Record

FAMILIES = {
    "optimiser and its rate": colours.KINDS[0],
    "logits, images, steps": colours.KINDS[1],
    "kind of inputs": colours.KINDS[2],
    "loss": colours.KINDS[3],
    "distance of the start": colours.OTHER_START,
}
"""What is varied about a training beside the standard one, and its colour."""
PATHS = {
    FREE: ("nothing removed", colours.STUDENT, "-"),
    ONLY: ("only the one toward the teacher", colours.KINDS[3], "-"),
    WITHOUT: ("without the one toward the teacher", colours.KINDS[0], "-"),
    WITHOUT_RANDOM: ("without a random one", colours.KINDS[4], "--"),
    WITHOUT_OWN: ("without its own, at right angles", colours.KINDS[4], ":"),
}
"""Label, colour and line of the students of E2: what is kept of their updates' directions."""


def family(training: xr.Dataset) -> str:
    """Return what is varied about a training."""
    coordinates = {name: str(value.values) for name, value in training.coords.items()}
    if (coordinates["optimiser"], coordinates["learning_rate"]) != ("adam", "0.0003"):
        return "optimiser and its rate"
    if coordinates["distance"] != "0":
        return "distance of the start"
    if coordinates["loss"] != "kl":
        return "loss"
    return "logits, images, steps" if coordinates["inputs"] == "uniform" else "kind of inputs"


def curve(record: Record) -> Figure:
    """Accuracy of every replicate at every checkpoint on progress, and on the imitation loss."""
    data = record.data
    rows = data.isel(training=((data.of_network == MAIN) & (data["update"] == "all")).values)
    figure = Figure(figsize=(7.6, 4.2))
    axes = figure.subplots(1, 2, sharey=True)
    names = {"progress": "progress toward the teacher", "imitation_loss": "imitation loss"}
    r2 = {name: record.summary["r2"][name]["pooled"]["mean"] for name in names}
    for panel, (name, label) in zip(axes, names.items(), strict=True):
        for training in rows.training:
            one = rows.sel(training=training)
            kind = family(one)
            style = {"color": FAMILIES[kind], "markersize": 3.5, "markeredgewidth": 0, "alpha": 0.6}
            x, y = one[name].values.ravel(), one.accuracy.values.ravel()
            panel.plot(x, y, ".", label=kind, **style)
        panel.set_title(f"R² = {r2[name]:.2f} on what was left out", fontsize=10)
        panel.set_xlabel(label)
    axes[1].set_xscale("log")
    axes[0].set(ylabel="test accuracy", ylim=(-0.02, 1.02))
    n = f"{rows.sizes['training']} trainings × {record.summary['n_replicates']} replicates"
    title = f"How much is learned: {r2['progress']:.0%} of its variance is explained by progress"
    return _finished(figure, record, title, n)


def paths(record: Record) -> Figure:
    """Accuracy of the students of E2 on steps and on progress, means over replicates."""
    data = record.data
    figure = Figure(figsize=(7.6, 4.4))
    axes = figure.subplots(1, 2, sharey=True)
    untrained = float(data.untrained.sel(network=MAIN).mean())
    for name, (label, colour, line) in PATHS.items():
        one = data[["accuracy", "progress"]].sel(training=name).dropna("step")
        means = one.mean("replicate")
        style = {"color": colour, "linestyle": line, "marker": ".", "label": label}
        axes[0].plot(means.step, means.accuracy, **style)
        axes[1].plot(np.append(0, means.progress), np.append(untrained, means.accuracy), **style)
        low, high = one.accuracy.min("replicate"), one.accuracy.max("replicate")
        axes[0].fill_between(means.step, low, high, color=colour, alpha=0.12, linewidth=0)
    axes[0].set(xscale="log", xlabel="steps (shaded: all replicates)")
    axes[0].set(ylabel="test accuracy", ylim=(-0.02, 1.02))
    axes[1].set_xlabel("progress toward the teacher")
    for panel in axes:
        panel.axhline(untrained, color="black", linewidth=0.8, linestyle=":")
    n = f"n = {record.summary['n_replicates']} replicates"
    of = record.summary["ablation"]
    without, only = (100 * of[name]["mean"] for name in (WITHOUT, ONLY))
    title = f"Without one direction a student reads {without:.0f} %, along it alone {only:.0f} %"
    return _finished(figure, record, title, n)


def predicted(record: Record) -> Figure:
    """Measured on predicted accuracy of the conditions of P1, means and ranges over replicates.

    A white point is predicted too, and known to fail.
    """
    data = record.data
    rows = data.isel(training=data.predicted.notnull().any("replicate").values)
    at_end = rows.accuracy.sel(step=rows.final_step)
    figure = Figure(figsize=(5.2, 5.2))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for training in rows.training:
        x, y = (a.sel(training=training) for a in (rows.predicted, at_end))
        kind = family(rows.sel(training=training))
        colour = FAMILIES[kind]
        axes.plot([x.mean()] * 2, [y.min(), y.max()], color=colour, linewidth=0.8)
        filled = colour if bool(training.condition) else "white"
        axes.plot(x.mean(), y.mean(), "o", color=colour, mfc=filled, markersize=5, label=kind)
    axes.set(xlabel="predicted accuracy, before training", xlim=(-0.02, 1.02))
    axes.set(ylabel="measured accuracy (lines: all replicates)", ylim=(-0.02, 1.02))
    rank = record.summary["prediction"]["rank"]["predicted"]["mean"]
    n = f"{int(rows.condition.sum())} conditions, n = {record.summary['n_replicates']}"
    title = f"Ranked before training, with a correlation of {rank:.2f}"
    return _finished(figure, record, title, n)


def _finished(figure: Figure, record: Record, title: str, n: str) -> Figure:
    """Write the title, and a legend in which each label of the first panel stands once."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    each = dict(zip(labels, handles, strict=True))
    legend = figure.legend(each.values(), each, loc="outside lower center", ncols=2, markerscale=2)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    figure.suptitle(f"{title}\n{record.summary['dataset']}, {n}", x=0.01, ha="left")
    return figure


FIGURES = {"explain_curve": curve, "explain_paths": paths, "explain_prediction": predicted}
