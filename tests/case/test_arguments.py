"""`--loss` and its like, `--objects`, and references to Python code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest

from lossdoctor.case import arguments, references
from lossdoctor.types import CaseError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mse", "mse"),
        ('"mse"', "mse"),
        ('["mse", null]', ["mse", None]),
        ('{"a": {"b": "mae"}}', {"a": {"b": "mae"}}),
        ('{"detection.bbox": "mse"}', {"detection.bbox": "mse"}),
        ("[1, 2.5]", [1, 2.5]),
    ],
)
def test_json_and_bare_words(text: str, value: Any) -> None:
    assert arguments.parse_argument("--loss", text) == value


def test_a_file_of_json(tmp_path: Path) -> None:
    (tmp_path / "loss.json").write_text('{"a": "mse"}')
    assert arguments.parse_argument("--loss", str(tmp_path / "loss.json")) == {"a": "mse"}


WRONG = {
    "single quotes": ("{'a': 'mse'}", "--loss is not JSON .*double quotes"),
    "no quotes": ("{a: mse}", "--loss is not JSON .*quote names"),
    "cut": ('{"a": ', "--loss is not JSON"),
    "no file": ("gone.json", r"--loss: there is no file gone\.json"),
    "deep": ("[" * 100_000, "--loss is"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_json_says_where(name: str) -> None:
    text, said = WRONG[name]
    with pytest.raises(CaseError, match=said):
        arguments.parse_argument("--loss", text)


def test_names_are_keras_s_or_the_user_s() -> None:
    def mine(y_true: Any, y_pred: Any) -> Any:
        return y_pred

    class Mine(keras.losses.Loss):
        pass

    known = {"mine": mine, "Mine": Mine}
    found = arguments.resolve_losses({"a": "mse", "b": ["mine", None], "c": "Mine", "d": "crossentropy"}, known)
    assert (found["a"], found["b"], found["d"]) == ("mse", [mine, None], "crossentropy")
    assert isinstance(found["c"], Mine)
    huber = arguments.resolve_losses({"class_name": "Huber", "config": {"delta": 2.0}}, {})
    assert isinstance(huber, keras.losses.Huber)
    with pytest.raises(CaseError, match=r"'MeanSquaredErorr' is neither .*did you mean 'MeanSquaredError'"):
        arguments.resolve_losses("MeanSquaredErorr", {})
    with pytest.raises(CaseError, match="3 is no name"):
        arguments.resolve_losses([3], {})
    with pytest.raises(CaseError, match="'Hubber' cannot be made"):
        arguments.resolve_losses({"class_name": "Hubber", "config": {}}, {})
    assert arguments.resolve_metrics(["accuracy", "mae"], {}) == ["accuracy", "mae"]


def test_weights_are_numbers() -> None:
    assert arguments.check_loss_weights({"a": [1, 2.0]}) == {"a": [1, 2.0]}
    assert isinstance(arguments.check_loss_weights(2), float)
    for wrong in ("two", {"a": None}, [True]):
        with pytest.raises(CaseError, match=r"--loss-weights: .* is no number"):
            arguments.check_loss_weights(wrong)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("train.py:model", True),
        ("pkg.mod:model", True),
        ("C:\\code\\train.py:model", True),
        ("model.keras", False),
        ("batch.npz", False),
        ("C:\\model.keras", False),
        ("a:b:c", False),
    ],
)
def test_what_is_a_reference(text: str, answer: bool) -> None:
    assert references.is_reference(text) is answer


def test_references_load_and_fail_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good_module.py").write_text("class Box:\n    value = 3\n")
    (tmp_path / "bad_module.py").write_text("x = 1\nraise RuntimeError('boom')\n")
    (tmp_path / "syntax_module.py").write_text("def f(:\n")
    (tmp_path / "exits_module.py").write_text("import sys\nsys.exit(3)\n")
    assert references.load_reference(f"{tmp_path}/good_module.py:Box.value") == 3
    monkeypatch.chdir(tmp_path)
    assert references.load_reference("good_module:Box.value") == 3
    for text, said in {
        f"{tmp_path}/good_module.py:Bx": "has no 'Bx' .did you mean 'Box'",
        f"{tmp_path}/gone.py:x": r"there is no file .*gone\.py",
        "no_such_module:x": "there is no module no_such_module",
        f"{tmp_path}/bad_module.py:x": r"RuntimeError: boom \(line 2 of bad_module\.py\)",
        f"{tmp_path}/syntax_module.py:x": "SyntaxError",
        f"{tmp_path}/exits_module.py:x": "ends the program",
    }.items():
        with pytest.raises(CaseError, match=said) as raised:
            references.load_reference(text)
        assert "\n" not in str(raised.value)
