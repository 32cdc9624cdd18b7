"""The case under the distribution strategy that the model was made under: a real `fit`, each replica on its share of the rows."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from lossdoctor import trees
from lossdoctor.exam import standin, tensors, watching
from lossdoctor.exam.errors import describe_error
from lossdoctor.exam.probes import aligned
from lossdoctor.exam.setup import Setup, take
from lossdoctor.exam.stepper import Stepper
from lossdoctor.facts import Replicated, Run

# Strategies whose replicas all live in this process; the others would wait for further machines.
_HERE = ("MirroredStrategy", "MirroredStrategyV1")


def replicated(setup: Setup, fit: Run, strategy: Any, skipped: dict[str, str]) -> Replicated | None:
    """What a `fit` on all replicas trains, beside one on one replica; None without a strategy, and where all losses are Keras's own.

    `skipped` is told where there is a strategy, but the two cannot be compared.
    """
    if strategy is None or fit.outcome.status != "ok" or all(call.builtin for call in fit.calls):
        return None
    name, count = type(strategy).__name__, int(strategy.num_replicas_in_sync)
    rows = aligned(setup) // count * count
    if name not in _HERE or not rows:
        here = f"{setup.x_rows[0]} rows cannot be dealt out to {count} replicas"
        skipped["strategy"] = here if name in _HERE else f"a {name} is not started for a check"
        return None
    part = take(setup, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            alone = Stepper(part).step()
            loss, gradients = _together(part, rows, strategy)
        except Exception as error:  # a loss that only takes a batch of this size, say
            skipped["strategy"] = f"under the {name} the loss raises {describe_error(error)}"
            return None
    norms = {path: _norms(alone.gradients[path], gradient) for path, gradient in gradients.items()}
    return Replicated(name, count, rows, (alone.loss, loss), norms)


class _Keeper(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Leaves in every variable the gradient that all replicas have for it together."""

    def __init__(self) -> None:
        super().__init__(learning_rate=1.0, name="keeper")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.assign(variable, gradient)


def _norms(alone: np.ndarray, together: np.ndarray) -> tuple[float, float, float]:
    return (
        float(np.linalg.norm(alone)),
        float(np.linalg.norm(together)),
        float(np.linalg.norm(together - alone)),
    )


def _together(setup: Setup, rows: int, strategy: Any) -> tuple[float | None, dict[str, np.ndarray]]:
    """(what `fit` logs, {output: the gradient}) of one batch that the strategy deals out to its replicas."""
    with strategy.scope():
        model = standin.StandIn(setup, watching.Log(), numbered=True)
        model.compile(_Keeper(), loss=setup.loss, loss_weights=setup.loss_weights, jit_compile=False)
    weights = {} if setup.sample_weight is None else {"sample_weight": setup.sample_weight}
    numbers = np.arange(rows, dtype="float32")[:, None]
    history = model.fit(numbers, setup.y, batch_size=rows, shuffle=False, verbose=0, **weights).history
    paths = trees.paths("y_pred", setup.outputs)
    gradients = [np.asarray(tensors.to_numpy(v), dtype="float64") for v in model.trainable_variables[: len(paths)]]
    return history["loss"][0], dict(zip(paths, gradients, strict=True))
