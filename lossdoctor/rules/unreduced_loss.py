"""
## What it sees
A loss with `reduction=None` (or "none") under `compile`.

## Why it matters
The loss returns one value a sample (or a position), not a scalar. On TensorFlow the gradient is then that of
their *sum*, while the logged loss is their *mean*: the log looks normal, and every step is N times too long; there is no objective for which
both are right. On JAX `fit` raises. (A batch with one value alone is a warning: there the two agree.)

## What to do
Use the default reduction for training; keep `reduction=None` for losses that you call yourself.

## Measured
Keras 3.15.1. `MeanSquaredError(reduction=None)` on `(8, 3)`: one call returns shape `(8,)`; under `compile` on TensorFlow `fit` logs the mean
and the gradient is 8 times that of "sum_over_batch_size"; on JAX "Gradient only defined for scalar-output functions".
Under a `MirroredStrategy` of two replicas the gradient stays the
same, and the logged loss is twice as large. With weight regularizers TensorFlow raises. What one call returns, `(N, D)` / `(N, T, D)`: "sum_over_batch_size" a scalar / a scalar;
"sum" a scalar / a scalar; None `(N,)` / `(N, T)`. The documentation's "one scalar per sample" holds for neither the
default nor for `(N, T, D)`. Reported as keras-team/keras#20395.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Calls that were made with no reduction."""
    calls = [c for c in exam.run.calls if c.reduction is None and (c.value_shape is None or c.value_shape != ())]
    if not calls:
        return
    call = calls[0]
    where = tuple(str(o) for c in calls for o in c.outputs)
    paths = {c.loss_path for c in calls}
    fix = repairs.configured("use the default reduction", exam, paths, reduction="sum_over_batch_size")
    if shared.raises(exam) and (exam.fit.stage == "gradient" or _only_unreduced(exam)):
        yield RULE.finding(
            "error",
            "raises",
            f"{call.label} has reduction=None and returns shape {call.value_shape}, not a scalar, and fit raises on "
            f"{exam.case.environment.backend}.",
            where=where,
            evidence={"returned shape": list(call.value_shape or ()), "error": shared.error(exam)},
            fixes=(fix,),
        )
    elif not shared.raises(exam):
        yield _trains(exam, call.label, call.value_shape or (), where, fix)


def _only_unreduced(exam: Exam) -> bool:
    """True where every loss returned before `fit` raised, and with the default reduction nothing raises."""
    fit, reduced = exam.fit, exam.reduced
    returned = bool(fit.calls) and all(call.value_shape is not None for call in fit.calls)
    return fit.stage == "dispatch" and returned and reduced is not None and reduced.outcome.status == "ok"


def _trains(exam: Exam, label: str, shape: tuple[int, ...], where: tuple[str, ...], fix: Fix) -> Finding:
    reduced = exam.reduced
    norm = max((g.norm for g in exam.fit.gradients if g.output in where), default=0.0)
    even = max((g.norm for g in reduced.gradients if g.output in where), default=0.0) if reduced else 0.0
    evidence: dict[str, object] = {
        "returned shape": list(shape),
        "logged loss": exam.fit.outcome.loss,
        "gradient norm": norm,
    }
    times = ""
    if reduced and even > 0:
        evidence |= {"logged loss, default reduction": reduced.outcome.loss, "gradient norm, default reduction": even}
        times = f", {norm / even:.4g} times that of the default reduction"
    followed = not (reduced and even > 0) or not shared.close(norm, even)
    return RULE.finding(
        "error" if followed else "warning",
        "silent" if followed else "risk",
        f"{label} has reduction=None: fit logs {shared.number(exam.fit.outcome.loss)} but follows the gradient of the sum over "
        f"all {shape} values{times}.",
        where=where,
        evidence=evidence,
        fixes=(fix,),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3)(i))
model.compile(loss=keras.losses.MeanSquaredError({reduction}))
x, y = np.ones((8, 4)), np.ones((8, 3))
"""

RULE = Rule(
    code="LD401",
    name="unreduced-loss",
    category="reduction",
    summary="reduction=None under compile: the gradient is that of a sum, or fit raises.",
    page=__doc__,
    check=check,
    bad=(Example("no reduction", _MODEL.replace("{reduction}", "reduction=None"), "error"),),
    good=(Example("the default", _MODEL.replace("{reduction}", "")),),
)
