"""
## What it sees
`loss_weights` has another number of entries than `loss`, or there are several weights for one shared loss.

## Why it matters
Keras raises. One loss for all outputs counts as *one* loss, so a weight an output does not fit it.

## What to do
One weight a loss. For a shared loss write it once an output.

## Measured
Keras 3.15.1, TensorFlow: `loss="mse"`, `loss_weights=[1, 2]` on two outputs raises "`loss_weights` must match the number of losses, got 1 losses and 2
weights"; so do three weights for two losses, and a dict of weights that leaves an output out. Where the outputs are in a list, that is
`KeyError: 'name'`, whether the output has a loss or not.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import At, Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """Counts that differ, where fit raises while it pairs."""
    weights, loss = exam.case.compile.loss_weights, exam.case.compile.loss
    if weights is None or not shared.raised_in_dispatch(exam) or exam.fit.stage != "dispatch":
        return
    missing = _missing(exam, weights, loss)
    if missing:
        yield _without(exam, weights, missing)
        return
    given, expected = shared.count(weights), shared.count(loss)
    if given == expected or "loss_weights" not in shared.error(exam):
        return
    outputs = exam.case.model.outputs
    several = trees.is_leaf(loss) and given == shared.count(outputs)
    message = (
        f"loss_weights has {given} entries, but one loss shared by all outputs counts as one loss: fit raises."
        if several
        else f"loss_weights has {given} entr{'y' if given == 1 else 'ies'} for {expected} loss{'es' * (expected != 1)}, and fit raises."
    )
    yield RULE.finding(
        "error",
        "raises",
        message,
        where=("loss_weights",),
        evidence={"weights": given, "losses": expected, "error": shared.error(exam)},
        fixes=(
            repairs.compile_argument("write the shared loss once an output", "loss", _spread(exam))
            if several
            else repairs.compile_argument(
                "leave the weights out: every loss counts once", "loss_weights", None, "review"
            ),
            *(
                ()
                if several
                else (repairs.by_hand("or give one weight a loss", "compile", "the missing weights are not written"),)
            ),
        ),
    )


def _missing(exam: Exam, weights: Tree, loss: Tree) -> list[str]:
    """The names of losses or outputs for which Keras looks for a weight in a dict of them, and finds none."""
    names, outputs = exam.case.model.output_names or (), exam.case.model.outputs
    if not isinstance(weights, dict) or not isinstance(loss, dict):
        return []
    if isinstance(outputs, dict):
        if "loss_weights" not in shared.error(exam) or any(key not in loss for key in weights):
            return []
        return [str(key) for key in loss if key not in weights]
    return shared.unweighed(exam) if all(key in names for key in weights) else []


def _without(exam: Exam, weights: dict[str, Tree], missing: list[str]) -> Finding:
    named = shared.listed([repr(name) for name in missing])
    return RULE.finding(
        "error",
        "raises",
        f"loss_weights has no weight for {named}, and fit raises: a dict of weights names every output.",
        where=("loss_weights",),
        evidence={"weights": [str(key) for key in weights], "missing": missing, "error": shared.error(exam)},
        fixes=(
            repairs.compile_argument(
                f"count {named} once", "loss_weights", {**weights, **dict.fromkeys(missing, 1.0)}, "safe"
            ),
        ),
    )


def _spread(exam: Exam) -> Tree:
    """The one loss at every output, in the weights' container."""
    return trees.map_leaves(lambda _: At("loss"), exam.case.model.outputs)


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(1)(i), layers.Dense(1)(i)])
x, y = np.ones((8, 4)), [np.ones((8, 1)), np.zeros((8, 1))]
"""

RULE = Rule(
    code="LD512",
    name="weights-count-mismatch",
    category="loss-weights",
    summary="More or fewer weights than losses, or several for one shared loss.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "two weights for one shared loss",
            _MODEL + 'model.compile(loss="mse", loss_weights=[1.0, 2.0])\n',
            "error",
            since="3.7",
        ),
        Example(
            "no weight for one of the names",
            _MODEL.replace("(1)(i), ", '(1, name="z")(i), ').replace("(1)(i)]", '(1, name="a")(i)]')
            + 'model.compile(loss={"z": "mse", "a": "mae"}, loss_weights={"z": 0.5})\n',
            "error",
            since="3.5",
        ),
        Example(
            "no weight for one of the keys",
            _MODEL.replace(
                "[layers.Dense(1)(i), layers.Dense(1)(i)]", '{"z": layers.Dense(1)(i), "a": layers.Dense(1)(i)}'
            ).replace("[np.ones((8, 1)), np.zeros((8, 1))]", '{"z": np.ones((8, 1)), "a": np.zeros((8, 1))}')
            + 'model.compile(loss={"z": "mse", "a": "mae"}, loss_weights={"z": 0.5})\n',
            "error",
        ),
        Example(
            "three weights for two losses",
            _MODEL + 'model.compile(loss=["mse", "mae"], loss_weights=[1.0, 2.0, 3.0])\n',
            "error",
        ),
    ),
    good=(Example("one a loss", _MODEL + 'model.compile(loss=["mse", "mse"], loss_weights=[1.0, 2.0])\n'),),
)
