"""One run of the command in this process, with all that it executes, opens for writing, or asks of the network noted."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 10
# A run that waits for something uses no processor time; this many seconds on the clock end it.
WAITING_SECONDS = 60

_EXECUTE = {
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "pty.spawn",
    "subprocess.Popen",
    "webbrowser.open",
    "marshal.load",
    "pickle.find_class",
    "code.__new__",
    "ctypes.dlopen",
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "urllib.Request",
    "ftplib.connect",
    "smtplib.connect",
}
_CHANGE = {
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "os.utime",
    "shutil.copyfile",
    "shutil.move",
    "shutil.rmtree",
    "shutil.unpack_archive",
}


class Overtime(BaseException):
    """The run took longer than it may."""


@dataclass
class Done:
    """How a run ended. `executed` and `written` hold what the interpreter's audit events told."""

    code: int
    out: str
    err: str
    executed: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


_current: Done | None = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    run = _current
    if run is None:
        return
    if event in _EXECUTE:
        run.executed.append(f"{event} {arguments!r:.200}")
    elif event in _CHANGE:
        run.written += [os.fspath(a) for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
    elif event == "open":
        path, mode, flags = arguments
        if flags & os.O_TMPFILE == os.O_TMPFILE:  # a file without a name, in that folder
            return
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or (isinstance(mode, str) and set(mode) & set("wax+"))
        if writes and isinstance(path, str | bytes | os.PathLike):
            run.written.append(os.fsdecode(path))


def listen() -> None:
    """Hear the interpreter's audit events from now on; they are noted during `run` alone. Cannot be undone."""
    sys.addaudithook(_hook)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def end(number: int, frame: Any) -> None:
        raise Overtime

    before = [signal.signal(s, end) for s in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAITING_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _captured(files: list[Any]) -> Iterator[None]:
    saved = [os.dup(1), os.dup(2)]
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    for number, file in enumerate(files, 1):
        os.dup2(file.fileno(), number)
    out, err = ({"errors": e, "encoding": "utf-8", "closefd": False} for e in ("strict", "backslashreplace"))
    sys.stdout, sys.stderr = open(1, "w", **out), open(2, "w", **err)  # noqa: SIM115
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        sys.stdout, sys.stderr = streams
        for number, old in enumerate(saved, 1):
            os.dup2(old, number)
            os.close(old)


def run(arguments: list[str], folder: Path, stdin: bytes = b"") -> Done:
    """The command with these arguments, in `folder`."""
    global _current
    from lossdoctor.cli import main

    done = Done(0, "", "")
    before, argv = os.getcwd(), sys.argv
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        old_stdin, sys.stdin = sys.stdin, open(given.fileno(), closefd=False)  # noqa: SIM115
        os.chdir(folder)
        sys.argv = ["lossdoctor", *arguments]
        try:
            with _captured([out, err]):
                _current = done
                try:
                    with _limited():
                        main.run()
                except SystemExit as end:
                    done.code = int(end.code or 0)
                except Overtime:
                    done.code = -1
                finally:
                    _current = None
        finally:
            os.chdir(before)
            sys.argv, sys.stdin = argv, old_stdin
        for name, file in (("out", out), ("err", err)):
            file.seek(0)
            setattr(done, name, file.read().decode("utf-8", "replace"))
    return done


def limit_memory(more: int) -> None:
    """From now on this process gets at most `more` bytes of address space beyond what it has."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + more, resource.getrlimit(resource.RLIMIT_AS)[1]))
