"""
## What it sees
A target that Keras's tree functions take for one leaf although it holds several arrays (a dataclass, an object of your own), or a `None`
where an output with a loss needs a target.

## Why it matters
Keras looks into dict, list, tuple, namedtuple and OrderedDict, and into nothing else: `fit` raises, with a message that shows the arrays instead of the container.

## What to do
Give the targets as a dict: `dataclasses.asdict(y)`. Give an output without a target the loss `None`.

## Measured
Keras 3.15.1, TensorFlow and JAX: a dataclass as y raises "Unrecognized data type"; `y=[a, None]` with a loss for both outputs raises
("None values not supported" on TensorFlow, "None is not a valid value" on JAX), with `loss=["mse", None]` it works.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import ArrayRef, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Opaque leaves of y, and None where fit raises inside a loss that got it."""
    if not shared.raises(exam):
        return
    for path, leaf in trees.declared_leaves("y", exam.case.batch.y) if exam.case.batch.y is not None else []:
        if isinstance(leaf, ArrayRef) and leaf.dtype == "object" and not leaf.shape:
            yield _opaque(exam, path)
    failed = exam.fit.failed_call
    if exam.fit.stage == "loss" and failed is not None and failed < len(exam.fit.calls):
        call = exam.fit.calls[failed]
        nones = [p for p, leaf in trees.leaves("y", exam.case.batch.y) if leaf is None]
        if nones and not call.subtree and "NoneType" in call.target_dtypes:
            yield RULE.finding(
                "error",
                "raises",
                f"{shared.listed(nones)} is None, and {call.outputs[0]} has the loss {call.label}: fit raises.",
                where=(*nones, str(call.outputs[0])),
                evidence={"error": shared.error(exam), "loss": call.label},
                fixes=(
                    *_no_loss(exam, str(call.outputs[0])),
                    repairs.by_hand(f"or give {call.outputs[0]} a target", "batch", "its values are not in the batch"),
                ),
            )


def _no_loss(exam: Exam, output: str) -> tuple[Fix, ...]:
    """The losses by output, None for this one."""
    tree = repairs.without_loss(exam, {output})
    if tree is None:
        return ()
    return (repairs.compile_argument(f"give {output} the loss None", "loss", tree, "review"),)


def _opaque(exam: Exam, path: str) -> Finding:
    found = exam.values.get(path)
    kind = type(found.data.item()).__name__ if found is not None else "object"
    return RULE.finding(
        "error",
        "raises",
        f"{path} is a {kind}, which Keras takes for one leaf and not for a container: fit raises.",
        where=(path,),
        evidence={"type": kind, "error": shared.error(exam)},
        fixes=(
            repairs.by_hand(
                "give the targets as a dict",
                "batch",
                "objects are not written into a batch file; change the code that makes them",
                f"{path} = vars({path})",
            )
            if found is not None and hasattr(found.data.item(), "__dataclass_fields__")
            else repairs.by_hand(
                "give a dense array, or a dict of arrays", "batch", "how the object becomes an array is yours to say"
            ),
        ),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"box": layers.Dense(2)(i), "score": layers.Dense(1)(i)})
model.compile(loss="mse")
x = np.ones((8, 4))
"""
_CLASS = """\
import dataclasses


@dataclasses.dataclass
class Labels:
    box: object
    score: object


"""

RULE = Rule(
    code="LD105",
    name="opaque-container",
    category="container",
    summary="A container that Keras takes for one leaf, or a None where a target is due.",
    page=__doc__,
    check=check,
    bad=(
        Example("a dataclass of targets", _CLASS + _MODEL + "y = Labels(np.ones((8, 2)), np.zeros((8, 1)))\n", "error"),
        Example(
            "None for an output with a loss",
            "i = keras.Input((4,))\n"
            "model = keras.Model(i, [layers.Dense(2)(i), layers.Dense(1)(i)])\n"
            'model.compile(loss="mse")\n'
            "x, y = np.ones((8, 4)), [np.ones((8, 2)), None]\n",
            "error",
            since="3.12",
        ),
    ),
    good=(
        Example("a dict", _MODEL + 'y = {"box": np.ones((8, 2)), "score": np.zeros((8, 1))}\n'),
        Example(
            "None for an output without a loss",
            "i = keras.Input((4,))\n"
            "model = keras.Model(i, [layers.Dense(2)(i), layers.Dense(1)(i)])\n"
            'model.compile(loss=["mse", None])\n'
            "x, y = np.ones((8, 4)), [np.ones((8, 2)), None]\n",
            since="3.12",
        ),
    ),
)
