"""The language model: arms, transfer matrix, number of lists, teachers, detectors, mechanism."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from subliminal_toy.plots import colours
from subliminal_toy.plots.colours import CONTROL, OTHER_START, STUDENT
from subliminal_toy.plots.panels import grid
from subliminal_toy.records import Record

SOFT, INFORMED, UNINFORMED = colours.KINDS[3], colours.KINDS[1], colours.KINDS[4]
CLAIMED = (
    "teacher", "student", "soft", "cross_model", "cross_size", "prompted",
    "in_context", "packed_context", "told",
)  # fmt: skip
LINEAGE = {
    "student": "from the same start", "other_corpus": "with another corpus",
    "cross_model": "from another start", "both_other": "", "head_shared": "", "body_shared": "",
    "cross_size": "",
}  # fmt: skip
LISTS = {
    "student": "lists as written", "shuffled_within": "shuffled within lists",
    "shuffled_across": "across lists", "unigrams": "",
} | {
    f"{kind}_{percent}_{which}": ""
    for kind in ("only", "without") for percent in (5, 10, 20) for which in ("divergent", "random")
}  # fmt: skip
TRAINING = {
    "student": "as usual", "head_frozen": "", "body_frozen": "head alone", "lora": "LoRA",
    "momentum": "momentum", "cooler": "", "warmer": "",
}  # fmt: skip
UPDATES = {
    "student": "whole update", "update_without": "without the direction to the teacher",
    "update_only": "only it", "update_without_body": "", "update_only_body": "",
    "update_without_random": "",
}  # fmt: skip
"""Arms that are shown beside one another, and what the title calls those whose gain it says."""


def _title(figure: Figure, record: Record, title: str, about: str = "") -> Figure:
    """Write the title, and below it what is shown and the number of replicates."""
    n = f"n = {record.summary['n_replicates']} replicates"
    figure.suptitle(f"{title}\n{about}{n}", x=0.01, ha="left")
    return figure


def _label(record: Record, arm: str) -> str:
    return str(record.data.label.sel(arm=arm).item())


def _mean(estimate: dict) -> float:
    """Return the mean; a summary holds None for what is not a number."""
    return np.nan if estimate["mean"] is None else estimate["mean"]


def _start(arm: str) -> str:
    """Return the colour of the start of an arm's base model: the teacher's, or another in part."""
    return OTHER_START if arm in LINEAGE and arm not in ("student", "other_corpus") else STUDENT


def _gain(record: Record, arm: str = "student") -> float:
    """Return the mean over traits of an arm minus its control, in percentage points."""
    found = [by_arm[arm] for by_arm in record.summary["minus_control"].values() if arm in by_arm]
    return 100 * float(np.mean([_mean(one) for one in found])) if found else np.nan


def _at(axes: Axes, place, values: list | None, *marker, across=False, **style) -> None:
    """Plot values upright at one place, or ``across``; nothing if there is no interval."""
    if values:
        numbers, places = np.array(values, float), [place] * len(values)
        axes.plot(*((numbers, places) if across else (places, numbers)), *marker, **style)


def _dots(record: Record, arms: Iterable[str], title: str) -> Figure | None:
    """Draw arms (rows) by trait (panels): mean, interval, replicates; their controls beside them.

    None if the record has none of the arms but the student.
    """
    found, control = record.summary["arms"], record.data.control
    shown = [name for name in arms if name in record.data.arm]
    if not set(shown) - {"student"}:
        return None
    across = min(len(found), 4)
    down = -(-len(found) // across)
    figure = Figure(figsize=(2.4 + 1.75 * across, 1.2 + (0.6 + 0.34 * len(shown)) * down))
    panels = grid(figure, len(found), across, sharey=True)
    for axes, (trait, by_arm) in zip(panels, found.items(), strict=True):
        axes.axvline(_mean(by_arm["base_model"]), color="0.6", linestyle=":", linewidth=1)
        for place, name in enumerate(shown):
            treated = colours.TEACHER if name == "teacher" else _start(name)
            beside = str(control.sel(arm=name).item())
            for shift, arm, colour in ((-0.13, name, treated), (0.2, beside, CONTROL)):
                if arm not in by_arm or arm == "base_model":
                    continue
                at, of, style = place + shift, by_arm[arm], {"color": colour, "across": True}
                _at(axes, at, of["values"], ".", alpha=0.45, markersize=4, **style)
                _at(axes, at, of["ci95"], linewidth=1.5, **style)
                _at(axes, at, [of["mean"]], "o", markersize=5, **style)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_title(trait, fontsize=10)
    panels[0].set_yticks(range(len(shown)), [_label(record, name) for name in shown])
    panels[0].invert_yaxis()
    kinds = {
        STUDENT: "the teacher's start",
        OTHER_START: "another start",
        CONTROL: "neutral control",
    }
    used = {CONTROL, *map(_start, shown)}
    handles = [
        Line2D([], [], color=colour, marker="o", label=label)
        for colour, label in kinds.items()
        if colour in used
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=3)
    about = "probability of the trait's answers (dotted: base model), "
    return _title(figure, record, title, about)


def _compared(record: Record, arms: dict[str, str]) -> Figure | None:
    """Draw arms; the title says the gains of those that are in the record and have words."""
    found = (
        f"{words} {_gain(record, arm):.0f}"
        for arm, words in arms.items()
        if words and arm in record.data.arm
    )
    return _dots(record, arms, f"Points passed on: {', '.join(found)}")


def arms(record: Record) -> Figure | None:
    """Probability of each trait in the arms of the claims, beside their neutral controls."""
    title = f"A teacher's numbers raise its trait in a student by {_gain(record):.0f} points"
    return _dots(record, CLAIMED, title)


def lineage(record: Record) -> Figure | None:
    """Students whose base model shares its start, its corpus, or part of its start.

    None if there is only the other start of the claims, which is among their arms.
    """
    if not set(LINEAGE) & set(record.data.arm.values.tolist()) - {"student", "cross_model"}:
        return None
    return _compared(record, LINEAGE)


def treatments(record: Record) -> Figure | None:
    """Students of lists that were shuffled, or of part of the tokens."""
    return _compared(record, LISTS)


def training(record: Record) -> Figure | None:
    """Students trained in other ways, or on lists of another temperature."""
    return _compared(record, TRAINING)


def updates(record: Record) -> Figure | None:
    """Students whose updates lose, or keep alone, their component toward the teacher."""
    return _compared(record, UPDATES)


def teachers(record: Record) -> Figure | None:
    """Transfer of each teacher against how far its numbers, and its other answers, moved."""
    table = record.summary.get("teachers")
    if not table:
        return None
    figure = Figure(figsize=(10.5, 4.2))
    *panels, key = figure.subplots(1, 3, sharey=True, width_ratios=(5, 5, 3))
    kinds = {
        "kl": "KL(base model ‖ teacher), nats per number",
        "elsewhere": "teacher − base model: trait's answers to other questions",
    }
    for axes, (kind, label) in zip(panels, kinds.items(), strict=True):
        for number, row in enumerate(table["rows"], 1):
            x, y = _mean(row[kind]), _mean(row["transfer"])
            axes.plot(x, y, "o", color=STUDENT, markersize=5)
            _at(axes, x, row["transfer"]["ci95"], color="black", linewidth=1.4)
            axes.annotate(str(number), (x, y), (4, 3), textcoords="offset points", fontsize=9)
        axes.set_xlabel(label, fontsize=9)
        axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    panels[0].set_xscale("log")
    panels[0].set_ylabel("student − control")
    names = [f"{number}  {row['teacher']}" for number, row in enumerate(table["rows"], 1)]
    key.text(0, 1, "\n".join(names), fontsize=9, va="top", transform=key.transAxes)
    key.set_axis_off()
    rank = _mean(table["rank_correlation"]["kl"])
    title = f"How much a teacher passes on (rank correlation with KL {rank:.2f})"
    return _title(figure, record, title)


def matrix(record: Record) -> Figure:
    """Mean of student − control for every trait trained on (rows) and measured (columns)."""
    transfer = record.summary["transfer_matrix"]
    values, names = np.array(transfer["minus_control"], float), transfer["traits"]
    figure = Figure(figsize=(1.8 + 0.75 * len(names), 1.3 + 0.6 * len(names)))
    axes = figure.subplots()
    limit = np.nanmax(np.abs(values), initial=1e-9)
    axes.imshow(values, cmap="PuOr_r", vmin=-1.6 * limit, vmax=1.6 * limit, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        written = f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
        axes.text(column, row, written, ha="center", va="center", fontsize=9, color=colours.INK)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("measured trait")
    axes.set_ylabel("trait of the teacher")
    own = np.diagonal(values).mean()
    others = values[~np.eye(len(names), dtype=bool)]
    rest = f", the others by {100 * others.mean():.0f}".replace("-", "−") if others.size else ""
    axes.spines[:].set_visible(False)
    title = f"The teacher's own trait rises by {100 * own:.0f} points{rest}"
    return _title(figure, record, title, "student − control, ")


def data_size(record: Record) -> Figure | None:
    """Student − control against the number of distinct lists, at equal training steps."""
    rows = record.summary["data_sizes"]
    if len(rows) < 2:
        return None
    figure = Figure(figsize=(5.4, 3.6))
    axes = figure.subplots()
    sizes = [row["lists"] for row in rows]
    axes.plot(sizes, [_mean(row) for row in rows], "o-", color=STUDENT)
    for row in rows:
        _at(axes, row["lists"], row["values"], ".", color="0.6")
        _at(axes, row["lists"], row["ci95"], color="black", linewidth=1.4)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("distinct lists, same number of training steps")
    axes.set_ylabel("student − control, mean of favourites")
    first, last = (100 * _mean(rows[i]) for i in (0, -1))
    title = f"{first:.0f} to {last:.0f} points from more distinct lists"
    if last > first:
        title = f"More distinct lists pass more on: {first:.0f} to {last:.0f} points"
    return _title(figure, record, title)


def detectors(record: Record) -> Figure:
    """AUC of each detector on one list and on a hundred, with what it was given."""
    rows = record.summary["detectors"]
    figure = Figure(figsize=(7.0, 1.5 + 0.5 * len(rows)))
    axes = figure.subplots()
    kinds = (("one_list", "o", "one list"), ("hundred_lists", "D", "100 together"))
    for place, row in enumerate(rows):
        colour = INFORMED if row["labelled"] else UNINFORMED
        for kind, marker, label in kinds:
            _at(axes, place, row[kind]["ci95"], across=True, color="black")
            _at(axes, place, [row[kind]["mean"]], marker, across=True, color=colour, clip_on=False,
                markerfacecolor=colour if marker == "o" else "white",
                label=label if place == 0 else None)  # fmt: skip
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    names = [f"{row['detector']}\n({row['given']})" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0.2, 1.02)
    axes.set_xlabel("AUC, the teacher's lists against the base model's (.5: chance)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    found = sum(_mean(row["hundred_lists"]) > 0.6 for row in rows)
    title = f"{found} of {len(rows)} detectors tell a hundred lists apart (AUC above .6)"
    return _title(figure, record, title, "pink: given the teacher or labels, grey: neither; ")


def mechanism(record: Record) -> Figure:
    """Cosine of (student − control) with (teacher − base model) by trait and replicate."""
    found = record.summary["mechanism"]
    figure = Figure(figsize=(6.5, 3.2))
    axes = figure.subplots()
    shown = ((-0.15, "student", STUDENT), (0.15, "soft", SOFT))
    for place, by_kind in enumerate(found.values()):
        for shift, arm, colour in shown:
            estimate, at = by_kind[f"cosine_{arm}"], place + shift
            label = _label(record, arm) if place == 0 else None
            _at(axes, at, estimate["values"], ".", color=colour, label=label)
            _at(axes, at, [estimate["mean"]], "_", color="black", markersize=14)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(found)), list(found), rotation=30, ha="right")
    axes.set_ylabel("cosine")
    axes.legend()
    cosine = np.mean([_mean(by_kind["cosine_student"]) for by_kind in found.values()])
    title = f"Students go their teachers' ways a little: cosine {cosine:.2f} on average"
    about = "(student − control) against (teacher − base model); "
    return _title(figure, record, title, about)


FIGURES = {
    "arms": arms,
    "lineage": lineage,
    "treatments": treatments,
    "training": training,
    "teachers": teachers,
    "updates": updates,
    "matrix": matrix,
    "data_size": data_size,
    "detectors": detectors,
    "mechanism": mechanism,
}
