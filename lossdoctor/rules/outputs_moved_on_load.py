"""
## What it sees
A saved file whose layers come back in another order than they were saved in, so that their weights go to each other.

## Why it matters
The file keeps the outputs as a plain dict, and Keras orders a dict's outputs by their keys. Layers of one class are then numbered differently, and weights are
loaded by that number: where the shapes agree, the heads trade their weights without a word; where they differ, loading fails.

## What to do
Build the model with a plain dict of outputs, and save it again. For a file that exists: load it, and move the weights
back with `get_weights` and `set_weights`.

## Measured
Keras 3.15.1: outputs as `OrderedDict([("z", ...), ("a", ...)])`, two Dense heads of one shape, saved and loaded: `predict` of the loaded model returns
for "z" what the saved one returned for "a". `.keras` keeps weights under the layer's class and number (`saving_lib.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Layers that a file's weights will not go back to."""
    moved = exam.case.model.moved_layers
    if not moved:
        return
    told = shared.listed([f"those of layer {saved!r} go to {loaded!r}" for saved, loaded in moved[:4]])
    yield RULE.finding(
        "error",
        "silent",
        f"The file's weights come back in other layers than they were saved from: {told}.",
        where=tuple(shared.output_paths(exam)),
        evidence={f"weights of {saved}": f"loaded into {loaded}" for saved, loaded in moved},
        fixes=(
            repairs.by_hand(
                "build the model with a plain dict of outputs, and save it again",
                "model",
                "the weights in the file are in the wrong layers already",
            ),
        ),
    )


_MODEL = """\
i = keras.Input((4,))
z, a = layers.Dense(2, name="z_head")(i), layers.Dense(2, name="a_head")(i)
model = keras.Model(i, {outputs})
model.compile(loss="mse")
x, y = np.ones((8, 4)), {targets}
saved = True
"""

RULE = Rule(
    code="LD107",
    name="outputs-moved-on-load",
    category="container",
    summary="A saved file whose weights come back in other heads than they were saved from.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "an OrderedDict of outputs",
            "from collections import OrderedDict\n\n"
            + _MODEL.format(
                outputs='OrderedDict([("z", z), ("a", a)])',
                targets='OrderedDict([("z", np.ones((8, 2))), ("a", np.zeros((8, 2)))])',
            ),
            "error",
        ),
    ),
    good=(
        Example(
            "a plain dict",
            _MODEL.format(outputs='{"z": z, "a": a}', targets='{"z": np.ones((8, 2)), "a": np.zeros((8, 2))}'),
        ),
    ),
)
