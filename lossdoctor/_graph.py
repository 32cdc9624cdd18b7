"""The end of a model's graph: the last layers of every output, and the activation that it leaves through.

Read from the graph and the layers' configurations (`_keras_history` of a KerasTensor), never from names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import keras

from lossdoctor import trees
from lossdoctor._keras import graph, unbuilt_copy, weightless
from lossdoctor.types import Spec, Tail, Tree

# Layers whose output a loss may look behind, or that only move entries: they hold no weights, so a
# stand-in can apply the very same layer to its variables.
_PASS_THROUGH = (
    "Activation",
    "Softmax",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Reshape",
    "Flatten",
    "Permute",
    "Identity",
    "Sigmoid",
    "LogSoftmax",
    "Squeeze",
    "ExpandDims",
    "Transpose",
)
# Operations without a gradient: behind them no loss trains anything. A `Cast` may follow one.
_GRADIENTLESS = ("Round", "Floor", "Ceil", "Sign", "Argmax", "Argmin", "StopGradient")
# Layers that keep the range of what goes in: an activation in front of them is still the output's.
_KEEPS_RANGE = (
    "Reshape",
    "Flatten",
    "Permute",
    "Identity",
    "Squeeze",
    "ExpandDims",
    "Transpose",
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "UpSampling1D",
    "UpSampling2D",
    "RepeatVector",
    "ActivityRegularization",
    "Cast",
)
# Layers with weights whose `activation` is the last thing that they compute.
_AFFINE = (keras.layers.Dense, keras.layers.EinsumDense)
# Activation layers and operations, by the name of the function that they apply.
_NAMED = {
    "Softmax": "softmax",
    "ReLU": "relu",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "LogSoftmax": "log_softmax",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Exp": "exponential",
}


@dataclass(frozen=True)
class Ends:
    """Where a model's outputs come from, one entry an output leaf (Keras's flat order): see `ModelSpec`."""

    tails: tuple[Tail | None, ...]
    activations: tuple[str | None, ...]
    activation_layers: tuple[str | None, ...]


def ends(model: Any, x: Tree, outputs: Tree) -> Ends:
    """The last layers in front of every output, as far as the graph shows them.

    A functional model has a graph; a subclassed one is called once on symbolic inputs, which works where its `call` uses layers
    and `keras.ops` alone: a copy of it, or, where its class cannot be made from its config, the model itself, which forgets the call.
    """
    functional, count = graph(model), len(trees.values(outputs))
    with contextlib.nullcontext() if functional is not None else _forgotten(model):
        found = trees.values(functional.output) if functional is not None else _traced(model, x)
        tensors = tuple(found) if len(found) == count else (None,) * count
        return Ends(_tails(tensors, outputs), tuple(_name(t) for t in tensors), _activation_layers(model, tensors))


def _traced(model: Any, x: Tree) -> list[Any]:
    try:
        try:
            called = unbuilt_copy(model)
        except Exception:  # its `__init__` takes what its config does not hold
            called = model
        with weightless():
            inputs = trees.map_leaves(
                lambda s: None if s is None else keras.Input(batch_shape=s.shape, dtype=s.dtype), x
            )
            return trees.values(called.call(inputs))
    except Exception:  # plain backend code in `call`: nothing is known
        return []


@contextlib.contextmanager
def _forgotten(model: Any) -> Iterator[None]:
    """A scope after which the model's layers have the nodes of before: a symbolic call adds one to each (`ops/node.py`)."""
    nodes = [n for layer in model._flatten_layers() for n in (layer._inbound_nodes, layer._outbound_nodes)]
    counts = [len(n) for n in nodes]
    try:
        yield
    finally:
        for found, count in zip(nodes, counts, strict=True):
            del found[count:]


def _name(tensor: Any) -> str | None:
    """The name of the activation that an output leaves through; "linear" where a Dense or Conv layer has none.

    None where the graph does not show it (a merge, a normalization, a custom layer ...).
    """
    for operation, _ in _backwards(tensor):
        kind = type(operation).__name__
        activation = _activation(operation)
        if activation is not None:
            return function_name(activation)
        if _is_linear(operation):
            return "linear"
        if kind == "Activation":
            if operation.activation is not keras.activations.linear:
                return function_name(operation.activation)
        elif kind in _NAMED:
            return _NAMED[kind]
        elif kind not in _KEEPS_RANGE:
            return None
    return None


def _activation_layers(model: Any, tensors: tuple[Any, ...]) -> tuple[str | None, ...]:
    """Code of the model's own layer whose attribute `activation` each output leaves through, None where there is none.

    ``get_layer('scores')``, or ``layers[-1]`` where Keras made up the name: those are numbered anew in every process.
    """
    layers = model.layers if graph(model) is not None else []
    own = {id(layer): _layer_code(layer, i - len(layers)) for i, layer in enumerate(layers)}
    return tuple(_activation_layer(tensor, own) for tensor in tensors)


def _layer_code(layer: Any, place: int) -> str:
    made_up = keras.src.utils.naming.to_snake_case(type(layer).__name__)
    numbered = layer.name == made_up or layer.name.rpartition("_")[0] == made_up
    return f"layers[{place}]" if numbered else f"get_layer({layer.name!r})"


def _activation_layer(tensor: Any, own: dict[int, str]) -> str | None:
    for operation, _ in _backwards(tensor):
        if (
            isinstance(operation, keras.layers.Activation)
            or _activation(operation) is not None
            or _is_linear(operation)
        ):
            return own.get(id(operation)) if hasattr(operation, "activation") else None
        if type(operation).__name__ not in _KEEPS_RANGE:
            return None
    return None


def function_name(activation: Any) -> str:
    """The name by which an activation function is known."""
    name = str(getattr(activation, "__name__", None) or type(activation).__name__).lower()
    return "a lambda" if name == "<lambda>" else name


def _backwards(tensor: Any) -> Any:
    """(operation, node index) from an output back along single inputs; nested models are entered."""
    for _ in range(32):  # far longer than any real chain of activations and reshapes
        history: Any = getattr(tensor, "_keras_history", None)
        if history is None:
            return
        nested = graph(history.operation) if isinstance(history.operation, keras.Model) else None
        if nested is not None:
            tensor = trees.values(nested.output)[history.tensor_index]
            continue
        yield history.operation, history.node_index
        tensor = _only_input(history.operation, history.node_index)


def _is_own(layer: Any) -> bool:
    """True where a layer computes what Keras's class of it does: a custom `call` may apply its activation anywhere."""
    return str(getattr(type(layer).call, "__module__", "")).startswith("keras.")


def _is_linear(operation: Any) -> bool:
    inner = getattr(operation, "layer", None)
    layer = inner if type(operation).__name__ == "TimeDistributed" else operation
    affine = isinstance(layer, _AFFINE) or (
        type(layer).__name__.startswith(("Conv", "Depthwise", "Separable")) and hasattr(layer, "filters")
    )
    # A constraint may keep the output positive.
    free = getattr(layer, "kernel_constraint", None) is None
    return affine and free and _is_own(layer) and getattr(layer, "activation", None) is keras.activations.linear


def _tails(tensors: tuple[Any, ...], outputs: Tree) -> tuple[Tail | None, ...]:
    """One `Tail` an output leaf (Keras's flat order): the real last layers, in front of which variables can stand."""
    return tuple(
        _tail(tensor, spec) or _bare(tensor, spec) for tensor, spec in zip(tensors, trees.values(outputs), strict=True)
    )


def _bare(tensor: Any, spec: Spec) -> Tail | None:
    """For an output whose activation lies behind layers that a stand-in cannot apply: the activation alone."""
    name = _name(tensor)
    activation: Callable[[Any], Any] | None = getattr(keras.activations, name or "", None)
    if activation is None or name == "linear" or any(d is None for d in spec.shape):
        return None

    def apply(value: Any) -> Any:
        return keras.ops.multiply(activation(value), 1.0)  # a new tensor, as those layers make one

    return Tail(spec, (apply,), (str(name),))


def _tail(tensor: Any, spec: Spec) -> Tail | None:
    operations: list[Any] = []
    names: list[str] = []
    start, blocked = spec, ""
    for _ in range(16):  # far longer than any real chain of activations and reshapes
        history: Any = getattr(tensor, "_keras_history", None)
        if history is None:
            break
        operation = history.operation
        nested = graph(operation) if isinstance(operation, keras.Model) else None
        if nested is not None:
            tensor = trees.values(nested.output)[history.tensor_index]
            continue
        activation = _activation(operation)
        if activation is not None:
            operations.insert(0, activation)
            names.insert(0, getattr(activation, "__name__", type(activation).__name__))
            break
        source = _only_input(operation, history.node_index)
        before = None if source is None else _resolve(tuple(source.shape), str(source.dtype), start)
        blocks = _blocks(operation, source)
        if blocks and source is not None:
            before = before or _filled(tuple(source.shape), str(source.dtype), start)
            blocked = blocked or blocks
        if (type(operation).__name__ not in _PASS_THROUGH and not blocks) or before is None:
            break
        operations.insert(0, operation)
        names.insert(0, str(operation.name))
        tensor, start = source, before
    return Tail(start, tuple(operations), tuple(names), blocked) if operations else None


def _blocks(operation: Any, source: Any) -> str:
    """The name of the operation without a gradient that this is, or that it casts the result of; "" for any other."""
    kind = type(operation).__name__
    if kind == "Cast" and hasattr(source, "_keras_history"):
        kind = type(source._keras_history.operation).__name__
    return keras.src.utils.naming.to_snake_case(kind) if kind in _GRADIENTLESS else ""


def _filled(shape: tuple[int | None, ...], dtype: str, after: Spec) -> Spec | None:
    """`shape` of an operation that takes an axis away, with the number of samples of what comes after."""
    known = (after.shape[0] if shape[0] is None else shape[0], *shape[1:]) if shape and after.shape else ()
    return Spec(known, dtype) if known and None not in known else None


def _activation(operation: Any) -> Any:
    """The final activation of a layer that has weights in front of it (Dense, Conv ...), unless it is linear."""
    inner = getattr(operation, "layer", None)
    layer = inner if type(operation).__name__ == "TimeDistributed" else operation
    if type(layer).__name__ == "Activation" or not isinstance(layer, keras.layers.Layer):
        return None
    activation = getattr(layer, "activation", None)
    # A recurrent layer's activation is not the last thing that it computes.
    if not callable(activation) or isinstance(layer, keras.layers.RNN) or hasattr(layer, "recurrent_activation"):
        return None
    if not _is_own(layer):
        return None
    return None if activation is keras.activations.linear else activation


def _only_input(operation: Any, node_index: int) -> Any:
    nodes = operation._inbound_nodes
    tensors = nodes[node_index].input_tensors if node_index < len(nodes) else []
    return tensors[0] if len(tensors) == 1 else None


def _resolve(shape: tuple[int | None, ...], dtype: str, after: Spec) -> Spec | None:
    """`shape` with its unknown sizes taken from what comes after, or None where they stay unknown."""
    if not shape or not after.shape or any(d is None for d in after.shape):
        return None
    if len(shape) == len(after.shape) and all(d is None or d == e for d, e in zip(shape, after.shape, strict=True)):
        return Spec(after.shape, dtype)
    known = (after.shape[0] if shape[0] is None else shape[0], *shape[1:])
    total = prod(int(d or 0) for d in after.shape)
    unknown = [i for i, d in enumerate(known) if d is None]
    rest = prod(int(d) for d in known if d is not None)
    if len(unknown) == 1 and rest and total % rest == 0:
        known = tuple(total // rest if d is None else d for d in known)
    elif unknown or rest != total:
        return None
    return Spec(known, dtype)
