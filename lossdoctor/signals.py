"""Signals that are raised as exceptions, also where Python would drop those."""

from __future__ import annotations

import signal
import sys
from typing import Any

_SOON = 0.01  # seconds


def raise_again(*kinds: type[BaseException]) -> None:
    """Let no exception of these kinds be lost (for the process, on its main thread).

    What a signal's handler raises within a callback of the garbage collector or a destructor, Python prints and drops
    (`sys.unraisablehook`); JAX has such a callback. It is raised once more, a moment later. Does nothing where there is no timer (Windows).
    """
    if not hasattr(signal, "setitimer"):
        return
    lost: list[type[BaseException]] = []

    def hook(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, kinds):
            sys.__unraisablehook__(unraisable)
            return
        lost.append(type(unraisable.exc_value))
        signal.setitimer(signal.ITIMER_REAL, _SOON)

    def end(number: int, frame: object) -> None:
        raise lost.pop() if lost else kinds[0]

    signal.signal(signal.SIGALRM, end)
    sys.unraisablehook = hook


__all__ = ["raise_again"]
