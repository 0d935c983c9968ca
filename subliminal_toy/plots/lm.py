"""The language model: arms, transfer matrix, number of lists, teachers, detectors, mechanism.

Longer than 300 lines: a function for each figure, and what most of them share.
"""

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
LINEAGE = (
    "student", "other_corpus", "cross_model", "both_other", "head_shared", "body_shared",
    "cross_size",
)  # fmt: skip
LISTS = (
    "student", "shuffled_within", "shuffled_across", "unigrams",
    *(f"{kind}_{percent}_{which}" for kind in ("only", "without") for percent in (5, 10, 20)
      for which in ("divergent", "random")),
)  # fmt: skip
TRAINING = ("student", "head_frozen", "body_frozen", "lora", "momentum", "cooler", "warmer")
UPDATES = (
    "student", "update_without", "update_only", "update_without_body", "update_only_body",
    "update_without_random",
)  # fmt: skip
"""The arms that are shown beside one another."""


def _subtitle(record: Record) -> str:
    return f"n = {record.summary['n_replicates']} replicates"


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


def _points(record: Record, arms: dict[str, str]) -> str:
    """Return the gains of those of some arms that the record has, each in its words, as a title."""
    found = (f"{words} {_gain(record, arm):.0f}" for arm, words in arms.items()
             if arm in record.data.arm)  # fmt: skip
    return f"Points passed on: {', '.join(found)}"


def _interval(axes: Axes, place: float, estimate: dict) -> None:
    if estimate["ci95"]:
        axes.plot([place, place], np.array(estimate["ci95"], float), color="black", linewidth=1.4)


def _dots(record: Record, names: tuple[str, ...], title: str) -> Figure | None:
    """Draw arms (rows) by trait (panels): mean, interval, replicates; their controls beside them.

    None if the record has none of the arms but the student.
    """
    found, control = record.summary["arms"], record.data.control
    shown = [name for name in names if name in record.data.arm]
    if not set(shown) - {"student"}:
        return None
    across = min(len(found), 4)
    down = -(-len(found) // across)
    figure = Figure(figsize=(2.4 + 1.75 * across, 1.2 + (0.6 + 0.34 * len(shown)) * down))
    panels = grid(figure, len(found), across, sharey=True)
    for axes, (trait, by_arm) in zip(panels, found.items(), strict=True):
        axes.axvline(_mean(by_arm["base_model"]), color="0.6", linestyle=":", linewidth=1)
        for place, name in enumerate(shown):
            beside = str(control.sel(arm=name).item())
            treated = {"teacher": colours.TEACHER}.get(name, _start(name))
            for shift, arm, colour in ((-0.13, name, treated), (0.2, beside, CONTROL)):
                if arm not in by_arm or arm == "base_model":
                    continue
                at, values = place + shift, np.array(by_arm[arm]["values"], float)
                axes.plot(values, [at] * len(values), ".", color=colour, alpha=0.45, markersize=4)
                if by_arm[arm]["ci95"]:
                    ends = np.array(by_arm[arm]["ci95"], float)
                    axes.plot(ends, [at, at], color=colour, linewidth=1.5)
                axes.plot(_mean(by_arm[arm]), at, "o", color=colour, markersize=5)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_title(trait, fontsize=10)
    panels[0].set_yticks(range(len(shown)), [_label(record, name) for name in shown])
    panels[0].invert_yaxis()
    handles = [
        Line2D([], [], color=colour, marker="o", label=label)
        for colour, label in (
            (STUDENT, "the teacher's start"),
            (OTHER_START, "another start"),
            (CONTROL, "neutral control"),
        )
        if colour in {CONTROL, *map(_start, shown)}
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=3)
    figure.suptitle(
        f"{title}\nprobability of the trait's answers (dotted: base model), {_subtitle(record)}",
        x=0.01,
        ha="left",
    )
    return figure


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
    began = {"student": "from the same start", "other_corpus": "with another corpus",
             "cross_model": "from another start"}  # fmt: skip
    return _dots(record, LINEAGE, _points(record, began))


def treatments(record: Record) -> Figure | None:
    """Students of lists that were shuffled, or of part of the tokens."""
    read = {"student": "lists as written", "shuffled_within": "shuffled within lists",
            "shuffled_across": "across lists"}  # fmt: skip
    return _dots(record, LISTS, _points(record, read))


def training(record: Record) -> Figure | None:
    """Students trained in other ways, or on lists of another temperature."""
    trained = {"student": "as usual", "body_frozen": "head alone", "lora": "LoRA",
               "momentum": "momentum"}  # fmt: skip
    return _dots(record, TRAINING, _points(record, trained))


def updates(record: Record) -> Figure | None:
    """Students whose updates lose, or keep alone, their component toward the teacher."""
    kept = {"student": "whole update", "update_without": "without the direction to the teacher",
            "update_only": "only it"}  # fmt: skip
    return _dots(record, UPDATES, _points(record, kept))


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
            _interval(axes, x, row["transfer"])
            axes.annotate(str(number), (x, y), (4, 3), textcoords="offset points", fontsize=9)
        axes.set_xlabel(label, fontsize=9)
        axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    panels[0].set_xscale("log")
    panels[0].set_ylabel("student − control")
    names = [f"{number}  {row['teacher']}" for number, row in enumerate(table["rows"], 1)]
    key.text(0, 1, "\n".join(names), fontsize=9, va="top", transform=key.transAxes)
    key.set_axis_off()
    rank = table["rank_correlation"]["kl"]
    figure.suptitle(
        f"How much a teacher passes on (rank correlation with KL {_mean(rank):.2f})\n"
        f"{_subtitle(record)}", x=0.01, ha="left",
    )  # fmt: skip
    return figure


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
    figure.suptitle(
        f"The teacher's own trait rises by {100 * own:.0f} points{rest}\nstudent − control, "
        f"{_subtitle(record)}", x=0.01, ha="left",
    )  # fmt: skip
    axes.spines[:].set_visible(False)
    return figure


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
        axes.plot(
            [row["lists"]] * len(row["values"]), np.array(row["values"], float), ".", color="0.6"
        )
        _interval(axes, float(row["lists"]), row)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("distinct lists, same number of training steps")
    axes.set_ylabel("student − control, mean of favourites")
    first, last = (100 * _mean(rows[i]) for i in (0, -1))
    figure.suptitle(
        f"More distinct lists pass more on: {first:.0f} to {last:.0f} points\n{_subtitle(record)}"
        if last > first
        else f"{first:.0f} to {last:.0f} points from more distinct lists\n{_subtitle(record)}",
        x=0.01,
        ha="left",
    )
    return figure


def detectors(record: Record) -> Figure:
    """AUC of each detector on one list and on a hundred, with what it was given."""
    rows = record.summary["detectors"]
    figure = Figure(figsize=(7.0, 1.5 + 0.5 * len(rows)))
    axes = figure.subplots()
    kinds = (("one_list", "o", "one list"), ("hundred_lists", "D", "100 together"))
    for place, row in enumerate(rows):
        for kind, marker, label in kinds:
            estimate, colour = row[kind], INFORMED if row["labelled"] else UNINFORMED
            if estimate["ci95"]:
                axes.plot(np.array(estimate["ci95"], float), [place] * 2, color="black")
            axes.plot(_mean(estimate), place, marker, color=colour, clip_on=False,
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
    figure.suptitle(
        f"{found} of {len(rows)} detectors tell a hundred lists apart (AUC above .6)\npink: given "
        f"the teacher or labels, grey: neither; {_subtitle(record)}", x=0.01, ha="left",
    )  # fmt: skip
    return figure


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
            values = np.array(estimate["values"], float)
            axes.plot([at] * len(values), values, ".", color=colour, label=label)
            axes.plot(at, _mean(estimate), "_", color="black", markersize=14)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(found)), list(found), rotation=30, ha="right")
    axes.set_ylabel("cosine")
    axes.legend()
    cosine = np.mean([_mean(by_kind["cosine_student"]) for by_kind in found.values()])
    figure.suptitle(
        f"Students go their teachers' ways a little: cosine {cosine:.2f} on average\n(student − "
        f"control) against (teacher − base model); {_subtitle(record)}", x=0.01, ha="left",
    )  # fmt: skip
    return figure


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
