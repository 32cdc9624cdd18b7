"""Calls of Keras that raise, each with the rule that meets its error. Imports keras and numpy only: it runs under other releases."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

N = 8
BACKEND = keras.backend.backend()


def normal(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def x() -> Any:
    return normal(N, 4)


def single(units: int = 1, activation: str | None = None, **compiled: Any) -> Any:
    i = keras.Input((4,), name="pixels")
    model = keras.Model(i, layers.Dense(units, activation=activation, name="score")(i))
    model.compile(**{"loss": "mse", **compiled})
    return model


def named(**compiled: Any) -> Any:
    i = keras.Input((4,), name="pixels")
    model = keras.Model(i, {"box": layers.Dense(1, name="box")(i), "cls": layers.Dense(1, name="cls")(i)})
    model.compile(**{"loss": "mse", **compiled})
    return model


def listed(**compiled: Any) -> Any:
    i = keras.Input((4,), name="pixels")
    model = keras.Model(i, [layers.Dense(1, name="box")(i), layers.Dense(1, name="cls")(i)])
    model.compile(**{"loss": "mse", **compiled})
    return model


def paired() -> Any:
    i = keras.Input((4,), name="pixels")
    model = keras.Model(i, {"pair": [layers.Dense(1, name="box")(i), layers.Dense(1, name="cls")(i)]})
    model.compile(loss={"pair": ["mse", "mse"]})
    return model


def two_inputs() -> Any:
    a, b = keras.Input((4,), name="photo"), keras.Input((2,), name="size")
    model = keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])))
    model.compile(loss="mse")
    return model


def two_named_inputs() -> Any:
    a, b = keras.Input((4,), name="photo"), keras.Input((2,), name="size")
    model = keras.Model({"photo": a, "size": b}, layers.Dense(1)(layers.Concatenate()([a, b])))
    model.compile(loss="mse")
    return model


def steps(units: int, activation: str, loss: Any) -> Any:
    i = keras.Input((6, 4))
    model = keras.Model(i, layers.Dense(units, activation=activation)(i))
    model.compile(loss=loss)
    return model


def masked() -> Any:
    i = keras.Input((6,))
    model = keras.Model(i, layers.Dense(1)(layers.Embedding(3, 2, mask_zero=True)(i)))
    model.compile(loss="mse")
    return model


def moved() -> Any:
    i = keras.Input((4,))
    heads = OrderedDict(z=layers.Dense(1, name="z")(i), a=layers.Dense(3, name="a")(i))
    model = keras.Model(i, heads)
    model.compile(loss="mse")
    return model


def forever(*batch: Any) -> Any:
    while True:
        yield batch


def four(model: Any) -> None:
    model.fit(forever(x(), t(), np.ones(N), t()), steps_per_epoch=1, verbose=0)


def t() -> Any:
    return normal(N, 1)


def fit(model: Any, x: Any, y: Any = None, **given: Any) -> None:
    model.fit(x, y, batch_size=4, epochs=1, verbose=0, **given)


def nothing(y_true: Any, y_pred: Any) -> Any:
    return None


def stopped(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - ops.stop_gradient(y_pred)), axis=-1)


def branching(y_true: Any, y_pred: Any) -> Any:
    if ops.mean(y_pred) > 0:
        return ops.mean(ops.square(y_true - y_pred), axis=-1)
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def by_key(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true["box"] - y_pred["box"]), axis=-1)


def unpacking(y_true: Any, y_pred: Any) -> Any:
    box, cls = y_pred
    return ops.mean(ops.square(y_true[0] - box), axis=-1) + ops.mean(ops.square(y_true[1] - cls), axis=-1)


def first_axis(y_true: Any, y_pred: Any) -> Any:
    return ops.square(ops.reshape(y_true, (-1,)) - y_pred[:, 0])


class Unpacking(keras.losses.Loss):
    """A loss written for all outputs at once."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return unpacking(y_true, y_pred)


class NotRegistered(keras.losses.Loss):
    """A loss that Keras cannot find on load."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


class DenseLike(layers.Layer):
    """A layer that Keras cannot find on load."""

    def call(self, inputs: Any) -> Any:
        return inputs


@keras.saving.register_keras_serializable()
class Forgetful(layers.Layer):
    """A layer whose configuration lacks its own argument."""

    def __init__(self, units: int, **other: Any) -> None:
        super().__init__(**other)
        self.units = units

    def get_config(self) -> Any:
        return super().get_config()

    def call(self, inputs: Any) -> Any:
        return inputs


def reload(model: Any) -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "m.keras")
        keras.saving.load_model(Path(folder) / "m.keras")


def model_of(layer: Any) -> Any:
    i = keras.Input((4,))
    model = keras.Model(i, layer(i))
    model.compile(loss="mse")
    return model


@dataclass(frozen=True)
class Case:
    """`rule` is among those that the explanation must name; `backends` those on which Keras raises ("" for both)."""

    rule: str
    provoke: Callable[[], Any]
    backends: str = ""


CASES: dict[str, Case] = {
    # containers
    "direct loss, tuple for list": Case("LD101", lambda: keras.losses.MeanSquaredError()((t(), t()), [t(), t()])),
    "direct loss, list for dict": Case(
        "LD101", lambda: keras.losses.MeanSquaredError()([t(), t()], {"a": t(), "b": t()})
    ),
    "direct loss, dict for array": Case("LD102", lambda: keras.losses.MeanSquaredError()({"a": t()}, t())),
    "direct loss, other keys": Case(
        "LD201", lambda: keras.losses.MeanSquaredError()({"a": t(), "q": t()}, {"a": t(), "b": t()})
    ),
    "direct loss, lengths": Case("LD103", lambda: keras.losses.MeanSquaredError()([t()] * 3, [t()] * 2)),
    "dict target for one output": Case("LD102", lambda: fit(single(), x(), {"o": t()})),
    "two targets for one output": Case("LD103", lambda: fit(single(), x(), [t(), t()])),
    "three targets for two": Case("LD103", lambda: fit(listed(), x(), [t()] * 3)),
    "three targets, losses in a list": Case("LD103", lambda: fit(listed(loss=["mse", "mae"]), x(), [t()] * 3)),
    "three targets, losses in a dict": Case(
        "LD103", lambda: fit(named(loss={"box": "mse", "cls": "mae"}), x(), [t()] * 3)
    ),
    "one target for two": Case("LD104", lambda: fit(listed(loss=["mse", "mae"]), x(), t())),
    "one target for two, one loss": Case("LD104", lambda: fit(listed(), x(), t())),
    "one target for two by name": Case("LD104", lambda: fit(named(loss={"box": "mse", "cls": "mae"}), x(), t())),
    "nested targets": Case("LD102", lambda: fit(listed(), x(), [[t()], t()])),
    "list for nested losses": Case("LD102", lambda: fit(listed(loss=["mse", "mae"]), x(), [[t()], t()])),
    # keys
    "misnamed target": Case("LD201", lambda: fit(named(), x(), {"box": t(), "clss": t()})),
    "misnamed target, named losses": Case(
        "LD201", lambda: fit(named(loss={"box": "mse", "cls": "mse"}), x(), {"box": t(), "clss": t()})
    ),
    "missing target": Case("LD202", lambda: fit(named(), x(), {"box": t()})),
    "missing target, named losses": Case(
        "LD202", lambda: fit(named(loss={"box": "mse", "cls": "mse"}), x(), {"box": t()})
    ),
    "named targets, listed outputs": Case("LD201", lambda: fit(listed(), x(), {"box": t(), "clss": t()})),
    # the loss argument
    "loss key unknown": Case(
        "LD501", lambda: fit(named(loss={"box": "mse", "klass": "mse"}), x(), {"box": t(), "cls": t()})
    ),
    "loss key unknown, listed outputs": Case(
        "LD501", lambda: fit(listed(loss={"box": "mse", "klass": "mse"}), x(), [t(), t()])
    ),
    "loss key dotted": Case(
        "LD501", lambda: fit(named(loss={"head.box": "mse", "head.cls": "mse"}), x(), {"box": t(), "cls": t()})
    ),
    "loss dict for one output": Case("LD501", lambda: fit(single(loss={"other": "mse"}), x(), t())),
    "loss list too long": Case("LD503", lambda: fit(listed(loss=["mse"] * 3), x(), [t(), t()])),
    "loss list for one output": Case("LD503", lambda: fit(single(loss=["mse", "mae"]), x(), t())),
    "no loss": Case("LD505", lambda: fit(single(loss=None), x(), t())),
    "not compiled": Case("LD505", lambda: fit(_uncompiled(), x(), t())),
    "unknown loss name": Case("LD952", lambda: fit(single(loss="mean_squared"), x(), t())),
    "loss that is no function": Case("LD952", lambda: fit(single(loss=3), x(), t())),
    "weights, too many": Case(
        "LD512", lambda: fit(listed(loss=["mse", "mae"], loss_weights=[1.0] * 3), x(), [t()] * 2)
    ),
    "weights for one loss": Case("LD512", lambda: fit(listed(loss_weights=[1.0, 2.0, 3.0]), x(), [t()] * 2)),
    "a dict of weights for one loss": Case(
        "LD512", lambda: fit(named(loss_weights={"box": 1.0}), x(), {"box": t(), "cls": t()})
    ),
    "a number as weight for two": Case(
        "LD512", lambda: fit(listed(loss=["mse", "mae"], loss_weights=2.0), x(), [t()] * 2)
    ),
    "text as weight": Case("LD512", lambda: fit(single(loss_weights="2"), x(), t())),
    "weights under other names": Case(
        "LD511",
        lambda: fit(
            named(loss={"box": "mse", "cls": "mse"}, loss_weights={"q": 1.0, "r": 1.0}), x(), {"box": t(), "cls": t()}
        ),
    ),
    # metrics
    "metrics, too many": Case("LD521", lambda: fit(listed(metrics=["mae", "mse", "mape"]), x(), [t()] * 2)),
    "metrics in a list for a dict": Case("LD521", lambda: fit(named(metrics=["mae"]), x(), {"box": t(), "cls": t()})),
    "metric key unknown": Case("LD522", lambda: fit(named(metrics={"boks": "mae"}), x(), {"box": t(), "cls": t()})),
    "metric key unknown, listed outputs": Case("LD522", lambda: fit(listed(metrics={"boks": "mae"}), x(), [t()] * 2)),
    "metric name unknown": Case("LD523", lambda: fit(single(metrics=["accurracy"]), x(), t())),
    "metric of another rank": Case(
        "LD523", lambda: fit(single(metrics=[keras.metrics.F1Score()], loss=first_axis), x(), normal(N))
    ),
    "metric with other labels": Case(
        "LD523", lambda: fit(single(3, metrics=[keras.metrics.AUC(multi_label=True, num_labels=2)]), x(), normal(N, 3))
    ),
    "metrics of another kind": Case("LD521", lambda: fit(listed(metrics=3), x(), [t()] * 2)),
    # shapes and numbers
    "four classes for three": Case(
        "LD303",
        lambda: fit(single(3, "softmax", loss="categorical_crossentropy"), x(), np.eye(4)[np.arange(N) % 4]),
    ),
    "binary, other shapes": Case(
        "LD303", lambda: fit(single(3, "sigmoid", loss="binary_crossentropy"), x(), np.ones((N, 2)))
    ),
    "one-hot for sparse": Case(
        "LD305",
        lambda: fit(single(3, "softmax", loss="sparse_categorical_crossentropy"), x(), np.eye(3)[np.arange(N) % 3]),
    ),
    "class numbers for one-hot": Case(
        "LD305", lambda: fit(single(3, "softmax", loss="categorical_crossentropy"), x(), np.arange(N) % 3)
    ),
    "class numbers for one-hot, a column": Case(
        "LD305", lambda: fit(single(3, "softmax", loss="categorical_crossentropy"), x(), (np.arange(N) % 3)[:, None])
    ),
    "mse, other shapes": Case("LD303", lambda: fit(single(3), x(), normal(N, 5))),
    "mse in a Loss subclass, other shapes": Case(
        "LD303", lambda: fit(single(3, loss=NotRegistered()), x(), normal(N, 5))
    ),
    "higher rank": Case("LD301", lambda: fit(single(3), x(), normal(N, 5, 3))),
    "fewer targets than x": Case("LD304", lambda: fit(single(), x(), normal(N - 2, 1))),
    "fewer targets in a list": Case("LD304", lambda: fit(listed(), x(), [t(), normal(N - 2, 1)])),
    "label too large": Case(
        "LD702",
        lambda: fit(single(3, "softmax", loss="sparse_categorical_crossentropy"), x(), np.full(N, 7)),
        "tensorflow",
    ),
    "text targets": Case("LD307", lambda: fit(single(), x(), np.array(["a"] * N))),
    "object targets": Case("LD307", lambda: fit(single(), x(), np.array([object()] * N))),
    "lists as targets": Case("LD307", lambda: fit(single(), x(), [[1.0]] * N)),
    "complex targets": Case("LD307", lambda: fit(single(), x(), normal(N, 1) + 1j)),
    "mse, other shapes, eager": Case("LD303", lambda: fit(single(3, run_eagerly=True), x(), normal(N, 5))),
    "label too large, eager": Case(
        "LD702",
        lambda: fit(single(3, "softmax", loss="sparse_categorical_crossentropy", run_eagerly=True), x(), np.full(N, 7)),
        "tensorflow",
    ),
    "binary targets up to 255": Case(
        "LD703",
        lambda: fit(single(1, "sigmoid", loss="binary_crossentropy"), x(), 255 * np.ones((N, 1))),
        "torch",
    ),
    "sparse labels for steps": Case(
        "LD301", lambda: fit(steps(3, "softmax", "sparse_categorical_crossentropy"), normal(N, 6, 4), np.zeros(N, int))
    ),
    "sparse labels for other steps": Case(
        "LD303",
        lambda: fit(steps(3, "softmax", "sparse_categorical_crossentropy"), normal(N, 6, 4), np.zeros((N, 5), int)),
    ),
    "masked output, flat targets": Case("LD301", lambda: fit(masked(), np.ones((N, 6)), normal(N, 6))),
    "no targets": Case("LD103", lambda: fit(single(), x())),
    "no targets, named": Case("LD103", lambda: fit(named(loss={"box": "mse", "cls": "mse"}), x())),
    "None as a target": Case(
        "LD105", lambda: fit(named(loss={"box": "mse", "cls": "mse"}), x(), {"box": t(), "cls": None})
    ),
    # reduction, custom losses
    "reduction none": Case(
        "LD401", lambda: fit(single(loss=keras.losses.MeanSquaredError(reduction=None)), x(), t()), "jax"
    ),
    "reduction unknown": Case("LD401", lambda: keras.losses.MeanSquaredError(reduction="average")),
    "custom loss returns None": Case("LD804", lambda: fit(single(loss=nothing), x(), t())),
    "custom loss without gradient": Case("LD802", lambda: fit(single(loss=stopped), x(), t()), "tensorflow"),
    "custom loss with a Python if": Case("LD804", lambda: fit(single(loss=branching), x(), t())),
    "custom loss indexes by key": Case("LD801", lambda: fit(named(loss=by_key), x(), {"box": t(), "cls": t()})),
    "custom loss unpacks the outputs": Case("LD801", lambda: fit(listed(loss=unpacking), x(), [t(), t()])),
    "Loss subclass unpacks the outputs": Case("LD801", lambda: fit(listed(loss=Unpacking()), x(), [t(), t()])),
    "custom loss of another signature": Case("LD804", lambda: fit(single(loss=lambda y_pred: y_pred), x(), t())),
    # sample weights
    "weights in a list for a dict": Case(
        "LD531",
        lambda: fit(
            named(loss={"box": "mse", "cls": "mse"}),
            x(),
            {"box": t(), "cls": t()},
            sample_weight=[np.ones(N), np.ones(N)],
        ),
    ),
    "weights, too many arrays": Case(
        "LD531", lambda: fit(listed(loss=["mse", "mae"]), x(), [t()] * 2, sample_weight=[np.ones(N)] * 3)
    ),
    "weights of another length": Case("LD304", lambda: fit(single(), x(), t(), sample_weight=np.ones(N - 2))),
    "weights of another shape": Case("LD532", lambda: fit(single(3), x(), normal(N, 3), sample_weight=np.ones((N, 5)))),
    "class weights for two outputs": Case(
        "LD531", lambda: fit(listed(), x(), [t()] * 2, class_weight={0: 1.0, 1: 2.0})
    ),
    # inputs
    "one input missing": Case("LD902", lambda: fit(two_inputs(), [x()], t())),
    "one input missing, dict": Case("LD902", lambda: fit(two_named_inputs(), {"photo": x()}, t())),
    "input misnamed": Case("LD902", lambda: fit(two_named_inputs(), {"photo": x(), "sise": normal(N, 2)}, t())),
    "input of other size": Case("LD902", lambda: fit(single(), normal(N, 5), t())),
    "input of other rank": Case("LD902", lambda: fit(single(), normal(N, 4, 2), t())),
    "input called of other size": Case("LD902", lambda: single()(normal(N, 5))),
    "layer of other size": Case("LD902", lambda: _built_dense()(normal(N, 5))),
    "layer of other rank": Case("LD902", lambda: layers.Conv2D(2, 3)(normal(N, 5, 5))),
    "layer rank at least": Case("LD902", lambda: layers.Dense(2)(normal(N))),
    "two arrays for one input": Case("LD902", lambda: single()([x(), x()])),
    "text as x": Case("LD902", lambda: fit(single(), np.array([["a"] * 4] * N), t())),
    "concatenate, other shapes": Case("LD902", lambda: layers.Concatenate()([normal(N, 2, 3), normal(N, 4, 3)])),
    # keys alone
    "a weight for one of two": Case(
        "LD512",
        lambda: fit(listed(loss={"box": "mse", "cls": "mse"}, loss_weights={"box": 0.5}), x(), [t(), t()]),
    ),
    "names for a pair in a list": Case(
        "LD203",
        lambda: fit(
            paired(),
            x(),
            {"pair": {"box": t(), "cls": t()}},
            sample_weight={"pair": {"box": np.ones(N), "cls": np.ones(N)}},
        ),
    ),
    # environment
    "unregistered loss": Case("LD952", lambda: reload(single(loss=NotRegistered()))),
    "unregistered layer": Case("LD952", lambda: reload(model_of(DenseLike()))),
    "layer with another get_config": Case("LD952", lambda: reload(model_of(Forgetful(2)))),
    "lambda layer": Case("LD953", lambda: reload(model_of(layers.Lambda(lambda v: v * 2)))),
    "weights of other heads": Case("LD107", lambda: reload(moved())),
    "four things a batch": Case("", lambda: four(single())),
    "targets beside a generator": Case("", lambda: single().fit(forever(x(), t()), t(), steps_per_epoch=1, verbose=0)),
    "duplicate layer names": Case("LD205", lambda: _twins()),
}


def _uncompiled() -> Any:
    i = keras.Input((4,))
    return keras.Model(i, layers.Dense(1)(i))


def _built_dense() -> Any:
    layer = layers.Dense(1)
    layer.build((None, 4))
    return layer


def _twins() -> Any:
    i = keras.Input((4,))
    return keras.Model(i, [layers.Dense(1, name="a")(i), layers.Dense(1, name="a")(i)])


def message(case: Case) -> str | None:
    """ "ValueError: ..." as Keras raises it, or None where it does not."""
    keras.utils.set_random_seed(1)
    try:
        case.provoke()
    except Exception as error:  # whatever Keras raises is what is collected
        return f"{type(error).__name__}: {error}"
    return None
