"""What is asked for: one case by names and options alone, so that it can be sent to another process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from lossdoctor.near import did_you_mean
from lossdoctor.types import CaseError


@dataclass(frozen=True)
class CheckCase:
    """One case to check: a model, a batch and the options of `lossdoctor check`, as strings.

    `model` and `batch` are named as on the command line. `loss`, `loss_weights` and `metrics` are JSON text, names,
    .json files, or plain dicts and lists. `severity` maps codes or prefixes to error, warning, info or off. `folder` is
    where modules named in `objects`, `model` and `batch` are looked for besides the working directory.
    """

    model: str
    batch: str | None = None
    name: str = ""
    loss: Any = None
    loss_weights: Any = None
    metrics: Any = None
    objects: tuple[str, ...] = ()
    unsafe: bool = False
    forward: bool = False
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    severity: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None

    def options(self) -> dict[str, Any]:
        """The keyword arguments of `lossdoctor.doctor.examine`."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("model", "batch", "name", "folder"):
            del kept[name]
        return {**kept, **{name: _text(kept[name]) for name in ("loss", "loss_weights", "metrics")}}


@dataclass(frozen=True)
class General:
    """What the settings, or flags in their place, say for all cases."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    severity: Mapping[str, str] = field(default_factory=dict)
    fail_on: str = "error"
    baseline: str | None = None
    folder: str | None = None

    def apply(self, case: CheckCase) -> CheckCase:
        """The case with what is said for all; its own `select` wins, its own `ignore` and `objects` are added."""
        return replace(
            case,
            select=case.select or self.select,
            ignore=(*self.ignore, *case.ignore),
            objects=tuple(dict.fromkeys((*self.objects, *case.objects))),
            severity={**self.severity, **case.severity},
            folder=case.folder or self.folder,
        )


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def as_cases(given: Iterable[Any]) -> tuple[CheckCase, ...]:
    """`CheckCase`s of what `check_many` takes: those themselves, (model, batch[, options[, name]]), or dicts of fields.

    A case without a name is called by its model; names are unique. Raises `CaseError`.
    """
    cases = tuple(_named(_case(item, place)) for place, item in enumerate(given))
    seen: set[str] = set()
    for place, case in enumerate(cases):
        if case.name in seen:
            raise CaseError(f"cases[{place}]: the name {case.name!r} stands twice; give each case a name of its own.")
        seen.add(case.name)
    return cases


def _named(case: CheckCase) -> CheckCase:
    return case if case.name else replace(case, name=case.model)


def _case(item: Any, place: int) -> CheckCase:
    if isinstance(item, CheckCase):
        return item
    if isinstance(item, Mapping):
        return _made(dict(item), place)
    if isinstance(item, tuple | list) and 2 <= len(item) <= 4:
        options, name = [*item[2:], None, None][:2]
        named = {} if name is None else {"name": name}
        return _made({"model": item[0], "batch": item[1], **(options or {}), **named}, place)
    raise CaseError(
        f"cases[{place}] is a {type(item).__name__}; give a CheckCase, a dict of its fields, or "
        "(model, batch, options, name)."
    )


def _made(values: dict[str, Any], place: int) -> CheckCase:
    known = [f.name for f in fields(CheckCase)]
    for key in values:
        if key not in known:
            raise CaseError(
                f"cases[{place}]: {key!r} is no option of a case{did_you_mean(str(key), known)}; "
                f"it takes {', '.join(known)}."
            )
    for key in ("model", "batch"):
        values[key] = _path(values.get(key), key, place)
    for key in ("objects", "select", "ignore"):
        entries = values.get(key, ())
        values[key] = (entries,) if isinstance(entries, str) else tuple(str(e) for e in entries)
    return CheckCase(**values)


def _path(value: Any, key: str, place: int) -> str:
    if hasattr(value, "__fspath__"):
        value = value.__fspath__()
    if not isinstance(value, str):
        raise CaseError(
            f"cases[{place}]: {key} is {'missing' if value is None else f'a {type(value).__name__}'}; name a file, or "
            "file.py:name."
        )
    return value


__all__ = ["CheckCase", "General", "as_cases"]
