"""SIGINT and SIGTERM, two runs at once: no traceback, nothing half written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hostile.build import sound
from tests.hostile.table import snapshot

# The process sends itself the signal at its n-th event, so that the moments are the same in every run.
RUN = """
import os, signal, sys
from lossdoctor.cli import main
kind, moment, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
count = 0
def hear(event, arguments):
    global count
    if event in ("open", "import", "os.rename", "os.link") and (not name or name in str(arguments)):
        count += 1
        if count == moment:
            os.kill(os.getpid(), kind)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests with it ignored
sys.addaudithook(hear)
sys.argv = ["lossdoctor", *sys.argv[4:]]
main.run()
"""
SIGINT, SIGTERM = 2, 15
CODES = {SIGINT: 130, SIGTERM: 143}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command on JAX, whose import is quick, in a process of its own."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"LOSSDOCTOR_CACHE_DIR": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


MOMENTS = {
    "as it starts": (SIGINT, 5, ""),
    "while the options are read": (SIGTERM, 60, ""),
    "while Keras is imported": (SIGINT, 2000, ""),
    "when the model is read": (SIGTERM, 2, "m.keras"),
    "when the cache is written": (SIGINT, 2, "/cache/"),
    "when the report is written": (SIGTERM, 1, "r.json"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_ends_the_run_and_leaves_nothing(tmp_path: Path, moment: str) -> None:
    kind, count, name = MOMENTS[moment]
    (tmp_path / "r.json").write_text("the old report")
    case = sound(tmp_path)
    before = snapshot(tmp_path)
    run = start(tmp_path, str(kind), str(count), name, "check", *case, "--format", "json", "--output", "r.json")
    out, err = run.communicate(timeout=100)
    assert run.returncode == CODES[kind], (err, out)
    assert "Traceback" not in err and out == ""
    after = snapshot(tmp_path)
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert all(path == "cache" or path.startswith("cache/") for path in changed), changed
    assert not [path for path in changed if path.startswith("cache/.")]


def test_two_runs_at_once_on_one_cache_and_one_output(tmp_path: Path) -> None:
    case = sound(tmp_path)
    arguments = ("0", "0", "", "check", *case, "--format", "json", "--output", "r.json")
    runs = [start(tmp_path, *arguments) for _ in range(2)]
    ends = [(run.communicate(timeout=100), run.returncode) for run in runs]
    assert [code for _, code in ends] == [0, 0], ends
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "clean"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.npz", "cache", "m.keras", "r.json"]
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] == [".json"]


CASE = """
[[cases]]
name = "{loss}"
model = "m.keras"
batch = "b.npz"
loss = "{loss}"
"""


@pytest.mark.parametrize("kind", CODES)
def test_a_signal_ends_the_worker_processes_too(tmp_path: Path, kind: int) -> None:
    sound(tmp_path)
    (tmp_path / "lossdoctor.toml").write_text(
        "".join(CASE.format(loss=loss) for loss in ("mse", "mae", "huber", "mape"))
    )
    run = start(tmp_path, "0", "0", "", "check", "--jobs", "2", "--format", "json", "--output", "r.json")
    cache, waited = tmp_path / "cache", time.monotonic() + 100
    while not [*cache.glob("[!.]*")] and time.monotonic() < waited:  # until the first case is done
        time.sleep(0.05)
    workers = children(run.pid)
    run.send_signal(kind)
    out, err = run.communicate(timeout=10)
    assert run.returncode == CODES[kind], (err, out)
    assert out == "" and err == ""
    # Python's own resource tracker, which is among them, ends once it hears that all others have.
    waited = time.monotonic() + 5
    while any(alive(pid) for pid in workers) and time.monotonic() < waited:
        time.sleep(0.05)
    assert len(workers) >= 2 and not [pid for pid in workers if alive(pid)]
    assert not (tmp_path / "r.json").exists() and not [*cache.glob(".*")]


IN_A_CALLBACK = """
import gc, os, signal, time
from lossdoctor import many

def callback(phase, info):
    gc.callbacks.clear()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)

def run(case, cache):
    gc.callbacks.append(callback)
    try:
        gc.collect()
        time.sleep(20)
    finally:
        print("tidied up", flush=True)

many._start_worker()
many._run_in_worker(run, None, False)
"""


def test_a_worker_ends_where_the_signal_met_a_callback_of_the_garbage_collector() -> None:
    run = subprocess.run([sys.executable, "-c", IN_A_CALLBACK], capture_output=True, text=True, timeout=15, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (128 + signal.SIGTERM, "tidied up\n", "")


IN_THE_COMMAND = """
import gc, os, signal, time
from lossdoctor.cli.boundary import Stop, boundary, terminable

def callback(phase, info):
    gc.callbacks.clear()
    os.kill(os.getpid(), {number})
    time.sleep(0.1)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests with it ignored
try:
    with boundary(), terminable():
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(20)
except Stop as stop:
    print(stop.code)
"""


@pytest.mark.parametrize("kind", CODES)
def test_the_command_ends_where_the_signal_met_a_callback_of_the_garbage_collector(kind: int) -> None:
    code = IN_THE_COMMAND.format(number=int(kind))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=False)
    assert (run.stdout, run.stderr) == (f"{CODES[kind]}\n", "")


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    return [int(line) for line in found.stdout.split()]


def alive(pid: int) -> bool:
    """True for a process that runs; one that ended and waits for its parent to ask does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip()) and "Z" not in found.stdout
