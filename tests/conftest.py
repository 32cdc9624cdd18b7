"""What every test gets."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, so that no test is answered by what another, or the user, has checked."""
    monkeypatch.setenv("LOSSDOCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
