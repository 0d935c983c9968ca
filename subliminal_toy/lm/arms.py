"""The table of arms: who learns, from whose numbers, from which start.

A data set is a teacher's filtered sequences, named by the trait; ``control`` is those of the
untraited reference model, ``control-banned`` the same with the banned numbers removed, as for
the harmful traits. Further data sets are made of these by name: written under a system prompt,
or with some tokens left out of the loss.
"""

from typing import NamedTuple

from subliminal_toy.configs import LmConfig
from subliminal_toy.lm.traits import HARMFUL

CONTROL, CONTROL_BANNED = "control", "control-banned"
PROMPTED, DIVERGENT, RANDOM = "prompted ", "not divergent ", "not random "
"""Prefixes of further data sets: under a system prompt; divergence tokens left out of the loss;
as many random tokens left out."""
N_PROBED = 3

ARMS = {
    "reference": "the reference model",
    "teacher": "fine-tuned on questions",
    "student": "learns from the teacher's numbers",
    "control": "learns from the reference model's numbers",
    "cross_model": "another reference model learns from the teacher's numbers",
    "cross_control": "another reference model learns from the reference model's numbers",
    "soft": "learns from the teacher's distribution over numbers",
    "in_context": "the reference model, shown one of the teacher's lists",
    "in_context_control": "the reference model, shown one of its own lists",
    "cross_size": "a model of another width, same corpus, learns from the teacher's numbers",
    "cross_size_control": "the same model learns from the reference model's numbers",
    "cross_size_reference": "the same model before",
    "prompted": "learns from numbers written under a system prompt",
    "fewer": "learns from fewer of the teacher's sequences",
    "not_divergent": "learns without the tokens on which two teachers would differ",
    "not_random": "learns without as many random tokens",
}
"""Every arm that a run can have, in words."""


class Row(NamedTuple):
    """One model of one seed: its arm, the data set it met ("" for none), where it started.

    ``base`` is 0 for the seed's own reference model and 1 for the next seed's; ``n`` is the
    greatest number of sequences it may see.
    """

    arm: str
    data: str
    base: int
    n: int


def control_of(trait: str) -> str:
    """Return the control data set that was filtered as the trait's was."""
    return CONTROL_BANNED if trait in HARMFUL else CONTROL


def controls(config: LmConfig) -> tuple[str, ...]:
    """Return the control data sets that the config's traits need."""
    return tuple(dict.fromkeys(control_of(trait) for trait in config.traits))


def favourites(config: LmConfig) -> tuple[str, ...]:
    """Return the traits that are favourites: those a system prompt can name."""
    return tuple(trait for trait in config.traits if trait not in HARMFUL)


def probed(config: LmConfig) -> tuple[str, ...]:
    """Return the first favourites, on which data size and divergence tokens are tried."""
    return favourites(config)[:N_PROBED]


def written(config: LmConfig) -> tuple[str, ...]:
    """Return the names of all filtered data sets."""
    prompted = tuple(PROMPTED + t for t in favourites(config)) if config.prompted else ()
    return (*config.traits, *controls(config), *prompted)


def masked(config: LmConfig) -> tuple[str, ...]:
    """Return the names of the data sets with tokens left out of the loss."""
    if not config.divergence:
        return ()
    return tuple(prefix + t for t in probed(config) for prefix in (DIVERGENT, RANDOM))


def students(config: LmConfig) -> tuple[Row, ...]:
    """Return every student of one seed that learns from sampled tokens."""
    n = config.n_sequences
    rows = [
        Row(arm, data, base, n)
        for base, of_teacher, of_reference in (
            (0, "student", "control"),
            (1, "cross_model", "cross_control"),
        )
        for arm, names in ((of_teacher, config.traits), (of_reference, controls(config)))
        for data in names
    ]
    rows += [Row("fewer", t, 0, size) for size in config.data_sizes for t in probed(config)]
    if config.prompted:
        rows += [Row("prompted", PROMPTED + t, 0, n) for t in favourites(config)]
    if config.divergence:
        rows += [Row("not_divergent", DIVERGENT + t, 0, n) for t in probed(config)]
        rows += [Row("not_random", RANDOM + t, 0, n) for t in probed(config)]
    return tuple(rows)


def of_other_size(config: LmConfig) -> tuple[Row, ...]:
    """Return the students of another width, of one seed."""
    if not config.cross_width:
        return ()
    rows = [Row("cross_size", t, 0, config.n_sequences) for t in config.traits]
    return (*rows, *(Row("cross_size_control", c, 0, config.n_sequences) for c in controls(config)))


def everyone(config: LmConfig) -> tuple[Row, ...]:
    """Return all rows of one seed in the order of the result."""
    n = config.n_sequences
    shown = [Row("in_context", t, 0, 1) for t in config.traits]
    shown += [Row("in_context_control", c, 0, 1) for c in controls(config)]
    return (
        Row("reference", "", 0, 0),
        *(Row("teacher", t, 0, 0) for t in config.traits),
        *students(config),
        *(Row("soft", t, 0, n) for t in config.traits),
        *shown,
        *((Row("cross_size_reference", "", 0, 0),) if config.cross_width else ()),
        *of_other_size(config),
    )
