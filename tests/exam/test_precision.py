"""Precision as the model has it: the loss that `fit` logs, and the gradient that the optimizer's loss scale keeps alive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossdoctor
from lossdoctor.doctor import examine
from tests.exam.test_probes import exam

N = 8
X = np.random.default_rng(5).normal(size=(N, 4)).astype("float32")
Y = {"value": np.random.default_rng(6).normal(size=(N, 2)), "label": np.arange(N) % 3}


@pytest.fixture(autouse=True)
def settings_kept() -> Iterator[None]:
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def absolute(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def heads(**compiled: Any) -> Any:
    """A regression whose predictions are some hundreds, where float16 is 1/4 and bfloat16 2 apart, and a softmax."""
    i = keras.Input((4,))
    value = layers.Dense(2, name="value", bias_initializer=keras.initializers.Constant(300.3))(i)
    model = keras.Model(i, {"value": value, "label": layers.Dense(3, activation="softmax", name="label")(i)})
    losses = {"value": "mse", "label": "sparse_categorical_crossentropy"}
    model.compile(**{"optimizer": keras.optimizers.SGD(0.0), "loss": losses, "jit_compile": False, **compiled})
    return model


def logged(model: Any, x: Any, y: Any) -> float:
    return float(model.fit(x, y, batch_size=N, shuffle=False, verbose=0).history["loss"][0])


# policy: (dtype of the outputs, how near two ways to run the same layers are)
POLICIES = {
    "mixed_float16": ("float16", 1e-3),
    "float16": ("float16", 1e-3),
    "mixed_bfloat16": ("bfloat16", 1e-2),
    "float64": ("float64", 1e-6),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_the_loss_is_what_fit_logs(policy: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    dtype, near = POLICIES[policy]
    if policy == "float64" and keras.backend.backend() == "jax":
        dtype = "float32"  # without jax_enable_x64
    keras.config.set_dtype_policy(policy)
    model = heads()
    model.save(tmp_path / "m.keras")
    lossdoctor.save_batch(tmp_path / "b.npz", X, Y)
    live = lossdoctor.check(model, (X, Y), forward=True, repairs=False)
    assert live.data.outcomes["fit"].loss == pytest.approx(logged(model, X, Y), rel=near)

    keras.config.set_dtype_policy("float32")  # as a new process has it
    read = examine(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"), forward=True, repairs=False)
    real = keras.saving.load_model(tmp_path / "m.keras")
    assert read.outcomes["fit"].loss == pytest.approx(logged(real, X, Y), rel=near)
    assert keras.backend.standardize_dtype(real(X)["value"].dtype) == dtype
    assert read.outputs["value"].dtype in (dtype, policy)
    for data in (live.data, read):
        assert not [f.message for f in data.findings if f.severity == "error"]


def test_float64_keeps_its_digits() -> None:
    """With floatx float64, targets and predictions that float32 cannot tell apart have a loss."""
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless jax_enable_x64 is set before it starts")
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    i = keras.Input((1,))
    model = keras.Model(i, layers.Dense(1, kernel_initializer="ones")(i))
    model.compile(keras.optimizers.SGD(0.0), loss=absolute)
    x = 1e9 + np.arange(float(N))[:, None]
    y = x + np.linspace(1, 2, N)[:, None]
    report = lossdoctor.check(model, (x, y), forward=True, repairs=False)
    assert report.data.outcomes["fit"].loss == pytest.approx(logged(model, x, y), rel=1e-9)
    if keras.backend.backend() != "torch":  # where the model itself loses them on the way
        assert report.data.outcomes["fit"].loss == pytest.approx(1.5, rel=1e-9)


def tiny(optimizer: Any, weight: float = 1e-8, **compiled: Any) -> Any:
    """One float16 output whose gradient, about 1e-9, is 0 in float16."""
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dense(2)(i))
    model.compile(optimizer, loss="mse", loss_weights=weight, jit_compile=False, **compiled)
    return model


def moves(model: Any, steps: int = 1) -> bool:
    before = [np.array(w) for w in model.get_weights()]
    for _ in range(steps):
        model.train_on_batch(X, Y["value"])
    return any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("how", ["auto", "not", "by hand", "a factor", "loaded"])
def test_the_loss_scale_keeps_the_gradient_alive(how: str, tmp_path: Path) -> None:
    """Where the real model trains thanks to its loss scale the stand-in has a gradient, and where it does not it has none."""
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy("mixed_float16")
    sgd = keras.optimizers.SGD(1e8, loss_scale_factor=2.0**15 if how == "a factor" else None)
    optimizer = keras.optimizers.LossScaleOptimizer(sgd) if how == "by hand" else sgd
    model = tiny(optimizer, auto_scale_loss=how in ("auto", "loaded"))
    if how == "loaded":
        # A functional model's file does not hold its policy, so that Keras does not scale after loading it.
        model.save(tmp_path / "m.keras")
        lossdoctor.save_batch(tmp_path / "b.npz", X, Y["value"])
        keras.config.set_dtype_policy("float32")
        model = keras.saving.load_model(tmp_path / "m.keras")
        from lossdoctor.case.load import load_case

        assert load_case(str(tmp_path / "m.keras"), str(tmp_path / "b.npz")).compile.loss_scale is None
    gradient = exam(model, X, Y["value"]).fit.gradients[0]
    alive = how not in ("not", "loaded")
    assert moves(model) == alive
    assert (gradient.norm > 0) == alive
    if alive:
        assert 1e-10 < gradient.norm < 1e-6


def test_a_scale_that_is_too_large_at_first_is_no_finding() -> None:
    """Keras skips the first steps, halves the scale, and trains."""
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy("mixed_float16")
    model = tiny(keras.optimizers.SGD(1e-6), weight=1000.0)
    found = exam(model, X, Y["value"])
    assert found.fit.gradients[0].finite and found.fit.gradients[0].norm > 1
    assert not [f for f in lossdoctor.check(model, (X, Y["value"]), repairs=False).findings if f.severity == "error"]
    assert not moves(model) and moves(model, steps=12)
