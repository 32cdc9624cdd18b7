"""Model files: config only, bounded, and nothing in them runs."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lossdoctor
from lossdoctor.case.archive import named_objects, read_model_config
from lossdoctor.doctor import examine
from lossdoctor.types import CaseError


def _model() -> Any:
    i = keras.Input((4,), name="i")
    model = keras.Model(i, layers.Dense(1)(i))
    model.compile(loss="mse")
    return model


def _batch(folder: Path) -> str:
    lossdoctor.save_batch(folder / "b.npz", np.ones((8, 4)), np.zeros((8, 1)))
    return str(folder / "b.npz")


def _rewrite(path: Path, change: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_only_the_config_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    _model().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name.endswith(".json")}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr("model.weights.h5", b"no weights at all")
    assert examine(str(path), _batch(tmp_path)).verdict == "clean"


BROKEN: dict[str, tuple[Any, str]] = {
    "missing": (lambda p: None, "there is no model file"),
    "a folder": (lambda p: p.mkdir(), "is a folder"),
    "not a zip": (lambda p: p.write_bytes(b"not a zip"), "is not a .keras file"),
    "empty": (lambda p: p.write_bytes(b""), "is not a .keras file"),
    "no config.json": (lambda p: _zip(p, {"a.txt": b""}), "without config.json"),
    "config no json": (lambda p: _zip(p, {"config.json": b"{"}), "is not JSON"),
    "config no object": (lambda p: _zip(p, {"config.json": b"[1]"}), "holds no model"),
    "config not utf-8": (lambda p: _zip(p, {"config.json": b"\xff\xfe\x00"}), "is not JSON"),
    "deep config": (lambda p: _zip(p, {"config.json": b'{"a":' * 300 + b"1" + b"}" * 300}), "nested deeper"),
    "very deep config": (lambda p: _zip(p, {"config.json": b"[" * 200_000}), "is not JSON"),
    "a config that is no model": (lambda p: _zip(p, {"config.json": b'{"a": 1}'}), "not a model"),
    "hdf5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 64), "an HDF5 file by its first bytes"),
    "a zip file behind something": (
        lambda p: (_zip(p, {"config.json": b"{}"}), p.write_bytes(b"\0" * 512 + p.read_bytes())),
        "does not begin as a zip file",
    ),
    "more lists than any model": (
        lambda p: _zip(p, {"config.json": b'{"a":[' + b"[]," * 500_000 + b"1]}"}),
        "not read",
    ),
    "more values than any model": (
        lambda p: _zip(p, {"config.json": b'{"a":[' + b"1," * 8_000_000 + b"1]}"}),
        "not read",
    ),
    "a fifo": (lambda p: os.mkfifo(p), "not a regular file"),
}


def _zip(path: Path, members: dict[str, bytes], **options: Any) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_get_one_sentence(tmp_path: Path, name: str) -> None:
    make, said = BROKEN[name]
    path = tmp_path / "broken.keras"
    make(path)
    with pytest.raises(CaseError, match=said) as raised:
        examine(str(path), _batch(tmp_path))
    assert "broken.keras" in str(raised.value) and "\n" not in str(raised.value)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    _zip(path, {"config.json": b" " * (32 << 20)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CaseError, match="more than any model needs"):
        read_model_config(str(path))


def test_a_saved_model_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(CaseError, match=r"a SavedModel folder, which Keras 3 cannot .* write model\.save"):
        read_model_config(str(tmp_path / "saved"))


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "exec"), ("subprocess", "Popen"), ("lossdoctor.api", "Report")]
)
@pytest.mark.parametrize("kind", ["activation", "layer", "loss"])
def test_foreign_modules_are_refused_and_not_imported(tmp_path: Path, module: str, name: str, kind: str) -> None:
    path = tmp_path / "evil.keras"
    _model().save(path)
    function = {"class_name": "function", "config": name, "module": module, "registered_name": name}

    def change(config: dict[str, Any]) -> None:
        if kind == "loss":
            config["compile_config"]["loss"] = function
        elif kind == "activation":
            config["config"]["layers"][1]["config"]["activation"] = function
        else:
            config["config"]["layers"][1] |= {"module": module, "class_name": name, "registered_name": name}

    _rewrite(path, change)
    with pytest.raises(CaseError, match="neither Keras's nor registered"):
        examine(str(path), _batch(tmp_path))


def test_stored_lambda_code_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    i = keras.Input((4,), name="i")
    code = eval(f"lambda t: (open({str(marker)!r}, 'w').close(), t)[1]")
    model = keras.Model(i, layers.Dense(1)(layers.Lambda(code, output_shape=(4,))(i)))
    model.compile(loss="mse")
    model.save(tmp_path / "lambda.keras")
    marker.unlink(missing_ok=True)
    with pytest.raises(CaseError, match=r"lambda\.keras.*stored Lambda code, which is not run; pass --unsafe"):
        examine(str(tmp_path / "lambda.keras"), _batch(tmp_path))
    assert not marker.exists()
    assert examine(str(tmp_path / "lambda.keras"), _batch(tmp_path), unsafe=True).verdict == "clean"


OBJECTS = """
import keras
from keras import layers, ops

class Twice(layers.Layer):
    def call(self, x):
        return 2 * x

def my_loss(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)

def my_metric(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred))
"""


def _custom(folder: Path, **compiled: str) -> Path:
    namespace: dict[str, Any] = {"__name__": "elsewhere"}
    exec(OBJECTS, namespace)
    i = keras.Input((4,), name="i")
    model = keras.Model(i, layers.Dense(1)(namespace["Twice"]()(i) if compiled.pop("layer", None) else i))
    model.compile(**{k: namespace.get(v, v) if k == "loss" else [namespace[v]] for k, v in compiled.items()})
    model.save(folder / "custom.keras")
    (folder / "objects.py").write_text(OBJECTS)
    return folder / "custom.keras"


@pytest.mark.parametrize(
    ("compiled", "missing"), [({"layer": "yes", "loss": "mse"}, "Twice"), ({"loss": "my_loss"}, "my_loss")]
)
def test_unregistered_objects_are_named_and_found_in_objects(tmp_path: Path, compiled: Any, missing: str) -> None:
    path = _custom(tmp_path, **compiled)
    with pytest.raises(CaseError, match=rf"custom\.keras: .*{missing}.*--objects"):
        examine(str(path), _batch(tmp_path))
    report = examine(str(path), _batch(tmp_path), objects=[str(tmp_path / "objects.py")])
    assert report.verdict == "clean"


def test_an_unknown_metric_is_left_out_and_said(tmp_path: Path) -> None:
    report = examine(str(_custom(tmp_path, loss="mse", metrics="my_metric")), _batch(tmp_path))
    assert [(f.code, f.severity) for f in report.findings] == [("LD952", "info")]
    assert report.outcomes["fit"].status == "ok"


def test_a_graph_that_calls_a_layer_on_no_tensor_is_seen() -> None:
    def found(nodes: Any) -> bool:
        return named_objects({"class_name": "Dense", "inbound_nodes": nodes})[0].computes

    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["i", 0, 0]}}
    number = {"class_name": "__tensor__", "config": {"value": [1.0], "dtype": "float32"}}
    assert not any(
        map(found, ([], [{"args": [tensor], "kwargs": {}}], [{"args": [number, [{"a": tensor}]], "kwargs": {}}]))
    )
    assert not any(map(found, ([{"args": [], "kwargs": {"x": tensor}}], [[["i", 0, 0, {}]]])))
    inside = {"class_name": "Dense", "config": {"name": tensor}}
    for nodes in ([{"args": [number], "kwargs": {}}], [{"args": [inside], "kwargs": {}}], [[]], [{}], {"": 1}):
        assert found(nodes), nodes
    assert found([{"args": [tensor], "kwargs": {}}, {"args": [1], "kwargs": {}}])


def test_places_are_told_without_long_names() -> None:
    (found,) = named_objects({"a" * 1000: [{"b": {"class_name": "Dense"}}]})
    assert found.path == f"config.{'a' * 57}...[0].b"
    assert (
        len(
            named_objects(
                [[{"b" * 50: [[{"c" * 50: {"a" * 50: [{"d" * 50: {"e" * 50: {"f" * 50: {"class_name": "x"}}}}]}}]]}]]
            )[0].path
        )
        == 300
    )


def test_objects_are_found_wherever_they_stand() -> None:
    config = {
        "class_name": "Functional",
        "module": "keras",
        "config": {
            "layers": [
                {"class_name": "Mine", "module": "pkg", "registered_name": "pkg>Mine", "config": {}},
                {"class_name": "__lambda__", "config": {"value": "x"}},
                {"class_name": "function", "module": "builtins", "config": "relu", "registered_name": "function"},
            ]
        },
    }
    assert [(f.module, f.name, f.stored_code) for f in named_objects(config)] == [
        ("keras", "Functional", False),
        ("pkg", "Mine", False),
        ("", "__lambda__", True),
        ("builtins", "relu", False),
    ]
