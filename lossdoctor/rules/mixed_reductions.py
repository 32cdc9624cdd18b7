"""
## What it sees
Losses that are reduced differently on different outputs, so that their gradients come out at different scales.

## Why it matters
A sum is as many times larger than a mean as there are entries in the batch. The loss weights then do not say what they seem to say, and
change their meaning with the batch size.

## What to do
One reduction for all losses. Where a sum is wanted on purpose, put the factor in `loss_weights`.

## Measured
Keras 3.15.1, TensorFlow: outputs `(8, 1)`, one MSE with `reduction="sum"` and one with the default: the gradient of the first is 8 times what the default gives. A sum with the weight
1/8 comes out at the scale of the default, which is told as info. JAX: `reduction="mean_with_sample_weight"` divides by the sum of the weights as
given, before they are spread: with an output `(2, 4, 1)`, errors of 1 and weights of 1 in the shape `(2, 1)` the loss is 4, in the shape `(2, 4)` it is 1.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Outputs under different reductions, by the measured scale of their gradients."""
    scales = exam.probes.scales
    reductions = {output: call.reduction for call, output, _ in shared.pairs(exam)}
    weights = {output: call.weight for call, output, _ in shared.pairs(exam)}
    known = {o: s for o, s in scales.items() if o in reductions and s > 0}
    # reduction=None is LD401's.
    if len(known) < 2 or len(set(reductions.values()) - {None}) < 2:
        return
    ordered = sorted(known, key=lambda o: (known[o], o))
    low, high = ordered[0], ordered[-1]
    if reductions[low] == reductions[high]:
        low = next((o for o in ordered if reductions[o] != reductions[high]), low)
    ratio = known[high] / known[low]
    evidence = {
        f"{output}: {reductions[output]}, weight {shared.number(weights[output])}": f"gradient {shared.number(scale)} times the default's"
        for output, scale in sorted(known.items())
    }
    even = ratio < 2
    declared = (abs(weights[high]) or 1.0) / (abs(weights[low]) or 1.0)
    yield RULE.finding(
        "info" if even else "warning",
        "note" if even else "risk",
        f"{high} is reduced by {reductions[high]} and {low} by {reductions[low]}: "
        + (
            "with these weights both have gradients of one scale, at this batch size."
            if even
            else f"the first weighs {shared.number(ratio)} times the second at this batch size; the weights say {shared.number(declared)}."
        ),
        where=(high, low),
        evidence=evidence,
        fixes=() if even else (_one(exam),),
    )


def _one(exam: Exam) -> Fix:
    """The default reduction for every loss that has another one."""
    paths = {c.loss_path for c in exam.run.calls if c.reduction != "sum_over_batch_size"}
    return repairs.configured("use one reduction", exam, paths, reduction="sum_over_batch_size")


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(1)(i), layers.Dense(1)(i)])
x, y = np.ones((8, 4)), [np.arange(8.0)[:, None], np.arange(8.0)[:, None]]
"""

RULE = Rule(
    code="LD403",
    name="mixed-reductions",
    category="reduction",
    summary="Outputs reduced differently, so that weights do not mean what they say.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a sum next to a mean",
            _MODEL + 'model.compile(loss=[keras.losses.MeanSquaredError(reduction="sum"), "mse"])\n',
            "warning",
        ),
    ),
    good=(
        Example("one reduction", _MODEL + 'model.compile(loss=["mse", "mae"])\n'),
        Example(
            "a sum on purpose, weighted to one scale",
            _MODEL
            + 'model.compile(loss=[keras.losses.MeanSquaredError(reduction="sum"), "mse"], loss_weights=[1 / 8, 1.0])\n',
        ),
    ),
    needs=("probes",),
)
