"""
## What it sees
`fit` raises, and the error comes out of the loss itself (or out of Keras, where no other rule explains it).

## Why it matters
Training will stop at the first batch.

## What to do
Read the line named: it is the innermost line of your own code that the error came through. A loss's name that Keras does not know: the nearest that it knows is tried.

## Measured
Keras 3.15.1: whatever a loss raises reaches the caller of `fit` unchanged. The step is run as it was compiled: on TensorFlow a loss with
`if ops.mean(y_pred) > 0:` raises, and works with `run_eagerly=True`; on JAX it raises with both. `jit_compile` and `steps_per_execution` are kept too.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import near, trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding

# A name this short is near to anything.
_LETTERS = 2


def check(exam: Exam) -> Iterator[Finding]:
    """A custom loss call in which fit raised."""
    number = exam.fit.failed_call
    if exam.fit.stage != "loss" or number is None or number >= len(exam.fit.calls) or shared.raised_on_strings(exam):
        return
    call = exam.fit.calls[number]
    if call.builtin or (
        "loss" in exam.loss_source
        and call.loss_path == "loss"
        and len(exam.fit.gradients) != 1
        and shared.count(exam.case.model.outputs) > 1
    ):
        return  # LD801 knows the cause
    if shared.on_weights_in_a_dict(exam, call):
        return  # LD532 knows the cause
    at = f" at {exam.fit.error_at}" if exam.fit.error_at else ""
    mend = "mend the loss at that line" if at else "compare what the loss takes with these shapes"
    yield RULE.finding(
        "error",
        "raises",
        f"{call.label} raises on {shared.listed([str(o) for o in call.outputs])}{at}: {shared.error(exam)}",
        where=tuple(str(o) for o in call.outputs),
        evidence={
            "error": shared.error(exam),
            **({"at": exam.fit.error_at} if at else {}),
            "target shapes": [list(s) for s in call.target_shapes],
            "output shapes": [list(s) for s in call.output_shapes],
        },
        fixes=(repairs.by_hand(mend, "loss", "what it should do is yours to say"),),
    )


def _unknown(exam: Exam) -> Finding | None:
    """A loss by a name that Keras does not know, with the nearest that it knows."""
    said = shared.error(exam)
    for path, leaf in trees.leaves("loss", exam.case.compile.loss) if exam.fit.losses else ():
        if not isinstance(leaf, str) or not said.endswith(f": {leaf}"):
            continue
        meant = near.nearest(leaf, exam.fit.losses) if len(leaf) > _LETTERS else []
        return RULE.finding(
            "error",
            "raises",
            f"{path} is {leaf!r}, and Keras has no loss of that name{near.did_you_mean(leaf, meant)}: fit raises.",
            where=(path,),
            evidence={"error": said},
            fixes=(
                repairs.other_loss(f"name it {meant[0]!r}", exam, path, meant[0])
                if meant
                else repairs.by_hand(
                    "give the name of a loss of Keras's, or the function itself",
                    "loss",
                    "no name that Keras knows is near",
                ),
            ),
        )
    return None


def unexplained(exam: Exam) -> Finding:
    """For a `fit` that raises where no rule found out why: Keras's own words."""
    unknown = _unknown(exam)
    if unknown is not None:
        return unknown
    stage = {
        "model": "calling the model on x",
        "data": "before any loss was reached",
        "dispatch": "while Keras paired targets, outputs and losses",
        "loss": "inside a loss",
        "gradient": "in the train step",
        "metrics": "because of the metrics; without them it works",
    }.get(exam.fit.stage or "", "")
    return RULE.finding(
        "error",
        "raises",
        f"fit raises {stage}: {shared.error(exam)}",
        evidence={
            "error": shared.error(exam),
            **({"at": exam.fit.error_at} if exam.fit.error_at else {}),
            "train_on_batch": exam.train_on_batch.outcome.status,
        },
        fixes=(
            repairs.compile_argument("leave the metrics out", "metrics", [], "review")
            if exam.fit.stage == "metrics"
            else repairs.by_hand(
                "compare the shapes and containers of y with the outputs in the table",
                "batch",
                "no rule found out what is meant",
            ),
        ),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3)(i))
model.compile(loss=custom)
x, y = np.ones((8, 4)), np.ones((8, 3))
"""

RULE = Rule(
    code="LD804",
    name="loss-raises",
    category="custom-loss",
    summary="The loss raises; the exception, and the line of your file.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a matrix product of shapes that do not fit",
            "def custom(y_true, y_pred):\n    return ops.mean(ops.matmul(y_true, y_pred))\n\n" + _MODEL,
            "error",
        ),
        Example("a name that Keras does not know", _MODEL.replace("custom", '"mean_sqared_error"'), "error"),
        Example(
            "triplets of a batch that is no multiple of 3, whatever the targets' rank",
            """\
def triplets(y_true, y_pred):
    near, far = y_pred[0::3] - y_pred[1::3], y_pred[0::3] - y_pred[2::3]
    return ops.mean(ops.maximum(ops.sum(near**2, -1) - ops.sum(far**2, -1) + 1, 0.0))

"""
            + _MODEL.replace("custom", "triplets").replace("np.ones((8, 3))", "np.zeros(8)"),
            "error",
        ),
    ),
    good=(
        Example(
            "one value a sample",
            "def custom(y_true, y_pred):\n    return ops.mean(ops.square(y_true - y_pred), axis=-1)\n\n" + _MODEL,
        ),
    ),
)
