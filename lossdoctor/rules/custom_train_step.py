"""
## What it sees
A model class that replaces `train_step`, `compute_loss` or `test_step`, or `fit` or `train_on_batch` themselves.

## Why it matters
lossdoctor runs Keras's own step on a stand-in: the pairing of targets, losses and weights. Where the source of the model's own shows that it uses none of the compiled losses
(a GAN's, a diffusion model's), nothing of them is run or told. What the model does in its own step besides (or instead) is not run.
A `train_step` that only hands data on to `super().train_step(...)` is run up to there, and what it hands on is examined (`y` then means that): one that raises before, and a
`compute_loss` that cannot take what Keras gives it, are errors.

## What to do
If the step calls `self.compute_loss(...)` or `super().train_step(...)` with the whole y and y_pred, what is told here holds. If it computes its losses by hand, check those functions on
their own: `lossdoctor.check(outputs=..., batch=(None, y), loss=my_loss)`.

## Measured
Keras 3.15.1, JAX: `fit` begins with a symbolic step on the batch's own y, and raises where that does, whatever `train_step` makes of y (`trainer.py: _symbolic_build`).
Keras 3.15.1: a `compute_loss(self, y, y_pred)` raises "takes 3 positional arguments but 5 were given"; `x, y = data` raises where there are sample weights. `fit` calls the model's `train_step`; the default one calls `compute_loss`, which calls the compiled loss (`trainer.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import ArrayRef, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Overridden trainer methods."""
    model = exam.case.model
    overridden, calls = model.overridden, model.step_calls
    if model.step_error:
        name = "train_step" if "train_step" in overridden else "compute_loss"
        yield RULE.finding(
            "error",
            "raises",
            f"fit raises in the model's own {name}: {model.step_error}",
            where=(name,),
            evidence={"error": model.step_error, "shapes given": _shapes(exam)},
            fixes=(
                repairs.by_hand(
                    f"let {name} take what Keras gives it",
                    "loss",
                    "what your step does is in its own code",
                    "x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)"
                    if name == "train_step"
                    else "def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):",
                ),
            ),
        )
    elif overridden:
        yield RULE.finding(
            "info",
            "note",
            f"The model has its own {shared.listed(overridden)}: {_run(exam)}{_read(calls, model.hands_on, model.own_losses)}",
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


def _shapes(exam: Exam) -> dict[str, list[int]]:
    batch = exam.case.batch
    roots = (("x", batch.x), ("y", batch.y), ("sample_weight", batch.sample_weight))
    leaves = [found for root, tree in roots for found in trees.declared_leaves(root, tree)]
    return {path: list(leaf.shape) for path, leaf in leaves if isinstance(leaf, ArrayRef)}


def _run(exam: Exam) -> str:
    """What was run in the place of the model's own methods."""
    if exam.fit.outcome.status == "skipped" and exam.case.model.own_losses:
        own = exam.case.model.own_losses
        who = "it" if exam.case.model.overridden == (own,) else own
        return f"{who} uses none of the compiled losses, so nothing of them was run or told."
    if exam.fit.outcome.status == "skipped":
        return "nothing was run in its place, as no loss is compiled."
    if exam.case.model.hands_on == "changed":
        return "train_step gives Keras's own other y or sample_weight than the batch has; what is told is of those, which Keras's own was run on."
    if exam.case.model.hands_on:
        return (
            "train_step gives Keras's own the batch's y and sample_weight as they are, and Keras's own was run on them."
        )
    if exam.case.model.overridden == ("test_step",):
        return (
            "fit trains with Keras's own train_step all the same, as is told here; evaluate and validation call yours."
        )
    return "Keras's own was run in its place, so what is told holds as far as yours does the same."


def _read(calls: Mapping[str, tuple[str, ...] | None], hands_on: str | None, unused: str) -> str:
    """What the sources of the steps say of the compiled losses."""
    calls = {
        name: found for name, found in calls.items() if name != "test_step" and not (name == "train_step" and hands_on)
    }
    said = [f" {name} calls {shared.listed(found)}." for name, found in calls.items() if found]
    none = [name for name, found in calls.items() if found == () and name != unused]
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
            "a compute_loss with Keras 2's arguments",
            """\
class Old(keras.Model):
    def compute_loss(self, y, y_pred):
        return ops.mean(ops.square(y - y_pred))

i = keras.Input((4,))
model = Old(i, layers.Dense(1)(i))
model.compile(loss="mse")
x, y = np.ones((8, 4)), np.arange(8.0)[:, None]
""",
            "error",
        ),
        Example(
            "a train_step that makes the targets of x",
            """\
class Auto(keras.Model):
    def train_step(self, *given):
        x, *_ = keras.utils.unpack_x_y_sample_weight(given[-1])
        return super().train_step(*given[:-1], (x, x))

i = keras.Input((4,))
model = Auto(i, layers.Dense(4)(i))
model.compile(loss="mse")
x, y = np.ones((8, 4)), np.ones((8, 1))
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
