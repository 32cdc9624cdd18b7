"""A model without its weights: from a `.keras` file, a live model, or nothing but its outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lossdoctor import trees
from lossdoctor.case import allowed, keras2, steps
from lossdoctor.case.archive import MOST_ATTEMPTS, attempts, named_objects
from lossdoctor.case.calling import call_for_sizes, call_for_specs
from lossdoctor.case.definitions import advice
from lossdoctor.case.handed import Handed
from lossdoctor.near import first_line
from lossdoctor.types import (
    COMPILE_ARGUMENTS,
    NOTHING,
    ArrayRef,
    CaseError,
    CompileArgs,
    HeldArray,
    ModelSpec,
    Spec,
    Tree,
)

_MOST_OUTPUTS = 20_000
# The size taken for an axis that the model leaves open and no x decides.
_OPEN_AXIS = 7
_ANEW = (
    "whose model Keras 3 cannot read; run the code that builds it under Keras 3, write model.save('model.keras') and check that file, "
    "or name the code itself as file.py:name."
)


def _reader(archive: Any) -> Any:
    """The module that reads the configs of this file as Keras does."""
    from lossdoctor import _keras, _legacy

    return _legacy if archive.legacy else _keras


def rebuild(archive: Any, objects: Mapping[str, Any], unsafe: bool) -> Any:
    """The Keras model of a read archive, without weights and uncompiled. Raises `CaseError` where Keras cannot."""
    graph = {key: value for key, value in archive.config.items() if key != "compile_config"}
    if keras2.unreadable(archive):
        raise CaseError(f"{archive.path} was written by {keras2.written_by(archive)}, {_ANEW}")
    refused = _refused(graph, objects, unsafe, archive.path)
    if refused:
        raise CaseError(f"{archive.path}: {refused}")
    if attempts(graph) > MOST_ATTEMPTS:
        raise CaseError(
            f"{archive.path}: its layers stand in an order that takes Keras over {MOST_ATTEMPTS} attempts; write the file again "
            "with model.save()."
        )
    try:
        model = _reader(archive).deserialize_model(graph, objects, unsafe)
    except Exception as error:  # whatever Keras raises on a config is about that file
        raise CaseError(_unreadable(archive, error)) from error
    if not hasattr(model, "_flatten_layers"):
        raise CaseError(
            f"{archive.path} holds a {type(model).__name__}, not a model; save the whole model with model.save()."
        )
    return model


def with_weights(path: str, objects: Mapping[str, Any], unsafe: bool, todo: str = "leave out --forward") -> Any:
    """The model of a file whose names were found safe before (`rebuild`), with its weights. Raises `CaseError`, which ends in `todo`."""
    from lossdoctor import _keras
    from lossdoctor.case.weights import require_sound

    if not unsafe:
        require_sound(path)
    try:
        return _keras.load_model(path, objects, unsafe)
    except Exception as error:  # whatever Keras finds wrong with the weights
        raise CaseError(f"{path}: its weights cannot be loaded ({_what(error)}); {todo}.") from error


def moved_layers(archive: Any, model: Any) -> tuple[tuple[str, str], ...]:
    """(layer saved, layer that gets its weights on load) wherever these differ.

    A `.keras` file keeps a layer's weights under its class's name and its number in `model.layers`
    (`saving_lib.py: _save_container_state`); Keras orders the layers by the outputs' flat order, which an
    OrderedDict of outputs loses in the file.
    """
    layers = archive.config.get("config", {}).get("layers")
    # An HDF5 file keeps weights in the layers' order as it is saved.
    if archive.legacy or not isinstance(layers, list) or archive.config.get("class_name") != "Functional":
        return ()
    saved = [(layer.get("class_name"), (layer.get("config") or {}).get("name")) for layer in layers]
    loaded = [(type(layer).__name__, layer.name) for layer in model.layers]
    with_weights = {layer.name for layer in model.layers if layer.weights}
    pairs = []
    for kind in dict.fromkeys(kind for kind, _ in saved):
        before, after = [n for k, n in saved if k == kind], [n for k, n in loaded if k == kind]
        pairs += [(str(a), b) for a, b in zip(before, after, strict=False) if a != b and a in with_weights]
    return tuple(pairs)


def saved_arguments(
    archive: Any, model: Any, objects: Mapping[str, Any], unsafe: bool, need_loss: bool
) -> tuple[CompileArgs, tuple[str, ...]]:
    """The compile arguments in a read archive, and a sentence for each that Keras cannot rebuild.

    Raises `CaseError` where that is the loss, and the caller has no other (`need_loss`).
    """
    from lossdoctor import _compiled

    saved = archive.config.get("compile_config") or {}
    if not isinstance(saved, dict):
        raise CaseError(
            f"{archive.path}: its compile_config is a {type(saved).__name__}, no JSON object; write the file again with model.save()."
        )
    values: dict[str, Any] = {}
    unknown: list[str] = []
    for name in COMPILE_ARGUMENTS:
        values[name] = None
        refused = _refused(saved.get(name), objects, unsafe, archive.path)
        if refused is None:
            try:
                values[name] = _argument(archive, name, saved.get(name), objects, unsafe)
                continue
            except Exception as error:  # as above
                refused = f"Keras cannot rebuild it ({_what(error)}); {advice('', archive.path)}."
        if name == "loss" and need_loss:
            raise CaseError(
                f"{archive.path}: the compiled loss: {refused.rstrip('.')}, or name another loss with --loss."
            )
        unknown.append(f"{name}: {refused}")
    return (
        CompileArgs(
            **values,
            **_compiled.saved_execution(saved, model),
            source="the model file" if saved else "nothing",
            compiled=bool(saved),
            others=_compiled.other_arguments(saved),
        ),
        tuple(unknown),
    )


def _argument(archive: Any, name: str, value: Any, objects: Mapping[str, Any], unsafe: bool) -> Any:
    from lossdoctor import _keras, _legacy

    if keras2.written_by(archive):
        value = keras2.modern(name, value)
    if archive.legacy:
        return _legacy.deserialize_argument(name, value, objects)
    return _keras.deserialize_argument(value, objects, unsafe)


def _refused(config: Any, objects: Mapping[str, Any], unsafe: bool, path: str) -> str | None:
    """Why this part of a config may not be deserialized, or None: nothing outside Keras and --objects is imported."""
    return allowed.refused(named_objects(config), objects, unsafe, path)


def describe(
    model: Any,
    source: str,
    x: Tree,
    rows: int,
    *,
    unknown: Sequence[str] = (),
    moved: Sequence[tuple[str, str]] = (),
    stored_code: bool = False,
    notes: Sequence[str] = (),
    refused: tuple[str, str] | None = None,
    step: Handed | None = None,
) -> ModelSpec:
    """A live or rebuilt Keras model as a `ModelSpec` for a batch of `rows` samples. The model is not changed.

    x is a tree of `ArrayRef`, or None; it decides the axes that the model leaves open. `refused`: the class of the model's own preprocessor, and what it
    raised on the batch; `step`: what its own `train_step` hands on to Keras's. Raises `CaseError` for a model whose outputs cannot be known.
    """
    from lossdoctor import _graph, _keras, _state

    declared = _keras.inputs(model)
    call_error, said = None, list(notes)
    if declared is None and x is None:
        raise CaseError(f"{source} is a subclassed model, whose outputs only a call on x shows; add x to the batch.")
    specs = trees.map_leaves(_known, x) if declared is None else _feed(declared, x, rows)
    strategy, given = _state.strategy_of(model), model

    def whole() -> Any:
        return given if given.built else _copy(given, source, weights=True)

    if not model.built:
        model = _copy(model, source)
    if declared is None:
        called = call_for_specs(model, source, x, specs, whole)
        outputs, masks = called.outputs, called.masks
        said.extend(called.notes)
    else:
        fed = _feed(declared, x, rows, whole=True)
        try:
            # Sizes that the inputs do not declare are put to the layers themselves: what they check differs by backend.
            outputs, masks = _keras.call_specs(model, fed, trace=fed != specs)
        except Exception as error:
            call_error = f"{type(error).__name__}: {first_line(error)}"
            try:
                outputs, masks = _keras.call_specs(model, _feed(declared, None, rows))
            except Exception as unfit:  # not even on what its own Inputs declare
                raise CaseError(
                    f"{source} cannot be called on its own inputs: {first_line(unfit)}; check its layers."
                ) from unfit
    if any(s is not None and None in s.shape[1:] for s in trees.values(outputs)) and x is not None and not call_error:
        outputs, masks, note = call_for_sizes(whole(), x, outputs, masks)
        said.append(note)
    if any(s is not None and None in s.shape for s in trees.values(outputs)):
        outputs = trees.map_leaves(lambda s: s and _close(s, rows), outputs)
    outputs = trees.map_leaves(lambda s: s or NOTHING, outputs)
    if len(trees.values(outputs)) > _MOST_OUTPUTS:
        raise CaseError(f"{source} has {len(trees.values(outputs))} outputs; a check takes up to {_MOST_OUTPUTS}.")
    overridden = _keras.overridden(model)
    calls = steps.step_calls(model, overridden)
    added = steps.added_losses(model)
    own = "" if step and (step.error or step.how) else steps.own_losses(model, overridden)
    said.extend(
        [*(steps.step_notes(calls, step.how if step else None, own) if not (step and step.error) else []), *added]
    )
    ends = _graph.ends(model, specs, outputs)
    return ModelSpec(
        source=source,
        kind=_keras.kind(model),  # type: ignore[arg-type]
        outputs=outputs,
        output_names=_keras.output_names(model),
        inputs=declared,
        tails=ends.tails,
        activations=ends.activations,
        activation_layers=ends.activation_layers,
        masks=tuple(trees.values(masks)),
        call_error=refused[1] if refused else call_error,
        preprocessor=refused[0] if refused else None,
        unknown_objects=tuple(unknown),
        moved_layers=tuple(moved),
        overridden=overridden,
        adds_losses=bool(added),
        trains_added=bool(added) and steps.trains_added(model),
        step_calls=calls,
        own_losses=own,
        step_error=step.error if step else None,
        hands_on=step.how if step else None,
        stored_code=stored_code,
        notes=tuple(said),
        strategy=strategy,
    )


def describe_open(model: Any, source: str, **known: Any) -> ModelSpec:
    """The same without a batch: sizes that a graph leaves open stay None. Raises `CaseError` for a model without `keras.Input`."""
    from lossdoctor import _keras

    if _keras.inputs(model) is None:
        raise CaseError(f"{source} is a subclassed model, whose outputs only a call on x shows; give a batch.")
    spec = describe(model, source, None, 2, **known)
    outputs = _keras.open_outputs(model)
    return replace(spec, outputs=outputs if outputs is not None else spec.outputs)


def _copy(model: Any, source: str, weights: bool = False) -> Any:
    from lossdoctor import _keras

    try:
        return _keras.unbuilt_copy(model, weights)
    except Exception as error:  # the class cannot be made from its own config
        raise CaseError(
            f"{source} has no weights yet, and its class cannot be made again from get_config() ({type(error).__name__}); call the "
            "model once on x before checking it."
        ) from error


def from_outputs(outputs: Tree, output_names: Sequence[str] | None) -> ModelSpec:
    """A model of which only the outputs are given: arrays (used as the predictions) or specs.

    A spec is anything with `.shape` and `.dtype` but no data, or a (shape, dtype) pair.
    """
    marked = _mark_specs(outputs)
    flat = trees.values(marked)
    if not flat:
        raise CaseError("outputs holds no array; give the model's outputs as arrays or as (shape, dtype) pairs.")
    arrays = [leaf for leaf in flat if isinstance(leaf, HeldArray)]
    if arrays and len(arrays) != len(flat):
        raise CaseError("outputs mixes arrays with specs; give arrays for all outputs, or specs for all.")
    return ModelSpec(
        source="outputs",
        kind="outputs",
        outputs=trees.map_leaves(lambda leaf: Spec(tuple(leaf.shape), str(leaf.dtype)), marked),
        output_names=tuple(output_names) if output_names is not None else _names(marked),
        tails=tuple(None for _ in flat),
        masks=tuple(None for _ in flat),
        predictions=marked if arrays else None,
    )


def _names(outputs: Tree) -> tuple[str, ...] | None:
    """A functional model's names in Keras's flat order: the dict keys, or Keras's own fallback numbering."""
    if isinstance(outputs, dict) and all(trees.is_leaf(v) for v in outputs.values()):
        return tuple(sorted(str(k) for k in outputs))
    return tuple(f"output_{i}" for i, _ in enumerate(trees.values(outputs)))


def _mark_specs(node: Any) -> Any:
    """Arrays as `HeldArray`, specs as `Spec`; a (shape, dtype) pair is a leaf, not a tuple of outputs."""
    import numpy as np

    if isinstance(node, tuple) and len(node) == 2 and isinstance(node[0], list | tuple):
        shape, dtype = node
        if all(isinstance(d, int) for d in shape) and not hasattr(dtype, "shape") and not isinstance(dtype, list):
            return Spec(tuple(int(d) for d in shape), str(np.dtype(dtype)) if not isinstance(dtype, str) else dtype)
    if isinstance(node, Spec | HeldArray):
        return node
    if isinstance(node, dict):
        return type(node)((k, _mark_specs(v)) for k, v in node.items())
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return type(node)(*(_mark_specs(v) for v in node))
    if isinstance(node, list | tuple):
        return type(node)(_mark_specs(v) for v in node)
    if hasattr(node, "__array__") and not _is_symbolic(node):
        return HeldArray(np.asarray(node))
    if hasattr(node, "shape") and hasattr(node, "dtype"):
        if any(d is None for d in node.shape):
            raise CaseError(f"outputs holds a spec with an open axis, {tuple(node.shape)}; give every size.")
        return Spec(tuple(int(d) for d in node.shape), str(getattr(node.dtype, "name", node.dtype)))
    raise CaseError(
        f"outputs holds a {type(node).__name__}; give arrays, things with .shape and .dtype, or (shape, dtype) pairs."
    )


def _is_symbolic(node: Any) -> bool:
    return type(node).__name__ in {"KerasTensor", "ShapeDtypeStruct", "TensorSpec", "SymbolicTensor"}


def _known(leaf: Any) -> Any:
    return Spec(tuple(leaf.shape), leaf.dtype) if isinstance(leaf, ArrayRef) else None


def _feed(declared: Tree, x: Tree, rows: int, whole: bool = False) -> Tree:
    """For every `Input` the spec of what it is fed: its own sizes, open ones from x (by name, else by place).

    `whole`: all sizes from x, where x has the Input's rank.
    """
    flat_x = [] if x is None else [leaf for leaf in trees.values(x) if isinstance(leaf, ArrayRef)]
    flat_inputs = trees.values(declared)
    by_name = dict(x) if isinstance(x, dict) else {}

    def one(place: int, spec: Any) -> Spec:
        given = by_name.get(spec.name)
        if not isinstance(given, ArrayRef):
            given = flat_x[place] if len(flat_x) == len(flat_inputs) else None
        if whole and given is not None and len(given.shape) == len(spec.shape):
            return Spec(tuple(given.shape), spec.dtype)
        return Spec(_sizes(spec.shape, given, rows), spec.dtype)

    return trees.pack(declared, [one(i, s) for i, s in enumerate(flat_inputs)])


def _sizes(shape: tuple[int | None, ...], given: Any, rows: int) -> tuple[int, ...]:
    known = tuple(given.shape) if given is not None and len(given.shape) == len(shape) else ()
    sizes = tuple(
        d if d is not None else (known[i] if known else (_OPEN_AXIS if i else rows)) for i, d in enumerate(shape)
    )
    return (rows if shape and shape[0] is None and not known else sizes[0], *sizes[1:]) if sizes else ()


def _close(spec: Spec, rows: int) -> Spec:
    return Spec(
        tuple(d if d is not None else (_OPEN_AXIS if i else rows) for i, d in enumerate(spec.shape)), spec.dtype
    )


def _what(error: BaseException) -> str:
    """Keras's first line without its advice and its dump of the config."""
    return first_line(error).split(" Full object config")[0].split(". Make sure")[0].rstrip(".")


def _unreadable(archive: Any, error: BaseException) -> str:
    text, path = _what(error), archive.path
    # Of a layer inside a graph Keras says so after the graph's whole config.
    inside = re.search(r"Could not locate (?:class|function) '[^']*'", str(error))
    text = inside[0] if inside else text
    if any(sign in text for sign in ("Could not locate", "register", "Unknown layer")):
        named = re.search(r"'(?:\w+>)?(\w+)'", text)
        return f"{path}: {text.split('. Please')[0]}; {advice(named[1] if named else '', path)}."
    if "lambda" in text.lower():
        return f"{path} holds stored Lambda code, which is not run; pass --unsafe if you trust the file."
    old = keras2.written_by(archive)
    if old:
        return f"{path} was written by {old}, {_ANEW[:-1]} ({text})."
    return f"{path} cannot be rebuilt by Keras ({text}); check that it was saved by model.save() of a matching release."


__all__ = ["describe", "describe_open", "from_outputs", "moved_layers", "rebuild", "saved_arguments"]
