"""
## What it sees
An output that is the same whatever goes in (softmax over one unit), that adds up to 1 over the samples instead of the classes, or a loss over classes
where there is one class.

## Why it matters
The output has no gradient, or one sample's prediction takes from the others. The loss stands still from the first step.

## What to do
`Dense(1, activation="sigmoid")` with binary cross-entropy, or one unit a class with softmax over the last axis.

## Measured
Keras 3.15.1: `Dense(1, activation="softmax")` predicts 1 for everything; the gradient of any loss on it is 0. `categorical_crossentropy` over one unit divides by the sum over that unit:
the loss is 0 whatever the prediction (on TensorFlow its gradient is not, and pushes the output for nothing). Keras warns about a softmax over an axis of size 1, and trains.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import CompileEdit, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Outputs with a loss, by the range of their last layers and by the gradient in every draw."""
    draws = exam.probes.draws
    for call in shared.leaf_calls(exam):
        output = str(call.outputs[0])
        activation = exam.activations.get(output)
        values = [v for d in draws if call.number < len(d.values) for v in [d.values[call.number]] if v is not None]
        norms = [draw.norms.get(output, 0.0) for draw in draws]
        evidence = {
            "output shape": list(call.output_shapes[0]),
            **{f"loss, draw {i + 1}": value for i, value in enumerate(values)},
            **{f"gradient norm, draw {i + 1}": norm for i, norm in enumerate(norms)},
        }
        binary = CompileEdit("loss", repairs.replaced(exam, "loss", {call.loss_path: "binary_crossentropy"}))
        sigmoid = (
            repairs.activation(
                'one unit wants activation="sigmoid" and binary cross-entropy',
                exam,
                output,
                "sigmoid",
                more=(binary,) if "categorical" in call.label else (),
            ),
            repairs.by_hand("or one unit a class", "model", "how many classes there are is not in the model"),
        )
        if activation is not None and activation.constant:
            yield RULE.finding(
                "error",
                "silent",
                f"{output} is {activation.name} over one unit: it is {shared.number(activation.low)} whatever goes in, and nothing is learned.",
                where=(output,),
                evidence={**evidence, "lowest": activation.low, "highest": activation.high},
                fixes=sigmoid,
            )
        elif activation is not None and activation.sums_to_one == 0 and len(call.output_shapes[0]) > 1:
            yield RULE.finding(
                "error",
                "silent",
                f"{output} adds up to 1 over the samples of the batch, not over its classes: {activation.name} runs over axis 0.",
                where=(output,),
                evidence=evidence,
                fixes=(
                    repairs.by_hand(
                        "let the softmax run over the last axis",
                        "model",
                        "the axis is an argument of a layer in your code",
                        "keras.layers.Softmax(axis=-1)",
                    ),
                ),
            )
        elif (
            activation is not None
            and activation.name == "softmax"
            and call.number in exam.readings
            and exam.readings[call.number].mask is None
            and shared.class_axis(call) is not None
            and activation.sums_to_one not in (None, shared.class_axis(call))
        ):
            yield RULE.finding(
                "error",
                "silent",
                f"{output} adds up to 1 over axis {activation.sums_to_one}, but {call.label} takes its classes from axis {shared.class_axis(call)}.",
                where=(output,),
                evidence=evidence,
                fixes=(
                    repairs.by_hand(
                        "let the softmax run over the classes",
                        "model",
                        "the axis is an argument of a layer in your code",
                        f"keras.layers.Softmax(axis={shared.class_axis(call)})",
                    ),
                ),
            )
        elif (
            call.builtin
            and "categorical" in call.label
            and call.output_shapes[0][-1:] == (1,)
            and len(values) > 1
            and max(values) - min(values) < 1e-6
        ):
            yield RULE.finding(
                "error",
                "silent",
                f"{call.label} on {output} has one class to choose from: it is {shared.number(values[0])} on every draw of predictions, and nothing is learned.",
                where=(output,),
                evidence=evidence,
                fixes=sigmoid,
            )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense({units}, activation="{activation}")(i))
model.compile(loss="{loss}")
x, y = np.ones((8, 4)), np.arange(8)[:, None] % 2
"""

RULE = Rule(
    code="LD602",
    name="degenerate-activation",
    category="activation",
    summary="Softmax over one unit, and the like: an output without gradient.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "softmax over one unit", _MODEL.format(units=1, activation="softmax", loss="binary_crossentropy"), "error"
        ),
        Example("one class", _MODEL.format(units=1, activation="sigmoid", loss="categorical_crossentropy"), "error"),
    ),
    good=(Example("one sigmoid unit", _MODEL.format(units=1, activation="sigmoid", loss="binary_crossentropy")),),
)
