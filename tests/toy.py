"""A toy experiment for the tests of records and of the command line: a run takes no time.

``python tests/toy.py ARGUMENTS`` is the command line with it. TOY_KILL and TOY_WAIT name a part
that kills its process, or never ends.
"""

import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import Annotated

import jax.numpy as jnp
import msgspec
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from subliminal_toy import cli, experiments, page, plots
from subliminal_toy.claims import Claim, Condition, Lower, Row
from subliminal_toy.distill import ensemble
from subliminal_toy.errors import check
from subliminal_toy.record import Experiment, Part, Result
from subliminal_toy.stats import estimate

NAMES = ("part 1", "part/2")


@dataclass(frozen=True)
class ToyConfig:
    n: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    shift: float = 1.0

    def __post_init__(self):
        check(self)


def experiment(config, key, data, replicates_per_device=None):
    """sin(i) + shift for i below 2n, in two parts; the second reads the first."""
    sine = ensemble(lambda shift, x: jnp.sin(x) + shift, 1, replicates_per_device)

    def part(name, share, first):
        def compute(finished):
            if os.environ.get("TOY_KILL") == name:
                os.kill(os.getpid(), signal.SIGKILL)
            if os.environ.get("TOY_WAIT") == name:
                threading.Event().wait()
            index = first(finished) + np.arange(config.n, dtype=np.float32)
            return {"x": sine(jnp.float32(config.shift), index)}

        return Part(name, share, compute)

    def assemble(finished):
        values = np.concatenate([finished[name]["x"] for name in NAMES])
        data = xr.Dataset({"x": ("replicate", values)}, attrs={"dataset": "none"})
        return Result(data, {"w": values})

    starts = (lambda finished: 0, lambda finished: len(finished["part 1"]["x"]))
    return Experiment([*map(part, NAMES, (1.0, 3.0), starts)], assemble)


def draw(data):
    """Draw the values."""
    figure = Figure()
    figure.add_subplot().plot(data.x)
    return figure


def estimates(data):
    yield Row("x", "all", estimate(data.x))
    yield Row("x", "the first", estimate(data.x[:1]))


def above(bound):
    return (Condition("x", lambda data: estimate(data.x), Lower(bound)),)


CLAIMS = (
    Claim("Y1", "x is large", "section 1", above(0.0)),
    Claim("Y2", "x is very large", "section 2", above(9.0), kind="prediction"),
)


def register(patch):
    """Put the experiment into all tables; ``reproduce`` runs it twice, and nothing else."""
    presets = {"quick": ToyConfig(), "paper": ToyConfig(n=4)}
    entry = experiments.Entry("A toy.", presets, dict.fromkeys(presets, "a toy"), "toy", "x", False)
    runs = {
        "one": experiments.Run("toy", "quick", 1.0),
        "two": experiments.Run("toy", "paper", 2.0),
    }
    patch.setitem(experiments.EXPERIMENTS, "toy", entry)
    patch.setitem(experiments.REPRODUCE, "quick", runs)
    patch.setattr(cli, "QUICK_CLAIMS", frozenset({"Y1"}))
    patch.setitem(plots.FIGURES, "toy", {"values": draw})
    patch.setattr(page, "pages", lambda records: {"index.html": " ".join(records)})
    for name in ("toy.experiment", "toy.claims"):
        patch.setitem(sys.modules, name, sys.modules[__name__])


if __name__ == "__main__":
    # A process in the background of a script ignores Ctrl-C, and so do those that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    register(pytest.MonkeyPatch())
    cli.main()
