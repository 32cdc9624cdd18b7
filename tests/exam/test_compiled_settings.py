"""`run_eagerly`, `jit_compile` and `steps_per_execution`: they change a verdict only where they change what Keras does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import losses, ops

import lossdoctor
from lossdoctor import releases
from tests.agree import agree_with_keras
from tests.test_legitimate import N, classes, dense, made, normal

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
# Beside the default, which is XLA on JAX and none on TensorFlow's CPU. On JAX an eager step is one without XLA.
ON_TORCH = keras.backend.backend() == "torch"
SETTINGS: list[dict[str, Any]] = [] if ON_TORCH else [{"jit_compile": ON_TENSORFLOW, "steps_per_execution": 3}]
SETTINGS += [] if keras.backend.backend() == "jax" else [{"run_eagerly": True}]


class Unsqueezed(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


def _one_number(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred))


def _raises(y_true: Any, y_pred: Any) -> Any:
    raise RuntimeError("user boom")


def _python_if(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred)) if bool(ops.mean(y_pred) > 0) else ops.mean(ops.abs(y_true - y_pred))


def one(units: int = 3, activation: str | None = None, **compiled: Any) -> Any:
    return made(lambda i: dense(units, activation)(i), **{"loss": "mse", **compiled})


def two(**compiled: Any) -> Any:
    return made(lambda i: {"z": dense(1, name="z")(i), "a": dense(1, name="a")(i)}, **{"loss": "mse", **compiled})


Y = {"z": normal(N, 1), "a": normal(N, 1)}
# name: (model, the rest of the batch, one rule that must speak, or "")
SAME: dict[str, tuple[Callable[..., Any], tuple[Any, ...], str]] = {
    "legitimate": (lambda **c: two(metrics={"z": ["mae"], "a": ["mse"]}, **c), (Y,), ""),
    "legitimate, with labels and weights": (
        lambda **c: one(3, "softmax", loss="sparse_categorical_crossentropy", metrics=["accuracy"], **c),
        (classes(3, N), np.linspace(0, 1, N)),
        "",
    ),
    "swapped by sorting": (two, ([Y["z"], Y["a"]],), "LD203"),
    "a missing key": (lambda **c: two(loss={"z": "mse"}, **c), ({"a": Y["a"]},), "LD202"),
    "a broadcast": (lambda **c: one(1, loss=Unsqueezed(), **c), (normal(N),), "LD302"),
    "no reduction": (
        lambda **c: one(loss=losses.MeanSquaredError(reduction=None), **c),
        (normal(N, 3),),
        "LD401",
    ),
    "weights on one number": (lambda **c: one(loss=_one_number, **c), (normal(N, 3), np.linspace(0, 1, N)), "LD404"),
    "incompatible shapes": (one, (normal(N, 5),), "LD303"),
    "a loss that raises": (lambda **c: one(loss=_raises, **c), (normal(N, 3),), "LD804"),
    "labels out of range": (
        lambda **c: one(3, "softmax", loss="sparse_categorical_crossentropy", **c),
        (np.full(N, 7),),
        "LD702",
    ),
}


def verdict(report: lossdoctor.Report) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(f.code, f.severity, f.where) for f in report.findings}


def checked(build: Callable[..., Any], rest: tuple[Any, ...], settings: dict[str, Any]) -> lossdoctor.Report:
    """The report, which says of `fit` what the real one does with these settings."""
    model, batch = build(**settings), (normal(N, 4), *rest)
    report = lossdoctor.check(model, batch, repairs=False)
    agree_with_keras(model, batch, report)
    return report


@pytest.mark.parametrize("name", SAME)
def test_the_verdict_is_the_same(name: str) -> None:
    build, rest, code = SAME[name]
    plain = checked(build, rest, {})
    assert code in [f.code for f in plain.findings] or not [f for f in plain.findings if f.severity != "info"]
    assert bool(code) == (code in [f.code for f in plain.findings])
    for settings in SETTINGS:
        other = verdict(checked(build, rest, settings))
        if name == "labels out of range":  # XLA's NaN is told as well
            other = {found for found in other if found[0] != "LD805"}
        assert other == verdict(plain), settings


def status(report: lossdoctor.Report) -> str:
    return report.data.outcomes["fit"].status


@pytest.mark.skipif(not ON_TORCH, reason="JAX and TensorFlow run several steps in one")
def test_several_steps_in_one_raise_on_pytorch() -> None:
    report = checked(one, (normal(N, 3),), {"steps_per_execution": 3})
    [found] = [f for f in report.findings if f.severity == "error"]
    assert found.code == "LD804" and "steps_per_execution" in found.message


def test_what_only_an_eager_step_can_do_is_judged_by_the_setting(tmp_path: Path) -> None:
    y = (normal(N, 3),)
    # PyTorch compiles nothing unless it is asked to.
    assert status(checked(lambda **c: one(loss=_python_if, **c), y, {})) == ("ok" if ON_TORCH else "raises")
    # JAX traces the loss for its gradient in any case (and Keras 3.4 does not trace it to build its metrics).
    eagerly = checked(lambda **c: one(loss=_python_if, **c), y, {"run_eagerly": True})
    traced = keras.backend.backend() == "jax" and releases.since(keras.__version__, "3.5")
    assert status(eagerly) == ("raises" if traced else "ok")
    model = one()
    model.compile(loss=_python_if)
    model.run_eagerly = True  # after compile
    assert status(lossdoctor.check(model, (normal(N, 4), *y), repairs=False)) == status(eagerly)
    model = one(loss="mse", run_eagerly=True)
    model.save(tmp_path / "m.keras")
    lossdoctor.save_batch(tmp_path / "b.npz", normal(N, 4), *y)
    from lossdoctor.case.load import load_case

    compiled = load_case(str(tmp_path / "m.keras"), str(tmp_path / "b.npz")).compile
    assert (compiled.run_eagerly, compiled.jit_compile, compiled.steps_per_execution) == (True, False, 1)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="on JAX nothing raises for such labels")
@pytest.mark.parametrize("saved", [False, True])
def test_labels_out_of_range_do_not_raise_under_xla(saved: bool, tmp_path: Path) -> None:
    """The real step logs NaN there, and so does the stand-in's."""
    model = one(3, "softmax", loss="sparse_categorical_crossentropy", jit_compile=True)
    x, y = normal(N, 4), np.full(N, 7)
    if saved:
        from lossdoctor.doctor import examine

        model.save(tmp_path / "m.keras")
        lossdoctor.save_batch(tmp_path / "b.npz", x, y)
        data = examine(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"), repairs=False)
        model = keras.saving.load_model(tmp_path / "m.keras")
    else:
        data = lossdoctor.check(model, (x, y), repairs=False).data
    assert np.isnan(model.fit(x, y, verbose=0).history["loss"][0])
    assert np.isnan(data.outcomes["fit"].loss)
    assert [(f.severity, f.impact) for f in data.findings if f.code == "LD702"] == [("error", "silent")]
