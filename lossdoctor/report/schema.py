"""The JSON Schema of the report, as shipped."""

from __future__ import annotations

from importlib.resources import files


def schema_text() -> str:
    """`schema.json` (draft 2020-12), as it lies in the package."""
    return files("lossdoctor.report").joinpath("schema.json").read_text(encoding="utf-8")
