"""Files written beside their place and then renamed: whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from lossdoctor.types import CaseError

# A file name may take 255 bytes; this leaves room for what is put around it.
_LONGEST = 200
_NEW = 0o666
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Write = Callable[[IO[bytes]], object]


def require_file(path: str | Path) -> None:
    """Raise an `OSError` for what is there but is no regular file: a pipe would wait for ever, a device never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        kind = errno.EISDIR if os.path.isdir(path) else errno.EINVAL
        raise OSError(kind, "it is a folder" if kind == errno.EISDIR else "it is no regular file", str(path))


# {file: the file beside it that will take its place}, where several are written together.
_staged: ContextVar[dict[Path, Path] | None] = ContextVar("staged", default=None)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What is written inside is renamed to its place at the end: all files, or none where anything is raised before that."""
    staged: dict[Path, Path] = {}
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
    if target.exists() and not target.is_file():
        return  # a device or a pipe is written to as it is
    try:
        tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise CaseError(
            f"{path} cannot be written ({error.strerror}); choose a folder that exists and is yours."
        ) from error


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


def write_bytes(path: Path, write: Write) -> None:
    """Let `write` fill a file beside `path`, then put it in its place, with the mode of the old one.

    A device or a pipe is written to, never replaced. Raises `CaseError`; the old file then stays.
    """
    try:
        old = _status(path)
        if old is not None and stat.S_ISDIR(old.st_mode):
            raise CaseError(f"{path} is a folder; name a file to write.")
        if old is not None and (not stat.S_ISREG(old.st_mode) or path.is_relative_to("/dev")):
            _write_through(path, write)
            return
        target = path.resolve() if path.is_symlink() else path
        _place(target, _NEW & ~_umask() if old is None else stat.S_IMODE(old.st_mode), write)
    except OSError as error:
        what = "make room" if error.errno in _NO_ROOM else "choose a folder that exists and is yours"
        raise CaseError(f"{path} cannot be written ({error.strerror or error}); {what}.") from error


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _write_through(path: Path, write: Write) -> None:
    # Without a reader a pipe would wait for ever; /dev/stdout may be a file in which something stands already.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as stream:
        write(stream)


def _place(target: Path, mode: int, write: Write) -> None:
    short = os.fsdecode(os.fsencode(target.name)[:_LONGEST])
    beside = target.parent / f".{short}.{secrets.token_hex(8)}"
    staged = _staged.get()
    # The name is known before the file is made: an interruption at any moment finds it and removes it.
    unwanted: Path | None = beside
    try:
        with _opened(beside) as stream:
            write(stream)
            stream.flush()
            if hasattr(os, "fchmod"):
                os.fchmod(stream.fileno(), mode)
            if not _named(stream.fileno(), beside, target if staged is None else beside):
                return
        if staged is None:
            os.replace(beside, target)
        else:
            unwanted, staged[target] = staged.get(target), beside
    finally:
        if unwanted is not None:
            with contextlib.suppress(OSError):
                os.unlink(unwanted)


def _opened(beside: Path) -> IO[bytes]:
    """A new file that has no name yet, so that nothing is left of it where the process is killed; else one with a name."""
    unnamed = getattr(os, "O_TMPFILE", None)
    if unnamed is not None and os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            return os.fdopen(os.open(beside.parent, unnamed | os.O_RDWR, 0o600), "w+b")
    return open(beside, "xb")


def _named(handle: int, beside: Path, target: Path) -> bool:
    """Give a file without a name its own; False where it already stands in its place, True where it stands beside it."""
    if os.fstat(handle).st_nlink:
        return True
    folder = os.open(beside.parent, os.O_RDONLY)
    try:
        for name in (target, beside):
            # With a folder's descriptor, because only then the link of /proc is followed.
            try:
                os.link(f"/proc/self/fd/{handle}", name, src_dir_fd=folder, follow_symlinks=True)
                return name is beside
            except OSError as error:
                if error.errno != errno.EEXIST or name is beside:
                    raise
    finally:
        os.close(folder)
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
