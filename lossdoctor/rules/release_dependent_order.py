"""
## What it sees
The model returns a list, the targets are a dict by output name, and the names are not in alphabetical order.

## Why it matters
Which target meets which output then depends on the Keras release. A model that trains rightly here is silently
mispaired by a colleague's older installation.

## What to do
Return a dict of outputs, or give the targets as a list in the outputs' order.

## Measured
Outputs `[d, c]`, targets as a dict: right on Keras 3.4.1 and on 3.7 and later; 3.5.0 and 3.6.0 re-sort the targets and raise, or
train silently on the wrong ones where the shapes agree. From keras-team/keras#20596.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import releases
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """A dict of targets, matched to a list of outputs by names that are not sorted."""
    outputs, y, names = exam.case.model.outputs, exam.case.batch.y, exam.case.model.output_names
    if not isinstance(outputs, list | tuple) or not isinstance(y, dict) or not names:
        return
    if set(y) != set(names) or list(names) == sorted(names) or shared.raises(exam):
        return
    if any(shared.last_key(t) != names[i] for i, t in enumerate(_targets(exam, len(names))) if t):
        return  # mispaired on this very release: LD203 says so
    yield RULE.finding(
        "info",
        "note",
        f"y is a dict and the outputs are a list: this Keras pairs them by output name, but {_span('dict-targets-sorted')} pair them in "
        "sorted-key order.",
        where=("y",),
        evidence={"output names": list(names), "installed Keras": exam.case.environment.keras},
        fixes=(
            repairs.statement(
                "give the targets in the outputs' order", f"y = [{', '.join(f'y[{name!r}]' for name in names)}]"
            ),
        ),
    )


def _span(id: str) -> str:
    fact = releases.BY_ID[id]
    return f"Keras {fact.first} and {fact.last}"


def _targets(exam: Exam, count: int) -> list[str | None]:
    met = {output: target for _, output, target in shared.pairs(exam)}
    return [met.get(f"y_pred[{i}]") for i in range(count)]


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(1, name="d")(i), layers.Dense(1, name="c")(i)])
model.compile(loss="mse")
x = np.ones((8, 4))
d, c = np.ones((8, 1)), np.zeros((8, 1))
"""

RULE = Rule(
    code="LD206",
    name="release-dependent-order",
    category="key-order",
    summary="The same case is paired differently on other Keras releases.",
    page=__doc__,
    check=check,
    bad=(Example("a dict of targets for a list of outputs", _MODEL + 'y = {"d": d, "c": c}\n', "info", since="3.7"),),
    good=(Example("targets in the outputs' order", _MODEL + "y = [d, c]\n"),),
)
