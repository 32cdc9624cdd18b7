"""How Keras's `fit` is fed with one batch of arrays, without what it prepares for many.

Private names used: `get_data_adapter`, `ArrayDataAdapter` with its `_inputs`, `convert_to_sliceable` (Keras 3.4 to 3.15).
"""

from __future__ import annotations

from typing import Any

import keras

from lossdoctor._keras import backend_name


def as_one_batch(data: dict[str, Any], rows: int) -> dict[str, Any]:
    """Arrays for a `fit` of one batch of so many rows, as Keras's own adapter of them, which on TensorFlow hands that batch on as it is.

    `ArrayDataAdapter.get_tf_dataset` (`keras/src/trainers/data_adapters/array_data_adapter.py`) traces three functions that deal rows
    out to batches, a seventh of a small case's time. What comes of them is the same: a test compares elements and their specs.
    Raises what Keras raises of the arrays.
    """
    if backend_name() != "tensorflow":
        return data
    try:
        from keras.src.trainers.data_adapters import get_data_adapter
        from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
        from keras.src.trainers.data_adapters.array_slicing import convert_to_sliceable
        from tensorflow.data import Dataset
    except ImportError:  # another layout of Keras: it is left to itself
        return data
    adapter = get_data_adapter(**data, batch_size=rows, shuffle=False)
    if type(adapter) is not ArrayDataAdapter or adapter.num_batches != 1:
        return data

    def get_tf_dataset() -> Any:
        given = convert_to_sliceable(adapter._inputs, target_backend="tensorflow")
        return Dataset.from_tensors(keras.tree.lists_to_tuples(given))

    adapter.get_tf_dataset = get_tf_dataset
    return {"x": adapter}


__all__ = ["as_one_batch"]
