"""Random damage to batches, configs and arguments: `python -m tests.hostile.fuzz SECONDS [SEED]` goes on until time is up.

Each target takes a source of chance and either reads what it makes, or raises `CaseError`; anything else is a bug.
`tests.hostile.guided` runs the same targets guided by their coverage.
"""

from __future__ import annotations

import copy
import json
import random
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from lossdoctor.types import CaseError
from tests.hostile.build import (
    SOUND,
    called,
    dense,
    described,
    functional,
    header,
    layer,
    npy,
    sequential,
    tensor,
    zipped,
)

WORDS = [
    "", "x", "y", "sample_weight", "y/0", "y/1", "y/a", "arr_0", "arr_1", "__tree__", "leaf", "list", "tuple", "dict", "ordereddict",
    "namedtuple", "scalar", "none", "kind", "items", "key", "value", "name", "fields", "class_name", "config", "module", "layers",
    "function", "keras", "keras.layers", "keras.losses", "builtins", "os", "Dense", "Input", "InputLayer", "Lambda", "Functional",
    "Sequential", "relu", "mse", "float32", "int32", "object", "string", "é", "\ud800", "\x00", "a" * 3000, "__class__", "class", "0", "1",
    "__keras_tensor__", "__numpy__", "__slice__", "__lambda__", "registered_name", "inbound_nodes", "batch_shape", "units", "<f4",
]  # fmt: skip
NUMBERS = [0, 1, -1, 2, 7, 8, 255, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e308, float("inf"), float("nan")]


def value(chance: random.Random, depth: int = 3) -> Any:
    """Any JSON value, with a leaning to words that mean something here."""
    kind = chance.randrange(8 if depth else 5)
    if kind == 0:
        return None
    if kind == 1:
        return chance.random() < 0.5
    if kind == 2:
        return chance.choice(NUMBERS)
    if kind in (3, 4):
        return chance.choice(WORDS)
    if kind == 5:
        return {chance.choice(WORDS): value(chance, depth - 1) for _ in range(chance.randrange(4))}
    return [value(chance, depth - 1) for _ in range(chance.randrange(4))]


def places(node: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every place in a JSON document."""
    found: list[tuple[Any, Any]] = []
    stack = [node]
    while stack:
        here = stack.pop()
        keys: Any = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        found += [(here, key) for key in keys]
        stack += [here[key] for key in keys]
    return found


def mutated(document: Any, chance: random.Random) -> Any:
    """The document with a few places changed, taken away, doubled or exchanged."""
    made = copy.deepcopy(document)
    for _ in range(chance.randrange(1, 4)):
        known = places(made)
        if not known:
            return value(chance)
        container, key = chance.choice(known)
        other, place = chance.choice(known)
        act = chance.randrange(5)
        if act == 0:
            del container[key]
        elif act == 1 and isinstance(container, dict):
            container[chance.choice(WORDS)] = container.pop(key)
        elif act == 2 and isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        elif act == 3:
            container[key] = copy.deepcopy(other[place])
        else:
            container[key] = value(chance)
    return made


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with some of them changed, cut out or doubled."""
    made = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        if not made:
            break
        place = chance.randrange(len(made))
        act = chance.randrange(4)
        if act == 0:
            made[place] = chance.randrange(256)
        elif act == 1:
            made[place : place + chance.randrange(1, 30)] = b""
        elif act == 2:
            made[place:place] = made[place : place + chance.randrange(1, 30)]
        else:
            made[place] ^= 1 << chance.randrange(8)
    return bytes(made)


ARRAYS = (
    npy(np.ones((8, 4), "float32")),
    npy(np.asfortranarray(np.ones((8, 4)))),
    npy(np.array(3)),
    npy(np.array(["a", "b"])),
    npy(np.zeros((8, 0))),
    npy(np.zeros(8, dtype=[("a", "i4"), ("b", "f4", (2,))])),
)
TREE = {
    "version": 1,
    "x": {"kind": "leaf", "key": "x"},
    "y": {
        "kind": "namedtuple",
        "name": "T",
        "fields": ["a", "b"],
        "items": [
            {"kind": "ordereddict", "items": [["p", {"kind": "leaf", "key": "y/0"}], ["q", {"kind": "none"}]]},
            {"kind": "tuple", "items": [{"kind": "scalar", "value": 1.5}, {"kind": "list", "items": []}]},
        ],
    },
}
_DESCRIPTIONS = (
    "<f8",
    "<f4",
    "|b1",
    "<U3",
    "|S2",
    "O",
    "<M8[s]",
    "<c8",
    "|V4",
    "<U0",
    [("a", "<f4"), ("b", "O")],
    "x",
    3,
    None,
    [],
)


def _array(chance: random.Random) -> bytes:
    act = chance.randrange(4)
    if act == 0:
        return chance.choice(ARRAYS)
    if act == 1:
        return damaged(chance.choice(ARRAYS), chance)
    if act == 2:
        shape = tuple(chance.choice(NUMBERS) for _ in range(chance.randrange(4)))
        return described(chance.choice(_DESCRIPTIONS), shape, bytes(chance.randrange(80)), chance.random() < 0.5)
    return header(
        chance.choice(["{", "[]", "{'shape': 1}", "()", "''", "-" * 500, "[" * 500]), b"", chance.choice([1, 2, 3])
    )


KEYS = (
    "y",
    "y/0",
    "y/1",
    "y/a",
    "y/a/b",
    "y/b",
    "x/0",
    "x/a",
    "sample_weight",
    "sample_weight/0",
    "arr_0",
    "arr_1",
    "a",
)


def _archive(chance: random.Random) -> bytes:
    """A sound batch in which a thing or two is not."""
    members: dict[str, Any] = {"x.npy": ARRAYS[0], "y.npy": ARRAYS[0]}
    if chance.random() < 0.5:
        members = {f"{chance.choice(KEYS)}.npy": chance.choice(ARRAYS) for _ in range(chance.randrange(1, 5))}
    if chance.random() < 0.3:
        members[f"{chance.choice(WORDS)[:200]}.npy"] = ARRAYS[0]
    if chance.random() < 0.5:
        members[chance.choice([*members])] = _array(chance)
    if chance.random() < 0.3:
        members |= {
            "x.npy": ARRAYS[0],
            "y/0.npy": ARRAYS[0],
            "__tree__.npy": npy(np.array(json.dumps(mutated(TREE, chance)))),
        }
    packed = chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    # `zipfile` writes no name that is empty up to a NUL; damage puts them there.
    members = {k.encode("utf-8", "replace").decode().replace("\x00", "N"): v for k, v in members.items()}
    data = zipped(members, compression=packed)
    return damaged(data, chance) if chance.random() < 0.3 else data


def batch(chance: random.Random) -> None:
    """A damaged batch file is read to its rows."""
    from lossdoctor import trees
    from lossdoctor.case.batch import load_batch
    from lossdoctor.case.rows import cut, rows_of
    from lossdoctor.types import ArrayRef

    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        file.write(_archive(chance))
        file.flush()
        found = load_batch(file.name, ("x",), ("y", "a"))
        rows_of(found)
        held = cut(found)
        for tree in (held.x, held.y, held.sample_weight):
            for leaf in trees.values(tree) if tree is not None else []:
                if isinstance(leaf, ArrayRef):
                    leaf.rows(3)


def tree(chance: random.Random) -> None:
    """A damaged `__tree__`."""
    from lossdoctor.case import tree_json

    text = json.dumps(mutated(TREE, chance))
    arrays: Any = {"x": np.ones(3), "y/0": np.ones(3)}
    tree_json.read(text[: chance.randrange(len(text))] if chance.random() < 0.2 else text, arrays, "b.npz")


CONFIGS = (
    SOUND,
    sequential(dense("a", activation="relu"), layer("Dropout", name="o", rate=0.5), dense("b", units=3)),
    functional(
        called(dense("a"), tensor("i")),
        called(layer("Concatenate", name="c"), [tensor("a", (None, 1)), tensor("i")]),
        called(layer("Reshape", name="r", target_shape=[5, 1]), tensor("c", (None, 5))),
        called(layer("Flatten", name="d"), tensor("r", (None, 5, 1))),
        output={"z": ["a", 0, 0], "w": ["d", 0, 0]},
    ),
    {
        **SOUND,
        "compile_config": {"loss": layer("MeanSquaredError", "keras.losses"), "metrics": ["mae"], "loss_weights": [1]},
    },
)


def document(chance: random.Random) -> None:
    """A damaged model file is read, and its objects looked up."""
    from lossdoctor.case import allowed, archive

    text = json.dumps(mutated(chance.choice(CONFIGS), chance)).encode()
    data = zipped({"config.json": damaged(text, chance) if chance.random() < 0.3 else text})
    with tempfile.NamedTemporaryFile(suffix=".keras") as file:
        file.write(damaged(data, chance) if chance.random() < 0.3 else data)
        file.flush()
        read = archive.read_model_config(file.name)
        allowed.refused(archive.named_objects(read.config), {}, False)
        archive.attempts(read.config)


def config(chance: random.Random) -> None:
    """A changed config is made into a model and its compile arguments, by Keras."""
    from lossdoctor.case import model
    from lossdoctor.case.archive import ModelArchive

    made = mutated(chance.choice(CONFIGS), chance)
    if not isinstance(made, dict):
        return
    read = ModelArchive("m.keras", made)
    live = model.rebuild(read, {}, False)
    model.saved_arguments(read, live, {}, False, need_loss=True)
    model.moved_layers(read, live)
    spec = model.describe_open(live, "m.keras")
    assert spec.outputs is not None


def argument(chance: random.Random) -> None:
    """`--loss` and the others."""
    from lossdoctor.case import arguments

    text = json.dumps(value(chance, 4))
    for option in ("--loss", "--metrics", "--loss-weights"):
        found = arguments.parse_argument(option, text)
        if option == "--loss":
            arguments.resolve_losses(found, {})
        elif option == "--metrics":
            arguments.resolve_metrics(found, {})
        else:
            arguments.check_loss_weights(found)


TARGETS: dict[str, Callable[[random.Random], None]] = {
    "batch": batch,
    "tree": tree,
    "document": document,
    "config": config,
    "argument": argument,
}


def attempt(target: str, chance: random.Random) -> BaseException | None:
    """What this target raises besides `CaseError`; None is right."""
    try:
        TARGETS[target](chance)
    except CaseError:
        return None
    except Exception as error:
        return error
    return None


def tell(target: str, made_of: object, error: BaseException, seen: set[Any]) -> None:
    """Prints what was found, once for each line of code that raises."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    key = (target, type(error).__name__, last.filename, last.lineno)
    if key not in seen:
        seen.add(key)
        print("FOUND", target, made_of, repr(error)[:200], flush=True)
        traceback.print_tb(error.__traceback__, limit=-4, file=sys.stdout)


def main(seconds: float, first: int) -> None:
    end, seed = time.monotonic() + seconds, first
    seen: set[Any] = set()
    counts = dict.fromkeys(TARGETS, 0)
    spent = dict.fromkeys(TARGETS, 0.0)
    while time.monotonic() < end:
        name = min(spent, key=lambda n: spent[n])
        began = time.process_time()
        error = attempt(name, random.Random(seed))
        took = time.process_time() - began
        spent[name] += took
        counts[name] += 1
        if took > 5:
            print("SLOW", name, seed, round(took, 1), flush=True)
        if error is not None:
            tell(name, seed, error, seen)
        seed += 1
    print(counts, {n: round(s) for n, s in spent.items()}, "next seed", seed, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
