"""Terminals that lack characters, disks that are full, readers that leave, streams that are closed, an impatient user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).parent / "lossdoctor")
MODEL = """
import keras, numpy as np
from keras import layers
i = keras.Input((4,))
model = keras.Model(i, {"größe": layers.Dense(1)(i), "alter": layers.Dense(1)(i)})
model.compile(loss="mse")
batch = np.ones((8, 4)), [np.ones((8, 1)), np.zeros((8, 1))]
"""
REPAIRABLE = """
import keras, numpy as np
from keras import layers
model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])
model.compile(loss="sparse_categorical_crossentropy")
batch = np.ones((8, 4)), np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]]
"""
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@pytest.fixture
def case(tmp_path: Path) -> list[str]:
    (tmp_path / "train.py").write_text(MODEL, encoding="utf-8")
    return [COMMAND, "check", f"{tmp_path}/train.py:model", f"{tmp_path}/train.py:batch"]


def test_an_ascii_terminal(case: list[str]) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(case, capture_output=True, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    assert rb"'gr\xf6\xdfe'" in done.stdout
    done = subprocess.run([*case, "--format", "json"], capture_output=True, check=False, env=environment)
    assert json.loads(done.stdout.decode("utf-8"))["model"]["outputs"]["items"][0][0] == "größe"


@needs_full
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["rule"], ["rule", "LD203"], ["check", "--schema"]])
def test_a_full_disk_is_not_our_bug(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("lossdoctor: the output cannot be written (No space left on device)")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def repairable(case: list[str], tmp_path: Path) -> list[str]:
    (tmp_path / "train.py").write_text(REPAIRABLE, encoding="utf-8")
    return case


def _unread(arguments: list[str], text: str = "") -> tuple[int, bytes]:
    """The exit code and stderr of a command whose reader left before it wrote."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(arguments, **pipes)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stdin.write(text.encode())
    process.stdin.close()
    said = process.stderr.read()
    process.stderr.close()
    return process.wait(), said


@pytest.mark.parametrize("arguments", [["rule"], ["rule", "LD203"], ["check", "--schema"]])
def test_a_reader_that_leaves(arguments: list[str]) -> None:
    assert _unread([COMMAND, *arguments]) == (0, b"")


@pytest.mark.parametrize("format", ["text", "json", "sarif"])
def test_a_gate_that_nobody_reads(repairable: list[str], tmp_path: Path, format: str) -> None:
    written = ["--patch", f"{tmp_path}/patch.py", "--format", format, "--format", "markdown"]
    assert _unread([*repairable, *written, "--output", f"{tmp_path}/report.md"]) == (1, b"")
    assert "Keras will raise in fit()" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "compile" in (tmp_path / "patch.py").read_text(encoding="utf-8")


def test_many_cases_that_nobody_reads(case: list[str], tmp_path: Path) -> None:
    (tmp_path / "lossdoctor.toml").write_text(f"[[cases]]\nmodel = {case[2]!r}\nbatch = {case[3]!r}\n")
    assert _unread([COMMAND, "check", "--config", f"{tmp_path}/lossdoctor.toml"]) == (1, b"")


def test_repairs_that_nobody_reads(repairable: list[str], tmp_path: Path) -> None:
    command = [COMMAND, "fix", *repairable[2:], "--yes", "--patch", f"{tmp_path}/patch.py"]
    code, said = _unread(command)
    assert (code, said) == (0, b"")
    assert "compile" in (tmp_path / "patch.py").read_text(encoding="utf-8")


def test_an_unknown_error_that_nobody_reads() -> None:
    assert _unread([COMMAND, "explain"], "ValueError: the flux is negative") == (1, b"")


def test_a_closed_stderr_keeps_stdout_clean(case: list[str]) -> None:
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", *case, "--format", "json"]
    done = subprocess.run(shell, capture_output=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["schema_version"]) == (1, 1)


@pytest.mark.parametrize("wait", [0.6, 2.0])
def test_an_interrupt_ends_quietly(case: list[str], wait: float) -> None:
    process = subprocess.Popen(case, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    if process.returncode == 1:
        pytest.skip("it was done before the interrupt came")
    assert (process.returncode, said) == (130, "")
