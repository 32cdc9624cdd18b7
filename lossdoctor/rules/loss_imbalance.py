"""
## What it sees
One output's gradient is more than a hundred times another's, on every draw of predictions.

## Why it matters
The shared layers then learn for the large one alone. Targets in pixels next to probabilities are the usual reason.

## What to do
Scale the targets to the order of 1, or balance with `loss_weights`. With `--forward` the shares are those of the model's real predictions.

## Measured
Keras 3.15.1: norms of d(total loss)/d(output) of one real train step. They are a hint and no proof, hence info: what reaches the shared layers also depends on the layers between.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import FAR_APART, Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Outputs with a loss of weight above 0, compared in every draw."""
    outputs = [output for call, output, _ in shared.pairs(exam) if call.weight > 0]
    draws = exam.probes.draws
    if len(set(outputs)) < 2 or not draws:
        return
    first = {o: draws[0].norms.get(o, 0.0) for o in dict.fromkeys(outputs)}
    large, small = max(first, key=lambda o: first[o]), min(first, key=lambda o: first[o])
    if any(not draw.norms.get(small, 0.0) or not draw.norms[large] / draw.norms[small] > FAR_APART for draw in draws):
        return
    total = sum(first.values())
    yield RULE.finding(
        "info",
        "note",
        f"{large} has {100 * first[large] / total:.4g} % of the gradient, {small} {100 * first[small] / total:.2g} %.",
        where=(large, small),
        evidence={
            **{f"gradient norm at {o}": n for o, n in first.items()},
            "predictions": "the model's own" if exam.case.model.predictions is not None else "seeded plausible ones",
        },
        fixes=(
            repairs.by_hand(
                "scale the targets to the order of 1, or balance with loss_weights",
                "compile",
                "how much each output matters is yours to say",
            ),
        ),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(4)(i), layers.Dense(1, activation="sigmoid")(i)])
model.compile(loss=["mse", "binary_crossentropy"])
x = np.ones((8, 4))
boxes, labels = np.arange(32.0).reshape(8, 4), np.arange(8)[:, None] % 2
"""

RULE = Rule(
    code="LD514",
    name="loss-imbalance",
    category="loss-weights",
    summary="One output's gradient drowns the others.",
    page=__doc__,
    check=check,
    bad=(Example("boxes in pixels next to a probability", _MODEL + "y = [100 * boxes, labels]\n", "info"),),
    good=(Example("boxes in fractions of the image", _MODEL + "y = [boxes / 32, labels]\n"),),
    needs=("probes",),
)
