"""
## What it sees
An output whose loss gives it no gradient: on every draw of predictions the gradient is exactly 0 while the loss is not, and small steps around the target do not move it either.

## Why it matters
The head stays at its initial weights. A rounded, thresholded or `argmax`-ed prediction, a `stop_gradient`, or a forgotten argument are the usual reasons.

A metric of `keras.metrics` in the place of a loss keeps sums in variables, through which no gradient passes on TensorFlow.

A model whose own graph ends in `round`, `floor`, `ceil`, `sign`, `argmax`, `argmin` or `stop_gradient` trains nothing behind it, under any loss.

## What to do
Compute the loss from `y_pred` itself; put metrics that round into `metrics`.

## Measured
Keras 3.15.1: on TensorFlow a loss that reaches none of the variables raises "No gradients provided for any variable" (PyTorch 2.15: "does not require grad"); where another output has a gradient, nothing raises. JAX trains on zeros. A regularizer of a trainable layer has a gradient of its own: then TensorFlow raises nothing either.
`loss=keras.metrics.MeanSquaredError()`: TensorFlow raises "No gradients provided for any variable", beside another loss it raises nothing and the output stays as it is; JAX trains as with the loss of that name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding, Fix, Made

# TensorFlow's and PyTorch's.
_WORDS = ("No gradients", "does not require grad")


def check(exam: Exam) -> Iterator[Finding]:
    """Custom calls, output by output."""
    metrics = [call for call in exam.fit.calls if call.metric is not None]
    if shared.raises(exam):
        if exam.fit.stage == "gradient" and any(words in shared.error(exam) for words in _WORDS):
            yield from (_metric(exam, call) for call in metrics) if metrics else (_unreached(exam),)
        return
    yield from (_metric(exam, call) for call in metrics)
    yield from _blocked(exam)
    gradients = {g.output: g for g in exam.fit.gradients}
    minima = {m.call: m for m in exam.probes.minima}
    for call in exam.fit.calls:
        outputs = [str(o) for o in call.outputs if o is not None]
        values = [d.values[call.number] for d in exam.probes.draws if call.number < len(d.values)]
        if (
            call.builtin
            or call.metric is not None
            or not call.weight
            or not values
            or any(v is None or v == 0 or not math.isfinite(v) for v in values)
        ):
            continue
        dead = [o for o in outputs if not any(draw.norms.get(o, 0.0) for draw in exam.probes.draws)]
        for output in dead:
            activation = exam.activations.get(output)
            if output not in gradients or _stopped(exam, output) or (activation is not None and activation.constant):
                continue
            minimum = minima.get(call.number)
            certain = not gradients[output].connected or (
                minimum is not None and all(abs(n - minimum.at_target) <= 1e-6 * max(1, abs(n)) for n in minimum.near)
            )
            yield _finding(call, output, len(dead) < len(outputs), certain, exam)


def _finding(call: LossCall, output: str, partly: bool, certain: bool, exam: Exam) -> Finding:
    severe = certain and not partly
    values = [d.values[call.number] for d in exam.probes.draws]
    return RULE.finding(
        "error" if severe else "info",
        "silent" if severe else "note",
        f"{call.label} gives {output} no gradient: it is 0 on {len(values)} draws of predictions, while the loss is {shared.number(values[0])}.",
        where=(output, call.loss_path),
        evidence={
            **{f"loss value, draw {i + 1}": v for i, v in enumerate(values)},
            **{f"gradient norm, draw {i + 1}": d.norms.get(output, 0.0) for i, d in enumerate(exam.probes.draws)},
        },
        fixes=(
            repairs.by_hand(
                "compute the loss from y_pred itself, without rounding or stop_gradient",
                "loss",
                "where the gradient is lost is in the loss's own code",
            ),
        ),
    )


def _metric(exam: Exam, call: LossCall) -> Finding:
    """A metric that was given as a loss."""
    assert call.metric is not None
    name, has_loss = call.metric
    outputs = [str(o) for o in call.outputs if o is not None]
    norms = {g.output: g.norm for g in exam.fit.gradients if g.output in outputs}
    raised = shared.raises(exam)
    dead = raised or not any(norms.values())
    end = "fit raises" if raised else "nothing trains this output" if dead else "it trains here, and not on TensorFlow"
    if has_loss:
        fix = repairs.other_loss("use the loss of that name", exam, call.loss_path, Made(name))
    else:
        fix = repairs.by_hand(
            "give the metric in `metrics`, and a loss as loss", "loss", f"Keras has no loss of the name {name}"
        )
    return RULE.finding(
        "error" if dead else "info",
        "raises" if raised else "silent" if dead else "note",
        f"{call.loss_path} is the metric {name}, not a loss: a metric counts in variables, through which no gradient has to pass, and {end}.",
        where=(*outputs, call.loss_path),
        evidence={"error": shared.error(exam)} if raised else {f"gradient norm at {o}": n for o, n in norms.items()},
        fixes=(fix,),
    )


def _stopped(exam: Exam, output: str) -> str:
    """The operation without a gradient through which the output leaves the model, as its graph shows; "" for none."""
    tails, i = exam.case.model.tails, shared.output_places(exam)[output]
    tail = tails[i] if i < len(tails) else None
    return tail.blocked if tail is not None else ""


def _blocked(exam: Exam) -> Iterator[Finding]:
    """Outputs that no loss can train, whose gradients were 0 on every draw."""
    draws = exam.probes.draws
    for call in exam.fit.calls:
        for output in (str(o) for o in call.outputs if o is not None):
            operation = _stopped(exam, output)
            if operation and call.weight and draws and not any(draw.norms.get(output, 0.0) for draw in draws):
                # A head that its author stopped, beside others that train, may be there to be looked at.
                chosen = operation == "stop_gradient" and any(norm for draw in draws for norm in draw.norms.values())
                yield RULE.finding(
                    "warning" if chosen else "error",
                    "risk" if chosen else "silent",
                    f"{output} leaves the model through {operation}, which has no gradient: {call.label} trains nothing behind it.",
                    where=(output, call.loss_path),
                    evidence={f"gradient norm, draw {i + 1}": d.norms.get(output, 0.0) for i, d in enumerate(draws)},
                    fixes=(_before(operation),),
                )


def _before(operation: str) -> Fix:
    return repairs.by_hand(
        f"return what goes into {operation}, and take {operation} of the predictions",
        "model",
        "which loss fits what goes into it is not written",
    )


def _unreached(exam: Exam) -> Finding:
    calls = exam.fit.calls
    stopped = {str(o): _stopped(exam, str(o)) for c in calls for o in c.outputs if o is not None}
    if stopped and all(stopped.values()):
        many = len(stopped) > 1
        operation = next(iter(stopped.values()))
        return RULE.finding(
            "error",
            "raises",
            f"{shared.listed(list(stopped))} {'leave' if many else 'leaves'} the model through {shared.listed(list(dict.fromkeys(stopped.values())))}, "
            f"which {'have' if many else 'has'} no gradient: fit raises.",
            where=tuple(stopped),
            evidence={"error": shared.error(exam)},
            fixes=(_before(operation),),
        )
    labels = shared.listed(list(dict.fromkeys(c.label for c in calls))) if calls else "The loss"
    return RULE.finding(
        "error",
        "raises",
        f"{labels} {'does' if len(calls) < 2 else 'do'} not depend on the predictions in a way that has a gradient: fit raises.",
        where=tuple(str(o) for c in calls for o in c.outputs),
        evidence={"error": shared.error(exam)},
        fixes=(
            repairs.by_hand(
                "compute the loss from y_pred itself, without rounding or stop_gradient",
                "loss",
                "where the gradient is lost is in the loss's own code",
            ),
        ),
    )


_MODEL = """\
def wrong(y_true, y_pred):
    {body}

i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(3)(i), layers.Dense(3)(i)])
model.compile(loss=["mse", wrong])
x, y = np.ones((8, 4)), [np.arange(24.0).reshape(8, 3), np.arange(24.0).reshape(8, 3)]
"""

RULE = Rule(
    code="LD802",
    name="ignored-output",
    category="custom-loss",
    summary="An output that its loss gives no gradient.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a rounded prediction",
            _MODEL.replace("{body}", "return ops.mean(ops.abs(y_true - ops.round(y_pred)), axis=-1)"),
            "error|info",
        ),
        Example(
            "a stopped gradient",
            _MODEL.replace("{body}", "return ops.mean(ops.abs(y_true - ops.stop_gradient(y_pred)), axis=-1)"),
            "error|info",
        ),
        Example(
            "a metric in the place of a loss",
            """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(1)(i))
model.compile(loss=keras.metrics.MeanSquaredError())
x, y = np.ones((8, 4)), np.arange(8.0)[:, None]
""",
            "error|info",
        ),
        Example(
            "a stopped gradient beside a regularizer",
            """\
def wrong(y_true, y_pred):
    return ops.mean(ops.abs(y_true - ops.stop_gradient(y_pred)), axis=-1)

i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, kernel_regularizer="l2")(i))
model.compile(loss=wrong)
x, y = np.ones((8, 4)), np.arange(24.0).reshape(8, 3)
""",
            "error|info",
        ),
        Example(
            "the model itself rounds",
            """\
i = keras.Input((4,))
model = keras.Model(i, ops.round(layers.Dense(1, activation="sigmoid")(i)))
model.compile(loss="mse")
x, y = np.ones((8, 4)), (np.arange(8.0) % 2)[:, None]
""",
            "error",
        ),
        Example(
            "one of two outputs is an argmax",
            """\
i = keras.Input((4,))
h = layers.Dense(8)(i)
model = keras.Model(i, [layers.Dense(1)(h), ops.cast(ops.argmax(layers.Dense(3)(h), axis=-1), "float32")])
model.compile(loss=["mse", "mse"])
x, y = np.ones((8, 4)), [np.arange(8.0)[:, None], np.arange(8.0) % 3]
""",
            "error",
        ),
    ),
    good=(
        Example(
            "an argmax that no loss is for",
            """\
i = keras.Input((4,))
h = layers.Dense(3, activation="softmax")(i)
model = keras.Model(i, {"p": h, "label": ops.argmax(h, axis=-1)})
model.compile(loss={"p": "categorical_crossentropy", "label": None})
x, y = np.ones((8, 4)), {"p": np.eye(3)[np.arange(8) % 3], "label": np.arange(8) % 3}
""",
        ),
        Example(
            "rounded forward, straight through backward",
            """\
i = keras.Input((4,))
h = layers.Dense(1, activation="sigmoid")(i)
model = keras.Model(i, h + ops.stop_gradient(ops.round(h) - h))
model.compile(loss="mse")
x, y = np.ones((8, 4)), (np.arange(8.0) % 2)[:, None]
""",
        ),
        Example(
            "the prediction itself", _MODEL.replace("{body}", "return ops.mean(ops.abs(y_true - y_pred), axis=-1)")
        ),
    ),
)
