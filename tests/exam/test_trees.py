"""Paths and order of trees are Keras's own."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import keras
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor import _keras, trees

trees.follow(_keras.backend_name())
Boxes = namedtuple("Boxes", ["z", "a"])

TREES = st.recursive(
    st.integers() | st.none(),
    lambda node: (
        st.lists(node, max_size=3)
        | st.dictionaries(st.text("abz_", min_size=1, max_size=3), node, max_size=3)
        | st.tuples(node, node)
        | st.builds(Boxes, node, node)
        | st.dictionaries(st.text("abz_", min_size=1, max_size=3), node, max_size=3).map(OrderedDict)
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(TREES)
def test_leaves_are_those_of_keras_tree_in_its_order(tree: Any) -> None:
    assert [leaf for _, leaf in trees.leaves("y", tree)] == keras.tree.flatten(tree)
    assert trees.is_leaf(tree) == (not keras.tree.is_nested(tree))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(TREES)
def test_a_path_typed_as_python_finds_its_leaf(tree: Any) -> None:
    for path, leaf in [*trees.leaves("y", tree), *trees.declared_leaves("y", tree)]:
        assert eval(path, {"y": tree}) is leaf


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(TREES)
def test_mapping_and_packing_keep_containers_and_order(tree: Any) -> None:
    assert repr(trees.map_leaves(lambda leaf: leaf, tree)) == repr(tree)
    assert repr(trees.pack(tree, trees.values(tree))) == repr(tree)


def test_declared_order_is_insertion_order() -> None:
    assert [path for path, _ in trees.declared_leaves("y", {"z": 1, "a": {"y": 2, "b": 3}})] == [
        "y['z']",
        "y['a']['y']",
        "y['a']['b']",
    ]


@pytest.mark.parametrize(
    ("tree", "name"), [({}, "dict"), ([1], "list"), ((1, 2), "tuple"), (Boxes(1, 2), "Boxes"), (3, "one array")]
)
def test_container_names(tree: Any, name: str) -> None:
    assert trees.container(tree) == name
