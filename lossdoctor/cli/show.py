"""`lossdoctor show`: the trees side by side, and the pairing."""

from __future__ import annotations

from lossdoctor.cli.boundary import Stop, boundary
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

        options = given(loss, loss_weights, metrics, objects, unsafe)
        exam = None
        with quietly() as progress:
            if batch is None:
                report = outline(model, **options)
            else:
                report, exam = examine_with_exam(
                    model, batch, progress=progress, repairs=False, forward=forward, **options
                )
        from lossdoctor.cli.screen import Screen
        from lossdoctor.report.show import render

        console = Screen()
        if exam is None:
            render(report, console)
        else:
            render(report, console, shares=shares(exam, report.pairs), inputs=exam.inputs, forward=forward)
