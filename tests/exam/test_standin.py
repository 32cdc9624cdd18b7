"""The stand-in does what the real model does: same outcome, pairs, loss and gradient, on the same predictions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossdoctor
from lossdoctor import releases
from lossdoctor.doctor import diagnose_with_exam  # noqa: F401  (imported before Keras is used: no side effect)

ROWS = 8


def _two_heads(outputs: str) -> Any:
    i = keras.Input((4,), name="i")
    zoom, angle = layers.Dense(1, name="zoom")(i), layers.Dense(1, name="angle")(i)
    return keras.Model(i, {"zoom": zoom, "angle": angle} if outputs == "dict" else [zoom, angle])


def _data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return tuple(random.normal(size=(ROWS, n)).astype("float32") for n in (4, 1, 1))  # type: ignore[return-value]


CASES = {
    "dict outputs, named targets": ("dict", {"loss": "mse"}, lambda z, a: {"zoom": z, "angle": a}),
    "dict outputs, positional targets": ("dict", {"loss": "mse"}, lambda z, a: [z, a]),
    "dict outputs, list of losses": ("dict", {"loss": ["mse", "mae"]}, lambda z, a: {"zoom": z, "angle": a}),
    "list outputs, dict of targets": ("list", {"loss": "mse"}, lambda z, a: {"angle": a, "zoom": z}),
    "list outputs, weights by name": (
        "list",
        {"loss": ["mse", "mae"], "loss_weights": {"zoom": 100.0, "angle": 1.0}},
        lambda z, a: [z, a],
    ),
    "partial losses": ("dict", {"loss": {"zoom": "mse"}}, lambda z, a: {"zoom": z, "angle": a}),
    "a sum": ("list", {"loss": keras.losses.MeanAbsoluteError(reduction="sum")}, lambda z, a: (z, a)),
}


def is_refused(name: str) -> bool:
    """True where the installed Keras raises for a case."""
    raising = {
        "partial losses": releases.holds("partial-losses-raise", keras.__version__),
        "list outputs, weights by name": not releases.holds("weights-in-another-container", keras.__version__),
    }
    return raising.get(name, False)


@pytest.mark.parametrize("name", [name for name in CASES if not is_refused(name)])
def test_loss_and_pairs_equal_the_real_model_s(name: str) -> None:
    outputs, compiled, targets = CASES[name]
    model = _two_heads(outputs)
    model.compile(optimizer="sgd", **compiled)
    x, zoom, angle = _data()
    y = targets(zoom, angle)
    predictions = model.predict(x, verbose=0)
    report = lossdoctor.check(
        outputs=predictions,
        output_names=model.output_names,
        batch=(x, y),
        **{"loss_weights": None, **compiled},
        repairs=False,
    )
    real = model.test_on_batch(x, y, return_dict=True)
    assert report.data.outcomes["fit"].loss == pytest.approx(float(real["loss"]), rel=1e-5)
    # The total is the weighted sum of the losses of the observed pairs.
    assert sum(p.weight * p.value for p in report.pairs) == pytest.approx(float(real["loss"]), rel=1e-5)
    # And every pair's loss is the loss computed by hand on exactly that output and that target.
    places = {"y_pred": predictions, "y": y}
    for pair in report.pairs:
        target, output = eval(pair.target, {}, places), eval(pair.output, {}, places)
        error = np.abs(target - output) if "absolute" in pair.loss else np.square(target - output)
        expected = error.sum() if pair.reduction == "sum" else error.mean()
        assert pair.value == pytest.approx(float(expected), rel=1e-5)


def test_gradients_equal_those_of_the_loss() -> None:
    x, zoom, angle = _data()
    model = _two_heads("dict")
    model.compile(optimizer="sgd", loss="mse")
    predictions = model.predict(x, verbose=0)
    from lossdoctor import _keras
    from lossdoctor.case.batch import hold_batch
    from lossdoctor.case.model import from_outputs
    from lossdoctor.exam.observe import examine
    from lossdoctor.installed import environment
    from lossdoctor.types import Case, CompileArgs

    batch = hold_batch((x, {"zoom": zoom, "angle": angle}), "here")
    case = Case(from_outputs(predictions, None), batch, CompileArgs(loss="mse"), environment(), ROWS)
    exam = examine(case)
    by_hand = {"y_pred['zoom']": (predictions["zoom"] - zoom), "y_pred['angle']": (predictions["angle"] - angle)}
    for gradient in exam.fit.gradients:
        assert gradient.norm == pytest.approx(float(np.linalg.norm(2 * by_hand[gradient.output] / ROWS)), rel=1e-4)
        assert (gradient.reached, gradient.rows) == (ROWS, ROWS)
    assert _keras.backend_name() in ("tensorflow", "jax", "torch")


def test_the_caller_s_model_is_not_changed() -> None:
    model = _two_heads("dict")
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse", metrics={"zoom": ["mae"]})
    x, zoom, angle = _data()
    model.fit(x, {"zoom": zoom, "angle": angle}, verbose=0)
    before = [w.copy() for w in model.get_weights()]
    state = [np.array(v) for v in model.optimizer.variables]
    compiled = (model.loss, model.optimizer, model._compile_loss, model._compile_metrics)
    assert not lossdoctor.check(model, (x, [zoom, angle]), repairs=False).ok
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert all(np.array_equal(a, np.array(b)) for a, b in zip(state, model.optimizer.variables, strict=True))
    assert compiled == (model.loss, model.optimizer, model._compile_loss, model._compile_metrics)


def test_an_unbuilt_subclassed_model_stays_unbuilt() -> None:
    class Two(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = layers.Dense(1), layers.Dense(1)

        def call(self, x: Any) -> Any:
            return {"zoom": self.first(x), "angle": self.second(x)}

    model = Two()
    model.compile(loss="mse")
    x, zoom, angle = _data()
    report = lossdoctor.check(model, (x, {"zoom": zoom, "angle": angle}), repairs=False)
    assert report.ok, [f.message for f in report.findings]
    assert {p.output: p.target for p in report.pairs} == {
        "y_pred['zoom']": "y['zoom']",
        "y_pred['angle']": "y['angle']",
    }
    assert not model.built and not model.weights


def test_the_string_crossentropy_is_resolved_per_output() -> None:
    i = keras.Input((4,))
    model = keras.Model(
        i,
        [
            layers.Dense(1, activation="sigmoid")(i),
            layers.Dense(3, activation="softmax")(i),
            layers.Dense(3, activation="softmax")(i),
        ],
    )
    model.compile(loss="crossentropy")
    labels = np.arange(ROWS) % 3
    y = [(labels > 0).astype("float32")[:, None], labels[:, None], np.eye(3)[labels]]
    report = lossdoctor.check(model, (np.ones((ROWS, 4)), y), repairs=False)
    assert [p.loss for p in report.pairs] == [
        "binary_crossentropy",
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
    ]
    assert not [f for f in report.findings if f.severity != "info"]


def test_the_same_case_gives_the_same_bytes() -> None:
    model = _two_heads("dict")
    model.compile(loss="mse")
    x, zoom, angle = _data()
    assert (
        lossdoctor.check(model, (x, [zoom, angle]), repairs=False).to_json()
        == lossdoctor.check(model, (x, [zoom, angle]), repairs=False).to_json()
    )


def test_a_loss_is_called_with_what_keras_gives_it_and_no_more() -> None:
    seen: list[int] = []

    def counting(y_true: Any, y_pred: Any) -> Any:
        seen.append(1)
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    model = _two_heads("list")
    model.compile(loss=counting)
    x, zoom, angle = _data()
    report = lossdoctor.check(model, (x, [zoom, angle]), repairs=False)
    assert [p.loss for p in report.pairs] == ["counting", "counting"]
    assert seen
