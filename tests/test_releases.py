"""Every row of `lossdoctor/releases.py`, provoked on the installed Keras with plain Keras, against what the table says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossdoctor import releases
from lossdoctor.releases import FACTS, Fact
from lossdoctor.rules import RULES

N = 8
RANDOM = np.random.default_rng(20)
X, Z, A = (RANDOM.normal(size=(N, n)).astype("float32") for n in (4, 1, 1))
A += 3  # so that a swapped pair has another loss
BACKEND = keras.backend.backend()

Probe = Callable[[], bool]
PROBES: dict[str, Probe] = {}


def probe(function: Probe) -> Probe:
    PROBES[function.__name__.replace("_", "-")] = function
    return function


def heads(kind: str, names: tuple[str, str] = ("z", "a")) -> Any:
    i = keras.Input((4,))
    z, a = (layers.Dense(1, name=name)(i) for name in names)
    return keras.Model(i, {"z": z, "a": a} if kind == "dict" else [z, a])


def single(units: int = 1, activation: str | None = None) -> Any:
    i = keras.Input((4,))
    return keras.Model(i, layers.Dense(units, activation=activation, name="o")(i))


def nested() -> Any:
    i = keras.Input((4,))
    heads = {name: layers.Dense(1, name=name)(i) for name in ("b", "a", "c")}
    return keras.Model(i, {"d": {"b": heads["b"], "a": heads["a"]}, "c": heads["c"]})


NESTED = {"d": {"b": Z, "a": A}, "c": A}


def fit(model: Any, y: Any, x: Any = X, **compiled: Any) -> float:
    """The loss that `fit` reports. Raises what Keras raises."""
    model.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True, **compiled)
    return float(model.fit(x, y, verbose=0, batch_size=N).history["loss"][0])


def raises(function: Callable[[], object]) -> bool:
    try:
        function()
    except Exception:
        return True
    return False


def same(a: float, b: float) -> bool:
    return a == pytest.approx(b, rel=1e-4, abs=1e-7)


def mse(target: Any, output: Any) -> float:
    return float(np.mean(np.square(np.asarray(target) - np.asarray(output))))


def outputs(model: Any) -> Any:
    """z's predictions, then a's."""
    found = model.predict(X, verbose=0)
    return (found["z"], found["a"]) if isinstance(found, dict) else found


@probe
def layer_names() -> bool:
    model = heads("dict", ("first", "second"))
    z, a = outputs(model)
    loss = fit(model, {"z": Z, "a": A}, loss="mse")
    assert same(loss, 0) or same(loss, mse(Z, z) + mse(A, a))
    return same(loss, 0)


@probe
def left_out() -> bool:
    model = heads("list")
    if raises(lambda: fit(model, Z, loss="mse")):
        assert raises(lambda: fit(heads("list"), [Z], loss="mse")) and raises(lambda: fit(single(), [Z, A], loss="mse"))
        return False
    assert same(fit(heads_like(model), [Z, A, A], loss="mse"), mse(Z, outputs(model)[0]) + mse(A, outputs(model)[1]))
    return same(fit(model, Z, loss="mse"), mse(Z, outputs(model)[0]))


def heads_like(model: Any) -> Any:
    """The same model, uncompiled: a compiled one keeps the state of earlier calls."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


@probe
def unknown_keys_left_out() -> bool:
    model = heads("dict")
    try:
        loss = fit(model, {"z": Z, "b": A}, loss="mse")
    except (ValueError, TypeError, KeyError):
        return False
    # Of two outputs, one target finds one: whatever it is, the sum of two losses is not reported.
    z, a = outputs(model)
    assert not same(loss, mse(Z, z) + mse(A, a))
    return same(loss, mse(Z, a))


@probe
def dict_for_one_output() -> bool:
    if raises(lambda: fit(single(), {"o": Z}, loss="mse")):
        assert raises(lambda: fit(single(), {"other": Z}, loss="mse"))
        return False
    model, named = single(), single()
    output, loss = model.predict(X, verbose=0), fit(model, {"other": Z}, loss="mse")
    assert same(loss, 0 if releases.holds("layer-names", keras.__version__) else mse(Z, output))
    return same(mse(Z, named.predict(X, verbose=0)), fit(named, {"o": Z}, loss="mse"))


@probe
def dict_targets_sorted() -> bool:
    model = heads("list")
    z, a = outputs(model)
    loss = fit(model, {"z": Z, "a": A}, loss="mse")
    assert same(loss, mse(Z, z) + mse(A, a)) or same(loss, mse(A, z) + mse(Z, a))
    return same(loss, mse(A, z) + mse(Z, a))


@probe
def dict_losses_sorted() -> bool:
    model = heads("list")
    z, a = outputs(model)
    absolute = float(np.mean(np.abs(Z - z)))
    loss = fit(model, [Z, A], loss={"z": "mse", "a": "mae"})
    return same(loss, absolute + mse(A, a))


@probe
def partial_losses_raise() -> bool:
    return raises(lambda: fit(heads("dict"), {"z": Z, "a": A}, loss={"z": "mse"}))


@probe
def partial_losses_of_a_list() -> bool:
    return not raises(lambda: fit(heads("list"), [Z, A], loss={"z": "mse"}))


@probe
def several_losses_for_one_output() -> bool:
    model = single()
    output = model.predict(X, verbose=0)
    if raises(lambda: fit(single(), Z, loss=["mse", "mae"])):
        return False
    return same(fit(model, Z, loss=["mse", "mae"]), mse(Z, output))


@probe
def unknown_weights() -> bool:
    model = heads("dict")
    z, a = outputs(model)
    named = {"loss": {"z": "mse", "a": "mse"}, "loss_weights": {"q": 1.0, "r": 2.0}}
    if raises(lambda: fit(heads("dict"), {"z": Z, "a": A}, **named)):
        return False
    return same(fit(model, {"z": Z, "a": A}, **named), 2 * mse(Z, z) + mse(A, a))


@probe
def weights_in_another_container() -> bool:
    model = heads("list")
    z, a = outputs(model)
    given = {"loss": ["mse", "mse"], "loss_weights": {"z": 1.0, "a": 2.0}}
    if raises(lambda: fit(heads("list"), [Z, A], **given)):
        return False
    return same(fit(model, [Z, A], **given), 2 * mse(Z, z) + mse(A, a))


@probe
def weights_of_one_shared_loss() -> bool:
    return not raises(lambda: fit(heads("list"), [Z, A], loss="mse", loss_weights=[1.0, 2.0]))


@probe
def nested_losses() -> bool:
    return not raises(lambda: fit(nested(), NESTED, loss={"d": {"b": "mse", "a": "mse"}, "c": "mse"}))


@probe
def subtree_losses() -> bool:
    seen: list[type] = []

    def whole(y_true: Any, y_pred: Any) -> Any:
        seen.append(type(y_pred))
        return ops.mean(ops.square(y_true["b"] - y_pred["b"]), axis=-1)

    return not raises(lambda: fit(nested(), NESTED, loss={"d": whole, "c": "mse"})) and dict in seen


@probe
def trees_in_a_direct_call() -> bool:
    return not raises(lambda: keras.losses.MeanSquaredError()([Z, A], [Z + 1, A]))


@probe
def complex_targets() -> bool:
    return not raises(lambda: fit(single(), Z.astype("complex64"), loss="mse"))


@probe
def none_targets() -> bool:
    model = heads("list")
    return not raises(lambda: fit(model, [Z, None], loss=["mse", None]))


@probe
def metrics_by_layer_names() -> bool:
    model = heads("dict", ("first", "second"))
    y, metrics = {"z": Z, "a": A}, {"z": ["mae"], "a": ["mse"]}
    return raises(lambda: fit(model, y, loss="mse", metrics=metrics))


@probe
def metrics_key_ignored() -> bool:
    return not raises(lambda: fit(single(), Z, loss="mse", metrics={"other": ["mae"]}))


@probe
def masks_on_jax() -> bool:
    tokens = keras.Input((5,), dtype="int32")
    model = keras.Model(tokens, layers.Dense(1)(layers.Embedding(9, 4, mask_zero=True)(tokens)))
    model.compile(loss="mse")
    x = np.arange(N * 5).reshape(N, 5) % 9
    return raises(lambda: model.fit(x, np.ones((N, 5), "float32"), verbose=0))


@probe
def names_of_x_checked() -> bool:
    inputs = {name: keras.Input((4,), name=name) for name in ("left", "right")}
    model = keras.Model(inputs, layers.Dense(1)(layers.Add()([inputs["left"], inputs["right"]])))
    model.compile(loss="mse")
    return raises(lambda: model.fit({"left": X, "rigth": X}, X[:, :1], verbose=0))


@probe
def list_of_x_sorted() -> bool:
    z, a = (keras.Input((4,), name=name) for name in ("z", "a"))
    head = layers.Dense(1)
    model = keras.Model([z, a], head(z) + 0 * head(a))
    other = X[::-1].copy() + 1
    by_name = model.predict([X, other], verbose=0)
    swapped = model.predict([other, X], verbose=0)
    loss = fit(model, Z, x={"z": X, "a": other}, loss="mse")
    assert same(loss, mse(Z, by_name)) or same(loss, mse(Z, swapped))
    return same(loss, mse(Z, swapped))


@probe
def unreduced_loss_raises() -> bool:
    return raises(lambda: fit(single(), Z, loss=keras.losses.MeanSquaredError(reduction=None)))


@probe
def labels_unchecked() -> bool:
    labels = np.full(N, 7)
    if raises(lambda: fit(single(3, "softmax"), labels, loss="sparse_categorical_crossentropy")):
        return False
    return fit(single(3, "softmax"), labels, loss="sparse_categorical_crossentropy") == 0


@probe
def ignored_class_nan() -> bool:
    model = single(3, "softmax")
    fit(model, np.arange(N) % 4 - 1, loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=-1))
    return not np.isfinite(np.asarray(keras.ops.convert_to_numpy(model.get_layer("o").kernel))).all()


@probe
def binary_targets_checked() -> bool:
    return raises(lambda: fit(single(1, "sigmoid"), Z * 255, loss="binary_crossentropy"))


@probe
def logits_behind_the_activation() -> bool:
    model, labels = single(3, "softmax"), np.eye(3)[np.arange(N) % 3]
    probabilities = model.predict(X, verbose=0)
    loss = fit(model, labels, loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    twice = float(keras.losses.CategoricalCrossentropy(from_logits=True)(labels, probabilities))
    return not same(loss, twice)


@pytest.fixture(autouse=True)
def no_masks_of_another_probe() -> Iterator[None]:
    """Keras 3.6 keeps JAX's masks by the ids of their tensors, which another tensor may get (`tensor_attributes.py`)."""
    yield
    keras.utils.clear_session()


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.id)
def test_the_installed_keras_does_what_the_table_says(fact: Fact) -> None:
    assert PROBES[fact.id]() == fact.holds(keras.__version__, BACKEND)


def test_the_table_is_well_made() -> None:
    assert len({fact.id for fact in FACTS}) == len(FACTS) == len(PROBES)
    codes = {rule.code for rule in RULES}
    for fact in FACTS:
        assert set(fact.rules) <= codes and fact.rules and fact.fact.endswith("."), fact.id
        assert releases.since(fact.first, releases.FIRST), fact.id
        assert fact.last is None or releases.since(fact.last, fact.first), fact.id


def test_releases_are_compared_as_numbers() -> None:
    last = Fact("until", "", last="3.6")
    assert [last.holds(keras) for keras in ("3.4.1", "3.6.0", "3.7.0", "3.15.1", "3.10.0")] == [True] * 2 + [False] * 3
    later = Fact("since", "", first="3.9")
    assert [later.holds(keras) for keras in ("3.8.0", "3.9.0", "3.10.0", "4.0.0.dev1")] == [False] + [True] * 3
    on_jax, on_two = Fact("jax", "", backends=("jax",)), Fact("two", "", backends=("jax", "torch"))
    assert [on_jax.holds("3.15.1", backend) for backend in ("jax", "tensorflow", None)] == [True, False, True]
    assert [on_two.holds("3.15.1", backend) for backend in ("jax", "tensorflow", "torch")] == [True, False, True]
    assert [f.span() for f in (last, later, on_jax, on_two)] == [
        "Keras 3.4 to 3.6",
        "Keras 3.9 and later",
        "every release, JAX",
        "every release, JAX and PyTorch",
    ]
