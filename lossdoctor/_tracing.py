"""How Keras traces a compiled train step, with what does not change the trace left out.

Private names used: `_compile_loss` and `_compile_metrics` of a model (Keras 3.4 to 3.15), `ResourceVariable` of TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lossdoctor._keras import backend_name


def make_cheap(model: Any) -> None:
    """Let the compiled train step of a stand-in be traced once (TensorFlow), and run without XLA (JAX)."""
    if backend_name() == "tensorflow":
        _trace_once(model)
    elif backend_name() == "jax" and model.jit_compile and not model.run_eagerly:
        _run_uncompiled(model)


def _trace_once(model: Any) -> None:
    """Let Keras's own `Mean` of every loss and the metrics be allocated outside of the graph that creates them.

    `CompileLoss.build` and `CompileMetrics.build` make them inside the first traced step; TensorFlow then lifts their initial
    values out, a function each, and traces the step a second time, with them there, which is the trace that runs. With them
    outside there is that trace alone. All else in `build`, its checks and its name scopes, happens in the graph as ever.
    """
    try:
        from tensorflow import init_scope, variable_creator_scope
        from tensorflow.python.ops.resource_variable_ops import ResourceVariable
    except ImportError:  # another layout of TensorFlow: Keras is left to itself
        return

    def outside(_: Any, **given: Any) -> Any:
        with init_scope():
            return ResourceVariable(**{k: v for k, v in given.items() if k in _OF_A_VARIABLE})

    def within(build: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(build)
        def built(*args: Any, **given: Any) -> Any:
            with variable_creator_scope(outside):
                return build(*args, **given)

        return built

    for part in (getattr(model, "_compile_loss", None), getattr(model, "_compile_metrics", None)):
        if part is not None:
            part.build = within(part.build)


_OF_A_VARIABLE = ("initial_value", "trainable", "name", "dtype", "shape", "synchronization", "aggregation")


def _run_uncompiled(model: Any) -> None:
    """Run what `jax.jit` traced of the train step one primitive at a time.

    `keras.src.backend.jax.trainer.make_train_function` wraps `train_step` in `jax.jit`. The trace decides what Keras says of a
    case; XLA, which takes most of a small step's time, only makes it fast.
    """
    import jax

    if not hasattr(jax.jit(lambda: None), "trace"):  # before JAX 0.4.31
        return
    step = model.train_step

    def train_step(state: Any, data: Any) -> Any:
        traced = jax.jit(step).trace(state, data)
        with jax.disable_jit():
            flat = jax.core.eval_jaxpr(traced.jaxpr.jaxpr, traced.jaxpr.consts, *jax.tree.leaves((state, data)))
        return jax.tree.unflatten(jax.tree.structure(traced.out_info), flat)

    model.jit_compile = False
    model.train_step = train_step


__all__ = ["make_cheap"]
