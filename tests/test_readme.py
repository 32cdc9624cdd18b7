"""README shows what the tool prints today, and its code runs."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lossdoctor
from tests import readme


def test_shown_output_is_current() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert "LD203" in text.split("<!-- output")[1]
    assert readme.refreshed(text) == text


def test_the_python_of_readme_runs(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    i = keras.Input((4,))
    model = keras.Model(i, {"z": layers.Dense(1)(i), "a": layers.Dense(1)(i)})
    model.compile(loss="mse")
    z, a = np.ones((8, 1)), np.zeros((8, 1))
    names: dict[str, Any] = {"model": model, "x": np.ones((8, 4)), "y": {"z": z, "a": a}, "z": z, "a": a}
    names |= {"y_first_32_rows": names["y"], "lossdoctor": lossdoctor}
    blocks = re.findall(r"```python\n(.*?)```", readme.README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks[:3]:
        exec(block, names)
    detection = {"bbox": layers.Dense(4)(i), "confidence": layers.Dense(1, "sigmoid")(i)}
    nested = keras.Model(i, {"detection": detection, "label": layers.Dense(3, "softmax")(i)})
    exec(blocks[3], {**names, "model": nested, "whole": lambda y, p: keras.ops.mean(p["bbox"], axis=-1)})
    assert nested.compiled
    assert (tmp_path / "batch.npz").exists() and names["report"].ok


def test_every_rule_that_readme_names_exists() -> None:
    from lossdoctor.rules import RULES

    named = set(re.findall(r"LD\d{3}", readme.README.read_text(encoding="utf-8")))
    assert named <= {rule.code for rule in RULES} and len(named) >= 8
