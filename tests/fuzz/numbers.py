"""The arrays of a case, and its losses in NumPy: one value a sample (and position), written from the definitions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fuzz.spec import WHOLE, Case, Feed, Loss, Output, Target, Weights

FEATURES = 4  # at least the largest batch: x is an identity, so that a kernel's rows are what the model predicts


REGULARIZER = 0.05  # times the sum of a kernel's squares


def features(case: Case) -> np.ndarray:
    """x: one unit vector a sample."""
    return np.eye(FEATURES, dtype="float32")[: case.n]


def fed(given: Feed, n: int) -> np.ndarray:
    """The array of one of several inputs."""
    return np.random.default_rng([17, given.seed]).normal(scale=0.3, size=(n, FEATURES)).astype("float32")


def kernel(output: Output) -> np.ndarray:
    """What stands in front of the output's activation, one row a sample (and unused rows up to `FEATURES`)."""
    size = int(np.prod(output.shape))
    made = np.random.default_rng([7, *output.name.encode(), size]).normal(size=(FEATURES, size)).astype("float32")
    return np.where(mask(output, FEATURES).reshape(FEATURES, -1), made, 0) if output.masked else made


def mask(output: Output, n: int) -> np.ndarray:
    """1 for what counts, in the output's shape: all but the last step of every other sample."""
    made = np.ones((n, *output.shape), dtype="float32")
    if output.masked:
        made[1::2, -1] = 0
    return made


def target(given: Target | np.ndarray) -> np.ndarray:
    """The array of a target."""
    if isinstance(given, np.ndarray):
        return given
    random = np.random.default_rng([11, given.seed])
    if given.holds == "numbers":
        values = random.normal(size=given.shape) * 3
        return values.round().astype(given.dtype) if given.dtype.startswith("int") else values.astype(given.dtype)
    if given.holds == "bits":
        return _mixed(random, 2, given.shape).astype(given.dtype)
    if given.holds == "classes":
        return _mixed(random, given.classes, given.shape).astype(given.dtype)
    if given.shape[-1] != given.classes:  # rows of another length
        return _mixed(random, 2, given.shape).astype(given.dtype)
    return np.eye(given.classes)[_mixed(random, given.classes, given.shape[:-1])].astype(given.dtype)


def _mixed(random: Any, count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Class numbers, at random but never all alike."""
    size = int(np.prod(shape))
    flat = random.integers(0, count, size=size)
    if size > 1 and (flat == flat[0]).all():
        flat[-1] = (flat[0] + 1) % count
    return np.asarray(flat.reshape(shape))


def weights(given: Weights | np.ndarray) -> np.ndarray:
    """The array of sample weights: positive, no two alike."""
    if isinstance(given, np.ndarray):
        return given
    return np.random.default_rng([13, given.seed]).uniform(0.2, 3, size=given.shape).astype("float32")


def predicted(output: Output, raw: np.ndarray) -> np.ndarray:
    """The output behind its activation; `raw` has one row a sample."""
    values = raw.reshape((len(raw), *output.shape))
    if output.activation == "sigmoid":
        return 1 / (1 + np.exp(-values))
    if output.activation == "softmax":
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    return values


def losses(loss: Loss, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The loss of every sample (and position): the shape of `p` without its last axis; y in p's shape or class numbers."""
    if loss.kind in ("categorical_crossentropy", "sparse_categorical_crossentropy", "crossentropy"):
        if y.shape == p.shape:
            return -np.sum(y * np.log(p), axis=-1)
        return -np.log(np.take_along_axis(p, y.reshape((*p.shape[:-1], 1)).astype(int), axis=-1))[..., 0]
    error = y - p
    if loss.kind == WHOLE:  # each output's part of it
        return (error**2).reshape(len(error), -1).mean(axis=-1)
    if loss.kind == "mse":
        each = error**2
    elif loss.kind == "mae":
        each = np.abs(error)
    elif loss.kind == "huber":
        each = np.where(np.abs(error) <= 1, 0.5 * error**2, np.abs(error) - 0.5)
    elif loss.kind == "log_cosh":
        each = np.log(np.cosh(error))
    elif loss.kind == "cubed":
        each = np.abs(error) ** 3
    elif loss.kind == "binary_crossentropy":
        each = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    else:
        raise ValueError(loss.kind)
    # An output of one number a sample has no last axis to take the mean over.
    return each if each.ndim == 1 else each.mean(axis=-1)


def reduced(loss: Loss, values: np.ndarray, weight: np.ndarray | None) -> float:
    """One number of the losses of every sample, weighted, as the reduction's name says."""
    w = np.ones_like(values) if weight is None else np.broadcast_to(weight, values.shape)
    total = float(np.sum(values * w))
    if loss.reduction == "sum":
        return total
    if loss.reduction == "mean_with_sample_weight":
        return total / float(np.sum(w))
    return total / values.size
