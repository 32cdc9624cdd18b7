"""The stand-in against the real model, kind by kind: the same predictions in, the same loss, pairs and gradients out.

Every output of a real model ends in a `Shift` (a variable of zeros that is added), followed by its activation: with a learning rate of 1 one
real `fit` leaves minus the gradient of the total at that place in it.
"""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses, ops

from lossdoctor import _compiled, _keras, releases, trees
from lossdoctor.case.batch import hold_batch
from lossdoctor.case.model import describe
from lossdoctor.exam import standin
from lossdoctor.exam.setup import Setup, make_setup
from lossdoctor.exam.stepper import Stepper
from lossdoctor.facts import Run
from lossdoctor.installed import environment
from lossdoctor.types import Case

N = 6
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
Twins = namedtuple("Twins", "first second")


class Shift(layers.Layer):
    """Adds zeros that can be trained, one for every entry of the batch; `seen` is what came out last."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.supports_masking = True
        self.seen: Any = None

    def build(self, shape: Any) -> None:
        self.zeros = self.add_weight(shape=(N, *shape[1:]), initializer="zeros")

    def call(self, x: Any) -> Any:
        self.seen = x + ops.cast(self.zeros, x.dtype)
        return self.seen

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


@dataclass(eq=False)
class Kind:
    """A real model, its data, and the `Shift` in front of each output leaf (Keras's flat order)."""

    model: Any
    x: Any
    y: Any
    ends: list[Shift]
    sample_weight: Any = None


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


def labels(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, count, size=shape)


def one_hot(count: int) -> np.ndarray:
    return np.eye(count, dtype="float32")[labels(count, N)]


class Ends:
    """Ends outputs and remembers how: `ends(tensor)` is the shifted tensor behind its activation."""

    def __init__(self) -> None:
        self.shift: dict[int, Shift] = {}

    def __call__(self, tensor: Any, *tail: Any) -> Any:
        shift = Shift()
        out = shift(tensor)
        for layer in tail:
            out = layers.Activation(layer)(out) if isinstance(layer, str) else layer(out)
        self.shift[id(out)] = shift
        return out

    def of(self, outputs: Any) -> list[Shift]:
        return [self.shift[id(leaf)] for leaf in keras.tree.flatten(outputs)]


KINDS: dict[str, Callable[[], Kind]] = {}


def kind(function: Callable[[], Kind]) -> Callable[[], Kind]:
    KINDS[function.__name__.replace("_", " ")] = function
    return function


def functional(
    outputs: Callable[[Any, Ends], Any], y: Any, x: Any = None, sample_weight: Any = None, **compiled: Any
) -> Kind:
    """A functional model of one input with 4 features."""
    end, i = Ends(), keras.Input((4,), name="features")
    made = outputs(i, end)
    model = keras.Model(i, made)
    return compiled_kind(model, normal(N, 4) if x is None else x, y, end.of(made), sample_weight, **compiled)


def compiled_kind(model: Any, x: Any, y: Any, ends: list[Shift], sample_weight: Any = None, **compiled: Any) -> Kind:
    # At a rate of 1 one step leaves minus the gradient.
    model.compile(optimizer=keras.optimizers.SGD(1.0), **{"loss": "mse", **compiled})
    return Kind(model, x, y, ends, sample_weight)


def dense(units: int) -> Any:
    return layers.Dense(units)


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def one_number(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred))


def coupled(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true, y_pred) * ops.mean(squared(y_true, y_pred))


def whole(y_true: Any, y_pred: Any) -> Any:
    flat = zip(keras.tree.flatten(y_true), keras.tree.flatten(y_pred), strict=True)
    return sum((k + 1) * squared(t, p) for k, (t, p) in enumerate(flat))


class Unsqueezed(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


@kind
def one_output() -> Kind:
    return functional(lambda i, end: end(dense(3)(i)), normal(N, 3))


@kind
def one_output_in_a_list() -> Kind:
    return functional(lambda i, end: [end(dense(3)(i))], [normal(N, 3)])


@kind
def one_output_in_a_dict_under_a_dict_of_losses() -> Kind:
    return functional(lambda i, end: {"o": end(dense(3)(i))}, {"o": normal(N, 3)}, loss={"o": "mae"})


@kind
def targets_without_the_last_axis() -> Kind:
    return functional(lambda i, end: end(dense(1)(i)), normal(N))


@kind
def a_subclass_that_broadcasts() -> Kind:
    return functional(lambda i, end: end(dense(1)(i)), normal(N), loss=Unsqueezed())


@kind
def softmax_with_labels() -> Kind:
    return functional(lambda i, end: end(dense(3)(i), "softmax"), labels(3, N), loss="sparse_categorical_crossentropy")


@kind
def softmax_with_one_hot_rows_and_smoothing() -> Kind:
    loss = losses.CategoricalCrossentropy(label_smoothing=0.1)
    return functional(lambda i, end: end(dense(3)(i), "softmax"), one_hot(3), loss=loss)


@kind
def sigmoid_under_binary_crossentropy() -> Kind:
    return functional(
        lambda i, end: end(dense(2)(i), "sigmoid"), labels(2, N, 2), loss=losses.BinaryCrossentropy(), metrics=["auc"]
    )


@kind
def logits() -> Kind:
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1)
    return functional(lambda i, end: end(dense(3)(i)), labels(3, N), loss=loss)


@kind
def softmax_behind_a_reshape() -> Kind:
    return functional(
        lambda i, end: end(dense(6)(i), layers.Reshape((2, 3)), "softmax"), labels(3, N, 2), loss="crossentropy"
    )


@kind
def a_reshape_behind_a_softmax() -> Kind:
    return functional(
        lambda i, end: end(dense(6)(i), "softmax", layers.Reshape((6, 1))),
        np.abs(normal(N, 6, 1)),
        loss="kl_divergence",
    )


@kind
def a_custom_loss_of_one_number() -> Kind:
    return functional(lambda i, end: end(dense(3)(i)), normal(N, 3), loss=one_number)


@kind
def a_custom_loss_of_one_number_with_sample_weights() -> Kind:
    return functional(
        lambda i, end: end(dense(3)(i)), normal(N, 3), loss=one_number, sample_weight=np.linspace(0, 2, N)
    )


@kind
def a_loss_that_couples_samples() -> Kind:
    return functional(lambda i, end: end(dense(3)(i)), normal(N, 3), loss=coupled)


@kind
def a_sum() -> Kind:
    return functional(lambda i, end: end(dense(3)(i)), normal(N, 3), loss=losses.Huber(reduction="sum"))


if ON_TENSORFLOW:  # JAX raises

    @kind
    def no_reduction() -> Kind:
        return functional(lambda i, end: end(dense(3)(i)), normal(N, 3), loss=losses.MeanSquaredError(reduction=None))


@kind
def the_mean_over_the_weights() -> Kind:
    loss = losses.MeanSquaredError(reduction="mean_with_sample_weight")
    return functional(lambda i, end: end(dense(3)(i)), normal(N, 3), loss=loss, sample_weight=np.linspace(0, 2, N))


@kind
def two_outputs_in_a_list() -> Kind:
    return functional(
        lambda i, end: [end(dense(2)(i)), end(dense(1)(i))],
        [normal(N, 2), normal(N, 1)],
        loss=["mse", squared],
        loss_weights=[0.5, 3.0],
    )


@kind
def two_outputs_in_a_tuple_with_targets_in_a_list() -> Kind:
    return functional(lambda i, end: (end(dense(2)(i)), end(dense(1)(i))), [normal(N, 2), normal(N, 1)])


@kind
def a_dict_with_targets_by_place() -> Kind:
    return functional(
        lambda i, end: {"z": end(dense(2)(i)), "a": end(dense(2)(i))}, [normal(N, 2), normal(N, 2, seed=1)]
    )


@kind
def a_dict_with_losses_by_place_and_weights_by_name() -> Kind:
    return functional(
        lambda i, end: {"z": end(dense(2)(i)), "a": end(dense(2)(i))},
        {"a": normal(N, 2), "z": normal(N, 2, seed=1)},
        loss=["mse", "mae"],
        loss_weights={"z": 10.0, "a": 0.1},
    )


@kind
def an_ordered_dict() -> Kind:
    return functional(
        lambda i, end: OrderedDict([("z", end(dense(2)(i))), ("a", end(dense(1)(i)))]),
        OrderedDict([("z", normal(N, 2)), ("a", normal(N, 1))]),
        loss=OrderedDict([("z", "mse"), ("a", "log_cosh")]),
    )


@kind
def a_namedtuple() -> Kind:
    return functional(
        lambda i, end: Twins(end(dense(2)(i)), end(dense(1)(i))), Twins(normal(N, 2), normal(N, 1)), loss="mae"
    )


@kind
def one_of_two_outputs_has_a_loss() -> Kind:
    return functional(
        lambda i, end: {"z": end(dense(2)(i)), "a": end(dense(1)(i))},
        {"z": normal(N, 2), "a": normal(N, 1)},
        loss={"z": "mse"},
    )


@kind
def none_among_the_losses() -> Kind:
    return functional(
        lambda i, end: [end(dense(2)(i)), end(dense(1)(i))], [normal(N, 2), normal(N, 1)], loss=[None, "mse"]
    )


@kind
def three_outputs_one_weight_zero() -> Kind:
    return functional(
        lambda i, end: [end(dense(2)(i)), end(dense(1)(i)), end(dense(3)(i), "softmax")],
        [normal(N, 2), normal(N, 1), one_hot(3)],
        loss=["mse", "mae", "categorical_crossentropy"],
        loss_weights=[1.0, 0.0, 2.0],
        metrics=[["mae"], None, ["accuracy"]],
    )


def _nested(i: Any, end: Ends) -> Any:
    return {
        "detection": {"bbox": end(dense(4)(i)), "confidence": end(dense(1)(i), "sigmoid")},
        "label": end(dense(2)(i)),
    }


def _nested_targets() -> Any:
    return {"detection": {"bbox": normal(N, 4), "confidence": labels(2, N, 1)}, "label": normal(N, 2)}


@kind
def nested_outputs() -> Kind:
    loss = {"detection": {"bbox": "mse", "confidence": "binary_crossentropy"}, "label": "mae"}
    return functional(_nested, _nested_targets(), loss=loss)


@kind
def a_loss_at_a_subtree() -> Kind:
    return functional(_nested, _nested_targets(), loss={"detection": whole, "label": "mse"})


@kind
def losses_at_a_subtree_and_below_it() -> Kind:
    loss = {"detection": [whole, {"bbox": "mae", "confidence": "mse"}], "label": "mse"}
    return functional(_nested, _nested_targets(), loss=loss)


@kind
def lists_in_dicts_in_lists() -> Kind:
    return functional(
        lambda i, end: [{"b": [end(dense(1)(i)), end(dense(2)(i))], "a": end(dense(3)(i))}, end(dense(1)(i))],
        [{"b": [normal(N, 1), normal(N, 2)], "a": normal(N, 3)}, normal(N, 1, seed=1)],
        loss="mse",
    )


@kind
def sample_weights_for_each_output() -> Kind:
    weights = {"z": np.linspace(0, 1, N), "a": np.linspace(3, 1, N)}
    return functional(
        lambda i, end: {"z": end(dense(2)(i)), "a": end(dense(1)(i))},
        {"z": normal(N, 2), "a": normal(N, 1)},
        sample_weight=weights,
        loss={"z": "mse", "a": squared},
        weighted_metrics={"z": ["mae"], "a": ["mse"]},
    )


@kind
def sample_weights_for_each_step() -> Kind:
    return functional(
        lambda i, end: end(layers.Reshape((2, 3))(dense(6)(i))), normal(N, 2, 3), sample_weight=np.abs(normal(N, 2))
    )


@kind
def the_same_tensor_twice() -> Kind:
    def outputs(i: Any, end: Ends) -> Any:
        out = end(dense(2)(i))
        return [out, out]

    return functional(outputs, [normal(N, 2), normal(N, 2, seed=1)], loss=["mse", "mae"])


@kind
def one_layer_for_two_inputs() -> Kind:
    end, left, right, encode = Ends(), keras.Input((4,), name="left"), keras.Input((4,), name="right"), dense(3)
    out = end(layers.Dot(1, normalize=True)([encode(left), encode(right)]))
    return compiled_kind(
        keras.Model([left, right], out), [normal(N, 4), normal(N, 4, seed=1)], normal(N, 1), end.of(out), loss=squared
    )


@kind
def one_layer_for_two_outputs_of_two_named_inputs() -> Kind:
    end, left, right, head = Ends(), keras.Input((4,), name="left"), keras.Input((4,), name="right"), dense(2)
    outputs = {"l": end(head(left)), "r": end(head(right))}
    x = {"right": normal(N, 4), "left": normal(N, 4, seed=1)}
    y = {"r": normal(N, 2), "l": normal(N, 2, seed=1)}
    model = keras.Model({"left": left, "right": right}, outputs)
    return compiled_kind(model, x, y, end.of(outputs), loss={"r": "mse", "l": "mae"})


@kind
def a_model_inside_a_model() -> Kind:
    end, inner, i = Ends(), keras.Input((3,)), keras.Input((4,))
    inside = keras.Model(inner, {"p": dense(2)(inner), "q": dense(1)(inner)})
    hidden = inside(dense(3)(i))
    outputs = [end(hidden["q"]), end(hidden["p"], "tanh")]
    return compiled_kind(keras.Model(i, outputs), normal(N, 4), [normal(N, 1), normal(N, 2)], end.of(outputs))


@kind
def a_head_inside_a_model() -> Kind:
    end, inner, i = Ends(), keras.Input((4,)), keras.Input((4,))
    inside = end(dense(3)(inner), "softmax")
    model = keras.Model(i, keras.Model(inner, inside)(i))
    return compiled_kind(model, normal(N, 4), labels(3, N), end.of(inside), loss="sparse_categorical_crossentropy")


@kind
def a_sequential_model() -> Kind:
    shift = Shift()
    model = keras.Sequential([keras.Input((4,)), dense(3), shift, layers.Softmax()])
    return compiled_kind(model, normal(N, 4), one_hot(3), [shift], loss="categorical_crossentropy")


@kind
def an_output_in_front_of_another() -> Kind:
    def outputs(i: Any, end: Ends) -> Any:
        first = dense(3)(i)
        # The second output is made of the first's input, so that its gradient does not reach the first's shift.
        return {"hidden": end(first), "out": end(dense(1)(layers.ReLU()(first)))}

    return functional(outputs, {"hidden": normal(N, 3), "out": normal(N, 1)})


@kind
def images() -> Kind:
    end, i = Ends(), keras.Input((4, 4, 2))
    out = end(layers.Conv2D(3, 1)(i), "softmax")
    return compiled_kind(
        keras.Model(i, out),
        normal(N, 4, 4, 2),
        labels(3, N, 4, 4),
        end.of(out),
        loss="sparse_categorical_crossentropy",
    )


@kind
def a_masked_sequence() -> Kind:
    end, i = Ends(), keras.Input((5,), dtype="int32")
    out = end(dense(2)(layers.Embedding(7, 3, mask_zero=True)(i)))
    return compiled_kind(keras.Model(i, out), labels(7, N, 5), normal(N, 5, 2), end.of(out))


@kind
def a_masked_sequence_with_weights_and_two_heads() -> Kind:
    end, i = Ends(), keras.Input((5,), dtype="int32")
    hidden = layers.Embedding(7, 3, mask_zero=True)(i)
    outputs = {"tag": end(dense(3)(hidden), "softmax"), "value": end(dense(1)(hidden))}
    return compiled_kind(
        keras.Model(i, outputs),
        labels(7, N, 5),
        {"tag": labels(3, N, 5), "value": normal(N, 5, 1)},
        end.of(outputs),
        {"tag": np.abs(normal(N, 5)), "value": np.ones((N, 5))},
        loss={"tag": "sparse_categorical_crossentropy", "value": "mse"},
    )


@kind
def a_subclassed_model() -> Kind:
    class Two(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.ends = dense(2), dense(3), [Shift(), Shift()]

        def call(self, x: Any) -> Any:
            return {"b": self.ends[1](self.two(x)), "a": self.ends[0](self.one(x))}

    model = Two()
    model(normal(N, 4))
    y = {"a": normal(N, 2), "b": normal(N, 3)}
    return compiled_kind(model, normal(N, 4), y, list(model.ends), loss={"a": "mse", "b": "mae"})


@kind
def a_functional_class_of_one_s_own() -> Kind:
    class Mine(keras.Model):
        pass

    end, i = Ends(), keras.Input((4,))
    outputs = [end(dense(2)(i)), end(dense(2)(i))]
    model = Mine(inputs=i, outputs=outputs)
    return compiled_kind(model, normal(N, 4), (normal(N, 2), normal(N, 2, seed=1)), end.of(outputs))


def case_of(found: Kind) -> Case:
    """The case that `lossdoctor.check` makes of a live model."""
    batch = (found.x, found.y) if found.sample_weight is None else (found.x, found.y, found.sample_weight)
    held = hold_batch(batch, "the test")
    spec = describe(found.model, "model", held.x, N)
    return Case(spec, held, _compiled.compile_args(found.model), environment(), N)


def fed(found: Kind) -> Setup:
    """The stand-in's setup with the real model's own values in front of its last layers, and its own masks."""
    setup = make_setup(case_of(found))
    outputs = trees.values(found.model(found.x))
    masks = [_keras.get_mask(leaf) for leaf in outputs]
    starts = tuple(np.array(_keras.to_numpy(shift.seen)) for shift in found.ends)
    assert [s.shape for s in setup.starts] == [s.shape for s in starts]
    shapes = [np.asarray(p).shape for p in trees.values(standin.predictions(replace(setup, starts=starts)))]
    assert shapes == [np.asarray(_keras.to_numpy(leaf)).shape for leaf in outputs]
    return replace(
        setup, starts=starts, masks=tuple(None if m is None else np.array(_keras.to_numpy(m)) for m in masks)
    )


def trained(found: Kind, method: str) -> tuple[dict[str, float], dict[Shift, np.ndarray]]:
    """(what one real `fit` or `train_on_batch` logs, d total / d what comes out of every `Shift`)."""
    start = found.model.get_weights()
    weights = {} if found.sample_weight is None else {"sample_weight": found.sample_weight}
    if method == "fit":
        history = found.model.fit(found.x, found.y, batch_size=N, shuffle=False, verbose=0, **weights).history
        logs = {name: float(values[0]) for name, values in history.items()}
    else:
        logged = found.model.train_on_batch(found.x, found.y, return_dict=True, **weights)
        logs = {name: float(value) for name, value in logged.items()}
    gradients = {shift: -np.array(_keras.to_numpy(shift.zeros)) for shift in found.ends}
    found.model.set_weights(start)
    return logs, gradients


def losses_logged(logs: dict[str, float]) -> list[float]:
    """The losses of the single calls that Keras logs, sorted by name; empty for one call."""
    return [value for name, value in logs.items() if name.endswith("_loss")]


def by_hand(found: Kind, setup: Setup, run: Run) -> list[float]:
    """Every call's loss computed from exactly the output and the target that the stand-in says it met."""
    outputs, targets = dict(trees.leaves("y_pred", found.model(found.x))), dict(trees.leaves("y", setup.y))
    compiled = dict(trees.leaves("loss", setup.loss))
    weights = dict(trees.leaves("sample_weight", setup.sample_weight)) if setup.sample_weight is not None else {}
    values = []
    for call in run.calls:
        y_pred = [outputs[path] for path in call.outputs]
        y_true = [ops.convert_to_tensor(targets[path]) for path in call.targets]
        pair = (y_true, y_pred) if call.subtree else (y_true[0], y_pred[0])
        inner = _keras.resolve_loss(compiled[call.loss_path], *pair)
        weight = weights.get(f"sample_weight{str(call.outputs[0]).removeprefix('y_pred')}")
        values.append(float(np.mean(_keras.to_numpy(inner(*pair, weight)))))
    return values


# The release from which on Keras trains these kinds so (on JAX a mask reaches the loss of every step since 3.7).
SINCE = {
    "the mean over the weights": "3.7",
    "losses at a subtree and below it": "3.7",
    "one layer for two outputs of two named inputs": "3.5",
    **({} if ON_TENSORFLOW else {"a masked sequence": "3.7"}),
}


# JAX compiles every step of every model, which takes seconds: there every third kind is tried.
@pytest.mark.parametrize("name", list(KINDS)[:: 1 if ON_TENSORFLOW else 3])
def test_loss_pairs_and_gradients_are_the_real_model_s(name: str) -> None:
    if not releases.since(keras.__version__, SINCE.get(name, "3.4")):
        pytest.skip(f"since Keras {SINCE[name]}")
    keras.utils.set_random_seed(3)
    found = KINDS[name]()
    setup = fed(found)
    logs, gradients = trained(found, "fit")
    logs_of_one, gradients_of_one = trained(found, "train_on_batch")

    fit, replay = standin.run(setup, "fit"), standin.replay(setup)
    for run, logged in ((fit, logs), (replay, logs_of_one)):
        assert run.outcome.status == "ok", run.outcome.error
        assert run.outcome.loss == pytest.approx(logged["loss"], rel=1e-4, abs=1e-6)
    assert [(c.outputs, c.targets) for c in fit.calls] == [(c.outputs, c.targets) for c in replay.calls]
    values = [call.value if call.value is not None else np.nan for call in replay.calls]
    if None not in [call.value for call in replay.calls]:
        assert sum(c.weight * v for c, v in zip(replay.calls, values, strict=True)) == pytest.approx(
            logs["loss"], rel=1e-4, abs=1e-6
        )
        # Keras 3.6 was seen to log something else than the losses of the calls.
        logged = not releases.since(keras.__version__, "3.5") or releases.since(keras.__version__, "3.7")
        if len(values) > 1 and logged:
            # Outputs of one name share one entry of the log.
            assert all(any(v == pytest.approx(w, rel=1e-4, abs=1e-6) for w in values) for v in losses_logged(logs))
        assert values == pytest.approx(by_hand(found, setup, replay), rel=1e-4, abs=1e-6)

    step = Stepper(setup).step()
    paths = trees.paths("y_pred", setup.outputs)
    for shift in found.ends:
        mine = sum(step.gradients[p] for p, s in zip(paths, found.ends, strict=True) if s is shift)
        scale = float(np.max(np.abs(gradients[shift]))) or 1.0
        assert mine == pytest.approx(gradients[shift], rel=1e-3, abs=1e-5 * scale)
        assert gradients_of_one[shift] == pytest.approx(gradients[shift], rel=1e-3, abs=1e-5 * scale)


def test_every_step_of_a_stepper_has_the_loss_of_its_own_predictions() -> None:
    """`train_on_batch` of older releases (seen on 3.4.1 to 3.12.4) returns the mean of all steps since the metrics were reset."""
    setup = fed(KINDS["one output"]())
    stepper = Stepper(setup)
    for predictions in (np.zeros((N, 3), "float32"), setup.y, setup.y + 2):
        loss = stepper.step(starts=[predictions]).loss
        assert loss == pytest.approx(np.mean(np.square(predictions - setup.y)), rel=1e-5, abs=1e-6)
