"""`lossdoctor demo`: every case finds what it is about; on a terminal one case a key, elsewhere all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lossdoctor
from lossdoctor.cli.tour import TOUR
from tests.cli.test_cli import call
from tests.cli.test_patch_and_fix import Screen

FOLDER = Path(lossdoctor.__file__).parent / "demo"


@pytest.mark.parametrize("stop", TOUR, ids=lambda s: s.name)
def test_each_case_is_about_its_rule_alone(stop: Any) -> None:
    from lossdoctor.doctor import examine

    objects = (str(FOLDER / "tour_losses.py"),) if stop.objects else ()
    report = examine(str(FOLDER / f"{stop.name}.keras"), str(FOLDER / f"{stop.name}.npz"), objects=objects)
    assert [f.code for f in report.findings if f.severity != "info"] == [stop.rule]
    finding = next(f for f in report.findings if f.code == stop.rule)
    assert finding.fixes and finding.fixes[0].verified


def test_without_a_terminal_all_at_once(capfd: Any) -> None:
    code, out, err = call(capfd, "demo")
    assert (code, err) == (0, "")
    assert [out.index(f"{i} of {len(TOUR)}: {stop.title}") for i, stop in enumerate(TOUR, 1)] == sorted(
        out.index(f": {stop.title}") - len(f"{i} of {len(TOUR)}") for i, stop in enumerate(TOUR, 1)
    )
    for stop in TOUR:
        assert stop.command in out and f"{stop.rule} " in out and f"`lossdoctor rule {stop.rule}`" in out
    assert "Enter or space" not in out
    assert out.rstrip().splitlines()[-1].strip().startswith("lossdoctor patch") and "lossdoctor fix" in out


def test_one_case(capfd: Any) -> None:
    code, out, _ = call(capfd, "demo", "--case", "1")
    assert code == 0 and "LD203" in out and "age_years" in out and "LD302" not in out and "of 5" not in out
    for wrong in ("0", str(len(TOUR) + 1), "x"):
        assert call(capfd, "demo", "--case", wrong)[0] == 2


def test_the_files_can_be_copied_and_the_command_works_on_them(
    capfd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "new" / "tour"
    code, out, err = call(capfd, "demo", "--copy", str(target))
    assert (code, out) == (0, "") and TOUR[0].command in err
    assert len(list(target.iterdir())) == 2 * len(TOUR) + 1
    monkeypatch.chdir(target)
    code, out, _ = call(capfd, *TOUR[1].command.split()[1:])
    assert code == 1 and TOUR[1].rule in out
    code, _, err = call(capfd, "demo", "--copy", str(target / "tour_losses.py"))
    assert code == 2 and "tour_losses.py" in err


def test_on_a_terminal_a_key_a_case(tmp_path: Path) -> None:
    screen = Screen("demo", cwd=tmp_path)
    first = screen.wait("1 of 5", "Enter or space: the next case; q: quit")
    assert "LD203" in first and "2 of 5" not in first
    screen.send("x")  # no key of the tour's
    screen.send(" ")
    second = screen.wait("2 of 5", "LD302", "q: quit")
    assert "3 of 5" not in second and second.count("Enter or space") == 1
    screen.send("\r")
    screen.wait("3 of 5", "LD601", "q: quit")
    screen.send("q")
    assert screen.end() == 0
    assert "4 of 5" not in screen.text() and "Enter or space" not in screen.text()


def test_ctrl_c_ends_it_quietly(tmp_path: Path) -> None:
    screen = Screen("demo", cwd=tmp_path)
    screen.wait("q: quit")
    screen.send("\x03")
    assert screen.end() == 0 and "Traceback" not in screen.text()
