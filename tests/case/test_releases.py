"""Model files of older releases and legacy HDF5 files: read without weights, as Keras reads them, and nothing in them runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import lossdoctor
from lossdoctor.case.archive import read_model_config
from lossdoctor.case.model import rebuild, saved_arguments
from lossdoctor.doctor import examine
from lossdoctor.types import CaseError

RELEASES = Path(__file__).parents[2] / "fixtures" / "releases"
ROWS = 8
RANDOM = np.random.default_rng(3)
X = {
    "image": RANDOM.normal(size=(ROWS, 8, 8, 3)).astype("float32"),
    "tokens": RANDOM.integers(0, 20, size=(ROWS, 5)).astype("int32"),
}
Y = {"label": np.arange(ROWS) % 3, "box": RANDOM.normal(size=(ROWS, 4)).astype("float32")}
SEQUENTIAL = (RANDOM.normal(size=(ROWS, 6)).astype("float32"), (np.arange(ROWS) % 2).astype("float32")[:, None])
READABLE = sorted(p.name for p in RELEASES.glob("*_*.*") if p.name != "functional_2.21.0.keras")


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("batches")
    lossdoctor.save_batch(folder / "functional.npz", X, Y)
    lossdoctor.save_batch(folder / "sequential.npz", *SEQUENTIAL)
    return {name: str(folder / f"{name}.npz") for name in ("functional", "sequential")}


@pytest.mark.parametrize("name", ["functional_3.0.5.keras", "functional_2.21.0.h5", "sequential_3.12.0.h5"])
def test_files_of_older_releases_are_checked(name: str, batches: dict[str, str]) -> None:
    report = examine(str(RELEASES / name), batches[name.split("_")[0]], forward=name.endswith(".h5"), repairs=False)
    assert report.verdict == "clean" and report.findings == ()
    assert report.outcomes["fit"].status == "ok" and report.compile_source == "the model file"
    trained = {p.output: (p.target, p.loss, round(p.weight, 3)) for p in report.pairs}
    if name.startswith("sequential"):
        assert trained == {"y_pred": ("y", "binary_crossentropy", 1.0)}
    else:
        assert trained == {
            "y_pred['box']": ("y['box']", "huber", 3.0),
            "y_pred['label']": ("y['label']", "sparse_categorical_crossentropy", 1.0),
        }


@pytest.mark.parametrize("name", READABLE)
def test_the_weightless_model_of_every_release_is_the_loaded_one(name: str) -> None:
    archive = read_model_config(str(RELEASES / name))
    weightless, whole = rebuild(archive, {}, False), keras.saving.load_model(RELEASES / name, compile=False)
    assert _specs(weightless.inputs) == _specs(whole.inputs) and _specs(weightless.outputs) == _specs(whole.outputs)
    assert weightless.count_params() == whole.count_params()
    saved, unknown = saved_arguments(archive, weightless, {}, False, need_loss=True)
    assert unknown == ()
    if name.startswith("functional"):
        assert type(saved.loss["box"]) is keras.losses.Huber
        assert saved.loss["label"] == "sparse_categorical_crossentropy" or callable(saved.loss["label"])
        assert saved.loss_weights == {"box": 3.0, "label": 1.0}
    else:
        assert saved.loss.get_config()["label_smoothing"] == 0.1
    # No metrics of Keras 2, which resolves them before it saves them.
    assert (saved.metrics is None) == ("2.21.0" in name)


def _specs(tensors: Any) -> list[Any]:
    return [(t.shape, t.dtype, t._keras_history.operation.name) for t in keras.tree.flatten(tensors)]


def test_what_keras_2_wrote_and_keras_3_cannot_read_is_one_sentence(batches: dict[str, str]) -> None:
    said = r"functional_2\.21\.0\.keras was written by Keras 2\.21\.0, whose model Keras 3 cannot read; run the code"
    with pytest.raises(CaseError, match=said):
        examine(str(RELEASES / "functional_2.21.0.keras"), batches["functional"])


def test_a_report_says_what_was_taken_of_keras_2_s_compile_arguments(batches: dict[str, str]) -> None:
    notes = examine(str(RELEASES / "sequential_2.21.0.h5"), batches["sequential"]).checks.notes
    assert any("the compiled loss of this file, which Keras 2.21.0 wrote" in note for note in notes)
    assert any("the metrics of this file: Keras 2.21.0 wrote what it made of them" in note for note in notes)


def _edit(source: str, path: Path, change: Any) -> str:
    """A copy of a legacy file with another `model_config`."""
    shutil.copy(RELEASES / source, path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"])
        file.attrs["model_config"] = json.dumps(config)
    return str(path)


def _add(layer: dict[str, Any]) -> Any:
    return lambda layers: layers.insert(1, layer)


def test_an_h5_file_with_a_custom_layer_wants_objects(tmp_path: Path, batches: dict[str, str]) -> None:
    path = _edit("sequential_2.21.0.h5", tmp_path / "m.h5", _add({"class_name": "Twice", "config": {"name": "twice"}}))
    with pytest.raises(CaseError, match=r"m\.h5: .*'?Twice'?.*--objects FILE_OR_MODULE"):
        examine(path, batches["sequential"])
    (tmp_path / "twice.py").write_text(
        "import keras\n\nclass Twice(keras.layers.Layer):\n    def call(self, x):\n        return 2 * x\n"
    )
    report = examine(path, batches["sequential"], objects=[str(tmp_path / "twice.py")], repairs=False)
    assert report.verdict == "clean"


def test_lambda_code_in_an_h5_file_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = eval(f"lambda t: (open({str(marker)!r}, 'w').close(), t)[1]")
    model = keras.Sequential([keras.Input((6,)), layers.Lambda(code, output_shape=(6,)), layers.Dense(1)])
    model.compile(loss="mse")
    model.save(tmp_path / "lambda.h5")
    lossdoctor.save_batch(tmp_path / "b.npz", *SEQUENTIAL)
    marker.unlink(missing_ok=True)
    with pytest.raises(CaseError, match=r"lambda\.h5.*stored Lambda code, which is not run; pass --unsafe"):
        examine(str(tmp_path / "lambda.h5"), str(tmp_path / "b.npz"))
    assert not marker.exists()
    assert examine(str(tmp_path / "lambda.h5"), str(tmp_path / "b.npz"), unsafe=True).verdict == "clean"


def test_broken_h5_files_are_one_sentence(tmp_path: Path) -> None:
    def written(name: str, **attributes: Any) -> str:
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs.update(attributes)
        return str(tmp_path / name)

    whole = (RELEASES / "sequential_3.12.0.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[:3000])
    for path, said in (
        (written("weights.h5"), "an HDF5 file without a model, as model.save_weights writes it"),
        (written("number.h5", model_config=3), "model_config is no text"),
        (written("array.h5", model_config=["a", "b"]), "model_config is no text"),
        (written("text.h5", model_config="{"), "model_config is not JSON"),
        (written("list.h5", model_config="[1]"), "model_config holds no model"),
        (written("deep.h5", model_config='{"a":' * 300 + "1" + "}" * 300), "nested deeper"),
        (str(tmp_path / "cut.h5"), "is no readable HDF5 file"),
    ):
        with pytest.raises(CaseError, match=said) as raised:
            read_model_config(path)
        assert path in str(raised.value) and "\n" not in str(raised.value)
