"""
## What it sees
A target and its output have a different number of axes, and the loss is not a sparse one.

## Why it matters
Keras squeezes or expands a trailing axis of size 1 for built-in losses and plain functions, and for nothing else.
Everything else broadcasts (see LD302) or raises.

## What to do
Give the target the rank of the output: `y[:, None]`, `y[..., None]`, or `np.squeeze(y, -1)`.

## Measured
Keras 3.15.1, TensorFlow: built-in losses and functions squeeze `(N,)` against `(N, 1)` (`losses/loss.py:
squeeze_or_expand_to_same_rank`); a `Loss` subclass is not squeezed. Categorical cross-entropy on `(N,)` labels raises
"must have the same rank". That ranks are to blame for what a loss raises is tried: it must run on a target of another shape. On `(N, T, 1)` outputs with `(N, T)` targets the mean runs over T: the default reduction gives the same number,
`reduction="sum"` one T times smaller, without a word. A masked `(N, T, 1)` output with `(N, T)` targets raises.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Leaf calls whose two ranks differ, by what Keras did with them."""
    # A mask has the steps still: the losses are spread over them again.
    masks = dict(zip(shared.flat_outputs(exam), exam.case.model.masks, strict=False))
    for call in exam.run.calls:
        if call.subtree or len(call.target_shapes) != 1 or call.targets[0] is None:
            continue
        target, output = call.target_shapes[0], call.output_shapes[0]
        if len(target) == len(output) or not target or (call.label in shared.SPARSE and len(target) == len(output) - 1):
            continue
        if shared.wrong_encoding(exam, call):
            continue  # LD305's
        where = (str(call.targets[0]), str(call.outputs[0]))
        evidence = {"target shape": list(target), "output shape": list(output), "loss": call.label}
        if call.value_shape is None:
            # A loss of the user's own that raises on other shapes, too, has another reason: LD804's.
            if shared.failed_in(exam, call) and (call.builtin or call.takes is not None):
                taken = (
                    "takes equal ranks"
                    if call.takes == output
                    else "cannot take them together"
                    if call.takes is None
                    else f"takes targets of shape {call.takes} on this output"
                )
                yield RULE.finding(
                    "error",
                    "raises",
                    f"{where[0]} has shape {target} and {where[1]} {output}: {call.label} {taken}, and fit raises.",
                    where=where,
                    evidence={**evidence, "error": shared.error(exam)},
                    fixes=_fixes(exam, call),
                )
        elif call.wrapped and _loses_steps(call) and not shared.raises(exam) and masks.get(where[1]) is None:
            yield RULE.finding(
                "error",
                "silent",
                f"{where[0]} has shape {target} and {where[1]} {output}: Keras squeezes the output, so that {call.label} takes the mean over "
                f"the {output[-2]} steps, and reduction='sum' adds up {output[0]} numbers, not {output[0]} times {output[-2]}.",
                where=where,
                evidence={**evidence, "reduction": str(call.reduction)},
                fixes=_fixes(exam, call),
            )
        elif call.wrapped and not (call.broadcast and call.broadcast.observed) and _squeezed(target, output):
            yield RULE.finding(
                "info",
                "note",
                f"{where[0]} has shape {target} and {where[1]} {output}: Keras squeezes the axis of size 1 before {call.label}.",
                where=where,
                evidence=evidence,
                fixes=_fixes(exam, call),
            )


def _loses_steps(call: LossCall) -> bool:
    """A sum of Keras's own over an output `(..., T, 1)` whose target has no last axis: squeezed, T is the axis of the mean."""
    target, output = call.target_shapes[0], call.output_shapes[0]
    summed = call.builtin and call.reduction == "sum" and len(output) > 2
    return summed and (*target, 1) == output and output[-2] > 1


def _squeezed(target: tuple[int, ...], output: tuple[int, ...]) -> bool:
    """Keras squeezes a last axis of size 1 off the side with one axis more (`squeeze_or_expand_to_same_rank`)."""
    more = target if len(target) > len(output) else output
    return abs(len(target) - len(output)) == 1 and more[-1] == 1


def _fixes(exam: Exam, call: LossCall) -> tuple[Fix, ...]:
    path = str(call.targets[0])
    if call.label == "ctc":
        title = "give ctc targets of the axes (samples, labels), and outputs of (samples, steps, classes)"
        return (repairs.by_hand(title, "batch", "where the samples end is not written"),)
    right = repairs.to_output_rank(f"give {path} the output's rank", exam, call)
    steps = shared.missing_axis(call)
    if steps is not None and right is None:
        return (repairs.with_steps(exam, call, steps),)
    return (
        right
        or repairs.by_hand(
            f"give {path} the shape {call.takes or call.output_shapes[0]}, or use a loss for targets of shape {call.target_shapes[0]}",
            "batch",
            "which of the two is meant is not written",
        ),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense({units})(i))
x = np.ones((8, 4))
"""

RULE = Rule(
    code="LD301",
    name="rank-mismatch",
    category="rank",
    summary="Ranks differ; says whether Keras squeezes, broadcasts or raises.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "one number a sample for three outputs",
            _MODEL.replace("{units}", '3, activation="softmax"')
            + 'model.compile(loss="categorical_crossentropy")\ny = np.linspace(0.0, 0.9, 8)\n',
            "error",
        ),
        Example(
            "a loss of one's own that indexes the target's columns",
            """\
def by_columns(y_true, y_pred):
    return ops.mean(ops.square(y_true[:, :1] - y_pred), axis=-1)

"""
            + _MODEL.replace("{units}", "3")
            + "model.compile(loss=by_columns)\ny = np.arange(8.0)\n",
            "error",
        ),
        Example(
            "a sum over squeezed steps",
            "i = keras.Input((5, 4))\nmodel = keras.Model(i, layers.Dense(1)(i))\n"
            'model.compile(loss=keras.losses.MeanSquaredError(reduction="sum"))\n'
            "x, y = np.ones((8, 5, 4)), np.arange(40.0).reshape(8, 5)\n",
            "error",
        ),
        Example(
            "squeezed by Keras",
            _MODEL.replace("{units}", "1") + 'model.compile(loss="mse")\ny = np.arange(8.0)\n',
            "info",
        ),
    ),
    good=(
        Example(
            "equal ranks", _MODEL.replace("{units}", "1") + 'model.compile(loss="mse")\ny = np.arange(8.0)[:, None]\n'
        ),
        Example(
            "sparse labels",
            _MODEL.replace("{units}", '3, activation="softmax"')
            + 'model.compile(loss="sparse_categorical_crossentropy")\ny = np.arange(8) % 3\n',
        ),
    ),
)
