"""The backends without their optimizers: tests compile many small programs, and run each once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_ON_JAX = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    # Programs of one operation come again in every process: they are kept on disk.
    "JAX_COMPILATION_CACHE_DIR": str(Path(tempfile.gettempdir()) / "lossdoctor-tests-jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def compile_quickly() -> None:
    """To be called before Keras is imported; processes started from this one have it too, on JAX."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend == "jax":
        for name, value in _ON_JAX.items():
            os.environ.setdefault(name, value)
    elif backend == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
