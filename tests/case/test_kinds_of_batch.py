"""Every kind of batch that `fit` takes is taken, as Keras takes it: compared with what Keras's own `fit` was handed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers, ops

import lossdoctor
from lossdoctor.case.batch import hold_batch, load_batch, load_batch_argument
from lossdoctor.case.rows import cut
from lossdoctor.exam.inputs import run_inputs
from lossdoctor.types import ArrayRef, CaseError, InputSpec

N = 8
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 4)).astype("float32")
Y = RANDOM.normal(size=(N, 1)).astype("float32")
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def model(shape: tuple[int | None, ...] = (4,), **given: Any) -> Any:
    i = keras.Input(shape, **given)
    made = keras.Model(i, layers.Dense(1)(i))
    made.compile(optimizer="sgd", loss="mse")
    return made


def check(batch: Any, made: Any = None) -> Any:
    return lossdoctor.check(made or model(), batch, repairs=False)


def texts(report: Any) -> list[str]:
    return [f"{f.code} {f.message}" for f in report.findings if f.severity != "info"]


class Tensor:
    """What a PyTorch tensor shows of itself."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, "torch.float32"

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        return self.array


class Loader:
    """A loader that gives lists, as PyTorch's does."""

    def __iter__(self) -> Any:
        return iter([[Tensor(X), Tensor(Y)]] * 2)


class Sequence(keras.utils.PyDataset):
    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return X, Y, np.ones(N)


def generator() -> Any:
    while True:
        yield X, Y


def dataset() -> Any:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(N)


def grain() -> Any:
    found = pytest.importorskip("grain")
    return found.MapDataset.source([(X[i], Y[i]) for i in range(N)]).batch(N)


def grain_loader() -> Any:
    found = pytest.importorskip("grain")
    rows = [(X[i], Y[i]) for i in range(N)]
    sampler = found.samplers.SequentialSampler(num_records=N)
    return found.DataLoader(data_source=rows, sampler=sampler, operations=[found.transforms.Batch(N)], worker_count=0)


SOURCES: dict[str, Callable[[], Any]] = {
    "a PyDataset": lambda: Sequence(2),
    "a generator": generator,
    "a data set": dataset,
    "a loader of lists": Loader,
    "a Grain data set": grain,
    "a Grain loader": grain_loader,
    "a list of batches": lambda: iter([(X, Y)] * 2),
}


@pytest.mark.parametrize("name", SOURCES)
def test_whatever_yields_batches_gives_its_first(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossdoctor.case.datasets import first_batch

    batch = hold_batch(first_batch(SOURCES[name]())[0], "here")
    assert batch.x.rows(N).tolist() == X.tolist() and batch.y.rows(N).tolist() == Y.tolist()


def test_data_sets_are_checked_and_named_in_files(tmp_path: Path) -> None:
    assert texts(check(Sequence(2))) == [] and texts(check(Loader())) == []
    (tmp_path / "loaders.py").write_text(
        "import numpy as np\nfrom tests.case.test_kinds_of_batch import Loader, Sequence, X, Y\n\n"
        "loader, sequence, pair = Loader(), Sequence(2), [X, Y]\n"
        "def records():\n    import tensorflow as tf\n"
        f"    file = {str(tmp_path / 'r.tfrecord')!r}\n"
        "    with tf.io.TFRecordWriter(file) as writer:\n        for row in np.c_[X, Y]:\n            writer.write(row.tobytes())\n"
        "    def parse(record):\n        row = tf.io.decode_raw(record, tf.float32)\n        return row[:4], row[4:]\n"
        "    return tf.data.TFRecordDataset(file).map(parse).batch(8)\n"
        "empty, text, mapping = [], 'x', {'x': X, 'y': Y}\n"
    )
    for name in ("loader", "sequence", "pair", "records"):
        batch = load_batch_argument(f"{tmp_path}/loaders.py:{name}")
        assert np.allclose(batch.x.rows(N), X) and batch.y.rows(N).shape == (N, 1), name
    for name, said in (("empty", "an empty list"), ("text", "are a str"), ("mapping", r"are a dict, .* give \(x, y\)")):
        with pytest.raises(CaseError, match=rf"loaders\.py:{name}: the data .*{said}"):
            load_batch_argument(f"{tmp_path}/loaders.py:{name}")


def test_a_data_set_without_batches_is_one_sentence() -> None:
    for empty in (Sequence(0), iter([]), (x for x in [])):
        with pytest.raises(CaseError, match="the call: the data yield no batch"):
            check(empty)


def test_pandas_objects_are_what_fit_makes_of_them(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    frame, series = pd.DataFrame(X, columns=list("abcd")), pd.Series(Y[:, 0])
    seen = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        seen.append((tuple(y_true.shape)[1:], tuple(y_pred.shape)[1:]))
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    made = model()
    made.compile(optimizer="sgd", loss=loss)
    made.fit(frame, series, verbose=0)
    assert seen[0] == ((1,), (1,))
    batch = hold_batch((frame, series, pd.Series(np.ones(N))), "here")
    assert (batch.x.shape, batch.y.shape, batch.y.dtype) == ((N, 4), (N, 1), "float32")
    assert batch.y.rows(3).tolist() == Y[:3].tolist() and batch.sample_weight.rows(N).shape == (N, 1)
    assert check((frame, series)).findings == ()
    lossdoctor.save_batch(tmp_path / "b.npz", frame, {"a": series})
    assert load_batch(tmp_path / "b.npz").y["a"].shape == (N, 1)
    assert [t[:27] for t in texts(check((X, pd.Series(["a", "b"] * 4, dtype="category"))))] == [
        "LD307 y holds text (dtype o"
    ]
    mixed = pd.DataFrame({"a": [1.0] * N, "b": ["s"] * N, "c": [1] * N, "d": [True] * N})
    assert check((mixed, Y)).data.outcomes["fit"].error == "ValueError: Invalid dtype: object"


def test_ragged_and_sparse_x_is_examined_as_an_array_and_said() -> None:
    import scipy.sparse
    import tensorflow as tf
    from jax.experimental import sparse

    ragged = tf.ragged.constant([[1.0, 2.0], [3.0], [4.0, 5.0, 6.0], [1.0]] * 2)
    holds = {
        "ragged": (ragged, ragged.to_tensor().numpy()),
        "sparse": (tf.sparse.from_dense(X), X),
        "SciPy's": (scipy.sparse.csr_matrix(X), X),
        "JAX's": (sparse.BCOO.fromdense(X), X),
    }
    for name, (tensor, dense) in holds.items():
        batch = hold_batch(({"a": tensor}, Y), "here")
        assert batch.x["a"].shape == dense.shape and batch.x["a"].dtype == "float32"
        assert batch.x["a"].rows(3).tolist() == dense[:3].tolist(), name
        assert len(batch.notes) == 1 and batch.notes[0].startswith("x['a'] as the ")
    report = check((holds["sparse"][0], Y), model(sparse=True))
    assert texts(report) == [] and any("sparse tensor" in note for note in report.data.checks.notes)


def test_sparse_targets_are_no_arrays_to_keras() -> None:
    import tensorflow as tf

    target = tf.sparse.from_dense(Y)
    report = check((X, target))
    assert [t.split(",")[0] for t in texts(report)] == ["LD105 y is a SparseTensor"]
    if ON_TENSORFLOW:
        with pytest.raises(TypeError):
            model().fit(X, target, verbose=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "uint8", "bool", "int64"])
def test_numbers_of_every_type_are_taken_and_come_back(dtype: str, tmp_path: Path) -> None:
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    x, y = X.astype(kind), np.abs(3 * Y).astype(kind)
    batch = hold_batch((x, y), "here")
    assert batch.x.dtype == dtype
    lossdoctor.save_batch(tmp_path / "b.npz", x, [y, (y,)])
    loaded = load_batch(tmp_path / "b.npz")
    assert loaded.x.dtype == dtype and loaded.y[1][0].dtype == dtype
    assert loaded.x.rows(N).dtype == x.dtype and loaded.x.rows(N).tolist() == x.tolist()


def test_types_that_numpy_lacks_are_widened(tmp_path: Path) -> None:
    lossdoctor.save_batch(tmp_path / "b.npz", X.astype(ml_dtypes.float8_e4m3fn), Y.astype(ml_dtypes.int4))
    loaded = load_batch(tmp_path / "b.npz")
    assert (loaded.x.dtype, loaded.y.dtype) == ("float32", "int8")
    assert loaded.x.rows(N).tolist() == X.astype(ml_dtypes.float8_e4m3fn).astype("float32").tolist()


def test_bfloat16_is_trained_on() -> None:
    assert texts(check((X.astype(ml_dtypes.bfloat16), Y.astype(ml_dtypes.bfloat16)))) == []


TIMES = {
    "dates": np.arange(N * 4).astype("datetime64[s]").reshape(N, 4),
    "time spans": np.arange(N * 4).astype("timedelta64[s]").reshape(N, 4),
    "objects": np.array([[1.0, "a", None, 2]] * N, dtype=object),
}


@pytest.mark.parametrize("name", TIMES)
def test_x_that_keras_refuses_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="Invalid dtype"):
        model().fit(TIMES[name], Y, verbose=0)
    found = run_inputs(InputSpec("i", (None, 4), "float32"), hold_batch((TIMES[name],), "here").x)
    assert found.error is not None and found.error.startswith("ValueError: Invalid dtype")


@pytest.mark.skipif(not ON_TENSORFLOW, reason="text is for TensorFlow alone")
def test_text_is_taken_where_an_input_takes_it() -> None:
    import tensorflow as tf

    i = keras.Input((1,), dtype="string")
    made = keras.Model(i, layers.Dense(1)(layers.CategoryEncoding(4, output_mode="multi_hot")(layers.Hashing(4)(i))))
    made.compile(optimizer="sgd", loss="mse")
    text = tf.constant([["a"], ["b"]] * 4)
    made.fit(text, Y, verbose=0)
    assert texts(check((text, Y), made)) == []
    assert [t[:18] for t in texts(check((X, text)))] == ["LD307 y holds text"]


def test_only_what_is_examined_is_read(tmp_path: Path) -> None:
    rows = 200_000
    with h5py.File(tmp_path / "big.h5", "w") as file:
        # Neither is stored: what is read is made up from the fill value.
        file.create_dataset("x", (rows, 2000), "float32", chunks=(1, 2000))
        file.create_dataset("y", (rows, 1), "float32", chunks=(1024, 1))
    with h5py.File(tmp_path / "big.h5") as file:
        read: list[int] = []

        class Watched:
            shape, dtype = file["x"].shape, file["x"].dtype

            def __array__(self, *_: Any, **__: Any) -> np.ndarray:
                raise MemoryError("read whole")

            def __getitem__(self, rows: slice) -> np.ndarray:
                read.append(rows.stop)
                return file["x"][rows]

        batch = cut(hold_batch((Watched(), file["y"]), "here"))
        assert batch.total_rows == rows and batch.x.shape == (256, 2000) and batch.y.rows(256).shape == (256, 1)
        report = lossdoctor.check(model((2000,)), (Watched(), file["y"]), repairs=False)
        assert report.data.rows == 256 and max(read, default=0) <= 256


def test_x_or_weights_may_be_left_out() -> None:
    for batch in ((None, Y), (X, Y, None), (None, Y, np.ones(N))):
        assert texts(check(batch)) == []


def test_leaves_that_cannot_be_read_are_one_sentence() -> None:
    import tensorflow as tf

    found = []

    @tf.function
    def traced(y: Any) -> Any:
        with pytest.raises(CaseError, match=r"y\['a'\] is a SymbolicTensor that cannot be read"):
            hold_batch((X, {"a": y}), "here")
        found.append(True)
        return y

    traced(tf.constant(Y))
    assert found == [True]


def test_every_leaf_is_an_array_or_stays_what_it_is() -> None:
    batch = hold_batch((X, {"a": keras.Variable(Y), "b": np.matrix(Y), "c": np.ma.masked_array(Y, Y > 0)}), "here")
    assert all(isinstance(leaf, ArrayRef) and leaf.shape == (N, 1) for leaf in batch.y.values())
