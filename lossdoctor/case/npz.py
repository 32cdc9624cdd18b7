"""`.npz` files read header first: shapes and dtypes from the headers, data only for the rows that are asked for."""

from __future__ import annotations

import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from lossdoctor.case.archives import opened
from lossdoctor.near import first_line, shortened
from lossdoctor.types import CaseError

# A .npy header of an array without fields takes under 200 bytes; this leaves room for structured dtypes.
_MOST_HEADER = 64 * 1024
# NumPy parses a megabyte of headers in half a second: longer ones than this may take so much in a file, and no more.
_LONG_HEADER, _MOST_LONG_HEADERS = 256, 1 << 20
_MOST_CHARACTER = 0x10FFFF
# Arrays in each of x, y and sample_weight; a model has no more inputs and outputs.
MOST_LEAVES = 20_000
_MOST_MEMBERS = 3 * MOST_LEAVES + 1  # and the tree
# NumPy's own limit is 32 axes, 64 from its release 2 on.
_MOST_AXES = 32
# What is read at once while rows are collected, in bytes.
_CHUNK = 1 << 20
# Rows above this many bytes are not read: no batch of examined rows comes near it.
_MOST_BYTES = 1 << 31


@dataclass(frozen=True, eq=False)
class LazyArray:
    """One member of an `.npz`: its header is read, its data are not. `offset` is where they start, in bytes."""

    file: str
    member: str
    shape: tuple[int, ...]
    dtype: str
    fortran: bool
    offset: int
    descr: np.dtype[Any]

    @property
    def _shown(self) -> str:
        return shortened(self.member)

    def rows(self, count: int) -> np.ndarray:
        """The first `count` entries along axis 0 (all of a 0-d array), in C order. Raises `CaseError` where they cannot be read."""
        if self.descr.hasobject:
            raise CaseError(
                f"{self.file}: {self._shown} holds pickled Python objects, which are not read; save plain arrays."
            )
        rows = min(count, self.shape[0]) if self.shape else 0
        shape = (rows, *self.shape[1:])
        wanted = prod(shape) if self.shape else 1
        if wanted * self.descr.itemsize > _MOST_BYTES:
            raise CaseError(f"{self.file}: {rows} rows of {self._shown} take over 2 GiB; save a smaller batch.")
        if wanted * self.descr.itemsize == 0:
            return np.empty(shape if self.shape else (), dtype=self.descr)
        try:
            with opened(self.file) as archive, archive.open(self.member + ".npy") as stream:
                _skip(stream, self.offset)
                if self.fortran and len(self.shape) > 1:
                    return self._fortran_rows(stream, rows)
                data = _read(stream, wanted * self.descr.itemsize)
        except CaseError:
            raise
        except Exception as error:  # a damaged archive fails in many ways (zlib, CRC, struct, OSError)
            raise CaseError(f"{self.file}: {self._shown} cannot be read ({error}); save the batch again.") from error
        if len(data) != wanted * self.descr.itemsize:
            raise CaseError(f"{self.file}: {self._shown} is cut short; save the batch again.")
        return self._sound(np.frombuffer(data, dtype=self.descr).reshape(shape if self.shape else ()).copy())

    def _fortran_rows(self, stream: IO[bytes], rows: int) -> np.ndarray:
        """Column by column, or many short ones at once, keeping the first `rows` entries of each: memory does not grow with the array."""
        columns, size = prod(self.shape[1:]), self.descr.itemsize
        out = np.empty((columns, rows), dtype=self.descr)
        step = max(_CHUNK // (self.shape[0] * size), 1)
        read = self.shape[0] if step > 1 else rows
        for first in range(0, columns, step):
            count = min(step, columns - first)
            data = _read(stream, count * read * size)
            if len(data) != count * read * size:
                raise CaseError(f"{self.file}: {self._shown} is cut short; save the batch again.")
            out[first : first + count] = np.frombuffer(data, dtype=self.descr).reshape(count, read)[:, :rows]
            if first + count < columns:
                _skip(stream, (self.shape[0] - read) * size)
        return self._sound(out.T.reshape((rows, *self.shape[1:]), order="F"))

    def _sound(self, array: np.ndarray) -> np.ndarray:
        """The array, whose texts Python can hold. Raises `CaseError` for others."""
        if not _is_text(array):
            raise CaseError(f"{self.file}: {self._shown} holds text that is no Unicode; save the batch again.")
        return array


def members(path: str | Path) -> dict[str, LazyArray]:
    """{key: array} of an `.npz` in file order, from its directory and the members' headers alone.

    Raises `CaseError` for what is not a readable `.npz`.
    """
    file = str(path)
    _require_file(file)
    try:
        # NumPy warns of headers that Python 2 wrote, and Python of what is none.
        with zipfile.ZipFile(file) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(_members(archive, file))
    except CaseError:
        raise
    except zipfile.BadZipFile as error:
        raise CaseError(
            f"{file} is not a readable .npz file ({error}); write it with lossdoctor.save_batch or np.savez."
        ) from error
    except Exception as error:  # whatever a hostile archive provokes
        raise CaseError(f"{file} cannot be read ({error}); write it again with lossdoctor.save_batch.") from error


def _require_file(file: str) -> None:
    path = Path(file)
    if not path.exists():
        raise CaseError(f"there is no batch file {file}; check the path.")
    if not path.is_file():
        raise CaseError(f"{file} is not a regular file; name an .npz file.")


def _members(archive: zipfile.ZipFile, file: str) -> Iterator[tuple[str, LazyArray]]:
    infos = archive.infolist()
    if len(infos) > _MOST_MEMBERS:
        raise CaseError(f"{file} has {len(infos)} members, more than any batch; save a smaller one.")
    for root, count in Counter(info.filename.split("/")[0] for info in infos if "/" in info.filename).items():
        if count > MOST_LEAVES:
            raise CaseError(f"{file}: {shortened(root)} has {count} arrays; a check takes up to {MOST_LEAVES}.")
    seen: set[str] = set()
    long = 0
    for info in infos:
        if not info.filename.endswith(".npy"):
            raise CaseError(
                f"{file} holds {shortened(info.filename)!r}, which is no array; write the batch with lossdoctor.save_batch."
            )
        key = info.filename[: -len(".npy")]
        if key in seen:
            raise CaseError(f"{file} holds {shortened(key)!r} twice; save the batch again.")
        seen.add(key)
        with archive.open(info) as stream:
            array = _header(stream, info, file, key)
        long += array.offset if array.offset > _LONG_HEADER else 0
        if long > _MOST_LONG_HEADERS:
            raise CaseError(f"{file}: its arrays have over {_MOST_LONG_HEADERS} bytes of headers; save plain arrays.")
        yield key, array


def _header(stream: IO[bytes], info: zipfile.ZipInfo, file: str, key: str) -> LazyArray:
    shown = shortened(key)
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, descr = read(stream, max_header_size=_MOST_HEADER)
    except Exception as error:  # numpy's parser and zlib raise many kinds
        raise CaseError(
            f"{file}: {shown} has no readable array header ({first_line(error)}); save the batch again."
        ) from error
    if descr.subdtype is not None:  # NumPy writes its sizes as the array's own, and reads none such
        raise CaseError(f"{file}: {shown} is an array of arrays by its header; save the batch again.")
    if any(d < 0 for d in shape):
        raise CaseError(f"{file}: {shown} has a negative size in its header; save the batch again.")
    if len(shape) > _MOST_AXES:
        raise CaseError(f"{file}: {shown} has {len(shape)} axes, more than an array can have; save the batch again.")
    # Nothing is stored of an array without elements, so its other sizes may be anything.
    if (0 in shape or descr.itemsize == 0) and prod(d or 1 for d in shape) > _MOST_BYTES:
        raise CaseError(f"{file}: {shown} has no elements, but shape {shape}; save the batch again.")
    offset = stream.tell()
    if not descr.hasobject and prod(shape) * descr.itemsize > info.file_size - offset:
        raise CaseError(
            f"{file}: {shown} promises shape {shape} but holds {max(info.file_size - offset, 0)} bytes; save the batch again."
        )
    return LazyArray(file, key, tuple(int(d) for d in shape), _name(descr), fortran, offset, descr)


def _name(descr: np.dtype[Any]) -> str:
    return "object" if descr.hasobject else descr.str if descr.kind in "USV" else descr.name


def _is_text(array: np.ndarray) -> bool:
    """False where a text holds what is no character: NumPy keeps it, and Python stops at it."""
    if array.dtype.names:
        return all(_is_text(array[name]) for name in array.dtype.names)
    if array.dtype.kind != "U" or array.size == 0 or array.dtype.itemsize == 0:
        return True
    codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
    return bool(codes.max() <= _MOST_CHARACTER)


def _skip(stream: IO[bytes], count: int) -> None:
    # In pieces of our own: `ZipExtFile.seek` reads ahead by 16 MiB at a time.
    while count > 0:
        part = stream.read(min(count, _CHUNK))
        if not part:
            return
        count -= len(part)


def _read(stream: IO[bytes], count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0:
        part = stream.read(min(count, _CHUNK))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
