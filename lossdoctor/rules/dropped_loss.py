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
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import At, CompileEdit, Finding, NewLoss


def check(exam: Exam) -> Iterator[Finding]:
    """Losses in the configuration that no counted call belongs to, where fit works."""
    loss = exam.case.compile.loss
    yield from _nothing_trained(exam)
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
            fixes=(_combined(exam, loss),),
        )


def _nothing_trained(exam: Exam) -> Iterator[Finding]:
    """A dict of outputs that Keras looks for under their layers' names."""
    if not shared.by_layer_names(exam):
        return
    y, left = exam.case.batch.y, shared.untrained(exam)
    if isinstance(y, dict) and set(y) != set(exam.case.model.outputs):
        left = []  # LD201 and LD202 say so
    raised = shared.raised_in_dispatch(exam) and "`loss` argument" in shared.error(exam).replace(
        "argument `loss`", "`loss` argument"
    )
    if not left and not raised:
        return
    names = exam.case.model.output_names or ()
    then = "fit raises" if raised else f"{shared.listed(left)} {'is' if len(left) == 1 else 'are'} not trained"
    yield RULE.finding(
        "error",
        "raises" if raised else "silent",
        f"{then}: Keras {exam.case.environment.keras} looks for outputs under their layers' names, "
        f"{shared.listed([repr(name) for name in names])}, not under their keys.",
        where=tuple(left) or ("loss",),
        evidence={
            "output_names": list(names),
            **({"error": shared.error(exam)} if raised else {"loss fit reports": exam.fit.outcome.loss}),
        },
        fixes=(
            repairs.by_hand(
                "name the last layers like the keys, or update to Keras 3.5 or later",
                "model",
                "layers are named where the model is built",
            ),
        ),
    )


def _combined(exam: Exam, loss: object) -> Fix:
    """All losses of the one output in one function, each with its weight."""
    paths = [path for path, leaf in trees.leaves("loss", loss) if leaf is not None]
    title = "combine the losses of one output in one function"
    if not trees.is_leaf(exam.case.model.outputs):
        return repairs.by_hand(title, "loss", "which of the losses belongs to which output is not written")
    given = trees.values(exam.case.compile.loss_weights) if exam.case.compile.loss_weights is not None else []
    weights = given if len(given) == len(paths) else [1.0] * len(paths)
    terms = [
        f"LOSS{i}(y_true, y_pred)" if w == 1 else f"{w!r} * LOSS{i}(y_true, y_pred)" for i, w in enumerate(weights)
    ]
    source = f"def combined(y_true, y_pred):\n    return {' + '.join(terms)}\n"
    uses = {f"LOSS{i}": At(path) for i, path in enumerate(paths)}
    dropped = CompileEdit("loss_weights", None)
    more = (dropped,) if exam.case.compile.loss_weights is not None else ()
    return Fix(title, "loss", "review", edits=(CompileEdit("loss", NewLoss("combined", source, uses)), *more))


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
    bad=(Example("two losses for one output", _MODEL + 'model.compile(loss=["mse", "mae"])\n', "error", since="3.7"),),
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
