"""What a model's own `train_step` hands on to Keras's, seen by running it up to there; nothing trains, nothing of the model changes."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lossdoctor import trees
from lossdoctor.case.steps import calls_of, source_of
from lossdoctor.near import first_line
from lossdoctor.types import Batch

_SUPER = "super().train_step()"
# A step with any of these does more than to hand data on, and is not run.
_TRAINS = ("apply", "optimizer", "GradientTape", "assign", "self.fit", "train_on_batch", "self(")


@dataclass(frozen=True, eq=False)
class Handed:
    """The batch that Keras's own step is given. `how`: "as it is", "changed", or None where that was not seen; `error`: what `fit` raises before."""

    batch: Batch
    how: str | None = None
    error: str | None = None


class _Caught(BaseException):
    """Leaves the model's step with the data that it hands on; no `except Exception` of the step's own stops it."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data


def handed_on(model: Any, batch: Batch) -> Handed:
    """Run the model's own `train_step` on the batch up to its `super().train_step(...)`, where it is known to do nothing else."""
    from lossdoctor import _keras, _tracing
    from lossdoctor.case.leaves import array_of

    overridden = _keras.overridden(model)
    if "train_step" not in overridden:
        error = _refusal(model) if "compute_loss" in overridden else None
        return Handed(batch, error=error)
    step = type(model).train_step
    # On JAX `fit` hands a step its state, too (`keras/src/backend/jax/trainer.py: make_train_function`).
    refused = _unbound(step, [model, *(["state"] if _keras.backend_name() == "jax" else []), "data"], {})
    if refused:
        return Handed(batch, error=refused)
    text = source_of(step)
    if calls_of(step) != (_SUPER,) or any(word in text for word in _TRAINS) or batch.x is None:
        return Handed(batch)
    x, y, weights = (trees.map_leaves(array_of, root) for root in (batch.x, batch.y, batch.sample_weight))
    try:
        _tracing.step_until_super(model, x, y, weights, _Caught)
    except _Caught as caught:
        return _compared(batch, caught.data)
    except Exception as error:
        # What a layer raises may be for its want of weights; what the step itself raises is what `fit` raises.
        frames = traceback.extract_tb(error.__traceback__)
        own = inspect.unwrap(step).__code__
        # An attribute may be one that a compile of the model's own sets, which a model out of a file has not seen; JAX's state is left empty.
        mine = (
            not isinstance(error, AttributeError | IndexError)
            and frames
            and (frames[-1].filename, frames[-1].name) == (own.co_filename, own.co_name)
        )
        return Handed(batch, error=f"{type(error).__name__}: {first_line(error)}" if mine else None)
    return Handed(batch)


def _compared(batch: Batch, data: Any) -> Handed:
    from lossdoctor import _keras
    from lossdoctor.case.batch import hold_batch

    try:
        held = hold_batch(data if isinstance(data, tuple) else (data,), batch.source)
    except Exception:  # what is no batch of arrays is Keras's to refuse
        return Handed(batch)
    roots = [(getattr(held, root), getattr(batch, root)) for root in ("y", "sample_weight")]
    if all(_same(*root) for root in roots) and _rows(held.x) == _rows(batch.x):
        return Handed(batch, "as it is")
    # Elsewhere `fit` begins with a symbolic step on the data as they are (`trainer.py: _symbolic_build`), and raises where that does.
    if _keras.backend_name() != "tensorflow" and any(_shapes(a) != _shapes(b) for a, b in roots):
        return Handed(batch)
    return Handed(replace(held, total_rows=batch.total_rows, notes=(*batch.notes, *held.notes)), "changed")


def _shapes(tree: Any) -> list[tuple[str, Any]]:
    return [(path, getattr(leaf, "shape", None)) for path, leaf in trees.leaves("", tree)]


def _rows(tree: Any) -> list[Any]:
    return [getattr(leaf, "shape", ())[:1] for leaf in trees.values(tree)]


def _same(a: Any, b: Any) -> bool:
    """True for two trees of the same containers and equal arrays; `fit` makes float32 of float64."""
    if trees.paths("", a) != trees.paths("", b):
        return False
    return all(x is y or _equal(x, y) for x, y in zip(trees.values(a), trees.values(b), strict=True))


def _equal(x: Any, y: Any) -> bool:
    import numpy as np

    from lossdoctor.case.leaves import array_of

    p, q = np.asarray(array_of(x)), np.asarray(array_of(y))
    return p.shape == q.shape and np.array_equal(p, q.astype(p.dtype))


def _refusal(model: Any) -> str | None:
    """What Python raises where the model's own `compute_loss` cannot take what Keras's step gives it.

    `keras/src/trainers/trainer.py: _compute_loss` gives x, y, y_pred, sample_weight by place, and training where it is taken.
    """
    own = type(model).compute_loss
    given = {"training": True} if "training" in _parameters(own) else {}
    return _unbound(own, [model, "x", "y", "y_pred", "sample_weight"], given)


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _unbound(function: Any, places: list[Any], names: Mapping[str, Any]) -> str | None:
    """What Python raises where a function cannot be called so; None where it can, or is not known. The first of `places` is self."""
    known = _parameters(function)
    if not known:
        return None
    try:
        inspect.Signature(list(known.values())).bind(*places, **names)
    except TypeError as error:
        plain = inspect.Signature([p.replace(annotation=p.empty) for p in known.values()])
        return f"TypeError: {function.__qualname__}{plain} is called with ({', '.join([*places[1:], *names])}): {error}"
    return None


__all__ = ["Handed", "handed_on"]
