"""One stand-in stepped many times: other predictions, targets or weights of the same shapes, each on Keras's own train step."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossdoctor import trees
from lossdoctor.exam import standin, tensors, watching
from lossdoctor.exam.setup import Setup
from lossdoctor.facts import Run
from lossdoctor.types import Tree

_SAME: Any = object()


@dataclass(frozen=True, eq=False)
class Step:
    """What one eager train step computed: the total, each call's value, and the gradient at each output's variable."""

    loss: float | None
    values: tuple[float | None, ...]
    gradients: dict[str, np.ndarray]

    def rows(self, output: str) -> np.ndarray:
        """The gradient at `output` with one line a row: shape (rows, entries a row)."""
        gradient = self.gradients[output]
        return gradient.reshape(len(gradient), -1) if gradient.ndim else gradient.reshape(1, 1)


class Stepper:
    """A stand-in compiled once, eagerly and without metrics. `step` raises whatever Keras raises."""

    def __init__(self, setup: Setup, kept: tuple[Any, watching.Log] | None = None) -> None:
        self._setup = replace(setup, metrics=None, weighted_metrics=None)
        if kept is None:
            log = watching.Log()
            kept = standin.compiled(self._setup, watching.watch(setup.loss, log), log, eager=True), log
        self._model, self._log = kept
        self._paths = trees.paths("y_pred", setup.outputs)

    def step(self, *, starts: Sequence[np.ndarray] | None = None, y: Tree = _SAME, sample_weight: Tree = _SAME) -> Step:
        """One `train_on_batch` with what is given in place of the setup's own."""
        setup = replace(
            self._setup,
            starts=self._setup.starts if starts is None else tuple(starts),
            y=self._setup.y if y is _SAME else y,
            sample_weight=self._setup.sample_weight if sample_weight is _SAME else sample_weight,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model.put(setup.starts)
            self._model.reset_metrics()  # before Keras 3.15 `train_on_batch` returns the mean of all steps since
            loss = standin.train(self._model, setup, "train_on_batch")
            gradients = self._gradients()
            standin.fill_values(self._model, setup, self._log)
        return Step(loss, tuple(tensors.scalar(call.value) for call in self._log.calls), gradients)

    def _gradients(self) -> dict[str, np.ndarray]:
        recorded = self._model.optimizer.gradients
        return {
            path: _array(recorded[i] if i < len(recorded) else None, start)
            for i, (path, start) in enumerate(zip(self._paths, self._setup.starts, strict=True))
        }

    def repeated(self, run: Run) -> Step:
        """The step that `run` tells of, which the stand-in has just made."""
        return Step(run.outcome.loss, tuple(call.value for call in run.calls), self._gradients())


@dataclass(frozen=True, eq=False)
class Begun:
    """A replayed step: the setup it ran, what came of it, and the stepper that can go on, where it worked."""

    setup: Setup
    run: Run
    stepper: Stepper | None
    first: Step | None


def begin(setup: Setup) -> Begun:
    """The eager replay of a setup, to be gone on from where it worked."""
    kept: list[tuple[Any, watching.Log]] = []
    run = standin.replay(setup, kept)
    stepper = Stepper(setup, kept[0]) if kept else None
    return Begun(setup, run, stepper, stepper.repeated(run) if stepper else None)


def _array(gradient: Any, start: np.ndarray) -> np.ndarray:
    array = tensors.to_numpy(gradient)
    return np.zeros(start.shape) if array is None else np.asarray(array, dtype="float64")
