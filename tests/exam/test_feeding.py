"""The one batch that `fit` of a stand-in is fed with is Keras's own, element by element."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import keras
import numpy as np
import pytest

from lossdoctor._feeding import as_one_batch

N = 8
X = np.zeros((N, 1), "float32")
Pair = namedtuple("Pair", ["left", "right"])
TARGETS: dict[str, Any] = {
    "one array": np.arange(3.0 * N).reshape(N, 3),
    "class numbers": np.arange(N),
    "large numbers": np.full(N, 2**40),
    "bytes": np.arange(N, dtype="uint8"),
    "bits": np.arange(N) % 2 == 0,
    "half precision": np.ones((N, 2), "float16"),
    "complex": np.ones(N, "complex64"),
    "text": np.array([*"abcdefgh"]),
    "no columns": np.ones((N, 0)),
    "nothing": None,
    "nested": {"z": np.arange(N), "a": [np.ones((N, 1)), (np.ones((N, 2)), None)]},
    "ordered": OrderedDict(z=np.zeros(N), a=np.ones(N)),
    "named": Pair(np.zeros(N), np.ones((N, 2))),
    "objects": np.array([1, "a"] * (N // 2), dtype=object),
    "too few": np.ones(N - 1),
}


def _spec_and_elements(data: Any) -> Any:
    import tensorflow as tf
    from keras.src.trainers.data_adapters import get_data_adapter

    try:
        dataset = get_data_adapter(**data, batch_size=N, shuffle=False).get_tf_dataset()
        flat = tf.nest.flatten(list(dataset))
        return str(dataset.element_spec), [None if leaf is None else leaf.numpy().tolist() for leaf in flat]
    except (ValueError, TypeError) as error:
        return type(error), str(error)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere Keras feeds fit itself")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_the_batch_is_the_one_that_keras_deals_out(name: str, weighted: bool) -> None:
    data = {"x": X, "y": TARGETS[name], **({"sample_weight": np.arange(float(N))} if weighted else {})}
    expected = _spec_and_elements(data)
    try:
        made = as_one_batch(data, N)
    except (ValueError, TypeError) as error:
        assert (type(error), str(error)) == expected
        return
    assert made["x"] is not X  # Keras's own adapter, by which it was not left to itself
    assert _spec_and_elements(made) == expected


def test_several_batches_are_left_to_keras() -> None:
    data = {"x": X, "y": np.ones(N)}
    assert as_one_batch(data, N // 2) is data
