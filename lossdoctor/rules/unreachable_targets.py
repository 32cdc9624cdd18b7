"""
## What it sees
Target values that the output's activation cannot reach: pixels up to 255 for a sigmoid, negative numbers for a ReLU.

## Why it matters
The loss can never come down to what it would be for a linear output, and the activation is driven into saturation, where the gradient vanishes.

## What to do
Scale the targets into the activation's range, or end the model without an activation.

## Measured
Keras 3.15.1: the range is measured by pushing normals of the scales 1, 10 and 100 through the model's own last layers; a bound is one that no larger scale moves. Only Keras's own losses that compare values
are looked at; entries with sample weight 0 do not count.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding

# Keras's losses that are smallest where the prediction equals the target.
_COMPARING = (
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
    "poisson",
)


def check(exam: Exam) -> Iterator[Finding]:
    """Targets under a comparing loss, against the measured range of their output."""
    for call in shared.leaf_calls(exam):
        output, target = str(call.outputs[0]), str(call.targets[0])
        activation, found = exam.activations.get(output), exam.values.get(target)
        if not call.builtin or call.label not in _COMPARING or activation is None or activation.name is None:
            continue
        if found is None or found.numbers is None or activation.constant or shared.span(found) is None:
            continue
        low, high = activation.low, activation.high
        slack = 1e-3 * max(1.0, abs(low or 0.0), abs(high or 0.0))
        below = None if low is None else found.where(found.numbers < low - slack)
        above = None if high is None else found.where(found.numbers > high + slack)
        wrong = below or above
        if wrong is None:
            continue
        kept = found.kept()
        count = (below.count if below else 0) + (above.count if above else 0)
        bounds = (
            f"from {shared.number(low)}"
            if high is None
            else f"up to {shared.number(high)}"
            if low is None
            else f"from {shared.number(low)} to {shared.number(high)}"
        )
        yield RULE.finding(
            "warning",
            "risk",
            f"{target} goes from {shared.number(float(kept.min()))} to {shared.number(float(kept.max()))}, but {output} is {activation.name}, {bounds}: "
            f"{count} of {wrong.entries} target values cannot be reached.",
            where=(target, output),
            evidence={
                "target range": [float(kept.min()), float(kept.max())],
                "output range": [low, high],
                "out of reach": count,
                "first index": list(wrong.index),
                "value": float(wrong.value),
            },
            fixes=(
                repairs.activation(f"end the model without {activation.name}", exam, output, "linear"),
                repairs.by_hand(
                    "or give targets that the output can reach", "batch", "what the targets should be is not written"
                ),
                *_scaled(exam, target, float(kept.min()), float(kept.max()), low, high),
            ),
        )


def _scaled(exam: Exam, path: str, least: float, most: float, low: float | None, high: float | None) -> tuple[Fix, ...]:
    """The targets moved into a range that has two ends, by this batch's smallest and largest value."""
    if low is None or high is None or not most > least:
        return ()
    unit = f"({path} - {least:.6g}) / {most - least:.6g}"
    code = unit if (low, high) == (0.0, 1.0) else f"{low:.6g} + {high - low:.6g} * {unit}"
    return (
        repairs.on_leaf(
            "or scale the targets into the output's range (use the range of all data)", exam, path, code, "review"
        ),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="{activation}")(i))
model.compile(loss="mse")
x, y = np.ones((8, 4)), {targets}
"""

RULE = Rule(
    code="LD604",
    name="unreachable-targets",
    category="activation",
    summary="Target values outside the output's range.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "pixels up to 255 for a sigmoid",
            _MODEL.format(activation="sigmoid", targets="np.linspace(0.0, 255.0, 24).reshape(8, 3)"),
            "warning",
        ),
        Example(
            "negative targets for a ReLU",
            _MODEL.format(activation="relu", targets="np.linspace(-1.0, 1.0, 24).reshape(8, 3)"),
            "warning",
        ),
    ),
    good=(
        Example(
            "pixels from 0 to 1", _MODEL.format(activation="sigmoid", targets="np.linspace(0.0, 1.0, 24).reshape(8, 3)")
        ),
        Example(
            "large positive targets for a ReLU",
            _MODEL.format(activation="relu", targets="np.linspace(0.0, 1e6, 24).reshape(8, 3)"),
        ),
    ),
)
