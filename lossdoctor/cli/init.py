"""`lossdoctor init`: settings, a workflow and a hook for a repository; nothing that exists is changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli.boundary import Stop, boundary

if TYPE_CHECKING:
    from lossdoctor.scaffold import Planned


def init(
    dir: Annotated[Path, typer.Option("--dir", help="The repository's folder.", metavar="PATH")] = Path("."),
) -> None:
    """Write lossdoctor.toml, a CI workflow and a pre-commit hook, and leave alone what is there."""
    with boundary():
        from lossdoctor.scaffold import plan, write

        if not dir.is_dir():
            raise Stop(2, f"there is no folder {dir}; name the repository's folder with --dir.")
        planned = plan(dir)
        write(planned)
        _tell(planned)


def _tell(planned: Planned) -> None:
    for file in planned.files:
        typer.echo(f"wrote {file.path}" + (f" ({file.remark})" if file.remark else ""))
    for kept in planned.kept:
        typer.echo(f"left  {kept.path} ({kept.remark})")
    for title, text in planned.to_add:
        typer.echo(f"\n{title}\n\n{text.rstrip()}")
    typer.echo(f"\nNext: {planned.next}")
