"""
## What it sees
The model returns a dict, and the targets are a list or tuple, so that only their order can say what is meant.

## Why it matters
Keras flattens a dict with its keys sorted. The first target goes to the alphabetically first output, not to the
output that was declared first. With equal shapes nothing raises: the heads are trained on each other's targets.

## What to do
Name the targets: a dict with the outputs' keys cannot be paired wrongly.

## Measured
Keras 3.15.1, TensorFlow and JAX: outputs `{"z": ..., "a": ...}`, targets `[z, a]`: z's target trains a, through `fit`
and `train_on_batch` alike. An `OrderedDict` keeps its own order. Outputs declared as a list are paired by place, and a dict of
targets by `output_names` (3.4, and 3.7 and later; see LD206); outputs in a list further down are not: `{"pair": {"z": t, "a": u}}` for
`{"pair": [z, a]}` trains z on u; with weights nested alike `fit` raises a bare KeyError: 0. Reported as keras-team/keras#20346 and #20596.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossdoctor import trees
from lossdoctor.exam.declared import sorted_order_differs
from lossdoctor.facts import Declared, Exam, LossCall, Run
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import ArrayRef, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Targets written by place (or by name against a list) whose observed pairing differs from the declared one."""
    declared = exam.declared
    if declared is None or "y" not in declared.changed:
        return
    named = next((path for path, *_ in shared.dicts_for_lists(exam, "y", exam.case.batch.y)), "")
    fix = repairs.statement(
        "give the targets by place, as the outputs are" if named else "name the targets",
        f"y = {shared.tree_code(exam.case.model.outputs, lambda path: declared.targets.get(path, 'None'))}",
    )
    crossed = [
        (output, target, declared.targets[output])
        for _, output, target in shared.pairs(exam)
        if target is not None and output in declared.targets and target != declared.targets[output]
    ]
    alike = crossed if _as_good(exam, declared) and all(_equal(exam, t, meant) for _, t, meant in crossed) else []
    if alike:
        crossed = []
    fits_as_declared = declared.run.outcome.status == "ok" and _misfits(declared.run) <= _misfits(exam.run)
    if crossed and not shared.raises(exam) and fits_as_declared:
        yield _swapped(exam, declared, crossed, fix, named)
    elif crossed and not shared.raises(exam):
        yield _sorted_on_purpose(exam, crossed, fix)
    elif (
        _order_to_blame(exam) and declared.run.outcome.status == "ok" and sorted_order_differs(exam.case.model.outputs)
    ):
        yield _raises(exam, declared, crossed, fix)
    elif named and shared.raised_in_dispatch(exam) and _weights_alike(exam):
        yield _weights_raise(exam, declared, named)
    elif not crossed and named and not shared.raises(exam):
        yield RULE.finding(
            "info",
            "note",
            f"{named} is a dict, and its outputs stand in a list or tuple: Keras deals it out in sorted-key order, which here is theirs.",
            where=(named,),
            evidence={"outputs": list(exam.case.model.output_names or ())},
            fixes=(fix,),
        )
    elif not crossed and isinstance(exam.case.model.outputs, dict) and not shared.raises(exam) and exam.run.calls:
        yield RULE.finding(
            "info",
            "note",
            _alike(*alike[0])
            if alike
            else "y is positional and the outputs are a dict: Keras pairs them in sorted-key order, which here is the declared "
            "order. A renamed output would silently swap them.",
            where=("y",),
            evidence={"outputs": list(shared.names(exam))},
            fixes=(fix,),
        )


def _weights_alike(exam: Exam) -> bool:
    """True where the weights are nested like y, and Keras misses a key of theirs."""
    y, weights = exam.case.batch.y, exam.case.batch.sample_weight
    alike = weights is not None and trees.paths("", y) == trees.paths("", weights)
    return alike and shared.error(exam).startswith("KeyError")


def _weights_raise(exam: Exam, declared: Declared, named: str) -> Finding:
    weights = f"sample_weight{named[1:]}"

    def by_place(root: str) -> str:
        return shared.tree_code(
            exam.case.model.outputs,
            lambda path: f"{root}{declared.targets[path][1:]}" if path in declared.targets else "None",
        )

    return RULE.finding(
        "error",
        "raises",
        f"{named} and {weights} are dicts, and their outputs stand in a list or tuple: Keras deals the targets out, looks for the weights by place, and "
        "fit raises.",
        where=(named, weights),
        evidence={"outputs": list(exam.case.model.output_names or ()), "error": shared.error(exam)},
        fixes=(
            repairs.statement(
                "give targets and weights by place, as the outputs are",
                f"y, sample_weight = {by_place('y')}, {by_place('sample_weight')}",
            ),
        ),
    )


def _alike(output: str, target: str, meant: str) -> str:
    return (
        f"{output} is trained on {target}, not on {meant}: Keras deals positional targets out in sorted-key order. In this batch the two hold the "
        "same; where they do not, the outputs are swapped without a word."
    )


def _as_good(exam: Exam, declared: Declared) -> bool:
    """True unless the losses of the two pairings differ: a class number is a one-hot row only to a loss that takes both."""
    one, other = exam.run.outcome.loss, declared.run.outcome.loss
    return one is None or other is None or shared.close(one, other)


def _equal(exam: Exam, target: str, meant: str) -> bool:
    """True where the examined rows of two targets hold the same: one array may be the target of two outputs."""
    leaves = dict(trees.leaves("y", exam.case.batch.y))
    one, other = leaves[target], leaves[meant]
    if not isinstance(one, ArrayRef) or not isinstance(other, ArrayRef):
        return False
    shapes = _bare(tuple(one.shape)), _bare(tuple(other.shape))
    a, b = one.rows(exam.case.rows), other.rows(exam.case.rows)
    if shapes[1] and shapes[0][:-1] == shapes[1]:  # a row a class, and class numbers
        a = _classes(a.reshape((len(a), *shapes[0][1:])))
    elif shapes[0] and shapes[1][:-1] == shapes[0]:
        b = _classes(b.reshape((len(b), *shapes[1][1:])))
    elif shapes[0] != shapes[1]:
        return False
    return a is not None and b is not None and bool((a.ravel() == b.ravel()).all())


def _classes(rows: Any) -> Any:
    """The class numbers of one-hot rows; None for others."""
    hot = rows.dtype.kind in "biuf" and ((rows == 0) | (rows == 1)).all() and (rows.sum(-1) == 1).all()
    return rows.argmax(-1) if hot else None


def _raises(exam: Exam, declared: Declared, crossed: list[tuple[str, str, str]], fix: Fix) -> Finding:
    met = "".join(f" {output} meets {target}, not {meant}." for output, target, meant in crossed[:1])
    loss = declared.run.outcome.loss
    runs = "fit runs" if loss is None else f"it runs, with the loss {shared.number(loss)}"
    return RULE.finding(
        "error",
        "raises",
        f"Keras pairs these targets with the outputs in sorted-key order, not as declared.{met} So paired, fit raises; "
        f"paired as declared, {runs}.",
        where=("y",),
        evidence={
            "error": shared.error(exam),
            "loss paired as declared": loss,
            **{f"{o} meets": t for o, t, _ in crossed},
        },
        fixes=(fix,),
    )


def _misfits(run: Run) -> int:
    """How many targets have not the shape that their loss takes; last axes of size 1, which Keras adds and takes away, do not count."""
    return sum([*map(_bare, c.target_shapes)] != [*map(_bare, _taken(c))] for c in run.calls)


def _taken(call: LossCall) -> Iterator[tuple[int, ...]]:
    """The shapes of the targets that a loss takes: the outputs', without the classes where they are numbered."""
    return (shape[:-1] if call.label in shared.SPARSE else shape for shape in call.output_shapes)


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    return _bare(shape[:-1]) if len(shape) > 1 and shape[-1] == 1 else shape


def _swapped(exam: Exam, declared: Declared, crossed: list[tuple[str, str, str]], fix: Fix, named: str) -> Finding:
    output, target, meant = crossed[0]
    as_is, as_declared = exam.run.outcome.loss, declared.run.outcome.loss
    return RULE.finding(
        "error",
        "silent",
        f"{output} is trained on {target}, not on {meant}: Keras deals {_what(target, named)} out in sorted-key order, "
        f"without a word. On these predictions the loss is {shared.number(as_is)}; paired as declared it is "
        f"{shared.number(as_declared)}.",
        where=tuple(p for o, t, _ in crossed for p in (o, t)),
        evidence={
            "loss as Keras pairs": as_is,
            "loss paired as declared": as_declared,
            **{f"{o} gets": t for o, t, _ in crossed},
        },
        fixes=(fix,) if named else (fix, _as_trained(exam)),
    )


def _what(target: str, named: str) -> str:
    return (
        f"the dict {named}, whose outputs stand in a list or tuple,"
        if named and shared.below(target, named)
        else "positional targets"
    )


def _as_trained(exam: Exam) -> Fix:
    """The same pairing that Keras makes, written so that it can be read."""
    met = {output: str(target) for _, output, target in shared.pairs(exam)}
    return repairs.statement(
        "or, if the list is in the order of the sorted names: name them so, and the training stays as it is",
        f"y = {shared.tree_code(exam.case.model.outputs, lambda path: met.get(path, 'None'))}",
        "review",
    )


def _sorted_on_purpose(exam: Exam, crossed: list[tuple[str, str, str]], fix: Fix) -> Finding:
    return RULE.finding(
        "info",
        "note",
        "y is positional and fits the outputs in sorted-key order, which is how Keras pairs them; in the declared "
        "order the shapes fit worse.",
        where=tuple(o for o, _, _ in crossed),
        evidence={f"{o} gets": t for o, t, _ in crossed},
        fixes=(fix,),
    )


def _order_to_blame(exam: Exam) -> bool:
    # TensorFlow finds a label out of range only when the compiled step runs ("gradient").
    return shared.raised_in_dispatch(exam) or exam.fit.stage in ("loss", "gradient")


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"z": layers.Dense(1)(i), "a": layers.Dense(1)(i)})
model.compile(loss="mse")
x = np.ones((8, 4))
z, a = np.ones((8, 1)), np.zeros((8, 1))
"""

RULE = Rule(
    code="LD203",
    name="sorted-key-pairing",
    category="key-order",
    summary="Positional targets meet dict outputs in sorted-key order.",
    page=__doc__,
    check=check,
    bad=(
        Example("z's target trains a", _MODEL + "y = [z, a]\n", "error"),
        Example(
            "names for outputs in a list further down",
            """\
i = keras.Input((4,))
pair = [layers.Dense(1, name="z")(i), layers.Dense(1, name="a")(i)]
model = keras.Model(i, {"pair": pair, "cls": layers.Dense(1)(i)})
model.compile(loss={"pair": ["mse", "mae"], "cls": "mse"})
x = np.ones((8, 4))
y = {"pair": {"z": np.ones((8, 1)), "a": np.zeros((8, 1))}, "cls": np.ones((8, 1))}
""",
            "error",
        ),
        Example(
            "right by luck of the alphabet",
            _MODEL.replace(
                '{"z": layers.Dense(1)(i), "a": layers.Dense(1)(i)}',
                '{"a": layers.Dense(1)(i), "z": layers.Dense(1)(i)}',
            )
            + "y = [a, z]\n",
            "info",
        ),
    ),
    good=(
        Example("targets by name", _MODEL + 'y = {"z": z, "a": a}\n'),
        Example(
            "sorted on purpose, which the shapes show",
            _MODEL.replace('"a": layers.Dense(1)', '"a": layers.Dense(3)')
            + "y = [np.zeros((8, 3)), np.ones((8, 1))]\n",
        ),
    ),
)
