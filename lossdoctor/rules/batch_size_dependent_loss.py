"""
## What it sees
The loss of the same rows, repeated twice and three times in one batch, is two and three times as large.

## Why it matters
The step length then grows with the batch size: a learning rate that was tuned at 32 is eight times too large at 256, and the
last, smaller batch of an epoch counts less.

## What to do
Average over the samples: `ops.mean` in place of `ops.sum`, or `reduction="sum_over_batch_size"`.

## Measured
Keras 3.15.1, TensorFlow and JAX: `reduction="sum"` scales loss and gradient with the batch size. A custom function that
returns `ops.sum(...)` does too; one that returns one value a sample is averaged by Keras. An explicit `reduction="sum"` is a
choice, so it is told as info.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import At, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Calls whose value doubles and triples with the rows."""
    for i, call in enumerate(exam.fit.calls):
        values = [call.value, *(run.calls[i].value if i < len(run.calls) else None for run in exam.repeats)]
        if len(values) != 3 or any(v is None for v in values) or not _proportional(values):
            continue
        yield _finding(exam, call, [float(v) for v in values if v is not None])


def _proportional(values: list[float | None]) -> bool:
    once, twice, thrice = (float(v) for v in values if v is not None)
    return once != 0 and abs(twice / once - 2) < 0.02 and abs(thrice / once - 3) < 0.03


def _finding(exam: Exam, call: LossCall, values: list[float]) -> Finding:
    chosen = call.reduction == "sum"
    rows = exam.case.rows
    said = f"{call.label} grows with the batch: {shared.number(values[0])} for {rows} rows, {shared.number(values[1])} for the same rows twice"
    fixes = (
        repairs.configured(
            'average: reduction="sum_over_batch_size"', exam, {call.loss_path}, reduction="sum_over_batch_size"
        ),
    )
    if not chosen:
        fixes = (_divided(exam, call),)
    return RULE.finding(
        "info" if chosen else "warning",
        "note" if chosen else "risk",
        f"{said}{' (it has reduction=sum)' if chosen else ''}. The step length depends on the batch size.",
        where=tuple(str(o) for o in call.outputs),
        evidence={f"loss of {rows * k} rows": v for k, v in zip((1, 2, 3), values, strict=True)},
        fixes=fixes,
    )


def _divided(exam: Exam, call: LossCall) -> Fix:
    """The same loss, divided by the number of rows: each sample's gradient no longer depends on how many there are."""
    name = f"mean_{call.label}" if call.label.isidentifier() else "mean_loss"
    source = (
        f"def {name}(y_true, y_pred):\n    return LOSS(y_true, y_pred) / ops.cast(ops.shape(y_pred)[0], y_pred.dtype)\n"
    )
    by_hand = repairs.by_hand(
        "average over the samples in the loss (ops.mean for ops.sum), or return one value a sample",
        "loss",
        "only the loss's author knows whether the sum is meant",
    )
    if len(call.outputs) != 1 or call.wrapped is False:
        return by_hand
    return repairs.rewritten(
        "average over the samples: divide by their number",
        exam,
        call.loss_path,
        name,
        source,
        {"LOSS": At(call.loss_path)},
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3)(i))
model.compile(loss={loss})
x, y = np.ones((8, 4)), np.ones((8, 3))
"""
_FUNCTION = """\
def squared(y_true, y_pred):
    return {expression}

"""

RULE = Rule(
    code="LD402",
    name="batch-size-dependent-loss",
    category="reduction",
    summary="A loss whose value grows with the batch.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a custom loss that sums over the batch",
            _FUNCTION.format(expression="ops.sum(ops.square(y_true - y_pred))") + _MODEL.replace("{loss}", "squared"),
            "warning",
        ),
        Example("an explicit sum", _MODEL.replace("{loss}", 'keras.losses.MeanSquaredError(reduction="sum")'), "info"),
    ),
    good=(
        Example(
            "one value a sample, averaged by Keras",
            _FUNCTION.format(expression="ops.sum(ops.square(y_true - y_pred), axis=-1)")
            + _MODEL.replace("{loss}", "squared"),
        ),
    ),
    needs=("repeats",),
)
