"""action.yml as GitHub's runner would take it: its shell steps are run by bash, with the runner's files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lossdoctor.cli.check import FailOn

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
FIXTURES = ROOT / "fixtures" / "keras_20346"
SARIF = json.loads((ROOT / "tests" / "report" / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
_EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the action's steps are written for bash")


@dataclass
class Done:
    code: int
    log: str
    outputs: dict[str, str]
    summary: str


def evaluated(text: str, inputs: dict[str, str], folder: Path) -> str:
    """`text` with its expressions in place: those of inputs and of the action's path, no other is used here."""
    known = {f"inputs.{name}": value for name, value in inputs.items()} | {"github.action_path": str(ROOT)}
    return _EXPRESSION.sub(lambda m: known[m[1]], text)


def run(name: str, folder: Path, path: Path | None = None, **given: str) -> Done:
    """One step as the runner runs it: `bash --noprofile --norc -eo pipefail`, inputs with their defaults."""
    given = {key.replace("_", "-"): value for key, value in given.items()}
    inputs = {key: given.get(key, spec["default"]) for key, spec in ACTION["inputs"].items()}
    step = STEPS[name]
    files = {key: folder / key.lower() for key in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.touch()
    script = folder / "step.sh"
    script.write_text(step["run"], encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "COLUMNS")}
    environment["PATH"] = f"{path or Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment |= {key: str(file) for key, file in files.items()}
    environment |= {key: evaluated(value, inputs, folder) for key, value in step["env"].items()}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        cwd=folder / evaluated(step.get("working-directory", "."), inputs, folder),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text(encoding="utf-8").splitlines())
    return Done(done.returncode, done.stdout, outputs, files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(FIXTURES / "dict.keras", tmp_path / "a model.keras")
    shutil.copy(FIXTURES / "positional.npz", tmp_path / "batch.npz")
    return tmp_path


def test_findings_annotate_summarise_and_fail(folder: Path) -> None:
    (folder / "github_step_summary").write_text("what stood there\n", encoding="utf-8")
    done = run("Check", folder, model="a model.keras", batch="batch.npz")
    assert done.code == 1 and done.outputs == {"exit-code": "1", "sarif": "lossdoctor.sarif"}
    lines = done.log.splitlines()
    assert lines[0].startswith("::error title=LD203 sorted-key-pairing,file=a model.keras::y_pred['zoom']")
    assert all(line.startswith("::") for line in lines)
    assert done.summary.startswith("what stood there\n## lossdoctor: ") and "LD203" in done.summary
    document = json.loads((folder / "lossdoctor.sarif").read_text(encoding="utf-8"))
    jsonschema.validate(document, SARIF)
    assert document["runs"][0]["results"][0]["ruleId"] == "LD203"


def test_options_words_and_another_folder(folder: Path) -> None:
    (folder / "sub").mkdir()
    done = run(
        "Check",
        folder,
        model="../a model.keras",
        batch="../batch.npz",
        args="--ignore LD2 --objects '$(touch made)`touch made`;*'",
        working_directory="sub",
        sarif="of the check.sarif",
    )
    # The words reached the command as they stand: that file of objects does not exist.
    assert done.code == 2 and "$(touch made)`touch made`;*" in done.log
    assert not list(folder.rglob("made")) and not (folder / "sub" / "of the check.sarif").exists()
    assert done.outputs == {"exit-code": "2", "sarif": ""}
    passed = run(
        "Check",
        folder,
        model="../a model.keras",
        batch="../batch.npz",
        args='--loss \'{"zoom": "mse",\n "angle": "mae"}\'  --ignore LD2',
        working_directory="sub",
        sarif="of the check.sarif",
        fail_on="never",
    )
    assert passed.code == 0 and (folder / "sub" / "of the check.sarif").exists()
    assert "LD203" not in passed.summary and "mean_absolute_error" in passed.summary


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "gone%0A::warning::x\n.keras", "batch": "batch.npz"}, "there is no model"),
        ({"model": "--unsafe", "batch": "batch.npz"}, "--unsafe"),
        ({"model": "a model.keras", "batch": "batch.npz", "args": "--select 'LD2"}, "a quote that is not closed"),
        ({"model": "a model.keras", "batch": "batch.npz", "fail_on": "often"}, "often"),
        ({"batch": "batch.npz"}, "without the input model"),
        ({"model": "a model.keras", "batch": "batch.npz", "sarif": "a\nb=c"}, "on one line"),
    ],
    ids=["gone", "option", "quote", "fail-on", "batch alone", "sarif"],
)
def test_what_cannot_be_read_is_one_annotation(folder: Path, given: dict[str, str], said: str) -> None:
    done = run("Check", folder, **given)
    assert done.code == 2 and done.outputs == {"exit-code": "2", "sarif": ""} and done.summary == ""
    (line,) = done.log.splitlines()
    assert line.startswith("::error title=lossdoctor::") and said in line


def test_installing(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    python = tools / "python"
    python.write_text('#!/bin/sh\nfor word; do echo "<$word>"; done\n', encoding="utf-8")
    python.chmod(0o755)
    assert run("Install lossdoctor", tmp_path, tools).log.splitlines()[-1] == f"<{ROOT}>"
    assert run("Install lossdoctor", tmp_path, tools, version="1.2; id").log.splitlines()[-1] == "<lossdoctor==1.2; id>"


def test_nothing_from_outside_is_part_of_a_script() -> None:
    for step in STEPS.values():
        assert "${{" not in step.get("run", "")
        assert "run" not in step or step["shell"] == "bash"  # composite steps must name it
    used = {name for text in _strings(ACTION["runs"]) for name in re.findall(r"inputs\.([a-z-]+)", text)}
    assert used == set(ACTION["inputs"])
    assert {ACTION["outputs"][name]["value"] for name in ACTION["outputs"]} == {
        f"${{{{ steps.check.outputs.{name} }}}}" for name in ("sarif", "exit-code")
    }
    assert all(level.value in ACTION["inputs"]["fail-on"]["description"] for level in FailOn)


def _strings(node: Any) -> list[str]:
    if isinstance(node, dict | list):
        return [text for child in (node.values() if isinstance(node, dict) else node) for text in _strings(child)]
    return [str(node)]
