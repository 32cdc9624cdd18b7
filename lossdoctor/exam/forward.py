"""The model's own predictions on the batch, with its weights."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from lossdoctor import trees
from lossdoctor.exam.errors import describe_error
from lossdoctor.types import ArrayRef, Case, HeldArray, Spec

_BATCH = 32


def with_predictions(case: Case) -> Case:
    """The case with `live.predict(x)` as its predictions, or with what that raised as the model's `call_error`."""

    def read(leaf: Any) -> Any:
        return np.asarray(leaf.rows(case.rows)) if isinstance(leaf, ArrayRef) else leaf

    x = trees.map_leaves(read, case.batch.x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            predicted = trees.values(case.live.predict(x, batch_size=_BATCH, verbose=0))
        except Exception as error:  # what the model does with this batch is the observation
            return replace(case, model=replace(case.model, call_error=describe_error(error)))
    outputs = trees.values(case.model.outputs)
    if len(predicted) != len(outputs):
        return case
    arrays = [HeldArray(np.asarray(p)) for p in predicted]
    # Sizes that the stand-in could only assume are now known.
    specs = [Spec(tuple(a.shape), s.dtype) for a, s in zip(arrays, outputs, strict=True)]
    return replace(
        case,
        model=replace(
            case.model,
            outputs=trees.pack(case.model.outputs, specs),
            predictions=trees.pack(case.model.outputs, arrays),
        ),
    )
