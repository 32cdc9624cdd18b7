"""Reports as JSON text that gives the same report back: what the cache keeps and what crosses processes. No pickle."""

from __future__ import annotations

import copyreg
import json
from collections import OrderedDict, deque, namedtuple
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from lossdoctor.types import Checks, Environment, Finding, Fix, InputSpec, Outcome, Pair, ReportData, Spec

_CLASSES: dict[str, type] = {
    c.__name__: c for c in (Checks, Environment, Finding, Fix, InputSpec, Outcome, Pair, ReportData, Spec)
}
# Live objects that no text can hold; they come back as their defaults.
_DROPPED = {"edits"}
_KIND = "$"


def dump(report: ReportData) -> str:
    """The report as one line of ASCII JSON. NumPy numbers become Python's, what JSON cannot say becomes text."""
    return json.dumps(_encode(report), separators=(",", ":"))


def load(text: str) -> ReportData:
    """The report that `dump` wrote. Raises `ValueError` for any other text."""
    try:
        report = _decode(json.loads(text))
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(f"no stored report: {error}") from error
    if not isinstance(report, ReportData):
        raise ValueError("no stored report")
    return report


def _encode(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if type(value) is list:
        return [_encode(v) for v in value]
    if is_dataclass(value) and type(value).__name__ in _CLASSES:
        shown = [f.name for f in fields(value) if f.name not in _DROPPED]
        return {_KIND: type(value).__name__, "fields": {name: _encode(getattr(value, name)) for name in shown}}
    if isinstance(value, Mapping):
        kind = "ordereddict" if isinstance(value, OrderedDict) else "dict"
        return {_KIND: kind, "items": [[_encode(k), _encode(v)] for k, v in value.items()]}
    if isinstance(value, tuple | list | deque):
        return _sequence(value)
    return str(value)


def _sequence(value: Any) -> dict[str, Any]:
    items = [_encode(v) for v in value]
    if hasattr(value, "_fields"):
        return {_KIND: "namedtuple", "name": type(value).__name__, "names": list(value._fields), "items": items}
    kind = "tuple" if isinstance(value, tuple) else "deque" if isinstance(value, deque) else "list"
    return {_KIND: kind, "items": items}


def _decode(node: Any) -> Any:
    if isinstance(node, list):
        return [_decode(v) for v in node]
    if not isinstance(node, dict):
        return node
    kind = node[_KIND]
    if kind in _CLASSES:
        known = {f.name for f in fields(_CLASSES[kind])}
        return _CLASSES[kind](**{name: _decode(v) for name, v in node["fields"].items() if name in known})
    if kind in ("dict", "ordereddict"):
        pairs: Iterable[Any] = [(_decode(k), _decode(v)) for k, v in node["items"]]
        return OrderedDict(pairs) if kind == "ordereddict" else dict(pairs)
    items = [_decode(v) for v in node["items"]]
    if kind == "namedtuple":
        return namedtuple(node["name"], node["names"])(*items)  # type: ignore[misc]
    return {"tuple": tuple, "deque": deque, "list": list}[kind](items)


def _reduced(report: ReportData) -> tuple[Any, tuple[str]]:
    return load, (dump(report),)


# A tree may hold namedtuples whose class no other process can import, so a report is pickled as its text.
copyreg.pickle(ReportData, _reduced)  # type: ignore[arg-type]

__all__ = ["dump", "load"]
