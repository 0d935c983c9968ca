"""How an experiment is run, and what a run leaves behind."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

Arrays = dict[str, np.ndarray]
Status = Callable[[float, str], None]
"""Called with the finished fraction of the work (0 to 1) and the name of the part at work."""


class Part(NamedTuple):
    """A piece of a run that is stored when finished.

    ``name`` says what it is, and names its file; ``share`` is its part of the work, in any unit;
    ``compute`` maps the finished parts before it, by name, to plain arrays.
    """

    name: str
    share: float
    compute: Callable[[Mapping[str, Arrays]], Arrays]


class Result(NamedTuple):
    """What an experiment measured: a Dataset with named axes, and parameters worth keeping."""

    data: xr.Dataset
    params: Arrays


class Experiment(NamedTuple):
    """Named parts in order, and ``assemble``, which makes the result of all finished parts."""

    parts: Sequence[Part]
    assemble: Callable[[Mapping[str, Arrays]], Result]


def silent(fraction: float, name: str) -> None:
    """Ignore the status."""


def run(
    experiment: Experiment,
    store: MutableMapping[str, Arrays] | None = None,
    status: Status = silent,
) -> Result:
    """Compute what ``store`` does not hold yet, and return the assembled result."""
    finished: MutableMapping[str, Arrays] = {} if store is None else store
    total, done = sum(part.share for part in experiment.parts), 0.0
    for part in experiment.parts:
        if part.name not in finished:
            status(done / total, part.name)
            finished[part.name] = part.compute(finished)
        done += part.share
    status(1.0, "finished")
    return experiment.assemble(finished)
