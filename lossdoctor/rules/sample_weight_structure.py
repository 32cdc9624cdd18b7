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
from lossdoctor.types import Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """Where fit raises because the two structures differ."""
    weights, y = exam.case.batch.sample_weight, exam.case.batch.y
    if weights is None or not shared.raises(exam) or "cardinality" in shared.error(exam):
        return
    single = trees.is_leaf(y) and not trees.is_leaf(weights)
    if not single and (exam.fit.stage not in shared.DISPATCH or "sample_weight" not in shared.error(exam)):
        return
    nodes = [(path, _shown(part), _shown(node)) for path, node, part in shared.nodes("sample_weight", y, weights)]
    different = next((node for node in nodes if node[1] != node[2]), None)
    if different is None:
        return
    path, given, wanted = different
    there = f"y{path.removeprefix('sample_weight')}"
    yield RULE.finding(
        "error",
        "raises",
        f"{path} is {given}, but {there} is {wanted}: the two must be nested alike, or sample_weight one array, and fit raises.",
        where=(path,),
        evidence={path: given, there: wanted, "error": shared.error(exam)},
        fixes=(repairs.statement("give the weights in the containers of y", _code(y, weights), "review"),),
    )


def _shown(tree: object) -> str:
    if trees.is_leaf(tree):
        return "one array"
    if isinstance(tree, dict):
        return f"a {trees.container(tree)} with the keys {shared.listed([repr(str(k)) for k in tree])}"
    return f"a {trees.container(tree)} of {len(list(trees.children(tree)))}"


def _code(y: Tree, weights: Tree) -> str:
    met = _met("y", y, "sample_weight", weights)
    return f"sample_weight = {shared.tree_code(y, lambda target: met.get(target, 'None'), 'y')}"


def _met(target: str, y: Tree, path: str, weights: Tree) -> dict[str, str]:
    """{path of a target: path of its weights}: one for each place where there are groups, else by key where every one has its own, else in order."""
    targets = [at for at, _ in trees.declared_leaves(target, y)]
    parts = dict(trees.children(y))
    while isinstance(weights, list | tuple) and len(weights) == 1 < len(parts) and not trees.is_leaf(weights[0]):
        weights, path = weights[0], f"{path}[0]"  # a container too many
    if trees.is_leaf(weights):
        return dict.fromkeys(targets, path)
    held = dict(trees.children(weights))
    grouped = any(not trees.is_leaf(part) for part in parts.values())
    alike = type(y) is type(weights)
    if grouped and (alike or len(held) == len(parts)):
        steps = [(s, s) for s in parts if s in held] if alike else list(zip(parts, held, strict=True))
        groups = [_met(target + s, parts[s], path + at, held[at]) for s, at in steps]
        return {at: weight for group in groups for at, weight in group.items()}
    flat = [at for at, _ in trees.declared_leaves(path, weights)]
    by_key = {shared.last_key(at): at for at in flat}
    if len(by_key) < len(flat) or None in by_key:
        return dict(zip(targets, flat, strict=False))
    order = iter(flat)
    return {at: by_key.get(shared.last_key(at)) or next(order, "None") for at in targets}


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
        Example(
            "one array for two outputs of a group",
            """\
i = keras.Input((4,))
model = keras.Model(i, {"box": [layers.Dense(1)(i), layers.Dense(1)(i)], "top": layers.Dense(1)(i)})
model.compile(loss={"box": ["mse", "mse"], "top": "mse"})
x, y = np.ones((8, 4)), {"box": [np.ones((8, 1)), np.zeros((8, 1))], "top": np.ones((8, 1))}
sample_weight = {"box": [np.ones(8)], "top": np.ones(8)}
""",
            "error",
            since="3.7",
        ),
        Example("a key is missing", _MODEL + 'sample_weight = {"box": np.ones(8)}\n', "error"),
    ),
    good=(
        Example("one array for all outputs", _MODEL + "sample_weight = np.ones(8)\n"),
        Example("like y", _MODEL + 'sample_weight = {"box": np.ones(8), "score": np.ones(8)}\n'),
    ),
)
