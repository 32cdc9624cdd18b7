"""
## What it sees
No loss: neither the model nor the command line names one.

## Why it matters
There is nothing to examine but the inputs. `fit` raises, unless the model overrides its training or adds losses in its layers.

## What to do
Compile the model before saving it, or name the loss: `--loss mse`.

## Measured
Keras 3.15.1, TensorFlow: `fit` without compile raises "You must call `compile()`"; compiled without a loss it raises "No loss to compute". On JAX,
compiled without a loss, `fit` runs and logs a loss of 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Nothing compiled."""
    if exam.case.compile.loss is None:
        yield RULE.finding(
            "info",
            "note",
            "No loss is compiled, so nothing about targets was examined.",
            where=("loss",),
            fixes=(
                repairs.by_hand(
                    "compile the model with a loss, or name one with --loss",
                    "compile",
                    "which loss is meant is not written",
                    'model.compile(loss="mse")',
                ),
            ),
        )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(1)(i))
x, y = np.ones((8, 4)), np.ones((8, 1))
"""

RULE = Rule(
    code="LD505",
    name="no-loss",
    category="loss-config",
    summary="Nothing compiled.",
    page=__doc__,
    check=check,
    bad=(Example("never compiled", _MODEL, "info"),),
    good=(Example("compiled", _MODEL + 'model.compile(loss="mse")\n'),),
)
