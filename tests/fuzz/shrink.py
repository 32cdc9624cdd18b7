"""A disagreement made smaller: one thing at a time is taken away as long as the same two verdicts remain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.fuzz import judge
from tests.fuzz.spec import Case, Loss, Tree, is_leaf, leaves, mapped, packed

MOST = 25  # judgements


def shrink(case: Case, verdicts: tuple[str, str]) -> Case:
    """The smallest case found with the same (truth, said)."""
    left = MOST
    progress = True
    while progress and left > 0:
        progress = False
        for smaller in simpler(case):
            left -= 1
            if _same(smaller, verdicts):
                case, progress = smaller, True
                break
            if left <= 0:
                break
    return case


def _same(case: Case, verdicts: tuple[str, str]) -> bool:
    try:
        found = judge.judge(case)
    except Exception:  # another failure
        return verdicts[1] == "crash"
    return (found.truth, found.said) == verdicts


def simpler(case: Case) -> Iterator[Case]:
    """Cases with one thing less, the largest steps first."""
    if case.inputs is not None:
        yield replace(case, inputs=None, x=None)
    for name, plain in (("metrics", None), ("made", "functional"), ("regularized", False), ("sample_weight", None)):
        if getattr(case, name) != plain:
            yield replace(case, **{name: plain})
    if case.loss_weights is not None:
        yield replace(case, loss_weights=None)
    if not is_leaf(case.outputs):
        for i in range(len(case.outputs) if len(case.outputs) > 1 else 0):
            names = ("outputs", "loss", "y", "loss_weights", "sample_weight", "metrics")
            yield replace(case, **{name: _without(getattr(case, name), i, case.outputs) for name in names})
    plain = mapped(_plain, case.loss)
    if plain != case.loss:
        yield replace(case, loss=plain)
    for i, leaf in enumerate(leaves(case.loss)):
        if leaf is not None and _plain(leaf) != leaf:
            flat = leaves(case.loss)
            flat[i] = _plain(leaf)
            yield replace(case, loss=packed(case.loss, flat))


def _plain(loss: Loss) -> Loss:
    return Loss(loss.kind if "entropy" in loss.kind else "mse")


def _without(tree: Tree, i: int, outputs: Tree) -> Any:
    """The tree without what stands for output i, by its key or its place."""
    if is_leaf(tree):
        return tree
    if isinstance(tree, dict):
        key = list(outputs)[i] if isinstance(outputs, dict) else getattr(outputs[i], "name", None)
        return {k: node for k, node in tree.items() if k != key}
    return type(tree)(node for k, node in enumerate(tree) if k != i)
