"""
## What it sees
A live model returns a tuple (or a namedtuple) somewhere in its outputs.

## Why it matters
A `.keras` file stores its graph as JSON, which has no tuples: the loaded model returns a list there. Code that
compares containers, such as a direct loss call or an unpacking by field name, then behaves differently after loading.

## What to do
Return lists or dicts, or rely on the container nowhere.

## Measured
Keras 3.15.1: `keras.Model(i, (a, b))` returns a tuple; saved with `model.save("m.keras")` and loaded, it returns a list.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """A tuple in the outputs of a model that a file would hold as a graph."""
    model = exam.case.model
    if model.kind != "functional":
        return
    for path, node in _nodes("y_pred", model.outputs):
        if isinstance(node, tuple):
            yield RULE.finding(
                "info",
                "note",
                f"{path} is a {type(node).__name__}; saved to a .keras file and loaded again, it is a list.",
                where=(path,),
                evidence={"container": type(node).__name__, "entries": len(node)},
                fixes=(
                    repairs.by_hand(
                        "return a list (or a dict) there", "model", "the container is written in the model's code"
                    ),
                ),
            )
            return


def _nodes(path: str, tree: Tree) -> Iterator[tuple[str, Tree]]:
    if not trees.is_leaf(tree):
        yield path, tree
        for step, node in trees.children(tree):
            yield from _nodes(path + step, node)


_MODEL = """\
i = keras.Input((4,))
a, b = layers.Dense(1)(i), layers.Dense(1)(i)
model = keras.Model(i, {outputs})
model.compile(loss="mse")
x, y = np.ones((8, 4)), [np.ones((8, 1)), np.zeros((8, 1))]
"""

RULE = Rule(
    code="LD106",
    name="container-lost-on-save",
    category="container",
    summary="Tuple outputs become lists in a saved file.",
    page=__doc__,
    check=check,
    bad=(Example("a tuple of outputs", _MODEL.replace("{outputs}", "(a, b)"), "info"),),
    good=(Example("a list of outputs", _MODEL.replace("{outputs}", "[a, b]")),),
)
