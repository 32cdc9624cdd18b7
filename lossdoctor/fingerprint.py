"""What decides a check besides its files: releases, the environment, our own code and the user's, without running any."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import sys
import sysconfig
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# What computes: another release of any of them may find something else.
_DISTRIBUTIONS = (
    "keras",
    "keras-nightly",
    "tensorflow",
    "tensorflow-cpu",
    "tf-nightly",
    "jax",
    "jaxlib",
    "torch",
    "numpy",
    "ml-dtypes",
    "optree",
    "keras-hub",
    "keras-cv",
    "keras-nlp",
    "tensorflow-text",
)
_VARIABLES = ("KERAS_", "TF_", "JAX_", "XLA_", "CUDA_VISIBLE_DEVICES")
# What we, Keras or TensorFlow set themselves when they are imported.
_SET_BY_IMPORT = ("TF_CPP_", "TF_FORCE_GPU_ALLOW_GROWTH")
_MOST_FILES = 5000
_MOST_BYTES = 16 << 20


class Unknown(Exception):
    """Something that a check would read cannot be told without running it."""


def environment_of() -> list[bytes]:
    """Releases, Keras's configuration, environment variables, platform, and our own source, a part each.

    Raises `Unknown` in a process that has changed Keras's configuration or registered classes of its own.
    """
    if "keras" in sys.modules:
        _require_fresh_keras()
    variables = {k: v for k, v in os.environ.items() if k.startswith(_VARIABLES) and not k.startswith(_SET_BY_IMPORT)}
    texts = [
        repr([(name, _version(name)) for name in _DISTRIBUTIONS]),
        repr(sorted(variables.items())),
        repr((platform.python_version(), sys.platform, platform.machine())),
        own_code(),
    ]
    return [*(text.encode("utf-8", "surrogatepass") for text in texts), _keras_configuration()]


def _require_fresh_keras() -> None:
    from lossdoctor import _state

    file = json.loads(_keras_configuration())
    if not isinstance(file, dict) or _state.was_configured(file):
        raise Unknown("keras")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _keras_configuration() -> bytes:
    folder = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    try:
        return file_bytes(os.path.join(folder, "keras.json"))
    except FileNotFoundError:
        return b"{}"


@cache
def own_code() -> str:
    """A hash of lossdoctor's own version and source: another checkout may find something else."""
    from lossdoctor.installed import own_version

    files = sorted(Path(__file__).parent.rglob("*.py"))
    return own_version() + _hash(files)


def file_bytes(path: str | os.PathLike[str]) -> bytes:
    """The whole of a file that is no larger than a batch or a source should be. Raises `Unknown`, `OSError`."""
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would wait for ever
        raise Unknown(str(path))
    with open(path, "rb") as stream:
        data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise Unknown(str(path))
    return data


def code_of(name: str, folder: str | None) -> bytes:
    """The source of an --objects file or module, with what it imports of the user's own. Raises `Unknown`, `OSError`.

    Installed packages count by the time at which they were installed; nothing is imported.
    """
    seen: dict[str, str] = {}
    if name.endswith(".py") or "/" in name or "\\" in name:
        path = Path(name).resolve()
        _add_file(path, [str(path.parent), os.getcwd()], seen)
    else:
        _add_module(name.split(".")[0], [os.getcwd(), *([folder] if folder else [])], seen)
    return repr((name, sorted(seen.items()))).encode("utf-8", "surrogatepass")


def _add_file(path: Path, folders: list[str], seen: dict[str, str]) -> None:
    key = str(path)
    if key in seen:
        return
    if len(seen) > _MOST_FILES:
        raise Unknown(key)
    source = file_bytes(path)
    seen[key] = hashlib.sha256(source).hexdigest()
    for module in _imported(source, key):
        _add_module(module, folders, seen)


def _imported(source: bytes, path: str) -> set[str]:
    """The first names of all modules that a source imports, wherever it does so."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise Unknown(path) from error
    found = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return found | {
        (node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and not node.level
    }


def _add_module(name: str, folders: list[str], seen: dict[str, str]) -> None:
    if name in sys.stdlib_module_names or f"module {name}" in seen:
        return
    spec = PathFinder.find_spec(name, [*folders, *sys.path])
    if spec is None:
        raise Unknown(name)
    seen[f"module {name}"] = _installed(spec) or "source"
    if seen[f"module {name}"] != "source":
        return
    places = list(spec.submodule_search_locations or ())
    if not places:
        _add_file(Path(str(spec.origin)), folders, seen)
    for place in places:
        for path in sorted(Path(place).rglob("*.py")):
            _add_file(path, folders, seen)


def _installed(spec: ModuleSpec) -> str | None:
    """When the installed package was put there; None for the user's own source."""
    places = list(spec.submodule_search_locations or ()) or [str(spec.origin)]
    homes = tuple(os.path.realpath(sysconfig.get_path(kind)) + os.sep for kind in ("purelib", "platlib", "stdlib"))
    if not all(os.path.realpath(place).startswith(homes) for place in places):
        return None
    return repr([(place, os.stat(place).st_mtime_ns) for place in places])


def _hash(files: list[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.name}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


__all__ = ["Unknown", "code_of", "environment_of", "file_bytes", "own_code"]
