"""
## What it sees
Class numbers below 0, at or above the number of classes, or with fractions, under a sparse loss.

## Why it matters
On TensorFlow (CPU) such a batch raises, often only hours into the first epoch. On JAX its loss is exactly 0: these samples are skipped without a word.

## What to do
Class numbers go from 0 to K - 1. Labels from 1 to K: subtract 1. A number that means "ignore": `SparseCategoricalCrossentropy(ignore_class=255)`.

## Measured
Keras 3.15.1: TensorFlow CPU raises "Received a label value of 7 which is outside the valid range of [0, 3)", with sample weight 0 at that label too; JAX logs 0.0 for it, and TensorFlow
with `jit_compile=True` NaN. Fractions are cut off: 0.7 is class 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Targets of sparse cross-entropies."""
    for call in exam.run.calls:
        if not call.builtin or call.label not in shared.SPARSE or len(call.outputs) != 1:
            continue
        if shared.wrong_encoding(exam, call) or shared.transposition(call):
            continue
        found = exam.values.get(str(call.targets[0]))
        if found is None or found.numbers is None or not call.output_shapes[0]:
            continue
        raised = shared.failed_in(exam, call) or (
            shared.raises(exam) and exam.fit.stage in ("loss", "gradient", "metrics")
        )
        units = call.output_shapes[0][int(call.arguments.get("axis", -1))]
        numbers, span = found.numbers, shared.span(found)
        if span is None:
            continue
        wrong = ((numbers < 0) | (numbers >= units)) & (abs(numbers) < float("inf"))
        if call.arguments.get("ignore_class") is not None:
            wrong &= numbers != call.arguments["ignore_class"]
        if found.counted is not None and not raised:
            wrong &= found.counted
        fractions = (numbers == numbers) & (numbers != numbers.round())
        if wrong.any():
            yield _outside(exam, call, numbers, wrong, units, raised, span)
        elif fractions.any() and not raised:
            yield RULE.finding(
                "error",
                "silent",
                f"{int(fractions.sum())} of {numbers.size} labels of {call.targets[0]} have fractions, which {call.label} cuts off.",
                where=(str(call.targets[0]), str(call.outputs[0])),
                evidence={"lowest": span[0], "highest": span[1]},
                fixes=(
                    repairs.by_hand(
                        "give whole class numbers", "batch", "which class a fraction stands for is not written"
                    ),
                ),
            )


def _outside(
    exam: Exam, call: LossCall, numbers: object, wrong: object, units: int, raised: bool, span: tuple[float, float]
) -> Finding:
    target, output = str(call.targets[0]), str(call.outputs[0])
    places = wrong.nonzero()  # type: ignore[attr-defined]
    index = [int(axis[0]) for axis in places]
    low, high = span
    count, total = int(wrong.sum()), int(numbers.size)  # type: ignore[attr-defined]
    value = numbers[tuple(index)]  # type: ignore[index]
    if raised:
        end = "fit raises"
    elif index[0] >= exam.case.rows:
        end = "they lie behind the rows that were run here"
    else:
        end = f"nothing raises on {exam.case.environment.backend}"
    outside = sorted(set(numbers[wrong].tolist()))  # type: ignore[index]
    fixes = []
    if low >= 1 and high == units:
        fixes.append(repairs.on_leaf("count the classes from 0", exam, target, f"{target} - 1"))
    if len(outside) == 1 and call.label == "sparse_categorical_crossentropy":
        fixes.append(
            repairs.configured(
                f"if {outside[0]:.0f} means unknown: leave those labels out",
                exam,
                {call.loss_path},
                ignore_class=int(outside[0]),
            )
        )
    if not (low >= 1 and high == units):
        fixes.append(
            repairs.by_hand(
                f"give {output} {int(high) + 1} units, or correct the labels",
                "model",
                "how many classes there are is not in the batch",
            )
        )
    return RULE.finding(
        "error",
        "raises" if raised else "silent",
        f"{target} holds the label {value:.0f} at {index}, but {output} has the classes 0 to {units - 1}: {count} of {total} labels are outside, and {end}.",
        where=(target, output),
        evidence={
            "lowest label": low,
            "highest label": high,
            "classes": units,
            "outside": count,
            "first index": index,
            **({"error": shared.error(exam)} if raised else {"loss value": call.value}),
        },
        fixes=tuple(fixes),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="softmax")(i))
model.compile(loss={loss})
x, y = np.ones((8, 4)), {labels}
"""

RULE = Rule(
    code="LD702",
    name="label-out-of-range",
    category="values",
    summary="Class numbers outside 0 to K - 1.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "classes counted from 1",
            _MODEL.format(loss='"sparse_categorical_crossentropy"', labels="1 + np.arange(8) % 3"),
            "error",
        ),
        Example(
            "-1 for unknown",
            _MODEL.format(loss='"sparse_categorical_crossentropy"', labels="np.arange(8) % 4 - 1"),
            "error",
        ),
    ),
    good=(
        Example("0 to K - 1", _MODEL.format(loss='"sparse_categorical_crossentropy"', labels="np.arange(8) % 3")),
        Example(
            "an ignored class",
            _MODEL.format(
                loss="keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)", labels="np.arange(8) % 4 - 1"
            ),
            since="3.15",
        ),
    ),
)
