"""What the commands that repair share: the case examined quietly, the plan, the patch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lossdoctor.types import CaseError

if TYPE_CHECKING:
    from lossdoctor.facts import Exam
    from lossdoctor.fixes.patch import Patch
    from lossdoctor.fixes.plan import Plan
    from lossdoctor.types import ReportData


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


def examined(model: str, batch: str | None, **options: Any) -> tuple[ReportData, Exam]:
    """The report of one case, and its exam."""
    from lossdoctor.doctor import examine_with_exam

    with quietly() as progress:
        return examine_with_exam(model, batch, progress=progress, **options)


def planned(model: str, batch: str, *, grades: tuple[str, ...] = ("safe", "review"), **options: Any) -> Plan:
    """The plan of least change for one case."""
    from lossdoctor.case.load import load_case
    from lossdoctor.doctor import plan_repairs
    from lossdoctor.exam.observe import examine

    with quietly() as progress:
        case = load_case(model, batch, **options)
        progress("running Keras on a stand-in")
        exam = examine(case)
        progress("trying the repairs")
        return plan_repairs(exam, grades)


def patch_of(plan: Plan) -> Patch | None:
    """The plan's patch. Raises `CaseError` where something cannot be written as Python."""
    from lossdoctor.fixes.code import NotTypable
    from lossdoctor.fixes.patch import write_patch

    try:
        return write_patch(plan)
    except NotTypable as error:
        raise CaseError(
            f"the patch cannot be written as Python: {error}; define it in a module and compile with that."
        ) from error
