"""What people found by trying models of every kind: own steps, heads without a gradient, losses that slice, custom classes in files."""

from __future__ import annotations

import os
import subprocess
import sys
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
RANDOM = np.random.default_rng(5)
X, Y = RANDOM.normal(size=(N, 4)).astype("float32"), RANDOM.normal(size=(N, 1)).astype("float32")
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="fit begins otherwise elsewhere")


def told(model: Any, *batch: Any) -> dict[str, lossdoctor.Finding]:
    """{code: finding}, once the real `fit` has agreed."""
    report = lossdoctor.check(model, batch)
    agree_with_keras(model, batch, report)
    return {f.code: f for f in report.findings}


def functional(cls: Any, units: int, loss: Any = "mse", activation: Any = None) -> Any:
    i = keras.Input((4,))
    model = cls(i, layers.Dense(units, activation=activation)(i))
    model.compile(optimizer="sgd", loss=loss)
    return model


class Itself(keras.Model):
    def train_step(self, *given: Any) -> Any:
        x, *_ = keras.utils.unpack_x_y_sample_weight(given[-1])
        return super().train_step(*given[:-1], (x, x))


class OneHot(keras.Model):
    def train_step(self, *given: Any) -> Any:
        x, y = given[-1]
        return super().train_step(*given[:-1], (x, ops.one_hot(y, 3)))


class Halved(keras.Model):
    """Keeps count in a variable and in a list."""

    def __init__(self, *given: Any, **rest: Any) -> None:
        super().__init__(*given, **rest)
        self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False, name="seen")

    def train_step(self, *given: Any) -> Any:
        x, y, w = keras.utils.unpack_x_y_sample_weight(given[-1])
        return super().train_step(*given[:-1], (x, y / 2, w))


class Twice(keras.Model):
    def train_step(self, *given: Any) -> Any:
        self.optimizer.apply_gradients([])
        return super().train_step(*given)


class OldLoss(keras.Model):
    def compute_loss(self, y: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y - y_pred))


class OwnTest(keras.Model):
    def test_step(self, *given: Any) -> Any:
        return super().test_step(*given)


@on_tensorflow
def test_targets_that_an_own_step_makes() -> None:
    """Both were errors; for the second a repair was offered with which fit raises."""
    assert set(told(functional(Itself, 4), X, None)) == {"LD951"}
    model, labels = functional(OneHot, 3, "categorical_crossentropy", "softmax"), RANDOM.integers(0, 3, N)
    assert set(told(model, X, labels)) == {"LD951"}
    assert lossdoctor.check(model, (X, labels)).patch() is None
    # One-hot targets are made one-hot once more: (N, 3, 3).
    assert "raises" in {f.impact for f in told(model, X, np.eye(3, dtype="int32")[labels]).values()}


def test_the_loss_is_that_of_the_targets_that_the_step_makes() -> None:
    model = functional(Halved, 1)
    before = [np.array(w) for w in model.get_weights()]
    report = lossdoctor.check(model, (X, Y), forward=True)
    assert type(model) is Halved
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    loss = report.data.outcomes["fit"].loss
    trained = model.fit(X, Y, batch_size=N, verbose=0).history["loss"][0]
    assert loss == pytest.approx(trained, rel=1e-4) and loss != pytest.approx(float(np.mean(np.square(Y))), rel=1e-2)


def test_a_repair_of_a_batch_that_a_step_makes_is_by_hand() -> None:
    report = lossdoctor.check(functional(Halved, 1), (X, Y[:, 0]))
    assert not [fix for f in report.findings for fix in f.fixes if fix.target == "batch" and fix.edits]


def test_a_step_that_raises_before_keras_s_own() -> None:
    model = functional(OneHot, 3, "categorical_crossentropy", "softmax")
    found = told(model, X, RANDOM.integers(0, 3, N), np.ones(N))
    assert (found["LD951"].severity, found["LD951"].impact) == ("error", "raises")
    assert "too many values to unpack" in found["LD951"].message


def test_a_step_that_trains_is_not_run() -> None:
    report = lossdoctor.check(functional(Twice, 1), (X, Y))
    (found,) = report.findings
    assert found.severity == "info" and "Keras's own was run in its place" in found.message


def test_a_compute_loss_that_cannot_take_what_keras_gives_it() -> None:
    found = told(functional(OldLoss, 1), X, Y)["LD951"]
    assert (found.severity, found.impact) == ("error", "raises") and "(self, y, y_pred)" in found.message


def test_an_own_test_step_does_not_train() -> None:
    report = lossdoctor.check(functional(OwnTest, 1), (X, Y))
    assert "it may train on others" not in " ".join([report.findings[0].message, *report.data.checks.notes])


def test_a_slice_of_the_output_that_meets_all_targets() -> None:
    """A Gaussian negative log likelihood on targets (N,) was clean but for a note."""

    def nll(y: Any, p: Any) -> Any:
        return ops.mean(p[:, 1:] + ops.square(y - p[:, :1]) * ops.exp(-p[:, 1:]), axis=-1)

    flat = Y[:, 0]
    model = functional(keras.Model, 2, nll)
    p = np.asarray(model(X))
    by_pairs = np.mean(p[:, 1:] + np.square(flat[None, :] - p[:, :1]) * np.exp(-p[:, 1:]))
    by_rows = np.mean(p[:, 1] + np.square(flat - p[:, 0]) * np.exp(-p[:, 1]))
    assert model.evaluate(X, flat, verbose=0, batch_size=N) == pytest.approx(float(by_pairs), rel=1e-4)
    model.compile(loss=nll)  # TensorFlow's compiled step is for targets of one rank
    assert model.evaluate(X, Y, verbose=0, batch_size=N) == pytest.approx(float(by_rows), rel=1e-4)
    assert float(by_pairs) != pytest.approx(float(by_rows), rel=1e-2)
    found = told(functional(keras.Model, 2, nll), X, flat)
    assert found["LD302"].impact == "silent" and found["LD302"].fixes[0].code == "y = y[..., None]"
    assert "LD803" not in found
    assert not {f.severity for f in told(functional(keras.Model, 2, nll), X, Y).values()} & {"error", "warning"}


@pytest.mark.parametrize("end", ["round", "argmax", "stop_gradient"])
def test_an_output_without_a_gradient(end: str) -> None:
    """Nothing was said: the stand-in had its variables behind the last operation."""
    i = keras.Input((4,))
    head = layers.Dense(3, name="head")
    ends = {
        "round": ops.round,
        "argmax": lambda h: ops.cast(ops.argmax(h, axis=-1, keepdims=True), "float32"),
        "stop_gradient": ops.stop_gradient,
    }
    model = keras.Model(i, [layers.Dense(1)(i), ends[end](head(i))])
    model.compile(optimizer="sgd", loss=["mse", "mse"])
    target = np.zeros(model.output_shape[1][1:], "float32")[None].repeat(N, 0)
    before = np.array(head.kernel)
    found = told(model, X, [Y, target + 5])["LD802"]
    np.testing.assert_array_equal(before, np.array(head.kernel))
    assert end in found.message and found.severity == ("warning" if end == "stop_gradient" else "error")


def test_ctc_takes_logits() -> None:
    perfect = np.zeros((1, 3, 3), "float32")
    perfect[0, [0, 1, 2], [1, 0, 2]] = 1
    ctc = keras.losses.CTC()
    target = np.array([[1, 2]])
    assert float(ctc(target, perfect)) > 0.5 > 1e-3 > float(ctc(target, np.log(perfect + 1e-7)))
    x, y = RANDOM.normal(size=(N, 12, 4)).astype("float32"), RANDOM.integers(1, 5, (N, 3))

    def made(activation: Any) -> Any:
        i = keras.Input((12, 4))
        model = keras.Model(i, layers.Dense(5, activation=activation)(i))
        model.compile(optimizer="sgd", loss=keras.losses.CTC())
        return model

    found = told(made("softmax"), x, y)["LD601"]
    assert found.fixes[0].verified and "counts twice" in found.message
    assert not told(made(None), x, y) and not told(made("log_softmax"), x, y)


@on_tensorflow
def test_a_head_that_is_there_in_training_only() -> None:
    """The outputs were those of a call that is not for training: an error where fit works, and none where it raises."""

    class Deep(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.aux = layers.Dense(1), layers.Dense(1)

        def call(self, x: Any, training: bool = False) -> Any:
            return [self.main(x), self.aux(x)] if training else self.main(x)

    def deep(loss: Any) -> Any:
        model = Deep()
        model.compile(optimizer="sgd", loss=loss)
        return model

    assert not told(deep(["mse", "mse"]), X, [Y, Y])
    assert "raises" in {f.impact for f in told(deep("mse"), X, Y).values()}


@on_tensorflow
def test_texts_of_a_dict_in_a_file(tmp_path: Path) -> None:
    import tensorflow as tf

    inputs = {"age": keras.Input((1,), name="age"), "city": keras.Input((1,), name="city", dtype="string")}
    looked_up = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(inputs["city"])
    model = keras.Model(inputs, layers.Dense(1)(layers.Concatenate()([inputs["age"], looked_up])))
    model.compile(optimizer="sgd", loss="mse")
    x = {"age": X[:, :1], "city": tf.constant(np.array([["a"], ["b"]] * 8))}
    lossdoctor.save_batch(tmp_path / "batch.npz", x, Y)
    model.save(tmp_path / "model.keras")
    assert lossdoctor.check(str(tmp_path / "model.keras"), str(tmp_path / "batch.npz")).data.verdict == "clean"
    assert not told(model, x, Y)


NET = """
import keras, numpy as np
from keras import layers
@keras.saving.register_keras_serializable("project")
class Net(keras.Model):
    def __init__(self, **rest):
        super().__init__(**rest)
        self.out = layers.Dense(1)
    def call(self, x):
        return self.out(x)
if __name__ == "__main__":
    model = Net()
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    model.save("net.keras")
    np.savez("net.npz", x=np.ones((4, 2)), y=np.ones((4, 1)))
"""


def test_a_class_of_a_script_that_was_run(tmp_path: Path, capfd: Any) -> None:
    """The advice was --unsafe, which does not help, and of two files with such a class the wrong one."""
    (tmp_path / "train.py").write_text(NET)
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    case = str(tmp_path / "net.keras"), str(tmp_path / "net.npz")
    code, _, said = call(capfd, "check", *case)
    assert code == 2 and f"train.py defines it: pass --objects {tmp_path.as_posix()}/train.py" in said
    assert "--unsafe" not in said and "module ''" not in said
    (tmp_path / "another.py").write_text("class Net:\n    pass\n")
    assert "another.py and " in call(capfd, "check", *case)[2]
    assert call(capfd, "check", *case, "--objects", f"{tmp_path}/train.py")[0] == 0


def test_the_file_of_the_module_that_is_named(tmp_path: Path) -> None:
    from lossdoctor.case.definitions import advice, defining_file

    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text("class Net:\n    pass\n")
    assert defining_file("Net", [tmp_path], "project.b") == f"{tmp_path.as_posix()}/b.py"
    assert defining_file("Net", [tmp_path]) == f"{tmp_path.as_posix()}/a.py"
    assert advice("Net", f"{tmp_path}/m.keras", "b").endswith("b.py, if you trust it")


def test_a_model_without_a_call(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "gan.py").write_text(
        "import keras, numpy as np\nclass GAN(keras.Model):\n    def train_step(self, data):\n        return {}\n"
        "model = GAN()\nmodel.compile('sgd')\nbatch = np.ones((4, 2)), None\n"
    )
    code, _, said = call(capfd, "check", f"{tmp_path}/gan.py:model", f"{tmp_path}/gan.py:batch")
    assert code == 2 and "has no call()" in said.splitlines()[-1] and "check x" not in said


def test_what_of_an_h5_file_was_not_tried(tmp_path: Path) -> None:
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dense(1)(i))
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.h5")
    report = lossdoctor.check(str(tmp_path / "m.h5"), (X, Y))
    assert any("compile=False" in note for note in report.data.checks.notes)


class OwnIoU(keras.metrics.MeanIoU):
    """Takes other arguments than its config holds."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes=num_classes)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().update_state(y_true, ops.argmax(y_pred, -1), sample_weight)


class Largest(keras.metrics.Metric):
    """Takes none, and counts in an inner metric, too."""

    def __init__(self) -> None:
        super().__init__(name="largest")
        self.inner, self.steps = keras.metrics.Mean(), self.add_weight(name="steps", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.steps.assign_add(1.0)
        self.inner.update_state(ops.max(y_pred, -1))

    def result(self) -> Any:
        return self.inner.result()


@pytest.mark.parametrize(
    "make",
    [
        lambda: OwnIoU(3),
        Largest,
        lambda: keras.metrics.MeanMetricWrapper(lambda y_true, y_pred: ops.max(y_pred, -1), name="top"),
    ],
    ids=["arguments of its own", "no arguments", "a lambda"],
)
def test_a_metric_that_cannot_be_made_again_from_its_config(make: Any) -> None:
    """LD804 said that fit raises because of the metrics, and offered to take them all away."""
    metric = make()
    model = functional(keras.Model, 3, "sparse_categorical_crossentropy", "softmax")
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=[metric])
    labels = RANDOM.integers(0, 3, N)
    model.fit(X, labels, verbose=0)
    before = [np.array(v) for v in metric.variables]
    assert before and not lossdoctor.check(model, (X, labels)).findings
    for old, new in zip(before, metric.variables, strict=True):
        np.testing.assert_array_equal(old, np.array(new))


class Helped(keras.Model):
    """Its step goes to the compiled losses by a method of its own."""

    def train_step(self, *given: Any) -> Any:
        return self.one_step(given)

    def one_step(self, given: Any) -> Any:
        return super().train_step(*given)


class Handed(keras.Model):
    """What it hands itself to may ask for the losses."""

    def train_step(self, *given: Any) -> Any:
        return keras.Model.train_step(self, *given)


class Alone(keras.Model):
    def train_step(self, *given: Any) -> Any:
        self(given[-1][0])
        self.count()
        return {"loss": 0.0}

    def count(self) -> None:
        self.optimizer.iterations.assign_add(1)


def test_what_a_step_of_the_model_s_own_has_to_do_with_the_compiled_losses() -> None:
    """A loss that is compiled and never used was told as an error (a depth estimator's own losses)."""
    for cls, used in ((Helped, True), (Handed, True), (Alone, False)):
        report = lossdoctor.check(functional(cls, 1, "sparse_categorical_crossentropy"), (X, Y))
        assert ("error" in {f.severity for f in report.findings}) == used, cls
    assert [f.code for f in report.findings] == ["LD951"] and report.data.outcomes["fit"].status == "skipped"
    # Who names a loss wants it examined.
    named = lossdoctor.check(functional(Alone, 1), (X, Y), loss="sparse_categorical_crossentropy")
    assert "error" in {f.severity for f in named.findings}


class Cached(keras.Model):
    """Returns None in the place of an output."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.head, self.named = layers.Dense(1), named

    def call(self, x: Any) -> Any:
        return {"logits": self.head(x), "cache": None} if self.named else (self.head(x), None)


@pytest.mark.parametrize(
    ("named", "loss", "y"),
    [
        (True, {"logits": "mse"}, {"logits": Y}),
        (True, {"logits": "mse"}, {"logits": Y, "cache": None}),
        (True, "mse", {"logits": Y}),
        (False, ["mse", None], (Y, None)),
        (False, ["mse"], [Y]),
        (False, "mse", Y),
    ],
)
def test_none_in_the_place_of_an_output(named: bool, loss: Any, y: Any) -> None:
    """It was a bug of lossdoctor's, exit code 3."""
    model = Cached(named)
    model(X)
    model.compile(optimizer="sgd", loss=loss)
    found = told(model, X, y)
    assert "LD502" not in found
    forward = lossdoctor.check(model, (X, y), forward=True)
    assert {f.code for f in forward.findings if f.severity == "error"} == {
        code for code, f in found.items() if f.severity == "error"
    }


@on_tensorflow
@pytest.mark.parametrize("steps", [5, 7])
def test_sizes_that_only_data_show(steps: int, tmp_path: Path) -> None:
    """Texts of five words were taken to have seven: an error where fit trains, and none where it raises."""
    import tensorflow as tf

    i = keras.Input((1,), dtype="string")
    words = layers.TextVectorization(vocabulary=["a", "b", "c", "d", "e"])(i)
    model = keras.Model(i, layers.Dense(3, activation="softmax")(layers.Embedding(50, 4)(words)))
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    x, y = tf.constant([["a b c d e"]] * N), np.zeros((N, steps), "int32")
    found = told(model, x, y)
    assert ("raises" in {f.impact for f in found.values()}) == (steps == 7)
    notes = lossdoctor.check(model, (x, y)).data.checks.notes
    assert any("it leaves sizes open that only data show" in note for note in notes)
    model.save(tmp_path / "m.keras")
    lossdoctor.save_batch(tmp_path / "b.npz", x, y)
    report = lossdoctor.check(tmp_path / "m.keras", tmp_path / "b.npz")
    assert {f.code for f in report.findings} == set(found)


@on_tensorflow
def test_text_under_forward() -> None:
    import tensorflow as tf

    s, a = keras.Input((1,), name="s", dtype="string"), keras.Input((1,), name="a")
    looked_up = layers.StringLookup(vocabulary=["x", "y"], output_mode="one_hot")(s)
    model = keras.Model({"s": s, "a": a}, layers.Dense(1)(layers.Concatenate()([a, looked_up])))
    model.compile(optimizer="sgd", loss="mse")
    x = {"s": tf.constant([["x"], ["y"]] * (N // 2)), "a": tf.ones((N, 1))}
    assert not lossdoctor.check(model, (x, Y), forward=True).findings


LAYER = """
import keras
from keras import layers, ops
class Arc(layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 4))
    def call(self, x):
        return ops.softmax(x @ self.w)
"""


def test_a_layer_of_a_graph_that_is_not_registered(tmp_path: Path, capfd: Any) -> None:
    """Keras names it after the graph's whole config; the advice was to look for a matching release."""
    (tmp_path / "arc.py").write_text(LAYER)
    build = "import keras\nfrom arc import Arc\ni = keras.Input((4,))\nmodel = keras.Model(i, Arc()(i))\n"
    save = "model.compile('sgd', 'sparse_categorical_crossentropy')\nmodel.save('arc.keras')\n"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", build + save], cwd=tmp_path, env=environment, check=True, capture_output=True)
    np.savez(tmp_path / "b.npz", x=X, y=np.arange(N) % 4)
    case = str(tmp_path / "arc.keras"), str(tmp_path / "b.npz")
    code, _, said = call(capfd, "check", *case)
    assert code == 2 and f"arc.py defines it: pass --objects {tmp_path.as_posix()}/arc.py" in said
    assert call(capfd, "check", *case, "--objects", f"{tmp_path}/arc.py")[0] == 0


class OneArgument(keras.Model):
    """As the guide for TensorFlow writes it."""

    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


class NoArgument(keras.Model):
    def train_step(self) -> Any:
        return super().train_step()


def test_a_train_step_that_cannot_take_what_fit_gives_it() -> None:
    """On JAX a step gets its state, too; nothing was said."""
    found = told(functional(OneArgument, 1), X, Y)["LD951"]
    raises = keras.backend.backend() == "jax"
    assert (found.severity == "error") == raises and (not raises or "(state, data)" in found.message)
    assert told(functional(NoArgument, 1), X, Y)["LD951"].severity == "error"


def test_text_where_no_tensor_holds_any() -> None:
    """On JAX it was a bug of lossdoctor's, exit code 3."""
    tf = pytest.importorskip("tensorflow")
    s = keras.Input((1,), name="s", dtype="string")
    looked_up = layers.StringLookup(vocabulary=["x", "y"], output_mode="one_hot")(s)
    model = keras.Model({"s": s}, layers.Dense(1)(looked_up))
    model.compile(optimizer="sgd", loss="mse")
    told(model, {"s": tf.constant([["x"], ["y"]] * (N // 2))}, Y)


def test_a_patch_that_cannot_be_written() -> None:
    def similar(y_true: Any, y_pred: Any) -> Any:
        return ops.sum(ops.normalize(y_true, -1) * ops.normalize(y_pred, -1), -1)

    report = lossdoctor.check(functional(keras.Model, 4, similar), (X, X))
    assert any(fix.edits for f in report.findings for fix in f.fixes)
    with pytest.raises(lossdoctor.CaseError, match="cannot be written as Python: .*similar has no name"):
        report.patch()


class Generating(keras.Model):
    """Called on noise; its step is given images."""

    def __init__(self) -> None:
        super().__init__()
        self.make = keras.Sequential([keras.Input((3,)), layers.Dense(4)])

    def call(self, noise: Any) -> Any:
        return self.make(noise)

    def train_step(self, *given: Any) -> Any:
        return {"loss": 0.0}


class Opaque:
    """Neither a tensor nor a container."""


class Returning(keras.Model):
    def call(self, x: Any) -> Any:
        return Opaque()


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Generating, "and what its own train_step does with x only that knows; check the losses that they call"),
        (Returning, "it returns a Opaque, which is no tensor and no container that Keras opens; return a dict"),
    ],
)
def test_a_model_that_is_not_called_on_x_as_it_is(cls: Any, said: str) -> None:
    """The advice was to check x, which was right."""
    model = cls()
    model.compile(optimizer="sgd", loss="mse")
    with pytest.raises(lossdoctor.CaseError, match=said) as raised:
        lossdoctor.check(model, (X, Y))
    assert "check x" not in str(raised.value)


def test_predictions_that_are_not_finite_are_not_the_loss_s() -> None:
    """Of NaN in x the advice was to keep logarithms away from 0."""
    x = X.copy()
    x[3, 1] = np.nan
    found = lossdoctor.check(functional(keras.Model, 1), (x, Y), forward=True).findings
    (finding,) = [f for f in found if f.code == "LD805"]
    assert finding.evidence["first row"] == 3 and finding.evidence["predictions that are not finite"] == 1
    assert "logarithm" not in str(finding) and "look for NaN in x" in finding.fixes[0].title


STEPS_ALONE = """
import keras, numpy as np
class Alone(keras.Model):
    def train_step(self, *given):
        return {"loss": 0.0}
i = keras.Input((4,))
model = Alone(i, keras.layers.Dense(1)(i))
model.compile("sgd", "mse")
batch = np.ones((8, 4)), np.arange(8)
"""


def test_a_loss_named_on_the_command_line_is_examined(tmp_path: Path, capfd: Any) -> None:
    """As one given to `check` is; it was asked for under another name than the command line's."""
    (tmp_path / "alone.py").write_text(STEPS_ALONE)
    case = f"{tmp_path}/alone.py:model", f"{tmp_path}/alone.py:batch"
    assert call(capfd, "check", *case)[0] == 0
    assert call(capfd, "check", *case, "--loss", '"sparse_categorical_crossentropy"')[0] == 1
