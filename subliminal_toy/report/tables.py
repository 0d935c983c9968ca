"""The rows of the claims table, and how numbers are written."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from subliminal_toy.records import Record

Records = Mapping[str, Record]
"""Records by their folders, as the reader will write them."""

WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
SECTIONS: dict[str, Any] = {k: WORDS[k] for k in ("classifier", "theorem", "explain", "lm")}
"""The page's sections in order, by experiment."""
ORDER = "TMEPLG"
"""First letters of the claims' ids, as tables are sorted."""


class ClaimRow(NamedTuple):
    """A line of the claims table, as text.

    ``name`` is the claim in few words, ``passes`` its criterion, ``measures`` what ``measured`` is;
    ``treated`` and ``control`` are the means that are compared, "–" where there are none. ``fixed``
    says whether the criterion was fixed before the first run, ``reason`` why a claim is not tested;
    ``figure`` is "" where no figure shows the claim.
    """

    id: str
    name: str
    statement: str
    dataset: str
    setting: str
    treated: str
    control: str
    measures: str
    measured: str
    n: str
    passes: str
    criterion: str
    verdict: str
    reason: str
    fixed: str
    record: str
    figure: str


def supplements(records: Records) -> set[str]:
    """Return the folders of records whose very models another one has, with more traits.

    Of these only what the other lacks is shown.
    """

    def models(record: Record) -> tuple:
        config = record.manifest["config"]
        rest = {name: config[name] for name in config.keys() - {"traits", "families"}}
        return record.manifest["experiment"], record.manifest["seed"], rest

    def traits(record: Record) -> set[str]:
        return set(record.manifest["config"].get("traits", ()))

    return {
        folder
        for folder, record in records.items()
        for other in records.values()
        if models(record) == models(other) and traits(record) < traits(other)
    }


def claims_rows(records: Records) -> list[ClaimRow]:
    """Return the claims of all records: the one source of terminal, README and page."""
    extra = supplements(records)
    claims = [(f, r, claim) for f, r in records.items() for claim in r.summary["claims"]]
    judged = {(r.manifest["experiment"], c["id"]) for f, r, c in claims if f not in extra}
    return [
        _row(folder, record, claim)
        for folder, record, claim in claims
        if folder not in extra or (record.manifest["experiment"], claim["id"]) not in judged
    ]


def by_kind(rows: Sequence[ClaimRow]) -> list[ClaimRow]:
    """Return rows in the order of the printed tables: by kind of claim, then id."""
    return sorted(rows, key=lambda row: (f"{ORDER}{row.id[:1]}".index(row.id[:1]), row.id))


def _row(folder: str, record: Record, claim: dict[str, Any]) -> ClaimRow:
    words = words_of(claim)
    treated, control = (_mean(record, words, arm) for arm in words.get("arms", ("", "")))
    return ClaimRow(
        **{name: claim[name] for name in ("id", "statement", "criterion", "verdict", "reason")},
        name=words.get("name") or claim["statement"].split(" (AUC")[0],
        dataset=record.summary.get("dataset") or "",
        setting=setting(record),
        treated=treated,
        control=control,
        measures=words.get("measures", ""),
        measured=measured(claim["value"], claim["interval"]),
        n=f"{claim['n']:,}",
        passes=words.get("passes") or claim["criterion"],
        fixed=words.get("fixed", "–"),
        record=folder,
        figure=figure_of(record.manifest["experiment"], claim["id"]),
    )


def words_of(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``words.toml`` says of a claim: the first entry of its id and statement."""
    found = (w for w in WORDS["claims"] if w["id"] == claim["id"])
    return next((w for w in found if w.get("of", "") in claim["statement"]), {})


def _mean(record: Record, words: dict[str, Any], arm: str) -> str:
    """Return the mean of an arm, over the claim's traits or all favourites; "–" if there is none.

    "@" is the control that the record names for the first arm.
    """
    summary = record.summary
    try:
        if record.manifest["experiment"] != "lm":
            table = summary.get("conditions") or summary["ablation"]
            return number(table[arm]["mean"], 3)
        arm = str(record.data.control.sel(arm=words["arms"][0]).item()) if arm == "@" else arm
        traits = words.get("traits") or [t for t in summary["arms"] if t not in WORDS["harmful"]]
        return number(float(np.mean([summary["arms"][t][arm]["mean"] for t in traits])), 3)
    except (KeyError, TypeError):
        return "–"


def dataset(record: Record) -> str:
    """Return the data of a record in words."""
    name = record.summary.get("dataset") or ""
    return WORDS["datasets"].get(name, name)


def read(record: Record) -> str:
    """Return what a network reads of the data of a record, in words."""
    return WORDS["read"].get(record.summary["dataset"], dataset(record))


def setting(record: Record) -> str:
    """Return the data and the network of a record in words."""
    config, summary = record.manifest["config"], record.summary
    data = dataset(record)
    if "architecture" in config:
        sizes = "–".join(map(str, config["hidden_sizes"]))
        return f"{data}, {config['architecture'].upper()} {sizes}"
    if "architectures" in config:
        return f"{data}, {len(config['architectures'])} kinds of networks"
    if n_params := summary.get("base_model", {}).get("parameters"):
        return f"{data}, {n_params:,} parameters, {len(config['traits'])} traits"
    return f"{data}, MLP" if record.manifest["experiment"] == "explain" else data


def figure_of(experiment: str, claim: str) -> str:
    """Return the name of the figure that shows a claim, "" if none does."""
    figures = SECTIONS.get(experiment, {"figures": {}})["figures"]
    return next((name for name, shown in figures.items() if claim in shown["claims"]), "")


def measured(value: float | None, interval: Sequence[float] | None) -> str:
    """Format a value and its interval, with two significant figures of the interval's width.

    At least three decimals, if it is narrower than 1, and at most six.
    """
    if value is None or not interval:
        return number(value, 3)
    width = interval[1] - interval[0]
    least = 3 if width < 1 else 0
    decimals = 3 if width <= 0 else min(max(least, 1 - int(np.floor(np.log10(width)))), 6)
    lower, upper = (number(end, decimals) for end in interval)
    return f"{number(value, decimals)} [{lower}, {upper}]"


def number(value: float | None, decimals: int) -> str:
    """Format a number with a true minus sign, and None as "–"."""
    if value is None:
        return "–"
    rounded = round(value, decimals) + 0.0  # no minus zero
    return f"{rounded:.{decimals}f}".replace("-", "−")


def percent(estimate: Mapping[str, Any], unit: str = " %") -> str:
    """Format a fraction in per cent with its interval; of an interval below 1, a decimal more."""
    interval = estimate["ci95"]
    decimals = 1 if interval and interval[1] - interval[0] < 0.01 else 0
    fractions = (estimate["mean"], *(interval or ()))
    value, *ends = (number(None if x is None else 100 * x, decimals) for x in fractions)
    return f"{value}{unit}" + (f" [{ends[0]}, {ends[1]}]" if ends else "")
