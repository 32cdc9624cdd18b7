"""What Keras raises, as a report says it: on one line, without what the backends put around it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import lossdoctor
from lossdoctor.near import with_tuples, without_node


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("target.shape=torch.Size([4, 3])", "target.shape=(4, 3)"),
        ("got torch.Size([4]) and torch.Size([])", "got (4,) and ()"),
        ("shape=(None, 3)", "shape=(None, 3)"),
    ],
)
def test_shapes_are_tuples_on_every_backend(text: str, said: str) -> None:
    assert with_tuples(text) == said


def test_tensorflow_s_node_is_left_out() -> None:
    text = "{{function_node __wrapped__Sub_device_/CPU:0}} Incompatible shapes: [4,5] vs. [4,3] [Op:Sub]"
    assert without_node(text) == "Incompatible shapes: [4,5] vs. [4,3]"


def test_a_real_error_names_shapes_as_tuples() -> None:
    i = keras.Input((4,))
    model = keras.Model(i, layers.Dense(3, activation="softmax")(i))
    model.compile(loss="categorical_crossentropy")
    report = lossdoctor.check(model, (np.ones((8, 4)), np.ones((8, 5))), repairs=False)
    error = str(report.data.outcomes["fit"].error)
    assert "5)" in error and "torch" not in error and "function_node" not in error
