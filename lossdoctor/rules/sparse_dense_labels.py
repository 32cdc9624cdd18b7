"""
## What it sees
Class numbers where the loss takes one row a class (one-hot), or one-hot rows where the loss takes class numbers.

## Why it matters
Keras mostly raises, with a message about ranks or shapes that does not say what to do. Losses that broadcast (categorical hinge, KL divergence, Dice, MSE) train on
nonsense instead.

## What to do
Class numbers: `sparse_categorical_crossentropy`. One-hot rows: `categorical_crossentropy`. Or change the labels: `keras.utils.to_categorical(y, K)`, `y.argmax(-1)`.

## Measured
Keras 3.15.1, TensorFlow and JAX: `categorical_crossentropy` on `(N,)` labels raises "must have the same rank", on `(N, 1)` "must have the same shape";
`sparse_categorical_crossentropy` on `(N, K)` one-hot rows raises ("must have rank (ndim)"); `categorical_hinge` and `kl_divergence` on `(N, 1)` labels
broadcast and train, as do `dice` and `tversky` on `(N, H, W, 1)` labels.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import Finding


def check(exam: Exam) -> Iterator[Finding]:
    """Calls whose target has the other encoding than the loss takes."""
    for call in exam.run.calls:
        encoding = shared.wrong_encoding(exam, call)
        if encoding is not None and (call.value_shape is not None or shared.failed_in(exam, call)):
            yield _finding(exam, call, encoding)


def _finding(exam: Exam, call: LossCall, encoding: str) -> Finding:
    raised = shared.failed_in(exam, call)
    target, output, units = str(call.targets[0]), str(call.outputs[0]), call.output_shapes[0][-1]
    end = "fit raises" if raised else "nothing raises, and each number is used for every class"
    if encoding == "numbers":
        said = f"{target} holds class numbers, shape {call.target_shapes[0]}, but {call.label} takes one-hot rows of {units}: {end}."
        sparse = call.label in ("categorical_crossentropy", "categorical_focal_crossentropy")
        fixes = (
            *(
                (
                    repairs.crossentropy(
                        "use the loss for class numbers", exam, call, "sparse_categorical_crossentropy", "safe"
                    ),
                )
                if sparse
                else ()
            ),
            repairs.on_leaf(
                f"{'or ' if sparse else ''}turn the numbers into one-hot rows",
                exam,
                target,
                f"keras.utils.to_categorical({target}, {units})",
            ),
        )
    else:
        end = "fit raises" if raised else "nothing raises"
        said = (
            f"{target} holds one-hot rows, shape {call.target_shapes[0]}, but {call.label} takes class numbers: {end}."
        )
        fixes = (
            repairs.crossentropy("use the loss for one-hot rows", exam, call, "categorical_crossentropy", "safe"),
            repairs.on_leaf("or turn the rows into class numbers", exam, target, f"np.argmax({target}, -1)"),
        )
    return RULE.finding(
        "error",
        "raises" if raised else "silent",
        said,
        where=(target, output),
        evidence={
            "target shape": list(call.target_shapes[0]),
            "output shape": list(call.output_shapes[0]),
            "loss": call.label,
            **({"error": shared.error(exam)} if raised else {"loss value": call.value}),
        },
        fixes=fixes,
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, layers.Dense(3, activation="softmax")(i))
model.compile(loss="{loss}")
x = np.ones((8, 4))
"""

RULE = Rule(
    code="LD305",
    name="sparse-dense-labels",
    category="shape",
    summary="Class numbers where one-hot rows are due, or the reverse.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "class numbers for categorical cross-entropy",
            _MODEL.format(loss="categorical_crossentropy") + "y = np.arange(8) % 3\n",
            "error",
        ),
        Example(
            "class numbers for a sum of losses, which the repair keeps",
            _MODEL.replace('loss="{loss}"', 'loss=keras.losses.CategoricalCrossentropy(reduction="sum")')
            + "y = np.arange(8) % 3\n",
            "error",
        ),
        Example(
            "one-hot rows for the sparse loss",
            _MODEL.format(loss="sparse_categorical_crossentropy") + "y = np.eye(3)[np.arange(8) % 3]\n",
            "error",
        ),
        Example(
            "one-hot rows for the sparse loss, and a metric that raises first on JAX and PyTorch",
            _MODEL.replace(")\nx =", ', metrics=["sparse_categorical_accuracy"])\nx =').format(
                loss="sparse_categorical_crossentropy"
            )
            + "y = np.eye(3)[np.arange(8) % 3]\n",
            "error",
        ),
        Example(
            "class numbers that broadcast",
            _MODEL.format(loss="kl_divergence") + "y = (np.arange(8) % 3)[:, None]\n",
            "error",
        ),
        Example(
            "class numbers of pixels under Dice",
            "i = keras.Input((8, 8, 3))\n"
            'model = keras.Model(i, layers.Conv2D(3, 1, activation="softmax")(i))\n'
            "model.compile(loss=keras.losses.Dice())\n"
            "x, y = np.ones((4, 8, 8, 3)), np.arange(256).reshape(4, 8, 8, 1) % 3\n",
            "error",
        ),
    ),
    good=(
        Example(
            "class numbers, sparse loss",
            _MODEL.format(loss="sparse_categorical_crossentropy") + "y = np.arange(8) % 3\n",
        ),
        Example(
            "one-hot rows, dense loss",
            _MODEL.format(loss="categorical_crossentropy") + "y = np.eye(3)[np.arange(8) % 3]\n",
        ),
    ),
)
