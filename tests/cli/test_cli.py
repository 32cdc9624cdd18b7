"""The command as a user types it: exit codes, sentences, and a stdout that holds the document and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import keras
import numpy as np
import pytest

import lossdoctor
from lossdoctor.report.schema import schema_text

FIXTURES = Path(__file__).parents[2] / "fixtures"
DICT, POSITIONAL, NAMED = (str(FIXTURES / "keras_20346" / n) for n in ("dict.keras", "positional.npz", "named.npz"))
COMMAND = str(Path(sys.executable).parent / "lossdoctor")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed command in a process of its own."""
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**_environment(), **environment},
        timeout=120,
    )


def _environment() -> dict[str, str]:
    """Without what importing JAX in this process has set: a user's shell has none of it."""
    return {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}


def call(capfd: Any, *arguments: str) -> tuple[int, str, str]:
    """The same in this process, where Keras is already imported: (exit code, stdout, stderr)."""
    from lossdoctor.cli import main

    code = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["lossdoctor", *arguments])
        try:
            main.run()
        except SystemExit as end:
            code = int(end.code or 0)
    out, err = capfd.readouterr()
    return code, out, err


def test_a_real_run_in_a_fresh_process() -> None:
    done = run("check", DICT, POSITIONAL, "--format", "json")
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads(schema_text()))
    assert (done.returncode, document["verdict"]) == (1, "silent")
    assert done.stderr == ""
    assert document["environment"]["keras"] and document["lossdoctor"] == run("--version").stdout.split()[1]


def test_text_opens_with_the_pairing_and_says_what_to_do(capfd: Any) -> None:
    code, out, _ = call(capfd, "check", DICT, POSITIONAL)
    assert code == 1
    assert out.index("y_pred['zoom']") < out.index("LD203") < out.index("name the targets")
    assert "y = {'zoom': y[0], 'angle': y[1]}" in out
    assert "Traceback" not in out


def test_exit_codes_follow_fail_on(capfd: Any) -> None:
    assert call(capfd, "check", DICT, NAMED)[0] == 0
    assert call(capfd, "check", DICT, POSITIONAL, "--fail-on", "never")[0] == 0
    listed = str(FIXTURES / "keras_20346" / "list.keras")
    for fail_on, code in (("info", 1), ("warning", 0), ("error", 0)):
        assert call(capfd, "check", listed, NAMED, "--fail-on", fail_on)[0] == code


def test_select_and_ignore(capfd: Any) -> None:
    code, out, _ = call(capfd, "check", DICT, POSITIONAL, "--ignore", "LD203", "--format", "json")
    assert (code, json.loads(out)["findings"]) == (0, [])
    code, out, _ = call(capfd, "check", DICT, POSITIONAL, "--select", "LD2", "--format", "json")
    assert code == 1 and {c[:3] for c in json.loads(out)["checks"]["ran"]} == {"LD2"}


def test_output_is_written_whole_or_not_at_all(capfd: Any, tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    code, out, _ = call(capfd, "check", DICT, POSITIONAL, "--format", "json", "--output", str(target))
    assert (code, out) == (1, "")
    assert json.loads(target.read_text())["verdict"] == "silent"
    assert list(tmp_path.iterdir()) == [target]
    code, out, err = call(capfd, "check", DICT, POSITIONAL, "--output", str(tmp_path / "gone" / "r.txt"))
    assert code == 2 and "cannot be written" in err and "Traceback" not in err
    assert call(capfd, "check", DICT, POSITIONAL, "--output", str(tmp_path))[0] == 2


def test_compile_arguments_from_the_command_line(capfd: Any, tmp_path: Path) -> None:
    (tmp_path / "loss.json").write_text('{"zoom": "mae", "angle": "mse"}')
    code, out, _ = call(
        capfd,
        "check",
        DICT,
        NAMED,
        "--loss",
        str(tmp_path / "loss.json"),
        "--loss-weights",
        "[3, 5]",
        "--format",
        "json",
    )
    document = json.loads(out)
    assert {p["output"]: p["loss"] for p in document["pairs"]} == {
        "y_pred['zoom']": "mean_absolute_error",
        "y_pred['angle']": "mean_squared_error",
    }
    # Keras sorts: the first weight goes to angle.
    assert {p["output"]: p["weight"] for p in document["pairs"]} == {"y_pred['zoom']": 5.0, "y_pred['angle']": 3.0}
    assert code == 1 and [f["code"] for f in document["findings"]] == ["LD511"]


def _file(folder: Path, name: str, content: bytes = b"nonsense") -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


BAD: dict[str, tuple[Any, str]] = {
    "no model file": (lambda t: ["gone.keras", NAMED], "there is no model file gone.keras"),
    "not a zip": (lambda t: [_file(t, "m.keras"), NAMED], "m.keras is not a .keras file"),
    "no batch file": (lambda t: [DICT, "gone.npz"], "gone.npz"),
    "an unreadable batch": (lambda t: [DICT, _file(t, "b.npz")], "b.npz is not a readable .npz file"),
    "no batch": (lambda t: [DICT], "check needs a batch"),
    "a json error": (lambda t: [DICT, NAMED, "--loss", "{'a'}"], "--loss is not JSON"),
    "an unknown loss": (lambda t: [DICT, NAMED, "--loss", "msee"], "--loss: 'msee' is neither"),
    "an unknown rule": (lambda t: [DICT, NAMED, "--select", "LD999"], "--select LD999: no rule has that code"),
    "an unknown format": (lambda t: [DICT, NAMED, "--format", "xml"], "xml"),
    "no objects file": (lambda t: [DICT, NAMED, "--objects", "gone.py"], "there is no file gone.py"),
    "an unregistered loss": (
        lambda t: [str(FIXTURES / "keras_20654" / "function.keras"), str(FIXTURES / "keras_20654" / "batch.npz")],
        "--objects",
    ),
    "an unknown key": (lambda t: [DICT, _npz(t, {"x": (8, 5), "yy/zoom": (8, 1)})], "'yy/zoom' belongs to none"),
    "no rows": (lambda t: [DICT, _npz(t, {"x": (0, 5), "y": (0, 1)})], "no rows"),
}


def _npz(folder: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    np.savez(folder / "made.npz", **{k: np.ones(s, dtype="float32") for k, s in shapes.items()})
    return str(folder / "made.npz")


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_exit_2_and_one_sentence(name: str, tmp_path: Path) -> None:
    arguments, said = BAD[name]
    done = run("check", *arguments(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and "Traceback" not in done.stderr
    if done.stderr.startswith("lossdoctor: "):
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_bug_of_ours_says_so_and_exits_3(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a slip")

    monkeypatch.setattr("lossdoctor.doctor.apply_rules", broken)
    code, out, err = call(capfd, "check", DICT, NAMED)
    assert (code, out) == (3, "")
    assert "this is a bug in lossdoctor (ZeroDivisionError: a slip)" in err and "Traceback" not in err
    monkeypatch.setenv("LOSSDOCTOR_DEBUG", "1")
    assert "Traceback" in call(capfd, "check", DICT, NAMED)[2]


def test_what_user_code_prints_stays_off_stdout(capfd: Any, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "import os\nfrom keras import ops\nprint('imported')\n"
        "def loud(y_true, y_pred):\n"
        "    print('called')\n    os.write(1, b'low level\\n')\n"
        "    return ops.mean(ops.square(y_true - y_pred), axis=-1)\n"
    )
    code, out, err = call(
        capfd, "check", DICT, NAMED, "--objects", str(tmp_path / "loud.py"), "--loss", "loud", "--format", "json"
    )
    assert (code, json.loads(out)["verdict"]) == (0, "clean")
    assert "imported" in err and "called" in err and "low level" in err


def test_rule_pages(capfd: Any) -> None:
    code, out, _ = call(capfd, "rule", "LD203")
    assert code == 0 and out.startswith("# LD203 sorted-key-pairing") and "## Measured" in out and "```python" in out
    assert call(capfd, "rule", "sorted-key-pairing")[1] == out
    code, out, _ = call(capfd, "rule")
    assert code == 0 and all(c in out for c in ("LD101", "LD952"))
    code, _, err = call(capfd, "rule", "sorted-keys-pairing")
    assert code == 2 and "did you mean 'sorted-key-pairing'" in err


def test_the_schema_is_printed(capfd: Any) -> None:
    assert call(capfd, "check", "--schema") == (0, schema_text(), "")


def test_the_demo_finds_the_swap(capfd: Any) -> None:
    code, out, _ = call(capfd, "demo")
    assert code == 0 and "LD203" in out and "age_years" in out


def test_a_model_named_in_a_python_file(capfd: Any, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import keras, numpy as np\nfrom keras import layers\n"
        "def build():\n"
        "    i = keras.Input((4,))\n"
        "    model = keras.Model(i, {'z': layers.Dense(1)(i), 'a': layers.Dense(1)(i)})\n"
        "    model.compile(loss='mse')\n    return model\n"
        "def data():\n"
        "    while True:\n        yield np.ones((8, 4)), [np.ones((8, 1)), np.zeros((8, 1))]\n"
    )
    code, out, err = call(capfd, "check", f"{tmp_path}/train.py:build", f"{tmp_path}/train.py:data", "--format", "json")
    assert code == 1, err
    assert [f["code"] for f in json.loads(out)["findings"]] == ["LD203"]


def test_bare_names_in_the_batch_are_the_model_s(capfd: Any, tmp_path: Path) -> None:
    code, out, err = call(
        capfd, "check", DICT, _npz(tmp_path, {"image": (8, 5), "zoom": (8, 1), "angle": (8, 1)}), "--format", "json"
    )
    assert code == 0, err
    assert {p["output"]: p["target"] for p in json.loads(out)["pairs"]} == {
        "y_pred['zoom']": "y['zoom']",
        "y_pred['angle']": "y['angle']",
    }


def test_the_api_and_the_command_agree(capfd: Any) -> None:
    import keras

    _, out, _ = call(capfd, "check", DICT, POSITIONAL, "--format", "json")
    batch = lossdoctor.load_batch(POSITIONAL)
    report = lossdoctor.check(keras.saving.load_model(DICT), batch)
    document = json.loads(report.to_json())
    assert document["pairs"] == json.loads(out)["pairs"]
    assert document["findings"] == json.loads(out)["findings"]


def _labels(folder: Path) -> tuple[str, str]:
    """A three-class model file whose last bias is far off, and a batch for it."""
    i = keras.Input((4,))
    model = keras.Model(i, keras.layers.Dense(3, "softmax")(i))
    model.layers[-1].set_weights([np.zeros((4, 3)), np.array([40.0, 0.0, 0.0])])
    model.compile(loss="sparse_categorical_crossentropy")
    model.save(folder / "m.keras")
    lossdoctor.save_batch(folder / "b.npz", np.ones((16, 4), "float32"), 1 + np.arange(16) % 2)
    return str(folder / "m.keras"), str(folder / "b.npz")


def test_forward_uses_the_model_s_own_predictions(capfd: Any, tmp_path: Path) -> None:
    """The loss reported is what the loaded model evaluates to; LD807 speaks only with --forward."""
    model, batch = _labels(tmp_path)
    plain = json.loads(call(capfd, "check", model, batch, "--format", "json")[1])
    real = json.loads(call(capfd, "check", model, batch, "--forward", "--format", "json")[1])
    held = np.load(batch)
    expected = keras.saving.load_model(model).evaluate(held["x"], held["y"], verbose=0)
    assert real["outcomes"]["fit"]["loss"] == pytest.approx(expected, rel=1e-4)
    assert plain["outcomes"]["fit"]["loss"] != pytest.approx(expected, rel=1e-2)
    assert "LD807" in plain["checks"]["skipped"] and "LD807" in real["checks"]["ran"]
    assert "LD807" in [f["code"] for f in real["findings"]]


def test_forward_on_weights_that_do_not_load(tmp_path: Path, capfd: Any) -> None:
    import zipfile

    model, batch = _labels(tmp_path)
    broken = tmp_path / "broken.keras"
    with zipfile.ZipFile(model) as whole, zipfile.ZipFile(broken, "w") as part:
        for name in whole.namelist():
            part.writestr(name, b"no weights" if name.endswith(".h5") else whole.read(name))
    code, out, err = call(capfd, "check", str(broken), batch, "--forward")
    assert (code, out) == (2, "") and "broken.keras" in err and "Traceback" not in err
    assert call(capfd, "check", str(broken), batch)[0] in (0, 1)
