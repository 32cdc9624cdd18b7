"""The report's formats: one file a renderer, all fed the same finished `ReportData`."""

from __future__ import annotations

FORMATS = ("text", "json")
