"""Every patch that the rules' bad examples get, run in a fresh process on the real model."""

from __future__ import annotations

import ast
import importlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lossdoctor
from lossdoctor.doctor import plan_repairs
from lossdoctor.rules import RULES
from lossdoctor.types import at_least

# One worker makes the patches of all examples, once.
pytestmark = pytest.mark.xdist_group("patches")

_PRELUDE = "import keras\nimport numpy as np\nfrom keras import layers, ops\n\n"
EXAMPLES = [(rule, i, e) for rule in RULES for i, e in enumerate(rule.bad)]
# The case cannot be seen in a live model alone: it lies in the file, or needs --forward.
_NOT_LIVE = ("saved = True", "forward = True", "unsafe = True")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, dict[str, Any]]]:
    """{number: report, plan, patch, what the fresh process found} of every bad example with a live model."""
    folder = tmp_path_factory.mktemp("patches")
    found: dict[int, dict[str, Any]] = {}
    sys.path.insert(0, str(folder))
    try:
        for number, (rule, i, example) in enumerate(EXAMPLES):
            if any(flag in example.code for flag in _NOT_LIVE):
                continue
            (folder / f"case_{number}.py").write_text(_PRELUDE + example.code, encoding="utf-8")
            importlib.invalidate_caches()
            module = importlib.import_module(f"case_{number}")
            batch = (module.x, module.y, *([module.sample_weight] if hasattr(module, "sample_weight") else []))
            report = lossdoctor.check(module.model, batch)
            patch = report.patch()
            found[number] = {
                "name": f"{rule.code}-{i}",
                "report": report,
                "patch": patch,
                "plan": plan_repairs(report.exam),
            }
            if patch is not None:
                (folder / f"patch_{number}.py").write_text(patch, encoding="utf-8")
    finally:
        sys.path.remove(str(folder))
    script = Path(__file__).parent / "run_patches.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for number, result in json.loads((folder / "result.json").read_text(encoding="utf-8")).items():
        found[int(number)]["ran"] = result
    yield found
    for number in found:
        sys.modules.pop(f"case_{number}", None)


def test_every_finding_has_a_repair_or_says_why_not(cases: dict[int, dict[str, Any]]) -> None:
    missing = []
    for case in cases.values():
        for f in case["report"].findings:
            if not at_least(f.severity, "warning"):
                continue
            tried = any(fix.verified for fix in f.fixes)
            by_person = any(fix.why for fix in f.fixes if fix.grade == "manual")
            in_plan = any(step.finding.code == f.code for step in case["plan"].steps)
            if not (tried or by_person or in_plan):
                missing.append(f"{case['name']}: {f.code} {[fix.title for fix in f.fixes]}")
    assert missing == []


def test_what_has_no_edits_is_by_hand_with_a_reason(cases: dict[int, dict[str, Any]]) -> None:
    fixes = [fix for case in cases.values() for f in case["report"].findings for fix in f.fixes]
    assert fixes
    assert all(bool(fix.edits) != (fix.grade == "manual") for fix in fixes)
    assert all(fix.why for fix in fixes if fix.grade == "manual")


def test_patches_run_and_leave_no_error(cases: dict[int, dict[str, Any]]) -> None:
    """Where the plan leaves no error, the patched real model has none either."""
    patched = [case for case in cases.values() if "ran" in case]
    assert len(patched) > len(cases) // 2
    wrong = {
        case["name"]: case["ran"].get("failed") or case["ran"]["errors"]
        for case in patched
        if not any(f.severity == "error" for f in case["plan"].left)
        and (case["ran"].get("failed") or case["ran"]["errors"])
    }
    assert wrong == {}


def test_patched_models_train_the_declared_objective(cases: dict[int, dict[str, Any]]) -> None:
    """What `train_on_batch` of the patched real model returns is the sum over the outputs, each loss called by hand."""
    compared = 0
    for case in cases.values():
        ran = case.get("ran")
        if ran is None or ran.get("expected") is None or any(f.severity == "error" for f in case["plan"].left):
            continue
        compared += 1
        assert ran["logged"] == pytest.approx(ran["expected"], rel=1e-3, abs=1e-6), case["name"]
        assert math.isfinite(ran["logged"]), case["name"]
    assert compared > 40


def test_patches_are_short_formatted_and_free_of_us(cases: dict[int, dict[str, Any]]) -> None:
    import black

    for case in cases.values():
        if case["patch"] is None:
            continue
        tree = ast.parse(case["patch"])
        imported = {n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names}
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert imported <= {"keras", "numpy"}, case["name"]
        assert defined & {"adapt_model", "compile_model", "adapt_batch"}, case["name"]
        assert "import lossdoctor" not in case["patch"]
        assert black.format_str(case["patch"], mode=black.Mode(line_length=100)) == case["patch"]
        assert all(step.finding.code in case["patch"] for step in case["plan"].steps), case["name"]
