"""`lossdoctor init`: what it writes is valid, and what exists stays."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from lossdoctor.scaffold import find_pairs
from tests.cli.test_cli import call

SETTINGS, WORKFLOW, HOOKS = "lossdoctor.toml", ".github/workflows/lossdoctor.yml", ".pre-commit-config.yaml"
# The keys that settings may hold.
KNOWN = {"select", "ignore", "fail-on", "objects", "severity", "cases"}
CASE_KEYS = {"name", "model", "batch", "loss"}


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def pairs(folder: Path) -> list[tuple[str, str]]:
    return list(find_pairs(folder))


def init(capfd: Any, folder: Path) -> str:
    code, out, err = call(capfd, "init", "--dir", str(folder))
    assert (code, err) == (0, "")
    return out


def test_an_empty_repository(tmp_path: Path, capfd: Any) -> None:
    out = init(capfd, tmp_path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        [SETTINGS, WORKFLOW, HOOKS]
    )
    assert [line.split()[1] for line in out.splitlines() if line.startswith("wrote ")] == [
        str(tmp_path / name) for name in (SETTINGS, WORKFLOW, HOOKS)
    ]
    assert out.splitlines()[-1].startswith("Next: name your model and batch in")


def test_the_settings_hold_nothing_until_they_are_edited(tmp_path: Path, capfd: Any) -> None:
    init(capfd, tmp_path)
    text = (tmp_path / SETTINGS).read_text(encoding="utf-8")
    assert tomllib.loads(text) == {}
    # Every line that looks like a setting is one, and is valid once its mark is taken away.
    lines = [
        line.removeprefix("# ")
        for line in text.splitlines()
        if line.startswith("# ") and ("= " in line or "# [" in line)
    ]
    lines = [line for line in lines if line.startswith("[") or line.split(" = ")[0] in KNOWN | CASE_KEYS | {"LD514"}]
    settings = tomllib.loads("\n".join(lines))
    assert set(settings) == KNOWN and set(settings["cases"][0]) == CASE_KEYS
    assert settings["severity"] == {"LD514": "info"} and settings["fail-on"] == "error"


def test_models_with_a_batch_become_cases(tmp_path: Path, capfd: Any) -> None:
    touch(tmp_path, "model.keras", "batch.npz", 'models/a "quoted".keras', "models/a.npz", "alone/x.keras")
    out = init(capfd, tmp_path)
    assert tomllib.loads((tmp_path / SETTINGS).read_text(encoding="utf-8")) == {
        "cases": [
            {"model": "model.keras", "batch": "batch.npz"},
            {"model": 'models/a "quoted".keras', "batch": "models/a.npz"},
        ]
    }
    assert "(2 cases found)" in out and "look at the cases" in out


def test_which_batch_goes_with_which_model(tmp_path: Path) -> None:
    touch(tmp_path, "a.keras", "b.keras", "a.npz", "b_batch.npz", "c.keras", "b.h5")
    assert pairs(tmp_path) == [("a.keras", "a.npz"), ("b.h5", "b_batch.npz"), ("b.keras", "b_batch.npz")]


def test_the_search_is_bounded(tmp_path: Path) -> None:
    for place in ("1/2/3", "1/2/3/4", ".hidden", "build", "venv/lib"):
        touch(tmp_path, f"{place}/m.keras", f"{place}/m.npz")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert pairs(tmp_path) == [("1/2/3/m.keras", "1/2/3/m.npz")]
    for i in range(30):
        touch(tmp_path, f"many/{i:02}.keras", f"many/{i:02}.npz")
    assert len(pairs(tmp_path)) == 20


@pytest.mark.skipif(os.name == "nt", reason="such names exist on POSIX only")
def test_a_name_that_toml_cannot_hold_is_passed_over(tmp_path: Path, capfd: Any) -> None:
    for suffix in (b".keras", b".npz"):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff" + suffix))).touch()
    init(capfd, tmp_path)
    assert tomllib.loads((tmp_path / SETTINGS).read_text(encoding="utf-8")) == {}


def test_nothing_that_exists_is_changed(tmp_path: Path, capfd: Any) -> None:
    touch(tmp_path, WORKFLOW)
    for name in (SETTINGS, WORKFLOW, HOOKS):
        (tmp_path / name).write_text(f"# mine: {name}\nrepos: []\n", encoding="utf-8")
    (tmp_path / SETTINGS).write_text("# mine\n", encoding="utf-8")
    (tmp_path / HOOKS).write_text("repos: []\n", encoding="utf-8")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}
    out = init(capfd, tmp_path)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()} == before
    assert "wrote" not in out and out.count("left ") == 3
    # The lines for the hook are shown, ready for the list of repos.
    shown = out[out.index("  - repo: local") : out.index("\n\nNext:")]
    assert yaml.safe_load("repos:\n" + shown)["repos"][0]["hooks"][0]["entry"] == "lossdoctor check"


def test_a_second_run_writes_nothing(tmp_path: Path, capfd: Any) -> None:
    init(capfd, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    out = init(capfd, tmp_path)
    assert "wrote" not in out and "repo: local" not in out  # the hook is there
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_settings_in_pyproject_are_enough(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.lossdoctor]\nfail-on = 'warning'\n", encoding="utf-8")
    assert "pyproject.toml (it has [tool.lossdoctor])" in init(capfd, tmp_path)
    assert not (tmp_path / SETTINGS).exists()


def test_another_pyproject_is_not(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.other]\n", encoding="utf-8")
    init(capfd, tmp_path)
    assert (tmp_path / SETTINGS).exists()


def test_a_link_that_leads_nowhere_stays(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / SETTINGS).symlink_to(tmp_path / "elsewhere.toml")
    init(capfd, tmp_path)
    assert (tmp_path / SETTINGS).is_symlink() and not (tmp_path / "elsewhere.toml").exists()


@pytest.mark.parametrize("name", ["pyproject.toml", ".github"])
def test_what_is_in_the_way_is_said(tmp_path: Path, capfd: Any, name: str) -> None:
    (tmp_path / name).write_text("tool = [", encoding="utf-8")
    code, _, err = call(capfd, "init", "--dir", str(tmp_path))
    assert code == 2 and len(err.splitlines()) == 1 and name in err


def test_a_folder_that_is_not_there(tmp_path: Path, capfd: Any) -> None:
    code, _, err = call(capfd, "init", "--dir", str(tmp_path / "gone"))
    assert code == 2 and "there is no folder" in err and not (tmp_path / "gone").exists()


def test_the_workflow_runs_the_check(tmp_path: Path, capfd: Any) -> None:
    init(capfd, tmp_path)
    workflow = yaml.safe_load((tmp_path / WORKFLOW).read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs == ["python -m pip install lossdoctor", "lossdoctor check"]
    assert workflow["permissions"] == {"contents": "read"}
    # YAML 1.1 reads the key `on` as true.
    assert set(workflow[True]) == {"push", "pull_request"}


def test_it_is_quick(tmp_path: Path) -> None:
    touch(tmp_path, "model.keras", "batch.npz")
    script = (
        "import sys\nfrom lossdoctor.cli import main\n"
        f"sys.argv = ['lossdoctor', 'init', '--dir', {str(tmp_path)!r}]\n"
        "try:\n    main.run()\nexcept SystemExit:\n    pass\n"
        "print('@', [m for m in ('keras', 'numpy', 'rich.console', 'jinja2') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "@ []", done.stderr
    assert (tmp_path / SETTINGS).exists()


LOSSES = """\
from keras import losses, ops

raise SystemExit("init and check read this file, and do not run it")


class Squared(losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)
"""


def test_custom_losses_beside_the_model_are_named(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """init imports what the models need, and check without it names the file; neither runs it unasked."""
    import keras
    import numpy as np

    import lossdoctor

    module = types.ModuleType("losses_of_init")
    exec(LOSSES.replace("raise", "#"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.Squared.__module__ = module.__name__
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(loss=module.Squared())
    model.save(tmp_path / "model.keras")
    lossdoctor.save_batch(tmp_path / "model.npz", np.ones((8, 4)), np.ones((8, 1)))
    (tmp_path / "others.py").write_text("Squared = 2  # no class of that name\n")
    (tmp_path / "losses.py").write_text(LOSSES)
    assert "it imports losses.py for your own classes" in call(capfd, "init", "--dir", str(tmp_path))[1]
    assert tomllib.loads((tmp_path / SETTINGS).read_text(encoding="utf-8"))["objects"] == ["losses.py"]
    (tmp_path / SETTINGS).unlink()
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capfd, "check", "model.keras", "model.npz")
    assert code == 2 and "losses.py defines it: pass --objects losses.py, if you trust it" in err
    (tmp_path / "losses.py").write_text(LOSSES.replace("raise", "#"))
    assert call(capfd, "check", "model.keras", "model.npz", "--objects", "losses.py")[0] == 0
