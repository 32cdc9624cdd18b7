"""Folders of `tf.data.Dataset.save` that are broken or mean harm: one sentence, and no waiting for what is no file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lossdoctor.case.batch import load_batch_argument
from lossdoctor.types import CaseError

SPEC, METADATA, SNAPSHOT = "dataset_spec.pb", "snapshot.metadata", "*/*.shard/*.snapshot"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tf = pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("saved") / "ds"
    arrays = np.arange(32, dtype="float32").reshape(8, 4), np.ones((8, 1), "float32")
    tf.data.Dataset.from_tensor_slices(arrays).batch(8).save(str(folder))
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "ds"))


def replaced(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.unlink()
        make(file)

    return change


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": lambda file: file.write_bytes(b"") and None,
    "gone": replaced(lambda file: None),
    "a folder": replaced(os.mkdir),
    "a FIFO": replaced(os.mkfifo),
    "a link to itself": replaced(lambda file: file.symlink_to(file.name)),
    "endless": replaced(lambda file: file.symlink_to("/dev/zero")),
}


def test_a_sound_one_is_read(copy: Path) -> None:
    batch = load_batch_argument(str(copy))
    assert batch.x.rows(8).tolist() == np.arange(32).reshape(8, 4).tolist() and batch.y.shape == (8, 1)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [SPEC, METADATA, SNAPSHOT])
def test_a_damaged_one_is_one_sentence(copy: Path, name: str, damage: str) -> None:
    [file] = copy.glob(name)
    DAMAGES[damage](file)
    with pytest.raises(CaseError) as raised:
        load_batch_argument(str(copy))
    said = str(raised.value)
    assert "ds" in said and said.endswith(".") and "\n" not in said and "{{" not in said and "[Op:" not in said
    if damage in ("a FIFO", "a link to itself", "endless"):
        assert f"{file} is not a regular file" in said or f"{copy} is a folder, but none" in said


def _rewritten(copy: Path, **changed: object) -> None:
    from tensorflow.core.protobuf.snapshot_pb2 import SnapshotMetadataRecord

    record = SnapshotMetadataRecord()
    record.ParseFromString((copy / METADATA).read_bytes())
    for name, value in changed.items():
        setattr(record, name, value)
    (copy / METADATA).write_bytes(record.SerializeToString())


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_version_that_dataset_save_does_not_write(copy: Path, version: int) -> None:
    """TensorFlow's reader of the older ones ended the process by SIGSEGV."""
    _rewritten(copy, version=version)
    with pytest.raises(CaseError, match="metadata is damaged"):
        load_batch_argument(str(copy))


@pytest.mark.parametrize("length", [0, 5, 21, 30])
def test_cut_metadata(copy: Path, length: int) -> None:
    """A cut at a field's end is a sound message of fewer fields."""
    data = (copy / METADATA).read_bytes()
    (copy / METADATA).write_bytes(data[:length])
    with pytest.raises(CaseError, match="metadata (is damaged|cannot be read)"):
        load_batch_argument(str(copy))


@pytest.mark.parametrize("name", ["../outside", "outside", ""])
def test_metadata_that_lead_elsewhere(copy: Path, name: str) -> None:
    """What was read then stood outside of the folder."""
    [run] = [p for p in copy.iterdir() if p.is_dir()]
    outside = copy.parent / "outside"
    if name:
        run.rename(outside)
    if name == "outside":
        (copy / "outside").symlink_to(outside)
    _rewritten(copy, run_id=name)
    with pytest.raises(CaseError, match="metadata is damaged|outside is not a regular file"):
        load_batch_argument(str(copy))
