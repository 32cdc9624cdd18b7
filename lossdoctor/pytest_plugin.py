"""The pytest plugin: a fixture `lossdoctor`, and the findings of its reports in what a failed test shows.

Every pytest run of a machine with lossdoctor imports this module; it must stay as light as it is.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lossdoctor.api import Report
    from lossdoctor.types import Severity


class Doctor:
    """What the fixture `lossdoctor` is: `check` and `assert_trains`, on a model and the first batch of its data."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def check(self, model: Any = None, batch: Any = None, **options: Any) -> Report:
        """`lossdoctor.check`; `batch` may also be a data set. Where the test fails, the findings are shown with it."""
        report = _examine(model, batch, options)
        self.reports.append(report)
        return report

    def assert_trains(self, model: Any, batch: Any, *, fail_on: Severity = "error", **options: Any) -> Report:
        """Fail the test, with the whole report, where there is a finding of severity `fail_on` or worse."""
        __tracebackhide__ = True
        from lossdoctor.types import SEVERITIES, at_least

        if fail_on not in SEVERITIES:
            raise ValueError(f"assert_trains's fail_on takes one of {', '.join(SEVERITIES)}, not {fail_on!r}")
        report = _examine(model, batch, options)
        if any(at_least(finding.severity, fail_on) for finding in report.findings):
            pytest.fail(
                f"lossdoctor found what keeps {report.data.model_source} from training as meant\n\n{report}", False
            )
        return report


def _examine(model: Any, batch: Any, options: dict[str, Any]) -> Report:
    from lossdoctor.api import check
    from lossdoctor.guard import first_batch

    return check(model, batch if batch is None else first_batch(batch)[0], **options)


@pytest.fixture
def lossdoctor() -> Doctor:
    """Examines Keras models: lossdoctor.check(model, batch) returns a report, lossdoctor.assert_trains(model, batch) fails."""
    return Doctor()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the findings of the reports that a failed test asked for, a section a report."""
    shown = yield
    doctor = getattr(item, "funcargs", {}).get("lossdoctor")
    if shown.when == "call" and shown.failed and isinstance(doctor, Doctor):
        shown.sections += [(f"lossdoctor: {r.data.model_source}", str(r)) for r in doctor.reports if r.findings]
    return shown
