"""Model files read without running anything: the configs of a `.keras` archive or HDF5 file, bounded and searched for what is unsafe."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lossdoctor.near import shortened
from lossdoctor.types import CaseError

_CONFIG = "config.json"
HDF5 = b"\x89HDF\r\n\x1a\n"  # how such a file begins
_ZIP = b"PK"
_HDF5_NAMES = (".h5", ".hdf5")
_METADATA = "metadata.json"
# A config of a model with thousands of layers takes a few MiB.
_MOST_CONFIG = 64 << 20
# Python takes a hundred bytes for a list of two. The largest config of keras.applications and KerasHub has 20,000 lists and objects, and
# 65,000 values; a matrix of embeddings that an initializer holds has a list a word, and a value a number.
_MOST_CONTAINERS = 500_000
_MOST_VALUES = 8_000_000
_MOST_RATIO = 500
_MOST_DEPTH = 200
# A graph in the order in which it was built takes one attempt a layer.
MOST_ATTEMPTS = 100_000
# Values that JSON lacks; `deserialize_keras_object` makes them without looking up a class.
_SPECIAL = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")


# Packages other than Keras itself whose layers Keras imports by name (`serialization_lib._retrieve_class_or_fn`).
SISTERS = ("keras_hub", "keras_cv", "keras_nlp")
# Arguments that name a file when they are a string; KerasHub's tokenizers have five of them.
_FILES = ("vocabulary",)
_FILES_OF_SISTERS = ("vocabulary", "merges", "proto", "special_tokens", "language_tokens")
# A place in a config: that of what holds it, and the last step. As text it may be as long as the file, for each of its objects.
Place = tuple[Any, str | int]


@dataclass(frozen=True, eq=False)
class ModelArchive:
    """The JSON documents of a model file; `path` as the user wrote it. `legacy` is true for those of an HDF5 file."""

    path: str
    config: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    legacy: bool = False


@dataclass(frozen=True)
class Named:
    """One object that a config names, as Keras would look it up: where it stands, its module and its names.

    `stored_code`: the code itself is in the file (a lambda), and making it would run it. `reads`: a file that would be
    read, "" for none. `special`: a value that Keras writes as an object (a tensor, a slice), which names no class.
    `computes`: a graph calls it on no tensor of the model, so that loading the model runs it.
    """

    place: Place
    module: str
    name: str
    registered: str
    function: bool = False
    stored_code: bool = False
    reads: str = ""
    special: bool = False
    computes: bool = False

    @property
    def path(self) -> str:
        """Where it stands, as "config.layers[0]"; long names are cut."""
        steps: list[str] = []
        place: Any = self.place
        while place is not None:
            place, step = place
            steps.append(f"[{step}]" if isinstance(step, int) else f".{shortened(step)}")
        text = "".join(reversed(steps))[1:]
        return text if len(text) <= 300 else "..." + text[-297:]

    @property
    def foreign(self) -> bool:
        """True where the module is named, and is none of Keras's."""
        return self.module.split(".")[0] not in ("", "keras", *SISTERS) and not (self.stored_code or self.special)


def read_model_config(path: str) -> ModelArchive:
    """The config of a `.keras` or legacy HDF5 file, or of a folder that `zipped=False` wrote; weights are not touched.

    Raises `CaseError` for what is none of these.
    """
    file = Path(path)
    if "://" in path:  # Keras goes to the address, even where there is a folder of that name
        raise CaseError(f"{path} is an address, and a check reads files; name a .keras or .h5 file.")
    if not file.exists():
        raise CaseError(f"there is no model file {path}; check the path.")
    if file.is_dir() and (file / "saved_model.pb").exists():
        raise CaseError(
            f"{path} is a SavedModel folder, which Keras 3 cannot make a model of again; run the code that built the model (or, "
            "for one of Keras 2, tf_keras.models.load_model) and write model.save('model.keras'), then check that file."
        )
    unzipped = file.is_dir() and os.path.lexists(file / _CONFIG)
    if not (unzipped or file.is_file()):
        what = "a folder" if file.is_dir() else "not a regular file"
        raise CaseError(f"{path} is {what}; name a .keras or .h5 file, or file.py:name of a model.")
    try:
        if unzipped:
            return _read_folder(file, path)
        if is_hdf5(path):
            return _read_hdf5(path)
        with zipfile.ZipFile(file) as archive:
            config = _document(archive, _CONFIG, path)
            metadata = _document(archive, _METADATA, path) if _METADATA in archive.namelist() else {}
    except CaseError:
        raise
    except zipfile.BadZipFile as error:
        raise CaseError(
            f"{path} is not a .keras file ({str(error).rstrip('.')}); write it with model.save('model.keras')."
        ) from error
    except OSError as error:
        raise CaseError(f"{path} cannot be read ({error.strerror or error}); check its permissions.") from error
    except Exception as error:  # whatever a damaged archive provokes
        raise CaseError(f"{path} cannot be read ({error}); write it again with model.save().") from error
    return ModelArchive(path, config, metadata)


def is_hdf5(path: str) -> bool:
    """True for an HDF5 file by its first bytes, else it is to be a zip file. Raises `CaseError` where its name says otherwise.

    Keras goes by the name, and finds HDF5 and zip behind whatever stands before them: it would load another model than was looked at.
    """
    with open(path, "rb") as stream:
        start = stream.read(len(HDF5))
    hdf5 = start == HDF5
    if path.endswith(_HDF5_NAMES) and not hdf5:
        what = "a .keras file" if start.startswith(_ZIP) else "no HDF5 file"
        raise CaseError(
            f"{path} is {what} by its first bytes; give it the name of what it is, or write it again with model.save()."
        )
    if path.endswith(".keras") and hdf5:
        raise CaseError(
            f"{path} is an HDF5 file by its first bytes, which Keras loads under a name that ends in .h5; rename it."
        )
    if not hdf5 and start and not start.startswith(_ZIP):
        raise CaseError(
            f"{path} is not a .keras file (it does not begin as a zip file); write it with model.save('model.keras')."
        )
    return hdf5


def _read_hdf5(path: str) -> ModelArchive:
    from lossdoctor.case.hdf5 import read_attributes

    found = read_attributes(path, ("model_config", "training_config", "keras_version"), _MOST_CONFIG)
    if "model_config" not in found:
        raise CaseError(
            f"{path} is an HDF5 file without a model, as model.save_weights writes it; write model.save('model.keras')."
        )
    config = _parse(found["model_config"], "model_config", path)
    trained = _parse(found["training_config"], "training_config", path) if "training_config" in found else {}
    version = found.get("keras_version", b"").decode("utf-8", "replace")
    return ModelArchive(path, {**config, "compile_config": trained}, {"keras_version": version}, legacy=True)


def _read_folder(folder: Path, path: str) -> ModelArchive:
    """A model saved with `zipped=False` (`saving_lib.py: _save_model_to_dir`)."""
    found = {}
    for name in (_CONFIG, _METADATA):
        if not os.path.lexists(folder / name):  # only metadata.json may be missing
            continue
        if not (folder / name).is_file():  # a pipe would wait for ever
            raise CaseError(f"{path}: {name} is not a regular file; write the model again with model.save().")
        with open(folder / name, "rb") as stream:
            found[name] = _parse(_bounded(stream, name, path), name, path)
    return ModelArchive(path, found[_CONFIG], found.get(_METADATA, {}))


def _document(archive: zipfile.ZipFile, name: str, path: str) -> dict[str, Any]:
    if name not in archive.namelist():
        raise CaseError(
            f"{path} is a zip file without {name}, so no Keras model; write it with model.save('model.keras')."
        )
    info = archive.getinfo(name)
    if info.file_size > _MOST_CONFIG or info.file_size > _MOST_RATIO * max(info.compress_size, 1024):
        raise CaseError(
            f"{path}: {name} unpacks to {info.file_size} bytes, more than any model needs; it was not read."
        )
    with archive.open(info) as stream:
        return _parse(_bounded(stream, name, path), name, path)


def _bounded(stream: IO[bytes], name: str, path: str) -> bytes:
    data = stream.read(_MOST_CONFIG + 1)
    if len(data) > _MOST_CONFIG:
        raise CaseError(f"{path}: {name} takes over {_MOST_CONFIG} bytes, more than any model needs; it was not used.")
    return data


def _parse(data: bytes, name: str, path: str) -> dict[str, Any]:
    # At most so many, as some may stand in texts.
    containers = data.count(b"[") + data.count(b"{")
    if containers > _MOST_CONTAINERS or containers + data.count(b",") > _MOST_VALUES:
        raise CaseError(
            f"{path}: {name} holds over {_MOST_CONTAINERS} lists or {_MOST_VALUES} values, more than any model needs; it was not read."
        )
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CaseError(f"{path}: {name} is not JSON ({error}); write the file again with model.save().") from error
    if not isinstance(document, dict):
        raise CaseError(f"{path}: {name} holds no model; write the file again with model.save().")
    if deeper(document, _MOST_DEPTH):
        raise CaseError(f"{path}: {name} is nested deeper than {_MOST_DEPTH} levels; it was not read.")
    return document


def deeper(document: Any, limit: int) -> bool:
    """True where dicts and lists are nested deeper than `limit` levels."""
    level = [document]
    for _ in range(limit):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Any) -> list[Any]:
    found = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [child for child in found if isinstance(child, (dict, list))]


def attempts(config: Any) -> int:
    """How often Keras tries to call a layer of a functional graph before all are called, at most a little over `MOST_ATTEMPTS`.

    It goes through the layers again and again until all have their inputs (`functional_from_config`): the order in
    which they stand in the file decides.
    """
    count, stack = 0, [config]
    while stack and count <= MOST_ATTEMPTS:
        node = stack.pop()
        stack.extend(_children(node))
        if isinstance(node, dict) and isinstance(node.get("layers"), list):
            count += _passes([layer for layer in node["layers"] if isinstance(layer, dict)])
    return count


def _passes(layers: list[dict[str, Any]]) -> int:
    known = {str(layer.get("name")) for layer in layers}
    waiting = [(str(layer.get("name")), _inputs(layer.get("inbound_nodes")) & known) for layer in layers]
    done: set[str] = set()
    count = 0
    while waiting and count <= MOST_ATTEMPTS:
        count += len(waiting)
        left = []
        for name, inputs in waiting:
            if inputs <= done:
                done.add(name)
            else:
                left.append((name, inputs))
        if len(left) == len(waiting):
            break
        waiting = left
    return count


def _inputs(nodes: Any) -> set[str]:
    """The names of the layers whose outputs a layer is called on; a graph among its arguments has names of its own."""
    found, stack = set(), [nodes]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if isinstance(node.get("layers"), list):
                continue
            history = node.get("keras_history")
            if isinstance(history, list) and history:
                found.add(str(history[0]))
            stack.extend(node.values())
        elif isinstance(node, list):
            if len(node) in (3, 4) and isinstance(node[0], str):  # as Keras 2 wrote it
                found.add(node[0])
            stack.extend(node)
    return found


def named_objects(config: Any, path: str = "config") -> tuple[Named, ...]:
    """Every object that a config names, and every piece of stored code, in the order of the file."""
    return tuple(_search(config, path))


def _search(node: Any, path: str) -> Iterator[Named]:
    stack: list[tuple[Place, Any]] = [((None, path), node)]
    while stack:
        place, value = stack.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield _named(value, place)
            steps: Any = value.items()
        else:
            steps = enumerate(value) if isinstance(value, list) else ()
        stack.extend([((place, step), child) for step, child in steps if isinstance(child, (dict, list))][::-1])


def _named(value: dict[str, Any], place: Place) -> Named:
    kind, config = _text(value["class_name"]), value.get("config")
    function = kind == "function"
    name = _text(config) if function else kind
    registered = _text(value.get("registered_name", name) or "")
    inner = config if isinstance(config, dict) else {}
    module = _text(value.get("module") or "")
    sister = {module.split(".")[0], registered.split(">")[0]} & {*SISTERS}
    files = [inner.get(key) for key in (_FILES_OF_SISTERS if sister else _FILES)]
    nodes = value.get("inbound_nodes")
    return Named(
        place,
        module,
        name,
        registered,
        function=function,
        stored_code=kind == "__lambda__" or (kind == "Lambda" and _holds_code(inner)),
        reads=next((file for file in files if isinstance(file, str)), ""),
        special=kind in _SPECIAL,
        computes=bool(nodes) and not (isinstance(nodes, list) and all(map(_has_tensor, nodes))),
    )


def _text(value: Any) -> str:
    """A name; what is none of them is not written out, as it may hold the whole file."""
    return type(value).__name__ if isinstance(value, dict | list) else str(value)


def _has_tensor(node: Any) -> bool:
    """True where a node of a graph calls its layer on a tensor of the model, as every node does that Keras writes (`serialize_node`)."""
    if isinstance(node, list):  # as Keras 2 wrote it: layers' names and places, and nothing else
        return bool(node)
    stack = [node]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, dict):
            kind = value.get("class_name")
            if kind == "__keras_tensor__":
                return True
            # A tensor inside of another object is none of the arguments.
            if kind == "__tuple__" or "class_name" not in value:
                stack.extend(value.values())
    return False


def _holds_code(config: dict[str, Any]) -> bool:
    """True for the Lambda of a file of Keras 2, whose bytecode stands in a list."""
    return isinstance(config.get("function"), list) or config.get("function_type") == "lambda"
