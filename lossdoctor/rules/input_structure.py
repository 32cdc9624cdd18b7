"""
## What it sees
The model cannot be called on x: an array is missing, one has the wrong shape, or the container does not fit the inputs.

## Why it matters
`fit` raises before any loss is reached, so nothing about the targets could be examined.

## What to do
Give x the inputs that the model declares (named in the evidence); batch a dataset whose elements are single samples.

## Measured
Keras 3.15.1: a dict without one of the inputs raises "The structure of `inputs` doesn't match"; a wrong width raises "Input 0 of layer ... is
incompatible with the layer". An optional Input (`keras.Input(..., optional=True)`) takes None, and a dict must name it ("Missing data for input").
NumPy's text raises "Invalid dtype: str32"; a tensor of strings and a `tf.data.Dataset` of it work (TensorFlow).
KerasHub 0.32: a task with a preprocessor runs whatever `fit` is given through it; arrays that were preprocessed before raise there.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import near, trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Rule
from lossdoctor.types import ArrayRef, Finding, Fix, Grade, InputSpec


def check(exam: Exam) -> Iterator[Finding]:
    """The error of the input stand-in or of the model's own call."""
    if exam.fit.stage != "model" or exam.case.model.inputs is None:
        return
    specs = [spec for _, spec in trees.declared_leaves("inputs", exam.case.model.inputs)]
    x = exam.case.batch.x
    if exam.case.model.preprocessor is not None:
        yield _not_for_the_preprocessor(exam, exam.case.model.preprocessor)
        return
    saw, where = _saw(exam, specs, x)
    single = _is_one_sample(specs, x, exam.case.batch.y)
    yield RULE.finding(
        "error",
        "raises",
        f"{saw}: one sample without an axis for the samples. Calling the model raises."
        if single
        else f"{saw}, and calling the model raises.",
        where=where,
        evidence={
            "inputs": {spec.name: list(spec.shape) for spec in specs},
            "x": {path: list(leaf.shape) for path, leaf in trees.declared_leaves("x", x) if isinstance(leaf, ArrayRef)},
            "error": shared.error(exam),
        },
        fixes=(
            repairs.by_hand(
                "batch the data",
                "batch",
                "how many samples a batch has, and where the data are made, is not in the batch",
                "dataset = dataset.batch(32)",
            )
            if single
            else _as_tensors(x)
            if "Invalid dtype" in (shared.error(exam) or "") and _texts(x)
            else _renamed(specs, x)
            or _left_out(specs, x)
            or (_named(specs, x) if _unnamed(exam, x) else None)
            or repairs.by_hand(
                "give x the inputs that the model declares",
                "batch",
                "whether the data or the Input is to change is not written"
                if " has shape " in saw
                else "what belongs into x is not in the batch",
            ),
        ),
    )


def _not_for_the_preprocessor(exam: Exam, name: str) -> Finding:
    """KerasHub's `fit` gives the batch to the model's preprocessor, whatever is in it."""
    return RULE.finding(
        "error",
        "raises",
        f"fit runs the batch through the model's {name} first, and that raises.",
        where=("x",),
        evidence={
            "x": {
                path: list(leaf.shape)
                for path, leaf in trees.declared_leaves("x", exam.case.batch.x)
                if isinstance(leaf, ArrayRef)
            },
            "error": shared.error(exam),
        },
        fixes=(
            repairs.by_hand(
                "give x as it is before the preprocessing; or, where it is preprocessed already, take the preprocessor from the model",
                "model",
                "which of the two the batch is meant to be is not written",
                "model.preprocessor = None",
            ),
        ),
    )


def _renamed(specs: list[InputSpec], x: object) -> Fix | None:
    """The array of the only Input that has none, where one of another name has its shape."""
    if not isinstance(x, dict):
        return None
    missing = [spec for spec in specs if spec.name not in x]
    if len(missing) != 1:
        return None
    unknown = [key for key in x if key not in {spec.name for spec in specs}]
    fits = [
        str(key) for key in unknown if isinstance(x[key], ArrayRef) and _fits(missing[0].shape, tuple(x[key].shape))
    ]
    new = missing[0].name
    near_by = near.nearest(new, fits)
    if not near_by and len(fits) != 1:
        return None
    old = (near_by or fits)[0]
    items = [(new if str(key) == old else str(key), f"x[{key!r}]") for key in x]
    grade: Grade = "safe" if near_by and len(fits) == 1 else "review"
    return repairs.statement(f"rename {old!r} to {new!r}", f"x = {shared.dict_code(items)}", grade)


def _unnamed(exam: Exam, x: object) -> bool:
    """As many arrays in a list or tuple as there are inputs in a dict."""
    inputs = exam.case.model.inputs
    return type(x) in (list, tuple) and isinstance(inputs, dict) and len(trees.values(x)) == len(trees.values(inputs))


def _named(specs: list[InputSpec], x: object) -> Fix:
    items = [(spec.name, f"x[{i}]") for i, spec in enumerate(specs)]
    fits = all(
        isinstance(leaf, ArrayRef) and _fits(spec.shape, tuple(leaf.shape))
        for spec, (_, leaf) in zip(specs, trees.declared_leaves("x", x), strict=True)
    )
    # By the order in which the inputs are declared, which only shapes can speak against.
    return repairs.statement("name the inputs", f"x = {shared.dict_code(items)}", "review" if fits else "manual")


def _left_out(specs: list[InputSpec], x: object) -> Fix | None:
    """None for the Inputs that a dict lacks, where all of them are optional: Keras wants their names all the same."""
    missing = [spec for spec in specs if isinstance(x, dict) and spec.name not in x]
    if not missing or not all(spec.optional for spec in missing):
        return None
    return repairs.statement(
        f"give None for the optional {shared.listed([repr(spec.name) for spec in missing])}",
        f"x = x | {shared.dict_code([(spec.name, 'None') for spec in missing])}",
    )


def _is_one_sample(specs: list[InputSpec], x: object, y: object) -> bool:
    """True where every array of x lacks nothing but the first axis of its Input, and no target has as many rows."""
    leaves = [leaf for _, leaf in trees.declared_leaves("x", x)]
    rows = {leaf.shape[:1] for _, leaf in trees.declared_leaves("y", y) if isinstance(leaf, ArrayRef)}
    return len(leaves) == len(specs) and all(
        isinstance(leaf, ArrayRef)
        and _fits((None, *spec.shape[1:]), (0, *leaf.shape))
        and leaf.shape[:1] not in rows - {()}
        for spec, leaf in zip(specs, leaves, strict=True)
    )


def _texts(x: object) -> list[str]:
    """Where x holds NumPy's own text, or Python's objects."""
    return [
        path
        for path, leaf in trees.declared_leaves("x", x)
        if isinstance(leaf, ArrayRef) and leaf.dtype.startswith(("str", "bytes", "object")) and leaf.dtype != "string"
    ]


def _as_tensors(x: object) -> Fix:
    return repairs.by_hand(
        "give text as tensors",
        "batch",
        "the batch is made in your code",
        "\n".join(f"{path} = tf.constant({path})" for path in _texts(x)),
    )


def _saw(exam: Exam, specs: list[InputSpec], x: object) -> tuple[str, tuple[str, ...]]:
    names = [spec.name for spec in specs]
    if _unnamed(exam, x):
        return (
            f"x is a {type(x).__name__} where the model's inputs are named {shared.listed([repr(n) for n in names])}",
            ("x",),
        )
    if isinstance(x, dict):
        missing = [name for name in names if name not in x]
        unknown = [str(key) for key in x if key not in names]
        if missing:
            hint = near.did_you_mean(missing[0], unknown) if unknown else ""
            return f"x has no array for the Input {missing[0]!r}{hint.replace('did you mean', 'is it')}", (
                f"x[{missing[0]!r}]",
            )
        for spec in specs:  # beside arrays that no Input asks for, too
            if isinstance(x.get(spec.name), ArrayRef) and not _fits(spec.shape, tuple(x[spec.name].shape)):
                return _unfit(f"x[{spec.name!r}]", x[spec.name], spec)
    leaves = trees.declared_leaves("x", x)
    if len(leaves) != len(specs):
        return (
            f"x holds {len(leaves)} array{'s' * (len(leaves) != 1)} for {len(specs)} Input{'s' * (len(specs) != 1)}",
            ("x",),
        )
    for spec, (path, leaf) in zip(specs, leaves, strict=True):
        if isinstance(leaf, ArrayRef) and not _fits(spec.shape, tuple(leaf.shape)):
            return _unfit(path, leaf, spec)
    texts = _texts(x)
    if texts:
        return f"{texts[0]} holds text or objects of NumPy's, which fit takes as tensors only", (texts[0],)
    return "x does not fit the model's inputs", ("x",)


def _unfit(path: str, leaf: ArrayRef, spec: InputSpec) -> tuple[str, tuple[str, ...]]:
    return f"{path} has shape {tuple(leaf.shape)} where Input {spec.name!r} takes {spec.shape}", (path,)


def _fits(declared: tuple[int | None, ...], given: tuple[int, ...]) -> bool:
    """True where the sizes agree; a number of rows is declared by `batch_shape` alone (stateful layers want it)."""
    return len(declared) == len(given) and all(d is None or d == g for d, g in zip(declared, given, strict=True))


_MODEL = """\
i = keras.Input((4,), name="features")
model = keras.Model(i, layers.Dense(1)(i))
model.compile(loss="mse")
y = np.ones((8, 1))
"""

_OPTIONAL = """\
class Merge(keras.layers.Layer):
    def call(self, left, right=None):
        return left if right is None else left + right
    def compute_output_spec(self, left, right=None):
        return keras.KerasTensor(left.shape, left.dtype)
i = {"left": keras.Input((4,), name="left"), "right": keras.Input((4,), name="right", optional=True)}
model = keras.Model(i, layers.Dense(1)(Merge()(i["left"], i["right"])))
model.compile(loss="mse")
y = np.ones((8, 1))
"""

RULE = Rule(
    code="LD902",
    name="input-structure",
    category="input",
    summary="x lacks an input, has an unknown one, or the wrong shape.",
    page=__doc__,
    check=check,
    bad=(
        Example("five features where the model takes four", _MODEL + "x = np.ones((8, 5))\n", "error"),
        Example(
            "a misspelt name",
            """\
i = {name: keras.Input((4,), name=name) for name in ("left", "right")}
model = keras.Model(i, layers.Dense(1)(layers.Add()([i["left"], i["right"]])))
model.compile(loss="mse")
x, y = {"left": np.ones((8, 4)), "rigth": np.ones((8, 4))}, np.ones((8, 1))
""",
            "error",
            since="3.5",
        ),
        Example(
            "a wrong width beside an array that no input asks for",
            """\
i = {name: keras.Input((4,), name=name) for name in ("left", "right")}
model = keras.Model(i, layers.Dense(1)(layers.Add()([i["left"], i["right"]])))
model.compile(loss="mse")
x, y = {"left": np.ones((8, 4)), "right": np.ones((8, 5)), "extra": np.ones((8, 4))}, np.ones((8, 1))
""",
            "error",
            since="3.5",
        ),
        Example(
            "an optional input that is not named", _OPTIONAL + 'x = {"left": np.ones((8, 4))}\n', "error", since="3.15"
        ),
        Example(
            "a list where the inputs are named",
            """\
i = {name: keras.Input((4,), name=name) for name in ("width", "height")}
model = keras.Model(i, layers.Dense(1)(layers.Add()([i["width"], i["height"]])))
model.compile(loss="mse")
x, y = [np.ones((8, 4)), np.zeros((8, 4))], np.ones((8, 1))
""",
            "error",
            since="3.15",
        ),
        Example(
            "another number of rows than a stateful layer takes",
            """\
i = keras.Input(batch_shape=(16, 5, 2))
model = keras.Model(i, layers.Dense(1)(layers.LSTM(4, stateful=True)(i)))
model.compile(loss="mse")
x, y = np.ones((8, 5, 2)), np.ones((8, 1))
""",
            "error",
            since="3.15",
        ),
        Example("one sample of a dataset that is not batched", _MODEL + "x, y = np.ones(4), np.ones(1)\n", "error"),
    ),
    good=(
        Example("four", _MODEL + "x = np.ones((8, 4))\n"),
        Example(
            "None for an optional input", _OPTIONAL + 'x = {"left": np.ones((8, 4)), "right": None}\n', since="3.15"
        ),
    ),
)
