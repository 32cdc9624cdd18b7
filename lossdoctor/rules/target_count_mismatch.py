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
Keras 3.15.1, both: outputs `{"box": [a, b], "top": c}` with `loss={"box": ["mse", "mse"], "top": None}` and targets `{"box": [t], "top": u}` trains b on u: what has
no loss is taken out of the outputs, and the number of the rest fits.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import BatchEdit, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Targets whose number does not fit: fit raises in dispatch, leaves some out, or gives a group those of another."""
    outputs, y = exam.case.model.outputs, exam.case.batch.y
    group = next(_groups(exam), None)
    if group is not None:
        yield from _in_group(exam, *group)
        return
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


def _groups(exam: Exam) -> Iterator[tuple[str, str, tuple[str, ...], int, int]]:
    """(path of the targets, that of the node around them, the outputs' steps there, targets, outputs) of every list of targets in a group that has another number of outputs."""
    for path, outputs, given in shared.nodes("y", exam.case.model.outputs, exam.case.batch.y):
        places, held = dict(trees.children(outputs)), dict(trees.children(given))
        if not (isinstance(outputs, dict) and isinstance(given, dict)) and list(places) != list(held):
            continue
        for step, part in ((step, part) for step, part in held.items() if step in places):
            expected, number = shared.count(places[step]), shared.count(part)
            if isinstance(part, list | tuple) and not trees.is_leaf(places[step]) and number != expected:
                yield f"{path}{step}", path, tuple(places), number, expected


def _in_group(
    exam: Exam, where: str, around: str, steps: tuple[str, ...], number: int, expected: int
) -> Iterator[Finding]:
    """A group's targets are too few or too many: fit raises, or pairs what follows with other outputs than theirs."""
    counts = f"{where} holds {number} target{'s' * (number != 1)} for {expected} output{'s' * (expected != 1)}"
    evidence: dict[str, object] = {"targets": number, "outputs": expected}
    fix = repairs.by_hand(f"give {where} one target for each output", "batch", "which is whose is not written")
    if shared.raises(exam):
        if shared.raised_in_dispatch(exam) and exam.fit.stage == "dispatch":
            evidence["error"] = shared.error(exam)
            yield RULE.finding(
                "error", "raises", f"{counts}, and fit raises.", where=(where,), evidence=evidence, fixes=(fix,)
            )
        return
    root = f"y_pred{around[1:]}"
    for _, output, target in shared.pairs(exam):
        group = next((step for step in steps if shared.below(output, root + step)), None)
        if group is None or target is None or not shared.below(target, around) or shared.below(target, around + group):
            continue
        told = f"{counts}, and Keras, which pairs all of them in one order, trains {output} on {target}."
        yield RULE.finding("error", "silent", told, where=(where, output, target), evidence=evidence, fixes=(fix,))
        return


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
    bad=(
        Example("two targets for three outputs", _MODEL + 'model.compile(loss="mse")\ny = [t, 2 * t]\n', "error"),
        Example(
            "one target for two outputs of a group, beside an output without a loss",
            """\
i = keras.Input((4,))
model = keras.Model(i, {"box": [layers.Dense(1)(i), layers.Dense(1)(i)], "top": layers.Dense(1)(i)})
model.compile(loss={"box": ["mse", "mse"], "top": None})
x = np.ones((8, 4))
y = {"box": [np.ones((8, 1))], "top": np.zeros((8, 1))}
""",
            "error",
            since="3.7",
        ),
    ),
    good=(
        Example(
            "an output left out on purpose",
            _MODEL + 'model.compile(loss=["mse", "mse", None])\ny = [t, 2 * t]\n',
        ),
    ),
)
