"""The arguments of `model.compile`, off a live model and off a saved one. Private names: `_compile_config` of a model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import keras

from lossdoctor import _keras, trees
from lossdoctor.types import CompileArgs


def compile_args(model: Any) -> CompileArgs:
    """What a live model was compiled with, untouched; empty where it was not."""
    config = getattr(getattr(model, "_compile_config", None), "config", None)
    if not getattr(model, "compiled", False) or config is None:
        return CompileArgs()
    return CompileArgs(
        loss=trees.plain(config.get("loss")),
        loss_weights=trees.plain(config.get("loss_weights")),
        metrics=trees.plain(config.get("metrics")),
        weighted_metrics=trees.plain(config.get("weighted_metrics")),
        # The attributes, not the arguments: they may be set after compile, and say what Keras made of them.
        run_eagerly=bool(getattr(model, "run_eagerly", False)),
        jit_compile=bool(getattr(model, "jit_compile", False)),
        steps_per_execution=_steps(getattr(model, "steps_per_execution", 1)),
        **optimizer_scale(getattr(model, "optimizer", None)),
        source="the model",
        compiled=True,
        others=other_arguments(config),
    )


def saved_execution(config: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """How Keras would run a step after `load_model`: the fields of `CompileArgs` that tell it.

    `compile_from_config` compiles with what was saved (`jit_compile` resolved), and wraps the optimizer by the loaded model's policy.
    """
    jit = config.get("jit_compile")
    eager = bool(config.get("run_eagerly", False))
    return {
        "run_eagerly": eager,
        "jit_compile": "auto" if not isinstance(jit, bool) else jit and not eager and _keras.model_supports_jit(model),
        "steps_per_execution": _steps(config.get("steps_per_execution", 1)),
        **_saved_scale(config.get("optimizer"), getattr(getattr(model, "dtype_policy", None), "name", "")),
    }


def _steps(given: Any) -> int:
    return given if isinstance(given, int) and given > 1 else 1


def optimizer_scale(optimizer: Any) -> dict[str, Any]:
    """By what an optimizer multiplies the loss: `loss_scale` and `dynamic_scale` of `CompileArgs`."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return {"loss_scale": float(optimizer.initial_scale), "dynamic_scale": True}
    factor = getattr(optimizer, "loss_scale_factor", None)
    return {"loss_scale": None if factor is None else float(factor)}


def _saved_scale(optimizer: Any, policy: str) -> dict[str, Any]:
    """The same of a saved optimizer, read from its config: an optimizer is not rebuilt for a check."""
    saved: dict[str, Any] = optimizer if isinstance(optimizer, dict) else {}
    given = saved.get("config")
    config: dict[str, Any] = given if isinstance(given, dict) else {}
    if saved.get("class_name") == "LossScaleOptimizer" or policy == "mixed_float16":
        scale = config.get("initial_scale")
        return {"loss_scale": _scale(scale, 2.0**15), "dynamic_scale": True}
    factor = config.get("loss_scale_factor")
    return {"loss_scale": _scale(factor, None)}


def _scale(given: Any, otherwise: float | None) -> float | None:
    """A number of a file, which may be none, or one that no float holds."""
    return float(given) if isinstance(given, int | float) and abs(given) <= sys.float_info.max else otherwise


def other_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """What else a compile config holds that is not Keras's default.

    `jit_compile` is stored resolved: True was "auto", and False too on a TensorFlow without a GPU (`trainer.py`).
    """
    found: dict[str, Any] = {}
    if config.get("run_eagerly"):
        found["run_eagerly"] = True
    steps = config.get("steps_per_execution")
    if isinstance(steps, int) and steps > 1:
        found["steps_per_execution"] = steps
    if config.get("jit_compile") is False and not config.get("run_eagerly") and _keras.backend_name() == "jax":
        found["jit_compile"] = False
    return found
