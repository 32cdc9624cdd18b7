"""
## What it sees
A key in the dict of losses names no output, among them dotted paths such as "detection.bbox".

## Why it matters
Keras raises a `KeyError` that speaks of targets and outputs alike; it does not read dotted paths.

## What to do
Nest the losses like the outputs. A loss at a subtree gets the whole subtree; to put losses at two levels, give a list: the
subtree's loss first, then a dict for its parts.

## Measured
Keras 3.15.1, TensorFlow: `{"detection.bbox": "mse"}` raises "The path: ('detection.bbox',) in the `loss` argument, can't be found". Nested losses
work from 3.7 on: `{"detection": [whole, {"bbox": a, "confidence": b}]}` applies both levels. On a list of outputs, keys must be all of
`output_names`: "Expected keys [...]". Reported as keras-team/keras#20351 and #20358.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossdoctor import near, trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import At, Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """Keys of the loss dict that no output has, where fit raises for them."""
    loss = exam.case.compile.loss
    if not isinstance(loss, dict) or not shared.raised_in_dispatch(exam):
        return
    outputs = exam.case.model.outputs
    unknown = list(_unknown("loss", outputs, loss, exam.case.model.output_names or ()))
    dotted = [key for path, key, _ in unknown if path == "loss" and "." in key and _resolve(outputs, key) is not None]
    if dotted:
        yield RULE.finding(
            "error",
            "raises",
            f"loss[{dotted[0]!r}] is a dotted path, which Keras does not read: fit raises. Losses are nested like the outputs.",
            where=tuple(f"loss[{key!r}]" for key in dotted),
            evidence={"dotted paths": dotted, "error": shared.error(exam)},
            fixes=(repairs.compile_argument("nest the losses", "loss", _nested(loss)),),
        )
        return
    for path, key, known in unknown:
        guess = near.nearest(key, known)
        where = f"{path}[{key!r}]"
        yield RULE.finding(
            "error",
            "raises",
            f"{where} names no output{near.did_you_mean(key, known)}, and fit raises. The outputs there are {shared.listed([repr(k) for k in known])}.",
            where=(where,),
            evidence={"outputs": list(known), "error": shared.error(exam)},
            fixes=(
                *((_renamed(exam, path, key, guess[0]),) if guess else _choices(exam, path, key, known)),
                *(
                    ()
                    if guess
                    else (
                        repairs.by_hand(
                            "or use an output's name", "compile", f"which output {key!r} means is not written"
                        ),
                    )
                ),
            ),
        )


def _unknown(
    path: str, outputs: Tree, loss: Tree, names: tuple[str, ...]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    if not isinstance(loss, dict):
        return
    known = tuple(str(k) for k in outputs) if isinstance(outputs, dict) else names
    for key, value in loss.items():
        if key not in known:
            yield path, str(key), known
        elif isinstance(outputs, dict):
            parts = (
                [value]
                if isinstance(value, dict)
                else [v for v in value if isinstance(v, dict)]
                if isinstance(value, list)
                else []
            )
            for part in parts:
                yield from _unknown(f"{path}[{key!r}]", outputs[key], part, ())


def _resolve(outputs: Tree, dotted: str) -> Tree | None:
    node = outputs
    for step in dotted.split("."):
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list | tuple) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            return None
    return node


def _nested(loss: dict[str, Any]) -> Tree:
    """The dotted losses nested; a subtree that also has parts becomes a list."""
    tree: dict[str, Any] = {}
    for key in loss:
        node = tree
        for step in key.split("."):
            node = node.setdefault(step, {})
        node[""] = At(f"loss[{key!r}]")
    return _folded(tree)


def _folded(node: dict[str, Any]) -> Tree:
    own, parts = node.get(""), {k: _folded(v) for k, v in node.items() if k}
    return parts if own is None else ([own, parts] if parts else own)


def _renamed(exam: Exam, path: str, old: str, new: str) -> Fix:
    """The loss dict with one key by another name, in the same place."""
    tree = _rekeyed("loss", repairs.present(exam, "loss"), path, old, new)
    title = f"rename {old!r} to {new!r}"
    node = exam.case.model.outputs.get(new) if path == "loss" and isinstance(exam.case.model.outputs, dict) else None
    if not trees.is_leaf(node) and isinstance(exam.case.compile.loss[old], str):
        # Keras's losses take one tensor, not a subtree.
        title += ", once for each of its parts"
        tree[new] = trees.map_leaves(lambda _: tree[new], node)
    return repairs.compile_argument(title, "loss", tree)


def _choices(exam: Exam, path: str, key: str, known: tuple[str, ...]) -> tuple[Fix, ...]:
    """A key that is like no output's name may be any output that has no loss yet."""
    node = dict(repairs.present(exam, "loss")) if path == "loss" else {}
    free = [name for name in known if name not in node]
    if not free and node:
        kept = {k: v for k, v in node.items() if k != key}
        return (repairs.compile_argument(f"leave {key!r} out", "loss", kept, "review"),)
    return tuple(
        _with_grade(_renamed(exam, path, key, name), f"if {key!r} is {name!r}: rename it") for name in free[:4]
    )


def _with_grade(fix: Fix, title: str) -> Fix:
    return Fix(title, fix.target, "review", edits=fix.edits)


def _rekeyed(here: str, tree: Tree, path: str, old: str, new: str) -> Tree:
    if isinstance(tree, dict):
        if here == path:
            return {(new if k == old else k): v for k, v in tree.items()}
        return {k: _rekeyed(f"{here}[{k!r}]", v, path, old, new) for k, v in tree.items()}
    if isinstance(tree, list):  # a subtree's own loss, and the losses of its parts
        return [_rekeyed(here, v, path, old, new) for v in tree]
    return tree


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {
    "detection": {"bbox": layers.Dense(4)(i), "confidence": layers.Dense(1)(i)},
    "cls": layers.Dense(3)(i),
})
x = np.ones((8, 4))
y = {"detection": {"bbox": np.ones((8, 4)), "confidence": np.ones((8, 1))}, "cls": np.ones((8, 3))}
"""

RULE = Rule(
    code="LD501",
    name="loss-path-not-found",
    category="loss-config",
    summary="A loss key or dotted path that no output has.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "dotted paths",
            _MODEL + 'model.compile(loss={"detection.bbox": "mse", "detection.confidence": "mae", "cls": "mse"})\n',
            "error",
        ),
        Example("a misspelt key", _MODEL + 'model.compile(loss={"detektion": "mse", "cls": "mse"})\n', "error"),
    ),
    good=(
        Example(
            "nested like the outputs",
            _MODEL + 'model.compile(loss={"detection": {"bbox": "mse", "confidence": "mae"}, "cls": "mse"})\n',
            since="3.5",
        ),
    ),
)
