"""The calls of a script that give data to a model, and what they give."""

from __future__ import annotations

from collections.abc import Mapping

import libcst as cst

from lossdoctor.fixes.compile_call import receiver
from lossdoctor.fixes.script import Script

# The positional order of the methods that take data, as far as data go.
METHODS = {
    "fit": {"x": 0, "y": 1, "validation_data": 7, "sample_weight": 10},
    "evaluate": {"x": 0, "y": 1, "sample_weight": 4},
    "train_on_batch": {"x": 0, "y": 1, "sample_weight": 2},
    "test_on_batch": {"x": 0, "y": 1, "sample_weight": 2},
    "predict": {"x": 0},
    "predict_on_batch": {"x": 0},
}


def method_of(call: cst.Call) -> str:
    assert isinstance(call.func, cst.Attribute)
    return call.func.attr.value


def arguments(call: cst.Call, places: Mapping[str, int]) -> dict[str, cst.BaseExpression] | None:
    """The data arguments of a call by name; None where a star hides them."""
    found: dict[str, cst.BaseExpression] = {}
    for at, arg in enumerate(call.args):
        if arg.star == "*":
            return None
        if arg.keyword is not None and arg.keyword.value in places:
            found[arg.keyword.value] = arg.value
        elif arg.keyword is None and not arg.star:
            found.update({name: arg.value for name, place in places.items() if place == at})
    return None if any(a.star for a in call.args) and "x" not in found else found


def find_calls(script: Script, compiled: list[cst.Call], others: list[cst.Call]) -> list[cst.Call]:
    """The calls that give data to the compiled model, in the order written. `others` compile other models."""
    calls = [c for c in script.calls if isinstance(c.func, cst.Attribute) and c.func.attr.value in METHODS and c.args]
    if not compiled:
        kept = [c for c in calls if _looks_like_keras(c)]
        return [c for c in calls if receiver(script, c) in {receiver(script, k) for k in kept}]
    name = receiver(script, compiled[0])
    elsewhere = {id(script.function(o)) for o in others if receiver(script, o) == name}
    home = script.function(compiled[0])
    made = _made_by(script, home) if home is not None else set()
    near = [
        c
        for c in calls
        if (receiver(script, c) == name and (script.function(c) is home or "." in name)) or receiver(script, c) in made
    ]
    if near and (home is not None or others):
        mine = [c for c in calls if receiver(script, c) == name and id(script.function(c)) not in elsewhere]
        return near if others else [c for c in calls if c in near or c in mine]
    named = [c for c in calls if receiver(script, c) == name and id(script.function(c)) not in elsewhere]
    if named or others:
        return named
    loose = [c for c in calls if _looks_like_keras(c)]
    if len({receiver(script, c) for c in loose}) != 1:
        return []
    return [c for c in calls if receiver(script, c) == receiver(script, loose[0])]


def _looks_like_keras(call: cst.Call) -> bool:
    known = {"epochs", "batch_size", "validation_data", "validation_split", "steps_per_epoch", "callbacks", "verbose"}
    return any(a.keyword is not None and a.keyword.value in known for a in call.args)


def _made_by(script: Script, function: cst.FunctionDef) -> set[str]:
    """The names that are assigned what a function returns."""
    found: set[str] = set()

    class Assigns(cst.CSTVisitor):
        def visit_Assign(self, node: cst.Assign) -> None:
            value = node.value
            if isinstance(value, cst.Call) and script.code(value.func).rpartition(".")[2] == function.name.value:
                found.update(script.code(t.target) for t in node.targets)

    script.module.visit(Assigns())
    return found
