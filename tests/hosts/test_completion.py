"""Completion as the shells ask for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lossdoctor.rules import RULES
from tests.cli.test_cli import COMMAND

HEAVY = ("keras", "tensorflow", "numpy", "optree", "rich.console")


def completed(typed: str, shell: str = "bash") -> list[str]:
    """What is offered for the last word of `typed`, as the shell's own function asks for it."""
    words = typed.split(" ")
    asked = {
        "bash": {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": typed},
        "fish": {"_TYPER_COMPLETE_ARGS": typed, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    environment = {**os.environ, "_LOSSDOCTOR_COMPLETE": f"complete_{shell}", **asked}
    done = subprocess.run([COMMAND], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("lossdoctor che", ["check"]),
        ("lossdoctor check --fail", ["--fail-on"]),
        ("lossdoctor check --fail-on w", ["warning"]),
        ("lossdoctor check --format s", ["sarif"]),
        ("lossdoctor rule LD203", ["LD203"]),
        ("lossdoctor rule sorted", ["sorted-key-pairing", "sorted-loss-order"]),
        ("lossdoctor check --select LD204", ["LD204"]),
        ("lossdoctor check --ignore LD203,LD204", ["LD203,LD204"]),
        ("lossdoctor check --select LD999", []),
    ],
)
def test_bash(typed: str, offered: list[str]) -> None:
    assert completed(typed) == offered


def test_all_commands_and_all_codes_in_order() -> None:
    listed = completed("lossdoctor ")
    assert listed[0] == "check" and {"fix", "patch", "rule", "init", "demo"} <= set(listed)
    assert completed("lossdoctor rule LD") == [rule.code for rule in RULES]


def test_zsh_and_fish_also_say_what_a_rule_sees() -> None:
    for shell in ("zsh", "fish"):
        (text,) = ["\n".join(completed("lossdoctor rule LD203", shell))]
        assert "LD203" in text and "sorted-key-pairing" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_shown(shell: str) -> None:
    environment = {**os.environ, "_LOSSDOCTOR_COMPLETE": f"source_{shell}"}
    done = subprocess.run([COMMAND], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "_LOSSDOCTOR_COMPLETE" in done.stdout and f"complete_{shell}" in done.stdout


def bash(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """bash on a script of its own, with the command on its path and `folder` as the user's home."""
    (folder / "script.sh").write_text(script, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--norc", str(folder / "script.sh")],
        env={**os.environ, "PATH": path, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_bash_completes_once_it_is_installed(tmp_path: Path) -> None:
    """What bash's own completion function puts into COMPREPLY."""
    installed = bash(tmp_path, "lossdoctor --install-completion; true\n")
    assert "bash completion installed" in installed.stdout, installed.stdout + installed.stderr
    asked = (
        'source "$HOME/.bashrc"\nCOMP_WORDS=(lossdoctor rule LD20); COMP_CWORD=2\n'
        '"$(complete -p lossdoctor | sed -E "s/.*-F ([^ ]+).*/\\1/")" lossdoctor\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = bash(tmp_path, asked)
    assert done.stdout.split() == [r.code for r in RULES if r.code.startswith("LD20")], done.stderr


def test_completing_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom lossdoctor.cli import main\nsys.argv = ['lossdoctor']\n"
        "try:\n    main.run()\nexcept SystemExit:\n    pass\n"
        f"print('@', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    typed = {"COMP_WORDS": "lossdoctor check --select LD", "COMP_CWORD": "3", "_LOSSDOCTOR_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **typed}, capture_output=True, text=True, check=False
    )
    assert "LD203" in done.stdout and done.stdout.splitlines()[-1] == "@ []", done.stdout[-500:] + done.stderr
