"""
## What it sees
At some path the targets sit in another kind of container than the outputs (a tuple where the model
returns a list, a dict where it returns a list ...), and one of the three entry points raises for it.

## Why it matters
Keras has three doors. `fit` and `train_on_batch` repack the targets into the outputs' containers
(`CompileLoss.call`); a loss called by hand, `loss(y_true, y_pred)`, compares the containers as they are and
raises. A working training run and a failing direct call are both true at once.

## What to do
Nothing, where you only train with `fit` or `train_on_batch`. For direct calls give the targets the
container that the model returns.

## Measured
Keras 3.15.1, TensorFlow: `MeanSquaredError()(tuple, list)` raises "Expected an instance of tuple"; the same
targets through `fit`, `train_on_batch` and `test_on_batch` train rightly. Two lists pass a direct call since 3.6;
3.4 and 3.5 raise for lists as well. Reported as keras-team/keras#20373.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Containers that differ at a path, where that makes an entry point raise."""
    mismatch = _first_mismatch(exam)
    if mismatch is None:
        return
    path, expected, given = mismatch
    saw = f"{path} is {_article(given)} where the model returns {_article(expected)}"
    fix = _fix(exam, path, expected)
    evidence: dict[str, str] = {"fit": exam.fit.outcome.status, "train_on_batch": exam.train_on_batch.outcome.status}
    if shared.raised_in_dispatch(exam) and exam.train_on_batch.outcome.status == "raises":
        counts = shared.count(exam.case.batch.y), shared.count(exam.case.model.outputs)
        numbers = any(leaf is not None and shared.rows_of(leaf) is None for leaf in trees.values(exam.case.batch.y))
        # Numbers are LD304's, what the losses or their weights lack LD502's and LD512's.
        elsewhere = numbers or shared.by_layer_names(exam) or _raises_by_name(exam) or shared.is_about_losses(exam)
        if counts[0] == counts[1] and not elsewhere:
            evidence["error"] = shared.error(exam)
            yield RULE.finding(
                "error", "raises", f"{saw}, and fit raises.", where=(path,), evidence=evidence, fixes=(fix,)
            )
    elif exam.direct.status == "raises" and exam.fit.outcome.status == "ok" and not _by_order(exam):
        evidence["direct"] = exam.direct.status
        yield RULE.finding(
            "info",
            "note",
            f"{saw}. fit and train_on_batch repack it and work; only a direct loss(y_true, y_pred) call raises.",
            where=(path,),
            evidence=evidence,
            fixes=(fix,),
        )


def _raises_by_name(exam: Exam) -> bool:
    """True where the same targets by name raise the same: something else is the cause."""
    return exam.declared is not None and _by_order(exam) and exam.declared.run.outcome.error == exam.fit.outcome.error


def _by_order(exam: Exam) -> bool:
    """Names against places: that is LD203's and LD206's matter."""
    return exam.declared is not None and "y" in exam.declared.changed


def _first_mismatch(exam: Exam) -> tuple[str, str, str] | None:
    for path, outputs, given in shared.nodes("y", exam.case.model.outputs, exam.case.batch.y):
        if trees.is_leaf(outputs) == trees.is_leaf(given) and trees.container(outputs) != trees.container(given):
            return path, trees.container(outputs), trees.container(given)
    return None


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOUaeio' and name != 'one array' else 'a'} {name}" if name != "one array" else name


def _fix(exam: Exam, path: str, expected: str) -> Fix:
    title = f"make {path} {_article(expected)}, like the model's output"
    node = next(o for p, o, _ in shared.nodes("y", exam.case.model.outputs, exam.case.batch.y) if p == path)
    given = next(g for p, _, g in shared.nodes("y", exam.case.model.outputs, exam.case.batch.y) if p == path)
    steps = [step for step, _ in trees.children(given)]
    if expected in ("list", "tuple") and len(steps) == len(list(trees.children(node))) and not isinstance(given, dict):
        return repairs.statement(title, f"y = {repairs.put(exam.case.batch.y, 'y', path, f'{expected}({path})')}")
    code = repairs.renested(exam)
    if code:
        return repairs.statement(title, f"y = {code}")
    return repairs.by_hand(title, "batch", "which target belongs to which output is not written in y")


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(1)(i), layers.Dense(1)(i), layers.Dense(1)(i)])
model.compile(loss=keras.losses.MeanSquaredError())
x = np.ones((8, 4))
"""

RULE = Rule(
    code="LD101",
    name="container-mismatch",
    category="container",
    summary="Target and output containers differ at a path; says which entry points raise.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a tuple of targets for a list of outputs: training works, a direct call raises",
            _MODEL + "y = (np.full((8, 1), 2.0), np.full((8, 1), 6.0), np.full((8, 1), 10.0))\n",
            "info",
        ),
    ),
    good=(
        Example(
            "the model's own container",
            _MODEL + "y = [np.full((8, 1), 2.0), np.full((8, 1), 6.0), np.full((8, 1), 10.0)]\n",
        ),
    ),
)
