"""
## What it sees
Sample weights that do not weigh samples: with one sample's weight at 0 its gradient does not vanish, and a step's does; or weights whose shape does not fit what the loss
returns.

## Why it matters
A loss on `(N, T, D)` outputs has one value a sample and step. Weights of shape `(N,)` are lined up with its *last* axis, the steps: where N equals T nothing raises,
and the weights run along time; where it does not, `fit` raises.

## What to do
Give `(N, 1)` for one weight a sample, or `(N, T)` for one a step.

## Measured
Keras 3.15.1, TensorFlow and JAX: `(8,)` weights on an MSE of `(8, 8, 1)` train with the weights along the steps; on `(8, 5, 1)` they raise; `(8, 1)`, `(8, 5)` and `(8, 5, 1)` work.
One output with `y=[t]`: the weights, `[w]` by then, become one tensor of shape `(1, N, 1)`; `(N,)` weights happen to work, `(N, 1)` meet every sample.
Nested outputs and a flat list of targets: one array of weights is put at every target, and `CompileLoss.call` looks for `sample_weight[1][0]` where an output is
`y_pred[1][0]`: one row of the array, for all samples. A flat list of weights is looked through in the same way.
A loss of a subtree gets the weights of all its outputs: those in a list or tuple are stacked (two of `(N, 1)` are `(2, N, 1)`, and meet every sample), with those in a dict
`fit` raises.
Of weights with more axes one last axis of size 1 is squeezed: `(N, 1)` weigh samples, `(N, 1, 1)` meet every sample.
`(N, D)` weights on `(N, D)` outputs do not weigh columns: the loss has one value a sample by then. `(N, K)` weights on an output `(N, 1, D)` all meet the one value of their sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam, LossCall, Zeroed
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import ArrayRef, BatchEdit, Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """Calls with weights, by what setting one weight to 0 did, and by where fit raises."""
    if exam.case.batch.sample_weight is None:
        return
    zeroed = {z.output: z for z in exam.probes.zeroed}
    for call in exam.fit.calls:
        if call.subtree:
            yield from _subtree(exam, call, zeroed)
    for call in exam.run.calls:
        if call.subtree or len(call.outputs) != 1 or call.outputs[0] is None or call.sample_weight_shape is None:
            continue
        found = zeroed.get(str(call.outputs[0]))
        if shared.failed_in(exam, call) and _to_blame(call):
            yield _raises(exam, call)
        elif not shared.raises(exam) and (whole := _part_of(exam, call)):
            yield _parted(exam, call, whole)
        elif not shared.raises(exam) and found is not None and found.after > 0 and _stacked(exam, call):
            seen = f"The sample weights of {found.output} reach {call.label} in a {trees.container(_container(exam))} of one, which becomes the shape "
            yield _missed(call, found.output, f"{seen}{call.sample_weight_shape}", _kept(found), _bare(exam))
        elif not shared.raises(exam) and _too_many(exam, call) and (tried := _tried(exam, call, found)):
            yield _missed(
                call,
                str(call.outputs[0]),
                f"sample_weight has shape {call.sample_weight_shape}, but {call.label} has one value for each of {_valued(exam, call)} at "
                f"{call.outputs[0]}",
                (tried[0], {**tried[1], "output shape": list(call.output_shapes[0])}),
                repairs.by_hand(
                    "give one weight a value of the loss, or weigh the columns in the loss",
                    "batch",
                    "which values the weights belong to is not written",
                ),
            )
        elif found is not None and found.column_before and found.after > 0 and not found.column_after:
            yield RULE.finding(
                "error",
                "silent",
                f"The sample weights of shape {call.sample_weight_shape} run along the steps of {found.output} {call.output_shapes[0]}: with weight "
                f"{found.row} at 0 step {found.row} of every sample loses its gradient, sample {found.row} keeps it.",
                where=("sample_weight", found.output),
                evidence={
                    f"gradient of sample {found.row}": found.after,
                    f"gradient of step {found.row}": found.column_after,
                    "weights shape": list(call.sample_weight_shape),
                },
                fixes=(_fix(exam),),
            )


def _subtree(exam: Exam, call: LossCall, zeroed: dict[str, Zeroed]) -> Iterator[Finding]:
    """The loss of a subtree gets the weights of its outputs in a container: Keras makes one tensor of it, with an axis more, or cannot."""
    fix = repairs.by_hand(
        "weigh the samples within the loss, or give each output a loss of its own",
        "loss",
        "what the weights of one loss for several outputs are is not written",
    )
    weights = f"The sample weights of the {len(call.outputs)} outputs that {call.label} gets"
    kept = [found for output in call.outputs if (found := zeroed.get(str(output))) and found.after > 0]
    if shared.on_weights_in_a_dict(exam, call):
        yield RULE.finding(
            "error",
            "raises",
            f"{weights} come in a dict, of which Keras cannot make one tensor: fit raises.",
            where=("sample_weight", *(str(output) for output in call.outputs)),
            evidence={"error": shared.error(exam)},
            fixes=(fix,),
        )
    elif call.weights_container is None or shared.raises(exam):
        return
    else:
        output, stacked = str(call.outputs[0]), f"{weights} become one tensor of shape {call.sample_weight_shape}"
        longer = exam.probes.ones.get(output, 1.0)
        if not shared.close(longer, 1.0):
            times = f"with all weights 1 the gradient at {output} is {shared.number(longer)} times that without weights"
            shown = {"gradient, weights of 1 / none": longer, "reduction": str(call.reduction)}
            yield _missed(call, output, stacked, (times, shown), fix)
        elif kept:
            yield _missed(call, kept[0].output, stacked, _kept(kept[0]), fix)


# What was tried, in words, and its evidence.
_Tried = tuple[str, dict[str, object]]


def _missed(call: LossCall, output: str, seen: str, tried: _Tried, fix: Fix) -> Finding:
    """Weights that do not weigh what they are written for, and what shows it."""
    return RULE.finding(
        "error",
        "silent",
        f"{seen}: {tried[0]}.",
        where=("sample_weight", output),
        evidence={**tried[1], "weights shape": list(call.sample_weight_shape or ())},
        fixes=(fix,),
    )


def _kept(found: Zeroed) -> _Tried:
    """A sample whose weight is 0 and that keeps a gradient all the same."""
    return (
        f"with row {found.row} of the weights at 0, sample {found.row} keeps a gradient of {shared.number(found.after)}",
        {f"gradient of sample {found.row}": found.after},
    )


def _to_blame(call: LossCall) -> bool:
    """The shapes of target and output fit each other, and the weights do not fit the loss's values."""
    weights, target, output = call.sample_weight_shape or (), call.target_shapes[0], call.output_shapes[0]
    if not call.builtin or -1 in (*weights, *output):
        return False
    fits = target == output or target == output[:-1] or target == (*output[:-1], 1)
    values = output[:-1]
    while weights and weights[-1] == 1:
        weights = weights[:-1]
    # NumPy's rule: the last axes are lined up.
    tail = values[len(values) - len(weights) :] if len(weights) <= len(values) else ()
    return fits and (len(weights) > len(values) or any(a not in (1, b) for a, b in zip(weights, tail, strict=True)))


def _part_of(exam: Exam, call: LossCall) -> tuple[str, ArrayRef] | None:
    """The array of weights, and its path, of which the loss got a part: the only one, or that at which the output's path ends too early."""
    weights, given = exam.case.batch.sample_weight, call.sample_weight_shape or ()
    if isinstance(weights, ArrayRef):
        part = len(given) < len(weights.shape) and weights.shape[len(weights.shape) - len(given) :] == given
        return ("sample_weight", weights) if part else None
    steps = str(call.outputs[0]).removeprefix("y_pred")
    for path, leaf in trees.leaves("sample_weight", weights):
        rest = steps.removeprefix(path.removeprefix("sample_weight"))
        places = re.fullmatch(r"(\[\d+\])+", rest) and rest.count("[")
        if steps != rest and places and isinstance(leaf, ArrayRef) and leaf.shape[places:] == given:
            return path, leaf
    return None


def _parted(exam: Exam, call: LossCall, whole: tuple[str, ArrayRef]) -> Finding:
    output, (path, weights) = str(call.outputs[0]), whole
    nested = repairs.renested(exam)
    title = "nest y like the outputs"
    given = exam.case.batch.sample_weight
    if not trees.is_leaf(given):
        other = repairs.renested(exam, "sample_weight")
        title, code = f"{title}, and the weights like y", f"y, sample_weight = {nested}, {other}"
        nested = nested if other else ""
    else:
        code = f"y = {nested}"
    return RULE.finding(
        "error",
        "silent",
        f"{output} gets a part of {path}, of shape {call.sample_weight_shape}, for all its samples: y is not nested like the outputs, and Keras "
        f"looks for the weights of {output} inside of the array.",
        where=(path, output),
        evidence={"weights shape": list(weights.shape), "weights shape at the loss": str(call.sample_weight_shape)},
        fixes=(
            repairs.statement(title, code)
            if nested
            else repairs.by_hand(title, "batch", "which target belongs to which output is not written"),
        ),
    )


def _tried(exam: Exam, call: LossCall, found: Zeroed | None) -> _Tried | None:
    """What shows too many weights to miss what they are written for; None where nothing does."""
    if found is not None and found.after > 0:
        return _kept(found)
    if str(call.outputs[0]) in exam.probes.turned and max(call.sample_weight_shape or (1,)) > 1:
        return "with the weights in reverse order the gradient stays the same", {"gradient moved": False}
    return None


def _too_many(exam: Exam, call: LossCall) -> bool:
    """More weights than the loss has values: axes too many, which are lined up with the wrong ones (Keras squeezes a last one of size 1), or several for one value."""
    weights, values = call.sample_weight_shape or (), _valued(exam, call)
    if values is None:
        return False
    several = len(weights) == len(values) and any(w > v == 1 for w, v in zip(weights[1:], values[1:], strict=True))
    return several or len(weights) - (weights[-1:] == (1,)) > max(1, len(values))


def _valued(exam: Exam, call: LossCall) -> tuple[int, ...] | None:
    """The shape of the values of a loss. Keras's own take the mean over the last axis; where the target lacks a last axis of size 1, it is squeezed
    before. None of a custom loss that returns one number, or that could not be called by hand."""
    if not call.builtin:
        return exam.probes.values.get(call.number) or None
    output = call.output_shapes[0]
    squeezed = call.wrapped and call.target_shapes == (output[:-1],) and output[-1] == 1
    return output[:-2] if squeezed else output[:-1]


def _container(exam: Exam) -> Tree:
    """What Keras makes the weights' container of: that of y, where the weights are one array."""
    weights = exam.case.batch.sample_weight
    return exam.case.batch.y if trees.is_leaf(weights) else weights


def _stacked(exam: Exam, call: LossCall) -> bool:
    """One output, whose weights are still in the container in which y was given: Keras unpacks the target, not the weights."""
    return (
        _by_sample(exam, call)
        and trees.is_leaf(exam.case.model.outputs)
        and isinstance(_container(exam), list | tuple)
        and len(_container(exam)) == 1
    )


def _by_sample(exam: Exam, call: LossCall) -> bool:
    """A loss of Keras's own, or one of which no probe shows that it goes by the whole batch."""
    probes = exam.probes
    return call.builtin or (call.number not in probes.scalar and not probes.coupled and probes.permuted is not None)


def _bare(exam: Exam) -> Fix:
    """y and the weights as one array each."""
    edits = tuple(
        BatchEdit(f"{root} = {root}[0]")
        for root in ("y", "sample_weight")
        if isinstance(getattr(exam.case.batch, root), list | tuple)
    )
    return Fix("give one array for one output", "batch", "safe", "\n".join(e.code for e in edits), edits=edits)


def _raises(exam: Exam, call: LossCall) -> Finding:
    output = str(call.outputs[0])
    return RULE.finding(
        "error",
        "raises",
        f"sample_weight has shape {call.sample_weight_shape}, but {call.label} has values of shape {call.output_shapes[0][:-1]} at {output}: fit raises.",
        where=("sample_weight", output),
        evidence={
            "weights shape": list(call.sample_weight_shape or ()),
            "output shape": list(call.output_shapes[0]),
            "error": shared.error(exam),
        },
        fixes=(_fix(exam),)
        if len(call.sample_weight_shape or ()) == 1
        else (
            repairs.by_hand(
                "give one weight a value of the loss, or one a sample as (N, 1)",
                "batch",
                "which values the weights belong to is not written",
            ),
        ),
    )


def _fix(exam: Exam) -> Fix:
    title, weights = "give one weight a sample as a column", exam.case.batch.sample_weight
    if trees.is_leaf(weights):
        return repairs.statement(title, "sample_weight = sample_weight[:, None]")
    flat = [
        p for p, leaf in trees.leaves("sample_weight", weights) if isinstance(leaf, ArrayRef) and len(leaf.shape) == 1
    ]
    code = shared.tree_code(weights, lambda path: f"{path}[:, None]" if path in flat else path, "sample_weight")
    return repairs.statement(title, f"sample_weight = {code}")


_MODEL = """\
i = keras.Input(({steps}, 4))
model = keras.Model(i, layers.Dense(1)(i))
model.compile(loss="mse")
x, y = np.ones((8, {steps}, 4)), np.ones((8, {steps}, 1))
"""

RULE = Rule(
    code="LD532",
    name="sample-weight-broadcast",
    category="sample-weight",
    summary="Sample weights that run along another axis than the samples.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "as many steps as samples", _MODEL.format(steps=8) + "sample_weight = np.linspace(0.0, 1.0, 8)\n", "error"
        ),
        Example(
            "a list of one target, and a column of weights",
            'i = keras.Input((4,))\nmodel = keras.Model(i, layers.Dense(1)(i))\nmodel.compile(loss="mse")\n'
            "x, y = np.ones((8, 4)), [np.arange(8.0)[:, None]]\n"
            "sample_weight = np.linspace(0.5, 1.0, 8)[:, None]\n",
            "error",
            since="3.7",
        ),
        Example(
            "one array of weights, and a loss of two outputs in a dict",
            """\
i = keras.Input((4,))
model = keras.Model(i, {"found": {"box": layers.Dense(4)(i), "score": layers.Dense(1)(i)}})
def whole(y_true, y_pred):
    error = ops.mean(ops.square(y_true["box"] - y_pred["box"]), axis=-1)
    return error + ops.mean(ops.abs(y_true["score"] - y_pred["score"]), axis=-1)

model.compile(loss={"found": whole})
x, y = np.ones((8, 4)), {"found": {"box": np.ones((8, 4)), "score": np.ones((8, 1))}}
sample_weight = np.linspace(0.0, 1.0, 8)
""",
            "error",
            since="3.7",
        ),
        Example("five steps", _MODEL.format(steps=5) + "sample_weight = np.linspace(0.0, 1.0, 8)\n", "error"),
    ),
    good=(
        Example("a column", _MODEL.format(steps=8) + "sample_weight = np.linspace(0.0, 1.0, 8)[:, None]\n"),
        Example("one weight a step", _MODEL.format(steps=5) + "sample_weight = np.ones((8, 5))\n"),
    ),
)
