"""Losses that are watched while Keras calls them: what each was handed, what it returned, and where a step that raised was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from lossdoctor import _keras, trees
from lossdoctor.exam import tensors
from lossdoctor.exam.setup import Setup
from lossdoctor.facts import LossCall
from lossdoctor.types import Tree


@dataclass(eq=False)
class _Call:
    """What one watched call saw; filled in while it runs."""

    watched: Watched
    inner: Any
    y_true: Tree
    y_pred: Tree
    sample_weight: Any
    value: Any = None


@dataclass(eq=False)
class Log:
    """The recorder shared by a stand-in and its watched losses: only the last train step's calls stay."""

    calls: list[_Call] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)
    entered: bool = False
    returned: bool = False

    def enter(self, y: Tree, y_pred: Tree) -> None:
        self.calls, self.entered, self.returned = [], True, False
        pairs = [*trees.leaves("y_pred", y_pred), *trees.leaves("y", y)]
        self.kept = [leaf for _, leaf in pairs]  # ids are unique only while the objects live
        self.paths = {id(leaf): path for path, leaf in pairs if leaf is not None}


class Watched(keras.losses.Loss):
    """A loss that is handed on unchanged to the one Keras would have made of `identifier`, and noted."""

    def __init__(self, identifier: Any, path: str, log: Log, scale: Any = None) -> None:
        name = identifier if isinstance(identifier, str) else getattr(identifier, "name", None)
        name = name or getattr(identifier, "__name__", None) or type(identifier).__name__
        super().__init__(name=str(name))
        self.identifier, self.path, self.log, self.scale = identifier, path, log, scale

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        inner = _keras.resolve_loss(self.identifier, y_true, y_pred)
        call = _Call(self, inner, y_true, y_pred, sample_weight)
        self.log.calls.append(call)
        if self.scale is not None:  # only the weight is asked for, and a loss that raises has one too
            return self.scale(len(self.log.calls) - 1)
        value = inner(y_true, y_pred, sample_weight)
        call.value = _seen(value)
        return value


def _seen(value: Any) -> Any:
    """The value outside of the gradient that traces it: on JAX an eager step's tracer hides a number."""
    traced = _keras.backend_name() == "jax" and hasattr(value, "aval")
    return keras.ops.stop_gradient(value) if traced else value


def watch(loss: Tree, log: Log, scale: Callable[[int], Any] | None = None) -> Tree:
    """The same loss tree with every leaf watched; None leaves stay None."""
    if loss is None:
        return None
    flat = [None if leaf is None else Watched(leaf, path, log, scale) for path, leaf in trees.leaves("loss", loss)]
    return trees.pack(loss, flat)


def facts(log: Log, setup: Setup) -> tuple[LossCall, ...]:
    """The calls of the last train step as facts."""
    shapes = {path: tuple(spec.shape) for path, spec in trees.leaves("y_pred", setup.outputs)}
    shapes |= {path: leaf.shape for path, leaf in trees.leaves("y", setup.y) if isinstance(leaf, np.ndarray)}
    return tuple(_fact(i, call, log, shapes) for i, call in enumerate(log.calls))


def stage_of(log: Log) -> str:
    """Where a step that raised was, as `Run.stage` names it."""
    if not log.entered:
        return "data"
    if log.returned:
        return "gradient"
    return "loss" if log.calls and log.calls[-1].value is None else "dispatch"


def _fact(number: int, call: _Call, log: Log, known: dict[str, tuple[int, ...]]) -> LossCall:
    inner = call.inner
    value = tensors.to_numpy(call.value)
    y_true, y_pred = trees.values(call.y_true), trees.values(call.y_pred)
    outputs = tuple(log.paths.get(id(t)) for t in y_pred)
    targets = tuple(log.paths.get(id(t)) for t in y_true)
    return LossCall(
        number=number,
        loss_path=call.watched.path,
        label=_keras.loss_label(inner),
        reduction=_reduction(inner),
        builtin=is_builtin(inner),
        arguments=_keras.loss_arguments(inner) if is_builtin(inner) else {},
        wrapped=getattr(inner, "fn", None) is not None,
        outputs=outputs,
        targets=targets,
        output_shapes=tuple(known.get(p or "", tensors.shape(t)) for p, t in zip(outputs, y_pred, strict=True)),
        target_shapes=tuple(known.get(p or "", tensors.shape(t)) for p, t in zip(targets, y_true, strict=True)),
        output_dtypes=tuple(tensors.dtype(t) for t in y_pred),
        target_dtypes=tuple(tensors.dtype(t) for t in y_true),
        containers=None if trees.is_leaf(call.y_pred) else (_numbered(call.y_true), _numbered(call.y_pred)),
        sample_weight_shape=None if call.sample_weight is None else tensors.stacked_shape(call.sample_weight),
        weights_container=None if trees.is_leaf(call.sample_weight) else trees.container(call.sample_weight),
        value=tensors.scalar(value),
        value_shape=None if call.value is None else tensors.shape(call.value),
        metric=_metric(call.watched.identifier),
    )


def _metric(identifier: Any) -> tuple[str, bool] | None:
    """The class's name of a metric that stands for a loss, and whether there is a loss of that name."""
    cls = identifier if isinstance(identifier, type) else type(identifier)
    return (cls.__name__, hasattr(keras.losses, cls.__name__)) if issubclass(cls, keras.metrics.Metric) else None


def _numbered(tree: Tree) -> Tree:
    return trees.pack(tree, list(range(len(trees.values(tree)))))


def _reduction(loss: Any) -> str | None:
    reduction = getattr(loss, "reduction", None)
    return None if reduction in (None, "none") else str(reduction)


def is_builtin(loss: Any) -> bool:
    """True for a loss of `keras.losses`, class or function."""
    function = getattr(loss, "fn", None)
    module = getattr(function, "__module__", None) or type(loss).__module__
    return str(module).split(".")[0] == "keras"
