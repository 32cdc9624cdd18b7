"""`lossdoctor fix`: findings one at a time, on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lossdoctor.cli.boundary import FOUND, Stop, boundary
from lossdoctor.cli.options import (
    BatchArgument,
    Forward,
    Loss,
    LossWeights,
    Metrics,
    ModelArgument,
    Objects,
    Unsafe,
    given,
)


def fix(
    model: ModelArgument = None,
    batch: BatchArgument = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take all safe repairs without asking.")] = False,
    patch: Annotated[Path | None, typer.Option("--patch", help="Write the repairs to this Python file.")] = None,
    write_model: Annotated[
        Path | None, typer.Option(help="Write the model file with the new compile arguments here.")
    ] = None,
    write_batch: Annotated[Path | None, typer.Option(help="Write the repaired batch here, as .npz.")] = None,
    source: Annotated[Path | None, typer.Option(help="Rewrite this training script; its diff is shown first.")] = None,
    loss: Loss = None,
    loss_weights: LossWeights = None,
    metrics: Metrics = None,
    objects: Objects = None,
    unsafe: Unsafe = False,
    forward: Forward = False,
) -> None:
    """Choose among repairs that were tried on your case, see before and after, and write them.

    Exit codes: 0 no error is left; 1 errors are left; 2 the case could not be read, or there is no terminal.
    """
    with boundary():
        if model is None or batch is None:
            raise Stop(2, "fix needs a model and a batch: lossdoctor fix model.keras batch.npz.")
        if not yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise Stop(
                2,
                "fix asks questions and needs a terminal; use `lossdoctor patch` to write the repairs unattended, "
                "or --yes to take the safe ones.",
            )
        from lossdoctor.cli.running import opened
        from lossdoctor.files import check_place

        for path in (patch, write_model, write_batch):
            if path is not None:
                check_place(path)
        sitting = opened(model, batch, forward=forward, **given(loss, loss_weights, metrics, objects, unsafe))
        from lossdoctor.cli.fixing import Targets, run

        if run(sitting, batch, Targets(patch, write_model, write_batch, source), yes=yes):
            raise Stop(FOUND)
