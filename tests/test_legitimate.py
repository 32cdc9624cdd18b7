"""Legitimate set-ups: Keras trains them, and lossdoctor has no error and no warning for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossdoctor
from lossdoctor import releases
from tests.agree import agree_with_keras

N = 8
RANDOM = np.random.default_rng(11)
CASES: dict[str, Callable[[], tuple[Any, ...]]] = {}


def case(function: Callable[[], tuple[Any, ...]]) -> Callable[[], tuple[Any, ...]]:
    CASES[function.__name__] = function
    return function


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype("float32")


def classes(count: int, *shape: int) -> np.ndarray:
    return RANDOM.integers(0, count, size=shape)


def made(outputs: Callable[[Any], Any], **compiled: Any) -> Any:
    i = keras.Input((4,), name="features")
    model = keras.Model(i, outputs(i))
    model.compile(**compiled)
    return model


def dense(units: int, activation: str | None = None, name: str | None = None) -> Any:
    return layers.Dense(units, activation=activation, name=name)


@case
def autoencoder() -> Any:
    x = normal(N, 4)
    return made(lambda i: dense(4)(dense(2)(i)), loss="mse"), x, x


@case
def one_target_shared_by_two_heads() -> Any:
    t = normal(N, 2)
    return made(lambda i: [dense(2)(i), dense(2)(i)], loss="mse"), normal(N, 4), [t, t]


@case
def pixels_with_sparse_labels() -> Any:
    image = keras.Input((12, 12, 3))
    model = keras.Model(image, layers.Conv2D(5, 1, activation="softmax")(layers.Conv2D(4, 3, padding="same")(image)))
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, normal(N, 12, 12, 3), classes(5, N, 12, 12)


@case
def multi_label_sigmoid() -> Any:
    return made(lambda i: dense(6, "sigmoid")(i), loss="binary_crossentropy"), normal(N, 4), classes(2, N, 6)


@case
def binary_labels_without_a_last_axis() -> Any:
    return made(lambda i: dense(1, "sigmoid")(i), loss="binary_crossentropy"), normal(N, 4), classes(2, N)


@case
def sample_weights() -> Any:
    return made(lambda i: dense(1)(i), loss="mse"), normal(N, 4), normal(N, 1), np.linspace(0, 1, N)


@case
def sample_weights_for_each_output() -> Any:
    y, w = {"o": normal(N, 1), "p": normal(N, 1)}, {"o": np.ones(N), "p": np.ones(N)}
    return made(lambda i: {"o": dense(1)(i), "p": dense(1)(i)}, loss={"o": "mse", "p": "mae"}), normal(N, 4), y, w


@case
def detection_with_a_mask_in_the_target() -> Any:
    def box(y_true: Any, y_pred: Any) -> Any:
        return ops.sum(y_true[..., 4:5] * ops.abs(y_true[..., :4] - y_pred), axis=-1)

    model = made(
        lambda i: {"box": dense(4)(i), "cls": dense(3, "softmax")(i)},
        loss={"box": box, "cls": "categorical_crossentropy"},
        loss_weights={"box": 2.0, "cls": 1.0},
    )
    targets = np.concatenate([normal(N, 4), classes(2, N, 1)], axis=1).astype("float32")
    return model, normal(N, 4), {"box": targets, "cls": np.eye(3)[classes(3, N)]}


def _siamese() -> Any:
    left, right, encode = keras.Input((4,), name="left"), keras.Input((4,), name="right"), dense(3)

    def contrastive(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(y_true * ops.square(y_pred) + (1 - y_true) * ops.square(ops.maximum(1 - y_pred, 0)), axis=-1)

    distance = layers.Dot(1, normalize=True)([encode(left), encode(right)])
    model = keras.Model([left, right], distance)
    model.compile(loss=contrastive)
    return model


@case
def siamese_with_a_list() -> Any:
    return _siamese(), [normal(N, 4), normal(N, 4)], classes(2, N, 1).astype("float32")


@case
def siamese_with_a_dict_in_another_order() -> Any:
    return _siamese(), {"right": normal(N, 4), "left": normal(N, 4)}, classes(2, N, 1).astype("float32")


@case
def supervised_contrastive_couples_samples() -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        labels = ops.reshape(y_true, (-1,))
        same = ops.cast(ops.expand_dims(labels, 0) == ops.expand_dims(labels, 1), "float32")
        alike = ops.matmul(y_pred, ops.transpose(y_pred))
        return ops.mean(ops.log(ops.sum(ops.exp(alike - 10), -1)) - ops.sum(same * alike, -1) / ops.sum(same, -1))

    return made(lambda i: dense(8)(i), loss=loss), normal(N, 4), classes(3, N)


@case
def triplet_with_dummy_targets() -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.maximum(y_pred[:, 0:2] - y_pred[:, 2:4] + 1, 0))

    return made(lambda i: dense(6)(i), loss=loss), normal(N, 4), np.zeros((N, 1))


@case
def variational_autoencoder_with_add_loss() -> Any:
    class Spread(layers.Layer):
        def call(self, z: Any) -> Any:
            self.add_loss(ops.mean(ops.square(z)))
            return z

    x = normal(N, 4)
    return made(lambda i: dense(4)(Spread()(dense(2)(i))), loss="mse"), x, x


@case
def three_quantile_heads() -> Any:
    def pinball(q: float) -> Any:
        def loss(y_true: Any, y_pred: Any) -> Any:
            error = y_true - y_pred
            return ops.mean(ops.maximum(q * error, (q - 1) * error), axis=-1)

        return loss

    t = normal(N, 1)
    model = made(lambda i: [dense(1)(i) for _ in range(3)], loss=[pinball(0.1), pinball(0.5), pinball(0.9)])
    return model, normal(N, 4), [t, t, t]


@case
def deep_supervision_with_none() -> Any:
    t = normal(N, 1)
    return made(lambda i: [dense(1)(i) for _ in range(3)], loss=["mse", None, "mse"]), normal(N, 4), [t, t]


@case
def an_embedding_without_loss_and_target() -> Any:
    model = made(lambda i: {"embedding": dense(5)(i), "score": dense(1)(i)}, loss={"score": "mse"})
    return model, normal(N, 4), {"score": normal(N, 1)}


@case
def language_model_with_masks_and_step_weights() -> Any:
    tokens = keras.Input((None,), dtype="int32")
    states = layers.GRU(6, return_sequences=True)(layers.Embedding(20, 6, mask_zero=True)(tokens))
    model = keras.Model(tokens, layers.Dense(20)(states))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, classes(20, N, 7), classes(20, N, 7), np.ones((N, 7))


@case
def an_explicit_sum() -> Any:
    return made(lambda i: dense(3)(i), loss=keras.losses.MeanSquaredError(reduction="sum")), normal(N, 4), normal(N, 3)


@case
def a_dict_of_one_output_and_a_bare_target() -> Any:
    return made(lambda i: {"out": dense(1)(i)}, loss={"out": "mse"}), normal(N, 4), normal(N, 1)


@case
def list_outputs_named_everywhere() -> Any:
    model = made(
        lambda i: [dense(1, name="o")(i), dense(1, name="p")(i)],
        loss={"p": "mae", "o": "mse"},
        loss_weights={"p": 1.0, "o": 2.0},
        metrics={"o": ["mae"]},
    )
    return model, normal(N, 4), (normal(N, 1), normal(N, 1))


@case
def a_batch_as_wide_as_it_is_long() -> Any:
    return made(lambda i: dense(N)(i), loss="mse"), normal(N, 4), normal(N, N)


@case
def a_batch_of_one() -> Any:
    return made(lambda i: [dense(1)(i), dense(1)(i)], loss="mse"), normal(1, 4), [normal(1, 1), normal(1, 1)]


@case
def softmax_behind_a_reshape() -> Any:
    model = made(
        lambda i: layers.Activation("softmax")(layers.Reshape((2, 3))(dense(6)(i))), loss="categorical_crossentropy"
    )
    return model, normal(N, 4), np.eye(3)[classes(3, N, 2)]


@case
def half_precision_outputs() -> Any:
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dense(1, dtype="mixed_float16")(i))
    model.compile(optimizer="sgd", loss="mse")
    return model, normal(N, 4), normal(N, 1)


@case
def a_subclassed_model_with_two_outputs() -> Any:
    class Two(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = dense(2), dense(1)

        def call(self, x: Any) -> Any:
            return self.first(x), self.second(x)

    model = Two()
    model.compile(loss=["mse", "mae"])
    return model, normal(N, 4), (normal(N, 2), normal(N, 1))


@case
def signed_labels_with_hinge() -> Any:
    return made(lambda i: dense(1)(i), loss="hinge"), normal(N, 4), RANDOM.choice([-1.0, 1.0], size=(N, 1))


@case
def connectionist_temporal_classification() -> Any:
    frames = keras.Input((12, 5))
    model = keras.Model(frames, layers.Dense(6)(frames))
    model.compile(loss=keras.losses.CTC())
    return model, normal(N, 12, 5), RANDOM.integers(1, 6, size=(N, 3))


# What earlier releases of Keras do not train as it is meant here: (the fact in `lossdoctor.releases`, the cases).
LIMITED = {
    "layer-names": (
        "a_dict_of_one_output_and_a_bare_target",
        "an_embedding_without_loss_and_target",
        "detection_with_a_mask_in_the_target",
        "sample_weights_for_each_output",
    ),
    "left-out": ("deep_supervision_with_none",),
    "partial-losses-raise": ("an_embedding_without_loss_and_target",),
}


# Keras 3.15.1 on PyTorch 2.15 moves the axes of the outputs, and the gradient does not find its way back: fit raises.
UNFIT_ON_TORCH = ("pixels_with_sparse_labels",)


@pytest.mark.parametrize("name", CASES)
def test_no_error_and_no_warning(name: str) -> None:
    model, *batch = CASES[name]()
    report = lossdoctor.check(model, tuple(batch))
    said = [f"{f.code} {f.message}" for f in report.findings if f.severity != "info"]
    if any(name in names and releases.holds(fact, keras.__version__) for fact, names in LIMITED.items()):
        assert said
        agree_with_keras(model, tuple(batch), report)
        return
    if keras.backend.backend() == "torch" and name in UNFIT_ON_TORCH:
        agree_with_keras(model, tuple(batch), report)
        assert "contiguous" in said[0] and len(said) == 1
        return
    assert said == []
    agree_with_keras(model, tuple(batch), report)
    assert report.data.outcomes["fit"].status == "ok"
