"""What is in the targets and weights of a batch, read in bounded pieces."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from lossdoctor import trees
from lossdoctor.facts import Values
from lossdoctor.types import ArrayRef, Batch, Tree

# How much of one leaf is read; the cost of a check must not grow with the batch file.
_MOST_BYTES = 8 << 20


def values_of(batch: Batch) -> dict[str, Values]:
    """{path: values} of every array leaf of y and sample_weight. Entries of y with sample weight 0 do not count."""
    weights = _by_target(batch)
    found: dict[str, Values] = {}
    for path, leaf in trees.leaves("y", batch.y) if batch.y is not None else []:
        if isinstance(leaf, ArrayRef):
            found[path] = _values(path, leaf, weights.get(path))
    if batch.sample_weight is not None:
        for path, leaf in trees.leaves("sample_weight", batch.sample_weight):
            if isinstance(leaf, ArrayRef):
                found[path] = _values(path, leaf, None)
    return found


def _by_target(batch: Batch) -> dict[str, ArrayRef]:
    """{target path: its weights}: one array serves all targets, a tree those at the same place."""
    if batch.sample_weight is None or batch.y is None:
        return {}
    targets = trees.paths("y", batch.y)
    weights = trees.values(batch.sample_weight)
    if trees.is_leaf(batch.sample_weight):
        weights = weights * len(targets)
    if len(weights) != len(targets):
        return {}
    return {path: leaf for path, leaf in zip(targets, weights, strict=True) if isinstance(leaf, ArrayRef)}


def _values(path: str, leaf: ArrayRef, weight: ArrayRef | None) -> Values:
    rows = leaf.shape[0] if leaf.shape else 1
    read = min(rows, max(1, _MOST_BYTES // max(1, prod(leaf.shape[1:]) * 8)))
    data = np.asarray(leaf.rows(read))
    numbers = _numbers(data)
    counted = None
    if weight is not None and numbers is not None:
        counted = _counted(np.asarray(weight.rows(read)), numbers.shape)
    return Values(path, leaf.dtype, rows, read if leaf.shape else 1, data, numbers, counted)


def _numbers(data: np.ndarray) -> np.ndarray | None:
    if data.dtype.kind in "biuf" or data.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        return data.astype("float64")
    return None


def _counted(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """True where the weight is not 0, in the shape of the target; None where no weight is 0 or the shapes do not fit."""
    zero = np.asarray(weight == 0)
    if not zero.any():
        return None
    while zero.ndim > len(shape) and zero.shape[-1] == 1:
        zero = zero[..., 0]
    if zero.ndim > len(shape) or any(a not in (1, b) for a, b in zip(zero.shape, shape, strict=False)):
        return None
    return ~np.broadcast_to(zero.reshape(zero.shape + (1,) * (len(shape) - zero.ndim)), shape)


def partly_read(values: dict[str, Any]) -> Tree:
    """The paths of which not all rows were read."""
    return [path for path, found in values.items() if found.read < found.rows]
