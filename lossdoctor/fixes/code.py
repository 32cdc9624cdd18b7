"""Losses, metrics and trees as the Python that a person would type, with the imports that it needs."""

from __future__ import annotations

import inspect
import keyword
import sys
import textwrap
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from lossdoctor import _keras, trees
from lossdoctor.fixes.apply import EditError, Written, at
from lossdoctor.types import (
    ActivationEdit,
    At,
    BatchEdit,
    Case,
    CompileArgs,
    CompileEdit,
    Edit,
    Fix,
    Made,
    NewLoss,
    Tree,
)


class NotTypable(Exception):
    """An object that no expression makes: a local function with a closure, a class whose arguments are unknown."""


@dataclass
class Needs:
    """What the written code takes from elsewhere: import lines, new functions, and functions of a notebook, copied.

    `kept` is true where something is taken from the model as it was compiled: ``model.loss['a']``.
    """

    imports: set[str] = field(default_factory=set)
    definitions: dict[str, str] = field(default_factory=dict)
    copied: dict[str, str] = field(default_factory=dict)
    kept: bool = False


def tree_code(tree: Tree, leaf: Callable[[Any], str]) -> str:
    """A nested structure as a literal, dict keys in the order written."""
    if trees.is_leaf(tree):
        return leaf(tree)
    if isinstance(tree, dict):
        body = "{" + ", ".join(f"{literal(k)}: {tree_code(v, leaf)}" for k, v in tree.items()) + "}"
        return f"OrderedDict({body})" if isinstance(tree, OrderedDict) else body
    items = [tree_code(v, leaf) for v in tree]
    if isinstance(tree, tuple) and not hasattr(tree, "_fields"):
        return "(" + ", ".join(items) + ("," if len(items) == 1 else "") + ")"
    return "[" + ", ".join(items) + "]"


def literal(value: Any) -> str:
    """A string, number, boolean or None as Python."""
    return repr(value)


def argument_code(arguments: CompileArgs, edit: CompileEdit, needs: Needs) -> str:
    """The edited argument of `model.compile`. Raises `NotTypable`."""
    return tree_code(edit.tree, lambda leaf: _leaf(arguments, edit.argument, leaf, needs))


def _leaf(arguments: CompileArgs, argument: str, leaf: Any, needs: Needs) -> str:
    if isinstance(leaf, At):
        found = at(arguments, leaf.path)
        if leaf.changes:
            return _changed(found, leaf, needs)
        return at_code(leaf.path, found, needs)
    if isinstance(leaf, NewLoss):
        return with_uses(leaf.name, leaf.source, {n: at(arguments, u.path) for n, u in leaf.uses.items()}, needs)
    if isinstance(leaf, Made):
        return thing_code(getattr(keras.losses, leaf.name)(**leaf.arguments), needs)
    return literal(leaf) if not callable(leaf) else thing_code(leaf, needs)


def compile_code(name: str, given: CompileArgs, now: CompileArgs, needs: Needs) -> str:
    """One argument of `model.compile` as it is now; what was given as an object may be taken from the compiled model.

    Raises `NotTypable`.
    """
    paths = {
        id(leaf): path
        for path, leaf in trees.leaves(name, getattr(given, name))
        if leaf is not None and not isinstance(leaf, str | int | float)
    }

    def leaf_code(leaf: Any) -> str:
        return at_code(paths[id(leaf)], leaf, needs) if id(leaf) in paths else thing_code(leaf, needs)

    return tree_code(getattr(now, name), leaf_code)


def at_code(path: str, found: Any, needs: Needs) -> str:
    """What stands at a path of the compile arguments; a loss that cannot be typed is taken from the compiled model."""
    try:
        return thing_code(found, needs)
    except NotTypable:
        if not path.startswith("loss") or path.startswith("loss_weights"):
            raise
        needs.kept = True
        return f"model.{path}"


def _changed(found: Any, leaf: At, needs: Needs) -> str:
    try:
        return thing_code(_keras.reconfigured(found, leaf.changes), needs)
    except (ValueError, TypeError) as error:
        raise EditError(str(error)) from error


def with_uses(name: str, source: str, uses: Mapping[str, Any], needs: Needs) -> str:
    """Add a new loss's source, with the losses it uses called as a user would, to the definitions; returns its name."""
    for placeholder, used in uses.items():
        plain = isinstance(used, str)
        code = f"keras.losses.{keras.losses.get(used).__name__}" if plain else thing_code(used, needs)
        source = source.replace(placeholder, code)
    if "ops." in source:
        needs.imports.add("from keras import ops")
    needs.definitions[name] = source.rstrip()
    return str(name)


def thing_code(thing: Any, needs: Needs) -> str:
    """A loss or metric as an expression. Raises `NotTypable`."""
    if thing is None or isinstance(thing, str | int | float):
        return literal(thing)
    written = getattr(thing, "written", None)
    if isinstance(written, Written):
        return with_uses(written.name, written.source, written.uses, needs)
    home = _home(thing)
    if inspect.isfunction(thing):
        return f"{home}.{thing.__name__!s}" if home else _imported(thing, needs)
    cls = type(thing)
    try:
        arguments = _keras.constructor_arguments(thing)
    except Exception as error:  # a class without get_config
        raise NotTypable(f"{cls.__name__} has no get_config") from error
    called = f"{home}.{cls.__name__}" if home else _imported(cls, needs)
    parts = []
    for key, value in arguments.items():
        if callable(value):
            parts.append(f"{key}={thing_code(value, needs)}")
        elif value is None or isinstance(value, str | int | float | bool | list | tuple):
            parts.append(f"{key}={tree_code(value, literal) if isinstance(value, list | tuple) else literal(value)}")
        else:
            raise NotTypable(f"{cls.__name__} was made with {key}={type(value).__name__}")
    return f"{called}({', '.join(parts)})"


def _home(thing: Any) -> str | None:
    """ "keras.losses" or "keras.metrics" where the thing is one of Keras's own public ones."""
    named = thing if inspect.isfunction(thing) else type(thing)
    for module, name in ((keras.losses, "keras.losses"), (keras.metrics, "keras.metrics")):
        if getattr(module, named.__name__, None) is named:
            return str(name)
    return None


def _imported(thing: Any, needs: Needs) -> str:
    """The name of a user's function or class, imported from where it lives; a notebook's is copied."""
    name, module = thing.__name__, sys.modules.get(thing.__module__ or "")
    if "<" in thing.__qualname__ or not name.isidentifier() or keyword.iskeyword(name):
        raise NotTypable(f"{thing.__qualname__} has no name that can be imported")
    file = getattr(module, "__file__", None)
    if module is not None and file is not None:
        source = thing.__module__ if thing.__module__ != "__main__" and "." in thing.__module__ else Path(file).stem
        needs.imports.add(f"from {source} import {thing.__qualname__.split('.')[0]}")
        return str(thing.__qualname__)
    try:
        needs.copied[name] = textwrap.dedent(inspect.getsource(thing)).rstrip()
    except (OSError, TypeError) as error:
        raise NotTypable(f"the source of {name} is not to be had") from error
    return str(name)


def with_code(case: Case, fix: Fix) -> Fix:
    """The fix with the Python of its edits, where the rule did not write it."""
    if fix.code or not fix.edits:
        return fix
    lines = [edit_code(case, edit) for edit in fix.edits]
    return replace(fix, code="\n".join(line for line in lines if line))


def edit_code(case: Case, edit: Edit) -> str:
    """One edit as a line of Python: a statement, an argument of compile, or a change to the model; "" where there is none."""
    if isinstance(edit, BatchEdit):
        return edit.code
    if isinstance(edit, CompileEdit):
        needs = Needs()
        try:
            code = argument_code(case.compile, edit, needs)
        except (NotTypable, EditError):
            return ""
        return "\n".join([*needs.definitions.values(), f"{edit.argument}={code}"])
    if isinstance(edit, ActivationEdit):
        return activation_code(case, edit.output, edit.activation)
    return f"model = keras.Model(model.inputs, {outputs_code(case, edit.tree)})"


def activation_code(case: Case, output: str, activation: str) -> str:
    """The statement that gives a layer another activation."""
    flat = trees.paths("y_pred", case.model.outputs)
    i = flat.index(output)
    layer = case.model.activation_layers[i] if i < len(case.model.activation_layers) else None
    return "" if layer is None else f"model.{layer}.activation = keras.activations.{activation}"


def outputs_code(case: Case, tree: object) -> str:
    """The new outputs as an expression on `model.outputs` (Keras's flat order), or `model.output` where they stay together."""
    flat = trees.paths("y_pred", case.model.outputs)
    whole = trees.pack(case.model.outputs, flat)

    def walk(node: object) -> str:
        if node == whole:
            return "model.output"
        if isinstance(node, dict):
            return "{" + ", ".join(f"{k!r}: {walk(v)}" for k, v in node.items()) + "}"
        if isinstance(node, list | tuple):
            return "[" + ", ".join(walk(v) for v in node) + "]"
        return f"model.outputs[{flat.index(str(node))}]"

    return walk(tree)
