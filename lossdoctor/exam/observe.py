"""A case in, an exam out: the runs that show what Keras does. Facts only; nothing is judged here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lossdoctor import _keras, _state, trees
from lossdoctor.case.calling import cause
from lossdoctor.exam import declared as tied
from lossdoctor.exam import standin, watching
from lossdoctor.exam.broadcast import with_broadcasts
from lossdoctor.exam.errors import describe_error
from lossdoctor.exam.forward import with_predictions
from lossdoctor.exam.inputs import run_inputs
from lossdoctor.exam.metrics import metric_calls
from lossdoctor.exam.outputs import activations, readings
from lossdoctor.exam.probes import run_probes
from lossdoctor.exam.replicas import replicated
from lossdoctor.exam.setup import Setup, as_fit, make_setup, tile
from lossdoctor.exam.source import index_uses, swapped_names
from lossdoctor.exam.stepper import Begun, begin
from lossdoctor.exam.values import values_of
from lossdoctor.facts import Declared, Exam, InputRun, Run
from lossdoctor.quiet import muted_warnings
from lossdoctor.types import Case, CaseError, Outcome, Tree

# Loss scales that are tried where Keras's own gives a gradient beyond float16.
_SCALES = (2.0**10, 2.0**5, 1.0)
# Above so many outputs TensorFlow's graph of one step takes megabytes an output, and more than its share of time.
_MOST_TRACED = 256
_EVEN = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def examine(case: Case) -> Exam:
    """Run the case on fresh stand-ins and note what Keras does."""
    with muted_warnings(), _state.kept_randomness():
        return _state.outside_strategies(lambda: _examine(case))  # type: ignore[no-any-return]


def _examine(case: Case) -> Exam:
    if case.forward and not case.model.call_error and case.model.predictions is None:
        case = with_predictions(case)
    inputs = _inputs(case)
    broken = _refusal(case, inputs)
    if broken:
        raised = Run(Outcome("raises", error=broken), stage="model")
        return _not_run(case, inputs, raised, "the model cannot be called on the batch's x")
    if case.model.step_error:
        raised = Run(Outcome("raises", error=case.model.step_error), stage="step")
        return _not_run(case, inputs, raised, "the model's own step raises")
    if case.model.own_losses and case.compile.source not in ("the command line", "the call"):
        reason = f"the model's own {case.model.own_losses} uses none of the compiled losses"
        return _not_run(case, inputs, Run(Outcome("skipped", reason=reason)), reason)
    if case.compile.loss is None:
        return _not_run(case, inputs, _without_loss(case), "no loss was compiled")
    arguments = (case.compile.loss, case.compile.metrics, case.compile.weighted_metrics)
    owners = [leaf for tree in arguments for leaf in trees.values(tree) if leaf is not None]
    kept = [(v, _keras.to_numpy(v)) for owner in owners for v in _keras.variables(owner)]
    try:
        return _examined(case, inputs)
    finally:
        for variable, value in kept:  # a loss that counts its own calls, a metric that cannot be copied
            variable.assign(value)


def _examined(case: Case, inputs: InputRun | None) -> Exam:
    skipped: dict[str, str] = {} if case.forward else {"forward": "only with --forward, which runs the model itself"}
    given = _eager_if_wide(make_setup(case), skipped)
    fit = standin.run(given, "fit")
    if fit.outcome.status == "raises" and fit.stage == "data":
        _require_outputs(case, given)
    setup = as_fit(given) if fit.outcome.status == "ok" else given
    # With one output, `train_on_batch` hands the one array of weights on as it is.
    alike = setup is given or not trees.is_leaf(given.outputs)
    begun = _scaled(case, begin(setup))
    setup, replay = begun.setup, begun.run
    given = replace(given, loss_scale=setup.loss_scale)
    batch = _train_on_batch(given, fit, replay) if alike else standin.run(given, "train_on_batch")
    fit, batch = (with_broadcasts(setup, standin.weighed(setup, _filled(run, replay))) for run in (fit, batch))
    seen = fit if fit.outcome.status == "ok" or not batch.calls else batch
    return Exam(
        case=case,
        fit=fit,
        train_on_batch=batch,
        direct=_direct(setup),
        inputs=inputs,
        declared=_declared(case, given),
        repeats=_repeats(setup, fit, case.rows, skipped),
        reduced=_reduced(setup, fit, batch),
        loss_source=_sources(setup.loss),
        swapped_names=_swapped(setup.loss),
        values=values_of(case.batch),
        activations=activations(setup, case.model.activations, case.model.tails),
        readings=readings(setup, seen),
        metrics=metric_calls(setup) if fit.outcome.status == "ok" else (),
        probes=run_probes(begun, fit, skipped),
        replicated=replicated(setup, fit, case.model.strategy, skipped),
        skipped=skipped,
    )


def _require_outputs(case: Case, setup: Setup) -> None:
    """Raises `CaseError` where the model's last layers cannot be called: there are no outputs then to say anything of."""
    try:
        standin.predictions(setup)
    except Exception as error:  # of an activation or an argument that no layer can have
        raise CaseError(
            f"{case.model.source}: its last layers cannot be called ({type(error).__name__}: {cause(error)}); check their activations and arguments."
        ) from error


def _eager_if_wide(setup: Setup, skipped: dict[str, str]) -> Setup:
    """The case to be run eagerly where its graph would be too large, and losses and metrics are Keras's own, which do the same in both."""
    count = len(setup.starts)
    own = [part for tree in (setup.loss, setup.metrics, setup.weighted_metrics) for part in trees.values(tree)]
    if (
        count <= _MOST_TRACED
        or setup.run_eagerly
        or _keras.backend_name() != "tensorflow"
        or not all(part is None or isinstance(part, str) or watching.is_builtin(part) for part in own)
    ):
        return setup
    skipped["compiled"] = f"its graph of {count} outputs is large; Keras took the step eagerly, with run_eagerly=True"
    return replace(setup, run_eagerly=True)


def _scaled(case: Case, begun: Begun) -> Begun:
    """Where the optimizer looks for the loss scale itself, the step with a scale at which the gradient is finite.

    Keras skips every step whose gradient is not, with a smaller scale for the next, so that none of them moves a weight.
    """
    for scale in _SCALES if case.compile.dynamic_scale else ():
        setup, run = begun.setup, begun.run
        if run.outcome.status != "ok" or all(g.finite for g in run.gradients) or scale >= (setup.loss_scale or 0):
            continue
        again = begin(replace(setup, loss_scale=scale))
        if again.run.outcome.status == "ok" and all(g.finite for g in again.run.gradients):
            return again
    return begun


def _train_on_batch(setup: Setup, fit: Run, replay: Run) -> Run:
    """`train_on_batch` as compiled by default. Where the compiled `fit` and the eager `train_on_batch` both work on the
    same calls, nothing is left that could differ, and a second trace is saved (a third of the whole check)."""
    if fit.outcome.status == replay.outcome.status == "ok" and _calls(fit) == _calls(replay):
        return replay
    if fit.stage == "metrics":
        return replace(replay, outcome=fit.outcome, stage="metrics")
    return standin.run(setup, "train_on_batch")


def _filled(run: Run, replay: Run) -> Run:
    """A compiled run with the values, weights and gradients of its eager replay, where both made the same calls."""
    if run.outcome.status != "ok" or replay.outcome.status != "ok" or _calls(run) != _calls(replay):
        return run
    return replace(run, calls=replay.calls, gradients=replay.gradients)


def _calls(run: Run) -> list[tuple[Any, ...]]:
    return [(call.loss_path, call.outputs, call.targets) for call in run.calls]


def _inputs(case: Case) -> InputRun | None:
    if case.model.inputs is None or case.batch.x is None:
        return None
    metrics = case.compile.metrics is not None or case.compile.weighted_metrics is not None
    return run_inputs(case.model.inputs, case.batch.x, metrics)


def _refusal(case: Case, inputs: InputRun | None) -> str | None:
    """What a call of the model on x raises, or None."""
    if inputs is None or inputs.error:
        return case.model.call_error or (inputs.error if inputs else None)
    # The model's own call was tried with x by the inputs' names; where Keras deals x out otherwise, those sizes meet no Input.
    x = case.batch.x
    dealt = isinstance(x, dict) and any(p.input in x and p.x not in (None, f"x[{p.input!r}]") for p in inputs.pairs)
    return None if dealt and case.model.preprocessor is None else case.model.call_error


def _without_loss(case: Case) -> Run:
    """What `fit` does with a model that is compiled without a loss, where nothing of the model's own could bring one."""
    model = case.model
    if not case.compile.compiled or model.trains_added or {*model.overridden} - {"test_step"}:
        return Run(Outcome("skipped", reason="no loss was compiled"))
    setup = replace(make_setup(case), metrics=None, weighted_metrics=None)
    return _filled(standin.run(setup, "fit"), standin.replay(setup))


def _not_run(case: Case, inputs: InputRun | None, run: Run, reason: str) -> Exam:
    """An exam without a train step: the model could not be called, or there is no loss."""
    return Exam(
        case,
        run,
        run,
        Outcome("skipped", reason=reason),
        inputs,
        values=values_of(case.batch),
        skipped={"repeats": reason, "probes": reason, "forward": reason},
    )


def _direct(setup: Setup) -> Outcome:
    if not trees.is_leaf(setup.loss):
        return Outcome("skipped", reason="losses are configured per output")
    loss = setup.loss
    if isinstance(loss, str):
        flat_y, flat_p = trees.values(setup.y), trees.values(setup.outputs)
        arrays = [leaf for leaf in flat_y if isinstance(leaf, np.ndarray) and leaf.ndim]
        if loss.lower() in ("crossentropy", "ce") and (not arrays or not trees.is_leaf(setup.outputs)):
            return Outcome("skipped", reason=f'"{loss}" is only a loss once compile has seen the shapes of one output')
        try:
            loss = _keras.resolve_loss(loss, arrays[0] if arrays else None, flat_p[0])
        except Exception as error:  # no loss of that name
            return Outcome("raises", error=describe_error(error))
    return standin.direct(loss, setup.y, standin.predictions(setup))


def _declared(case: Case, setup: Setup) -> Declared | None:
    """The case with names for places, run; None where nothing was written by place or by name against a list."""
    outputs, names = setup.outputs, setup.output_names
    y, loss, weights = (
        tied.tie_targets(outputs, setup.y, names),
        tied.tie_losses(outputs, setup.loss, names),
        tied.tie_weights(outputs, setup.loss_weights, names),
    )
    changed = tuple(
        name
        for name, differs in (
            ("y", tied.positional(outputs, setup.y) or tied.named_in_list(outputs, setup.y, names)),
            ("loss", loss != setup.loss and tied.positional(outputs, setup.loss)),
            ("loss_weights", _mixed(setup.loss, setup.loss_weights) or tied.positional(outputs, setup.loss_weights)),
        )
        if differs
    )
    if not changed:
        return None
    if loss is setup.loss and weights is not setup.loss_weights and trees.is_leaf(loss):
        weights = setup.loss_weights
    repaired = replace(setup, y=y, loss=loss, loss_weights=weights)
    return Declared(
        targets=tied.by_output(outputs, tied.tie_targets(outputs, tied.paths("y", setup.y), names)),
        losses=tied.by_output(outputs, tied.tie_losses(outputs, tied.paths("loss", setup.loss), names)),
        weights={
            path: float(value)
            for path, value in tied.by_output(outputs, weights).items()
            if isinstance(value, int | float)
        },
        changed=changed,
        run=standin.replay(repaired),
    )


def _mixed(loss: Tree, weights: Tree) -> bool:
    """One of the two is a dict and the other a list."""
    kinds = {isinstance(loss, dict), isinstance(weights, dict)}
    return len(kinds) == 2 and not trees.is_leaf(loss) and not trees.is_leaf(weights)


def _repeats(setup: Setup, fit: Run, rows: int, skipped: dict[str, str]) -> tuple[Run, ...]:
    """The case with its rows twice and three times, where some loss might depend on how many there are."""
    if fit.outcome.status != "ok":
        skipped["repeats"] = "fit raises, so the loss of a repeated batch cannot be compared"
        return ()
    if all(call.builtin and call.reduction in _EVEN for call in fit.calls):
        return ()
    specs = trees.values(setup.outputs)
    leaves = [leaf for leaf in trees.values(setup.y) if leaf is not None]
    if any(not s.shape or s.shape[0] != rows for s in specs) or any(
        not isinstance(leaf, np.ndarray) or leaf.ndim == 0 or leaf.shape[0] != rows for leaf in leaves
    ):
        skipped["repeats"] = "outputs or targets do not share one samples axis"
        return ()
    runs = tuple(standin.replay(tile(setup, times)) for times in (2, 3))
    if any(run.outcome.status != "ok" for run in runs):
        skipped["repeats"] = "Keras raises on the repeated batch"
        return ()
    return runs


def _reduced(setup: Setup, fit: Run, batch: Run) -> Run | None:
    """The case with `reduction="sum_over_batch_size"` in place of None; None where no loss is unreduced."""
    if all(call.reduction is not None for run in (fit, batch) for call in run.calls):
        return None
    return standin.replay(replace(setup, loss=trees.map_leaves(_with_reduction, setup.loss)))


def _with_reduction(loss: Any) -> Any:
    if getattr(loss, "reduction", "") not in (None, "none"):
        return loss
    reduced = _keras.copied(loss)
    reduced.reduction = "sum_over_batch_size"
    return reduced


def _sources(loss: Tree) -> dict[str, Any]:
    """{loss path: where it indexes its predictions} of every custom loss that does."""
    uses = {
        path: index_uses(leaf)
        for path, leaf in trees.leaves("loss", loss)
        if leaf is not None and not isinstance(leaf, str) and not watching.is_builtin(leaf)
    }
    return {path: found for path, found in uses.items() if found}


def _swapped(loss: Tree) -> dict[str, tuple[str, str]]:
    found = {
        path: swapped_names(leaf)
        for path, leaf in trees.leaves("loss", loss)
        if leaf is not None and not isinstance(leaf, str) and not watching.is_builtin(leaf)
    }
    return {path: names for path, names in found.items() if names is not None}
