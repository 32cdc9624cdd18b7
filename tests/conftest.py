"""What every test gets."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.quick import compile_quickly

# Before Keras is imported.
compile_quickly()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, so that no test is answered by what another, or the user, has checked."""
    monkeypatch.setenv("LOSSDOCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def own_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test imports from a folder of its own (`--objects losses.py`) is not what the next one imports by that name."""
    yield
    folder = str(tmp_path_factory.getbasetemp().parent)
    files = {name: str(getattr(module, "__dict__", {}).get("__file__")) for name, module in list(sys.modules.items())}
    for name in [name for name, file in files.items() if file.startswith(folder)]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def fresh_keras() -> Iterator[None]:
    """Keras as a new process has it: without the classes that other tests registered, and without their `losses` modules."""
    import keras

    registry = keras.saving.get_custom_objects()
    registered = dict(registry)
    modules = {
        name: sys.modules.pop(name) for name in list(sys.modules) if name.partition("_")[0] in ("losses", "whole")
    }
    registry.clear()
    yield
    registry.clear()
    registry.update(registered)
    sys.modules.update(modules)
