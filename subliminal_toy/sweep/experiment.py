"""Experiments side by side in one record: at every value of a field, or as they were published."""

import difflib
import itertools
import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from subliminal_toy.classifier.arms import OTHER, OWN, TEACHER, UNTRAINED, Student, Teacher, table
from subliminal_toy.classifier.claims import final
from subliminal_toy.classifier.experiment import of_table
from subliminal_toy.classifier.training import INPUTS, LOSSES, OPTIMISERS
from subliminal_toy.data import Dataset
from subliminal_toy.errors import UserError
from subliminal_toy.experiments import EXPERIMENTS
from subliminal_toy.models import ARCHITECTURES, INITIALISERS
from subliminal_toy.record import Arrays, Experiment, Part, Result
from subliminal_toy.sweep.config import CompareConfig, SweepConfig

KINDS: dict[str, Iterable[str]] = {
    "inputs": INPUTS, "loss": LOSSES, "optimiser": OPTIMISERS, "initialiser": INITIALISERS,
    "architecture": ARCHITECTURES, "start": (OWN, OTHER), "imitates": ("auxiliary", "all"),
}  # fmt: skip
"""What the fields of rows that name something can name."""


def experiment(
    config: SweepConfig | CompareConfig,
    key: Key[Array, ""],
    data: Dataset,
    replicates_per_device: int | None = None,
) -> Experiment:
    """Return the experiment of a config; raises UserError for a field or value that is none."""
    if isinstance(config, CompareConfig):
        return comparison(config, key, data, replicates_per_device)
    return sweep(config, key, data, replicates_per_device)


def side_by_side(
    experiments: Mapping[str, Experiment],
    join: Callable[[dict[str, xr.Dataset]], xr.Dataset],
) -> Experiment:
    """Return one experiment of several: ``join`` makes its data of theirs, by their names."""

    def of(name: str, finished: Mapping[str, Arrays]) -> dict[str, Arrays]:
        prefix = f"{name}: "
        return {k.removeprefix(prefix): v for k, v in finished.items() if k.startswith(prefix)}

    def compute(name: str, part: Part, finished: Mapping[str, Arrays]) -> Arrays:
        return part.compute(of(name, finished))

    def assemble(finished: Mapping[str, Arrays]) -> Result:
        made = {name: e.assemble(of(name, finished)).data for name, e in experiments.items()}
        return Result(join(made), {})

    parts = [
        Part(f"{name}: {part.name}", part.share, partial(compute, name, part))
        for name, one in experiments.items() for part in one.parts
    ]  # fmt: skip
    return Experiment(parts, assemble)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like another."""
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)[0]


# ---------- a field varied ----------


def sweep(
    config: SweepConfig, key: Key[Array, ""], data: Dataset, replicates_per_device: int | None
) -> Experiment:
    """Return an experiment at every value, or pair of values, of its fields."""
    if not config.over or any(len(words) < 2 for words in config.over):
        raise UserError("Name a field and its values, such as --over n_aux 1 3 10.")
    entry = EXPERIMENTS[config.experiment]
    if config.base not in entry.presets:
        known = nearest(config.base, entry.presets)
        raise UserError(f"{config.experiment} has no preset '{config.base}'; it has {known}.")
    own = {"data": config.data, "n_replicates": config.n_replicates}
    base = entry.presets[config.base]
    base = replace(base, **{k: v for k, v in own.items() if v is not None and hasattr(base, k)})
    axes = {words[0]: [read(words[0], w, base) for w in spread(words[1:])] for words in config.over}

    def at(settings: Mapping[str, Any]) -> Experiment:
        of_config = {k: v for k, v in settings.items() if hasattr(base, k)}
        changed = replace(base, **of_config)
        if not hasattr(base, "arms"):
            return entry.module("experiment").experiment(changed, key, data, replicates_per_device)
        teacher, students = table(changed)
        for name, value in settings.items() - of_config.items():
            teacher = vary(teacher, "teacher", name, value)
            students = [vary(student, "student", name, value) for student in students]
        students = [on_the_line(student) for student in students]
        return of_table(teacher, students, base.n_replicates, key, data, replicates_per_device)

    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    named = {", ".join(f"{k} {shown(v)}" for k, v in point.items()): point for point in points}

    def join(made: dict[str, xr.Dataset]) -> xr.Dataset:
        placed = [
            made[name].drop_vars(list(axes), errors="ignore")
            .expand_dims({k: [shown(v)] for k, v in point.items()})
            for name, point in named.items()
        ]  # fmt: skip
        if len(axes) == 2:
            n = len(list(axes.values())[1])
            placed = [placed[i : i + n] for i in range(0, len(placed), n)]
        joined = xr.combine_nested(
            placed, list(axes), data_vars="all", coords="different", compat="equals",
            join="outer", combine_attrs="drop_conflicts",
        )  # fmt: skip
        return joined.assign_attrs(experiment=config.experiment, over=" ".join(axes))

    return side_by_side({name: at(point) for name, point in named.items()}, join)


def shown(value: Any) -> Any:
    """Return a value as an axis of a record can hold it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def spread(words: Sequence[str]) -> Iterator[str]:
    """Yield the values that are asked for; a..b is two a decade, ends included."""
    for word in words:
        low, dots, high = word.partition("..")
        if not dots:
            yield word
            continue
        try:
            ends = float(low), float(high)
            n = math.ceil(2 * math.log10(ends[1] / ends[0]) - 1e-9) + 1
            values = np.geomspace(*ends, n)
        except (ValueError, ZeroDivisionError) as error:
            raise UserError(f"{word} is no range: write two rising numbers, 1e-4..1e-2.") from error
        whole = low.isdigit() and high.isdigit()
        yield from (str(round(v)) if whole else f"{v:.3g}" for v in values)


def read(name: str, word: str, base: Any) -> Any:
    """Return the value of a field of a config, or of a row of the classifier, from a word."""
    rows = {"teacher": Teacher(), "student": Student("")} if hasattr(base, "arms") else {}
    defaults: dict[str, Any] = {f.name: getattr(base, f.name) for f in fields(base)}
    for holder, row in rows.items():
        own = {k: v for k, v in asdict(row).items() if k not in ("name", "checkpoints")}
        defaults |= {f"{holder}.{k}": v for k, v in own.items()}
        defaults |= {k: v for k, v in own.items() if k not in defaults}
    if name not in defaults:
        raise UserError(f"There is no field '{name}'; the nearest is {nearest(name, defaults)}.")
    default: Any = 1 if defaults[name] is None else defaults[name]
    kind: Any = type(default)
    known = KINDS.get(name.rpartition(".")[2])
    if known is not None and kind is str and word not in known:
        raise UserError(f"{name} has no '{word}'; the nearest is {nearest(word, known)}.")
    try:
        if kind is tuple:
            return tuple(msgspec.convert(part, type(default[0]), strict=False)
                         for part in word.split(","))  # fmt: skip
        value: Any = msgspec.convert(word, kind, strict=False)
    except (msgspec.ValidationError, IndexError) as error:
        raise UserError(f"{name} takes {kind.__name__}, not '{word}'.") from error
    if kind in (int, float) and value < (kind is int):
        raise UserError(f"{name} must be at least {int(kind is int)}, not {word}.")
    return value


def on_the_line(student: Student) -> Student:
    """Return a student whose displacement is split if it imitates auxiliary logits alone."""
    return replace(student, split=student.imitates == "auxiliary")


def vary(row: Any, holder: str, name: str, value: Any) -> Any:
    """Return a row with a field changed, if the name is of its field."""
    whose, _, field = name.rpartition(".")
    meant = whose in ("", holder) and field in {f.name for f in fields(row)}
    return replace(row, **{field: value}) if meant else row


# ---------- published set-ups ----------

REFERENCE = Teacher(n_aux=100)
"""The paper's teacher; its training does not depend on how many auxiliary logits it has."""
STUDENTS: dict[str, dict[str, Any]] = {
    "aux": {}, "all": {"imitates": "all"}, "cross": {"start": OTHER},
    "cross_all": {"imitates": "all", "start": OTHER}, "through_teacher": {},
}  # fmt: skip
"""Names of published values and what their students imitate, from which start."""


@dataclass(frozen=True)
class Published:
    """A published value of one network: its mean and 95 % half-width (or not a number)."""

    source: str
    factor: str
    of: str
    teacher: Teacher
    student: Student | None
    value: float
    half_width: float

    @property
    def measure(self) -> str:
        """Name of the variable that it is a value of."""
        return "teacher_head_accuracy" if self.of == "through_teacher" else "accuracy"

    @property
    def setup(self) -> str:
        """What differs from the reference protocol, in words."""
        taught = different(self.teacher, REFERENCE, "teacher’s ")
        return ", ".join(filter(None, (taught, self.student.name if self.student else self.of)))


def different(row: Any, from_: Any, prefix: str = "") -> str:
    """Return the fields in which a row differs from another, in words."""
    theirs = asdict(from_)
    return ", ".join(
        f"{prefix}{k.replace('_', ' ')} {shown(v)}" for k, v in asdict(row).items()
        if v != theirs[k] and k != "name"
    )  # fmt: skip


def published() -> list[Published]:
    """Return all values of ``compare.toml``."""
    text = (Path(__file__).parent / "compare.toml").read_text(encoding="utf-8")
    values = []
    for block in tomllib.loads(text)["block"]:
        for setup in block["setups"]:
            teacher = replace(REFERENCE, **_settings("teacher", block, setup))
            for of, (value, *half_width) in setup.items():
                if of in ("teacher", "student", "both"):
                    continue
                student = None
                if of in STUDENTS:
                    own = {**_settings("student", block, setup), **STUDENTS[of]}
                    usual = Student("reference", n_aux=3)
                    student = replace(usual, **own)
                    student = replace(student, name=different(student, usual) or usual.name)
                half = half_width[0] if half_width else math.nan
                set_up = block["source"], block["factor"], of, teacher, student
                values.append(Published(*set_up, value, half))
    return values


def _settings(holder: str, *levels: Mapping[str, Any]) -> dict[str, Any]:
    every = (level.get(name, {}) for name in ("both", holder) for level in levels)
    changed = {k: v for settings in every for k, v in settings.items()}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in changed.items()}


def comparison(
    config: CompareConfig, key: Key[Array, ""], data: Dataset, replicates_per_device: int | None
) -> Experiment:
    """Return the published set-ups of some factors, those of one teacher trained together."""
    values = published()
    known = {value.factor for value in values}
    for factor in config.factors:
        if factor not in known:
            close = nearest(factor, known)
            raise UserError(f"There is no factor '{factor}'; the nearest is {close}.")
    chosen = [v for v in values if v.factor in (config.factors or known)]
    students: dict[Teacher, dict[str, Student]] = {}
    for value in chosen:
        own = students.setdefault(value.teacher, {})
        if value.student is not None:
            own[value.student.name] = on_the_line(value.student)
    names = {teacher: different(teacher, REFERENCE) or "reference" for teacher in students}
    made = {
        names[teacher]: of_table(
            teacher, tuple(own.values()), config.n_replicates, key, data, replicates_per_device
        )
        for teacher, own in students.items()
    }

    def join(results: dict[str, xr.Dataset]) -> xr.Dataset:
        by_teacher = [
            final(result).assign_coords(arm=[f"{name} | {arm}" for arm in result.arm.values])
            for name, result in results.items()
        ]
        joined: Any = xr.concat(by_teacher, "arm", combine_attrs="drop_conflicts")
        network = {"untrained": UNTRAINED, "teacher_itself": TEACHER}
        arms = [
            f"{names[v.teacher]} | {v.student.name if v.student else network[v.of]}" for v in chosen
        ]
        columns = {
            "published_arm": arms,
            "published_measure": [v.measure for v in chosen],
            "published": [v.value for v in chosen],
        }
        for name in ("source", "factor", "setup", "half_width"):
            columns[name] = [getattr(v, name) for v in chosen]
        return joined.assign({k: ("value", v) for k, v in columns.items()})

    return side_by_side(made, join)
