"""What the settings may hold, as pydantic models; `schema.json` beside this file is their JSON Schema."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

# TOML has arrays alone; they become tuples.
Strings = Annotated[tuple[str, ...], Field(strict=False)]
Level = Literal["error", "warning", "info", "off"]
Least = Literal["error", "warning", "info", "never"]


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=_kebab)


class CaseSettings(_Table):
    """One entry of `cases`: a model, its batch, and how they are examined."""

    model: str = Field(description="A .keras or .h5 file, or file.py:name of a model.", min_length=1)
    batch: str = Field(
        description="An .npz file, a folder of tf.data.Dataset.save, or file.py:name.",
        min_length=1,
    )
    name: str | None = Field(
        None, description="What the case is called; without it, the model as written here.", min_length=1
    )
    loss: JsonValue = Field(None, description="Losses in place of the saved ones: a name, a table, or a .json file.")
    loss_weights: JsonValue = Field(
        None, description="Loss weights: numbers as the losses are nested, or a .json file."
    )
    metrics: JsonValue = Field(None, description="Metrics in place of the saved ones.")
    objects: Strings = Field((), description="Further files or modules with custom classes; they are imported.")
    unsafe: bool = Field(False, description="Permit Lambda code that is stored in the model file.")
    forward: bool = Field(False, description="Also load the weights and run the model on the batch.")
    select: Strings | None = Field(None, description="Only these rules in this case, in place of the general `select`.")
    ignore: Strings = Field((), description="Rules left out in this case, besides the general `ignore`.")


class Settings(_Table):
    """`[tool.lossdoctor]` of pyproject.toml, or the whole of lossdoctor.toml. Paths are relative to the file."""

    model_config = ConfigDict(title="lossdoctor settings")

    select: Strings = Field((), description="Run only these rules: codes or prefixes of codes.")
    ignore: Strings = Field((), description="Leave these rules out: codes or prefixes of codes.")
    per_case_ignores: dict[str, Strings] = Field(
        default_factory=dict, description="Rules left out in the cases whose names fit a pattern (*, ?, [abc])."
    )
    fail_on: Least = Field("error", description="The least severity that makes the exit code 1.")
    severity: dict[str, Level] = Field(
        default_factory=dict, description="Severities of rules: code or prefix to error, warning, info or off."
    )
    objects: Strings = Field((), description="Files or modules with custom classes; they are imported.")
    baseline: str | None = Field(
        None, description="A file of known findings, which do not fail the check.", min_length=1
    )
    cases: Annotated[tuple[CaseSettings, ...], Field(strict=False)] = Field(
        (), description="What `lossdoctor check` without a model examines."
    )


def schema_text() -> str:
    """The JSON Schema (draft 2020-12) of `Settings`, as `schema.json` holds it."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
    return json.dumps(document, indent=2) + "\n"
