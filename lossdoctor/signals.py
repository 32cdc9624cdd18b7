"""Signals that are raised as exceptions, also where Python would drop those."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

_SOON = 0.01  # seconds


def raise_again(*kinds: type[BaseException]) -> Callable[[], None]:
    """Let no exception of these kinds be lost (for the process, on its main thread), until what is returned is called.

    What a signal's handler raises within a callback of the garbage collector or a destructor, Python prints and drops
    (`sys.unraisablehook`); JAX has such a callback. It is raised once more, a moment later. Does nothing where there is no timer (Windows).
    """
    if not hasattr(signal, "setitimer"):
        return lambda: None
    lost: list[type[BaseException]] = []

    def hook(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, kinds):
            hook_before(unraisable)
            return
        lost.append(type(unraisable.exc_value))
        signal.setitimer(signal.ITIMER_REAL, _SOON)

    def end(number: int, frame: object) -> None:
        raise lost.pop() if lost else kinds[0]

    def restore() -> None:
        sys.unraisablehook = hook_before
        signal.signal(signal.SIGALRM, handler_before)

    handler_before = signal.signal(signal.SIGALRM, end)
    hook_before, sys.unraisablehook = sys.unraisablehook, hook
    return restore


__all__ = ["raise_again"]
