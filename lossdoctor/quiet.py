"""Keeps stdout for the report: what Keras, its backend and user code print goes elsewhere."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from lossdoctor.near import first_line
from lossdoctor.types import CaseError


def import_keras_quietly() -> Any:
    """Import Keras without its backend's start-up chatter; the chatter is shown where the import fails.

    TensorFlow writes to file descriptor 2 from C++ before any Python setting can stop it.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryFile() as noise:
        try:
            with _redirected(2, noise.fileno()):
                import keras
        except Exception as error:
            if backend := os.environ.get("KERAS_BACKEND"):
                raise CaseError(
                    f"Keras cannot be imported with KERAS_BACKEND={backend} ({first_line(error)}); install that backend, "
                    "or set it to one that is installed: tensorflow, jax or torch."
                ) from error
            noise.seek(0)
            sys.stderr.write(noise.read().decode("utf-8", "replace"))
            raise
    return keras


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection inside: walking the half million objects of TensorFlow again and again takes longer than a
    whole check (measured: a sixth of `import keras`). For a process that ends with its report."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def muted_warnings() -> Iterator[None]:
    """No Python warning and no log line of TensorFlow's inside: what many small train steps provoke (retracing, casts) is
    about the stand-in and not about the user's program."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def captured_output() -> Iterator[None]:
    """Everything that is printed to stdout inside, from Python or C++, goes to stderr."""
    with _redirected(1, 2), contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _redirected(descriptor: int, target: int) -> Iterator[None]:
    stream = {1: sys.stdout, 2: sys.stderr}[descriptor]
    with contextlib.suppress(Exception):
        stream.flush()
    try:
        saved = os.dup(descriptor)
    except OSError:  # closed by the caller: there is nothing to keep clean
        yield
        return
    try:
        os.dup2(target, descriptor)
        yield
    finally:
        with contextlib.suppress(Exception):
            stream.flush()
        os.dup2(saved, descriptor)
        os.close(saved)
