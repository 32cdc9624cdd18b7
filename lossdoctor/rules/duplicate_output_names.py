"""
## What it sees
Two outputs with one name in `model.output_names`: one layer was called twice, and both results are outputs.

## Why it matters
Whatever is given by name (targets, losses, metrics) reaches every output of that name, and the log shows one value for all of them.

## What to do
Give the outputs names of their own: `keras.layers.Identity(name="left")(...)`, or a dict of outputs.

## Measured
Keras 3.15.1, TensorFlow: a Dense layer "d" called twice, both outputs in a list: `output_names` is `["d", "d"]`; `y={"d": a}` trains both outputs on a,
`loss={"d": "mse"}` gives both that loss, the log has one `d_loss`; `loss_weights={"d": 3.0}` raises. Keras 3.5 and 3.6, JAX: `y={"d": a}` trains the first output alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Repeated names, by what is given under them."""
    names = exam.case.model.output_names or ()
    twice = [name for name, times in Counter(names).items() if times > 1]
    if not twice or isinstance(exam.case.model.outputs, dict):
        return
    arguments = exam.case.compile
    named = [
        label
        for label, given in (
            ("y", exam.case.batch.y),
            ("loss", arguments.loss),
            ("loss_weights", arguments.loss_weights),
            ("metrics", arguments.metrics),
        )
        if isinstance(given, dict) and any(n in given for n in twice)
    ]
    outputs = [path for path, name in zip(shared.output_paths(exam), names, strict=False) if name in twice]
    met: dict[str | None, list[str]] = {}
    for _, output, target in shared.pairs(exam):
        met.setdefault(target, []).append(output)
    same = [target for target, paths in met.items() if target is not None and len(paths) > 1]
    evidence = {"output_names": list(names), "given by name": named}
    fixes = (
        repairs.by_hand(
            "give the outputs names of their own",
            "model",
            "which name each output should have is not written",
            'keras.layers.Identity(name="first")(output)',
        ),
    )
    shown = f"{shared.listed(outputs)} are both named {twice[0]!r}"
    left = [path for path in outputs if path in shared.untrained(exam)]
    if left and not shared.raises(exam):
        yield RULE.finding(
            "error",
            "silent",
            f"{shown}: Keras {exam.case.environment.keras} trains one output of a name, and {shared.listed(left)} "
            f"{'is' if len(left) == 1 else 'are'} not trained.",
            where=tuple(left),
            evidence=evidence | {"loss fit reports": exam.fit.outcome.loss},
            fixes=fixes,
        )
    elif same and "y" in named:
        yield RULE.finding(
            "error",
            "silent",
            f"{shown}: {same[0]} trains all of them.",
            where=(*outputs, str(same[0])),
            evidence=evidence,
            fixes=fixes,
        )
    elif named:
        yield RULE.finding(
            "warning",
            "risk",
            f"{shown}, and {shared.listed(named)} {'is' if len(named) == 1 else 'are'} given by name: every output of that name gets it.",
            where=tuple(outputs),
            evidence=evidence,
            fixes=fixes,
        )
    else:
        yield RULE.finding(
            "info",
            "note",
            f"{shown}: {'the log shows one loss for them' if exam.fit.calls else 'what is given by that name reaches all of them'}.",
            where=tuple(outputs),
            evidence=evidence,
            fixes=fixes,
        )


_MODEL = """\
i = keras.Input((4,))
head = layers.Dense(2, name="d")
model = keras.Model(i, [head(i), head(2 * i)])
model.compile(loss="mse")
x = np.ones((8, 4))
"""

RULE = Rule(
    code="LD205",
    name="duplicate-output-names",
    category="key",
    summary="Two outputs with one name.",
    page=__doc__,
    check=check,
    bad=(
        Example("one target by name for both", _MODEL + 'y = {"d": np.ones((8, 2))}\n', "error", since="3.5"),
        Example("a shared head, targets in a list", _MODEL + "y = [np.ones((8, 2)), np.zeros((8, 2))]\n", "info"),
    ),
    good=(
        Example(
            "two heads",
            "i = keras.Input((4,))\n"
            "model = keras.Model(i, [layers.Dense(2)(i), layers.Dense(2)(i)])\n"
            'model.compile(loss="mse")\n'
            "x, y = np.ones((8, 4)), [np.ones((8, 2)), np.zeros((8, 2))]\n",
        ),
    ),
)
