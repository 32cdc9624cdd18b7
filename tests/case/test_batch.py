"""The batch format: what is saved comes back, what cannot be read says so."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossdoctor
from lossdoctor import trees
from lossdoctor.case.batch import hold_batch, load_batch, load_batch_argument
from lossdoctor.types import ArrayRef, CaseError

Pair = namedtuple("Pair", ["z", "a"])
LEAVES = (
    st.integers(1, 3).map(lambda n: np.arange(n * 2).reshape(2, n)) | st.none() | st.integers(0, 5) | st.floats(0, 1)
)
KEYS = st.text("ab/0_é", min_size=1, max_size=3)
TREES = st.recursive(
    LEAVES,
    lambda node: (
        st.lists(node, max_size=3)
        | st.tuples(node, node)
        | st.dictionaries(KEYS, node, max_size=3)
        | st.dictionaries(KEYS, node, max_size=3).map(OrderedDict)
        | st.builds(Pair, node, node)
    ),
    max_leaves=8,
)


def shape_of(tree: Any) -> Any:
    """The tree's containers, names and values, in a form that compares."""
    if isinstance(tree, ArrayRef):
        return ("array", tree.rows(100).tolist())
    if isinstance(tree, np.ndarray):
        return ("array", tree.tolist())
    if isinstance(tree, dict):
        return (type(tree).__name__, [(k, shape_of(v)) for k, v in tree.items()])
    if isinstance(tree, list | tuple):
        return (type(tree).__name__, getattr(tree, "_fields", None), [shape_of(v) for v in tree])
    return ("scalar", tree)


@settings(max_examples=150, deadline=None)
@given(x=TREES, y=TREES, weight=TREES)
def test_what_is_saved_comes_back(tmp_path_factory: Any, x: Any, y: Any, weight: Any) -> None:
    path = tmp_path_factory.mktemp("batch") / "b.npz"
    lossdoctor.save_batch(path, x, y, weight)
    batch = lossdoctor.load_batch(path)
    for given_, loaded in ((x, batch.x), (y, batch.y), (weight, batch.sample_weight)):
        assert shape_of(loaded) == shape_of(given_)


def test_plain_trees_are_saved_by_path_and_read_by_numpy(tmp_path: Path) -> None:
    path = tmp_path / "b.npz"
    lossdoctor.save_batch(path, np.ones((2, 3)), {"box": [np.ones(2), np.zeros(2)]})
    with np.load(path) as file:
        assert sorted(file.files) == ["x", "y/box/0", "y/box/1"]


def test_tensors_are_arrays(tmp_path: Path) -> None:
    lossdoctor.save_batch(tmp_path / "b.npz", keras.ops.ones((2, 3)), [keras.ops.zeros((2, 1))])
    batch = load_batch(tmp_path / "b.npz")
    assert batch.x.shape == (2, 3) and batch.y[0].rows(2).tolist() == [[0.0], [0.0]]


def _savez(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_arr_n_are_x_y_and_sample_weight(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", np.ones((2, 3)), np.zeros((2, 1)), np.ones(2))
    batch = load_batch(tmp_path / "b.npz")
    assert (batch.x.shape, batch.y.shape, batch.sample_weight.shape) == ((2, 3), (2, 1), (2,))


def test_names_keep_file_order_and_numbers_make_lists(tmp_path: Path) -> None:
    path = _savez(tmp_path / "b.npz", **{"x": np.ones(2), "y/z": np.ones(2), "y/a/1": np.zeros(2), "y/a/0": np.ones(2)})
    y = load_batch(path).y
    assert list(y) == ["z", "a"]
    assert isinstance(y["a"], list) and y["a"][0].rows(2).tolist() == [1, 1]


def test_bare_names_are_the_model_s_inputs_and_outputs(tmp_path: Path) -> None:
    path = _savez(tmp_path / "b.npz", image=np.ones((2, 3)), box=np.ones((2, 4)), label=np.ones(2))
    batch = load_batch(path, ("image",), ("box", "label"))
    assert isinstance(batch.x, ArrayRef) and list(batch.y) == ["box", "label"]
    with pytest.raises(CaseError, match=r"the key 'labl' .*did you mean 'label'"):
        load_batch(_savez(tmp_path / "c.npz", image=np.ones(2), labl=np.ones(2)), ("image",), ("box", "label"))


WRONG = {
    "a key without a root": ({"x": 1, "box": 1}, "'box' belongs to none of x, y and sample_weight"),
    "a near miss of a root": ({"x": 1, "sampleweight": 1}, "did you mean 'sample_weight'"),
    "an array and a group": ({"y": 1, "y/a": 1}, "'y/a' lies inside"),
    "a group and an array": ({"y/a": 1, "y": 1}, "'y' is both"),
    "a gap in a list": ({"y/0": 1, "y/2": 1}, "number a list 0, 1, 2"),
    "numbers and names": ({"y/0": 1, "y/a": 1}, "number a list 0, 1, 2"),
    "a trailing slash": ({"y/": 1}, "ends in a slash"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_keys_are_named(tmp_path: Path, name: str) -> None:
    keys, said = WRONG[name]
    path = _savez(tmp_path / "wrong.npz", **{key: np.ones(2) for key in keys})
    with pytest.raises(CaseError, match=said) as raised:
        load_batch(path)
    assert "wrong.npz" in str(raised.value)


LEAF = {"kind": "leaf", "key": "a"}
MALFORMED: dict[str, tuple[Any, str]] = {
    "not json": ("{", "is not JSON"),
    "a list": ([], "no version 1"),
    "no version": ({"x": LEAF}, "no version 1"),
    "a later version": ({"version": 2, "x": LEAF}, "no version 1"),
    "an unknown root": ({"version": 1, "z": LEAF}, "unknown entry 'z'"),
    "a missing array": ({"version": 1, "x": {"kind": "leaf", "key": "b"}}, "no array 'b'"),
    "a near miss": ({"version": 1, "x": {"kind": "leaf", "key": "aa"}}, "did you mean 'a'"),
    "a key that is no text": ({"version": 1, "x": {"kind": "leaf", "key": [1]}}, "no array"),
    "no kind": ({"version": 1, "x": {}}, "without a kind"),
    "an unknown kind": ({"version": 1, "x": {"kind": "set", "items": []}}, "unknown kind 'set'"),
    "a list without items": ({"version": 1, "x": {"kind": "list"}}, "without items"),
    "a dict of single entries": ({"version": 1, "x": {"kind": "dict", "items": ["a"]}}, "name, node"),
    "a name twice": ({"version": 1, "x": {"kind": "dict", "items": [["k", LEAF], ["k", LEAF]]}}, "'k' twice"),
    "a scalar without a number": ({"version": 1, "x": {"kind": "scalar", "value": "1"}}, "without a number"),
    "a bad identifier": (
        {"version": 1, "x": {"kind": "namedtuple", "name": "import os", "fields": ["a"], "items": [LEAF]}},
        "no identifier",
    ),
    "a keyword field": (
        {"version": 1, "x": {"kind": "namedtuple", "name": "T", "fields": ["class"], "items": [LEAF]}},
        "no identifier",
    ),
    "fields and items differ": (
        {"version": 1, "x": {"kind": "namedtuple", "name": "T", "fields": ["a", "b"], "items": [LEAF]}},
        "fields and items differ",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_tree_entry_is_named(tmp_path: Path, name: str) -> None:
    document, said = MALFORMED[name]
    text = document if isinstance(document, str) else json.dumps(document)
    path = _savez(tmp_path / "tree.npz", a=np.ones(2), __tree__=np.array(text))
    with pytest.raises(CaseError, match=said) as raised:
        load_batch(path)
    assert "tree.npz" in str(raised.value) and "\n" not in str(raised.value)


def test_deep_json_is_bounded(tmp_path: Path) -> None:
    node: Any = LEAF
    for _ in range(100):
        node = {"kind": "list", "items": [node]}
    path = _savez(tmp_path / "deep.npz", a=np.ones(2), __tree__=np.array(json.dumps({"version": 1, "x": node})))
    with pytest.raises(CaseError, match="nested deeper than 64"):
        load_batch(path)
    path = _savez(tmp_path / "deeper.npz", a=np.ones(2), __tree__=np.array("[" * 100_000))
    with pytest.raises(CaseError, match="is not JSON"):
        load_batch(path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "b.npz"
    lossdoctor.save_batch(path, np.ones(2))
    before = path.read_bytes()
    for bad in ({"a": object()}, np.array([object()])):
        with pytest.raises(CaseError, match="a batch cannot hold"):
            lossdoctor.save_batch(path, bad)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(CaseError, match="cannot be written"):
        lossdoctor.save_batch(tmp_path / "nowhere" / "b.npz", np.ones(2))


def test_live_batches_are_held() -> None:
    batch = hold_batch((keras.ops.ones((2, 3)), {"a": np.ones(2), "b": None, "c": 2.0}), "here")
    assert batch.x.shape == (2, 3) and batch.y["b"] is None and batch.y["c"] == 2.0 and batch.sample_weight is None
    for wrong in ([], (1, 2, 3, 4), "text", None):
        with pytest.raises(CaseError, match="here: a batch is"):
            hold_batch(wrong, "here")


def test_references_and_saved_datasets(tmp_path: Path) -> None:
    import tensorflow as tf

    (tmp_path / "data.py").write_text(
        "import numpy as np\n"
        "batch = (np.ones((2, 3)), np.zeros((2, 1)))\n"
        "def make():\n    return batch\n"
        "def many():\n    yield batch\n    raise RuntimeError('only the first is taken')\n"
        "def broken():\n    raise RuntimeError('no data')\n"
        "empty = []\n"
    )
    for name in ("batch", "make", "many"):
        assert load_batch_argument(f"{tmp_path}/data.py:{name}").y.shape == (2, 1)
    with pytest.raises(CaseError, match="raised RuntimeError when it was called: no data"):
        load_batch_argument(f"{tmp_path}/data.py:broken")
    with pytest.raises(CaseError, match=r"data\.py:empty: the data are an empty list"):
        load_batch_argument(f"{tmp_path}/data.py:empty")
    dataset = tf.data.Dataset.from_tensor_slices((np.ones((4, 3)), {"a": np.zeros((4, 1))})).batch(2)
    dataset.save(str(tmp_path / "saved"))
    batch = load_batch_argument(str(tmp_path / "saved"))
    assert batch.x.shape == (2, 3) and batch.y["a"].shape == (2, 1)
    with pytest.raises(CaseError, match="none that tf"):
        load_batch_argument(str(tmp_path))
    with pytest.raises(CaseError, match=r"there is no batch .*gone\.npy"):
        load_batch_argument(str(tmp_path / "gone.npy"))


def test_trees_are_walked_in_file_order(tmp_path: Path) -> None:
    lossdoctor.save_batch(tmp_path / "b.npz", np.ones(2), {"z": np.ones(2), "a": np.ones(2)})
    assert [path for path, _ in trees.declared_leaves("y", load_batch(tmp_path / "b.npz").y)] == ["y['z']", "y['a']"]
