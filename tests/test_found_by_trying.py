"""What people found by trying to break the rules: false alarms, misses and crashes, each once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossdoctor
from tests.agree import agree_with_keras
from tests.cli.test_cli import call

N = 16
RANDOM = np.random.default_rng(21)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype("float32")


def made(outputs: Callable[[Any], Any], loss: Any, shape: tuple[int, ...] = (4,), **compiled: Any) -> Any:
    i = keras.Input(shape)
    model = keras.Model(i, outputs(i))
    model.compile(optimizer="sgd", loss=loss, **compiled)
    return model


def dense(units: int, activation: Any = None) -> Callable[[Any], Any]:
    return lambda i: layers.Dense(units, activation=activation)(i)


def told(model: Any, *batch: Any, **options: Any) -> dict[str, lossdoctor.Finding]:
    """{code: finding}, once the real `fit` has agreed."""
    report = lossdoctor.check(model, batch, **options, repairs=False)
    agree_with_keras(model, batch, report)
    return {f.code: f for f in reversed(report.findings)}


def wrong(found: dict[str, lossdoctor.Finding]) -> list[str]:
    return sorted(code for code, f in found.items() if f.severity != "info")


class Unreduced(keras.losses.Loss):
    """Not registered: it cannot be saved and made again."""

    def __init__(self) -> None:
        super().__init__(reduction="none")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


class Counting(keras.losses.Loss):
    """Keeps a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = keras.Variable(1.0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        self.decay.assign(0.9 * self.decay)
        return self.decay * ops.mean(ops.square(y_true - y_pred), axis=-1)


def per_sample(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def supervised_contrast(y_true: Any, y_pred: Any) -> Any:
    alike = ops.matmul(y_pred, ops.transpose(y_pred))
    same = ops.cast(ops.equal(y_true, ops.transpose(y_true)), "float32")
    return ops.logsumexp(alike, -1) - ops.sum(alike * same, -1) / 4


def test_large_images_are_measured_on_few_rows() -> None:
    model = made(
        lambda i: layers.Conv2D(8, 1, activation="softmax")(i), "sparse_categorical_crossentropy", (256, 256, 3)
    )
    x, y = np.zeros((8, 256, 256, 3), "float32"), RANDOM.integers(0, 8, size=(8, 256, 256))
    assert wrong({f.code: f for f in lossdoctor.check(model, (x, y), repairs=False).findings}) == []


def test_a_loss_that_cannot_be_saved_is_examined() -> None:
    found = told(made(dense(3), Unreduced()), normal(N, 4), normal(N, 3))
    assert "LD401" in found


def test_weights_on_a_contrastive_loss_do_weigh() -> None:
    y = (np.arange(N) % 4)[:, None].astype("float32")
    assert wrong(told(made(dense(6), supervised_contrast), normal(N, 4), y, np.linspace(0.5, 1, N))) == []


def test_pairs_in_a_batch_need_an_even_batch() -> None:
    def pairs(y_true: Any, y_pred: Any) -> Any:
        z = ops.reshape(y_pred, (-1, 2, 8))
        return ops.repeat(ops.sum(ops.square(z[:, 0] - z[:, 1]), -1), 2)

    assert wrong(told(made(dense(8), pairs), normal(8, 4), np.zeros((8, 1), "float32"))) == []


def test_one_target_a_sequence_against_every_step() -> None:
    """Keras squeezes (N, T, 1) to (N, T), and then each target is used for all steps."""
    model = made(lambda i: layers.Dense(1)(layers.LSTM(3, return_sequences=True)(i)), "mse", (7, 4))
    x, y = normal(N, 7, 4), normal(N, 1)
    value = float(np.mean(np.square(model.predict(x, verbose=0)[..., 0] - y)))
    assert model.evaluate(x, y, verbose=0) == pytest.approx(value, rel=1e-4)
    finding = told(model, x, y)["LD302"]
    assert finding.severity == "error" and finding.evidence["compared as"] == [N, 7]
    assert "other samples" not in finding.message


@pytest.mark.parametrize(("target", "output"), [((N, 5, 1), (N, 1)), ((N,), (N, 5, 1)), ((N,), (N, N, 1))])
def test_other_targets_of_sequences(target: tuple[int, ...], output: tuple[int, ...]) -> None:
    """Whatever Keras trains on without a word is an error; where it raises, `told` has compared."""
    if len(output) == 2:
        model, x = made(dense(1), "mse"), normal(N, 4)
    else:
        model, x = made(dense(1), "mse", (output[1], 4)), normal(N, output[1], 4)
    report = lossdoctor.check(model, (x, normal(*target)), repairs=False)
    agree_with_keras(model, (x, normal(*target)), report)
    assert [f for f in report.findings if f.severity == "error"]


def test_nan_masked_in_the_value_and_not_in_the_gradient() -> None:
    def masked(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.where(ops.isnan(y_true), 0.0, ops.square(y_true - y_pred)), -1)

    y = normal(N, 3)
    y[2, 1] = np.nan
    model = made(dense(3), masked)
    finding = told(model, normal(N, 4), y)["LD701"]
    assert finding.severity == "error" and "gradient" in finding.message
    assert np.isnan(model.get_weights()[0]).any()


@pytest.mark.parametrize("activation", ["silu", "gelu", "mish"])
def test_activations_that_dip(activation: str) -> None:
    assert (
        wrong(told(made(dense(3, activation), "mse"), normal(N, 4), np.linspace(-0.15, 2, 3 * N).reshape(N, 3))) == []
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_labels_that_are_no_numbers(value: float) -> None:
    y = (np.arange(N) % 3).astype("float32")
    y[3] = value
    model = made(dense(3, "softmax"), "sparse_categorical_crossentropy")
    assert told(model, normal(N, 4), y)


def test_hinge_of_nothing_but_nan() -> None:
    assert "LD701" in told(made(dense(1, "tanh"), "hinge"), normal(N, 4), np.full((N, 1), np.nan))


def test_a_loss_of_no_name() -> None:
    report = lossdoctor.check(made(dense(1), "mse"), (normal(N, 4), normal(N, 1)), loss="nope", repairs=False)
    assert report.data.outcomes["fit"].status == "raises" and "nope" in str(report.data.outcomes["fit"].error)


def test_a_loss_that_ends_the_process() -> None:
    def leaves(y_true: Any, y_pred: Any) -> Any:
        raise SystemExit(3)

    report = lossdoctor.check(made(dense(1), leaves), (normal(N, 4), normal(N, 1)), repairs=False)
    assert report.data.outcomes["fit"].status == "raises"


def test_a_random_loss_is_not_probed() -> None:
    def noisy(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred + keras.random.normal(ops.shape(y_pred))), axis=-1)

    report = lossdoctor.check(made(dense(3), noisy), (normal(N, 4), normal(N, 3)), repairs=False)
    assert report.findings == ()
    assert "random or keeps a state" in report.data.checks.skipped["LD803"]


def test_a_loss_with_a_state_keeps_it() -> None:
    loss = Counting()
    lossdoctor.check(made(dense(3), loss), (normal(N, 4), normal(N, 3)), repairs=False)
    assert float(ops.convert_to_numpy(loss.decay)) == 1.0


def test_a_metric_of_one_s_own_called_accuracy() -> None:
    def accuracy(y_true: Any, y_pred: Any) -> Any:
        return ops.cast(ops.argmax(y_true, -1) == ops.argmax(y_pred, -1), "float32")

    model = made(dense(3, "softmax"), "categorical_crossentropy", metrics=[accuracy])
    assert wrong(told(model, normal(N, 4), np.eye(3)[np.arange(N) % 3])) == []


def test_thresholds_that_were_set_for_logits() -> None:
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    labels = (np.arange(N) % 2)[:, None].astype("float32")
    for metric, told_of in (
        (keras.metrics.BinaryAccuracy(threshold=0.0), False),
        (keras.metrics.Precision(thresholds=0), False),
        (keras.metrics.BinaryAccuracy(), True),
    ):
        assert ("LD523" in told(made(dense(1), loss, metrics=[metric]), normal(N, 4), labels)) == told_of


def test_softly_capped_logits() -> None:
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model = made(dense(3, lambda t: 30 * ops.tanh(t / 30)), loss)
    assert wrong(told(model, normal(N, 4), np.eye(3)[np.arange(N) % 3])) == []
    small = told(made(dense(3, "tanh"), loss), normal(N, 4), np.eye(3)[np.arange(N) % 3])
    assert small["LD601"].severity == "warning"


class Head(layers.Dense):
    """Applies an activation that its configuration does not show."""

    def call(self, inputs: Any) -> Any:
        return ops.softmax(super().call(inputs))


def test_a_layer_with_a_call_of_its_own_is_not_linear() -> None:
    model = made(lambda i: Head(3)(i), "categorical_crossentropy")
    assert wrong(told(model, normal(N, 4), np.eye(3)[np.arange(N) % 3])) == []


def test_counts_under_a_softmax() -> None:
    """TensorFlow follows another gradient than the loss's (tests/test_silent.py), but not for rows that sum to 1, with weights."""
    counts = RANDOM.poisson(2, size=(N, 30)).astype("float32")
    model, x, sums = made(dense(30, "softmax"), "categorical_crossentropy"), normal(N, 4), counts.sum(-1)
    assert wrong(told(model, x, counts, forward=True)) == ["LD703"]
    assert wrong(told(model, x, counts / sums[:, None], sums, forward=True)) == []


def test_advantages_on_one_hot_actions() -> None:
    actions, advantages = np.eye(3)[np.arange(N) % 3], normal(N, 1)
    model, x = made(dense(3, "softmax"), "categorical_crossentropy"), normal(N, 4)
    assert wrong(told(model, x, actions * advantages)) == ["LD703"]
    assert wrong(told(model, x, actions, advantages[:, 0])) == []


def test_a_score_of_masks_returned_as_a_loss() -> None:
    def dice(y_true: Any, y_pred: Any) -> Any:
        axes = (1, 2, 3)
        return (2 * ops.sum(y_true * y_pred, axes) + 1) / (ops.sum(y_true, axes) + ops.sum(y_pred, axes) + 1)

    def loss(y_true: Any, y_pred: Any) -> Any:
        return 1 - dice(y_true, y_pred)

    masks = (RANDOM.uniform(size=(8, 6, 6, 1)) > 0.5).astype("float32")
    for given, expected in ((dice, ["LD806"]), (loss, [])):
        model = made(lambda i: layers.Conv2D(1, 1, activation="sigmoid")(i), given, (6, 6, 3))
        assert wrong(told(model, normal(8, 6, 6, 3), masks)) == expected


def test_timestamps_that_become_one_number() -> None:
    found = told(made(dense(1), "mse"), normal(N, 4), 1.6e9 + np.arange(float(N))[:, None])
    assert found["LD307"].evidence["different as float32"] == 1


def test_a_softmax_over_the_steps() -> None:
    model = made(lambda i: layers.Softmax(axis=1)(layers.Dense(3)(i)), "categorical_crossentropy", (5, 4))
    y = np.eye(3)[RANDOM.integers(0, 3, size=(N, 5))]
    finding = told(model, normal(N, 5, 4), y)["LD602"]
    assert finding.severity == "error" and "axis 1" in finding.message


def test_a_weight_an_entry_is_not_what_keras_takes() -> None:
    draw = np.random.default_rng(5)
    x, y, w = draw.normal(size=(N, 4)), draw.normal(size=(N, N)), draw.uniform(0, 1, size=(N, N))
    keras.utils.set_random_seed(3)
    model = made(dense(N), "mse")
    errors = np.square(y - model.predict(x, verbose=0))
    report = lossdoctor.check(model, (x, y, w), repairs=False)
    value = model.evaluate(x, y, sample_weight=w, batch_size=N, verbose=0)
    assert value != pytest.approx(float(np.mean(errors * w)), rel=1e-3)
    assert [f.code for f in report.findings if f.severity == "error"] == ["LD532"]


def test_equal_scales_name_two_outputs() -> None:
    losses = [keras.losses.MeanSquaredError(reduction="sum"), "mse"]
    model = made(lambda i: [dense(1)(i), dense(1)(i)], losses, loss_weights=[1 / N, 1.0])
    found = told(model, normal(N, 4), [normal(N, 1), normal(N, 1)])
    assert found["LD403"].severity == "info" and set(found["LD403"].where) == {"y_pred[0]", "y_pred[1]"}


def test_a_list_of_numbers_is_told_in_a_line() -> None:
    report = lossdoctor.check(made(dense(1), "mse"), (normal(N, 4), [float(k) for k in range(3000)]), repairs=False)
    assert max(len(f.message) for f in report.findings) < 600


def test_weights_in_a_dict_for_one_array() -> None:
    found = told(made(dense(1), "mse"), normal(N, 4), normal(N, 1), {"a": np.ones(N)})
    assert "LD531" in found


def test_a_loss_without_gradient_is_told_as_that() -> None:
    def rounded(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.abs(y_true - ops.cast(ops.argmax(y_pred, -1)[:, None], "float32")), axis=-1)

    found = told(made(dense(3), rounded), normal(N, 4), normal(N, 1))
    assert "LD802" in found
    assert found["LD802"].severity == ("info" if keras.backend.backend() == "jax" else "error")


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize(
    ("loss", "weights", "code"),
    [
        ({"age": "mse", "organ": "sparse_categorical_crossentropy"}, {"age": 0.01}, "LD512"),
        ({"age": "mse"}, None, "LD502"),
        ({"age": "mse", "organ": "sparse_categorical_crossentropy"}, [1.0], "LD512"),
    ],
)
def test_what_the_losses_lack_is_not_blamed_on_the_targets(by_name: bool, loss: Any, weights: Any, code: str) -> None:
    model = made(
        lambda i: [layers.Dense(1, name="age")(i), layers.Dense(3, activation="softmax", name="organ")(i)],
        loss,
        loss_weights=weights,
    )
    y = {"age": normal(N, 1), "organ": np.arange(N) % 3}
    assert wrong(told(model, normal(N, 4), y if by_name else list(y.values()))) == [code]


# What code of the user's own does that ends the program, and what the one sentence says of it.
ENDING = {
    "without a word": (
        "import sys\ndef m():\n    sys.exit()\n",
        "m.py:m ends the program (sys.exit()) when it is called",
    ),
    "with a number": ("import sys\ndef m():\n    sys.exit(5)\n", "ends the program (sys.exit(5))"),
    "with a reason": (
        "import sys\nsys.exit('set DATA_DIR')\n",
        "m.py ends the program ('set DATA_DIR') when it is imported",
    ),
    "with an exception of its own": (
        "class Odd(BaseException): pass\nraise Odd('why')\n",
        "ends the program (Odd: why)",
    ),
    "as a generator ends": ("def m():\n    raise GeneratorExit\n", "ends the program (GeneratorExit)"),
    "by an error of two lines": (
        "def m():\n    raise ValueError('one\\ntwo')\n",
        "raised ValueError when it was called: one;",
    ),
    "by an error without words": ("def m():\n    raise KeyError\n", "raised KeyError when it was called;"),
    "by a slip": ("def m(:\n", "SyntaxError: invalid syntax (line 1)"),
    "never": ("async def m():\n    return 1\n", "m.py:m is a coroutine function"),
}


@pytest.mark.parametrize("name", ENDING)
@pytest.mark.parametrize("command", ["check", "show", "patch"])
def test_code_that_ends_the_program_does_not_end_the_check(
    name: str, command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, sentence = ENDING[name]
    (tmp_path / "m.py").write_text(code)
    np.savez(tmp_path / "b.npz", x=normal(N, 4), y=normal(N, 1))
    monkeypatch.chdir(tmp_path)
    exit_code, out, err = call(capfd, command, "m.py:m", "b.npz")
    assert (exit_code, out) == (2, "") and err.startswith("lossdoctor: ") and len(err.splitlines()) == 1
    assert sentence in err


@pytest.mark.parametrize("name", ["b", "g", "k"])
def test_data_that_end_the_program_do_not_end_the_check(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.py").write_text(
        "import sys\ndef b():\n    sys.exit(0)\ndef g():\n    sys.exit(0)\n    yield 1\n"
        "class K:\n    def __iter__(self):\n        sys.exit(0)\nk = K()\n"
    )
    made(dense(1), "mse").save(tmp_path / "m.keras")
    monkeypatch.chdir(tmp_path)
    exit_code, out, err = call(capfd, "check", "m.keras", f"data.py:{name}")
    assert (exit_code, out) == (2, "") and "ends the program (sys.exit(0))" in err and len(err.splitlines()) == 1


def test_a_script_s_own_options_are_not_lossdoctor_s(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text(
        "import argparse, numpy as np\n"
        "p = argparse.ArgumentParser()\np.add_argument('--rows', type=int, default=8)\n"
        "rows = p.parse_args().rows\n"
        "def batch():\n    return np.ones((p.parse_args().rows, 4)), np.ones((rows, 1))\n"
    )
    made(dense(1), "mse").save(tmp_path / "m.keras")
    monkeypatch.chdir(tmp_path)
    assert call(capfd, "check", "m.keras", "train.py:batch")[0] == 0


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="its trainer takes no such tables")
@pytest.mark.parametrize(
    "columns", [("float64", "bool"), ("float64", "Int64"), ("float32", "float64"), ("float32", "int32")]
)
def test_a_table_is_cast_as_fit_casts_it(columns: tuple[str, str]) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({f"c{i}": pandas.Series([1, 0] * 8, dtype=columns[i % 2]) for i in range(4)})
    model = made(dense(1), "mse")
    model.fit(table, np.zeros((N, 1)), verbose=0)
    assert lossdoctor.check(model, (table, np.zeros((N, 1)))).ok


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "category"])
def test_a_series_of_pandas_own_types_is_refused_as_fit_refuses_it(dtype: str) -> None:
    pandas = pytest.importorskip("pandas")
    model, y = made(dense(1), "mse"), pandas.Series([1, 0] * 8, dtype=dtype)
    with pytest.raises(ValueError, match="Invalid dtype"):
        model.fit(normal(N, 4), y, verbose=0)
    with pytest.raises(lossdoctor.CaseError, match=f"^y is a Series that cannot be read .*Invalid dtype: {dtype}"):
        lossdoctor.check(model, (normal(N, 4), y))


@pytest.mark.parametrize("item", [[normal(N, 4), normal(N, 1)], {"x": normal(N, 4)}, normal(N, 4)])
def test_a_generator_of_anything_but_tuples_is_refused_as_fit_refuses_it(item: Any) -> None:
    model = made(dense(1), "mse")
    with pytest.raises(ValueError, match="must return a tuple"):
        model.fit((item for _ in range(2)), steps_per_epoch=1, verbose=0)
    with pytest.raises(lossdoctor.CaseError, match="nothing but tuples from a generator"):
        lossdoctor.preflight(model, (item for _ in range(2)))


def test_a_batch_without_x_says_that_no_input_was_examined() -> None:
    report = lossdoctor.check(made(dense(1), "mse"), (None, normal(N, 1)))
    assert [note for note in report.data.checks.notes if "the batch has no x" in note]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="text goes through a model on TensorFlow alone")
def test_numpy_s_text_is_not_what_fit_takes() -> None:
    """It was a note, and where x has several arrays a tensor of strings out of a file was an error."""
    import tensorflow as tf

    i = keras.Input((1,), dtype="string")
    looked_up = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(i)
    model = keras.Model(i, layers.Dense(1)(looked_up))
    model.compile(optimizer="sgd", loss="mse")
    x, y = np.array([["a"], ["b"]] * 8), normal(N, 1)
    with pytest.raises(ValueError, match="Invalid dtype: str"):
        model.fit(x, y, verbose=0)
    model.fit(tf.constant(x), y, verbose=0)
    assert "LD902" in told(model, x, y)
    assert not told(model, tf.constant(x), y)


def test_steps_that_a_loss_scale_skips_move_nothing() -> None:
    """LD805 said that one such step makes the weights NaN."""
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dense(1, dtype="mixed_float16")(i))
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)), "mse")
    x, y = normal(N, 4), normal(N, 1) * 1e6
    before = [np.array(w) for w in model.get_weights()]
    report = lossdoctor.check(model, (x, y), repairs=False)
    model.fit(x, y, epochs=2, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    told = [f.message for f in report.findings if f.code == "LD805"]
    assert len(told) == 1 and "skips every such step" in told[0] and "NaN" not in told[0]
