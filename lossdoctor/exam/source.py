"""Where the source of a custom loss indexes its predictions, read from the file that defines it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lossdoctor.exam.errors import is_user_file


@dataclass(frozen=True)
class IndexUse:
    """One place where a loss indexes or unpacks an argument as if it were a list or a dict of outputs.

    `text` is the user's line, `expression` the part that indexes, `index` the constant used.
    """

    file: str
    line: int
    text: str
    expression: str
    index: int | str


def index_uses(loss: Any) -> tuple[IndexUse, ...]:
    """Every `y_pred[0]`, `y_pred["name"]` or `a, b = y_pred` in a loss function's or `Loss.call`'s own source.

    Empty where the source cannot be had (built at run time, compiled) or holds none.
    """
    function = _function(loss)
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or "?"
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (TypeError, OSError, SyntaxError):
        return ()
    definition = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Lambda)), None)
    if definition is None:
        return ()
    names = [a.arg for a in (*definition.args.posonlyargs, *definition.args.args) if a.arg != "self"]
    if len(names) < 2:
        return ()
    return tuple(
        IndexUse(file, first + node.lineno - 1, lines[node.lineno - 1].strip(), ast.unparse(node), index)
        for node, index in _uses(definition, names[1])
    )


def is_users(loss: Any) -> bool:
    """True where a loss's function is in a file of the user's, whose lines an error's traceback would show."""
    try:
        return is_user_file(inspect.getsourcefile(_function(loss)) or "<")
    except TypeError:
        return False


_PREDICTION = {"y_pred", "pred", "preds", "prediction", "predictions", "predicted", "logits", "y_hat", "yhat"}
_TARGET = {"y_true", "true", "target", "targets", "label", "labels", "y", "truth", "gt", "ground_truth"}


def swapped_names(loss: Any) -> tuple[str, str] | None:
    """The names of a loss's first two parameters where the first is called a prediction and the second a target.

    Keras passes `(y_true, y_pred)`; other libraries have it the other way round.
    """
    try:
        names = [n for n in inspect.signature(_function(loss)).parameters if n != "self"][:2]
    except (TypeError, ValueError):
        return None
    if len(names) == 2 and names[0].lower() in _PREDICTION and names[1].lower() in _TARGET:
        return names[0], names[1]
    return None


def _function(loss: Any) -> Any:
    function = getattr(loss, "fn", None) or loss
    if inspect.isroutine(function):
        return inspect.unwrap(function)
    return getattr(type(function), "call", function)


def _uses(definition: ast.AST, name: str) -> Iterator[tuple[ast.expr | ast.stmt, int | str]]:
    for node in ast.walk(definition):
        if isinstance(node, ast.Subscript) and _is_name(node.value, name) and isinstance(node.slice, ast.Constant):
            if isinstance(node.slice.value, int | str):
                yield node, node.slice.value
        elif isinstance(node, ast.Assign) and _is_name(node.value, name):
            for target in node.targets:
                if isinstance(target, ast.Tuple | ast.List):
                    yield node, len(target.elts) - 1


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
