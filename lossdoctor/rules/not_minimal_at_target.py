"""
## What it sees
A custom loss that is largest where the prediction equals the target, or whose parameters stand in the order of another library: `(y_pred, y_true)`.

## Why it matters
Keras minimizes what the loss returns and passes `(y_true, y_pred)`. A similarity or a score that is returned as it is gets driven down; a loss with its arguments
swapped computes the gradient of something else.

## What to do
Return the negative, or 1 minus the score. Write the parameters in Keras's order.

## Measured
Keras 3.15.1: `compile` looks at neither names nor signs. Losses that do not compare a prediction with its target (contrastive distances, critics, log-links) are not smallest at the target either: unless the target is a
*maximum* in every direction, that is told as info.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall, Minimum
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import At, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Custom calls, by their parameters' names and by their value at the target."""
    minima = {m.call: m for m in exam.probes.minima}
    for call in shared.leaf_calls(exam):
        swap = exam.probes.swapped.get(call.number)
        names = exam.swapped_names.get(call.loss_path)
        if names is not None and swap is not None and not shared.close(*swap):
            yield _swapped(exam, call, names, swap)
        elif call.number in minima:
            yield from _at_target(exam, call, minima[call.number])


def _swapped(exam: Exam, call: LossCall, names: tuple[str, str], swap: tuple[float, float]) -> Finding:
    return RULE.finding(
        "error",
        "silent",
        f"{call.label}({names[0]}, {names[1]}) takes its arguments in the other order than Keras passes them: {names[0]} gets the targets. "
        f"Keras computes {shared.number(swap[0])}; with the arguments exchanged it is {shared.number(swap[1])}.",
        where=(str(call.outputs[0]), call.loss_path),
        evidence={"loss as Keras calls it": swap[0], "loss with the arguments exchanged": swap[1]},
        fixes=(
            repairs.rewritten(
                "pass the arguments in the loss's own order",
                exam,
                call.loss_path,
                "in_order",
                "def in_order(y_true, y_pred):\n    return LOSS(y_pred, y_true)\n",
                {"LOSS": At(call.loss_path)},
                "safe",
            )
            if call.wrapped
            else repairs.by_hand(
                "write the parameters in Keras's order",
                "loss",
                "the method is in your class",
                f"def call(self, {names[1]}, {names[0]}):",
            ),
        ),
    )


def _at_target(exam: Exam, call: LossCall, found: Minimum) -> Iterator[Finding]:
    noise = min(found.noise)
    evidence = {
        "loss with the target as prediction": found.at_target,
        "loss of other predictions": [float(f"{v:.6g}") for v in found.noise],
        "loss of small steps away from the target": [float(f"{v:.6g}") for v in found.near],
    }
    values = (found.at_target, *found.noise, *found.near)
    if any(v != v or abs(v) == float("inf") for v in values) or not found.at_target > max(found.noise):
        return
    where = (str(call.outputs[0]), str(call.targets[0]), call.loss_path)
    if found.at_target > max(found.near):
        yield RULE.finding(
            "warning",
            "risk",
            f"{call.label} is largest where the prediction equals the target ({shared.number(found.at_target)}, against {shared.number(noise)} elsewhere), and Keras makes "
            "it small, as if its sign were flipped.",
            where=where,
            evidence=evidence,
            fixes=(
                repairs.rewritten(
                    "return the negative",
                    exam,
                    call.loss_path,
                    "negative",
                    "def negative(y_true, y_pred):\n    return -LOSS(y_true, y_pred)\n",
                    {"LOSS": At(call.loss_path)},
                )
                if call.wrapped
                else repairs.by_hand(
                    "return the negative, or 1 minus the score", "loss", "the method is in your class"
                ),
            ),
        )
    else:
        yield RULE.finding(
            "info",
            "note",
            f"{call.label} is {shared.number(found.at_target)} where the prediction equals the target, and smaller ({shared.number(noise)}) on other predictions.",
            where=where,
            evidence=evidence,
            fixes=(
                repairs.by_hand(
                    "if the output is meant to become the target: check the loss's sign and arguments",
                    "loss",
                    "what the output is meant to be is not written",
                ),
            ),
        )


_MODEL = """\
{loss}
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="sigmoid")(i))
model.compile(loss=custom)
x, y = np.ones((8, 4)), np.linspace(0.05, 0.95, 24).reshape(8, 3)
"""

RULE = Rule(
    code="LD806",
    name="not-minimal-at-target",
    category="custom-loss",
    summary="The target itself scores worse than noise: a flipped sign, or swapped arguments.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a similarity returned as a loss",
            _MODEL.format(
                loss="def custom(y_true, y_pred):\n    return 1 - ops.mean(ops.square(y_true - y_pred), axis=-1)\n"
            ),
            "warning",
        ),
        Example(
            "another library's order of arguments",
            _MODEL.format(
                loss="def custom(y_pred, y_true):\n"
                "    return ops.mean(y_true * ops.log(y_true / (y_pred + 0.01)) + 2 * y_pred, axis=-1)\n"
            ),
            "error",
        ),
    ),
    good=(
        Example(
            "a distance",
            _MODEL.format(
                loss="def custom(y_true, y_pred):\n    return ops.mean(ops.square(y_true - y_pred), axis=-1)\n"
            ),
        ),
    ),
    needs=("probes",),
)
