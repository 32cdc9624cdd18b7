"""What a stand-in is made of: NumPy arrays in the case's containers, and seeded plausible predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lossdoctor import trees
from lossdoctor.case.leaves import array_of
from lossdoctor.types import ArrayRef, Case, Spec, Tail, Tree

SEED = 20373


@dataclass(frozen=True, eq=False)
class Setup:
    """One case as the stand-in runs it: NumPy arrays (or Python scalars, None) in the trees.

    `starts` are the variables' values, one an output leaf (Keras's flat order), shaped like the
    tail's start; `masks` boolean arrays or None; `x_rows` the sizes of axis 0 of x's leaves. `given` is true where the
    predictions are the caller's (or the model's own), not seeded ones; `adds_losses` where the model's layers add losses, `trains_added` where those reach trainable weights;
    `unit` tells the outputs whose predictions are drawn within 0..1.
    """

    outputs: Tree
    output_names: tuple[str, ...] | None
    starts: tuple[np.ndarray, ...]
    tails: tuple[Tail | None, ...]
    masks: tuple[np.ndarray | None, ...]
    y: Tree
    sample_weight: Tree
    x_rows: tuple[int, ...]
    loss: Tree
    loss_weights: Tree = None
    metrics: Tree = None
    weighted_metrics: Tree = None
    run_eagerly: bool = False
    jit_compile: bool | Literal["auto"] = "auto"
    steps_per_execution: int = 1
    loss_scale: float | None = None
    given: bool = False
    adds_losses: bool = False
    trains_added: bool = False
    unit: tuple[bool, ...] = ()

    def drawn(self, number: int) -> list[np.ndarray]:
        """Other values for `starts`, seeded by `number`."""
        return [
            start(i + number, s.shape, unit) for i, (s, unit) in enumerate(zip(self.starts, self.unit, strict=True))
        ]


def make_setup(case: Case) -> Setup:
    """The stand-in's arrays: the batch's examined rows, and seeded predictions where none are given."""
    model, compile_args = case.model, case.compile
    specs = trees.values(model.outputs)
    count = len(specs)
    tails = list(model.tails or (None,) * count)
    given = None if model.predictions is None else [leaf.rows(case.rows) for leaf in trees.values(model.predictions)]
    # Of an output whose last layer is not known, numbers that are plausible for an activation as for none: beyond 0..1
    # cross-entropies have no gradient.
    unit = tuple(
        tail is None and name is None for tail, name in zip(tails, model.activations or (None,) * count, strict=True)
    )
    starts = []
    for i, spec in enumerate(specs):
        before = tails[i].start if tails[i] is not None else spec  # type: ignore[union-attr]
        shape, dtype = before.shape, "float64" if before.dtype == "float64" else "float32"
        if given is None:
            starts.append(start(i, shape, unit[i]).astype(dtype))
            continue
        behind = model.behind[i] if model.behind else None
        fits = behind is not None and tails[i] is not None and tuple(behind.shape) == tuple(shape)
        tails[i] = tails[i] if fits else None
        starts.append(np.asarray(behind if fits else given[i], dtype=dtype))
    return Setup(
        outputs=model.outputs,
        output_names=model.output_names,
        starts=tuple(starts),
        tails=tuple(tails),
        masks=tuple(_mask(m) for m in (model.masks or (None,) * count)),
        y=trees.map_leaves(array_of, case.batch.y),
        sample_weight=None
        if case.batch.sample_weight is None
        else trees.map_leaves(array_of, case.batch.sample_weight),
        x_rows=_x_rows(case),
        loss=compile_args.loss,
        loss_weights=compile_args.loss_weights,
        metrics=compile_args.metrics,
        weighted_metrics=compile_args.weighted_metrics,
        run_eagerly=compile_args.run_eagerly,
        jit_compile=compile_args.jit_compile,
        steps_per_execution=compile_args.steps_per_execution,
        loss_scale=compile_args.loss_scale,
        given=given is not None,
        adds_losses=model.adds_losses,
        trains_added=model.trains_added,
        unit=unit,
    )


def as_fit(setup: Setup) -> Setup:
    """The case as `fit` hands it to a step: it puts one array of sample weights into the containers of y (`ArrayDataAdapter`)."""
    weights = setup.sample_weight
    if weights is None or not trees.is_leaf(weights) or trees.is_leaf(setup.y):
        return setup
    return replace(setup, sample_weight=trees.map_leaves(lambda _: weights, setup.y))


def start(number: int, shape: Any, unit: bool = False) -> np.ndarray:
    """Seeded normals of this shape, or their sigmoid; another array for every number."""
    normals = np.random.default_rng([SEED, number]).normal(size=shape)
    return np.asarray(1 / (1 + np.exp(-normals)) if unit else normals, dtype="float32")


def _mask(spec: Any) -> np.ndarray | None:
    """A plausible mask of the output's mask shape: the last step of every other sample is padding, of a single one none."""
    if spec is None or any(d is None for d in spec.shape):
        return None
    mask = np.ones(spec.shape, dtype=bool)
    if mask.ndim >= 2 and mask.shape[1] > 1:
        mask[0 if len(mask) > 1 else 1 :: 2, -1] = False
    return mask


def _x_rows(case: Case) -> tuple[int, ...]:
    found = tuple(
        leaf.shape[0] for leaf in trees.values(case.batch.x) if isinstance(leaf, ArrayRef) and len(leaf.shape) > 0
    )
    return found or (case.rows,)


def tile(setup: Setup, times: int) -> Setup:
    """The same case with its rows repeated `times` times along axis 0, everywhere alike."""

    def repeat(leaf: Any) -> Any:
        return np.concatenate([leaf] * times) if isinstance(leaf, np.ndarray) and leaf.ndim else leaf

    return replace(
        setup,
        outputs=trees.map_leaves(lambda s: Spec((s.shape[0] * times, *s.shape[1:]), s.dtype), setup.outputs),
        starts=tuple(repeat(s) for s in setup.starts),
        masks=tuple(repeat(m) for m in setup.masks),
        tails=tuple(
            t and replace(t, start=Spec(((t.start.shape[0] or 0) * times, *t.start.shape[1:]), t.start.dtype))
            for t in setup.tails
        ),
        y=trees.map_leaves(repeat, setup.y),
        sample_weight=None if setup.sample_weight is None else trees.map_leaves(repeat, setup.sample_weight),
        x_rows=tuple(n * times for n in setup.x_rows),
    )


def take(setup: Setup, rows: int) -> Setup:
    """The same case with its first `rows` rows alone, everywhere alike."""

    def cut(leaf: Any) -> Any:
        return leaf[:rows] if isinstance(leaf, np.ndarray) and leaf.ndim else leaf

    def shorter(spec: Spec) -> Spec:
        return Spec((rows, *spec.shape[1:]), spec.dtype)

    return replace(
        setup,
        outputs=trees.map_leaves(shorter, setup.outputs),
        starts=tuple(cut(s) for s in setup.starts),
        masks=tuple(cut(m) for m in setup.masks),
        tails=tuple(t and replace(t, start=shorter(t.start)) for t in setup.tails),
        y=trees.map_leaves(cut, setup.y),
        sample_weight=None if setup.sample_weight is None else trees.map_leaves(cut, setup.sample_weight),
        x_rows=(rows,) * len(setup.x_rows),
    )
