"""Batch files that are broken or mean harm."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.build import BATCH, Case, described, header, npy, sound, with_batch, zipped

X, Y = npy(BATCH["x"]), npy(BATCH["y"])
DEFLATE = zipfile.ZIP_DEFLATED


def _place(make: Any) -> Case:
    def build(folder: Path) -> list[str]:
        sound(folder)
        (folder / "b.npz").unlink()
        make(folder / "b.npz")
        return ["check", "m.keras", "b.npz"]

    return Case(build)


def _named(name: str) -> Case:
    return Case(lambda folder: ["check", sound(folder)[0], name])


PLACES = {
    "batch missing": _place(lambda p: None),
    "batch a folder": _place(lambda p: p.mkdir()),
    "batch a FIFO": _place(os.mkfifo),
    "batch a link to itself": _place(lambda p: p.symlink_to(p.name)),
    "batch a link to /dev/zero": _place(lambda p: p.symlink_to("/dev/zero")),
    "batch a link to /dev/random": _place(lambda p: p.symlink_to("/dev/random")),
    "batch a link to a text": _place(lambda p: p.symlink_to("/etc/passwd")),
    "batch a link to a folder": _place(lambda p: p.symlink_to("/proc/self")),
    "batch an empty name": _named(""),
    "batch a name too long": _named("b" * 5000 + ".npz"),
    "batch a name with a NUL": _named("b\0.npz"),
    "batch /dev/stdin": _named("/dev/stdin"),
    "batch a URL": _named("http://localhost:1/b.npz"),
    "batch the model itself": _named("m.keras"),
    "batch an expression": _named("__import__('os').system('touch MARKER')"),
    "batch a module with code": _named("os:system"),
    "batch a module that is not there": _named("no_such_module:batch"),
}


def _whole() -> bytes:
    return zipped({"x.npy": X, "y.npy": Y})


def _bad_end(**change: int) -> bytes:
    data = bytearray(_whole())
    end = data.rindex(b"PK\x05\x06")
    for place, value in ((8, change.get("entries", 2)), (10, change.get("entries", 2))):
        struct.pack_into("<H", data, end + place, value)
    struct.pack_into("<I", data, end + 16, change.get("offset", struct.unpack_from("<I", data, end + 16)[0]))
    return bytes(data)


def _damaged() -> bytes:
    data = bytearray(
        zipped({"x.npy": npy(np.random.default_rng(0).normal(size=(8, 4))), "y.npy": Y}, compression=DEFLATE)
    )
    data[80:140] = b"\xff" * 60
    return bytes(data)


ARCHIVES = {
    **{
        f"batch cut at {int(s * 100)} percent": Case(with_batch(_whole()[: int(len(_whole()) * s)]))
        for s in (0.05, 0.4, 0.8, 0.97)
    },
    "batch empty": Case(with_batch(b"")),
    "batch text": Case(with_batch(b"x,y\n1,2\n")),
    "batch a pickle": Case(with_batch(b"\x80\x04cposix\nsystem\n.")),
    "batch a bare array": Case(with_batch(X)),
    "batch a zip of nothing": Case(with_batch(zipped({}))),
    "batch a zip of text": Case(with_batch({"a.txt": b"a"})),
    "batch damaged inside": Case(with_batch(_damaged())),
    "batch with fewer entries than there are": Case(with_batch(_bad_end(entries=1)), codes=(0, 1, 2)),
    "batch with more entries than there are": Case(with_batch(_bad_end(entries=9)), codes=(0, 1, 2)),
    "batch with its directory elsewhere": Case(with_batch(_bad_end(offset=0x7FFFFFF0))),
    "batch with 30000 members": Case(with_batch(lambda f: zipped({f"y/{i}.npy": b"" for i in range(30_000)}))),
    "batch with 200000 members": Case(with_batch(lambda f: zipped({f"y/{i}.npy": b"" for i in range(100_001)}))),
}


def _y(member: bytes, codes: tuple[int, ...] = (2,)) -> Case:
    return Case(with_batch({"x.npy": X, "y.npy": member}), codes=codes)


FIELDS = header(
    "{'descr': [" + ",".join(f"('f{i}', '<f8')" for i in range(2800)) + "], 'fortran_order': False, 'shape': (0,), }"
)
HEADERS = {
    "a header of 10**12 elements": _y(described("<f8", (10**12,), b"\0" * 64)),
    "a header of 10**12 bytes in rows": _y(described("<f8", (8, 10**11), b"\0" * 64)),
    "a header of 10**12 empty rows": Case(
        with_batch({"x.npy": X, "y.npy": described("<f8", (10**12, 0))}), codes=(1, 2)
    ),
    "a header of no rows, 10**9 wide, by columns": _y(described("<f8", (0, 10**9), fortran=True), (1, 2)),
    "a header of empty columns, 10**9 of them": Case(
        with_batch({"x.npy": X, "y.npy": described("<f8", (8, 10**9, 0), fortran=True)}), codes=(1, 2)
    ),
    "a header whose product overflows": _y(described("<f8", (2**32, 2**32), b"\0" * 64)),
    "a header of a negative size": _y(described("<f8", (-1, 4), b"\0" * 64)),
    "a header of size True": Case(
        with_batch({"x.npy": X, "y.npy": described("<f8", (True,), b"\0" * 8)}), codes=(1, 2)
    ),
    "a header of a size of 500 digits": _y(
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 500 + ",), }")
    ),
    "a header of 5000 axes": _y(described("<f8", (1,) * 5000, b"\0" * 8)),
    "a header of 70 axes": Case(
        with_batch({"x.npy": X, "y.npy": described("<f8", (1,) * 70, b"\0" * 8)}), codes=(1, 2)
    ),
    "a header with a float size": _y(header("{'descr': '<f8', 'fortran_order': False, 'shape': (1.5,), }")),
    "a header with code": _y(header("__import__('os').system('touch MARKER')")),
    "a header with a call in its shape": _y(
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (open('MARKER', 'w'),), }")
    ),
    "a header with deep brackets": _y(header("(" * 20_000)),
    "a header with deep unary signs": _y(header("-" * 20_000 + "1")),
    "a header that is no dict": _y(header("[1, 2, 3]")),
    "a header with too many keys": _y(header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': 1}")),
    "a header cut": _y(b"\x93NUMPY\x01\x00\xff\xff{'descr'"),
    "a header of 2 GiB": _y(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 200_000),
    "a header of version 9": _y(
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8, version=9), (1, 2)
    ),
    "a header of version 3 not UTF-8": _y(b"\x93NUMPY\x03\x00\x04\x00\x00\x00\xff\xff\xff\xff"),
    "a header of a wide text": _y(described("<U1000000000", (8, 1), b"\0" * 64)),
    "a header of a wide void": _y(described("|V2147483647", (8, 1), b"\0" * 64)),
    "a header of an unknown type": _y(described("<q99", (8, 1), b"\0" * 64)),
    "a header of type code": _y(described("O,O,O", (8, 1), b"\0" * 64)),
    "a header of a record of records": _y(described([("a", [("b", [("c", "<f8")])])], (8, 1), b"\0" * 64), (1, 2)),
    "a header of 3000 fields": _y(described([(f"f{i}", "<f8") for i in range(3000)], (0,)), (1, 2)),
    "a header of a subarray of 10**9": _y(described([("a", "<f8", (10**9,))], (8, 1), b"\0" * 64)),
    "a header of zero bytes each": Case(with_batch({"x.npy": X, "y.npy": described("<U0", (10**12, 1))}), codes=(1, 2)),
    "a header of zero bytes, 2**63 wide": _y(described("<U0", (8, 2**63))),
    "a header of arrays in an array": _y(described(("<f4", (2,)), (8, 1), bytes(64))),
    "a header of text that is no Unicode": _y(described("<U1", (8, 1), b"\xff\xff\xff\x7f" * 8)),
    "a header with integers of Python 2": _y(
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (8L, 1L), }", bytes(64)), (0,)
    ),
    "a header that is nearly none": _y(
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (8if 1else 2, 1), }", bytes(64))
    ),
    "2000 members with headers of 60000 bytes": Case(
        with_batch(lambda f: zipped({"x.npy": X, **{f"y/{i}.npy": FIELDS for i in range(2000)}}, compression=DEFLATE)),
        "bytes of headers",
    ),
    "3 million columns": Case(
        with_batch(
            lambda f: zipped(
                {"x.npy": X, "y.npy": described("<f4", (8, 3_000_000), bytes(96_000_000), True)}, compression=DEFLATE
            )
        ),
        codes=(0, 1),
    ),
    "an empty member": _y(b""),
    "a member of text": _y(b"hello"),
    "a member of pickle": _y(b"\x80\x04cposix\nsystem\n."),
}


class Payload:
    """Unpickled, it would make a file."""

    def __reduce__(self) -> Any:
        return (open, ("MARKER", "w"))


PICKLES = {
    "pickled targets": Case(
        with_batch({"x.npy": X, "y.npy": npy(np.array([[Payload()]] * 8, dtype=object), allow_pickle=True)}),
        codes=(1, 2),
    ),
    "pickled inputs": Case(
        with_batch({"x.npy": npy(np.array([[Payload()]] * 8, dtype=object), allow_pickle=True), "y.npy": Y}),
        codes=(1, 2),
    ),
    "pickled tree": Case(
        with_batch({"__tree__.npy": npy(np.array(Payload(), dtype=object), allow_pickle=True), "x.npy": X})
    ),
    "pickled records": Case(
        with_batch({"x.npy": X, "y.npy": npy(np.array([(Payload(),)] * 8, dtype=[("a", "O")]), allow_pickle=True)}),
        codes=(1, 2),
    ),
    "targets of text": Case(with_batch({"x.npy": X, "y.npy": npy(np.array([["a"]] * 8))}), codes=(1,)),
    "targets of dates": Case(with_batch({"x.npy": X, "y.npy": npy(np.zeros((8, 1), "M8[s]"))}), codes=(1, 2)),
    "targets of complex numbers": Case(with_batch({"x.npy": X, "y.npy": npy(np.zeros((8, 1), "c16"))}), codes=(1, 2)),
    "targets of long doubles": Case(
        with_batch({"x.npy": X, "y.npy": npy(np.zeros((8, 1), np.longdouble))}), codes=(0, 1, 2)
    ),
    "targets of void": Case(with_batch({"x.npy": X, "y.npy": npy(np.zeros((8, 1), "V7"))}), codes=(1, 2)),
    "targets of another byte order": Case(
        with_batch({"x.npy": X, "y.npy": npy(np.zeros((8, 1), ">f4"))}), codes=(0, 1)
    ),
}


def _keys(*names: str) -> Case:
    return Case(with_batch({"x.npy": X, **{f"{n}.npy": Y for n in names}}), codes=(1, 2))


KEYS = {
    "a key that climbs": _keys("y/../../evil"),
    "a key of an absolute path": _keys("/etc/evil"),
    "a key with a drive": _keys("C:\\evil"),
    "an empty key": _keys(""),
    "a key of slashes": _keys("y//", "y///"),
    "a key that ends in a slash": _keys("y/"),
    "a key with a NUL": _keys("y/a\0b"),
    "a key with escape codes": _keys("y/\x1b[2J\x07"),
    "a key with markup": _keys("y/[red]a[/red]"),
    "a key 20000 levels deep": _keys("y" + "/a" * 20_000),
    "a key of 60000 letters": _keys("y/" + "a" * 60_000),
    "a key of 60000 letters outside of the roots": Case(
        with_batch({"x.npy": X, f"yy {'ab ' * 20_000}.npy": Y}), r"^.{0,300}$"
    ),
    "a key of 60000 letters that the model lacks": Case(
        with_batch({"i.npy": X, f"{'ab ' * 20_000}.npy": Y}), r"^.{0,300}$"
    ),
    "a key of 5000 digits": _keys("y/" + "9" * 5000),
    "a key of other digits": _keys("y/٣"),
    "a key of superscript digits": _keys("y/²"),
    "a key with a surrogate's bytes": _keys("y/\u200f\u202e"),
    "a key that is array and group": _keys("y/a", "y/a/b"),
    "keys of a list with a gap": _keys("y/0", "y/2"),
    "keys of a list twice": _keys("y/0", "y/00"),
    "keys of none of the roots": _keys("evil"),
    "keys that name attributes": _keys("y/__class__", "y/__init__"),
    "300 targets": Case(
        with_batch(lambda f: zipped({"x.npy": X, **{f"y/{i}.npy": Y for i in range(300)}})), codes=(1,)
    ),
    "1000 targets": Case(
        with_batch(lambda f: zipped({"x.npy": X, **{f"y/{i}.npy": Y for i in range(1000)}})), codes=(1,)
    ),
    # Ten thousand are examined, in the time that Keras takes (`tests.bench`); more than any model has are not.
    "20001 targets": Case(
        with_batch(lambda f: zipped({"x.npy": X, **{f"y/{i}.npy": Y for i in range(20_001)}})), "20001 arrays"
    ),
    "the same key twice": Case(
        with_batch(lambda f: zipped({"x.npy": X, "y.npy": Y, "Y.npy": Y}).replace(b"Y.npy", b"y.npy"))
    ),
}

LEAF = {"kind": "leaf", "key": "x"}


def _tree(value: Any) -> Case:
    text = value if isinstance(value, str) else json.dumps({"version": 1, "x": LEAF, "y": value})
    return Case(with_batch({"__tree__.npy": npy(np.array(text)), "x.npy": X, "y.npy": Y}), codes=(1, 2))


def _deep(depth: int) -> str:
    return '{"version": 1, "x": ' + '{"kind": "list", "items": [' * depth + "]}" * depth + "}"


def _wide_text() -> bytes:
    """A text of 400 MB that takes 400 kB packed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", DEFLATE, compresslevel=1) as made:
        made.writestr("x.npy", X)
        with made.open("__tree__.npy", "w") as member:
            member.write(described(f"<U{100 << 20}", ()))
            for _ in range(400):
                member.write(bytes(1 << 20))
    return stream.getvalue()


TREES = {
    "a tree that is empty": _tree(""),
    "a tree that is null": _tree("null"),
    "a tree that is cut": _tree('{"version": 1, "x": {'),
    "a tree of another version": _tree('{"version": 2}'),
    "a tree of version True": _tree('{"version": true, "x": {"kind": "none"}}'),
    "a tree 200 deep": _tree(_deep(200)),
    "a tree 100000 deep": _tree(_deep(100_000)),
    "a tree of 10**8 letters": Case(with_batch(lambda f: _wide_text())),
    "a tree of bytes not UTF-8": Case(with_batch({"__tree__.npy": npy(np.array(b"\xff\xfe{")), "x.npy": X})),
    "a tree of numbers": Case(with_batch({"__tree__.npy": npy(np.array(1.0)), "x.npy": X})),
    "a tree of many texts": Case(with_batch({"__tree__.npy": npy(np.array(["{}"] * 9)), "x.npy": X})),
    "a tree of an unknown kind": _tree({"kind": "object", "items": []}),
    "a tree of a kind that is a list": _tree({"kind": ["leaf"], "key": "y"}),
    "a tree with a leaf that is not there": _tree({"kind": "leaf", "key": "../m.keras"}),
    "a tree with a leaf that is the tree": _tree({"kind": "leaf", "key": "__tree__"}),
    "a tree with items that are a number": _tree({"kind": "list", "items": 3}),
    "a tree with a pair of three": _tree({"kind": "dict", "items": [["a", LEAF, LEAF]]}),
    "a tree with a name that is a number": _tree({"kind": "dict", "items": [[1, LEAF]]}),
    "a tree with a name twice": _tree({"kind": "dict", "items": [["a", LEAF], ["a", LEAF]]}),
    "a tree with a scalar of text": _tree({"kind": "scalar", "value": "1"}),
    "a tree with a scalar of 4000 digits": _tree(
        '{"version": 1, "x": {"kind": "leaf", "key": "x"}, "y": {"kind": "scalar", "value": ' + "9" * 4000 + "}}"
    ),
    "a tree with a scalar that is not a number": _tree(
        '{"version": 1, "x": {"kind": "leaf", "key": "x"}, "y": {"kind": "scalar", "value": NaN}}'
    ),
    "a tree with a namedtuple of code": _tree(
        {"kind": "namedtuple", "name": "a(b):\n import os", "fields": ["a"], "items": [LEAF]}
    ),
    "a tree with a namedtuple's private field": _tree(
        {"kind": "namedtuple", "name": "T", "fields": ["__class__"], "items": [LEAF]}
    ),
    "a tree with a namedtuple's keyword": _tree(
        {"kind": "namedtuple", "name": "class", "fields": ["a"], "items": [LEAF]}
    ),
    "a tree with a namedtuple of 20001 fields": _tree(
        {"kind": "namedtuple", "name": "T", "fields": [f"f{i}" for i in range(20_001)], "items": [LEAF] * 20_001}
    ),
    "a tree with the same leaf 20001 times": _tree({"kind": "list", "items": [LEAF] * 20_001}),
    "a tree with a name of escape codes": _tree({"kind": "dict", "items": [["\x1b[2J", {"kind": "leaf", "key": "y"}]]}),
    "a tree with a namedtuple's field twice in two spellings": _tree(
        {"kind": "namedtuple", "name": "T", "fields": ["\ufb01", "fi"], "items": [LEAF, LEAF]}
    ),
    "a tree with a namedtuple's private field in another spelling": _tree(
        {"kind": "namedtuple", "name": "T", "fields": ["\uff3fcls"], "items": [LEAF]}
    ),
    "a tree with a whole number of 300 digits": _tree({"kind": "scalar", "value": 10**300}),
    "a tree with a leaf of six million letters that is not there": Case(
        with_batch(
            lambda f: zipped(
                {
                    "__tree__.npy": npy(
                        np.array(json.dumps({"version": 1, "x": {"kind": "leaf", "key": "ab cd " * 1_000_000}}))
                    ),
                    **{f"{f'ab cd{i} ' * 6000}.npy": Y for i in range(60)},
                },
                compression=DEFLATE,
            )
        ),
        r"^.{0,300}$",
    ),
    "a tree with roots that are unknown": _tree('{"version": 1, "z": {"kind": "none"}}'),
}

CASES: dict[str, Case] = {**PLACES, **ARCHIVES, **HEADERS, **PICKLES, **KEYS, **TREES}
