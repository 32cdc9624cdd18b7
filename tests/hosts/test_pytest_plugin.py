"""The pytest plugin in a pytest of its own, found by its entry point."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODEL = """
import keras, numpy as np, pytest
from keras import layers
import lossdoctor as the_module

def model():
    i = keras.Input((4,))
    made = keras.Model(i, {"z": layers.Dense(1)(i), "a": layers.Dense(1)(i)})
    made.compile(loss="mse")
    return made

X, Z, A = np.ones((8, 4), "float32"), np.full((8, 1), 9.0), np.zeros((8, 1))
SWAPPED, NAMED = (X, [Z, A]), (X, {"z": Z, "a": A})
"""


def run(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest on one test file; the plugin is registered as pyproject.toml declares it."""
    (folder / "test_it.py").write_text(source, encoding="utf-8")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    registered = folder / "site" / "declared-1.dist-info"
    registered.mkdir(parents=True)
    (registered / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 1\n", encoding="utf-8")
    lines = ["[pytest11]", *(f"{name} = {place}" for name, place in declared["pytest11"].items())]
    (registered / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    paths = [str(folder / "site"), str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_findings_are_shown_and_stop_nothing_else(tmp_path: Path) -> None:
    source = (
        MODEL
        + """
def test_asserts_a_report(lossdoctor):
    report = lossdoctor.check(model(), SWAPPED)
    assert report.ok

def test_asserts_training(lossdoctor):
    lossdoctor.assert_trains(model(), SWAPPED)

def test_in_order(lossdoctor):
    assert lossdoctor.check(model(), NAMED).ok
    report = lossdoctor.assert_trains(model(), (pair for pair in [NAMED]), fail_on="info")
    assert isinstance(report, the_module.Report) and not report.findings

def test_left_out(lossdoctor):
    lossdoctor.assert_trains(model(), SWAPPED, ignore=["LD2"])

def test_something_else(lossdoctor):
    lossdoctor.check(model(), NAMED)
    assert 1 == 2

def test_level(lossdoctor):
    with pytest.raises(ValueError, match="takes one of"):
        lossdoctor.assert_trains(model(), NAMED, fail_on="never")

def test_in_a_test_that_passes(lossdoctor):
    assert not lossdoctor.check(model(), SWAPPED).ok
"""
    )
    done = run(tmp_path, source)
    assert "3 failed, 4 passed" in done.stdout
    _, first, second, third = re.split(r"\n_+ test_\w+ _+\n", done.stdout)
    assert "<lossdoctor.Report silent: 1 error, 0 warning, 0 info>" in first
    assert "lossdoctor: functional" in first and "error LD203 sorted-key-pairing" in first
    assert "y = {'z': y[0], 'a': y[1]}" in first and "\x1b" not in first
    # The line of the test, the findings in short, then the report; none of the plugin's own source.
    assert ">       lossdoctor.assert_trains(model(), SWAPPED)" in second
    assert "E       AssertionError: error LD203 sorted-key-pairing: y_pred['z'] is trained on y[1]" in second
    assert second.count("\nerror LD203") == 1 and "raise AssertionError" not in second
    assert "LD203" not in third.split("short test summary")[0] and "assert 1 == 2" in third


def test_users_of_other_tests_pay_nothing(tmp_path: Path) -> None:
    source = """
import sys

def test_it(request):
    assert request.config.pluginmanager.has_plugin("lossdoctor")
    heavy = ("keras", "tensorflow", "numpy", "optree", "rich.console", "typer", "lossdoctor.api")
    assert [name for name in heavy if name in sys.modules] == []
"""
    done = run(tmp_path, source)
    assert done.returncode == 0, done.stdout


def test_the_fixture_is_listed_with_what_it_does(tmp_path: Path) -> None:
    done = run(tmp_path, "", "--fixtures", "-q")
    assert "lossdoctor -- " in done.stdout and "lossdoctor.assert_trains(model, batch) fails" in done.stdout


def test_it_may_be_switched_off(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_it(lossdoctor): pass\n", "-p", "no:lossdoctor")
    assert done.returncode == 1 and "fixture 'lossdoctor' not found" in done.stdout
