"""The weights of a model file looked at before Keras loads them (`--forward`): nothing outside the file, nothing out of all proportion."""

from __future__ import annotations

import io
import math
import os
import zipfile
from typing import Any

from lossdoctor.case.archive import is_hdf5
from lossdoctor.types import CaseError

_WEIGHTS = "model.weights.h5"
# Below these sizes nothing is out of proportion: zeros pack well.
_FLOOR = 1 << 28
_MOST_RATIO = 1000
# Packed weights are read whole, here and by Keras, which stores them unpacked; trained ones hardly pack, pruned ones tenfold.
_MOST_RATIO_OF_WEIGHTS = 20
_MOST_RATIO_OF_ALL = 100  # of a whole archive, which Keras unpacks to disk where it holds assets


def require_sound(path: str) -> None:
    """Raise `CaseError` where a member's name leads out of the archive, or the weights refer to other files or to sizes
    that are not there."""
    try:
        if os.path.isdir(path):
            _require_folder(path)
            return
        if is_hdf5(path):  # a legacy file is all one
            _require_weights(path, path)
            return
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                require_member(info, path)
            _require_total(archive.infolist(), path)
            if _WEIGHTS in archive.namelist():
                with _opened(archive) as stream:
                    _require_weights(stream, path)
    except CaseError:
        raise
    except Exception as error:  # whatever a damaged archive, or HDF5 in it, provokes
        raise CaseError(f"{path}: its weights cannot be read ({error}); leave out --forward.") from error


def _require_folder(path: str) -> None:
    """The weights of a model saved with `zipped=False` are a file in its folder."""
    file = os.path.join(path, _WEIGHTS)
    if not os.path.isfile(file):
        raise CaseError(f"{path} holds no file {_WEIGHTS}; leave out --forward.")
    _require_weights(file, path)


def require_member(info: zipfile.ZipInfo, path: str) -> None:
    """Raise `CaseError` for a member whose name leads out of the archive, or that unpacks to more than it can hold."""
    name = info.filename
    if name.startswith("/") or ".." in name.replace("\\", "/").split("/"):
        raise CaseError(f"{path} holds {name[:100]!r}, which leads out of the file; nothing was loaded.")
    if info.file_size > max(_FLOOR, _MOST_RATIO * info.compress_size):
        raise CaseError(f"{path}: {name[:100]!r} unpacks to {info.file_size} bytes; nothing was loaded.")


def _require_total(members: list[zipfile.ZipInfo], path: str) -> None:
    """Keras's own guard looks at each member alone (keras/src/saving/saving_lib.py, 3.15.1), so that many of them may fill a disk."""
    unpacked, packed = sum(m.file_size for m in members), sum(m.compress_size for m in members)
    if unpacked > max(_FLOOR, _MOST_RATIO_OF_ALL * packed):
        raise CaseError(
            f"{path}: its {len(members)} members unpack to {unpacked} bytes, out of {packed}; nothing was loaded."
        )


def _require_weights(source: Any, path: str) -> None:
    """`source` is a path, or an open file to seek in."""
    import h5py

    with h5py.File(source, "r") as file:
        seen: set[int] = set()
        stack: list[tuple[str, Any]] = [("", file)]
        while stack:
            place, group = stack.pop()
            for name in group:
                here = f"{place}/{name}"
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise CaseError(f"{path}: {here} of its weights is a link elsewhere; nothing was loaded.")
                found = group[name]
                if isinstance(found, h5py.Dataset):
                    _require_dataset(found, here, path)
                elif isinstance(found, h5py.Group) and (address := h5py.h5o.get_info(found.id).addr) not in seen:
                    seen.add(address)
                    stack.append((here, found))


def _require_dataset(found: Any, place: str, path: str) -> None:
    if found.external or found.is_virtual:
        raise CaseError(f"{path}: {place} of its weights stands in another file, which is not read.")
    declared = math.prod(found.shape or ()) * found.dtype.itemsize
    if declared > max(_FLOOR, _MOST_RATIO * found.id.get_storage_size()):
        raise CaseError(
            f"{path}: {place} of its weights promises {declared} bytes that are not there; nothing was loaded."
        )


def _opened(archive: zipfile.ZipFile) -> Any:
    """The weights as a file to seek in; a stored member is read where it stands, so that its size costs nothing."""
    info = archive.getinfo(_WEIGHTS)
    stream: Any = archive.open(info)
    if info.file_size > max(_FLOOR, _MOST_RATIO_OF_WEIGHTS * info.compress_size):
        raise CaseError(
            f"{archive.filename}: {_WEIGHTS} unpacks to {info.file_size} bytes, out of {info.compress_size}; nothing was loaded."
        )
    if info.compress_type != zipfile.ZIP_STORED:
        return io.BytesIO(stream.read())
    stream.close()
    assert archive.filename is not None
    return io.BufferedReader(_Part(archive.filename, _start(archive.filename, info), info.file_size), 1 << 16)


def _start(path: str, info: zipfile.ZipInfo) -> int:
    """Where a stored member's data begin: behind its local header, which says how long its two last fields are."""
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)
        lengths = file.read(4)
    return info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")


class _Part(io.RawIOBase):
    """`size` bytes of a file from `start` on, as a file of their own."""

    def __init__(self, path: str, start: int, size: int) -> None:
        super().__init__()
        self._file = open(path, "rb")  # noqa: SIM115
        self._start, self._size, self._place = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        count = max(min(len(buffer), self._size - self._place), 0)
        self._file.seek(self._start + self._place)
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


__all__ = ["require_sound"]
