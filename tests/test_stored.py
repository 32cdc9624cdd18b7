"""Stored reports: text in, the same report out; and pickle by the same text."""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict, namedtuple
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor import stored
from lossdoctor.report import json as renderer
from lossdoctor.types import Finding, Fix, InputSpec, Outcome, ReportData, Spec
from tests.report.cases import CLEAN, PAIR, REPORTS

NAMES = st.sampled_from(["a", "z", "größe", "x y", "$", "\ud800", "items", "0"])
SIZES = st.none() | st.integers(0, 9)
SPECS = st.builds(Spec, st.tuples(SIZES, SIZES), st.sampled_from(["float32", "<U4"]))
INPUTS = st.builds(InputSpec, NAMES, st.tuples(SIZES), st.just("int32"), st.booleans())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


def _containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(children, max_size=3)
    named = st.dictionaries(NAMES, children, max_size=3)
    return (
        items
        | items.map(tuple)
        | named
        | named.map(OrderedDict)
        | st.tuples(children, children).map(lambda pair: namedtuple("Boxes", ["z", "a"])(*pair))
    )


TREES = st.recursive(SPECS | SCALARS | INPUTS, _containers, max_leaves=8)
FIXES = st.builds(Fix, st.text(), st.just("batch"), st.just("safe"), st.text(), st.booleans())
FINDINGS = st.builds(
    Finding,
    st.just("LD203"),
    NAMES,
    st.just("key-order"),
    st.sampled_from(["error", "warning", "info"]),
    st.just("silent"),
    st.text(),
    st.lists(st.text(), max_size=2).map(tuple),
    st.dictionaries(st.text(), TREES, max_size=3),
    st.lists(FIXES, max_size=2).map(tuple),
)
NUMBERS = st.none() | st.floats(allow_nan=False)


def _reports() -> st.SearchStrategy[ReportData]:
    return st.builds(
        lambda outputs, y, findings, loss: replace(
            CLEAN,
            outputs=outputs,
            y=y,
            findings=tuple(findings),
            outcomes={**CLEAN.outcomes, "fit": Outcome("ok", loss=loss)},
            pairs=(replace(PAIR, value=loss),),
        ),
        TREES,
        TREES,
        st.lists(FINDINGS, max_size=2),
        NUMBERS,
    )


def shape(tree: Any) -> Any:
    """The tree with the name of every container: equal dicts, ordered dicts and tuples are told apart."""
    if isinstance(tree, dict):
        return type(tree).__name__, [(k, shape(v)) for k, v in tree.items()]
    if isinstance(tree, list | tuple):
        return type(tree).__name__, getattr(tree, "_fields", ()), [shape(v) for v in tree]
    return type(tree).__name__, tree


@given(_reports())
@settings(max_examples=60, deadline=None)
def test_a_report_comes_back_as_it_was(report: ReportData) -> None:
    text = stored.dump(report)
    back = stored.load(text)
    assert back == report and text.isascii() and stored.dump(back) == text
    assert shape(back.outputs) == shape(report.outputs) and shape(back.y) == shape(report.y)
    assert [shape(f.evidence) for f in back.findings] == [shape(f.evidence) for f in report.findings]


@pytest.mark.parametrize("name", REPORTS)
def test_renderers_see_no_difference_and_pickle_neither(name: str) -> None:
    report = REPORTS[name]
    for back in (stored.load(stored.dump(report)), pickle.loads(pickle.dumps(report))):
        assert renderer.render(back) == renderer.render(report)


def test_numbers_that_json_lacks_and_numpy_s() -> None:
    evidence = {"nan": math.nan, "inf": -math.inf, "np": np.float32(1.5), "int": np.int64(3), "other": {1}}
    back = stored.load(
        stored.dump(replace(CLEAN, findings=(replace(REPORTS["silent"].findings[0], evidence=evidence),)))
    )
    found = back.findings[0].evidence
    assert math.isnan(found["nan"]) and found["inf"] == -math.inf
    assert found["np"] == 1.5 and type(found["np"]) is float and found["int"] == 3 and found["other"] == "{1}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"$":"ReportData","fields":{}}',
        '{"$":"Spec","fields":{"shape":1,"dtype":"f"}}',
        '{"$":"os.system","items":[]}',
        '{"$":"namedtuple","name":"a b","names":["x"],"items":[1]}',
        '{"$":"dict","items":[[[],1]]}',
        "[" * 100000,
    ],
)
def test_anything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        stored.load(text)
