"""
## What it sees
Sample weights that are all zero, negative, or not finite.

## Why it matters
All zero: this batch trains nothing. Negative: Keras drives those samples away from their targets, which policy gradients want (hence info). NaN: the loss is NaN.

## What to do
Keep weights at 0 or above, with a mean of about 1.

## Measured
Keras 3.15.1: weights are multiplied as they are; "sum_over_batch_size" divides by the number of samples, not by the sum of the weights. Weights that sum to 0 log a loss of 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Each leaf of the weights by its values."""
    weights = exam.case.batch.sample_weight
    for path, _ in trees.declared_leaves("sample_weight", weights) if weights is not None else []:
        found = exam.values.get(path)
        if found is not None and found.data.dtype.kind == "c":
            yield RULE.finding(
                "error",
                "silent",
                f"{path} is complex: Keras uses the real part alone.",
                where=(path,),
                evidence={"dtype": found.dtype},
                fixes=(repairs.by_hand("give real weights", "batch", "what the imaginary part means is not written"),),
            )
        if found is None or found.numbers is None or not found.numbers.size:
            continue
        numbers = found.numbers
        broken = found.where(~(abs(numbers) < float("inf")))
        negative = found.where(numbers < 0)
        evidence: dict[str, object] = {"loss fit reports": exam.fit.outcome.loss}
        if broken is not None:
            yield RULE.finding(
                "error",
                "silent",
                f"{broken.count} of {broken.entries} sample weights are not finite, the first at {path}{list(broken.index)}: "
                f"fit {'raises' if shared.raises(exam) else 'logs ' + shared.number(exam.fit.outcome.loss)}.",
                where=(path,),
                evidence={**evidence, "value": str(broken.value)},
                fixes=(
                    repairs.on_leaf(
                        "let those samples count nothing",
                        exam,
                        path,
                        f"np.nan_to_num({path}, posinf=0, neginf=0)",
                        "review",
                    ),
                ),
            )
        elif negative is not None:
            yield RULE.finding(
                "info",
                "note",
                f"{negative.count} of {negative.entries} sample weights are negative ({shared.number(float(negative.value))} at {path}{list(negative.index)}): "
                "Keras drives those samples away from their targets.",
                where=(path,),
                evidence=evidence,
                fixes=(repairs.on_leaf("let them count nothing", exam, path, f"np.maximum({path}, 0)", "review"),),
            )
        elif not numbers.any():
            yield RULE.finding(
                "warning",
                "risk",
                f"All {numbers.size} weights of {path} are 0: this batch trains nothing there.",
                where=(path,),
                evidence=evidence,
                fixes=(
                    repairs.by_hand(
                        "give the samples weights above 0, or check another batch",
                        "batch",
                        "what each should weigh is not written",
                    ),
                ),
            )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(1)(i))
model.compile(loss="mse")
x, y = np.ones((8, 4)), np.ones((8, 1))
sample_weight = {weights}
"""

RULE = Rule(
    code="LD533",
    name="sample-weight-values",
    category="sample-weight",
    summary="Sample weights that are all zero, negative or NaN.",
    page=__doc__,
    check=check,
    bad=(
        Example("all zero", _MODEL.replace("{weights}", "np.zeros(8)"), "warning"),
        Example("negative", _MODEL.replace("{weights}", "np.linspace(-1.0, 1.0, 8)"), "info"),
        Example("NaN", _MODEL.replace("{weights}", "np.array([np.nan] + [1.0] * 7)"), "error"),
    ),
    good=(Example("from 0 to 1", _MODEL.replace("{weights}", "np.linspace(0.0, 1.0, 8)")),),
)
