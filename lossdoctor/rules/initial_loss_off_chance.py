"""
## What it sees
With `--forward`: the cross-entropy of the model's own predictions on this batch, against log K, what guessing among K classes gives.

## Why it matters
An untrained classifier starts near log K. Far above it something is wrong before the first step: inputs that are not scaled, a wrong activation, labels that belong to other
samples.

## What to do
Scale the inputs (`x / 255`), look at the last layer, and at the pairing table.

## Measured
Keras 3.15.1: `Dense` with its default initializer on inputs of the order of 1 starts within some tens of percent of log K; on pixels from 0 to 255 it starts many times higher. A trained model is far *below* log K,
which is no finding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding

_MULTI = ("categorical_crossentropy", "sparse_categorical_crossentropy")
_FAR, _VERY_FAR = 2.0, 5.0


def check(exam: Exam) -> Iterator[Finding]:
    """Cross-entropies on the model's own predictions."""
    if not exam.case.forward:
        return
    for call in shared.leaf_calls(exam):
        reading = exam.readings.get(call.number)
        if reading is None or call.output_shapes[0] == ():
            continue
        classes = call.output_shapes[0][-1] if call.label in _MULTI else 2 if call.label == "binary_crossentropy" else 1
        if classes < 2:
            continue
        chance = math.log(classes) * _mass(exam, call)
        if chance <= 0:
            continue
        times = reading.trained / chance
        if times > _FAR:
            far = times > _VERY_FAR
            yield RULE.finding(
                "warning" if far else "info",
                "risk" if far else "note",
                f"{call.label} on {call.outputs[0]} is {shared.number(reading.trained)} on the model's own predictions, {shared.number(times)} times what guessing among {classes} classes gives "
                f"({shared.number(chance)}).",
                where=(str(call.outputs[0]),),
                evidence={"loss": reading.trained, f"log {classes}": chance, "times": times},
                fixes=(
                    repairs.by_hand(
                        "scale the inputs, and look at the last layer",
                        "model",
                        "which scale the inputs should have is not written",
                    ),
                ),
            )


def _mass(exam: Exam, call: LossCall) -> float:
    """What a row of targets adds up to on average: 1 for labels and distributions, more for counts."""
    found = exam.values.get(str(call.targets[0]))
    if call.label != "categorical_crossentropy" or found is None or found.numbers is None or not found.kept().size:
        return 1.0
    rows = max(1, int(found.numbers.size) // int(found.numbers.shape[-1]))
    return float(found.kept().sum() / rows)


_MODEL = """\
keras.utils.set_random_seed(3)
i = keras.Input((64,))
model = keras.Model(i, layers.Dense(3, activation="softmax")(i))
model.compile(loss="sparse_categorical_crossentropy")
x, y = {scale} * np.random.default_rng(0).uniform(size=(32, 64)), np.arange(32) % 3
forward = True
"""

RULE = Rule(
    code="LD807",
    name="initial-loss-off-chance",
    category="custom-loss",
    summary="With --forward: the model's loss on this batch, far above what guessing gives.",
    page=__doc__,
    check=check,
    bad=(Example("pixels from 0 to 255", _MODEL.replace("{scale}", "255"), "warning"),),
    good=(Example("pixels from 0 to 1", _MODEL.replace("{scale}", "1")),),
    needs=("forward",),
)
