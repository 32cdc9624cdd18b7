"""What the outputs can be, and how cross-entropies read them: measured on the model's own last layers."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import keras
import numpy as np

from lossdoctor import _keras, trees
from lossdoctor.exam import standin, tensors
from lossdoctor.exam.setup import SEED, Setup
from lossdoctor.facts import Activation, LossCall, Readings, Run
from lossdoctor.types import Tail

# What is pushed through the last layers: a grid around 0 (for activations that dip), and normals of growing scale.
_GRID = 6.0
_SCALES = (1.0, 10.0, 100.0, 1000.0)
# How many entries a scale has at least and at most; a batch of one unit still meets every bound.
_LEAST_ENTRIES, _MOST_ENTRIES = 512, 500_000


def activations(setup: Setup, names: tuple[str | None, ...], tails: tuple[Tail | None, ...]) -> dict[str, Activation]:
    """{output path: what it can be}. A range is measured where an activation is known and is not linear."""
    found = {}
    for i, (path, spec) in enumerate(trees.leaves("y_pred", setup.outputs)):
        name = names[i] if i < len(names) else None
        tail = tails[i] if i < len(tails) else None
        found[path] = _as_given(path, name, setup.starts[i]) if setup.given and tail is None else Activation(path, name)
        if name not in (None, "linear") and tail is not None and spec.shape:
            found[path] = _measured(path, str(name), tail, i)
    return found


def _as_given(path: str, name: str | None, predictions: np.ndarray) -> Activation:
    """The range of the predictions that the caller gave."""
    if name is not None or not predictions.size or not np.isfinite(predictions).all():
        return Activation(path, name)
    return Activation(path, name, float(predictions.min()), float(predictions.max()), _sums_to_one([predictions]))


def _measured(path: str, name: str, tail: Tail, number: int) -> Activation:
    row = tuple(int(d or 1) for d in tail.start.shape[1:])
    rows = max(2, min(int(tail.start.shape[0] or 2), _MOST_ENTRIES // max(1, int(np.prod(row)))))
    times = max(1, _LEAST_ENTRIES // max(1, rows * int(np.prod(row))))
    random = np.random.default_rng([SEED, number, 1])
    shape = (times * rows, *row)
    grid = np.resize(np.linspace(-_GRID, _GRID, _LEAST_ENTRIES), shape)
    draws = [grid, *(scale * random.normal(size=shape) for scale in _SCALES)]
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for draw in draws:
                seen.append(_pushed(tail, np.concatenate([draw, -draw]), rows))
        except Exception:  # layers that only take the whole batch
            return Activation(path, name)
    flat = [a[~np.isnan(a)] for a in seen]
    lows = [min(_least(a) for a in flat[: k + 1]) for k in range(len(flat))]
    highs = [max(_most(a) for a in flat[: k + 1]) for k in range(len(flat))]
    return Activation(
        path,
        name,
        lows[-1] if _settled([-v for v in lows]) else None,
        highs[-1] if _settled(highs) else None,
        _sums_to_one(seen),
        constant=highs[-1] - lows[-1] < 1e-6,
        measured=True,
    )


def _least(array: np.ndarray) -> float:
    return float(array.min()) if array.size else -np.inf


def _most(array: np.ndarray) -> float:
    return float(array.max()) if array.size else np.inf


def _pushed(tail: Tail, values: np.ndarray, rows: int) -> np.ndarray:
    """All values at once, or `rows` at a time through layers that take a batch of one size."""
    try:
        return _through(tail, values)
    except Exception:
        return np.concatenate([_through(tail, part) for part in np.split(values, len(values) // rows)])


def _through(tail: Tail, values: np.ndarray) -> np.ndarray:
    value: Any = np.asarray(values, dtype=tail.start.dtype)
    for operation in tail.operations:
        value = operation(value)
    return np.asarray(_keras.to_numpy(value), dtype="float64")


def _settled(largest: list[float]) -> bool:
    """True where ten times larger values going in no longer move the bound."""
    return bool(np.isfinite(largest[-1])) and largest[-1] <= largest[-2] + 0.05 * abs(largest[-2]) + 1e-6


def _sums_to_one(seen: list[np.ndarray]) -> int | None:
    """The axis along which the entries of every array add up to 1."""
    if any(np.isnan(a).any() or a.min(initial=0) < -1e-6 for a in seen):
        return None
    for axis in reversed(range(seen[0].ndim)):
        if all(np.allclose(a.sum(axis=axis), 1, atol=1e-3) for a in seen):
            return axis
    return None


def readings(setup: Setup, run: Run) -> dict[int, Readings]:
    """{call number: the values} of every cross-entropy of Keras's own on one output leaf."""
    found: dict[int, Readings] = {}
    calls = [c for c in run.calls if c.builtin and c.value_shape is not None and len(c.outputs) == 1 and not c.subtree]
    if not calls:
        return found
    losses = dict(trees.leaves("loss", setup.loss))
    targets = dict(trees.leaves("y", setup.y))
    places = {path: i for i, path in enumerate(trees.paths("y_pred", setup.outputs))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted: dict[str, Any] = {}
        for call in calls:
            target = targets.get(str(call.targets[0]))
            inner = None if target is None else _keras.resolve_loss(losses.get(call.loss_path), target, target)
            if inner is None or not (has_logits(inner) or _keras.is_ctc(inner) or call.label in _OVERLAPS):
                continue
            predicted = predicted or dict(trees.leaves("y_pred", standin.predictions(setup)))
            try:
                path = str(call.outputs[0])
                reading = _reading(setup, call, inner, target, predicted[path], places[path])
            except Exception:  # shapes that only the train step puts right
                continue
            if reading is not None:
                found[call.number] = reading
    return found


def has_logits(loss: Any) -> bool:
    """True for a loss whose function takes `from_logits`."""
    function = getattr(loss, "fn", None)
    return function is not None and "from_logits" in inspect.signature(function).parameters


# Losses of masks, which take probabilities and have no `from_logits`.
_OVERLAPS = ("dice", "tversky")


def _reading(setup: Setup, call: LossCall, inner: Any, target: Any, tensor: Any, place: int) -> Readings | None:
    if _keras.is_ctc(inner):
        return _ctc_reading(call, inner, target, tensor)
    if call.label in _OVERLAPS:
        return _overlap_reading(call, inner, target, tensor)
    mask, start, tail = setup.masks[place], setup.starts[place], setup.tails[place]
    plain = np.asarray(_keras.to_numpy(tensor), dtype="float32")
    asked = bool(_keras.loss_arguments(inner).get("from_logits", False))

    def value(from_logits: bool, predictions: Any) -> float | None:
        given = _keras.to_tensor(predictions)
        if mask is not None:
            _keras.set_mask(given, _keras.to_tensor(mask))
        return tensors.scalar(_keras.with_arguments(inner, from_logits=from_logits)(target, given))

    trained = tensors.scalar(inner(target, tensor))
    probabilities, logits = value(False, plain), value(True, plain)
    if trained is None or probabilities is None or logits is None:
        return None
    behind = None
    if tail is not None and tuple(start.shape) == plain.shape:
        behind = value(True, start)
    return Readings(call.number, asked, trained, probabilities, logits, behind)


def _ctc_reading(call: LossCall, inner: Any, target: Any, tensor: Any) -> Readings | None:
    """CTC takes logits and has no `from_logits`: logarithms of probabilities are the logits of those probabilities."""
    plain = np.asarray(_keras.to_numpy(tensor), dtype="float32")
    trained = tensors.scalar(inner(target, tensor))
    if trained is None or not np.all((plain >= 0) & (plain <= 1)):
        return None
    probabilities = tensors.scalar(inner(target, _keras.to_tensor(np.log(plain + np.float32(1e-30)))))
    return None if probabilities is None else Readings(call.number, True, trained, probabilities, trained)


def _overlap_reading(call: LossCall, inner: Any, target: Any, tensor: Any) -> Readings | None:
    """An overlap with a mask of zeros and ones, on the outputs as they are and through the activation that it wants."""
    plain, given = np.asarray(_keras.to_numpy(tensor), dtype="float32"), np.asarray(target, dtype="float32")
    given = given[..., None] if (*given.shape, 1) == plain.shape else given  # which Keras squeezes
    if given.shape != plain.shape or not np.isin(given, (0, 1)).all():
        return None
    one_hot = given.shape[-1] > 1 and bool((given.sum(axis=-1) == 1).all())
    squash = keras.ops.softmax if one_hot else keras.ops.sigmoid
    trained, squashed, best, more = (
        tensors.scalar(inner(target, value))
        for value in (
            tensor,
            squash(_keras.to_tensor(plain)),
            _keras.to_tensor(given),
            _keras.to_tensor(10 * given),
        )
    )
    if trained is None or squashed is None or best is None or more is None:
        return None
    return Readings(call.number, False, trained, trained, squashed, mask=(best, more))


def reduced(loss: Any) -> Any:
    """The same loss averaged over the batch, where it has a `reduction`."""
    if getattr(loss, "reduction", "sum_over_batch_size") in ("sum_over_batch_size", "mean"):
        return loss
    made = _keras.copied(loss)
    made.reduction = "sum_over_batch_size"
    return made
