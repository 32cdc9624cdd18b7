"""`lossdoctor show`: the trees side by side, and the pairing."""

from __future__ import annotations

from typing import Any

from lossdoctor.cli.boundary import Stop, boundary
from lossdoctor.cli.options import BatchArgument, Forward, Loss, LossWeights, Metrics, ModelArgument, Objects, Unsafe


def show(
    model: ModelArgument = None,
    batch: BatchArgument = None,
    loss: Loss = None,
    loss_weights: LossWeights = None,
    metrics: Metrics = None,
    objects: Objects = None,
    unsafe: Unsafe = False,
    forward: Forward = False,
) -> None:
    """Show targets, outputs, losses and weights side by side, and what Keras pairs with what on this batch.

    Without a batch: outputs, losses, weights and inputs. Exit codes: 0 shown, with or without findings; 2 unreadable.
    """
    with boundary():
        if model is None:
            raise Stop(2, "show needs a model: lossdoctor show model.keras [batch.npz].")
        if forward and batch is None:
            raise Stop(2, "--forward runs the model on x; give a batch after the model.")
        from lossdoctor.cli.running import quietly
        from lossdoctor.doctor import examine_with_exam, outline, shares

        given: dict[str, Any] = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "objects": tuple(objects or ()),
            "unsafe": unsafe,
        }
        exam = None
        with quietly() as progress:
            if batch is None:
                report = outline(model, **given)
            else:
                report, exam = examine_with_exam(
                    model, batch, progress=progress, repairs=False, forward=forward, **given
                )
        from rich.console import Console

        from lossdoctor.report.show import render

        console = Console(highlight=False)
        if exam is None:
            render(report, console)
        else:
            render(report, console, shares=shares(exam, report.pairs), inputs=exam.inputs, forward=forward)
