"""Sample batches: `.npz` files by the batch format, saved datasets, live tuples."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lossdoctor import trees
from lossdoctor.case import npz, tree_json
from lossdoctor.case.datasets import first_batch
from lossdoctor.case.leaves import as_array, as_dense, named_bfloat16, storable
from lossdoctor.case.references import call, is_reference, load_reference
from lossdoctor.files import write_bytes
from lossdoctor.near import did_you_mean, first_line, shortened, without_node
from lossdoctor.types import ArrayRef, Batch, CaseError, HeldArray, Tree

_ROOTS = ("x", "y", "sample_weight")
_TREE = "__tree__"
_MOST_TEXT = 64 << 20
_MOST_DEPTH = 64


def load_batch_argument(argument: str, input_names: Sequence[str] = (), output_names: Sequence[str] = ()) -> Batch:
    """A batch as the command line names it: an `.npz` file, a folder of `tf.data.Dataset.save`, or `file.py:name`.

    Raises `CaseError` for anything else, and for what cannot be read.
    """
    if is_reference(argument):
        return hold_batch(_first(load_reference(argument), argument), argument)
    if Path(argument).is_dir():
        return _saved_dataset(argument)
    if argument.endswith(".npz") or Path(argument).is_file():
        return load_batch(argument, input_names, output_names)
    if not Path(argument).exists():
        raise CaseError(f"there is no batch {argument}; name an .npz file, a saved dataset or file.py:name.")
    raise CaseError(f"{argument} is no batch that is read; name an .npz file, a saved dataset or file.py:name.")


def load_batch(path: str | Path, input_names: Sequence[str] = (), output_names: Sequence[str] = ()) -> Batch:
    """An `.npz` batch file; its arrays are read only when rows are asked for.

    `input_names` and `output_names` are the model's: bare keys that equal them are taken as x and y dicts where
    no key has a root. Raises `CaseError` for what is not a readable batch.
    """
    file = str(path)
    members = npz.members(file)
    fixed = members.pop(_TREE, None)
    arrays = {key: named_bfloat16(array) for key, array in members.items()}
    if fixed is not None:
        roots = tree_json.read(_text(fixed, file), arrays, file)
        return _counted(Batch(file, roots.get("x"), roots.get("y"), roots.get("sample_weight")))
    if not arrays:
        raise CaseError(f"{file} holds no array; write x and y into it with lossdoctor.save_batch.")
    return _counted(Batch(file, **_roots(arrays, file, input_names, output_names)))


def _counted(batch: Batch) -> Batch:
    for root in _ROOTS:
        tree = getattr(batch, root)
        count = 0 if tree is None else len(trees.values(tree))
        if count > npz.MOST_LEAVES:
            raise CaseError(f"{batch.source}: {root} has {count} arrays; a check takes up to {npz.MOST_LEAVES}.")
    return batch


def _text(array: npz.LazyArray, file: str) -> str:
    if array.shape != () or array.descr.kind not in "US":
        raise CaseError(f"{file}: __tree__ is not a text; write the batch with lossdoctor.save_batch.")
    if array.descr.itemsize > _MOST_TEXT:
        raise CaseError(f"{file}: __tree__ takes over 64 MiB; write the batch with lossdoctor.save_batch.")
    value = array.rows(0)[()]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _roots(
    arrays: Mapping[str, ArrayRef], file: str, input_names: Sequence[str], output_names: Sequence[str]
) -> dict[str, Tree]:
    if all(key in ("arr_0", "arr_1", "arr_2") for key in arrays):
        return {root: arrays[f"arr_{i}"] for i, root in enumerate(_ROOTS) if f"arr_{i}" in arrays}
    if all(re.fullmatch(r"arr_\d+", key) for key in arrays):
        raise CaseError(
            f"{file} holds {', '.join(map(shortened, list(arrays)[:6]))}: a batch has x, y and sample_weight at most; name the arrays."
        )
    rooted = [key for key in arrays if key.split("/")[0] in _ROOTS]
    if not rooted:
        return _bare(arrays, file, input_names, output_names)
    for key in arrays:
        if key not in rooted:
            raise CaseError(
                f"{file}: the key {shortened(key)!r} belongs to none of x, y and sample_weight{did_you_mean(key.split('/')[0], _ROOTS)}; "
                f"rename it, for example to 'y/{shortened(key)}'."
            )
    return {
        root: _nest({key: arrays[key] for key in rooted if key.split("/")[0] == root}, root, file)
        for root in _ROOTS
        if any(key.split("/")[0] == root for key in rooted)
    }


def _bare(
    arrays: Mapping[str, ArrayRef], file: str, input_names: Sequence[str], output_names: Sequence[str]
) -> dict[str, Tree]:
    if not input_names and not output_names:
        return {}  # only the model's names can explain these keys
    for key in arrays:
        if key not in input_names and key not in output_names:
            known = [*_ROOTS, *input_names, *output_names]
            raise CaseError(
                f"{file}: the key {shortened(key)!r} is neither x, y nor sample_weight, nor an input or output of the model"
                f"{did_you_mean(key, known)}; rename it (known: {', '.join(map(shortened, known[:20]))}{', ...' * (len(known) > 20)})."
            )
    x = {key: array for key, array in arrays.items() if key in input_names}
    y = {key: array for key, array in arrays.items() if key in output_names and key not in input_names}
    # One array for the one input or output of a model needs no dict.
    return {
        "x": next(iter(x.values())) if len(input_names) == len(x) == 1 else x or None,
        "y": next(iter(y.values())) if len(output_names) == len(y) == 1 else y or None,
    }


def _nest(arrays: Mapping[str, ArrayRef], root: str, file: str) -> Tree:
    tree: dict[str, Any] = {}
    for key, array in arrays.items():
        node, steps = tree, key.split("/")
        if len(steps) > _MOST_DEPTH:
            raise CaseError(f"{file}: the key {key[:60]!r}... is nested deeper than {_MOST_DEPTH} levels; use fewer.")
        for step in steps[:-1]:
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                raise CaseError(f"{file}: {key!r} lies inside another array's key; give each array a key of its own.")
        if not steps[-1]:
            raise CaseError(f"{file}: the key {key!r} ends in a slash; give the array a name.")
        if steps[-1] in node:
            raise CaseError(f"{file}: {key!r} is both an array and a group of arrays; give each a key of its own.")
        node[steps[-1]] = array
    return _lists(tree[root], root, file)


def _lists(node: Any, path: str, file: str) -> Tree:
    """Groups whose names are 0, 1, 2 ... as lists."""
    if not isinstance(node, dict):
        return node
    children = {name: _lists(child, f"{path}/{name}", file) for name, child in node.items()}
    if not any(name.isdecimal() for name in children):
        return children
    if children.keys() != {str(number) for number in range(len(children))}:
        shown = ", ".join(name[:60] for name in [*children][:20])
        raise CaseError(
            f"{file}: the entries of {path} are {shown}; number a list 0, 1, 2 ... without a gap, or use names only."
        )
    return [children[name] for name in sorted(children, key=int)]


def save_batch(path: str | Path, x: Tree, y: Tree = None, sample_weight: Tree = None) -> None:
    """Write a batch file that `load_batch` reads back with the same containers, dict order included.

    Leaves are arrays or tensors (anything with `__array__`), Python numbers or None. The file is written
    beside its place and then renamed. Raises `CaseError` for a leaf that is none of these.
    """
    target = Path(path)
    given = {"x": x, "y": y, "sample_weight": sample_weight}
    roots = {root: tree for root, tree in given.items() if tree is not None or root == "x"}
    arrays: dict[str, np.ndarray] = {}

    def store(leaf: Any) -> str:
        array = storable(leaf)
        if array is None:
            raise CaseError(f"a batch cannot hold a {type(leaf).__name__}; give arrays, numbers or None.")
        if array.dtype.hasobject:
            raise CaseError("a batch cannot hold an array of Python objects; give numbers or strings of one width.")
        key = f"array_{len(arrays)}"
        arrays[key] = array
        return key

    text = tree_json.write(roots, store)
    plain = _plain_keys(roots)
    if plain is not None:
        arrays = plain
    else:
        arrays[_TREE] = np.array(text)
    _write(target, arrays)


def _plain_keys(roots: Mapping[str, Tree]) -> dict[str, np.ndarray] | None:
    """{path key: array} where keys alone say the containers exactly (lists, and dicts with plain names), else None."""
    found: dict[str, np.ndarray] = {}

    def walk(node: Any, key: str) -> bool:
        if type(node) is list and node:
            return all(walk(child, f"{key}/{i}") for i, child in enumerate(node))
        if type(node) is dict and node:
            names = list(node)
            if any(not isinstance(n, str) or not n or "/" in n or n.isdecimal() for n in names):
                return False
            return all(walk(child, f"{key}/{name}") for name, child in node.items())
        if isinstance(node, dict | list | tuple | bool | int | float) or node is None:
            return False
        array = storable(node)
        if array is None:
            return False
        found[key] = array
        return True

    return found if all(walk(tree, root) for root, tree in roots.items()) else None


def _write(target: Path, arrays: Mapping[str, np.ndarray]) -> None:
    # NumPy before 2.1 has no allow_pickle here: it would write an array of that name.
    write_bytes(target, lambda stream: np.savez(stream, **arrays))  # type: ignore[arg-type]


def hold_batch(data: Any, source: str) -> Batch:
    """A live `(x,)`, `(x, y)` or `(x, y, sample_weight)` as a `Batch`. Raises `CaseError` for anything else."""
    if not isinstance(data, tuple | list) or not 1 <= len(data) <= 3:
        what = f"{len(data)} entries" if isinstance(data, tuple | list) else f"a {type(data).__name__}"
        raise CaseError(f"{source}: a batch is (x, y) or (x, y, sample_weight), not {what}.")
    notes: list[str] = []
    held = {root: _hold(tree, root, notes) for root, tree in zip(_ROOTS, data, strict=False)}
    return Batch(source, **held, notes=tuple(notes))


def _hold(node: Any, path: str, notes: list[str]) -> Tree:
    if node is None or isinstance(node, bool | int | float | ArrayRef):
        return node
    if isinstance(node, dict):
        held = [(k, _hold(v, f"{path}[{k!r}]", notes)) for k, v in node.items()]
        return type(node)(held) if type(node).__name__ in ("dict", "OrderedDict") else dict(held)
    # A sparse tensor of TensorFlow may be a named tuple.
    dense = as_dense(node)
    # Losses take no sparse targets; ragged ones are taken as they are on TensorFlow, and as dense ones elsewhere.
    if dense is not None and (path.startswith("x") or dense[1] == "ragged"):
        filled = "its rows filled up with 0" if dense[1] == "ragged" else "its empty places 0"
        notes.append(f"{path} as the {dense[1]} tensor that it is: it was examined as an array, {filled}")
        return dense[0]
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return type(node)(*(_hold(v, f"{path}.{name}", notes) for name, v in zip(node._fields, node, strict=True)))
    if isinstance(node, list | tuple):
        parts = [_hold(v, f"{path}[{i}]", notes) for i, v in enumerate(node)]
        return tuple(parts) if isinstance(node, tuple) else parts
    try:
        array = None if dense is not None else as_array(node)
    except Exception as error:  # a tensor that cannot be read (symbolic, deleted, another device)
        raise CaseError(
            f"{path} is a {type(node).__name__} that cannot be read ({first_line(error)}); give its values."
        ) from error
    if array is not None:
        return array
    # Anything else is one opaque leaf for Keras too.
    leaf = np.empty((), dtype=object)
    leaf[()] = node
    return HeldArray(leaf)


def _first(found: Any, source: str) -> Any:
    """A tuple, what a callable returns, or the first of what yields tuples."""
    if callable(found) and not isinstance(found, Iterable):
        found = call(found, source)
    return first_batch(found, source)[0]


_MOST_ENTRIES = 100_000
# Of the files that `Dataset.save` writes (TensorFlow 2.17 to 2.21).
_SNAPSHOT_VERSION = 2


def _require_files(folder: str) -> None:
    """Raises `CaseError` where the folder holds anything but files and folders: TensorFlow would wait for a FIFO for ever."""
    count = 0
    for place, folders, files in os.walk(folder):
        # What a linked folder holds is not walked.
        for name in (*files, *(name for name in folders if os.path.islink(os.path.join(place, name)))):
            if not os.path.isfile(os.path.join(place, name)):
                raise CaseError(
                    f"{os.path.join(place, name)} is not a regular file; save the dataset again with Dataset.save."
                )
        count += len(folders) + len(files)
        if count > _MOST_ENTRIES:
            raise CaseError(
                f"{folder} holds over {_MOST_ENTRIES} files; save a dataset of a few batches with Dataset.save."
            )


def _require_metadata(folder: str) -> None:
    """Raises `CaseError` for a `snapshot.metadata` that TensorFlow's C++ reader trusts and that leads it elsewhere, or past the end of its dtypes."""
    from tensorflow.core.protobuf.snapshot_pb2 import SnapshotMetadataRecord

    file = Path(folder) / "snapshot.metadata"
    record = SnapshotMetadataRecord()
    try:
        with file.open("rb") as stream:
            record.ParseFromString(stream.read(_MOST_TEXT))
    except Exception as error:  # no such file, or no protocol buffer
        raise CaseError(f"{file} cannot be read; save the dataset again with Dataset.save.") from error
    run = record.run_id
    if (
        record.version != _SNAPSHOT_VERSION
        or not record.dtype
        or not (run.isdecimal() and (Path(folder) / run).is_dir())
    ):
        raise CaseError(f"{file} is damaged; save the dataset again with Dataset.save.")


def _saved_dataset(folder: str) -> Batch:
    if not (Path(folder) / "dataset_spec.pb").exists():
        raise CaseError(
            f"{folder} is a folder, but none that tf.data.Dataset.save wrote; name an .npz file or a saved dataset."
        )
    _require_files(folder)
    try:
        import tensorflow as tf
    except ImportError as error:
        raise CaseError(
            f"{folder} is a dataset that TensorFlow saved, and TensorFlow is not installed; install it."
        ) from error
    _require_metadata(folder)
    try:
        data = next(iter(tf.data.Dataset.load(folder)))
    except Exception as error:  # whatever TensorFlow finds wrong with the files
        empty = isinstance(error, StopIteration)
        what = "it holds no batch" if empty else without_node(first_line(error)).rstrip(".:")
        raise CaseError(
            f"{folder} cannot be read as a saved dataset ({what}); save it again with Dataset.save."
        ) from error
    return hold_batch(data if isinstance(data, tuple) else (data,), folder)
