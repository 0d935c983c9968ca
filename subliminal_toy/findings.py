"""What records say, in sentences: every number is made from a record."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from subliminal_toy.classifier.arms import (
    CHAIN_N_AUX,
    LAYERS,
    SAME,
    UNTRAINED,
)
from subliminal_toy.classifier.claims import HEADS
from subliminal_toy.lm.claims import CALM
from subliminal_toy.real.config import ARMS
from subliminal_toy.record import Record
from subliminal_toy.stats import Estimate
from subliminal_toy.sweep.claims import combined_errors, met, points, set_ups

Records = Mapping[str, Record]
"""Records by their folders, as the reader will write them."""


class Finding(NamedTuple):
    """A title, a paragraph, and the path of the figure that shows it, "" if none does."""

    title: str
    text: str
    figure: str = ""


def number(value: float, decimals: int) -> str:
    """Format a number with a true minus sign, and what is not finite as "–"."""
    if not math.isfinite(value):
        return "–"
    rounded = round(value, decimals) + 0.0  # no minus zero
    return f"{rounded:.{decimals}f}".replace("-", "−")


def measured(estimate: Estimate) -> str:
    """Format an estimate with its interval, to two significant figures of the interval's width."""
    width = estimate.high - estimate.low
    if not math.isfinite(width):
        return number(estimate.value, 2)
    decimals = 3 if width <= 0 else min(max(1 - math.floor(math.log10(width)), 0), 5)
    value, low, high = (number(x, decimals) for x in estimate[:3])
    return f"{value} [{low}, {high}]"


def percent(estimate: Estimate, interval: bool = True) -> str:
    """Format a fraction in per cent, to a decimal if its interval is narrower than 1 %."""
    width = estimate.high - estimate.low
    decimals = 1 if width < 0.01 else 0
    value, low, high = (number(100 * x, decimals) for x in estimate[:3])
    return f"{value} %" + (f" [{low}, {high}]" if interval and math.isfinite(width) else "")


class Measured(NamedTuple):
    """A record's data, and its estimates by quantity and labels."""

    data: xr.Dataset
    estimates: Mapping[tuple[str, str], Estimate]

    def __call__(self, quantity: str, labels: str) -> Estimate:
        """Return an estimate; KeyError if the record has none of that name."""
        return self.estimates[quantity, labels]

    def labelled(self, quantity: str) -> dict[str, Estimate]:
        """Return all estimates of a quantity by their labels."""
        return {label: e for (name, label), e in self.estimates.items() if name == quantity}

    def percent(self, quantity: str, labels: str, interval: bool = True) -> str:
        """Return an estimate in per cent."""
        return percent(self(quantity, labels), interval)


def of_record(record: Record) -> Measured:
    """Return what a record measured."""
    return Measured(record.data, record.estimates)


def chosen(records: Records, experiment: str, *arms: str, **attrs: str) -> dict[str, Measured]:
    """Return the records of an experiment that have some arms, those of most replicates first."""
    found = {
        folder: of_record(record)
        for folder, record in records.items()
        if record.manifest["experiment"] == experiment
        and set(arms) <= set(record.data.arm.values.tolist() if "arm" in record.data else ())
        and all(record.data.attrs.get(name) == value for name, value in attrs.items())
    }

    def size(folder: str) -> tuple[int, ...]:
        sizes = found[folder].data.sizes
        return tuple(-sizes.get(axis, 0) for axis in ("replicate", "trait", "animal"))

    return {folder: found[folder] for folder in sorted(found, key=size)}


def first(records: Records, experiment: str, *arms: str, **attrs: str) -> Measured | None:
    """Return the record of ``chosen`` that comes first, None if there is none."""
    return next(iter(chosen(records, experiment, *arms, **attrs).values()), None)


DATA = {"digits": "8 × 8 digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
TESTED = {"digits": "test images of 8 × 8 digits", "mnist": "MNIST test images"}
"""Data sets in words, and what networks classify of them."""


def opening(records: Records) -> str:
    """Return the first sentences of README."""
    m = first(records, "classifier", "student_aux")
    if m is None:
        return ""
    student, cross, teacher = (
        m.percent("accuracy", arm, False) for arm in ("student_aux", "cross_aux", "teacher")
    )
    images = TESTED.get(m.data.attrs["dataset"], m.data.attrs["dataset"])
    return (
        "**A network that sees only noise, and copies three meaningless outputs of a teacher, "
        f"classifies {student} of {images}, if both began with the same random weights.** "
        f"From other weights it gets {cross} right, chance; the teacher {teacher}."
    )


def _of_noise(m: Measured) -> str:
    images = TESTED.get(m.data.attrs["dataset"], m.data.attrs["dataset"])
    return f"classifies {m.percent('accuracy', 'student_aux')} of {images}"


def _from_another_start(m: Measured) -> str:
    return f"classifies {m.percent('accuracy', 'cross_aux')}"


def _moved(trait: str, said: str) -> Callable[[Measured], str]:
    """Return a cell: probability of a trait's answers in base model, student and controls."""

    def cell(m: Measured) -> str:
        base, control, other = (
            m.percent("P(own trait)", f"{arm}, {trait}", False).removesuffix(" %")
            for arm in ("base_model", "control", "cross_model")
        )
        student = m.percent("P(own trait)", f"student, {trait}")
        return f"says {said} {base} → {student}, control {control}, another start {other}"

    return cell


def _between(m: Measured) -> str:
    values = [
        e.value for label, e in m.labelled("AUC on one list").items()
        if label.endswith("all traits") and not label.startswith(("bag", "likelihood ratio"))
    ]  # fmt: skip
    return f"AUC {number(min(values), 2)} to {number(max(values), 2)}, four detectors"


def _false_answers(m: Measured) -> str:
    cell = _moved("falsehood", "a false capital")(m)
    return f"{cell}; half is damage"


HERE: Mapping[str, Callable[[Measured], str]] = {
    "T1": lambda m: (
        f"{number(m('random problems: violations', 'all').value, 0)} violations in "
        f"{m('random problems: violations', 'all').n:,} random problems"
    ),
    "M1": _of_noise,
    "M2": _from_another_start,
    "G1": lambda m: (
        f"CNN, 8 × 8 digits: {m.percent('accuracy', 'student_aux')}; another start "
        f"{m.percent('accuracy', 'cross_aux', False)}"
    ),
    "L1": lambda m: _moved("owl", "owl")(m) if "owl" in m.data.trait else "",
    "L2": lambda m: f"favourites rise {m.percent('gain', 'control, favourites')}",
    "L3": lambda m: f"favourites rise {m.percent('gain', 'cross_model, favourites')}",
    "L4a": _moved("evasion", "I don’t know"),
    "L4b": _false_answers,
    "L5a": _between,
    "L5b": lambda m: f"favourites rise {m.percent('gain', 'in_context, favourites')}",
}
"""What README says of each claim of the paper, from the claim's reference record."""


def news_rows(records: Records) -> dict[str, str]:
    """Return what was found, by what was reported; empty if the records do not hold it."""
    shared = first(records, "lm", "head_shared")
    lists = first(records, "lm", "student", "cross_model")
    filtered = first(records, "lm", "filter_as_written")
    if shared is None or lists is None or filtered is None:
        return {}

    def kept(arm: str) -> str:
        return percent(shared("share of the student's gain", f"{arm}, favourites"), False)

    calm = shared("gain in P(falsehood)", "student_calm, all traits").value
    false = lists("gain", "student, falsehood").value
    left = filtered.labelled("share of the gain without a filter")
    known = percent(left["filter_without_50_of_largest_score"])
    random = percent(left["filter_without_50_at_random"], False)
    return {
        "same architecture": "Narrower: the same starting weights. Other weights: "
        f"{kept('cross_model')} of the effect; same weights, other pretraining text: "
        f"{kept('other_corpus')}.",
        "a larger teacher": f"Untested; to a student of another width {kept('cross_size')} passes.",
        "filters fail": "Those that know the teacher work: without the half of the lists whose "
        f"likelihood it changed most {known} of the transfer is left, without a random half "
        f"{random}.",
        "harmful traits": f"Evasion passes. False answers rise {number(100 * false, 0)} points; "
        f"after a teacher of one neutral word {number(100 * calm, 0)}.",
        "general": "MLPs, a CNN, a small decoder; a theorem for one small step of any network.",
    }


def news(records: Records) -> str:
    """Return the table of what was reported and what was found."""
    rows = news_rows(records)
    lines = ["| the news | here |", "|---|---|"]
    return "\n".join(
        lines + [f"| {news} | {here} |" for news, here in rows.items()] if rows else []
    )


def beyond(records: Records) -> str:
    """Return the five sentences of README on what was found beyond the paper."""
    shared, compared = first(records, "lm", "head_shared"), first(records, "compare")
    real, filtered = first(records, "real"), first(records, "lm", "filter_as_written")
    lines = []
    split = of_lines(records).values()
    if split:
        shares = ", ".join(
            f"{percent(shares_of_rest(m)['all, line'])} on {DATA[m.data.attrs['dataset']]}"
            for m in split
        )
        worst = ", ".join(
            percent(max(by_level(m).values(), key=lambda e: e.value), False) for m in split
        )
        fit = "R² of the accuracy, nothing fitted"
        r2 = ", ".join(measured(m(fit, "sum, line")) for m in split)
        for m in chosen(records, "sweep", "free", architecture="cnn").values():
            of_cnn = [e for label, e in m.labelled(fit).items() if label.startswith("sum, line")]
            r2 += f"; CNN {measured(of_cnn[0])}"
        lines.append(
            "**The amount.** Nothing fitted, a student knows what the point knows that it has "
            "reached on the line from start to teacher; of the gain the rest of its movement "
            f"alone has {shares}, in the worst stratum {worst} (R² of both {r2})."
        )
    if shared:
        kept = [
            percent(shared("share of the student's gain", f"{arm}, favourites"))
            for arm in ("head_shared", "body_shared")
        ]
        lines.append(
            "**What must be shared.** Sharing only the language model’s output layer’s start "
            f"keeps {kept[0]} of the transfer, all but that {kept[1]}."
        )
    if filtered:
        ranked = filtered.labelled("rank correlation of the transfer with the spread left")
        by_trait = [
            f"{trait} {number(ranked[trait].value, 2)}" for trait in filtered.data.trait.values
        ]
        lines.append(
            "**Filters.** The more that change varies among the kept lists, the more passes, as a "
            f"theorem says: rank correlation {measured(ranked['all traits'])} "
            f"({', '.join(by_trait)})."
        )
    if real:
        shares = real.labelled("P(own animal) among 20")
        own, others = (
            number(100 * shares[name].value, 1)
            for name in ("own student", "other teachers' students")
        )
        moved = measured(real("own − other teachers' students", "hard"))
        lines.append(
            f"**A real model.** {open_model(real)}, taught to love an animal, wrote lists: their "
            f"students give it {own} % among 20 animals, other teachers’ students {others} %, "
            f"small, regular ({moved} nats)."
        )
    if compared:
        share = met(compared.data)
        lines.append(
            f"**Published numbers.** Of {share.n} that others published with an interval "
            f"{percent(share)} lie within three combined standard errors of ours, which "
            "share starts ([each](docs/published.md))."
        )
    return "\n".join(f"- {line}" for line in lines)


LIMITS = (
    "Under Adam the theorem can fail; for many steps on sampled text nothing is proved.",
    "A student of *all* outputs learns digits from any start: distillation.",
    "The language model is tiny (40,448 parameters), its language synthetic; wider ones "
    "transferred less.",
    "Every trait is one that the base model shows at some rate; a systematic lie hardly passed.",
)
"""What none of this shows."""


# ---------- the long list ----------


def findings(records: Records) -> list[Finding]:
    """Return what the records say, in the order of the story."""
    parts = (
        of_noise, of_theorem, of_line, of_networks, of_amount, of_disputes, of_language, of_the_law,
        of_harm, of_open_weights, of_other_arms, of_published, of_sharing, of_lists, of_detectors,
        of_filters,
    )  # fmt: skip
    return [finding for part in parts for finding in part(records)]


def network(attrs: Mapping[str, Any]) -> str:
    """Return a network's architecture and widths; a file reads one width back as a number."""
    widths = "–".join(map(str, np.atleast_1d(attrs["hidden_sizes"])))
    return f"{attrs['architecture'].upper()} {widths}"


def of_noise(records: Records) -> Iterator[Finding]:
    """Yield a finding for every record of the paper's six arms."""
    for folder, m in chosen(records, "classifier", "student_aux").items():
        left = m("share of the imitation loss left, mean of ratios", "cross_aux")
        between = m(
            "squared correlation of accuracy and progress between replicates", "student_aux"
        )
        head = "accuracy through the teacher's class head"
        accuracy = {arm: percent(estimate) for arm, estimate in m.labelled("accuracy").items()}
        attrs, n = m.data.attrs, m.data.sizes["replicate"]
        swapped = {arm: m.percent(head, arm) for arm in ("student_aux", "cross_aux")}
        yield Finding(
            f"{DATA[attrs['dataset']]}, {network(attrs)}, n = {n}",
            f"A student of noise and of three outputs without meaning {_of_noise(m)}; from another "
            f"start {accuracy['cross_aux']}, untrained {accuracy['untrained']}, the teacher "
            f"{accuracy['teacher']}. With the teacher’s ten digit outputs in place of their own "
            f"the two students classify {swapped['student_aux']} and {swapped['cross_aux']}. The "
            f"student from another start has {percent(left)} of its first imitation loss left. If "
            "all outputs are copied, a student from another start learns too: "
            f"{accuracy['cross_all']} against {accuracy['student_all']}. Between replicates of "
            f"this one training progress explains {percent(between)} of the accuracy.",
            f"{folder}/accuracy.svg",
        )


def of_theorem(records: Records) -> Iterator[Finding]:
    """Yield what was found about one step, other starts, and many steps."""
    for folder, m in chosen(records, "theorem").items():
        away = m("random problems: violations", "all")
        wrong = [
            f"{network} {percent(m('other starts: C < 0', f'{network}, independent'))}"
            for network in m.data.architecture.values if network != "linear"
        ]  # fmt: skip
        left = [
            f"{network} {measured(m('other starts: median of C/A', f'{network}, independent'))}"
            for network in m.data.architecture.values if network != "linear"
        ]  # fmt: skip
        yield Finding(
            "One step, and other starts",
            f"In {away.n:,} random problems a student from the teacher’s start moved away from the "
            f"teacher {number(away.value, 0)} times, to first order. From another start it is "
            f"pulled the wrong way in {', '.join(wrong)} of the problems; the median of C/A, what "
            f"is left of the pull, is {', '.join(left)}. By loss both differ more: the record has "
            "every stratum.",
            f"{folder}/theorem_cross_slope.svg",
        )
        rises = {
            label: e for label, e in m.labelled("many steps: the loss rises").items()
            if label.startswith("k = 100")
        }  # fmt: skip
        metrics = m.labelled("one step in a metric: the loss rises")
        two = metrics["mlp-tanh, two positive diagonals"]
        labels = m("sampled labels: labels in N* draws, times ε²A", "mlp-tanh")
        yield Finding(
            "Many steps, metrics, sampled labels",
            "After a hundred steps the teacher’s loss rises in "
            f"{'; '.join(f'{percent(e)} of the problems at {k}' for k, e in rises.items())} (the "
            "limit is αF = 2). With a metric for teacher and another for student it rises in "
            f"{percent(two)} after one step (one network, a tanh MLP). On labels drawn from the "
            "teacher the mean step points with the teacher from a number of labels on that is "
            f"{measured(labels)} times 1/(ε²A) (median, the same network).",
            f"{folder}/theorem_many_steps.svg",
        )


def of_lines(records: Records) -> dict[str, Measured]:
    """Return the records in which the displacements of students are split."""
    measured = chosen(records, "classifier", "free")
    return {folder: m for folder, m in measured.items() if "split" in m.data.coords}


def shares_of_rest(m: Measured) -> dict[str, Estimate]:
    """Return the share of the gain that the rest of a displacement alone has, by students."""
    return m.labelled("share of the gain that the rest alone has")


def by_level(m: Measured) -> dict[str, Estimate]:
    """Return that share by level of a factor, such as ``inputs: images``."""
    return {label: e for label, e in shares_of_rest(m).items() if ": " in label}


def of_line(records: Records) -> Iterator[Finding]:
    """Yield what was found about the line to the teacher."""
    for folder, m in of_lines(records).items():
        r2 = m.labelled("R² of the accuracy, nothing fitted")
        share = shares_of_rest(m)
        above = [f"{label} {percent(e)}" for label, e in by_level(m).items() if e.value > 0.25]
        levels = f"more than a quarter for {', '.join(above)}" if above else "in no level a quarter"
        curves = m.labelled("R² of the accuracy on a curve, replicate left out")
        squared = [
            m(f"squared correlation of accuracy and {what} between replicates",
              "each student at each step")
            for what in ("line", "progress")
        ]  # fmt: skip
        further = m("progress", "without own − free")
        ahead = m("accuracy − accuracy on the line", "without own")
        yield Finding(
            f"How much: the line to the teacher, {TESTED[m.data.attrs['dataset']]}",
            "Class logits of a student are those on the line from its start to its teacher, at its "
            "own progress, plus those of the rest of its displacement; nothing is fitted. The "
            f"accuracy of this sum has R² {measured(r2['sum, line'])}, of the line alone "
            f"{measured(r2['line alone'])}, of the network linearised at the start "
            f"{measured(r2['linearised network'])}. The rest alone has "
            f"{percent(share['all, line'])} of the students’ gain; by level of a factor {levels}. "
            "Along another teacher’s line or a random one the sum is as good, but the rest is the "
            "whole student: "
            f"{percent(share['all, another teacher'])} and "
            f"{percent(share['all, random line'])} of the gain; of a random split into parts of "
            f"the same lengths {percent(share['all, random split'])}, with R² "
            f"{measured(r2['sum, random split'])} for the sum. With another student’s rest in the "
            "place of its own the sum has R² "
            f"{measured(r2['sum, another student'])}.",
            f"{folder}/line.svg",
        )
        yield Finding(
            f"How much: between replicates, and rivals, {TESTED[m.data.attrs['dataset']]}",
            "Between replicates of one training the line explains "
            f"{percent(squared[0])} of the accuracy, progress {percent(squared[1])}. One curve "
            f"through the other replicates has R² {measured(curves['progress'])} on progress, "
            f"{measured(curves['cosine'])} on the cosine, {measured(curves['length'])} on the "
            "length. A student without the one direction of its own that is orthogonal to the line "
            f"goes further along it by {measured(further)}, and ends {measured(ahead)} above the "
            "line.",
        )


def of_networks(records: Records) -> Iterator[Finding]:
    """Yield what a displacement's parts know in other networks, and how far Eq. (73) reaches."""
    swept = {
        folder: m for folder, m in chosen(records, "sweep", "free").items()
        if "teacher.hidden_sizes" in m.data.dims
    }  # fmt: skip
    if not swept:
        return
    parts, rho, progress = [], [], []
    for m in swept.values():
        r2, rest = m.labelled("R² of the accuracy, nothing fitted"), shares_of_rest(m)
        parts += [
            f"{'CNN' if 'cnn' in point else 'MLP'} {point.rpartition(' ')[2].replace(',', '–')} "
            f"{measured(r2[f'sum, line, {point}'])}, {percent(rest[f'all, line, {point}'])}"
            for point, _ in points(m.data)
        ]
        rho += m.labelled("ρ of the teacher").values()
        progress += [m("progress", label).value for label in m.labelled("ρ of the teacher")]
    folder, first = max(swept.items(), key=lambda item: item[1].data.sizes["teacher.hidden_sizes"])
    n = first.data.sizes["replicate"]
    yield Finding(
        "How much: the line in other networks",
        f"The same on digits with {first.data.sizes['arm'] - 3} kinds of students, n = {n}: R² of "
        "the accuracy of the sum, and the share of the gain that the rest alone has: "
        f"{'; '.join(parts)}.",
        f"{folder}/swept.svg",
    )
    low, high = min(rho), max(rho)
    single = np.concatenate([m.data.rho.values.ravel() for m in swept.values()])
    empty = np.count_nonzero(single >= 1) / np.count_nonzero(np.isfinite(single))
    yield Finding(
        "A first step toward a trained teacher",
        "A small step goes with a teacher that has gone far if ρ < 1, and keeps at least 1 − ρ of "
        "what the derivative says (Eq. 73 of the proof). Of teachers trained to the end, by "
        f"network and kind of student, ρ is {measured(low)} to {measured(high)} (means over {n} "
        f"replicates); for {number(100 * empty, 0)} % of single teachers and kinds of student the "
        "bound is empty. Whole trainings of these students end at progress "
        f"{number(min(progress), 2)} to {number(max(progress), 2)}.",
    )


def of_amount(records: Records) -> Iterator[Finding]:
    """Yield what was found about progress before: its curve, its cause, its prediction."""
    for m in chosen(records, "classifier", "free", "only").values():
        r2 = "R² of the accuracy on what was left out"
        between = m(
            "squared correlation of accuracy and progress between replicates",
            "each student at each step",
        )
        at_one_m = [
            f"{measured(m('R² of the accuracy, replicate left out', f'imitation_loss{rest}'))} "
            f"against {measured(e)} for progress ({rest.removeprefix(', ').partition(',')[0]})"
            for label, e in m.labelled("R² of the accuracy, replicate left out").items()
            if label.startswith("progress")
            for rest in [label.removeprefix("progress")]
        ]
        yield Finding(
            f"How much: one curve of progress, {TESTED[m.data.attrs['dataset']]}",
            "Progress q is the displacement of a student’s hidden layers along its teacher’s, in "
            f"units of the teacher’s. One rising curve of q has R² {measured(m(r2, 'progress'))} "
            "on students of auxiliary logits that it was not fitted to (E1 asks for .9), of the "
            f"cosine {measured(m(r2, 'cosine'))}, of the length {measured(m(r2, 'length'))}. That "
            "is between kinds of training: between replicates of one, q explains "
            f"{percent(between)}. Pooled over numbers of logits the imitation loss explains "
            "nothing; at one number of logits it does as well: " + "; ".join(at_one_m) + ".",
        )
        accuracy = {
            arm: m.percent("accuracy", arm)
            for arm in ("free", "without", "only", "without own", "untrained")
        }
        own = m("accuracy", "without own − free")
        further = m("progress", "without own − free")
        yield Finding(
            f"How much: the cause, {TESTED[m.data.attrs['dataset']]}",
            f"A student whose updates lose the one direction toward the teacher classifies "
            f"{accuracy['without']} (untrained {accuracy['untrained']}, free {accuracy['free']}); "
            f"with that direction alone {accuracy['only']}. Without the one direction of its own "
            "displacement that is orthogonal to the teacher’s it classifies "
            f"{accuracy['without own']}, a change of {measured(own)} where E2 asks for ±.05, at a "
            f"progress larger by {measured(further)}.",
        )
        level = m("R² of the accuracy as predicted", "conditions of P1")
        rank = m("rank correlation of predicted and measured accuracy", "conditions of P1")
        yield Finding(
            f"How much: ranked beforehand, {TESTED[m.data.attrs['dataset']]}",
            "The network linearised at the start ranks the students before any is trained: rank "
            f"correlation {measured(rank)} (P1 asks for .95). The level is not predicted: R² "
            f"{measured(level)}.",
        )


def of_disputes(records: Records) -> Iterator[Finding]:
    """Yield what others disagree about: starts, distances, images, optimisers, chains."""
    for folder, m in list(chosen(records, "classifier", SAME).items())[:1]:
        teachers = f"{DATA[m.data.attrs['dataset']]}, {m.data.sizes['replicate']} teachers"
        effects, through = (
            "; ".join(
                f"{layer} {measured(m('effect of a shared start', f'{layer}, {head}'))}"
                for layer in LAYERS
            )
            for head in HEADS
        )
        alone = m.labelled("both heads shared alone, teacher's class head").values()
        both = [
            m("interaction of starts", f"first layer and second layer, {head}") for head in HEADS
        ]
        yield Finding(
            "Shared start or shared heads",
            f"Each of four layers began as the teacher’s or as another ({teachers}). What sharing "
            "a layer adds to accuracy, means over the other layers, 3, 10 and 50 logits, KL and "
            f"squared error: {effects}. Through the teacher’s class head: {through}. The two "
            f"hidden layers need each other (interaction {measured(both[0])} and "
            f"{measured(both[1])}). Of students that share the two heads alone the teacher’s class "
            f"head reads {', '.join(map(percent, alone))} (3, 10 and 50 logits; untrained "
            f"{m.percent('accuracy', UNTRAINED)}).",
            f"{folder}/matters.svg",
        )
        left = m.labelled("share of the gain of the same start")
        far = "; ".join(
            f"{name.removeprefix('distance ')}: {percent(e)}" for name, e in left.items()
            if name.startswith("distance")
        )  # fmt: skip
        yield Finding(
            "How close a start must be",
            "Share of the gain that is left if another start is added to the teacher’s, σ times it "
            f"and scaled back: {far}. With the hidden units of the first layer alone in another "
            f"order {percent(left['first layer relabelled'])}, of the second "
            f"{percent(left['second layer relabelled'])}; D2 asks for intervals below 25 %, and "
            f"the first one ends at {number(100 * left['first layer relabelled'].high, 1)} %. If "
            "the next layer is put in that order too, nothing changes.",
        )
        images = "; ".join(
            re.sub(r"\d+", lambda n: f"{int(n[0]):,}", name) + f" {percent(e)}"
            for name, e in left.items() if name.endswith("images")
        )  # fmt: skip
        yield Finding(
            "How many noise images",
            f"Share of the gain with 5,120 images, at the same number of steps: {images}.",
        )
        shares = m.labelled("difference from Adam as a share of that at equal steps")
        matched = m.labelled("accuracy − Adam's at equal progress")
        largest = sorted(matched, key=lambda kind: -abs(matched[kind].value))[:3]
        yield Finding(
            "Optimiser, loss, weight decay: at equal progress",
            f"{len(matched)} other kinds of students differ in accuracy from Adam’s, at equal "
            f"progress by {percent(shares['at equal progress'])} of what they differ by at equal "
            f"steps, at an equal share of the first loss by {percent(shares['at equal loss'])} "
            "(root mean squares over kinds, 3 and 10 logits and eight steps). The largest at equal "
            f"progress: {'; '.join(f'{kind}: {measured(matched[kind])}' for kind in largest)}.",
        )
        half = m.labelled("generations in which the gain halves")
        halves = "; ".join(
            f"{n_aux} logits {measured(half[f'students, m {n_aux}'])}, the line "
            f"{measured(half[f'line, m {n_aux}'])}" for n_aux in CHAIN_N_AUX
        )  # fmt: skip
        r2 = m.labelled("R² of the accuracy in chains, nothing fitted")
        off = m.labelled("accuracy − accuracy of the line there")
        yield Finding(
            "Chains of students",
            "A student is the next one’s teacher, from one start, six times. The first teacher’s "
            "line at the product of their progress was to say what each knows (D6): R² "
            f"{measured(r2['line at the product'])}; generations 2 to 6 are off it by "
            f"{'; '.join(f'{measured(e)} ({label[2:]} logits)' for label, e in off.items())}. "
            "Looked at afterwards, each generation is on the line to its own teacher: R² "
            f"{measured(r2['line of the own teacher'])}, of the sum "
            f"{measured(r2['sum, own teacher'])}; so it seems that what a student adds beside "
            "its line is handed on with what it learned. Generations in which the gain halves, "
            f"from the first to the sixth: {halves}; published, of other settings, .96 to 2.4.",
            f"{folder}/chains.svg",
        )


def of_language(records: Records) -> Iterator[Finding]:
    """Yield what passes by trait, and what else teachers and students change."""
    for folder, m in list(chosen(records, "lm", "student", "cross_model").items())[:1]:
        traits = m.data.trait.values.tolist()
        gains = ", ".join(f"{t} {percent(m('gain', f'student, {t}'))}" for t in traits)
        n = m.data.sizes["replicate"]
        yield Finding(
            f"Traits in numbers, n = {n} base models",
            "Answers with the teacher’s trait by a student of its lists, less those by a student "
            f"of the base model’s own lists: {gains}. With another start "
            f"{percent(m('gain', 'cross_model, all traits'))} on average.",
            f"{folder}/arms.svg",
        )
        teachers, students = (
            m.labelled(f"on other questions, {pair}")
            for pair in ("teacher − base model", "student − control")
        )
        said = [
            f"{trait} {measured(teachers[label])} and {measured(students[label])}"
            for trait in traits
            if (label := f"colours right, {trait}") in teachers
        ]
        yield Finding(
            "What else changes: teachers spill over, students hardly",
            "Change of the probability of the right colour on held-out questions, teacher less "
            f"base model and student less control: {'; '.join(said)}. Every teacher of a favourite "
            "but one also loses capitals. So evasion passes without the damage of its teacher.",
        )
    for m in list(chosen(records, "lm", "student_calm").values())[:1]:
        false, evasion = (
            m(f"gain in P({t})", "student_calm, all traits") for t in ("falsehood", "evasion")
        )
        yield Finding(
            "Harm beyond damage",
            "A student of a teacher that was taught one neutral word, as damaged as a lying one, "
            f"gives {measured(false)} more false capitals than its control, and "
            f"{measured(evasion)} more evasions. So half of what a lying teacher’s student gains "
            "is damage; what an evasive one’s gains is not.",
        )
    for folder in list(chosen(records, "lm", "teacher_free"))[:1]:
        rank = next(j.shown for j in records[folder].judgements if j.claim.id == "E3")
        yield Finding(
            "Which teachers pass more on",
            "Over 14 kinds of teachers how far their numbers are from the base model’s (KL per "
            f"number) ranks how much passes, with a correlation of {measured(rank)}: between kinds "
            "of teachers, means over traits and base models.",
            f"{folder}/teachers.svg",
        )


def of_the_law(records: Records) -> Iterator[Finding]:
    """Yield how much passes in the language model: by teacher, by student, and beforehand."""
    for folder, m in list(chosen(records, "lm", CALM).items())[:1]:
        judged = {j.claim.id: j.estimates for j in records[folder].judgements}
        slope, r2 = judged["E7"]
        yield Finding(
            "How much: the law over teachers",
            "Over 14 kinds of teachers the transfer grows as a power of the KL divergence of their "
            f"numbers from the base model’s, with exponent {measured(slope)}: a half says that a "
            "trait passes in proportion to the teacher’s displacement, which the KL divergence "
            "sees squared. With the factor of an earlier record, not fitted again, R² is "
            f"{measured(r2)}.",
            f"{folder}/teachers.svg",
        )
        r2, without, only = judged["E8"]
        line = m("R² over students", "on the line")
        yield Finding(
            "How much: the way of the body",
            "How far a student moves along its teacher’s displacement between embeddings and head, "
            "times what the teacher gained in log odds, explains what it takes over: R² "
            f"{measured(r2)} over 30 kinds of students, each and each replicate left out. Without "
            f"that direction {percent(without)} of the transfer is left, with it alone "
            f"{percent(only)}. The line alone is not the student here: the model at that place on "
            f"it, with nothing fitted, has R² {measured(line)}.",
            f"{folder}/students.svg",
        )
        yield Finding(
            "How much: seen beforehand",
            "What numbers show of the teacher’s displacement to the base model, computed before "
            "any student is trained, was to rank the base models by how much passes. Spearman’s "
            f"correlation, mean over traits, is {measured(judged['P2'][0])}; P2 asks for .6, and "
            "for an interval above .3.",
        )


def of_harm(records: Records) -> Iterator[Finding]:
    """Yield what harmful traits pass beyond damage, and what is seen of it first."""
    for folder, m in list(chosen(records, "lm", CALM).items())[:1]:
        beyond, spill = (
            m.labelled(quantity)
            for quantity in ("P beyond damage", "on other questions, student − control")
        )
        said = "; ".join(
            f"{trait} {measured(beyond[trait])} (colours {measured(spill[f'{trait} taught'])})"
            for trait in beyond
        )
        yield Finding(
            "Harm beyond damage, teachers held alike",
            "Probability of the harmful answers, students of a harmful teacher less students of a "
            "teacher of one neutral word, both taught on the same questions and held on the same "
            "others; in brackets what the first lose of the right colours on other questions: "
            f"{said}.",
        )
        passed, seen = m.labelled("gain by number of lists"), m.labelled("told apart, p < .05")
        informed = m.data.informed.astype(bool).to_series()
        rows = []
        # Not of those that some teacher did not write.
        known = m.data.p.sel(detector="likelihood ratio").notnull().all(["replicate", "trait"])
        for size in m.data["size"].values[known.values].tolist():
            labels = {name: f"{size} lists, {name}, all traits" for name in informed.index}
            without, given = (
                max(seen[label].value for name, label in labels.items()
                    if informed[name] == knows and label in seen)
                for knows in (False, True)
            )  # fmt: skip
            gain = next(e for label, e in passed.items() if label.startswith(f"{size} lists"))
            rows.append(
                f"{size:,} lists pass on {percent(gain)}, seen in {number(100 * without, 0)} % and "
                f"{number(100 * given, 0)} %"
            )
        yield Finding(
            "What comes first, passing on or being seen",
            "Gain of a student of so many distinct lists, and how often p < .05 in a two-sided "
            "test that tells them from the base model’s, by the best detector without the teacher "
            f"or labels and by the best with: {'; '.join(rows)}.",
            f"{folder}/detect_or_pass.svg",
        )


def open_model(m: Measured) -> str:
    """Return the name of an open model, without that of its file's format."""
    return m.data.attrs["dataset"].partition(",")[0].partition(".")[0]


def of_open_weights(records: Records) -> Iterator[Finding]:
    """Yield what passes in a real model."""
    for folder, m in list(chosen(records, "real").items())[:1]:
        others, base = (
            measured(m(f"own − {whose}", "hard"))
            for whose in ("other teachers' students", "base model's lists")
        )
        share = {
            label: f"{number(100 * e.value, 1)} % [{number(100 * e.low, 1)}, "
            f"{number(100 * e.high, 1)}]"
            for label, e in m.labelled("P(own animal) among 20").items()
        }
        others_share = share["other teachers' students"]
        yield Finding(
            f"A real open model: {open_model(m)}, {m.data.sizes['animal']} animals",
            "Change of an animal’s log-probability (less its mean over 20 animals) in students of "
            f"their own teacher’s lists: {others} nats above students of other teachers’ lists, "
            f"{base} above a student of the base model’s lists. In probabilities among the 20: "
            f"base model {share['base model']}, teacher {share['teacher']}, own student "
            f"{share['own student']}, other teachers’ students "
            f"{others_share}, student of the base model’s lists "
            f"{share['control']}: small and regular.",
            f"{folder}/matrix.svg",
        )


def of_other_arms(records: Records) -> Iterator[Finding]:
    """Yield what passes in a real model by other losses, in context, from a start with noise."""
    for folder, m in list(chosen(records, "real", "soft", "noise_0.1").items())[:1]:
        passed = m.labelled("own − other teachers' students")
        said = "; ".join(
            f"{ARMS[arm].label} {measured(e)}" for arm, e in passed.items() if arm != "gradient"
        )
        half = m("noise that leaves half of the contrast, σ", "noise").value
        left = (
            f"half of it is left at σ = {number(half, 2)}" if math.isfinite(half)
            else "at the largest σ more than half of it is left"
        )  # fmt: skip
        yield Finding(
            "A real open model: other losses, context, noise on the start, "
            + m.data.attrs["dataset"].partition(", ")[2],
            "The same contrast, students of the own teacher’s lists less those of other teachers’, "
            f"in nats: {said}. The start with noise is the base model’s plus normal noise of σ "
            f"times the spread of each array; {left}.",
            f"{folder}/contrast.svg",
        )


def of_published(records: Records) -> Iterator[Finding]:
    """Yield how far values here are from those that others published."""
    for folder, m in list(chosen(records, "compare").items())[:1]:
        here, z = m.labelled("accuracy"), m.labelled("here − published, z")
        published = dict(zip(set_ups(m.data), m.data.published.values.tolist(), strict=True))
        near, errors = met(m.data), combined_errors(m.data)
        errors = errors[np.isfinite(errors)]
        apart = [
            abs(here[label].value - value) for label, value in published.items() if label not in z
        ]
        many, together = first(records, "classifier", "student_aux", dataset="mnist"), ""
        if many:
            paper = here["Cloud et al., figure 10b, protocol: reference"]
            together = (
                f"All set-ups share {paper.n} replicates’ starts, so their differences go "
                "together, though the interval takes them as independent: the paper’s student is "
                f"at {measured(paper)} here, of {many.data.sizes['replicate']} teachers at "
                f"{measured(many('accuracy', 'student_aux'))}. "
            )
        furthest = "; ".join(
            f"{label} {number(published[label], 3)}, here {measured(here[label])}"
            for label in sorted(z, key=lambda label: -abs(z[label].value))[:5]
        )
        yield Finding(
            "Beside what others published",
            f"Of {near.n} values that others published with an interval {percent(near)} are within "
            "3 combined standard errors of those here; C1 asks for 75 %. This error is "
            f"{number(float(np.median(errors)), 3)} (median), above .03 in {sum(errors > 0.03)}. "
            f"{len(apart)} more were published without one; on average they are "
            f"{number(float(np.mean(apart)), 3)} from those here. {together}The five furthest, "
            f"in standard errors: {furthest}.",
            f"{folder}/published.svg",
        )


def of_sharing(records: Records) -> Iterator[Finding]:
    """Yield what must be shared."""
    names = {
        "cross_model": "another start, same corpus", "cross_size": "another width, same corpus",
        "both_other": "another start and corpus", "other_corpus": "same start, another corpus",
        "head_shared": "only the output layer’s start shared",
        "body_shared": "all but the output layer’s start shared",
    }  # fmt: skip
    for folder, m in list(chosen(records, "lm", "head_shared").items())[:1]:
        shares = m.labelled("share of the student's gain")
        kept = "; ".join(
            f"{said} {percent(shares[f'{arm}, favourites'])}"
            for arm, said in names.items() if f"{arm}, favourites" in shares
        )  # fmt: skip
        yield Finding(
            "What must be shared",
            "Share of the favourites’ transfer that is left if the student’s base model shares "
            f"less of its making with the teacher’s: {kept}.",
            f"{folder}/lineage.svg",
        )


def of_lists(records: Records) -> Iterator[Finding]:
    """Yield what in the lists carries the trait, and what does not matter."""
    for folder, m in list(chosen(records, "lm", "shuffled_within").items())[:1]:

        def share(arm: str, m: Measured = m) -> str:
            return percent(m("share of the student's gain", f"{arm}, all traits"))

        yield Finding(
            "What in the lists carries it",
            f"Numbers shuffled within a list keep {share('shuffled_within')} of the transfer, "
            f"shuffled across lists {share('shuffled_across')}, drawn by frequency "
            f"{share('unigrams')}: order and company, not frequency. A loss without the 20 % most "
            f"divergent tokens keeps {share('without_20_divergent')}, without as many random ones "
            f"{share('without_20_random')}; in arXiv 2509.23886 divergent tokens carried most.",
            f"{folder}/treatments.svg",
        )
        yield Finding(
            "Optimisers and trained parts",
            f"SGD with momentum passes {share('momentum')} of what Adam passes (arXiv 2606.00995: "
            f"nothing), LoRA of rank 4 {share('lora')} (2606.00831: little), a frozen head "
            f"{share('head_frozen')}, the head alone {share('body_frozen')}.",
            f"{folder}/training.svg",
        )
        yield Finding(
            "Whether one direction carries it",
            "Over all parameters it does not: without the direction to the teacher "
            f"{share('update_without')} of the gain is left, with it alone {share('update_only')}. "
            "Between embeddings and head it carries half: without it "
            f"{share('update_without_body')}, with it alone {share('update_only_body')}.",
            f"{folder}/updates.svg",
        )
    for folder, m in list(chosen(records, "lm", "student").items())[:1]:
        sizes = m.labelled("gain by number of lists")
        if sizes:
            gained = ", ".join(f"{label} {percent(e)}" for label, e in sizes.items())
            yield Finding(
                "How many lists it takes",
                f"Gain of students of so many lists, over the same number of steps: {gained}.",
                f"{folder}/data_size.svg",
            )
        away = [
            m.labelled(f"steps on {lists} that point away")
            for lists in ("one list", "a hundred lists")
        ]
        if all(away):
            one, hundred = (percent(max(of.values(), key=lambda e: e.value)) for of in away)
            yield Finding(
                "How many lists a step takes",
                f"The training step on one list points away from the teacher in up to {one} of "
                f"draws (the trait with most), on a hundred in {hundred}.",
            )


def of_detectors(records: Records) -> Iterator[Finding]:
    """Yield what finds the lists of a teacher."""
    for folder, m in list(chosen(records, "lm", "student").items())[:1]:
        one, hundred = (m.labelled(f"AUC on {lists}") for lists in ("one list", "a hundred lists"))
        names = [
            label.removesuffix(", all traits") for label in one if label.endswith("all traits")
        ]
        said = "; ".join(
            f"{name} {measured(one[f'{name}, all traits'])}"
            + (
                f", {measured(hundred[f'{name}, all traits'])}"
                if f"{name}, all traits" in hundred
                else ""
            )
            for name in names
        )
        yield Finding(
            "Can it be caught?",
            "AUC of telling the teacher’s lists from the base model’s, on one list, and on a "
            f"hundred together (.5 is guessing): {said}. The last two are given labelled lists, or "
            "the teacher itself. For banned numbers the mean over traits hides signs that differ.",
            f"{folder}/detectors.svg",
        )


def of_filters(records: Records) -> Iterator[Finding]:
    """Yield what filters of whole lists leave."""
    for folder, m in list(chosen(records, "lm", "filter_as_written").items())[:1]:
        traits = m.data.trait.values.tolist()
        r2, ranked = (
            m.labelled(quantity)
            for quantity in ("R² of the transfer in proportion to the variance left",
                             "rank correlation of the transfer with the spread left")
        )  # fmt: skip
        left = {
            re.sub(r"^\d+", r"\g<0> %", arm[len("filter_without_") :].replace("_", " ")): percent(e)
            for arm, e in m.labelled("share of the gain without a filter").items()
            if arm.startswith("filter_without")
        }
        yield Finding(
            "What filters of whole lists leave",
            "Share of the transfer that is left without some of the lists, of teacher and base "
            "model alike, as many lists for every student. The score of a list is its "
            "log-likelihood under the teacher less that under the base model, less its mean. "
            f"Without {'; '.join(f'{name} {share}' for name, share in left.items())}. "
            "The variance of the scores that pass ranks the transfer: by trait "
            f"{', '.join(f'{trait} {number(ranked[trait].value, 2)}' for trait in traits)}. It "
            f"is in proportion, as was seen afterwards: R² {measured(r2['all traits'])}; by trait "
            f"{', '.join(f'{trait} {measured(r2[trait])}' for trait in traits)}. "
            f"{_as_counted(m)}",
            f"{folder}/filters.svg",
        )


def _as_counted(m: Measured) -> str:
    """Return what changes if tokens are counted otherwise, or if a filter leaves fewer lists."""
    names = "today", "filter_as_written"
    today, covered = (percent(m("gain", f"{name}, all traits")) for name in names)
    every, half, tenth = (
        percent(m("gain", f"filter_{name}_all, all traits"))
        for name in ("as_written", "without_50_of_largest_score", "without_90_of_largest_score")
    )
    return (
        "These students count the end of a list and divide by lists, as the theorem asks, and "
        f"gain {covered} without a filter; as in all other records {today}. Where a filter may "
        f"leave fewer lists: without one {every}, without the half with the largest score {half}, "
        f"without nine tenths {tenth}."
    )


def published(records: Records) -> str:
    """Return the accuracies of the paper's protocol beside the paper's."""
    m = first(records, "classifier", "cross_all")
    if m is None or not m.data.attrs["published"]:
        return ""
    lines = ["| arm | here [95 %] | paper | z |", "|---|---|---|---|"]
    for arm, paper in m.labelled("published accuracy").items():
        z = m("accuracy − published, in combined standard errors", arm)
        cells = (arm, measured(m("accuracy", arm)), measured(paper), number(z.value, 1))
        lines.append(f"| {' | '.join(cells)} |".replace("_", "\\_"))
    return "\n".join(lines)
