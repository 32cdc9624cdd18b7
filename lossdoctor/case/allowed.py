"""Which objects of a model file Keras may make: parts of models, of Keras's own or given by the user, and nothing else.

Older releases of Keras import whatever module a config names, and call functions that download, load or write; the
later ones refuse a list of them. Here it is the other way round: what is no part of a model is refused, on every release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from lossdoctor.case.archive import Named

# Packages other than Keras itself whose layers Keras imports by name (`serialization_lib._retrieve_class_or_fn`).
_SISTERS = ("keras_hub", "keras_cv", "keras_nlp")
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

_TRUST = "pass --unsafe if you trust the file (see `lossdoctor rule LD953`)."


def refused(named: Iterable[Named], objects: Mapping[str, Any], unsafe: bool) -> str | None:
    """Why these objects of a config may not be made, or None. `objects` are the user's own; `unsafe` trusts the file."""
    for found in named:
        reason = _refused(found, objects, unsafe)
        if reason:
            return reason
    return None


def _refused(found: Named, objects: Mapping[str, Any], unsafe: bool) -> str | None:
    if found.stored_code:
        return None if unsafe else "it holds stored Lambda code, which is not run; pass --unsafe if you trust the file."
    if found.reads and not unsafe:
        return f"{found.path} would read {found.reads[:200]!r} when the layer is made; save the model with its vocabulary, or {_TRUST}"
    if found.special or _is_registered(found, objects):
        return None
    top = found.module.split(".")[0]
    if top not in ("", "keras", *_SISTERS) and not (found.function and found.module == "builtins"):
        return _foreign(found)
    if found.module == "builtins":
        return None if any(_is_part(f"keras.{home}", found) for home in _HOMES) else _foreign(found)
    if top in _SISTERS and find_spec(top) is None:
        return f"it uses {found.name[:100]!r} of {top}, which is not installed; install {top.replace('_', '-')} and try again."
    if unsafe or _is_part(found.module, found):
        return None
    return (
        f"it uses {found.name[:100]!r} of the module {found.module[:100]!r}, which is no layer, loss or other part of a model "
        f"that the installed Keras has, and may do anything; {_TRUST}"
    )


def _foreign(found: Named) -> str:
    return (
        f"it uses {found.name[:100]!r} of the module {found.module[:100]!r}, which is neither Keras's nor registered; pass the "
        "file that defines it with --objects FILE_OR_MODULE (see `lossdoctor rule LD952`)."
    )


def _is_registered(found: Named, objects: Mapping[str, Any]) -> bool:
    """True where Keras takes a registered object or one of the user's, by the one name under which it looks it up."""
    from lossdoctor import _keras

    return _keras.registered(found.name if found.function else found.registered, objects) is not None


def _is_part(module: str, found: Named) -> bool:
    from lossdoctor import _keras

    # A registered name that is none is a second name under which older releases look.
    if found.registered not in ("", "function", "None", found.name):
        return False
    if not module:  # as a config of Keras 2; what is unknown is then looked up among the layers alone
        value = _keras.symbol("keras.layers", found.name)
        return value is None or _is_class(value)
    value = _keras.symbol(module, found.name)
    if module.split(".")[0] in _SISTERS:
        return value is not None and _keras.is_saveable(value)
    return _is_function(module, found.name, value) if found.function else _is_class(value)


def _is_class(value: Any) -> bool:
    return isinstance(value, type) and hasattr(value, "from_config") and _stands_in(value, _CLASSES)


def _is_function(module: str, name: str, value: Any) -> bool:
    if value is None or isinstance(value, type) or not callable(value) or name in _NO_FUNCTIONS:
        # A metric or loss may be named as a function is.
        return _is_class(value)
    if module.startswith("keras.applications.") and name == "preprocess_input":
        return True
    return _stands_in(value, _FUNCTIONS) or f"{module}.{name}" in _PURE


def _stands_in(value: Any, parts: Iterable[str]) -> bool:
    home = str(getattr(value, "__module__", "")).split(".")
    return home[:2] == ["keras", "src"] and len(home) > 2 and home[2] in parts and not home[-1].endswith("_test")


__all__ = ["refused"]
