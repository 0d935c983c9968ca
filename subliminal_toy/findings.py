"""What records say, in the sentences of ``findings.md``: every number is made from a record."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from subliminal_toy.classifier.arms import CHAIN_N_AUX, LAYERS, SAME
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


# ---------- numbers ----------


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


def percent(estimate: Estimate, interval: bool = True, decimals: int | None = None) -> str:
    """Format a fraction in per cent, to a decimal if its interval is narrower than 1 %."""
    width = estimate.high - estimate.low
    if decimals is None:
        decimals = 1 if width < 0.01 else 0
    value, low, high = (number(100 * x, decimals) for x in estimate[:3])
    return f"{value} %" + (f" [{low}, {high}]" if interval and math.isfinite(width) else "")


# ---------- what the sentences need of records ----------


def chosen(
    records: Records, experiment: str, *names: str, **attrs: str
) -> list[tuple[str, Record]]:
    """Return folders and records of an experiment with some arms and axes, the largest first."""

    def has_them(data: xr.Dataset) -> bool:
        known = {*data.coords, *(data.arm.values.tolist() if "arm" in data else ())}
        return known.issuperset(names) and all(data.attrs.get(k) == v for k, v in attrs.items())

    found = [
        (folder, record) for folder, record in records.items()
        if record.manifest["experiment"] == experiment and has_them(record.data)
    ]  # fmt: skip
    axes = ("replicate", "trait", "animal")
    return sorted(found, key=lambda item: [-item[1].data.sizes.get(axis, 0) for axis in axes])


def first(records: Records, experiment: str, *names: str, **attrs: str) -> Record | None:
    """Return the record of ``chosen`` that comes first, None if there is none."""
    return next((record for _, record in chosen(records, experiment, *names, **attrs)), None)


DATA = {"digits": "8 × 8 digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
TESTED = {"digits": "test images of 8 × 8 digits", "mnist": "MNIST test images"}
"""Data sets in words, and what networks classify of them."""


def dataset(record: Record, words: Mapping[str, str] = DATA) -> str:
    """Return the data set of a record in words, or the name that it has there."""
    name = record.data.attrs["dataset"]
    return words.get(name, name)


def network(attrs: Mapping[str, Any]) -> str:
    """Return a network's architecture and widths; a file reads one width back as a number."""
    widths = "–".join(map(str, np.atleast_1d(attrs["hidden_sizes"])))
    return f"{attrs['architecture'].upper()} {widths}"


def open_model(record: Record) -> str:
    """Return the name of an open model, without that of its file's format."""
    return dataset(record).partition(",")[0].partition(".")[0]


def each(
    record: Record, quantity: str, names: Iterable[str], labels: str = "{}",
    form: Callable[[Estimate], str] = measured, between: str = "; ",
) -> str:  # fmt: skip
    """Return names with their estimates, whose labels are ``labels`` with the name in it."""
    return between.join(f"{name} {form(record(quantity, labels.format(name)))}" for name in names)


def of_all_traits(record: Record, quantity: str) -> dict[str, str]:
    """Return a quantity over all traits in per cent, by arms."""
    pairs = ((label.partition(", "), e) for label, e in record.labelled(quantity).items())
    return {arm: percent(e) for (arm, _, of), e in pairs if of == "all traits"}


REST = "share of the gain that the rest alone has"


def by_level(record: Record) -> dict[str, Estimate]:
    """Return that share by level of a factor, such as ``inputs: images``."""
    return {label: e for label, e in record.labelled(REST).items() if ": " in label}


def of_networks(records: Records) -> dict[str, Any] | None:
    """Return what a displacement's parts know in other networks, and how far Eq. (73) reaches."""
    swept = chosen(records, "sweep", "free", "teacher.hidden_sizes")
    if not swept:
        return None
    folder, widest = max(swept, key=lambda item: item[1].data.sizes["teacher.hidden_sizes"])
    rho = [(m, label, e) for _, m in swept for label, e in m.labelled("ρ of the teacher").items()]
    single = np.concatenate([m.data.rho.values.ravel() for _, m in swept])
    return {
        "folder": folder,
        "widest": widest,
        "parts": [
            f"{'CNN' if 'cnn' in point else 'MLP'} {point.rpartition(' ')[2].replace(',', '–')} "
            f"{measured(m('R² of the accuracy, nothing fitted', f'sum, line, {point}'))}, "
            f"{percent(m(REST, f'all, line, {point}'))}"
            for _, m in swept for point, _ in points(m.data)
        ],
        "rho": [e for _, _, e in rho],
        "progress": [m("progress", label).value for m, label, _ in rho],
        "empty": np.count_nonzero(single >= 1) / np.count_nonzero(np.isfinite(single)),
    }  # fmt: skip


def without_labels(record: Record) -> list[float]:
    """Return the AUC on one list of every detector without labelled lists or the teacher."""
    return [
        e.value for label, e in record.labelled("AUC on one list").items()
        if label.endswith("all traits") and not label.startswith(("bag", "likelihood ratio"))
    ]  # fmt: skip


def seen_first(record: Record) -> Iterator[tuple[int, Estimate, float, float]]:
    """Yield numbers of lists, the gain, and how often the best detectors see them.

    Without the teacher or labels, and with; not of lists that some teacher did not write.
    """
    passed, seen = map(record.labelled, ("gain by number of lists", "told apart, p < .05"))
    informed = record.data.informed.astype(bool).to_series()
    known = record.data.p.sel(detector="likelihood ratio").notnull().all(["replicate", "trait"])
    for size in record.data["size"].values[known.values].tolist():
        labels = {name: f"{size} lists, {name}, all traits" for name in informed.index}
        without, given = (
            max(seen[labels[name]].value for name in informed.index[informed == knows]
                if labels[name] in seen)
            for knows in (False, True)
        )  # fmt: skip
        gain = next(e for label, e in passed.items() if label.startswith(f"{size} lists"))
        yield size, gain, without, given


def beside(record: Record) -> tuple[Estimate, np.ndarray, dict[str, float], np.ndarray]:
    """Return how many published values are near, the errors, the values, and how far others are.

    The others were published without an interval, and so have no error.
    """
    here, z = map(record.labelled, ("accuracy", "here − published, z"))
    published = dict(zip(set_ups(record.data), record.data.published.values.tolist(), strict=True))
    errors = combined_errors(record.data)
    apart = [abs(here[label].value - x) for label, x in published.items() if label not in z]
    return met(record.data), errors[np.isfinite(errors)], published, np.array(apart)


# ---------- the sentences ----------

ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {
    "largest": lambda of: sorted(of, key=lambda label: -abs(of[label].value)),
    "measured": measured,
    "median": np.median,
    "number": number,
    "percent": percent,
    "thousands": "{:,}".format,
}
ENVIRONMENT.globals |= {
    f.__name__: f for f in (
        beside, by_level, dataset, each, measured, met, network, of_all_traits, open_model, percent,
        points, seen_first, without_labels,
    )
} | {
    "ARMS": ARMS, "CALM": CALM, "CHAIN_N_AUX": CHAIN_N_AUX, "LAYERS": LAYERS, "SAME": SAME,
    "between": "squared correlation of accuracy and ", "rest": REST,
    "judged": lambda record: {j.claim.id: j.estimates for j in record.judgements},
    "tested": lambda record: dataset(record, TESTED),
}  # fmt: skip


def text(records: Records, name: str, *of: Record) -> str:
    """Return a text of ``findings.md``."""
    about = {f.__name__: partial(f, records) for f in (chosen, first, of_networks)}
    return str(getattr(ENVIRONMENT.get_template("findings.md").make_module(about), name)(*of))


def joined(lines: str) -> str:
    """Return lines as one."""
    return " ".join(lines.split())


def items(records: Records, name: str, mark: str) -> list[str]:
    """Return the parts of a text, each of which begins on a line with a mark."""
    return f"\n{text(records, name)}".split(f"\n{mark} ")[1:]


def opening(records: Records) -> str:
    """Return the first sentences of README."""
    return joined(text(records, "opening"))


def here(id: str, record: Record) -> str:
    """Return what README says of a claim of the paper, from the claim's reference record."""
    return joined(text({}, id, record))


def news_rows(records: Records) -> dict[str, str]:
    """Return what was found, by what was reported; empty if the records do not hold it."""
    return dict(joined(row).split(" | ") for row in items(records, "news", "-"))


def beyond(records: Records) -> str:
    """Return the five sentences of README on what was found beyond the paper."""
    return "\n".join(f"- {joined(item)}" for item in items(records, "beyond", "-"))


LIMITS = (
    "Under Adam the theorem can fail; for many steps on sampled text nothing is proved.",
    "A student of *all* outputs learns digits from any start: distillation.",
    "The language model is tiny (40,448 parameters), its language synthetic; wider ones "
    "transferred less.",
    "Every trait is one that the base model shows at some rate; a systematic lie hardly passed.",
)
"""What none of this shows."""


def findings(records: Records) -> list[Finding]:
    """Return what the records say, in the order of the story."""
    found = []
    for item in items(records, "findings", "###"):
        title, _, rest = item.partition("\n")
        said, _, figure = rest.partition("![](")
        found.append(Finding(title, joined(said), figure.partition(")")[0]))
    return found
