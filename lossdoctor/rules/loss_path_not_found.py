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

from lossdoctor import near
from lossdoctor.facts import Exam
from lossdoctor.rules import shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding, Tree


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
            fixes=(Fix("nest the losses", "compile", "safe", f"loss={_nested(loss)}"),),
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
                Fix(f"rename {key!r} to {guess[0]!r}", "compile", "safe")
                if guess
                else Fix("use an output's name", "compile", "manual"),
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


def _nested(loss: dict[str, Any]) -> str:
    """The dotted losses as nested code; a subtree that also has parts becomes a list."""
    tree: dict[str, Any] = {}
    for key, value in loss.items():
        node = tree
        for step in key.split("."):
            node = node.setdefault(step, {})
        node[""] = shared.loss_code(value)
    return _write(tree)


def _write(node: dict[str, Any]) -> str:
    own, parts = node.get(""), {k: v for k, v in node.items() if k}
    inner = "{" + ", ".join(f"{k!r}: {_write(v)}" for k, v in parts.items()) + "}"
    return inner if own is None else (f"[{own}, {inner}]" if parts else own)


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
        ),
    ),
)
