"""The settings that hold here: found upwards from the working directory, read, and told apart from slips."""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossdoctor.files import require_file
from lossdoctor.near import did_you_mean
from lossdoctor.request import CheckCase, General, as_cases
from lossdoctor.types import CaseError

if TYPE_CHECKING:
    from lossdoctor.settings.schema import CaseSettings, Settings

OWN, SHARED = "lossdoctor.toml", "pyproject.toml"
_MOST_BYTES = 4 << 20
# The time that a key with many dots takes grows with their square.
_MOST_DOTS = 1000


@dataclass(frozen=True)
class Repository:
    """Settings as they are used: paths seen from the working directory. `file` is None where there are none."""

    general: General = field(default_factory=General)
    cases: tuple[CheckCase, ...] = ()
    file: str | None = None


def read_settings(config: str | None = None) -> Repository:
    """The settings of `config`, else of the nearest folder upwards that has some, else none.

    Raises `CaseError` with a sentence a slip for settings that cannot be read.
    """
    path = Path(config) if config is not None else _nearest(Path.cwd())
    if path is None:
        return Repository()
    shown = config if config is not None else _shown(path)
    table = _table(_text(path, shown), path, shown)
    if table is None:
        raise CaseError(f"{shown} has no [tool.lossdoctor]; add that table, or name another file with --config.")
    return _used(_validated(table, shown), path, shown)


def _nearest(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        if (folder / OWN).is_file():
            return folder / OWN
        if (folder / SHARED).is_file() and _mentions_us(folder / SHARED):
            return folder / SHARED
    return None


def _mentions_us(path: Path) -> bool:
    """True where the file has our table, or is damaged where it seems to; other projects' slips are not ours to tell."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    try:
        return "lossdoctor" in tomllib.loads(text).get("tool", {})
    except (ValueError, RecursionError, AttributeError, TypeError):
        return "[tool.lossdoctor" in text


def _text(path: Path, shown: str) -> str:
    try:
        require_file(path)
        if path.stat().st_size > _MOST_BYTES:
            raise CaseError(f"{shown} is larger than 4 MiB; name a settings file.")
        text = path.read_text(encoding="utf-8")
        if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
            raise CaseError(f"{shown} has a line with over {_MOST_DOTS} dots; name a settings file.")
        return text
    except FileNotFoundError:
        raise CaseError(f"there is no settings file {shown}; check the path.") from None
    except UnicodeDecodeError as error:
        raise CaseError(f"{shown} is not UTF-8 text ({error.reason}); save it as UTF-8.") from error
    except OSError as error:
        raise CaseError(f"{shown} cannot be read ({error.strerror}); name a TOML file.") from error


def _table(text: str, path: Path, shown: str) -> Any:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CaseError(f"{shown} is not TOML ({error}); mend that place.") from error
    if path.name != SHARED:
        return document
    tool = document.get("tool", {})
    return tool.get("lossdoctor") if isinstance(tool, dict) else None


def _validated(table: Any, shown: str) -> Settings:
    from pydantic import ValidationError

    from lossdoctor.settings.schema import Settings

    try:
        settings = Settings.model_validate(table)
    except ValidationError as error:
        raise CaseError("\n".join(_sentence(slip, shown) for slip in error.errors(include_url=False))) from None
    slips = [*_wrong_codes(settings), *_wrong_names(settings)]
    if slips:
        raise CaseError("\n".join(f"{shown}: {slip}" for slip in slips))
    return settings


def _sentence(slip: Mapping[str, Any], shown: str) -> str:
    """What is wrong with one key, and what it takes."""
    place, kind, value = slip["loc"], slip["type"], slip["input"]
    if kind == "invalid-json-value":  # its place goes on with names of pydantic's own
        return f"{shown}: {_path(place[:3])} holds what JSON cannot say; give names, numbers, tables and arrays."
    key = _path(place) or "the table"
    if kind == "extra_forbidden":
        known = _known_keys(place)
        guess = did_you_mean(str(place[-1]).replace("_", "-"), known)
        return f"{shown}: {key} is no setting{guess}; known: {', '.join(known)}."
    if kind == "missing":
        return f"{shown}: {key} is missing; name the {place[-1]}."
    if kind == "literal_error":
        guess = did_you_mean(value, re.findall(r"'(\w+)'", slip["ctx"]["expected"])) if isinstance(value, str) else ""
        return f"{shown}: {key} is {value!r}{guess}; it takes {slip['ctx']['expected']}."
    if kind == "string_too_short":
        return f"{shown}: {key} is empty; give it a value or leave it out."
    takes = {"string_type": "a string", "bool_type": "true or false", "tuple_type": "an array, as in [...]"}
    return f"{shown}: {key} is {_what(value)}; it takes {takes.get(kind, 'a table')}."


def _path(place: tuple[Any, ...]) -> str:
    """cases[0].fail-on of ("cases", 0, "fail-on")."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")


def _what(value: Any) -> str:
    names: dict[type, str] = {dict: "a table", list: "an array", str: "a string", bool: "true or false"}
    kind = names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")
    return kind if isinstance(value, dict | list) else f"{kind}, {value!r}"


def _known_keys(place: tuple[Any, ...]) -> list[str]:
    from lossdoctor.settings.schema import CaseSettings, Settings

    model: type[CaseSettings] | type[Settings] = CaseSettings if place[0] == "cases" else Settings
    return [str(info.alias) for info in model.model_fields.values()]


def _wrong_codes(settings: Settings) -> Iterator[str]:
    from lossdoctor.rules import RULES

    codes = [rule.code for rule in RULES]
    for key, entry in _codes(settings):
        if not entry or not any(code.startswith(entry.upper()) for code in codes):
            yield f"{key}: no rule has the code {entry!r}{did_you_mean(entry.upper(), codes)}; `lossdoctor rule` lists them."


def _codes(settings: Settings) -> Iterator[tuple[str, str]]:
    groups = [("select", settings.select), ("ignore", settings.ignore)]
    groups += [(f"per-case-ignores.{name}", entries) for name, entries in settings.per_case_ignores.items()]
    for place, case in enumerate(settings.cases):
        groups += [(f"cases[{place}].select", case.select or ()), (f"cases[{place}].ignore", case.ignore)]
    for key, entries in groups:
        yield from ((key, part.strip()) for entry in entries for part in entry.split(","))
    yield from (("severity", code) for code in settings.severity)


def _wrong_names(settings: Settings) -> Iterator[str]:
    names = [_name(case) for case in settings.cases]
    for name, count in Counter(names).items():
        if count > 1:
            yield f"cases: {count} cases are called {name!r}; give each a name of its own."
        if not name.isprintable():
            yield f"cases: the name {name!r} holds characters that cannot be printed; give the case another."
    for pattern in settings.per_case_ignores:
        if not any(fnmatchcase(name, pattern) for name in names):
            yield f"per-case-ignores.{pattern} fits no case{did_you_mean(pattern, names)}; name a case or a pattern."


def _name(case: CaseSettings) -> str:
    return case.name or case.model


def _used(settings: Settings, path: Path, shown: str) -> Repository:
    folder = os.path.dirname(os.path.abspath(path))

    def case(entry: CaseSettings) -> CheckCase:
        name = _name(entry)
        fitting = [
            c for pattern, codes in settings.per_case_ignores.items() if fnmatchcase(name, pattern) for c in codes
        ]
        return CheckCase(
            model=_located(entry.model, folder),
            batch=_located(entry.batch, folder),
            name=name,
            loss=_argument(entry.loss, folder),
            loss_weights=_argument(entry.loss_weights, folder),
            metrics=_argument(entry.metrics, folder),
            objects=_located_objects(entry.objects, folder),
            unsafe=entry.unsafe,
            forward=entry.forward,
            select=entry.select or (),
            ignore=(*fitting, *entry.ignore),
            folder=folder,
        )

    general = General(
        select=settings.select,
        ignore=settings.ignore,
        objects=_located_objects(settings.objects, folder),
        severity=settings.severity,
        fail_on=settings.fail_on,
        baseline=None if settings.baseline is None else _seen_from_here(settings.baseline, folder),
        folder=folder,
    )
    return Repository(general, as_cases(case(entry) for entry in settings.cases), shown)


def _located(name: str, folder: str) -> str:
    """A file, folder or file.py:name of the settings as seen from the working directory; module:name stays as it is."""
    file, colon, attribute = name.rpartition(":")
    if colon and file.endswith(".py"):
        return f"{_seen_from_here(file, folder)}:{attribute}"
    return name if re.fullmatch(r"[\w.]+:[\w.]+", name) else _seen_from_here(name, folder)


def _located_objects(names: tuple[str, ...], folder: str) -> tuple[str, ...]:
    """As `_located` for `objects`, where a name without a slash or .py is a module."""
    files = (name.endswith(".py") or "/" in name or "\\" in name for name in names)
    return tuple(_seen_from_here(n, folder) if is_file else n for n, is_file in zip(names, files, strict=True))


def _argument(value: Any, folder: str) -> Any:
    return _seen_from_here(value, folder) if isinstance(value, str) and value.endswith(".json") else value


def _seen_from_here(name: str, folder: str) -> str:
    if os.path.isabs(name):
        return name
    there = os.path.join(folder, name)
    try:
        return os.path.relpath(there)
    except ValueError:  # another drive
        return there


def _shown(path: Path) -> str:
    return _seen_from_here(path.name, str(path.parent))


__all__ = ["Repository", "read_settings"]
