"""Targets and losses that are no targets and no losses: a finding or one sentence, never a crash."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossdoctor
from lossdoctor.case.batch import hold_batch
from lossdoctor.doctor import examine
from tests.agree import agree_with_keras
from tests.cli.test_cli import call

N = 8
X = np.random.default_rng(4).normal(size=(N, 4)).astype("float32")
Y = np.random.default_rng(5).normal(size=(N, 1)).astype("float32")


def model(loss: Any = "mse", **compiled: Any) -> Any:
    i = keras.Input((4,))
    made = keras.Model(i, layers.Dense(1)(i))
    made.compile(optimizer="sgd", loss=loss, **compiled)
    return made


TARGETS: dict[str, tuple[Any, str]] = {
    "text": (np.array([["a"], ["b"]] * 4), "LD307"),
    "bytes": (np.array([[b"a"], [b"b"]] * 4), "LD307"),
    "numbers as objects": (np.array([[1.0]] * N, dtype=object), "LD307"),
    "lists of unequal length": (np.array([[1], [1, 2]] * 4, dtype=object), "LD307"),
    "dates": (np.array(["2026-01-01"] * N, dtype="datetime64[D]")[:, None], "LD307"),
    "complex": (Y.astype("complex64"), "LD307"),
    "NaN alone": (np.full((N, 1), np.nan), "LD701"),
    "infinity": (np.where(np.arange(N)[:, None] == 3, np.inf, Y), "LD701"),
    "a row too few": (Y[:-1], "LD304"),
    "one row": (Y[:1], "LD304"),
    "an object": (object(), "LD105"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_that_are_none(name: str) -> None:
    y, code = TARGETS[name]
    made = model()
    report = lossdoctor.check(made, (X, y), repairs=False)
    assert code in [f.code for f in report.findings if f.severity == "error"], [f.message for f in report.findings]
    agree_with_keras(made, (X, y), report)


def test_no_rows_are_one_sentence() -> None:
    with pytest.raises(lossdoctor.CaseError, match="no rows"):
        lossdoctor.check(model(), (X[:0], Y[:0]), repairs=False)


def test_one_row_is_examined() -> None:
    made = model()
    report = lossdoctor.check(made, (X[:1], Y[:1]), repairs=False)
    assert report.ok
    agree_with_keras(made, (X[:1], Y[:1]), report)


def test_object_arrays_in_a_file_are_one_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", x=X, y=np.array([[1], [1, 2]] * 4, dtype=object))
    model().save(tmp_path / "m.keras")
    with pytest.raises(lossdoctor.CaseError, match="objects|pickle"):
        examine(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))


LOSSES: dict[str, Any] = {
    "raises": lambda y_true, y_pred: 1 / 0,
    "returns None": lambda y_true, y_pred: None,
    "returns text": lambda y_true, y_pred: "small",
    "returns a number": lambda y_true, y_pred: 1.0,
    "returns an array": lambda y_true, y_pred: np.ones(3),
    "returns another shape": lambda y_true, y_pred: ops.ones((3, 2)) * ops.mean(y_pred),
    "returns a dict": lambda y_true, y_pred: {"loss": ops.mean(y_pred)},
    "takes one argument": lambda y: ops.mean(y),
    "returns NaN": lambda y_true, y_pred: ops.mean(ops.sqrt(-1.0 - ops.square(y_pred)), axis=-1),
    "returns integers": lambda y_true, y_pred: ops.cast(ops.round(y_pred[:, 0]), "int32"),
    "returns booleans": lambda y_true, y_pred: y_pred[:, 0] > 0,
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_that_are_none(name: str) -> None:
    made = model(LOSSES[name])
    report = lossdoctor.check(made, (X, Y), repairs=False)
    agree_with_keras(made, (X, Y), report)
    if name in ("raises", "returns None", "returns text", "takes one argument"):
        assert report.data.outcomes["fit"].status == "raises"
    if name == "returns NaN":
        assert [f.code for f in report.findings if f.severity != "info"] == ["LD805"]


def test_a_loss_that_prints_prints_nothing_into_the_report(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "chatty.py").write_text(
        "import keras, numpy as np\nfrom keras import layers, ops\n\n"
        "def loud(y_true, y_pred):\n    print('LOUD')\n    return ops.mean(ops.square(y_true - y_pred), axis=-1)\n\n"
        "i = keras.Input((4,))\nmodel = keras.Model(i, layers.Dense(1)(i))\nmodel.compile(loss=loud)\n"
        "batch = (np.ones((8, 4)), np.arange(8.0)[:, None])\n"
    )
    code, out, _ = call(
        capfd, "check", f"{tmp_path}/chatty.py:model", f"{tmp_path}/chatty.py:batch", "--format", "json"
    )
    assert code == 0 and "LOUD" not in out and json.loads(out)["verdict"] == "clean"


def test_a_slow_loss_is_waited_for() -> None:
    def slow(y_true: Any, y_pred: Any) -> Any:
        time.sleep(0.05)
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    assert lossdoctor.check(model(slow), (X, Y), repairs=False).ok


def test_an_opaque_batch_is_held_as_keras_sees_it() -> None:
    assert hold_batch((X, object()), "here").y.dtype == "object"
