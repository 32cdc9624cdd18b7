"""Every loss of the installed Keras: correct targets are clean, and what is said of wrong ones is what Keras does."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lossdoctor
from tests.agree import agree_with_keras

ROWS, UNITS, STEPS = 8, 3, 12
LOSSES = sorted(
    name
    for name in dir(keras.losses)
    if isinstance(getattr(keras.losses, name), type) and getattr(keras.losses, name) is not keras.losses.Loss
)
FUNCTIONS = sorted(
    name
    for name in dir(keras.losses)
    if callable(getattr(keras.losses, name))
    and not isinstance(getattr(keras.losses, name), type)
    and name not in ("get", "serialize", "deserialize")
)
# The abbreviations are the same function objects; each is looked at once.
ALIASES = {n for n in FUNCTIONS if n != getattr(keras.losses, n).__name__}


def family(name: str) -> str:
    """What a loss takes, by the words in its name; a loss that a later Keras adds is taken for a regression."""
    plain = name.lower().replace("_", "")
    for word, kind in (
        ("ctc", "ctc"),
        ("circle", "labels"),
        ("sparse", "sparse"),
        ("categoricalgeneralized", "sparse"),
        ("categoricalhinge", "hinge-rows"),
        ("categorical", "onehot"),
        ("kldivergence", "onehot"),
        ("binary", "binary"),
        ("dice", "binary"),
        ("tversky", "binary"),
        ("hinge", "signs"),
        ("poisson", "counts"),
        ("logarithmic", "positive"),
        ("percentage", "positive"),
    ):
        if word in plain:
            return kind
    return "regression"


def activation(kind: str) -> str:
    return {
        "sparse": "softmax",
        "onehot": "softmax",
        "binary": "sigmoid",
        "signs": "tanh",
        "counts": "exponential",
        "positive": "softplus",
    }.get(kind, "linear")


def correct(kind: str) -> np.ndarray:
    random = np.random.default_rng(3)
    classes = np.arange(ROWS) % UNITS
    return {
        "ctc": 1 + np.arange(ROWS * 3).reshape(ROWS, 3) % (UNITS - 1),
        "labels": classes,
        "sparse": classes,
        "onehot": np.eye(UNITS)[classes],
        "hinge-rows": np.eye(UNITS)[classes],
        "binary": (random.uniform(size=(ROWS, UNITS)) > 0.5) * 1.0,
        "signs": np.sign(random.normal(size=(ROWS, UNITS))),
        "counts": random.poisson(3, size=(ROWS, UNITS)) * 1.0,
        "positive": random.uniform(0.5, 2, size=(ROWS, UNITS)),
        "regression": random.normal(size=(ROWS, UNITS)),
    }[kind]


def model(kind: str, loss: Any) -> tuple[Any, np.ndarray]:
    shape = (STEPS, 4) if kind == "ctc" else (4,)
    i = keras.Input(shape)
    made = keras.Model(i, layers.Dense(UNITS, activation=activation(kind))(i))
    made.compile(loss=loss)
    return made, np.random.default_rng(1).normal(size=(ROWS, *shape)).astype("float32")


def examined(kind: str, loss: Any, y: np.ndarray) -> lossdoctor.Report:
    made, x = model(kind, loss)
    report = lossdoctor.check(made, (x, y), repairs=False)
    agree_with_keras(made, (x, y), report)
    return report


@pytest.mark.parametrize("name", LOSSES)
def test_correct_targets_are_clean(name: str) -> None:
    kind = family(name)
    report = examined(kind, getattr(keras.losses, name)(), correct(kind))
    assert [f"{f.code} {f.message}" for f in report.findings if f.severity != "info"] == []
    assert report.data.outcomes["fit"].status == "ok"


def takes_two(name: str) -> bool:
    """True for a function that can be called with y_true and y_pred alone."""
    needed = [p for p in inspect.signature(getattr(keras.losses, name)).parameters.values() if p.default is p.empty]
    return len(needed) == 2


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ALIASES and takes_two(n)])
def test_functions_and_their_names_are_clean_too(name: str) -> None:
    kind = family(name)
    for loss in (getattr(keras.losses, name), name):
        report = examined(kind, loss, correct(kind))
        assert [f"{f.code} {f.message}" for f in report.findings if f.severity != "info"] == []


def wrong_shapes(y: np.ndarray) -> dict[str, np.ndarray]:
    rows = y if y.ndim > 1 else y[:, None]
    return {
        "one axis less": rows[:, 0],
        "one axis more": rows[..., None],
        "one column": rows[:, :1],
        "a column too many": np.concatenate([rows, rows[:, :1]], axis=1),
    }


@pytest.mark.parametrize("wrong", ["one axis less", "one axis more", "one column", "a column too many"])
@pytest.mark.parametrize("name", LOSSES)
def test_wrong_shapes_are_told_as_keras_takes_them(name: str, wrong: str) -> None:
    """Where Keras trains on targets of another shape, either a loss of the output's own shape comes out the same, or it is told."""
    kind = family(name)
    y = wrong_shapes(correct(kind))[wrong]
    made, x = model(kind, getattr(keras.losses, name)())
    report = lossdoctor.check(made, (x, y), repairs=False)
    agree_with_keras(made, (x, y), report)
    if report.data.outcomes["fit"].status == "raises":
        return
    told = [f for f in report.findings if f.severity == "error"]
    loss, predicted = getattr(keras.losses, name)(), np.asarray(made.predict(x, verbose=0))
    value = float(np.mean(keras.ops.convert_to_numpy(loss(y, predicted))))
    for finding in report.findings:
        if finding.code == "LD302" and "compared as" in finding.evidence:
            shape = tuple(finding.evidence["compared as"])
            expanded = loss(np.broadcast_to(y, shape), np.broadcast_to(predicted, shape))
            assert value == pytest.approx(float(np.mean(keras.ops.convert_to_numpy(expanded))), rel=1e-4)
        if finding.code == "LD301":
            assert "squeezes" in finding.message
            squeezed = loss(np.squeeze(y, -1) if y.ndim > predicted.ndim else y, predicted)
            assert value == pytest.approx(float(np.mean(keras.ops.convert_to_numpy(squeezed))), rel=1e-4)
    if not told:
        assert kind in ("sparse", "labels", "ctc") or y.size == predicted.size, "trains on other shapes without a word"


RANGES = {
    "sparse": (lambda y: y + 1, "LD702"),
    "onehot": (lambda y: y + 0.3, "LD703"),
    "binary": (lambda y: 255 * y, "LD703"),
    "signs": (lambda y: 3 * y, "LD704"),
    "counts": (lambda y: y - 5, "LD704"),
}


@pytest.mark.parametrize("name", [n for n in LOSSES if family(n) in RANGES])
def test_wrong_ranges_are_told(name: str) -> None:
    kind = family(name)
    change, code = RANGES[kind]
    report = examined(kind, getattr(keras.losses, name)(), change(correct(kind)))
    assert report.data.outcomes["fit"].status in ("ok", "raises")
    assert code in [f.code for f in report.findings if f.severity != "info"]


@pytest.mark.parametrize("name", [n for n in LOSSES if family(n) in ("sparse", "onehot")])
def test_the_other_label_encoding_is_told(name: str) -> None:
    kind = family(name)
    other = correct("onehot" if kind == "sparse" else "sparse")
    report = examined(kind, getattr(keras.losses, name)(), other)
    assert "LD305" in [f.code for f in report.findings if f.severity == "error"]
    repaired = examined(kind, getattr(keras.losses, name)(), correct(kind))
    assert "LD305" not in [f.code for f in repaired.findings]
