"""Where a model lies, as the formats of other tools name a file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

_IN_PYTHON = re.compile(r"(?P<file>.*\.py):[^/\\:]*\Z", re.DOTALL)


def file_of(source: str) -> str:
    """The file in a model's source, with forward slashes, relative where it lies under the working folder.

    ``train.py:build`` gives ``train.py``; the name of a live model stays as it is.
    """
    found = _IN_PYTHON.match(source)
    path = Path(found["file"] if found else source)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return Path(os.path.normpath(path)).as_posix()


def uri_of(source: str) -> str:
    """The same file as a URI reference: relative, or ``file:///...`` where it lies elsewhere."""
    path = file_of(source)
    escaped = quote(path, safe="/", errors="backslashreplace")
    return f"file://{escaped}" if path.startswith("/") else escaped
