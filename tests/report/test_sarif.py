"""The SARIF log against the official schema, and what code scanning reads of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from lossdoctor.report import sarif
from lossdoctor.report.location import file_of, uri_of
from lossdoctor.rules import RULES
from tests.report.cases import REPORTS, SWAP

SCHEMA = json.loads((Path(__file__).parent / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)


@pytest.mark.parametrize("name", REPORTS)
def test_logs_are_valid(name: str) -> None:
    log = json.loads(sarif.render(REPORTS[name]))
    VALIDATOR.validate(log)
    run = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [r["id"] for r in rules] == [r.code for r in RULES]
    assert all(r["help"]["text"] and r["help"]["markdown"].startswith(f"# {r['id']} ") for r in rules)
    findings = REPORTS[name].findings
    assert [r["ruleId"] for r in run["results"]] == [f.code for f in findings]
    assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in run["results"])
    marks = [r["partialFingerprints"][sarif.FINGERPRINT] for r in run["results"]]
    assert len(set(marks)) == len(marks)
    for result, finding in zip(run["results"], findings, strict=True):
        location = result["locations"][0]
        assert [p["fullyQualifiedName"] for p in location.get("logicalLocations", [])] == list(finding.where)
        assert location["physicalLocation"]["artifactLocation"]["uri"] == run["artifacts"][0]["location"]["uri"]
        assert [f["code"] for f in result["properties"]["fixes"]] == [f.code for f in finding.fixes]
        assert all(fix.code in result["message"]["text"] for fix in finding.fixes)


def test_levels_follow_severities() -> None:
    results = sarif.to_log(REPORTS["detector"])["runs"][0]["results"]
    assert [r["level"] for r in results] == ["error", "warning", "note"]


def test_a_fingerprint_knows_the_rule_and_the_place_and_nothing_else() -> None:
    mark = sarif.fingerprint(SWAP)
    assert mark == sarif.fingerprint(replace(SWAP, message="other words", evidence={}, severity="warning"))
    assert mark != sarif.fingerprint(replace(SWAP, code="LD204"))
    assert mark != sarif.fingerprint(replace(SWAP, where=("y_pred['z']", "y[0]")))


def test_the_model_file_is_named_as_seen_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert file_of("./a/../b/m.keras") == "b/m.keras"
    assert file_of(str(tmp_path / "b" / "m.keras")) == "b/m.keras"
    assert file_of("src/train.py:build_model") == "src/train.py"
    assert file_of("functional_1") == "functional_1"
    assert uri_of("läufe/größe 1#2.keras") == "l%C3%A4ufe/gr%C3%B6%C3%9Fe%201%232.keras"
    assert uri_of("/elsewhere/m:1.keras") == "file:///elsewhere/m%3A1.keras"
