"""
## What it sees
One custom loss is given for several outputs and indexes or unpacks its arguments as if they were the list of all outputs; Keras calls
it once for each output. Shown by the line of source that indexes, where there is source, and always by the gradient: it reaches
only the samples whose numbers were taken for output numbers.

## Why it matters
Inside each call `y_pred[0]` is not the first output but the first *sample* of one output. The rest of the batch is never trained, and nothing raises.

## What to do
Give each output its own loss; or, for a loss that needs several outputs at once, nest those outputs under one key and put the loss at that key: it then gets them all, and `y_pred[0]` is the first output, as written.
Subclassing `keras.losses.Loss` changes nothing.

## Measured
Keras 3.15.1, TensorFlow and JAX. Outputs `[bbox, classification]`, one custom loss: called twice, with `(8, 4)` and with `(8, 3)`, as a function and as a `Loss`
subclass alike. With outputs `{"detection": {...}}` and `loss={"detection": f}` (3.7 and later) it is called once with the whole dict.
Reported as keras-team/keras#20654.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from lossdoctor import trees
from lossdoctor.facts import Exam, Gradient
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import At, BatchEdit, CompileEdit, Finding, OutputsEdit


def check(exam: Exam) -> Iterator[Finding]:
    """A shared custom loss that was called for each output, and indexes."""
    loss, outputs = exam.case.compile.loss, exam.case.model.outputs
    calls = [c for c in exam.fit.calls if c.loss_path == "loss" and not c.builtin]
    if not trees.is_leaf(loss) or shared.count(outputs) < 2 or not calls:
        return
    uses = exam.loss_source.get("loss", ())
    starved = [g for g in exam.fit.gradients if 0 < g.reached < g.rows and g.first_unreached == g.reached]
    evidence: dict[str, Any] = {"calls": len(calls), "outputs": shared.count(outputs)}
    if shared.raises(exam):
        # A dict key or an index past the batch inside a per-output call raises at once.
        if uses and exam.fit.stage == "loss":
            evidence |= {"error": shared.error(exam), "line": _line(uses[0])}
            yield _finding(
                exam,
                uses,
                "raises",
                f"{_opening(exam)} {_where(uses)} indexes one output's samples, and fit raises.",
                evidence,
            )
        return
    evidence |= {f"{g.output} samples with a gradient": f"{g.reached} of {g.rows}" for g in exam.fit.gradients}
    if exam.direct.status == "ok" and exam.direct.loss is not None:
        evidence |= {"loss fit reports": exam.fit.outcome.loss, "loss called once on the whole trees": exam.direct.loss}
    if uses:
        evidence["line"] = _line(uses[0])
    indexed = [u for u in uses if isinstance(u.index, int)]
    if indexed and starved:
        yield _finding(
            exam,
            uses,
            "silent",
            f"{_opening(exam)} {_where(indexed)} is a sample, not an output: {_reach(starved)}.",
            evidence,
        )
    elif not uses and _starved_alike(starved, exam):
        yield _finding(exam, uses, "silent", f"{_opening(exam)} {_reach(starved)}.", evidence)


def _opening(exam: Exam) -> str:
    call = exam.fit.calls[0]
    return f"Keras calls {call.label} once for each of the {shared.count(exam.case.model.outputs)} outputs, never with all of them;"


def _where(uses: Any) -> str:
    return f"{uses[0].expression} ({PurePath(uses[0].file).name}:{uses[0].line})"


def _line(use: Any) -> str:
    return f"{PurePath(use.file).name}:{use.line}: {use.text}"


def _reach(starved: list[Gradient]) -> str:
    return "the gradient reaches " + shared.listed([f"{g.reached} of {g.rows} samples of {g.output}" for g in starved])


def _starved_alike(starved: list[Gradient], exam: Exam) -> bool:
    """No source: only where in every output the same few leading samples, as many as there are outputs, get a gradient."""
    many = shared.count(exam.case.model.outputs)
    return len(starved) == many and all(g.reached == many and g.rows > many + 1 for g in starved)


def _dropped(exam: Exam) -> tuple[CompileEdit, ...]:
    """What was made for the outputs as they stood."""
    given = [n for n in ("loss_weights", "metrics", "weighted_metrics") if getattr(exam.case.compile, n) is not None]
    return tuple(CompileEdit(name, None) for name in given)


def _regrouped(exam: Exam) -> Fix:
    """All outputs under one key, with the loss at that key: there Keras hands it the whole tree (3.7 and later)."""
    whole = trees.pack(exam.case.model.outputs, shared.flat_outputs(exam))
    return Fix(
        "nest the outputs and the targets under one key, with the loss at that key (Keras 3.7 and later)",
        "model",
        "review",
        edits=(
            OutputsEdit({"all": whole}),
            CompileEdit("loss", {"all": At("loss")}),
            BatchEdit('y = {"all": y}'),
            *_dropped(exam),
        ),
    )


def _partly(exam: Exam, uses: Any) -> tuple[Fix, ...]:
    """Only the outputs that the loss indexes under one key, the others beside them without a loss."""
    outputs, y = exam.case.model.outputs, exam.case.batch.y
    wanted = {use.index for use in uses}
    if trees.container(y) != trees.container(outputs) or not all(trees.is_leaf(n) for _, n in trees.children(outputs)):
        return ()
    if isinstance(outputs, dict):
        keys = [k for k in outputs if k in wanted]
        if not keys or len(keys) in (0, len(outputs)) or not wanted <= set(outputs) or set(y) != set(outputs):
            return ()
        rest = [k for k in outputs if k not in keys]
        group: Any = {k: f"y_pred[{k!r}]" for k in keys}
        others: Any = {k: f"y_pred[{k!r}]" for k in rest}
        targets = tuple(shared.dict_code([(k, f"y[{k!r}]") for k in part]) for part in (keys, rest))
    else:
        count = len(wanted)
        # The loss goes on counting from 0.
        if wanted != set(range(count)) or not 0 < count < len(outputs) or len(y) != len(outputs):
            return ()
        group = [f"y_pred[{i}]" for i in range(count)]
        others = [f"y_pred[{i}]" for i in range(count, len(outputs))]
        targets = (f"list(y[:{count}])", f"list(y[{count}:])")
    names = shared.listed(list(trees.values(group)))
    return (
        Fix(
            f"nest {names} under one key, with the loss at that key; the others then have no loss (Keras 3.7 and later)",
            "model",
            "review",
            edits=(
                OutputsEdit({"together": group, "others": others}),
                CompileEdit("loss", {"together": At("loss"), "others": trees.map_leaves(lambda _: None, others)}),
                BatchEdit(f'y = {{"together": {targets[0]}, "others": {targets[1]}}}'),
                *_dropped(exam),
            ),
        ),
    )


def _finding(exam: Exam, uses: Any, impact: str, message: str, evidence: dict[str, Any]) -> Finding:
    outputs = exam.case.model.outputs
    per_output = (
        f"loss={shared.dict_code([(str(k), '...') for k in outputs])}"
        if isinstance(outputs, dict)
        else f"loss=[{', '.join('...' for _ in trees.values(outputs))}]"
    )
    return RULE.finding(
        "error",
        impact,  # type: ignore[arg-type]
        message,
        where=tuple(shared.output_paths(exam)),
        evidence=evidence,
        fixes=(
            *_partly(exam, uses),
            _regrouped(exam),
            repairs.by_hand(
                "or give each output a loss of its own",
                "compile",
                "how the one loss divides into several is yours to say",
                per_output,
            ),
        ),
    )


_MODEL = """\
i = keras.Input((4,))
bbox, classification = layers.Dense(4)(i), layers.Dense(3, activation="softmax")(i)
x, boxes, classes = np.ones((8, 4)), np.ones((8, 4)), np.eye(3)[np.arange(8) % 3]
"""
_BODY = """\
    box = ops.mean(ops.square(y_true[{first}] - y_pred[{first}]))
    return box + ops.mean(ops.abs(y_true[{second}] - y_pred[{second}]))

"""
_LISTS = """\
model = keras.Model(i, [bbox, classification])
model.compile(loss={loss})
y = [boxes, classes]
"""

RULE = Rule(
    code="LD801",
    name="whole-tree-loss-called-per-output",
    category="custom-loss",
    summary="A custom loss written for all outputs is called for each of them.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "y_pred[0] slices the batch",
            "def detection(y_true, y_pred):\n"
            + _BODY.format(first=0, second=1)
            + _MODEL
            + _LISTS.replace("{loss}", "detection"),
            "error",
        ),
        Example(
            "subclassing Loss changes nothing",
            "class Detection(keras.losses.Loss):\n"
            "    def call(self, y_true, y_pred):\n"
            + "".join(f"    {line}\n" if line else "\n" for line in _BODY.format(first=0, second=1).split("\n")[:-1])
            + _MODEL
            + _LISTS.replace("{loss}", "Detection()"),
            "error",
        ),
    ),
    good=(
        Example(
            "the outputs nested under one key, the loss at that key",
            "def detection(y_true, y_pred):\n"
            '    box = ops.mean(ops.square(y_true["bbox"] - y_pred["bbox"]), axis=-1)\n'
            '    return box + ops.mean(ops.abs(y_true["cls"] - y_pred["cls"]), axis=-1)\n\n'
            + _MODEL
            + 'model = keras.Model(i, {"detection": {"bbox": bbox, "cls": classification}})\n'
            'model.compile(loss={"detection": detection})\n'
            'y = {"detection": {"bbox": boxes, "cls": classes}}\n',
            since="3.7",
        ),
        Example("a loss for each output", _MODEL + _LISTS.replace("{loss}", '["mse", "categorical_crossentropy"]')),
        Example(
            "a custom loss for each output that indexes features, not outputs",
            "def corner(y_true, y_pred):\n    return ops.mean(ops.abs(y_true[:, :1] - y_pred[:, :1]), axis=-1)\n\n"
            + _MODEL
            + _LISTS.replace("{loss}", "corner"),
        ),
    ),
)
