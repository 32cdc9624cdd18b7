"""`lossdoctor demo`: a tour through small broken cases."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli.boundary import boundary
from lossdoctor.cli.tour import END, TOUR, Stop

if TYPE_CHECKING:
    from rich.console import Console

_PROMPT = "Enter or space: the next case; q: quit "


def demo(
    case: Annotated[
        int | None, typer.Option(min=1, max=len(TOUR), help="Only this case of the tour.", show_default=False)
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(help="Copy the tour's files into this folder, to try the commands on them.", show_default=False),
    ] = None,
) -> None:
    """Take a tour through small cases that Keras trains on, without a word, in the wrong way.

    On a terminal one case at a time, a key for the next; otherwise all at once.
    """
    from importlib.resources import as_file, files

    with boundary(), as_file(files("lossdoctor") / "demo") as folder:
        if copy is not None:
            _copy(folder, copy)
            return
        from lossdoctor.cli.screen import Screen

        console = Screen()
        stops = TOUR if case is None else (TOUR[case - 1],)
        waits = len(stops) > 1 and sys.stdin.isatty() and sys.stdout.isatty()
        for stop in stops:
            if console.quiet:  # nobody reads any more
                return
            if stop is not stops[0]:
                if waits and not _go_on():
                    return
                console.print()
            _show(stop, folder, console, alone=case is not None)
        if case is None:
            if waits and not _go_on():
                return
            console.print()
            typer.echo(END, nl=False)


def _show(stop: Stop, folder: Path, console: Console, alone: bool) -> None:
    from rich.text import Text

    from lossdoctor.cli.check import examine_quietly
    from lossdoctor.report.text import render, say
    from lossdoctor.request import CheckCase

    if not alone:
        number = f"{TOUR.index(stop) + 1} of {len(TOUR)}: {stop.title}"
        console.print(Text(f"{number}\n{'=' * len(number)}", style="bold"), soft_wrap=True)
    say(console, stop.meant)
    console.print()
    for line in stop.code.splitlines():
        console.print(Text(f"    {line}", style="cyan"), soft_wrap=True)
    console.print()
    console.print(Text(f"$ {stop.command}", style="bold"), soft_wrap=True)
    objects = (str(folder / "tour_losses.py"),) if stop.objects else ()
    model, batch = (str(folder / f"{stop.name}.{kind}") for kind in ("keras", "npz"))
    report = examine_quietly(CheckCase(model, batch, objects=objects, select=(stop.rule,)))
    found = tuple(f for f in report.findings if f.code == stop.rule)
    render(replace(report, findings=found), console, brief=True)
    console.print()
    say(console, f"{stop.lesson} `lossdoctor rule {stop.rule}` tells more.")


def _go_on() -> bool:
    """Wait for a key: True for Enter or space, False for q, Escape, Ctrl-C or Ctrl-D. The prompt is wiped out afterwards."""
    import click

    print(f"\n{_PROMPT}", end="", flush=True)
    try:
        while True:
            key = click.getchar()
            if key in ("\r", "\n", " "):
                return True
            if key in ("q", "Q", "\x1b"):
                return False
    except (KeyboardInterrupt, EOFError):
        return False
    finally:
        print("\r" + " " * len(_PROMPT) + "\r", end="", flush=True)


def _copy(folder: Path, target: Path) -> None:
    from lossdoctor.files import write_bytes
    from lossdoctor.types import CaseError

    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaseError(f"{target} cannot be made ({error.strerror}); name a folder that is yours.") from error
    for name in ("tour_losses.py", *(f"{stop.name}{end}" for stop in TOUR for end in (".keras", ".npz"))):
        content = (folder / name).read_bytes()
        write_bytes(target / name, lambda stream, content=content: stream.write(content))  # type: ignore[misc]
    typer.echo(
        f"Wrote {2 * len(TOUR) + 1} files into {target}. For instance: cd {target} && {TOUR[0].command}", err=True
    )
