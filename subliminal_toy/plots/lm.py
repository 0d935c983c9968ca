"""The language model: arms beside their controls, teachers, transfer matrix, lists, detectors."""

from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from subliminal_toy.lm import claims
from subliminal_toy.lm.claims import data_sizes, gains, less, over, own_trait, teachers
from subliminal_toy.lm.config import TEACHINGS
from subliminal_toy.plots import colours
from subliminal_toy.plots.colours import CONTROL, OTHER_START, STUDENT
from subliminal_toy.plots.panels import dots, grid, title
from subliminal_toy.stats import estimate, rank_correlation

INFORMED, UNINFORMED = colours.KINDS[1], colours.KINDS[4]
CLAIMED = ("teacher", "student", "soft", "cross_model", "cross_size", "prompted", "in_context",
           "packed_context", "told")  # fmt: skip
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
    "momentum": "momentum",
}  # fmt: skip
UPDATES = {
    "student": "whole update", "update_without_body": "without the body's direction",
    "update_only_body": "only it", "update_without": "", "update_only": "",
    "update_without_random": "",
}  # fmt: skip
"""Arms that are shown beside one another, and what the title calls those whose gain it says."""
DASHES = ("-", "--", "-.", ":", "-", "--")
"""One for each detector."""
FILTERS = {
    "as_written": ("o", "no filter but the format's"), "unfiltered": ("s", "not even that"),
    "banned": ("^", "banned numbers"), "unlikely": ("v", "the unlikely half"),
    "random": ("x", "at random, 10 to 90 %"), "of_largest": ("<", "largest |s|, 10 to 90 %"),
    "of_smallest": (">", "smallest |s|, 10 to 90 %"),
}  # fmt: skip
"""Kinds of filters: part of an arm's name, its mark, and what is removed."""


def _titled(figure: Figure, data: xr.Dataset, finding: str, what: str = "") -> Figure:
    return title(figure, finding, f"{what}n = {data.sizes['replicate']} replicates")


def _points(values: xr.DataArray) -> str:
    """Return a mean in percentage points."""
    return f"{round(100 * float(values.mean())) + 0:d}".replace("-", "−")


def _in_panels(data: xr.Dataset, arms: Iterable[str], finding: str) -> Figure | None:
    """Draw arms (rows) by trait (panels): mean, interval, replicates; their controls beside them.

    None if the record has none of the arms but the student.
    """
    shown = [name for name in arms if name in data.arm]
    if not set(shown) - {"student"}:
        return None
    own, traits = own_trait(data), data.trait.values.tolist()
    across = min(len(traits), 4)
    down = -(-len(traits) // across)
    figure = Figure(figsize=(2.4 + 1.75 * across, 1.2 + (0.6 + 0.34 * len(shown)) * down))
    panels = grid(figure, len(traits), across, sharey=True)
    starts = {
        name: STUDENT if data.base.sel(arm=name) in ("own", "other_corpus") else OTHER_START
        for name in shown
    } | {"teacher": colours.TEACHER}
    for axes, trait in zip(panels, traits, strict=True):
        values = own.sel(trait=trait)
        axes.axvline(
            float(values.sel(arm="base_model").mean()), color="0.6", linestyle=":", linewidth=1
        )
        for place, name in enumerate(shown):
            dots(axes, place - 0.13, values.sel(arm=name), starts[name])
            control = data.control.sel(arm=name).item()
            if control != "base_model" and values.sel(arm=name).notnull().any():
                dots(axes, place + 0.2, values.sel(arm=control), CONTROL)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_title(trait, fontsize=10)
    labels = [data.label.sel(arm=name).item() for name in shown]
    panels[0].set_yticks(range(len(shown)), labels)
    panels[0].invert_yaxis()
    kinds = {STUDENT: "the teacher's start", OTHER_START: "another start",
             CONTROL: "neutral control"}  # fmt: skip
    handles = [
        Line2D([], [], color=colour, marker="o", label=label)
        for colour, label in kinds.items()
        if colour in (CONTROL, *starts.values())
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=3)
    return _titled(
        figure, data, finding, "probability of the trait's answers (dotted: base model), "
    )


def _compared(data: xr.Dataset, arms: dict[str, str]) -> Figure | None:
    """Draw arms; the title says the gains of those that are in the record and have words."""
    gain = gains(data)
    said = (
        f"{words} {_points(gain.sel(arm=arm).mean('trait'))}"
        for arm, words in arms.items()
        if words and arm in data.arm
    )
    return _in_panels(data, arms, f"Points passed on: {', '.join(said)}")


def arms(data: xr.Dataset) -> Figure | None:
    """Probability of each trait in the arms of the claims, beside their neutral controls."""
    points = _points(gains(data).sel(arm="student").mean("trait"))
    return _in_panels(data, CLAIMED, f"A teacher's numbers raise its trait by {points} points")


def lineage(data: xr.Dataset) -> Figure | None:
    """Students whose base model shares its start, its corpus, or part of its start.

    None if there is only the other start of the claims, which is among their arms.
    """
    other = set(LINEAGE) & set(data.arm.values.tolist()) - {"student", "cross_model"}
    return _compared(data, LINEAGE) if other else None


def treatments(data: xr.Dataset) -> Figure | None:
    """Students of lists that were shuffled, or of part of the tokens."""
    return _compared(data, LISTS)


def training(data: xr.Dataset) -> Figure | None:
    """Students of which only some parameters are trained, and another optimiser."""
    return _compared(data, TRAINING)


def updates(data: xr.Dataset) -> Figure | None:
    """Students whose updates lose, or keep alone, their component toward the teacher."""
    return _compared(data, UPDATES)


def teacher_table(data: xr.Dataset) -> Figure | None:
    """Transfer of each teacher against how far its numbers, and its other answers, moved."""
    if "teacher_free" not in data.arm or "kl" not in data:
        return None
    figure = Figure(figsize=(10.5, 4.2))
    *panels, key = figure.subplots(1, 3, sharey=True, width_ratios=(5, 5, 3))
    kl, passed = teachers(data)
    word = data.elsewhere.sel(arm=kl.arm) - data.elsewhere.sel(arm="base_model", drop=True)
    shown = {
        "KL(base model ‖ teacher), nats per number": kl,
        "the trait's answers to other questions": over(word),
    }
    for axes, (label, moved) in zip(panels, shown.items(), strict=True):
        for i in range(passed.sizes["arm"]):
            x, (y, low, high, _) = moved[:, i].mean(), estimate(passed[:, i])
            axes.plot([x, x], [low, high], color="black", linewidth=1.4)
            axes.plot(x, y, "o", color=STUDENT, markersize=5)
            axes.annotate(str(i + 1), (x, y), (4, 3), textcoords="offset points", fontsize=9)
        axes.set_xlabel(label, fontsize=9)
        axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    panels[0].set_xscale("log")
    panels[0].set_ylabel("student − control")
    x = np.geomspace(kl.mean("replicate").min(), kl.mean("replicate").max())
    panels[0].plot(x, claims.C * np.sqrt(x), color=colours.INK, linewidth=1, linestyle="--")
    names = [TEACHINGS[str(arm).removeprefix("teacher_")].label for arm in kl.arm.values]
    listed = "\n".join(f"{i}  {name}" for i, name in enumerate(names, 1))
    key.text(0, 1, listed, fontsize=9, va="top", transform=key.transAxes)
    key.set_axis_off()
    rank = rank_correlation(kl.values, passed.values).value
    finding = f"How much a teacher passes on (rank correlation with KL {rank:.2f})"
    return _titled(figure, data, finding, f"dashed: {claims.C:g} √KL; ")


def students(data: xr.Dataset) -> Figure | None:
    """Transfer of every kind of student against its body's progress times its teacher's gain."""
    if not {*claims.EXPLAINED, claims.CALM} <= {*data.arm.values.tolist()}:
        return None
    x, y = claims.pushed(data)
    figure = Figure(figsize=(5.4, 3.8))
    axes = figure.subplots()
    axes.plot(x.ravel(), y.ravel(), ".", color="0.75", markersize=3)
    axes.plot(x.mean(axis=(1, 2)), y.mean(axis=(1, 2)), "o", color=STUDENT, markersize=5)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("progress of the body × the teacher's gain in log odds")
    axes.set_ylabel("student − control")
    finding = f"The body's way explains what passes (R² {claims.explained(data).value:.2f})"
    return _titled(figure, data, finding, f"{len(x)} kinds of students (grey: each model), ")


def detect_or_pass(data: xr.Dataset) -> Figure | None:
    """What passes, and how often detectors see it, from so many distinct lists."""
    sizes = data_sizes(data)
    if "p" not in data or not sizes:
        return None
    figure = Figure(figsize=(7.2, 3.8))
    axes = figure.subplots()
    numbers = [n for _, n, _ in sizes]
    passed = [over(gains(data).sel(arm=arm), traits) for arm, _, traits in sizes]
    for n, values in zip(numbers, passed, strict=True):
        dots(axes, n, values, STUDENT, upright=True)
    axes.plot(
        numbers, [values.mean() for values in passed], color=STUDENT, label="student − control"
    )
    seen = (data.p < 0.05).where(data.p.notnull()).mean(("replicate", "trait"))
    for name, style in zip(data.detector.values.tolist(), DASHES, strict=True):
        colour = INFORMED if data.informed.sel(detector=name) else UNINFORMED
        axes.plot(data["size"], seen.sel(detector=name), color=colour, linestyle=style,
                  marker=".", label=name)  # fmt: skip
    axes.axhline(0.05, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(numbers, [f"{n:,}" for n in numbers])
    axes.minorticks_off()
    axes.set_xlabel("distinct lists")
    axes.set_ylabel("gain; told apart at p < .05")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=9)
    first = _points(passed[0])
    return _titled(figure, data, f"From {numbers[0]} lists {first} points pass on",
                   "pink: given the teacher or labels, grey: neither; ")  # fmt: skip


def filters(data: xr.Dataset) -> Figure | None:
    """Transfer against the variance of the scores that each filter of whole lists leaves, means
    over traits, with 95 % intervals; the line goes through 0 and the students without a filter."""
    if "filter_as_written" not in data.arm:
        return None
    figure = Figure(figsize=(7.2, 3.8))
    axes = figure.subplots()
    left, passed = over(claims.variances(data)).mean("replicate"), claims.dose(data)[1]
    for kind, (marker, label) in FILTERS.items():
        chosen = [arm for arm in left.arm.values.tolist() if kind in arm]
        x, y = (values.sel(arm=chosen) for values in (left, passed))
        ends = np.array([estimate(y.sel(arm=arm))[1:3] for arm in chosen])
        axes.vlines(x, ends[:, 0], ends[:, 1], color=STUDENT, linewidth=1)
        axes.plot(x, y.mean("replicate"), marker, color=STUDENT, linestyle="", label=label)
    whole = passed.mean("replicate").sel(arm="filter_as_written")
    slope = float(whole / left.sel(arm="filter_as_written"))
    axes.axline((0, 0), slope=slope, color="black", linewidth=0.8, zorder=0)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("variance of the score of the lists that pass, nats²")
    axes.set_ylabel("student − control")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=9)
    r2 = claims.in_proportion(data, data.trait.values.tolist()).value
    finding = f"What passes is in proportion to the variance left (R² {r2:.2f})"
    return _titled(figure, data, finding)


PASSING = {
    "nothing is removed": "filter_as_written",
    "half at random": "filter_without_50_at_random",
    "half with the largest |s|": "filter_without_50_of_largest_score",
}
"""Filters whose effect on the scores is drawn."""


def passing(data: xr.Dataset) -> Figure | None:
    """Distribution of the score s of a list (its log-likelihood ratio of teacher to base model,
    less the mean), what passes a filter, and what a student of it takes over."""
    if "score" not in data:
        return None
    figure = Figure(figsize=(7.2, 3.2))
    panels = figure.subplots(1, len(PASSING), sharex=True, sharey=True)
    edges = data.score.mean(("replicate", "trait")).values
    # The outermost hundredths reach far and hold next to nothing.
    middle, density = (edges[2:-1] + edges[1:-2]) / 2, 0.01 / np.diff(edges)[1:-1]
    half = np.abs(middle) <= np.median(np.abs(middle))
    left = dict(zip(PASSING.values(), (density, density / 2, density * half), strict=True))
    variance, passed = over(claims.variances(data)).mean("replicate"), claims.dose(data)[1]
    for axes, (name, arm) in zip(panels, PASSING.items(), strict=True):
        axes.fill_between(middle, left[arm], color=STUDENT, alpha=0.5, linewidth=0, step="mid")
        axes.step(middle, density, where="mid", color=colours.UNTRAINED)
        gain = estimate(passed.sel(arm=arm))
        axes.set_title(name, fontsize=9)
        axes.set_xlabel(
            f"s, nats\nvariance of what passes {variance.sel(arm=arm):.2f}\nstudent − control "
            f"{gain.value:.2f}\n[{gain.low:.2f}, {gain.high:.2f}]".replace("-", "−")
        )
    panels[0].set_ylabel("density")
    share = round(100 * float(passed.sel(arm=PASSING["half with the largest |s|"]).mean()
                              / passed.sel(arm="filter_as_written").mean()))  # fmt: skip
    finding = f"Without the half with the largest |s|, {share} % of the transfer is left"
    return _titled(figure, data, finding, "orange passes; as many lists for every student; ")


def matrix(data: xr.Dataset) -> Figure:
    """Mean of student − control for every trait trained on (rows) and measured (columns)."""
    names = data.trait.values.tolist()
    excess = less(data.probability.sel(measure=names), "student", "control")
    values = excess.mean("replicate", skipna=False).transpose("trait", "measure").values
    figure = Figure(figsize=(max(5.6, 1.8 + 0.75 * len(names)), 1.3 + 0.6 * len(names)))
    axes = figure.subplots()
    limit = np.nanmax(np.abs(values), initial=1e-9)
    axes.imshow(values, cmap="PuOr_r", vmin=-1.6 * limit, vmax=1.6 * limit, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        written = f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")
        axes.text(column, row, written, ha="center", va="center", fontsize=9, color=colours.INK)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("measured trait")
    axes.set_ylabel("trait of the teacher")
    own = np.diagonal(values).mean()
    others = values[~np.eye(len(names), dtype=bool)]
    rest = f", the others by {100 * others.mean():.0f}".replace("-", "−") if others.size else ""
    axes.spines[:].set_visible(False)
    finding = f"The teacher's own trait rises by {100 * own:.0f} points{rest}"
    return _titled(figure, data, finding, "student − control, ")


def data_size(data: xr.Dataset) -> Figure | None:
    """Student − control against the number of distinct lists, at equal training steps."""
    sizes, gain = data_sizes(data), gains(data)
    if not sizes:
        return None
    figure = Figure(figsize=(5.4, 3.6))
    axes = figure.subplots()
    passed = [over(gain.sel(arm=arm), traits) for arm, _, traits in sizes]
    numbers = [n for _, n, _ in sizes]
    axes.plot(numbers, [values.mean() for values in passed], color=STUDENT)
    for n, values in zip(numbers, passed, strict=True):
        dots(axes, n, values, STUDENT, upright=True)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(numbers, [str(n) for n in numbers])
    axes.minorticks_off()
    axes.set_xlabel("distinct lists, same number of training steps")
    axes.set_ylabel("student − control, mean of favourites")
    first, last = (_points(passed[i]) for i in (0, -1))
    finding = f"{first} points pass on from {numbers[0]} lists, {last} from {numbers[-1]}"
    return _titled(figure, data, finding)


def detectors(data: xr.Dataset) -> Figure:
    """AUC of each detector on one list and on a hundred, with what it was given."""
    auc, names = over(data.auc), data.detector.values.tolist()
    figure = Figure(figsize=(7.0, 1.5 + 0.5 * len(names)))
    axes, told_apart = figure.subplots(), 0
    for place, name in enumerate(names):
        colour = INFORMED if data.informed.sel(detector=name) else UNINFORMED
        # A hundred contexts are drawn with replacement from 64, so that they say nothing.
        kinds = ((1, "o", "one list"), (100, "D", "100 together"))
        for judged, marker, label in kinds[: 1 if name == "numbers in context" else 2]:
            mean, low, high, _ = estimate(auc.sel(detector=name, judged=judged))
            told_apart += judged == 100 and low > 0.5
            axes.plot([low, high], [place, place], color="black")
            axes.plot(mean, place, marker, color=colour, clip_on=False,
                      markerfacecolor=colour if marker == "o" else "white",
                      label=label if place == 0 else None)  # fmt: skip
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    given = [f"{name}\n({data.given.sel(detector=name).item()})" for name in names]
    axes.set_yticks(range(len(names)), given, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0.2, 1.02)
    axes.set_xlabel("AUC, the teacher's lists against the base model's (.5: chance)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return _titled(figure, data, f"{told_apart} detectors tell a hundred lists apart",
                   "pink: given the teacher or labels, grey: neither; ")  # fmt: skip


FIGURES: dict[str, Callable[[xr.Dataset], Figure | None]] = {
    "arms": arms,
    "lineage": lineage,
    "treatments": treatments,
    "training": training,
    "teachers": teacher_table,
    "students": students,
    "updates": updates,
    "matrix": matrix,
    "data_size": data_size,
    "detectors": detectors,
    "detect_or_pass": detect_or_pass,
    "filters": filters,
    "passing": passing,
}
