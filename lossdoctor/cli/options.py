"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lossdoctor.cli import completion

ModelArgument = Annotated[
    str | None,
    typer.Argument(metavar="MODEL", help="A .keras or .h5 file, or file.py:name of a model.", show_default=False),
]
BatchArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="BATCH", help="An .npz file, a folder of tf.data.Dataset.save, or file.py:name.", show_default=False
    ),
]
Loss = Annotated[str | None, typer.Option(help="Losses as JSON or a .json file, in place of the saved ones.")]
LossWeights = Annotated[str | None, typer.Option(help="Loss weights as JSON or a .json file.")]
Metrics = Annotated[str | None, typer.Option(help="Metrics as JSON or a .json file.")]
Objects = Annotated[
    list[str] | None, typer.Option(help="A file or module with your custom classes; it is imported. Repeatable.")
]
Unsafe = Annotated[bool, typer.Option("--unsafe", help="Permit Lambda code that is stored in the model file.")]
Forward = Annotated[
    bool,
    typer.Option("--forward", help="Also load the weights and run the model on the batch, for its real predictions."),
]
Select = Annotated[
    list[str] | None,
    typer.Option(help="Run only these rules: codes or prefixes, with commas.", autocompletion=completion.codes),
]
Ignore = Annotated[list[str] | None, typer.Option(help="Leave these rules out.", autocompletion=completion.codes)]
Config = Annotated[Path | None, typer.Option(help="A settings file in place of lossdoctor.toml or pyproject.toml.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Examine anew, and keep nothing for the next time.")]


def given(
    loss: str | None,
    loss_weights: str | None,
    metrics: str | None,
    objects: list[str] | None,
    unsafe: bool,
) -> dict[str, Any]:
    """What was typed for a case besides its model and batch, as `case.load.load_case` takes it."""
    return {
        "loss": loss,
        "loss_weights": loss_weights,
        "metrics": metrics,
        "objects": tuple(objects or ()),
        "unsafe": unsafe,
    }
