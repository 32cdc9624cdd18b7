"""
## What it sees
A flat list of metrics on several outputs: Keras gives the first metric to the first output and the second to the second.

## Why it matters
Whoever meant both metrics for every output reads half of them. On a dict of outputs "first" is the first key of the alphabet, not the first that was written.

## What to do
Name them: `metrics={"box": ["mae"], "score": ["accuracy"]}`.

## Measured
Keras 3.15.1, TensorFlow: `metrics=["mae", "mse"]` on two outputs logs mae of the first and mse of the second; on outputs written `{"z", "a"}` mae goes to "a". A list of another length
raises, and so does `metrics=["mae"]` on two outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam, MetricCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Lists of metrics on several outputs: what each reached, or that fit raises."""
    metrics, outputs = exam.case.compile.metrics, exam.case.model.outputs
    if trees.is_leaf(outputs) or not isinstance(metrics, list | tuple) or shared.count(outputs) < 2:
        return
    flat = all(trees.is_leaf(m) for m in metrics)
    if shared.raises(exam) and exam.fit.stage == "metrics" and len(metrics) != len(list(trees.children(outputs))):
        yield RULE.finding(
            "error",
            "raises",
            f"metrics is a list of {len(metrics)} for {len(list(trees.children(outputs)))} outputs, and a list goes one to one: fit raises.",
            where=("metrics",),
            evidence={"error": shared.error(exam), "metrics": len(metrics)},
            fixes=(_named(exam, None),),
        )
        return
    reached = [c for c in exam.metrics if c.metric_path.startswith("metrics[") and c.output is not None]
    order = shared.output_paths(exam)
    if not reached or shared.raises(exam):
        return
    told = shared.listed([f"{c.label} is measured on {c.output} only" for c in reached])
    moved = isinstance(outputs, dict) and [c.output for c in reached] != [
        o for o in order if o in {c.output for c in reached}
    ]
    if moved:
        yield _finding(
            exam,
            "warning",
            "silent",
            f"{told}: a list of metrics follows the outputs' keys in sorted order, not as written.",
            reached,
        )
    elif flat and len({c.label for c in reached}) > 1:
        yield _finding(exam, "info", "note", f"{told}: a flat list of metrics goes one to each output.", reached)


def _finding(exam: Exam, severity: str, impact: str, message: str, reached: list[MetricCall]) -> Finding:
    return RULE.finding(
        severity,  # type: ignore[arg-type]
        impact,  # type: ignore[arg-type]
        message,
        where=tuple(c.metric_path for c in reached),
        evidence={c.metric_path: f"{c.label} on {c.output}" for c in reached},
        fixes=(_named(exam, reached),),
    )


def _named(exam: Exam, reached: list[MetricCall] | None) -> Fix:
    """The metrics by output: a list of its own for each where each was one entry, else the same list for every output."""
    title = "name the outputs in metrics"
    outputs, metrics = exam.case.model.outputs, exam.case.compile.metrics
    given = list(repairs.present(exam, "metrics"))
    many = shared.count(outputs)
    if reached is None and all(trees.is_leaf(m) for m in metrics):
        each = [given] * many
    elif len(given) == many:
        each = [value if isinstance(value, list) else [value] for value in given]
    else:
        return repairs.by_hand(title, "compile", "which metric is for which output is not written")
    if isinstance(outputs, dict) and all(trees.is_leaf(v) for v in outputs.values()):
        return repairs.compile_argument(title, "metrics", dict(zip(outputs, each, strict=True)), "review")
    if not isinstance(outputs, dict):
        return repairs.compile_argument("give each output a list of its own", "metrics", each, "review")
    return repairs.by_hand(title, "compile", "which metric is for which output is not written")


_MODEL = """\
i = keras.Input((4,))
one, two = layers.Dense(1)(i), layers.Dense(1)(i)
x, first, second = np.ones((8, 4)), np.ones((8, 1)), np.zeros((8, 1))
"""
_LISTED = _MODEL + "model = keras.Model(i, [one, two])\ny = [first, second]\n"
_KEYED = _MODEL + 'model = keras.Model(i, {"z": one, "a": two})\ny = {"z": first, "a": second}\n'

RULE = Rule(
    code="LD521",
    name="metrics-split-across-outputs",
    category="metrics",
    summary="A list of metrics goes one to each output.",
    page=__doc__,
    check=check,
    bad=(
        Example("two metrics, two outputs", _LISTED + 'model.compile(loss="mse", metrics=["mae", "mse"])\n', "info"),
        Example(
            "outputs that are not in the alphabet's order",
            _KEYED + 'model.compile(loss="mse", metrics=["mae", "mse"])\n',
            "warning",
            since="3.12",
        ),
        Example("one metric for two outputs", _LISTED + 'model.compile(loss="mse", metrics=["mae"])\n', "error"),
    ),
    good=(
        Example("named", _KEYED + 'model.compile(loss="mse", metrics={"z": ["mae"], "a": ["mse"]})\n', since="3.12"),
        Example("a list an output", _LISTED + 'model.compile(loss="mse", metrics=[["mae"], ["mae", "mse"]])\n'),
    ),
)
