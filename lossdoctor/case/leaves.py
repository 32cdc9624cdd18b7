"""Leaves of a live batch as `ArrayRef`: arrays, tensors of every backend, pandas, ragged and sparse; read where asked only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossdoctor.types import ArrayRef, HeldArray

# How many rows of a table with columns of several types decide what it is as one array.
_SAMPLE = 1024
# Where arrays are read from memory; what is sliced lazily (HDF5, zarr, dask ...) comes from elsewhere.
_IN_MEMORY = ("numpy", "tensorflow", "jax", "jaxlib", "keras", "torch", "pandas")


@dataclass(frozen=True, eq=False)
class ReadArray:
    """An array of which `read(count)` gives the first rows."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[int], np.ndarray]

    def rows(self, count: int) -> np.ndarray:
        """The first `count` entries along axis 0."""
        return np.asarray(self.read(min(count, self.shape[0]) if self.shape else 0))


def as_array(leaf: Any) -> ArrayRef | None:
    """A leaf that is an array to Keras, as an `ArrayRef`; None for any other (sparse and ragged ones too: see `as_dense`)."""
    home = type(leaf).__module__.split(".")[0]
    if home == "pandas":
        return _of_pandas(leaf)
    if home == "torch" or (not hasattr(leaf, "__array__") and _has(leaf, "numpy", "shape", "dtype")):
        return HeldArray(_of_tensor(leaf))
    if not hasattr(leaf, "__array__"):
        return None
    if home not in _IN_MEMORY and not isinstance(leaf, np.ndarray) and _has(leaf, "shape", "dtype", "__getitem__"):
        shape = tuple(leaf.shape)
        if shape and all(isinstance(size, int) for size in shape):
            return ReadArray(shape, np.dtype(leaf.dtype).name, lambda count: np.asarray(leaf[:count]))
    array = np.asarray(leaf)
    if home == "tensorflow" and array.dtype == object:  # tf.string, which Keras hands on as it is
        return ReadArray(array.shape, "string", lambda count: array[:count] if array.ndim else array)
    return HeldArray(array)


def as_dense(leaf: Any) -> tuple[ArrayRef, str] | None:
    """A ragged or sparse leaf as the dense array that it stands for, and what kind it is; None for any other."""
    tf: Any = sys.modules.get("tensorflow")
    if _is_tensorflow(leaf, "RaggedTensor"):
        shape = tuple(int(size) for size in leaf.bounding_shape())
        return ReadArray(
            shape, leaf.dtype.name, lambda n: leaf[:n].to_tensor(shape=(None, *shape[1:])).numpy()
        ), "ragged"
    if _is_tensorflow(leaf, "SparseTensor"):
        shape = tuple(int(size) for size in leaf.shape)

        def dense(count: int) -> np.ndarray:
            part = tf.sparse.slice(tf.sparse.reorder(leaf), [0] * len(shape), [count, *shape[1:]])
            return np.asarray(tf.sparse.to_dense(part).numpy())

        return ReadArray(shape, leaf.dtype.name, dense), "sparse"
    if _has(leaf, "tocsr", "nnz", "shape"):
        return ReadArray(tuple(leaf.shape), np.dtype(leaf.dtype).name, lambda n: leaf.tocsr()[:n].toarray()), "sparse"
    if _has(leaf, "todense", "nse", "shape"):
        return ReadArray(tuple(leaf.shape), str(leaf.dtype), lambda n: np.asarray(leaf[:n].todense())), "sparse"
    return None


def named_bfloat16(array: ArrayRef) -> ArrayRef:
    """An array of two raw bytes an entry as bfloat16: so NumPy writes it, which lacks the name."""
    if array.dtype != "|V2":
        return array
    import ml_dtypes

    return ReadArray(array.shape, "bfloat16", lambda count: array.rows(count).view(ml_dtypes.bfloat16))


def read_whole(leaf: Any) -> Any:
    """An array leaf of a batch read whole; any other leaf as it is."""
    return leaf.rows(leaf.shape[0] if leaf.shape else 0) if isinstance(leaf, ArrayRef) else leaf


def array_of(leaf: Any) -> Any:
    """An array leaf read whole, as a new array; any other leaf as it is."""
    # A copy, so that no two leaves are one object: Keras's pairing is read off the identity of tensors.
    return np.array(read_whole(leaf)) if isinstance(leaf, ArrayRef) else leaf


def storable(leaf: Any) -> np.ndarray | None:
    """A leaf as a batch file keeps it, None for what is no array; types of 8 bits and less that NumPy lacks are widened."""
    found = as_array(leaf) or (as_dense(leaf) or (None,))[0]
    if found is None:
        return None
    array: np.ndarray = read_whole(found)
    if array.dtype.kind == "V" and array.dtype.fields is None and array.dtype.itemsize == 1:
        return array.astype("float32" if "float" in array.dtype.name else "int8")
    return array.astype("S") if found.dtype == "string" else array


def _of_pandas(leaf: Any) -> ArrayRef | None:
    if not hasattr(leaf, "iloc"):
        return HeldArray(np.asarray(leaf)) if hasattr(leaf, "__array__") else None
    # `fit` makes a column of a series (`array_slicing.py: PandasSeriesSliceable`).
    shape = (*leaf.shape, 1) if len(leaf.shape) == 1 else tuple(leaf.shape)
    kind = _common_type(leaf)
    if kind is not None and _can_be(leaf, kind):
        return ReadArray(shape, kind, lambda n: leaf.iloc[:n].astype(kind).to_numpy())
    sample = leaf.iloc[:_SAMPLE].to_numpy()
    return ReadArray(shape, sample.dtype.name, lambda n: leaf.iloc[:n].to_numpy().reshape(n, *shape[1:]))


def _common_type(leaf: Any) -> str | None:
    """The type to which `fit` casts a whole table for one of its columns, None for a table or series left as it is.

    As `array_slicing.py: convert_to_sliceable` has it (Keras 3.4 to 3.15). Raises ValueError for pandas' own types
    where Keras does.
    """
    import keras

    types = [leaf.dtype] if len(leaf.shape) == 1 else list(leaf.dtypes)
    floatx = keras.config.floatx()
    for dtype in types:
        if isinstance(dtype, np.dtype) and dtype.kind not in "biuf":
            continue
        try:
            name = keras.backend.standardize_dtype(dtype)
        except ValueError:
            if leaf.iloc[:_SAMPLE].to_numpy().dtype.kind not in "biufc":
                return None  # text and objects are looked at as such
            raise ValueError(f"fit refuses pandas' own {dtype}: Invalid dtype: {dtype}") from None
        if "float" in name and name != floatx:
            return str(floatx) if len(set(types)) > 1 else None
    return None


def _can_be(leaf: Any, kind: str) -> bool:
    try:
        leaf.iloc[:_SAMPLE].astype(kind)
    except (TypeError, ValueError):  # a column of text, a missing number of pandas' own
        return False
    return True


def _of_tensor(leaf: Any) -> np.ndarray:
    """A PyTorch tensor wherever it lies, or anything else with `.numpy()`."""
    for step in ("detach", "cpu"):
        leaf = getattr(leaf, step)() if hasattr(leaf, step) else leaf
    if str(leaf.dtype) == "torch.bfloat16":
        import ml_dtypes

        return np.asarray(leaf.float().numpy()).astype(ml_dtypes.bfloat16)
    return np.asarray(leaf.numpy())


def _is_tensorflow(leaf: Any, name: str) -> bool:
    return isinstance(leaf, getattr(sys.modules.get("tensorflow"), name, ()))


def _has(leaf: Any, *names: str) -> bool:
    return not isinstance(leaf, type) and all(hasattr(leaf, name) for name in names)


__all__ = ["ReadArray", "as_array", "as_dense", "named_bfloat16", "storable"]
