"""Files that Keras 2 wrote: which of their models Keras 3 cannot read, and compile arguments in the words of Keras 3."""

from __future__ import annotations

from typing import Any

from lossdoctor.case.archive import ModelArchive, named_objects

# Where Keras 2 kept `Functional` and `Sequential`; Keras 3 looks there and finds nothing.
_HOMES = ("tf_keras.", "keras.src.engine.", "keras.engine.")
_METRICS = ("metrics", "weighted_metrics")


def written_by(archive: ModelArchive) -> str | None:
    """ "Keras 2.15.0" for a file of Keras 2, None for any other."""
    version = str(archive.metadata.get("keras_version", ""))
    return f"Keras {version[:40]}" if version.startswith("2.") else None


def unreadable(archive: ModelArchive) -> bool:
    """True where the file names classes of Keras 2 that Keras 3 cannot have."""
    return written_by(archive) is not None and any(n.module.startswith(_HOMES) for n in named_objects(archive.config))


def notes(archive: ModelArchive) -> tuple[str, ...]:
    """What a report on a file of Keras 2 has to say of its compile arguments."""
    if archive.legacy and not written_by(archive) and archive.config.get("compile_config"):
        return (
            "loading this .h5 as it was compiled, which Keras 3 may refuse for its loss, metrics or optimizer: load it with compile=False and compile it anew",
        )
    saved, by, said = archive.config.get("compile_config") or {}, written_by(archive), []
    if by and saved.get("loss") != modern("loss", saved.get("loss")):
        taken = "taken in Keras 3's words here (load_model may want compile=False)"
        said.append(f"whether Keras 3 reads the compiled loss of this file, which {by} wrote: {taken}")
    if by and any(saved.get(name) for name in _METRICS):
        said.append(f"the metrics of this file: {by} wrote what it made of them, not what was compiled")
    return tuple(said)


def modern(name: str, value: Any) -> Any:
    """The compile argument `name` of a file of Keras 2 for Keras 3: losses without the function's name and the reduction
    "auto", and no metrics, which Keras 2 wrote as it had resolved them and flattened."""
    return None if name in _METRICS else _modern(value)


def _modern(config: Any) -> Any:
    if isinstance(config, list):
        return [_modern(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    inner = config.get("config")
    if not isinstance(config.get("class_name"), str) or not isinstance(inner, dict):
        return {name: _modern(entry) for name, entry in config.items()}
    kept = {name: value for name, value in inner.items() if name != "fn"}
    if kept.get("reduction") == "auto":
        kept["reduction"] = "sum_over_batch_size"
    return {**config, "config": kept}


__all__ = ["modern", "notes", "unreadable", "written_by"]
