"""
## What it sees
A key in the dict of losses names no output, among them dotted paths such as "detection.bbox".

## Why it matters
Keras raises a `KeyError` that speaks of targets and outputs alike; it does not read dotted paths.

## What to do
Nest the losses like the outputs. A loss at a subtree gets the whole subtree; to put losses at two levels, give a list: the
subtree's loss first, then a dict for its parts. Below a list of
outputs, give one flat list of losses there: TensorFlow's wrappers hide what is nested in it.

## Measured
Keras 3.15.1, TensorFlow: `{"detection.bbox": "mse"}` raises "The path: ('detection.bbox',) in the `loss` argument, can't be found". Nested losses
work from 3.7 on: `{"detection": [whole, {"bbox": a, "confidence": b}]}` applies both levels. On a list of outputs, keys must be all of
`output_names`: "Expected keys [...]". `{"heads": [{"s": a, "b": b}]}` is read on JAX; on TensorFlow a list below the top of `loss` becomes a
`ListWrapper`, which `CompileLoss._build_nested` takes for several losses of one place, and fit raises a KeyError. Reported as keras-team/keras#20351 and #20358.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossdoctor import near, trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import At, Finding, Tree


def check(exam: Exam) -> Iterator[Finding]:
    """Keys of the loss dict that no output has, where fit raises for them."""
    loss = exam.case.compile.loss
    if not isinstance(loss, dict) or not shared.raised_in_dispatch(exam):
        return
    outputs = exam.case.model.outputs
    unknown = list(_unknown("loss", outputs, loss, exam.case.model.output_names or ()))
    dotted = [key for path, key, _ in unknown if path == "loss" and "." in key and _resolve(outputs, key) is not None]
    if dotted:
        yield RULE.finding(
            "error",
            "raises",
            f"loss[{dotted[0]!r}] is a dotted path, which Keras does not read: fit raises. Losses are nested like the outputs.",
            where=tuple(f"loss[{key!r}]" for key in dotted),
            evidence={"dotted paths": dotted, "error": shared.error(exam)},
            fixes=(repairs.compile_argument("nest the losses", "loss", _nested(loss)),),
        )
        return
    own = shared.by_own_names(exam, "loss") if unknown else None
    if own is not None:
        names = [key for _, key, _ in unknown]
        there = next(path for path in shared.output_paths(exam) if shared.last_key(path) == names[0])
        yield RULE.finding(
            "error",
            "raises",
            f"loss[{names[0]!r}] is the loss of {there}, which stands deeper: losses are nested like the outputs, and fit raises.",
            where=tuple(f"loss[{key!r}]" for key in names),
            evidence={"outputs": list(shared.names(exam)), "error": shared.error(exam)},
            fixes=(repairs.compile_argument("nest the losses", "loss", own),),
        )
        return
    if not unknown and exam.case.environment.backend == "tensorflow":
        yield from (_below_a_list(exam, path) for path in _named_in_lists("loss", outputs, loss))
    for path, key, known in unknown:
        guess = near.nearest(key, known)
        where = f"{path}[{key!r}]"
        if not known:
            yield RULE.finding(
                "error",
                "raises",
                f"{where} is a loss by name, and {_output(path)} is no dict of outputs: fit raises.",
                where=(where,),
                evidence={"error": shared.error(exam)},
                fixes=(
                    repairs.by_hand(
                        f"nest loss like the outputs: {shared.listed(_below(exam, path))}",
                        "compile",
                        "which output it is for is not written",
                    ),
                ),
            )
            continue
        yield RULE.finding(
            "error",
            "raises",
            f"{where} names no output{near.did_you_mean(key, known)}, and fit raises. The outputs there are {shared.listed([repr(k) for k in known])}.",
            where=(where,),
            evidence={"outputs": list(known), "error": shared.error(exam)},
            fixes=(
                *((_renamed(exam, path, key, guess[0]),) if guess else _choices(exam, path, key, known)),
                *(
                    ()
                    if guess
                    else (
                        repairs.by_hand(
                            "or use an output's name", "compile", f"which output {key!r} means is not written"
                        ),
                    )
                ),
            ),
        )


def _output(path: str) -> str:
    return "y_pred" + path.removeprefix("loss")


def _below(exam: Exam, path: str) -> list[str]:
    """The outputs for which the losses at `path` are."""
    there = _output(path)
    return [p for p in trees.paths("y_pred", exam.case.model.outputs) if shared.below(p, there)]


def _below_a_list(exam: Exam, path: str) -> Finding:
    given = exam.case.compile.loss
    flat = [At(p) if leaf is not None else None for p, leaf in trees.leaves("loss", given) if p.startswith(f"{path}[")]
    below = _below(exam, path)
    title = f"one flat list in {path}, in the order of {shared.listed(below)}"
    declared = [p for p, _ in trees.declared_leaves("y_pred", exam.case.model.outputs) if p in below]
    why = "some of these outputs have no loss" if len(flat) != len(below) else "" if declared == below else _UNORDERED
    return RULE.finding(
        "error",
        "raises",
        f"{path} is a list with losses by name inside, which Keras does not read on TensorFlow: fit raises.",
        where=(path,),
        evidence={"outputs there": below, "error": shared.error(exam)},
        fixes=(
            repairs.by_hand(title, "compile", why)
            if why
            else repairs.compile_argument(
                title, "loss", _replaced("loss", repairs.present(exam, "loss"), path, flat), "review"
            ),
        ),
    )


_UNORDERED = "the outputs are declared in another order, in which LD204 reads such a list"


def _replaced(here: str, tree: Tree, path: str, value: Tree) -> Tree:
    if here == path:
        return value
    if isinstance(tree, dict):
        return {k: _replaced(f"{here}[{k!r}]", v, path, value) for k, v in tree.items()}
    return tree


def _named_in_lists(path: str, outputs: Tree, loss: Tree) -> Iterator[str]:
    """The places where both are lists and the losses in it have names."""
    if isinstance(loss, dict) and isinstance(outputs, dict):
        for key, value in loss.items():
            yield from _named_in_lists(f"{path}[{key!r}]", outputs[key], value)
    elif isinstance(loss, list | tuple) and isinstance(outputs, list | tuple) and not all(map(trees.is_leaf, loss)):
        yield path


def _unknown(
    path: str, outputs: Tree, loss: Tree, names: tuple[str, ...]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(path of the dict, its key, the names that it could be) for every key that names nothing."""
    if isinstance(loss, list | tuple):
        by_place = isinstance(outputs, list | tuple) and len(outputs) == len(loss)
        for place, part in enumerate(loss):
            if by_place:
                yield from _unknown(f"{path}[{place}]", outputs[place], part, ())
            elif isinstance(part, dict):  # a subtree's own loss, then the losses of its parts
                yield from _unknown(path, outputs, part, names)
        return
    if not isinstance(loss, dict):
        return
    known = tuple(str(k) for k in outputs) if isinstance(outputs, dict) else names
    for key, value in loss.items():
        if key not in known:
            yield path, str(key), known
        elif isinstance(outputs, dict):
            yield from _unknown(f"{path}[{key!r}]", outputs[key], value, ())


def _resolve(outputs: Tree, dotted: str) -> Tree | None:
    node = outputs
    for step in dotted.split("."):
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list | tuple) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            return None
    return node


def _nested(loss: dict[str, Any]) -> Tree:
    """The dotted losses nested; a subtree that also has parts becomes a list."""
    tree: dict[str, Any] = {}
    for key in loss:
        node = tree
        for step in key.split("."):
            node = node.setdefault(step, {})
        node[""] = At(f"loss[{key!r}]")
    return _folded(tree)


def _folded(node: dict[str, Any]) -> Tree:
    own, parts = node.get(""), {k: _folded(v) for k, v in node.items() if k}
    return parts if own is None else ([own, parts] if parts else own)


def _renamed(exam: Exam, path: str, old: str, new: str) -> Fix:
    """The loss dict with one key by another name, in the same place."""
    tree = _rekeyed("loss", repairs.present(exam, "loss"), path, old, new)
    title = f"rename {old!r} to {new!r}"
    node = exam.case.model.outputs.get(new) if path == "loss" and isinstance(exam.case.model.outputs, dict) else None
    if not trees.is_leaf(node) and isinstance(exam.case.compile.loss[old], str):
        # Keras's losses take one tensor, not a subtree.
        title += ", once for each of its parts"
        tree[new] = trees.map_leaves(lambda _: tree[new], node)
    return repairs.compile_argument(title, "loss", tree)


def _choices(exam: Exam, path: str, key: str, known: tuple[str, ...]) -> tuple[Fix, ...]:
    """A key that is like no output's name may be any output that has no loss yet."""
    node = dict(next(_dicts_at("loss", repairs.present(exam, "loss"), path)))
    free = [name for name in known if name not in node]
    if not free and path == "loss":
        kept = {k: v for k, v in node.items() if k != key}
        return (repairs.compile_argument(f"leave {key!r} out", "loss", kept, "review"),)
    return tuple(
        _with_grade(_renamed(exam, path, key, name), f"if {key!r} is {name!r}: rename it") for name in free[:4]
    )


def _dicts_at(here: str, tree: Tree, path: str) -> Iterator[dict[str, Any]]:
    """The dicts of losses at `path`, by keys and places; a list at it may hold them."""
    if isinstance(tree, dict) and here == path:
        yield tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from _dicts_at(f"{here}[{key!r}]", value, path)
    elif isinstance(tree, list | tuple):
        for place, value in enumerate(tree):
            yield from _dicts_at(here, value, path)
            yield from _dicts_at(f"{here}[{place}]", value, path)


def _with_grade(fix: Fix, title: str) -> Fix:
    return Fix(title, fix.target, "review", edits=fix.edits)


def _rekeyed(here: str, tree: Tree, path: str, old: str, new: str) -> Tree:
    if isinstance(tree, dict):
        if here == path:
            return {(new if k == old else k): v for k, v in tree.items()}
        return {k: _rekeyed(f"{here}[{k!r}]", v, path, old, new) for k, v in tree.items()}
    if isinstance(tree, list):  # by place, or a subtree's own loss and the losses of its parts
        return [_rekeyed(here, _rekeyed(f"{here}[{i}]", v, path, old, new), path, old, new) for i, v in enumerate(tree)]
    return tree


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {
    "detection": {"bbox": layers.Dense(4)(i), "confidence": layers.Dense(1)(i)},
    "cls": layers.Dense(3)(i),
})
x = np.ones((8, 4))
y = {"detection": {"bbox": np.ones((8, 4)), "confidence": np.ones((8, 1))}, "cls": np.ones((8, 3))}
"""

_HEADS = """\
i = keras.Input((4,))
model = keras.Model(i, {"heads": [{"s": layers.Dense(1)(i), "t": layers.Dense(4)(i)}]})
x = np.ones((8, 4))
y = {"heads": [{"s": np.ones((8, 1)), "t": np.ones((8, 4))}]}
"""

RULE = Rule(
    code="LD501",
    name="loss-path-not-found",
    category="loss-config",
    summary="A loss key or dotted path that no output has.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "the names of outputs below a key",
            """\
i = keras.Input((4,))
found = {"bbox": layers.Dense(4)(i), "score": layers.Dense(1)(i)}
model = keras.Model(i, {"label": layers.Dense(1)(i), "found": found})
model.compile(loss={"label": "mse", "bbox": "mae", "score": "mse"})
x = np.ones((8, 4))
y = {"label": np.ones((8, 1)), "found": {"bbox": np.ones((8, 4)), "score": np.zeros((8, 1))}}
""",
            "error",
            since="3.7",
        ),
        Example(
            "dotted paths",
            _MODEL + 'model.compile(loss={"detection.bbox": "mse", "detection.confidence": "mae", "cls": "mse"})\n',
            "error",
        ),
        Example("a misspelt key", _MODEL + 'model.compile(loss={"detektion": "mse", "cls": "mse"})\n', "error"),
        Example("a name for one output", _HEADS + 'model.compile(loss={"heads": {"s": "mse"}})\n', "error"),
        Example(
            "names below a list of outputs",
            _HEADS + 'model.compile(loss={"heads": [{"s": "mse", "t": "mae"}]})\n',
            "error|tensorflow",
        ),
    ),
    good=(
        Example("one flat list below a list", _HEADS + 'model.compile(loss={"heads": ["mae", "mse"]})\n'),
        Example(
            "nested like the outputs",
            _MODEL + 'model.compile(loss={"detection": {"bbox": "mse", "confidence": "mae"}, "cls": "mse"})\n',
            since="3.5",
        ),
    ),
)
