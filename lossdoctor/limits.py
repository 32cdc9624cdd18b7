"""What making a model from a file may take. Keras computes while it makes layers and metrics, and no look at the file shows how much.

A thread watches, as neither a loop in a library's C++ nor an allocation there can be stopped by an exception. It ends the process, so
only the command asks for it, and only while nothing is being written.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SECONDS, _SECONDS_A_LAYER = 10.0, 0.01
_MEMORY = 2 << 30
# For weights that are loaded, packed or not.
_BYTES_A_SECOND, _TIMES_ITS_SIZE = 20e6, 8
_EVERY = 0.05
_UNREADABLE = 2
_asked = threading.Event()


@contextmanager
def enforced() -> Iterator[None]:
    """Inside, `bounded` ends this process where its bounds are passed."""
    _asked.set()
    try:
        yield
    finally:
        _asked.clear()


@contextmanager
def bounded(source: str, layers: int, size: int = 0) -> Iterator[None]:
    """Inside, so much processor time and so much more memory may be taken to make what `source` holds: more for more layers and for `size` bytes of weights."""
    if not _asked.is_set():
        yield
        return
    done = threading.Event()
    seconds = _SECONDS + _SECONDS_A_LAYER * layers + size / _BYTES_A_SECOND
    memory = _MEMORY + _TIMES_ITS_SIZE * size
    # The bounds stand before anything else is done, whenever the thread gets its turn.
    until, most = time.process_time() + seconds, _memory() + memory
    time_told, memory_told = f"{seconds:.0f} s", f"{memory >> 30} GiB of memory"
    threading.Thread(target=_watch, args=(done, source, (until, time_told), (most, memory_told)), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch(done: threading.Event, source: str, time_bound: tuple[float, str], memory_bound: tuple[int, str]) -> None:
    """Ends the process where one of the bounds, each with its words, is passed before it is `done`."""
    while not done.wait(_EVERY):
        for found, (most, told) in ((time.process_time(), time_bound), (_memory(), memory_bound)):
            if found > most:
                _end(f"{source}: making its parts takes over {told}")


def _memory() -> int:
    """This process's memory in bytes (its peak where the system tells no more); 0 where it cannot be known."""
    try:
        with open("/proc/self/statm", "rb") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


def _end(what: str) -> None:
    said = (
        f"lossdoctor: {what}; name the code that builds it, as file.py:name, or pass --unsafe if you trust the file.\n"
    )
    os.write(2, said.encode("utf-8", "replace"))
    os._exit(_UNREADABLE)


__all__ = ["bounded", "enforced"]
