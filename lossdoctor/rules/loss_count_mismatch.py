"""
## What it sees
A list of losses with more or fewer entries than the model has outputs; one loss of Keras's own at the place of several outputs.

## Why it matters
With too many, Keras raises. With too few it goes through the list it has: the remaining outputs are never trained, without a word.

## What to do
One entry an output, `None` for an output that has no loss; or a dict by output name.

## Measured
Keras 3.15.1, TensorFlow: two outputs, `loss=["mse", "mae", "mse"]` raises "The path: (2,)"; `loss=["mse"]` trains the first output only.
For one output with several losses see LD506. `{"found": "mse"}` for two outputs below "found" calls it once: of a list of two outputs of one shape Keras makes
one tensor, and the loss is the mean over both; for a dict, or two shapes, `fit` raises. Outputs `{"found": [a, b, c]}` with
`{"found": ["mse", "mae"]}`: on JAX c is never trained; TensorFlow calls mse and mae once each with all three. So it does, with both, for `[a, b]` and `{"found": ["mse", ["mae"]]}`.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor import trees
from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import At, Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """Losses at the place of several outputs, and flat lists of losses whose length is not that of the outputs."""
    loss, outputs = exam.case.compile.loss, exam.case.model.outputs
    if shared.losses_by_group(exam) is not None:
        return  # LD204's
    flat = shared.is_flat_list(loss)
    short = () if flat or trees.is_leaf(loss) else tuple(_nested(exam))
    yield from short
    wrapped = shared.unwrapped(loss, outputs) is not None  # LD504's, where fit runs
    for call in exam.fit.calls:
        ran = not shared.raises(exam) and bool(call.weight) and not wrapped
        told = any(call.loss_path.startswith(finding.where[0]) for finding in short)
        if call.subtree and call.builtin and (ran or shared.failed_in(exam, call)) and not told:
            yield _for_several(exam, call)
    if not flat:
        return
    given, expected = len(loss), shared.count(outputs)
    if given == expected:
        return
    evidence = {"losses": given, "outputs": expected}
    counts = f"loss has {given} entr{'y' if given == 1 else 'ies'} for {expected} output{'s' * (expected != 1)}"
    fix = repairs.by_hand(
        "give one loss an output, None for an output without",
        "compile",
        f"what should train {shared.listed(shared.output_paths(exam)[given:]) if given < expected else 'the outputs'} is not written",
    )
    fixes: tuple[Fix, ...] = (fix,)
    if _other_container(loss, outputs):
        fixes = (_in_container(repairs.present(exam, "loss"), outputs), fix)
    elif given > expected:
        kept = list(repairs.present(exam, "loss"))[:expected]
        tree = kept[0] if expected == 1 and trees.is_leaf(outputs) else kept
        fixes = (repairs.compile_argument("leave the last ones out", "loss", tree, "review"), fix)
    elif given < expected:
        filled = [*repairs.present(exam, "loss"), *[None] * (expected - given)]
        fixes = (repairs.compile_argument("declare that the others have no loss", "loss", filled, "review"), fix)
    if shared.raised_in_dispatch(exam) and exam.fit.stage == "dispatch":
        yield RULE.finding(
            "error",
            "raises",
            f"{counts}, and fit raises.",
            where=("loss",),
            evidence={**evidence, "error": shared.error(exam)},
            fixes=fixes,
        )
    elif not shared.raises(exam) and expected > 1:
        met = {output for _, output, _ in shared.pairs(exam)}
        left = [path for path in shared.output_paths(exam) if path not in met and not path.startswith(_without(exam))]
        if left:
            yield RULE.finding(
                "error",
                "silent",
                f"{counts}: {shared.listed(left)} {'is' if len(left) == 1 else 'are'} never trained, without a word.",
                where=("loss", *left),
                evidence=evidence,
                fixes=fixes,
            )


def _nested(exam: Exam) -> Iterator[Finding]:
    """Lists of losses in other containers, the first of which that is too short."""
    loss, outputs = exam.case.compile.loss, exam.case.model.outputs
    places = list(shared.aligned_lists(outputs, loss))
    short = next((place for place in places if shared.is_short(*place[2:])), None)
    raises = shared.raises(exam)
    if short is None and not raises:
        yield from _each_with_all(exam, places)
    if short is None or (raises and (isinstance(loss, dict) or not shared.raised_in_dispatch(exam))):
        return
    path, group, given, expected = short[0], short[1], len(short[2]), len(short[3])
    met = {output for _, output, _ in shared.pairs(exam)}
    declined = tuple(output for _, output, losses, _ in places if losses is None)
    left = [
        output
        for output in shared.output_paths(exam)
        if output not in met and output.startswith(group) and not (declined and output.startswith(declined))
    ]
    whole = [call for call in exam.fit.calls if call.subtree and call.builtin and call.loss_path.startswith(f"{path}[")]
    if not left and not (len(whole) == given > 1):
        return
    counts = f"{path} has {given} entr{'y' if given == 1 else 'ies'} for the {expected} outputs of {group}"
    missing = shared.listed(left or [f"{group}{step}" for step, _ in list(trees.children(short[3]))[given:]])
    fixes = (
        repairs.compile_argument(
            "declare that the others have no loss",
            "loss",
            _filled(outputs, repairs.present(exam, "loss")),
            "review",
        ),
        repairs.by_hand(
            "give one loss an output, None for an output without",
            "compile",
            f"what should train {missing} is not written",
        ),
    )
    evidence: dict[str, object] = {"losses": given, "outputs": expected}
    if raises:
        told = f"{counts}, and fit raises."
        yield RULE.finding(
            "error",
            "raises",
            told,
            where=(path,),
            evidence={**evidence, "error": shared.error(exam)},
            fixes=fixes,
        )
    elif left:
        told = f"{counts}: {missing} {'is' if len(left) == 1 else 'are'} never trained, without a word."
        yield RULE.finding("error", "silent", told, where=(path, *left), evidence=evidence, fixes=fixes)
    else:
        evidence["values of those calls"] = [call.value for call in whole]
        told = f"{counts}: Keras calls each of them once with all {expected}, and makes one tensor of those."
        yield RULE.finding("error", "silent", told, where=(path,), evidence=evidence, fixes=fixes)


def _each_with_all(exam: Exam, places: list[tuple[str, str, Tree, Tree]]) -> Iterator[Finding]:
    """As many losses as outputs, nested otherwise: on TensorFlow, Keras calls each with all outputs of the group."""
    for path, group, losses, outputs in places:
        sequences = isinstance(losses, list | tuple) and isinstance(outputs, list | tuple)
        if not sequences or trees.paths("", losses) == trees.paths("", outputs):
            continue
        expected = shared.count(outputs)
        whole = [
            c for c in exam.fit.calls if c.builtin and len(c.outputs) == expected and c.loss_path.startswith(f"{path}[")
        ]
        if len(whole) != expected or expected == 1:
            continue
        tree = _arranged(exam.case.model.outputs, repairs.present(exam, "loss"))
        yield RULE.finding(
            "error",
            "silent",
            f"{path} is nested otherwise than {group}: Keras calls each of its {expected} losses once with all {expected} outputs, and makes "
            "one tensor of those.",
            where=(path,),
            evidence={"values of those calls": [call.value for call in whole]},
            fixes=(repairs.compile_argument("write the losses in the containers of the outputs", "loss", tree),),
        )
        return


def _arranged(outputs: Tree, loss: Tree) -> Tree:
    """The losses with every list that has one for each output in the outputs' containers."""
    if isinstance(outputs, dict) and isinstance(loss, dict):
        return type(loss)(
            (key, _arranged(outputs[key], part) if key in outputs else part) for key, part in loss.items()
        )
    if not isinstance(outputs, list | tuple) or not isinstance(loss, list | tuple):
        return loss
    flat = trees.values(loss)
    if trees.paths("", outputs) != trees.paths("", loss) and len(flat) == shared.count(outputs):
        return trees.pack(outputs, flat)
    if len(outputs) != len(loss):
        return loss
    return type(loss)([_arranged(node, part) for node, part in zip(outputs, loss, strict=True)])


def _filled(outputs: Tree, loss: Tree) -> Tree:
    """The losses with None in the places that their lists lack."""
    if isinstance(outputs, dict) and isinstance(loss, dict):
        return type(loss)((key, _filled(outputs.get(key), part)) for key, part in loss.items())
    if not isinstance(outputs, list | tuple) or not isinstance(loss, list | tuple):
        return loss
    parts = [_filled(node, part) for node, part in zip(outputs, loss, strict=False)]
    return type(loss)([*parts, *[None] * (len(outputs) - len(parts))])


def _other_container(loss: Tree, outputs: Tree) -> bool:
    """A list of losses for as long a tuple of outputs, or the reverse: to Keras, several losses of the whole."""
    sequences = isinstance(loss, list | tuple) and isinstance(outputs, list | tuple)
    return sequences and type(loss) is not type(outputs) and len(loss) == len(outputs)


def _in_container(loss: Tree, outputs: Tree) -> Fix:
    title = f"give the losses in a {trees.container(outputs)}, like the outputs"
    return repairs.compile_argument(title, "loss", type(outputs)(loss), "review")


def _for_several(exam: Exam, call: LossCall) -> Finding:
    """A loss of Keras's own that is called once with several outputs, which become one tensor."""
    outputs = [str(output) for output in call.outputs]
    assert call.containers is not None
    each = trees.map_leaves(lambda _: At(call.loss_path), call.containers[1])
    present = repairs.present(exam, "loss")
    alone = (
        isinstance(present, list | tuple)
        and len(present) == 1
        and len(outputs) == shared.count(exam.case.model.outputs)
    )
    tree = each if alone else trees.map_leaves(lambda leaf: each if leaf == At(call.loss_path) else leaf, present)
    outside = _other_container(present, exam.case.model.outputs)
    fixes = (
        _in_container(present, exam.case.model.outputs)
        if outside
        else repairs.compile_argument("give each output this loss", "loss", tree, "review"),
    )
    what = f"{call.loss_path} is one {call.label} for {len(outputs)} outputs, {shared.listed(outputs)}: Keras calls it once with all of them, and"
    where, shapes = (call.loss_path, *outputs), [list(shape) for shape in call.output_shapes]
    if shared.raises(exam):
        seen: dict[str, object] = {"error": shared.error(exam), "output shapes": shapes}
        message = f"{what} cannot make one tensor of them: fit raises."
        return RULE.finding("error", "raises", message, where=where, evidence=seen, fixes=fixes)
    seen = {"value of that call": call.value, "output shapes": shapes}
    return RULE.finding("warning", "risk", f"{what} makes one tensor of them.", where=where, evidence=seen, fixes=fixes)


def _without(exam: Exam) -> tuple[str, ...]:
    """The outputs, and groups of them, at whose place None is written."""
    loss, places = exam.case.compile.loss, list(trees.children(exam.case.model.outputs))
    if len(loss) != len(places):
        return ()
    return tuple(f"y_pred{step}" for (step, _), leaf in zip(places, loss, strict=True) if leaf is None)


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(1)(i), layers.Dense(1)(i)])
x, y = np.ones((8, 4)), [np.ones((8, 1)), np.zeros((8, 1))]
"""

RULE = Rule(
    code="LD503",
    name="loss-count-mismatch",
    category="loss-config",
    summary="More or fewer losses in a list than outputs.",
    page=__doc__,
    check=check,
    bad=(
        Example("one loss too many", _MODEL + 'model.compile(loss=["mse", "mae", "mse"])\n', "error"),
        Example(
            "one for two outputs below a key",
            """\
i = keras.Input((4,))
model = keras.Model(i, {"found": {"left": layers.Dense(1)(i), "right": layers.Dense(1)(i)}})
model.compile(loss={"found": "mse"})
x, y = np.ones((8, 4)), {"found": {"left": np.ones((8, 1)), "right": np.zeros((8, 1))}}
""",
            "error",
            since="3.7",
        ),
        Example(
            "one for two outputs in a list below a key",
            """\
i = keras.Input((4,))
model = keras.Model(i, {"found": [layers.Dense(1)(i), layers.Dense(1)(i)]})
model.compile(loss={"found": "mse"})
x, y = np.ones((8, 4)), {"found": [np.ones((8, 1)), np.zeros((8, 1))]}
""",
            "warning",
            since="3.7",
        ),
        Example(
            "one too few in a list of lists",
            """\
i = keras.Input((4,))
model = keras.Model(i, [[layers.Dense(1)(i), layers.Dense(1)(i)], layers.Dense(1)(i)])
model.compile(loss=[["mse", "mae"]])
x, y = np.ones((8, 4)), [[np.ones((8, 1)), np.zeros((8, 1))], np.ones((8, 1))]
""",
            "error",
        ),
        Example(
            "one too few in a list below a key",
            """\
i = keras.Input((4,))
model = keras.Model(i, {"found": [layers.Dense(1)(i), layers.Dense(1)(i), layers.Dense(1)(i)]})
model.compile(loss={"found": ["mse", "mae"]})
x, y = np.ones((8, 4)), {"found": [np.ones((8, 1)), np.zeros((8, 1)), np.ones((8, 1))]}
""",
            "error",
            since="3.7",
        ),
        Example("one too few", _MODEL + 'model.compile(loss=["mse"])\n', "error"),
    ),
    good=(
        Example("one an output", _MODEL + 'model.compile(loss=["mse", "mae"])\n'),
        Example("one for all", _MODEL + 'model.compile(loss="mse")\n'),
    ),
)
