"""Large outputs are examined on few rows, and what is too large is one sentence."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lossdoctor
from lossdoctor.types import CaseError

SIDE, CLASSES = 256, 24


def segmenter() -> Any:
    i = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(i, layers.Conv2D(CLASSES, 1, activation="softmax")(i))
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    return model


def test_a_batch_of_large_outputs_is_examined_on_fewer_rows() -> None:
    x = np.zeros((16, SIDE, SIDE, 3), "float32")
    y = np.random.default_rng(0).integers(0, CLASSES, (16, SIDE, SIDE)).astype("int32")
    report = lossdoctor.check(segmenter(), (x, y), repairs=False)
    assert report.data.verdict == "clean" and report.data.rows == 10
    assert "the batch beyond its first 10 rows (it has 16)" in report.data.checks.notes
    small = lossdoctor.check(segmenter(), (x[:8], y[:8]), repairs=False)
    assert small.data.rows == 8 and small.data.verdict == "clean"


def test_rows_never_come_to_equal_another_axis() -> None:
    i = keras.Input((10,))
    model = keras.Model(i, layers.UpSampling1D(1 << 18)(layers.Reshape((10, 1))(i)))
    model.compile(optimizer="sgd", loss="mse")
    report = lossdoctor.check(model, (np.zeros((12, 10)), np.zeros((12, 1))), repairs=False)
    assert report.data.rows not in (1, 10, 12)


def test_what_is_too_large_on_four_rows_is_one_sentence() -> None:
    i = keras.Input((1,))
    model = keras.Model(i, layers.Flatten()(layers.RepeatVector(60_000_000)(i)))
    model.compile(optimizer="sgd", loss="mse")
    with pytest.raises(CaseError, match=r"y_pred has the shape \(\d, 60000000\).* take over 256 MiB; give a batch of"):
        lossdoctor.check(model, (np.zeros((8, 1)), np.zeros((8, 1))))
