"""Run by test_replicas.py in a process of its own: what real Keras does with two replicas, and what lossdoctor says. Prints JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tensorflow as tf

# Before TensorFlow starts: one CPU as two devices.
_CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(_CPU, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras  # noqa: E402
from keras import layers, losses, ops  # noqa: E402

import lossdoctor  # noqa: E402

N = 8
RANDOM = np.random.default_rng(4)
X, Y = RANDOM.normal(size=(N, 4)).astype("float32"), RANDOM.normal(size=(N, 3)).astype("float32")


def mean(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred))


def total(y_true: Any, y_pred: Any) -> Any:
    return ops.sum(ops.square(y_true - y_pred))


def per_sample(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


class Mean(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.abs(y_true - y_pred))


LOSSES = {
    "mse": "mse",
    "sum": losses.MeanSquaredError(reduction="sum"),
    "none": losses.MeanSquaredError(reduction=None),
    "per sample": per_sample,
    "its own mean": mean,
    "a subclass's own mean": Mean(),
    "its own sum": total,
}
WEIGHTED = {
    "mse": "mse",
    "its own mean": mean,
    "mean_with_sample_weight": losses.MeanSquaredError(reduction="mean_with_sample_weight"),
}


def made(loss: Any, strategy: Any) -> Any:
    """A model whose weights do not depend on the strategy; a step at rate 1 leaves minus the gradient."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        i = keras.Input((4,))
        model = keras.Model(i, layers.Dense(3)(i))
        model.compile(keras.optimizers.SGD(1.0), loss=loss)
    return model


def trained(model: Any, weights: Any, method: str) -> tuple[float, np.ndarray]:
    before = model.get_weights()
    given = {} if weights is None else {"sample_weight": weights}
    if method == "fit":
        logged = model.fit(X, Y, batch_size=N, shuffle=False, verbose=0, **given).history["loss"][0]
    else:
        logged = model.train_on_batch(X, Y, return_dict=True, **given)["loss"]
    gradient = np.concatenate([(b - a).reshape(-1) for a, b in zip(model.get_weights(), before, strict=True)])
    model.set_weights(before)
    return float(logged), gradient


def compared(loss: Any, one: Any, two: Any, weights: Any = None, method: str = "fit") -> dict[str, float]:
    """Lengths and logged losses with two replicas over those with one, and how far the gradient is from that multiple."""
    (loss_one, alone), (loss_two, both) = (trained(made(loss, s), weights, method) for s in (one, two))
    times = float(np.linalg.norm(both) / np.linalg.norm(alone))
    return {
        "gradient": times,
        "logged": loss_two / loss_one,
        "off": float(np.linalg.norm(both - times * alone) / np.linalg.norm(alone)),
    }


def told(report: lossdoctor.Report) -> dict[str, Any]:
    return {
        "fit": report.data.outcomes["fit"].status,
        "loss": report.data.outcomes["fit"].loss,
        "findings": [[f.code, f.severity, f.message] for f in report.findings],
        "evidence": {f.code: dict(f.evidence) for f in report.findings},
        "notes": list(report.data.checks.notes),
    }


def main() -> dict[str, Any]:
    one = tf.distribute.get_strategy()
    two = tf.distribute.MirroredStrategy([d.name for d in tf.config.list_logical_devices("CPU")])
    weights = np.arange(float(N))
    said: dict[str, Any] = {
        "measured": {name: compared(loss, one, two) for name, loss in LOSSES.items()},
        "weighted": {name: compared(loss, one, two, weights) for name, loss in WEIGHTED.items()},
        "train_on_batch": compared(losses.MeanSquaredError(reduction="sum"), one, two, method="train_on_batch"),
        "told": {
            name: told(lossdoctor.check(made(LOSSES[name], two), (X, Y), repairs=False))
            for name in ("none", "per sample", "its own sum", "a subclass's own mean")
        },
    }
    lone = lossdoctor.check(made(mean, one), (X, Y), repairs=False)
    model = made(mean, two)
    with two.scope():
        inside = lossdoctor.check(model, (X, Y), repairs=False)
        still = tf.distribute.get_strategy() is two
    outside = lossdoctor.check(model, (X, Y), repairs=False)
    few = lossdoctor.check(model, (X[:1], Y[:1]), repairs=False)
    return said | {
        "one device": told(lone),
        "inside": told(inside),
        "outside": told(outside),
        "the same bytes": inside.to_json() == outside.to_json(),
        "still in scope": still,
        "one row": told(few),
    }


if __name__ == "__main__":
    print("@" + json.dumps(main()))
