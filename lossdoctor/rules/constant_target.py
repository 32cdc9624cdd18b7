"""
## What it sees
A target that is the same for every sample of the batch, in a batch of at least 16.

## Why it matters
The model can learn it from nothing but a bias. It may be a placeholder on purpose (losses that ignore their target), an unlucky batch, or a column that was never filled.

## What to do
Look at the column, or examine a batch with shuffled samples.

## Measured
Keras 3.15.1 trains on constant targets without a word. What was read of the batch is what is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding

# Fewer samples than this are alike by chance too often.
_FEW = 16


def check(exam: Exam) -> Iterator[Finding]:
    """Targets that met a loss, whose samples are all alike."""
    seen = set()
    for call, output, target in shared.pairs(exam):
        found = exam.values.get(str(target))
        if (
            found is None
            or found.numbers is None
            or target in seen
            or not found.numbers.ndim
            or len(found.numbers) < _FEW
        ):
            continue
        seen.add(target)
        rows = found.numbers.reshape(len(found.numbers), -1)
        # Where no gradient follows from it anyway, nothing is worth a line.
        if rows.size and bool((rows == rows[0]).all()) and call.weight:
            first = rows[0]
            shown = shared.number(float(first[0])) if bool((first == first[0]).all()) else "one row"
            yield RULE.finding(
                "info",
                "note",
                f"{target} is {shown} for all {len(rows)} samples.",
                where=(str(target), output),
                evidence={"samples": len(rows), "lowest": float(rows.min()), "highest": float(rows.max())},
                fixes=(
                    repairs.by_hand(
                        "look at the column, or examine a batch of shuffled samples",
                        "batch",
                        "whether other batches differ is not in this one",
                    ),
                ),
            )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(1)(i))
model.compile(loss="mse")
x, y = np.ones((16, 4)), {targets}
"""

RULE = Rule(
    code="LD705",
    name="constant-target",
    category="values",
    summary="A target that is the same for every sample.",
    page=__doc__,
    check=check,
    bad=(Example("zeros", _MODEL.replace("{targets}", "np.zeros((16, 1))"), "info"),),
    good=(Example("values that differ", _MODEL.replace("{targets}", "np.arange(16.0)[:, None]")),),
)
