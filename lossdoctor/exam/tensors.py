"""What can be read off a tensor of any backend, concrete or traced."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lossdoctor import _keras


def scalar(value: Any) -> float | None:
    """A Python float of a 0-d value, else None (NaN and infinity are kept)."""
    array = to_numpy(value)
    return float(array) if array is not None and array.ndim == 0 and array.dtype.kind in "biuf" else None


def to_numpy(value: Any) -> Any:
    """A NumPy array of a concrete value, else None."""
    if value is None or _keras.is_traced(value):
        return None
    if isinstance(value, int | float | np.ndarray | np.generic):
        return np.asarray(value)
    try:
        return np.asarray(keras.ops.convert_to_numpy(value))
    except Exception:  # a traced value has none
        return None


def shape(tensor: Any) -> tuple[int, ...]:
    found = getattr(tensor, "shape", None)
    return () if found is None else tuple(-1 if d is None else int(d) for d in found)


def stacked_shape(weights: Any) -> tuple[int, ...]:
    """The shape of the weights; of a list or tuple of arrays, which a loss makes one tensor of, with a first axis for them."""
    if not isinstance(weights, list | tuple):
        return shape(weights)
    return (len(weights), *shape(weights[0])) if weights else (0,)


def dtype(tensor: Any) -> str:
    found = getattr(tensor, "dtype", type(tensor).__name__)
    return str(getattr(found, "name", found)).removeprefix("torch.")
