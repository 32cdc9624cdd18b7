"""As many rows of a batch as the stand-in has room for: it holds outputs and targets, their gradients, and what the losses make of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from lossdoctor import trees
from lossdoctor.case.model import describe
from lossdoctor.case.rows import cut, rows_of
from lossdoctor.types import ArrayRef, Batch, CaseError, ModelSpec, Spec, Tree

# Bytes of all outputs, targets and weights together: above the first fewer rows are examined, above the second none.
_MUCH, _MOST = 64 << 20, 256 << 20
_FEWEST_ROWS = 4


@dataclass(frozen=True, eq=False)
class Described:
    """A model with the batch and the number of rows for which it is described."""

    model: ModelSpec
    batch: Batch
    rows: int


def describe_with_room(model: Any, source: str, batch: Batch, **known: Any) -> Described:
    """`describe` for the batch, cut to fewer rows where they are large. Raises `CaseError` where a few are still too large."""
    rows = rows_of(batch)
    spec = describe(model, source, batch.x, rows, **known)
    size = _bytes(spec.outputs, batch)
    few = max(_FEWEST_ROWS, rows * _MUCH // max(size, 1))
    if size > _MUCH and few < rows:
        batch = cut(batch, most=few, few=few)
        rows = rows_of(batch)
        spec = describe(model, source, batch.x, rows, **known)
        size = _bytes(spec.outputs, batch)
    if size > _MOST:
        path, shape = max(_shapes(spec.outputs, batch), key=lambda found: prod(found[1]))
        raise CaseError(
            f"{source}: {path} has the shape {shape}, and outputs and targets of {rows} rows take over {_MOST >> 20} MiB; "
            "give a batch of fewer rows, or a smaller model."
        )
    return Described(spec, batch, rows)


def _shapes(outputs: Tree, batch: Batch) -> list[tuple[str, tuple[int, ...]]]:
    leaves = [
        *trees.leaves("y_pred", outputs),
        *trees.leaves("y", batch.y),
        *trees.leaves("sample_weight", batch.sample_weight),
    ]
    return [(path, tuple(d or 1 for d in leaf.shape)) for path, leaf in leaves if isinstance(leaf, Spec | ArrayRef)]


def _bytes(outputs: Tree, batch: Batch) -> int:
    return sum(4 * prod(shape) for _, shape in _shapes(outputs, batch))


__all__ = ["Described", "describe_with_room"]
