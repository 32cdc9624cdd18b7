"""`make bench`: one table, every figure a ratio of medians measured in the same run (machines are shared); `--readme` puts it into README.md."""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "lossdoctor")
REPEATS = int(os.environ.get("REPEATS", "5"))
CASES = 100
QUICK = ("help", "rule", "no such rule", "no such command", "no such option", "no such file")
NEEDED_BYTES = 4 << 30
README = Path(__file__).parent.parent / "README.md"
_BLOCK = re.compile(r"(<!-- figures -->\n).*?(<!-- end -->)", re.DOTALL)
WRONG = (
    ["chekc"],
    ["check", "--bogus"],
    ["check", "gone.keras", "gone.npz"],
)

BUILD = """
import sys, numpy as np, keras
from keras import layers
import lossdoctor
folder, width = sys.argv[1], int(sys.argv[2])
i = keras.Input((64,), name="features")
h = layers.Dense(width, activation="relu")(i)
h = layers.Dense(width, activation="relu")(h)
model = keras.Model(i, {"zoom": layers.Dense(1)(h), "label": layers.Dense(5, activation="softmax")(h)})
model.compile("adam", loss={"zoom": "mse", "label": "sparse_categorical_crossentropy"})
model.save(folder + "/model.keras")
random = np.random.default_rng(0)
x = random.normal(size=(32, 64)).astype("float32")
lossdoctor.save_batch(folder + "/batch.npz", x, {"zoom": x[:, :1], "label": np.arange(32) % 5})
"""
LARGE_BATCH = """
import sys, numpy as np
rows = (2 << 30) // (64 * 4)
x = np.zeros((rows, 64), dtype="float32")
np.savez(sys.argv[1], **{"x": x, "y/zoom": x[:, :1], "y/label": np.zeros(rows, dtype="int64")})
"""
PLAIN = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
data = np.load(sys.argv[2])
print(model.train_on_batch(data["x"], {"zoom": data["y/zoom"], "label": data["y/label"]}))
"""
# A model with as many heads as asked for: Keras's own first step, and the stand-in's check of the same, each in CPU seconds,
# which a busy machine stretches less than the clock. The first check warms up what one process imports once.
WIDE = """
import resource, sys, time, json, numpy as np, keras, lossdoctor
from keras import layers
count, width = int(sys.argv[1]), 8
i = keras.Input((4,))
h = layers.Dense(count)(i)
names = [f"o{k:05d}" for k in range(count)]
model = keras.Model(i, {name: h[:, k : k + 1] for k, name in enumerate(names)})
random = np.random.default_rng(0)
x, y = random.normal(size=(8, 4)), {name: random.normal(size=(8, 1)) for name in names}
model.compile("sgd", loss="mse")
small = {"a": ((8, 1), "float32")}
lossdoctor.check(outputs=small, batch=(None, {"a": y[names[0]]}), loss="mse")
start = time.process_time()
report = lossdoctor.check(model, (x, y))
str(report), report.to_json()
checked = time.process_time() - start
start = time.process_time()
if "--alone" not in sys.argv:
    model.train_on_batch(x, y)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([checked, time.process_time() - start, memory]))
"""
# The same nested losses from nested_losses and written by hand: the first step traces, the others train. In turns.
NESTED = """
import json, statistics, time, numpy as np, keras
from keras import layers, ops
import lossdoctor

def whole(y_true, y_pred):
    return ops.mean(ops.square(y_true["bbox"] - y_pred["bbox"]), axis=-1) * y_true["score"][:, 0]

def build():
    i = keras.Input((32,))
    h = layers.Dense(256, activation="relu")(i)
    return keras.Model(i, {"label": layers.Dense(9)(h), "found": {"score": layers.Dense(1)(h), "bbox": layers.Dense(4)(h)}})

def by_path(model):
    return lossdoctor.nested_losses(model, {"found": whole, "found.bbox": "mse", "found.score": "mae", "label": "mse"}, {"found.bbox": 2.0})

def by_hand(model):
    return ({"label": "mse", "found": [whole, {"score": "mae", "bbox": "mse"}]}, {"label": 1.0, "found": [1.0, {"score": 1.0, "bbox": 2.0}]})

x = np.ones((256, 32), dtype="float32")
y = {"label": np.ones((256, 9)), "found": {"score": np.ones((256, 1)), "bbox": np.ones((256, 4))}}
traced, steps = {by_path: [], by_hand: []}, {by_path: [], by_hand: []}
for turn in range(9):
    models = {}
    for way in (by_path, by_hand) if turn % 2 else (by_hand, by_path):
        models[way] = model = build()
        loss, weights = way(model)
        model.compile("sgd", loss=loss, loss_weights=weights)
        start = time.perf_counter()
        model.train_on_batch(x, y)
        if turn:
            traced[way].append(time.perf_counter() - start)
    for _ in range(150):
        for way, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(x, y)
            steps[way].append(time.perf_counter() - start)
print(json.dumps([statistics.median(t[by_path]) / statistics.median(t[by_hand]) for t in (steps, traced)]))
"""


Row = tuple[str, float, str, float]  # what, measured, "<=" or ">=", to reach


@dataclass(frozen=True)
class Figure:
    """Medians of one command: wall time in seconds and peak resident memory in bytes; and the least of the times."""

    seconds: float
    memory: float
    least: float = 0.0


def once(command: list[str]) -> Figure:
    """Run a command to its end. Raises where it fails otherwise than by findings."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1) and command[1:2] != ["rule"] and command[1:] not in WRONG:
        raise SystemExit(f"exit code {process.returncode}: {' '.join(command)[:200]}")
    return Figure(time.perf_counter() - start, usage.ru_maxrss * 1024)


def measure(commands: dict[str, list[str]]) -> dict[str, Figure]:
    """Medians of every command, taken in turns so that a busy minute falls on all of them; one unmeasured turn first."""
    runs: dict[str, list[Figure]] = {name: [] for name in commands}
    for turn in range(REPEATS + 1):
        for name, command in commands.items():
            figure = once(command)
            if turn:
                runs[name].append(figure)
    return {
        name: Figure(
            statistics.median(f.seconds for f in found),
            statistics.median(f.memory for f in found),
            min(f.seconds for f in found),
        )
        for name, found in runs.items()
    }


def main() -> None:
    """Build the files, measure, print the table."""
    folder = Path(tempfile.mkdtemp(prefix="lossdoctor-bench-"))
    try:
        if shutil.disk_usage(folder).free < NEEDED_BYTES:
            raise SystemExit(f"the benchmark needs 4 GiB free in {folder.parent}.")
        figures = measure(_commands(folder))
        nested = nested_ratios()
        wide = wide_seconds((100, 500, 2000, 10_000))
    finally:
        shutil.rmtree(folder)
    rows = _rows(figures, nested, wide)
    _print(rows)
    if "--readme" in sys.argv[1:]:
        text = README.read_text(encoding="utf-8")
        README.write_text(_BLOCK.sub(lambda m: m[1] + _markdown(rows) + m[2], text), encoding="utf-8")


def _commands(folder: Path) -> dict[str, list[str]]:
    small, large = folder / "small", folder / "large"
    for place, width in ((small, 64), (large, 13200)):
        place.mkdir()
        subprocess.run([sys.executable, "-c", BUILD, str(place), str(width)], check=True, capture_output=True)
    print(f"model files: {_size(small / 'model.keras')} and {_size(large / 'model.keras')}", flush=True)
    subprocess.run([sys.executable, "-c", LARGE_BATCH, str(large / "data.npz")], check=True)
    print(f"batch files: {_size(small / 'batch.npz')} and {_size(large / 'data.npz')}", flush=True)

    def check(model: Path, batch: Path) -> list[str]:
        return [COMMAND, "check", "--no-cache", str(model / "model.keras"), str(batch)]

    return {
        "import keras": [sys.executable, "-c", "import keras"],
        "check small": check(small, small / "batch.npz"),
        "check large model": check(large, large / "batch.npz"),
        "check large batch": check(small, large / "data.npz"),
        "plain script": [sys.executable, "-c", PLAIN, str(large / "model.keras"), str(large / "batch.npz")],
        "cached check": [part for part in check(small, small / "batch.npz") if part != "--no-cache"],
        "100 cases": [COMMAND, "check", "--no-cache", "--fail-on", "never", "--config", str(_settings(small, CASES))],
        "1 case": [COMMAND, "check", "--no-cache", "--fail-on", "never", "--config", str(_settings(small, 1))],
        "python": [sys.executable, "-c", "pass"],
        "help": [COMMAND, "--help"],
        "rule": [COMMAND, "rule", "LD203"],
        "no such rule": [COMMAND, "rule", "LD999"],
        "no such command": [COMMAND, "chekc"],
        "no such option": [COMMAND, "check", "--bogus"],
        "no such file": [COMMAND, "check", "gone.keras", "gone.npz"],
    }


def _settings(small: Path, count: int) -> Path:
    """Settings with this many cases, all of the small model."""
    path = small / f"cases{count}.toml"
    case = '[[cases]]\nname = "case {}"\nmodel = "model.keras"\nbatch = "batch.npz"\n'
    path.write_text("".join(case.format(i) for i in range(count)), encoding="utf-8")
    return path


def wide_seconds(counts: tuple[int, ...]) -> dict[int, tuple[float, float, float]]:
    """{leaves: (CPU seconds of a check, those of Keras's own first train_on_batch, peak memory in bytes)} of a model with that many outputs.

    The first step is taken of the least count alone: Keras's graph takes minutes and gigabytes for thousands.
    """
    found = {}
    for count in counts:
        alone = [] if count == min(counts) else ["--alone"]
        done = subprocess.run(
            [sys.executable, "-c", WIDE, str(count), *alone], check=True, capture_output=True, text=True
        )
        checked, own, memory = found[count] = tuple(json.loads(done.stdout.splitlines()[-1]))
        own_step = "" if alone else f", Keras's own first step {own:.1f}"
        print(f"{count} leaves: check {checked:.1f}{own_step} CPU seconds; {memory / 1e9:.1f} GB", flush=True)
    return found


def nested_ratios() -> tuple[float, float]:
    """(training step, first traced step): losses from nested_losses against the same written by hand."""
    done = subprocess.run([sys.executable, "-c", NESTED], check=True, capture_output=True, text=True)
    step, traced = json.loads(done.stdout.splitlines()[-1])
    return float(step), float(traced)


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def _rows(
    found: dict[str, Figure], nested: tuple[float, float], wide: dict[int, tuple[float, float, float]]
) -> list[Row]:
    def ratio(a: str, b: str, of: Callable[[Figure], float] = lambda f: f.seconds) -> float:
        return of(found[a]) / of(found[b])

    def memory(f: Figure) -> float:
        return f.memory

    slowest = max(QUICK, key=lambda name: found[name].least)
    return [
        ("check, small model / import keras, time", ratio("check small", "import keras"), "<=", 1.15),
        ("check, large model / small model, time", ratio("check large model", "check small"), "<=", 1.1),
        (
            "check, large model / small model, peak memory",
            ratio("check large model", "check small", memory),
            "<=",
            1.1,
        ),
        ("check answered from the cache / import keras, time", ratio("cached check", "import keras"), "<=", 0.2),
        ("check answered from the cache, seconds (least)", found["cached check"].least, "<=", 0.3),
        ("load_model + train_on_batch / check, large model", ratio("plain script", "check large model"), ">=", 2.0),
        ("check, 2 GB batch / small batch, time", ratio("check large batch", "check small"), "<=", 1.2),
        ("check, 2 GB batch / small batch, peak memory", ratio("check large batch", "check small", memory), "<=", 1.2),
        ("training step, nested_losses / by hand, time", nested[0], "<=", 1.05),
        ("first traced step, nested_losses / by hand, time", nested[1], "<=", 1.1),
        (
            f"a case after the first, of {CASES} in one run, seconds",
            (found["100 cases"].seconds - found["1 case"].seconds) / (CASES - 1),
            "<=",
            0.1,
        ),
        *(
            (
                f"{few} to {many} leaves, growth of a check's CPU time / of the tree",
                wide[many][0] / wide[few][0] * few / many,
                "<=",
                1.1,
            )
            for few, many in itertools.pairwise(list(wide)[1:])
        ),
        (
            f"{min(wide)} leaves, check / Keras's own first step, CPU time",
            wide[min(wide)][0] / wide[min(wide)][1],
            "<=",
            1.0,
        ),
        (f"the slowest without Keras ({slowest}), seconds (least)", found[slowest].least, "<=", 0.2),
        (
            f"the slowest without Keras ({slowest}) / python -c pass, time",
            found[slowest].least / found["python"].least,
            "<=",
            20,
        ),
    ]


def _print(rows: list[Row]) -> None:
    print(f"\n{'figure':<60}{'measured':>9}   {'to reach':>8}")
    for name, value, sign, goal in rows:
        print(f"{name:<60}{value:>9.2f}   {sign} {goal:<5} {_reached(value, sign, goal)}")


def _markdown(rows: list[Row]) -> str:
    """The table for README, with what it was measured on."""
    from lossdoctor.quiet import import_keras_quietly

    keras = import_keras_quietly()
    cores, backend = os.cpu_count(), keras.backend.backend()
    lines = [
        f"Measured with Keras {keras.__version__} on {backend}, Python {platform.python_version()}, {cores} cores:",
        "",
        "| figure | measured | to reach |",
        "| --- | ---: | --- |",
        *(
            f"| {name} | {value:.2f} | {'at most' if sign == '<=' else 'at least'} {goal} {_reached(value, sign, goal)}".rstrip()
            + " |"
            for name, value, sign, goal in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def _reached(value: float, sign: str, goal: float) -> str:
    """Says so where the goal was missed."""
    return "" if (value <= goal if sign == "<=" else value >= goal) else "(missed)"


if __name__ == "__main__":
    main()
