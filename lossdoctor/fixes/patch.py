"""The patch file: short Python that a person could have written, importing keras and numpy only."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from lossdoctor.fixes.code import Needs, NotTypable, activation_code, compile_code, literal, outputs_code
from lossdoctor.fixes.plan import Plan, Step
from lossdoctor.types import COMPILE_ARGUMENTS, ActivationEdit, BatchEdit, CaseError, CompileEdit, Finding, OutputsEdit

_WIDTH = 100


@dataclass(frozen=True)
class Patch:
    """A patch file's text, and what it leaves to a person."""

    text: str
    left: tuple[Finding, ...] = ()


def write_patch(plan: Plan) -> Patch | None:
    """The plan as Python, or None where nothing is to be changed.

    The text defines what is needed of `adapt_model(model)`, `compile_model(model)` and `adapt_batch(x, y,
    sample_weight=None)`. Raises `CaseError` for a loss or metric that cannot be written down.
    """
    if not plan.steps:
        return None
    try:
        return Patch(formatted(_text(plan)), plan.left)
    except NotTypable as error:
        raise CaseError(
            f"the patch cannot be written as Python: {error}; define it in a module and compile with that."
        ) from error


def _text(plan: Plan) -> str:
    needs = Needs()
    told: set[str] = set()
    arguments = _arguments(plan, needs)
    parts = [_model(plan, told, needs.kept), _compile(plan, arguments, told), _batch(plan, told)]
    parts = [part for part in parts if part]
    body = "\n\n\n".join([*needs.copied.values(), *needs.definitions.values(), *parts])
    imports = _imports(body, needs)
    return "\n".join([_head(plan), *imports]) + "\n\n\n" + body + "\n"


def formatted(text: str) -> str:
    """The text as the formatter `black` lays it out."""
    import black

    return black.format_str(text, mode=black.Mode(line_length=_WIDTH))


def _head(plan: Plan) -> str:
    case = plan.start.case
    lines = ['"""Repairs found by lossdoctor.', ""]
    lines += [f"Model: {_line(case.model.source)}", f"Batch: {_line(case.batch.source)}", ""]
    lines += textwrap.wrap(f"{_capital(plan.effect)}.", _WIDTH) if plan.effect else []
    if plan.left:
        lines += ["", "Left for you to decide:"]
        lines += [
            line
            for finding in plan.left
            for line in textwrap.wrap(
                f"{finding.code}: {_line(finding.message)}", _WIDTH, initial_indent="- ", subsequent_indent="  "
            )
        ]
    text = "\n".join(lines).rstrip()
    return text.replace("\\", "\\\\") + ('\n"""\n' if "\n" in text else '"""\n')


def _line(text: str) -> str:
    """User text inside the docstring: one line, and no end of it."""
    return " ".join(text.split()).replace('"""', "'''")


def _capital(text: str) -> str:
    return _line(text[:1].upper() + text[1:])


def _imports(body: str, needs: Needs) -> list[str]:
    plain = [line for name, line in (("keras", "import keras"), ("np", "import numpy as np")) if f"{name}." in body]
    used = {line for line in needs.imports if line != "from keras import ops" or "ops." in body}
    keras_like = sorted(line for line in used if line.startswith("from keras"))
    own = sorted(used - set(keras_like))
    return [*plain, *keras_like, *([""] if own and (plain or keras_like) else []), *own]


def _comment(steps: Sequence[Step], told: set[str]) -> list[str]:
    """Which rules, and what the repair was called (the first time)."""
    lines: list[str] = []
    for step in steps:
        head = f"{step.finding.code} {step.finding.name}"
        title = f"{_line(step.fix.title)}{' (review)' if step.fix.grade == 'review' else ''}"
        text = head if step.fix.title in told else f"{head}: {title}"
        told.add(step.fix.title)
        lines += textwrap.wrap(text, _WIDTH, initial_indent="    # ", subsequent_indent="    # ")
    return list(dict.fromkeys(lines))


def _model(plan: Plan, told: set[str], kept: bool) -> str:
    """`adapt_model`, where outputs are put into other containers or leave through another activation.

    `kept`: `compile_model` takes a loss from the model as it was compiled.
    """
    lines: list[str] = []
    for step in plan.steps:
        case = step.before.case
        for edit in step.fix.edits:
            if isinstance(edit, ActivationEdit):
                lines += [*_comment([step], told), f"    {activation_code(case, edit.output, edit.activation)}"]
            elif isinstance(edit, OutputsEdit):
                lines += [
                    *_comment([step], told),
                    f"    adapted = keras.Model(model.inputs, {outputs_code(case, edit.tree)})",
                    *(["    adapted.compile(optimizer=model.optimizer)"] if case.compile.compiled else []),
                    *(["    adapted.loss = model.loss"] if kept else []),
                    "    model = adapted",
                ]
    return "\n".join(["def adapt_model(model):", *lines, "    return model"]) if lines else ""


def _recompiled(plan: Plan) -> list[Step]:
    """The steps for which the model has to be compiled again."""
    kinds = (CompileEdit, OutputsEdit, ActivationEdit)
    return [s for s in plan.steps if any(isinstance(e, kinds) for e in s.fix.edits)]


def _arguments(plan: Plan, needs: Needs) -> list[str]:
    """What `model.compile` is called with; nothing where it need not be called."""
    if not _recompiled(plan):
        return []
    given, now = plan.start.case.compile, plan.end.case.compile
    arguments = ["optimizer=model.optimizer" if now.compiled else 'optimizer="adam"']
    for name in COMPILE_ARGUMENTS:
        if getattr(now, name) is not None:
            arguments.append(f"{name}={compile_code(name, given, now, needs)}")
        elif getattr(given, name) is not None and name in ("metrics", "weighted_metrics"):
            arguments.append(f"{name}=[]")  # None would keep those that were compiled before (`trainer.py: compile`)
    return arguments + [f"{name}={literal(value)}" for name, value in now.others.items()]


def _compile(plan: Plan, arguments: Sequence[str], told: set[str]) -> str:
    """`compile_model`, where an argument changed, or the model has to be compiled again because it changed."""
    if not arguments:
        return ""
    comment = _comment([s for s in _recompiled(plan) if any(isinstance(e, CompileEdit) for e in s.fix.edits)], told)
    lines = [f"        {argument}," for argument in arguments]
    return "\n".join(["def compile_model(model):", *comment, "    model.compile(", *lines, "    )", "    return model"])


def _batch(plan: Plan, told: set[str]) -> str:
    """`adapt_batch`, where x, y or the weights are given otherwise."""
    lines: list[str] = []
    for step in plan.steps:
        codes = [f"    {edit.code}" for edit in step.fix.edits if isinstance(edit, BatchEdit)]
        if codes:
            lines += [*_comment([step], told), *codes]
    if not lines:
        return ""
    return "\n".join(["def adapt_batch(x, y, sample_weight=None):", *lines, "    return x, y, sample_weight"])


__all__ = ["Patch", "formatted", "write_patch"]
