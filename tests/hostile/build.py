"""What the cases are built of: a sound model file, a sound batch, and ways to damage them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Make = Callable[[Path], list[str]]


@dataclass(frozen=True)
class Case:
    """`make` builds the files in a folder and gives the command's arguments.

    `codes` are the exit codes that are right, `says` what stderr must hold, `outputs` the names that may be written.
    """

    make: Make
    says: str = ""
    codes: tuple[int, ...] = (2,)
    outputs: tuple[str, ...] = ()
    stdin: bytes = b""


def layer(kind: str, module: str = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def dense(name: str = "d", **config: Any) -> dict[str, Any]:
    return layer("Dense", name=name, **{"units": 1, **config})


def start(**config: Any) -> dict[str, Any]:
    return layer("InputLayer", **{"batch_shape": [None, 4], "dtype": "float32", "name": "i", **config})


def function(module: str, name: str, registered: str | None = "function") -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered}


def sequential(*layers: Any, **more: Any) -> dict[str, Any]:
    """The config of a Sequential model whose layers, after the Input, are these."""
    given = list(layers) or [dense()]
    config = {"name": "s", "trainable": True, "layers": [start(), *given]}
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": config,
        "registered_name": None,
        "compile_config": {"optimizer": "sgd", "loss": "mse", "loss_weights": None, "metrics": None},
        **more,
    }


def tensor(name: str, shape: Any = (None, 4), node: int = 0, place: int = 0) -> dict[str, Any]:
    config = {"shape": list(shape), "dtype": "float32", "keras_history": [name, node, place]}
    return {"class_name": "__keras_tensor__", "config": config}


def called(made: dict[str, Any], *inputs: Any, name: str | None = None, **more: Any) -> dict[str, Any]:
    """A layer of a functional model with the one call that these inputs make."""
    nodes = [{"args": list(inputs), "kwargs": more}]
    named = name or (made["config"] if isinstance(made["config"], dict) else {}).get("name", "x")
    return {**made, "name": named, "inbound_nodes": nodes}


def functional(*layers: Any, output: Any = ("d", 0, 0), **more: Any) -> dict[str, Any]:
    """The config of a functional model: an Input named i, and these called layers."""
    first = {**start(), "name": "i", "inbound_nodes": []}
    config = {
        "name": "f",
        "trainable": True,
        "layers": [first, *layers],
        "input_layers": [["i", 0, 0]],
        "output_layers": [list(output)] if isinstance(output, tuple) else output,
    }
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
        "compile_config": {"optimizer": "sgd", "loss": "mse", "loss_weights": None, "metrics": None},
        **more,
    }


SOUND = functional(called(dense(), tensor("i")))
BATCH = {"x": np.ones((8, 4), "float32"), "y": np.zeros((8, 1), "float32")}


def zipped(members: Mapping[str, bytes | str], **options: Any) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def archive(config: Any = None, **members: bytes | str) -> bytes:
    """The bytes of a `.keras` file; `config` is JSON text, bytes, or what JSON is made of."""
    text = config if isinstance(config, str | bytes) else json.dumps(SOUND if config is None else config)
    return zipped({"metadata.json": '{"keras_version": "3.4.0"}', "config.json": text, **members})


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def header(text: str, data: bytes = b"", version: int = 1) -> bytes:
    """An .npy member with this text as its header."""
    padded = text.encode("latin-1") + b" \n"
    size = len(padded).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + padded + data


def described(descr: Any, shape: Any, data: bytes = b"", fortran: bool = False) -> bytes:
    return header(f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}", data)


def sound(folder: Path) -> list[str]:
    """A sound model and batch in the folder; their names."""
    (folder / "m.keras").write_bytes(archive())
    np.savez(folder / "b.npz", **BATCH)
    return ["m.keras", "b.npz"]


def with_model(data: Any, *more: str) -> Make:
    """`check` of a model file with these bytes, or this config, and a sound batch."""

    def make(folder: Path) -> list[str]:
        made = data(folder) if callable(data) else data
        sound(folder)
        (folder / "m.keras").write_bytes(made if isinstance(made, bytes) else archive(made))
        return ["check", "m.keras", "b.npz", *more]

    return make


def with_batch(data: Any, *more: str) -> Make:
    """`check` of a sound model and a batch file with these bytes, or these members."""

    def make(folder: Path) -> list[str]:
        sound(folder)
        made = data(folder) if callable(data) else data
        (folder / "b.npz").write_bytes(made if isinstance(made, bytes) else zipped(made))
        return ["check", "m.keras", "b.npz", *more]

    return make


def with_options(
    *options: str, prepare: Callable[[Path], object] = lambda folder: None, command: str = "check"
) -> Make:
    """A sound case with further options."""

    def make(folder: Path) -> list[str]:
        prepare(folder)
        return [command, *sound(folder), *options]

    return make
