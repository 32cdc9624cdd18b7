"""One case judged three times: by the declared objective, by the real Keras, by lossdoctor."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import lossdoctor
from tests.fuzz import oracle, real
from tests.fuzz.spec import Case, read

VERDICTS = ("right", "silent", "raises")


@dataclass(frozen=True)
class Judged:
    """`truth` is what Keras does, against what was declared; `said` what lossdoctor says. Both are of `VERDICTS`.

    `truth` is "ambiguous" where Keras runs and the declaration has no single meaning: then only "raises" is wrong.
    """

    case: Case
    truth: str
    said: str
    why: str
    codes: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    seconds: tuple[float, float, float] = (0, 0, 0)

    @property
    def agree(self) -> bool:
        """True where lossdoctor says what Keras does."""
        return self.truth == self.said or (self.truth == "ambiguous" and self.said != "raises")


def judge(case: Case, whole: bool = False) -> Judged:
    """The three verdicts on a case. Raises what lossdoctor raises, which is a bug of its own."""
    began = time.process_time()
    meant = meant_of(case)
    asked = time.process_time()
    made = real.make(case)
    report = lossdoctor.check(made.model, made.batch, repairs=False)
    said = {"clean": "right", "risk": "right"}.get(report.data.verdict, report.data.verdict)
    checked = time.process_time()
    ran = real.fit(case, made, whole)
    truth, why = truth_of(meant, ran)
    if (truth, said) == ("right", "silent"):
        truth, why = _by_other_numbers(case, whole)
    if report.data.outcomes["fit"].status == "raises" and said != "raises":
        said, why = "raises in a run, not in a finding", why
    return Judged(
        case,
        truth,
        said,
        why,
        tuple(f.code for f in report.findings if f.severity == "error"),
        tuple(f.code for f in report.findings if f.severity == "warning"),
        (asked - began, checked - asked, time.process_time() - checked),
    )


def meant_of(case: Case) -> Any:
    """What was declared: `Declared`, why nothing was, or `Ambiguous`."""
    try:
        return oracle.declared(case)
    except oracle.NoMeaning as nothing:
        return str(nothing)
    except oracle.Ambiguous as two:
        return two


def _by_other_numbers(case: Case, whole: bool) -> tuple[str, str]:
    """The truth of the same case with other random numbers: few rows may be right by luck of theirs.

    (mae and huber, exchanged, add up to the same where all errors are above 1.)
    """
    for step in range(1000, 6000, 1000):
        other = read(re.sub(r"seed=(\d+)", lambda found, step=step: f"seed={int(found[1]) + step}", repr(case)))
        truth, why = truth_of(meant_of(other), real.fit(other, real.make(other), whole))
        if truth != "right":
            return truth, f"with other numbers: {why}"
    return "right", ""


def truth_of(meant: Any, ran: real.Ran) -> tuple[str, str]:
    """What Keras did, against what was declared (`Declared`, why nothing was, or `Ambiguous`), and why it is not right."""
    if ran.error is not None:
        return "raises", ran.error
    if isinstance(meant, oracle.Ambiguous):
        return "ambiguous", str(meant)
    if isinstance(meant, str):
        return "silent", f"nothing was declared: {meant}"
    if not np.isclose(ran.value, meant.value, rtol=1e-4, atol=1e-5):
        return "silent", f"loss {ran.value:.6g}, declared {meant.value:.6g}"
    for name, wanted in meant.gradients.items():
        scale = max(float(np.max(np.abs(wanted))), 1e-2)
        if not np.allclose(ran.gradients[name], wanted, rtol=1e-3, atol=1e-3 * scale):
            return "silent", f"the gradient at {name} is not the declared one"
    return "right", ""
