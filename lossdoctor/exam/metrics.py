"""Which metric meets which output: Keras's own `compute_metrics` with every metric watched."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from lossdoctor import _keras, trees
from lossdoctor.exam import standin, tensors, watching
from lossdoctor.exam.setup import Setup
from lossdoctor.facts import MetricCall
from lossdoctor.types import Tree


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one metric was handed."""

    identifier: Any
    path: str
    y_true: Any
    y_pred: Any
    sample_weight: Any


class _Watched(keras.metrics.Metric):  # type: ignore[misc]
    """Notes what it is handed; the metric itself is computed after the step."""

    def __init__(self, identifier: Any, path: str, seen: list[_Seen]) -> None:
        super().__init__(name=path)
        self._identifier, self._path, self._seen = identifier, path, standin.Opaque(seen)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self._seen.value.append(_Seen(self._identifier, self._path, y_true, y_pred, sample_weight))

    def result(self) -> Any:
        return keras.ops.zeros(())


def metric_calls(setup: Setup) -> tuple[MetricCall, ...]:
    """Every (metric, output) pair of one eager train step; empty where there are no metrics or the step raises."""
    if setup.metrics is None and setup.weighted_metrics is None:
        return ()
    seen: list[_Seen] = []
    watched = replace(
        setup,
        metrics=_watch("metrics", setup.metrics, seen),
        weighted_metrics=_watch("weighted_metrics", setup.weighted_metrics, seen),
    )
    log = watching.Log()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = standin.compiled(watched, watching.watch(setup.loss, log), log, eager=True, fresh=False)
            standin.train(model, watched, "train_on_batch")
        except Exception:  # the run of the real metrics has the error
            return ()
        outputs = {
            path: tensors.to_numpy(v) for path, v in trees.leaves("y_pred", standin.predictions(setup)) if v is not None
        }
        targets = {path: v for path, v in trees.leaves("y", setup.y) if isinstance(v, np.ndarray)}
        known = _Known(outputs), _Known(targets)
        # JAX also builds the metrics symbolically.
        return tuple(_call(found, *known) for found in seen if tensors.to_numpy(found.y_pred) is not None)


def _watch(root: str, metrics: Tree, seen: list[_Seen]) -> Tree:
    if metrics is None:
        return None
    flat = [None if leaf is None else _Watched(leaf, path, seen) for path, leaf in trees.leaves(root, metrics)]
    return trees.pack(metrics, flat)


def _call(found: _Seen, outputs: _Known, targets: _Known) -> MetricCall:
    y_true, y_pred = tensors.to_numpy(found.y_true), tensors.to_numpy(found.y_pred)
    metric, value = None, None
    try:
        metric = _keras.resolve_metric(_keras.metric_copy(found.identifier), found.y_true, found.y_pred)
        metric.update_state(y_true, y_pred, found.sample_weight)
        value = tensors.scalar(metric.result())
    except Exception:  # what it raises in `fit` is in the compiled run
        value = None
    function = getattr(metric, "_fn", None)
    named = function if function is not None else type(metric)
    own = metric is not None and str(getattr(named, "__module__", "")).startswith("keras.")
    return MetricCall(
        metric_path=found.path,
        label=str(getattr(metric, "name", None) or found.identifier),
        function=named.__name__ if own else None,
        output=outputs.path(y_pred),
        target=targets.path(y_true),
        output_shape=tuple(np.shape(y_pred)),
        target_shape=tuple(np.shape(y_true)),
        value=value,
        threshold=_threshold(metric) if own else None,
        arguments=_arguments(metric) if own else {},
    )


_TOLD = ("from_logits", "sparse_y_pred", "num_classes")


def _arguments(metric: Any) -> dict[str, Any]:
    """Those of its arguments that say what it takes predictions for."""
    return {key: value for key, value in metric.get_config().items() if key in _TOLD}


def _threshold(metric: Any) -> float | None:
    """0.5 unless the user gave another; None for metrics without one, or with several."""
    if type(metric).__name__ in ("Precision", "Recall"):
        given = getattr(metric, "init_thresholds", None)
        return 0.5 if given is None else float(given) if isinstance(given, int | float) else None
    found = getattr(metric, "_fn_kwargs", {}).get("threshold")
    return float(found) if isinstance(found, int | float) else None


class _Known:
    """Arrays by path, to be found by their values: a metric may be handed tensors that are other objects than the loss was."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self._arrays = [(path, array) for path, array in arrays.items() if array is not None]
        # By the first number, so that thousands of arrays are not compared with each other; the others one by one.
        firsts = [_first(array) for _, array in self._arrays]
        self._ordered = sorted((first, i) for i, first in enumerate(firsts) if first is not None)
        self._others = [i for i, first in enumerate(firsts) if first is None]

    def path(self, array: Any) -> str | None:
        """The path whose values these are, the first where several have them; None where none has."""
        if array is None:
            return None
        first = _first(array)
        places = self._others if first is None else sorted([*self._near(first), *self._others])
        return next((self._arrays[i][0] for i in places if _same(array, self._arrays[i][1])), None)

    def _near(self, first: float) -> list[int]:
        slack = 1e-4 * abs(first) + 1e-6  # wider than what `np.isclose` allows
        low, high = (
            bisect_left(self._ordered, (first - slack, -1)),
            bisect_right(self._ordered, (first + slack, math.inf)),
        )
        return [i for _, i in self._ordered[low:high]]


def _first(array: Any) -> float | None:
    """The first entry of an array of finite numbers, else None."""
    if array.dtype.kind not in "biuf" or not array.size:
        return None
    first = float(array.reshape(-1)[0])
    return first if math.isfinite(first) else None


def _same(array: Any, other: Any) -> bool:
    if array.shape != other.shape:
        return False
    close = array == other if array.dtype.kind in "OUS" else np.isclose(array, other, equal_nan=True)
    return bool(np.all(close))
