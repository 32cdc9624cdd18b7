"""
## What it sees
Sigmoid outputs under a categorical cross-entropy, or softmax outputs under a binary one, with `from_logits=True` as well.

## Why it matters
On TensorFlow Keras takes the values in front of the activation and trains on them as if the other activation stood there, while
`predict` shows the one that was declared. Elsewhere the probabilities are taken as they are: sigmoids are divided by their sum, a softmax is treated as independent classes.

## What to do
One class of many: softmax with categorical cross-entropy. Several labels at once: sigmoid with binary cross-entropy.

## Measured
Keras 3.15.1, TensorFlow: a softmax layer with `binary_crossentropy` gives exactly the loss of the values in front of it read as sigmoid logits, a sigmoid layer with `categorical_crossentropy` that of softmax logits
(`_keras_logits`), with `from_logits=True` no less than without. On JAX both losses take the outputs as they are; with `from_logits=True` the other activation is applied on top.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall, Readings
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Cross-entropies on outputs of the other kind."""
    for call in shared.leaf_calls(exam):
        reading, activation = exam.readings.get(call.number), exam.activations.get(str(call.outputs[0]))
        if reading is None or activation is None or not shared.is_wrong_pair(call, activation):
            continue
        told = _of_logits if reading.from_logits else _finding
        yield told(exam, call, reading, str(activation.name))


def _other(name: str) -> str:
    return "softmax" if name == "sigmoid" else "sigmoid"


_BETTER = {"sigmoid": "binary_crossentropy", "softmax": "categorical_crossentropy"}


def _of_logits(exam: Exam, call: LossCall, reading: Readings, name: str) -> Finding:
    """With `from_logits=True` the loss applies the other activation itself: to the values in front of this one, or on top of it."""
    output, other = str(call.outputs[0]), _other(name)
    twice = shared.close(reading.trained, reading.logits)
    said = (
        f"the {other} is taken of the {name} ({shared.number(reading.trained)}; the loss of the outputs themselves is "
        f"{shared.number(reading.probabilities)})."
        if twice
        else f"Keras looks behind the {name} and trains as if it were {other} ({shared.number(reading.trained)}; the loss of the outputs themselves is "
        f"{shared.number(reading.probabilities)}), while predict shows {name}."
    )
    return RULE.finding(
        "error",
        "silent",
        f"{output} is {name} over {call.output_shapes[0][-1]} units, but {call.label} with from_logits=True makes a {other} of its own: {said}",
        where=(output, call.loss_path),
        evidence=_evidence(reading),
        fixes=(
            repairs.activation(
                f"leave out the {name}: predict shows logits then, of a {other}", exam, output, "linear"
            ),
            *_better(exam, call, name, "or use the loss for this activation, of probabilities"),
        ),
    )


def _better(exam: Exam, call: LossCall, name: str, title: str) -> tuple[Fix, ...]:
    """The cross-entropy for this activation; none where the targets are class numbers, which no sigmoid is for."""
    if call.label in shared.SPARSE:
        return ()
    return (repairs.crossentropy(title, exam, call, _BETTER[name], from_logits=False),)


def _evidence(reading: Readings) -> dict[str, object]:
    return {
        "loss as trained (no sample weights)": reading.trained,
        "the outputs read as probabilities": reading.probabilities,
        **({} if reading.behind is None else {"the values in front of the activation read as logits": reading.behind}),
    }


def _finding(exam: Exam, call: LossCall, reading: Readings, name: str) -> Finding:
    output = str(call.outputs[0])
    other = _other(name)
    behind = not shared.close(reading.trained, reading.probabilities)
    if behind:
        said = (
            f"Keras looks behind the {name} and trains as if it were {other} ({shared.number(reading.trained)}; the loss of the outputs themselves is "
            f"{shared.number(reading.probabilities)}), while predict shows {name}."
        )
    elif name == "softmax":
        said = "each class counts as a label of its own."
    else:
        said = "the sigmoids are divided by their sum first."
    return RULE.finding(
        "error" if behind else "warning",
        "silent" if behind else "risk",
        f"{output} is {name} over {call.output_shapes[0][-1]} units, but {call.label} is made for {other}: {said}",
        where=(output, call.loss_path),
        evidence=_evidence(reading),
        fixes=(
            repairs.activation(f'end the model with activation="{other}"', exam, output, other),
            *_better(exam, call, name, "or use the loss for this activation"),
        ),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="{activation}")(i))
model.compile(loss="{loss}")
x, y = np.ones((8, 4)), np.eye(3)[np.arange(8) % 3]
"""

RULE = Rule(
    code="LD603",
    name="activation-loss-mismatch",
    category="activation",
    summary="Sigmoid with a categorical cross-entropy, softmax with a binary one.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "softmax with binary cross-entropy",
            _MODEL.format(activation="softmax", loss="binary_crossentropy"),
            "warning|error",
        ),
        Example(
            "sigmoid with categorical cross-entropy",
            _MODEL.format(activation="sigmoid", loss="categorical_crossentropy"),
            "warning|error",
        ),
        Example(
            "softmax with binary cross-entropy of logits",
            _MODEL.replace('"{loss}"', "keras.losses.BinaryCrossentropy(from_logits=True)").format(
                activation="softmax"
            ),
            "error",
        ),
        Example(
            "sigmoid with categorical cross-entropy of logits",
            _MODEL.replace('"{loss}"', "keras.losses.CategoricalCrossentropy(from_logits=True)").format(
                activation="sigmoid"
            ),
            "error",
        ),
    ),
    good=(
        Example("softmax, categorical", _MODEL.format(activation="softmax", loss="categorical_crossentropy")),
        Example("sigmoid, binary", _MODEL.format(activation="sigmoid", loss="binary_crossentropy")),
    ),
)
