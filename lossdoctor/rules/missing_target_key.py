"""
## What it sees
An output has a loss, and the dict of targets has no entry of its name.

## Why it matters
With a loss on every output Keras raises. With losses on some outputs only it deals the targets out by sorted
position: the output is silently trained on another output's target.

## What to do
Add the target under the output's name, or compile `None` as that output's loss.

## Measured
Keras 3.15.1, TensorFlow. Outputs `{"box", "cls"}`, `loss="mse"`, targets `{"box"}`: raises "The path: ('box',) in the `loss`
argument, can't be found". `loss={"box": "mse"}`, targets `{"cls": ...}`: silent, box is trained on y['cls'].
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.rules.unknown_target_key import key_nodes
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Outputs that have a loss but no target of their name."""
    for path, known, given in key_nodes(exam):
        missing = [name for name in known if name not in given]
        unknown = [key for key in given if key not in known]
        if not missing or unknown:
            continue  # a misspelt key is LD201's
        if shared.raises(exam):
            if exam.fit.stage in shared.DISPATCH or shared.raised_on_strings(exam):
                yield _raises(exam, path, missing, list(given))
        else:
            yield from _silent(exam, path, missing)


def _raises(exam: Exam, path: str, missing: list[str], given: list[str]) -> Finding:
    names = shared.listed([repr(m) for m in missing])
    return RULE.finding(
        "error",
        "raises",
        f"{path} has no target for the output{'s' * (len(missing) > 1)} {names}, and fit raises.",
        where=tuple(f"{path}[{m!r}]" for m in missing),
        evidence={"targets": given, "error": shared.error(exam)},
        fixes=(
            Fix(f"add {path}[{missing[0]!r}]", "batch", "manual"),
            Fix(f"compile None as the loss of {names}", "compile", "review"),
        ),
    )


def _silent(exam: Exam, path: str, missing: list[str]) -> Iterator[Finding]:
    for _, output, target in shared.pairs(exam):
        key = shared.last_key(output)
        if key in missing and target is not None and shared.last_key(target) not in (None, key):
            yield RULE.finding(
                "error",
                "silent",
                f"{path} has no target for {key!r}; Keras trains {output} on {target}, by sorted position, without a word.",
                where=(output, target),
                evidence={"missing": missing},
                fixes=(Fix(f"add {path}[{key!r}]", "batch", "manual"),),
            )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"box": layers.Dense(1)(i), "cls": layers.Dense(1)(i)})
x = np.ones((8, 4))
t = np.ones((8, 1))
"""

RULE = Rule(
    code="LD202",
    name="missing-target-key",
    category="key",
    summary="An output with a loss gets no target of its name.",
    page=__doc__,
    check=check,
    bad=(
        Example("a target left out", _MODEL + 'model.compile(loss="mse")\ny = {"box": t}\n', "error"),
        Example(
            "the other output's target, silently used",
            _MODEL + 'model.compile(loss={"box": "mse"})\ny = {"cls": t}\n',
            "error",
        ),
    ),
    good=(Example("a target for each loss", _MODEL + 'model.compile(loss={"box": "mse"})\ny = {"box": t}\n'),),
)
