"""The JSON document follows the shipped schema and section 6 of the contracts."""

from __future__ import annotations

import json

import jsonschema
import pytest

from lossdoctor.report import json as renderer
from lossdoctor.report.schema import schema_text
from tests.report.cases import REPORTS

SCHEMA = json.loads(schema_text())


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", REPORTS)
def test_documents_are_valid_and_complete(name: str) -> None:
    report = REPORTS[name]
    text = renderer.render(report)
    document = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert text == renderer.render(report)
    assert [f["message"] for f in document["findings"]] == [f.message for f in report.findings]
    assert len(document["pairs"]) == len(report.pairs)
    assert document["summary"] == {
        s: sum(f.severity == s for f in report.findings) for s in ("error", "warning", "info")
    }


@pytest.mark.parametrize("gone", ["verdict", "pairs", "outcomes"])
def test_the_schema_refuses_what_is_not_a_report(gone: str) -> None:
    document = renderer.to_document(REPORTS["silent"])
    del document[gone]
    with pytest.raises(jsonschema.ValidationError, match=gone):
        jsonschema.Draft202012Validator(SCHEMA).validate(document)
    document = renderer.to_document(REPORTS["silent"]) | {"verdict": "fine"}
    with pytest.raises(jsonschema.ValidationError, match="fine"):
        jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_what_json_lacks() -> None:
    document = renderer.to_document(REPORTS["strange"])
    assert document["outcomes"]["fit"]["loss"] is None
    assert [p["value"] for p in document["pairs"]] == [None, None]
    assert renderer.to_document(REPORTS["long"])["findings"][1]["evidence"]["nan"] == "nan"


def test_trees_keep_containers_and_order() -> None:
    document = renderer.to_document(REPORTS["strange"])
    kinds = document["model"]["outputs"]
    assert (kinds["kind"], [name for name, _ in kinds["items"]]) == ("ordereddict", ["größe", "label"])
    boxes = kinds["items"][0][1]
    assert (boxes["kind"], boxes["name"], boxes["fields"]) == ("namedtuple", "Boxes", ["z", "a"])
    assert boxes["items"][1] == {
        "kind": "tuple",
        "items": [{"kind": "leaf", "path": "y_pred['größe'].a[0]", "shape": [8, 1], "dtype": "float32"}],
    }
    raised = renderer.to_document(REPORTS["raises"])
    assert raised["batch"]["y"]["items"] == [
        {"kind": "scalar", "value": 2.0},
        {"kind": "none"},
        {"kind": "scalar", "value": True},
    ]
