"""
## What it sees
The arrays of x, y and sample_weight disagree on the number of samples (axis 0), or a target is a plain number.

## Why it matters
`fit` counts the samples and raises. `train_on_batch` does not count: a one-row target or a number is silently
broadcast over the whole batch.

## What to do
Give every array the same axis 0.

## Measured
Keras 3.15.1, TensorFlow: `fit` raises "Data cardinality is ambiguous"; `train_on_batch` trains on a `(1, 3)` target for 8 samples.
Targets `(2.0, 6.0, 10.0)` for three outputs: `fit` raises "Unrecognized data type", `train_on_batch` trains all 8 samples
on those numbers. From keras-team/keras#20373.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import ArrayRef, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Leaves whose axis 0 differs from the most common one, and numbers among the targets."""
    batch = exam.case.batch
    leaves = [
        *trees.leaves("x", batch.x),
        *trees.leaves("y", batch.y),
        *(trees.leaves("sample_weight", batch.sample_weight) if batch.sample_weight is not None else []),
    ]
    by_path = dict(leaves)
    rows = {path: shared.rows_of(leaf) for path, leaf in leaves if leaf is not None}
    if exam.case.model.kind == "outputs" and batch.x is None:
        rows |= {path: shared.rows_of(spec) for path, spec in trees.leaves("y_pred", exam.case.model.outputs)}
    sizes = Counter(n for n in rows.values() if n is not None)
    numbers = [
        path
        for path, n in rows.items()
        if n is None
        and path.startswith(("y", "sample_weight"))
        and "y_pred" not in path
        and getattr(by_path[path], "dtype", "") != "object"  # LD105's
    ]
    common = _common(exam, sizes)
    odd = [path for path, n in rows.items() if n is not None and n != common]
    if trees.is_leaf(batch.y) and shared.count(exam.case.model.outputs) > 1:
        odd = [path for path in odd if path != "y"]  # one array for many outputs: LD104
    if not shared.raises(exam) or exam.fit.stage == "model" or not (odd or numbers):
        return
    if odd:
        yield _finding(
            exam, odd, f"{odd[0]} has {rows[odd[0]]} rows where {_other(rows, odd, common)} has {common}", rows
        )
    if numbers:
        kind = "0-d array" if isinstance(by_path[numbers[0]], ArrayRef) else "plain number"
        many = f"{shared.listed(numbers)} are {kind}s" if len(numbers) > 1 else f"{numbers[0]} is a {kind}"
        yield _finding(exam, numbers, f"{many}, without a samples axis", rows)


def _common(exam: Exam, sizes: Counter[int]) -> int | None:
    """x's number of samples where x has one, else the most frequent."""
    x = [shared.rows_of(leaf) for leaf in trees.values(exam.case.batch.x) if shared.rows_of(leaf) is not None]
    return x[0] if x else (sizes.most_common(1)[0][0] if sizes else None)


def _other(rows: dict[str, int | None], odd: list[str], common: int | None) -> str:
    return next((path for path, n in rows.items() if n == common and path not in odd), "the rest")


def _finding(exam: Exam, where: list[str], saw: str, rows: dict[str, int | None]) -> Finding:
    other = exam.train_on_batch.outcome
    then = (
        f"fit raises; train_on_batch runs and broadcasts (loss {shared.number(other.loss)})"
        if other.status == "ok"
        else "fit raises, and so does train_on_batch"
    )
    return RULE.finding(
        "error",
        "raises",
        f"{saw}: {then}.",
        where=tuple(where[:12]),
        evidence={
            "rows": dict(list(rows.items())[:12]),
            "fit": exam.fit.outcome.status,
            "train_on_batch": other.status,
            "error": shared.error(exam),
        },
        fixes=(
            _column(exam, where[0])
            if rows.get(where[0]) is None
            else repairs.by_hand(
                "give every array the same number of rows",
                "batch",
                "which rows belong together is not written in the arrays",
            ),
        ),
    )


def _column(exam: Exam, path: str) -> Fix:
    """A plain number, given once for each sample, in its output's shape."""
    y, outputs = exam.case.batch.y, trees.values(exam.case.model.outputs)
    numbers = [p for p, leaf in trees.leaves("y", y) if leaf is not None and shared.rows_of(leaf) is None]
    if not path.startswith("y") or len(numbers) != shared.count(y) or len(outputs) != len(numbers):
        why = "what the other samples' values are is not in the batch"
        return repairs.by_hand("give one value for each sample", "batch", why)
    x = trees.leaves("x", exam.case.batch.x)
    rows = f"len({x[0][0]})" if x and isinstance(x[0][1], ArrayRef) else str(exam.case.rows)

    def full(leaf: str, shape: tuple[int | None, ...]) -> str:
        dims = ", ".join([rows, *map(str, shape[1:])])
        return f'np.full(({dims}{"," * (len(shape) == 1)}), {leaf}, dtype="float32")'

    full_of = {leaf: full(leaf, spec.shape) for leaf, spec in zip(numbers, outputs, strict=True)}
    code = shared.tree_code(y, lambda leaf: full_of[leaf], "y")
    return repairs.statement("use the number for every sample", f"y = {code}", "review")


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(1)(i), layers.Dense(1)(i)])
model.compile(loss="mse")
x = np.ones((8, 4))
"""

RULE = Rule(
    code="LD304",
    name="batch-size-mismatch",
    category="shape",
    summary="Leaves disagree on the number of samples.",
    page=__doc__,
    check=check,
    bad=(
        Example("seven targets for eight samples", _MODEL + "y = [np.ones((7, 1)), np.ones((8, 1))]\n", "error"),
        Example("numbers as targets", _MODEL + "y = (2.0, 6.0)\n", "error"),
    ),
    good=(Example("eight of each", _MODEL + "y = [np.full((8, 1), 2.0), np.full((8, 1), 6.0)]\n"),),
)
