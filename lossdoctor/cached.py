"""Answers kept from earlier checks: the same inputs get the same report, without Keras.

The key is a hash of everything that a check reads (`key_of`). What is named as Python code (file.py:name), models saved with
`zipped=False` and saved datasets are never kept. Limits: data files that an --objects file reads, and modules that it imports by a name made at
run time, are not seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lossdoctor import stored
from lossdoctor.files import cache_folder
from lossdoctor.fingerprint import Unknown, code_of, environment_of, file_bytes
from lossdoctor.request import CheckCase
from lossdoctor.types import CaseError, ReportData

if TYPE_CHECKING:
    from lossdoctor.facts import Exam

MOST_ENTRIES = 1000
# Up to this size a file is hashed whole; above it, its zip directory, which has a checksum of every member.
_WHOLE = 16 << 20
_WHOLE_HDF5 = 256 << 20
# A report on ten thousand outputs takes 20 MB.
_MOST_ENTRY = 256 << 20
_STALE_SECONDS = 3600
# What reading a damaged zip file raises; the check itself says it in a sentence.
_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, KeyError, ValueError)


def examine(case: CheckCase, *, cache: bool = True, progress: Callable[[str], None] = lambda _: None) -> ReportData:
    """The report of a case, from the cache where nothing that it reads has changed. Raises `CaseError`."""
    found = lookup(case) if cache else None
    return examine_anew(case, cache=cache, progress=progress) if found is None else found


def examine_anew(
    case: CheckCase, *, cache: bool = True, progress: Callable[[str], None] = lambda _: None
) -> ReportData:
    """The report of a case, examined now and kept in the cache. Raises `CaseError`."""
    return examine_with_exam(case, cache=cache, progress=progress)[0]


def examine_with_exam(
    case: CheckCase, *, cache: bool = True, progress: Callable[[str], None] = lambda _: None
) -> tuple[ReportData, Exam]:
    """`examine_anew`, and the exam that its report tells of. Raises `CaseError`."""
    key, inputs = (key_of(case), _inputs(case)) if cache else (None, None)
    from lossdoctor.doctor import examine_with_exam as run

    if case.folder is not None and case.folder not in sys.path:
        sys.path.insert(0, case.folder)
    report, exam = run(case.model, case.batch, progress=progress, **case.options())
    # A file that changed meanwhile may have been read before or after.
    if key is not None and _inputs(case) == inputs:
        _write(key, report)
    return report, exam


def lookup(case: CheckCase) -> ReportData | None:
    """The kept report of a case; None where there is none, or it is damaged."""
    key = key_of(case)
    if key is None:
        return None
    path = cache_folder() / f"{key}.json"
    try:
        checksum, text = _entry(path).split("\n", 1)
        if checksum != _checksum(text):
            return None
        report = stored.load(text)
    except (OSError, ValueError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the oldest are removed first
    return report


def _entry(path: Path) -> str:
    """The text of an entry. Raises `OSError` for what no check wrote there: a link, a pipe, which would wait for ever, a file out of all proportion."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_ENTRY:
            raise OSError(f"{path} is no entry")
        return file.read(_MOST_ENTRY).decode("ascii")


def key_of(case: CheckCase) -> str | None:
    """The hash of all that a check of this case reads; None where that cannot be known without running it."""
    inputs = _inputs(case)
    if inputs is None:
        return None
    try:
        return hashlib.sha256(b"".join([inputs, *_digests(environment_of())])).hexdigest()
    except (Unknown, OSError, ValueError):
        return None


def _inputs(case: CheckCase) -> bytes | None:
    """What a check reads of the user's: names, options, files, source. None where only running it would tell."""
    from lossdoctor.case.references import is_reference

    if case.batch is None or is_reference(case.model) or is_reference(case.batch):
        return None
    options = case.options()
    texts = [case.model, case.batch, repr(sorted(options.items(), key=lambda item: item[0])), str(case.folder)]
    try:
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        parts += [_model(case.model, case.forward), _batch(case.batch)]
        for name in ("loss", "loss_weights", "metrics"):
            if (options[name] or "").endswith(".json"):
                parts.append(file_bytes(options[name]))
        parts += [code_of(name, case.folder) for name in case.objects]
    except (Unknown, OSError, *_DAMAGED):
        return None
    return b"".join(_digests(parts))


def _digests(parts: Iterable[bytes]) -> list[bytes]:
    return [hashlib.sha256(part).digest() for part in parts]


def _model(path: str, forward: bool) -> bytes:
    """What a check reads of a `.keras` file: its JSON documents, the checksums of its assets, and with `forward` those of its weights.

    An HDF5 file has no checksums: it counts whole, if reading it takes no longer than Keras takes to import.
    """
    from lossdoctor.case.archive import HDF5

    if not os.path.isfile(path):
        raise Unknown(path)
    with open(path, "rb") as stream:
        if stream.read(len(HDF5)) == HDF5:
            if os.path.getsize(path) > _WHOLE_HDF5:
                raise Unknown(path)
            stream.seek(0)
            return hashlib.file_digest(stream, "sha256").digest()
    with zipfile.ZipFile(path) as archive:
        names = [name for name in ("config.json", "metadata.json") if name in archive.namelist()]
        if any(archive.getinfo(name).file_size > _WHOLE * 4 for name in names):
            raise Unknown(path)
        documents = [hashlib.sha256(archive.read(name)).digest() for name in names]
    # A model that preprocesses reads its vocabulary.
    return b"".join(documents) + _directory(path, "" if forward else "assets/")


def _batch(path: str) -> bytes:
    if not os.path.isfile(path):
        raise Unknown(path)
    return file_bytes(path) if os.path.getsize(path) <= _WHOLE else _directory(path)


def _directory(path: str, below: str = "") -> bytes:
    """Name, checksum and sizes of every member of a zip file whose name begins so."""
    with zipfile.ZipFile(path) as archive:
        found = [info for info in archive.infolist() if info.filename.startswith(below)]
    members = [(i.filename, i.CRC, i.file_size, i.compress_size, i.header_offset) for i in found]
    return repr(members).encode("utf-8", "surrogatepass")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode("ascii", "replace")).hexdigest()


def _write(key: str, report: ReportData) -> None:
    """Keep the report; a folder that cannot be written is no cache."""
    from lossdoctor.files import write_text

    text = stored.dump(report)
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / f"{key}.json", f"{_checksum(text)}\n{text}")
        _prune(folder)
    except (CaseError, OSError):
        return


def _prune(folder: Path) -> None:
    """Remove the entries least lately used above `MOST_ENTRIES`, and what a killed process left half written."""
    found: list[tuple[float, str]] = []
    for entry in os.scandir(folder):
        # Another process may remove it at any time.
        with contextlib.suppress(OSError):
            age = entry.stat().st_mtime
            if entry.name.endswith(".json"):
                found.append((age, entry.path))
            elif ".json." in entry.name and age < time.time() - _STALE_SECONDS:
                os.unlink(entry.path)
    for _, path in sorted(found)[: max(len(found) - MOST_ENTRIES, 0)]:
        with contextlib.suppress(OSError):
            os.unlink(path)


__all__ = ["MOST_ENTRIES", "examine", "examine_anew", "examine_with_exam", "key_of", "lookup"]
