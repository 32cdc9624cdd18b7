"""
## What it sees
The loss expands its target against its output: it returns on the two shapes exactly what it returns once
both are expanded by hand, measured on seeded arrays of the same shapes. Or it does so to columns of its output: targets `(N,)` meet other samples'
outputs, and targets `(N, 1)` do not.

## Why it matters
Nothing raises. With `(N,)` against `(N, 1)` in a `Loss` subclass every sample is compared with every other sample's
target, and the model learns the batch mean; with `(N, 1)` against `(N, 3)` one number is the target of three.

## What to do
Give the target the output's shape.

## Measured
Keras 3.15.1, TensorFlow. `Loss` subclass, targets `(N,)`, outputs `(N, 1)`: an `(N, N)` difference. Built-in losses and plain
functions are squeezed first and do not do that. MSE of `(N, 1)` targets with `(N, 3)` outputs broadcasts in every form.
A custom loss that expands the last axes (quantile heads: one target, several outputs) does so on purpose: info.
A custom loss that slices `y_pred[:, :1]` (Gaussian NLL, mixtures) compares `(N, 1)` with targets `(N,)` as `(N, N)`, whatever is done to the result.
In a batch of one row nothing can cross: there the loss is measured with three, and what it does is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from lossdoctor.facts import Broadcast, Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding, Impact, Severity


def check(exam: Exam) -> Iterator[Finding]:
    """Leaf calls that were observed to broadcast."""
    told = False
    for call in exam.run.calls:
        found = call.broadcast
        if shared.wrong_encoding(exam, call) or shared.transposition(call):
            continue  # LD305's, LD306's
        if found is None or call.value_shape is None or not (found.observed or found.sliced or _otherwise(call, found)):
            continue
        call = _at(call, found.leaf)
        target, output = call.target_shapes[0], call.output_shapes[0]
        if not target or call.targets[0] is None or (output and target[0] != output[0] and len(target) == len(output)):
            continue  # numbers and single rows have no samples axis of their own: LD304
        if not _only_crossed(exam, call):
            finding = _finding(exam, call, found, target, output)
            told = True
            if finding is not None:
                yield finding
    if not told:
        yield from _by_luck(exam)


def _at(call: LossCall, leaf: int) -> LossCall:
    """The call as if it got this one output and its target."""
    names = ("targets", "outputs", "target_shapes", "output_shapes", "target_dtypes", "output_dtypes")
    return replace(call, **{name: getattr(call, name)[leaf : leaf + 1] for name in names})


def _by_luck(exam: Exam) -> Iterator[Finding]:
    """The same case with another number of rows raises: some axis has the batch's size by accident, and was taken for the samples."""
    resized, rows, other = exam.probes.resized, exam.case.rows, exam.probes.resized_rows
    if resized is None or resized.outcome.status != "raises" or shared.raises(exam):
        return
    number = resized.failed_call
    call = exam.fit.calls[number] if number is not None and number < len(exam.fit.calls) else None
    where = tuple(str(p) for p in (*call.targets, *call.outputs)) if call else tuple(shared.output_paths(exam))
    shapes = (
        f"{where[0]} {call.target_shapes[0]} meets {where[1]} {call.output_shapes[0]}"
        if call and len(where) == 2
        else "the case works"
    )
    yield RULE.finding(
        "error",
        "silent",
        f"{shapes} only because the batch has {rows} rows: with {other} Keras raises, so another axis is taken for the samples.",
        where=where,
        evidence={"rows": rows, f"error with {other} rows": resized.outcome.error},
        fixes=(_with_rank(exam, call),),
    )


def _with_rank(exam: Exam, call: LossCall | None) -> Fix:
    title = "give the target the output's shape"
    right = repairs.to_output_rank(title, exam, call) if call and len(call.targets) == len(call.outputs) == 1 else None
    return right or repairs.by_hand(title, "batch", "which axis holds the samples is not written")


def _otherwise(call: LossCall, found: Broadcast) -> bool:
    """A loss of Keras's own that compares values ran on two sizes of an axis, and broadcasts somewhere on its way."""
    target, output = call.target_shapes[0], call.output_shapes[0]
    compares = call.builtin and call.label not in (*shared.SPARSE, "circle", "ctc")
    return compares and len(target) == len(output) and not shared.close(found.as_given, found.explicit)


def _only_crossed(exam: Exam, call: LossCall) -> bool:
    """True where the shapes agree once the targets are paired as declared: the pairing is the cause, and LD203 says so."""
    declared = exam.declared
    if (
        declared is None
        or declared.run.outcome.status != "ok"
        or declared.targets.get(str(call.outputs[0])) == call.targets[0]
    ):
        return False
    return any(c.outputs == call.outputs and c.target_shapes == c.output_shapes for c in declared.run.calls)


def _finding(
    exam: Exam, call: LossCall, found: Broadcast, target: tuple[int, ...], output: tuple[int, ...]
) -> Finding | None:
    where = (str(call.targets[0]), str(call.outputs[0]))
    both = f"{where[0]} has shape {target}, {where[1]} {output}"
    shapes = f"{both}: {call.label} compares them as {found.shape}"
    evidence = {
        "target shape": list(target),
        "output shape": list(output),
        **({"compared as": list(found.shape)} if found.observed else {}),
        **(
            {"loss on these shapes, the same as expanded by hand": found.as_given}
            if found.observed
            else {"loss on these shapes": found.as_given, "loss on targets with a last axis of 1": found.explicit}
            if found.sliced
            else {"loss on these shapes": found.as_given, "loss once expanded by hand": found.explicit}
        ),
        **_as_declared(exam),
    }
    quiet = "This alone would not raise." if shared.raises(exam) else "Nothing raises."
    severity: Severity
    impact: Impact
    if found.sliced:
        few = found.rows is not None
        message = (
            f"{both}: {call.label} lets every sample meet other samples' targets (a slice such as `y_pred[:, :1]` broadcasts against {target}); "
            f"with targets of shape {(*target, 1)} none does. "
            + ("In this batch of one row that is harmless." if few else quiet)
        )
        severity, impact = ("warning", "risk") if few else ("error", "silent")
    elif not found.observed:
        message = (
            f"{both}: {call.label} takes two shapes that are not the same, and its value is no longer that of targets of the output's shape "
            f"({shared.number(found.as_given)}, expanded by hand {shared.number(found.explicit)}). {quiet}"
        )
        severity, impact = "error", "silent"
    elif found.rows is not None:
        more = f"{(found.rows, *target[1:])} with {(found.rows, *output[1:])}"
        message = (
            f"{both}. In this batch of one row that is harmless; with {found.rows} rows {call.label} compares {more} "
            f"as {found.shape}, so that every sample meets other samples' targets, and nothing raises."
        )
        severity, impact = "warning", "risk"
    elif found.crossed:
        met = (
            "every sample meets other samples' targets" if output[0] > 1 else "every value meets other values' targets"
        )
        message = f"{shapes}, so that {met}. {quiet}"
        severity, impact = "error", "silent"
    elif call.builtin:
        what = (
            "output value is compared with several targets"
            if prod(target) > prod(output)
            else "target value is used for several output values"
        )
        steps = shared.missing_axis(call)
        lacks = "" if steps is None else f" {where[1]} has no axis for the {steps} of {where[0]}."
        message = f"{shapes}: each {what}.{lacks} {quiet}"
        severity, impact = "error", "silent"
    elif prod(target) >= prod(output):
        return None
    else:
        message = (
            f"{both}: {call.label} returns what it returns for targets of shape {found.shape} that repeat these. "
            "Right where one target value is meant for several output values."
        )
        severity, impact = "info", "note"
    return RULE.finding(
        severity, impact, message, where=where, evidence=evidence, fixes=_fixes(exam, call, target, output)
    )


def _as_declared(exam: Exam) -> dict[str, float]:
    """The loss with every target paired as declared, where LD203 says that Keras pairs otherwise."""
    declared = exam.declared
    if declared is None or "y" not in declared.changed or declared.run.outcome.loss is None:
        return {}
    crossed = any(declared.targets.get(o, t) != t for _, o, t in shared.pairs(exam))
    return {"loss paired as declared": declared.run.outcome.loss} if crossed else {}


def _fixes(exam: Exam, call: LossCall, target: tuple[int, ...], output: tuple[int, ...]) -> tuple[Fix, ...]:
    path = str(call.targets[0])
    if call.broadcast is not None and call.broadcast.sliced:
        return (repairs.on_leaf(f"give {path} a last axis", exam, path, f"{path}[..., None]"),)
    right = repairs.to_output_rank(f"give {path} the output's shape", exam, call)
    if right is not None:
        return (right,)
    steps = shared.missing_axis(call)
    if steps is not None:
        return (repairs.with_steps(exam, call, steps),)
    if len(target) == len(output) and target[:-1] == output[:-1] and target[-1] == 1:
        same = repairs.on_leaf(
            "if every column has this target: write it out",
            exam,
            path,
            f"np.repeat({path}, {output[-1]}, axis=-1)",
            "review",
        )
    else:
        same = None
    by_hand = repairs.by_hand(
        f"give {path} the output's shape {output}, or the output {target}",
        "batch",
        "which of the two has the right size is not written",
    )
    return (by_hand,) if same is None else (same, by_hand)


_SUBCLASS = """\
class Squared(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

"""
_NLL = """\
def gaussian_nll(y_true, y_pred):
    mean, variance = y_pred[:, :1], ops.softplus(y_pred[:, 1:])
    return ops.mean(ops.log(variance) + ops.square(y_true - mean) / variance, axis=-1)

"""
_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense({units})(i))
model.compile(loss={loss})
x = np.ones((8, 4))
"""

RULE = Rule(
    code="LD302",
    name="silent-broadcast",
    category="shape",
    summary="Target and output broadcast against each other without a word.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a Loss subclass compares all samples with all targets",
            _SUBCLASS + _MODEL.format(units=1, loss="Squared()") + "y = np.arange(8.0)\n",
            "error",
        ),
        Example(
            "one target for three outputs",
            _MODEL.format(units=3, loss='"mse"') + "y = np.arange(8.0)[:, None]\n",
            "error",
        ),
        Example(
            "an LSTM gives its last step alone, and the targets have all steps",
            "i = keras.Input((6, 4))\n"
            "model = keras.Model(i, layers.Dense(1)(layers.LSTM(3)(i)))\n"
            'model.compile(loss="mse")\n'
            "x, y = np.ones((8, 6, 4)), np.arange(48.0).reshape(8, 6, 1)\n",
            "error",
        ),
        Example(
            "a custom loss slices two columns of its output, and the targets have no last axis",
            _NLL + _MODEL.format(units=2, loss="gaussian_nll") + "y = np.arange(8.0)\n",
            "error",
        ),
        Example(
            "a batch of one row, and targets with an axis too many",
            _MODEL.format(units=3, loss='"mse"') + "x, y = np.ones((1, 4)), np.arange(3.0).reshape(1, 1, 3)\n",
            "warning",
        ),
    ),
    good=(
        Example(
            "the output's shape", _SUBCLASS + _MODEL.format(units=1, loss="Squared()") + "y = np.arange(8.0)[:, None]\n"
        ),
        Example(
            "a contrastive loss: labels of all pairs of samples are compared on purpose",
            "def pairs(y_true, y_pred):\n"
            "    same = ops.cast(ops.equal(y_true[:, None], y_true[None, :]), 'float32')\n"
            "    near = ops.matmul(y_pred, ops.transpose(y_pred))\n"
            "    return ops.mean(ops.square(same - near))\n\n"
            + _MODEL.format(units=3, loss="pairs")
            + "y = np.array([0, 1, 0, 1, 0, 1, 0, 1])\n",
        ),
        Example(
            "quantile heads: one target, three outputs, on purpose",
            "def pinball(y_true, y_pred):\n"
            "    q = ops.convert_to_tensor([0.1, 0.5, 0.9])\n"
            "    e = y_true - y_pred\n"
            "    return ops.mean(ops.maximum(q * e, (q - 1) * e), axis=-1)\n\n"
            + _MODEL.format(units=3, loss="pinball")
            + "y = np.arange(8.0)[:, None]\n",
        ),
    ),
)
