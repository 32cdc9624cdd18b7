"""Run by test_replicas.py in a process of its own: JAX with two devices and `keras.distribution.DataParallel`. Prints JSON."""

from __future__ import annotations

import json
import os
from typing import Any

os.environ |= {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}

import jax
import keras
import numpy as np
from keras import layers, ops

import lossdoctor

N = 8
RANDOM = np.random.default_rng(4)
X, Y = RANDOM.normal(size=(N, 4)).astype("float32"), RANDOM.normal(size=(N, 3)).astype("float32")


def mean(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred))


def run(devices: int) -> dict[str, Any]:
    """The logged loss and the length of the gradient of one real `fit`, and what lossdoctor says of the model."""
    keras.utils.set_random_seed(0)
    names = keras.distribution.list_devices()[:devices]
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names) if devices > 1 else None)
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dense(3)(i))
    model.compile(keras.optimizers.SGD(1.0), loss=mean)
    report = lossdoctor.check(model, (X, Y), repairs=False)
    before = model.get_weights()[0]
    logged = model.fit(X, Y, batch_size=N, shuffle=False, verbose=0).history["loss"][0]
    return {
        "logged": float(logged),
        "gradient": float(np.linalg.norm(model.get_weights()[0] - before)),
        "fit": report.data.outcomes["fit"].status,
        "findings": [[f.code, f.severity, f.message] for f in report.findings],
    }


if __name__ == "__main__":
    assert len(jax.devices()) == 2
    print("@" + json.dumps({"one": run(1), "two": run(2)}))
