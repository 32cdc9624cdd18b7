"""
## What it sees
Changing one sample's target or prediction moves the gradient of other samples: the loss couples them.

## Why it matters
Contrastive, triplet and ranking losses do that on purpose: their batches must hold the right samples together, and a larger batch is another problem. A loss that does it by accident (a mean
over the batch in the wrong place) changes with whom a sample happens to share its batch.

## What to do
Nothing, if the coupling is meant. Otherwise reduce over the last axes only, and look at every operation over axis 0.

## Measured
Keras 3.15.1, TensorFlow and JAX: with Keras's own losses on one output leaf, apart from `Circle` and broadcasting shapes (LD302), one sample's gradient depends on nothing but that sample.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Outputs of custom losses whose gradients moved with another row."""
    broadcast = {str(c.outputs[c.broadcast.leaf]) for c in exam.run.calls if c.broadcast and c.broadcast.crossed}
    custom = {output: call for call, output, _ in shared.pairs(exam) if not call.builtin}
    seen = set()
    for coupling in exam.probes.coupled:
        output = coupling.output
        if output in seen or output in broadcast or output not in custom:
            continue
        seen.add(output)
        before, after = exam.probes.permuted or (None, None)
        ordered = before is not None and after is not None and not shared.close(before, after)
        also = " The order of the samples matters too." if ordered else ""
        yield RULE.finding(
            "info",
            "note",
            f"{custom[output].label} couples samples: another {coupling.changed} for sample {coupling.row} moves the gradient of {coupling.reached} of the {coupling.rows - 1} other "
            f"samples at {output}.{also}",
            where=(output, custom[output].loss_path),
            evidence={
                "changed": f"the {coupling.changed} of sample {coupling.row}",
                "other samples whose gradient moved": coupling.reached,
                "first of them": coupling.first,
                **({"loss": before, "loss, rows in another order": after} if before is not None else {}),
            },
            fixes=(
                repairs.by_hand(
                    "if that is not meant: reduce over the last axes only",
                    "loss",
                    "whether it is meant is yours to say",
                ),
            ),
        )


_MODEL = """\
{loss}

i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3)(i))
model.compile(loss=custom)
x, y = np.ones((8, 4)), np.arange(24.0).reshape(8, 3)
"""

RULE = Rule(
    code="LD803",
    name="samples-coupled",
    category="custom-loss",
    summary="One sample's gradient depends on other samples.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "the batch mean inside the loss",
            _MODEL.format(
                loss="def custom(y_true, y_pred):\n"
                "    error = ops.mean(ops.square(y_true - y_pred), axis=-1)\n"
                "    return error * ops.mean(error)\n"
            ),
            "info",
        ),
    ),
    good=(
        Example(
            "each sample for itself",
            _MODEL.format(
                loss="def custom(y_true, y_pred):\n    return ops.mean(ops.square(y_true - y_pred), axis=-1)\n"
            ),
        ),
    ),
    needs=("probes",),
)
