"""The command line: one thin module a command. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lossdoctor.cli import check, demo, explain, fix, init, matrix, patch, rule, show
from lossdoctor.cli.boundary import Stop, boundary, open_streams, terminable, visible
from lossdoctor.cli.light import lightened
from lossdoctor.cli.output import InOrder
from lossdoctor.limits import enforced

_HELP = ["-h", "--help"]
app = typer.Typer(
    name="lossdoctor",
    help="Examine a Keras model and one batch before training, and say what Keras will really do.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help comes twice as fast
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": _HELP},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"lossdoctor {version('lossdoctor')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Examine a Keras model and one batch before training, and say what Keras will really do."""


# In the order in which --help lists them: examine, repair, look up, set up, try.
app.command("check", cls=InOrder, short_help="Examine a model with one batch, report, and gate.")(check.check)
app.command("show", short_help="Show the trees side by side, and who meets whom.")(show.show)
app.command("fix", short_help="Choose among repairs that were tried, and write them.")(fix.fix)
app.command("patch", short_help="Print or write the repairs as Python.")(patch.patch)
app.command("rule", short_help="Print a rule's page, or the table of rules.")(rule.rule)
app.command("explain", short_help="Say what a Keras error means and what to try.")(explain.explain)
app.command("matrix", cls=InOrder, short_help="Compare several Keras releases on the same case.")(matrix.matrix)
app.command("init", short_help="Write settings, a CI workflow and a pre-commit hook.")(init.init)
app.command("demo", short_help="Take a tour through cases that Keras trains wrongly.")(demo.demo)


def run() -> None:
    """The `lossdoctor` command. Exits 0, 1 (findings), 2 (unreadable case or usage), 3 (a bug of ours)."""
    open_streams()
    try:
        with boundary(exits=True), terminable(), enforced():
            lightened(typer.main.get_command(app), _HELP)()
    except Stop as stop:
        if str(stop):
            print(f"lossdoctor: {visible(str(stop))}", file=sys.stderr)
        sys.exit(stop.code)


if __name__ == "__main__":
    run()
