"""
## What it sees
A loss that is NaN or infinite on every draw of predictions that the output can really give, although targets and weights are finite.

## Why it matters
One such step makes every weight NaN.

## What to do
Keep the argument of a logarithm, a root or a division away from 0: `ops.maximum(p, keras.config.epsilon())`, or an activation that is positive.

## Measured
Keras 3.15.1: neither `fit` nor the losses check for NaN (`keras.callbacks.TerminateOnNaN` stops after the step). `poisson` takes the logarithm of the output: on a linear output it is NaN.
Draws are seeded and go through the model's own last layers; where these are not known, nothing is said. With `--forward` the model's own predictions are used; where these are not finite themselves (NaN in x), it is not the loss that is blamed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lossdoctor import trees
from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import ArrayRef, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Calls whose value is not finite in any draw."""
    real = exam.case.model.predictions is not None
    broken = _not_finite(exam)
    for call in exam.fit.calls:
        values = [d.values[call.number] for d in exam.probes.draws if call.number < len(d.values)]
        outputs = [str(o) for o in call.outputs if o is not None]
        norms = [d.norms.get(o, 0.0) for d in exam.probes.draws for o in outputs]
        value_broken = bool(values) and all(v is not None and not math.isfinite(v) for v in values)
        gradient_broken = bool(norms) and not any(math.isfinite(n) for n in norms)
        if not (value_broken or gradient_broken) or _broken_input(exam, call.targets):
            continue
        predicted = next((o for o in outputs if o in broken), None)
        if predicted is not None:
            yield _predicted(call, predicted, broken[predicted])
            continue
        known = all(o in exam.activations and exam.activations[o].name is not None for o in outputs)
        if not known and not real:
            continue
        ranges = [
            f"{o} is {exam.activations[o].name}" for o in outputs if o in exam.activations and exam.activations[o].name
        ]
        then = (
            "the optimizer, which scales the loss, skips every such step, and no weight moves"
            if exam.case.compile.dynamic_scale
            else "one step makes the weights NaN"
        )
        drawn = "the model's own predictions" if real else f"{len(values)} draws of plausible predictions"
        yield RULE.finding(
            "error" if real else "warning",
            "silent" if real else "risk",
            f"{call.label} is {shared.number(values[0])} on {drawn}{' (' + shared.listed(ranges) + ')' if ranges else ''}, "
            f"{'with a gradient that is finite' if not gradient_broken else ('and' if value_broken else 'but') + ' its gradient is not finite: ' + then}.",
            where=(*outputs, call.loss_path),
            evidence={f"loss value, draw {i + 1}": str(v) for i, v in enumerate(values)},
            fixes=(
                repairs.by_hand(
                    "keep logarithms, roots and divisions away from 0, or use a positive activation",
                    "loss",
                    "where the loss leaves the numbers is in its own code",
                ),
            ),
        )


def _not_finite(exam: Exam) -> dict[str, Any]:
    """{output: its predictions} of the model's own predictions that are not all finite."""
    given = exam.case.model.predictions
    leaves = [] if given is None else trees.leaves("y_pred", given)
    arrays = {
        path: leaf.rows(leaf.shape[0] if leaf.shape else 1) for path, leaf in leaves if isinstance(leaf, ArrayRef)
    }
    return {p: a for p, a in arrays.items() if a.dtype.kind == "f" and not bool((abs(a) < float("inf")).all())}


def _predicted(call: LossCall, output: str, values: Any) -> Finding:
    wrong = ~(abs(values) < float("inf"))
    first = tuple(int(i) for i in wrong.nonzero()[0][:1])
    return RULE.finding(
        "error",
        "silent",
        f"{output} is not finite on this x: {int(wrong.sum())} of {values.size} of the model's own predictions are NaN or infinite, and so is {call.label}.",
        where=(output, call.loss_path),
        evidence={"predictions that are not finite": int(wrong.sum()), "of": int(values.size), "first row": first[0]},
        fixes=(
            repairs.by_hand(
                "look for NaN in x, and in the saved weights", "batch", "the loss is given what is not finite already"
            ),
        ),
    )


def _broken_input(exam: Exam, targets: tuple[str | None, ...]) -> bool:
    """NaN in the targets (LD701) or in the weights (LD533) explains it."""
    met = [found for path, found in exam.values.items() if path in targets or path.startswith("sample_weight")]
    if any(f.numbers is not None and not bool((abs(f.numbers) < float("inf")).all()) for f in met):
        return True
    weights = [c.weight for c in exam.fit.calls]
    return any(not math.isfinite(w) for w in weights)


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="{activation}")(i))
model.compile(loss="poisson")
x, y = np.ones((8, 4)), np.arange(24.0).reshape(8, 3)
"""

RULE = Rule(
    code="LD805",
    name="non-finite-loss",
    category="custom-loss",
    summary="A loss that is NaN or infinite on plausible predictions.",
    page=__doc__,
    check=check,
    bad=(Example("the logarithm of a linear output", _MODEL.format(activation="linear"), "warning"),),
    good=(Example("a positive output", _MODEL.format(activation="softplus")),),
    needs=("probes",),
)
