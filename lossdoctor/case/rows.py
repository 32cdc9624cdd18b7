"""How many rows of a batch are examined: all of a training batch, the first few hundred of a whole data set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lossdoctor import trees
from lossdoctor.types import ArrayRef, Batch, CaseError, Tree

# Above this many rows a batch is taken for a data set, and only its first rows are read.
MOST_ROWS = 1024
# How many are then read; moved down where it would equal some other axis by accident.
FEW_ROWS = 256


class CutArray:
    """The first `count` rows of another `ArrayRef`, unread until asked for."""

    def __init__(self, whole: ArrayRef, count: int) -> None:
        self.whole, self.count = whole, count

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, *self.whole.shape[1:])

    @property
    def dtype(self) -> str:
        return self.whole.dtype

    def rows(self, count: int) -> np.ndarray:
        """The first min(count, self.count) entries along axis 0."""
        return self.whole.rows(min(count, self.count))


def rows_of(batch: Batch, outputs: Tree = None) -> int:
    """The number of samples: axis 0 of x's first array, else of the outputs', else of y's. Raises `CaseError` for none."""
    for tree in (batch.x, outputs, batch.y):
        for leaf in trees.values(tree) if tree is not None else []:
            shape = _shape(leaf)
            if shape:
                if shape[0] == 0:
                    raise CaseError(f"{batch.source}: the batch has no rows; give at least one sample.")
                return int(shape[0])
    raise CaseError(f"{batch.source}: no array in the batch has a samples axis; give x and y as arrays.")


def cut(batch: Batch, keep: bool = False, most: int = MOST_ROWS, few: int = FEW_ROWS) -> Batch:
    """The batch with at most `most` rows a leaf; larger ones keep `few`, and differing sizes stay different.

    The new size never equals another axis of the batch unless the old one did: coincidences of
    the batch size with a dimension change what Keras does.
    """
    leaves = [leaf for tree in (batch.x, batch.y, batch.sample_weight) for leaf in trees.values(tree)]
    sizes = sorted({leaf.shape[0] for leaf in leaves if isinstance(leaf, ArrayRef) and leaf.shape}, reverse=True)
    if keep or not sizes or sizes[0] <= most:
        return batch
    taken = {axis for leaf in leaves if isinstance(leaf, ArrayRef) for axis in leaf.shape[1:]}
    new: dict[int, int] = {}
    candidate = few
    for size in sizes:
        if size <= few or size in taken:
            new[size] = size
            continue
        while candidate in taken or candidate in new.values():
            candidate += -1 if candidate > 2 else few
        new[size] = candidate

    def one(leaf: Any) -> Any:
        if not isinstance(leaf, ArrayRef) or not leaf.shape or new[leaf.shape[0]] == leaf.shape[0]:
            return leaf
        return CutArray(leaf, new[leaf.shape[0]])

    return replace(
        batch,
        x=trees.map_leaves(one, batch.x),
        y=trees.map_leaves(one, batch.y),
        sample_weight=None if batch.sample_weight is None else trees.map_leaves(one, batch.sample_weight),
        total_rows=batch.total_rows or sizes[0],
    )


def _shape(leaf: Any) -> tuple[int, ...]:
    if isinstance(leaf, tuple) and len(leaf) == 2 and isinstance(leaf[0], list | tuple):
        return tuple(leaf[0])
    return tuple(getattr(leaf, "shape", ()) or ())
