"""What the commands that repair share: the case examined quietly, the plan, the patch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.facts import Exam
    from lossdoctor.fixes.plan import Plan
    from lossdoctor.fixes.session import Session


@contextmanager
def quietly(first: str = "reading the model and the batch") -> Iterator[Callable[[str], None]]:
    """Keras's and the model's own output held back; a spinner on a terminal's stderr, updated by what is yielded."""
    from lossdoctor.quiet import captured_output, uncollected

    if not sys.stderr.isatty():
        with captured_output(), uncollected():
            yield lambda _: None
        return
    from rich.console import Console

    with captured_output(), uncollected(), Console(stderr=True).status(first) as status:
        yield status.update


def planned(model: str, batch: str, *, grades: tuple[str, ...] = ("safe", "review"), **options: Any) -> Plan:
    """The plan of least change for one case."""
    from lossdoctor.doctor import plan_repairs

    with quietly() as progress:
        exam = _exam(model, batch, options, progress)
        progress("trying the repairs")
        return plan_repairs(exam, grades)


def opened(model: str, batch: str, **options: Any) -> Session:
    """A sitting over one case, with its repairs tried."""
    with quietly() as progress:
        exam = _exam(model, batch, options, progress)
        progress("trying the repairs")
        from lossdoctor.doctor import examined, state_of
        from lossdoctor.fixes.session import open_session

        return open_session(state_of(exam), examined)


def _exam(model: str, batch: str, options: Mapping[str, Any], progress: Callable[[str], None]) -> Exam:
    from lossdoctor.case.load import load_case

    case = load_case(model, batch, **options)
    from lossdoctor.exam.observe import examine  # imports Keras, which load_case has done quietly

    progress("running Keras on a stand-in")
    return examine(case)
