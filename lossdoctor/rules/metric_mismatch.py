"""
## What it sees
A metric that cannot tell anything about the output it met: `Accuracy` (equality) on floats, a categorical accuracy on class numbers, an accuracy on a
regression, a threshold at 0.5 on logits, `AUC` on logits, `MeanIoU` on probabilities, `binary_accuracy` of one class number against a softmax.

## Why it matters
The number in the log is 0, or random, and looks like a bad model.

## What to do
`"accuracy"` (Keras then chooses by the shapes) or the metric that fits; `"mae"` for a regression; `BinaryAccuracy(threshold=0.0)` and `AUC(from_logits=True)` for logits;
`BinaryIoU` for a sigmoid, `MeanIoU(..., sparse_y_pred=False)` for a softmax; `"accuracy"` or `"sparse_categorical_accuracy"` for class numbers.

## Measured
Keras 3.15.1: `keras.metrics.Accuracy()` compares with `==` and logs 0 on softmax outputs. `categorical_accuracy` with `(N,)` labels takes the argmax over the batch axis: 0 on
TensorFlow where JAX logs 0.375 on the same case. "accuracy" of continuous targets becomes `binary_accuracy` and logs 0. On logits `binary_accuracy` uses the threshold 0.5.
`AUC()` has its thresholds between 0 and 1: all logits outside count as equal. `MeanIoU(2)` casts predictions to whole numbers: of nearly perfect probabilities it logs that of all zeros.
`binary_accuracy` of perfect predictions `(N, 2)` is 0.5 with targets `(N, 1)`, which it compares with both columns.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Activation, Exam, MetricCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding

_THRESHOLD = ("binary_accuracy", "Precision", "Recall")
_OVERLAPS = ("MeanIoU", "IoU")


def check(exam: Exam) -> Iterator[Finding]:
    """Every metric and output pair that was observed, first reason that holds."""
    logits = {
        str(c.outputs[0])
        for c in shared.leaf_calls(exam)
        if c.number in exam.readings and exam.readings[c.number].from_logits
    }
    for call in exam.metrics:
        found = exam.values.get(str(call.target))
        if call.output is None or found is None or found.numbers is None:
            continue
        kept = found.kept()
        continuous = bool(kept.size) and not bool((kept == kept.round()).all())
        activation = exam.activations.get(call.output)
        unbounded = activation is not None and activation.name == "linear"
        if call.function == "accuracy" and activation is not None and activation.name is not None:
            yield _finding(
                call,
                "warning",
                f"{call.label} on {call.output} counts predictions that equal their target exactly, and {activation.name} outputs hardly ever do.",
                _instead(exam, call, 'let Keras choose by the shapes: "accuracy"', "accuracy"),
            )
        elif call.function == "categorical_accuracy" and len(call.target_shape) < len(call.output_shape):
            yield _finding(
                call,
                "warning",
                f"{call.label} takes one-hot rows, but {call.target} has shape {call.target_shape}: its argmax runs over the samples.",
                _instead(exam, call, "use the metric for class numbers", "sparse_categorical_accuracy"),
            )
        elif call.function == "binary_accuracy" and _for_a_class(call, activation):
            yield _finding(
                call,
                "warning",
                f"{call.label} compares {call.target}, shape {call.target_shape}, with each of the {call.output_shape[-1]} columns of {call.output}, which are a softmax: "
                "perfect predictions do not count as right.",
                _instead(exam, call, "use the metric for class numbers", "sparse_categorical_accuracy"),
            )
        elif call.function in _OVERLAPS and call.arguments.get("sparse_y_pred") and _probabilities(activation):
            yield _finding(
                call,
                "warning",
                f"{call.label} on {call.output} ({call.function}) takes class numbers and cuts fractions off: a probability below 1 is class 0.",
                _overlap(call, activation),
            )
        elif (
            call.function == "AUC"
            and call.arguments.get("from_logits") is False
            and unbounded
            and call.output in logits
        ):
            yield _finding(
                call,
                "warning",
                f"{call.label} on {call.output} takes probabilities, but {call.output} holds logits: those below 0, and those above 1, count as equal.",
                repairs.by_hand(
                    "say that the output holds logits",
                    "compile",
                    "a metric of its own is made in your code",
                    "keras.metrics.AUC(from_logits=True)",
                ),
            )
        elif call.function is not None and "accuracy" in call.function and continuous and not _in_unit(kept):
            yield _finding(
                call,
                "info",
                f"{call.label} on {call.output} is an accuracy ({call.function}), and {call.target} is continuous: it says nothing about a regression.",
                _instead(exam, call, "measure the error", "mae"),
            )
        elif call.function in _THRESHOLD and call.threshold == 0.5 and unbounded and call.output in logits:
            yield _finding(
                call,
                "info",
                f"{call.label} on {call.output} ({call.function}) takes its threshold on probabilities, but {call.output} holds logits.",
                repairs.by_hand(
                    "set the threshold for logits",
                    "compile",
                    "a metric of its own is made in your code",
                    "keras.metrics.BinaryAccuracy(threshold=0.0)",
                ),
            )


def _for_a_class(call: MetricCall, activation: Activation | None) -> bool:
    """One class number a row against a softmax of several units."""
    softmax = activation is not None and activation.name == "softmax"
    return softmax and call.output_shape[-1] > 1 and call.target_shape == (*call.output_shape[:-1], 1)


def _probabilities(activation: Activation | None) -> bool:
    """True for a sigmoid or softmax, measured to stay within 0..1: a hard sigmoid may be meant to give whole numbers."""
    return activation is not None and activation.name in ("sigmoid", "softmax") and shared.within_unit(activation)


def _overlap(call: MetricCall, activation: Activation | None) -> Fix:
    classes = call.arguments.get("num_classes")
    if activation is not None and activation.name == "sigmoid":
        code = "keras.metrics.BinaryIoU(target_class_ids=[0, 1], threshold=0.5)"
    elif call.target_shape == call.output_shape:
        code = f"keras.metrics.OneHotMeanIoU(num_classes={classes})"
    else:
        code = f"keras.metrics.MeanIoU(num_classes={classes}, sparse_y_pred=False)"
    return repairs.by_hand(
        "use the metric for probabilities", "compile", "a metric of its own is made in your code", code
    )


def _instead(exam: Exam, call: MetricCall, title: str, name: str) -> Fix:
    """Another metric in the place of this one."""
    argument = call.metric_path.partition("[")[0]
    paths = trees.paths(argument, getattr(exam.case.compile, argument))
    if call.metric_path not in paths:
        return repairs.by_hand(title, "compile", "the metric is given in several places", f'{argument}=["{name}"]')
    return repairs.compile_argument(
        title, argument, repairs.replaced(exam, argument, {call.metric_path: name}), "review"
    )


def _in_unit(kept: object) -> bool:
    return bool((kept >= 0).all() and (kept <= 1).all())  # type: ignore[operator, attr-defined]


def _finding(call: MetricCall, severity: str, message: str, fix: Fix) -> Finding:
    return RULE.finding(
        severity,  # type: ignore[arg-type]
        "risk" if severity == "warning" else "note",
        message,
        where=(call.metric_path, str(call.output)),
        evidence={
            "value on these predictions": call.value,
            "target shape": list(call.target_shape),
            "output shape": list(call.output_shape),
        },
        fixes=(fix,),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="softmax")(i))
x, y = np.ones((8, 4)), np.arange(8) % 3
"""
_LOSS = 'model.compile(loss="sparse_categorical_crossentropy", metrics=[{metric}])\n'
_ONE = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(1, activation={activation})(i))
model.compile(loss=keras.losses.BinaryCrossentropy(from_logits={logits}), metrics=[keras.metrics.{metric}])
x, y = np.ones((8, 4)), (np.arange(8) % 2)[:, None]
"""

RULE = Rule(
    code="LD523",
    name="metric-mismatch",
    category="metrics",
    summary="A metric that cannot fit the output or the loss.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "equality of floats",
            _MODEL.replace("np.arange(8) % 3", "np.eye(3)[np.arange(8) % 3]")
            + 'model.compile(loss="categorical_crossentropy", metrics=[keras.metrics.Accuracy()])\n',
            "warning",
        ),
        Example("argmax over the samples", _MODEL + _LOSS.replace("{metric}", '"categorical_accuracy"'), "warning"),
        Example(
            "accuracy of a regression",
            "i = keras.Input((4,))\n"
            "model = keras.Model(i, layers.Dense(1)(i))\n"
            'model.compile(loss="mse", metrics=["accuracy"])\n'
            "x, y = np.ones((8, 4)), np.linspace(-2.0, 2.0, 8)[:, None]\n",
            "info",
        ),
        Example("AUC on logits", _ONE.format(activation=None, logits=True, metric="AUC()"), "warning"),
        Example(
            "MeanIoU on a sigmoid", _ONE.format(activation='"sigmoid"', logits=False, metric="MeanIoU(2)"), "warning"
        ),
        Example(
            "binary accuracy of class numbers",
            _MODEL.replace("np.arange(8) % 3", "(np.arange(8) % 3)[:, None]")
            + _LOSS.replace("{metric}", '"binary_accuracy"'),
            "warning",
        ),
    ),
    good=(
        Example("chosen by Keras", _MODEL + _LOSS.replace("{metric}", '"accuracy"')),
        Example("AUC from logits", _ONE.format(activation=None, logits=True, metric="AUC(from_logits=True)")),
        Example("BinaryIoU on a sigmoid", _ONE.format(activation='"sigmoid"', logits=False, metric="BinaryIoU()")),
    ),
)
