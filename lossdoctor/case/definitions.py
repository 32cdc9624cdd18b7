"""Where a custom class or function is defined: the Python files beside the model are read for it, never run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from lossdoctor.case.archive import ModelArchive, named_objects

_MOST_FILES, _MOST_BYTES = 200, 1 << 20


def advice(name: str, model: str, module: str = "") -> str:
    """How to pass the class or function `name` that a model file uses: with the file beside it that defines it, if any.

    `module` is where the file says that it is; of several files the one of that name is meant.
    """
    found = _defining_files(name, (Path(model).parent, Path()), module)
    if not found:
        return "pass the file that defines it with --objects FILE_OR_MODULE (see `lossdoctor rule LD952`)"
    if len(found) > 1 and Path(found[0]).stem != module.split(".")[-1]:
        return f"{' and '.join(found[:2])} define such a name: pass --objects {found[0]}, or the other, if you trust it"
    return f"{found[0]} defines it: pass --objects {found[0]}, if you trust it"


def defining_file(name: str, folders: Iterable[Path], module: str = "") -> str | None:
    """The first Python file of these folders with this class or function at its top level, `module`'s own before all others."""
    return next(iter(_defining_files(name, folders, module)), None)


def _defining_files(name: str, folders: Iterable[Path], module: str) -> list[str]:
    if not name.isidentifier():
        return []
    wanted = re.compile(rf"^(?:class|(?:async )?def)\s+{name}\b".encode(), re.MULTILINE)
    found: dict[Path, str] = {}
    for folder in folders:
        for path in sorted(_scripts(folder), key=lambda script: script.stem != module.split(".")[-1]):
            try:
                with open(path, "rb") as stream:
                    if wanted.search(stream.read(_MOST_BYTES)):
                        found.setdefault(path.resolve(), path.as_posix())
            except OSError:
                continue
    return list(found.values())


def _scripts(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.name.endswith(".py") and e.is_file())
    except OSError:
        return []
    return [folder / name for name in names[:_MOST_FILES]]


def files_for(archive: ModelArchive, folders: Iterable[Path]) -> tuple[str, ...]:
    """The Python files of these folders that define what a model file names from outside Keras, each once."""
    folders = tuple(folders)
    names = [(found.name, found.module) for found in named_objects(archive.config) if found.foreign]
    files = (defining_file(name, folders, module) for name, module in names)
    return tuple(dict.fromkeys(file for file in files if file is not None))
