"""
## What it sees
A cross-entropy whose `from_logits` does not fit the activation that the output leaves through, in either direction; measured by reading the same predictions both ways. Also logits under Dice or Tversky, which take probabilities.

## Why it matters
`from_logits=True` on a softmax or sigmoid output applies the activation twice: the loss is wrong, its gradient small, and the model hardly learns. `from_logits=False` on a linear output
takes any number for a probability: everything outside 0..1 is clipped and has no useful gradient.
Dice and Tversky clip nothing: on a linear output they fall below 0, and the mask is not where they are smallest.

## What to do
Either no activation and `from_logits=True`, or the activation and `from_logits=False`.

## Measured
Keras 3.15.1. Softmax or sigmoid in the last layer, `from_logits=True`: on TensorFlow Keras finds the values in front of the activation (`_keras_logits`) and uses those: exactly compensated; on JAX the
activation is applied twice. Behind a `Reshape` it is applied twice on TensorFlow too. Linear output, `from_logits=False`: no warning on either.
`CTC` takes logits and has no `from_logits`: perfect probabilities cost 0.96, their logarithms 5e-7; there nothing looks behind a softmax, on either backend.
`Dice` and `Tversky` have no `from_logits`: the mask itself costs 0, ten times the mask -0.82, logits of -10 and 10 for a mask of half the pixels -19, on both backends.
Log-softmax output with sparse cross-entropy, `from_logits=False`: a constant loss without gradient.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Activation, Exam, LossCall, Readings
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding

# Logits that stay below this never reach a probability of 0.98.
_SMALL = 4.0


def check(exam: Exam) -> Iterator[Finding]:
    """Cross-entropies on outputs whose activation is known."""
    for call in shared.leaf_calls(exam):
        reading = exam.readings.get(call.number)
        activation = exam.activations.get(str(call.outputs[0]))
        if reading is None or activation is None or activation.constant:
            continue
        if activation.name is None and exam.case.model.predictions is None:
            continue
        if shared.is_wrong_pair(call, activation):
            continue  # LD603's
        if reading.from_logits:
            yield from _twice(exam, call, reading, activation)
        elif reading.mask is not None:
            if activation.name == "linear" and reading.mask[1] < reading.mask[0]:
                yield _overlap(exam, call, reading, reading.mask)
        elif activation.name != "linear" and not activation.measured:
            continue  # its range is not known
        elif not shared.within_unit(activation):
            yield _never(exam, call, reading, activation)


def _shown(activation: Activation) -> str:
    return activation.name or "given as probabilities"


def _twice(exam: Exam, call: LossCall, reading: Readings, activation: Activation) -> Iterator[Finding]:
    output = str(call.outputs[0])
    evidence = _evidence(reading)
    if call.label == "ctc":
        if shared.within_unit(activation) and not shared.close(reading.trained, reading.probabilities):
            yield _ctc(exam, call, reading, activation)
        return
    fixes = (
        repairs.configured(
            "say that the output holds probabilities", exam, {call.loss_path}, "safe", from_logits=False
        ),
        repairs.activation(f"or leave out the {_shown(activation)}", exam, output, "linear"),
    )
    if shared.within_unit(activation) and (activation.name is not None or activation.sums_to_one is not None):
        if shared.close(reading.trained, reading.logits) and not shared.close(reading.logits, reading.probabilities):
            yield RULE.finding(
                "error",
                "silent",
                f"{call.label} has from_logits=True, but {output} is already {_shown(activation)}: the activation counts twice. Keras computes "
                f"{shared.number(reading.trained)}; the loss of these probabilities is {shared.number(reading.probabilities)}.",
                where=(output, call.loss_path),
                evidence=evidence,
                fixes=fixes,
            )
        elif not shared.close(reading.logits, reading.probabilities):
            yield RULE.finding(
                "info",
                "note",
                f"{call.label} has from_logits=True and {output} is {_shown(activation)}: {exam.case.environment.backend} looks behind the activation and computes "
                f"{shared.number(reading.trained)} as meant; read as logits these outputs give {shared.number(reading.logits)}.",
                where=(output, call.loss_path),
                evidence=evidence,
                fixes=fixes,
            )
    elif (
        activation.measured  # the small numbers of a model that is not trained yet say nothing
        and activation.low is not None
        and activation.high is not None
        and max(abs(activation.low), abs(activation.high)) < _SMALL
    ):
        yield RULE.finding(
            "warning",
            "risk",
            f"{call.label} has from_logits=True, but {output} is {_shown(activation)}, from {shared.number(activation.low)} to {shared.number(activation.high)}: "
            "as logits these never reach a probability near 0 or 1.",
            where=(output, call.loss_path),
            evidence=evidence,
            fixes=(repairs.activation(f"leave out the {_shown(activation)}", exam, output, "linear"),),
        )


def _ctc(exam: Exam, call: LossCall, reading: Readings, activation: Activation) -> Finding:
    output = str(call.outputs[0])
    return RULE.finding(
        "error",
        "silent",
        f"ctc takes logits, but {output} is already {_shown(activation)}: the activation counts twice. Keras computes "
        f"{shared.number(reading.trained)}; the loss of these probabilities is {shared.number(reading.probabilities)}.",
        where=(output, call.loss_path),
        evidence=_evidence(reading),
        fixes=(repairs.activation(f"leave out the {_shown(activation)}", exam, output, "linear"),),
    )


def _never(exam: Exam, call: LossCall, reading: Readings, activation: Activation) -> Finding:
    output = str(call.outputs[0])
    what = "linear" if activation.name == "linear" else f"{activation.name or 'not'} and not from 0 to 1"
    if activation.name is None:
        what = f"between {shared.number(activation.low)} and {shared.number(activation.high)}"
    other = "sigmoid" if "binary" in call.label else "softmax"
    # Keras divides by the sum of a row under a categorical loss: positive numbers still become probabilities.
    positive = "categorical" in call.label and activation.low is not None and activation.low >= -1e-3
    return RULE.finding(
        "warning" if positive else "error",
        "risk" if positive else "silent",
        f"{output} is {what}, but {call.label} has from_logits=False and takes it for probabilities: Keras computes {shared.number(reading.trained)}; "
        f"with from_logits=True it is {shared.number(reading.logits)}.",
        where=(output, call.loss_path),
        evidence=_evidence(reading),
        fixes=(
            repairs.configured("say that the output holds logits", exam, {call.loss_path}, from_logits=True),
            repairs.activation(f'or end the model with activation="{other}"', exam, output, other),
        ),
    )


def _overlap(exam: Exam, call: LossCall, reading: Readings, mask: tuple[float, float]) -> Finding:
    """Dice or Tversky of logits."""
    output, found = str(call.outputs[0]), exam.values.get(str(call.targets[0]))
    numbers = None if found is None else found.numbers
    one_hot = numbers is not None and numbers.shape[-1] > 1 and bool((numbers.sum(axis=-1) == 1).all())
    wanted = "softmax" if one_hot else "sigmoid"
    return RULE.finding(
        "error",
        "silent",
        f"{output} is linear, but {call.label} takes probabilities: the mask itself costs {shared.number(mask[0])}, and ten times the mask "
        f"{shared.number(mask[1])}, so that what Keras trains towards is not the mask.",
        where=(output, call.loss_path),
        evidence={
            "loss as trained (no sample weights)": reading.trained,
            f"loss of the {wanted} of the outputs": reading.logits,
            "loss with the target as prediction": mask[0],
            "loss with ten times the target as prediction": mask[1],
        },
        fixes=(repairs.activation(f'end the model with activation="{wanted}"', exam, output, wanted),),
    )


def _evidence(reading: Readings) -> dict[str, object]:
    return {
        "loss as trained (no sample weights)": reading.trained,
        "the outputs read as probabilities": reading.probabilities,
        "the outputs read as logits": reading.logits,
        **({} if reading.behind is None else {"the values in front of the activation read as logits": reading.behind}),
    }


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {output})
x, y = np.ones((8, 4)), np.eye(3)[np.arange(8) % 3]
model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits={flag}))
"""
_MASKS = """\
i = keras.Input((8, 8, 3))
model = keras.Model(i, layers.Conv2D(1, 1{activation})(i))
model.compile(loss=keras.losses.{loss}())
x, y = np.ones((4, 8, 8, 3)), np.arange(256).reshape(4, 8, 8, 1) % 2
"""

RULE = Rule(
    code="LD601",
    name="logits-mismatch",
    category="activation",
    summary="from_logits against the output's activation, both ways.",
    page=__doc__,
    check=check,
    bad=(
        Example("no activation, from_logits=False", _MODEL.format(output="layers.Dense(3)(i)", flag=False), "error"),
        Example(
            "a softmax behind a Reshape, from_logits=True",
            _MODEL.format(
                output='layers.Reshape((3,))(layers.Reshape((3, 1))(layers.Dense(3, activation="softmax")(i)))',
                flag=True,
            ),
            "error",
        ),
        Example(
            "CTC, which takes logits, on a softmax",
            """\
i = keras.Input((12, 4))
model = keras.Model(i, layers.Dense(5, activation="softmax")(i))
model.compile(loss=keras.losses.CTC())
x, y = np.ones((8, 12, 4)), 1 + np.arange(24).reshape(8, 3) % 4
""",
            "error",
        ),
        Example(
            "Dice, which takes probabilities, on a linear output",
            _MASKS.format(activation="", loss="Dice"),
            "error",
        ),
    ),
    good=(
        Example("Tversky on a sigmoid", _MASKS.format(activation=', activation="sigmoid"', loss="Tversky")),
        Example(
            "softmax and probabilities", _MODEL.format(output='layers.Dense(3, activation="softmax")(i)', flag=False)
        ),
        Example("logits", _MODEL.format(output="layers.Dense(3)(i)", flag=True)),
    ),
)
