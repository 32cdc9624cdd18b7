"""What each document says, read back with its own parser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from junitparser import JUnitXml

from lossdoctor.api import Report
from lossdoctor.report import github, html, junit, markdown
from lossdoctor.report.drawing import draw
from tests.report.cases import REPORTS


@pytest.mark.parametrize("name", REPORTS)
def test_junit_fails_for_errors_alone(name: str) -> None:
    report = REPORTS[name]
    suite = next(iter(JUnitXml.fromstring(junit.render(report).encode("utf-8"))))
    assert suite.failures == report.summary["error"]
    assert suite.skipped == len(report.checks.skipped)
    silent = set(report.checks.ran) - {f.code for f in report.findings}
    assert suite.tests == len(report.findings) + len(silent) + len(report.checks.skipped)
    said = [str(case.system_out) for case in suite if case.system_out]
    assert len(said) == report.summary["warning"] + report.summary["info"]
    root = ElementTree.fromstring(junit.render(report))
    assert [p.attrib["value"] for p in root.iter("property") if p.attrib["name"] == "model"] == [report.model_source]


def test_github_annotates_each_finding_and_says_how_it_went() -> None:
    lines = github.render(REPORTS["detector"]).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::notice", "::notice"]
    assert "title=LD511 weights-mispaired,file=runs/detector.keras::" in lines[0]
    assert "Keras will train, silently, on the wrong thing." in lines[-1]
    assert github.command("error", "a%b\r\nc", title="x:y,z%") == "::error title=x%3Ay%2Cz%25::a%25b%0D%0Ac"


def test_markdown_has_the_table_the_verdict_and_code_to_paste() -> None:
    found = markdown.render(REPORTS["silent"])
    assert found.startswith("## lossdoctor: Keras will train, silently, on the wrong thing.\n")
    assert "| ❌ `y_pred['z']` | `y[1]` | `mean_squared_error` | 1 | (8, 1) | 2.436 |\n" in found
    assert "\n```python\ny = {'z': y[0], 'a': y[1]}\n```\n" in found
    assert "- LD402, LD703: fit raises\n- the predictions\n" in markdown.render(REPORTS["raises"])


def test_lines_join_what_keras_paired() -> None:
    drawing = draw(REPORTS["detector"])
    targets, losses, weights = ([(line.left, line.right, line.wrong) for line in gap.lines] for gap in drawing.gaps)
    assert {(a.removeprefix("y"), b.removeprefix("y_pred")) for a, b, _ in targets} == {
        (path, path) for path in ("['detection']['box']", "['detection']['score']", "['label']")
    }
    assert not any(wrong for *_, wrong in targets + losses)
    assert sorted(weights) == [
        ("loss['detection']['box']", "loss_weights[1]", True),
        ("loss['detection']['score']", "loss_weights[0]", True),
        ("loss['label']", "loss_weights[2]", False),
    ]


def test_a_swap_crosses() -> None:
    target, loss, weight = draw(REPORTS["silent"]).gaps
    one, other = target.lines
    assert (one.top - other.top) * (one.bottom - other.bottom) < 0
    assert [(line.left, line.right) for line in target.lines if line.wrong] == [("y[1]", "y_pred['z']")]
    assert len(loss.lines) == 2 and weight.lines == ()
    assert all(gap.lines == () for gap in draw(REPORTS["raises"]).gaps)


def test_trees_stand_in_the_order_written_with_their_containers() -> None:
    _, outputs, losses, weights = draw(REPORTS["detector"]).columns
    assert [(r.label, r.detail, r.depth) for r in outputs.rows] == [
        ("y_pred", "OrderedDict", 0),
        ("['detection']", "dict", 1),
        ("['box']", "(16, 4)", 2),
        ("['score']", "(16, 1)", 2),
        ("['label']", "(16, 20)", 1),
    ]
    assert [r.label for r in losses.rows if r.leaf] == ["['score']", "['box']", "['label']"]
    assert [r.detail for r in weights.rows] == ["list", "10", "1", "0.1"]
    assert [r.path for r in outputs.rows if r.wrong] == ["y_pred['detection']['box']", "y_pred['detection']['score']"]


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_says_every_line_in_words(name: str) -> None:
    page = html.render(REPORTS[name])
    assert "http:" not in page and "https:" not in page and "url(" not in page and "src=" not in page
    assert page.count('<th scope="row"') == len(REPORTS[name].pairs)
    assert page.count("<article") == len(REPORTS[name].findings)
    assert page.startswith('<!doctype html>\n<html lang="en">\n')


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (#rrggbb), as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_colours_can_be_told_apart_in_light_and_dark() -> None:
    style = re.findall(r"<style>(.*?)</style>", html.render(REPORTS["clean"]), re.DOTALL)[0]
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    )
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    for colours in (light, dark):
        for ground in ("paper", "raised"):
            for text in ("ink", "soft", "bad", "warn", "info", "good"):
                assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
            assert _contrast(colours["line"], colours[ground]) >= 3
        assert _contrast(colours["bad"], colours["bad-wash"]) >= 4.5


class _Outline(HTMLParser):
    """Headings, ids, what ids are pointed at, and what the keyboard reaches without a name for it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.pointed: list[str] = []
        self.nameless: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))
        self.ids += [given["id"] or ""] if "id" in given else []
        self.pointed += [v or "" for k, v in attrs if k in ("aria-labelledby", "aria-describedby")]
        self.pointed += [(given.get("href") or "#")[1:]] if tag == "a" else []
        if given.get("tabindex") == "0" and not ("role" in given and "aria-label" in given):
            self.nameless.append(tag)


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_can_be_used_by_keyboard_and_screen_reader(name: str) -> None:
    outline = _Outline(html.render(REPORTS[name]))
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(outline.headings))
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.pointed) <= set(outline.ids)
    assert outline.nameless == []


def test_a_report_shows_itself_in_a_notebook() -> None:
    found = Report(REPORTS["detector"])._repr_html_()
    assert found.count("<tr>") == 4 and "LD511" in found and "<script" not in found and "<style" not in found
