"""The stand-in: a tiny real `keras.Model` with the outputs of the real one, run by Keras itself.

Its outputs are trainable variables behind the real model's last layers, in the real containers, under
the real `output_names`. A recording optimizer keeps the gradients and moves nothing.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from lossdoctor import _feeding, _keras, _tracing, trees
from lossdoctor.exam import tensors
from lossdoctor.exam.errors import describe_error, user_line
from lossdoctor.exam.setup import Setup
from lossdoctor.exam.watching import Log, facts, stage_of, watch
from lossdoctor.facts import Gradient, LossCall, Run
from lossdoctor.types import NOTHING, Outcome, Spec, Tail, Tree


class _Recorder(keras.optimizers.Optimizer):
    """Keeps the gradients of the last step and moves no variable."""

    def __init__(self, scale: float | None = None) -> None:
        super().__init__(learning_rate=0.0, name="recorder", loss_scale_factor=scale)
        self.gradients: list[Any] = []

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        scale = self.loss_scale_factor
        self.gradients = [g if g is None or scale is None else keras.ops.divide(g, scale) for g in grads]
        if all(gradient is None for gradient in self.gradients):
            super().apply(grads, trainable_variables)  # Keras's own answer to a loss that reaches nothing

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        return None


class StandIn(keras.Model):
    """The tiny model. `extra` scalar variables serve the run that measures the loss weights.

    `numbered`: x holds the numbers of the rows that it stands for, which are some of the batch's (a replica's share).
    """

    def __init__(self, setup: Setup, log: Log, extra: int = 0, numbered: bool = False) -> None:
        super().__init__(name="stand_in", dtype="float32")
        self._numbered = numbered
        self._setup = Opaque(setup)
        self._log = Opaque(log)
        self._starts = [
            self.add_weight(
                shape=start.shape, dtype=start.dtype.name, name=f"output_{i}", initializer=keras.initializers.Zeros()
            )
            for i, start in enumerate(setup.starts)
        ]
        self.put(setup.starts)
        # What the layers add reaches trainable weights: a step in which no output has a gradient then still has one.
        self._added = (
            self.add_weight(shape=(), name="added", initializer="zeros") if setup.trains_added else keras.ops.zeros(())
        )
        self.factors = [self.add_weight(shape=(), name=f"factor_{i}", initializer="ones") for i in range(extra)]
        if setup.output_names is not None:
            self.output_names = list(setup.output_names)
        self.built = True

    @property
    def stop_training(self) -> bool:
        """Always: `fit` has one batch, and would make a second iterator of the data behind it (keras/src/trainers/epoch_iterator.py)."""
        return True

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        """`fit` sets it at its start."""

    def put(self, starts: Sequence[np.ndarray]) -> None:
        """Other values for the variables in front of the outputs."""
        for variable, start in zip(self._starts, starts, strict=True):
            variable.assign(start)

    def call(self, x: Any) -> Any:
        setup = self._setup.value
        if setup.adds_losses:
            self.add_loss(self._added * 0.0)  # which Keras adds to the total as it does what the real layers add
        rows = _numbered_rows(setup, x) if self._numbered else _dynamic_rows(setup, x)
        specs = trees.values(setup.outputs)
        flat = [
            _output(variable, rows, spec, tail, mask)
            for variable, spec, tail, mask in zip(self._starts, specs, setup.tails, setup.masks, strict=True)
        ]
        return trees.pack(setup.outputs, flat)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        log = self._log.value
        log.enter(y, y_pred)
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        log.returned = True
        return loss


@dataclass(frozen=True, eq=False)
class Opaque:
    """Keeps Keras from tracking (and wrapping the containers of) what a model holds."""

    value: Any


# (N, first, last): of N rows those from `first` up to `last`.
_Rows = tuple[int, Any, Any]


def _numbered_rows(setup: Setup, x: Any) -> _Rows:
    """The rows whose numbers x holds, one after another."""
    first = keras.ops.cast(x[0, 0], "int32")
    return setup.x_rows[0], first, first + keras.ops.shape(x)[0]


def _dynamic_rows(setup: Setup, x: Any) -> _Rows | None:
    """All rows, by their number as the traced step knows it: in a compiled `fit` a real model's outputs have an open batch axis."""
    flat = [leaf for leaf in trees.values(x) if leaf is not None]
    if not flat or not getattr(flat[0], "shape", ()) or flat[0].shape[0] is not None:
        return None
    return setup.x_rows[0], 0, keras.ops.shape(flat[0])[0]


def _share(value: Any, rows: _Rows | None) -> Any:
    if rows is None or not value.shape or value.shape[0] != rows[0]:
        return value
    return value[rows[1] : rows[2]]


def _output(variable: Any, rows: _Rows | None, spec: Spec, tail: Tail | None, mask: np.ndarray | None) -> Any:
    """One output tensor: the variable through the model's real last layers, in the output's dtype. None where the model returns none."""
    if spec == NOTHING:
        return None
    value = _share(keras.ops.convert_to_tensor(variable), rows)
    if tail is None:
        value = keras.ops.cast(value, spec.dtype)
        # An identity that is a new tensor: two outputs must never be one object.
        value = value + keras.ops.zeros((), dtype=spec.dtype) if "float" in spec.dtype else value
    else:
        value = keras.ops.cast(value, tail.start.dtype)
        for operation in tail.operations:
            value = operation(value)
    if mask is not None:
        _keras.set_mask(value, _share(keras.ops.convert_to_tensor(mask), rows))
    return value


def run(setup: Setup, method: str) -> Run:
    """One real call of `method` ("fit" or "train_on_batch") on a fresh stand-in, compiled as Keras compiles by default.

    Never raises for what Keras, the backend or the user's loss raises: that is the observation. A
    compiled step traces the losses, so its calls have no values; `replay` has.
    """
    found = _run(setup, method, setup.run_eagerly)
    if found.outcome.status == "raises" and (setup.metrics or setup.weighted_metrics):
        without = _run(replace(setup, metrics=None, weighted_metrics=None), method, setup.run_eagerly)
        if without.outcome.status == "ok":
            return replace(found, stage="metrics", failed_call=None, calls=without.calls)
        if without.stage == "loss" != found.stage:  # JAX and PyTorch call the metrics first
            return replace(without, outcome=found.outcome, cause=without.outcome.error)
    return found


def replay(setup: Setup, kept: list[tuple[Any, Log]] | None = None) -> Run:
    """The same train step run eagerly: concrete values, shapes, gradients and measured weights of every loss call.

    Where the step works, its stand-in is put into `kept`, for further steps.
    """
    plain = replace(setup, metrics=None, weighted_metrics=None, steps_per_execution=1)
    return _run(plain, "train_on_batch", eager=True, kept=kept)


def _run(setup: Setup, method: str, eager: bool, kept: list[tuple[Any, Log]] | None = None) -> Run:
    log = Log()
    model: Any = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = compiled(setup, watch(setup.loss, log), log, eager)
            value = train(model, setup, method)
        except (Exception, SystemExit) as error:
            stage = stage_of(log)
            return Run(
                outcome=Outcome("raises", error=describe_error(error)),
                calls=facts(log, setup),
                stage=stage,
                failed_call=len(log.calls) - 1 if stage == "loss" else None,
                error_at=user_line(error),
                losses=_loss_names() if _UNKNOWN in str(error) else (),
            )
        if not eager:
            return Run(Outcome("ok", loss=value), facts(log, setup))
        gradients = _gradients(model, setup)
        fill_values(model, setup, log)
    if kept is not None:
        kept.append((model, log))
    calls = facts(log, setup)
    if _needs_weights(setup, calls, value):
        weights = _weights(setup, len(calls))
        calls = tuple(replace(call, weight=weight) for call, weight in zip(calls, weights, strict=True))
    return Run(Outcome("ok", loss=value), calls, gradients)


# Keras's words for a loss's name that it does not know (`losses/__init__.py: get`).
_UNKNOWN = "Could not interpret loss identifier"
_SHORT = ("mse", "mae", "mape", "msle", "bce", "kld")


def _loss_names() -> tuple[str, ...]:
    """The names of functions that `compile` takes for a loss, and "crossentropy", which it resolves by the shapes."""

    def known(name: str) -> bool:
        try:
            return callable(keras.losses.get(name))
        except ValueError:  # no loss of that name
            return False

    functions = [name for name in dir(keras.losses) if name.islower() and not name.startswith("_")]
    return ("crossentropy", *(name for name in (*functions, *_SHORT) if known(name)))


def compiled(setup: Setup, loss: Tree, log: Log, eager: bool, extra: int = 0, fresh: bool = True) -> Any:
    """A stand-in compiled with `loss`; `fresh` metrics are copies without the state of the caller's.

    Unless `eager`, as the case's own model is compiled: with its `jit_compile` and `steps_per_execution`.
    """
    copied = _fresh if fresh else (lambda metrics: metrics)
    model = StandIn(setup, log, extra)
    model.compile(
        optimizer=_Recorder(setup.loss_scale),
        loss=loss,
        loss_weights=setup.loss_weights,
        metrics=copied(setup.metrics),
        weighted_metrics=copied(setup.weighted_metrics),
        run_eagerly=eager,
        jit_compile=False if eager else setup.jit_compile,
        steps_per_execution=setup.steps_per_execution,
    )
    if not eager:
        _tracing.make_cheap(model)
    return model


def _fresh(metrics: Tree) -> Tree:
    return None if metrics is None else trees.map_leaves(_keras.metric_copy, metrics)


def train(model: Any, setup: Setup, method: str) -> float | None:
    """The loss that one call of the model's own `fit` or `train_on_batch` reports."""
    data = trainer_data(setup)
    if method == "fit":
        rows = max(setup.x_rows)
        data = _feeding.as_one_batch(data, rows)
        history = model.fit(**data, batch_size=rows, epochs=1, shuffle=False, verbose=0)
        value = history.history.get("loss", [None])[0]
    else:
        value = model.train_on_batch(**data, return_dict=True).get("loss")
    return tensors.scalar(value)


def trainer_data(setup: Setup) -> dict[str, Any]:
    """What the trainer is given: an x that only has the right number of rows, and the case's own y and sample_weight."""
    x = [np.zeros((n, 1), dtype="float32") for n in setup.x_rows]
    weights = {} if setup.sample_weight is None else {"sample_weight": setup.sample_weight}
    return {"x": x[0] if len(x) == 1 else x, "y": setup.y, **weights}


def fill_values(model: Any, setup: Setup, log: Log) -> None:
    """Losses traced inside a gradient (JAX) have no values; one eager test step fills them in."""
    if all(tensors.to_numpy(call.value) is not None for call in log.calls):
        return
    # Should it raise, the train step still ran: the facts that need values stay unknown.
    with contextlib.suppress(Exception):
        model.test_on_batch(**trainer_data(setup))


def _needs_weights(setup: Setup, calls: tuple[LossCall, ...], total: float | None) -> bool:
    """True where the total is not plainly the sum of the calls: weights, a loss called but not counted, no scalar."""
    if len(calls) < 2 and setup.loss_weights is None:
        return False
    values = [call.value for call in calls]
    if setup.loss_weights is not None or total is None or any(v is None for v in values):
        return bool(calls)
    return not np.isclose(total, sum(v for v in values if v is not None), rtol=1e-4)


def _weights(setup: Setup, count: int) -> list[float]:
    """The factor of every loss call in the total, measured: each call returns a variable, and the gradient is its weight."""
    log = Log()
    held: dict[str, Any] = {}
    loss = watch(setup.loss, log, lambda i: keras.ops.convert_to_tensor(held["model"].factors[i]))
    model = held["model"] = compiled(setup, loss, log, eager=True, extra=count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(model, setup, "train_on_batch")
    gradients = model.optimizer.gradients[-count:]
    return [0.0 if g is None else float(tensors.to_numpy(g)) for g in gradients]


def weighed(setup: Setup, run: Run) -> Run:
    """A run that raised in or after a loss, with the weight of every loss call; NaN where it cannot be measured."""
    if run.outcome.status != "raises" or setup.loss_weights is None or not run.calls:
        return run
    setup = replace(setup, metrics=None, weighted_metrics=None)
    most = max(len(trees.values(setup.loss)), len(trees.values(setup.outputs)), len(run.calls))
    try:
        weights = _weights(setup, most)[: len(run.calls)]
    except Exception:  # Keras raises on its way to the total, too
        weights = [math.nan] * len(run.calls)
    return replace(
        run, calls=tuple(replace(call, weight=weight) for call, weight in zip(run.calls, weights, strict=True))
    )


def _gradients(model: Any, setup: Setup) -> tuple[Gradient, ...]:
    paths = trees.paths("y_pred", setup.outputs)
    recorded = model.optimizer.gradients
    return tuple(
        gradient_at(path, start, recorded[i] if i < len(recorded) else None)
        for i, (path, start) in enumerate(zip(paths, setup.starts, strict=True))
    )


def gradient_at(path: str, start: np.ndarray, gradient: Any) -> Gradient:
    rows = start.shape[0] if start.ndim else 1
    array = tensors.to_numpy(gradient)
    if array is None:
        return Gradient(path, 0.0, True, 0, rows, 0, connected=False)
    flat = np.asarray(array, dtype="float64").reshape(rows, -1) if array.size else np.zeros((rows, 1))
    touched = np.any(flat != 0, axis=1)
    missed = np.flatnonzero(~touched)
    return Gradient(
        output=path,
        norm=float(np.linalg.norm(flat)),
        finite=bool(np.all(np.isfinite(flat))),
        reached=int(touched.sum()),
        rows=rows,
        first_unreached=int(missed[0]) if missed.size else None,
    )


def predictions(setup: Setup) -> Tree:
    """The stand-in's outputs as tensors, in its containers."""
    with _keras.without_gradients():
        return StandIn(setup, Log()).call(None)


def direct(loss: Any, y: Tree, y_pred: Tree) -> Outcome:
    """`loss(y_true, y_pred)` on the whole trees, the call a user makes by hand."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = loss(trees.map_leaves(_keras.operand, y), y_pred)
        except (Exception, SystemExit) as error:  # the observation
            return Outcome("raises", error=describe_error(error))
    return Outcome("ok", loss=tensors.scalar(value))
