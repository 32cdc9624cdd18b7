"""What only crossed losses bring is not told beside them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import lossdoctor

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(8, 4)).astype("float32")
LOSSES = {"speaker": "sparse_categorical_crossentropy", "age": "mse", "mood": "binary_crossentropy"}


def made(by_name: bool) -> keras.Model:
    i = keras.Input((4,))
    heads = {
        "speaker": layers.Dense(5, "softmax", name="speaker")(i),
        "age": layers.Dense(1, name="age")(i),
        "mood": layers.Dense(1, "sigmoid", name="mood")(i),
    }
    model = keras.Model(i, heads)
    model.compile(loss=LOSSES if by_name else list(LOSSES.values()))
    return model


def targets() -> dict[str, np.ndarray]:
    return {
        "speaker": RANDOM.integers(0, 5, 8),
        "age": RANDOM.normal(size=(8, 1)).astype("float32"),
        "mood": RANDOM.integers(0, 2, (8, 1)),
    }


def told(model: keras.Model, y: dict[str, np.ndarray]) -> list[str]:
    report = lossdoctor.check(model, (X, y), repairs=False)
    return [f.code for f in report.findings if f.severity == "error"]


def test_what_only_the_crossing_brings() -> None:
    y = targets()
    refused = "must have the same (rank|shape)"
    if keras.backend.backend() == "torch":  # class numbers under a loss for other outputs are looked up first
        refused = "out of bounds"
    with pytest.raises((ValueError, IndexError), match=refused):
        made(by_name=False).fit(X, y, verbose=0)
    assert np.isfinite(made(by_name=True).fit(X, y, verbose=0).history["loss"]).all()
    assert told(made(by_name=False), y) == ["LD204"]
    assert told(made(by_name=True), y) == []
