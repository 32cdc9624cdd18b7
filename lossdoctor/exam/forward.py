"""The model's own predictions on the batch, with its weights."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from lossdoctor import _keras, trees
from lossdoctor.exam.errors import describe_error
from lossdoctor.types import ArrayRef, Case, HeldArray, Spec

_BATCH = 32


def with_predictions(case: Case) -> Case:
    """The case with `live(x, training=False)` as its predictions, or with what that raised as the model's `call_error`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            called = [_call(case, first) for first in range(0, case.rows, _BATCH)]
        except Exception as error:  # what the model does with this batch is the observation
            return replace(case, model=replace(case.model, call_error=describe_error(error)))
    outputs = trees.values(case.model.outputs)
    if len(called[0]) != len(outputs):
        return case
    predicted, behind = zip(*(_joined([part[i] for part in called]) for i in range(len(outputs))), strict=True)
    arrays = [HeldArray(p) for p in predicted]
    # Sizes that the stand-in could only assume are now known.
    specs = [Spec(tuple(a.shape), s.dtype) for a, s in zip(arrays, outputs, strict=True)]
    return replace(
        case,
        model=replace(
            case.model,
            outputs=trees.pack(case.model.outputs, specs),
            predictions=trees.pack(case.model.outputs, arrays),
            behind=behind,
        ),
    )


def _call(case: Case, first: int) -> list[tuple[Any, Any]]:
    """(output, values in front of its activation or None) of the rows from `first` on, one an output leaf."""

    def read(leaf: Any) -> Any:
        if not isinstance(leaf, ArrayRef):
            return leaf
        return _keras.fed(np.asarray(leaf.rows(min(first + _BATCH, case.rows)))[first:])

    called = case.live(trees.map_leaves(read, case.batch.x), training=False)
    pairs = [(leaf, _keras.logits_behind(leaf)) for leaf in trees.values(called)]
    return [(_keras.to_numpy(a), None if b is None else _keras.to_numpy(b)) for a, b in pairs]


def _joined(parts: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    values, behind = zip(*parts, strict=True)
    if values[0] is None or not values[0].ndim:  # one number for the batch, or None in the place of an output
        return np.asarray(0.0 if values[0] is None else values[0]), None
    return np.concatenate(values), None if behind[0] is None else np.concatenate(behind)
