"""Every claim that Keras silently trains on something else, by the loss that the real Keras computes."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossdoctor
from lossdoctor import releases
from lossdoctor.doctor import examine

N = 8
RANDOM = np.random.default_rng(9)
X = RANDOM.normal(size=(N, 4)).astype("float32")
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def made(outputs: Any, shape: tuple[int, ...] = (4,), **compiled: Any) -> Any:
    i = keras.Input(shape)
    model = keras.Model(i, outputs(i))
    model.compile(optimizer=keras.optimizers.SGD(0.0), **compiled)
    return model


def dense(units: int, activation: str | None = None) -> Any:
    return lambda i: layers.Dense(units, activation=activation)(i)


def logged(model: Any, *batch: Any) -> float:
    """The loss that the real `fit` logs, with a learning rate of 0."""
    weights = {"sample_weight": batch[2]} if len(batch) > 2 else {}
    return float(
        model.fit(batch[0], batch[1], batch_size=len(batch[0]), shuffle=False, verbose=0, **weights).history["loss"][0]
    )


def finding(model: Any, batch: tuple[Any, ...], code: str, **options: Any) -> lossdoctor.Finding:
    report = lossdoctor.check(model, batch, **options, repairs=False)
    found = [f for f in report.findings if f.code == code]
    assert found, [f"{f.code} {f.message}" for f in report.findings]
    return found[0]


def test_weights_that_run_along_the_steps() -> None:
    """LD532: with N == T the weights of shape (N,) multiply the steps, by the value that fit logs."""
    keras.utils.set_random_seed(1)
    model, again = made(dense(1), (N, 4), loss="mse"), made(dense(1), (N, 4), loss="mse")
    again.set_weights(model.get_weights())
    x, y, w = RANDOM.normal(size=(N, N, 4)), RANDOM.normal(size=(N, N, 1)), np.linspace(0, 1, N)
    errors = np.square(y - model.predict(x, verbose=0))[..., 0]
    assert logged(model, x, y, w) == pytest.approx(float(np.mean(errors * w[None, :])), rel=1e-4)
    assert logged(again, x, y, w[:, None]) == pytest.approx(float(np.mean(errors * w[:, None])), rel=1e-4)
    assert finding(model, (x, y, w), "LD532").impact == "silent"
    assert lossdoctor.check(model, (x, y, w[:, None]), repairs=False).ok


def test_an_activation_that_counts_twice() -> None:
    """LD601: behind a Reshape the softmax is applied again, on every backend."""

    def outputs(i: Any) -> Any:
        return layers.Reshape((3,))(layers.Reshape((3, 1))(layers.Dense(3, activation="softmax")(i)))

    model = made(outputs, loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    y = np.eye(3)[np.arange(N) % 3]
    p = model.predict(X, verbose=0)
    again = np.exp(p) / np.exp(p).sum(-1, keepdims=True)
    assert logged(model, X, y) == pytest.approx(float(-np.mean(np.log((again * y).sum(-1)))), rel=1e-4)
    found = finding(model, (X, y), "LD601", forward=True)
    assert found.severity == "error"
    assert found.evidence["loss as trained (no sample weights)"] == pytest.approx(logged(model, X, y), rel=1e-4)
    assert found.evidence["the outputs read as probabilities"] == pytest.approx(
        float(-np.mean(np.log((p * y).sum(-1)))), rel=1e-4
    )


def test_logits_taken_for_probabilities() -> None:
    """LD601: the value of a linear output is that of clipped, renormalized numbers."""
    model, y = made(dense(3), loss="categorical_crossentropy"), np.eye(3)[np.arange(N) % 3]
    found = finding(model, (X, y), "LD601", forward=True)
    assert found.evidence["loss as trained (no sample weights)"] == pytest.approx(logged(model, X, y), rel=1e-4)
    z = model.predict(X, verbose=0)
    meant = -np.mean((z * y).sum(-1) - np.log(np.exp(z).sum(-1)))
    assert found.evidence["the outputs read as logits"] == pytest.approx(float(meant), rel=1e-4)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="only TensorFlow looks behind the activation")
def test_softmax_under_a_binary_loss_trains_on_what_lies_behind_it() -> None:
    """LD603: fit logs the loss of the values in front of the softmax, read as sigmoid logits."""
    i = keras.Input((4,))
    z = layers.Dense(3)(i)
    model, behind = keras.Model(i, layers.Softmax()(z)), keras.Model(i, z)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="binary_crossentropy")
    y = np.eye(3)[np.arange(N) % 3]
    sigmoid = 1 / (1 + np.exp(-behind.predict(X, verbose=0)))
    binary = -np.mean(y * np.log(sigmoid) + (1 - y) * np.log(1 - sigmoid))
    assert logged(model, X, y) == pytest.approx(float(binary), rel=1e-4)
    found = finding(model, (X, y), "LD603", forward=True)
    assert found.severity == "error"
    assert found.evidence["loss as trained (no sample weights)"] == pytest.approx(float(binary), rel=1e-4)


def test_one_softmax_unit_is_always_one() -> None:
    model = made(dense(1, "softmax"), loss="mse")
    assert np.allclose(model.predict(X, verbose=0), 1)
    assert finding(model, (X, RANDOM.normal(size=(N, 1))), "LD602").evidence["highest"] == pytest.approx(1)


@pytest.mark.skipif(ON_TENSORFLOW, reason="TensorFlow raises")
def test_labels_out_of_range_have_no_loss() -> None:
    """LD702 where nothing raises: those samples' loss is exactly 0."""
    model = made(dense(3, "softmax"), loss="sparse_categorical_crossentropy")
    assert logged(model, X, np.full(N, 7)) == 0.0
    assert finding(model, (X, np.full(N, 7)), "LD702").impact == "silent"


def test_nan_with_weight_zero_is_nan() -> None:
    y, w = RANDOM.normal(size=(N, 1)), np.ones(N)
    y[2], w[2] = np.nan, 0
    assert np.isnan(logged(made(dense(1), loss="mse"), X, y, w))
    assert finding(made(dense(1), loss="mse"), (X, y, w), "LD701").severity == "error"


def test_the_imaginary_part_is_dropped() -> None:
    y = RANDOM.normal(size=(N, 1)) + 1j * RANDOM.normal(size=(N, 1))
    model = made(dense(1), loss="mse")
    if not releases.since(keras.__version__, "3.6"):  # there it is an error that Keras raises
        with pytest.raises(ValueError, match="Invalid dtype: complex64"):
            logged(model, X, y.astype("complex64"))
        assert finding(model, (X, y.astype("complex64")), "LD307").impact == "raises"
        return
    assert logged(model, X, y.astype("complex64")) == pytest.approx(
        logged(model, X, y.real.astype("float32")), rel=1e-5
    )
    assert finding(model, (X, y.astype("complex64")), "LD307").impact == "silent"


def test_large_integers_are_rounded() -> None:
    i = keras.Input((1,))
    model = keras.Model(i, layers.Identity()(i) + 0.0 * layers.Dense(1)(i))
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mae")
    x, y = np.full((N, 1), 2.0**24), np.full((N, 1), 2**24 + 1)
    assert logged(model, x, y) == 0.0
    assert finding(model, (x, y), "LD307").evidence["as float32"] == 2**24


def test_a_negative_weight_maximizes() -> None:
    model = made(lambda i: [dense(1)(i), dense(1)(i)], loss=["mse", "mse"], loss_weights=[1.0, -2.0])
    y = [RANDOM.normal(size=(N, 1)), RANDOM.normal(size=(N, 1))]
    p = model.predict(X, verbose=0)
    values = [float(np.mean(np.square(a - b))) for a, b in zip(y, p, strict=True)]
    assert logged(model, X, y) == pytest.approx(values[0] - 2 * values[1], rel=1e-4)
    assert finding(model, (X, y), "LD513").evidence["weight of y_pred[1]"] == pytest.approx(-2)


def test_one_target_for_two_outputs_of_one_name() -> None:
    head = layers.Dense(2, name="d")
    model = made(lambda i: [head(i), head(2 * i)], loss="mse")
    t = RANDOM.normal(size=(N, 2))
    p = model.predict(X, verbose=0)
    both = [float(np.mean(np.square(t - part))) for part in p]
    found = finding(model, (X, {"d": t}), "LD205")
    assert found.severity == "error"
    if releases.since(keras.__version__, "3.5") and not releases.since(keras.__version__, "3.7"):
        assert found.where == ("y_pred[1]",)
        both = both[:1]
    assert logged(model, X, {"d": t}) == pytest.approx(sum(both), rel=1e-4)


def test_heads_trade_their_weights_through_a_file(tmp_path: Path) -> None:
    i = keras.Input((4,))
    heads = [("z", layers.Dense(2, name="z_head")(i)), ("a", layers.Dense(2, name="a_head")(i))]
    model = keras.Model(i, OrderedDict(heads))
    model.compile(loss="mse")
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    before, after = model.predict(X, verbose=0), loaded.predict(X, verbose=0)
    assert np.allclose(before["z"], after["a"]) and np.allclose(before["a"], after["z"])
    lossdoctor.save_batch(tmp_path / "b.npz", X, {"z": np.ones((N, 2)), "a": np.zeros((N, 2))})
    report = examine(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))
    other = [] if releases.since(keras.__version__, "3.5") else ["LD506"]  # Keras 3.4 trains neither, too
    assert [f.code for f in report.findings if f.severity == "error"] == ["LD107", *other]
    assert report.findings[0].evidence == {
        "weights of z_head": "loaded into a_head",
        "weights of a_head": "loaded into z_head",
    }


def test_arguments_in_another_library_s_order() -> None:
    def poisson(y_pred: Any, y_true: Any) -> Any:
        return ops.mean(y_pred - y_true * ops.log(y_pred + 1e-3), axis=-1)

    model, y = made(dense(3, "softplus"), loss=poisson), RANDOM.uniform(1, 5, size=(N, 3)).astype("float32")
    p = model.predict(X, verbose=0)
    assert logged(model, X, y) == pytest.approx(float(np.mean(y - p * np.log(y + 1e-3))), rel=1e-4)
    assert finding(model, (X, y), "LD806").severity == "error"

    def by_keras(y_true: Any, y_pred: Any) -> Any:
        return poisson(y_pred, y_true)

    assert lossdoctor.check(made(dense(3, "softplus"), loss=by_keras), (X, y), repairs=False).ok


def test_mixed_reductions_weigh_by_the_batch_size() -> None:
    summed = keras.losses.MeanSquaredError(reduction="sum")
    model = made(lambda i: [dense(1)(i), dense(1)(i)], loss=[summed, "mse"])
    y = [RANDOM.normal(size=(N, 1)), RANDOM.normal(size=(N, 1))]
    p = model.predict(X, verbose=0)
    values = [float(np.mean(np.square(a - b))) for a, b in zip(y, p, strict=True)]
    assert logged(model, X, y) == pytest.approx(N * values[0] + values[1], rel=1e-4)
    assert "weighs 8 times" in finding(model, (X, y), "LD403").message


def test_similarity_grows_while_keras_makes_it_small() -> None:
    """LD806: after real training steps the predictions are farther from their targets than before."""

    def similarity(y_true: Any, y_pred: Any) -> Any:
        return ops.exp(-ops.mean(ops.square(y_true - y_pred), axis=-1))

    model, y = made(dense(3), loss=similarity), RANDOM.normal(size=(N, 3))
    found = finding(model, (X, y), "LD806")
    assert found.severity == "warning" and found.evidence["loss with the target as prediction"] == pytest.approx(1)
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss=similarity)
    before = float(np.mean(np.square(y - model.predict(X, verbose=0))))
    model.fit(X, y, epochs=20, verbose=0)
    assert float(np.mean(np.square(y - model.predict(X, verbose=0)))) > before


ACTIONS = np.eye(3)[np.arange(N) % 3]


MASKED = ACTIONS * (np.arange(N) % 4 > 0)[:, None]  # some rows of zeros


@pytest.mark.parametrize("rows", [RANDOM.poisson(2, size=(N, 3)), ACTIONS * np.linspace(-2, 3, N)[:, None], MASKED])
def test_the_gradient_of_rows_that_do_not_sum_to_one(rows: np.ndarray) -> None:
    """LD703: what `fit` moves a kernel by, against the slope of the loss that `evaluate` gives."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, use_bias=False, activation="softmax")])
    kernel, sums = model.layers[-1].kernel, rows.sum(-1)
    start = RANDOM.normal(size=(4, 3))

    def moved(y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        model.compile(keras.optimizers.SGD(1.0), loss="categorical_crossentropy")
        kernel.assign(start)
        model.fit(X, y, batch_size=N, shuffle=False, verbose=0, sample_weight=weights)
        return start - np.array(kernel)

    def loss(at: np.ndarray) -> float:
        p = np.exp(X @ at)
        return float(-np.mean(np.sum(rows * np.log(p / p.sum(-1, keepdims=True)), axis=-1)))

    steps = 1e-5 * np.eye(12).reshape(12, 4, 3)
    slope = np.array([(loss(start + d) - loss(start - d)) / 2e-5 for d in steps]).reshape(4, 3)
    kernel.assign(start)
    assert logged_by(model, rows) == pytest.approx(loss(start), rel=1e-4)
    report = lossdoctor.check(model, (X, rows))
    found = [f for f in report.findings if f.code == "LD703"]
    assert np.allclose(moved(rows), slope, atol=1e-4) is not ON_TENSORFLOW
    assert ([f.severity for f in found] == ["error"]) is ON_TENSORFLOW
    whole = np.where(sums == 0, 1, sums)
    np.testing.assert_allclose(moved(rows / whole[:, None], sums), slope, atol=1e-4)
    if ON_TENSORFLOW:
        assert found[0].fixes[0].verified and found[0].fixes[0].grade == "safe"


def logged_by(model: Any, y: np.ndarray) -> float:
    model.compile(loss="categorical_crossentropy")
    return float(model.evaluate(X, y, batch_size=N, verbose=0))


@pytest.mark.skipif(not ON_TENSORFLOW, reason="the statement is TensorFlow's about JAX")
def test_what_is_said_of_jax_is_what_jax_computes(tmp_path: Path) -> None:
    """LD954: the number told for other backends is the loss that fit logs under JAX for the same weights."""
    pytest.importorskip("jax")
    y = np.eye(3)[np.arange(N) % 3]
    model = made(dense(3, "softmax"), loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    found = finding(model, (X, y), "LD954", forward=True)
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "b.npz", x=X, y=y)
    script = (
        "import keras, numpy as np\n"
        f"b = np.load({str(tmp_path / 'b.npz')!r})\n"
        f"m = keras.saving.load_model({str(tmp_path / 'm.keras')!r})\n"
        "print(m.evaluate(b['x'], b['y'], verbose=0))\n"
    )
    environment = {**__import__("os").environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert found.evidence["on the outputs as they are"] == pytest.approx(float(done.stdout.split()[-1]), rel=1e-4)
    assert found.evidence["on TensorFlow"] == pytest.approx(logged(model, X, y), rel=1e-4)
