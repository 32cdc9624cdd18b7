"""`preflight`: a check right before `fit`, on the first batch of what `fit` will be given."""

from __future__ import annotations

from typing import Any, Literal

from lossdoctor.api import Report, check
from lossdoctor.case.datasets import first_batch
from lossdoctor.types import SEVERITIES

FailOn = Literal["error", "warning", "info", "never"]


def preflight(model: Any, data: Any, *, fail_on: FailOn = "error", show: bool = True, **options: Any) -> Any:
    """Check `model` with the first batch of `data`, and return the data to train on::

        data = lossdoctor.preflight(model, data)
        model.fit(data)

    `data` is what `fit` takes: a `tf.data.Dataset`, a `PyDataset`, a loader, a generator, or a whole `(x, y)` or
    `(x, y, sample_weight)`. What can be iterated anew is returned as it is. From a generator or another iterator the
    first batch has to be taken; what is returned is a generator that yields it first, so train on that one. (A
    `tf.data.Dataset` with a seeded shuffle counts this look as one iteration: `fit` gets the order of the next.)

    Raises `FindingsError` for a finding of severity `fail_on` or worse ("never": for none). Other findings are printed
    to stderr, unless `show` is False. `options` are those of `lossdoctor.check` (loss, select, ignore, forward ...).
    The model is not changed. Raises `CaseError` where `data` gives no batch.
    """
    if fail_on not in (*SEVERITIES, "never"):
        raise ValueError(f"preflight's fail_on takes one of {', '.join(SEVERITIES)}, never; not {fail_on!r}")
    batch, kept = first_batch(data)
    report = check(model, batch, **options)
    if fail_on != "never":
        report.raise_for_findings(fail_on)
    if show and report.findings:
        _print(report)
    return kept


def _print(report: Report) -> None:
    from rich.console import Console

    from lossdoctor.report import text

    text.render(report.data, Console(stderr=True, highlight=False))


__all__ = ["first_batch", "preflight"]
