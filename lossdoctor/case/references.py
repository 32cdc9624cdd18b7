"""`file.py:name` and `package.module:name`: the user's own code, imported because the user named it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from lossdoctor.near import did_you_mean, ending, first_line
from lossdoctor.types import CaseError

# A drive letter (C:\\x.py:name) is no module; a name is an identifier, dotted for attributes.
_REFERENCE = re.compile(r"^(?P<where>(?:[A-Za-z]:[\\/])?[^:]+):(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)$")


def is_reference(text: str) -> bool:
    """True for `file.py:name` and `package.module:name`."""
    found = _REFERENCE.match(text)
    return bool(found) and (found["where"].endswith(".py") or bool(re.fullmatch(r"[\w.]+", found["where"])))  # type: ignore[index]


def load_reference(text: str) -> Any:
    """The object that `file.py:name` or `package.module:name` names. Raises `CaseError` where it cannot be had."""
    found = _REFERENCE.match(text)
    if not found:
        raise CaseError(f"{text!r} names no object; write file.py:name or package.module:name.")
    module = import_objects(found["where"])
    value: Any = module
    for step in found["name"].split("."):
        if not hasattr(value, step):
            known = [name for name in dir(value) if not name.startswith("_")]
            raise CaseError(f"{found['where']} has no {step!r}{did_you_mean(step, known)}; name something it defines.")
        value = getattr(value, step)
    return value


def call(function: Callable[[], Any], source: str) -> Any:
    """What the user's function returns. Raises `CaseError` where it raises."""
    try:
        with _as_script(source):
            result = function()
    except Exception as error:  # the user's own function
        said = f": {first_line(error)}" if str(error) else ""
        raise CaseError(
            f"{source} raised {type(error).__name__} when it was called{said}; call it yourself to see where."
        ) from error
    except (SystemExit, GeneratorExit) as error:
        raise CaseError(f"{source} {ending(error)} when it is called; let it return, or raise an error.") from error
    if inspect.iscoroutine(result):
        result.close()
        raise CaseError(f"{source} is a coroutine function; name one that returns without `await`.")
    return result


def import_objects(where: str) -> ModuleType:
    """The module of a file's path or of a dotted name. Its code runs: the user asked for it. Raises `CaseError`."""
    if where.endswith(".py") or "/" in where or "\\" in where:
        return _from_file(Path(where))
    try:
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        with _as_script(where):
            return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name and where.split(".")[0] != error.name.split(".")[0]:
            raise _failed(where, error) from error
        raise CaseError(f"there is no module {where}; check the name, or give the path of its .py file.") from error
    except Exception as error:  # the user's own code
        raise _failed(where, error) from error
    except (SystemExit, GeneratorExit) as error:
        raise _ended(where, error) from error


@contextlib.contextmanager
def _as_script(name: str) -> Iterator[None]:
    """The user's code sees a command line of its own without arguments, not lossdoctor's."""
    before, sys.argv = sys.argv, [name]
    try:
        yield
    finally:
        sys.argv = before


def _ended(where: str, error: BaseException) -> CaseError:
    return CaseError(
        f"{where} {ending(error)} when it is imported; guard what is for scripts with `if __name__ == ...`."
    )


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise CaseError(f"there is no file {path}; check the path.")
    resolved = path.resolve()
    # Registered under the plain name too, so that a saved config that names the module finds it, and a
    # second --objects of one file does not run it twice.
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(resolved):
            return module
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_{abs(hash(str(resolved)))}"
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise CaseError(f"{path} is no Python file; name one that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(resolved.parent))  # so that it can import its neighbours, as when it is run
    try:
        with _as_script(str(path)):
            spec.loader.exec_module(module)
    except Exception as error:  # the user's own code
        del sys.modules[name]
        raise _failed(str(path), error) from error
    except (SystemExit, GeneratorExit) as error:
        del sys.modules[name]
        raise _ended(str(path), error) from error
    finally:
        sys.path.remove(str(resolved.parent))
    return module


def _failed(where: str, error: BaseException) -> CaseError:
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if "importlib" not in f.filename and "lossdoctor" not in f.filename
    ]
    at = f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else ""
    line = getattr(error, "lineno", None)
    at = f" (line {line})" if isinstance(error, SyntaxError) and line else at
    text = error.msg if isinstance(error, SyntaxError) else first_line(error)
    return CaseError(f"{where} cannot be imported: {type(error).__name__}: {text}{at}; mend it and try again.")
