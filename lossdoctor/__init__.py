"""lossdoctor examines a Keras model with one batch before training, and says what Keras will really do.

Nothing heavy is imported until a name is used: Keras, TensorFlow and NumPy stay unloaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.api import FindingsError, Report, check
    from lossdoctor.case.batch import load_batch, save_batch
    from lossdoctor.guard import preflight
    from lossdoctor.many import CaseResult, check_many
    from lossdoctor.nested import nested_losses
    from lossdoctor.request import CheckCase
    from lossdoctor.types import CaseError, Finding

_HOMES = {
    "check": "lossdoctor.api",
    "Report": "lossdoctor.api",
    "FindingsError": "lossdoctor.api",
    "Finding": "lossdoctor.types",
    "CaseResult": "lossdoctor.many",
    "CheckCase": "lossdoctor.request",
    "check_many": "lossdoctor.many",
    "CaseError": "lossdoctor.types",
    "load_batch": "lossdoctor.case.batch",
    "save_batch": "lossdoctor.case.batch",
    "nested_losses": "lossdoctor.nested",
    "preflight": "lossdoctor.guard",
}

__all__ = [
    "CaseError",
    "CaseResult",
    "CheckCase",
    "Finding",
    "FindingsError",
    "Report",
    "check",
    "check_many",
    "load_batch",
    "nested_losses",
    "preflight",
    "save_batch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lossdoctor' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
