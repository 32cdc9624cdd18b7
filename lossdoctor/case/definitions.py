"""Where a custom class or function is defined: the Python files beside the model are read for it, never run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from lossdoctor.case.archive import ModelArchive, named_objects

_MOST_FILES, _MOST_BYTES = 200, 1 << 20


def advice(name: str, model: str) -> str:
    """How to pass the class or function `name` that a model file uses: with the file beside it that defines it, if any."""
    found = defining_file(name, (Path(model).parent, Path()))
    if found is None:
        return "pass the file that defines it with --objects FILE_OR_MODULE (see `lossdoctor rule LD952`)"
    return f"{found} defines it: pass --objects {found}, if you trust it"


def defining_file(name: str, folders: Iterable[Path]) -> str | None:
    """The first Python file of these folders with this class or function at its top level, as a path with slashes."""
    if not name.isidentifier():
        return None
    wanted = re.compile(rf"^(?:class|(?:async )?def)\s+{name}\b".encode(), re.MULTILINE)
    for folder in folders:
        for path in _scripts(folder):
            try:
                with open(path, "rb") as stream:
                    if wanted.search(stream.read(_MOST_BYTES)):
                        return path.as_posix()
            except OSError:
                continue
    return None


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
    names = [found.name for found in named_objects(archive.config) if found.foreign]
    return tuple(dict.fromkeys(file for name in names if (file := defining_file(name, folders)) is not None))
