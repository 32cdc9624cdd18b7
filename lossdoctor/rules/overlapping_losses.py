"""
## What it sees
An output is trained by more than one loss call: by a loss on its subtree and by one of its own.

## Why it matters
It counts twice in the total, which is a choice, but one that shows nowhere: the weights you set are not the weights it gets.

## What to do
Nothing, where both levels are meant. Otherwise keep one of the two.

## Measured
Keras 3.15.1, TensorFlow: `{"detection": [whole, {"bbox": "mse", "confidence": "mae"}]}` calls `whole` on the subtree, and mse and mae on its
leaves; the total is the sum of the three. Needs Keras 3.7 or later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Output leaves met by several counted calls."""
    met: dict[str, list[LossCall]] = defaultdict(list)
    for call, output, _ in shared.pairs(exam):
        if call.value_shape is not None and call.weight:
            met[output].append(call)
    twice = {output: calls for output, calls in met.items() if len(calls) > 1}
    if twice and not shared.raises(exam):
        output, calls = next(iter(twice.items()))
        yield RULE.finding(
            "info",
            "note",
            f"{output} is counted by {len(calls)} losses: {shared.listed([f'{c.loss_path} ({c.label})' for c in calls])}.",
            where=tuple(twice),
            evidence={f"{c.loss_path} value": c.value for c in calls},
        )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"detection": {"bbox": layers.Dense(4)(i), "confidence": layers.Dense(1)(i)}})
def whole(y_true, y_pred):
    error = ops.mean(ops.square(y_true["bbox"] - y_pred["bbox"]), axis=-1)
    return error + ops.mean(ops.abs(y_true["confidence"] - y_pred["confidence"]), axis=-1)

x = np.ones((8, 4))
y = {"detection": {"bbox": np.ones((8, 4)), "confidence": np.ones((8, 1))}}
"""

RULE = Rule(
    code="LD504",
    name="overlapping-losses",
    category="loss-config",
    summary="A leaf counted at two levels.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "both levels",
            _MODEL + 'model.compile(loss={"detection": [whole, {"bbox": "mse", "confidence": "mae"}]})\n',
            "info",
            since="3.7",
        ),
    ),
    good=(Example("the subtree only", _MODEL + 'model.compile(loss={"detection": whole})\n', since="3.7"),),
)
