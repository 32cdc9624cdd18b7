"""Names, paths and messages are untrusted: in every format they come back as they are and change nothing around them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import example, given, settings
from markdown_it import MarkdownIt

from lossdoctor.report import github, html, junit, markdown, sarif
from lossdoctor.report import json as json_report
from lossdoctor.report.formats import Format, render
from lossdoctor.report.printable import one_line, printable_text
from tests.report import hostile
from tests.report.test_sarif import VALIDATOR

PLAIN = hostile.report("name")


def every(test: Callable[[str], None]) -> Any:
    """Try many texts: each nasty fragment alone, and then mixtures."""
    for fragment in hostile.FRAGMENTS:
        if fragment.split():
            test = example(fragment)(test)
    return settings(max_examples=60, deadline=None)(given(hostile.TEXTS)(test))


class Reader(HTMLParser):
    """The tags with the names of their attributes, and the text of each element by tag."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, ...]] = []
        self.texts: dict[str, list[str]] = {}
        self.attributes: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.texts.setdefault(tag, []).append("")
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")
        if tag not in ("meta", "br", "hr", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]][-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


@every
def test_every_document_is_utf8_and_printable(name: str) -> None:
    for format in Format:
        if format is not Format.json:  # a JSON string holds anything, as escapes
            document = render(hostile.report(name), format)
            document.encode("utf-8")
            assert printable_text(document) == document


@every
def test_json(name: str) -> None:
    rendered = json_report.render(hostile.report(name))
    rendered.encode("utf-8")
    # Two halves of a pair that follow each other are one character in JSON.
    whole = name.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert json.loads(rendered)["findings"][0]["message"] == whole


@every
def test_sarif(name: str) -> None:
    log = json.loads(sarif.render(hostile.report(name)))
    VALIDATOR.validate(log)
    run = log["runs"][0]
    said = run["results"][0]["message"]["text"]
    assert said.startswith(printable_text(name).replace("](", "] ("))
    assert "](" not in said
    assert run["invocations"][0]["toolExecutionNotifications"][0]["associatedRule"]["id"] == "LD402"
    uri = run["artifacts"][0]["location"]["uri"]
    assert re.fullmatch(r"(file:///)?[\w.%/~-]+", uri, re.ASCII), uri


@every
def test_junit(name: str) -> None:
    suite = ElementTree.fromstring(junit.render(hostile.report(name)))[0]
    failure = suite.find("testcase/failure")
    assert failure is not None and failure.text is not None
    assert failure.attrib["message"] == one_line(name)
    assert failure.text.startswith(printable_text(name))
    assert [case.find("skipped") is not None for case in suite.findall("testcase")] == [False, False, True]


COMMAND = re.compile(r"::(?P<name>\w+) (?P<properties>[^:\n]*)::(?P<message>.*)")


def unescaped(value: str, *more: tuple[str, str]) -> str:
    for code, character in (*more, ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        value = value.replace(code, character)
    return value


@every
def test_github(name: str) -> None:
    lines = github.render(hostile.report(name)).splitlines()
    found = [COMMAND.fullmatch(line) for line in lines]
    assert [m and m["name"] for m in found] == ["error", "notice"]
    first = found[0]
    assert first is not None
    message = unescaped(first["message"])
    assert message.startswith(printable_text(name) + "\nFix: " + printable_text(name))
    properties = dict(part.split("=", 1) for part in first["properties"].split(","))
    assert set(properties) == {"title", "file"}
    assert unescaped(properties["title"], ("%3A", ":"), ("%2C", ",")) == "LD203 sorted-key-pairing"


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@every
def test_markdown(name: str) -> None:
    found = Reader(MARKDOWN.render(markdown.render(hostile.report(name))))
    assert found.tags == Reader(MARKDOWN.render(markdown.render(PLAIN))).tags
    shown = one_line(name)
    assert found.texts["p"][-1].endswith("lossdoctor 0.1.0") and shown in found.texts["p"][-1]
    inline, *_ = found.texts["code"]
    assert inline == shown
    assert " ".join(found.texts["code"][-1].split()) == " ".join(printable_text(name).split())
    assert " ".join(found.texts["td"][0].split()) == "❌"


@every
def test_html(name: str) -> None:
    found = Reader(html.render(hostile.report(name)))
    assert found.tags == Reader(html.render(PLAIN)).tags
    assert found.open == []
    assert printable_text(name) in found.texts["p"]
    assert f"y_pred[{name!r}]" in found.attributes["data-right"]
    assert all(re.fullmatch(r"#[\w-]+", target, re.ASCII) for target in found.attributes["href"])
    assert {target[1:] for target in found.attributes["href"]} <= set(found.attributes["id"])


@every
def test_notebook(name: str) -> None:
    found = Reader(html.fragment(hostile.report(name)))
    assert found.tags == Reader(html.fragment(PLAIN)).tags
    assert "script" not in found.texts and "id" not in found.attributes
    assert printable_text(name) in found.texts["p"]


@pytest.mark.parametrize("bad", ["", {"runs": 1}, {"version": "2.1.0", "runs": [{}]}])
def test_the_schema_refuses_what_is_no_log(bad: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(bad)
