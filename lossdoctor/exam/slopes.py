"""Is the gradient that Keras follows the slope of the loss that it reports? Measured by steps along it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossdoctor import trees
from lossdoctor.exam.setup import Setup
from lossdoctor.exam.stepper import Step, Stepper
from lossdoctor.facts import Run

# A step changes the loss by about this share of it, and moves no further than this.
_SHARE, _FURTHEST = 1e-3, 0.1
# Less is lost in float32.
_LEAST = 3e-5


def slopes(setup: Setup, stepper: Stepper, first: Step, run: Run) -> Mapping[str, tuple[float, float]]:
    """{output: (rise of the loss along its gradient, the gradient's norm)}, both a unit of its predictions: equal where the one is the other's.

    Asked where rows of a categorical cross-entropy do not sum to 1: TensorFlow's
    `softmax_cross_entropy_with_logits` takes them for distributions in its gradient alone.
    """
    paths, targets = trees.paths("y_pred", setup.outputs), dict(trees.leaves("y", setup.y))
    found = {}
    for call in run.calls:
        if (
            call.label != "categorical_crossentropy"
            or not call.builtin
            or not len(call.targets) == len(call.outputs) == 1
        ):
            continue
        output, shape = str(call.outputs[0]), call.output_shapes[0]
        if call.target_shapes[0] in (shape, (*shape, 1)) and _unlike_one(targets.get(str(call.targets[0])), shape):
            slope = _slope(setup, stepper, first, paths.index(output), output)
            if slope is not None:
                found[output] = slope
    return found


def _unlike_one(rows: Any, shape: tuple[int, ...]) -> bool:
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "biuf" or len(shape) < 2:
        return False
    return bool((np.abs(rows.reshape(shape).sum(axis=-1, dtype="float64") - 1) > 1e-2).any())


def _slope(setup: Setup, stepper: Stepper, first: Step, place: int, output: str) -> tuple[float, float] | None:
    gradient, start = first.gradients[output], setup.starts[place]
    norm = float(np.linalg.norm(gradient))
    if first.loss is None or not np.isfinite([norm, first.loss]).all() or norm == 0 or start.dtype.itemsize < 4:
        return None
    size = max(1.0, abs(first.loss))
    far = min(_SHARE * size / norm, _FURTHEST)
    if far * norm < _LEAST * size:
        return None
    direction = (far / norm * gradient).astype(start.dtype)
    above, below = (
        stepper.step(starts=[*setup.starts[:place], start + sign * direction, *setup.starts[place + 1 :]]).loss
        for sign in (1, -1)
    )
    return None if above is None or below is None else ((above - below) / (2 * far), norm)


__all__ = ["slopes"]
