"""What the machine has, and the refusal of settings that need more than that.

Both needs are estimated from shapes before anything is computed or written; they are rough, and
meant to be low.
"""

import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from subliminal_toy.errors import UserError

DAY = 86_400.0


class Needs(NamedTuple):
    """Memory in bytes, and work in floating-point operations."""

    memory: float
    work: float


def memory() -> float:
    """Return the bytes of memory that this process may use: the machine's, or its container's."""
    bounds = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        bounds.append(float(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(bounds)


def speed() -> float:
    """Return the floating-point operations per second of a matrix product, in float32."""
    import numpy as np

    n, repeats = 512, 4
    a = np.ones((n, n), np.float32)
    np.matmul(a, a)  # the first call starts threads
    began = time.perf_counter()
    for _ in range(repeats):
        np.matmul(a, a)
    return repeats * 2 * n**3 / (time.perf_counter() - began)


def processor() -> str:
    """Return the name of the processor and, on further lines, the instructions that it has."""
    with suppress(OSError, UnicodeDecodeError):
        core = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
        pairs = [line.partition(":") for line in core.splitlines()]
        said = {name.strip(): value.strip() for name, _, value in pairs}
        return "\n".join(said.get(name, "") for name in ("model name", "flags", "Features"))
    return platform.processor()


def duration(seconds: float) -> str:
    """Return a time span in words: seconds, minutes, hours or days."""
    for size, name in ((DAY, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {name}"
    return f"{seconds:.0f} s"


def largest_flag(config: Any, usual: Any, of: str) -> str:
    """Return the flag of a config that, put back to its usual value, lowers a need the most."""

    def left(name: str) -> float:
        try:
            return getattr(replace(config, **{name: getattr(usual, name)}).needs(), of)
        except UserError:  # the other fields forbid its usual value
            return float("inf")

    names = [field.name for field in fields(config)]
    changed = [name for name in names if getattr(config, name) != getattr(usual, name)]
    return "--" + min(changed or names[:1], key=left).replace("_", "-")


def refuse_too_large(config: Any, presets: Mapping[str, Any]) -> None:
    """Raise UserError if a config needs more memory than there is; names the field to lower."""
    needed, there = config.needs().memory, memory()
    if needed > there:
        raise UserError(
            f"These settings need about {needed / 1e9:,.1f} GB of memory, this machine has "
            f"{there / 1e9:,.1f} GB: lower {largest_flag(config, presets['quick'], 'memory')}."
        )


def refuse_too_long(config: Any, presets: Mapping[str, Any]) -> None:
    """Raise UserError if a config takes more than a day even at the speed of matrix products."""
    seconds = config.needs().work / speed()
    if seconds > DAY:
        raise UserError(
            f"These settings take more than {duration(seconds)} on this machine: lower "
            f"{largest_flag(config, presets['quick'], 'work')}, or say with --yes that it is meant."
        )
