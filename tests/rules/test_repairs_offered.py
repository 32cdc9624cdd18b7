"""Repairs that testers found wrong, or missing: what is offered first, and whether it was tried."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossdoctor
from lossdoctor import releases
from tests.agree import agree_with_keras

N = 16
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(N, 4)).astype("float32")
IMAGES = RANDOM.normal(size=(N, 8, 8, 3)).astype("float32")
BITS = np.arange(N) % 2


def dense(units: int, activation: str | None, loss: Any) -> Any:
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dense(units, activation=activation)(i))
    model.compile("sgd", loss)
    return model


def pixels(units: int, activation: str | None, loss: Any) -> Any:
    i = keras.Input((8, 8, 3))
    model = keras.Model(i, layers.Conv2D(units, 1, activation=activation)(i))
    model.compile("sgd", loss)
    return model


def steps(loss: Any) -> Any:
    i = keras.Input((12, 4))
    model = keras.Model(i, layers.Dense(6)(i))
    model.compile("sgd", loss)
    return model


def told(model: Any, x: np.ndarray, y: np.ndarray) -> dict[str, lossdoctor.Finding]:
    """{code: finding} of errors and warnings, once the real `fit` has agreed."""
    report = lossdoctor.check(model, (x, y))
    agree_with_keras(model, (x, y), report)
    return {f.code: f for f in report.findings if f.severity != "info"}


SPEECH = RANDOM.normal(size=(N, 12, 4)).astype("float32")
CLASSES = RANDOM.integers(0, 3, (N, 8, 8, 1))
IGNORED = np.where(np.arange(N) == 3, -100, np.arange(N) % 9)
LABELS = np.array([[1, 4, 2, -1]] * N)


@pytest.mark.parametrize(
    ("model", "x", "y", "code", "repair"),
    [
        (dense(1, "sigmoid", "binary_crossentropy"), X, 1 + BITS, "LD703", "y = y - 1"),
        (dense(1, "sigmoid", "binary_crossentropy"), X, BITS - 1, "LD703", "y = y + 1"),
        (dense(1, "sigmoid", "binary_crossentropy"), X, 2 * BITS - 1, "LD703", "y = (y + 1) / 2"),
        (pixels(3, "softmax", keras.losses.Dice()), IMAGES, CLASSES, "LD305", "y = keras.utils.to_categorical(y, 3)"),
        (pixels(3, "softmax", keras.losses.Tversky()), IMAGES, CLASSES, "LD305", "y = keras.utils.to_categorical(y, 3)"),
        (steps(keras.losses.CTC()), SPEECH, LABELS, "LD702", "y = np.where(y == -1, 0, y)"),
        (steps(keras.losses.CTC()), SPEECH, np.array([[2, 0, 1, -1]] * N), "LD702", "y = y + 1"),
        (dense(3, "softmax", "categorical_cross_entropy"), X, np.eye(3)[np.arange(N) % 3], "LD804", "loss='categorical_crossentropy'"),
    ],
)  # fmt: skip
def test_the_first_repair_is_the_right_one(model: Any, x: np.ndarray, y: np.ndarray, code: str, repair: str) -> None:
    found = told(model, x, y)
    assert list(found) == [code]
    assert (found[code].fixes[0].code, found[code].fixes[0].verified) == (repair, True)


@pytest.mark.parametrize("loss", [keras.losses.Dice(), keras.losses.Tversky(), keras.losses.Dice(axis=(1, 2, 3))])
def test_an_overlap_of_logits_wants_the_activation_of_its_masks(loss: Any) -> None:
    several = np.eye(3)[CLASSES[..., 0]]
    for units, y, activation in (
        (1, CLASSES > 1, "sigmoid"),
        (3, several, "softmax"),
        (3, CLASSES > [0, 1, 2], "sigmoid"),
    ):
        found = told(pixels(units, None, loss), IMAGES, y.astype("float32"))["LD601"]
        assert f'"{activation}"' in found.fixes[0].title and found.fixes[0].verified
        assert not told(pixels(units, activation, loss), IMAGES, y.astype("float32"))


def test_from_logits_on_the_other_activation_is_told_once() -> None:
    """It was a note that Keras "computes as meant"."""
    y = np.eye(3, dtype="float32")[np.arange(N) % 3]
    model = dense(3, "softmax", keras.losses.BinaryCrossentropy(from_logits=True))
    found = told(model, X, y)
    assert list(found) == ["LD603"] and found["LD603"].severity == "error"
    assert all(fix.verified for fix in found["LD603"].fixes)
    if keras.backend.backend() == "tensorflow":
        kernel, bias = model.get_weights()
        p = 1 / (1 + np.exp(-(X @ kernel + bias)))
        by_hand = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
        assert model.evaluate(X, y, verbose=0) == pytest.approx(by_hand, rel=1e-4)


def test_class_numbers_are_no_targets_of_sigmoids() -> None:
    found = told(dense(3, "sigmoid", "sparse_categorical_crossentropy"), X, np.arange(N) % 3)["LD603"]
    assert not [fix for fix in found.fixes if "binary" in fix.code]


@pytest.mark.skipif(
    not releases.since(keras.__version__, "3.15"), reason="on JAX ignored labels make weights NaN before"
)
def test_a_negative_label_is_a_mark_and_no_class_too_many() -> None:
    found = told(dense(9, "softmax", "sparse_categorical_crossentropy"), X, IGNORED)["LD702"]
    assert "ignore_class=-100" in found.fixes[0].code and found.fixes[0].verified
    assert not [fix for fix in found.fixes if "units" in fix.title]


def test_keras_counts_what_pads_a_ctc_as_labels() -> None:
    loss, predictions = keras.losses.CTC(), RANDOM.normal(size=(N, 12, 6)).astype("float32")
    short = float(loss(LABELS[:, :3], predictions))
    assert float(loss(np.where(LABELS < 0, 0, LABELS), predictions)) == pytest.approx(short, rel=1e-5)
    assert float(loss(LABELS, predictions)) < 0.8 * short
    inside = [float(loss(np.array([[2, 0, 1, last]] * N), predictions)) for last in (3, 5)]
    assert inside[0] == pytest.approx(inside[1], rel=1e-6)


def triplets(y_true: Any, y_pred: Any) -> Any:
    near, far = y_pred[0::3] - y_pred[1::3], y_pred[0::3] - y_pred[2::3]
    return ops.mean(ops.maximum(ops.sum(near**2, -1) - ops.sum(far**2, -1) + 1, 0.0))


def branches(y_true: Any, y_pred: Any) -> Any:
    return ops.mean((y_true - y_pred) ** 2) if ops.mean(y_pred) > 0 else ops.mean(y_pred)


def columns(y_true: Any, y_pred: Any) -> Any:
    return ops.mean((y_true[:, :1] - y_pred) ** 2, -1)


def test_ranks_are_to_blame_only_where_others_make_the_loss_run() -> None:
    assert list(told(dense(4, None, triplets), X, np.zeros(N))) == ["LD804"]
    if keras.backend.backend() != "torch":  # which compiles nothing
        assert list(told(dense(4, None, branches), X, np.zeros(N))) == ["LD804"]
    assert "takes equal ranks" in told(dense(3, None, columns), X, np.zeros(N))["LD301"].message


def test_the_shape_that_a_sparse_loss_takes_is_named() -> None:
    y = RANDOM.integers(0, 3, (N, 6))
    found = told(dense(3, "softmax", "sparse_categorical_crossentropy"), X, y)["LD303"]
    assert "takes targets of shape (16,)" in found.message
    assert "(16, 6, 3)" in found.fixes[0].title and "(16,)" in found.fixes[0].title


def test_an_output_without_steps_is_told_as_such() -> None:
    """The repair offered was `np.squeeze(y, -1)`, which still broadcasts."""
    i = keras.Input((6, 3))
    model = keras.Model(i, layers.Dense(1)(layers.LSTM(4)(i)))
    model.compile("sgd", "mse")
    x, y = RANDOM.normal(size=(N, 6, 3)).astype("float32"), RANDOM.normal(size=(N, 6, 1)).astype("float32")
    found = told(model, x, y)["LD302"]
    assert "no axis for the 6" in found.message
    assert "return_sequences=True" in found.fixes[0].title and not any(fix.edits for fix in found.fixes)


@pytest.mark.parametrize("loss", [keras.metrics.MeanSquaredError(), keras.metrics.AUC()])
def test_a_metric_in_the_place_of_a_loss(loss: Any) -> None:
    report = lossdoctor.check(dense(1, None, loss), (X, RANDOM.uniform(size=(N, 1))))
    found = next(f for f in report.findings if f.code == "LD802")
    assert "metric" in found.message
    assert ("keras.losses.MeanSquaredError()" in found.fixes[0].code) == (type(loss).__name__ == "MeanSquaredError")
    if keras.backend.backend() == "tensorflow":
        assert found.severity == "error" and found.fixes[0].verified == bool(found.fixes[0].edits)
