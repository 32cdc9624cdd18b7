"""The judge of every claim: the real model under the real `fit`."""

from __future__ import annotations

from typing import Any

import lossdoctor


def agree_with_keras(model: Any, batch: tuple[Any, ...], report: lossdoctor.Report) -> None:
    """Assert that the real `fit` raises exactly where the report says so, and an error finding with it."""
    said = report.data.outcomes["fit"].status
    if said == "skipped":
        return
    weights = {"sample_weight": batch[2]} if len(batch) > 2 else {}
    try:
        model.fit(batch[0], batch[1], epochs=1, verbose=0, **weights)
    except Exception as error:
        assert said == "raises", error
    else:
        assert said == "ok", report.data.outcomes["fit"].error
    assert any(f.impact == "raises" and f.severity == "error" for f in report.findings) == (said == "raises")
