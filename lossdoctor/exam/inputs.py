"""The input stand-in: the real `Input` containers and names, so that Keras shows which array of x reaches which."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

import keras
import numpy as np

from lossdoctor import _keras, releases, trees
from lossdoctor.exam.errors import describe_error
from lossdoctor.facts import InputPair, InputRun
from lossdoctor.types import ArrayRef, InputSpec, Spec, Tree

# Entries that the tagged arrays may hold in all; two samples of a large image fit many times over.
_MOST_ENTRIES = 200_000_000
_TIMES = ("datetime64", "timedelta64")
# Of a batch in memory: `fit` refuses it. What is in a file may have been, and is taken for, a tensor of strings.
_NUMPY_TEXT = ("str", "bytes")


def run_inputs(declared: Tree, x: Tree, metrics: bool = False) -> InputRun:
    """Call a model of these inputs on arrays of x's shapes (two samples each), each filled with a number of its own.

    `declared` holds `InputSpec` leaves, x `ArrayRef` leaves (or None, scalars). `metrics`: the model is compiled with some.
    """
    leaves = trees.leaves("x", x)
    if _plain(declared, x):
        spec, (path, ref) = trees.values(declared)[0], leaves[0]
        return InputRun((InputPair(spec.name, path, spec.shape, tuple(ref.shape)),))
    if sum(2 * prod(leaf.shape[1:]) for _, leaf in leaves if isinstance(leaf, ArrayRef)) > _MOST_ENTRIES:
        return InputRun(error=None)
    tagged = trees.pack(x, [_tag(leaf, i + 1) for i, (_, leaf) in enumerate(leaves)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = _build(declared)
            model.compile(run_eagerly=True)
            reached = trees.values(model.predict(tagged, verbose=0))
            checked = metrics or releases.holds("names-of-x-checked", _keras.version())
            if _keras.backend_name() == "jax" and checked:
                _call_as_fit(model, tagged)
        except Exception as error:  # what Keras raises is the observation
            return InputRun(error=describe_error(error))
    return InputRun(tuple(_pair(s, v, leaves) for s, v in zip(trees.values(declared), reached, strict=True)))


def _build(declared: Tree) -> Any:
    """A model with exactly these inputs whose outputs are its inputs: shows which array reaches which `Input`."""
    tensors = trees.map_leaves(
        lambda i: keras.Input(
            batch_shape=i.shape, dtype=i.dtype, name=i.name, **({"optional": True} if i.optional else {})
        ),
        declared,
    )
    flat = trees.values(tensors)
    return keras.Model(tensors, [_Seen(dtype=t.dtype)(t) for t in flat])


class _Seen(keras.layers.Layer):
    """Hands an input on; 0 for an optional one that is given nothing, as `predict` returns no None."""

    def call(self, inputs: Any = None) -> Any:
        return keras.ops.zeros((1,)) if inputs is None else inputs


def _call_as_fit(model: Any, tagged: Tree) -> None:
    """The symbolic call with which `fit` begins (`trainer.py: _symbolic_build`): it checks names, which `predict` does not on JAX."""
    leaves = trees.values(tagged)
    if all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float32 for leaf in leaves):
        _keras.call_specs(model, trees.map_leaves(lambda a: Spec(tuple(a.shape), "float32"), tagged), trace=True)


def _plain(declared: Tree, x: Tree) -> bool:
    """One array for one `Input` whose known sizes agree: nothing can be mispaired."""
    flat, refs = trees.values(declared), trees.values(x)
    if len(flat) != 1 or len(refs) != 1 or not isinstance(refs[0], ArrayRef) or not trees.is_leaf(x):
        return False
    if refs[0].dtype == "object" or refs[0].dtype.startswith(_TIMES) or _is_numpy_text(refs[0]):
        return False
    spec, shape = flat[0], refs[0].shape
    return len(spec.shape) == len(shape) and all(
        d is None or d == e for d, e in zip(spec.shape[1:], shape[1:], strict=True)
    )


def _is_numpy_text(leaf: ArrayRef) -> bool:
    return leaf.dtype.startswith(_NUMPY_TEXT) and leaf.dtype != "string"


def _tag(leaf: Any, tag: int) -> Any:
    if not isinstance(leaf, ArrayRef) or not leaf.shape:
        return leaf
    if leaf.dtype.startswith(("<U", "str", "object", "|S", "bytes")):
        texts = np.full((2, *leaf.shape[1:]), str(tag), dtype=object if leaf.dtype == "object" else None)
        # Where no tensor holds text, `fit` is given the objects that a tensor of TensorFlow becomes.
        return texts if leaf.dtype == "object" or _is_numpy_text(leaf) else _keras.fed(texts.astype(object))
    if leaf.dtype.startswith(_TIMES):
        return np.full((2, *leaf.shape[1:]), tag, dtype=leaf.dtype)
    return np.full((2, *leaf.shape[1:]), tag, dtype="float32")


def _pair(spec: InputSpec, value: Any, leaves: list[tuple[str, Any]]) -> InputPair:
    array = np.asarray(value)
    tag = int(float(array.reshape(-1)[0])) if array.size else 0
    path, ref = leaves[tag - 1] if 0 < tag <= len(leaves) else (None, None)
    shape = tuple(ref.shape) if isinstance(ref, ArrayRef) else None
    return InputPair(spec.name, path, spec.shape, shape)
