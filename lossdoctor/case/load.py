"""A case from the command line: model, batch, compile arguments and custom objects, read in that order of need."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lossdoctor import trees
from lossdoctor.case import archive as archives
from lossdoctor.case import arguments, keras2, pipeline, references
from lossdoctor.limits import bounded
from lossdoctor.types import Batch, Case, CaseError, CompileArgs, InputSpec


def load_case(
    source: str,
    batch: str | Batch | None,
    *,
    loss: str | None = None,
    loss_weights: str | None = None,
    metrics: str | None = None,
    objects: Sequence[str] = (),
    unsafe: bool = False,
    forward: bool = False,
    needs_batch: bool = True,
    needs_loss: bool = True,
) -> Case:
    """Read everything that was named. Raises `CaseError` for the first thing that cannot be read.

    `batch` may be one that is held already; without `needs_loss` another loss will take the place of the saved one. Without `needs_batch`, `batch` may be None: the shapes then keep the sizes that the model leaves open (None). What needs no Keras is read first, so that a mistyped path or option answers at once.
    """
    given = {
        name: None if text is None else arguments.parse_argument(option, text)
        for name, option, text in (
            ("loss", "--loss", loss),
            ("loss_weights", "--loss-weights", loss_weights),
            ("metrics", "--metrics", metrics),
        )
    }
    read = None if references.is_reference(source) else archives.read_model_config(source)

    from lossdoctor.case.batch import load_batch_argument

    if batch is None and needs_batch:
        raise CaseError("check needs a batch; give an .npz file, a saved dataset or file.py:name after the model.")
    early = _early(batch)

    from lossdoctor.case import model
    from lossdoctor.case.room import describe_with_room
    from lossdoctor.case.rows import cut
    from lossdoctor.installed import environment

    versions = environment()
    modules = [references.import_objects(name) for name in objects]
    known = _objects(modules)
    if read is not None:
        wanted = needs_loss and given["loss"] is None
        # What the user's own code takes is the user's own affair.
        with _bounded(read, trusted=bool(objects) or unsafe):
            live = model.rebuild(read, known, unsafe)
            saved, unknown = model.saved_arguments(read, live, known, unsafe, need_loss=wanted)
        moved, notes = model.moved_layers(read, live), keras2.notes(read)
        stored_code = unsafe and any(found.stored_code for found in archives.named_objects(read.config))
    else:
        live, saved, unknown = _live(source)
        moved, stored_code, notes = (), False, ()
    if batch is None:
        spec = model.describe_open(live, source, unknown=unknown, moved=moved, stored_code=stored_code, notes=notes)
        return Case(spec, Batch(""), arguments.override(saved, _changes(given, known), "the command line"), versions, 0)
    names = _names(live)
    if isinstance(batch, Batch) or (early is not None and not _bare(early)):
        whole = early or Batch("")
    else:
        whole = load_batch_argument(batch, *names)
    if read is not None:
        pipeline.load_assets(live, source)
    prepared = pipeline.preprocessed(live, cut(whole))
    found = describe_with_room(
        live,
        source,
        prepared.batch,
        unknown=unknown,
        moved=moved,
        stored_code=stored_code,
        notes=(*notes, *prepared.notes),
        refused=prepared.raised,
        step=prepared.step,
    )
    spec, held, rows = found.model, found.batch, found.rows
    chosen = arguments.override(saved, _changes(given, known), "the command line")
    chosen = arguments.with_paths(chosen, given, spec.outputs, spec.output_names)
    whole_model = None
    if forward:
        if held.x is None:
            raise CaseError("--forward runs the model on x, and the batch has none; add x to the batch.")
        with _bounded(read, trusted=bool(objects) or unsafe, weights=True):
            whole_model = live if read is None else model.with_weights(source, known, unsafe)
    return Case(spec, held, chosen, versions, rows, whole_model)


def _bounded(
    read: archives.ModelArchive | None, *, trusted: bool, weights: bool = False
) -> contextlib.AbstractContextManager[None]:
    """The bounds for making a model out of a file, none for what is trusted."""
    if read is None or trusted:
        return contextlib.nullcontext()
    return bounded(read.path, _layers(read.config), _size(read.path) if weights else 0)


def _size(path: str) -> int:
    """The bytes of a file, or of all files of a folder."""
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(path) for name in names)


def _layers(config: Mapping[str, Any]) -> int:
    """The number of layers that a config says it has; 0 where it does not."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    return len(layers) if isinstance(layers, list) else 0


def _early(batch: str | Batch | None) -> Batch | None:
    """The batch, where no Keras is needed to read it."""
    from lossdoctor.case.batch import load_batch_argument

    if batch is None or isinstance(batch, Batch):
        return batch
    return None if references.is_reference(batch) or Path(batch).is_dir() else load_batch_argument(batch)


def _bare(batch: Batch) -> bool:
    """True for a file without x, y and sample_weight, whose names only the model can explain."""
    return batch.x is None and batch.y is None


def _objects(modules: Sequence[ModuleType]) -> dict[str, Any]:
    """{name: class or function} of everything public that the --objects modules define themselves."""
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }


def _live(source: str) -> tuple[Any, CompileArgs, tuple[str, ...]]:
    """A model named as file.py:name, or what a callable of that name returns."""
    import keras

    found = references.load_reference(source)
    if not isinstance(found, keras.Model) and callable(found):
        found = references.call(found, source)
    if not isinstance(found, keras.Model):
        raise CaseError(
            f"{source} is a {type(found).__name__}, not a Keras model; name a model or a function that returns one."
        )
    from lossdoctor import _compiled

    return found, _compiled.compile_args(found), ()


def _names(live: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(input names, output names) by which the bare arrays of a batch file may be called."""
    from lossdoctor import _keras

    declared = _keras.inputs(live)
    inputs = tuple(s.name for s in trees.values(declared) if isinstance(s, InputSpec)) if declared is not None else ()
    functional = _keras.graph(live)
    structure = functional.output if functional is not None else None
    outputs = tuple(str(k) for k in structure) if isinstance(structure, dict) else _keras.output_names(live) or ()
    return inputs, outputs


def _changes(given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What the command line gave, as `model.compile` takes it."""
    changes: dict[str, Any] = {}
    if given["loss"] is not None:
        changes["loss"] = arguments.resolve_losses(given["loss"], known)
    if given["loss_weights"] is not None:
        changes["loss_weights"] = arguments.check_loss_weights(given["loss_weights"])
    if given["metrics"] is not None:
        changes["metrics"] = arguments.resolve_metrics(given["metrics"], known)
    return changes
