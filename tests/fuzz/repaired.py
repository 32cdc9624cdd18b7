"""Every verified repair of a case, carried out on the real model and its batch, against the declared objective."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

import lossdoctor
from lossdoctor import _compiled
from lossdoctor.doctor import plan_repairs
from lossdoctor.fixes.apply import compile_value
from lossdoctor.types import ActivationEdit, At, BatchEdit, CompileEdit, Fix, Made, OutputsEdit
from tests.fuzz import judge, oracle, real
from tests.fuzz.spec import Case, Loss, mapped


class Untold(Exception):
    """A repair whose objective the oracle cannot compute: a new loss function, another activation, another x."""


def judge_repairs(case: Case) -> tuple[int, list[str]]:
    """How many verified repairs were judged, and what is wrong with which."""
    made = real.make(case)
    report = lossdoctor.check(made.model, made.batch)
    wrong, judged = [], 0
    bad = [f for f in report.findings if f.severity == "error"]
    # One of several errors repaired is a step, whose objective is not yet the declared one: then the plan of all is judged.
    fixes = {fix.edits: fix for f in bad for fix in f.fixes if fix.verified and fix.edits} if len(bad) == 1 else {}
    plan = plan_repairs(report.exam)
    if plan.steps and not any(f.severity == "error" for f in plan.left):
        grade: Any = "safe" if all(step.fix.grade == "safe" for step in plan.steps) else "review"
        fixes.setdefault(plan.edits, Fix("the plan", "batch", grade, edits=plan.edits))
    for fix in fixes.values():
        try:
            said = _judged(case, fix)
        except Untold:
            continue
        judged += 1
        if said:
            wrong.append(f"{fix.title} ({fix.grade}): {said}; {fix.code or fix.edits}")
    return judged, wrong


def _judged(case: Case, fix: Fix) -> str:
    """What is wrong with the repaired case; "" for nothing."""
    made = real.make(case)
    compiled = {"loss": mapped(real.loss, case.loss), "loss_weights": case.loss_weights}
    compiled["metrics"] = mapped(real.metric, case.metrics)
    arguments = _compiled.compile_args(made.model)
    told: Any = case
    model, x, y, weights = made.model, made.x, made.y, made.sample_weight
    for edit in fix.edits:
        if isinstance(edit, BatchEdit):
            space = {"x": x, "y": y, "sample_weight": weights, "np": np, "keras": keras}
            exec(edit.code, space)
            if space["x"] is not x:
                raise Untold
            y, weights = space["y"], space["sample_weight"]
            told = told and replace(told, y=mapped(np.asarray, y), sample_weight=mapped(np.asarray, weights))
        elif isinstance(edit, CompileEdit):
            # A later edit of a plan names what an earlier one made.
            compiled[edit.argument] = compile_value(arguments, edit)
            arguments = replace(arguments, **{edit.argument: compiled[edit.argument]})
            told = _told(told, edit)
        elif isinstance(edit, OutputsEdit):
            model = keras.Model(model.input, mapped(partial(_at, y_pred=model.output), edit.tree))
            told = told and replace(told, outputs=mapped(partial(_at, y_pred=told.outputs), edit.tree))
        else:
            assert isinstance(edit, ActivationEdit)
            raise Untold
    model.compile(optimizer=keras.optimizers.SGD(1.0), **compiled)
    ran = real.fit(case, real.Made(model, x, y, weights, made.kernels), whole=False)
    truth, why = judge.truth_of(_meant(case, told, fix), ran)
    return "" if truth == "right" else f"{truth}: {why}"


def _meant(case: Case, told: Case | None, fix: Fix) -> Any:
    """What the repaired case must be: the objective declared before, where the repair says that it keeps it."""
    if fix.grade == "safe":
        try:
            return oracle.declared(case)
        except (oracle.NoMeaning, oracle.Ambiguous):
            pass  # then what was repaired declares something, by itself
    if told is None:
        raise Untold
    try:
        return oracle.declared(told)
    except oracle.NoMeaning as nothing:
        return str(nothing)
    except oracle.Ambiguous as two:
        raise Untold from two


def _told(told: Case | None, edit: CompileEdit) -> Case | None:
    """The repaired compile argument in the oracle's terms; None where it has a new function."""

    def leaf(value: Any) -> Any:
        if isinstance(value, At):
            found = _at(value.path, loss=before.loss, loss_weights=before.loss_weights)
            if set(value.changes) - {"reduction"}:
                raise Untold
            return replace(found, **value.changes) if value.changes else found
        if isinstance(value, str):
            return Loss(value)
        if isinstance(value, int | float):
            return value
        if isinstance(value, Made) and set(value.arguments) <= {"reduction"}:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", value.name).lower()
            return Loss(name, "object", **value.arguments)
        raise Untold

    if told is None or edit.argument == "metrics":  # no part of the objective
        return told
    before = told
    try:
        return replace(told, **{edit.argument: mapped(leaf, edit.tree)})
    except Untold:
        return None


def _at(path: str, **roots: Any) -> Any:
    return eval(path, {"__builtins__": {}}, roots)
