"""`--loss`, `--loss-weights`, `--metrics`: JSON text or a .json file, made into what `model.compile` takes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lossdoctor.case import allowed
from lossdoctor.case.archive import deeper, named_objects
from lossdoctor.files import require_file
from lossdoctor.near import did_you_mean, first_line
from lossdoctor.nested import has_paths, nest_losses, nest_metrics
from lossdoctor.types import CaseError, CompileArgs, Tree

_MOST_BYTES = 4 << 20
_MOST_DEPTH = 64


def parse_argument(option: str, text: str) -> Tree:
    """The value of `option` as JSON; a bare word is taken as that string. Raises `CaseError`."""
    where = option
    if text.endswith(".json"):
        where, text = f"{option} {text}", _file(option, text)
    elif re.fullmatch(r"[A-Za-z_]\w*", text) and text not in ("true", "false", "null"):
        return text
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise CaseError(f"{where} is nested too deeply; write the losses as the outputs are nested.") from error
    except ValueError as error:
        hint = "JSON takes double quotes" if "'" in text else 'quote names, as in \'{"box": "mse"}\''
        raise CaseError(f"{where} is not JSON ({error}); {hint}.") from error
    if deeper({"": value}, _MOST_DEPTH):
        raise CaseError(f"{where} is nested too deeply; write the losses as the outputs are nested.")
    return value


def _file(option: str, name: str) -> str:
    try:
        require_file(name)
        with open(name, encoding="utf-8") as stream:
            text = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise CaseError(f"{option}: there is no file {name}; check the path, or give the JSON itself.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{option}: {name} cannot be read ({error}); give a JSON file.") from error
    if len(text) > _MOST_BYTES:
        raise CaseError(f"{option}: {name} is larger than 4 MiB; give a JSON file of losses.")
    return text


def resolve_losses(value: Tree, known: Mapping[str, Any]) -> Tree:
    """The losses with names of `known` (the --objects) replaced by those objects; Keras's names stay strings.

    `{"class_name": ..., "config": ...}` becomes that loss. Raises `CaseError` for a name that is neither.
    """
    import keras

    return _resolve(value, known, keras.losses, "--loss", ("crossentropy", "ce"))


def resolve_metrics(value: Tree, known: Mapping[str, Any]) -> Tree:
    """As `resolve_losses`, for metrics."""
    import keras

    return _resolve(value, known, keras.metrics, "--metrics", ("accuracy", "acc", "crossentropy", "ce"))


def _resolve(value: Any, known: Mapping[str, Any], home: Any, option: str, extra: tuple[str, ...]) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        return _named(value, known, home, option, extra)
    if isinstance(value, dict) and "class_name" in value:
        return _configured(value, known, home, option)
    if isinstance(value, dict):
        return {key: _resolve(child, known, home, option, extra) for key, child in value.items()}
    if isinstance(value, list):
        return [_resolve(child, known, home, option, extra) for child in value]
    raise CaseError(f"{option}: {value!r} is no name; give names as strings.")


def _named(name: str, known: Mapping[str, Any], home: Any, option: str, extra: tuple[str, ...]) -> Any:
    if name in known:
        found = known[name]
        if not isinstance(found, type):
            return found
        try:
            return found()
        except Exception as error:  # the user's own class
            raise CaseError(
                f"{option}: {name}() raised {type(error).__name__}: {error}; give it defaults, or a function."
            ) from error
    if name.lower() in extra:
        return name
    try:
        home.get(name)
    except Exception as error:  # Keras says in several ways that it knows no such name
        names = [*known, *(n for n in dir(home) if not n.startswith("_"))]
        raise CaseError(
            f"{option}: {name!r} is neither Keras's nor defined by --objects{did_you_mean(name, names)}; "
            "check the name, or pass the file that defines it with --objects."
        ) from error
    return name


def _configured(value: dict[str, Any], known: Mapping[str, Any], home: Any, option: str) -> Any:
    refused = allowed.refused(named_objects(value), known, unsafe=False)
    if refused:
        raise CaseError(f"{option}: {refused}")
    try:
        found = home.deserialize(value, custom_objects=dict(known))
        # For a class that it does not know Keras hands back the name.
        if not callable(found):
            raise ValueError(f"Keras knows no {value['class_name']}")
        return found
    except Exception as error:  # a class that Keras does not know, or a config that it does not take
        raise CaseError(
            f"{option}: {value['class_name']!r} cannot be made ({first_line(error)[:200]}); check its name and config."
        ) from error


def check_loss_weights(value: Tree) -> Tree:
    """The weights as they are, where every leaf is a number. Raises `CaseError`."""

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)
        elif isinstance(node, bool) or not isinstance(node, int | float):
            raise CaseError(f"--loss-weights: {node!r} is no number; give a number for each loss.")
        elif abs(node) > sys.float_info.max and isinstance(node, int):
            raise CaseError("--loss-weights: a number is larger than any float; give a smaller one.")

    walk(value)
    # Keras takes a float where one number is given (`CompileLoss.__init__`).
    return float(value) if isinstance(value, int) else value


def override(saved: CompileArgs, changes: Mapping[str, Any], source: str) -> CompileArgs:
    """The saved arguments with `changes`; a new loss without weights or metrics drops the saved ones, which were made for the old."""
    if not changes:
        return saved
    dropped = {"loss_weights": None, "metrics": None, "weighted_metrics": None} if "loss" in changes else {}
    return replace(saved, **{**dropped, **changes}, source=source)


def with_paths(
    chosen: CompileArgs, given: Mapping[str, Any], outputs: Tree, names: Sequence[str] | None
) -> CompileArgs:
    """The arguments with the paths of the command line ("detection.bbox") nested like the outputs.

    A dict of which no key is a path stays as it is, and so does a key that an output really has. Raises `CaseError`.
    """
    pathed = {name for name, value in given.items() if has_paths(outputs, names, value)}
    try:
        if "loss" in pathed or "loss_weights" in pathed:
            # A weight by path needs the losses by path; weights for such losses may be nested or by path alike.
            weights = chosen.loss_weights if isinstance(chosen.loss_weights, dict) else None
            made = nest_losses(outputs, names, _by_path(chosen.loss), weights, ("--loss", "--loss-weights"), True)
            chosen = replace(chosen, loss=made.loss, loss_weights=made.loss_weights if weights else chosen.loss_weights)
        if "metrics" in pathed:
            chosen = replace(chosen, metrics=nest_metrics(outputs, names, chosen.metrics, "--metrics"))
    except ValueError as error:
        raise CaseError(str(error)) from error
    return chosen


def _by_path(loss: Tree) -> dict[str, Any]:
    """A `loss` of compile as losses by path: a single one goes to every output."""
    if loss is None:
        raise CaseError("--loss-weights gives weights, but the model is compiled without a loss; give --loss as well.")
    return loss if isinstance(loss, dict) else {"" if isinstance(loss, list | tuple) else "*": loss}
