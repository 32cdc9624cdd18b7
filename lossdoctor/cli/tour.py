"""The cases of `lossdoctor demo`: what their authors meant, and what each of them teaches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stop:
    """One case of the tour: files `name`.keras and `name`.npz, the code as its author wrote it, the rule that it is about."""

    name: str
    title: str
    meant: str
    code: str
    rule: str
    lesson: str
    objects: bool = False

    @property
    def command(self) -> str:
        """What a user would type."""
        return f"lossdoctor check {self.name}.keras {self.name}.npz" + (
            " --objects tour_losses.py" if self.objects else ""
        )


TOUR = (
    Stop(
        "swap",
        "targets in a list",
        "The model returns a dict of two outputs. Its author gives the targets in a list, in the order in which the outputs were declared.",
        'outputs = {"weight_kg": weight, "age_years": age}\nmodel.fit(x, [weights, ages])',
        "LD203",
        "Keras sorts the keys of a dict and deals a list out in that order: the weights went to age_years. Name the targets.",
    ),
    Stop(
        "broadcast",
        "a squared error of one's own",
        "The model predicts one price a sample, (N, 1), and the targets are a plain column, (N,). Built-in losses bring the two to one shape, "
        "so a subclass of Loss was expected to do so too.",
        "class Squared(keras.losses.Loss):\n    def call(self, y_true, y_pred):\n        return ops.square(y_true - y_pred)",
        "LD302",
        "(N,) minus (N, 1) is (N, N): every sample is trained on every target, and learns their mean. Give targets the output's shape.",
        objects=True,
    ),
    Stop(
        "logits",
        "a forgotten softmax",
        "A classifier of three species ends in a Dense layer without an activation. The loss was given by its name.",
        'outputs = layers.Dense(3, name="species")(features)\nmodel.compile(loss="sparse_categorical_crossentropy")',
        "LD601",
        "By name, a cross-entropy takes its input for probabilities. Nothing raises: what is none is clipped, and gets no gradient there.",
    ),
    Stop(
        "whole",
        "one loss for all outputs",
        "Two outputs belong together, so their author wrote one loss that reads both: the box from y_pred[0], the corners from y_pred[1].",
        "def detection(y_true, y_pred):\n    box = ops.mean(ops.square(y_true[0] - y_pred[0]))\n"
        "    corners = ops.mean(ops.abs(y_true[1] - y_pred[1]))\n    return box + corners",
        "LD801",
        "Keras calls a loss once for each output. Inside it, [0] and [1] are the first two samples; all others are never trained.",
        objects=True,
    ),
    Stop(
        "unreduced",
        "a loss without a reduction",
        "To see the loss of every sample, its author set reduction=None. On TensorFlow, fit logs a number that looks right.",
        "model.compile(loss=keras.losses.MeanSquaredError(reduction=None))",
        "LD401",
        "What is logged is a mean, what is followed is the gradient of a sum: the learning rate is in effect multiplied by the batch size.",
    ),
)
END = """\
That was the tour. For a model and a batch of your own:
  lossdoctor check model.keras batch.npz   says what Keras will really do
  lossdoctor show model.keras batch.npz    shows who is trained on what
  lossdoctor explain "ValueError: ..."     tells what an error of Keras means
  lossdoctor fix model.keras batch.npz     asks which repairs to take, and writes them
  lossdoctor patch model.keras batch.npz   writes the repairs as Python, unasked
"""
