"""`lossdoctor patch` and `lossdoctor fix`, the latter in a real pseudo-terminal: keys sent, screen read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pexpect
import pyte
import pytest

import lossdoctor
from tests.cli.test_cli import COMMAND, DICT, NAMED, POSITIONAL, call

DOTTED = [str(Path(DICT).parents[1] / "keras_20351" / n) for n in ("dotted.keras", "batch.npz")]
DOWN, ENTER = "\x1b[B", "\r"


class Screen:
    """A terminal of 100 columns in which the command runs."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        environment = {
            **os.environ,
            "TERM": "xterm-256color",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "COLUMNS": "100",
            "LINES": "60",
        }
        self.child = pexpect.spawn(
            COMMAND, list(arguments), cwd=str(cwd), env=environment, dimensions=(60, 100), encoding="utf-8", timeout=90
        )
        self.screen = pyte.Screen(100, 60)
        self.stream = pyte.Stream(self.screen)

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, *parts: str) -> str:
        """Read until all parts stand on the screen."""
        end = time.monotonic() + 90
        while time.monotonic() < end:
            try:
                self.stream.feed(self.child.read_nonblocking(4096, timeout=1))
            except pexpect.TIMEOUT:
                pass
            except pexpect.EOF:
                break
            if all(part in self.text() for part in parts):
                return self.text()
        assert all(part in self.text() for part in parts), self.text()
        return self.text()

    def send(self, keys: str) -> None:
        self.child.send(keys)

    def end(self) -> int:
        while True:
            try:
                self.stream.feed(self.child.read_nonblocking(4096, timeout=90))
            except pexpect.EOF:
                break
        self.child.close()
        return int(self.child.exitstatus or 0)


def test_choose_see_and_write(tmp_path: Path) -> None:
    """The swap of the issue: shown, repaired, written as a patch; the models's files stay as they are."""
    screen = Screen("fix", DICT, POSITIONAL, cwd=tmp_path)
    shown = screen.wait("LD203", "What shall be done?", "quit without writing")
    assert "y_pred['zoom']    y[1]" in shown and "name the targets" in shown
    screen.send(ENTER)
    preview = screen.wait("Take it?")
    assert "y = {'zoom': y[0], 'angle': y[1]}" in preview and "as it would be" in preview
    screen.send("y")
    screen.wait("What shall be written?")
    screen.send(ENTER)
    screen.wait("Where is the patch?")
    screen.send(ENTER)
    screen.wait("Nothing is wrong any more.")
    assert screen.end() == 0
    space: dict[str, Any] = {}
    exec((tmp_path / "dict_patch.py").read_text(encoding="utf-8"), space)
    held = np.load(POSITIONAL)
    assert list(space["adapt_batch"](held["x"], [held["y/0"], held["y/1"]])[1]) == ["zoom", "angle"]
    assert [p.name for p in tmp_path.iterdir()] == ["dict_patch.py"]


def test_refuse_undo_and_quit_write_nothing(tmp_path: Path) -> None:
    """Two findings; one repaired, undone, and the sitting left."""
    i = keras.Input((4,))
    model = keras.Model(i, {"z": keras.layers.Dense(1, name="z")(i), "a": keras.layers.Dense(1, name="a")(i)})
    model.compile(loss={"z": "mse", "a": keras.losses.MeanSquaredError(reduction=None)})
    model.save(tmp_path / "m.keras")
    lossdoctor.save_batch(
        tmp_path / "b.npz", np.ones((8, 4), "float32"), [np.ones((8, 1), "float32"), np.zeros((8, 1), "float32")]
    )
    before = sorted(p.name for p in tmp_path.iterdir())
    screen = Screen("fix", "m.keras", "b.npz", cwd=tmp_path)
    first = screen.wait("quit without writing")
    assert "LD203" in first and "undo the last repair" not in first
    screen.send(ENTER)
    screen.wait("Take it?")
    screen.send("n")  # asked again
    screen.wait("What shall be done? (arrow")
    screen.send(ENTER)
    screen.wait("Take it?")
    screen.send("y")
    second = screen.wait("LD401", "undo the last repair")
    assert "finish, and write" in second
    screen.send(DOWN * 2 + ENTER)
    screen.wait("Undone.")
    screen.send("\x03")
    screen.wait("Left without writing anything.", "Still wrong:")
    assert screen.end() == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_model_named_in_python_is_not_offered_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import keras\nfrom keras import layers, losses\n\n"
        "model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])\n"
        "model.compile(loss=losses.MeanSquaredError(reduction=None))\n"
    )
    lossdoctor.save_batch(tmp_path / "b.npz", np.ones((8, 4), "float32"), np.ones((8, 1), "float32"))
    screen = Screen("fix", "train.py:model", "b.npz", cwd=tmp_path)
    screen.wait("LD401", "What shall be done?")
    screen.send(ENTER)
    screen.wait("Take it?")
    screen.send("y")
    shown = screen.wait("What shall be written?", "your training script")
    assert "a patch file" in shown and "the model file" not in shown
    screen.send("\x03")
    assert screen.end() == 1


def test_without_a_terminal_it_names_patch(capfd: Any) -> None:
    code, out, err = call(capfd, "fix", DICT, POSITIONAL)
    assert (code, out) == (2, "") and "lossdoctor patch" in err and "Traceback" not in err


def test_yes_takes_the_safe_ones_and_writes(capfd: Any, tmp_path: Path) -> None:
    fixed, batch, script = tmp_path / "fixed.keras", tmp_path / "fixed.npz", tmp_path / "train.py"
    code, out, _ = call(capfd, "fix", *DOTTED, "--yes", "--write-model", str(fixed))
    assert code == 0 and "LD501" in out
    with zipfile.ZipFile(fixed) as archive:
        saved = json.loads(archive.read("config.json"))["compile_config"]["loss"]
    assert set(saved) == {"detection", "classification"}
    assert call(capfd, "check", str(fixed), DOTTED[1])[0] == 0

    script.write_text(
        "import numpy as np\n\n\ndef train(model, x, zooms, angles):\n    # positional targets\n"
        "    model.fit(x, [zooms, angles], epochs=1)\n",
        encoding="utf-8",
    )
    code, out, _ = call(capfd, "fix", DICT, POSITIONAL, "--yes", "--write-batch", str(batch), "--source", str(script))
    assert code == 0 and "+" in out
    assert set(np.load(batch).files) == {"x", "y/zoom", "y/angle"}
    assert call(capfd, "check", DICT, str(batch))[0] == 0
    text = script.read_text(encoding="utf-8")
    assert "zooms" in text and '"zoom": zooms' in text and "# positional targets" in text


def test_patch_prints_or_writes_or_says_that_nothing_is_to_do(capfd: Any, tmp_path: Path) -> None:
    code, out, err = call(capfd, "patch", DICT, POSITIONAL)
    assert code == 0 and "def adapt_batch(x, y, sample_weight=None):" in out and err == ""
    compile(out, "patch", "exec")
    code, out, err = call(capfd, "patch", DICT, POSITIONAL, "-o", str(tmp_path / "p.py"))
    assert (code, out) == (0, "") and "p.py" in err
    assert "adapt_batch" in (tmp_path / "p.py").read_text(encoding="utf-8")
    code, out, err = call(capfd, "patch", DICT, NAMED, "-o", str(tmp_path / "q.py"))
    assert (code, out) == (0, "") and "Nothing needs a change" in err and not (tmp_path / "q.py").exists()
    code, _, err = call(capfd, "patch", DICT, str(tmp_path / "none.npz"))
    assert code == 2 and "none.npz" in err


def test_patch_says_what_is_left(capfd: Any, tmp_path: Path) -> None:
    i = keras.Input((4,))
    model = keras.Model(i, keras.layers.Dense(3)(i))
    model.compile(loss="mse")
    model.save(tmp_path / "m.keras")
    lossdoctor.save_batch(tmp_path / "b.npz", np.ones((8, 4), "float32"), np.ones((8, 5), "float32"))
    code, out, err = call(capfd, "patch", str(tmp_path / "m.keras"), str(tmp_path / "b.npz"))
    assert (code, out) == (1, "") and "LD303" in err and "yours" not in err.split("LD303")[0]


def test_check_writes_the_patch_beside_the_report(capfd: Any, tmp_path: Path) -> None:
    code, out, _ = call(capfd, "check", DICT, POSITIONAL, "--patch", str(tmp_path / "p.py"))
    assert code == 1 and "LD203" in out and "adapt_batch" in (tmp_path / "p.py").read_text(encoding="utf-8")
    code, _, err = call(capfd, "check", DICT, NAMED, "--patch", str(tmp_path / "q.py"))
    assert code == 0 and "was not written" in err and not (tmp_path / "q.py").exists()


@pytest.mark.parametrize("folder", ["keras_20346", "keras_20351", "keras_20654"])
def test_patches_of_files_in_a_fresh_process(folder: str, tmp_path: Path, capfd: Any) -> None:
    """Import, adapt_model, compile_model, adapt_batch, train_on_batch; then a check of the result finds no error."""
    home = Path(DICT).parents[1] / folder
    model, batch, objects = {
        "keras_20346": ("dict.keras", "positional.npz", None),
        "keras_20351": ("dotted.keras", "batch.npz", None),
        "keras_20654": ("function.keras", "batch.npz", "losses.py"),
    }[folder]
    extra = ["--objects", str(home / objects)] if objects else []
    assert call(capfd, "patch", str(home / model), str(home / batch), "-o", str(tmp_path / "patch.py"), *extra)[0] == 0
    program = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(home)!r}]
import keras, lossdoctor, patch
from lossdoctor import trees
{"import losses" if objects else ""}
model = keras.saving.load_model({str(home / model)!r})
held = lossdoctor.load_batch({str(home / batch)!r})
x, y = (trees.map_leaves(lambda leaf: leaf.rows(leaf.shape[0]), t) for t in (held.x, held.y))
w = None
if hasattr(patch, "adapt_model"): model = patch.adapt_model(model)
if hasattr(patch, "compile_model"): model = patch.compile_model(model)
if hasattr(patch, "adapt_batch"): x, y, w = patch.adapt_batch(x, y)
model.train_on_batch(x, y, sample_weight=w)
print([f.code for f in lossdoctor.check(model, (x, y)).findings if f.severity == "error"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr[-2000:]
