"""Models whose own `fit` preprocesses what it is given: the tasks of KerasHub (`keras_hub/src/utils/pipeline_model.py`)."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lossdoctor.case.archive import is_hdf5
from lossdoctor.case.handed import Handed, handed_on
from lossdoctor.case.weights import require_member
from lossdoctor.near import first_line
from lossdoctor.types import ArrayRef, Batch, CaseError, Tree

_ASSETS = "assets/preprocessor"


def preprocessor(model: Any) -> Any:
    """What the model's `fit` runs x, y and sample_weight through first; None for a model of Keras's own kinds."""
    from lossdoctor import _keras

    pipeline = _keras.is_hubs(type(model), "PipelineModel")
    return getattr(model, "preprocessor", None) if pipeline else None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A batch as `fit` gives it to the train step, and what there is to say of that.

    `raised`: the preprocessor's class and what it raised; the batch is then the one given. `step`: what the model's own `train_step` hands on.
    """

    batch: Batch
    notes: tuple[str, ...] = ()
    raised: tuple[str, str] | None = None
    step: Handed | None = None


def preprocessed(model: Any, batch: Batch) -> Prepared:
    """The batch run through the model's own preprocessor, and through its own `train_step`; as it is for a model that has neither."""
    from lossdoctor.case.batch import hold_batch

    own = preprocessor(model)
    if own is None:
        handed = handed_on(model, batch)
        return Prepared(handed.batch, step=handed)
    name = type(own).__name__
    try:
        made = model.preprocess_samples(*(_given(root) for root in (batch.x, batch.y, batch.sample_weight)))
        held = hold_batch(made if isinstance(made, tuple) else (made,), batch.source)
    except Exception as error:  # whatever a preprocessor makes of data that are not meant for it
        return Prepared(batch, raised=(name, f"{type(error).__name__}: {first_line(error)}"))
    note = f"fit runs the batch through the model's {name} first: x, y and sample_weight are what that returns"
    return Prepared(replace(held, notes=(*batch.notes, *held.notes)), (note,))


def _given(node: Tree) -> Any:
    """The data as `fit` hands them to a preprocessor: arrays, and texts as lists of str."""
    if isinstance(node, dict):
        return {key: _given(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_given(value) for value in node)
    if not isinstance(node, ArrayRef):
        return node
    array = node.rows(node.shape[0] if node.shape else 1)
    return _texts(array.tolist()) if array.dtype.kind in "USO" else array


def _texts(node: Any) -> Any:
    if isinstance(node, list):
        return [_texts(value) for value in node]
    return node.decode("utf-8", "replace") if isinstance(node, bytes) else node


def load_assets(model: Any, path: str) -> None:
    """Give the parts of the model's preprocessor their files (vocabularies) out of a model file. Raises `CaseError`."""
    if preprocessor(model) is None:
        return
    with _unpacked(path) as folder:
        for place in sorted({os.path.dirname(file) for file in _files(folder)}):
            part = model
            for name in Path(place).parts[1:]:
                part = getattr(part, name, None)
            if not hasattr(part, "load_assets"):
                continue
            try:
                part.load_assets(os.path.join(folder, place))
            except Exception as error:  # a damaged vocabulary
                raise CaseError(
                    f"{path}: {place} cannot be read ({first_line(error)}); save the model again."
                ) from error


@contextlib.contextmanager
def _unpacked(path: str) -> Iterator[str]:
    """The folder of the model's files: its own, or one into which the preprocessor's are unpacked."""
    if os.path.isdir(path) or is_hdf5(path):
        yield path
        return
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="lossdoctor-") as folder:
        for info in archive.infolist():
            if info.filename.startswith(f"{_ASSETS}/") and not info.is_dir():
                require_member(info, path)
                archive.extract(info, folder)
        yield folder


def _files(folder: str) -> list[str]:
    """The preprocessor's files by their paths in the folder. Raises `CaseError` for one that is a pipe, or a link elsewhere."""
    found = []
    for where, _, names in os.walk(os.path.join(folder, _ASSETS)):
        for file in (os.path.join(where, name) for name in names):
            if os.path.islink(file) or not os.path.isfile(file):
                raise CaseError(f"{file} is not a regular file; save the model again.")
            found.append(os.path.relpath(file, folder))
    return found


__all__ = ["Prepared", "load_assets", "preprocessed", "preprocessor"]
