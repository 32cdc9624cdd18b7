"""Every hostile file ends in one sentence or in findings; nothing runs, nothing else is written, memory stays bounded.

The whole table is run once, in one process on the JAX backend (`tests.hostile.table`), under a limit of its memory.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.table import MOST_MEMORY, cases

CASES = cases()
pytestmark = pytest.mark.xdist_group("hostile")  # the table is run once


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("hostile")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "LOSSDOCTOR_CACHE_DIR": str(folder / "cache")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # what the tests keep there would count as written
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.table", str(folder / "results.json")],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads((folder / "results.json").read_text()))


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 400


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_case(results: dict[str, Any], name: str) -> None:
    case, done = CASES[name], results["cases"][name]
    assert done["code"] != -1, "it took longer than it may"
    assert done["code"] in case.codes, done
    assert done["executed"] == [] and done["written"] == [] and done["changed"] == []
    assert "Traceback" not in done["err"] and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", done["out"] + done["err"])
    assert re.search(case.says, done["err"])
    if done["code"] in (0, 1):
        assert all(line.startswith("lossdoctor: ") for line in done["err"].splitlines())
    if done["code"] == 2:
        assert done["err"].startswith("lossdoctor: ") and len(done["err"].splitlines()) == 1 and done["out"] == ""


def test_memory_stays_bounded(results: dict[str, Any]) -> None:
    assert results["peak"] < MOST_MEMORY // 2
