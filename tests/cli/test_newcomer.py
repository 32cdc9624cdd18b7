"""What a newcomer meets: targets in a list for a dict of outputs, a number of one as a label of the other, and a script to repair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import lossdoctor
from lossdoctor.fixes.apply import provenance, run_statement
from lossdoctor.pytest_plugin import Doctor
from lossdoctor.types import Batch, HeldArray
from tests.cli.test_cli import call

pytestmark = pytest.mark.xdist_group("newcomer")
BY_NAME = "y = {'price': y[0], 'kind': y[1]}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A model of two outputs with loss weights, and a batch whose prices Keras takes for class numbers: fit raises on TensorFlow."""
    folder = tmp_path_factory.mktemp("newcomer")
    i = keras.Input((4,))
    outputs = {
        "price": keras.layers.Dense(1, name="price_head")(i),
        "kind": keras.layers.Dense(5, activation="softmax", name="kind_head")(i),
    }
    model = keras.Model(i, outputs)
    model.compile(
        loss={"price": "mse", "kind": "sparse_categorical_crossentropy"}, loss_weights={"price": 0.5, "kind": 2.0}
    )
    model.save(folder / "model.keras")
    price, kind = np.linspace(50, 500, 8).astype("float32"), (np.arange(8) % 5).astype("int32")
    lossdoctor.save_batch(folder / "batch.npz", np.ones((8, 4), "float32"), [price, kind])
    return str(folder / "model.keras"), str(folder / "batch.npz")


def test_one_cause_is_one_error_with_the_weights_as_compiled(
    files: tuple[str, str], capfd: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    from lossdoctor.case import load

    loaded: list[str] = []
    real = load.load_case
    monkeypatch.setattr(load, "load_case", lambda *a, **k: loaded.append(a[0]) or real(*a, **k))
    patch = tmp_path / "patch.py"
    code, out, _ = call(capfd, "check", *files, "--format", "json", "--patch", str(patch))
    report = json.loads(out)
    assert code == 1 and len(loaded) == 1
    assert {p["output"]: p["weight"] for p in report["pairs"]} == {"y_pred['price']": 0.5, "y_pred['kind']": 2.0}
    assert [f["code"] for f in report["findings"]] == ["LD203"]
    found = report["findings"][0]
    assert (
        "shapes" not in found["message"]
        and "fit raises; paired as declared, it runs, with the loss" in found["message"]
    )
    assert "outside the valid range of [0, 5)" in found["evidence"]["error"] and "Label values" not in out
    assert (found["fixes"][0]["code"], found["fixes"][0]["verified"]) == (BY_NAME, True)
    assert '"price": y[0]' in patch.read_text(encoding="utf-8")


def test_a_label_that_is_wrong_as_declared_too_stays(files: tuple[str, str]) -> None:
    model = keras.saving.load_model(files[0])
    price, kind = np.linspace(50, 500, 8).astype("float32"), (np.arange(8) % 7).astype("int32")
    for y in ([price, kind], {"price": price, "kind": kind}):
        report = lossdoctor.check(model, (np.ones((8, 4), "float32"), y), repairs=False)
        assert "LD702" in [f.code for f in report.findings if f.severity == "error"]


def test_the_script_is_repaired_once_and_the_old_batch_is_named(
    files: tuple[str, str], capfd: Any, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text("model.compile(loss=losses)\nmodel.fit(x, [price, kind], epochs=2)\n", encoding="utf-8")
    code, out, _ = call(capfd, "fix", *files, "--yes", "--source", str(script))
    once = script.read_text(encoding="utf-8")
    assert code == 0 and 'model.fit(x, {"price": price, "kind": kind}, epochs=2)' in once
    code, out, _ = call(capfd, "fix", *files, "--yes", "--source", str(script))
    said = " ".join(out.split())
    assert code == 1 and script.read_text(encoding="utf-8") == once
    assert "has these repairs already" in said and f"--yes --write-batch {files[1]}" in said
    assert "Nothing is wrong any more" not in said


def test_data_that_cannot_be_edited_are_left_with_the_statement(
    files: tuple[str, str], capfd: Any, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    text = "model.compile(loss=losses)\nmodel.fit(make_dataset(), epochs=2)\n"
    script.write_text(text, encoding="utf-8")
    code, out, _ = call(capfd, "fix", *files, "--yes", "--source", str(script))
    said = " ".join(out.split())
    assert code == 1 and script.read_text(encoding="utf-8") == text
    assert "still needs this by hand" in said and 'y = {"price": y[0], "kind": y[1]}' in said.replace("'", '"')
    assert "Nothing is wrong any more" not in said and "needs no change" not in said


@pytest.mark.parametrize("model", ["no/such/fixed.keras", "fixed.keras"])
def test_several_files_are_written_together_or_not_at_all(
    model: str, files: tuple[str, str], capfd: Any, tmp_path: Path
) -> None:
    """A folder that is missing, and a model of which no repair changes anything."""
    batch = tmp_path / "fixed.npz"
    code, _, err = call(
        capfd, "fix", *files, "--yes", "--write-batch", str(batch), "--write-model", str(tmp_path / model)
    )
    assert code == 2 and "fixed.keras" in err and len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_stops_a_script_ends_with_the_repair(files: tuple[str, str]) -> None:
    model = keras.saving.load_model(files[0])
    price, kind = np.linspace(50, 500, 8).astype("float32"), (np.arange(8) % 5).astype("int32")
    with pytest.raises(AssertionError) as stopped:
        Doctor().assert_trains(model, (np.ones((8, 4), "float32"), [price, kind]))
    assert str(stopped.value).splitlines()[-2:] == ["Repair, tried: name the targets", f"    {BY_NAME}"]


def test_a_target_in_another_shape_is_still_that_target() -> None:
    batch = Batch("here", None, [HeldArray(np.arange(4.0)), HeldArray(np.ones(4))])
    after = run_statement(batch, "y = {'z': y[0][..., None], 'a': y[1]}")
    assert provenance(batch, after) == {"y['z']": "y[0]", "y['a']": "y[1]"}
    assert "y['z']" not in provenance(batch, run_statement(batch, "y = {'z': y[0] + 1, 'a': y[1]}"))
