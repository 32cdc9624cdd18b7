"""Trees of many leaves: no step of Keras's own is taken a leaf, and nothing is searched leaf by leaf."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import lossdoctor
from lossdoctor.exam import observe, probes, standin
from lossdoctor.exam.metrics import _Known
from lossdoctor.rules.repairs import put

ROWS = 6
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def check(count: int, loss: Any = "mse", **options: Any) -> Any:
    random = np.random.default_rng(0)
    targets = {f"o{i:02}": random.normal(size=(ROWS, 1)).astype("float32") for i in range(count)}
    specs = dict.fromkeys(targets, ((ROWS, 1), "float32"))
    return lossdoctor.check(outputs=specs, batch=(None, targets), loss=loss, repairs=False, **options)


def test_a_wider_tree_takes_no_more_train_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    train, steps = standin.train, []

    def counted(model: Any, setup: Any, method: str) -> Any:
        steps.append(method)
        return train(model, setup, method)

    monkeypatch.setattr(standin, "train", counted)
    monkeypatch.setattr(probes, "_LONGEST", 1e9)  # however busy the machine is
    taken = {}
    for count in (9, 18):
        steps.clear()
        report = check(count, loss={f"o{i:02}": squared if i % 2 else "mse" for i in range(count)})
        assert len(report.data.pairs) == count and "LD803" not in report.data.checks.skipped
        taken[count] = list(steps)
    assert taken[9] == taken[18] and taken[9].count("fit") == 1


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX traces for the gradient's sake, and to build the metrics")
def test_a_compiled_step_is_traced_once_and_logs_what_keras_logs() -> None:
    calls = []

    def noted(y_true: Any, y_pred: Any) -> Any:
        calls.append(hasattr(y_pred, "graph"))
        return squared(y_true, y_pred)

    report = check(3, loss=noted)
    traced = sum(calls)
    assert traced == 3
    outputs = {pair.output: pair.value for pair in report.data.pairs}
    assert len(outputs) == 3 and report.data.outcomes["fit"].loss == pytest.approx(sum(outputs.values()), rel=1e-5)


@pytest.mark.parametrize("crossed", [False, True])
def test_many_outputs_are_run_eagerly_to_the_same_end(monkeypatch: pytest.MonkeyPatch, crossed: bool) -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, {name: keras.layers.Dense(1, name=name)(inputs) for name in ("z", "a", "m")})
    model.compile("sgd", loss="mse", metrics={"a": ["mae"]})
    random = np.random.default_rng(0)
    x, targets = random.normal(size=(ROWS, 2)), {name: random.normal(size=(ROWS, 1)) for name in ("z", "a", "m")}
    y = list(targets.values()) if crossed else targets
    traced = lossdoctor.check(model, (x, y))
    monkeypatch.setattr(observe, "_MOST_TRACED", 2)
    eager = lossdoctor.check(model, (x, y))
    assert any("run_eagerly=True" in note for note in eager.data.checks.notes) == ON_TENSORFLOW
    assert [(p.output, p.target, p.value) for p in eager.data.pairs] == [
        (p.output, p.target, pytest.approx(p.value, rel=1e-5)) for p in traced.data.pairs
    ]
    assert [f.code for f in eager.findings] == [f.code for f in traced.findings]
    assert any(f.severity == "error" for f in eager.findings) == crossed
    own = lossdoctor.check(model, (x, y), loss=squared)
    assert not any("run_eagerly=True" in note for note in own.data.checks.notes)


def test_weights_are_told_apart_by_their_place_where_they_are_equal() -> None:
    weights = {"o00": 2.0, "o01": 1.0, "o02": 1.0}
    report = check(3, loss=dict.fromkeys(weights, "mse"), loss_weights=weights)
    assert [p.weight_path for p in report.data.pairs] == [f"loss_weights['{name}']" for name in weights]


def test_arrays_are_found_by_their_values_the_first_of_equal_ones() -> None:
    random = np.random.default_rng(1)
    arrays = {f"a{i}": random.normal(size=(4, 1)) for i in range(50)}
    arrays |= {"again": arrays["a7"], "nan": np.full((4, 1), np.nan), "words": np.array(["x", "y"])}
    known = _Known(arrays)
    for path, array in arrays.items():
        close = array * (1 + 1e-7) if array.dtype.kind == "f" else array
        assert known.path(close) == ("a7" if path == "again" else path)
    assert known.path(random.normal(size=(4, 1))) is None and known.path(arrays["a7"][:2]) is None
    assert known.path(None) is None


def test_a_leaf_is_put_among_thousands_without_naming_them() -> None:
    tree = {f"it's {i}": {'a"]b': i} for i in range(3000)}
    for key in ("it's 0", "it's 2999"):
        path = f"y[{key!r}]['a\"]b']"
        made = put(tree, "y", path, f"-{path}")
        assert eval(made, {"y": tree}) == tree | {key: {'a"]b': -tree[key]['a"]b']}}
        assert len(made) < 120
