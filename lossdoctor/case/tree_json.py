"""The `__tree__` entry of a batch file: JSON that fixes containers exactly (DESIGN section 5, version 1)."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from keyword import iskeyword
from typing import Any
from unicodedata import normalize

from lossdoctor.near import did_you_mean, shortened
from lossdoctor.types import ArrayRef, CaseError, Tree

_DEPTH = 64
# Of int64 and uint64.
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def read(text: str, arrays: Mapping[str, ArrayRef], file: str) -> dict[str, Tree]:
    """{"x": tree, "y": tree, "sample_weight": tree} of the JSON text; leaves are taken from `arrays`. Raises `CaseError`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CaseError(
            f"{file}: __tree__ is not JSON ({error}); write the batch with lossdoctor.save_batch."
        ) from error
    if not isinstance(document, dict) or document.get("version") != 1:
        raise CaseError(f"{file}: __tree__ has no version 1; write the batch with this release's save_batch.")
    unknown = [key for key in document if key not in ("version", "x", "y", "sample_weight")]
    if unknown:
        raise CaseError(
            f"{file}: __tree__ has an unknown entry {shortened(unknown[0])!r}; it takes version, x, y and sample_weight."
        )
    return {
        root: _node(document[root], root, arrays, file, _DEPTH)
        for root in ("x", "y", "sample_weight")
        if root in document
    }


def _node(node: Any, path: str, arrays: Mapping[str, ArrayRef], file: str, depth: int) -> Tree:
    def fail(what: str) -> CaseError:
        return CaseError(f"{file}: __tree__ at {path}: {what}; write the batch with lossdoctor.save_batch.")

    def child(value: Any, step: Any) -> Tree:
        return _node(value, f"{path}/{shortened(str(step))}", arrays, file, depth - 1)

    if depth == 0:
        raise fail(f"nested deeper than {_DEPTH} levels")
    if not isinstance(node, dict) or not isinstance(node.get("kind"), str):
        raise fail("an entry without a kind")
    kind, items = node["kind"], node.get("items")
    if kind == "leaf":
        key = node.get("key")
        if not isinstance(key, str) or key not in arrays:
            raise fail(f"there is no array {shortened(str(key))!r}{did_you_mean(str(key), arrays)}")
        return arrays[key]
    if kind == "none":
        return None
    if kind == "scalar":
        if not isinstance(node.get("value"), int | float | bool):
            raise fail("a scalar without a number")
        if isinstance(node["value"], int) and not _LEAST <= node["value"] <= _MOST:
            raise fail("a whole number that no array can hold")
        return node["value"]
    if not isinstance(items, list):
        raise fail(f"a {shortened(kind)} without items")
    if kind in ("list", "tuple"):
        values = [child(value, i) for i, value in enumerate(items)]
        return tuple(values) if kind == "tuple" else values
    if kind in ("dict", "ordereddict"):
        return _mapping(kind, items, child, fail)
    if kind == "namedtuple":
        return _namedtuple(node, items, child, fail)
    raise fail(f"an unknown kind {shortened(kind)!r}")


def _mapping(kind: str, items: list[Any], child: Callable[[Any, Any], Tree], fail: Callable[[str], CaseError]) -> Tree:
    found: dict[str, Tree] = OrderedDict() if kind == "ordereddict" else {}
    for item in items:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
            raise fail("a dict entry that is no [name, node] pair")
        if item[0] in found:
            raise fail(f"the name {shortened(item[0])!r} twice")
        found[item[0]] = child(item[1], item[0])
    return found


def _namedtuple(
    node: dict[str, Any], items: list[Any], child: Callable[[Any, Any], Tree], fail: Callable[[str], CaseError]
) -> Tree:
    name, fields = node.get("name"), node.get("fields")
    if not isinstance(fields, list) or not all(isinstance(f, str) for f in fields) or len(fields) != len(items):
        raise fail("a namedtuple whose fields and items differ")
    if not isinstance(name, str) or not all(w.isidentifier() and not iskeyword(w) for w in (name, *fields)):
        raise fail("a namedtuple with a name that is no identifier")
    # As Python reads a name: "\ufb01" is "fi".
    plain = [normalize("NFKC", f) for f in fields]
    if len(set(plain)) != len(fields) or any(f.startswith("_") for f in plain):
        raise fail("a namedtuple with a repeated or private field")
    return namedtuple(name, fields)(*(child(v, f) for f, v in zip(fields, items, strict=True)))  # type: ignore[misc]


def write(trees: Mapping[str, Tree], key_of: Callable[[Any], str]) -> str:
    """The JSON text for these trees; `key_of` names the array under which a leaf is stored."""
    return json.dumps({"version": 1, **{root: _encode(tree, key_of) for root, tree in trees.items()}})


def _encode(node: Any, key_of: Callable[[Any], str]) -> dict[str, Any]:
    if node is None:
        return {"kind": "none"}
    if isinstance(node, bool | int | float):
        return {"kind": "scalar", "value": node}
    if isinstance(node, dict):
        kind = "ordereddict" if isinstance(node, OrderedDict) else "dict"
        return {"kind": kind, "items": [[str(k), _encode(v, key_of)] for k, v in node.items()]}
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return {
            "kind": "namedtuple",
            "name": type(node).__name__,
            "fields": list(node._fields),
            "items": [_encode(v, key_of) for v in node],
        }
    if isinstance(node, list | tuple):
        kind = "tuple" if isinstance(node, tuple) else "list"
        return {"kind": kind, "items": [_encode(v, key_of) for v in node]}
    return {"kind": "leaf", "key": key_of(node)}
