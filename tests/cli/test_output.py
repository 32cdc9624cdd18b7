"""Several formats from one run: which goes to which file, and a stdout that holds one document and nothing else."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lossdoctor.cli.boundary import Stop
from lossdoctor.cli.output import plan
from lossdoctor.report.formats import Format
from tests.cli.test_cli import DICT, NAMED, POSITIONAL, call

TYPED = [
    ("", "text>-"),
    ("-o a", "text>a"),
    ("-f json", "json>-"),
    ("-f json -o a", "json>a"),
    ("-o a -f json", "json>a"),
    ("-f sarif -o a -f html -o b", "sarif>a html>b"),
    ("-f sarif -f html -o a -o b", "sarif>a html>b"),
    ("-f text -f sarif -o a", "text>- sarif>a"),
    ("-f text -o a -f sarif", "text>a sarif>-"),
    ("-f sarif -o a -f text", "sarif>a text>-"),
    ("-f json -f sarif -f html -o a -o b", "json>- sarif>a html>b"),
    ("-f json -f text -f html -o a -o b", "json>a text>- html>b"),
    ("-o a -f json -f text", "json>a text>-"),
    ("-f json -f json -o a", "json>- json>a"),
    ("-f json -o -", "json>-"),
    ("-f sarif -o a -f json -o -", "sarif>a json>-"),
]


def planned(typed: str) -> str:
    words = typed.split()
    formats = [Format(words[i + 1] if len(words[i + 1]) > 1 else "text") for i, w in enumerate(words) if w == "-f"]
    outputs = [Path(words[i + 1]) for i, w in enumerate(words) if w == "-o"]
    order = [{"-f": "--format", "-o": "--output"}[w] for w in words if w in ("-f", "-o")]
    return " ".join(f"{f}>{p or '-'}" for f, p in plan(formats, outputs, order))


@pytest.mark.parametrize(("typed", "expected"), TYPED)
def test_which_format_goes_where(typed: str, expected: str) -> None:
    assert planned(typed) == expected


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("-f json -f html", "2 --format and 0 --output"),
        ("-o a -o b", "1 --format and 2 --output"),
        ("-f json -o a -f html -o a", "the same"),
        ("-f json -o - -f html", "2 --format and 1 --output"),
    ],
)
def test_what_does_not_match_is_said_before_anything_is_read(typed: str, said: str, capfd: Any) -> None:
    with pytest.raises(Stop, match=said) as stop:
        planned(typed)
    assert stop.value.code == 2
    arguments = typed.replace("-f", "--format").replace("-o", "--output").split()
    code, out, err = call(capfd, "check", "gone.keras", "gone.npz", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1) and said in err


def test_several_files_and_text_from_one_run(capfd: Any, tmp_path: Path) -> None:
    names = {"sarif": "r.sarif", "junit": "r.xml", "html": "r.html", "json": "r.json"}
    arguments = [a for f, n in names.items() for a in ("--format", f, "--output", str(tmp_path / n))]
    code, out, err = call(capfd, "check", DICT, POSITIONAL, "--format", "text", *arguments)
    assert (code, err) == (1, "")
    assert "error LD203 sorted-key-pairing" in out and "{" in out and "<" not in out.split("LD203")[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names.values())
    assert json.loads((tmp_path / "r.sarif").read_text())["runs"][0]["results"][0]["ruleId"] == "LD203"
    assert ElementTree.parse(tmp_path / "r.xml").getroot().tag == "testsuites"
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "silent"


@pytest.mark.parametrize("format", [f for f in Format if f is not Format.text])
def test_stdout_holds_the_document_and_nothing_else(format: Format, capfd: Any, tmp_path: Path) -> None:
    call(capfd, "check", DICT, POSITIONAL, "--format", format, "--output", str(tmp_path / "r"))
    code, out, err = call(capfd, "check", DICT, POSITIONAL, "--format", format)
    assert (code, err) == (1, "")
    assert out == (tmp_path / "r").read_text(encoding="utf-8")


def test_a_dash_is_stdout(capfd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capfd, "check", DICT, POSITIONAL, "--format", "json", "--output", "-")
    assert (code, err, json.loads(out)["verdict"]) == (1, "", "silent")
    _, out, _ = call(capfd, "patch", DICT, POSITIONAL, "-o", "-")
    compile(out, "patch.py", "exec")
    assert "'zoom'" in out and not list(tmp_path.iterdir())


def test_the_drawn_lines_of_a_real_run(capfd: Any) -> None:
    _, out, _ = call(capfd, "check", DICT, POSITIONAL, "--format", "html")
    assert out.count('class="line bad" data-left="y[') == 2
    assert out.count('class="line" data-left="y_pred[') == 2
    weighted = ["--loss", '{"zoom": "mae", "angle": "mse"}', "--loss-weights", "[3, 5]", "--format", "html"]
    _, out, _ = call(capfd, "check", DICT, NAMED, *weighted)
    # Keras sorts: the first weight goes to angle.
    lines = [unescape(line) for line in re.findall('class="line bad" data-left="([^"]*" data-right="[^"]*)"', out)]
    assert sorted(lines) == [
        """loss['angle']" data-right="loss_weights[0]""",
        """loss['zoom']" data-right="loss_weights[1]""",
    ]
