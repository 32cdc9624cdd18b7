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
