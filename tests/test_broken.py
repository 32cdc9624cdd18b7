"""Broken set-ups: where the real `fit` raises, the report says so; where it trains on the wrong thing, one rule names the cause."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from packaging.version import Version

import lossdoctor
from lossdoctor import releases
from tests.agree import agree_with_keras
from tests.test_legitimate import N, classes, dense, made, normal

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def _raises(y_true: Any, y_pred: Any) -> Any:
    raise RuntimeError("user boom")


def _nothing(y_true: Any, y_pred: Any) -> Any:
    return None


def _eager_only(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred)) if bool(ops.mean(y_pred) > 0) else ops.mean(ops.abs(y_true - y_pred))


def one(**compiled: Any) -> Any:
    return made(lambda i: dense(1)(i), **{"loss": "mse", **compiled})


def two(**compiled: Any) -> Any:
    return made(lambda i: {"z": dense(1, name="z")(i), "a": dense(1, name="a")(i)}, **{"loss": "mse", **compiled})


def two_listed(**compiled: Any) -> Any:
    return made(lambda i: [dense(1, name="z")(i), dense(1, name="a")(i)], **{"loss": "mse", **compiled})


# name: (model, y, the codes of its errors)
CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any], list[str]]] = {
    "strings as targets": (one, lambda: np.array(["a"] * N), ["LD307"]),
    "objects as targets": (one, lambda: np.array([object()] * N), ["LD307"]),
    "a loss that raises": (lambda: one(loss=_raises), lambda: normal(N, 1), ["LD804"]),
    "a loss that returns None": (lambda: one(loss=_nothing), lambda: normal(N, 1), ["LD804"]),
    "a loss that only runs eagerly": (lambda: one(loss=_eager_only), lambda: normal(N, 1), ["LD804"]),
    "a dict for one output": (one, lambda: {"o": normal(N, 1)}, ["LD102"]),
    "two targets for one output": (one, lambda: [normal(N, 1)] * 2, ["LD103"]),
    "three targets for two outputs": (two_listed, lambda: [normal(N, 1)] * 3, ["LD103"]),
    "a nested target": (two_listed, lambda: [[normal(N, 1)], normal(N, 1)], ["LD102"]),
    "a stack for two outputs": (two_listed, lambda: normal(2, N, 1), ["LD104"]),
    "a short target": (two_listed, lambda: [normal(N, 1), normal(3, 1)], ["LD304"]),
    "swapped by sorting": (two, lambda: [normal(N, 1), normal(N, 1)], ["LD203"]),
    "swapped by sorting, with broadcasts that follow": (
        lambda: made(lambda i: {"z": dense(1, name="z")(i), "a": dense(3, name="a")(i)}, loss="mse"),
        lambda: [normal(N, 1), normal(N, 3)],
        ["LD203"],
    ),
    "targets and losses by place": (
        lambda: two(loss=["mse", "mae"]),
        lambda: [normal(N, 1), normal(N, 1)],
        ["LD203", "LD204"],
    ),
    "partial losses, both targets by place": (
        lambda: two(loss={"z": "mse"}),
        lambda: [normal(N, 1), normal(N, 1)],
        ["LD203"],
    ),
    "another output's target": (lambda: two(loss={"z": "mse"}), lambda: {"a": normal(N, 1)}, ["LD202"]),
    "metrics in a list for dict outputs": (
        lambda: two(metrics=["mae"]),
        lambda: {"z": normal(N, 1), "a": normal(N, 1)},
        ["LD521"],
    ),
    "an unknown key": (two, lambda: {"z": normal(N, 1), "b": normal(N, 1)}, ["LD201"]),
    "an unknown key for a list of outputs": (two_listed, lambda: {"z": normal(N, 1), "b": normal(N, 1)}, ["LD201"]),
    "an unknown loss key": (
        lambda: two_listed(loss={"z": "mse", "b": "mse"}),
        lambda: [normal(N, 1), normal(N, 1)],
        ["LD501"],
    ),
    "weights under unknown names": (
        lambda: two_listed(loss={"z": "mse", "a": "mse"}, loss_weights={"q": 1.0, "r": 2.0}),
        lambda: [normal(N, 1), normal(N, 1)],
        ["LD511"],
    ),
    "four classes against three": (
        lambda: made(lambda i: dense(3, "softmax")(i), loss="categorical_crossentropy"),
        lambda: np.eye(4)[classes(4, N)],
        ["LD303"],
    ),
    "one-hot rows for a sparse loss": (
        lambda: made(lambda i: dense(3, "softmax")(i), loss="sparse_categorical_crossentropy"),
        lambda: np.eye(3)[classes(3, N)],
        ["LD305"],
    ),
}


# name: (fact, codes): where the installed Keras shows the fact, these are the errors.
OTHERWISE: dict[str, list[tuple[str, list[str]]]] = {
    "a dict for one output": [("layer-names", ["LD102"]), ("dict-for-one-output", [])],
    "a nested target": [("left-out", [])],
    "another output's target": [("partial-losses-raise", ["LD202", "LD502"])],
    "partial losses, both targets by place": [
        ("layer-names", ["LD203"]),
        ("partial-losses-raise", ["LD502"]),
        ("left-out", []),  # what is left of the outputs is paired from the first on
    ],
}


BEFORE_JAX_05 = keras.backend.backend() == "jax" and Version(version("jax")) < Version("0.5")


def expected(name: str) -> list[str]:
    """The codes of a case's errors under the installed Keras."""
    if name == "a loss that returns None" and BEFORE_JAX_05:  # JAX makes NaN of it, which LD805 says
        return []
    if name == "a loss that only runs eagerly" and keras.backend.backend() == "torch":  # which runs everything so
        return []
    shown = [codes for fact, codes in OTHERWISE.get(name, []) if releases.holds(fact, keras.__version__)]
    return shown[0] if shown else CASES[name][2]


@pytest.mark.parametrize("name", CASES)
def test_one_rule_names_the_cause_and_keras_agrees(name: str) -> None:
    build, targets, _ = CASES[name]
    model, batch = build(), (normal(N, 4), targets())
    report = lossdoctor.check(model, batch, repairs=False)
    assert [f.code for f in report.findings if f.severity == "error"] == expected(name)
    agree_with_keras(model, batch, report)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="only TensorFlow refuses a loss without gradient; others train on zeros")
def test_a_loss_that_reaches_nothing() -> None:
    def stopped(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - ops.stop_gradient(y_pred)), axis=-1)

    model, batch = one(loss=stopped), (normal(N, 4), normal(N, 1))
    report = lossdoctor.check(model, batch, repairs=False)
    assert "No gradients provided" in str(report.data.outcomes["fit"].error)
    agree_with_keras(model, batch, report)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX does not check labels, which a later rule says")
def test_an_error_of_the_compiled_step_says_what_it_is() -> None:
    model = made(lambda i: dense(3, "softmax")(i), loss="sparse_categorical_crossentropy")
    report = lossdoctor.check(model, (normal(N, 4), np.full(N, 7)), repairs=False)
    assert "label value of 7 which is outside the valid range of [0, 3)" in str(report.data.outcomes["fit"].error)
    agree_with_keras(model, (normal(N, 4), np.full(N, 7)), report)


def test_the_user_s_line_is_named() -> None:
    finding = lossdoctor.check(one(loss=_raises), (normal(N, 4), normal(N, 1)), repairs=False).findings[0]
    assert "test_broken.py" in finding.evidence["at"] and 'raise RuntimeError("user boom")' in finding.evidence["at"]


def test_large_batches_are_cut_and_that_is_said() -> None:
    model, rows = one(), 5000
    report = lossdoctor.check(model, (normal(rows, 4), normal(rows, 1)), repairs=False)
    assert report.data.rows == 256 and report.ok
    assert any("it has 5000" in note for note in report.data.checks.notes)
    short = lossdoctor.check(model, (normal(rows, 4), normal(rows - 1, 1)), repairs=False)
    assert [f.code for f in short.findings if f.severity == "error"] == ["LD304"]


def test_a_model_is_needed_or_outputs() -> None:
    for arguments in ({}, {"model": one(), "outputs": {"z": ((8, 1), "float32")}}):
        with pytest.raises(lossdoctor.CaseError, match="either a model or outputs"):
            lossdoctor.check(**arguments, batch=(None, normal(N, 1)), repairs=False)


def test_outputs_may_be_specs_without_a_model() -> None:
    z, a = normal(N, 1), normal(N, 1)
    specs = {"z": ((N, 1), "float32"), "a": keras.KerasTensor((N, 1))}
    report = lossdoctor.check(outputs=specs, batch=(None, [z, a]), loss="mse", repairs=False)
    assert [f.code for f in report.findings if f.severity == "error"] == ["LD203"]
    assert lossdoctor.check(outputs=specs, batch=(None, {"z": z, "a": a}), loss="mse", repairs=False).ok


def test_findings_can_be_raised() -> None:
    report = lossdoctor.check(two(), (normal(N, 4), [normal(N, 1), normal(N, 1)]), repairs=False)
    with pytest.raises(lossdoctor.FindingsError, match="LD203") as raised:
        report.raise_for_findings()
    assert raised.value.report is report and "LD203" in str(report)
    lossdoctor.check(two(), (normal(N, 4), {"z": normal(N, 1), "a": normal(N, 1)}), repairs=False).raise_for_findings(
        "info"
    )


@pytest.mark.skipif(not ON_TENSORFLOW, reason="only TensorFlow has scope names")
def test_a_name_that_tensorflow_refuses_is_not_blamed_on_the_targets() -> None:
    model = made(lambda i: {"größe": dense(1)(i), "alter": dense(1)(i)}, loss="mse")
    batch = (normal(N, 4), [normal(N, 1), normal(N, 1)])
    report = lossdoctor.check(model, batch, repairs=False)
    errors = [f for f in report.findings if f.severity == "error"]
    assert [f.code for f in errors] == ["LD804"] and "scope name" in errors[0].message
    agree_with_keras(model, batch, report)
