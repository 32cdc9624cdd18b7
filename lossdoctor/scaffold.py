"""What `lossdoctor init` writes into a repository: its settings, a workflow, a hook, and what it leaves alone."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lossdoctor.files import write_text
from lossdoctor.types import CaseError

SETTINGS, SHARED = "lossdoctor.toml", "pyproject.toml"
WORKFLOW = Path(".github", "workflows", "lossdoctor.yml")
HOOKS = ".pre-commit-config.yaml"
# How deep models are looked for, and how much is looked at: a repository may hold a data set.
_DEPTH, _MOST_ENTRIES, _MOST_CASES = 3, 20_000, 20
_PASSED_OVER = {"node_modules", "__pycache__", "build", "dist", "site-packages", "venv", "env"}


@dataclass(frozen=True)
class File:
    """A file to write with its text, or one that stays (text ""). `remark` says what of it."""

    path: Path
    text: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Planned:
    """What is to be written, what stays, what the user may add by hand (title, text), and the next step."""

    files: tuple[File, ...]
    kept: tuple[File, ...]
    to_add: tuple[tuple[str, str], ...]
    next: str


def plan(folder: Path) -> Planned:
    """What a repository lacks. Reads file names, and pyproject.toml; raises `CaseError` where that is no TOML."""
    pairs = tuple(find_pairs(folder))
    settings = folder / SETTINGS
    written: list[File] = []
    kept: list[File] = []
    to_add: list[tuple[str, str]] = []
    if _has_section(folder / SHARED):
        kept.append(File(folder / SHARED, remark="it has [tool.lossdoctor]"))
    elif _exists(settings):
        kept.append(File(settings, remark="it exists"))
    else:
        count = f"{len(pairs)} case{'s' * (len(pairs) != 1)} found" if pairs else "its case is an example"
        objects = find_objects(folder, (model for model, _ in pairs))
        count += f"; it imports {', '.join(objects)} for your own classes" if objects else ""
        written.append(File(settings, settings_text(pairs, objects), count))
    workflow = folder / WORKFLOW
    if _exists(workflow):
        kept.append(File(workflow, remark="it exists"))
    else:
        written.append(File(workflow, _template("workflow.yml")))
    hooks = folder / HOOKS
    if not _exists(hooks):
        written.append(File(hooks, "repos:\n" + _template("hook.yaml"), "`pre-commit install` switches it on"))
    elif _names_us(hooks):
        kept.append(File(hooks, remark="it has lossdoctor"))
    else:
        kept.append(File(hooks, remark="it exists"))
        to_add.append((f"For the hook, add this to the repos of {hooks}:", _template("hook.yaml")))
    return Planned(tuple(written), tuple(kept), tuple(to_add), _next(folder, settings, bool(pairs), written))


def write(planned: Planned) -> None:
    """Write the planned files, their folders first. Raises `CaseError` where one cannot be written."""
    for file in planned.files:
        try:
            file.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CaseError(f"{file.path.parent} cannot be made ({error.strerror}); choose another --dir.") from error
        write_text(file.path, file.text)


def settings_text(pairs: tuple[tuple[str, str], ...], objects: tuple[str, ...] = ()) -> str:
    """lossdoctor.toml, with the (model, batch) found as cases, or with an example as a comment; `objects` are files to import."""
    if not pairs:
        return _template("lossdoctor.toml") + _template("case.toml")
    settings = _template("lossdoctor.toml")
    if objects:
        settings = settings.replace('# objects = ["losses.py"]', f"objects = [{', '.join(map(_toml, objects))}]")
    cases = [f"[[cases]]\nmodel = {_toml(model)}\nbatch = {_toml(batch)}\n" for model, batch in pairs]
    return settings + "\n".join(cases)


def find_objects(folder: Path, models: Iterable[str]) -> tuple[str, ...]:
    """The Python files beside these models, or in `folder`, that define what the models name from outside Keras.

    Paths from `folder` with slashes. The files are read, not run; a model that cannot be read has none.
    """
    from lossdoctor.case.archive import read_model_config
    from lossdoctor.case.definitions import files_for

    found: dict[str, None] = {}
    for model in models:
        try:
            archive = read_model_config(str(folder / model))
        except CaseError:
            continue
        files = files_for(archive, ((folder / model).parent, folder))
        found |= dict.fromkeys(Path(file).relative_to(folder).as_posix() for file in files)
    return tuple(found)


def find_pairs(folder: Path) -> Iterator[tuple[str, str]]:
    """(model, batch) for each model file with a batch in its folder, as paths from `folder` with slashes, sorted.

    A batch goes with the model whose name it shares (`model.keras`, `model.npz` or `model_batch.npz`), else with every
    model of its folder where it is the only one.
    """
    found = 0
    for names, place in _folders(folder):
        batches = sorted(name for name in names if name.endswith(".npz"))
        for model in sorted(name for name in names if name.endswith((".keras", ".h5"))):
            stem = model.rsplit(".", 1)[0]
            own = [b for b in batches if b[:-4] == stem] or [
                b for b in batches if b.startswith((f"{stem}_", f"{stem}-"))
            ]
            batch = own[0] if own else batches[0] if len(batches) == 1 else None
            if batch is not None and found < _MOST_CASES:
                found += 1
                yield (place / model).as_posix(), (place / batch).as_posix()


def _folders(folder: Path) -> Iterator[tuple[list[str], Path]]:
    seen = 0
    for root, folders, names in os.walk(folder):
        place = Path(root).relative_to(folder)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _PASSED_OVER)
        if len(place.parts) == _DEPTH:
            folders.clear()
        seen += len(folders) + len(names)
        yield [name for name in names if _typable(str(place / name))], place
        if seen > _MOST_ENTRIES:
            return


def _typable(name: str) -> bool:
    """False for names whose bytes are no UTF-8: TOML cannot hold them."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _names_us(path: Path) -> bool:
    return path.is_file() and b"lossdoctor" in path.read_bytes()


def _has_section(path: Path) -> bool:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise CaseError(f"{path} cannot be read ({error}); mend it, then run init again.") from error
    tool = document.get("tool")
    return isinstance(tool, dict) and "lossdoctor" in tool


def _next(folder: Path, settings: Path, found: bool, written: list[File]) -> str:
    if not any(file.path == settings for file in written):
        return "lossdoctor check"
    if found:
        return f"look at the cases in {settings}, then run: lossdoctor check"
    return f"name your model and batch in {settings}, then run: lossdoctor check"


def _toml(text: str) -> str:
    # What JSON escapes in a string, TOML's basic strings escape alike.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _template(name: str) -> str:
    return (files("lossdoctor") / "templates" / "init" / name).read_text(encoding="utf-8")
