"""Which objects of a model file Keras may make: parts of models, of Keras's own or given by the user, and nothing else.

Older releases of Keras import whatever module a config names, and call functions that download, load or write; the
later ones refuse a list of them. Here it is the other way round: what is no part of a model is refused, on every release.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from lossdoctor.case.archive import SISTERS, Named
from lossdoctor.case.definitions import advice

_HOMES = ("activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers")
# Where Keras keeps the functions that compute on tensors and do nothing else.
_FUNCTIONS = ("activations", "constraints", "initializers", "losses", "metrics", "ops", "random", "regularizers")
_CLASSES = (
    *_FUNCTIONS,
    "applications",  # layers of ConvNeXt and InceptionResNetV2
    "distillation",
    "dtype_policies",
    "layers",
    "models",
    "optimizers",
    "quantizers",
    "trainers",
)
# `TFSMLayer` (export), `TorchModuleWrapper`, `FlaxLayer` and `JaxLayer` (utils) stand in none of these: they load or call what a
# config names.
_PURE = ("keras.utils.normalize", "keras.utils.to_categorical")
_NO_FUNCTIONS = ("get", "serialize", "deserialize")
# What may be named as a function is, and is a class; one of layers would be made of what a Lambda is given, a file's name among it.
_CLASSES_AS_FUNCTIONS = ("constraints", "initializers", "losses", "metrics", "regularizers")
# They call what they are given again and again, at once where it is no tensor of the model (keras/src/ops/core.py, numpy.py).
_CONTROL = (
    *("associative_scan", "cond", "fori_loop", "map", "scan", "switch", "vectorize", "vectorized_map", "while_loop"),
    *("AssociativeScan", "Cond", "ForiLoop", "Map", "Scan", "Switch", "VectorizedMap", "WhileLoop"),
)

_TRUST = "pass --unsafe if you trust the file (see `lossdoctor rule LD953`)."


def refused(named: Iterable[Named], objects: Mapping[str, Any], unsafe: bool, path: str = "") -> str | None:
    """Why these objects of a config may not be made, or None. `objects` are the user's own; `unsafe` trusts the file.

    `path` is the file's, beside which a definition is looked for.
    """
    seen: set[tuple[Any, ...]] = set()
    for found in named:
        # A file may name one class a million times.
        key = (found.module, found.name, found.registered, found.function, found.stored_code, found.special)
        if key in seen and not (found.reads or found.computes):
            continue
        seen.add(key)
        reason = _refused(found, objects, unsafe, path)
        if reason:
            return reason
    return None


def _refused(found: Named, objects: Mapping[str, Any], unsafe: bool, path: str) -> str | None:
    reason = _unknown(found, objects, unsafe, path)
    if reason is None and found.computes and not unsafe:
        return (
            f"{found.path} calls {found.name[:100]!r} on no tensor of the model, which Keras writes of no model: it would be run when the "
            f"file is loaded; {_TRUST}"
        )
    return reason


def _unknown(found: Named, objects: Mapping[str, Any], unsafe: bool, path: str) -> str | None:
    """Why the object itself may not be made."""
    if found.stored_code:
        return None if unsafe else "it holds stored Lambda code, which is not run; pass --unsafe if you trust the file."
    if found.reads and not unsafe:
        return f"{found.path} would read {found.reads[:200]!r} when the layer is made; save the model with its vocabulary, or {_TRUST}"
    if found.special or _is_registered(found, objects):
        return None
    top = found.module.split(".")[0]
    if top not in ("", "keras", *SISTERS) and not (found.function and found.module == "builtins"):
        return _foreign(found, path, objects)
    if found.module == "builtins":
        return None if any(_is_part(f"keras.{home}", found) for home in _HOMES) else _foreign(found, path, objects)
    if top in SISTERS and find_spec(top) is None:
        return f"it uses {found.name[:100]!r} of {top}, which is not installed; install {top.replace('_', '-')} and try again."
    if unsafe:
        return None
    if _is_control(found):
        return (
            f"it uses {found.name[:100]!r} of the module {found.module[:100]!r}, which runs other functions, and may run them without an end "
            f"when the file is loaded; {_TRUST}"
        )
    if _is_part(found.module, found):
        return None
    if found.function and _is_class(_symbol(found.module, found.name)):
        return (
            f"it calls the class {found.name[:100]!r} of the module {found.module[:100]!r} as a function, which makes it of whatever the file "
            f"gives it; {_TRUST}"
        )
    if (
        not found.module and ">" in found.registered
    ):  # saved by a script that was run: Keras keeps the registered name alone
        return _foreign(found, path, objects)
    return (
        f"it uses {found.name[:100]!r} of the module {found.module[:100]!r}, which is no layer, loss or other part of a model "
        f"that the installed Keras has, and may do anything; {_TRUST}"
    )


def _foreign(found: Named, path: str, objects: Mapping[str, Any]) -> str:
    home = f" of the module {found.module[:100]!r}" if found.module not in ("", "builtins") else ""
    todo = advice(found.name, path, found.module)
    if objects and todo.startswith("pass the file"):
        todo = "the --objects have none of that name at their top level, where it has to stand"
    return f"it uses {found.name[:100]!r}{home}, which is neither Keras's nor registered; {todo}."


def _is_registered(found: Named, objects: Mapping[str, Any]) -> bool:
    """True where Keras takes a registered object or one of the user's, by the one name under which it looks it up."""
    value = _registered(found.name if found.function else found.registered, objects)
    return value is not None and not (found.function and isinstance(value, type) and _home(value)[0] in SISTERS)


def _is_control(found: Named) -> bool:
    value = _symbol(found.module or "keras.ops", found.name)
    return _home(value)[:3] == ["keras", "src", "ops"] and getattr(value, "__name__", "") in _CONTROL


def _is_part(module: str, found: Named) -> bool:
    if module.split(".")[0] in SISTERS:
        return _is_sister(module, found)
    # A registered name that is none is a second name under which older releases look.
    if found.registered not in ("", "function", "None", found.name):
        return False
    if not module:  # as a config of Keras 2; what is unknown is then looked up among the layers alone
        value = _symbol("keras.layers", found.name)
        return value is None or _is_class(value)
    value = _symbol(module, found.name)
    return _is_function(module, found.name, value) if found.function else _is_class(value)


def _is_sister(module: str, found: Named) -> bool:
    """True for a part of a model that a package beside Keras defines, under its own name or that by which it registers itself."""
    value = _symbol(module, found.name)
    registered = found.registered in ("", "None", found.name) or _registered(found.registered, {}) is value
    return value is not None and _is_saveable(value) and registered and not found.function


def _is_class(value: Any) -> bool:
    return isinstance(value, type) and hasattr(value, "from_config") and _stands_in(value, _CLASSES)


def _is_function(module: str, name: str, value: Any) -> bool:
    if isinstance(value, type):
        return _is_class(value) and _stands_in(value, _CLASSES_AS_FUNCTIONS)
    if not callable(value) or {name.split(".")[-1], getattr(value, "__name__", "")} & {*_NO_FUNCTIONS}:
        return False
    if module.startswith("keras.applications.") and name == "preprocess_input":
        return True
    return _stands_in(value, _FUNCTIONS) or f"{module}.{name}" in _PURE


def _stands_in(value: Any, parts: Iterable[str]) -> bool:
    home = _home(value)
    return home[:2] == ["keras", "src"] and len(home) > 2 and home[2] in parts and not home[-1].endswith("_test")


def _home(value: Any) -> list[str]:
    return str(getattr(value, "__module__", "")).split(".")


def _registered(name: str, objects: Mapping[str, Any]) -> Any:
    """What is registered under a name, or given in `objects`; None for neither."""
    import keras

    return keras.saving.get_registered_object(name, custom_objects=dict(objects)) if name else None


def _symbol(module: str, name: str) -> Any:
    """The object that a config's module and name stand for, None where there is none; no module of Keras is imported for it."""
    import keras

    found = keras.src.api_export.get_symbol_from_name(f"{module}.{name}")
    if found is None and module.split(".")[0] != "keras" and module not in sys.modules:
        with contextlib.suppress(Exception):  # an installed package of layers, which Keras would import
            importlib.import_module(module)
    if found is not None:
        return found
    home: Any = sys.modules.get(module)
    if home is None and module.startswith("keras."):  # older releases have their public modules under another name
        home = keras
        for step in module.split(".")[1:]:
            home = getattr(home, step, None)
    return getattr(home, name, None) if inspect.ismodule(home) else None


def _is_saveable(value: Any) -> bool:
    """True for a class of layers, losses or other parts of models."""
    import keras

    kinds = (
        keras.Operation,
        keras.losses.Loss,
        keras.metrics.Metric,
        keras.optimizers.Optimizer,
        keras.initializers.Initializer,
    )
    return isinstance(value, type) and issubclass(value, kinds)


__all__ = ["refused"]
