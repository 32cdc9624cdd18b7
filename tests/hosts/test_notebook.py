"""A report in a notebook that a real kernel runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
SETUP = """
import keras, numpy as np
from keras import layers
import lossdoctor

i = keras.Input((4,))
model = keras.Model(i, {"z": layers.Dense(1)(i), "a": layers.Dense(1)(i)})
model.compile(loss="mse")
batch = np.ones((8, 4)), [np.ones((8, 1)), np.zeros((8, 1))]
"""
CELLS = [
    SETUP,
    "lossdoctor.check(model, batch)",
    "data = lossdoctor.preflight(model, batch, fail_on='never')",
    "lossdoctor.preflight(model, batch)",
]


pytestmark = pytest.mark.xdist_group("notebook")  # its fixture is made once


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The outputs of `CELLS`, run in order by one kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    manager = AsyncKernelManager()
    # This interpreter, whatever kernels the machine has registered.
    manager.kernel_spec.argv[0] = sys.executable
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    client = NotebookClient(notebook, km=manager, timeout=240, allow_errors=True)
    with client.setup_kernel(env=environment, cwd=str(tmp_path_factory.mktemp("notebook"))):
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
    return [cell.outputs for cell in notebook.cells]


def test_a_report_shows_itself(cells: list[Any]) -> None:
    assert [output for output in cells[0] if output.output_type == "error"] == []
    (shown,) = cells[1]
    assert shown.output_type == "execute_result"
    assert "LD203" in shown.data["text/html"] and "<table" in shown.data["text/html"]
    assert shown.data["text/plain"] == "<lossdoctor.Report silent: 1 error, 0 warning, 0 info>"


def test_preflight_tells_and_stops(cells: list[Any]) -> None:
    told = "".join(output.get("text", "") + str(output.get("data", "")) for output in cells[2])
    assert "LD203" in told and "Traceback" not in told
    (error,) = (output for output in cells[3] if output.output_type == "error")
    assert error.ename == "FindingsError" and "LD203 sorted-key-pairing" in error.evalue
