"""
## What it sees
Class numbers below 0, at or above the number of classes, or with fractions, under a sparse loss. Under `CTC` the same, and a 0 in front of other labels.

## Why it matters
On TensorFlow (CPU) such a batch raises, often only hours into the first epoch. On JAX its loss is exactly 0: these samples are skipped without a word.
`CTC` raises nowhere. It takes the labels that are not 0 for a row's length: padding with -1 counts as labels that no output has, and a 0 between labels cuts the last ones off.

## What to do
Class numbers go from 0 to K - 1. Labels from 1 to K: subtract 1. A number that means "ignore": `SparseCategoricalCrossentropy(ignore_class=255)`.
CTC: labels from 1 to K - 1, and 0 for padding.

## Measured
Keras 3.15.1: TensorFlow CPU raises "Received a label value of 7 which is outside the valid range of [0, 3)", with sample weight 0 at that label too; JAX logs 0.0 for it, and TensorFlow
with `jit_compile=True` NaN. Fractions are cut off: 0.7 is class 0.
`ignore_class=-100` gives the mean over the other labels, on TensorFlow and JAX. `CTC` on both: three labels cost 15.18, also padded with 0; padded with -1, or with 6 of 6 classes, 4.80. With a 0
between labels the last label may be any: the loss stays.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall, Values
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Targets of sparse cross-entropies and of CTC."""
    for call in shared.leaf_calls(exam):
        if call.builtin and call.label == "ctc":
            yield from _ctc(exam, call)
    for call in exam.run.calls:
        if not call.builtin or call.label not in shared.SPARSE or len(call.outputs) != 1:
            continue
        if shared.wrong_encoding(exam, call) or shared.transposition(call):
            continue
        found = exam.values.get(str(call.targets[0]))
        axis = shared.class_axis(call)
        if found is None or found.numbers is None or axis is None:
            continue
        raised = shared.failed_in(exam, call) or (
            shared.raises(exam) and exam.fit.stage in ("loss", "gradient", "metrics")
        )
        units = call.output_shapes[0][axis]
        numbers, span = found.numbers, shared.span(found)
        if span is None:
            continue
        wrong = ((numbers < 0) | (numbers >= units)) & (abs(numbers) < float("inf"))
        if isinstance(call.arguments.get("ignore_class"), int | float):
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
                f"if {outside[0]:.0f} marks what is to be ignored: leave those labels out",
                exam,
                {call.loss_path},
                ignore_class=int(outside[0]),
            )
        )
    if low >= 1 and high == units:
        pass
    elif high >= units:
        fixes.append(
            repairs.by_hand(
                f"give {output} {int(high) + 1} units, or correct the labels",
                "model",
                "how many classes there are is not in the batch",
            )
        )
    else:
        title = "or correct the labels" if fixes else "correct the labels"
        fixes.append(repairs.by_hand(title, "batch", "which class these samples have is not written"))
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


def _ctc(exam: Exam, call: LossCall) -> Iterator[Finding]:
    """Labels of CTC: 1 to K - 1 from the front of each row, then zeros. It takes the number of entries that are not 0 for the length."""
    found, units = exam.values.get(str(call.targets[0])), call.output_shapes[0][-1]
    if found is None or found.numbers is None or found.numbers.ndim != 2 or shared.span(found) is None:
        return
    numbers = found.numbers
    later = (numbers != 0)[:, ::-1].cumsum(axis=1)[:, ::-1] > 0  # a label here or behind
    outside = found.where(((numbers < 0) | (numbers >= units)) & (abs(numbers) < float("inf")))
    zeros = found.where((numbers == 0) & later)
    if outside is None and zeros is None:
        return
    target, output = found.path, str(call.outputs[0])
    low, high = shared.span(found) or (0.0, 0.0)
    if outside is not None:
        said = (
            f"{target} holds {outside.value:.0f} at {list(outside.index)}, but ctc takes labels from 1 to {units - 1} and 0 for padding: {outside.count} of "
            f"{outside.entries} entries are outside, each counts as a label that {output} does not have, and nothing raises."
        )
    else:
        assert zeros is not None
        said = (
            f"{target} holds 0 at {list(zeros.index)}, in front of other labels: ctc counts the labels that are not 0 and takes so many from the front of the row, so that "
            "the last ones are dropped. Nothing raises."
        )
    yield RULE.finding(
        "error",
        "silent",
        said,
        where=(target, output),
        evidence={
            "lowest label": low,
            "highest label": high,
            "classes": units,
            "outside": outside.count if outside else 0,
            "zeros in front of labels": zeros.count if zeros else 0,
            "loss value": call.value,
        },
        fixes=(_of_ctc(exam, found, units, outside is not None, zeros is not None),),
    )


def _of_ctc(exam: Exam, found: Values, units: int, outside: bool, zeros: bool) -> Fix:
    """Zeros for one number behind all labels; one more for labels that are counted from 0."""
    numbers, path = found.numbers, found.path
    assert numbers is not None
    high = float(found.kept().max())
    beyond = set(numbers[(numbers < 0) | (numbers >= units)].tolist())
    if outside and not zeros and len(beyond) == 1:
        value = int(next(iter(beyond)))
        padded = (numbers == value)[:, ::-1].cumprod(axis=1)[:, ::-1]  # it and nothing else up to the end
        if (padded == (numbers == value)).all():
            return repairs.on_leaf("pad with 0", exam, path, f"np.where({path} == {value}, 0, {path})")
    if zeros and beyond <= {-1.0} and high + 1 < units and (outside or (numbers[:, -1] != 0).all()):
        title = "count the labels from 1" + (", so that the padding is 0" if outside else "")
        return repairs.on_leaf(title, exam, path, f"{path} + 1")
    return repairs.by_hand(
        f"give labels from 1 to {units - 1}, padded with 0 at the end",
        "batch",
        "which of the numbers are padding is not written",
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="softmax")(i))
model.compile(loss={loss})
x, y = np.ones((8, 4)), {labels}
"""
_CTC = """\
i = keras.Input((12, 4))
model = keras.Model(i, layers.Dense(5)(i))
model.compile(loss=keras.losses.CTC())
x, y = np.ones((8, 12, 4)), np.array([{labels}] * 8)
"""

RULE = Rule(
    code="LD702",
    name="label-out-of-range",
    category="values",
    summary="Class numbers outside 0 to K - 1; under CTC, labels outside 1 to K - 1.",
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
        Example("CTC, padded with -1", _CTC.format(labels="[1, 4, 2, -1]"), "error"),
        Example("CTC, labels counted from 0", _CTC.format(labels="[1, 0, 2, 3]"), "error"),
    ),
    good=(
        Example("CTC, padded with 0", _CTC.format(labels="[1, 4, 2, 0]")),
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
