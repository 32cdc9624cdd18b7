"""`lossdoctor matrix`: the same case under several Keras releases."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossdoctor.cli.boundary import BUG, FOUND, OK, UNREADABLE, Stop, boundary
from lossdoctor.cli.check import FailOn
from lossdoctor.cli.gate import make_gate
from lossdoctor.cli.options import (
    BatchArgument,
    Config,
    Forward,
    Ignore,
    Loss,
    LossWeights,
    Metrics,
    ModelArgument,
    NoCache,
    Objects,
    Select,
    Unsafe,
)
from lossdoctor.cli.output import order_typed, plan
from lossdoctor.report.formats import Format

if TYPE_CHECKING:
    from lossdoctor.environments import Release
    from lossdoctor.matrix import Parting, Run


class Backend(StrEnum):
    """What Keras computes with."""

    jax = "jax"
    tensorflow = "tensorflow"
    torch = "torch"


class MatrixFormat(StrEnum):
    """How the matrix is written."""

    text = "text"
    json = "json"
    markdown = "markdown"


def matrix(
    context: typer.Context,
    model: ModelArgument = None,
    batch: BatchArgument = None,
    keras: Annotated[
        list[str] | None, typer.Option("--keras", help="A Keras release, 3.4 or later, such as 3.15.1. Repeatable.")
    ] = None,
    backend: Annotated[
        list[Backend] | None, typer.Option(help="What Keras computes with: jax where none is given. Repeatable.")
    ] = None,
    package: Annotated[
        list[str] | None,
        typer.Option("--with", help="Another package that your code needs, as for pip. Repeatable."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Run this many releases at a time.", show_default=False)
    ] = None,
    loss: Loss = None,
    loss_weights: LossWeights = None,
    metrics: Metrics = None,
    objects: Objects = None,
    unsafe: Unsafe = False,
    forward: Forward = False,
    format: Annotated[
        list[MatrixFormat] | None,
        typer.Option(help="How the result is written: text where none is given. Repeatable, each with its --output."),
    ] = None,
    output: Annotated[
        list[Path] | None, typer.Option(help="Write the result to this file, in the --format before it. Repeatable.")
    ] = None,
    select: Select = None,
    ignore: Ignore = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="The least severity that makes the exit code 1; never: not even where releases part."),
    ] = None,
    config: Config = None,
    baseline: Annotated[
        Path | None, typer.Option(help="A file of known findings, which are left out of the comparison.")
    ] = None,
    no_cache: NoCache = False,
) -> None:
    """Examine the same case under several Keras releases, and say where they part: the gate for a Keras upgrade.

    Each release runs in an environment of its own, which uv makes and the user's cache keeps.

    Exit codes: 0 all do the same and nothing is wrong; 1 they part, or there are findings at or above --fail-on; 2 there is no such
    release, no environment can be made, or the case could not be read; 3 a bug in lossdoctor.
    """
    with boundary():
        if model is None or batch is None or not keras:
            raise Stop(
                UNREADABLE,
                "matrix needs a model, a batch and releases: "
                "lossdoctor matrix model.keras batch.npz --keras 3.10.0 --keras 3.15.1.",
            )
        planned = plan([Format(f.value) for f in format or ()], output or (), order_typed(context))
        options: dict[str, Any] = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "unsafe": unsafe,
            "forward": forward,
        }
        general = {"select": select, "ignore": ignore, "objects": objects, "baseline": baseline}
        gate = make_gate(
            model,
            batch,
            config=config,
            names=(),
            options=options,
            general={**general, "fail_on": fail_on},
            write_baseline=None,
        )
        backends = [str(b) for b in backend or ("jax",)]
        saved_by = _require_files(model, batch, backends)
        from lossdoctor.matrix import explained, jobs_for, partings, releases, run_all

        asked = releases(keras, backends, package or ())
        flags = {**options, **general, "config": config, "no_cache": no_cache}
        with _told(asked) as progress:
            runs = run_all(asked, arguments(model, batch, flags), jobs=jobs or jobs_for(len(asked)), progress=progress)
        runs = explained(runs, model, saved_by)
        _require_one(runs)
        parts = partings(runs)
        _write(runs, parts, planned)
        raise Stop(exit_code(runs, parts, gate.fail_on))


def arguments(model: str, batch: str, flags: Mapping[str, Any]) -> list[str]:
    """What `check` is given in every environment: the flags that were typed, as they were typed."""
    typed = []
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            typed.append(flag)
        elif isinstance(value, list):
            typed += [f"{flag}={entry}" for entry in value]
        elif value not in (None, False):
            typed.append(f"{flag}={value}")
    return [*typed, "--", model, batch]


def exit_code(runs: Sequence[Run], parts: Sequence[Parting], fail_on: str) -> int:
    """A bug of ours, then an environment that could not be made, then partings and findings."""
    from lossdoctor.types import at_least

    if any(run.bug for run in runs):
        return BUG
    if any(not run.built for run in runs) or all(run.report is None for run in runs):
        return UNREADABLE
    if fail_on == "never":
        return OK
    found = [finding for run in runs if run.report for finding in run.report["findings"]]
    return FOUND if parts or any(at_least(f["severity"], fail_on) for f in found) else OK


def _require_files(model: str, batch: str, backends: Sequence[str]) -> str | None:
    """What would fail in every environment is said before any is made. Returns which Keras saved the model file."""
    from lossdoctor.case.archive import read_model_config
    from lossdoctor.case.references import is_reference

    if not is_reference(batch) and not os.path.exists(batch):
        raise Stop(UNREADABLE, f"there is no batch {batch}; name an .npz file, a saved dataset or file.py:name.")
    if os.path.isdir(batch) and set(backends) != {"tensorflow"}:
        raise Stop(
            UNREADABLE,
            f"{batch} is a saved dataset, which only TensorFlow reads; take --backend tensorflow, or write the batch with "
            "lossdoctor.save_batch.",
        )
    return None if is_reference(model) else read_model_config(model).metadata.get("keras_version")


def _require_one(runs: Sequence[Run]) -> None:
    """Where every release says the same of the case, it is the case: one sentence in place of a table."""
    errors = {run.error for run in runs}
    if None not in errors and len(errors) == 1:
        error = str(runs[0].error)
        hint = " --with PACKAGE installs what your code needs." if "No module named" in error else ""
        raise Stop(BUG if runs[0].bug else UNREADABLE, error + hint)


def _write(runs: Sequence[Run], parts: Sequence[Parting], planned: Sequence[tuple[Format, Path | None]]) -> None:
    """The files first, then what goes to stdout."""
    from lossdoctor.cli.screen import Screen, echo
    from lossdoctor.files import write_text
    from lossdoctor.installed import own_version
    from lossdoctor.report import matrix as report

    def document(format: Format) -> str:
        if format is Format.json:
            return report.as_json(runs, parts, own_version())
        return report.as_markdown(runs, parts) if format is Format.markdown else report.as_text(runs, parts)

    for format, path in sorted(planned, key=lambda item: item[1] is None):
        if path is not None:
            write_text(path, document(format))
        elif format is Format.text:
            report.render(runs, parts, Screen())
        else:
            echo(document(format).encode("utf-8"))


@contextmanager
def _told(asked: Sequence[Release]) -> Iterator[Callable[[Release, str], None]]:
    """What to call with each release and what is being done: a line for each on a terminal's stderr."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(finished_text=" "), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks = {release: progress.add_task(f"{_label(release)}  waiting", total=1, start=False) for release in asked}

        def tell(release: Release, doing: str) -> None:
            if not progress.tasks[tasks[release]].started:
                progress.start_task(tasks[release])
            progress.update(tasks[release], description=f"{_label(release)}  {doing}", completed=int(doing == "done"))

        yield tell


def _label(release: Release) -> str:
    return f"Keras {release.keras:<8} {release.backend}"
