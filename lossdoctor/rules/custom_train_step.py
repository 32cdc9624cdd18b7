"""
## What it sees
A model class that replaces `train_step`, `compute_loss` or `test_step`, or `fit` or `train_on_batch` themselves.

## Why it matters
lossdoctor runs Keras's own step on a stand-in: the pairing of targets, losses and weights. What the model does in its own step besides (or instead) is not run.

## What to do
If the step calls `self.compute_loss(...)` or `super().train_step(...)` with the whole y and y_pred, what is told here holds. If it computes its losses by hand, check those functions on
their own: `lossdoctor.check(outputs=..., batch=(None, y), loss=my_loss)`.

## Measured
Keras 3.15.1: `fit` calls the model's `train_step`; the default one calls `compute_loss`, which calls the compiled loss (`trainer.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Overridden trainer methods."""
    overridden, calls = exam.case.model.overridden, exam.case.model.step_calls
    if overridden:
        yield RULE.finding(
            "info",
            "note",
            f"The model has its own {shared.listed(overridden)}: Keras's own was run in its place, so what is told holds as far as yours does the same.{_read(calls)}",
            where=tuple(overridden),
            evidence={
                "overridden": list(overridden),
                "calls": {name: list(found or ()) for name, found in calls.items()},
            },
            fixes=(
                repairs.by_hand(
                    "check losses that your step calls by hand on their own",
                    "loss",
                    "what your step does is in its own code",
                    "lossdoctor.check(outputs=..., batch=(None, y), loss=my_loss)",
                ),
            ),
        )


def _read(calls: Mapping[str, tuple[str, ...] | None]) -> str:
    """What the sources of the steps say of the compiled losses."""
    said = [f" {name} calls {shared.listed(found)}." for name, found in calls.items() if found]
    none = [name for name, found in calls.items() if found == ()]
    if none:
        said.append(
            f" {shared.listed(none)} calls nothing of Keras's own that uses the compiled losses: it may train on others."
        )
    return "".join(said)


_MODEL = """\
class Noisy(keras.Model):
    def {method}(self, data):
        return super().{method}(data)

i = keras.Input((4,))
model = Noisy(i, layers.Dense(1)(i))
model.compile(loss="mse")
x, y = np.ones((8, 4)), np.arange(8.0)[:, None]
"""

RULE = Rule(
    code="LD951",
    name="custom-train-step",
    category="environment",
    summary="The model replaces train_step, compute_loss or fit: what was and was not run.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "its own fit, which scales the targets",
            """\
class Scaled(keras.Model):
    def fit(self, x, y, **options):
        return super().fit(x, y / 100, **options)

i = keras.Input((4,))
model = Scaled(i, layers.Dense(1)(i))
model.compile(loss="mse")
x, y = np.ones((8, 4)), np.arange(8.0)[:, None]
""",
            "info",
        ),
        Example(
            "its own test_step",
            _MODEL.format(method="test_step"),
            "info",
        ),
    ),
    good=(
        Example(
            "Keras's own",
            "i = keras.Input((4,))\n"
            "model = keras.Model(i, layers.Dense(1)(i))\n"
            'model.compile(loss="mse")\n'
            "x, y = np.ones((8, 4)), np.arange(8.0)[:, None]\n",
        ),
    ),
)
