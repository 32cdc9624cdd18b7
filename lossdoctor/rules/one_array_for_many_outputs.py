"""
## What it sees
The targets are one array, the model has several outputs.

## Why it matters
Keras does not split the columns of an array over the outputs. It raises, and where the number of samples
happens to equal the number of outputs it takes each *sample* for an output's target.

## What to do
Split the array yourself, one target an output. A batch is `(x, y, sample_weight)`: two targets stand in one y, as `(x, [first, second])`.

## Measured
Keras 3.15.1, TensorFlow: an `(8, 3)` array for three outputs raises "The path: (0,) in the `loss` argument, can't be
found ...". A `(3, 1)` array with three samples and three outputs raises in a compiled step, and with `run_eagerly=True`
trains silently: output k gets sample k. Keras 3.4.1, 3.5.0 and 3.6.0, JAX: silent, the first output (dict keys sorted) gets the whole array and
the others are not trained. From keras-team/keras#20373.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import ArrayRef, BatchEdit, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """A leaf of targets for a tree of outputs."""
    outputs, y = exam.case.model.outputs, exam.case.batch.y
    many = shared.count(outputs)
    if many < 2 or not isinstance(y, ArrayRef):
        return
    left = shared.untrained(exam)
    if exam.fit.outcome.status == "ok" and any(t == "y" for c in exam.run.calls for t in c.targets) and not left:
        return  # a loss on the whole tree took the one array
    if exam.fit.outcome.status == "skipped":
        return
    shape = tuple(y.shape)
    evidence = {"y shape": list(shape), "outputs": many, "fit": exam.fit.outcome.status}
    fixes: tuple[Fix, ...] = (
        repairs.by_hand("give one target an output", "batch", "how the array divides into targets is not written"),
    )
    widths = [s.shape[-1] if len(s.shape) > 1 else 1 for s in trees.values(outputs)]
    flat = all(len(s.shape) == 2 for s in trees.values(outputs))
    if len(shape) == 2 and flat and shape[1] == sum(w or 0 for w in widths) and shape[0] == exam.case.rows:
        fixes = (repairs.statement("split the columns, one output after the other", _split(exam), "review"), *fixes)
    elif shape and shape[0] == many != exam.case.rows and flat:
        fixes = (repairs.statement("each row is the target of one output", _rows(exam), "review"), *fixes)
    weight = exam.case.batch.sample_weight
    third = ""
    if many == 2 and isinstance(weight, ArrayRef):
        third = f" The third part of the batch, {tuple(weight.shape)}, is read as sample_weight, not as a target."
        evidence["sample_weight shape"] = list(weight.shape)
        fixes = (_third(exam), *fixes)
    if shared.raises(exam):
        evidence["error"] = shared.error(exam)
        tail = (
            "; train_on_batch runs, and takes entry k of axis 0 for output k"
            if exam.train_on_batch.outcome.status == "ok"
            else ""
        )
        message = f"y is one {shape} array, but the model has {many} outputs, and fit raises{tail}.{third}"
        yield RULE.finding("error", "raises", message, where=("y",), evidence=evidence, fixes=fixes)
    else:
        trained = [output for _, output, target in shared.pairs(exam) if target == "y"]
        message = (
            f"y is one {shape} array, but the model has {many} outputs: Keras {exam.case.environment.keras} says nothing, trains "
            f"{shared.listed(trained) if trained else 'none of them'} on it, and leaves out {shared.listed(left)}.{third}"
            if left
            else f"y is one {shape} array, but the model has {many} outputs: Keras takes each of its {shape[0]} rows, "
            f"a sample, for the target of one output.{third}"
        )
        yield RULE.finding("error", "silent", message, where=("y",), evidence=evidence, fixes=fixes)


def _third(exam: Exam) -> Fix:
    """What stands where Keras looks for weights, as the second target."""
    parts = dict(
        zip(
            (path for path, _ in trees.declared_leaves("y_pred", exam.case.model.outputs)),
            ("y", "sample_weight"),
            strict=True,
        )
    )
    code = f"y = {shared.tree_code(exam.case.model.outputs, parts.__getitem__)}\nsample_weight = None"
    title = "if it is the second target: put both in y, a batch is (x, y, sample_weight)"
    return Fix(title, "batch", "review", code=code, edits=tuple(BatchEdit(line) for line in code.splitlines()))


def _split(exam: Exam) -> str:
    """The columns, as many as each output is wide, in the order in which the outputs were written."""
    outputs = exam.case.model.outputs
    columns, first = {}, 0
    for path, spec in trees.declared_leaves("y_pred", outputs):
        columns[path] = f"y[:, {first}:{first + spec.shape[1]}]"
        first += spec.shape[1]
    return f"y = {shared.tree_code(outputs, lambda path: columns[path])}"


def _rows(exam: Exam) -> str:
    """Entry k of axis 0 for output k, as a column where it is flat."""
    outputs, y = exam.case.model.outputs, exam.case.batch.y
    step = "[:, None]" if len(y.shape) == 2 else ""
    order = {path: i for i, (path, _) in enumerate(trees.declared_leaves("y_pred", outputs))}
    return f"y = {shared.tree_code(outputs, lambda path: f'y[{order[path]}]{step}')}"


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(1)(i), layers.Dense(1)(i), layers.Dense(1)(i)])
model.compile(loss="mse")
"""

RULE = Rule(
    code="LD104",
    name="one-array-for-many-outputs",
    category="container",
    summary="A single array where a tree of targets is due.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "an (N, 3) array for three outputs",
            _MODEL + "x = np.ones((8, 4))\ny = np.arange(24.0).reshape(8, 3)\n",
            "error",
        ),
        Example(
            "run eagerly, with as many samples as outputs: silently one sample an output",
            _MODEL.replace('"mse"', '"mse", run_eagerly=True')
            + "x = np.ones((3, 4))\ny = np.arange(3.0).reshape(3, 1)\n",
            "error",
        ),
        Example(
            "(x, first, second): the second is read as weights",
            "i = keras.Input((4,))\n"
            "model = keras.Model(i, [layers.Dense(1)(i), layers.Dense(1)(i)])\n"
            'model.compile(loss="mse")\n'
            "x, y, sample_weight = np.ones((8, 4)), np.arange(8.0)[:, None], np.ones((8, 1))\n",
            "error",
        ),
    ),
    good=(
        Example(
            "split by hand",
            _MODEL + "x = np.ones((8, 4))\ny = np.arange(24.0).reshape(8, 3)\ny = [y[:, 0:1], y[:, 1:2], y[:, 2:3]]\n",
        ),
    ),
)
