"""
## What it sees
The weight that a loss was measured to have in the total is not the one that `loss_weights` names for its output.

## Why it matters
Weights are moved into the container of the losses by flat position: dict keys sorted, names ignored. A hundredfold weight lands on
the wrong head and the sum still looks plausible.

## What to do
Write `loss` and `loss_weights` in the same container with the same keys.

## Measured
Keras 3.15.1, TensorFlow. Outputs `[z, a]`, losses as a list, `loss_weights={"z": 100, "a": 1}`: z gets 1, a gets 100. Outputs `{"z", "a"}`,
losses as a dict, `loss_weights=[100, 1]`: swapped likewise. Keys that do not exist are applied by position from 3.5 on; 3.4 raises.
Outputs `{"pair": [z, a]}` with `{"pair": {"z": 100, "a": 1}}`: z gets 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossdoctor import near, trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import At, CompileEdit, Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """Measured weights against named ones, and weight keys that name nothing."""
    weights = exam.case.compile.loss_weights
    if weights is None or trees.is_leaf(weights):
        return
    observed = {output: call.weight for call, output, _ in shared.pairs(exam)}
    expected = _expected(exam)
    unknown = [k for k in weights if str(k) not in shared.names(exam)] if isinstance(weights, dict) else []
    meant = _by_own_names(exam) or _by_elimination(exam, unknown, observed)
    expected |= meant | (grouped := _in_lists(exam, observed))
    wrong = [
        (output, expected[output], weight)
        for output, weight in observed.items()
        if output in expected and abs(weight - expected[output]) > 1e-5 * max(1.0, abs(expected[output]))
    ]
    fix = _fix(exam, {**observed, **expected} if grouped else expected)
    if wrong and not shared.raises(exam):
        output, named, got = wrong[0]
        yield RULE.finding(
            "error",
            "silent",
            f"The loss of {output} counts {got:g} times, not {named:g} times: Keras pairs loss_weights with losses by sorted position, not by name.",
            where=tuple(o for o, _, _ in wrong),
            evidence={f"{o} weight": {"named": m, "measured": g} for o, m, g in wrong},
            fixes=(fix,),
        )
    elif unknown and shared.raised_in_dispatch(exam) and shared.count(weights) == shared.count(exam.case.compile.loss):
        yield _unknown(exam, str(unknown[0]), "error", "raises", "and fit raises", {"error": shared.error(exam)})
    elif unknown and not shared.raises(exam):
        severity, impact = ("warning", "risk") if meant else ("error", "silent")
        then = "so Keras applies it by sorted position"
        yield _unknown(exam, str(unknown[0]), severity, impact, then, {"measured": observed})


def _in_lists(exam: Exam, observed: dict[str, float]) -> dict[str, float]:
    """The weights in dicts for outputs in a list or tuple further down, by the outputs' names, else as written."""
    found: dict[str, float] = {}
    for _, names, given in shared.dicts_for_lists(exam, "loss_weights", exam.case.compile.loss_weights):
        numbers = all(isinstance(value, int | float) for value in given.values())
        if numbers and observed.keys() >= names.keys():
            found |= {output: float(given[key]) for output, key in shared.keys_meant(names, given).items()}
    return found


def _by_own_names(exam: Exam) -> dict[str, float]:
    """The weights under the names of outputs that stand below a key."""
    own, weights = shared.by_own_names(exam, "loss_weights"), exam.case.compile.loss_weights
    named = [] if own is None else trees.leaves("y_pred", own)
    return {path: float(weights[shared.last_key(path)]) for path, leaf in named if leaf is not None}


def _by_elimination(exam: Exam, unknown: list[Any], observed: dict[str, float]) -> dict[str, float]:
    """The weights under unknown keys at the trained outputs that no key names, where it cannot matter which goes to which."""
    weights, paths = exam.case.compile.loss_weights, shared.flat_outputs(exam)
    if len(unknown) == 1 and (found := _of_the_other_group(exam, weights[unknown[0]], observed)):
        return found
    outputs, names = exam.case.model.outputs, exam.case.model.output_names or ()
    keys = weights if isinstance(weights, dict) else ()
    if isinstance(outputs, dict):
        named = {path for k in keys if k in outputs for path in trees.paths(f"y_pred[{k!r}]", outputs[k])}
    else:
        named = {path for path, name in zip(paths, names, strict=False) if name in keys}
    # A loss has one weight, of however many outputs it is.
    left = {output: call.number for call, output, _ in shared.pairs(exam) if output not in named}
    given = [weight for k in unknown for weight in trees.values(weights[k])]
    values = {float(weight) for weight in given if isinstance(weight, int | float)}
    return dict.fromkeys(left, *values) if len(values) == 1 and len({*left.values()}) == len(given) else {}


def _of_the_other_group(exam: Exam, given: Tree, observed: dict[str, float]) -> dict[str, float]:
    """The weights of a misnamed group, where just one group of trained outputs is left for them and has the same keys inside."""
    weights, outputs = exam.case.compile.loss_weights, exam.case.model.outputs
    if trees.is_leaf(given) or not isinstance(outputs, dict):
        return {}
    groups = {key: trees.paths(f"y_pred[{key!r}]", node) for key, node in outputs.items() if key not in weights}
    left = [key for key, paths in groups.items() if any(path in observed for path in paths)]
    found = dict(trees.leaves(f"y_pred[{left[0]!r}]", given)) if len(left) == 1 else {}
    fits = found and [*found] == [*groups[left[0]]] and all(isinstance(value, int | float) for value in found.values())
    return {path: float(value) for path, value in found.items()} if fits else {}


def _unknown(exam: Exam, key: str, severity: str, impact: str, then: str, evidence: dict[str, object]) -> Finding:
    known = shared.names(exam)
    return RULE.finding(
        severity,  # type: ignore[arg-type]
        impact,  # type: ignore[arg-type]
        f"loss_weights[{key!r}] names no output{near.did_you_mean(key, known)}, {then}.",
        where=(f"loss_weights[{key!r}]",),
        evidence={"outputs": list(known), **evidence},
        fixes=_names(exam, key),
    )


def _expected(exam: Exam) -> dict[str, float]:
    """{output path: the weight that was named for it}: by key where weights is a dict, by declared place where it is a list."""
    weights, outputs = exam.case.compile.loss_weights, exam.case.model.outputs
    if isinstance(weights, dict) and isinstance(outputs, dict):
        numbers = {k: float(v) for k, v in weights.items() if isinstance(v, int | float) and k in outputs}
        named = {path: v for k, v in numbers.items() for path in trees.paths(f"y_pred[{k!r}]", outputs[k])}
        # Where every key names an output, what no key names counts once; so it does beside any that does, where one loss is for all.
        told = named and (trees.is_leaf(exam.case.compile.loss) or all(k in outputs for k in weights))
        others = [k for k in outputs if k not in weights] if told else []
        return named | {path: 1.0 for k in others for path in trees.paths(f"y_pred[{k!r}]", outputs[k])}
    if isinstance(weights, dict) and exam.case.model.output_names:
        names = exam.case.model.output_names
        told = all(k in names for k in weights)
        return {
            path: float(weights.get(name, 1.0))
            for path, name in zip(shared.flat_outputs(exam), names, strict=False)
            if isinstance(weights.get(name, 1.0 if told else None), int | float)
        }
    if exam.declared is not None and "loss_weights" in exam.declared.changed:
        return dict(exam.declared.weights)
    return {}


def _fix(exam: Exam, expected: dict[str, float]) -> Fix:
    title = "weights in the losses' container, by the same names"
    loss, outputs = exam.case.compile.loss, exam.case.model.outputs
    paths = shared.flat_outputs(exam)
    by_hand = repairs.by_hand(title, "compile", "which weight belongs to which loss is not written")
    if not all(path in expected for path in paths):
        return by_hand
    if isinstance(loss, dict) and not isinstance(outputs, dict):
        names = exam.case.model.output_names or ()
        return repairs.compile_argument(
            title,
            "loss_weights",
            {n: expected[p] for n, p in zip(names, paths, strict=False)},
        )
    if trees.is_leaf(loss):
        each = trees.map_leaves(lambda _: At("loss"), outputs)
        weights = trees.pack(outputs, [expected[path] for path in paths])
        return repairs.compile_argument(title, "loss_weights", weights, more=(CompileEdit("loss", each),))
    if isinstance(loss, dict) and isinstance(outputs, dict):
        packed = trees.pack(outputs, [expected[path] for path in paths])
        trained = {k: v for k, v in packed.items() if loss.get(k) is not None}
        return repairs.compile_argument(title, "loss_weights", trained)
    if not isinstance(loss, dict) and not isinstance(outputs, dict):
        return repairs.compile_argument(title, "loss_weights", trees.pack(outputs, [expected[path] for path in paths]))
    return by_hand


def _names(exam: Exam, key: str) -> tuple[Fix, ...]:
    """The weights with the unknown key by the name of an output that has no weight yet."""
    weights = exam.case.compile.loss_weights
    own = shared.by_own_names(exam, "loss_weights")
    if own is not None:
        tree = trees.map_leaves(lambda leaf: 1.0 if leaf is None else leaf, own)
        return (repairs.compile_argument("nest the weights like the outputs", "loss_weights", tree),)
    free = [str(name) for name in shared.names(exam) if name not in weights]
    if not free:
        kept = {k: v for k, v in weights.items() if str(k) != key}
        return (repairs.compile_argument(f"leave {key!r} out", "loss_weights", kept or None, "review"),)
    meant = (near.nearest(key, free) or free)[0]
    tree = {(meant if str(k) == key else k): v for k, v in weights.items()}
    certain = len(free) == 1
    return (
        repairs.compile_argument(f"rename {key!r} to {meant!r}", "loss_weights", tree, "safe" if certain else "review"),
    )


_LIST = """\
i = keras.Input((4,))
model = keras.Model(i, [layers.Dense(1, name="z")(i), layers.Dense(1, name="a")(i)])
x, y = np.ones((8, 4)), [np.ones((8, 1)), np.zeros((8, 1))]
"""
_GROUP = """\
i = keras.Input((4,))
pair = [layers.Dense(1, name="z")(i), layers.Dense(1, name="a")(i)]
model = keras.Model(i, {"pair": pair, "cls": layers.Dense(1)(i)})
x, y = np.ones((8, 4)), {"pair": [np.ones((8, 1)), np.zeros((8, 1))], "cls": np.ones((8, 1))}
"""
_DICT = """\
i = keras.Input((4,))
model = keras.Model(i, {"z": layers.Dense(1)(i), "a": layers.Dense(1)(i)})
x, y = np.ones((8, 4)), {"z": np.ones((8, 1)), "a": np.zeros((8, 1))}
"""

RULE = Rule(
    code="LD511",
    name="weights-mispaired",
    category="loss-weights",
    summary="Weights meet other losses than they name.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "names for outputs in a list further down",
            _GROUP
            + 'model.compile(loss={"pair": ["mse", "mse"], "cls": "mse"}, loss_weights={"pair": {"z": 100, "a": 1}, "cls": 1})\n',
            "error",
        ),
        Example(
            "a dict of weights for a list of losses",
            _LIST + 'model.compile(loss=["mse", "mse"], loss_weights={"z": 100.0, "a": 1.0})\n',
            "error",
            since="3.5",
        ),
        Example(
            "a list of weights for a dict of losses",
            _DICT + 'model.compile(loss={"z": "mse", "a": "mse"}, loss_weights=[100.0, 1.0])\n',
            "error",
            since="3.5",
        ),
        Example(
            "a misspelt key",
            _DICT + 'model.compile(loss={"z": "mse", "a": "mse"}, loss_weights={"zz": 100.0, "a": 1.0})\n',
            "warning",
            since="3.5",
        ),
    ),
    good=(
        Example(
            "the same names",
            _DICT + 'model.compile(loss={"z": "mse", "a": "mse"}, loss_weights={"z": 100.0, "a": 1.0})\n',
        ),
        Example("two lists", _LIST + 'model.compile(loss=["mse", "mse"], loss_weights=[100.0, 1.0])\n'),
    ),
)
