"""The one module that touches what is private in Keras. Everything else uses Keras's public API.

Private names used, all present from Keras 3.4 to 3.15: `keras.src.trainers.compile_utils.get_loss`, `trainer.model_supports_jit`,
`keras.src.api_export.get_symbol_from_name`, `keras.src.backend.compute_output_spec`, `keras.src.backend.common.global_state`,
`_keras_history` of a KerasTensor, `_compile_config`, `_inputs_struct` and `_distribute_strategy` of a model. From Keras 3.6 on:
`keras.src.backend.{get_keras_mask, set_keras_mask}`; before, the mask is the attribute `_keras_mask` of a tensor.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras
from keras.src import backend as _backend
from keras.src.backend.common import global_state as _global_state
from keras.src.trainers import compile_utils as _compile_utils
from keras.src.trainers.trainer import model_supports_jit as model_supports_jit

from lossdoctor import trees
from lossdoctor.types import InputSpec, Spec, Tree


def version() -> str:
    """The installed Keras release."""
    return str(keras.__version__)


def backend_name() -> str:
    """ "tensorflow", "jax", "torch" ..."""
    return str(keras.backend.backend())


trees.follow(backend_name())


def is_traced(value: Any) -> bool:
    """True for a value that JAX traces: asking for its numbers costs an error message as long as the program."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def resolve_loss(identifier: Any, y_true: Any, y_pred: Any) -> Any:
    """The `keras.losses.Loss` that compile makes of one loss argument on these tensors.

    The strings "crossentropy" and "ce" depend on the shapes (`compile_utils.get_loss`).
    """
    return _compile_utils.get_loss(identifier, y_true, y_pred)


def loss_label(loss: Any) -> str:
    """The loss's name in the field's terms: the wrapped function's name, else the `Loss` object's own."""
    function = getattr(loss, "fn", None)
    named = getattr(function, "__name__", None) or getattr(loss, "name", None) or getattr(loss, "__name__", None)
    return named or type(loss).__name__


def loss_arguments(loss: Any) -> dict[str, Any]:
    """The keyword arguments that a loss hands to its function (`losses.LossFunctionWrapper._fn_kwargs`)."""
    return dict(getattr(loss, "_fn_kwargs", {}))


def copied(loss: Any) -> Any:
    """A second `Loss` object with the same attributes (`copy.copy` would save and reload it: `KerasSaveable.__reduce__`)."""
    made = object.__new__(type(loss))
    made.__dict__.update(loss.__dict__)
    return made


def variables(part: Any) -> list[Any]:
    """The variables of a `Metric`, or those that a `Loss` object keeps as attributes."""
    if isinstance(part, keras.metrics.Metric):
        return list(part.variables)
    return [v for v in getattr(part, "__dict__", {}).values() if isinstance(v, keras.Variable)]


def with_arguments(loss: Any, **arguments: Any) -> Any:
    """The same loss with other keyword arguments for its function."""
    made = copied(loss)
    made._fn_kwargs = {**loss_arguments(loss), **arguments}
    return made


def reconfigured(loss: Any, changes: Mapping[str, Any]) -> Any:
    """A loss like this one with other arguments: strings and Keras's functions become their `Loss` class.

    Raises `ValueError` where no class of Keras's stands for a function, and what the class raises.
    """
    if not isinstance(loss, keras.losses.Loss):
        return loss_class(loss)(**changes)
    return type(loss)(**{**constructor_arguments(loss), **changes})


def loss_class(identifier: Any) -> Any:
    """The `Loss` class that wraps one of Keras's functions, by name or object. Raises `ValueError` for any other."""
    function = keras.losses.get(identifier) if isinstance(identifier, str) else identifier
    classes = [v for v in vars(keras.losses).values() if isinstance(v, type) and issubclass(v, keras.losses.Loss)]
    for found in classes:
        if found is type(function) or _wraps(found, function):
            return found
    raise ValueError(f"Keras has no Loss class for {loss_label(function)}")


def _wraps(cls: Any, function: Any) -> bool:
    try:
        return getattr(cls(), "fn", None) is function
    except TypeError:  # a class with required arguments wraps no plain function
        return False


def constructor_arguments(thing: Any) -> dict[str, Any]:
    """The arguments of a loss or metric that differ from its class's defaults, by its `get_config`."""
    config = thing.get_config()
    taken = inspect.signature(type(thing).__init__).parameters
    return {
        key: value
        for key, value in config.items()
        if key in taken and key != "dtype" and not _is_default(type(thing), key, taken[key].default, value)
    }


def _is_default(cls: Any, key: str, default: Any, value: Any) -> bool:
    if key == "name":
        # A name that is not given is made from the class (`auto_name`); a second loss of the class gets a number. A
        # metric's name is what the log shows, so it is kept.
        made, given = keras.src.utils.naming.to_snake_case(cls.__name__), str(value)
        numbered = issubclass(cls, keras.losses.Loss) and given.rpartition("_")[0] == made
        return value is None or default == value or given == made or numbered
    return bool(default is not inspect.Parameter.empty and type(default) is type(value) and default == value)


def resolve_metric(identifier: Any, y_true: Any, y_pred: Any) -> Any:
    """The metric that compile makes of one metrics argument on these tensors: "accuracy" depends on their shapes."""
    return _compile_utils.get_metric(identifier, y_true, y_pred)


def to_tensor(array: Any) -> Any:
    """A backend's tensor of an array; a new one each time."""
    return keras.ops.convert_to_tensor(array)


def to_numpy(tensor: Any) -> Any:
    """A backend's tensor as a NumPy array."""
    return keras.ops.convert_to_numpy(tensor)


def operand(leaf: Any) -> Any:
    """An array as a loss that is called by hand can take it: PyTorch's operators take its own tensors only."""
    numbers = backend_name() == "torch" and getattr(getattr(leaf, "dtype", None), "kind", "") in tuple("biuf")
    return to_tensor(leaf) if numbers else leaf


def is_ctc(loss: Any) -> bool:
    """True for `keras.losses.CTC`."""
    return getattr(loss, "fn", None) is getattr(keras.losses, "ctc", loss)


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    """A scope whose tensors are no part of a gradient: PyTorch makes no array of one that is."""
    if backend_name() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()  # type: ignore[no-any-return]


def get_mask(tensor: Any) -> Any:
    """The mask a tensor carries, or None."""
    getter = getattr(_backend, "get_keras_mask", None)
    return getattr(tensor, "_keras_mask", None) if getter is None else getter(tensor)


def logits_behind(tensor: Any) -> Any:
    """The values in front of a softmax or sigmoid that a tensor remembers, or None (`activations.py`, TensorFlow only)."""
    return getattr(tensor, "_keras_logits", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Attach `mask` (shape of the tensor without its last axis) to `tensor`, as layers do."""
    setter = getattr(_backend, "set_keras_mask", None)
    if setter is not None:
        setter(tensor, mask)
        return
    with contextlib.suppress(AttributeError):  # a tensor of C code takes none, and Keras drops the mask too
        tensor._keras_mask = mask


@contextlib.contextmanager
def weightless() -> Iterator[None]:
    """A scope in which layers are built but no variable is allocated, then or later (`keras.StatelessScope`).

    Keras keeps a list of the variables that wait for their values (`variables.register_uninitialized_variable`), and the end of
    the next scope, which on JAX is the next train step, would allocate them all.
    """
    settings = thread_settings()
    waiting = settings.pop(_WAITING, None)
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        settings.pop(_WAITING, None)
        if waiting is not None:
            settings[_WAITING] = waiting


_WAITING = "uninitialized_variables"


def deserialize_model(config: Mapping[str, Any], objects: Mapping[str, Any], unsafe: bool) -> Any:
    """The model of a `config.json` without its weights and without compiling it.

    Raises whatever Keras raises for a config that it cannot read.
    """

    def made() -> Any:
        # A copy: Keras takes entries out of the config that it reads (`functional_from_config`).
        bare = copy.deepcopy({key: value for key, value in config.items() if key != "compile_config"})
        if _compiles_itself(bare):
            bare["config"]["compile"] = False
        return keras.saving.deserialize_keras_object(bare, custom_objects=dict(objects), safe_mode=not unsafe)

    try:
        with weightless():
            return made()
    except ValueError as error:
        # A layer that makes its variables at once (TFSMLayer).
        if "in a stateless scope" not in str(error):
            raise
    return made()


def is_hubs(cls: Any, name: str) -> bool:
    """True for a class that comes from the one of this name in KerasHub (or KerasNLP, as it was called)."""
    return isinstance(cls, type) and any(c.__name__ == name and _of_hub(c) for c in cls.__mro__)


def _of_hub(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).split(".")[0] in ("keras_hub", "keras_nlp")


def _compiles_itself(config: Mapping[str, Any]) -> bool:
    """True for a task of KerasHub, whose `__init__` compiles (`keras_hub/src/models/task.py`): no optimizer can be made without weights."""
    cls = getattr(sys.modules.get(str(config.get("module"))), str(config.get("class_name")), None)
    return is_hubs(cls, "Task") and isinstance(config.get("config"), dict)


def load_model(path: str, objects: Mapping[str, Any], unsafe: bool) -> Any:
    """The model of a file with its weights, uncompiled. Raises what Keras raises."""
    return keras.saving.load_model(path, custom_objects=dict(objects), compile=False, safe_mode=not unsafe)


def deserialize_argument(value: Any, objects: Mapping[str, Any], unsafe: bool) -> Any:
    """One saved compile argument as `compile_from_config` would read it (tuples come back as lists)."""
    return keras.saving.deserialize_keras_object(value, custom_objects=dict(objects), safe_mode=not unsafe)


def serialized(value: Any) -> Any:
    """A compile argument as a model file holds it (`serialization_lib.serialize_keras_object`)."""
    return keras.saving.serialize_keras_object(value)


def unbuilt_copy(model: Any, weights: bool = False) -> Any:
    """A model of the same class and config, so that a call builds the copy and not the caller's; with `weights`, one that can run.

    A subclass whose `__init__` does not take Keras's own keys (name, trainable, dtype) gets only what it
    takes. Raises what the class raises.
    """
    config = model.get_config()
    with contextlib.nullcontext() if weights else weightless():
        try:
            return type(model).from_config(config)
        except TypeError:
            taken = inspect.signature(type(model)).parameters
            return type(model)(**{key: value for key, value in config.items() if key in taken})


def metric_copy(metric: Any) -> Any:
    """A metric without the state of the caller's: strings and functions as they are, objects made anew from their config.

    Where its class cannot be (it takes other arguments, holds a lambda ...) it is the caller's own, whose state is to be put back.
    """
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    try:
        return type(metric).from_config(metric.get_config())
    except Exception:  # whatever the class raises, `fit` does not make it anew
        return metric


def kind(model: Any) -> str:
    """ "functional", "sequential" or "subclassed"."""
    if isinstance(model, keras.Sequential):
        return "sequential"
    return "functional" if _is_functional(model) else "subclassed"


def _is_functional(model: Any) -> bool:
    return type(model).__name__ == "Functional" or any(c.__name__ == "Functional" for c in type(model).__mro__)


def graph(model: Any) -> Any:
    """The functional graph inside a model, or None (a Sequential holds one once it is built)."""
    if _is_functional(model):
        return model
    return getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else None


def output_names(model: Any) -> tuple[str, ...] | None:
    """`model.output_names` where the model has them; that is what `compile` looks up (`trainer.py`)."""
    names = getattr(model, "output_names", None)
    return tuple(str(n) for n in names) if names is not None else None


def outputs(model: Any) -> Tree:
    """The symbolic outputs in the containers that calling the model returns; None for a model without a graph."""
    functional = graph(model)
    return None if functional is None else _unpack(functional.output)


def inputs(model: Any) -> Tree:
    """The containers of `keras.Input` that a functional model declares, as `InputSpec`; None for others."""
    functional = graph(model)
    if functional is None:
        return None
    return trees.map_leaves(_input_spec, functional.input)


def _input_spec(tensor: Any) -> InputSpec:
    operation = tensor._keras_history.operation
    # An Input without a name has a tensor that is only numbered; its layer's name is what Keras shows.
    name = operation.name if str(tensor.name).startswith("keras_tensor") else tensor.name
    return InputSpec(
        name=str(name),
        shape=tuple(tensor.shape),
        dtype=str(tensor.dtype),
        optional=bool(getattr(operation, "optional", False)),
    )


_METHODS = ("train_step", "compute_loss", "test_step", "fit", "train_on_batch")


def overridden(model: Any) -> tuple[str, ...]:
    """Which of the trainer's methods the model's class replaces; KerasHub's `fit`, which preprocesses, is no such one (`case.pipeline`)."""
    return tuple(
        name
        for name in _METHODS
        if (own := getattr(type(model), name, None)) is not getattr(keras.Model, name, None)
        and not (name in ("fit", "train_on_batch") and _of_hub(own))
    )


def makes_masks(model: Any) -> bool:
    """True where some layer can create or hand on a mask, so that outputs may carry one."""
    return any(
        isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False) or _own_mask(layer)
        for layer in model._flatten_layers()
    )


def _own_mask(layer: Any) -> bool:
    method = getattr(type(layer), "compute_mask", None)
    return method is not None and not (method.__module__ or "").startswith("keras.")


def call_specs(model: Any, x: Tree, trace: bool = False, weights: bool = False) -> tuple[Tree, Tree]:
    """(output specs, mask specs or None) of calling `model` on x, a tree of `Spec` with known shapes.

    No weight is needed and none is made: the graph's own shape inference where the model has one,
    else (and with `trace`) a symbolic trace of the real call (`backend.compute_output_spec`). With `weights`, the trace may read
    those of the model. Raises what the model's call raises.
    """
    tensors = trees.map_leaves(lambda s: None if s is None else keras.KerasTensor(s.shape, dtype=s.dtype), x)
    functional = graph(model)
    if functional is not None and not trace and not makes_masks(model):
        outputs = _unpack(functional.compute_output_spec(tensors))
        return _as_declared(_unpack(functional.output), outputs), trees.map_leaves(lambda _: None, outputs)

    written: list[Tree] = []

    # TensorFlow's `fit` calls for training alone; elsewhere a symbolic call that is not for training comes first, and has to agree.
    for_training = functional is None and backend_name() == "tensorflow" and model._call_has_training_arg

    def call(arrays: Any) -> Any:
        y = model(arrays, training=True) if for_training else model(arrays)
        written.append(trees.map_leaves(lambda _: None, y))
        return y, trees.map_leaves(get_mask, y)

    # What Keras warns of here (layers without a `build`) it says of this call alone, and once more in `fit`.
    with contextlib.nullcontext() if weights else weightless(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs, masks = _backend.compute_output_spec(call, tensors)
    declared = written[-1] if functional is None else _unpack(functional.output)
    return _as_declared(declared, outputs), trees.map_leaves(_spec, masks)


def _as_declared(declared: Tree, outputs: Tree) -> Tree:
    """Specs of `outputs` in the containers of `declared`: JAX's tracing sorts dict keys, and on PyTorch every functional call does."""
    return trees.pack(declared, trees.values(trees.map_leaves(_spec, outputs)))


def fed(leaf: Any) -> Any:
    """An array as a model is given it: a tensor, of text where the backend has such; any other leaf as it is."""
    kinds = "biufSUO" if backend_name() == "tensorflow" else "biuf"
    return to_tensor(leaf) if hasattr(leaf, "dtype") and leaf.dtype.kind in kinds else leaf


def called_specs(model: Any, x: Tree) -> tuple[Tree, Tree]:
    """As `call_specs`, from a real call on a tree of arrays; the state of a built model stays as it is."""
    tensors = trees.map_leaves(fed, x)
    with keras.StatelessScope() if model.built else contextlib.nullcontext():
        y = model(tensors, training=False)
    return trees.map_leaves(_spec, y), trees.map_leaves(_spec, trees.map_leaves(get_mask, y))


def open_outputs(model: Any) -> Tree:
    """The outputs of a graph as it declares them, None for every size that it leaves open; None where there is no graph."""
    functional = graph(model)
    return None if functional is None else trees.map_leaves(_spec, _unpack(functional.output))


def _unpack(outputs: Any) -> Any:
    """A list or tuple of one is returned bare by a functional call (`functional.py: unpack_singleton`)."""
    return outputs[0] if isinstance(outputs, list | tuple) and len(outputs) == 1 else outputs


class NoTensor(TypeError):
    """A model returned something that is no tensor, nor a container that Keras opens."""


def _spec(tensor: Any) -> Spec | None:
    if tensor is not None and not hasattr(tensor, "shape"):
        raise NoTensor(f"it returns a {type(tensor).__name__}, which is no tensor and no container that Keras opens")
    return None if tensor is None else Spec(tuple(tensor.shape), str(keras.backend.standardize_dtype(tensor.dtype)))


def thread_settings() -> dict[str, Any]:
    """Keras's settings of this thread (policy, numbering of names ...), by name: the dict that Keras itself reads and writes."""
    settings: dict[str, Any] = vars(_global_state.GLOBAL_STATE_TRACKER)
    return settings
