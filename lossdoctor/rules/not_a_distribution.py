"""
## What it sees
Targets of a cross-entropy that are no probabilities: rows that do not sum to 1 under a categorical loss, values outside 0 to 1 under a binary one.

## Why it matters
Outside 0 to 1 binary cross-entropy has no minimum: it falls without end as the prediction saturates. Rows that sum to something else weigh samples differently, or mean several labels, which a softmax cannot give.

## What to do
Images: divide by 255. Labels -1 and 1: `(y + 1) / 2`. Labels 1 and 2: `y - 1`. Several labels at once: sigmoid with binary cross-entropy.

## Measured
Keras 3.15.1: neither loss checks its targets; on PyTorch 2.15 `binary_crossentropy` raises "all elements of target should be between 0 and 1". Rows of zeros count as nothing under `categorical_crossentropy` (a usual way to mask) and are not told, but on TensorFlow (below).
Entries with sample weight 0 do not count.
Rows that do not sum to 1 under `categorical_crossentropy` (of a softmax, or from logits), Keras 3.15.1 on TensorFlow: the loss is -sum(y * log p), the gradient
that is followed is p - y, which is that of rows that sum to 1 (`softmax_cross_entropy_with_logits`): rows of zeros train, too; a policy gradient by targets of one-hot rows times an
advantage is none, and counts train towards the most frequent class alone. On JAX the gradient is the loss's own, sum(y) * p - y. Sample weights of the rows' sums,
with rows divided by them, are the same objective, and right on both. It is measured behind the model's own last layers, where the graph or a symbolic call shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lossdoctor.facts import Exam, LossCall, Values
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import BatchEdit, CompileEdit, Finding

_BINARY = ("binary_crossentropy", "binary_focal_crossentropy", "dice", "tversky")
# The measured slope of a loss and the norm of its gradient are equal to about a hundredth.
_OFF = 0.05
_REFUSED = "between 0 and 1"  # PyTorch's words
_ROWS = ("categorical_crossentropy", "categorical_focal_crossentropy", "kl_divergence")


def check(exam: Exam) -> Iterator[Finding]:
    """Targets of cross-entropies, entry by entry or row by row."""
    for call in (*shared.leaf_calls(exam), *_checked(exam)):
        found = exam.values.get(str(call.targets[0]))
        if not call.builtin or found is None or found.numbers is None or shared.span(found) is None:
            continue
        if shared.wrong_encoding(exam, call):
            continue
        if call.label in _BINARY:
            yield from _outside(exam, call, found)
        elif (
            call.label in _ROWS
            and call.arguments.get("axis", -1) == -1
            and call.target_shapes[0] in (call.output_shapes[0], (*call.output_shapes[0], 1))
        ):
            yield from _rows(
                exam, call, _squeezed(found) if len(call.target_shapes[0]) > len(call.output_shapes[0]) else found
            )


def _squeezed(found: Values) -> Values:
    """Without the last axis of size 1, as Keras gives them to the loss."""
    numbers, counted = found.numbers, found.counted
    return replace(
        found,
        data=found.data[..., 0],
        numbers=None if numbers is None else numbers[..., 0],
        counted=None if counted is None else counted[..., 0],
    )


def _checked(exam: Exam) -> list[LossCall]:
    """The call on one target in which fit raises because the backend checks the target's values."""
    error = shared.error(exam)
    return [
        call
        for call in exam.run.calls
        if shared.failed_in(exam, call) and _REFUSED in error and len(call.targets) == len(call.outputs) == 1
    ]


def _outside(exam: Exam, call: LossCall, found: Values) -> Iterator[Finding]:
    numbers = found.numbers
    wrong = None if numbers is None else found.where((numbers < -1e-3) | (numbers > 1 + 1e-3))
    if wrong is None:
        return
    kept = found.kept()
    low, high = float(kept.min()), float(kept.max())
    path = found.path
    two = set(kept[:1000].tolist())
    if two == {low, high} and high - low == 1 and low == round(low) and bool(((kept == low) | (kept == high)).all()):
        code = f"{path} - {low:.0f}" if low > 0 else f"{path} + {-low:.0f}"
        fix = repairs.on_leaf("count the two classes from 0", exam, path, code, "review")
    elif two <= {-1.0, 1.0}:
        fix = repairs.on_leaf("turn -1 and 1 into 0 and 1", exam, path, f"({path} + 1) / 2", "review")
    elif low >= 0 and high <= 255 and high > 1.5:
        fix = repairs.on_leaf("scale to 0..1", exam, path, f"{path} / {255 if high > 15 else high:.0f}", "review")
    else:
        fix = repairs.other_loss("these are no probabilities: use a regression loss", exam, call.loss_path, "mse")
    refused = shared.failed_in(exam, call)
    yield RULE.finding(
        "error",
        "raises" if refused else "silent",
        f"{path} goes from {shared.number(low)} to {shared.number(high)}, but {call.label} takes probabilities: {wrong.count} of {wrong.entries} values are outside 0..1.{' fit raises.' if refused else ''}",
        where=(path, str(call.outputs[0])),
        evidence={
            "lowest": low,
            "highest": high,
            "outside": wrong.count,
            "first index": list(wrong.index),
            **({"error": shared.error(exam)} if refused else {"loss value": call.value}),
        },
        fixes=(fix,),
    )


def _rows(exam: Exam, call: LossCall, found: Values) -> Iterator[Finding]:
    if found.numbers is None or found.numbers.ndim < 2:
        return  # no rows: another rule says that the shapes differ
    sums = found.numbers.sum(axis=-1)
    counts = found.counted if found.counted is None else found.counted.any(axis=-1)
    negative = found.where(found.numbers < -1e-3)
    rise, norm = exam.probes.slopes.get(str(call.outputs[0]), (0.0, 0.0))
    other_gradient = abs(rise - norm) > _OFF * norm
    # Rows of zeros count as nothing where the gradient is the loss's own.
    wrong = (abs(sums - 1) > 1e-2) & (other_gradient | (sums != 0)) & (sums == sums)
    if counts is not None:
        wrong &= counts
    if not wrong.any() and negative is None:
        return
    places = wrong.nonzero()
    index = [int(axis[0]) for axis in places] if wrong.any() else list(negative.index) if negative else []
    many = int(wrong.sum())
    said = (
        f"{many} of {sums.size} rows of {found.path} do not sum to 1 (the first, {found.path}{index}, to {shared.number(float(sums[tuple(index)]))})"
        if many
        else f"{found.path} has negative values"
    )
    evidence: dict[str, object] = {
        "rows": int(sums.size),
        "rows that do not sum to 1": many,
        "smallest sum": float(sums.min()),
        "largest sum": float(sums.max()),
    }
    where = (found.path, str(call.outputs[0]))
    if other_gradient:
        message = (
            f"{said}: Keras reports the {call.label} of these rows and follows another gradient. Along it the loss rises by "
            f"{shared.number(rise)} a unit, and the gradient says {shared.number(norm)}."
        )
        evidence |= {"rise of the loss along the gradient": rise, "norm of the gradient": norm}
        fixes = (_sums_as_weights(exam, call, found), *_fixes(exam, call, found))
        yield RULE.finding("error", "silent", message, where=where, evidence=evidence, fixes=fixes)
        return
    # Counts (a multinomial likelihood) and single entries with a weight (policy gradients) are written so on purpose.
    several = (found.numbers != 0).sum(axis=-1) > 1
    counts_or_weights = (bool((found.numbers > 1).any()) and _whole(found)) or not several.any()
    yield RULE.finding(
        "info" if counts_or_weights else "warning",
        "note" if counts_or_weights else "risk",
        f"{said}, but {call.label} takes one distribution a row.",
        where=where,
        evidence=evidence,
        fixes=_fixes(exam, call, found),
    )


def _sums_as_weights(exam: Exam, call: LossCall, found: Values) -> Fix:
    """The same objective of rows that sum to 1: what they sum to, as the samples' weights."""
    title = "give what the rows sum to as sample weights: the same objective"
    if call.arguments.get("label_smoothing") or call.target_shapes != call.output_shapes:
        return repairs.by_hand("give rows that sum to 1", "batch", "what the numbers stand for is not in the batch")
    if found.path != "y" or exam.case.batch.sample_weight is not None:
        code = f"{found.path} / {found.path}.sum(-1, keepdims=True)"
        return repairs.by_hand(title, "batch", "other targets or weights have to be told apart", code)
    sums = BatchEdit("sample_weight = y.sum(-1)")
    rows = BatchEdit("y = y / np.where(y.sum(-1) == 0, 1, y.sum(-1))[..., None]")
    return Fix(title, "batch", "safe", code=f"{sums.code}\n{rows.code}", edits=(sums, rows))


def _fixes(exam: Exam, call: LossCall, found: Values) -> tuple[Fix, ...]:
    """For several entries a row, which may be several labels; and, where nothing is negative, for shares."""
    numbers = found.numbers
    assert numbers is not None
    fixes: list[Fix] = []
    if ((numbers != 0).sum(axis=-1) > 1).any():
        title, logits = (
            "several labels at once want sigmoid and binary cross-entropy",
            call.arguments.get("from_logits"),
        )
        loss = CompileEdit("loss", repairs.replaced(exam, "loss", {call.loss_path: "binary_crossentropy"}))
        fixes.append(
            repairs.activation(title, exam, str(call.outputs[0]), "sigmoid", more=(loss,))
            if ((numbers == 0) | (numbers == 1)).all() and not logits
            else repairs.by_hand(title, "compile", "what the numbers stand for is not in the batch")
        )
    if (numbers >= 0).all():
        expression = f"{found.path} / np.maximum({found.path}.sum(-1, keepdims=True), 1e-12)"
        fixes.append(repairs.on_leaf("or divide each row by its sum", exam, found.path, expression, "review"))
    return tuple(fixes)


def _whole(found: Values) -> bool:
    kept = found.kept()
    return bool((kept == kept.round()).all())


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="{activation}")(i))
model.compile(loss="{loss}")
x, y = np.ones((8, 4)), {targets}
"""

RULE = Rule(
    code="LD703",
    name="not-a-distribution",
    category="values",
    summary="Targets of a cross-entropy that are no probabilities.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "pixels up to 255",
            _MODEL.format(
                activation="sigmoid", loss="binary_crossentropy", targets="np.linspace(0.0, 255.0, 24).reshape(8, 3)"
            ),
            "error",
        ),
        Example(
            "two classes counted from 1",
            _MODEL.format(
                activation="sigmoid", loss="binary_crossentropy", targets="1 + np.arange(24).reshape(8, 3) % 2"
            ),
            "error",
        ),
        Example(
            "several labels in a row",
            _MODEL.format(activation="softmax", loss="categorical_crossentropy", targets="np.array([[1, 1, 0]] * 8)"),
            "error|warning",
        ),
        Example(
            "advantages on one-hot actions: TensorFlow follows another gradient",
            _MODEL.format(
                activation="softmax", loss="categorical_crossentropy", targets="3 * np.eye(3)[np.arange(8) % 3]"
            ),
            "error|info",
        ),
    ),
    good=(
        Example(
            "soft labels",
            _MODEL.format(
                activation="softmax", loss="categorical_crossentropy", targets="np.array([[0.9, 0.05, 0.05]] * 8)"
            ),
        ),
        Example(
            "several labels with sigmoid",
            _MODEL.format(activation="sigmoid", loss="binary_crossentropy", targets="np.array([[1, 1, 0]] * 8)"),
        ),
    ),
)
