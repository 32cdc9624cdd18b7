"""What a config may name: all that models are made of, and nothing else that Keras exports."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import keras
import pytest

from lossdoctor.case.allowed import refused
from lossdoctor.case.archive import named_objects

PARTS = ("activations", "constraints", "initializers", "layers", "losses", "metrics", "optimizers", "regularizers")
# They load files or call what a config names.
NOT_WITHOUT_TRUST = {"FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"}

# They call functions that a config names, again and again.
CONTROL = {
    *("associative_scan", "cond", "fori_loop", "map", "scan", "switch", "vectorize", "vectorized_map", "while_loop"),
}


def _public(module: ModuleType) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(module).items() if not name.startswith("_") and callable(value)]


def _config(module: str, name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, type):
        return {"module": module, "class_name": name, "config": {}, "registered_name": None}
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_a_model_is_taken(part: str) -> None:
    for name, value in _public(getattr(keras, part)):
        if name in ("get", "serialize", "deserialize"):
            continue
        if not hasattr(value, "from_config") and (part == "layers" or isinstance(value, type)):
            continue
        why = refused(named_objects(_config(f"keras.{part}", name, value)), {}, False)
        assert (why is not None) == (name in NOT_WITHOUT_TRUST), (name, why)
        assert refused(named_objects(_config(f"keras.{part}", name, value)), {}, True) is None


def test_operations_and_models_are_taken() -> None:
    operations = [(f"keras.ops.{n}", "keras.ops", n, v) for n, v in _public(keras.ops) if inspect.isfunction(v)]
    assert len(operations) > 200
    for _, module, name, value in operations:
        why = refused(named_objects(_config(module, name, value)), {}, False)
        assert (why is not None and "runs other functions" in why) == (name in CONTROL), (name, why)
        assert why is None or name in CONTROL, (name, why)
        assert refused(named_objects(_config(module, name, value)), {}, True) is None
    for module, name in (
        ("keras.src.ops.numpy", "Add"),
        ("keras.src.models.functional", "Functional"),
        ("keras", "Sequential"),
        ("keras", "Model"),
        ("keras", "DTypePolicy"),
        ("keras.optimizers.schedules", "ExponentialDecay"),
        ("keras.random", "SeedGenerator"),
    ):
        given = {
            "module": module,
            "class_name": name,
            "config": {},
            "registered_name": name if "src" in module else None,
        }
        assert refused(named_objects(given), {}, False) is None, name


@pytest.mark.parametrize("module", ["keras.layers", "keras.src.layers.preprocessing.string_lookup", "builtins"])
def test_a_layer_is_no_function(module: str) -> None:
    given = {"module": module, "class_name": "function", "config": "StringLookup", "registered_name": "function"}
    assert refused(named_objects(given), {}, False) is not None
    loss = {**given, "module": "keras.losses", "config": "MeanSquaredError"}
    assert refused(named_objects(loss), {}, False) is None


@pytest.mark.parametrize(
    "home", ["utils", "saving", "models", "config", "datasets", "callbacks", "applications", "export"]
)
def test_what_keras_exports_besides_is_refused(home: str) -> None:
    module = getattr(keras, home, None)
    if module is None:
        pytest.skip(f"this Keras has no keras.{home}")
    found = [(n, v) for n, v in _public(module) if not (isinstance(v, type) and issubclass(v, keras.Operation))]
    for name, value in found:
        if name in ("normalize", "to_categorical", "get_source_inputs"):
            continue
        why = refused(named_objects(_config(f"keras.{home}", name, value)), {}, False)
        # Classes of layers and policies are exported twice.
        assert why is not None or "from_config" in dir(value), name


def test_a_name_given_by_the_user_is_taken_by_the_name_that_keras_looks_up() -> None:
    class Mine(keras.layers.Layer):
        pass

    given = {"module": "os", "class_name": "Mine", "config": {}, "registered_name": "Mine"}
    assert refused(named_objects(given), {"Mine": Mine}, False) is None
    # Under this name Keras knows none, and older releases would import the module.
    assert refused(named_objects({**given, "registered_name": "popen"}), {"Mine": Mine}, False) is not None
