"""Reports whose every name is chosen by a stranger."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from lossdoctor.types import Checks, Fix, Outcome, ReportData, Spec
from tests.report.cases import CLEAN, PAIR, SWAP

SPEC = Spec((8, 1), "float32")
FRAGMENTS = [
    "<script>alert(1)</script>",
    "</title></style></script></pre></code>",
    "<!--",
    "]]>",
    "&lt;&#60;&amp",
    '" onload="x',
    "' x='",
    "::error::x",
    "::",
    "%0A",
    "%25",
    "a,b:c",
    "|",
    "\\|",
    "\\",
    "`",
    "```",
    "``` python",
    "[a](http://b)",
    "![a](b)",
    "[a]: b",
    "# h",
    "- x",
    "1. x",
    "> q",
    "***",
    "---",
    "~~~",
    "$x$",
    "_a_",
    "{{ x }}",
    "{% x %}",
    "{0}",
    "\n",
    "\r\n",
    "\n\n    code",
    "\t",
    "\x00",
    "\x1b[31m",
    "\x85",
    "\u2028",
    "\u202e",
    "\udc80",
    "\ud800",
    "\ufffe",
    "\uffff",
    "é",
    "😀",
]
TEXTS = (
    st.lists(
        st.one_of(
            st.sampled_from(FRAGMENTS),
            st.text(st.characters(codec=None, exclude_categories=()), max_size=6),
        ),
        max_size=6,
    )
    .map("".join)
    .filter(lambda text: bool(text.split()))
)


def report(text: str) -> ReportData:
    """A report with `text` wherever a user's file can put one."""
    path = f"y_pred[{text!r}]"
    fix = Fix(text, "batch", "safe", text)
    raised = Outcome("raises", error=text)
    return replace(
        CLEAN,
        model_source=text,
        batch_source=text,
        compile_source=text,
        output_names=(text,),
        outputs={text: SPEC, "z": SPEC},
        y={text: SPEC},
        loss={text: text},
        loss_weights={text: 2.0},
        pairs=(
            replace(
                PAIR,
                output=path,
                target=f"y[{text!r}]",
                loss=text,
                loss_path=f"loss[{text!r}]",
                weight_path=f"loss_weights[{text!r}]",
            ),
        ),
        findings=(replace(SWAP, message=text, where=(path, text), evidence={text: text}, fixes=(fix,)),),
        outcomes={**CLEAN.outcomes, "fit": raised},
        checks=Checks(("LD101", "LD203"), {"LD402": text}, (text,)),
        verdict="silent",
    )
