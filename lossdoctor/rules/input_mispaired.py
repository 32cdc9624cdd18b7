"""
## What it sees
An array of x reaches another `Input` than the one it names, observed on a model with the same inputs whose outputs are its inputs.

## Why it matters
When the keys of x are not exactly the inputs' names, Keras falls back to sorted order. With equal shapes the model reads one
feature as another, without an error.

## What to do
Give x exactly the inputs' names, no key more; or a list in the inputs' order.

## Measured
Keras 3.15.1, TensorFlow: inputs `{"z", "a"}`, x with one key too many: a warning on stderr, and the inputs are dealt out in sorted order.
A list for dict inputs that are not declared in sorted order raises ("The structure of `inputs` doesn't match"), on JAX too.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Input pairs whose names or declared places disagree."""
    run = exam.inputs
    if run is None or run.error or not run.pairs:
        return
    names = [pair.input for pair in run.pairs]
    declared = [spec.name for _, spec in trees.declared_leaves("inputs", exam.case.model.inputs)]
    place = {
        path: declared[i]
        for i, (path, _) in enumerate(trees.declared_leaves("x", exam.case.batch.x))
        if i < len(declared)
    }
    wrong = []
    for pair in run.pairs:
        meant = shared.last_key(pair.x) if pair.x else None
        if meant is None and pair.x and isinstance(exam.case.batch.x, list | tuple) and len(place) == len(names):
            meant = place.get(pair.x)
        if (
            pair.x
            and meant
            and meant != pair.input
            and (meant in names or len(trees.values(exam.case.batch.x)) != len(names))
        ):
            wrong.append((pair.input, pair.x))
    if wrong:
        name, path = wrong[0]
        given = [p for p, _ in trees.declared_leaves("x", exam.case.batch.x)]
        yield RULE.finding(
            "error",
            "silent",
            f"Input {name!r} is fed {path}: x does not match the inputs' names, and Keras deals its arrays out in sorted order.",
            where=tuple(p for _, p in wrong),
            evidence={"inputs": names, "x": given, **{f"Input {n!r} gets": p for n, p in wrong}},
            fixes=(_fix(exam, declared),),
        )


def _fix(exam: Exam, declared: list[str]) -> Fix:
    title, code = "give x exactly the inputs' names", _code(exam, declared)
    return (
        repairs.statement(title, code)
        if code
        else repairs.by_hand(title, "batch", "which array belongs to which Input is not written in x")
    )


def _code(exam: Exam, names: list[str]) -> str:
    x = exam.case.batch.x
    if isinstance(x, dict) and set(names) <= set(x):
        return f"x = {shared.dict_code([(n, f'x[{n!r}]') for n in names])}"
    if isinstance(x, list | tuple) and len(x) == len(names):
        return f"x = {shared.dict_code([(n, f'x[{i}]') for i, n in enumerate(names)])}"
    return ""


_MODEL = """\
z, a = keras.Input((4,), name="z"), keras.Input((4,), name="a")
model = keras.Model({"z": z, "a": a}, layers.Dense(1)(layers.Concatenate()([z, a])))
model.compile(loss="mse")
y = np.ones((8, 1))
"""

RULE = Rule(
    code="LD901",
    name="input-mispaired",
    category="input",
    summary="Arrays of x reach other Inputs than they name.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "one key too many",
            _MODEL + 'x = {"id": np.ones((8, 4)), "z": np.ones((8, 4)), "a": np.zeros((8, 4))}\n',
            "error",
        ),
    ),
    good=(Example("the inputs' names", _MODEL + 'x = {"z": np.ones((8, 4)), "a": np.zeros((8, 4))}\n'),),
)
