"""Does a loss expand its target against its output, and which shape does one take that raises? Measured on seeded arrays of their shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lossdoctor import _keras, trees
from lossdoctor.exam import standin
from lossdoctor.exam.setup import SEED, Setup
from lossdoctor.facts import Broadcast, LossCall, Run

_MOST_ENTRIES = 10_000_000
_ROWS = 3  # in place of one

Value = Callable[[np.ndarray, np.ndarray], float]


def with_broadcasts(setup: Setup, run: Run) -> Run:
    """The run with what each of its calls was measured to do with two different shapes."""
    losses = dict(trees.leaves("loss", setup.loss))
    return replace(
        run,
        calls=tuple(
            replace(
                c,
                broadcast=_of_call(losses.get(c.loss_path), c),
                takes=_takes(setup, c) if c.number == run.failed_call else None,
            )
            for c in run.calls
        ),
    )


def _takes(setup: Setup, call: LossCall) -> tuple[int, ...] | None:
    """A shape of the target on which Keras's `fit` gets past a loss that raises on the given one: the output's, else that without its last axis."""
    if call.subtree or len(call.target_shapes) != 1 or call.targets[0] is None or call.label == "ctc":
        return None
    target, output = call.target_shapes[0], call.output_shapes[0]
    if not output or -1 in target + output or math.prod(target) + math.prod(output) > _MOST_ENTRIES:
        return None
    random = np.random.default_rng(SEED)
    plain = replace(setup, sample_weight=None, metrics=None, weighted_metrics=None)

    def runs(shape: tuple[int, ...]) -> bool:
        seeded = random.uniform(0.1, 0.9, shape).astype("float32")
        flat = [seeded if path == call.targets[0] else leaf for path, leaf in trees.leaves("y", setup.y)]
        run = standin.run(replace(plain, y=trees.pack(setup.y, flat)), "fit")
        return call.number < len(run.calls) and run.calls[call.number].value_shape is not None

    if runs(target):  # what raised was the values
        return None
    return next((shape for shape in (output, output[:-1]) if shape != target and runs(shape)), None)


def _of_call(identifier: Any, call: LossCall) -> Broadcast | None:
    """The first of the call's outputs at which something was observed, else what was measured at one."""
    if identifier is None or len(call.target_shapes) != len(call.output_shapes):
        return None
    if call.containers is not None:
        nested = {tuple(trees.paths("", tree)) for tree in call.containers}
        entries = sum(map(math.prod, call.target_shapes + call.output_shapes))
        if len(nested) > 1 or entries > _MOST_ENTRIES:  # which target belongs to which output is the loss's own affair
            return None
    found = None
    for leaf, (target, output) in enumerate(zip(call.target_shapes, call.output_shapes, strict=True)):
        found = _of_leaf(identifier, call, leaf, target, output) or found
        if not (found and found.observed) and not call.builtin:
            found = _sliced(identifier, call, leaf, target, output) or found
        if found is not None and (found.observed or found.sliced):
            break
    return found


def _of_leaf(
    identifier: Any, call: LossCall, leaf: int, target: tuple[int, ...], output: tuple[int, ...]
) -> Broadcast | None:
    found = _broadcast(identifier, call, leaf, target, output)
    if target[:1] == output[:1] == (1,) and len(target) != len(output) and not (found and found.observed):
        more = _broadcast(identifier, call, leaf, (_ROWS, *target[1:]), (_ROWS, *output[1:]))
        return replace(more, rows=_ROWS) if more is not None and more.crossed else found
    return found


def _value(identifier: Any, call: LossCall, leaf: int, rows: int) -> Value:
    """The loss as a function of one of its outputs and the target there; the others stay."""
    random = np.random.default_rng(SEED)
    shapes = [
        [(rows, *shape[1:]) if shape and i != leaf else () for i, shape in enumerate(side)]
        for side in (call.target_shapes, call.output_shapes)
    ]
    others = [[random.uniform(0.1, 0.9, shape).astype("float32") for shape in side] for side in shapes]

    def value(y: np.ndarray, p: np.ndarray) -> float:
        given = [
            trees.pack(tree, [*flat[:leaf], np.ascontiguousarray(own), *flat[leaf + 1 :]])
            for tree, flat, own in zip(call.containers or (None, None), others, (y, p), strict=True)
        ]
        return float(np.mean(_keras.to_numpy(_keras.resolve_loss(identifier, *given)(*given))))

    return value


def _broadcast(
    identifier: Any, call: LossCall, leaf: int, target_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> Broadcast | None:
    """Returns the loss on the two shapes what it returns once both are expanded by hand, and does it make entries meet
    that have nothing to do with each other?"""
    if target_shape == output_shape or -1 in target_shape + output_shape:
        return None
    random = np.random.default_rng(SEED)
    if max(int(np.prod(target_shape)), int(np.prod(output_shape))) > _MOST_ENTRIES:
        return None
    target = random.uniform(0.1, 0.9, target_shape).astype("float32")
    output = random.uniform(0.1, 0.9, output_shape).astype("float32")
    value = _value(identifier, call, leaf, output_shape[0] if output_shape else 1)
    found = None
    for y, p in _as_compared(call, target, output):
        try:
            shape = np.broadcast_shapes(y.shape, p.shape)
            if int(np.prod(shape)) > _MOST_ENTRIES:
                continue
            as_given = value(target, output)
            explicit = value(np.broadcast_to(y, shape), np.broadcast_to(p, shape))
            same = y.shape != p.shape and bool(np.isclose(as_given, explicit, rtol=1e-5, atol=1e-7))
            # Of one sample the entries must become more: else each still meets its own.
            more = output_shape[:1] != (1,) or int(np.prod(shape)) > max(y.size, p.size)
            crossed = same and more and y.ndim != p.ndim and _crosses(value, target, output, as_given)
            # Of one sample there is no other: then a target of fewer values than its output is used for several.
            spread = y.ndim == p.ndim or (len(output) == 1 and call.builtin and y.size < p.size)
            counts = same and spread and not np.isclose(value(1 - target, output), as_given, rtol=1e-5)
        except ValueError:  # shapes that do not broadcast
            continue
        except Exception:  # a loss that cannot take the expanded shapes does not broadcast
            continue
        found = Broadcast(tuple(shape), as_given, explicit, bool(crossed or counts), bool(crossed), leaf=leaf)
        if found.observed:
            return found
    return found


def _sliced(
    identifier: Any, call: LossCall, leaf: int, target_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> Broadcast | None:
    """Does the loss compare columns `y_pred[:, k:k + 1]` with a target that lacks the last axis?

    Then samples meet other samples' targets, and with a last axis of size 1 for the target none does.
    """
    rows = output_shape[0] if output_shape and output_shape[0] > 1 else _ROWS
    if not target_shape or target_shape != output_shape[:-1] or output_shape[-1] < 2:
        return None
    target_shape, output_shape = (rows, *target_shape[1:]), (rows, *output_shape[1:])
    if -1 in output_shape or math.prod(output_shape) * rows > _MOST_ENTRIES:
        return None
    random = np.random.default_rng(SEED)
    target = random.uniform(0.1, 0.9, target_shape).astype("float32")
    output = random.uniform(0.1, 0.9, output_shape).astype("float32")
    value = _value(identifier, call, leaf, rows)
    try:
        as_given, explicit = value(target, output), value(target[..., None], output)
        crossed = _mixes(value, target, output, as_given) and not _mixes(value, target[..., None], output, explicit)
    except Exception:  # a loss that cannot take the one or the other
        return None
    if not crossed or np.isclose(as_given, explicit, rtol=1e-5, atol=1e-7):
        return None
    more = rows if rows != call.output_shapes[leaf][0] else None
    return Broadcast((*target_shape, 1), as_given, explicit, False, True, rows=more, leaf=leaf, sliced=True)


def _as_compared(call: LossCall, target: np.ndarray, output: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Target and output as they are, and as Keras's functions get them: the last axis of size 1 of the side with one axis
    more is squeezed (`losses/loss.py: squeeze_or_expand_to_same_rank`)."""
    found = [(target, output)]
    if call.wrapped and target.ndim == output.ndim + 1 and target.shape[-1] == 1:
        found.insert(0, (target[..., 0], output))
    if call.wrapped and output.ndim == target.ndim + 1 and output.shape[-1] == 1:
        found.insert(0, (target, output[..., 0]))
    return found


def _crosses(value: Value, target: np.ndarray, output: np.ndarray, as_given: float) -> bool:
    """True where the loss puts one sample's target to another sample's output, or of one sample one entry's to another's.

    A loss may take arrays of two ranks on purpose: index the only column, compare two sets as wholes,
    or never look at its target. Then nothing is expanded.
    """
    aligned = _aligned(target, output)
    if aligned is not None and np.isclose(value(aligned, output), as_given, rtol=1e-5, atol=1e-7):
        return False
    return _mixes(value, target, output, as_given)


def _mixes(value: Value, target: np.ndarray, output: np.ndarray, as_given: float) -> bool:
    """True where the mixed difference between the first samples' targets and the last samples' outputs is not zero."""
    y, p = target.copy(), output.copy()
    first, last = (y, p) if len(y) > 1 or y.size != p.size else (y.reshape(-1), p.reshape(-1))
    first[: len(first) // 2] = 1.3 - first[: len(first) // 2]
    last[len(last) // 2 :] = 1.3 - last[len(last) // 2 :]
    mixed = value(y, p) - value(y, output) - value(target, p) + as_given
    return abs(mixed) > 1e-5 * max(abs(as_given), 1e-2)


def _aligned(target: np.ndarray, output: np.ndarray) -> np.ndarray | None:
    if target.shape == output.shape[:-1] and output.shape[-1] == 1:
        return target[..., None]
    if target.shape[:-1] == output.shape and target.shape[-1] == 1:
        return target[..., 0]
    return None
