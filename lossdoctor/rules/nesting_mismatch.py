"""
## What it sees
One side is nested where the other is flat: the model returns `{"detection": {"bbox", "confidence"}}`
and the targets are a flat dict or list, or the reverse.

## Why it matters
Keras packs flat targets into the nested outputs by sorted position, or raises. With names at other
levels nothing checks that "bbox" reaches "bbox".

## What to do
Nest the targets exactly like the outputs.

## Measured
Keras 3.15.1, TensorFlow. A flat dict for nested outputs: its *keys* are packed as if they were targets, and the loss
raises "Cannot convert 'c' to EagerTensor". A flat list: silently packed in sorted order. Nested lists for nested dicts:
"y_true and y_pred have different structures". Keras 3.4.1, 3.5.0 and 3.6.0, JAX: a flat dict and nested lists train only what
finds a partner, without a word; a dict for a single output is taken as its one target.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """A leaf on one side where the other has a subtree, or a flat tree for a nested one."""
    outputs, y = exam.case.model.outputs, exam.case.batch.y
    if trees.is_leaf(y):
        return
    if trees.is_leaf(outputs):
        yield from _for_one_array(exam)
        return
    where = _nested_against_flat(outputs, y)
    if where is None:
        return
    crossed = [
        (output, target)
        for _, output, target in shared.pairs(exam)
        if target is not None and shared.last_key(target) not in (None, shared.last_key(output))
    ]
    code = repairs.renested(exam)
    fix = (
        repairs.statement("nest the targets like the outputs", f"y = {code}")
        if code
        else repairs.by_hand("nest the targets like the outputs", "batch", "y does not hold one target for each output")
    )
    if shared.raises(exam):
        yield RULE.finding(
            "error",
            "raises",
            f"{where}, and fit raises: flat targets do not fit nested outputs.",
            where=(where.split(" ")[0],),
            evidence={"error": shared.error(exam)},
            fixes=(fix,),
        )
    elif left := shared.untrained(exam):
        yield RULE.finding(
            "error",
            "silent",
            f"{where}; Keras {exam.case.environment.keras} pairs what it can and says nothing: {shared.listed(left)} "
            f"{'is' if len(left) == 1 else 'are'} not trained.",
            where=(where.split(" ")[0], *left),
            evidence={"outputs in no loss call": left},
            fixes=(fix,),
        )
    elif crossed and exam.declared is None:
        yield RULE.finding(
            "error",
            "silent",
            f"{where}; Keras pairs them by sorted position, and {crossed[0][0]} is trained on {crossed[0][1]}.",
            where=crossed[0],
            evidence={"crossed pairs": len(crossed)},
            fixes=(fix,),
        )


def _for_one_array(exam: Exam) -> Iterator[Finding]:
    """Targets in a container for a model that returns one array, where fit raises for it (a wrong number is LD103's)."""
    y = exam.case.batch.y
    leaves = trees.paths("y", y)
    if len(leaves) == 1 and isinstance(y, dict) and shared.untrained(exam):
        yield RULE.finding(
            "error",
            "silent",
            f"y is a dict where the model returns one array; Keras {exam.case.environment.keras} looks in it for its layer's name, "
            f"{shared.listed([repr(n) for n in shared.names(exam)])}, and trains nothing.",
            where=("y",),
            evidence={"targets": leaves, "loss fit reports": exam.fit.outcome.loss},
            fixes=(repairs.statement("give the target itself", f"y = {leaves[0]}"),),
        )
        return
    if not (shared.raised_in_dispatch(exam) or shared.raised_on_strings(exam)) or (
        len(leaves) != 1 and not isinstance(y, dict)
    ):
        return
    fixes = tuple(
        repairs.statement(
            "give the target itself" if len(leaves) == 1 else f"give {leaf} as the target",
            f"y = {leaf}",
            "safe" if len(leaves) == 1 else "review",
        )
        for leaf in leaves[:4]
    )
    yield RULE.finding(
        "error",
        "raises",
        f"y is a {trees.container(y)} where the model returns one array, and fit raises.",
        where=("y",),
        evidence={"targets": leaves[:12], "error": shared.error(exam)},
        fixes=fixes,
    )


def _nested_against_flat(outputs: Tree, y: Tree) -> str | None:
    for path, output, given in shared.nodes("y", outputs, y):
        if trees.is_leaf(output) and not trees.is_leaf(given):
            return f"{path} is nested where the model returns one array"
        if trees.is_leaf(given) and not trees.is_leaf(output):
            return f"{path} is one array where the model returns a {trees.container(output)}"
    if _depth(outputs) != _depth(y) and set(_steps(outputs)) != set(_steps(y)):
        deeper = "the model's outputs are" if _depth(outputs) > _depth(y) else "y is"
        return f"y and the outputs are nested differently ({deeper} deeper)"
    if _depth(outputs) > 1 and [len(_steps(outputs))] == [len(_steps(y))] and type(outputs) is not type(y):
        return "y is nested in other containers than the model's outputs"
    return None


def _steps(tree: Tree) -> list[str]:
    return [step for step, _ in trees.children(tree)]


def _depth(tree: Tree) -> int:
    return 0 if trees.is_leaf(tree) else 1 + max((_depth(node) for _, node in trees.children(tree)), default=0)


def _code(outputs: Tree, y: Tree) -> str:
    """The nested targets as code, each leaf taken by its last key where the flat targets have it, else by place."""
    flat = [path for path, _ in trees.declared_leaves("y", y)]
    by_key = {shared.last_key(path): path for path in flat}
    order = iter(flat)

    return shared.tree_code(outputs, lambda path: by_key.get(shared.last_key(path)) or next(order, "..."))


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {
    "detection": {"bbox": layers.Dense(4)(i), "confidence": layers.Dense(1)(i)},
    "cls": layers.Dense(3)(i),
})
model.compile(loss="mse")
x = np.ones((8, 4))
bbox, confidence, cls = np.ones((8, 4)), np.ones((8, 1)), np.ones((8, 3))
"""

RULE = Rule(
    code="LD102",
    name="nesting-mismatch",
    category="container",
    summary="One side is nested where the other is flat.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a flat dict of targets for nested outputs",
            _MODEL + 'y = {"bbox": bbox, "confidence": confidence, "cls": cls}\n',
            "error",
        ),
        Example("nested lists for nested dicts", _MODEL + "y = [[bbox, confidence], cls]\n", "error"),
        Example(
            "a dict for one output",
            'i = keras.Input((4,))\nmodel = keras.Model(i, layers.Dense(1, name="score")(i))\nmodel.compile(loss="mse")\n'
            'x, y = np.ones((8, 4)), {"score": np.ones((8, 1))}\n',
            "error",
            since="3.7",
        ),
    ),
    good=(
        Example(
            "targets nested like the outputs",
            _MODEL + 'y = {"detection": {"bbox": bbox, "confidence": confidence}, "cls": cls}\n',
        ),
    ),
)
