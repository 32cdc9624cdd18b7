"""The real model of a case, and what the real `fit` does with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from lossdoctor._tracing import make_cheap
from tests.fuzz import numbers
from tests.fuzz.spec import WHOLE, Case, Loss, Metric, Output, Target, Tree, Weights, is_leaf, leaves, mapped, packed

BACKEND = keras.backend.backend()


def cubed(y_true: Any, y_pred: Any) -> Any:
    """A user's function: the mean third power of the error, one value a sample."""
    return ops.mean(ops.power(ops.abs(y_true - y_pred), 3), axis=-1)


def cubed_mean(y_true: Any, y_pred: Any) -> Any:
    """The same as one number for the whole batch."""
    return ops.mean(ops.power(ops.abs(y_true - y_pred), 3))


class Cubed(keras.losses.Loss):
    """The same as a class, whose arguments Keras does not squeeze."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.power(ops.abs(ops.cast(y_true, y_pred.dtype) - y_pred), 3), axis=-1)


def whole(y_true: Any, y_pred: Any) -> Any:
    """A user's function of a subtree: the mean squared errors of its outputs, added up, one value a sample."""
    if isinstance(y_pred, dict):
        return sum(whole(y_true[key], y_pred[key]) for key in y_pred)
    if isinstance(y_pred, list | tuple):
        return sum(whole(t, p) for t, p in zip(y_true, y_pred, strict=True))
    errors = ops.square(ops.cast(y_true, y_pred.dtype) - y_pred)
    return ops.mean(ops.reshape(errors, (ops.shape(errors)[0], -1)), axis=-1)


class Whole(keras.losses.Loss):
    """The same as a class."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return whole(y_true, y_pred)


_CLASSES = {
    "mse": "MeanSquaredError",
    "mae": "MeanAbsoluteError",
    "huber": "Huber",
    "log_cosh": "LogCosh",
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
}
_FUNCTIONS = {"mse": "mean_squared_error", "mae": "mean_absolute_error"}


def loss(given: Loss) -> Any:
    """The loss as `compile` takes it."""
    if given.kind == WHOLE:
        return Whole(reduction=given.reduction) if given.form == "object" else whole
    if given.kind == "cubed":
        if given.form == "object":
            return Cubed(reduction=given.reduction)
        return cubed_mean if given.form == "scalar" else cubed
    if given.form == "object":
        return getattr(keras.losses, _CLASSES[given.kind])(reduction=given.reduction)
    if given.form == "function":
        return getattr(keras.losses, _FUNCTIONS.get(given.kind, given.kind))
    return given.kind


@dataclass(eq=False)
class Made:
    """A case as Keras takes it. `kernels` are the variables in front of the outputs, by the outputs' names."""

    model: Any
    x: Any
    y: Any
    sample_weight: Any
    kernels: dict[str, Any] = field(default_factory=dict)

    @property
    def batch(self) -> tuple[Any, ...]:
        """(x, y) or (x, y, sample_weight)."""
        return (self.x, self.y) if self.sample_weight is None else (self.x, self.y, self.sample_weight)


def make(case: Case) -> Made:
    """The model with its kernels set, compiled, and the batch. Raises what Keras raises."""
    flat = leaves(case.outputs)
    heads = [_head(i, output, case.regularized) for i, output in enumerate(flat)]
    model: Any
    if case.made == "subclassed":
        model = Subclassed(case.outputs, heads)
        model(np.zeros((case.n, numbers.FEATURES), dtype="float32"))
    else:
        inputs, joined = _inputs(case.inputs)
        model = keras.Model(inputs, packed(case.outputs, [_through(head, joined) for head in heads]))
    kernels = {}
    for output, head in zip(flat, heads, strict=True):
        head[0].kernel.assign(numbers.kernel(output))
        kernels[output.name] = head[0].kernel
    arrays: dict[Target, np.ndarray] = {}

    def array(given: Target) -> np.ndarray:
        return arrays.setdefault(given, numbers.target(given))  # one target given twice is one array

    model.compile(
        optimizer=keras.optimizers.SGD(1.0),
        loss=mapped(loss, case.loss),
        loss_weights=mapped(lambda w: w, case.loss_weights),
        metrics=mapped(metric, case.metrics),
    )
    y, weights = mapped(array, case.y), mapped(numbers.weights, case.sample_weight)
    x = mapped(lambda given: numbers.fed(given, case.n), case.x) if case.inputs else numbers.features(case)
    return Made(model, x, y, weights, kernels)


class Subclassed(keras.Model):
    """Heads on x, in the containers of `outputs`: a model whose outputs have no names but the keys of their dicts."""

    def __init__(self, outputs: Tree, heads: list[list[Any]]) -> None:
        super().__init__()
        self.heads = [keras.Sequential(head) for head in heads]
        self.packed = lambda tensors: packed(outputs, tensors)

    def call(self, x: Any) -> Any:
        return self.packed([head(x) for head in self.heads])


def _inputs(names: Tree) -> tuple[Any, Any]:
    """The model's inputs, and what its heads read: the inputs' sum, the one at place i (as written) times i + 1."""
    if names is None:
        single = keras.Input((numbers.FEATURES,))
        return single, single
    made = mapped(lambda name: keras.Input((numbers.FEATURES,), name=name), names)
    parts = [layers.Rescaling(float(i + 1))(tensor) for i, tensor in enumerate(leaves(made))]
    return made, layers.Add()(parts)


def _through(head: list[Any], tensor: Any) -> Any:
    for layer in head:
        tensor = layer(tensor)
    return tensor


def _head(i: int, output: Output, regularized: bool) -> list[Any]:
    """The layers of an output: its kernel, its shape, its activation; the last has the output's name."""
    regularizer = keras.regularizers.L2(numbers.REGULARIZER) if regularized else None
    size = int(np.prod(output.shape))
    made: list[Any] = [layers.Dense(size, use_bias=False, name=f"kernel_{i}", kernel_regularizer=regularizer)]
    rest: list[tuple[Any, ...]] = []
    if output.activation == "linear" or len(output.shape) != 1:
        rest.append((layers.Reshape, output.shape))
    if output.masked:
        rest.append((layers.Masking,))
    if output.activation != "linear":
        rest.append((layers.Activation, output.activation))
    for cls, *arguments in rest[:-1]:
        made.append(cls(*arguments))
    cls, *arguments = rest[-1]
    return [*made, cls(*arguments, name=output.name)]


_METRICS = {"mae": "MeanAbsoluteError", "mse": "MeanSquaredError", "accuracy": "Accuracy"}


def metric(given: Metric) -> Any:
    """The metric as `compile` takes it."""
    return given.kind if given.form == "string" else getattr(keras.metrics, _METRICS[given.kind])()


@dataclass(frozen=True, eq=False)
class Ran:
    """What `fit` did: the error it raised, or its loss and the gradient at every kernel."""

    error: str | None
    value: float = float("nan")
    gradients: dict[str, np.ndarray] = field(default_factory=dict)


def fit(case: Case, made: Made, whole: bool) -> Ran:
    """One step of the real `fit`. `whole`: as Keras leaves it; else traced once (TensorFlow), traced and run without XLA (JAX)."""
    before = {name: np.array(kernel) for name, kernel in made.kernels.items()}
    weights = {} if made.sample_weight is None else {"sample_weight": made.sample_weight}
    if not whole:
        make_cheap(made.model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            history = made.model.fit(made.x, made.y, batch_size=case.n, epochs=1, shuffle=False, verbose=0, **weights)
        except Exception as error:
            return Ran(f"{type(error).__name__}: {error}")
    gradients = {name: before[name] - np.array(kernel) for name, kernel in made.kernels.items()}
    return Ran(None, float(history.history["loss"][0]), gradients)


__all__ = ["BACKEND", "Made", "Ran", "Weights", "fit", "is_leaf", "make"]
