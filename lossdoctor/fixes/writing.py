"""Repairs written into the user's own files: the model file's compile arguments, the batch, the training script.

Every file is written beside its place and then renamed (`lossdoctor.files`).
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from lossdoctor import _keras, trees
from lossdoctor.case.batch import load_batch_argument, save_batch
from lossdoctor.case.leaves import read_whole
from lossdoctor.files import write_bytes
from lossdoctor.fixes.apply import ROOTS, EditError, Written, run_statement
from lossdoctor.fixes.code import Needs, compile_code, edit_code
from lossdoctor.types import (
    COMPILE_ARGUMENTS,
    ActivationEdit,
    ArrayRef,
    Batch,
    BatchEdit,
    Case,
    CaseError,
    CompileArgs,
    Edit,
    OutputsEdit,
)

_CONFIG = "config.json"


def write_model(source: str, target: Path, before: CompileArgs, after: CompileArgs, edits: Sequence[Edit]) -> None:
    """A copy of a `.keras` file in which only `compile_config` differs; every other member is copied byte for byte.

    Raises `CaseError` where the repairs change the model itself, or hold a function that a file cannot.
    """
    if any(isinstance(edit, OutputsEdit | ActivationEdit) for edit in edits):
        raise CaseError(
            f"{target} was not written: a repair changes the model itself, not only how it is compiled; write a patch file."
        )
    if not source.endswith(".keras"):
        raise CaseError(f"{target} was not written: {source} is no .keras file; write a patch file.")
    changed = {name: _serialized(getattr(after, name), target) for name in _changed(before, after)}
    if not changed:
        raise CaseError(
            f"{target} was not written: no repair changes how the model is compiled; write the batch instead."
        )
    with zipfile.ZipFile(source) as archive:
        config = json.loads(archive.read(_CONFIG))
        config["compile_config"] = {**(config.get("compile_config") or {}), **changed}
        text = json.dumps(config).encode("utf-8")

        def copy(stream: IO[bytes]) -> None:
            with zipfile.ZipFile(stream, "w") as new:
                for member in archive.infolist():
                    if member.filename == _CONFIG:
                        new.writestr(member, text)
                        continue
                    with archive.open(member) as old, new.open(member, "w", force_zip64=True) as out:
                        shutil.copyfileobj(old, out, 1 << 20)

        write_bytes(target, copy)


def _changed(before: CompileArgs, after: CompileArgs) -> list[str]:
    """The names of the arguments that the repairs changed."""
    return [name for name in COMPILE_ARGUMENTS if getattr(after, name) is not getattr(before, name)]


def _serialized(value: Any, target: Path) -> Any:
    for leaf in trees.values(value) if value is not None else []:
        if isinstance(getattr(leaf, "written", None), Written):
            raise CaseError(
                f"{target} was not written: the repair is a new function ({leaf.written.name}), which a model file cannot hold; "
                "write a patch file."
            )
    return _keras.serialized(value)


def write_batch(batch: Batch, target: Path, edits: Sequence[Edit], names: tuple[Sequence[str], Sequence[str]]) -> int:
    """The whole batch with the repairs carried out, as an `.npz` file; returns its rows. Raises `CaseError`.

    A batch file is read again in full: what was examined may be its first rows only.
    """
    whole = load_batch_argument(batch.source, *names) if Path(batch.source).exists() else batch
    for edit in edits:
        if isinstance(edit, BatchEdit):
            try:
                whole = run_statement(whole, edit.code)
            except EditError as error:
                raise CaseError(f"{target} was not written: on the whole batch {error}.") from error
    save_batch(target, *(trees.map_leaves(read_whole, getattr(whole, root)) for root in ROOTS))
    sizes = [leaf.shape[0] for leaf in trees.values(whole.y) if isinstance(leaf, ArrayRef) and leaf.shape]
    return max(sizes, default=0)


def source_parts(before: Case, after: Case, steps: Sequence[tuple[Case, Sequence[Edit]]]) -> dict[str, Any]:
    """The repairs as what a rewriting of the training script takes (`fixes.rewrite.SourceEdit`).

    `steps` holds the edits of each repair with the case before it. Raises `NotTypable`.
    """
    needs = Needs()
    arguments: Mapping[str, str | None] = {
        name: None if getattr(after.compile, name) is None else compile_code(name, before.compile, after.compile, needs)
        for name in _changed(before.compile, after.compile)
    }
    kinds = (ActivationEdit, OutputsEdit)
    model = [edit_code(case, edit) for case, edits in steps for edit in edits if isinstance(edit, kinds)]
    statements = tuple(e.code for _, edits in steps for e in edits if isinstance(e, BatchEdit))
    body = "\n".join([*statements, *model, *(a or "" for a in arguments.values()), *needs.definitions.values()])
    imports = [line for name, line in (("keras.", "import keras"), ("np.", "import numpy as np")) if name in body]
    return {
        "compile": arguments,
        "statements": statements,
        "model_statements": tuple(model),
        "definitions": "\n\n\n".join(needs.definitions.values()),
        # What the script compiles with today it already has; only Keras's own names may be missing.
        "imports": (*imports, *(line for line in sorted(needs.imports) if line.startswith("from keras"))),
    }


__all__ = ["source_parts", "write_batch", "write_model"]
