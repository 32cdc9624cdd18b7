"""
## What it sees
There are more or fewer targets than outputs with a loss, in a list or tuple.

## Why it matters
Keras cannot tell which output is meant to go without a target, and raises "y_true and y_pred have different
structures".

## What to do
Give one target for each output; for an output that nothing should train, compile `None` as its loss.

## Measured
Keras 3.15.1, TensorFlow: two targets for three outputs raise in `fit` and `train_on_batch`. With
`loss=["mse", None]` one target is enough, or two. Keras 3.4.1, 3.5.0 and 3.6.0, JAX: silent, what has no partner is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import BatchEdit, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Positional targets whose number does not fit, where fit raises in dispatch or leaves some out."""
    outputs, y = exam.case.model.outputs, exam.case.batch.y
    if trees.is_leaf(y) or isinstance(y, dict):
        return
    expected, given = shared.count(outputs), shared.count(y)
    if expected == given:
        return
    if exam.fit.outcome.status == "ok":
        yield from _left_out(exam, expected, given)
        return
    if not shared.raised_in_dispatch(exam) or exam.fit.stage != "dispatch":
        return
    paths = shared.output_paths(exam)
    missing = paths[given:] if given < expected else []
    detail = f"{shared.listed(missing)} would get none" if missing else f"y[{expected}] has no output"
    yield RULE.finding(
        "error",
        "raises",
        f"y holds {given} target{'s' * (given != 1)} for {expected} output{'s' * (expected != 1)} ({detail}), and fit raises.",
        where=("y", *missing),
        evidence={"targets": given, "outputs": expected, "error": shared.error(exam)},
        fixes=(
            *(_none(exam, missing) if missing else (_fewer(exam, expected),)),
            repairs.by_hand("or give one target for each output", "batch", "their values are not in the batch"),
        ),
    )


def _left_out(exam: Exam, expected: int, given: int) -> Iterator[Finding]:
    """What Keras 3.4 to 3.6 leave out where they do not raise."""
    used = {target for _, _, target in shared.pairs(exam)}
    outputs = shared.untrained(exam) if given < expected else []
    left = outputs or ([path for path in trees.paths("y", exam.case.batch.y) if path not in used] if used else [])
    if not left or (given < expected) != bool(outputs):
        return
    then = "not trained" if outputs else "not used"
    yield RULE.finding(
        "error",
        "silent",
        f"y holds {given} target{'s' * (given != 1)} for {expected} output{'s' * (expected != 1)}; Keras {exam.case.environment.keras} says "
        f"nothing: {shared.listed(left)} {'is' if len(left) == 1 else 'are'} {then}.",
        where=("y", *left),
        evidence={"targets": given, "outputs": expected, then: left},
        fixes=(
            *(_none(exam, outputs) if outputs else (_fewer(exam, expected),)),
            repairs.by_hand("or give one target for each output", "batch", "their values are not in the batch"),
        ),
    )


def _fewer(exam: Exam, expected: int) -> Fix:
    code = f"y = y[:{expected}]" if not trees.is_leaf(exam.case.model.outputs) else "y = y[0]"
    return repairs.statement("leave the last ones out", code, "review")


def _none(exam: Exam, missing: list[str]) -> tuple[Fix, ...]:
    """No loss for the outputs without a target."""
    outputs, loss = exam.case.model.outputs, exam.case.compile.loss
    if isinstance(outputs, dict) or not (trees.is_leaf(loss) or len(loss) == len(outputs)):
        return ()
    tree = repairs.without_loss(exam, missing)
    if tree is None:
        return ()
    body = ", ".join("None" if f"y_pred[{i}]" in missing else f"y[{i}]" for i in range(len(outputs)))
    title = f"train nothing on {shared.listed(missing)}: its loss is None"
    return (repairs.compile_argument(title, "loss", tree, "review", more=(BatchEdit(f"y = [{body}]"),)),)


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(1)(i), layers.Dense(1)(i), layers.Dense(1)(i)])
x = np.ones((8, 4))
t = np.ones((8, 1))
"""

RULE = Rule(
    code="LD103",
    name="target-count-mismatch",
    category="container",
    summary="More or fewer targets than outputs.",
    page=__doc__,
    check=check,
    bad=(Example("two targets for three outputs", _MODEL + 'model.compile(loss="mse")\ny = [t, 2 * t]\n', "error"),),
    good=(
        Example(
            "an output left out on purpose",
            _MODEL + 'model.compile(loss=["mse", "mse", None])\ny = [t, 2 * t]\n',
        ),
    ),
)
