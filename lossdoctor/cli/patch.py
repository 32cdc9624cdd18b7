"""`lossdoctor patch`: the repairs as a Python file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from lossdoctor.types import Finding


def patch(
    model: ModelArgument = None,
    batch: BatchArgument = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the patch to this file in place of stdout.")
    ] = None,
    loss: Loss = None,
    loss_weights: LossWeights = None,
    metrics: Metrics = None,
    objects: Objects = None,
    unsafe: Unsafe = False,
    forward: Forward = False,
) -> None:
    """Print or write the repairs as a Python file that imports keras and numpy only.

    Exit codes: 0 nothing is wrong any more; 1 errors are left that only you can repair; 2 the case could not be read.
    """
    with boundary():
        if model is None or batch is None:
            raise Stop(2, "patch needs a model and a batch: lossdoctor patch model.keras batch.npz.")
        from lossdoctor.cli.running import planned
        from lossdoctor.fixes.patch import write_patch

        plan = planned(model, batch, forward=forward, **given(loss, loss_weights, metrics, objects, unsafe))
        written = write_patch(plan)
        left = [f for f in plan.left if f.severity == "error"]
        if written is None:
            said = "Nothing needs a change." if not plan.left else "No repair can be written."
            typer.echo(said + _left(plan.left), err=True)
        elif output is None or str(output) == "-":
            from lossdoctor.cli.screen import echo

            echo(written.text)
            typer.echo(_left(plan.left).lstrip(), err=True, nl=bool(plan.left))
        else:
            from lossdoctor.files import write_text

            write_text(output, written.text)
            typer.echo(
                f"Wrote {output}: {len(plan.steps)} repair{'s' * (len(plan.steps) != 1)}.{_left(plan.left)}", err=True
            )
        if left:
            raise Stop(FOUND)


def _left(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    lines = [f"  {f.code}: {f.message}" for f in findings]
    return "\nLeft for you to decide:\n" + "\n".join(lines)
