"""A toy experiment, registered in the table, so that a run of the command line takes no time.

``python tests/toy.py ARGUMENTS`` is the command line with it.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import msgspec
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from subliminal_toy import cli, plots, report
from subliminal_toy.claims import Claim, Condition, Lower, Row
from subliminal_toy.distill import ensemble
from subliminal_toy.errors import check
from subliminal_toy.experiments import EXPERIMENTS, REPRODUCE, Entry, Run
from subliminal_toy.record import Experiment, Part, Result
from subliminal_toy.stats import estimate


@dataclass(frozen=True)
class ToyConfig:
    n: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """Replicates of a part."""
    shift: float = 1.0
    """Added to all."""

    def __post_init__(self):
        check(self)


def experiment(config, key, data, replicates_per_device=None):
    """Two parts: squares, and their sums with the shift; TOY_KILL and TOY_WAIT name a part."""
    one = ensemble(lambda shift, x: jnp.sin(x) + shift, 1, replicates_per_device)

    def compute(name, first):
        if os.environ.get("TOY_KILL") == name:
            os.kill(os.getpid(), signal.SIGKILL)
        if os.environ.get("TOY_WAIT") == name:
            time.sleep(600)
        return {"x": one(jnp.float32(config.shift), first + np.arange(config.n, dtype=np.float32))}

    def assemble(done):
        values = np.concatenate([done[name]["x"] for name in ("part 1", "part/2")])
        return Result(xr.Dataset({"x": ("replicate", values)}), {"w": values})

    parts = [Part("part 1", 1.0, lambda done: compute("part 1", 0)),
             Part("part/2", 3.0, lambda done: compute("part/2", 100 * done["part 1"]["x"].shape[0]))]  # fmt: skip
    return Experiment(parts, assemble)


def draw(data):
    """The values."""
    figure = Figure()
    figure.add_subplot().plot(data.x)
    return figure


def estimates(data):
    yield Row("x", "all", estimate(data.x))
    yield Row("x", "first", estimate(data.x[:1]))


def write_page(records, out):
    (out / "index.html").write_text(" ".join(records))


CLAIMS = (
    Claim("Y1", "x is above 0", "none", (Condition("x", lambda data: estimate(data.x), Lower(0)),)),
    Claim("Y2", "x is above 9", "none", (Condition("x", lambda data: estimate(data.x), Lower(9)),),
          kind="prediction"),
)  # fmt: skip
PRESETS = {"quick": ToyConfig(), "paper": ToyConfig(n=4)}


def register():
    about = {"quick": "three", "paper": "four"}
    EXPERIMENTS["toy"] = Entry("A toy.", PRESETS, about, "toy", needs_data=False)
    REPRODUCE["quick"] = {"one": Run("toy", "quick", 1), "two": Run("toy", "paper", 2)}
    cli.QUICK_CLAIMS = frozenset({"Y1"})
    plots.FIGURES["toy"] = {"values": draw}
    report.write_page = write_page
    for name in ("toy", "toy.experiment", "toy.claims"):
        sys.modules[name] = sys.modules[__name__]


register()
if __name__ == "__main__":
    sys.argv[0] = str(Path(sys.argv[0]))
    cli.main()
