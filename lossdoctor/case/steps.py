"""What a model's own code does to training beside the compiled losses: its own steps, and losses that layers add. Read, not run."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

# What of Keras's own a step may call so that the compiled losses are used: methods of the model.
_KERAS_OWN = ("compute_loss", "_compute_loss", "compiled_loss", "train_step", "test_step", "fit", "train_on_batch")

# What the user calls: these may change the data first.
_CALLED_WITH_DATA = ("fit", "train_on_batch")


def step_calls(model: Any, overridden: tuple[str, ...]) -> dict[str, tuple[str, ...] | None]:
    """{overridden method: the calls of Keras's own in its source, as written}; None where the source cannot be had."""
    return {name: calls_of(getattr(type(model), name)) for name in overridden}


def calls_of(function: Any) -> tuple[str, ...] | None:
    """The calls of Keras's own in a function's source; None where the source cannot be had."""
    tree = _parsed(function)
    if tree is None:
        return None
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    own = [f for f in called if isinstance(f, ast.Attribute) and f.attr in _KERAS_OWN and _is_self(f.value)]
    return tuple(dict.fromkeys(f"{ast.unparse(f)}()" for f in own))


def _parsed(function: Any) -> ast.AST | None:
    """A function's source, read; None where it cannot be had."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (TypeError, OSError, SyntaxError):
        return None


def own_losses(model: Any, overridden: tuple[str, ...]) -> str:
    """The method of the model's own that trains, and in which nothing leads to the compiled losses; "" for none, or where that is not certain."""
    steps = (name for name in ("train_step", "compute_loss") if name in overridden)
    return next((name for name in steps if not _may_use_losses(type(model), name, set())), "")


def _may_use_losses(cls: type, name: str, seen: set[str]) -> bool:
    """Whether a method's source names anything of the model's that leads to the compiled losses, or hands the model itself on."""
    function = getattr(cls, name, None)
    if name in seen or not callable(function):
        return False
    seen.add(name)
    tree = _parsed(function)
    if tree is None:
        return True
    owners = {id(node.value): node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr) or not _is_self(node):
            continue
        if isinstance(node, ast.Name) and id(node) not in owners and not _called(tree, node):
            return True  # who gets the model may ask it for anything
        attribute = owners.get(id(node), "")
        if attribute in _KERAS_OWN or attribute in _LOSSES:
            return True
        theirs = next((c for c in cls.__mro__ if attribute in vars(c)), None)
        if theirs is not None and theirs.__module__.split(".")[0] != "keras" and _may_use_losses(cls, attribute, seen):
            return True
    return False


# Attributes of a compiled model that hold its losses.
_LOSSES = ("loss", "_loss", "_compile_loss", "compile_loss", "__dict__")


def _called(tree: ast.AST, node: ast.expr) -> bool:
    """True where the model is only called, `self(x)`."""
    return any(isinstance(call, ast.Call) and call.func is node for call in ast.walk(tree))


def _is_self(node: ast.expr) -> bool:
    """True for `self` and `super()`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id == "self"


def step_notes(calls: Mapping[str, tuple[str, ...] | None], hands_on: str | None = None, unused: str = "") -> list[str]:
    """A remark for every step of the model's own: Keras's was run in its place, and what that says of the compiled losses.

    `hands_on`: "as it is" or "changed" where `train_step` was seen to hand the batch on so. `unused`: the one that uses no compiled loss (`own_losses`).
    """
    said = []
    for name, found in calls.items():
        if name == unused:
            said.append(f"the model's own {name}(): it uses none of the compiled losses, so they were not run")
            continue
        if name == "test_step":
            said.append("the model's own test_step(): evaluate and validation call it, and fit's training does not")
            continue
        if name == "train_step" and hands_on:
            what = (
                "y and sample_weight as they are"
                if hands_on == "as it is"
                else "other y or sample_weight than the batch has, and these were examined"
            )
            said.append(
                f"the model's own train_step(): it was run up to its {' and '.join(found or ())}, which it hands {what}"
            )
            continue
        if found:
            data = "the data as they are" if name in _CALLED_WITH_DATA else "y and y_pred whole"
            then = f"; it calls {' and '.join(found)}, so the losses are paired as told as long as it hands on {data}"
        elif found is None:
            then = ""
        else:
            then = "; it calls nothing of Keras's that uses the compiled losses, so it may train on others"
        said.append(f"the model's own {name}(): it overrides Keras's, which was run in its place{then}")
    return said


def added_losses(model: Any) -> list[str]:
    """A remark where layers (or the model's `call`) add losses of their own to the compiled ones."""
    parts: list[str] = []
    layers = list(model._flatten_layers())
    adding = sorted({type(layer).__name__ for layer in layers if _adds(type(layer))})
    if adding:
        parts.append(f"add_loss in {', '.join(adding)}")
    regularized = sum(_is_regularized(layer) for layer in layers)
    if regularized:
        parts.append(f"regularizers of {regularized} layer{'s' if regularized > 1 else ''}")
    if not parts:
        return []
    return [f"what layers add to the loss ({'; '.join(parts)}): training adds it to the losses told here"]


def trains_added(model: Any) -> bool:
    """True where a layer that adds losses is trainable: a regularizer of a frozen one adds a number without a gradient."""
    return any(layer.trainable and (_is_regularized(layer) or _adds(type(layer))) for layer in model._flatten_layers())


def _adds(cls: type) -> bool:
    """True where a method that is not Keras's calls `add_loss`."""
    own = [c for c in cls.__mro__ if c.__module__.split(".")[0] not in ("keras", "builtins", "tensorflow")]
    return any(
        "add_loss(" in source_of(function) for c in own for function in vars(c).values() if inspect.isfunction(function)
    )


def source_of(function: Any) -> str:
    """A function's source, "" where it cannot be had."""
    try:
        return inspect.getsource(inspect.unwrap(function))
    except (TypeError, OSError):
        return ""


def _is_regularized(layer: Any) -> bool:
    kept = ("kernel_regularizer", "bias_regularizer", "activity_regularizer", "embeddings_regularizer")
    return any(getattr(layer, name, None) is not None for name in kept)


__all__ = ["added_losses", "calls_of", "own_losses", "source_of", "step_calls", "step_notes", "trains_added"]
