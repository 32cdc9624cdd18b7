"""A file system that is really full: a tmpfs of a few pages in a namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parent.parent.parent / "fixtures" / "keras_20346"
MOUNT = 'mount -t tmpfs -o size=64k tmpfs "$0" && '
FILL = 'printf old > "$0/old"; cat /dev/zero > "$0/filler" 2>/dev/null; '
THEN = '"$@"; code=$?; ls -A "$0"; cat "$0/old"; exit $code'
CASE = (str(FIXTURE / "dict.keras"), str(FIXTURE / "positional.npz"))


def on_a_full_disk(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command with `folder` a full file system that holds the files old and filler; then lists it and prints old."""
    script = ["unshare", "-rm", "sh", "-c", MOUNT + FILL + THEN, str(folder), *command]
    return subprocess.run(script, capture_output=True, text=True, check=False, env={**os.environ, **variables})


def mounts(folder: Path) -> bool:
    try:
        return on_a_full_disk(folder, "true").stdout == "filler\nold\nold"
    except FileNotFoundError:  # no such system
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    if not mounts(tmp_path):
        pytest.skip("no file system can be mounted here")
    return tmp_path


def lossdoctor(disk: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    done = on_a_full_disk(disk, sys.executable, "-m", "lossdoctor", *arguments, **variables)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", *CASE, "--format", "html", "--output", "{}/new"),
        ("check", *CASE, "--format", "json", "--output", "{}/old"),
        ("fix", *CASE, "--yes", "--write-batch", "{}/new.npz", "--patch", "{}/new.py"),
        ("init", "--dir", "{}"),
    ],
    ids=["a new report", "a report over an old file", "a batch and a patch", "settings"],
)
def test_what_does_not_fit_is_told_and_nothing_is_left(disk: Path, arguments: tuple[str, ...]) -> None:
    code, out, err = lossdoctor(disk, *(text.format(disk) for text in arguments))
    assert code == 2, (out, err)
    assert "cannot be written (No space left on device); make room" in err and "Traceback" not in out + err
    assert out.endswith("filler\nold\nold")


def test_a_cache_that_cannot_be_written_is_no_matter(disk: Path) -> None:
    code, out, err = lossdoctor(disk, "check", *CASE, LOSSDOCTOR_CACHE_DIR=str(disk / "cache"))
    assert code == 1 and "LD203" in out and "Traceback" not in out + err
    assert out.split("filler\nold")[0].splitlines()[-1] in ("cache", "")
