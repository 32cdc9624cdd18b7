"""
## What it sees
A model file that holds code (a `Lambda` layer stores its function as bytes), or names a module outside Keras. Such a file is refused with exit code 2, unless `--unsafe` was given: then this says that its code was run.

## Why it matters
Whoever can change the file can run anything on the machine that loads it.

## What to do
Replace `Lambda` by a layer of your own in a registered class, and pass its file with `--objects`. Give `--unsafe` only for files that you made yourself.

## Measured
Keras 3.15.1: `load_model` refuses stored Lambda code too, unless `safe_mode=False`; a module that a file names is imported by Keras where it is found. lossdoctor looks at every name in `config.json` before anything is deserialized.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Stored code that was permitted."""
    if exam.case.model.stored_code:
        yield RULE.finding(
            "info",
            "note",
            f"{exam.case.model.source} holds stored code, which was run because of --unsafe.",
            where=(exam.case.model.source,),
            fixes=(
                repairs.by_hand(
                    "replace Lambda by a registered layer class", "model", "what the stored code does is yours to write"
                ),
            ),
        )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {output})
model.compile(loss="mse")
x, y = np.ones((8, 4)), np.arange(8.0)[:, None]
saved = True
unsafe = True
"""

RULE = Rule(
    code="LD953",
    name="unsafe-object",
    category="environment",
    summary="Stored code or a module outside the allow-list: refused, or run with --unsafe.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a Lambda layer", _MODEL.replace("{output}", "layers.Lambda(lambda t: 2 * t)(layers.Dense(1)(i))"), "info"
        ),
    ),
    good=(Example("layers alone", _MODEL.replace("{output}", "layers.Dense(1)(i)")),),
)
