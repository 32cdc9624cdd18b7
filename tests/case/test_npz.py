"""Arrays are read header first, row by row, and never more than asked for."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lossdoctor.case import npz
from lossdoctor.types import CaseError


@settings(max_examples=60, deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from(["float32", "int64", "uint8", "bool", "float16", "<U5"]),
        hnp.array_shapes(min_dims=0, max_dims=4, max_side=5),
    ),
    fortran=st.booleans(),
    compressed=st.booleans(),
    count=st.integers(0, 7),
)
def test_rows_are_the_array_s_first_rows(
    tmp_path_factory: Any, array: np.ndarray, fortran: bool, compressed: bool, count: int
) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    (np.savez_compressed if compressed else np.savez)(
        path, a=np.asfortranarray(array) if fortran and array.ndim else array
    )
    lazy = npz.members(path)["a"]
    assert lazy.shape == array.shape
    expected = array[:count] if array.ndim else array
    np.testing.assert_array_equal(lazy.rows(count), expected)
    assert lazy.rows(count).dtype == array.dtype


@pytest.mark.parametrize("order", ["C", "F"])
def test_reading_rows_does_not_read_the_array(tmp_path: Path, order: Any) -> None:
    path = tmp_path / "large.npz"
    np.savez(path, x=np.zeros((4_000_000, 8), dtype="float32", order=order))
    tracemalloc.start()
    rows = npz.members(path)["x"].rows(4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.shape == (4, 8)
    assert peak < 5_000_000 < path.stat().st_size


def test_many_short_columns_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(3 * 1000, dtype="int32").reshape(3, 1000)
    np.savez(tmp_path / "a.npz", x=np.asfortranarray(array))
    lazy, calls, read = npz.members(tmp_path / "a.npz")["x"], [], npz._read
    monkeypatch.setattr(npz, "_read", lambda stream, count: (calls.append(count), read(stream, count))[1])
    for chunk, most in ((1 << 20, 1), (4000, 4), (5, 1000)):
        monkeypatch.setattr(npz, "_CHUNK", chunk)
        calls.clear()
        np.testing.assert_array_equal(lazy.rows(2), array[:2])
        assert len(calls) <= most


def test_text_that_is_no_unicode_is_one_sentence(tmp_path: Path) -> None:
    for order in "<>":
        good = np.array([["a\U0010ffff"], ["b"]], dtype=f"{order}U2")
        bad = good.copy()
        bad.view(f"{order}u4")[1, 0] = 0x7FFFFFFF
        np.savez(
            tmp_path / "a.npz",
            good=good,
            bad=bad,
            fields=bad.view([("a", bad.dtype)]),
            fortran=np.asfortranarray(bad.T),
        )
        found = npz.members(tmp_path / "a.npz")
        np.testing.assert_array_equal(found["good"].rows(2), good)
        for name in ("bad", "fields"):
            with pytest.raises(CaseError, match=f"{name} holds text that is no Unicode"):
                found[name].rows(2)


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def test_a_header_that_promises_more_than_is_there_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    path = _zip(tmp_path / "bomb.npz", {"x.npy": stream.getvalue() + b"\0" * 64})
    with pytest.raises(CaseError, match=r"bomb\.npz: x promises shape \(1000000000000,\) but holds 64 bytes"):
        npz.members(path)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (marker,))

    data = _npy(np.array([Payload()], dtype=object), allow_pickle=True)
    path = _zip(tmp_path / "pickled.npz", {"y.npy": data})
    lazy = npz.members(path)["y"]
    assert lazy.dtype == "object"
    with pytest.raises(CaseError, match="y holds pickled Python objects"):
        lazy.rows(1)
    assert not marker.exists()


BROKEN = {
    "not a zip": lambda p: p.write_bytes(b"hello"),
    "empty": lambda p: p.write_bytes(b""),
    "no array inside": lambda p: _zip(p, {"a.txt": b"x"}),
    "no header": lambda p: _zip(p, {"a.npy": b"garbage"}),
    "empty member": lambda p: _zip(p, {"a.npy": b""}),
    "evil header": lambda p: _zip(p, {"a.npy": b"\x93NUMPY\x01\x00\x20\x00__import__('os').system('true')   "}),
    "negative size": lambda p: _zip(
        p, {"a.npy": b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }          \n"}
    ),
    "huge header": lambda p: _zip(p, {"a.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 200_000}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_get_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "broken.npz"
    BROKEN[name](path)
    with pytest.raises(CaseError, match=r"broken\.npz") as raised:
        npz.members(path)
    assert "\n" not in str(raised.value)


def test_a_truncated_file_gets_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    np.savez(path, x=np.zeros((100, 100)))
    path.write_bytes(path.read_bytes()[:-30_000])
    with pytest.raises(CaseError, match=r"cut\.npz"):
        npz.members(path)["x"].rows(100)


def test_data_damaged_after_the_header(tmp_path: Path) -> None:
    path = tmp_path / "damaged.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(200, 100)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = b"\xff" * 200
    path.write_bytes(bytes(data))
    with pytest.raises(CaseError, match=r"damaged\.npz"):
        npz.members(path)["x"].rows(200)
