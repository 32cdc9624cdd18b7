"""Nothing lost: whoever is killed while writing leaves the old file or the new one, and nothing else."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossdoctor
from lossdoctor import cached, files
from lossdoctor.baseline import write as write_baseline
from lossdoctor.types import CaseError
from tests.report.cases import CLEAN

OLD, NEW = b"the old file", b"the new file" * 20_000


def _killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that is killed right before its `step`-th call of the system; True where it got there."""
    child = os.fork()
    if child == 0:
        count = 0

        def before(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if event == "open" or event.startswith("os."):
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        def line(frame: Any, event: str, argument: Any) -> Any:
            nonlocal count
            if frame.f_code.co_filename == files.__file__:
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return line
            return None

        try:
            sys.addaudithook(before)
            sys.settrace(line)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _write_half_by_half(stream: Any) -> None:
    stream.write(NEW[:100_000])
    stream.flush()
    stream.write(NEW[100_000:])


@pytest.mark.parametrize("there", [True, False], ids=["over an old file", "where none was"])
def test_a_kill_at_every_step_leaves_the_old_file_or_the_new_one(tmp_path: Path, there: bool) -> None:
    seen = set()
    for step in range(1, 1000):
        folder = tmp_path / str(step)
        folder.mkdir()
        target = folder / "r.json"
        if there:
            target.write_bytes(OLD)
        alive = not _killed_at(step, lambda target=target: files.write_bytes(target, _write_half_by_half))
        found = target.read_bytes() if target.exists() else None
        assert found in ((OLD, NEW) if there else (None, NEW)), (step, found and found[:20])
        # Between the moments at which the whole new file gets a name and its place, it may stand beside the old one.
        left = [p for p in folder.iterdir() if p != target]
        assert all(p.read_bytes() == NEW for p in left) and len(left) <= (1 if there else 0), (step, left)
        seen.add(found)
        if alive:
            break
    assert alive and step > 20
    assert seen == ({OLD, NEW} if there else {None, NEW})


def test_a_kill_at_every_step_where_files_need_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems that know no file without a name, half of one may be left beside, but the target is whole."""
    monkeypatch.delattr(os, "O_TMPFILE")
    for step in range(1, 1000):
        target = tmp_path / str(step) / "r.json"
        target.parent.mkdir()
        target.write_bytes(OLD)
        alive = not _killed_at(step, lambda target=target: files.write_bytes(target, _write_half_by_half))
        assert target.read_bytes() in (OLD, NEW)
        if alive:
            break
    assert alive and target.read_bytes() == NEW and list(target.parent.iterdir()) == [target]


class Interrupted(BaseException):
    """What a signal's handler raises, at any line."""


def test_an_interruption_at_every_line_leaves_nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for nameless in (True, False):
        if not nameless:
            monkeypatch.delattr(os, "O_TMPFILE")
        for step in range(1, 1000):
            folder = tmp_path / f"{nameless}{step}"
            folder.mkdir()
            (folder / "r.json").write_bytes(OLD)
            count = 0

            def line(frame: Any, event: str, argument: Any, step: int = step) -> Any:
                nonlocal count
                if frame.f_code.co_filename != files.__file__:
                    return None
                # One signal comes; what is tidied up then is not interrupted a second time.
                count += event == "line"
                if count == step and event == "line" and frame.f_lineno not in _TIDYING:
                    raise Interrupted
                return line

            sys.settrace(line)
            try:
                files.write_bytes(folder / "r.json", _write_half_by_half)
                done = True
            except Interrupted:
                done = False
            finally:
                sys.settrace(None)
            assert [p.name for p in folder.iterdir()] == ["r.json"], step
            assert (folder / "r.json").read_bytes() in (OLD, NEW)
            if count < step:
                break
        assert done


def _tidying() -> set[int]:
    lines = Path(files.__file__).read_text().splitlines()
    first = next(i for i, text in enumerate(lines, 1) if text == "    finally:")
    return {first, first + 1, first + 2}


_TIDYING = _tidying()


def test_a_disk_that_fills_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    target.write_bytes(OLD)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        for write in (
            lambda: files.write_bytes(target, lambda stream: stream.write(NEW)),
            lambda: lossdoctor.save_batch(target, np.ones((200, 200))),
        ):
            with pytest.raises(CaseError, match=r"r\.json cannot be written \(File too large\); make room"):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.read_bytes() == OLD and list(tmp_path.iterdir()) == [target]


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(stream: Any) -> None:
        stream.write(NEW)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CaseError, match="No space left on device"):
        files.write_bytes(tmp_path / "new.json", full)
    assert list(tmp_path.iterdir()) == []


def test_what_the_writer_raises_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(OLD)

    def fails(stream: Any) -> None:
        stream.write(NEW)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        files.write_bytes(tmp_path / "r", fails)
    assert (tmp_path / "r").read_bytes() == OLD and len(list(tmp_path.iterdir())) == 1


def test_mode_links_and_devices_stay(tmp_path: Path) -> None:
    script, link = tmp_path / "train.py", tmp_path / "link.py"
    script.write_text("old")
    script.chmod(0o750)
    link.symlink_to("train.py")
    files.write_text(link, "new")
    assert link.is_symlink() and script.read_text() == "new" and stat.S_IMODE(script.stat().st_mode) == 0o750
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "fresh", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o640
    files.write_text(Path("/dev/null"), "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_pipe_that_is_read_gets_the_text(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_text(tmp_path / "pipe", "a report")
        assert os.read(reader, 100) == b"a report"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_long_name_is_written(tmp_path: Path) -> None:
    name = "r" * 250 + ".json"
    files.write_text(tmp_path / name, "x")
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", ["baseline", "cache", "batch"])
def test_each_writer_survives_a_kill(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill at each call of the system, for the writers that do not go through the command."""
    monkeypatch.setenv("LOSSDOCTOR_CACHE_DIR", str(tmp_path))
    target = tmp_path / ("k.json" if kind != "batch" else "b.npz")
    write: dict[str, Callable[[], object]] = {
        "baseline": lambda: write_baseline(str(target), {"case": CLEAN}),
        "cache": lambda: cached._write("k", CLEAN),
        "batch": lambda: lossdoctor.save_batch(target, np.ones((4, 4)), np.zeros((4, 1))),
    }
    write[kind]()
    whole = target.read_bytes()
    target.write_bytes(OLD)
    for step in range(1, 2000, 5):
        alive = not _killed_at(step, write[kind])
        assert target.read_bytes() in (OLD, whole), step
        assert all(p == target or p.read_bytes() == whole for p in tmp_path.iterdir()), step
        if alive:
            break
    assert alive and target.read_bytes() == whole
