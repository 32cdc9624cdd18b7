"""Baselines: what is known does not fail a check; what no longer occurs is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lossdoctor import baseline
from lossdoctor.types import CaseError
from tests.report.cases import CLEAN, LONG, SWAP

BOTH = replace(CLEAN, findings=(SWAP, LONG), verdict="silent", checks=replace(CLEAN.checks, ran=("LD203", "LD801")))


def test_what_is_written_is_read_and_leaves_the_report(tmp_path: Path) -> None:
    path = str(tmp_path / "known.json")
    assert baseline.write(path, {"b": BOTH, "a": replace(BOTH, findings=(SWAP, SWAP))}) == 3
    document = json.loads(Path(path).read_text())
    assert [(f["case"], f["code"]) for f in document["findings"]] == [("a", "LD203"), ("b", "LD203"), ("b", "LD801")]
    assert document["findings"][0]["where"] == ["y_pred['z']", "y[1]"]
    text = Path(path).read_bytes()
    known = baseline.read(path)
    baseline.write(path, {}, reversed(known))
    assert Path(path).read_bytes() == text
    left = baseline.without(BOTH, "b", known)
    assert (left.findings, left.verdict) == ((), "clean")
    assert left.checks.notes[-1] == "2 findings are in the baseline: LD203 at y_pred['z'], y[1]; LD801"
    assert baseline.without(BOTH, "c", known) == BOTH
    # The same rule at another place is another finding.
    moved = replace(SWAP, where=("y_pred['a']",))
    left = baseline.without(replace(BOTH, findings=(SWAP, moved)), "a", known)
    assert (left.findings, left.verdict) == ((moved,), "silent")


def test_entries_that_no_longer_occur() -> None:
    entries = [baseline.Entry(c, f.code, f.where) for c in ("a", "b", "gone") for f in (SWAP, LONG)]
    only_swap = replace(BOTH, findings=(SWAP,))
    assert [str(e) for e in baseline.stale(entries, {"a": only_swap}, None)] == ["LD801"]
    # A rule that did not run says nothing about its entries; nor does a case that was not examined.
    assert baseline.stale(entries, {"a": replace(only_swap, checks=replace(BOTH.checks, ran=("LD203",)))}, None) == []
    assert [e.case for e in baseline.stale(entries, {"a": BOTH}, ["a", "b"])] == ["gone", "gone"]
    said = baseline.stale_sentence(baseline.stale(entries, {"a": only_swap}, None), "known.json")
    assert said == (
        "1 entry of the baseline known.json no longer occurs: a LD801; drop them with --write-baseline known.json."
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no baseline"),
        ("{", "is not JSON"),
        ("[" * 100000, "is not JSON"),
        ("[]", "has no version 1"),
        ('{"version": 2}', "has no version 1"),
        ('{"version": 1}', "holds no list"),
        ('{"version": 1, "findings": [{"case": "a", "code": "LD203"}]}', "findings[0] has no case, code and where"),
    ],
)
def test_a_file_that_is_no_baseline(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CaseError) as caught:
        baseline.read(str(path))
    assert said in str(caught.value) and str(path) in str(caught.value)
