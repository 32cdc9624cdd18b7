"""Markdown, for a step summary or a comment: the verdict, the pairing table, the findings, what was not checked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lossdoctor.report import words
from lossdoctor.report.printable import one_line, printable
from lossdoctor.types import Finding, ReportData, Severity

_SIGN: dict[Severity, str] = {"error": "❌", "warning": "⚠️", "info": "ℹ️"}
# What means something anywhere in a line, and what does only at its start.
_SPECIAL = re.compile(r"[\\`*\[|~$]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])|:(?=\S)|!(?=\[)")
_FIRST = re.compile(r"\A(?:[-+#=]|\d+(?=[.)](?:\s|\Z)))")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_NOT_PLAIN = re.compile(r"[^0-9A-Za-z \u0080-\U0010ffff]")


def render(report: ReportData) -> str:
    """The whole document, in GitHub's Markdown."""
    report = printable(report)
    parts = [f"## lossdoctor: {escape(words.HEADLINE[report.verdict])}", _subject(report), _table(report)]
    parts += [_outcomes(report)]
    for finding in report.findings:
        head = f"### {_SIGN[finding.severity]} {finding.severity} {finding.code} {escape(finding.name)}"
        parts += [head, finding_body(finding)]
    unchecked = words.unchecked(report)
    if unchecked:
        parts += ["### Not checked", "\n".join(f"- {escape(line)}" for line in unchecked)]
    return "\n\n".join([*parts, escape(words.summary(report))]) + "\n"


def finding_body(finding: Finding) -> str:
    """The message, the evidence and the fixes of one (printable) finding."""
    return "\n\n".join(_body(finding))


def _body(finding: Finding) -> Iterator[str]:
    yield escape(finding.message)
    evidence = [f"- {escape(key)}: {escape(value)}" for key, value in words.evidence(finding.evidence)]
    if evidence:
        yield "\n".join(evidence)
    for fix in finding.fixes:
        proof = words.fix_proof(fix)
        yield f"**→ {escape(words.fix_title(fix))}**" + (f"  \n{escape(proof)}" if proof else "")
        if fix.code:
            yield block(fix.code)


def _subject(report: ReportData) -> str:
    return f"Model {code(report.model_source)}, batch {code(report.batch_source)}."


def _table(report: ReportData) -> str:
    if not report.pairs:
        return f"No pairing: {escape(words.why_no_pairs(report))}."
    rows = ["| " + " | ".join(words.COLUMNS) + " |", "| --- | --- | --- | ---: | --- | ---: |"]
    crossed = words.in_error(report)
    for pair in report.pairs:
        output, target, loss, weight, shapes, value = words.cells(pair)
        sign = f"{_SIGN['error']} " if {pair.output, pair.target} & crossed else ""
        named = code(target) if pair.target else escape(target)
        cells = [sign + code(output), named, code(loss), escape(weight), escape(shapes), escape(value)]
        rows.append("| " + " | ".join(cells) + " |")
    untrained = words.untrained(report)
    said = f"\n\nWithout a loss: {', '.join(map(code, untrained))}" if untrained else ""
    return "What Keras trains, an output a line:\n\n" + "\n".join(rows) + said


def _outcomes(report: ReportData) -> str:
    lines = []
    for label, outcome in words.outcomes(report):
        word, detail = words.said(outcome)
        lines.append(f"- {code(label)} {word}" + (f": {escape(detail)}" if detail else ""))
    return "\n".join(lines)


def escape(text: str) -> str:
    """`text` on one line, to be read as it is: no markup, no HTML, no cell border, no link."""
    line = _SPECIAL.sub(lambda m: "\\" + m[0], one_line(text).translate(_ENTITIES))
    first = _FIRST.match(line)
    if first is None:
        return line
    return line[: first.end()] + "\\" + line[first.end() :] if first[0].isdigit() else "\\" + line


def code(text: str) -> str:
    """`text` on one line in code type, in a table or out of one."""
    line = one_line(text)
    if line and not set(line) & set("`|\\<"):
        return f"`{line}`"
    # Inside backticks nothing can be escaped; inside the tag everything can.
    return "<code>" + _NOT_PLAIN.sub(lambda m: f"&#{ord(m[0])};", line) + "</code>"


def block(source: str) -> str:
    """`source` as a block of Python, behind a fence longer than any that it holds."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", source)), default=0))
    return f"{fence}python\n{source.rstrip()}\n{fence}"
