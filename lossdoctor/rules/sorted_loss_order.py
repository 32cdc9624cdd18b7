"""
## What it sees
The model returns a dict, and the losses are a list.

## Why it matters
Keras packs the list into the dict with its keys sorted: the first loss goes to the alphabetically first
output, not to the one that was declared first.

## What to do
Name the losses: `loss={"z": ..., "a": ...}`. Below a list of outputs, TensorFlow
takes no names: write the losses there in sorted-key order.

## Measured
Keras 3.15.1, TensorFlow: outputs `{"z", "a"}` declared in that order, `loss=["mse", "mae"]`: a gets mse, z gets mae
(`CompileLoss._build_nested`, `tree.pack_sequence_as(y_pred, loss)`). Outputs `{"first": {...}, "second": {...}}` with `loss=[f, g]`: f and g
are each called with all outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lossdoctor import trees
from lossdoctor.facts import Declared, Exam, Run
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import At, CompileEdit, Edit, Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """Losses written by place whose observed output differs from the declared one."""
    declared = exam.declared
    if declared is None or "loss" not in declared.changed:
        return
    labels = {call.loss_path: call.label for call in exam.run.calls}
    groups = shared.losses_by_group(exam)
    if groups is not None:
        yield from _called_with_all(exam, declared, groups)
        return
    crossed = [
        (call.loss_path, output)
        for call, output, _ in shared.pairs(exam)
        if output in declared.losses and call.loss_path != declared.losses[output]
    ]
    fix = _fix(exam, declared)
    is_ = _kinds(exam, exam.run, {})
    due: Mapping[str, tuple[Any, ...] | None]
    if declared.run.calls:
        due = _kinds(exam, declared.run, declared.losses)
    else:  # On TensorFlow, Keras takes no dicts of losses inside a list: each loss is then what it is in the run as given.
        by_path = {call.loss_path: is_[output] for call, output, _ in shared.pairs(exam) if output in is_}
        due = {output: by_path.get(path) for output, path in declared.losses.items()}
    differing = [(path, output) for path, output in crossed if is_.get(output) != due.get(output)]
    if differing and not shared.raises(exam) and not _same_effect(exam, declared):
        path, output = differing[0]
        meant = declared.losses[output]
        yield RULE.finding(
            "error",
            "silent",
            f"{output} is trained with {path} ({labels.get(path)}), not with {meant} ({_named(exam, meant, labels)}): Keras deals "
            "a list of losses out in sorted-key order.",
            where=tuple(p for loss, o in crossed for p in (o, loss)),
            evidence={
                "loss as Keras pairs": exam.run.outcome.loss,
                **({"loss paired as declared": declared.run.outcome.loss} if declared.run.calls else {}),
                **{f"{o} gets": f"{p} {labels.get(p)}" for p, o in crossed},
            },
            fixes=(fix,),
        )
    elif shared.raises(exam) and declared.run.outcome.status == "ok" and "y" not in declared.changed:
        yield RULE.finding(
            "error",
            "raises",
            "Keras deals the list of losses out to the outputs in sorted-key order, not as declared, and fit raises.",
            where=("loss",),
            evidence={"error": shared.error(exam)},
            fixes=(fix,),
        )
    elif not crossed and not shared.raises(exam):
        yield RULE.finding(
            "info",
            "note",
            "loss is a list and the outputs are a dict: Keras pairs them in sorted-key order, which here is the declared order.",
            where=("loss",),
            fixes=(fix,),
        )


def _called_with_all(exam: Exam, declared: Declared, groups: dict[Any, Tree]) -> Iterator[Finding]:
    """Losses by place for groups in a dict: Keras takes them for several losses of the whole."""
    every = len(shared.output_paths(exam))
    call = next((call for call in exam.fit.calls if call.subtree and len(call.outputs) == every), None)
    if call is None:
        return
    raises = shared.raises(exam)
    where = next((key for key, leaf in groups.items() if leaf == At(call.loss_path)), None)
    evidence = {
        "error" if raises else "loss as Keras calls them": shared.error(exam) if raises else exam.run.outcome.loss,
        **({"loss paired as declared": declared.run.outcome.loss} if declared.run.outcome.loss is not None else {}),
    }
    yield RULE.finding(
        "error",
        "raises" if raises else "silent",
        f"Keras calls {call.loss_path} ({call.label}) with all {every} outputs, not with y_pred[{where!r}]: a list of losses for a dict with "
        f"groups of outputs is a list of losses of the whole{', and fit raises' if raises else ''}.",
        where=(call.loss_path,),
        evidence=evidence,
        fixes=(repairs.compile_argument("name the losses", "loss", groups, more=_weights(exam)),),
    )


def _kinds(exam: Exam, run: Run, written: Mapping[str, str]) -> dict[str, tuple[Any, ...]]:
    """{output: what its loss is in this run}: equal for two that compute the same.

    Keras's own are known by name, arguments and reduction ("crossentropy" is another one for other targets), the user's by
    the object that they are; `written` maps outputs to the paths of theirs in `loss`, where the run has other paths.
    """
    given = dict(trees.leaves("loss", exam.case.compile.loss))
    return {
        output: (
            call.label if call.builtin else id(given.get(written.get(output, call.loss_path))),
            call.reduction,
            repr(sorted(call.arguments.items())),
        )
        for call in run.calls
        for output in call.outputs
        if output is not None
    }


def _same_effect(exam: Exam, declared: Declared) -> bool:
    """True where the losses as declared give the same total and the same gradient at every output."""
    if declared.run.outcome.loss is None or exam.run.outcome.loss is None:
        return False
    one, other = ({g.output: g.norm for g in run.gradients} for run in (exam.run, declared.run))
    return shared.close(exam.run.outcome.loss, declared.run.outcome.loss) and all(
        shared.close(norm, other.get(output, -1.0)) for output, norm in one.items()
    )


def _named(exam: Exam, path: str, labels: Mapping[str, str]) -> str:
    given = dict(trees.leaves("loss", exam.case.compile.loss))
    return "None" if given.get(path, "") is None else labels.get(path, "its own")


def _fix(exam: Exam, declared: Declared) -> Fix:
    losses = declared.losses
    tree = _tree(exam, losses)
    if tree is None:
        return repairs.by_hand("name the losses", "compile", "the list does not hold one loss for each output")
    if declared.run.calls or not _dict_in_list(tree):
        return repairs.compile_argument("name the losses", "loss", tree, more=_weights(exam))
    kept = shared.listed([losses.get(path, path) for path in shared.flat_outputs(exam)])
    return repairs.by_hand(
        f"put these losses into the order {kept}, in which Keras deals them out, and the outputs into sorted-key order",
        "compile",
        "Keras on TensorFlow takes no losses by name below a list",
    )


def _dict_in_list(tree: Tree) -> bool:
    """True for losses that Keras cannot read: names below a place in a list."""
    if trees.is_leaf(tree):
        return False
    held = [child for _, child in trees.children(tree)]
    return any(_dict_in_list(c) for c in held) or (
        not isinstance(tree, dict) and any(isinstance(c, dict) for c in held)
    )


def _tree(exam: Exam, losses: Mapping[str, str]) -> Tree:
    """The losses in the outputs' containers, as declared; None where an output has none."""
    paths = shared.flat_outputs(exam)
    if not all(path in losses for path in paths):
        return None
    given = dict(trees.leaves("loss", exam.case.compile.loss))
    return trees.pack(exam.case.model.outputs, [None if given.get(losses[p]) is None else At(losses[p]) for p in paths])


def _weights(exam: Exam) -> tuple[Edit, ...]:
    """A list of weights beside the list of losses, by the same names."""
    weights, outputs = exam.case.compile.loss_weights, exam.case.model.outputs
    flat = isinstance(weights, list | tuple) and isinstance(outputs, dict) and len(weights) == len(outputs)
    return (CompileEdit("loss_weights", dict(zip(outputs, weights, strict=True))),) if flat else ()


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"z": layers.Dense(1)(i), "a": layers.Dense(1)(i)})
x = np.ones((8, 4))
y = {"z": np.ones((8, 1)), "a": np.zeros((8, 1))}
"""

_HEADS = """\
i = keras.Input((4,))
model = keras.Model(i, {"heads": [{"z": layers.Dense(1)(i), "a": layers.Dense(1)(i)}]})
x = np.ones((8, 4))
y = {"heads": [{"z": np.ones((8, 1)), "a": np.zeros((8, 1))}]}
"""

RULE = Rule(
    code="LD204",
    name="sorted-loss-order",
    category="key-order",
    summary="A list of losses on dict outputs is dealt out in sorted-key order.",
    page=__doc__,
    check=check,
    bad=(
        Example("a gets z's loss", _MODEL + 'model.compile(loss=["mse", "mae"])\n', "error"),
        Example(
            "losses of groups are called with all outputs",
            """\
i = keras.Input((4,))
heads = {name: {"z": layers.Dense(1)(i), "a": layers.Dense(1)(i)} for name in ("first", "second")}
model = keras.Model(i, heads)
def whole(y_true, y_pred):
    if not isinstance(y_pred, dict):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)
    return sum(whole(y_true[key], y_pred[key]) for key in y_pred)

model.compile(loss=[whole, whole])
x = np.ones((8, 4))
y = {name: {"z": np.ones((8, 1)), "a": np.zeros((8, 1))} for name in heads}
""",
            "error",
            since="3.7",
        ),
        Example("where losses have no names", _HEADS + 'model.compile(loss={"heads": ["mse", "mae"]})\n', "error"),
    ),
    good=(
        Example("losses by name", _MODEL + 'model.compile(loss={"z": "mse", "a": "mae"})\n'),
        Example("equal losses", _HEADS + 'model.compile(loss={"heads": ["mse", "mse"]})\n'),
    ),
)
