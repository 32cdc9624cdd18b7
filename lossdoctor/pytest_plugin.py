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

    def __repr__(self) -> str:
        return "<the fixture lossdoctor>"

    def check(self, model: Any = None, batch: Any = None, **options: Any) -> Report:
        """`lossdoctor.check`; `batch` may also be a data set. Where the test fails, the findings are shown with it."""
        from lossdoctor.api import check
        from lossdoctor.guard import first_batch

        report = check(model, batch if batch is None else first_batch(batch)[0], **options)
        self.reports.append(report)
        return report

    def assert_trains(self, model: Any, batch: Any, *, fail_on: Severity = "error", **options: Any) -> Report:
        """Fail the test where there is a finding of severity `fail_on` ("error", "warning", "info") or worse."""
        __tracebackhide__ = True
        from lossdoctor.api import FindingsError

        report = self.check(model, batch, **options)
        try:
            report.raise_for_findings(fail_on)
        except FindingsError as found:
            raise AssertionError(str(found)) from None
        return report


@pytest.fixture
def lossdoctor() -> Doctor:
    """Examines Keras models: lossdoctor.check(model, batch) returns a report, lossdoctor.assert_trains(model, batch) fails."""
    return Doctor()


# Hook wrappers of this older kind work with every pluggy: an import that fails would end all of a user's tests.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Add the findings of the reports that a failed test asked for, a section a report."""
    outcome = yield
    shown: pytest.TestReport = outcome.get_result()
    doctor = getattr(item, "funcargs", {}).get("lossdoctor")
    if shown.when == "call" and shown.failed and isinstance(doctor, Doctor):
        shown.sections += [(f"lossdoctor: {r.data.model_source}", str(r)) for r in doctor.reports if r.findings]
