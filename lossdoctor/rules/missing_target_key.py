"""
## What it sees
An output has a loss, and the dict of targets has no entry of its name.

## Why it matters
With a loss on every output Keras raises. With losses on some outputs only it deals the targets out by sorted
position: the output is silently trained on another output's target.

## What to do
Add the target under the output's name, or compile `None` as that output's loss.

## Measured
Keras 3.15.1, TensorFlow. Outputs `{"box", "cls"}`, `loss="mse"`, targets `{"box"}`: raises "The path: ('box',) in the `loss`
argument, can't be found". `loss={"box": "mse"}`, targets `{"cls": ...}`: silent, box is trained on y['cls'].
Keras 3.4.1, JAX: silent, the output without a target is not trained.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.rules.unknown_target_key import key_nodes
from lossdoctor.types import BatchEdit, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Outputs that have a loss but no target of their name."""
    for path, known, given in key_nodes(exam):
        missing = [name for name in known if name not in given]
        unknown = given.keys() - set(known)
        if path == "y" and isinstance(exam.case.compile.loss, dict) and shared.raises(exam):
            missing = [name for name in missing if exam.case.compile.loss.get(name) is not None]
        if not missing or unknown:
            continue  # a misspelt key is LD201's
        if shared.raises(exam):
            if exam.fit.stage in shared.DISPATCH or shared.raised_on_strings(exam):
                yield _raises(exam, path, missing, list(given))
        else:
            yield from _silent(exam, path, missing)


def _raises(exam: Exam, path: str, missing: list[str], given: list[str]) -> Finding:
    names = shared.listed([repr(m) for m in missing])
    return RULE.finding(
        "error",
        "raises",
        f"{path} has no target for the output{'s' * (len(missing) > 1)} {names}, and fit raises.",
        where=tuple(f"{path}[{m!r}]" for m in missing),
        evidence={"targets": given, "error": shared.error(exam)},
        fixes=(
            *_without(exam, missing),
            repairs.by_hand(f"or add {path}[{missing[0]!r}]", "batch", "its values are not in the batch"),
        ),
    )


def _silent(exam: Exam, path: str, missing: list[str]) -> Iterator[Finding]:
    left = [output for output in shared.untrained(exam) if shared.last_key(output) in missing or path == "y"]
    if left:
        yield RULE.finding(
            "error",
            "silent",
            f"{path} has no target for {shared.listed([repr(m) for m in missing])}; Keras {exam.case.environment.keras} says nothing, and "
            f"{shared.listed(left)} {'is' if len(left) == 1 else 'are'} not trained.",
            where=tuple(left),
            evidence={"missing": missing},
            fixes=(
                *_without(exam, missing),
                repairs.by_hand(f"or add {path}[{missing[0]!r}]", "batch", "its values are not in the batch"),
            ),
        )
        return
    for _, output, target in shared.pairs(exam):
        key = shared.last_key(output)
        if key in missing and target is not None and shared.last_key(target) not in (None, key):
            yield RULE.finding(
                "error",
                "silent",
                f"{path} has no target for {key!r}; Keras trains {output} on {target}, by sorted position, without a word.",
                where=(output, target),
                evidence={"missing": missing},
                fixes=(
                    *_without(exam, missing),
                    repairs.by_hand(f"or add {path}[{key!r}]", "batch", "its values are not in the batch"),
                ),
            )


def _without(exam: Exam, missing: list[str]) -> tuple[Fix, ...]:
    """No loss for the outputs without a target: the losses by name, and y with None in those places."""
    outputs, y = exam.case.model.outputs, exam.case.batch.y
    if not isinstance(outputs, dict) or not isinstance(y, dict):
        return ()
    tree = repairs.without_loss(exam, {f"y_pred[{name!r}]" for name in missing})
    if tree is None:
        return ()
    if all(leaf is None for leaf in trees.values(tree)):
        return _moved(exam, missing)
    body = shared.dict_code([(str(k), "None" if k in missing else f"y[{k!r}]") for k in outputs])
    names = shared.listed([repr(m) for m in missing])
    return (
        repairs.compile_argument(
            f"train nothing on {names}: its loss is None", "loss", tree, "review", more=(BatchEdit(f"y = {body}"),)
        ),
    )


def _moved(exam: Exam, missing: list[str]) -> tuple[Fix, ...]:
    """The one loss at the one output that has a target."""
    loss, y = repairs.present(exam, "loss"), exam.case.batch.y
    given = [str(k) for k in y if str(k) in shared.names(exam)]
    if not isinstance(loss, dict) or len(given) != 1 or len(loss) != 1:
        return ()
    (old, leaf), new = next(iter(loss.items())), given[0]
    names = shared.names(exam)
    body = shared.dict_code([(name, f"y[{name!r}]" if name == new else "None") for name in names])
    return (
        repairs.compile_argument(
            f"if {new!r} is meant: give the loss to it, and None to {old!r}",
            "loss",
            {name: leaf if name == new else None for name in names},
            "review",
            more=(BatchEdit(f"y = {body}"),),
        ),
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"box": layers.Dense(1)(i), "cls": layers.Dense(1)(i)})
x = np.ones((8, 4))
t = np.ones((8, 1))
"""

RULE = Rule(
    code="LD202",
    name="missing-target-key",
    category="key",
    summary="An output with a loss gets no target of its name.",
    page=__doc__,
    check=check,
    bad=(
        Example("a target left out", _MODEL + 'model.compile(loss="mse")\ny = {"box": t}\n', "error"),
        Example(
            "the other output's target, silently used",
            _MODEL + 'model.compile(loss={"box": "mse"})\ny = {"cls": t}\n',
            "error",
        ),
    ),
    good=(
        Example("a target for each loss", _MODEL + 'model.compile(loss={"box": "mse"})\ny = {"box": t}\n', since="3.6"),
    ),
)
