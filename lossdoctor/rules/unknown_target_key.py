"""
## What it sees
The targets are a dict with a key that is no output of the model.

## Why it matters
With a loss on every output Keras raises, with a message about something else. With losses on some outputs only it
does not look at the keys at all: the remaining targets are dealt out by sorted position, so a misspelt key can
train one output on another's target.

## What to do
Rename the key to the output's name, or drop the entry.

## Measured
Keras 3.15.1, TensorFlow. Outputs `{"box", "cls"}`, targets `{"bbox", "cls"}`: the loss is handed the *string* "bbox" and
raises "Cannot convert 'bbox' to EagerTensor". An extra key: "y_true and y_pred have different structures". With
`loss={"box": "mse"}` and targets `{"bbox": ...}`: silent, paired by position. Keras 3.4.1, JAX: targets with unknown keys are left out without a word.
Keras 3.15.1, both: outputs `{"pair": [z, a]}` with targets `{"pair": {"size": t, "place": u}}`, and a loss for each: z is trained on u. Outputs `[m, [z, a]]` with targets `{"z": t, "pair": [u, v]}`: all are dealt out by sorted position, m is trained on u.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lossdoctor import near, trees
from lossdoctor.facts import Exam
from lossdoctor.rules import repairs, shared
from lossdoctor.rules.rule import Example, Fix, Rule
from lossdoctor.types import ArrayRef, Finding, Grade


def check(exam: Exam) -> Iterator[Finding]:
    """Keys of target dicts that name no output."""
    for path, known, given in key_nodes(exam):
        outputs = set(known)
        unknown = [key for key in given if key not in outputs and not _deeper(exam, str(key))]
        if not unknown:
            continue
        node = _Node(path, known, given, [name for name in known if name not in given], _group_names(exam, path))
        for key in unknown:
            yield from _judge(exam, node, str(key), given[key])
    for path, names, given in shared.dicts_for_lists(exam, "y", exam.case.batch.y):
        yield from _in_list(exam, path, names, given)


@dataclass(frozen=True)
class _Node:
    """A dict of targets: its path, the outputs' names there, those of them that no target has, and those of several outputs."""

    path: str
    known: tuple[str, ...]
    given: dict[str, object]
    left: list[str]
    groups: set[str]


def _deeper(exam: Exam, key: str) -> bool:
    """The name of an output further down: that is LD102's."""
    outputs = exam.case.model.outputs
    nested = isinstance(outputs, dict) and any(not trees.is_leaf(v) for v in outputs.values())
    return nested and key in {shared.last_key(path) for path in shared.output_paths(exam)}


def key_nodes(exam: Exam) -> Iterator[tuple[str, tuple[str, ...], dict[str, object]]]:
    """(path, the outputs' names there, the dict of targets) for every dict of targets that meets several outputs."""
    outputs, y = exam.case.model.outputs, exam.case.batch.y
    for path, output, given in shared.nodes("y", outputs, y):
        if isinstance(given, dict) and isinstance(output, dict):
            yield path, tuple(output), given
        elif (
            isinstance(given, dict)
            and path == "y"
            and isinstance(output, list | tuple)
            and exam.case.model.output_names
        ):
            yield path, exam.case.model.output_names, given


def _in_list(exam: Exam, path: str, names: dict[str, str], given: dict[str, object]) -> Iterator[Finding]:
    """Keys of which some name none of the outputs, which stand in a list: Keras deals their targets out in sorted order, and no key says that it should not."""
    unknown = [key for key in given if key not in names.values()]
    if not unknown or shared.raises(exam):
        return
    meant = [*shared.keys_meant(names, given).values()]
    met = {output: shared.last_key(target) for _, output, target in shared.pairs(exam) if output in names}
    crossed = [o for o, name in names.items() if name in given and met.get(o) != name]
    alike = _alike([*given.values()], exam.case.rows) or (
        not crossed and _alike([given[k] for k in unknown], exam.case.rows)
    )
    if {*met} != {*names} or alike:
        return
    luck = not crossed and [met[o] for o in names] == meant
    first = next(iter(crossed or names))
    where = f"{path}[{str(unknown[0])!r}]"
    yield RULE.finding(
        "warning" if luck else "error",
        "risk" if luck else "silent",
        f"{where} names no output of the model. The outputs of {path} stand in a list or tuple, and Keras deals a dict out to them in sorted-key order, without a "
        f"word: {first} is trained on {path}[{met[first]!r}]{', as written, by luck' if luck else ''}.",
        where=(where, first),
        evidence={"outputs": [name or "?" for name in names.values()], "targets": [str(key) for key in given]},
        fixes=(
            repairs.statement(
                "give the targets by place, as the outputs are",
                f"y = {repairs.put(exam.case.batch.y, 'y', path, '[' + ', '.join(f'{path}[{key!r}]' for key in meant) + ']')}",
                "review",
            ),
        ),
    )


def _alike(targets: list[object], rows: int) -> bool:
    """True where several targets hold the same values: whose is whose does not matter."""
    arrays = [target.rows(rows) for target in targets if isinstance(target, ArrayRef)]
    same = all(a.shape == arrays[0].shape and bool((a == arrays[0]).all()) for a in arrays)
    return len(arrays) == len(targets) > 1 and same


def _judge(exam: Exam, node: _Node, key: str, target: object) -> Iterator[Finding]:
    here = f"{node.path}[{key!r}]"
    free = [name for name in node.left if (name in node.groups) != trees.is_leaf(target)]
    # A key that no output lacks is an extra one, not a slip of the pen.
    meant = (near.nearest(key, free) or free * (len(node.left) == 1))[:1] if free else []
    hint = f"; did you mean {meant[0]!r}?" if meant else ""
    fixes = _fixes(exam, node, key, meant, free)
    evidence: dict[str, object] = {"outputs": list(node.known), "targets": [str(k) for k in node.given]}
    if shared.raises(exam):
        if exam.fit.stage in shared.DISPATCH or shared.raised_on_strings(exam):
            evidence["error"] = shared.error(exam)
            message = (
                f"{here} names no output of the model{hint} fit raises."
                if hint
                else (f"{here} names no output of the model, and fit raises.")
            )
            yield RULE.finding("error", "raises", message, where=(here,), evidence=evidence, fixes=fixes)
        return
    pairs = [
        (output, target)
        for _, output, target in shared.pairs(exam)
        if target is not None and shared.below(target, here)
    ]
    met = [output for output, _ in pairs]
    if met in _groups(exam):
        return  # a group in a list has no name
    left = shared.untrained(exam)
    if left and not met:
        message = (
            f"{here} names no output of the model{hint or ';'} Keras {exam.case.environment.keras} leaves it out, and "
            f"{shared.listed(left)} {'is' if len(left) == 1 else 'are'} not trained."
        )
        yield RULE.finding("error", "silent", message, where=(here, *left), evidence=evidence, fixes=fixes)
        return
    if not met:
        return
    group = f"y_pred{node.path[1:]}[{meant[0]!r}]" if meant else ""
    in_place = all(output.removeprefix(group) == target.removeprefix(here) for output, target in pairs)
    if meant and (shared.last_key(met[0]) == meant[0] or in_place):
        message = f"{here} names no output of the model{hint} Keras pairs it with {met[0]} by sorted position, by luck."
        yield RULE.finding("warning", "risk", message, where=(here, met[0]), evidence=evidence, fixes=fixes)
    else:
        message = (
            f"{here} names no output of the model; Keras trains {met[0]} on {'it' if pairs[0][1] == here else pairs[0][1]}, "
            "by sorted position, without a word."
        )
        yield RULE.finding("error", "silent", message, where=(here, met[0]), evidence=evidence, fixes=fixes)


def _fixes(exam: Exam, node: _Node, key: str, meant: list[str], free: list[str]) -> tuple[Fix, ...]:
    """`meant` is the name that the key is taken for, `free` those that it could be."""
    placed, here = _by_place(exam, node.path), f"{node.path}[{key!r}]"
    if placed is not None:
        return (placed,)
    if meant:
        return (_rekeyed(exam, node, key, meant[0], f"rename {key!r} to {meant[0]!r}"),)
    if not node.left:
        return (_rekeyed(exam, node, key, None, f"drop {here}"),)
    if not free:
        why = f"whose {here} is, is not written"
        return (repairs.by_hand("give y the outputs' names and containers", "batch", why),)
    return tuple(_rekeyed(exam, node, key, n, f"if {key!r} is {n!r}: rename it", "review") for n in free[:4])


def _group_names(exam: Exam, path: str) -> set[str]:
    """The keys under which several outputs stand; outputs in a list are called by their own names."""
    outputs = next(node for at, node, _ in shared.nodes("y", exam.case.model.outputs, exam.case.batch.y) if at == path)
    return {key for key, part in outputs.items() if not trees.is_leaf(part)} if isinstance(outputs, dict) else set()


def _groups(exam: Exam) -> list[list[str]]:
    """The outputs of each group in a list of outputs."""
    outputs = exam.case.model.outputs
    parts = trees.children(outputs) if isinstance(outputs, list | tuple) else ()
    return [trees.paths(f"y_pred{step}", part) for step, part in parts if not trees.is_leaf(part)]


def _by_place(exam: Exam, path: str) -> Fix | None:
    """The targets in a list like the outputs', where only one target has the containers of each group, and one is left for the only leaf."""
    outputs, given = exam.case.model.outputs, exam.case.batch.y
    if path != "y" or not _groups(exam) or not isinstance(given, dict) or len(given) != len(outputs):
        return None
    fitting = [[key for key in given if trees.paths("", given[key]) == trees.paths("", part)] for part in outputs]
    if any(len(keys) != 1 for keys in fitting):
        return None
    items = [f"y[{key!r}]" for [key] in fitting]
    return repairs.statement("give the targets by place, as the outputs are", f"y = [{', '.join(items)}]", "review")


def _rekeyed(exam: Exam, node: _Node, key: str, new: str | None, title: str, grade: Grade | None = None) -> Fix:
    """The dict with one key by another name, or without it."""
    path = node.path
    items = [(new if str(k) == key else k, f"{path}[{k!r}]") for k in node.given if str(k) != key or new is not None]
    body = shared.dict_code([(str(k), v) for k, v in items])
    return repairs.statement(
        title, f"y = {repairs.put(exam.case.batch.y, 'y', path, body)}", grade or ("review" if new is None else "safe")
    )


_MODEL = """\
i = keras.Input((4,))
model = keras.Model(i, {"box": layers.Dense(1)(i), "cls": layers.Dense(1)(i), "mask": layers.Dense(1)(i)})
x = np.ones((8, 4))
t = np.ones((8, 1))
"""
_TWO = 'model.compile(loss={"box": "mse", "mask": "mae"})\n'

RULE = Rule(
    code="LD201",
    name="unknown-target-key",
    category="key",
    summary="A target key that no output has, with the nearest name.",
    page=__doc__,
    check=check,
    bad=(
        Example(
            "a misspelt key",
            _MODEL + 'model.compile(loss="mse")\ny = {"bbox": t, "cls": 2 * t, "mask": 3 * t}\n',
            "error",
        ),
        Example(
            "a misspelt key under partial losses: mask is trained on y['xob']",
            _MODEL + _TWO + 'y = {"xob": t, "mask": 3 * t}\n',
            "error",
        ),
        Example(
            "names of no output, for outputs in a list further down",
            """\
i = keras.Input((4,))
pair = [layers.Dense(1, name="z")(i), layers.Dense(1, name="a")(i)]
model = keras.Model(i, {"pair": pair, "cls": layers.Dense(1)(i)})
model.compile(loss={"pair": ["mse", "mae"], "cls": "mse"})
x = np.ones((8, 4))
y = {"pair": {"size": np.ones((8, 1)), "place": np.zeros((8, 1))}, "cls": np.ones((8, 1))}
""",
            "error",
        ),
        Example(
            "a group that comes before a name",
            """\
i = keras.Input((4,))
pair = [layers.Dense(1, name="z")(i), layers.Dense(1, name="a")(i)]
model = keras.Model(i, [layers.Dense(1, name="m")(i), pair])
model.compile(loss=["mse", ["mae", "mae"]])
x = np.ones((8, 4))
y = {"z": np.ones((8, 1)), "pair": [np.zeros((8, 1)), 2 * np.ones((8, 1))]}
""",
            "error",
            since="3.7",
        ),
    ),
    good=(
        Example(
            "the outputs' own names",
            _MODEL + 'model.compile(loss="mse")\ny = {"box": t, "cls": 2 * t, "mask": 3 * t}\n',
        ),
        Example("partial losses, matching targets", _MODEL + _TWO + 'y = {"box": t, "mask": 3 * t}\n', since="3.6"),
    ),
)

__all__ = ["RULE", "key_nodes"]
