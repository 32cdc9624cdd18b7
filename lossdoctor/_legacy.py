"""Keras's own reader of legacy HDF5 configs, without the weights (`legacy_h5_format.load_model_from_hdf5`).

Private names used, all present from Keras 3.4 to 3.15: `keras.src.legacy.saving.{json_utils, saving_options, saving_utils}`,
`keras.src.saving.serialization_lib.SafeModeScope`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import keras
from keras.src.legacy.saving import json_utils, saving_options, saving_utils
from keras.src.saving import serialization_lib

from lossdoctor._keras import weightless


def deserialize_model(config: Mapping[str, Any], objects: Mapping[str, Any], unsafe: bool) -> Any:
    """The model of a file's `model_config`, without its weights and uncompiled. Raises what Keras raises."""
    known = {**objects, **keras.saving.get_custom_objects()}
    legacy = saving_options.keras_option_scope(use_legacy_config=True)
    with weightless(), legacy, serialization_lib.SafeModeScope(not unsafe):
        return saving_utils.model_from_config(_decoded(config), custom_objects=known)


def deserialize_argument(name: str, value: Any, objects: Mapping[str, Any]) -> Any:
    """One argument of a file's `training_config` as Keras would hand it to compile. Raises what Keras raises.

    Names that compile itself takes stay names: Keras knows fewer of them when it reads a file ("mse" is none).
    """
    if name != "loss_weights" and _names(value, keras.losses if name == "loss" else keras.metrics, objects):
        return value
    alone = {"optimizer_config": {"class_name": "SGD", "config": {}}, "loss_weights": None, name: _decoded(value)}
    return saving_utils.compile_args_from_training_config(alone, dict(objects))[name]


def _names(value: Any, home: Any, objects: Mapping[str, Any]) -> bool:
    """True for a tree of names that Keras knows, none of them the user's own."""
    for leaf in keras.tree.flatten(value):
        if leaf is None:
            continue
        if not isinstance(leaf, str) or keras.saving.get_registered_object(leaf, custom_objects=dict(objects)):
            return False
        try:
            home.get(leaf)
        except ValueError:
            if leaf not in ("accuracy", "acc", "crossentropy", "ce"):
                return False
    return True


def _decoded(value: Any) -> Any:
    """JSON as Keras reads it, with the tuples that it writes as objects; a copy, since Keras takes entries out of it."""
    return json_utils.decode(json.dumps(value))
