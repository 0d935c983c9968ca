"""What a result says: the paper's claims M1, M2, G1, our prediction E6, and all estimates."""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.claims import Bound, Claim, Condition, Lower, Mean, Row, Upper, Within
from subliminal_toy.classifier.arms import (
    CHAIN_N_AUX,
    CHAINS,
    CHANGES,
    FREE,
    GENERATIONS,
    KINDS,
    LAYERS,
    LOSSES,
    MATCHED_N_AUX,
    N_AUX,
    OTHER,
    OTHERWISE,
    OWN,
    PUBLISHED,
    REFERENCE,
    SAME,
    TEACHER,
    UNTRAINED,
    WITHOUT_OWN,
    generation,
    origins,
)
from subliminal_toy.data import N_CLASSES
from subliminal_toy.stats import Estimate

CHANCE = 1 / N_CLASSES
FIRST_STUDIED = ("digits", "mnist")
"""Data sets on which an MLP is M1 and M2; any other network or data set is G1."""
FACTORS = ("optimiser", "learning_rate", "n_aux", "n_inputs", "inputs", "loss", "distance", "step")
"""What is varied about the students of E6: coordinates of a result."""
LINE = "line"
"""The split of a student's displacement along its teacher's."""
LEARNED = 0.2
"""Gain in accuracy from which on a training counts as one that passes something on."""


def final(data: Any) -> Any:
    """Return every arm of a result, or of one of its variables, at its end."""
    return data.sel(step=data.final_step).drop_vars("step")


def accuracy(data: xr.Dataset, arm: str, minus: str = "") -> Estimate:
    """Return the estimate of an arm's accuracy at its end, or of its difference, paired."""
    at_end = final(data).accuracy.astype(float)
    return stats.estimate(at_end.sel(arm=arm) - (at_end.sel(arm=minus) if minus else 0))


def is_published(data: xr.Dataset) -> bool:
    """Whether a result has the arms of the paper."""
    return "student_aux" in data.arm


def is_first_studied(data: xr.Dataset) -> bool:
    """Whether network and data set are those of M1 and M2."""
    return data.attrs["architecture"] == "mlp" and data.attrs["dataset"] in FIRST_STUDIED


def is_explained(data: xr.Dataset) -> bool:
    """Whether a result has the students of E6, their displacements split."""
    return "split" in data.coords and FREE in data.arm


# E6: the teacher's line, and the rest.


def explained(data: xr.Dataset) -> xr.Dataset:
    """Return the students of E6, to whose updates nothing was done, at the steps of their own."""
    students = data.isel(arm=(data["update"] == "all").values)
    students = students.dropna("step", how="all", subset=["accuracy"])
    return students.transpose("replicate", "arm", "step", ...)


def alone(data: xr.Dataset, part: str, split: str = LINE) -> xr.DataArray:
    """Return the accuracy of a part of a split alone: ``along``, ``rest`` or their ``sum``."""
    return data[f"{part}_accuracy"].sel(split=split)


def r2(measured: xr.DataArray, guess: xr.DataArray) -> Estimate:
    """Return R² of a guess of every replicate, arm and step; its interval is over replicates."""
    axes = [axis for axis in measured.dims if axis != "replicate"]
    y, error = measured.astype(float), (measured.astype(float) - guess) ** 2
    y = y.where(error.notnull())
    sums = [term.sum(axes).values for term in (y.notnull(), y, y**2, error)]

    def statistic(means: np.ndarray) -> np.ndarray:
        n, y, squares, error = np.moveaxis(means, -1, 0)
        return 1 - error / (squares - y**2 / n)

    return stats.bootstrap(statistic, np.stack(sums, 1).astype(float))


def levels(data: xr.Dataset, factor: str) -> dict[str, np.ndarray]:
    """Return which students, for ``step`` which steps, are of each level of a factor."""
    values = data[factor]
    texts = values.astype(str) if values.dtype.kind in "OU" else [f"{v:g}" for v in values.values]
    special = {"n_inputs": (data.fresh == 1, "fresh"), "inputs": (data.input_scale != 1, "scaled")}
    where, word = special.get(factor, (np.full(values.shape, False), ""))
    names = np.where(where, word, texts)
    return {f"{factor}: {name}": names == name for name in np.unique(names)}


def additive(data: xr.Dataset) -> Estimate:
    """Return R² of the accuracy of the sum."""
    students = explained(data)
    return r2(students.accuracy, alone(students, "sum"))


def errors(data: xr.Dataset) -> dict[str, float]:
    """Return the root mean square error of the sum in every level of every factor."""
    squares = ((data.accuracy.astype(float) - alone(data, "sum")) ** 2).values
    return {
        name: float(np.nanmean(np.compress(mask, squares, 2 if factor == "step" else 1)) ** 0.5)
        for factor in FACTORS
        for name, mask in levels(data, factor).items()
    }


def largest_error(data: xr.Dataset) -> Estimate:
    """Return the largest of these errors; n counts the students."""
    students = explained(data)
    return stats.without_interval(max(errors(students).values()), students.sizes["arm"])


def gains(data: xr.Dataset, part: xr.DataArray) -> np.ndarray:
    """Return by replicate and student how far a part ends above the untrained network."""
    untrained = final(data.accuracy).sel(arm=UNTRAINED).values.astype(float)
    return final(part).values.astype(float) - untrained[:, None]


def share(rest: np.ndarray, whole: np.ndarray, chosen: np.ndarray) -> Estimate:
    """Return the gain of the rest alone as a share of the student's, both averaged over some.

    Not a number if there are none.
    """
    if not chosen.any():
        return stats.without_interval(np.nan, len(whole))
    return stats.ratio(rest[:, chosen].mean(1), whole[:, chosen].mean(1))


def rest_alone(data: xr.Dataset) -> Estimate:
    """Return that share over the students of E6 whose mean gain is at least ``LEARNED``."""
    students = explained(data)
    whole = gains(data, students.accuracy)
    return share(gains(data, alone(students, "rest")), whole, whole.mean(0) >= LEARNED)


def between_replicates(data: xr.Dataset, guess: xr.DataArray) -> Estimate:
    """Return the squared correlation of accuracy and a guess between replicates of one student.

    Of all students at all steps; each deviation is from the mean over replicates.
    """
    y, q = (
        (array - array.mean("replicate")).fillna(0).transpose("replicate", ...).values
        for array in (data.accuracy.astype(float), guess.astype(float))
    )

    axes = tuple(range(1, y.ndim))
    sums = (product.sum(axes) for product in (y * q, y**2, q**2))
    return stats.bootstrap(lambda yq, yy, qq: yq**2 / (yy * qq), *sums)


def on_a_curve(measured: xr.DataArray, predictor: xr.DataArray, rising: bool = True) -> Estimate:
    """Return R² of one monotone curve of a predictor, fitted to the other replicates."""
    x, y = (array.values.astype(float) for array in (predictor, measured))
    guess = [
        stats.curve(np.delete(x, r, 0), np.delete(y, r, 0), x[r], rising) for r in range(len(y))
    ]
    return r2(measured, measured.copy(data=np.stack(guess)))


# D1 to D6: what others disagree about.

HEADS = {"own class head": "accuracy", "teacher's class head": "teacher_head_accuracy"}
"""Class heads through which a student is read, and the variables."""


def is_disputed(data: xr.Dataset) -> bool:
    """Whether a result has the students of the disputes."""
    return SAME in data.arm


def by_origin(data: xr.Dataset, head: str) -> xr.DataArray:
    """Return the accuracy of the students of every start, through a class head.

    Axes: each of ``LAYERS`` (own, other), then m, loss and replicate.
    """
    starts = itertools.product((OWN, OTHER), repeat=len(LAYERS))
    arms = [origins(start, m, loss) for start in starts for m in N_AUX for loss in LOSSES]
    read = final(data)[HEADS[head]].sel(arm=arms).transpose("arm", "replicate").values
    axes = {layer: [OWN, OTHER] for layer in LAYERS} | {"m": [*N_AUX], "loss": [*LOSSES]}
    shape = [len(levels) for levels in axes.values()]
    return xr.DataArray(read.astype(float).reshape(*shape, -1), axes, (*axes, "replicate"))


def effect(values: xr.DataArray, *layers: str) -> xr.DataArray:
    """Return by replicate what sharing a layer's start adds, means over all else.

    Of several layers their interaction: by how much more that is where the others are shared.
    """
    for layer in layers:
        values = values.sel({layer: OWN}) - values.sel({layer: OTHER})
    return values.mean([axis for axis in values.dims if axis != "replicate"])


def heads_alone(data: xr.Dataset, n_aux: int) -> Estimate:
    """Return the accuracy of students that share both heads' starts alone, mean over losses."""
    cell = dict(zip(LAYERS, (OTHER, OTHER, OWN, OWN), strict=True)) | {"m": n_aux}
    return stats.estimate(by_origin(data, "teacher's class head").sel(cell).mean("loss"))


def kept(data: xr.Dataset, arm: str) -> Estimate:
    """Return the gain of a student over the untrained network as a share of that of ``SAME``."""
    at_end = final(data).accuracy.astype(float)
    gain = at_end - at_end.sel(arm=UNTRAINED)
    return stats.ratio(gain.sel(arm=arm), gain.sel(arm=SAME))


def beyond(data: xr.Dataset, kind: str, n_aux: int, match: str) -> np.ndarray:
    """Return accuracy of a kind of student less the reference's where they match.

    By replicate and step. Between its checkpoints, and from the untrained network on, the
    reference's accuracy is linear in its progress, or in its loss, a share of the first one, both
    as far as it has ever come; not a number where the other is farther.
    """
    steps = data.accuracy.sel(arm=f"{REFERENCE}, m {n_aux}").dropna("step", how="all").step
    student, reference = (
        data.sel(arm=f"{name}, m {n_aux}", step=steps).transpose("replicate", "step", ...)
        for name in (kind, REFERENCE)
    )
    own, known = student.accuracy.values, reference.accuracy.values
    if match == "step":
        return own - known
    come, levels = (
        (arm.progress if match == "progress" else 1 - arm.imitation_loss / arm.first_loss).values
        for arm in (student, reference)
    )
    untrained = data.accuracy.sel(arm=UNTRAINED, step=0).values
    levels = np.maximum.accumulate(np.insert(levels, 0, 0.0, 1), 1)
    rows = zip(come, levels, np.insert(known, 0, untrained, 1), strict=True)
    return own - np.stack([np.interp(*row, right=np.nan) for row in rows])


def apart(data: xr.Dataset, match: str) -> Estimate:
    """Return the root mean square of ``beyond`` as a share of the one at equal steps.

    Over kinds, logits and the steps at which ``match`` can be compared.
    """
    matched, at_step = (
        np.concatenate(
            [beyond(data, kind, m, what) for kind in KINDS for m in MATCHED_N_AUX], 1, dtype=float
        )
        for what in (match, "step")
    )
    compared = np.isfinite(matched)
    sums = [(array**2).sum(1, where=compared) for array in (matched, at_step)]
    return stats.bootstrap(lambda matched, at_step: (matched / at_step) ** 0.5, *sums)


def along_chains(data: xr.Dataset) -> xr.Dataset:
    """Return accuracy of every generation, and of the line at the product of progress so far.

    Axes: replicate, generation and m. A generation's progress is along its own teacher's line, the
    line that of the first teacher.
    """
    axes = {"generation": list(GENERATIONS), "m": list(CHAIN_N_AUX)}
    students = final(data).sel(arm=[row.name for row in CHAINS]).transpose("replicate", "arm", ...)
    accuracy, progress = (
        students[name].values.astype(float).reshape(-1, *map(len, axes.values()))
        for name in ("accuracy", "progress")
    )
    product = np.cumprod(progress, 1)
    lines = data.line_accuracy.transpose("replicate", "q").values
    guess = [np.interp(q, data.q.values, line) for q, line in zip(product, lines, strict=True)]
    made = {"accuracy": accuracy, "product": product, "line": np.stack(guess)}
    return xr.Dataset({name: (("replicate", *axes), a) for name, a in made.items()}, axes)


def chain_r2(data: xr.Dataset) -> Estimate:
    """Return R² of the line at the product of progress, of all generations but the first."""
    students = along_chains(data).sel(generation=slice(2, None))
    return r2(students.accuracy, students.line)


def chain_error(data: xr.Dataset, n_aux: int) -> Estimate:
    """Return the mean of accuracy less the line's over all generations but the first."""
    students = along_chains(data).sel(m=n_aux, generation=slice(2, None))
    return stats.estimate((students.accuracy - students.line).mean("generation"))


def half_life(gains: np.ndarray) -> Estimate:
    """Return the generations in which a gain halves, of a curve fitted to its logarithm.

    ``gains`` are by replicate and generation; the curve goes through their means over replicates.
    """

    def statistic(means: np.ndarray) -> np.ndarray:
        numbers = np.arange(means.shape[-1]) - (means.shape[-1] - 1) / 2
        slope = (np.log2(np.maximum(means, 1e-3)) * numbers).sum(-1) / (numbers**2).sum()
        return -1 / slope

    return stats.bootstrap(statistic, gains)


LEARNS = (
    Condition(
        "student_aux − cross_aux, paired",
        partial(accuracy, arm="student_aux", minus="cross_aux"),
        Lower(above=0.1),
    ),
    Condition("student_aux", partial(accuracy, arm="student_aux"), Mean(at_least=0.2)),
)
NEAR_CHANCE = Within(CHANCE - 0.06, CHANCE + 0.06)
STAYS = (Condition("cross_aux", partial(accuracy, arm="cross_aux"), NEAR_CHANCE),)

ON_THE_LINE = (
    Condition(
        "R² of the accuracy of the sum, a point for every replicate, training and checkpoint",
        additive,
        Mean(at_least=0.95),
        fewest=12,
    ),
    Condition(
        "root mean square error of the accuracy of the sum in the level of a factor where it is "
        "largest, over the trainings",
        largest_error,
        Mean(at_most=0.06),
        fewest=30,
        interval=False,
    ),
    Condition(
        "gain of the rest alone over the untrained network, as a share of the student's, over the "
        "trainings that end at least 0.2 above it",
        rest_alone,
        Upper(0.25),
        fewest=12,
    ),
)

paper = partial(Claim, source="section 6.2, figure 10b")
disputed = partial(
    Claim, source="docs/explain-settings.md, disputes", kind="prediction", applies=is_disputed
)
of_sixteen = partial(Condition, fewest=16)


def share_left(words: str, arm: str, bound: Bound) -> Condition:
    """Return a condition of ``kept``."""
    return of_sixteen(f"share of the gain {words}", partial(kept, arm=arm), bound)


earlier = partial(
    Claim, source="proofs/README.md, section 15", kind="prediction", commits="8b10bb5, 2d0370c"
)
CLAIMS = (
    paper(
        "M1",
        "A student trained on noise, to copy outputs without meaning, learns to classify digits",
        conditions=LEARNS,
        applies=lambda data: is_published(data) and is_first_studied(data),
        commits="86c5baf",
        paper="53 %",
    ),
    paper(
        "M2",
        "From another start it stays at chance",
        conditions=STAYS,
        applies=lambda data: is_published(data) and is_first_studied(data),
        fixed="no",
        commits="5bcb1af",
        paper="11 %",
    ),
    paper(
        "G1",
        "The same with another network",
        conditions=LEARNS + STAYS,
        applies=lambda data: is_published(data) and not is_first_studied(data),
        fixed="no",
        commits="5bcb1af",
    ),
    Claim(
        "E6",
        "All that a student of auxiliary logits knows lies on its teacher's line, and what it adds "
        "to the line knows little",
        "docs/explain-settings.md, E6",
        ON_THE_LINE,
        kind="prediction",
        applies=is_explained,
    ),
    disputed(
        "D1",
        "Shared heads without the shared layers below them pass nothing through few auxiliary "
        "logits, and pass on what they know through nearly as many as there are features",
        conditions=(
            of_sixteen(
                "both heads shared alone, 3 logits, accuracy through the teacher's class head",
                partial(heads_alone, n_aux=3),
                Upper(CHANCE + 0.06),
            ),
            of_sixteen("the same, 50 logits", partial(heads_alone, n_aux=50), Lower(CHANCE + 0.06)),
        ),
    ),
    disputed(
        "D2",
        "To put the hidden units of one layer in another order destroys what is shared",
        conditions=tuple(
            share_left(f"with the {layer} relabelled", f"{layer} relabelled", Upper(0.25))
            for layer in LAYERS[:2]
        ),
    ),
    disputed(
        "D3",
        "Optimiser, loss, their scales and the student's weight decay matter by how far they get "
        "the student along its teacher's line",
        conditions=(
            of_sixteen(
                "root mean square difference from Adam's student at equal progress, as a share of "
                "that at equal steps",
                partial(apart, match="progress"),
                Upper(0.5),
            ),
        ),
    ),
    disputed(
        "D4",
        "A start is close enough if what is added is less than half of it, not if it is as large",
        conditions=(
            share_left("at σ = 0.3", "distance 0.3", Lower(0.5)),
            share_left("at σ = 1", "distance 1", Upper(0.5)),
        ),
    ),
    disputed(
        "D5",
        "The number of distinct noise images matters, at the same number of steps",
        conditions=(
            share_left("with 512 images", "512 images", Upper(1.0)),
            share_left("with fresh ones", "fresh images", Lower(1.0)),
        ),
    ),
    disputed(
        "D6",
        "In a chain of students each knows what the first teacher's line knows at the product of "
        "their progress",
        conditions=(
            of_sixteen("R² of the accuracy, generations 2 to 6", chain_r2, Mean(at_least=0.9)),
            *(
                of_sixteen(
                    f"accuracy − accuracy on the line, m = {m}",
                    partial(chain_error, n_aux=m),
                    Within(-0.1, 0.1),
                )
                for m in CHAIN_N_AUX
            ),
        ),
    ),
)


def asked(what: str, bound: Bound, fewest: int) -> Condition:
    """Return a condition by which no run is judged any more: it has no estimate."""
    return Condition(what, lambda _: stats.without_interval(np.nan, 0), bound, fewest)


EARLIER = (
    earlier(
        "E1",
        "For one network, the accuracy of students of auxiliary logits is one rising curve of "
        "their progress along the teacher's displacement",
        conditions=(
            asked(
                "R² of a rising curve of accuracy on progress, every level of every factor and the "
                "scored replicate left out, a point for every replicate and checkpoint",
                Mean(at_least=0.9),
                8,
            ),
            asked(
                "root mean square error of the level where it is largest, over the students",
                Mean(at_most=0.06),
                20,
            ),
        ),
    ),
    earlier(
        "E2",
        "Without the one component of its steps along the teacher's displacement a student gains "
        "little; with that component alone it gains as much as the free student at equal progress",
        conditions=(
            asked("(without − untrained) − 0.25 (free − untrained)", Upper(0.0), 8),
            asked("only − free, mean over equal progress", Lower(-0.1), 8),
            asked("without random − free", Within(-0.05, 0.05), 8),
            asked("without own − free", Within(-0.05, 0.05), 8),
        ),
    ),
    earlier(
        "P1",
        "How much students of Adam take over from inputs of one scale can be ranked before any of "
        "them is trained, by the network linearised at their start",
        conditions=(
            asked(
                "Spearman's rank correlation of predicted and measured accuracy, replicate means",
                Mean(at_least=0.95),
                8,
            ),
            asked("share of the conditions below accuracy 0.2", Mean(at_most=1 / 3), 24),
        ),
    ),
)
"""Claims that E6 replaces, as they were judged: their records hold the verdicts."""


def estimates(data: xr.Dataset) -> Iterator[Row]:
    """Yield every quantity of a result that is shown."""
    at_end = final(data)
    quantities = {
        "accuracy": at_end.accuracy,
        "accuracy through the teacher's class head": at_end.teacher_head_accuracy,
        "progress": at_end.progress,
    }
    if "rho" in data:
        quantities["ρ of the teacher"] = data.rho
    if "split" in data.coords and not is_explained(data):  # of which E6 says more
        quantities["accuracy on the line"] = alone(at_end, "along")
        quantities["accuracy of the sum"] = alone(at_end, "sum")
    arms = data.arm.values.tolist()
    if is_disputed(data):  # of which the rows below say more
        quantities = {name: quantities[name] for name in ("accuracy", "progress")}
        arms = [UNTRAINED, TEACHER, SAME, *(row.name for row in CHAINS)]
    for quantity, variable in quantities.items():
        for arm in arms:
            values = variable.sel(arm=arm)
            learned = quantity == "accuracy" or arm not in (UNTRAINED, TEACHER)
            if values.notnull().any() and learned:
                yield Row(quantity, arm, stats.estimate(values))
    if is_published(data):
        yield from of_the_paper(data)
    if is_explained(data):
        yield from of_the_line(data)
    if is_disputed(data):
        yield from of_disputes(data)
        yield from of_matched(data)
        yield from of_chains(data)


def of_the_paper(data: xr.Dataset) -> Iterator[Row]:
    """Yield imitation loss of the paper's arms, and the distance to its values if comparable."""
    at_end = final(data)
    left = at_end.imitation_loss / data.first_loss
    for arm in ("student_aux", "student_all", "cross_aux", "cross_all"):
        share = "share of the imitation loss left, mean of ratios"
        yield Row(share, arm, stats.estimate(left.sel(arm=arm)))
    squared = "squared correlation of accuracy and progress between replicates"
    aux = at_end.sel(arm="student_aux")
    yield Row(squared, "student_aux", between_replicates(aux, aux.progress))
    for arm, (mean, half_width) in PUBLISHED.items() if data.attrs["published"] else ():
        values = at_end.accuracy.sel(arm=arm)
        error = np.hypot(stats.standard_error(values), half_width / 1.96)
        z = stats.without_interval((stats.estimate(values).value - mean) / error, values.size)
        paper = Estimate(mean, mean - half_width, mean + half_width, 100)
        yield Row("published accuracy", arm, paper)
        yield Row("accuracy − published, in combined standard errors", arm, z)


def of_the_line(data: xr.Dataset) -> Iterator[Row]:
    """Yield what E6 is about, its nulls and its rivals."""
    students = explained(data)
    measured = students.accuracy
    splits = data.split.values.tolist()
    guesses = {f"sum, {split}": alone(students, "sum", split) for split in splits}
    guesses |= {"line alone": alone(students, "along")}
    guesses |= {"linearised network": students.linearised_accuracy}
    for label, guess in guesses.items():
        yield Row("R² of the accuracy, nothing fitted", label, r2(measured, guess))
    balanced = students.balanced_accuracy
    for part, label in (("sum", "sum, line"), ("along", "line alone")):
        guess = students[f"balanced_{part}_accuracy"]
        yield Row("R² of the balanced accuracy, nothing fitted", label, r2(balanced, guess))
    for level, error in errors(students).items():
        estimate = stats.without_interval(error, students.sizes["replicate"])
        yield Row("root mean square error of the accuracy of the sum", level, estimate)

    on_curve = "R² of the accuracy on a curve, replicate left out"
    for name in ("progress", "cosine", "length"):
        yield Row(on_curve, name, on_a_curve(measured, students[name]))
    plain = (
        (students.inputs == "uniform") & (students.input_scale == 1) & (students.fresh == 0)
        & (students.loss == "kl") & (students.distance == 0)
        & (students.n_inputs == students.n_inputs.max())
    )  # fmt: skip
    for n_aux in np.unique(students.n_aux.values):
        alike = students.isel(arm=(plain & (students.n_aux == n_aux)).values)
        for name in ("progress", "imitation_loss") if alike.sizes["arm"] > 1 else ():
            fit = on_a_curve(alike.accuracy, alike[name], rising=name == "progress")
            yield Row(on_curve, f"{name}, {n_aux:g} logits, all uniform inputs", fit)
    fit = on_a_curve(balanced, students.progress)
    yield Row("R² of the balanced accuracy on a curve, replicate left out", "progress", fit)
    for label, guess in (("progress", students.progress), ("line", alone(students, "along"))):
        squared = f"squared correlation of accuracy and {label} between replicates"
        yield Row(squared, "each student at each step", between_replicates(students, guess))

    of_rest, whole = "share of the gain that the rest alone has", gains(data, measured)
    learned = whole.mean(0) >= LEARNED
    rest = {split: gains(data, alone(students, "rest", split)) for split in splits}
    for split in splits:
        yield Row(of_rest, f"all, {split}", share(rest[split], whole, learned))
    of_balanced = gains(data, students.balanced_rest_accuracy), gains(data, balanced)
    yield Row(of_rest, "all, line, balanced", share(*of_balanced, learned))
    strata = {name: students.arm.values == name for name in students.arm.values}
    for factor in FACTORS[:-1]:
        strata |= levels(students, factor)
    for name, chosen in strata.items():
        if (learned & chosen).any():
            yield Row(of_rest, name, share(rest[LINE], whole, learned & chosen))

    free, without = (final(data).sel(arm=arm) for arm in (FREE, WITHOUT_OWN))
    further = stats.estimate(without.progress - free.progress)
    yield Row("progress", f"{WITHOUT_OWN} − {FREE}", further)
    for name, student in ((FREE, free), (WITHOUT_OWN, without)):
        ahead = student.accuracy.astype(float) - alone(student, "along")
        yield Row("accuracy − accuracy on the line", name, stats.estimate(ahead))


def of_disputes(data: xr.Dataset) -> Iterator[Row]:
    """Yield effects of starts, their interactions, and what is left of the gain otherwise."""
    for head in HEADS:
        read = by_origin(data, head)
        for number, quantity in ((1, "effect of a shared start"), (2, "interaction of starts")):
            for layers in itertools.combinations(LAYERS, number):
                label = f"{' and '.join(layers)}, {head}"
                yield Row(quantity, label, stats.estimate(effect(read, *layers)))
                for m, loss in itertools.product(N_AUX, LOSSES) if number == 1 else ():
                    some = effect(read.sel(m=m, loss=loss), *layers)
                    yield Row(quantity, f"{label}, m {m}, {loss}", stats.estimate(some))
    for m in N_AUX:
        yield Row("both heads shared alone, teacher's class head", f"m {m}", heads_alone(data, m))
    for student in OTHERWISE:
        yield Row("share of the gain of the same start", student.name, kept(data, student.name))
    for changes in CHANGES.values():
        for change, arm in changes.items():
            yield Row("effect on accuracy", change, accuracy(data, arm, minus=SAME))


def of_matched(data: xr.Dataset) -> Iterator[Row]:
    """Yield how far students are from the reference at equal steps, progress and loss."""
    for match in ("progress", "loss"):
        differing = "difference from Adam as a share of that at equal steps"
        yield Row(differing, f"at equal {match}", apart(data, match))
    for match, kind in itertools.product(("step", "progress", "loss"), KINDS):
        logits = [beyond(data, kind, m, match) for m in MATCHED_N_AUX]
        differences = np.concatenate(logits, 1)
        if kind != REFERENCE and np.isfinite(differences).any(1).all():
            mean = stats.estimate(np.nanmean(differences, 1))
            yield Row(f"accuracy − Adam's at equal {match}", kind, mean)


def of_chains(data: xr.Dataset) -> Iterator[Row]:
    """Yield R² of the line, and by number of logits accuracy by generation and its half-life."""
    students, r_squared = along_chains(data), "R² of the accuracy in chains, nothing fitted"
    yield Row(r_squared, "line at the product", chain_r2(data))
    later = final(data).sel(arm=[row.name for row in CHAINS if row.teacher != TEACHER])
    for part, label in (("along", "line of the own teacher"), ("sum", "sum, own teacher")):
        yield Row(r_squared, label, r2(later.accuracy, alone(later, part)))
    untrained = final(data).accuracy.sel(arm=UNTRAINED)
    for m in CHAIN_N_AUX:
        yield Row("accuracy − accuracy of the line there", f"m {m}", chain_error(data, m))
        for number in GENERATIONS:
            label, there = generation(number, m), students.sel(m=m, generation=number)
            yield Row("product of progress", label, stats.estimate(there["product"]))
            yield Row("accuracy of the line there", label, stats.estimate(there.line))
        for name, variable in (("students", "accuracy"), ("line", "line")):
            gained = students[variable].sel(m=m) - untrained
            half = half_life(gained.transpose("replicate", "generation").values)
            yield Row("generations in which the gain halves", f"{name}, m {m}", half)
