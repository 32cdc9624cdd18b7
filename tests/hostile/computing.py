"""Model files that are made to compute, to read or to grow while they are looked at or loaded, without any code in them."""

from __future__ import annotations

import io
import json
import os
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
    with_model,
)

DEFLATE = zipfile.ZIP_DEFLATED


def _h5(config: Any, userblock: int = 0) -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=userblock) as file:
        file.attrs["model_config"], file.attrs["keras_version"], file.attrs["backend"] = (
            json.dumps(config),
            "3.15.1",
            "jax",
        )
        file.create_group("model_weights").attrs["layer_names"] = []
    return stream.getvalue()


def _weights() -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        group = file.create_group("layers/dense/vars")
        group["0"], group["1"] = np.ones((4, 1), "f4"), np.ones((1,), "f4")
    return stream.getvalue()


def _named(name: str, data: Any, *more: str) -> Any:
    def make(folder: Path) -> list[str]:
        sound(folder)
        (folder / name).write_bytes(data() if callable(data) else data)
        return ["check", name, "b.npz", *more]

    return make


def _lambda(what: dict[str, Any], inputs: Any = None, **arguments: Any) -> dict[str, Any]:
    """A graph with a Lambda of this function, called on these inputs, or on the model's Input."""
    made = {**layer("Lambda"), "config": {"name": "l", "function": what, "arguments": arguments}}
    node = called(made, tensor("i"), name="l") if inputs is None else called(made, name="l", inputs=inputs)
    return functional(node, called(dense(), tensor("i")))


SECRET = sequential({**layer("StringLookup"), "config": {"name": "v", "vocabulary": "/etc/passwd"}}, dense())
PLAIN = {"class_name": "Sequential", "config": sequential(dense())["config"]}
# One file, two models: what was looked at, and what Keras would load by the file's name.
TWO_IN_ONE = {
    f"two models in one {name}{more}": Case(_named(name, data, *more.split()), says)
    for name, data, says in (
        (
            "m.keras",
            lambda: _h5(PLAIN) + archive(SECRET, **{"model.weights.h5": _weights()}),
            "an HDF5 file by its first bytes",
        ),
        (
            "m.h5",
            lambda: _h5({**PLAIN, "config": SECRET["config"]}, 512) + archive(),
            "no HDF5 file by its first bytes",
        ),
        ("m.hdf5", archive, "a .keras file by its first bytes"),
    )
    for more in ("", " --forward")
}


def _address(folder: Path) -> list[str]:
    """A folder with a model whose path is an address, from which Keras would load another one."""
    sound(folder)
    (folder / "hf:" / "nobody" / "m").mkdir(parents=True)
    (folder / "hf:" / "nobody" / "m" / "config.json").write_text(json.dumps(SOUND))
    return ["check", "hf://nobody/m", "b.npz"]


TWO_IN_ONE["a folder whose path is an address"] = Case(_address, "is an address")


def _hub(kind: str, **config: Any) -> dict[str, Any]:
    made = {"module": "keras_hub.tokenizers", "class_name": kind, "config": {"name": "t", **config}}
    return sequential({**made, "registered_name": f"keras_hub>{kind}"}, dense())


WORDS: dict[str, Any] = {"vocabulary": {"a": 0}, "merges": ["a b"]}
READS = {
    "KerasHub's special tokens read from a file": _hub("WhisperTokenizer", **WORDS, special_tokens="/etc/passwd"),
    "KerasHub's language tokens read from a file": _hub(
        "WhisperTokenizer", **WORDS, special_tokens={"a": 0}, language_tokens="/etc/passwd"
    ),
}
AS_FUNCTION = "as a function|neither Keras's nor registered"
CLASSES = {
    f"a Lambda that makes a {name} of {module}": _lambda(function(module, name), vocabulary="/etc/passwd")
    for module, name in (
        ("keras.layers", "StringLookup"),
        ("keras.layers", "IntegerLookup"),
        ("keras.src.layers.preprocessing.string_lookup", "StringLookup"),
        ("builtins", "StringLookup"),
        ("keras", "layers.TextVectorization"),
    )
}


def _number(value: Any, dtype: str = "float32") -> dict[str, Any]:
    return {"class_name": "__tensor__", "config": {"value": value, "dtype": dtype}}


def _operation(kind: str, *inputs: Any, home: str = "numpy", **config: Any) -> dict[str, Any]:
    made = {"module": f"keras.src.ops.{home}", "class_name": kind, "registered_name": kind}
    return functional(
        called({**made, "config": {"name": "o", **config}}, *inputs, name="o"), called(dense(), tensor("i"))
    )


SINE = function("keras.ops", "sin")
COMPUTED = {
    "a range of 10**9": _operation("Arange", 10**9, dtype="float32"),
    "a number tiled 10**9 times": _operation("Tile", _number([1.0]), repeats=[10**9]),
    "a number repeated 10**9 times": _operation("Repeat", _number([1.0]), repeats=10**9),
    "a number padded to 10**9": _operation("Pad", _number([1.0]), pad_width=[[0, 10**9]], mode="constant"),
    "10**9 classes of one number": _operation("OneHot", _number([1], "int32"), home="nn", num_classes=10**9),
    "a layer on a number": functional(
        called({**layer("RepeatVector"), "config": {"name": "o", "n": 10**9}}, _number([[1.0]]), name="o"),
        called(dense(), tensor("i")),
    ),
    "10**9 zeros": _lambda(function("keras.ops", "zeros"), [10**9]),
    "an identity of 30000": _lambda(function("keras.ops", "eye"), 30_000),
    "a window of 10**9": _lambda(function("keras.ops", "kaiser"), 10**9, beta=1.0),
    "a number tiled beside a tensor inside of a layer": _operation(
        "Tile", _number([1.0]), dense(activation=tensor("i")), repeats=[10**9]
    ),
    "a layer called on nothing": functional({**called(dense()), "inbound_nodes": [[]]}),
    "a loop without an end": _lambda(
        function("keras.ops", "while_loop"), function("keras.ops", "isfinite"), body=SINE, loop_vars=0.5
    ),
}
LOOPS = {
    **{
        f"{name} in a Lambda": _lambda(function("keras.ops", name))
        for name in ("while_loop", "fori_loop", "scan", "map", "cond", "switch", "vectorized_map", "associative_scan")
    },
    "a loop by another name": _lambda(function("keras", "ops.while_loop")),
    "a loop of 10**9 for an operation": _operation(
        "ForiLoop", tensor("i"), home="core", lower=0, upper=10**9, body_fun=function("keras.ops", "add")
    ),
    "a loop for an activation": sequential(dense(activation=function("keras.src.ops.core", "map"))),
    "a loop for the loss": {**SOUND, "compile_config": {"loss": function("keras.ops", "while_loop")}},
}

LEAF = '{"class_name":"Dense","module":"keras.layers","config":{},"registered_name":null},'
BESIDE = json.dumps(SOUND)[:-1] + ',"beside":'
JSONS = {
    "config of 20 million empty lists": Case(
        with_model(lambda f: archive('{"a":[' + "[]," * 20_000_000 + "1]}")), "was not read"
    ),
    "config of 30 million numbers": Case(
        with_model(lambda f: archive('{"a":[' + "1," * 30_000_000 + "1]}")), "was not read"
    ),
    "a model beside 6 million empty lists": Case(
        with_model(lambda f: archive(BESIDE + "[" + "[]," * 6_000_000 + "1]}")), "was not read"
    ),
    "a model beside 400000 empty lists": Case(
        with_model(lambda f: archive(BESIDE + "[" + "[]," * 400_000 + "1]}")), codes=(0,)
    ),
    "a model beside 4 million numbers": Case(
        with_model(lambda f: archive(BESIDE + "[" + "1," * 4_000_000 + "1]}")), codes=(0,)
    ),
    "a key of a million letters above 20000 numbers": Case(
        with_model(lambda f: archive('{"' + "A" * 1_000_000 + '":[' + "0," * 20_000 + "0]}"))
    ),
    "a key of a million letters above 5000 layers": Case(
        with_model(lambda f: archive('{"' + "A" * 1_000_000 + '":[' + LEAF * 5000 + "0]}"))
    ),
    "graphs in graphs' arguments": Case(
        with_model(
            lambda f: archive('{"layers":[{"name":"a","inbound_nodes":[' * 45 + "[]," * 400_000 + "0" + "]}]}" * 45)
        )
    ),
}


def _bomb() -> bytes:
    """300 MB of weights in 5 MB beside as much that does not pack: no member, and not the whole, is out of all proportion."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", DEFLATE, compresslevel=1) as file:
        file.writestr("config.json", json.dumps(SOUND))
        file.writestr("noise", os.urandom(4 << 20))
        with file.open("model.weights.h5", "w") as member:
            member.write(_weights())
            for _ in range(300):
                member.write(bytes(1 << 20))
    return stream.getvalue()


CASES: dict[str, Case] = {
    **TWO_IN_ONE,
    **{name: Case(with_model(config), "would read '/etc/passwd'") for name, config in READS.items()},
    **{name: Case(with_model(config), AS_FUNCTION) for name, config in CLASSES.items()},
    **{name: Case(with_model(config), "on no tensor of the model") for name, config in COMPUTED.items()},
    **{name: Case(with_model(config), "runs other functions") for name, config in LOOPS.items()},
    **JSONS,
    "weights bombed and loaded": Case(
        _named("m.keras", _bomb, "--forward"), r"unpacks to 3\d+ bytes, out of 1\d+; nothing"
    ),
}
