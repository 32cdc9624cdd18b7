"""
## What it sees
A target whose sizes are the output's in another order: channels first against channels last, time before samples.

## Why it matters
The shapes do not fit, and the message does not say that a transposition would make them fit. Where some sizes are 1 they broadcast without a word.

## What to do
Transpose the target: `np.moveaxis(y, 1, -1)`.

## Measured
Keras 3.15.1, TensorFlow: MSE of `(8, 2, 5, 6)` targets with `(8, 5, 6, 2)` outputs raises from the backend; sparse cross-entropy of `(8, 6, 5)` labels with
`(8, 5, 6, 3)` outputs raises too. Sizes that are equal (square images) hide a swap of height and width: that cannot be seen in the shapes.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Leaf calls whose target is a transposition of what its loss takes."""
    for call in exam.run.calls:
        order = shared.transposition(call)
        if order is None or not (shared.failed_in(exam, call) or (call.broadcast and call.broadcast.observed)):
            continue
        raised = shared.failed_in(exam, call)
        target, output = str(call.targets[0]), str(call.outputs[0])
        yield RULE.finding(
            "error",
            "raises" if raised else "silent",
            f"{target} has shape {call.target_shapes[0]} and {output} {call.output_shapes[0]}: the same axes in another order, and "
            f"{'fit raises' if raised else 'Keras broadcasts them'}.",
            where=(target, output),
            evidence={
                "target shape": list(call.target_shapes[0]),
                "output shape": list(call.output_shapes[0]),
                **({"error": shared.error(exam)} if raised else {}),
            },
            fixes=(
                repairs.on_leaf(
                    "bring the axes into the output's order", exam, target, f"np.transpose({target}, {order})"
                ),
            ),
        )


_MODEL = """\
i = keras.Input((5, 6, 3))
model = keras.Model(i, layers.Conv2D(2, 1)(i))
model.compile(loss="mse")
x = np.ones((8, 5, 6, 3))
"""

RULE = Rule(
    code="LD306",
    name="axis-order",
    category="shape",
    summary="Shapes that agree only after a transposition.",
    page=__doc__,
    check=check,
    bad=(Example("channels first", _MODEL + "y = np.ones((8, 2, 5, 6))\n", "error"),),
    good=(Example("channels last", _MODEL + "y = np.ones((8, 5, 6, 2))\n"),),
)
