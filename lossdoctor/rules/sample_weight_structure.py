"""
## What it sees
Sample weights in other containers than the targets: a list for a dict, keys that are missing or unknown, another count.

## Why it matters
`fit` raises, and the message prints the arrays.

## What to do
One array for all outputs, or the containers of y with one array (or None) an output.

## Measured
Keras 3.15.1, TensorFlow and JAX: one array serves every output. Anything else must have y's own containers and keys, else "You should provide one `sample_weight` array per output in `y`"; a `None`
in it means weights of 1.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Where fit raises because the two structures differ."""
    weights, y = exam.case.batch.sample_weight, exam.case.batch.y
    if weights is None or not shared.raises(exam) or "cardinality" in shared.error(exam):
        return
    single = trees.is_leaf(y) and not trees.is_leaf(weights)
    if not single and (exam.fit.stage not in shared.DISPATCH or "sample_weight" not in shared.error(exam)):
        return
    given, wanted = _shown(weights), _shown(y)
    if given == wanted:
        return
    yield RULE.finding(
        "error",
        "raises",
        f"sample_weight is {given}, but y is {wanted}: the two must be nested alike, or sample_weight one array, and fit raises.",
        where=("sample_weight",),
        evidence={"sample_weight": given, "y": wanted, "error": shared.error(exam)},
        fixes=(repairs.statement("give the weights in the containers of y", _code(y, weights), "review"),),
    )


def _shown(tree: object) -> str:
    if trees.is_leaf(tree):
        return "one array"
    if isinstance(tree, dict):
        return f"a {trees.container(tree)} with the keys {shared.listed([repr(str(k)) for k in tree])}"
    return f"a {trees.container(tree)} of {len(list(trees.children(tree)))}"


def _code(y: object, weights: object) -> str:
    """The weights in y's containers: by key where every one has a key of its own, else in the order written."""
    flat = [path for path, _ in trees.declared_leaves("sample_weight", weights)]
    if trees.is_leaf(y):
        return f"sample_weight = {flat[0]}"
    by_key = {shared.last_key(path): path for path in flat}
    named = len(by_key) == len(flat) and None not in by_key
    order = iter(flat)
    return "sample_weight = " + shared.tree_code(
        y, lambda path: (by_key.get(shared.last_key(path)) if named else None) or next(order, "None")
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"box": layers.Dense(1)(i), "score": layers.Dense(1)(i)})
model.compile(loss="mse")
x, y = np.ones((8, 4)), {"box": np.ones((8, 1)), "score": np.zeros((8, 1))}
"""

RULE = Rule(
    code="LD531",
    name="sample-weight-structure",
    category="sample-weight",
    summary="Sample weights nested otherwise than the targets: fit raises.",
    page=__doc__,
    check=check,
    bad=(
        Example("a list for a dict", _MODEL + "sample_weight = [np.ones(8), np.ones(8)]\n", "error"),
        Example(
            "lists for tuples",
            """\
i = keras.Input((4,))
model = keras.Model(i, (layers.Dense(1)(i), (layers.Dense(1)(i), layers.Dense(1)(i))))
model.compile(loss="mse")
x, y = np.ones((8, 4)), (np.ones((8, 1)), (np.zeros((8, 1)), np.zeros((8, 1))))
sample_weight = [np.full(8, 0.5), [np.ones(8), np.full(8, 2.0)]]
""",
            "error",
        ),
        Example("a key is missing", _MODEL + 'sample_weight = {"box": np.ones(8)}\n', "error"),
    ),
    good=(
        Example("one array for all outputs", _MODEL + "sample_weight = np.ones(8)\n"),
        Example("like y", _MODEL + 'sample_weight = {"box": np.ones(8), "score": np.ones(8)}\n'),
    ),
)
