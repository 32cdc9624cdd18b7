"""
## What it sees
An output is trained by more than one loss call: by a loss on its subtree and by one of its own; or a list of losses in other
containers than the outputs' gives one output two losses and leaves another without (an error).

## Why it matters
It counts twice in the total, which is a choice, but one that shows nowhere: the weights you set are not the weights it gets.

## What to do
Nothing, where both levels are meant. Otherwise keep one of the two.

## Measured
Keras 3.15.1, TensorFlow: `{"detection": [whole, {"bbox": "mse", "confidence": "mae"}]}` calls `whole` on the subtree, and mse and mae on its
leaves; the total is the sum of the three. Needs Keras 3.7 or later. Outputs `[[a, b], c]` with `loss=[[[f, g], h]]`: a gets f and g, b gets h,
c none (`CompileLoss._build_nested` walks both lists side by side). Outputs `{"g": [a, b]}` with `loss={"g": [[f, g]]}`: on JAX a gets f and g, b none;
on TensorFlow, where the model's attributes wrap the lists below the top, a gets f and b gets g.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """Output leaves met by several counted calls."""
    met: dict[str, list[LossCall]] = defaultdict(list)
    for call, output, _ in shared.pairs(exam):
        if call.value_shape is not None and call.weight:
            met[output].append(call)
    twice = {output: calls for output, calls in met.items() if len(calls) > 1}
    if twice and not shared.raises(exam):
        called = {output for _, output, _ in shared.pairs(exam)}
        for output, calls in twice.items():
            keys, losses = _in_dicts(exam.case.compile.loss, calls[0].loss_path)
            here = [path for path in shared.output_paths(exam) if path.startswith(_path("y_pred", keys))]
            left = [path for path in here if path not in called]
            if left and isinstance(losses, list | tuple) and None not in trees.values(losses):
                yield _shifted(
                    exam,
                    output,
                    calls,
                    left,
                    keys if [len(losses), len(trees.values(losses))] == [1, len(here)] else None,
                )
                return
        calls = next(iter(twice.values()))
        yield RULE.finding(
            "info",
            "note",
            f"{next(iter(twice))} is counted by {len(calls)} losses: {shared.listed([f'{c.loss_path} ({c.label})' for c in calls])}.",
            where=tuple(twice),
            evidence={f"{c.loss_path} value": c.value for c in calls},
        )


def _in_dicts(loss: Tree, path: str) -> tuple[tuple[str, ...], Tree]:
    """The keys down to the first list (or leaf) of losses that `path` goes through, and that list."""
    keys: tuple[str, ...] = ()
    while isinstance(loss, dict):
        key = next(key for key in loss if path.startswith(_path("loss", (*keys, key))))
        keys, loss = (*keys, key), loss[key]
    return keys, loss


def _path(root: str, keys: tuple[str, ...]) -> str:
    return root + "".join(f"[{key!r}]" for key in keys)


def _unwrapped(tree: Tree, keys: tuple[str, ...], outputs: Tree) -> Tree:
    """What fits the outputs, else the only child, in place of the list at `keys`."""
    if keys:
        return {**tree, keys[0]: _unwrapped(tree[keys[0]], keys[1:], outputs[keys[0]])}
    fits = shared.unwrapped(tree, outputs)
    return tree[0] if fits is None else fits


def _shifted(exam: Exam, output: str, calls: list[LossCall], left: list[str], keys: tuple[str, ...] | None) -> Finding:
    """Losses by place, of which one output has two and another none. `keys`: to the list that is one too many."""
    fix = (
        repairs.compile_argument(
            "take the outer container away",
            "loss",
            _unwrapped(repairs.present(exam, "loss"), keys, exam.case.model.outputs),
        )
        if keys is not None
        else repairs.by_hand(
            "write the losses in the containers of the outputs", "compile", "which loss is whose is not written"
        )
    )
    return RULE.finding(
        "error",
        "silent",
        f"{output} is trained with {len(calls)} losses ({shared.listed([c.loss_path for c in calls])}) and {left[0]} with none, "
        "as the containers of loss are not those of the outputs.",
        where=(output, *left),
        evidence={f"{c.loss_path} value": c.value for c in calls},
        fixes=(fix,),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"detection": {"bbox": layers.Dense(4)(i), "confidence": layers.Dense(1)(i)}})
def whole(y_true, y_pred):
    error = ops.mean(ops.square(y_true["bbox"] - y_pred["bbox"]), axis=-1)
    return error + ops.mean(ops.abs(y_true["confidence"] - y_pred["confidence"]), axis=-1)

x = np.ones((8, 4))
y = {"detection": {"bbox": np.ones((8, 4)), "confidence": np.ones((8, 1))}}
"""

RULE = Rule(
    code="LD504",
    name="overlapping-losses",
    category="loss-config",
    summary="A leaf counted at two levels.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "both levels",
            _MODEL + 'model.compile(loss={"detection": [whole, {"bbox": "mse", "confidence": "mae"}]})\n',
            "info",
            since="3.7",
        ),
        Example(
            "one container too many",
            """\
i = keras.Input((4,))
model = keras.Model(i, [[layers.Dense(1)(i), layers.Dense(1)(i)], layers.Dense(1)(i)])
model.compile(loss=[[["mse", "mae"], "huber"]])
x = np.ones((8, 4))
y = [[np.ones((8, 1)), np.zeros((8, 1))], np.ones((8, 1))]
""",
            "error",
            since="3.7",
        ),
    ),
    good=(Example("the subtree only", _MODEL + 'model.compile(loss={"detection": whole})\n', since="3.7"),),
)
