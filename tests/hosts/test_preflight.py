"""`preflight` on everything that `fit` takes: what it returns trains as if nothing had been looked at."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lossdoctor

BATCHES, ROWS = 5, 4


def make_model(names: tuple[str, str] = ("z", "a")) -> keras.Model:
    i = keras.Input((3,))
    model = keras.Model(i, {name: layers.Dense(1)(i) for name in names})
    model.compile("sgd", loss="mse")
    return model


def batch(number: int, swapped: bool = False) -> tuple[Any, Any]:
    x = np.full((ROWS, 3), float(number), "float32")
    z, a = np.full((ROWS, 1), 100.0, "float32"), np.full((ROWS, 1), float(number), "float32")
    return x, ((z, a) if swapped else {"z": z, "a": a})


class Loader:
    """As a torch DataLoader: iterable anew each time, of batches as lists."""

    def __init__(self, swapped: bool = False) -> None:
        self.swapped, self.closed = swapped, 0

    def __iter__(self) -> Iterator[list[Any]]:
        try:
            for number in range(BATCHES):
                yield list(batch(number, self.swapped))
        finally:
            self.closed += 1


class Wrapped:
    """Looks as if it could be read again, and cannot."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self.iterator = iterator

    def __iter__(self) -> Iterator[Any]:
        return self.iterator


class Batches(keras.utils.PyDataset):
    def __init__(self, swapped: bool = False) -> None:
        super().__init__()
        self.swapped, self.asked, self.epochs = swapped, [], 0

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.asked.append(index)
        return batch(index, self.swapped)

    def on_epoch_end(self) -> None:
        self.epochs += 1


def generator(swapped: bool = False) -> Iterator[tuple[Any, Any]]:
    for number in range(BATCHES):
        yield batch(number, swapped)


def dataset(swapped: bool = False) -> Any:
    tf = pytest.importorskip("tensorflow")
    x, y = zip(*(batch(number, swapped) for number in range(BATCHES)), strict=True)
    stacked = (
        tuple(map(np.concatenate, zip(*y, strict=True)))
        if swapped
        else {name: np.concatenate([one[name] for one in y]) for name in ("z", "a")}
    )
    return tf.data.Dataset.from_tensor_slices((np.concatenate(x), stacked)).batch(ROWS)


KINDS: dict[str, Callable[[bool], Any]] = {
    "tf.data": dataset,
    "PyDataset": Batches,
    "loader": Loader,
    "list": lambda swapped: list(generator(swapped)),
    "tuple": lambda swapped: batch(1, swapped),
    "generator": generator,
    "wrapped generator": lambda swapped: Wrapped(generator(swapped)),
    "iterator": lambda swapped: iter(list(generator(swapped))),
}


class Seen(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1


@pytest.mark.parametrize("kind", KINDS)
def test_findings_stop_before_training(kind: str) -> None:
    with pytest.raises(lossdoctor.FindingsError, match="LD203") as raised:
        lossdoctor.preflight(make_model(), KINDS[kind](True))
    assert raised.value.report.findings[0].code == "LD203"


@pytest.mark.parametrize("kind", ["tf.data", "PyDataset", "loader", "list", "tuple"])
def test_what_can_be_read_again_is_returned_itself(kind: str, capsys: Any) -> None:
    data = KINDS[kind](False)
    assert lossdoctor.preflight(make_model(), data) is data
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["generator", "iterator", "wrapped generator"])
def test_an_iterator_comes_back_whole_and_in_order(kind: str) -> None:
    kept = lossdoctor.preflight(make_model(), KINDS[kind](False))
    assert isinstance(kept, types.GeneratorType)  # of iterators, fit takes no other
    assert [x[0, 0] for x, _ in kept] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["tf.data", "PyDataset", "generator"])
def test_fit_sees_every_batch_and_learns_the_same(kind: str) -> None:
    plain, guarded = make_model(), make_model()
    guarded.set_weights(plain.get_weights())
    seen = [Seen(), Seen()]
    plain.fit(KINDS[kind](False), shuffle=False, verbose=0, callbacks=[seen[0]])
    guarded.fit(lossdoctor.preflight(guarded, KINDS[kind](False)), shuffle=False, verbose=0, callbacks=[seen[1]])
    assert [s.batches for s in seen] == [BATCHES, BATCHES]
    for left, right in zip(plain.get_weights(), guarded.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_model_is_as_before() -> None:
    model = make_model()
    model.fit(*batch(1), verbose=0)
    optimizer, weights = model.optimizer, model.get_weights()
    state = [np.asarray(v) for v in optimizer.variables]
    lossdoctor.preflight(model, dataset())
    assert model.optimizer is optimizer and model.compiled and model.loss == "mse"
    for left, right in zip(
        [*weights, *state], [*model.get_weights(), *map(np.asarray, optimizer.variables)], strict=True
    ):
        np.testing.assert_array_equal(left, right)
    # The losses and metrics that compile made still work, on the step that was traced before.
    assert np.all(np.isfinite(model.train_on_batch(*batch(1))))


def test_training_with_random_numbers_goes_as_without() -> None:
    def trained(guarded: bool) -> list[Any]:
        keras.utils.set_random_seed(3)
        i = keras.Input((3,))
        model = keras.Model(i, layers.Dense(1)(layers.Dropout(0.5)(i)))
        model.compile("sgd", loss="mse")
        data = np.random.rand(64, 3), np.random.rand(64, 1)
        model.fit(*(lossdoctor.preflight(model, data) if guarded else data), verbose=0)
        return [*model.get_weights(), np.random.rand(), keras.ops.convert_to_numpy(keras.random.uniform((2,)))]

    for left, right in zip(trained(False), trained(True), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_model_without_weights_gets_none() -> None:
    model = keras.Sequential([layers.Dense(1)])
    model.compile(loss="mse")
    lossdoctor.preflight(model, (np.ones((4, 3)), np.ones((4, 1))))
    assert not model.built and model.weights == []


def test_a_py_dataset_is_asked_for_one_batch_and_told_nothing() -> None:
    data = Batches()
    lossdoctor.preflight(make_model(), data)
    assert (data.asked, data.epochs) == ([0], 0)


def test_a_loader_s_iterator_is_closed() -> None:
    data = Loader()
    lossdoctor.preflight(make_model(), data)
    assert data.closed == 1


def test_a_data_set_is_read_by_one_batch() -> None:
    tf = pytest.importorskip("tensorflow")
    pulled = []

    def source() -> Iterator[Any]:
        for number in range(100):
            pulled.append(number)
            yield batch(number)

    sample = batch(0)
    signature = tf.nest.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), sample)
    lossdoctor.preflight(make_model(), tf.data.Dataset.from_generator(source, output_signature=signature))
    assert pulled == [0]


def test_whole_arrays_are_cut_and_returned_whole() -> None:
    x, y = np.ones((5000, 3)), {"z": np.ones((5000, 1)), "a": np.zeros((5000, 1))}
    data = (x, y, np.ones(5000))
    assert lossdoctor.preflight(make_model(), data) is data


def test_dicts_of_inputs_are_one_batch() -> None:
    ins = {"left": keras.Input((3,), name="left"), "right": keras.Input((3,), name="right")}
    model = keras.Model(ins, layers.Dense(1)(layers.add(list(ins.values()))))
    model.compile(loss="mse")
    x = {"left": np.ones((4, 3)), "right": np.ones((4, 3))}
    kept = lossdoctor.preflight(model, ((x, np.ones((4, 1))) for _ in range(3)))
    assert len(list(kept)) == 3


def test_fail_on_and_what_is_printed(capsys: Any) -> None:
    model = make_model(("a", "z"))
    ordered = (batch(1)[0], [np.ones((4, 1)), np.zeros((4, 1))])  # right by luck of the alphabet: info
    assert lossdoctor.preflight(model, ordered) is ordered
    out, err = capsys.readouterr()
    assert out == "" and "LD203" in err
    lossdoctor.preflight(model, ordered, show=False)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(lossdoctor.FindingsError):
        lossdoctor.preflight(model, ordered, fail_on="info")
    lossdoctor.preflight(make_model(), batch(1, swapped=True), fail_on="never")
    assert "error LD203" in capsys.readouterr().err
    lossdoctor.preflight(make_model(), batch(1, swapped=True), ignore=["LD2"], fail_on="warning")
    with pytest.raises(ValueError, match="errors"):
        lossdoctor.preflight(model, ordered, fail_on="errors")


def fails() -> Iterator[Any]:
    raise OSError("no such shard")
    yield


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.ones((4, 3)), "a ndarray, which is no data set"),
        ({"x": np.ones((4, 3))}, "a dict, which is no data set"),
        (iter(()), "yield no batch"),
        ([], "an empty list"),
        (3, "a int, which yields nothing"),
        (fails(), "no first batch \\(OSError: no such shard\\)"),
        ([((1,), (2,))] * 2, "2 tuples may be one batch or 2"),
    ],
    ids=["array", "dict", "nothing", "empty", "number", "raises", "ambiguous"],
)
def test_what_is_no_data_set_is_said(data: Any, said: str) -> None:
    with pytest.raises(lossdoctor.CaseError, match=said):
        lossdoctor.preflight(make_model(), data)


def test_it_is_a_function_the_second_time_too() -> None:
    for _ in range(2):
        assert callable(lossdoctor.preflight)
        lossdoctor.preflight(make_model(), batch(1))
