"""What JAX is told before it computes, and the processes that run one command together.

All processes compute; the first alone reads and writes folders and shows anything.
Source: https://docs.jax.dev/en/latest/multi_process.html.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import broadcast_one_to_all

from subliminal_toy import machine
from subliminal_toy.errors import UserError

LOST = (
    "Another process of this run has ended or cannot be reached; finished parts are kept: start "
    "all processes again with --resume."
)


class HostLost(UserError):
    """Another process of the run is gone."""


def keep_compiled(n_threads: int) -> None:
    """Keep compiled programs in the user's cache folder, unless JAX was told of another.

    What makes their bits differ and is not in JAX's own key, the number of threads that XLA cuts
    loops for and the processor, is in the folder's name. A folder that cannot be made is not used.
    """
    settings: Any = jax.config
    if settings.jax_compilation_cache_dir is not None:
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    processor = sha256(machine.processor().encode()).hexdigest()[:12]
    folder = base / "subliminal-toy" / f"{processor}-{n_threads}-threads"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def free_memory() -> None:
    """Forget compiled programs, and return what glibc still holds of their memory to the system."""
    jax.clear_caches()
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def join(say_lost: Callable[[], object]) -> None:
    """Join the other processes of a cluster that JAX detects; UserError if there is none.

    ``say_lost`` is called, and should not return, when JAX aborts since the first one is gone.
    """
    try:
        jax.distributed.initialize()
    except (ValueError, jax.errors.JaxRuntimeError) as error:
        raise UserError(
            f"--distributed finds no other process of this run ({error}): start it by SLURM, MPI, "
            "Kubernetes or on a TPU pod."
        ) from error
    if jax.default_backend() == "cpu":
        # A program of several processes that was read back there failed, or waited forever.
        jax.config.update("jax_enable_compilation_cache", False)
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: say_lost())
    _HANDLERS.append(handler)
    # JAX calls abort(), which Python's own handlers do not hear.
    ctypes.CDLL(None).signal(signal.SIGABRT, handler)
    # The collectives' C++ libraries write to standard output, and into every process's error log.
    for name in ("stdout",) if is_first() else ("stdout", "stderr"):
        _only_python_writes_to(name)


_HANDLERS: list[object] = []
"""Called from C, so that Python must not forget them."""


def _only_python_writes_to(name: str) -> None:
    stream = getattr(sys, name)
    stream.flush()
    number, own = stream.fileno(), os.dup(stream.fileno())
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
    setattr(sys, name, os.fdopen(own, "w", encoding=stream.encoding, errors=stream.errors))


def is_first() -> bool:
    """Whether this process is the one that writes and shows; does not start JAX."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def several() -> bool:
    """Whether there are other processes; does not start JAX."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def from_first(content: bytes = b"") -> bytes:
    """Return the ``content`` that the first process gives, on all."""
    size = int(broadcast_one_to_all(np.uint32(len(content))))
    sent = np.frombuffer(content, np.uint8) if is_first() else np.zeros(size, np.uint8)
    return broadcast_one_to_all(sent).tobytes()
