"""The one place where exceptions become exit codes: 2 for a case that cannot be read, 3 for a bug of ours."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lossdoctor.near import ending
from lossdoctor.signals import raise_again

OK, FOUND, UNREADABLE, BUG, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EIO}


_ENDED = "the case's own code {}; let it return, or raise an error."


class Stop(Exception):
    """Ends the command with `code`, after `message` on stderr."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


class Terminated(BaseException):
    """SIGTERM, raised as Ctrl-C is, so that what is half done is tidied up on the way out."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `Terminated` inside, where this is the main thread."""

    def end(number: int, frame: object) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, end)
        restore = raise_again(Terminated, KeyboardInterrupt)
    except ValueError:  # another thread than the main one
        yield
        return
    try:
        yield
    finally:
        restore()
        signal.signal(signal.SIGTERM, before)


@contextmanager
def boundary(exits: bool = False) -> Iterator[None]:
    """Run a command's body; no traceback ever leaves it (LOSSDOCTOR_DEBUG=1 shows it).

    Unless the body itself `exits`, a `SystemExit` is the case's own code's, and no answer to the question asked.
    """
    try:
        yield
    except Stop:
        raise
    except SystemExit as error:
        if exits:
            raise
        raise Stop(UNREADABLE, _ENDED.format(ending(error))) from None
    except KeyboardInterrupt:
        raise Stop(INTERRUPTED) from None
    except Terminated:
        raise Stop(TERMINATED) from None
    except BrokenPipeError:
        discard_output()
        raise Stop(OK) from None
    except BaseException as error:
        if os.environ.get("LOSSDOCTOR_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        if type(error).__name__ == "CaseError":
            raise Stop(UNREADABLE, str(error)) from None
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            discard_output()
            raise Stop(
                UNREADABLE, f"the output cannot be written ({error.strerror}); make room and run it again."
            ) from None
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
            raise Stop(
                UNREADABLE, f"{name[:200]} cannot be used ({error.strerror}); check the path and its permissions."
            ) from None
        if isinstance(error, RecursionError):
            raise Stop(UNREADABLE, "the case is nested too deeply to be examined; flatten it.") from None
        if isinstance(error, MemoryError):
            raise Stop(UNREADABLE, "this machine has not enough memory for the case; give a smaller batch.") from None
        if not isinstance(error, Exception):
            raise Stop(UNREADABLE, _ENDED.format(ending(error))) from None
        if isinstance(error, FileNotFoundError) and not _stands():
            raise Stop(UNREADABLE, "the folder that you are in is gone; change to one that exists.") from None
        text = str(error).splitlines()[0][:300] if str(error) else ""
        raise Stop(
            BUG,
            f"this is a bug in lossdoctor ({type(error).__name__}: {text}); please report it with the command you ran "
            "(LOSSDOCTOR_DEBUG=1 shows the traceback).",
        ) from None


def _stands() -> bool:
    """False where the current folder was deleted."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def visible(text: str) -> str:
    """The text with control characters written out: a name in a file must not speak to the terminal."""
    from lossdoctor.report.printable import printable_text

    return printable_text(text)


def open_streams() -> None:
    """Give a closed stdin, stdout or stderr the null device, and let no character that a terminal lacks be an error.

    Otherwise the next file that is opened takes the free descriptor, and what is meant for it lands there.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
            setattr(sys, name, open(descriptor, "r" if descriptor == 0 else "w", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Send stdout to the null device from now on."""
    # What could not be written stays in the buffer; at exit it would raise once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
