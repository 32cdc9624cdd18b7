"""
## What it sees
A key of `metrics` that is no output's name.

## Why it matters
`fit` raises, with a message about tree structures. On a model with one output the key is not looked at: any name is accepted.

## What to do
Use the output's name as it stands in the table.

## Measured
Keras 3.15.1, TensorFlow: an unknown key for a dict of outputs raises "dictionary key mismatch"; one that leaves out the other outputs is fine. For nested outputs every key of the top
level must be there. On a single output `metrics={"anything": "mae"}` logs mae.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.near import did_you_mean, nearest
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Keys of metrics and weighted_metrics that name no output."""
    known = {*shared.names(exam), *(exam.case.model.output_names or ())}
    single = trees.is_leaf(exam.case.model.outputs)
    for argument in ("metrics", "weighted_metrics"):
        given = getattr(exam.case.compile, argument)
        unknown = [str(k) for k in given if str(k) not in known] if isinstance(given, dict) else []
        nested = isinstance(given, dict) and not single and any(isinstance(v, dict) for v in given.values())
        if shared.raises(exam) and exam.fit.stage == "metrics" and (unknown or nested):
            yield _raises(exam, argument, unknown, sorted(known))
        elif single and unknown and not shared.raises(exam):
            yield RULE.finding(
                "info",
                "note",
                f"{argument}[{unknown[0]!r}] names no output{did_you_mean(unknown[0], known)}; with a single output Keras does not look at the key.",
                where=(f"{argument}[{unknown[0]!r}]",),
                evidence={"output_names": sorted(known)},
                fixes=(_list(exam, argument),),
            )


def _raises(exam: Exam, argument: str, unknown: list[str], known: list[str]) -> Finding:
    outputs = exam.case.model.outputs
    if unknown:
        near = did_you_mean(unknown[0], known)
        message = f"{argument} has {shared.listed([repr(u) for u in unknown])}, and no output has that name{near}: fit raises."
    else:
        message = (
            f"{argument} is nested and leaves outputs out: nested metrics need every output's key, and fit raises."
        )
    code = f"{argument}=" + shared.dict_code([(str(k), "[...]") for k in outputs]) if isinstance(outputs, dict) else ""
    return RULE.finding(
        "error",
        "raises",
        message,
        where=tuple(f"{argument}[{u!r}]" for u in unknown) or (argument,),
        evidence={"output names": known, "error": shared.error(exam)},
        fixes=_fixes(exam, argument, unknown, code),
    )


def _list(exam: Exam, argument: str) -> Fix:
    values = list(repairs.present(exam, argument).values())
    tree = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    return repairs.compile_argument("give a list", argument, tree)


def _fixes(exam: Exam, argument: str, unknown: list[str], code: str) -> tuple[Fix, ...]:
    given, names = repairs.present(exam, argument), [str(k) for k in shared.names(exam)]
    free = [name for name in names if name not in given]
    by_hand = repairs.by_hand("use the outputs' names", "compile", "which output a metric is for is not written", code)
    if len(unknown) == 1 and free and all(trees.is_leaf(v) or isinstance(v, list) for v in given.values()):
        meant = (nearest(unknown[0], free) or free)[0]
        tree = {(meant if k == unknown[0] else k): v for k, v in given.items()}
        return (repairs.compile_argument(f"rename {unknown[0]!r} to {meant!r}", argument, tree, "review"), by_hand)
    kept = {k: v for k, v in given.items() if str(k) not in unknown and not isinstance(v, dict)}
    title = "measure only the outputs that are named" if kept else f"leave {argument} out"
    # None would keep those that were compiled before (`trainer.py: compile`).
    fewer = repairs.compile_argument(title, argument, kept or [], "review")
    return (fewer, by_hand)


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"box": layers.Dense(1)(i), "score": layers.Dense(1)(i)})
x, y = np.ones((8, 4)), {"box": np.ones((8, 1)), "score": np.zeros((8, 1))}
"""

RULE = Rule(
    code="LD522",
    name="metrics-path-not-found",
    category="metrics",
    summary="A key of metrics that names no output.",
    page=__doc__,
    check=check,
    bad=(
        Example("a misspelt key", _MODEL + 'model.compile(loss="mse", metrics={"boxes": ["mae"]})\n', "error"),
        Example(
            "a key on a single output",
            "i = keras.Input((4,))\n"
            'model = keras.Model(i, layers.Dense(1, name="score")(i))\n'
            'model.compile(loss="mse", metrics={"scor": ["mae"]})\n'
            "x, y = np.ones((8, 4)), np.ones((8, 1))\n",
            "info",
            since="3.14",
        ),
    ),
    good=(
        Example("the output's name", _MODEL + 'model.compile(loss="mse", metrics={"box": ["mae"]})\n', since="3.12"),
    ),
)
