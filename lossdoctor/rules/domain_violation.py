"""
## What it sees
Target values that a loss is not defined for: negative counts under Poisson, negative numbers under the logarithmic error, zeros under the percentage error, other labels than -1, 0 and 1 under hinge.

## Why it matters
Keras clips or divides by a tiny number instead of raising, so that the loss means something else or is dominated by a few samples.

## What to do
Shift or transform the targets, or use another loss.

## Measured
Keras 3.15.1: `mean_squared_logarithmic_error` reads every negative target as 0; `mean_absolute_percentage_error` divides by at least 1e-7, so that one zero target gives a loss of about 1e9; `hinge` turns labels of 0 and
1 into -1 and 1, and takes all others as they are; `poisson` with a negative target falls without end.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam, Values
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Targets of losses with a domain."""
    for call in shared.leaf_calls(exam):
        found = exam.values.get(str(call.targets[0]))
        if not call.builtin or found is None or found.numbers is None or shared.span(found) is None:
            continue
        numbers = found.numbers
        wrong, said, then = None, "", ""
        if call.label == "poisson":
            wrong, said, then = found.where(numbers < 0), "are negative", "takes counts"
        elif call.label == "mean_squared_logarithmic_error":
            wrong, said, then = found.where(numbers < 0), "are negative", "reads those as 0"
        elif call.label == "mean_absolute_percentage_error":
            wrong, said, then = (
                found.where(numbers == 0),
                "are 0",
                f"divides by them: its value is {shared.number(call.value)}",
            )
        elif call.label in ("hinge", "squared_hinge"):
            labels = (numbers == 0) | (abs(numbers) == 1)
            kept = found.kept()
            mixed = bool((kept == 0).any() and (kept == -1).any())
            wrong = found.where(~labels & (numbers == numbers)) if not mixed else found.where(numbers == 0)
            said = "are none of -1, 0 and 1" if not mixed else "are 0 next to -1"
            then = "takes labels of -1 and 1"
        if wrong is not None:
            yield _finding(exam, found, call.label, str(call.outputs[0]), wrong, said, then)


def _finding(exam: Exam, found: Values, label: str, output: str, wrong: object, said: str, then: str) -> Finding:
    kept = found.kept()
    return RULE.finding(
        "warning",
        "risk",
        f"{wrong.count} of {wrong.entries} values of {found.path} {said} (the first at {found.path}{list(wrong.index)}), and {label} {then}.",  # type: ignore[attr-defined]
        where=(found.path, output),
        evidence={
            "lowest": float(kept.min()),
            "highest": float(kept.max()),
            "values": wrong.count,  # type: ignore[attr-defined]
            "first index": list(wrong.index),  # type: ignore[attr-defined]
        },
        fixes=_fixes(exam, found, label),
    )


def _fixes(exam: Exam, found: Values, label: str) -> tuple[Fix, ...]:
    path = found.path
    instead = {"mean_squared_logarithmic_error": "mse", "mean_absolute_percentage_error": "mae", "poisson": "mse"}.get(
        label
    )
    by_hand = repairs.by_hand(
        "transform the targets, or use a loss that is made for them",
        "batch",
        "what the values stand for is not in the batch",
    )
    if label in ("hinge", "squared_hinge") and set(found.kept()[:1000].tolist()) <= {-1.0, 0.0, 1.0}:
        return (
            repairs.on_leaf(
                "labels above 0 are 1, the others -1", exam, path, f"np.where({path} > 0, 1, -1)", "review"
            ),
        )
    paths = [call.loss_path for call in shared.leaf_calls(exam) if str(call.targets[0]) == path and call.label == label]
    if instead is None or not paths:
        return (by_hand,)
    return (repairs.other_loss(f"use a loss for such targets, such as {instead!r}", exam, paths[0], instead), by_hand)


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(1, activation="{activation}")(i))
model.compile(loss="{loss}")
x, y = np.ones((8, 4)), {targets}
"""

RULE = Rule(
    code="LD704",
    name="domain-violation",
    category="values",
    summary="Target values that the loss is not defined for.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "negative counts",
            _MODEL.format(activation="exponential", loss="poisson", targets="np.arange(8.0)[:, None] - 2"),
            "warning",
        ),
        Example(
            "zeros under a percentage error",
            _MODEL.format(
                activation="linear", loss="mean_absolute_percentage_error", targets="np.arange(8.0)[:, None]"
            ),
            "warning",
        ),
        Example(
            "labels 0 and 2 under hinge",
            _MODEL.format(activation="tanh", loss="hinge", targets="2.0 * (np.arange(8)[:, None] % 2)"),
            "warning",
        ),
    ),
    good=(
        Example("counts", _MODEL.format(activation="exponential", loss="poisson", targets="np.arange(8.0)[:, None]")),
        Example(
            "labels -1 and 1",
            _MODEL.format(activation="tanh", loss="hinge", targets="2.0 * (np.arange(8)[:, None] % 2) - 1"),
        ),
    ),
)
