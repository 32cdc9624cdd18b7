"""`lossdoctor explain`: what a Keras error message means."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lossdoctor.cli.boundary import FOUND, UNREADABLE, Stop, boundary

# The error stands at the end of a log.
_MOST_BYTES = 4 << 20


def explain(
    text: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT|-]",
            help="The error or the whole traceback, in quotes; - or nothing reads it from stdin.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say what a Keras error or traceback means, which rules meet it, and what to try.

    Exit codes: 0 the message is known; 1 it is not; 2 there was nothing to read.
    """
    with boundary():
        from lossdoctor.cli.screen import Screen
        from lossdoctor.explain import find, told

        pasted = _read(text or [])
        if not find.last_error(pasted):
            raise Stop(
                UNREADABLE, "there is no error to explain; give its text, or pipe it: lossdoctor explain < log.txt."
            )
        console = Screen()
        found = find.explain(pasted)
        if found is None:
            told.unknown(find.last_error(pasted), find.nearest(pasted), console)
            raise Stop(FOUND)
        told.known(found, console)


def _read(words: list[str]) -> str:
    if words and words != ["-"]:
        return " ".join(words)
    if sys.stdin.isatty():
        print("Paste the error or the whole traceback; end with Ctrl-D on a line of its own.", file=sys.stderr)
    return sys.stdin.buffer.read()[-_MOST_BYTES:].decode("utf-8", "replace")
