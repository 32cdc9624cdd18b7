"""
## What it sees
An output that no loss reaches: it gets no gradient at all.

## Why it matters
A dict of losses that leaves an output out is taken as it is; the forgotten head stays at its initial weights, and nothing in the log shows it.

## What to do
Add a loss for it, or say on purpose that it has none: `"embedding": None`.

## Measured
Keras 3.15.1, TensorFlow: outputs `{"a", "b"}`, `loss={"a": "mse"}`: b is never trained, with or without a target for it; 3.5 raises `KeyError`. Of outputs
in a list, `loss={"a": "mse"}` by their names raises "Expected keys ['a', 'b'] in loss dict". An
output that gets no target either, or that has `None` for its loss, is told as info: that is how auxiliary outputs are declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lossdoctor import releases, trees
from lossdoctor.exam.declared import by_output
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import NOTHING, CompileEdit, Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Outputs in no loss call, where fit works and the losses are configured per output."""
    loss = exam.case.compile.loss
    if shared.raised_in_dispatch(exam):
        yield from _raises(exam)
        return
    if shared.raises(exam) or not exam.fit.calls or trees.is_leaf(loss) or _wrong_count(exam):
        return
    met = {output for _, output, _ in shared.pairs(exam)}
    declined = {path for path, value in _given(exam, loss).items() if value is None}
    places = list(shared.aligned_lists(exam.case.model.outputs, loss))
    declined |= {path for _, path, part, _ in places if part is None}
    short = tuple(path for _, path, *nodes in places if shared.is_short(*nodes))  # LD503's
    targets = _given(exam, exam.case.batch.y)
    gradients = {g.output: g for g in exam.fit.gradients}
    nothing = {path for path, spec in trees.leaves("y_pred", exam.case.model.outputs) if spec == NOTHING}
    for path in shared.output_paths(exam):
        gradient = None if path in nothing else gradients.get(path)
        if path in met or gradient is None or gradient.norm or path.startswith(short):
            continue
        wanted = path in targets and targets[path] is not None and path not in declined
        key = shared.last_key(path)
        yield RULE.finding(
            "warning" if wanted else "info",
            "silent" if wanted else "note",
            f"{path} has no loss: nothing trains it{', although y holds a target for it' if wanted else ''}.",
            where=(path,),
            evidence={"gradient norm": gradient.norm, "samples reached": gradient.reached},
            fixes=(
                *_declared(exam, path, key),
                repairs.by_hand(
                    f"or add a loss for {path}",
                    "compile",
                    "which loss it should have is not written",
                    f"loss[{key!r}] = ..." if key else "",
                ),
            )
            if path not in declined
            else (),
        )


# What Keras says of outputs in a list and a dict of losses that lacks a name: from 3.7 on, and before.
_REFUSED = ("Expected keys", "For a model with multiple outputs")


def _raises(exam: Exam) -> Iterator[Finding]:
    """A dict of losses with fewer keys than the outputs: refused where the outputs are in a list, and by one release where they are in a dict."""
    loss, outputs, keras = exam.case.compile.loss, exam.case.model.outputs, exam.case.environment.keras
    names = outputs if isinstance(outputs, dict) else exam.case.model.output_names or ()
    left = [str(key) for key in names if isinstance(loss, dict) and key not in loss]
    if not left or not set(loss) < set(names):
        return
    if isinstance(outputs, dict):
        refused, why = "KeyError" in shared.error(exam), f"Keras {keras} wants an entry for every output"
        if not refused or not releases.holds("partial-losses-raise", keras):
            return
    else:
        refused = any(text in shared.error(exam) for text in _REFUSED)
        why = "of outputs in a list Keras wants every name in the dict"
    if not refused:
        return
    paths = dict(zip(names, shared.flat_outputs(exam), strict=False))
    tree = {**repairs.present(exam, "loss"), **dict.fromkeys(left)}
    yield RULE.finding(
        "error",
        "raises",
        f"loss leaves out {shared.listed([repr(key) for key in left])}, and fit raises: {why}.",
        where=tuple(f"y_pred[{key!r}]" if isinstance(outputs, dict) else paths[key] for key in left),
        evidence={"error": shared.error(exam)},
        fixes=(repairs.compile_argument("declare that it has none", "loss", tree, more=_weights(exam, names)),),
    )


def _weights(exam: Exam, names: Iterable[Any]) -> tuple[CompileEdit, ...]:
    """A dict of weights with all names too, where it lacks some: Keras wants one for an output without a loss."""
    weights = exam.case.compile.loss_weights
    missing = [name for name in names if isinstance(weights, dict) and name not in weights]
    return (CompileEdit("loss_weights", {**weights, **dict.fromkeys(missing, 1.0)}),) if missing else ()


def _declared(exam: Exam, path: str, key: str | None) -> tuple[Fix, ...]:
    """The same losses with None written out for this output."""
    loss = exam.case.compile.loss
    if not isinstance(loss, dict) or key is None or path != f"y_pred[{key!r}]":
        return ()
    tree = {**repairs.present(exam, "loss"), key: None}
    return (repairs.compile_argument("declare that it has none", "loss", tree),)


def _wrong_count(exam: Exam) -> bool:
    """A flat list of losses with too few or too many entries: LD503's."""
    loss = exam.case.compile.loss
    return shared.is_flat_list(loss) and len(loss) != shared.count(exam.case.model.outputs)


def _given(exam: Exam, given: Any) -> dict[str, Any]:
    """{output path: what was given for it by name or by place}."""
    outputs, names = exam.case.model.outputs, exam.case.model.output_names
    if isinstance(given, dict) and isinstance(outputs, list | tuple) and names and set(given) <= set(names):
        return {f"y_pred[{i}]": given[name] for i, name in enumerate(names) if name in given}
    return by_output(outputs, given)


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"a": layers.Dense(1)(i), "b": layers.Dense(1)(i)})
x = np.ones((8, 4))
a, b = np.ones((8, 1)), np.zeros((8, 1))
"""

RULE = Rule(
    code="LD502",
    name="output-without-loss",
    category="loss-config",
    summary="An output that nothing trains.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a target, but no loss",
            _MODEL + 'model.compile(loss={"a": "mse"})\ny = {"a": a, "b": b}\n',
            "warning",
            since="3.6",
        ),
        Example(
            "outputs in a list, and a dict of losses without one of their names",
            _MODEL.replace(
                '{"a": layers.Dense(1)(i), "b": layers.Dense(1)(i)}', '[layers.Dense(1, name=n)(i) for n in "ab"]'
            )
            + 'model.compile(loss={"a": "mse"})\ny = [a, b]\n',
            "error",
            since="3.5",
        ),
        Example("no target either", _MODEL + 'model.compile(loss={"a": "mse"})\ny = {"a": a}\n', "info", since="3.6"),
    ),
    good=(
        Example("a loss for each", _MODEL + 'model.compile(loss={"a": "mse", "b": "mae"})\ny = {"a": a, "b": b}\n'),
        Example("none, on purpose", _MODEL + 'model.compile(loss={"a": "mse", "b": None})\ny = {"a": a, "b": b}\n'),
    ),
)
