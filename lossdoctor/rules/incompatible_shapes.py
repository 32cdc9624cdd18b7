"""
## What it sees
A target and its output have shapes that the loss cannot take together, and fit raises inside that loss.

## Why it matters
The model cannot be trained as it is. Keras's message names the shapes but not the output.

## What to do
Give the target the output's shape, or the output the target's width.

## Measured
Keras 3.15.1, TensorFlow: categorical cross-entropy on `(8, 4)` targets and `(8, 3)` outputs raises "must have the same shape";
MSE on the same raises from the backend ("Incompatible shapes"); sparse cross-entropy on one-hot `(8, 3)` targets raises
"must have rank (ndim)", and on `(8, 6)` targets, whose output would have to be `(8, 6, 3)`. Which shape a loss takes is tried.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """The built-in loss call in which fit raised, where its ranks are equal (other ranks are LD301's)."""
    number = exam.fit.failed_call
    if exam.fit.stage != "loss" or number is None or number >= len(exam.fit.calls):
        return
    call = exam.fit.calls[number]
    if shared.wrong_encoding(exam, call) or shared.transposition(call):
        return  # LD305's, LD306's
    if not call.builtin or call.subtree or call.targets[0] is None or len(call.targets) != 1:
        return
    target, output = call.target_shapes[0], call.output_shapes[0]
    # Equal shapes are wrong only for class numbers; otherwise the weights or the containers are to blame.
    if len(target) != len(output) or (target == output and call.label not in shared.SPARSE):
        return
    where = (str(call.targets[0]), str(call.outputs[0]))
    taken = (
        f" takes targets of shape {call.takes} on this output"
        if call.takes not in (None, output)
        else " cannot compare them"
    )
    yield RULE.finding(
        "error",
        "raises",
        f"{where[0]} has shape {target} and {where[1]} {output}: {call.label}{taken}, and fit raises.",
        where=where,
        evidence={
            "target shape": list(target),
            "output shape": list(output),
            "loss": call.label,
            "error": shared.error(exam),
        },
        fixes=_fixes(exam, call),
    )


def _fixes(exam: Exam, call: LossCall) -> tuple[Fix, ...]:
    path, target, output = str(call.targets[0]), call.target_shapes[0], call.output_shapes[0]
    if call.label in shared.SPARSE and target == output:
        return (
            repairs.crossentropy("one-hot targets want the dense loss", exam, call, "categorical_crossentropy"),
            repairs.on_leaf("or turn the targets into class numbers", exam, path, f"np.argmax({path}, -1)", "review"),
        )
    steps = shared.missing_axis(call)
    if steps is not None:
        return (repairs.with_steps(exam, call, steps),)
    if call.takes not in (None, output):
        title = f"give {path} the shape {call.takes}, or use a loss for targets of shape {target}"
        return (repairs.by_hand(title, "batch", "which of the two is meant is not written"),)
    return (
        repairs.by_hand(
            f"give {path} the output's shape {output}, or the output the target's {target}",
            "batch",
            "which of the two has the right size is not written",
        ),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="softmax")(i))
model.compile(loss="categorical_crossentropy")
x = np.ones((8, 4))
"""

RULE = Rule(
    code="LD303",
    name="incompatible-shapes",
    category="shape",
    summary="Target and output shapes that the loss cannot take: fit raises.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "four classes in the targets, three in the output", _MODEL + "y = np.eye(4)[np.arange(8) % 4]\n", "error"
        ),
        Example(
            "class numbers of six steps for an output without steps",
            _MODEL.replace("categorical", "sparse_categorical") + "y = np.arange(48).reshape(8, 6) % 3\n",
            "error",
        ),
    ),
    good=(Example("as many as the output has", _MODEL + "y = np.eye(3)[np.arange(8) % 3]\n"),),
)
