"""
## What it sees
A custom loss that reduces itself to one number: a sample whose weight is 0 still counts, measured by changing that sample's prediction.
Likewise a loss of Keras's own on an output of shape `(N,)`, which has no other axis than the samples to take the mean over (unless the target is `(N, 1)`). For a live
model that was made under a `tf.distribute.MirroredStrategy`: that the gradient of all replicas together is several times that of one device, measured by a `fit` under
that strategy.

## Why it matters
Keras multiplies what the loss returns with the weights. A scalar is multiplied with all of them and averaged, so that sample weights, class weights and masks
no longer say which samples count.

Under `tf.distribute` every replica computes the loss of its share of the batch, and the gradients are added. Keras divides by the number of replicas, but only what it
averages itself: a loss that returns its own mean is not divided, so with R replicas its gradient is R times as long, and every step too. A saved model does not
know that it will be trained so; check the live one, made in the strategy's scope, with `lossdoctor.check(model, ...)`.

## What to do
Return one value a sample: average over the last axes (`axis=-1`), not over everything. Keras averages the samples. Give an output of
one number a sample the shape `(N, 1)`.

## Measured
Keras 3.15.1, TensorFlow and JAX: `ops.mean(ops.square(y_true - y_pred))` with the weights `[0, 1, 1, ...]`: the first sample's gradient does not vanish; with `axis=-1`
it does. `"mse"` on an output of shape `(N,)` is the mean over its last axis, the samples: weights are averaged, and `reduction="sum"` sums one number.

`MirroredStrategy` with two replicas, TensorFlow, 8 rows of shape `(8, 3)`; gradient and logged loss over those of one replica:

| loss | gradient | logged |
| --- | --- | --- |
| "mse", or a custom function of one value a sample | 1 | 1 |
| `reduction="sum"`, or a custom function that returns `ops.sum(...)` | 1 | 1 |
| `reduction=None` | 1 | 2 |
| a custom function or `Loss` subclass that returns `ops.mean(...)` | 2 | 2 |
| the same with sample weights, or `reduction="mean_with_sample_weight"` | another one: each replica divides by its own rows or weights | |

`train_on_batch` does not deal the batch out: every replica gets all of it. On JAX (`keras.distribution.DataParallel`) the loss is that of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall, Zeroed
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding, Fix

# How near to a whole multiple a gradient is that replicas multiply.
_CLOSE = 0.01


def check(exam: Exam) -> Iterator[Finding]:
    """Custom calls in which a sample of weight 0 counts."""
    if "loss" in exam.loss_source and shared.count(exam.case.model.outputs) > 1:
        return  # LD801 knows the cause
    zeroed = {z.output: z for z in exam.probes.zeroed}
    masked = dict(zip(shared.flat_outputs(exam), exam.case.model.masks, strict=False))
    multiplied = dict(_multiplied(exam))
    for call in shared.leaf_calls(exam):
        if call.builtin and len(call.output_shapes[0]) == 1 and not _expanded(call):
            yield from _flat(exam, call, zeroed.get(str(call.outputs[0])))
        if call.number not in exam.probes.scalar:
            continue
        output = str(call.outputs[0])
        measured = zeroed.get(output)
        weighted = exam.case.batch.sample_weight is not None and measured is not None and measured.after > 0
        if weighted and measured is not None:
            multiplied.pop(call.number, None)
            yield _finding(
                exam,
                call,
                "error",
                f"{call.label} returns one number for the whole batch, so sample weights do not weigh samples: with the weight 0 "
                f"sample {measured.row} of {output} still has a gradient of {shared.number(measured.after)}.",
                {
                    f"gradient norm of sample {measured.row}": measured.before,
                    f"gradient norm of sample {measured.row}, its weight 0": measured.after,
                },
            )
        elif _undivided(exam, call):
            yield _finding(exam, call, "error", *_not_divided(exam, call))
        elif output in exam.probes.turned and max(call.sample_weight_shape or (1,)) > 1:  # a batch of one row
            yield _finding(
                exam,
                call,
                "error",
                f"{call.label} returns one number, so the sample weights of shape {call.sample_weight_shape} do not weigh the values of {output}: with "
                "the weights in reverse order the gradient stays the same.",
                {"gradient moved": False, "weights shape": list(call.sample_weight_shape or ())},
            )
        elif call.number in multiplied:
            yield multiplied.pop(call.number)
        elif masked.get(output) is not None:
            yield _finding(
                exam,
                call,
                "warning",
                f"{call.label} returns one number for the whole batch, so the mask of {output} does not take the padding out.",
                {"mask shape": list(masked[output].shape)},  # type: ignore[union-attr]
            )
        else:
            yield _finding(
                exam,
                call,
                "info",
                f"{call.label} returns one number for the whole batch: sample weights would not weigh samples.",
                {},
            )
    yield from multiplied.values()  # losses of several outputs


def _multiplied(exam: Exam) -> Iterator[tuple[int, Finding]]:
    """(call number, finding) of the custom losses whose gradient grows with the number of replicas."""
    found = exam.replicated
    for call in exam.fit.calls if found is not None else ():
        if call.builtin or found is None:
            continue
        for output in call.outputs:
            alone, together, off = found.gradients.get(str(output), (0.0, 0.0, 0.0))
            longer = (found.replicas - 1) * alone
            if alone == 0 or abs(off - longer) > _CLOSE * longer or abs(together - alone - longer) > _CLOSE * longer:
                continue
            yield (
                call.number,
                _finding(
                    exam,
                    call,
                    "warning",
                    f"{call.label} returns one number for its rows. The model was made under a {found.strategy} with {found.replicas} replicas, and there "
                    f"the gradient at {output} is {together / alone:.4g} times that of one device: Keras divides by the number of replicas only what it "
                    "averages itself.",
                    {
                        "replicas": found.replicas,
                        "gradient norm, one replica": alone,
                        f"gradient norm, {found.replicas} replicas": together,
                        "logged loss, one replica": found.loss[0],
                        f"logged loss, {found.replicas} replicas": found.loss[1],
                    },
                ),
            )
            break


def _expanded(call: LossCall) -> bool:
    """A target (N, 1) gives the output (N,) an axis before the loss (`losses/loss.py: squeeze_or_expand_to_same_rank`)."""
    return call.wrapped and call.target_shapes == ((*call.output_shapes[0], 1),)


def _flat(exam: Exam, call: LossCall, measured: Zeroed | None) -> Iterator[Finding]:
    """A loss of Keras's own whose mean over the last axis is the mean over the samples."""
    output, rows = str(call.outputs[0]), call.output_shapes[0][0]
    weighted = exam.case.batch.sample_weight is not None and measured is not None and measured.after > 0
    if _undivided(exam, call):
        message, shown = _not_divided(exam, call)
        yield RULE.finding("error", "silent", message, where=(output,), evidence=shown, fixes=(_column(output, rows),))
    if rows == 1:  # shows nothing of the rest
        return
    lost = "sample weights do not weigh samples" if weighted else "reduction='sum' adds up one number, not the samples"
    if (weighted or call.reduction == "sum") and not shared.raises(exam):
        evidence: dict[str, object] = {"output shape": list(call.output_shapes[0]), "reduction": str(call.reduction)}
        if weighted and measured is not None:
            evidence[f"gradient norm of sample {measured.row}, its weight 0"] = measured.after
        yield RULE.finding(
            "error",
            "silent",
            f"{call.label} takes the mean over the last axis, which at {output} of shape ({rows},) is the samples: {lost}.",
            where=(output,),
            evidence=evidence,
            fixes=(_column(output, rows),),
        )


def _undivided(exam: Exam, call: LossCall) -> bool:
    """Weights twice over make another gradient, of a loss that is to be divided by them."""
    doubled = exam.probes.doubled.get(str(call.outputs[0]), 1.0)
    return call.reduction == "mean_with_sample_weight" and not shared.close(doubled, 1.0) and not shared.raises(exam)


def _not_divided(exam: Exam, call: LossCall) -> tuple[str, dict[str, object]]:
    output = str(call.outputs[0])
    doubled = exam.probes.doubled[output]
    message = (
        f"{call.label} is one number at {output} of shape {call.output_shapes[0]}, which Keras multiplies with the sample weights and, for all its "
        f"reduction {call.reduction!r}, does not divide by them: with all of them twice the gradient is {shared.number(doubled)} times as long."
    )
    return message, {"gradient with weights twice / as given": doubled, "reduction": str(call.reduction)}


def _column(output: str, rows: int) -> Fix:
    return repairs.by_hand(
        f"give {output} the shape ({rows}, 1)", "model", "the layer that takes the last axis away is the model's"
    )


def _finding(exam: Exam, call: LossCall, severity: str, message: str, evidence: dict[str, object]) -> Finding:
    return RULE.finding(
        severity,  # type: ignore[arg-type]
        {"error": "silent", "warning": "risk"}.get(severity, "note"),  # type: ignore[arg-type]
        message,
        where=(str(call.outputs[0]),),
        evidence=evidence,
        fixes=(
            repairs.by_hand(
                "return one value a sample: reduce over the last axes only",
                "loss",
                "where your loss reduces is in its own code",
                "ops.mean(..., axis=-1)",
            ),
        ),
    )


_MODEL = """\
def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred){axis})

i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3)(i))
model.compile(loss=squared)
x, y = np.ones((8, 4)), np.arange(24.0).reshape(8, 3)
"""

RULE = Rule(
    code="LD404",
    name="scalar-custom-loss",
    category="reduction",
    summary="A custom loss that reduces itself: sample weights and masks lose their meaning.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "sample weights on a loss that returns a number",
            _MODEL.replace("{axis}", "") + "sample_weight = np.linspace(0, 1, 8)\n",
            "error",
        ),
        Example(
            "a sum over an output without a last axis",
            "i = keras.Input((4,))\n"
            "model = keras.Model(i, layers.Reshape(())(layers.Dense(1)(i)))\n"
            'model.compile(loss=keras.losses.MeanSquaredError(reduction="sum"))\n'
            "x, y = np.ones((8, 4)), np.arange(8.0)\n",
            "error",
        ),
        Example("the same without weights", _MODEL.replace("{axis}", ""), "info"),
    ),
    good=(
        Example(
            "a sum over an output without a last axis, which a target with one gives it",
            "i = keras.Input((4,))\n"
            "model = keras.Model(i, layers.Reshape(())(layers.Dense(1)(i)))\n"
            'model.compile(loss=keras.losses.MeanSquaredError(reduction="sum"))\n'
            "x, y = np.ones((8, 4)), np.arange(8.0)[:, None]\n",
        ),
        Example(
            "one value a sample",
            _MODEL.replace("{axis}", ", axis=-1") + "sample_weight = np.linspace(0, 1, 8)\n",
        ),
    ),
    needs=("probes",),
)
