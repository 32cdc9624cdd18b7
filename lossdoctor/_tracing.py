"""How Keras traces a compiled train step, with what does not change the trace left out.

Private names used: `_compile_loss` and `_compile_metrics` of a model (Keras 3.4 to 3.15), `ResourceVariable` of TensorFlow.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import keras

from lossdoctor import trees
from lossdoctor._keras import backend_name
from lossdoctor.types import Tree


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


def step_until_super(model: Any, x: Tree, y: Tree, weights: Tree, leave: Callable[[Any], BaseException]) -> None:
    """Call the model's own `train_step` as `fit` does; its `super().train_step(data)` raises `leave(data)` in the place of Keras's.

    The model is of a class of its own meanwhile, so that no other model is concerned, and no variable is assigned
    (`keras.StatelessScope`). Raises what the step raises.
    """

    def train_step(self: Any, *arguments: Any) -> Any:
        raise leave(arguments[-1])

    own = type(model)
    last = types.new_class("Last", (keras.Model,), exec_body=lambda names: names.update(train_step=train_step))
    given = (trees.map_leaves(_as_fed, root) for root in (x, y, weights))
    data = keras.utils.pack_x_y_sample_weight(*given)
    state: list[Any] = [([], [], [], [])] if backend_name() == "jax" else []
    object.__setattr__(model, "__class__", types.new_class(own.__name__, (own, last)))
    try:
        with keras.StatelessScope():
            model.train_step(*state, data)
    finally:
        object.__setattr__(model, "__class__", own)


def _as_fed(leaf: Any) -> Any:
    """An array as the step gets it: a tensor, float64 as Keras's own float type (`array_slicing.py: convert_to_sliceable`)."""
    kind = getattr(getattr(leaf, "dtype", None), "kind", "")
    if kind not in tuple("biuf"):
        return leaf
    return keras.ops.convert_to_tensor(leaf, dtype=keras.config.floatx() if kind == "f" else None)


__all__ = ["make_cheap", "step_until_super"]
