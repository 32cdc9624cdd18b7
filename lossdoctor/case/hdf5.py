"""Attributes of an HDF5 file: the texts that Keras keeps there, and nothing else of the file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lossdoctor.near import first_line
from lossdoctor.types import CaseError


def read_attributes(path: str, names: Iterable[str], most: int) -> dict[str, bytes]:
    """{name: text} of those root attributes that the file has, each of at most `most` bytes. Raises `CaseError`."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return {name: _text(file.attrs, name, path, most) for name in names if name in file.attrs}
    except CaseError:
        raise
    except Exception as error:  # h5py raises many kinds for a damaged file
        raise CaseError(
            f"{path} is no readable HDF5 file ({first_line(error).rstrip('.')}); write it again with model.save()."
        ) from error


def _text(attributes: Any, name: str, path: str, most: int) -> bytes:
    found = attributes.get_id(name)
    if found.shape != () or found.dtype.kind not in "SO":
        raise CaseError(f"{path}: {name} is no text; write the file again with model.save().")
    # The size of a text of variable length is known only once it is read; the file bounds it.
    if found.get_storage_size() > most:
        raise CaseError(f"{path}: {name} takes over {most} bytes, more than any model needs; it was not read.")
    value = attributes[name]
    text = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
    if len(text) > most:
        raise CaseError(f"{path}: {name} takes over {most} bytes, more than any model needs; it was not used.")
    return text
