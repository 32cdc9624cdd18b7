"""Legitimate real models, saved to disk and checked from there: no error, no warning, and Keras trains them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lossdoctor
from lossdoctor.doctor import examine

ROWS = 8
RANDOM = np.random.default_rng(5)


def detector() -> tuple[Any, tuple[Any, Any]]:
    """A two-headed detector on a `keras.applications` backbone."""
    backbone = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(64, 64, 3), alpha=0.35)
    pooled = layers.GlobalAveragePooling2D()(backbone.output)
    box = layers.Dense(4, activation="sigmoid", name="box")(pooled)
    label = layers.Dense(5, activation="softmax", name="label")(pooled)
    model = keras.Model(backbone.input, {"box": box, "label": label})
    model.compile(
        optimizer="adam",
        loss={"box": keras.losses.Huber(), "label": "sparse_categorical_crossentropy"},
        loss_weights={"box": 10.0, "label": 1.0},
        metrics={"label": ["accuracy"]},
    )
    x = RANDOM.normal(size=(ROWS, 64, 64, 3)).astype("float32")
    return model, (x, {"box": RANDOM.uniform(size=(ROWS, 4)).astype("float32"), "label": np.arange(ROWS) % 5})


def multi_task() -> tuple[Any, tuple[Any, Any]]:
    """A nested multi-task model, losses on leaves, one output without loss on purpose."""
    i = keras.Input((12,), name="features")
    h = layers.Dense(16, activation="relu")(i)
    model = keras.Model(
        i,
        {
            "detection": {"bbox": layers.Dense(4)(h), "confidence": layers.Dense(1, activation="sigmoid")(h)},
            "classification": layers.Dense(3, activation="softmax")(h),
            "embedding": h,
        },
    )
    model.compile(
        optimizer="adam",
        loss={
            "detection": {"bbox": "mse", "confidence": "binary_crossentropy"},
            "classification": "categorical_crossentropy",
            "embedding": None,
        },
    )
    y = {
        "detection": {
            "bbox": RANDOM.uniform(size=(ROWS, 4)).astype("float32"),
            "confidence": (np.arange(ROWS) % 2).astype("float32")[:, None],
        },
        "classification": np.eye(3, dtype="float32")[np.arange(ROWS) % 3],
        "embedding": np.zeros((ROWS, 16), dtype="float32"),
    }
    return model, (RANDOM.normal(size=(ROWS, 12)).astype("float32"), y)


def tagger() -> tuple[Any, tuple[Any, Any]]:
    """A sequence tagger with masks."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    embedded = layers.Embedding(50, 8, mask_zero=True)(tokens)
    states = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(embedded)
    model = keras.Model(tokens, layers.TimeDistributed(layers.Dense(4, activation="softmax"))(states))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    x = RANDOM.integers(1, 50, size=(ROWS, 6)).astype("int32")
    x[:3, 4:] = 0
    return model, (x, RANDOM.integers(0, 4, size=(ROWS, 6)))


def classifier() -> tuple[Any, tuple[Any, Any]]:
    """A single-output classifier, sequential."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
            layers.Activation("softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, (RANDOM.uniform(size=(ROWS, 28, 28, 1)).astype("float32"), np.arange(ROWS) % 10)


@pytest.mark.parametrize("build", [detector, multi_task, tagger, classifier], ids=lambda f: f.__name__)
def test_a_legitimate_model_gets_no_error_and_no_warning(build: Any, tmp_path: Path) -> None:
    model, (x, y) = build()
    model.save(tmp_path / "model.keras")
    lossdoctor.save_batch(tmp_path / "batch.npz", x, y)
    report = examine(str(tmp_path / "model.keras"), str(tmp_path / "batch.npz"))
    assert [f"{f.code} {f.message}" for f in report.findings if f.severity != "info"] == []
    assert report.verdict == "clean"
    assert {name: outcome.status for name, outcome in report.outcomes.items() if name != "direct"} == {
        "fit": "ok",
        "train_on_batch": "ok",
    }
    history = model.fit(x, y, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    live = lossdoctor.check(model, (x, y))
    assert [f.code for f in live.findings] == [f.code for f in report.findings]
    assert [(p.output, p.target, p.loss, p.weight) for p in live.pairs] == [
        (p.output, p.target, p.loss, p.weight) for p in report.pairs
    ]


def test_the_detector_s_weights_are_the_measured_ones(tmp_path: Path) -> None:
    model, (x, y) = detector()
    weights = {p.output: p.weight for p in lossdoctor.check(model, (x, y)).pairs}
    assert weights == {"y_pred['box']": pytest.approx(10.0), "y_pred['label']": pytest.approx(1.0)}
