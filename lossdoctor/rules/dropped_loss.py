"""
## What it sees
A loss that was given, and whose value does not count: its measured weight in the total is zero, or it was never called.

## Why it matters
You believe the model minimizes two things, and it minimizes one.

## What to do
For several losses on one output combine them in one function; for several outputs name the losses.

## Measured
Keras 3.15.1, TensorFlow: one output, `loss=["mse", "mae"]`: both are called, and `CompileLoss.call` returns the first value only. Silent
from 3.7 on; 3.4 to 3.6 raise.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Losses in the configuration that no counted call belongs to, where fit works."""
    loss = exam.case.compile.loss
    if shared.raises(exam) or not exam.fit.calls or trees.is_leaf(loss):
        return
    weightless = exam.case.compile.loss_weights is None
    counted = {c.loss_path for c in exam.fit.calls if c.weight or not weightless}
    dropped = [path for path, leaf in trees.declared_leaves("loss", loss) if leaf is not None and path not in counted]
    if dropped:
        values = {c.loss_path: c.value for c in exam.fit.calls}
        kept = [c for c in exam.fit.calls if c.loss_path in counted]
        yield RULE.finding(
            "error",
            "silent",
            f"{shared.listed(dropped)} {'is' if len(dropped) == 1 else 'are'} dropped: fit reports {shared.number(exam.fit.outcome.loss)}, "
            f"which is {kept[0].loss_path if kept else 'nothing'} alone.",
            where=tuple(dropped),
            evidence={"loss fit reports": exam.fit.outcome.loss, **{f"{p} value": v for p, v in values.items()}},
            fixes=(Fix("combine the losses of one output in one function", "loss", "review", _combined(loss)),),
        )


def _combined(loss: object) -> str:
    flat = [leaf for leaf in trees.values(loss) if leaf is not None]
    if not all(isinstance(leaf, str) for leaf in flat):
        return ""
    terms = " + ".join(f"keras.losses.get({leaf!r})(y_true, y_pred)" for leaf in flat)
    return f"def loss(y_true, y_pred):\n    return {terms}"


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(1)(i))
x, y = np.ones((8, 4)), np.arange(8.0)[:, None]
"""

RULE = Rule(
    code="LD506",
    name="dropped-loss",
    category="loss-config",
    summary="A loss that is given and does not count.",
    page=__doc__,
    check=check,
    bad=(Example("two losses for one output", _MODEL + 'model.compile(loss=["mse", "mae"])\n', "error"),),
    good=(
        Example(
            "combined in a function",
            "def both(y_true, y_pred):\n"
            "    return keras.losses.mean_squared_error(y_true, y_pred) + keras.losses.mean_absolute_error(y_true, y_pred)\n\n"
            + _MODEL
            + "model.compile(loss=both)\n",
        ),
    ),
)
