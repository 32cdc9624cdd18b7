"""Models of KerasHub: loaded without weights as a full load gives them, and preprocessed as their own `fit` does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import lossdoctor
from lossdoctor.case.archive import read_model_config
from lossdoctor.case.batch import hold_batch
from lossdoctor.case.load import load_case
from lossdoctor.case.model import describe, rebuild
from lossdoctor.doctor import examine
from lossdoctor.types import CaseError

hub = pytest.importorskip("keras_hub")
models = hub.models

ROWS, STEPS, CLASSES = 4, 12, 3
RANDOM = np.random.default_rng(0)
NARROW = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
TEXT = {**NARROW, "vocabulary_size": 50, "max_sequence_length": STEPS}
GROUPED = {
    "vocabulary_size": 50,
    "num_layers": 1,
    "num_query_heads": 2,
    "num_key_value_heads": 1,
    "hidden_dim": 8,
    "intermediate_dim": 16,
}
IMAGE = {"image_shape": (32, 32, 3)}
MADE: dict[str, Callable[[], Any]] = {
    "BertBackbone": lambda: models.BertBackbone(**TEXT),
    "BertTextClassifier": lambda: models.BertTextClassifier(models.BertBackbone(**TEXT), CLASSES),
    "BertMaskedLM": lambda: models.BertMaskedLM(models.BertBackbone(**TEXT), preprocessor=None),
    "CLIPBackbone": lambda: models.CLIPBackbone(
        vision_encoder=models.CLIPVisionEncoder(patch_size=8, image_shape=(16, 16, 3), **NARROW),
        text_encoder=models.CLIPTextEncoder(embedding_dim=8, **TEXT),
        projection_dim=8,
    ),
    "DebertaV3TextClassifier": lambda: models.DebertaV3TextClassifier(models.DebertaV3Backbone(**TEXT), CLASSES),
    "DenseNetImageClassifier": lambda: models.DenseNetImageClassifier(
        models.DenseNetBackbone(stackwise_num_repeats=[1, 1], **IMAGE), CLASSES
    ),
    "GPT2CausalLM": lambda: models.GPT2CausalLM(models.GPT2Backbone(**TEXT)),
    "GemmaCausalLM": lambda: models.GemmaCausalLM(models.GemmaBackbone(head_dim=4, **GROUPED)),
    "Llama3CausalLM": lambda: models.Llama3CausalLM(models.Llama3Backbone(**GROUPED)),
    "T5Backbone": lambda: models.T5Backbone(vocabulary_size=50, **NARROW),
    "VGGImageClassifier": lambda: models.VGGImageClassifier(
        models.VGGBackbone(stackwise_num_repeats=[1, 1], stackwise_num_filters=[4, 4], **IMAGE), CLASSES
    ),
    "ViTImageClassifier": lambda: models.ViTImageClassifier(
        models.ViTBackbone(image_shape=(16, 16, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16),
        CLASSES,
    ),
    "WhisperBackbone": lambda: models.WhisperBackbone(vocabulary_size=50, **NARROW),
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "good", "bad"]
TEXTS, LABELS = np.array(["a good b", "a bad b", "good", "bad bad"]), np.array([0, 1, 2, 1])


def feed(model: Any) -> dict[str, np.ndarray] | np.ndarray:
    """An x that the model takes: ones, with `STEPS` where a size is open."""

    def one(tensor: Any) -> np.ndarray:
        shape = (ROWS, *(STEPS if d is None else d for d in tensor.shape[1:]))
        return np.ones(shape, keras.backend.standardize_dtype(tensor.dtype))

    return keras.tree.map_structure(one, model.input)


def unnumbered(name: str) -> str:
    """A layer's name without the number that Keras gives to those made without one."""
    return re.sub(r"_\d+$", "", name)


def inputs_of(spec: Any) -> Any:
    """The model's inputs, whose names may be numbers."""
    return keras.tree.map_structure(lambda i: (unnumbered(i.name), i.shape, i.dtype), spec.inputs)


def y_for(outputs: Any) -> Any:
    """Numbers in the shapes of the outputs."""
    return keras.tree.map_structure(lambda spec: RANDOM.normal(size=spec.shape).astype("float32"), outputs)


@pytest.mark.parametrize("name", MADE)
def test_a_model_is_loaded_without_its_weights(name: str, tmp_path: Path) -> None:
    model = MADE[name]()
    x, path = feed(model), str(tmp_path / "m.keras")
    if not model.compiled:
        model.compile("sgd", loss="mse")
    model.save(path)
    weightless = rebuild(read_model_config(path), {}, False)
    assert [v.path for v in weightless.weights if v._value is not None and "seed" not in v.path] == []
    whole = keras.saving.load_model(path)
    assert [(type(a), unnumbered(a.name)) for a in weightless.layers] == [
        (type(b), unnumbered(b.name)) for b in whole.layers
    ]
    held = hold_batch((x,), "here").x
    told, full = describe(weightless, "m", held, ROWS), describe(whole, "m", held, ROWS)
    assert (told.outputs, told.output_names) == (full.outputs, full.output_names)
    assert inputs_of(told) == inputs_of(full)
    assert (told.activations, told.masks) == (full.activations, full.masks)
    predicted = whole(x, training=False)
    assert keras.tree.map_structure(lambda s: s.shape, told.outputs) == keras.tree.map_structure(
        lambda t: tuple(t.shape), predicted
    )

    # What the model was compiled with by itself, or "mse", takes its targets, and `fit` of the loaded model says the same.
    sparse = not isinstance(told.outputs, dict)
    y = np.ones(told.outputs.shape[:-1], "int32") if sparse else y_for(told.outputs)
    lossdoctor.save_batch(tmp_path / "b.npz", x, y)
    report = examine(path, str(tmp_path / "b.npz"), repairs=False)
    assert [f.code for f in report.findings if f.severity == "error"] == []
    history = whole.fit(x, y, batch_size=ROWS, verbose=0).history
    assert np.isfinite(history["loss"][0]) and report.outcomes["fit"].status == "ok"
    assert [p.loss for p in report.pairs] == (
        ["sparse_categorical_crossentropy"] if sparse else ["mean_squared_error"] * len(y)
    )


def test_targets_of_a_backbone_in_the_wrong_order_are_told(tmp_path: Path) -> None:
    model = models.BertBackbone(**TEXT)
    model.compile("sgd", loss={"sequence_output": "mse", "pooled_output": "mse"})
    model.save(tmp_path / "m.keras")
    x = feed(model)
    y = [np.ones((ROWS, STEPS, 8), "float32"), np.ones((ROWS, 8), "float32")]  # as the outputs are written
    lossdoctor.save_batch(tmp_path / "b.npz", x, y)
    with pytest.raises(ValueError):
        model.fit(x, y, batch_size=ROWS, verbose=0)
    report = examine(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))
    # Keras goes through the outputs' dict by sorted key: the steps' targets meet the pooled output.
    (finding,) = [f for f in report.findings if f.severity == "error"]
    assert finding.code == "LD203" and finding.fixes[0].verified
    model.compile(
        "sgd", loss={"sequence_output": "mse", "pooled_output": "mse"}
    )  # a failed first step leaves it half built
    fixed = {"sequence_output": y[0], "pooled_output": y[1]}
    assert np.isfinite(model.fit(x, fixed, batch_size=ROWS, verbose=0).history["loss"][0])


def task() -> Any:
    """A classifier that preprocesses texts itself."""
    tokenizer = models.BertTokenizer(vocabulary=WORDS)
    preprocessor = models.BertTextClassifierPreprocessor(tokenizer, sequence_length=STEPS)
    backbone = models.BertBackbone(**{**TEXT, "vocabulary_size": len(WORDS)})
    return models.BertTextClassifier(backbone, CLASSES, preprocessor=preprocessor)


def test_a_task_is_given_texts_as_its_fit_is(tmp_path: Path) -> None:
    model = task()
    model.save(tmp_path / "m.keras")
    assert np.isfinite(model.fit(TEXTS, LABELS, batch_size=ROWS, verbose=0).history["loss"][0])
    live = lossdoctor.check(model, (TEXTS, LABELS))
    assert live.data.verdict == "clean" and live.data.outcomes["fit"].status == "ok"
    np.savez(tmp_path / "b.npz", x=TEXTS, y=LABELS)
    for texts in (str(tmp_path / "b.npz"), _as_bytes(tmp_path)):
        case = load_case(str(tmp_path / "m.keras"), texts)
        wanted = model.preprocessor(list(TEXTS))
        assert {k: v.rows(ROWS).tolist() for k, v in case.batch.x.items()} == {
            k: np.asarray(v).tolist() for k, v in wanted.items()
        }
    report = examine(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))
    assert report.verdict == "clean"
    assert any("BertTextClassifierPreprocessor first" in note for note in report.checks.notes)


def _as_bytes(folder: Path) -> str:
    np.savez(folder / "bytes.npz", x=TEXTS.astype("S"), y=LABELS)
    return str(folder / "bytes.npz")


def test_labels_that_the_preprocessor_hands_on_are_examined() -> None:
    model = task()
    report = lossdoctor.check(model, (TEXTS, LABELS + 1), repairs=False)  # class 3 of 3
    assert [f.code for f in report.findings if f.severity == "error"] == ["LD702"]
    assert lossdoctor.check(model, (TEXTS, LABELS[:, None]), repairs=False).data.verdict == "clean"


def test_arrays_that_are_preprocessed_already_raise_in_the_preprocessor() -> None:
    model = task()
    x = {key: np.asarray(value) for key, value in model.preprocessor(list(TEXTS)).items()}
    with pytest.raises(Exception, match="BertTokenizer"):
        model.fit(x, LABELS, batch_size=ROWS, verbose=0)
    report = lossdoctor.check(model, (x, LABELS))
    assert report.data.outcomes["fit"].status == "raises"
    (finding,) = [f for f in report.findings if f.severity == "error"]
    assert finding.code == "LD902" and "BertTextClassifierPreprocessor first" in finding.message
    model.preprocessor = None  # the finding's own advice
    assert np.isfinite(model.fit(x, LABELS, batch_size=ROWS, verbose=0).history["loss"][0])
    assert lossdoctor.check(model, (x, LABELS)).data.verdict == "clean"


def test_the_targets_that_a_preprocessor_makes_are_examined() -> None:
    tokenizer = models.GPT2Tokenizer(
        vocabulary={"<|endoftext|>": 0, "a": 1, "b": 2, "Ġ": 3, "Ġa": 4, "Ġb": 5}, merges=["Ġ a", "Ġ b"]
    )
    preprocessor = models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=STEPS)
    model = models.GPT2CausalLM(models.GPT2Backbone(**TEXT), preprocessor=preprocessor)
    texts = np.array(["a b a", "b a", "a", "b"])
    assert np.isfinite(model.fit(texts, batch_size=ROWS, verbose=0).history["loss"][0])
    report = lossdoctor.check(model, (texts,))
    (pair,) = report.data.pairs
    assert report.data.verdict == "clean" and (pair.target_shape, pair.output_shape) == (
        (ROWS, STEPS),
        (ROWS, STEPS, 50),
    )


def test_a_process_without_keras_hub_loads_it_for_the_file(tmp_path: Path) -> None:
    task().save(tmp_path / "m.keras")
    np.savez(tmp_path / "b.npz", x=TEXTS, y=LABELS)
    done = subprocess.run(
        [sys.executable, "-m", "lossdoctor", "check", "--no-cache", "m.keras", "b.npz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing wrong found." in done.stdout


def test_a_task_saved_as_a_folder_reads_its_vocabulary(tmp_path: Path) -> None:
    task().save(tmp_path / "task", zipped=False)
    np.savez(tmp_path / "b.npz", x=TEXTS, y=LABELS)
    report = lossdoctor.check(tmp_path / "task", tmp_path / "b.npz")
    assert report.data.verdict == "clean" and report.data.pairs[0].output_shape == (ROWS, 3)
    vocabulary = tmp_path / "task" / "assets" / "preprocessor" / "tokenizer" / "vocabulary.txt"
    vocabulary.unlink()
    vocabulary.symlink_to("/dev/zero")
    with pytest.raises(CaseError, match=r"vocabulary\.txt is not a regular file; save the model again\."):
        lossdoctor.check(tmp_path / "task", tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("argument", "value"),
    [("vocabulary", "/etc/hostname"), ("merges", "/etc/hostname"), ("proto", "/etc/hostname")],
)
def test_a_tokenizer_that_names_a_file_is_refused(argument: str, value: str, tmp_path: Path) -> None:
    task().save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as source, zipfile.ZipFile(tmp_path / "m.keras", "w") as target:
        config = json.loads(source.read("config.json"))
        config["config"]["preprocessor"]["config"]["tokenizer"]["config"][argument] = value
        target.writestr("config.json", json.dumps(config))
    np.savez(tmp_path / "b.npz", x=TEXTS, y=LABELS)
    with pytest.raises(CaseError, match=r"would read '/etc/hostname' when the layer is made"):
        load_case(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))


def test_a_vocabulary_that_leads_out_of_the_file_is_not_unpacked(tmp_path: Path) -> None:
    task().save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras", "a") as archive:
        archive.writestr("assets/preprocessor/tokenizer/../../../../escaped.txt", "out")
    np.savez(tmp_path / "b.npz", x=TEXTS, y=LABELS)
    with pytest.raises(CaseError, match="leads out of the file"):
        load_case(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))


def test_a_damaged_vocabulary_is_one_sentence(tmp_path: Path) -> None:
    task().save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as source, zipfile.ZipFile(tmp_path / "m.keras", "w") as target:
        for info in source.infolist():
            text = source.read(info)
            target.writestr(info, b"no words" if info.filename.endswith("vocabulary.txt") else text)
    np.savez(tmp_path / "b.npz", x=TEXTS, y=LABELS)
    with pytest.raises(CaseError, match=r"assets/preprocessor/tokenizer cannot be read \(.*; save the model again\."):
        load_case(str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))
