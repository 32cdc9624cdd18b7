"""
## What it sees
A case whose result is known to differ between Keras's backends: an unreduced loss, a cross-entropy that TensorFlow computes from the values in front of the activation, labels out of range.

## Why it matters
The same code trains on another objective, or raises, once `KERAS_BACKEND` changes.

## What to do
Mend what the other rules say about it; then both backends do the same.

## Measured
Keras 3.15.1, TensorFlow 2.21 and JAX 0.10. `reduction=None`: TensorFlow trains, JAX raises. Softmax and sigmoid under a cross-entropy of the other kind, or with `from_logits=True`: TensorFlow uses `_keras_logits`, JAX the outputs
as they are. Labels outside 0 to K - 1: TensorFlow (CPU) raises, JAX computes a loss of 0. The numbers told are computed here, on the outputs without their history, which is what JAX has.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """What TensorFlow does otherwise than JAX with this case."""
    if exam.case.environment.backend != "tensorflow":
        return
    fixes = (repairs.by_hand("see the other findings on this output", "compile", "the cause is told there"),)
    for call in exam.run.calls:
        where = (*(str(o) for o in call.outputs), call.loss_path)
        reading = exam.readings.get(call.number)
        if call.reduction is None and call.value_shape not in (None, ()) and not shared.raises(exam):
            yield RULE.finding(
                "info",
                "note",
                f"{call.label} with reduction=None trains here; on JAX fit raises, since shape {call.value_shape} is no scalar.",
                where=where,
                evidence={"returned shape": list(call.value_shape or ())},
                fixes=fixes,
            )
        elif reading is not None:
            elsewhere = reading.logits if reading.from_logits else reading.probabilities
            if not shared.close(reading.trained, elsewhere):
                yield RULE.finding(
                    "info",
                    "note",
                    f"{call.label} is {shared.number(reading.trained)} on TensorFlow, which looks behind the activation of {call.outputs[0]}; taken as they are, as on JAX, the outputs give "
                    f"{shared.number(elsewhere)}.",
                    where=where,
                    evidence={"on TensorFlow": reading.trained, "on the outputs as they are": elsewhere},
                    fixes=fixes,
                )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="softmax")(i))
model.compile(loss=keras.losses.{loss})
x, y = np.ones((8, 4)), np.eye(3)[np.arange(8) % 3]
"""

RULE = Rule(
    code="LD954",
    name="backend-dependent",
    category="environment",
    summary="The same case raises or trains differently on another Keras backend.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "from_logits=True on a softmax",
            _MODEL.format(loss="CategoricalCrossentropy(from_logits=True)"),
            "info|tensorflow",
        ),
        Example("an unreduced loss", _MODEL.format(loss="CategoricalCrossentropy(reduction=None)"), "info|tensorflow"),
    ),
    good=(Example("softmax and probabilities", _MODEL.format(loss="CategoricalCrossentropy()")),),
)
