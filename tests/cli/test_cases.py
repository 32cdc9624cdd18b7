"""`lossdoctor check` on a repository: settings, many cases, jobs, baselines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lossdoctor.cli.many import jobs_for
from lossdoctor.report.schema import schema_text
from tests.cli.test_cli import DICT, FIXTURES, NAMED, POSITIONAL, call

SETTINGS = """\
ignore = ["LD106"]
[[cases]]
name = "good"
model = "models/dict.keras"
batch = "named.npz"
[[cases]]
name = "swapped"
model = "models/dict.keras"
batch = "positional.npz"
[[cases]]
name = "mae"
model = "models/dict.keras"
batch = "positional.npz"
loss = { zoom = "mae", angle = "mae" }
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, a model, two batches; the working directory is a folder inside it."""
    (tmp_path / "models").mkdir()
    shutil.copy(DICT, tmp_path / "models")
    for batch in (NAMED, POSITIONAL):
        shutil.copy(batch, tmp_path)
    (tmp_path / "lossdoctor.toml").write_text(SETTINGS)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("COLUMNS", "160")  # a table without broken lines
    return tmp_path


def test_all_cases_with_a_table_and_what_is_wrong(repository: Path, capfd: Any) -> None:
    code, out, err = call(capfd, "check")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    rows = [line.split()[:4] for line in lines[3:6]]
    assert rows == [["good", "clean", "0", "0"], ["swapped", "silent", "1", "0"], ["mae", "silent", "1", "0"]]
    assert "LD203 y_pred['zoom'] is trained on y[1]," in lines[4]
    assert "good" not in lines[7:] and out.index("\nswapped\n") < out.index("error LD203") < out.index("\nmae\n")
    assert "y = {'zoom': y[0], 'angle': y[1]}" in out
    assert lines[-1] == "3 cases: 2 failing; 2 errors, 0 warnings, 0 info"
    assert call(capfd, "check")[1] == out  # from the cache
    assert call(capfd, "check", "--quiet", "--no-cache")[1] == out[out.index("swapped\n\nerror") :]


def test_some_cases_and_flags_that_win(repository: Path, capfd: Any) -> None:
    assert call(capfd, "check", "--case", "good")[0] == 0
    assert call(capfd, "check", "--fail-on", "never")[0] == 0
    assert call(capfd, "check", "--ignore", "LD203")[0] == 0
    code, out, _ = call(capfd, "check", "--case", "mae", "--case", "good", "--loss", "mse", "--format", "json")
    cases = {c["name"]: c["report"] for c in json.loads(out)["cases"]}
    assert code == 1 and list(cases) == ["good", "mae"]
    assert {p["loss"] for p in cases["mae"]["pairs"]} == {"mean_squared_error"}
    code, _, err = call(capfd, "check", "--case", "swaped")
    assert code == 2 and "lossdoctor.toml has no such case (did you mean 'swapped'?); it has good, swapped, mae." in err
    code, _, err = call(capfd, "check", DICT, NAMED, "--case", "good")
    assert code == 2 and "--case names cases of the settings" in err
    (repository / "other.toml").write_text('fail-on = "never"\n' + SETTINGS)
    assert call(capfd, "check", "--config", "../other.toml")[0] == 0
    assert call(capfd, "check", "--config", "../other.toml", "--fail-on", "error")[0] == 1


def test_settings_hold_for_a_single_case(repository: Path, capfd: Any) -> None:
    def found(text: str, *flags: str) -> tuple[int, list[tuple[str, str]], str]:
        (repository / "lossdoctor.toml").write_text(text)
        code, out, _ = call(capfd, "check", DICT, POSITIONAL, "--format", "json", *flags)
        document = json.loads(out)
        jsonschema.validate(document, json.loads(schema_text()))
        return code, [(f["code"], f["severity"]) for f in document["findings"]], document["verdict"]

    assert found("") == (1, [("LD203", "error")], "silent")
    assert found('ignore = ["LD203"]\n') == (0, [], "clean")
    assert found('ignore = ["LD203"]\n', "--ignore", "LD1") == (1, [("LD203", "error")], "silent")
    assert found('fail-on = "never"\n') == (0, [("LD203", "error")], "silent")
    assert found('[severity]\nLD203 = "warning"\n') == (0, [("LD203", "warning")], "risk")
    assert found('[severity]\nLD203 = "warning"\n', "--fail-on", "warning")[0] == 1
    assert found('[severity]\nLD2 = "warning"\nLD203 = "off"\n') == (0, [], "clean")
    assert found('select = ["LD1"]\n') == (0, [], "clean")


def test_a_severity_by_the_settings_makes_no_false_verdict(repository: Path, capfd: Any) -> None:
    listed = str(FIXTURES / "keras_20346" / "list.keras")
    code, out, _ = call(capfd, "check", listed, NAMED, "--format", "json")
    (info,) = json.loads(out)["findings"]
    assert (code, info["severity"], info["impact"]) == (0, "info", "note")
    (repository / "lossdoctor.toml").write_text(f'[severity]\n{info["code"]} = "error"\n')
    code, out, _ = call(capfd, "check", listed, NAMED, "--format", "json")
    assert (code, json.loads(out)["verdict"]) == (1, "risk")


def test_json_holds_the_reports_and_the_errors(repository: Path, capfd: Any) -> None:
    (repository / "lossdoctor.toml").write_text(
        SETTINGS + '[[cases]]\nname = "gone"\nmodel = "gone.keras"\nbatch = "b.npz"\n'
    )
    code, out, _ = call(capfd, "check", "--format", "json")
    document = json.loads(out)
    assert code == 2 and document["schema_version"] == 1
    schema = json.loads(schema_text())
    for case in document["cases"][:3]:
        jsonschema.validate(case["report"], schema)
    gone = document["cases"][3]
    assert gone == {"name": "gone", "error": "there is no model file ../gone.keras; check the path."}
    assert document["summary"] == {
        "cases": 4,
        "failing": 2,
        "unreadable": 1,
        "error": 2,
        "warning": 0,
        "info": 0,
        "in_baseline": 0,
    }
    _, report, _ = call(capfd, "check", "../models/dict.keras", "../named.npz", "--format", "json")
    assert document["cases"][0]["report"] == json.loads(report)
    code, text, _ = call(capfd, "check", "--output", "report.txt")
    assert (code, text) == (2, "")
    written = Path("report.txt").read_text()
    assert "there is no model file ../gone.keras; check the path." in written and "1 unreadable" in written


def test_a_bug_weighs_more_than_a_case_that_cannot_be_read(
    repository: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "lossdoctor.toml").write_text(SETTINGS + '[[cases]]\nmodel = "gone.keras"\nbatch = "b.npz"\n')

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a slip")

    monkeypatch.setattr("lossdoctor.doctor.apply_rules", broken)
    code, out, err = call(capfd, "check")
    assert code == 3 and "a bug in lossdoctor (ZeroDivisionError: a slip)" in out and "Traceback" not in out + err


def test_baselines(repository: Path, capfd: Any) -> None:
    code, out, _ = call(capfd, "check", "--write-baseline", "../known.json")
    assert code == 0 and out.splitlines()[-1].endswith("0 info; 2 more in the baseline")
    assert call(capfd, "check", "--baseline", "../known.json")[0] == 0
    with open(repository / "lossdoctor.toml", "w") as stream:
        stream.write('baseline = "known.json"\n' + SETTINGS)
    code, out, err = call(capfd, "check", "--format", "json")
    document = json.loads(out)
    assert (code, err, document["summary"]["in_baseline"]) == (0, "", 2)
    table, suites = call(capfd, "check")[1], call(capfd, "check", "--format", "junit")[1]
    assert table.count("known (1)") == 2 and "clean" in table
    assert suites.count('<skipped message="known, in the baseline: ') == 2 and 'failures="0"' in suites
    assert any("1 finding is in the baseline: LD203" in n for n in document["cases"][1]["report"]["checks"]["notes"])
    # Mended: its entry is stale, and told so.
    shutil.copy(NAMED, repository / "positional.npz")
    code, _, err = call(capfd, "check", "--case", "swapped")
    assert code == 0 and "1 entry of the baseline ../known.json no longer occurs: swapped LD203 at" in err
    # Written anew for one case, the others' entries stay.
    assert call(capfd, "check", "--case", "swapped", "--write-baseline", "../known.json")[0] == 0
    assert [f["case"] for f in json.loads((repository / "known.json").read_text())["findings"]] == ["mae"]
    (repository / "known.json").write_text("{")
    code, _, err = call(capfd, "check")
    assert code == 2 and "the baseline ../known.json is not JSON" in err
    assert call(capfd, "check", "--write-baseline", "../known.json")[0] == 2
    assert (repository / "known.json").read_text() == "{"


def test_a_baseline_for_a_single_case(repository: Path, capfd: Any) -> None:
    single = ("check", "../models/dict.keras", "../positional.npz")
    assert call(capfd, *single, "--write-baseline", "known.json")[0] == 0
    code, out, _ = call(capfd, *single, "--baseline", "known.json")
    assert code == 0 and "1 finding is in the baseline" in " ".join(out.split()) and "error LD203" not in out
    assert call(capfd, *single)[0] == 1
    assert call(capfd, *single, "--baseline", "gone.json")[0] == 2


def test_without_cases(repository: Path, capfd: Any) -> None:
    (repository / "lossdoctor.toml").write_text("")
    code, out, err = call(capfd, "check")
    assert (code, out) == (2, "") and "../lossdoctor.toml has no cases" in err
    (repository / "lossdoctor.toml").unlink()
    code, out, err = call(capfd, "check")
    assert (code, out) == (2, "")
    assert err == "lossdoctor: check needs a model and a batch: lossdoctor check model.keras batch.npz.\n"
    (repository / "lossdoctor.toml").write_text("selct = []\n")
    code, _, err = call(capfd, "check", DICT, NAMED)
    assert code == 2 and "../lossdoctor.toml: selct is no setting (did you mean 'select'?)" in err


def test_few_cases_are_examined_in_one_process_and_many_in_one_a_core() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert [jobs_for(count) for count in (0, 1, 39)] == [1, 1, 1]
    assert jobs_for(10_000) == cores and jobs_for(40) == min(2, cores)


def test_jobs_and_the_cache_change_nothing_in_what_is_printed(repository: Path, capfd: Any) -> None:
    script = (
        "import sys\nfrom lossdoctor.cli.main import run\nif __name__ == '__main__':\n    try:\n        run()\n"
        "    finally:\n        print('keras' in sys.modules, file=sys.stderr)\n"
    )

    def run(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", script, "check", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ),
            timeout=200,
        )
        return done.returncode, done.stdout, done.stderr

    together = run("--jobs", "2")
    assert together[0] == 1 and together[2] == "False\n"  # the workers import Keras
    assert run() == together  # from the cache, without Keras
    assert call(capfd, "check", "--no-cache")[:2] == together[:2]


def test_all_cases_in_the_formats_of_ci(repository: Path, capfd: Any) -> None:
    """One run writes them together; a case that cannot be read is in each of them."""
    import xml.etree.ElementTree as ElementTree

    (repository / "positional.npz").write_bytes(b"no batch")
    files = {f: repository / f"all.{f}" for f in ("sarif", "junit", "markdown")}
    options = [x for f, path in files.items() for x in ("--format", f, "--output", str(path))]
    code, out, _ = call(capfd, "check", "--format", "github", *options)
    assert code == 2
    log = json.loads(files["sarif"].read_text(encoding="utf-8"))
    jsonschema.validate(log, json.loads((Path(__file__).parents[1] / "report" / "sarif-2.1.0-rtm.5.json").read_text()))
    ids = [run["automationDetails"]["id"] for run in log["runs"]]
    assert ids == ["lossdoctor/good/", "lossdoctor/swapped/", "lossdoctor/mae/"]
    assert [run["invocations"][0]["executionSuccessful"] for run in log["runs"]] == [True, False, False]
    suites = list(ElementTree.parse(files["junit"]).getroot())
    assert [(s.get("name"), s.get("errors")) for s in suites] == [("good", "0"), ("swapped", "1"), ("mae", "1")]
    assert files["markdown"].read_text(encoding="utf-8").count("\n# ") == 2
    assert sum(line.startswith("::error ") for line in out.splitlines()) == 2
    _, page, _ = call(capfd, "check", "--format", "html")
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 10, "every id once, or the page's links go astray"
    assert {link[1:] for link in re.findall(r'href="(#[^"]*)"', page)} <= set(ids)
    assert page.count("Could not be read") == 2 and page.count("<h1>") == 1
