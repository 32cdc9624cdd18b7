"""Model files that are broken or mean harm."""

from __future__ import annotations

import base64
import itertools
import json
import marshal
import os
import socket
import struct
import zipfile
from pathlib import Path
from typing import Any

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
    with_model,
    zipped,
)

TEXT = json.dumps(SOUND)
# Named by the payloads in a run's own folder: a file that nothing may make.
MARKER = "MARKER"


def _place(make: Any) -> Case:
    """A model that is no file: `make` puts something at a path."""

    def build(folder: Path) -> list[str]:
        sound(folder)
        (folder / "m.keras").unlink()
        make(folder / "m.keras")
        return ["check", "m.keras", "b.npz"]

    return Case(build)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _saved_model(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\x08\x01")


PLACES = {
    "model missing": _place(lambda p: None),
    "model a folder": _place(lambda p: p.mkdir()),
    "model a SavedModel folder": _place(_saved_model),
    "model a FIFO": _place(os.mkfifo),
    "model a socket": _place(_socket),
    "model a link to itself": _place(lambda p: p.symlink_to(p.name)),
    "model a link to nothing": _place(lambda p: p.symlink_to("gone")),
    "model a link to /dev/zero": _place(lambda p: p.symlink_to("/dev/zero")),
    "model a link to /dev/stdin": _place(lambda p: p.symlink_to("/dev/stdin")),
    "model a link to /proc/self/mem": _place(lambda p: p.symlink_to("/proc/self/mem")),
    "model a link to a folder": _place(lambda p: p.symlink_to("/")),
    "model inside a file": Case(lambda f: ["check", sound(f)[0] + "/x.keras", "b.npz"]),
    "model with a name too long": Case(lambda f: ["check", "m" * 5000 + ".keras", sound(f)[1]]),
    "model with an empty name": Case(lambda f: ["check", "", sound(f)[1]]),
    "model with a NUL in its name": Case(lambda f: ["check", "m\0.keras", sound(f)[1]]),
    "model with a surrogate in its name": Case(lambda f: ["check", "m\udc80.keras", sound(f)[1]]),
}


def _unzipped(says: str, config: Any = TEXT, *more: str, name: str = "config.json") -> Case:
    """`check` of a folder as `model.save(zipped=False)` writes it; `config` makes the file named, or is its text."""

    def build(folder: Path) -> list[str]:
        sound(folder)
        model = folder / "model"
        model.mkdir()
        (model / "config.json").write_text(TEXT)
        (model / name).unlink(missing_ok=True)
        if callable(config):
            config(model / name)
        else:
            (model / name).write_text(config)
        return ["check", "model", "b.npz", *more]

    return Case(build, says)


UNZIPPED = {
    "a folder of a model without one": _unzipped(
        "holds a function, not a model", json.dumps(function("keras.ops", "add"))
    ),
    "a folder whose config.json is no JSON": _unzipped("config.json is not JSON", "{"),
    "a folder whose config.json is too large": _unzipped("more than any model needs", lambda p: _sparse(p, 65 << 20)),
    "a folder whose config.json is a FIFO": _unzipped("config.json is not a regular file", os.mkfifo),
    "a folder whose config.json is a folder": _unzipped("config.json is not a regular file", lambda p: p.mkdir()),
    "a folder whose config.json is a link to /dev/zero": _unzipped(
        "config.json is not a regular file", lambda p: p.symlink_to("/dev/zero")
    ),
    "a folder whose config.json is a link to nothing": _unzipped(
        "config.json is not a regular file", lambda p: p.symlink_to("gone")
    ),
    "a folder whose metadata.json is a FIFO": _unzipped(
        "metadata.json is not a regular file", os.mkfifo, name="metadata.json"
    ),
    "a folder with a Lambda's bytecode": _unzipped("Lambda code, which is not run", lambda p: _bytecode_in(p)),
    "a folder without weights": _unzipped("holds no file model.weights.h5", TEXT, "--forward"),
    "a folder whose weights are a FIFO": _unzipped(
        "holds no file model.weights.h5", os.mkfifo, "--forward", name="model.weights.h5"
    ),
}


def _sparse(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        file.truncate(size)


def _bytecode_in(path: Path) -> None:
    path.write_text(json.dumps(sequential(lambda_layer(), dense())))


def _cut(share: float) -> Case:
    whole = archive(None, **{"model.weights.h5": os.urandom(4096)})
    return Case(with_model(whole[: int(len(whole) * share)]))


def _entry(change: Any) -> bytes:
    """The archive with its directory's entry of config.json changed; `change` gets (data, offset of that entry)."""
    data = bytearray(archive())
    offset = data.rindex(b"PK\x01\x02")
    change(data, offset)
    return bytes(data)


def _put(place: int, code: str, value: int) -> Any:
    return lambda data, offset: struct.pack_into(code, data, offset + place, value)


def _duplicates() -> bytes:
    evil = sequential(layer("Lambda", name="l", function=function("os", "system")))
    first = zipped({"config.json": TEXT, "config.jsom": json.dumps(evil)})
    return first.replace(b"config.jsom", b"config.json")


def _link() -> bytes:
    info = zipfile.ZipInfo("config.json")
    info.external_attr = 0o120777 << 16
    return _with_info(info, "/etc/passwd")


def _with_info(info: zipfile.ZipInfo, data: str) -> bytes:
    import io

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr(info, data)
    return stream.getvalue()


BZIP, LZMA, DEFLATE = zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED
ARCHIVES = {
    **{f"model cut at {int(share * 100)} percent": _cut(share) for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)},
    "model empty": Case(with_model(b"")),
    "model one byte": Case(with_model(b"P")),
    "model text": Case(with_model(b"hello\n" * 100)),
    "model random bytes": Case(with_model(bytes(range(256)) * 64)),
    "model a pickle": Case(with_model(b"\x80\x04\x95\x1b\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93.")),
    "model a tar file": Case(with_model(b"config.json" + b"\0" * 2048)),
    "model an HDF5 signature": Case(with_model(b"\x89HDF\r\n\x1a\n" + b"\0" * 64)),
    "model only a zip directory's end": Case(with_model(b"PK\x05\x06" + b"\0" * 18)),
    "model a zip without config.json": Case(with_model(zipped({"a.txt": "a"})), "without config.json"),
    "config.json in a folder": Case(with_model(zipped({"x/config.json": TEXT})), "without config.json"),
    "config.json by a climbing path": Case(with_model(zipped({"../config.json": TEXT})), "without config.json"),
    "config.json by an absolute path": Case(with_model(zipped({"/config.json": TEXT})), "without config.json"),
    "config.json in capitals": Case(with_model(zipped({"CONFIG.JSON": TEXT})), "without config.json"),
    "config.json a folder's entry": Case(with_model(zipped({"config.json/": b""})), "without config.json"),
    "config.json as a link": Case(with_model(_link())),
    "config.json twice": Case(with_model(_duplicates())),
    "config.json bombed by deflate": Case(with_model(zipped({"config.json": b" " * (32 << 20)}, compression=DEFLATE))),
    "config.json bombed by bzip2": Case(with_model(zipped({"config.json": b" " * (32 << 20)}, compression=BZIP))),
    "config.json bombed by lzma": Case(with_model(zipped({"config.json": b" " * (32 << 20)}, compression=LZMA))),
    "config.json larger than any": Case(with_model(zipped({"config.json": b" " * ((64 << 20) + 1)}))),
    "metadata.json bombed": Case(
        with_model(zipped({"config.json": TEXT, "metadata.json": b" " * (32 << 20)}, compression=DEFLATE))
    ),
    "metadata.json no JSON": Case(with_model(zipped({"config.json": TEXT, "metadata.json": b"{"}))),
    "config.json encrypted": Case(with_model(_entry(_put(8, "<H", 1)))),
    "config.json by an unknown compression": Case(with_model(_entry(_put(10, "<H", 99)))),
    "config.json said to be deflated": Case(with_model(_entry(_put(10, "<H", 8)))),
    "config.json with a wrong checksum": Case(with_model(_entry(_put(16, "<I", 1)))),
    "config.json said to be small": Case(with_model(_entry(_put(24, "<I", 10)))),
    "config.json said to be 4 GiB": Case(with_model(_entry(_put(24, "<I", 0xFFFFFFFE)))),
    "config.json packed into 4 GiB": Case(with_model(_entry(_put(20, "<I", 0xFFFFFFFE))), codes=(0, 2)),
    "config.json at a place outside": Case(with_model(_entry(_put(42, "<I", 0x7FFFFFFF)))),
    "config.json on another disk": Case(with_model(_entry(_put(42, "<I", 0xFFFFFFFF)))),
    "config.json needs a later zip": Case(with_model(_entry(_put(6, "<H", 999)))),
    "a name that runs out of the directory": Case(with_model(_entry(_put(28, "<H", 0xFFFF))), codes=(0, 2)),
    "model with 50000 members": Case(with_model(lambda f: zipped({f"{i}": b"" for i in range(50_000)}))),
    "a directory cut away": Case(with_model(archive()[:-22])),
}

HUGE = "9" * 5000
JSONS = {
    "config empty": Case(with_model(archive(""))),
    "config null": Case(with_model(archive("null"))),
    "config a number": Case(with_model(archive("1"))),
    "config a list": Case(with_model(archive("[{}]"))),
    "config a string": Case(with_model(archive('"config"'))),
    "config an empty object": Case(with_model(archive("{}"))),
    "config cut": Case(with_model(archive(TEXT[:200]))),
    "config NaN alone": Case(with_model(archive("NaN"))),
    "config not UTF-8": Case(with_model(archive(b"\xff\xfe\xfd{}"))),
    "config UTF-16 without an end": Case(with_model(archive("{".encode("utf-16")))),
    "config with NUL bytes": Case(with_model(archive(b"\0" * 64))),
    "config a list of 100000 levels": Case(with_model(archive("[" * 100_000))),
    "config an object of 100000 levels": Case(with_model(archive('{"a":' * 100_000))),
    "config an object of 500 levels": Case(with_model(archive('{"a":' * 500 + "1" + "}" * 500)), "deeper than"),
    "config a list of 900 levels": Case(with_model(archive('{"a":' + "[" * 900 + "]" * 900 + "}")), "deeper than"),
    "config with a number of 5000 digits": Case(with_model(archive(f'{{"a": {HUGE}}}'))),
    "config with 300000 entries": Case(with_model(archive('{"a": [' + "1," * 300_000 + "1]}"))),
    "config with a long string": Case(with_model(archive('{"class_name": "' + "a" * (8 << 20) + '"}'))),
    "config with a single quote": Case(with_model(archive("{'a': 1}"))),
    "config with a comment": Case(with_model(archive("{} // {}"))),
    "config two documents": Case(with_model(archive("{}{}"))),
}


def _with(path: tuple[Any, ...], value: Any) -> Any:
    """The sound config with one place changed."""
    made = json.loads(TEXT)
    node = made
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return made


def _nested(depth: int) -> Any:
    inner = dense()
    for i in range(depth):
        inner = {**sequential(inner), "compile_config": None}
        inner["config"]["name"] = f"s{i}"
    return sequential(inner)


def _reversed(count: int, forwards: bool = False) -> Any:
    """A chain of layers, each written before the one it takes its input from."""
    names = ["i", *(f"a{i}" for i in range(count)), "d"]
    chain = [called(layer("Identity", name=new), tensor(old)) for old, new in itertools.pairwise(names)]
    return functional(*(chain if forwards else chain[::-1]))


LAYERS = ("config", "layers")
STRANGE = {
    **{
        f"class_name {type(v).__name__}": Case(with_model(_with(("class_name",), v)))
        for v in (None, 1, ["Functional"], {"a": 1}, True)
    },
    **{
        f"module {type(v).__name__}": Case(with_model(_with(("module",), v)))
        for v in (1, ["keras"], {"keras": 1}, "keras\0")
    },
    **{
        f"config {type(v).__name__} in place of a dict": Case(with_model(_with(("config",), v)))
        for v in (None, 1, [1], "Functional", {})
    },
    **{
        f"layers {type(v).__name__} in place of a list": Case(with_model(_with(LAYERS, v)))
        for v in (None, 1, "ab", {}, [], [None], [1], ["a"], [[]], [{}])
    },
    "a layer without a name": Case(with_model(functional({**dense(), "inbound_nodes": []}))),
    "a layer without nodes": Case(with_model(functional({**dense(), "name": "d"}))),
    "a layer called on itself": Case(with_model(functional(called(dense(), tensor("d"))))),
    "two layers called on each other": Case(
        with_model(functional(called(dense("a"), tensor("d")), called(dense("d"), tensor("a"))))
    ),
    "a ring of 500 layers": Case(
        with_model(functional(*(called(dense(f"d{i}"), tensor(f"d{(i + 1) % 500}")) for i in range(500))))
    ),
    "a layer called on none": Case(with_model(functional(called(dense(), tensor("gone"))))),
    "a node that is not there": Case(with_model(functional(called(dense(), tensor("i", node=10**9))))),
    "a tensor that is not there": Case(with_model(functional(called(dense(), tensor("i", place=10**9))))),
    "an output that is not there": Case(with_model(functional(called(dense(), tensor("i")), output=("gone", 0, 0)))),
    "outputs that are a number": Case(with_model(functional(called(dense(), tensor("i")), output=1))),
    "outputs that are a string": Case(with_model(functional(called(dense(), tensor("i")), output="d"))),
    "no outputs": Case(with_model(functional(called(dense(), tensor("i")), output=[]))),
    "a call with a string": Case(with_model(functional(called(dense(), "i")))),
    "a call with keywords unknown": Case(with_model(functional(called(dense(), tensor("i"), evil=1)))),
    "a tensor of a hundred thousand axes": Case(
        with_model(functional(called(dense(), tensor("i", shape=[1] * 100_000)))), codes=(0, 2)
    ),
    "models nested 60 deep": Case(with_model(_nested(60)), codes=(0, 1, 2)),
    **{
        f"units {v!r:.40}": Case(with_model(sequential(dense(units=v))))
        for v in (-1, 0, 10**12, 10**30, 1.5, "1", None, [1], {"a": 1}, float("inf"))
    },
    "a vector repeated 10**10 times": Case(
        with_model(sequential(layer("RepeatVector", name="r", n=10**10), layer("Flatten", name="f")))
    ),
    "an output name that clears the screen": Case(
        with_model(
            functional(
                called(dense("\x1b[2J\x1b]0;evil\x07"), tensor("i")),
                output={"\x1b[2J\x1b]0;evil\x07": ["\x1b[2J\x1b]0;evil\x07", 0, 0]},
            )
        ),
        codes=(0, 1, 2),
    ),
    "an output name that is markup": Case(
        with_model(
            functional(
                called(dense("[/red][link=file:///]"), tensor("i")),
                output={"[/red][link=file:///]": ["[/red][link=file:///]", 0, 0]},
            )
        ),
        codes=(0, 1, 2),
    ),
    "names ten million letters long": Case(
        with_model(functional(called(dense("d" * 10_000_000), tensor("i")), output=("d" * 10_000_000, 0, 0))),
        codes=(0, 1, 2),
    ),
    "800 layers in the worst order": Case(with_model(_reversed(800)), "attempts"),
    "1500 layers": Case(with_model(_reversed(1500, True)), codes=(0, 1, 2)),
    "an output given 20001 times": Case(
        with_model(functional(called(dense(), tensor("i")), output=[["d", 0, 0]] * 20_001)), "20001 outputs"
    ),
    "an activation that is none": Case(with_model(sequential(dense(activation="no_such")))),
    "an activation that is a list": Case(with_model(sequential(dense(activation=["relu"])))),
    "an unknown argument": Case(with_model(sequential(dense(evil=1)))),
    "a layer that is no layer": Case(with_model(sequential(layer("MeanSquaredError", "keras.losses")))),
    "a layer of no class": Case(with_model(sequential(layer("NoSuchLayer")))),
    "a loss that is a number": Case(with_model({**SOUND, "compile_config": {"loss": 3}}), codes=(1, 2)),
    "a loss that is no loss": Case(with_model({**SOUND, "compile_config": {"loss": "no_such"}}), codes=(1, 2)),
    "a compile config that is a list": Case(with_model({**SOUND, "compile_config": [1]})),
    "a compile config that is a string": Case(with_model({**SOUND, "compile_config": "mse"})),
    "a compile config that is a number": Case(with_model({**SOUND, "compile_config": 5})),
    "metrics that are a number": Case(
        with_model({**SOUND, "compile_config": {"loss": "mse", "metrics": 3}}), codes=(0, 1, 2)
    ),
    "loss weights that are text": Case(
        with_model({**SOUND, "compile_config": {"loss": "mse", "loss_weights": "a"}}), codes=(1, 2)
    ),
    "a build config that is a number": Case(with_model(sequential({**dense(), "build_config": 3}))),
    "a build config of 10**12": Case(
        with_model(sequential({**dense(), "build_config": {"input_shape": [None, 10**12]}})), codes=(0, 1, 2)
    ),
    "a shared object of itself": Case(with_model({**SOUND, "shared_object_id": 1}), codes=(0, 1, 2)),
    "a dtype policy that is none": Case(with_model(sequential(dense(dtype="float1000")))),
    "an input of dtype object": Case(with_model(_with((*LAYERS, 0, "config", "dtype"), "object"))),
    "an array said to hold objects": Case(
        with_model(
            sequential(dense(kernel_initializer={"class_name": "__numpy__", "config": {"value": [1], "dtype": "O"}}))
        )
    ),
    "a slice without ends": Case(with_model(sequential(dense(units={"class_name": "__slice__", "config": {}})))),
    "bytes without a value": Case(with_model(sequential(dense(units={"class_name": "__bytes__", "config": {}})))),
    "a tensor without a shape": Case(
        with_model(functional(called(dense(), {"class_name": "__keras_tensor__", "config": {}})))
    ),
}


def _unfit() -> Any:
    """A Reshape that takes no size which the Input leaves open."""
    made = functional(
        called(layer("Reshape", name="r", target_shape=[5, 1]), tensor("i")), called(dense(), tensor("r", (None, 5, 1)))
    )
    made["config"]["layers"][0]["config"]["batch_shape"] = [None, None, 4]
    return made


STRANGE["a layer that takes no size of its input"] = Case(with_model(_unfit()), "cannot be called on its own inputs")
SHAPES = {
    f"input of shape {v!r:.24}": Case(with_model(_with((*LAYERS, 0, "config", "batch_shape"), v)), codes=(1, 2))
    for v in (None, [], [None, -4], [None, 10**12], [None, "4"], [None, 1.5], "ab", {}, 4, [[None, 4]])
}


def bytecode(path: str) -> dict[str, Any]:
    """A lambda as Keras stores it, that would make a file. Built for this Python, as an attacker would."""
    code = eval(f"lambda x: (open({path!r}, 'w').close(), x)[1]").__code__
    text = base64.b64encode(marshal.dumps(code)).decode("ascii")
    return {"class_name": "__lambda__", "config": {"code": text, "defaults": None, "closure": None}}


def lambda_layer(code: Any = None, **more: Any) -> dict[str, Any]:
    return layer("Lambda", name="l", trainable=True, function=code or bytecode(MARKER), **more)


LAMBDAS = {
    "a Lambda's bytecode": sequential(lambda_layer(), dense()),
    "a Lambda's output shape": sequential(lambda_layer("relu", output_shape=bytecode(MARKER)), dense()),
    "a Lambda's mask": sequential(lambda_layer("relu", mask=bytecode(MARKER)), dense()),
    "a Lambda's arguments": sequential(lambda_layer("relu", arguments={"f": bytecode(MARKER)}), dense()),
    "a Lambda inside a TimeDistributed": sequential(layer("TimeDistributed", name="t", layer=lambda_layer()), dense()),
    "a Lambda inside a model": sequential({**sequential(lambda_layer()), "compile_config": None}, dense()),
    "a Lambda without a module": sequential({"class_name": "Lambda", "config": lambda_layer()["config"]}, dense()),
    "a Lambda of Keras 2": sequential(
        {
            "class_name": "Lambda",
            "config": {
                "name": "l",
                "function": [bytecode(MARKER)["config"]["code"], None, None],
                "function_type": "lambda",
            },
        },
        dense(),
    ),
    "bytecode for an activation": sequential(dense(activation=bytecode(MARKER))),
    "bytecode for an initializer": sequential(dense(kernel_initializer=bytecode(MARKER))),
    "bytecode for a layer": sequential(bytecode(MARKER), dense()),
    "bytecode as the model": bytecode(MARKER),
    "bytecode among a call's arguments": functional(called(dense(), tensor("i"), f=bytecode(MARKER))),
    "bytecode in a build config": sequential({**dense(), "build_config": {"input_shape": bytecode(MARKER)}}),
    "bytecode for the loss": {**SOUND, "compile_config": {"loss": bytecode(MARKER)}},
    "bytecode for one of the losses": {**SOUND, "compile_config": {"loss": {"d": [bytecode(MARKER)]}}},
}

MODULES = (
    ("os", "system"),
    ("os", "mknod"),
    ("posix", "system"),
    ("subprocess", "Popen"),
    ("builtins", "exec"),
    ("builtins", "eval"),
    ("builtins", "open"),
    ("builtins", "__import__"),
    ("sys", "exit"),
    ("shutil", "rmtree"),
    ("pathlib", "Path"),
    ("ctypes", "CDLL"),
    ("pickle", "loads"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("webbrowser", "open"),
    ("socket", "create_connection"),
    ("numpy", "load"),
    ("tensorflow", "io"),
    ("lossdoctor.files", "write_text"),
    ("evil_module", "run"),
    ("keras_evil", "run"),
    ("keras.src.saving.saving_lib", "os"),
    ("keras.src.utils.file_utils", "os"),
    ("keras.src.utils.python_utils", "func_load"),
    ("keras.src.backend.common.global_state", "set_global_attribute"),
    ("keras.utils", "get_file"),
    ("keras.utils", "set_random_seed"),
    ("keras.utils", "load_img"),
    ("keras.utils", "plot_model"),
    ("keras.models", "load_model"),
    ("keras.saving", "load_model"),
    ("keras.saving", "deserialize_keras_object"),
    ("keras.saving", "save_model"),
    ("keras.config", "enable_unsafe_deserialization"),
    ("keras.config", "set_backend"),
    ("keras.config", "set_floatx"),
    ("keras.datasets.mnist", "load_data"),
    ("keras.applications", "VGG16"),
    ("keras.callbacks", "ModelCheckpoint"),
    ("keras.export", "ExportArchive"),
    ("keras.losses", "deserialize"),
    ("keras.activations", "get"),
)


def _object(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": {}, "registered_name": name}


def _uses(module: str, name: str) -> dict[str, Any]:
    """The same thing where a layer, an activation, a Lambda's function and the call of a layer stand, by turns."""
    number = sum(map(ord, module + name)) % 4
    return (
        functional(called(function(module, name), MARKER, name="d")),
        sequential(dense(activation=function(module, name))),
        sequential(lambda_layer(function(module, name), arguments={"x": MARKER}), dense()),
        functional(called(_object(module, name), MARKER, name="d")),
    )[number]


REFUSED = "neither Keras's nor registered|no layer, loss or other part of a model"
CALLS = {
    **{f"{module}.{name} in a config": _uses(module, name) for module, name in MODULES},
    "os.system for the loss": {**SOUND, "compile_config": {"loss": function("os", "system")}},
    "get_file for the loss": {**SOUND, "compile_config": {"loss": function("keras.utils", "get_file")}},
    "a second name under which to look": sequential(dense(activation=function("keras.utils", "gone", "get_file"))),
    "a layer's second name": sequential({**layer("Gone", "os"), "registered_name": "popen"}, dense()),
    "a registered name of os": sequential({**dense(), "module": "os", "registered_name": "os>Dense"}),
    "a type spec of os": sequential(
        dense(
            units={
                "class_name": "__typespec__",
                "spec_name": "system",
                "module": "os",
                "registered_name": "x",
                "config": [],
            }
        )
    ),
    "the model itself os.system": function("os", "system"),
    "the model itself get_file": function("keras.utils", "get_file"),
}


def _config(kind: str, **config: Any) -> dict[str, Any]:
    return {**layer(kind), "config": {"name": "t", **config}}


READS = {
    "a vocabulary read from a file": sequential(layer("StringLookup", name="v", vocabulary="/etc/passwd"), dense()),
    "a vocabulary read from the network": sequential(
        layer("IntegerLookup", name="v", vocabulary="http://localhost:1/v"), dense()
    ),
    "a vocabulary of text read from a file": sequential(
        layer("TextVectorization", name="v", vocabulary="/etc/passwd"), dense()
    ),
    "a SavedModel loaded by a layer": sequential(layer("TFSMLayer", name="t", filepath="saved"), dense()),
    "a layer by its name in Keras 2": sequential({"class_name": "TFSMLayer", "config": {"filepath": "saved"}}, dense()),
    "a pickled module of Torch": sequential(
        _config("TorchModuleWrapper", module=base64.b64encode(b"\x80\x04cposix\nsystem\n.").decode()), dense()
    ),
    "a Flax module": sequential(_config("FlaxLayer", module=function("os", "system"), method="run"), dense()),
}

CASES: dict[str, Case] = {
    **PLACES,
    **UNZIPPED,
    **ARCHIVES,
    **JSONS,
    **STRANGE,
    **SHAPES,
    **{name: Case(with_model(config), "Lambda code, which is not run") for name, config in LAMBDAS.items()},
    **{name: Case(with_model(config), REFUSED) for name, config in CALLS.items()},
    **{name: Case(with_model(config), "--unsafe if you trust the file") for name, config in READS.items()},
}
