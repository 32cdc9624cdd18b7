"""Zip archives that stay open while many of their members are read."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from contextvars import ContextVar

_open_archives: ContextVar[dict[str, zipfile.ZipFile] | None] = ContextVar("open_archives", default=None)


@contextlib.contextmanager
def kept_open() -> Iterator[None]:
    """Archives that are read inside stay open until the end: opening one reads its whole directory, which grows with its members."""
    if _open_archives.get() is not None:
        yield
        return
    archives: dict[str, zipfile.ZipFile] = {}
    token = _open_archives.set(archives)
    try:
        yield
    finally:
        _open_archives.reset(token)
        for archive in archives.values():
            archive.close()


@contextlib.contextmanager
def opened(file: str) -> Iterator[zipfile.ZipFile]:
    """The archive, read-only; one that `kept_open` keeps, inside of it."""
    archives = _open_archives.get()
    if archives is None:
        with zipfile.ZipFile(file) as archive:
            yield archive
        return
    if file not in archives:
        archives[file] = zipfile.ZipFile(file)
    yield archives[file]


__all__ = ["kept_open", "opened"]
