"""JAX deals a batch out to devices, and computes the loss on the whole of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from lossdoctor import releases


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the statement is about JAX")
def test_a_loss_of_one_number_is_the_same_on_two_devices() -> None:
    script = Path(__file__).with_name("data_parallel.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("@")]
    assert lines, done.stderr
    found = json.loads(lines[-1][1:])
    one, two = found["one"], found["two"]
    assert two["logged"] == pytest.approx(one["logged"], rel=1e-5)
    assert two["gradient"] == pytest.approx(one["gradient"], rel=1e-5)
    assert two["fit"] == one["fit"]
    # Under Keras 3.12 the notes of a loss called by hand on arrays of several devices are not told.
    assert severe(two["findings"]) == severe(one["findings"])
    if releases.since(keras.__version__, "3.15"):
        assert two["findings"] == one["findings"]


def severe(findings: list[list[str]]) -> list[list[str]]:
    return [finding for finding in findings if finding[1] != "info"]
