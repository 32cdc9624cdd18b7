"""Which releases are in use."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from lossdoctor.types import Environment


def environment() -> Environment:
    """The versions in use. Imports Keras."""
    from lossdoctor.quiet import import_keras_quietly

    import_keras_quietly()
    from lossdoctor import _keras

    return Environment(own_version(), _keras.version(), _keras.backend_name(), platform.python_version())


def own_version() -> str:
    """lossdoctor's version, from the package's metadata."""
    try:
        return version("lossdoctor")
    except PackageNotFoundError:
        return "0+unknown"
