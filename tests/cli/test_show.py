"""`lossdoctor show`: trees side by side, the pairing with its shares, inputs; with and without a batch."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import lossdoctor
from lossdoctor.doctor import examine_with_exam, outline, shares
from lossdoctor.report.show import render
from tests.cli.test_cli import DICT, FIXTURES, NAMED, POSITIONAL, call

N = 8


def normal(*shape: int) -> Any:
    return np.random.default_rng(3).normal(size=shape).astype("float32")


def shown(model: str, batch: str | None, width: int = 120, encoding: str = "utf-8", **given: Any) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    console = Console(file=stream, width=width, highlight=False, no_color=True)
    if batch is None:
        render(outline(model, **given), console)
    else:
        report, exam = examine_with_exam(model, batch, repairs=False, **given)
        render(
            report, console, shares=shares(exam, report.pairs), inputs=exam.inputs, forward=given.get("forward", False)
        )
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Two heads that share one input of two, with weights 1 and 3."""
    photo, size = keras.Input((4,), name="photo"), keras.Input((2,), name="size")
    both = layers.Concatenate()([photo, size])
    model = keras.Model({"photo": photo, "size": size}, {"box": layers.Dense(2)(both), "cls": layers.Dense(1)(both)})
    model.compile(loss={"box": "mse", "cls": "mae"}, loss_weights={"box": 1.0, "cls": 3.0})
    model.save(tmp_path / "m.keras")
    x = {"photo": normal(N, 4), "size": normal(N, 2)}
    lossdoctor.save_batch(tmp_path / "b.npz", x, {"box": normal(N, 2), "cls": normal(N, 1)}, None)
    return str(tmp_path / "m.keras"), str(tmp_path / "b.npz")


def test_the_swap_is_seen_and_counted_but_not_judged(capfd: Any) -> None:
    code, out, err = call(capfd, "show", DICT, POSITIONAL)
    assert (code, err) == (0, "")
    assert "Targets" in out and "Outputs" in out and "LD203" not in out
    row = next(line for line in out.splitlines() if line.strip().startswith("y_pred['zoom']"))
    assert row.split()[1:3] == ["y[1]", "mean_squared_error"]
    assert "1 error, 0 warnings, 0 info: `lossdoctor check`" in out.splitlines()[-1] + out.splitlines()[-2]
    code, out, _ = call(capfd, "show", DICT, NAMED)
    assert code == 0 and "finds nothing wrong" in out


def test_shares_are_of_the_weighted_loss_and_of_the_gradient(files: tuple[str, str]) -> None:
    report, exam = examine_with_exam(*files, repairs=False)
    found = shares(exam, report.pairs)
    weighted = [(p.value or 0.0) * p.weight for p in report.pairs]
    assert [p.weight for p in report.pairs] == [1.0, 3.0]
    assert [s.loss for s in found] == pytest.approx([v / sum(weighted) for v in weighted])
    norms = {g.output: g.norm for g in exam.fit.gradients}
    assert [s.gradient for s in found] == pytest.approx([norms[p.output] / sum(norms.values()) for p in report.pairs])
    text = shown(*files)
    for share in found:
        assert share.loss and share.gradient
        assert re.search(rf" {100 * share.loss:.0f} +{100 * share.gradient:.0f}$", text, re.MULTILINE)


def test_one_call_for_several_outputs_tells_its_loss_once() -> None:
    folder = FIXTURES / "keras_20654"
    report, exam = examine_with_exam(
        str(folder / "nested.keras"), str(folder / "nested.npz"), objects=(str(folder / "losses.py"),), repairs=False
    )
    found = shares(exam, report.pairs)
    assert len(found) == 2 and [s.loss for s in found] == [1.0, None]
    assert sum(s.gradient or 0 for s in found) == pytest.approx(1)


def test_inputs_and_their_arrays(files: tuple[str, str]) -> None:
    text = shown(*files)
    photo = next(line for line in text.splitlines() if line.strip().startswith("photo "))
    assert photo.split() == ["photo", "(None,", "4)", "x['photo']", "(8,", "4)"]
    assert "seeded plausible predictions" in text and "the model's own predictions" not in text


def test_real_predictions(files: tuple[str, str]) -> None:
    text = shown(*files, forward=True)
    assert "the model's own predictions (--forward)" in text and "seeded" not in text
    model = keras.saving.load_model(files[0])
    held = np.load(files[1])
    predicted = model.predict({"photo": held["x/photo"], "size": held["x/size"]}, verbose=0)
    value = float(np.mean(np.square(predicted["box"] - held["y/box"])))
    row = next(line for line in text.splitlines() if line.strip().startswith("y_pred['box']"))
    assert float(row.split()[4]) == pytest.approx(value, rel=1e-3)


def test_without_a_batch(files: tuple[str, str], capfd: Any) -> None:
    code, out, err = call(capfd, "show", files[0])
    assert (code, err) == (0, "")
    out = re.sub(" +", " ", out)
    assert "['box'] (None, 2) ['box'] mse ['box'] 1" in out and "['cls'] (None, 1) ['cls'] mae ['cls'] 3" in out
    assert "photo (None, 4)" in out
    assert "Targets" not in out and "lossdoctor show MODEL BATCH" in out
    assert call(capfd, "show", DICT, "--loss", '["mse", "mae"]')[1].count("[1] mae") == 1


def test_open_axes_stay_open_without_a_batch(tmp_path: Path) -> None:
    words = keras.Input((None,), name="words")
    model = keras.Model(words, layers.Dense(3)(layers.Embedding(9, 2)(words)))
    model.save(tmp_path / "m.keras")
    text = shown(str(tmp_path / "m.keras"), None)
    assert "(None, None, 3)" in text and "none compiled" in text


def test_where_keras_raises_the_trees_are_shown_all_the_same(tmp_path: Path, capfd: Any) -> None:
    lossdoctor.save_batch(tmp_path / "b.npz", normal(N, 5), {"zoom": normal(N, 1), "angel": normal(N, 1)})
    code, out, _ = call(capfd, "show", DICT, str(tmp_path / "b.npz"))
    assert code == 0 and "['angel']" in out and "No pairing" in out and "lossdoctor explain" in out


def test_no_line_is_wider_than_the_terminal_where_trees_allow_it() -> None:
    home = FIXTURES / "keras_20351"
    for width in (60, 80, 100, 160):
        text = shown(str(home / "nested.keras"), str(home / "batch.npz"), width)
        assert max(map(len, text.splitlines())) <= width, width
        assert "y_pred['detection']['confidence']" in text
        assert all(line == line.rstrip() for line in text.splitlines())


def test_plain_ascii_where_the_terminal_has_no_more(files: tuple[str, str]) -> None:
    assert shown(*files, encoding="ascii").isascii()
    assert shown(DICT, POSITIONAL, encoding="latin-1").isascii()


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    bad = "a\x1b[31mb"
    lossdoctor.save_batch(tmp_path / "b.npz", normal(N, 5), {bad: normal(N, 1), "zoom": normal(N, 1)})
    assert "\x1b" not in shown(DICT, str(tmp_path / "b.npz"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "show needs a model"),
        (["gone.keras"], "gone.keras"),
        ([DICT, "gone.npz"], "gone.npz"),
        ([DICT, "--forward"], "--forward"),
        ([DICT, "--loss", "{"], "--loss"),
    ],
)
def test_what_cannot_be_read(arguments: list[str], said: str, capfd: Any) -> None:
    code, out, err = call(capfd, "show", *arguments)
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1


def test_a_subclassed_model_needs_a_batch(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "own.py").write_text(
        "import keras\n\n\nclass Own(keras.Model):\n    def __init__(self):\n        super().__init__()\n"
        "        self.dense = keras.layers.Dense(1)\n\n    def call(self, x):\n        return self.dense(x)\n\n\n"
        "def build():\n    model = Own()\n    model.compile(loss='mse')\n    return model\n",
        encoding="utf-8",
    )
    code, _, err = call(capfd, "show", f"{tmp_path / 'own.py'}:build")
    assert code == 2 and "subclassed model" in err and "batch" in err
    lossdoctor.save_batch(tmp_path / "b.npz", normal(N, 4), normal(N, 1))
    code, out, _ = call(capfd, "show", f"{tmp_path / 'own.py'}:build", str(tmp_path / "b.npz"))
    assert code == 0 and "mean_squared_error" in out
