"""Metamorphic relations: change one thing about the batch or the predictions, step again, and see what moves."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lossdoctor import _keras, trees
from lossdoctor.exam import standin, tensors
from lossdoctor.exam.outputs import reduced
from lossdoctor.exam.setup import SEED, Setup, take, tile
from lossdoctor.exam.slopes import slopes
from lossdoctor.exam.source import is_users
from lossdoctor.exam.stepper import Begun, Step, Stepper, begin
from lossdoctor.facts import FAR_APART, Coupling, Draw, LossCall, Minimum, Probes, Run, Zeroed
from lossdoctor.types import Tree

# Further draws of predictions; with the first they must agree before a rule speaks.
_DRAWS = 2
_NOISES = 4
# Above this many output entries the probes run on fewer rows, and where a loss of the user's own takes more than so
# many seconds of processor a step, not at all.
_MOST_ENTRIES, _FEWEST_ROWS = 1_000_000, 4
_LONGEST = 2.0


def run_probes(begun: Begun, run: Run, skipped: dict[str, str]) -> Probes:
    """All probes of a case whose `fit` ran; `skipped` is told which could not run and why. They go on from the replayed step."""
    if run.outcome.status != "ok" or not run.calls:
        reason = "fit raises, so nothing can be compared" if run.outcome.status == "raises" else "no loss was called"
        skipped["probes"] = reason
        return Probes()
    setup = _smaller(begun.setup)
    if setup is not begun.setup and begun.first is not None:
        begun = begin(setup)
    stepper, first = begun.stepper, begun.first
    if stepper is None or first is None:  # a loss that only runs compiled
        kind = (begun.run.outcome.error or "").split(":")[0]
        skipped["probes"] = f"the loss cannot be run eagerly ({kind})"
        return Probes()
    again = first
    if _own_code(setup, run):
        began = time.process_time()
        again = stepper.step()
        if time.process_time() - began > _LONGEST:
            skipped["probes"] = f"one step of the loss takes more than {_LONGEST:.0f} s"
            return Probes()
    if (
        first.loss is not None
        and again.loss is not None
        and not np.isclose(first.loss, again.loss, rtol=1e-6, equal_nan=True)
    ):
        skipped["probes"] = "the loss is random or keeps a state: two equal steps give two values"
        return Probes()
    other = _other_rows(setup)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        custom = _by_hand(setup, run)
        return Probes(
            draws=_draws(setup, stepper, first, run),
            coupled=_coupled(setup, stepper, first, run),
            permuted=_permuted(setup, stepper, first, run),
            minima=_minima(custom),
            zeroed=_zeroed(setup, stepper, first),
            doubled=_doubled(setup, stepper, first),
            turned=_turned(setup, stepper, first),
            ones=_ones(setup, stepper, run),
            values=_values(custom),
            swapped=_swapped(custom),
            resized=_resized(setup, other) if other else None,
            resized_rows=other,
            scales=_scales(setup, run, first),
            slopes=slopes(setup, stepper, first, run),
        )


def _smaller(setup: Setup) -> Setup:
    """The case with fewer rows where its outputs are large (images): a relation between rows shows on a few of them."""
    rows = aligned(setup)
    entries = sum(int(np.prod(s.shape)) for s in trees.values(setup.outputs))
    keep = max(_FEWEST_ROWS, rows * _MOST_ENTRIES // max(entries, 1))
    return take(setup, keep) if entries > _MOST_ENTRIES and rows > keep else setup


def aligned(setup: Setup) -> int:
    """The number of rows that all outputs and targets share; 0 where they do not."""
    sizes = {s.shape[0] if s.shape else -1 for s in trees.values(setup.outputs)}
    sizes |= {
        (leaf.shape[0] if isinstance(leaf, np.ndarray) and leaf.ndim else -1)
        for leaf in trees.values(setup.y)
        if leaf is not None
    }
    sizes |= {s.shape[0] if s.ndim else -1 for s in setup.starts}
    return sizes.pop() if len(sizes) == 1 and -1 not in sizes else 0


def _own_code(setup: Setup, run: Run) -> bool:
    """True where a loss or one of the outputs' last operations is not Keras's own, which are the same every time."""
    operations = [operation for tail in setup.tails if tail is not None for operation in tail.operations]
    called = [*operations, *(getattr(o, "activation", None) or o for o in operations)]
    return _custom(run) or any(str(getattr(c, "__module__", "")).split(".")[0] != "keras" for c in called)


def _custom(run: Run) -> bool:
    return any(not call.builtin for call in run.calls)


def _draw(step: Step) -> Draw:
    return Draw(step.loss, step.values, {path: float(np.linalg.norm(g)) for path, g in step.gradients.items()})


def _draws(setup: Setup, stepper: Stepper, first: Step, run: Run) -> tuple[Draw, ...]:
    """The seeded predictions, and further draws of them where the first shows what a rule tells only if all agree."""
    if setup.given or not _odd(first, run):
        return (_draw(first),)
    others = [stepper.step(starts=setup.drawn(100 * (k + 1))) for k in range(_DRAWS)]
    return tuple(_draw(step) for step in (first, *others))


def _odd(step: Step, run: Run) -> bool:
    """True where a loss or a gradient is 0, not finite or not known, gradients are far apart, or a loss has one class to choose from."""
    paths = {str(path) for call in run.calls for path in call.outputs if path is not None}
    norms = [float(np.linalg.norm(gradient)) for path, gradient in step.gradients.items() if path in paths]
    if any(not number or not math.isfinite(number) for number in (*step.values, *norms)):
        return True
    if len(norms) > 1 and max(norms) > FAR_APART * min(norms):
        return True
    return any("categorical" in call.label and any(s[-1:] == (1,) for s in call.output_shapes) for call in run.calls)


def _try(stepper: Stepper, **given: Any) -> Step | None:
    try:
        return stepper.step(**given)
    except Exception:  # the changed case is not the user's; what it raises says nothing
        return None


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    scale = max(float(np.max(np.abs(a), initial=0)), float(np.max(np.abs(b), initial=0)), 1e-12)
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-5 * scale, equal_nan=True))


def _coupled(setup: Setup, stepper: Stepper, first: Step, run: Run) -> tuple[Coupling, ...]:
    """Give one row another row's targets, then other predictions, and see whether other rows' gradients move."""
    rows = aligned(setup)
    if rows < 2 or not _custom(run):
        return ()
    row, found = rows // 2, []
    y = trees.map_leaves(lambda leaf: _other_row(leaf, row), setup.y)
    starts = [_with_row(s, row, other) for s, other in zip(setup.starts, setup.drawn(700), strict=True)]
    for changed, step in (("target", _try(stepper, y=y)), ("prediction", _try(stepper, starts=starts))):
        for output in first.gradients if step is not None else ():
            coupling = _coupling(output, changed, row, first, step)
            if coupling is not None:
                found.append(coupling)
    return tuple(found)


def _coupling(output: str, changed: str, row: int, first: Step, step: Any) -> Coupling | None:
    before, after = first.rows(output), step.rows(output)
    scale = max(float(np.max(np.abs(before), initial=0)), 1e-12)
    moved = np.any(~np.isclose(before, after, rtol=1e-3, atol=1e-4 * scale, equal_nan=True), axis=1)
    moved[row] = False
    reached = np.flatnonzero(moved)
    return Coupling(output, changed, row, len(reached), len(before), int(reached[0])) if len(reached) else None


def _other_row(leaf: Any, row: int) -> Any:
    if not isinstance(leaf, np.ndarray) or not leaf.ndim:
        return leaf
    for other in range(len(leaf)):
        if not np.array_equal(leaf[other], leaf[row]):
            return _with_row(leaf, row, np.roll(leaf, row - other, axis=0))
    return leaf


def _with_row(array: np.ndarray, row: int, source: np.ndarray) -> np.ndarray:
    made = np.array(array)
    if made.ndim:
        made[row] = source[row]
    return made


def _permuted(setup: Setup, stepper: Stepper, first: Step, run: Run) -> tuple[float, float] | None:
    """The loss as given, and with all rows in another order (kept where no row has a mask of its own)."""
    rows = aligned(setup)
    if rows < 3 or not _custom(run) or any(m is not None for m in setup.masks) or first.loss is None:
        return None
    order = np.random.default_rng(SEED).permutation(rows)

    def turn(leaf: Any) -> Any:
        return leaf[order] if isinstance(leaf, np.ndarray) and leaf.ndim and len(leaf) == rows else leaf

    weights = None if setup.sample_weight is None else trees.map_leaves(turn, setup.sample_weight)
    step = _try(
        stepper, starts=[turn(s) for s in setup.starts], y=trees.map_leaves(turn, setup.y), sample_weight=weights
    )
    return None if step is None or step.loss is None else (first.loss, step.loss)


def _leaf_calls(run: Run) -> list[LossCall]:
    return [c for c in run.calls if not c.builtin and not c.subtree and len(c.targets) == len(c.outputs) == 1]


# A call of a custom loss on one output: the call, the loss as configured, its target and the seeded predictions.
_ByHand = tuple[LossCall, Any, Any, Any]


def _by_hand(setup: Setup, run: Run) -> list[_ByHand]:
    """What each custom loss on one output is called with, to be called by hand."""
    calls = _leaf_calls(run)
    if not calls:
        return []
    losses, targets = dict(trees.leaves("loss", setup.loss)), dict(trees.leaves("y", setup.y))
    outputs = {path: _keras.to_numpy(v) for path, v in trees.leaves("y_pred", standin.predictions(setup))}
    return [(c, losses.get(c.loss_path), targets.get(str(c.targets[0])), outputs.get(str(c.outputs[0]))) for c in calls]


def _minima(custom: list[_ByHand]) -> tuple[Minimum, ...]:
    """Custom losses with the target itself as the prediction, where target and output have one shape."""
    found = []
    for call, identifier, target, output in custom:
        if target is None or output is None or target.shape != output.shape or target.dtype.kind not in "biuf":
            continue
        if np.isfinite(target).all() and not np.all(target == target.reshape(-1)[0]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                minimum = _minimum(identifier, call.number, target, np.asarray(output))
            if minimum is not None:
                found.append(minimum)
    return tuple(found)


def _minimum(identifier: Any, number: int, target: np.ndarray, output: np.ndarray) -> Minimum | None:
    random = np.random.default_rng([SEED, number, 2])
    best = target.astype("float32")
    # Noise that the output can be: its own predictions, with their rows in other orders.
    noises = [output.astype("float32")[random.permutation(len(output))] for _ in range(_NOISES)]
    span = float(np.std(best)) or 1.0
    steps = [np.float32(0.02 * span) * random.normal(size=best.shape).astype("float32") for _ in range(_NOISES)]
    near = [best + sign * step for step in steps for sign in (np.float32(1), np.float32(-1))]
    # Masks and one-hot rows of outputs within 0..1: steps stay among what can be predicted. A single number may be a
    # distance of a pair, whose loss is largest at the label on purpose.
    inside = output.min() >= 0 and output.max() <= 1 and output[0].size > 1
    if inside and np.isin(best, (0, 1)).all():
        near = [np.clip(p, 0, 1) for p in near]

    def value(prediction: np.ndarray) -> float:
        loss = _keras.resolve_loss(identifier, target, prediction)
        return float(np.mean(_keras.to_numpy(loss(_keras.to_tensor(target), _keras.to_tensor(prediction)))))

    try:
        return Minimum(
            number,
            value(best),
            tuple(value(p) for p in noises),
            tuple(value(p) for p in near),
        )
    except Exception:  # a loss that cannot be called on these: nothing is said
        return None


def _zeroed(setup: Setup, stepper: Stepper, first: Step) -> tuple[Zeroed, ...]:
    """The given sample weights with one sample's set to 0: its gradient should vanish, and only its."""
    rows = aligned(setup)
    if setup.sample_weight is None or rows < 2:
        return ()
    found: dict[str, Zeroed] = {}
    shapes = {path: tuple(spec.shape) for path, spec in trees.leaves("y_pred", setup.outputs)}
    # A row whose weight is not 0 already, for every output.
    for row in _weighted_rows(setup.sample_weight, rows):
        step = _reweighted(setup, stepper, partial(_without, row=row))
        for output in first.gradients if step is not None else ():
            zeroed = _zero(output, row, first, step, shapes[output])
            if zeroed.before > 0 and output not in found:
                found[output] = zeroed
    return tuple(found.values())


def _doubled(setup: Setup, stepper: Stepper, first: Step) -> dict[str, float]:
    """{output: gradient norm with all sample weights twice over that as given}, of a batch of one row, in which no weight can be set to 0."""
    return _lengths(_reweighted(setup, stepper, lambda w: 2 * w), first) if aligned(setup) == 1 else {}


def _turned(setup: Setup, stepper: Stepper, first: Step) -> tuple[str, ...]:
    """The outputs whose gradient stays as it is with the weights of every row in reverse order.

    Not tried where an array of several weights a row reads the same in both directions, which would show nothing."""
    weights = () if setup.sample_weight is None else trees.values(setup.sample_weight)
    given = [w for w in weights if isinstance(w, np.ndarray) and w.ndim > 1 and w.size > len(w)]
    told = bool(given) and not any(_alike(w, _reversed(w)) for w in given)
    step = _reweighted(setup, stepper, _reversed) if aligned(setup) and told else None
    return tuple(o for o, g in first.gradients.items() if step is not None and g.any() and _alike(g, step.gradients[o]))


def _reversed(weights: np.ndarray) -> np.ndarray:
    return np.flip(weights, axis=tuple(range(1, weights.ndim)))


def _ones(setup: Setup, stepper: Stepper, run: Run) -> dict[str, float]:
    """{output: gradient norm with all sample weights 1 over that without weights}, where a loss gets those of several outputs."""
    if all(call.weights_container is None for call in run.calls):
        return {}
    return _lengths(_reweighted(setup, stepper, np.ones_like), _try(stepper, sample_weight=None))


def _reweighted(setup: Setup, stepper: Stepper, change: Callable[[np.ndarray], np.ndarray]) -> Step | None:
    """The step with every array of sample weights changed; None without weights."""
    if setup.sample_weight is None:
        return None
    arrays = trees.map_leaves(lambda w: change(w) if isinstance(w, np.ndarray) and w.ndim else w, setup.sample_weight)
    return _try(stepper, sample_weight=arrays)


def _lengths(step: Step | None, other: Step | None) -> dict[str, float]:
    """{output: gradient norm of a step over that of another}."""
    if step is None or other is None:
        return {}
    norms = {output: float(np.linalg.norm(gradient)) for output, gradient in other.gradients.items()}
    return {path: float(np.linalg.norm(g)) / norms[path] for path, g in step.gradients.items() if norms.get(path)}


def _weighted_rows(weights: Tree, rows: int) -> list[int]:
    alive = np.ones(rows, dtype=bool)
    for leaf in trees.values(weights):
        if isinstance(leaf, np.ndarray) and leaf.ndim and len(leaf) == rows:
            alive &= np.any(leaf.reshape(rows, -1) != 0, axis=1)
    found = np.flatnonzero(alive)
    return list(dict.fromkeys((int(found[len(found) // 2]), int(found[-1])))) if len(found) else []


def _without(weight: np.ndarray, row: int) -> np.ndarray:
    made = np.array(weight)
    made[row] = 0
    return made


def _zero(output: str, row: int, first: Step, step: Any, shape: tuple[int, ...]) -> Zeroed:
    before, after = first.gradients[output], step.gradients[output]
    if before.shape != shape and before.size == math.prod(shape):  # in front of a reshape
        before, after = before.reshape(shape), after.reshape(shape)
    columns: tuple[float | None, float | None] = (None, None)
    if before.ndim >= 2 and before.shape[1] == before.shape[0]:
        columns = (float(np.linalg.norm(before[:, row])), float(np.linalg.norm(after[:, row])))
    return Zeroed(
        output, row, float(np.linalg.norm(before[row])), float(np.linalg.norm(after[row])), columns[0], columns[1]
    )


def _values(custom: list[_ByHand]) -> dict[int, tuple[int, ...]]:
    """{number of a custom call: shape of what its loss returns before Keras reduces it}."""
    found = {}
    for call, identifier, target, output in custom:
        if not isinstance(target, np.ndarray) or output is None or not output.ndim:
            continue
        try:
            loss = _keras.resolve_loss(identifier, target, output)
            value = loss.call(_keras.to_tensor(target.astype(output.dtype)), _keras.to_tensor(output))
        except Exception:  # only `Loss.__call__` can call it
            continue
        found[call.number] = np.shape(tensors.to_numpy(value))
    return found


def _swapped(custom: list[_ByHand]) -> dict[int, tuple[float, float]]:
    """{call number: (its loss as Keras calls it, with the two arguments exchanged)} of the custom losses."""
    found = {}
    for call, identifier, target, output in custom:
        if not isinstance(target, np.ndarray) or output is None or target.dtype.kind not in "biuf":
            continue
        pair = (np.asarray(target, dtype="float32"), np.asarray(output, dtype="float32"))
        try:
            loss = _keras.resolve_loss(identifier, *pair)
            a, b = (
                float(np.mean(_keras.to_numpy(loss(_keras.to_tensor(p), _keras.to_tensor(q)))))
                for p, q in (pair, pair[::-1])
            )
        except Exception:  # arguments that cannot be exchanged
            continue
        found[call.number] = (a, b)
    return found


def _other_rows(setup: Setup) -> int:
    """A number of rows close by, where the batch's equals some other axis by accident or by design; else 0."""
    rows = aligned(setup)
    arrays = [leaf for tree in (setup.y, setup.sample_weight) if tree is not None for leaf in trees.values(tree)]
    axes = {d for leaf in arrays if isinstance(leaf, np.ndarray) for d in leaf.shape[1:]}
    axes |= {d for s in trees.values(setup.outputs) for d in s.shape[1:]}
    if rows < 2 or rows not in axes:
        return 0
    # One row broadcasts against everything; a bare y of as many rows as there are outputs may be taken apart.
    taken = {1, rows, len(trees.values(setup.outputs)), *axes}
    return next(n for n in itertools.chain((rows - 1,), itertools.count(rows + 1)) if n not in taken)


def _resized(setup: Setup, rows: int) -> Run | None:
    """The case with so many rows, without weights and metrics; None where it raises within a loss that may want an even
    batch, as pairs do."""
    setup = replace(setup, sample_weight=None, metrics=None, weighted_metrics=None)
    times = -(-rows // aligned(setup))
    other = take(tile(setup, times) if times > 1 else setup, rows)
    # Keras 3.6 on JAX hands on masks in a compiled step only.
    masked = any(mask is not None for mask in setup.masks)
    run = standin.run(other, "fit") if masked else standin.replay(other)
    if run.outcome.status != "raises" or all(call.builtin for call in run.calls):
        return run
    call = None if run.failed_call is None else run.calls[run.failed_call]
    loss = call and dict(trees.leaves("loss", setup.loss)).get(call.loss_path)
    # No line of the user's own: Keras raised on what the loss had returned.
    return run if call and run.error_at is None and (call.builtin or is_users(loss)) else None


def _scales(setup: Setup, run: Run, first: Step) -> dict[str, float]:
    """{output: gradient norm over that with all losses averaged}, where the outputs' losses are reduced differently."""
    if len({call.reduction for call in run.calls}) < 2:
        return {}
    loss = trees.map_leaves(lambda leaf: None if leaf is None else reduced(leaf), setup.loss)
    even = standin.replay(replace(setup, loss=loss, loss_weights=None))
    if even.outcome.status != "ok":
        return {}
    norms = {g.output: g.norm for g in even.gradients}
    return {
        path: float(np.linalg.norm(gradient)) / norms[path]
        for path, gradient in first.gradients.items()
        if norms.get(path)
    }
