"""Every kind of model is loaded without its weights, or falls back to a real call and says so."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossdoctor
from lossdoctor.case.archive import read_model_config
from lossdoctor.case.batch import hold_batch
from lossdoctor.case.model import describe, rebuild
from lossdoctor.doctor import examine
from lossdoctor.types import CaseError, ModelSpec

N = 8
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 4)).astype("float32")
Y = RANDOM.normal(size=(N, 1)).astype("float32")
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
PACKAGE = "kinds_of_model"
register = keras.saving.register_keras_serializable(PACKAGE)


@register
class Subclassed(keras.Model):
    def __init__(self, units: int = 3, **rest: Any) -> None:
        super().__init__(**rest)
        self.units, self.hidden, self.out = units, layers.Dense(units, activation="relu"), layers.Dense(1)

    def call(self, x: Any, training: bool = False) -> Any:
        return {"z": self.out(self.hidden(x)), "a": self.hidden(x)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@register
class Pair(keras.Model):
    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.out = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        first, second = inputs
        return self.out(ops.concatenate([first, second], -1))


@register
class Adding(layers.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(1e-2 * ops.sum(ops.square(x)))
        return x


@register
class OwnStep(keras.Model):
    def train_step(self, *args: Any) -> Any:
        return super().train_step(*args)


@register
class OwnLoss(keras.Model):
    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
        return ops.mean(ops.square(y - y_pred))


class Eager(keras.Model):
    """Its call asks for values, which a trace has not."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.out = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(x) if float(ops.max(x)) > 0 else self.out(-x)


class NoConfig(keras.Model):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.inner, self.of_no_use = layer, object()

    def call(self, x: Any) -> Any:
        return self.inner(x)


def built(model: Any, *x: Any) -> Any:
    model(*(x or (X,)))
    return model


def functional(kind: Any = keras.Model, between: Any = None) -> Any:
    i = keras.Input((4,), name="i")
    h = layers.Dense(3, activation="relu", name="h")(i)
    return kind(i, layers.Dense(1, name="o")(h if between is None else between(h)))


def shared() -> Any:
    a, b, dense = keras.Input((4,), name="a"), keras.Input((4,), name="b"), layers.Dense(3)
    return keras.Model({"a": a, "b": b}, layers.Dense(1)(layers.concatenate([dense(a), dense(b)])))


def nested() -> Any:
    inner, i = functional(), keras.Input((4,))
    return keras.Model(i, {"once": inner(i), "twice": layers.Dense(2)(inner(i))})


def quantized(mode: str) -> Any:
    model = functional()
    model.quantize(mode)
    return model


def with_lora(quantize: bool = False) -> Any:
    model = functional()
    model.get_layer("h").enable_lora(2)
    if quantize:
        model.quantize("int8")
    return model


def mixed() -> Any:
    i = keras.Input((4,))
    return keras.Model(i, layers.Dense(1, dtype="mixed_bfloat16")(i))


MODELS: dict[str, tuple[Any, Any]] = {
    "functional": (functional, X),
    "sequential": (lambda: keras.Sequential([keras.Input((4,)), layers.Dense(1)]), X),
    "sequential without Input": (lambda: built(keras.Sequential([layers.Dense(3), layers.Dense(1)])), X),
    "sequential of models": (lambda: keras.Sequential([functional(), layers.Dense(1)]), X),
    "nested": (nested, X),
    "subclassed": (lambda: built(Subclassed(5)), X),
    "two inputs in a list": (lambda: built(Pair(), [X, X]), [X, X]),
    "shared layer, inputs by name": (shared, {"a": X, "b": X}),
    "own train_step": (lambda: functional(OwnStep), X),
    "add_loss": (lambda: functional(between=Adding()), X),
    "int8": (lambda: quantized("int8"), X),
    "float8": (lambda: quantized("float8"), X),
    "LoRA": (with_lora, X),
    "LoRA and int8": (lambda: with_lora(True), X),
    "mixed precision": (mixed, X),
}


def specs(spec: ModelSpec) -> Any:
    return spec.kind, spec.outputs, spec.output_names, spec.inputs, spec.activations, spec.masks, spec.overridden


@pytest.mark.parametrize("name", MODELS)
def test_a_file_without_its_weights_is_described_as_the_live_model(name: str, tmp_path: Path) -> None:
    build, x = MODELS[name]
    model, path = build(), str(tmp_path / "m.keras")
    model.save(path)
    held = hold_batch((x,), "here").x
    # Numbered names (dense_1) differ between the two; outputs' names of a functional model are such names.
    weightless = describe(rebuild(read_model_config(path), {}, False), "m", held, N)
    live, loaded = describe(model, "m", held, N), describe(keras.saving.load_model(path), "m", held, N)
    assert specs(weightless) == specs(loaded)
    assert (weightless.kind, weightless.activations) == (live.kind, live.activations)
    called = model(keras.tree.map_structure(ops.convert_to_tensor, x))
    for found in (live, weightless):
        assert keras.tree.map_structure(lambda s: s.shape, found.outputs) == keras.tree.map_structure(
            lambda t: tuple(t.shape), called
        ), name


def notes(model: Any, batch: Any = (X, Y)) -> tuple[Any, str]:
    report = lossdoctor.check(model, batch, repairs=False)
    return report, "\n".join(report.data.checks.notes)


def compiled(model: Any, **given: Any) -> Any:
    model.compile(optimizer="sgd", loss="mse", **given)
    return model


def test_the_report_says_what_layers_add_to_the_loss() -> None:
    model = compiled(functional(between=Adding()))
    model.get_layer("h").kernel_regularizer = keras.regularizers.L2()
    report, said = notes(model)
    assert report.data.verdict == "clean"
    assert "what layers add to the loss (add_loss in Adding; regularizers of 1 layer)" in said
    assert "what layers add" not in notes(compiled(functional(OwnStep)))[1]


def test_the_report_says_what_of_an_own_step_uses_the_compiled_losses() -> None:
    report, said = notes(compiled(functional(OwnStep)))
    assert (
        "the model's own train_step(): it was run up to its super().train_step(), which it hands y and sample_weight as"
        in said
    )
    assert "gives Keras's own the batch's y and sample_weight as they are" in report.findings[0].message
    (found,) = report.findings
    assert found.code == "LD951" and found.evidence["calls"] == {"train_step": ["super().train_step()"]}
    report, said = notes(compiled(functional(OwnLoss)))
    assert "compute_loss(): it uses none of the compiled losses, so they were not run" in said
    assert "own compute_loss: it uses none of the compiled losses" in report.findings[0].message


EAGER = """
import keras
from keras import layers, ops

class Eager(keras.Model):
    def __init__(self, **rest):
        super().__init__(**rest)
        self.out = layers.Dense(1)

    def call(self, x):
        return self.out(x) if float(ops.max(x)) > 0 else self.out(-x)
"""


def test_a_model_that_cannot_be_traced_is_called_on_the_batch(tmp_path: Path) -> None:
    for model in (Eager(), built(Eager())):
        was_built = model.built
        report, said = notes(compiled(model, run_eagerly=True))
        assert report.data.verdict == "clean" and [p.output_shape for p in report.pairs] == [(N, 1)]
        assert "a symbolic trace of the model: its call() needs real values (" in said and "run_eagerly=True" in said
        assert model.built is was_built
        assert [w.shape for w in model.weights] == ([(4, 1), (1,)] if was_built else [])
    # The note is true: a compiled step traces the call as well.
    with pytest.raises(Exception, match=r"float|Unable to automatically build"):
        compiled(built(Eager())).fit(X, Y, verbose=0)
    if ON_TENSORFLOW:
        compiled(built(Eager()), run_eagerly=True).fit(X, Y, verbose=0)
    # A file: loaded with its weights, and called.
    model.save(tmp_path / "m.keras")
    (tmp_path / "eager_model.py").write_text(EAGER)
    lossdoctor.save_batch(tmp_path / "b.npz", X, Y)
    report = examine(
        str(tmp_path / "m.keras"), str(tmp_path / "b.npz"), objects=[str(tmp_path / "eager_model.py")], loss="mse"
    )
    assert report.verdict == "clean" and any("a symbolic trace" in note for note in report.checks.notes)


def test_a_call_that_raises_says_what_it_raised() -> None:
    with pytest.raises(
        CaseError, match=r"cannot be called on the batch's x \(.*(incompatible|shape|Matrix size)"
    ) as raised:
        lossdoctor.check(compiled(built(Eager())), (X[:, :3], Y))
    assert "Exception encountered" not in str(raised.value) and "\n" not in str(raised.value)


def test_a_class_without_get_config_wants_to_be_called_first() -> None:
    model = compiled(NoConfig(layers.Dense(1)))
    with pytest.raises(CaseError, match=r"cannot be made again from get_config\(\) .*; call the model once on x"):
        lossdoctor.check(model, (X, Y))
    assert notes(built(model))[0].data.verdict == "clean"


@pytest.mark.skipif(not ON_TENSORFLOW, reason="TFSMLayer is TensorFlow's")
def test_a_tfsm_layer_is_stored_code(tmp_path: Path) -> None:
    functional().export(tmp_path / "saved", verbose=False)
    with pytest.raises(CaseError, match=r"saved is a SavedModel folder, which Keras 3 cannot make a model of again"):
        examine(str(tmp_path / "saved"), str(tmp_path / "b.npz"))
    i = keras.Input((4,))
    layer = keras.layers.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serve")
    model = compiled(keras.Model(i, layers.Dense(1)(layer(i))))
    report, _ = notes(model)
    assert report.data.verdict == "clean" and [p.output_shape for p in report.pairs] == [(N, 1)]
    model.save(tmp_path / "m.keras")
    lossdoctor.save_batch(tmp_path / "b.npz", X, Y)
    with pytest.raises(CaseError, match=r"m\.keras: .*'TFSMLayer'.*--unsafe"):
        examine(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))
    assert examine(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"), unsafe=True).verdict == "clean"


def test_a_model_of_a_package_that_is_not_installed_names_it(tmp_path: Path) -> None:
    config = {"module": "keras_nlp.src.models", "class_name": "Bert", "config": {}, "registered_name": "keras_nlp>Bert"}
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    lossdoctor.save_batch(tmp_path / "b.npz", X, Y)
    with pytest.raises(
        CaseError, match=r"m\.keras: it uses 'Bert' of keras_nlp, which is not installed; install keras-nlp"
    ):
        examine(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))


def test_small_logits_of_an_untrained_model_are_no_mistake() -> None:
    small = np.asarray(RANDOM.uniform(-0.1, 0.1, size=(N, 3)), "float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    report = lossdoctor.check(outputs=small, batch=(None, np.arange(N) % 3), loss=loss, repairs=False)
    assert [f.code for f in report.findings if f.severity != "info"] == []


def test_check_takes_the_files_that_the_command_takes(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile("sgd", loss="mse")
    model.save(tmp_path / "m.keras")
    lossdoctor.save_batch(tmp_path / "b.npz", X, Y)
    told = examine(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))
    for given in (tmp_path / "m.keras", str(tmp_path / "m.keras"), model):
        for batch in (tmp_path / "b.npz", str(tmp_path / "b.npz"), (X, Y)):
            report = lossdoctor.check(given, batch).data
            assert report.pairs == told.pairs and report.outcomes == told.outcomes
    other = lossdoctor.check(tmp_path / "m.keras", tmp_path / "b.npz", loss="mae").data
    assert [pair.loss for pair in other.pairs] == ["mean_absolute_error"]
    whole = lossdoctor.check(tmp_path / "m.keras", (X, Y), forward=True).data
    assert whole.outcomes["fit"].loss == pytest.approx(float(model.evaluate(X, Y, batch_size=N, verbose=0)), rel=1e-5)


@pytest.mark.parametrize("name", ["sequential", "nested", "subclassed"])
def test_a_model_saved_as_a_folder_is_that_of_its_file(name: str, tmp_path: Path) -> None:
    build, x = MODELS[name]
    model, batch = compiled(build()), str(tmp_path / "b.npz")
    y = keras.tree.map_structure(lambda output: np.ones(output.shape, "float32"), model(x))
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "folder", zipped=False)
    lossdoctor.save_batch(batch, x, y)
    for forward in (False, True):
        file, folder = (
            examine(str(tmp_path / source), batch, forward=forward, repairs=False) for source in ("m.keras", "folder")
        )
        assert folder.pairs == file.pairs and folder.outcomes == file.outcomes
    whole = model.evaluate(x, y, batch_size=N, verbose=0, return_dict=True)["loss"]
    assert folder.outcomes["fit"].loss == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("gone.keras", r"there is no model file gone\.keras"),
        (lambda x: x, "model is a function, not a Keras model; give the model, or its file's path"),
        (keras.losses.MeanSquaredError(), "model is a MeanSquaredError, not a Keras model"),
    ],
)
def test_check_names_what_is_no_model(model: Any, sentence: str) -> None:
    with pytest.raises(CaseError, match=sentence):
        lossdoctor.check(model, (X, Y))


def test_another_loss_takes_the_place_of_one_that_is_not_known(tmp_path: Path) -> None:
    def own(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile("sgd", loss=own)
    model.save(tmp_path / "m.keras")
    with pytest.raises(CaseError, match="the compiled loss"):
        lossdoctor.check(tmp_path / "m.keras", (X, Y))
    assert lossdoctor.check(tmp_path / "m.keras", (X, Y), loss=own).ok
