"""The probes, each against what Keras computes by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossdoctor
from lossdoctor import _compiled, releases
from lossdoctor.exam.observe import examine
from lossdoctor.facts import Exam
from lossdoctor.types import Case, CompileArgs

N = 8
RANDOM = np.random.default_rng(2)


def exam(model: Any, x: Any, y: Any, sample_weight: Any = None, forward: bool = False) -> Exam:
    from lossdoctor.case.batch import hold_batch
    from lossdoctor.case.model import describe
    from lossdoctor.installed import environment

    batch = hold_batch((x, y) if sample_weight is None else (x, y, sample_weight), "the test")
    rows = len(x)
    arguments: CompileArgs = _compiled.compile_args(model)
    spec = describe(model, "model", batch.x, rows)
    return examine(Case(spec, batch, arguments, environment(), rows, model if forward else None))


def made(outputs: Any, **compiled: Any) -> Any:
    i = keras.Input((4,))
    model = keras.Model(i, outputs(i))
    model.compile(optimizer="sgd", **compiled)
    return model


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def to_the_mean(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true, y_pred) * ops.mean(squared(y_true, y_pred))


X = RANDOM.normal(size=(N, 4)).astype("float32")
Y = RANDOM.normal(size=(N, 3)).astype("float32")


def test_coupled_samples_are_those_whose_real_gradients_move() -> None:
    assert exam(made(lambda i: layers.Dense(3)(i), loss=squared), X, Y).probes.coupled == ()
    coupled = exam(made(lambda i: layers.Dense(3)(i), loss=to_the_mean), X, Y).probes.coupled
    assert {(c.changed, c.reached, c.rows) for c in coupled} == {("target", N - 1, N), ("prediction", N - 1, N)}


def test_predictions_are_drawn_again_where_the_first_show_something() -> None:
    """LD514, LD602, LD802 and LD805 speak only where all draws agree, so that one draw without a sign of it is enough."""

    def two(i: Any) -> Any:
        return [layers.Dense(3)(i), layers.Dense(3)(i)]

    def draws(outputs: Any, y: Any, loss: Any) -> int:
        found = exam(made(outputs, loss=loss), X, y).probes.draws
        assert found[0].values and found[0].norms
        return len(found)

    def rounded(y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, ops.round(y_pred)) + ops.mean(0.0 * y_pred, axis=-1)

    assert draws(two, [Y, Y], ["mse", "mse"]) == 1
    assert draws(two, [Y, 1e4 * Y], ["mse", "mse"]) == 3
    assert draws(lambda i: layers.Dense(3)(i), Y, rounded) == 3
    assert draws(lambda i: layers.Dense(3)(i), Y - 9, "poisson") == 3  # the logarithm of negative predictions
    assert draws(lambda i: layers.Dense(1)(i), np.ones((N, 1)), "categorical_crossentropy") == 3


def test_a_weight_of_zero_takes_a_sample_out() -> None:
    weights = np.linspace(0.5, 1, N)
    taken = exam(made(lambda i: layers.Dense(3)(i), loss="mse"), X, Y, weights).probes.zeroed[0]
    assert taken.before > 0 and taken.after == 0
    scalar = exam(made(lambda i: layers.Dense(3)(i), loss=lambda t, p: ops.mean(squared(t, p))), X, Y, weights).probes
    assert scalar.zeroed[0].after > 0 and scalar.scalar == (0,)


def test_weights_on_a_scalar_loss_are_averaged_as_keras_does() -> None:
    """What LD404 says, by the loss that the real `fit` logs: weights of the samples with an error are 0, and the loss is not."""

    def mean(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred))

    i = keras.Input((1,))
    x = y = np.arange(4.0)[:, None]
    wrong = np.array([1.0, 1.0, 0.0, 0.0])
    values = {}
    for name, loss in (("scalar", mean), ("a value a sample", squared)):
        model = keras.Model(i, layers.Identity()(i) + layers.Dense(1, kernel_initializer="zeros")(i))
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss=loss)
        off = y.copy()
        off[2:] += 1
        values[name] = model.fit(x, off, sample_weight=wrong, verbose=0).history["loss"][0]
    assert values["a value a sample"] == pytest.approx(0)
    assert values["scalar"] == pytest.approx(0.25)


@pytest.mark.skipif(
    not releases.since(keras.__version__, "3.7"),
    reason="eager arrays of JAX, on which a step is replayed, lose their masks",
)
def test_one_row_less_shows_an_axis_taken_for_the_samples() -> None:
    tokens = keras.Input((N,), dtype="int32")
    states = layers.Embedding(9, 5, mask_zero=True)(tokens)
    model = keras.Model(tokens, layers.Dense(1)(states))
    model.compile(optimizer="sgd", loss="mse")
    x = RANDOM.integers(1, 9, size=(N, N))
    report = lossdoctor.check(model, (x, RANDOM.normal(size=(N, N))), repairs=False)
    found = [f for f in report.findings if f.severity == "error"]
    model.fit(x, RANDOM.normal(size=(N, N)), verbose=0)
    with pytest.raises(Exception, match=r"."):
        model.fit(x[:-1], RANDOM.normal(size=(N - 1, N)), verbose=0, batch_size=N - 1)
    assert [f.code for f in found] == ["LD302"] and "7" in found[0].message


def test_targets_that_are_a_maximum() -> None:
    minimum = exam(made(lambda i: layers.Dense(3)(i), loss=lambda t, p: -squared(t, p)), X, Y).probes.minima[0]
    assert minimum.at_target == 0 and max(*minimum.near, *minimum.noise) < 0


def test_readings_are_the_values_that_keras_computes() -> None:
    labels = np.eye(3)[np.arange(N) % 3]
    model = made(lambda i: layers.Dense(3)(i), loss=keras.losses.CategoricalCrossentropy())
    found = exam(model, X, labels, forward=True)
    predicted = model.predict(X, verbose=0)
    reading = found.readings[0]
    for value, logits in ((reading.probabilities, False), (reading.logits, True)):
        loss = keras.losses.CategoricalCrossentropy(from_logits=logits)
        assert value == pytest.approx(float(loss(labels, predicted)), rel=1e-5)
    assert reading.trained == pytest.approx(model.evaluate(X, labels, verbose=0), rel=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_with_forward_the_loss_is_the_model_s_own(activation: str) -> None:
    """Also where TensorFlow's losses look behind the activation."""
    labels = np.eye(3)[np.arange(N) % 3]
    for loss in ("categorical_crossentropy", "binary_crossentropy"):
        model = made(lambda i: layers.Dense(3, activation=activation)(i), loss=loss)
        report = lossdoctor.check(model, (X, labels), forward=True, repairs=False)
        assert report.data.outcomes["fit"].loss == pytest.approx(model.evaluate(X, labels, verbose=0), rel=1e-3)


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [
        ("sigmoid", 0, 1),
        ("tanh", -1, 1),
        ("relu", 0, None),
        ("softplus", 0, None),
        ("exponential", 0, None),
        ("elu", -1, None),
    ],
)
def test_the_range_of_an_activation_is_measured(activation: str, low: float, high: float | None) -> None:
    found = exam(made(lambda i: layers.Dense(1, activation=activation)(i), loss="mse"), X, Y[:, :1]).activations[
        "y_pred"
    ]
    assert found.name == activation
    assert found.low == pytest.approx(low, abs=1e-3)
    assert found.high == (None if high is None else pytest.approx(high, abs=1e-3))


def test_activations_are_read_from_the_graph_and_not_from_names() -> None:
    i = keras.Input((4,))
    inner_in = keras.Input((4,))
    inner = keras.Model(inner_in, layers.Dense(6, activation="softmax", name="logits")(inner_in))
    model = keras.Model(
        i,
        {
            "nested": inner(i),
            "reshaped": layers.Reshape((2, 3))(layers.Softmax(name="linear")(layers.Dense(6)(i))),
            "named": layers.Dense(3, name="softmax")(i),
            "merged": layers.Average()([layers.Dense(3)(i), layers.Dense(3)(i)]),
            "operation": ops.sigmoid(layers.Dense(2)(i)),
            "dropped": layers.Dropout(0.1)(layers.Activation("tanh")(layers.Dense(2)(i))),
        },
    )
    model.compile(optimizer="sgd", loss={"named": "mse"})
    names = {path: a.name for path, a in exam(model, X, {"named": Y}).activations.items()}
    assert names == {
        "y_pred['nested']": "softmax",
        "y_pred['reshaped']": "softmax",
        "y_pred['named']": "linear",
        "y_pred['merged']": None,
        "y_pred['operation']": "sigmoid",
        "y_pred['dropped']": "tanh",
    }


class Classifier(keras.Model):
    """A softmax behind a head: made anew from its config, unless it is given a head that no config holds."""

    def __init__(self, head: Any = None) -> None:
        super().__init__()
        self.head = layers.Dense(3) if head is None else head()
        self.last = layers.Softmax()

    def call(self, x: Any) -> Any:
        return self.last(self.head(x))


@pytest.mark.parametrize(
    "head",
    [None, lambda: layers.Dense(3), lambda: keras.Sequential([layers.Dense(3)])],
    ids=["copied", "not", "nested"],
)
def test_activations_of_a_subclassed_model_and_its_layers_stay_as_they_were(head: Any) -> None:
    model = Classifier(head)
    model.compile(optimizer="sgd", loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    before = model.predict(X, verbose=0)
    nodes = [(len(n._inbound_nodes), len(n._outbound_nodes)) for n in model._flatten_layers()]
    found = exam(model, X, np.eye(3)[np.arange(N) % 3])
    assert found.activations["y_pred"].name == "softmax"
    assert [(len(n._inbound_nodes), len(n._outbound_nodes)) for n in model._flatten_layers()] == nodes
    assert np.array_equal(model.predict(X, verbose=0), before)


def test_metrics_met_the_outputs_whose_names_the_log_shows() -> None:
    model = made(
        lambda i: {"z": layers.Dense(3, name="z")(i), "a": layers.Dense(3, name="a")(i)},
        loss="mse",
        metrics=["mae", "mse"],
    )
    found = exam(model, X, {"z": Y, "a": Y})
    logged = model.fit(X, {"z": Y, "a": Y}, verbose=0).history
    assert {(c.label, c.output) for c in found.metrics} == {("mae", "y_pred['a']"), ("mse", "y_pred['z']")}
    assert {"a_mae", "z_mse"} <= set(logged)


def test_a_loss_that_only_runs_compiled_skips_the_probes_and_says_so() -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("graph mode is TensorFlow's")
    import tensorflow as tf

    def compiled_only(y_true: Any, y_pred: Any) -> Any:
        if tf.executing_eagerly():
            raise RuntimeError("not eagerly")
        return squared(y_true, y_pred)

    report = lossdoctor.check(made(lambda i: layers.Dense(3)(i), loss=compiled_only), (X, Y), repairs=False)
    assert report.ok
    assert "cannot be run eagerly" in report.data.checks.skipped["LD803"]
