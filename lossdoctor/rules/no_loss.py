"""
## What it sees
No loss: neither the model nor the command line names one, or what they name is None for every output. An error where the model is compiled, by what `fit` then does; a note
where it is not compiled yet, or where its layers or a training step of its own bring losses.

## Why it matters
There is nothing to examine but the inputs, and `fit` raises, or runs and trains nothing.

## What to do
Compile the model before saving it, or name the loss: `--loss mse`.

## Measured
Keras 3.15.1, TensorFlow: `fit` without compile raises "You must call `compile()`"; compiled without a loss it raises "No loss to compute". On JAX,
compiled without a loss, `fit` runs and logs a loss of 0. With `{"a": None}` and a regularized layer `fit` trains the regularizer alone; where that layer is frozen, TensorFlow raises.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding, Impact, Severity


def check(exam: Exam) -> Iterator[Finding]:
    """Nothing compiled, or None for all."""
    loss = exam.case.compile.loss
    if loss is None or all(leaf is None for leaf in trees.values(loss)):
        what = "The model is compiled without a loss" if loss is None else "The compiled loss is None for every output"
        severity, impact, message = _seen(exam, what)
        yield RULE.finding(
            severity,
            impact,
            message,
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


def _seen(exam: Exam, what: str) -> tuple[Severity, Impact, str]:
    fit = exam.fit
    if fit.outcome.status == "raises" and fit.stage != "model":
        return "error", "raises", f"{what}, and fit raises: {fit.outcome.error}"
    if exam.case.model.trains_added and exam.case.compile.compiled:
        return (
            "info",
            "note",
            f"{what}: what its layers add to the loss is left, and nothing about targets was examined.",
        )
    if fit.outcome.status == "ok" and not any(gradient.norm for gradient in fit.gradients):
        logged = "" if fit.outcome.loss is None else f", logs a loss of {shared.number(fit.outcome.loss)}"
        return (
            "error",
            "silent",
            f"{what}: fit runs{logged}, and no output has a gradient.",
        )
    return "info", "note", "No loss is compiled, so nothing about targets was examined."


_REGULARIZED = """\
i = keras.Input((4,))
kernel = layers.Dense(3, kernel_regularizer="l2"{frozen})
model = keras.Model(i, {"a": layers.Dense(1)(kernel(i))})
model.compile(loss={"a": None})
x, y = np.ones((8, 4)), {"a": np.ones((8, 1))}
"""
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
    bad=(
        Example("compiled without a loss", _MODEL + 'model.compile(optimizer="adam")\n', "error"),
        Example(
            "None for the only output that the loss names",
            """\
i = keras.Input((4,))
model = keras.Model(i, {"a": layers.Dense(1)(i), "b": layers.Dense(1)(i)})
model.compile(loss={"a": None})
x, y = np.ones((8, 4)), {"a": np.ones((8, 1)), "b": np.ones((8, 1))}
""",
            "error",
        ),
        Example("never compiled", _MODEL, "info"),
        Example("None, beside a regularizer", _REGULARIZED.replace("{frozen}", ""), "info"),
        Example("None, beside a frozen regularizer", _REGULARIZED.replace("{frozen}", ", trainable=False"), "error"),
    ),
    good=(Example("compiled", _MODEL + 'model.compile(loss="mse")\n'),),
)
