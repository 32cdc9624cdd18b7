"""
## What it sees
NaN or infinity in the targets.

## Why it matters
One NaN makes the loss of its batch NaN, and the next step makes every weight NaN. A sample weight of 0 does not help: 0 times NaN is NaN.

## What to do
Replace the values and give them weight 0: `np.nan_to_num(y)`; or mask them inside the loss with `ops.where`.

## Measured
Keras 3.15.1, TensorFlow and JAX: MSE with one NaN among the targets logs NaN, with sample weight 0 at that row too. A custom loss that takes NaN out with `ops.where` on the targets trains; that is told as info. As a class number NaN becomes -9223372036854775808, and TensorFlow CPU raises.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import BatchEdit, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Targets that met a loss, by what fit logged."""
    seen = set()
    for call, output, target in shared.pairs(exam):
        found = exam.values.get(str(target))
        if found is None or found.numbers is None or target in seen:
            continue
        seen.add(target)
        numbers = found.numbers
        wrong = numbers[~(abs(numbers) < float("inf"))]
        if not wrong.size:
            continue
        places = (~(abs(numbers) < float("inf"))).nonzero()
        index = [int(axis[0]) for axis in places]
        value = call.value if call.value is not None else exam.fit.outcome.loss
        gradient = {g.output: g for g in exam.fit.gradients}.get(output)
        # a class number: TensorFlow's kernel meets it as -2**63 and raises
        raised = shared.raises(exam) and call.builtin and call.label in shared.SPARSE
        broken = gradient is not None and not gradient.finite
        harmless = (
            not broken
            and value is not None
            and math.isfinite(value)
            and not shared.raises(exam)
            and index[:1] <= [exam.case.rows - 1]
        )
        yield RULE.finding(
            "info" if harmless else "error",
            "note" if harmless else "raises" if raised else "silent",
            f"{wrong.size} of {numbers.size} values of {target} are not finite, the first at {target}{index}: "
            + (
                f"{call.label} deals with them, its value is {shared.number(value)}."
                if harmless
                else f"{call.label} is {shared.number(value)}, but its gradient at {output} is not finite."
                if broken and value is not None and math.isfinite(value)
                else f"{call.label} takes them as class numbers, and fit raises."
                if raised
                else "fit raises before it trains on them."
                if shared.raises(exam)
                else f"{call.label} is {shared.number(value)} on {output}."
            ),
            where=(str(target), output),
            evidence={
                "not finite": int(wrong.size),
                "NaN": int((numbers != numbers).sum()),
                "first index": index,
                **({"error": shared.error(exam)} if raised else {f"{call.label} value": value}),
            },
            fixes=()
            if harmless
            else (
                *_weighed(exam, str(target)),
                repairs.on_leaf(
                    "or put 0 in their place",
                    exam,
                    str(target),
                    f"np.nan_to_num({target}, posinf=0, neginf=0)",
                    "review",
                ),
            ),
        )


def _weighed(exam: Exam, path: str) -> tuple[Fix, ...]:
    """0 in their place, and weight 0 for their samples; only where one array of targets has no weights yet."""
    if path != "y" or exam.case.batch.sample_weight is not None or not trees.is_leaf(exam.case.batch.y):
        return ()
    axes = tuple(range(1, len(exam.case.batch.y.shape)))
    known = f"np.isfinite(y).all(axis={axes})" if axes else "np.isfinite(y)"
    return (
        Fix(
            "replace them, and give those samples weight 0",
            "batch",
            "review",
            edits=(
                BatchEdit(f'sample_weight = {known}.astype("float32")'),
                BatchEdit("y = np.nan_to_num(y, posinf=0, neginf=0)"),
            ),
        ),
    )


_MODEL = """\
{loss}i = keras.Input((4,))
model = keras.Model(i, layers.Dense(1)(i))
model.compile(loss={name})
x, y = np.ones((8, 4)), np.arange(8.0)[:, None]
y[3] = np.nan
"""
_MASKED = """\
def masked(y_true, y_pred):
    known = ops.logical_not(ops.isnan(y_true))
    return ops.mean(ops.square(ops.where(known, y_true - y_pred, 0.0)), axis=-1)

"""

RULE = Rule(
    code="LD701",
    name="non-finite-target",
    category="values",
    summary="NaN or infinity in the targets.",
    page=__doc__,
    check=check,
    bad=(
        Example("a NaN", _MODEL.format(loss="", name='"mse"'), "error"),
        Example(
            "weight 0 does not help",
            _MODEL.format(loss="", name='"mse"') + "sample_weight = np.isfinite(y)[:, 0] * 1.0\n",
            "error",
        ),
    ),
    good=(Example("masked in the loss on purpose", _MODEL.format(loss=_MASKED, name="masked")),),
)
