"""
## What it sees
The model file names a class or function that Keras cannot find: it is neither Keras's own nor registered.

## Why it matters
What cannot be rebuilt cannot be examined. A custom layer or loss ends the check (exit code 2); a custom metric is left out, and the rest is examined.

## What to do
Pass the file or module that defines it: `lossdoctor check model.keras batch.npz --objects my_losses.py`. It is imported, so
only pass what you trust. Register it with `@keras.saving.register_keras_serializable()` to make the file load anywhere.

## Measured
Keras 3.15.1: "Could not locate class 'MyLayer'. Make sure custom classes and functions are decorated with ...".
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Compile arguments that could not be rebuilt and were left out."""
    for unknown in exam.case.model.unknown_objects:
        argument = unknown.split(":")[0]
        yield RULE.finding(
            "info",
            "note",
            f"The saved {argument} were left out: {unknown.split(': ', 1)[-1]}",
            where=(argument,),
            fixes=(
                repairs.by_hand(
                    "pass the file that defines it with --objects FILE",
                    "compile",
                    "where it is defined is not in the model file",
                ),
            ),
        )


_MODEL = """\
def share(y_true, y_pred):
    return ops.mean(ops.cast(y_true == y_pred, "float32"), axis=-1)

i = keras.Input((4,))
model = keras.Model(i, layers.Dense(1)(i))
model.compile(loss="mse", metrics=[{metric}])
x, y = np.ones((8, 4)), np.ones((8, 1))
"""

RULE = Rule(
    code="LD952",
    name="unknown-object",
    category="environment",
    summary="A class or function that Keras cannot find; how to pass --objects.",
    page=__doc__,
    check=check,
    bad=(Example("a custom metric in a saved file", _MODEL.replace("{metric}", "share") + "saved = True\n", "info"),),
    good=(Example("Keras's own", _MODEL.replace("{metric}", '"mae"') + "saved = True\n"),),
)
