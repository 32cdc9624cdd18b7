"""Runs patch files in a process of its own: `python run_patches.py FOLDER`, where case_N.py and patch_N.py lie side by side.

Prints JSON: for each N what `train_on_batch` returned on the patched model, the declared objective of the patched case
computed output by output from the real predictions, and the errors that lossdoctor still finds.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np


def objective(loss: Any, y: Any, y_pred: Any, weight: Any, sample_weight: Any, names: Any) -> float:
    """The sum of weight times loss, by the same name or place; written independently of lossdoctor."""
    if loss is None:
        return 0.0
    if isinstance(loss, list) and isinstance(y_pred, list) and len(loss) != len(y_pred):
        raise LookupError("a flat list for nested outputs")
    if isinstance(loss, dict) or (isinstance(loss, list) and isinstance(y_pred, list)):
        items = loss.items() if isinstance(loss, dict) else enumerate(loss)
        return sum(
            objective(
                part,
                _at(y, k, names),
                _at(y_pred, k, names),
                _at(weight, k, names),
                _at(sample_weight, k, names),
                None,
            )
            for k, part in items
        )
    if isinstance(loss, list):
        raise LookupError("two levels of losses")
    if isinstance(y_pred, dict | list | tuple) and names is not None:  # one loss for all outputs, at the top
        keys = y_pred if isinstance(y_pred, dict) else range(len(y_pred))
        return sum(
            objective(
                loss, _at(y, k, names), _at(y_pred, k, names), _at(weight, k, names), _at(sample_weight, k, names), ()
            )
            for k in keys
        )
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if not isinstance(loss, keras.losses.Loss):
        loss = _Function(loss)
    value = loss(keras.tree.map_structure(keras.ops.convert_to_tensor, y), y_pred, sample_weight=sample_weight)
    return float(value) * (1.0 if weight is None else float(weight))


class _Function(keras.losses.Loss):
    """What Keras makes of a function: the mean of its values, arguments squeezed to one rank."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        from keras.src.losses.losses import LossFunctionWrapper

        return LossFunctionWrapper(self.function, reduction=None).call(y_true, y_pred)


def _at(tree: Any, key: Any, names: Any) -> Any:
    if tree is None or not isinstance(tree, dict | list | tuple):
        return tree  # None, or one array of weights for all
    if isinstance(tree, dict):
        return tree[key]
    return tree[key if isinstance(key, int) else list(names).index(key)]


def run(number: int) -> dict[str, Any]:
    """One case with its patch."""
    case, patch = importlib.import_module(f"case_{number}"), importlib.import_module(f"patch_{number}")
    model, x, y = case.model, case.x, case.y
    weights = getattr(case, "sample_weight", None)
    if hasattr(patch, "adapt_model"):
        model = patch.adapt_model(model)
    if hasattr(patch, "compile_model"):
        model = patch.compile_model(model)
    if hasattr(patch, "adapt_batch"):
        x, y, weights = patch.adapt_batch(x, y, weights)
    tensors = keras.tree.map_structure(lambda leaf: None if leaf is None else keras.ops.convert_to_tensor(leaf), x)
    predicted = model(tensors, training=False)
    config = model._compile_config.config
    names = getattr(model, "output_names", None)
    try:
        expected: float | None = objective(
            config["loss"], y, predicted, config.get("loss_weights"), weights, names or ()
        )
    except LookupError:
        expected = None
    import lossdoctor

    batch = (x, y) if weights is None else (x, y, weights)
    report = lossdoctor.check(model, batch, repairs=False)
    result = model.train_on_batch(x, y, sample_weight=weights)
    logged = float(np.asarray(result[0] if isinstance(result, list | tuple) else result))
    return {
        "logged": logged,
        "expected": expected,
        "errors": [f"{f.code} {f.message}" for f in report.findings if f.severity == "error"],
    }


def main() -> None:
    """Every case of the folder."""
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder))
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("patch_*.py")):
        number = int(path.stem.split("_")[1])
        try:
            found[str(number)] = run(number)
        except Exception as error:  # told to the test
            found[str(number)] = {"failed": f"{type(error).__name__}: {error}"}
    Path(folder / "result.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
