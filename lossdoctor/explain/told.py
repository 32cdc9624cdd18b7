"""How an explanation is printed."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from lossdoctor.explain.find import Explanation
from lossdoctor.explain.message import Message

# What is shown of the message itself.
_SHOWN = 300


def known(found: Explanation, console: Console) -> None:
    """Print what a known message means."""
    from lossdoctor.rules import RULES

    _heading(found.error, console)
    if found.earlier:
        _say("The last exception of the traceback is not known; this is the one before it.", console, "", "dim")
    console.print()
    _say(found.means, console)
    if found.message.rules:
        console.print("\nRules that meet it", style="bold")
        by_code = {rule.code: rule for rule in RULES}
        for code in found.message.rules:
            _say(f"{by_code[code].summary} ({by_code[code].name})", console, f"  {code}  ")
    console.print("\nWhat to try", style="bold")
    for number, step in enumerate(found.steps, 1):
        _say(step, console, f"  {number}. ")
    console.print()
    if found.message.rules:
        page = f"`lossdoctor rule {found.message.rules[0]}` tells more; "
        _say(f"{page}`lossdoctor check MODEL BATCH` measures what Keras does with your own model and batch.", console)
    _say(f"Seen on Keras {found.message.seen}.", console, "", "dim")


def unknown(error: str, nearest: list[Message], console: Console) -> None:
    """Print that a message is not known, and which known ones are nearest."""
    _heading(error, console)
    console.print()
    _say(
        "This message is not known to lossdoctor: it is not one that Keras gives about losses, targets, metrics or inputs, or it is new.",
        console,
    )
    if nearest:
        console.print("\nThe nearest known ones", style="bold")
        for message in nearest:
            _say(message.like, console, "  - ")
    console.print()
    _say(
        "`lossdoctor check MODEL BATCH` runs fit on a small stand-in of your model and says what raises, and where.",
        console,
    )


def _heading(error: str, console: Console) -> None:
    text = " ".join(error.split())
    _say(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...", console, "", "bold red")


def _say(text: str, console: Console, first: str = "", style: str = "") -> None:
    """`text` wrapped behind `first`; the lines after it stand as far in."""
    rest = " " * len(first)
    width = max(console.width, 30)
    for line in textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    ):
        console.print(Text(line, style=style), soft_wrap=True)
