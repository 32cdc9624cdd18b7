"""Files written beside their place and then renamed: whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from lossdoctor.types import CaseError


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
        os.replace(name, target)
    except OSError as error:
        raise CaseError(f"{path} cannot be written ({error.strerror}); nothing was changed.") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
