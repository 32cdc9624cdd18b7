"""Files written beside their place and then renamed: whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from lossdoctor.types import CaseError

# {file: the file beside it that will take its place}, where several are written together.
_staged: ContextVar[dict[Path, str] | None] = ContextVar("staged", default=None)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What is written inside is renamed to its place at the end: all files, or none where anything is raised before that."""
    staged: dict[Path, str] = {}
    token = _staged.set(staged)
    try:
        yield
        done: list[str] = []
        for target in list(staged):
            try:
                os.replace(staged[target], target)
            except OSError as error:
                before = f"; {', '.join(done)} was written" if done else ""
                raise CaseError(f"{target} cannot be written ({error.strerror}){before}.") from error
            del staged[target]
            done.append(str(target))
    finally:
        _staged.reset(token)
        for name in staged.values():
            with contextlib.suppress(OSError):
                os.unlink(name)


def check_place(path: Path) -> None:
    """Raise `CaseError` where a file cannot be written at `path`, before the work of making it is done."""
    target = path.resolve() if path.is_symlink() else path
    if target.is_dir():
        raise CaseError(f"{path} is a folder; name a file to write.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise CaseError(
            f"{path} cannot be written ({error.strerror}); choose a folder that exists and is yours."
        ) from error
    os.close(handle)
    os.unlink(name)


def cache_folder() -> Path:
    """The user's cache, or what LOSSDOCTOR_CACHE_DIR names; it need not exist."""
    given = os.environ.get("LOSSDOCTOR_CACHE_DIR")
    if given:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("lossdoctor", appauthor=False)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8. Raises `CaseError` where that cannot be done; the old file then stays."""
    write_bytes(path, lambda stream: stream.write(text.encode("utf-8")))


def write_bytes(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a file beside `path`, then rename it. Raises `CaseError`; the old file then stays."""
    target = path.resolve() if path.is_symlink() else path
    if target.is_dir():
        raise CaseError(f"{path} is a folder; name a file to write.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise CaseError(
            f"{path} cannot be written ({error.strerror}); choose a folder that exists and is yours."
        ) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        os.chmod(name, 0o666 & ~_umask())
        staged = _staged.get()
        if staged is None:
            os.replace(name, target)
        else:
            staged[target], name = name, staged.get(target, "")
    except OSError as error:
        raise CaseError(f"{path} cannot be written ({error.strerror}); nothing was changed.") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
