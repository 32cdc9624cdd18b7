"""Distribution strategies, on real Keras with two replicas: all of it in one process, whose devices are set before TensorFlow starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute trains TensorFlow's models"),
    pytest.mark.xdist_group("replicas"),
]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    script = Path(__file__).with_name("replicas.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("@")]
    assert lines, done.stderr
    answer: dict[str, Any] = json.loads(lines[-1][1:])
    return answer


# (gradient, logged loss) with two replicas, in multiples of those with one: the table of LD404's page.
MEASURED = {
    "mse": (1, 1),
    "sum": (1, 1),
    "none": (1, 2),
    "per sample": (1, 1),
    "its own mean": (2, 2),
    "a subclass's own mean": (2, 2),
    "its own sum": (1, 1),
}


@pytest.mark.parametrize("name", MEASURED)
def test_what_keras_does_and_what_is_said_of_it(found: dict[str, Any], name: str) -> None:
    gradient, logged = MEASURED[name]
    measured = found["measured"][name]
    told = found["outside"] if name == "its own mean" else found["told"].get(name)
    assert measured["gradient"] == pytest.approx(gradient, rel=1e-4)
    assert measured["logged"] == pytest.approx(logged, rel=1e-4)
    assert measured["off"] < 1e-4
    if told is None:
        return
    assert told["fit"] == "ok"
    said = [severity for code, severity, message in told["findings"] if code == "LD404" and "2 replicas" in message]
    assert said == (["warning"] if gradient == 2 else [])
    if gradient == 2:
        evidence = told["evidence"]["LD404"]
        times = evidence["gradient norm, 2 replicas"] / evidence["gradient norm, one replica"]
        assert times == pytest.approx(measured["gradient"], rel=1e-4)
        assert evidence["logged loss, one replica"] == pytest.approx(told["loss"], rel=1e-5)
        assert evidence["logged loss, 2 replicas"] == pytest.approx(2 * told["loss"], rel=1e-5)


def test_weights_that_each_replica_adds_up_for_itself(found: dict[str, Any]) -> None:
    assert found["weighted"]["mse"]["gradient"] == pytest.approx(1, rel=1e-4) and found["weighted"]["mse"]["off"] < 1e-4
    for name in ("its own mean", "mean_with_sample_weight"):
        assert found["weighted"][name]["off"] > 0.01


def test_train_on_batch_gives_every_replica_the_whole_batch(found: dict[str, Any]) -> None:
    assert found["train_on_batch"]["gradient"] == pytest.approx(2, rel=1e-4)


def test_without_a_strategy_nothing_is_said_of_it(found: dict[str, Any]) -> None:
    assert [severity for _, severity, _ in found["one device"]["findings"]] == ["info"]
    assert "replicas" not in json.dumps(found["one device"])


def test_a_check_inside_the_scope_says_the_same(found: dict[str, Any]) -> None:
    assert found["inside"]["fit"] == "ok"
    assert found["the same bytes"] and found["still in scope"]


def test_a_batch_too_small_for_the_replicas_is_said(found: dict[str, Any]) -> None:
    assert any("cannot be dealt out to 2 replicas" in note for note in found["one row"]["notes"])
    assert not any("2 replicas" in message for _, _, message in found["one row"]["findings"])
