"""What Keras computes or allocates while it makes a model's parts ends the process with one sentence, not the machine."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lossdoctor import limits
from tests.cli.test_cli import COMMAND
from tests.hostile.build import SOUND, archive, dense, layer, sequential, sound

LIMITED = """
import time
from lossdoctor import limits
limits._SECONDS, limits._MEMORY = {seconds}, 300 << 20
with limits.enforced(), limits.bounded("m.keras", 0):
    {work}
print("done")
"""
ENDLESS, LARGE = (
    "while True: pass",
    "held = bytearray(1 << 30); held[::4096] = b'x' * len(held[::4096]); time.sleep(30)",
)


def run(work: str, seconds: float = 0.5, script: str = LIMITED) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script.format(work=work, seconds=seconds)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("work", "seconds", "what"), [(ENDLESS, 0.5, "0 s"), (LARGE, 60, "0 GiB of memory")])
def test_time_and_memory_are_bounded(work: str, seconds: float, what: str) -> None:
    code, out, said = run(work, seconds)
    assert (code, out) == (2, "")
    assert said.startswith(f"lossdoctor: m.keras: making its parts takes over {what}; name the code that builds it")
    assert len(said.splitlines()) == 1


def test_what_stays_within_them_goes_on() -> None:
    assert run("time.sleep(1)") == (0, "done\n", "")  # waiting takes no processor


def test_nothing_is_ended_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a program that calls `lossdoctor.check` the process is not ours to end."""
    unasked = LIMITED.replace("limits.enforced(), ", "")
    assert run("[None for _ in range(10**7)]; time.sleep(0.2)", 0.01, unasked) == (0, "done\n", "")
    assert not limits._asked.is_set()


def test_weights_of_another_size_than_the_layers(tmp_path: Path) -> None:
    """The layers of the config are made before the weights of the file are found not to fit them."""
    import keras

    arguments = sound(tmp_path)
    model = keras.Sequential([keras.Input((4,), name="i"), keras.layers.Dense(1, name="d")])
    model.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole:
        weights = whole.read("model.weights.h5")
    large = sequential(*(dense(f"d{k}", units=200_000_000 if not k else 1) for k in range(2)))
    (tmp_path / "m.keras").write_bytes(archive(large, **{"model.weights.h5": weights}))
    command = [COMMAND, "check", *arguments, "--forward"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "making its parts takes over" in done.stderr and done.stdout == ""


def test_a_metric_of_a_hundred_million_thresholds(tmp_path: Path) -> None:
    arguments = sound(tmp_path)
    metric = layer("AUC", "keras.metrics", num_thresholds=10**8)
    compiled = {**SOUND, "compile_config": {"loss": "mse", "metrics": [metric]}}
    model = next(p for p in tmp_path.iterdir() if p.suffix == ".keras")
    model.write_bytes(archive(compiled))
    done = subprocess.run(
        [COMMAND, "check", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2 and "making its parts takes over" in done.stderr and done.stdout == ""
