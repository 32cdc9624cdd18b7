"""
## What it sees
Loss weights that are zero, negative, or not finite.

## Why it matters
With 0 an output is never trained. A negative weight makes Keras *maximize* that loss. One NaN makes the whole loss NaN.

## What to do
Leave out what should not count, and give every other loss a positive weight. An adversarial part is clearer with a model and an optimizer of its own.

## Measured
Keras 3.15.1, TensorFlow: the measured weight is what was given, of either sign; with `loss_weights=[1.0, float("nan")]` `fit` logs NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Measured weights, where weights were given."""
    if exam.case.compile.loss_weights is None or shared.raises(exam):
        return
    weights = {str(output): call.weight for call, output, _ in shared.pairs(exam)}
    given = trees.leaves("loss_weights", exam.case.compile.loss_weights)
    kept = trees.pack(
        exam.case.compile.loss_weights,
        [1.0 if isinstance(w, int | float) and not 0 < w < math.inf else w for _, w in given],
    )
    fixes = (repairs.compile_argument("give every loss a positive weight, here 1", "loss_weights", kept, "review"),)
    broken = {o: w for o, w in weights.items() if not math.isfinite(w)}
    zero = [o for o, w in weights.items() if w == 0]
    negative = {o: w for o, w in weights.items() if w < 0}
    if broken:
        yield RULE.finding(
            "error",
            "silent",
            f"The loss weight of {shared.listed(list(broken))} is {next(iter(broken.values()))}: fit logs {shared.number(exam.fit.outcome.loss)}.",
            where=tuple(broken),
            evidence={"loss fit reports": exam.fit.outcome.loss},
            fixes=fixes,
        )
    if negative:
        weight = next(iter(negative.values()))
        yield RULE.finding(
            "warning",
            "risk",
            f"The loss weight of {shared.listed(list(negative))} is {shared.number(weight)}: Keras makes that loss as large as it can.",
            where=tuple(negative),
            evidence={f"weight of {o}": w for o, w in negative.items()},
            fixes=fixes,
        )
    if zero and len(zero) == len(weights):
        yield RULE.finding(
            "error",
            "silent",
            "All loss weights are 0: nothing is trained.",
            where=tuple(zero),
            evidence={f"gradient norm at {g.output}": g.norm for g in exam.fit.gradients},
            fixes=fixes,
        )
    elif zero:
        yield RULE.finding(
            "info",
            "note",
            f"The loss weight of {shared.listed(zero)} is 0: {'it is' if len(zero) == 1 else 'they are'} not trained.",
            where=tuple(zero),
            evidence={f"gradient norm at {g.output}": g.norm for g in exam.fit.gradients if g.output in zero},
        )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(1)(i), layers.Dense(1)(i)])
x, y = np.ones((8, 4)), [np.ones((8, 1)), np.zeros((8, 1))]
model.compile(loss=["mse", "mse"], loss_weights={weights})
"""

RULE = Rule(
    code="LD513",
    name="degenerate-weights",
    category="loss-weights",
    summary="Loss weights that are zero, negative or NaN.",
    page=__doc__,
    check=check,
    bad=(
        Example("a negative weight", _MODEL.replace("{weights}", "[1.0, -0.1]"), "warning"),
        Example("NaN", _MODEL.replace("{weights}", '[1.0, float("nan")]'), "error"),
        Example("all zero", _MODEL.replace("{weights}", "[0.0, 0.0]"), "error"),
        Example("one output switched off", _MODEL.replace("{weights}", "[1.0, 0.0]"), "info"),
    ),
    good=(Example("positive weights", _MODEL.replace("{weights}", "[1.0, 0.1]")),),
)
