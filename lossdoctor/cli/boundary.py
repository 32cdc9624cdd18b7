"""The one place where exceptions become exit codes: 2 for a case that cannot be read, 3 for a bug of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OK, FOUND, UNREADABLE, BUG, INTERRUPTED = 0, 1, 2, 3, 130


class Stop(Exception):
    """Ends the command with `code`, after `message` on stderr."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def boundary() -> Iterator[None]:
    """Run a command's body; no traceback ever leaves it (LOSSDOCTOR_DEBUG=1 shows it)."""
    try:
        yield
    except (Stop, SystemExit):
        raise
    except KeyboardInterrupt:
        raise Stop(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader has gone; writing the rest, even at exit, would raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Stop(OK) from None
    except Exception as error:
        if os.environ.get("LOSSDOCTOR_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        if type(error).__name__ == "CaseError":
            raise Stop(UNREADABLE, str(error)) from None
        text = str(error).splitlines()[0][:300] if str(error) else ""
        raise Stop(
            BUG,
            f"this is a bug in lossdoctor ({type(error).__name__}: {text}); please report it with the command you ran "
            "(LOSSDOCTOR_DEBUG=1 shows the traceback).",
        ) from None
