"""
## What it sees
Targets that are no real numbers (text, objects, complex), or numbers that float32 cannot hold apart.

## Why it matters
Text and objects make `fit` raise. Of complex numbers the imaginary part is dropped. Integers above 2**24 are rounded to float32 before the loss sees them, so that neighbours become equal.

## What to do
Encode text as class numbers (`keras.layers.StringLookup`), give real and imaginary parts as two columns, scale or shift large integers.

## Measured
Keras 3.15.1, TensorFlow and JAX: text and object arrays raise "Invalid dtype"; complex64 targets train on their real part, with a warning of the backend only; MAE of the int64 target
16777217 against 0 is 16777216.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam, LossCall, Values
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding

# The first integer that float32 cannot hold is 2**24 + 1.
_EXACT = 2**24


def check(exam: Exam) -> Iterator[Finding]:
    """Target leaves by their dtype and their values."""
    calls: dict[str | None, list[LossCall]] = defaultdict(list)
    for call, _, target in shared.pairs(exam):
        if call.builtin:
            calls[target].append(call)
    for path, _ in trees.declared_leaves("y", exam.case.batch.y) if exam.case.batch.y is not None else []:
        found = exam.values.get(path)
        if found is None or (found.dtype == "object" and not found.data.shape):
            continue
        kind = found.data.dtype.kind
        if kind in "OUSVMm":
            if shared.raises(exam) or exam.fit.outcome.status == "skipped":
                yield _text(exam, found)
        elif kind == "c" and (not shared.raises(exam) or "complex" in shared.error(exam)):
            yield _complex(exam, found)
        elif (kind in "iu" or found.dtype == "float64") and not shared.raises(exam):
            yield from _inexact(exam, found, calls[path])


def _texts(found: Values) -> bool:
    """True for objects that are all text, as pandas and TensorFlow keep it."""
    return bool(found.data.size) and all(isinstance(entry, str | bytes) for entry in found.data.reshape(-1)[:1000])


def _text(exam: Exam, found: Values) -> Finding:
    sort = {"U": "text", "S": "bytes", "M": "dates", "m": "time spans", "V": "records"}.get(
        found.data.dtype.kind, "text" if _texts(found) else "Python objects"
    )
    return RULE.finding(
        "error",
        "raises",
        f"{found.path} holds {sort} (dtype {found.dtype}), not numbers: fit raises.",
        where=(found.path,),
        evidence={"dtype": found.dtype, "shape": list(found.data.shape), "error": shared.error(exam)},
        fixes=(
            repairs.on_leaf(
                "number the labels in the order of their names (fix that order for all batches)",
                exam,
                found.path,
                f"np.unique({found.path}, return_inverse=True)[1]",
                "review",
            )
            if sort == "text"
            else repairs.by_hand(
                "give the targets as an array of numbers",
                "batch",
                f"what number stands for each of the {sort} is not written",
            ),
        ),
    )


def _complex(exam: Exam, found: Values) -> Finding:
    raised = shared.raises(exam)
    return RULE.finding(
        "error",
        "raises" if raised else "silent",
        f"{found.path} is complex: {'fit raises' if raised else 'Keras trains on the real part alone'}.",
        where=(found.path,),
        evidence={
            "dtype": found.dtype,
            "shape": list(found.data.shape),
            **({"error": shared.error(exam)} if raised else {}),
        },
        fixes=(
            repairs.on_leaf("if the real part is meant: say so", exam, found.path, f"{found.path}.real", "review"),
            repairs.by_hand(
                "or give both parts as columns, and the model twice the outputs",
                "batch",
                "the model needs more units for them",
                f"np.stack([{found.path}.real, {found.path}.imag], -1)",
            ),
        ),
    )


def _inexact(exam: Exam, found: Values, calls: list[LossCall]) -> Iterator[Finding]:
    if not calls or any(c.label in shared.SPARSE for c in calls) or found.numbers is None:
        return
    rounded = found.numbers.astype("float32").astype("float64")
    wrong = found.where((rounded != found.numbers) & (found.numbers == found.numbers))
    if wrong is not None and found.dtype == "float64":
        # Every float64 is rounded a little; it matters where numbers that differ become equal.
        kept = found.kept()[:4096]
        before, after = len(set(kept.tolist())), len(set(kept.astype("float32").tolist()))
        if before >= 4 and after <= before // 2:
            yield RULE.finding(
                "warning",
                "silent",
                f"{before} different values of {found.path} are {after} once they are float32, as {calls[0].label} sees them.",
                where=(found.path,),
                evidence={"dtype": found.dtype, "different values": before, "different as float32": after},
                fixes=(_shifted(exam, found),),
            )
    elif wrong is not None:
        yield RULE.finding(
            "warning",
            "silent",
            f"{wrong.count} of {wrong.entries} integers of {found.path} exceed what float32 holds: {calls[0].label} sees them rounded.",
            where=(found.path,),
            evidence={
                "dtype": found.dtype,
                "first index": list(wrong.index),
                "value": wrong.value,
                "as float32": int(rounded[wrong.index]),
            },
            fixes=(_shifted(exam, found),),
        )


def _shifted(exam: Exam, found: Values) -> Fix:
    """The targets counted from their smallest value, where float32 then tells them apart."""
    least = min(found.kept().tolist())
    low = int(least) if float(least).is_integer() else least
    return repairs.on_leaf(
        "count from the smallest value (of all data)",
        exam,
        found.path,
        f'({found.path} - {low}).astype("float32")',
        "review",
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(1)(i))
model.compile(loss="mae")
x = np.ones((8, 4))
"""

RULE = Rule(
    code="LD307",
    name="target-dtype",
    category="dtype",
    summary="Targets that are text, objects, complex, or integers that float32 cannot hold.",
    page=__doc__,
    check=check,
    bad=(
        Example("text", _MODEL + 'y = np.array([["cat"], ["dog"]] * 4)\n', "error"),
        Example("complex numbers", _MODEL + "y = np.arange(8)[:, None] + 1j\n", "error"),
        Example("integers beyond float32", _MODEL + "y = 2**24 + np.arange(8)[:, None]\n", "warning"),
    ),
    good=(Example("integers that fit", _MODEL + "y = np.arange(8)[:, None]\n"),),
)
