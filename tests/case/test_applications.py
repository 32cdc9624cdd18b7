"""Models of `keras.applications`, loaded without their weights: what comes out is what a full load gives."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lossdoctor.case.archive import read_model_config
from lossdoctor.case.batch import hold_batch
from lossdoctor.case.model import describe, rebuild

ROWS = 2
# Name, the side of the smallest image that it takes, further arguments.
QUICK: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("MobileNet", 32, {"alpha": 0.25}),
    ("MobileNetV2", 32, {"alpha": 0.35}),
    ("MobileNetV3Small", 32, {"alpha": 0.75}),
)
SLOW: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("ConvNeXtTiny", 32, {}),
    ("DenseNet121", 32, {}),
    ("DenseNet169", 32, {}),
    ("EfficientNetB1", 32, {}),
    ("EfficientNetV2B0", 32, {}),
    ("EfficientNetV2B1", 32, {}),
    ("EfficientNetV2S", 32, {}),
    ("InceptionResNetV2", 75, {}),
    ("InceptionV3", 75, {}),
    ("MobileNetV3Large", 32, {"alpha": 0.75}),
    ("NASNetMobile", 32, {}),
    ("ResNet50", 32, {}),
    ("ResNet101", 32, {}),
    ("ResNet101V2", 32, {}),
    ("VGG16", 32, {}),
    ("VGG19", 32, {}),
    ("EfficientNetB0", 32, {}),
    ("ResNet50V2", 32, {}),
    ("Xception", 71, {}),
)
# These count their classes behind a Flatten or a dense layer of 4096 units: without it, the files stay small.
HEADLESS = ("VGG16", "VGG19")

_NUMBERED = re.compile(r"(?<=variable)_\d+|(?<=seed_generator)_\d+")


def variables(model: Any) -> list[tuple[Any, ...]]:
    """Of every variable the path, shape and dtype; variables without a name, and seeds, are numbered anew in every process."""
    return [(_NUMBERED.sub("", v.path), v.shape, v.dtype) for v in model.variables]


@pytest.mark.parametrize(
    ("name", "side", "arguments"),
    [
        *(pytest.param(*model, id=model[0]) for model in QUICK),
        *(pytest.param(*model, id=model[0], marks=pytest.mark.slow) for model in SLOW),
    ],
)
def test_a_weightless_load_has_the_outputs_of_a_full_load(
    name: str, side: int, arguments: dict[str, Any], tmp_path: Path
) -> None:
    top = {"include_top": False, "pooling": "avg"} if name in HEADLESS else {"classes": 7}
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(side, side, 3), **top, **arguments)
    model.save(tmp_path / "m.keras")
    del model
    x = hold_batch((np.zeros((ROWS, side, side, 3), "float32"),), "here").x
    weightless = rebuild(read_model_config(str(tmp_path / "m.keras")), {}, False)
    assert not any(v._value is not None for v in weightless.variables)  # nothing is allocated
    whole = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    assert [(type(a), a.name) for a in weightless.layers] == [(type(b), b.name) for b in whole.layers]
    assert variables(weightless) == variables(whole)
    told, full = describe(weightless, "m", x, ROWS), describe(whole, "m", x, ROWS)
    assert (told.outputs, told.output_names, told.inputs) == (full.outputs, full.output_names, full.inputs)
    assert (told.activations, told.activation_layers, told.masks) == (
        full.activations,
        full.activation_layers,
        full.masks,
    )
    predicted = whole(np.zeros((ROWS, side, side, 3), "float32"), training=False)
    assert (told.outputs.shape, told.outputs.dtype) == (
        tuple(predicted.shape),
        keras.backend.standardize_dtype(predicted.dtype),
    )
    del whole
    gc.collect()
