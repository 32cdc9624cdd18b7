"""
## What it sees
A loss with `reduction=None` that returns one value a position (sample and step), not one a sample.

## Why it matters
Code that expects a vector of N sample losses (to weight or rank samples by hand) gets an `(N, T)` matrix, and a weight
vector broadcasts along the wrong axis where N equals T.

## What to do
Average the steps yourself: `ops.mean(loss, axis=1)`.

## Measured
Keras 3.15.1: built-in losses reduce the last axis only, so `(N, T, D)` gives `(N, T)`. From keras-team/keras#20395.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Unreduced calls that returned more than one axis."""
    for call in exam.run.calls:
        if call.reduction is None and call.value_shape is not None and len(call.value_shape) > 1:
            yield RULE.finding(
                "info",
                "note",
                f"{call.label} with reduction=None returns shape {call.value_shape} here, one value a position, not one a sample.",
                where=tuple(str(o) for o in call.outputs),
                evidence={
                    "returned shape": list(call.value_shape),
                    "output shape": list(call.output_shapes[0]) if call.output_shapes else [],
                },
                fixes=(
                    repairs.by_hand(
                        "average the steps where one value a sample is wanted",
                        "loss",
                        "which of the two is meant is yours to say",
                        "ops.mean(loss, axis=1)",
                    ),
                ),
            )


_MODEL = """\
i = keras.Input((5, 4))
model = keras.Model(i, layers.Dense(3)(i))
model.compile(loss=keras.losses.MeanSquaredError({reduction}))
x, y = np.ones((8, 5, 4)), np.ones((8, 5, 3))
"""

RULE = Rule(
    code="LD405",
    name="per-step-not-per-sample",
    category="reduction",
    summary="reduction=None gives one value a position, not a sample.",
    page=__doc__,
    check=check,
    bad=(Example("one value a step", _MODEL.replace("{reduction}", "reduction=None"), "info"),),
    good=(Example("the default reduction", _MODEL.replace("{reduction}", "")),),
)
