"""Every message that the installed Keras gives, and those collected under other releases, are explained by the right rule."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import traceback
from typing import Any

import pytest

from lossdoctor.explain.find import explain, nearest
from lossdoctor.explain.message import Message
from lossdoctor.explain.table import MESSAGES
from lossdoctor.rules import RULES
from tests.cli.test_cli import COMMAND, call
from tests.explain.cases import BACKEND, CASES, message
from tests.explain.seen import COLLECTED, seen

# Cases that only older releases refuse; the newest trains on them, and `check` tells.
ONLY_BEFORE = {
    "loss list for one output",
    "a dict of weights for one loss",
    "weights under other names",
    "complex targets",
}
# What a backend lets pass.
PASSES = {
    "tensorflow": {"reduction none", "binary targets up to 255"},
    "jax": {
        "binary targets up to 255",
        "no loss",
        "label too large",
        "label too large, eager",
        "custom loss without gradient",
    },
    "torch": {"custom loss with a Python if"},
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_installed_keras_says_is_explained(name: str) -> None:
    text = message(CASES[name])
    if text is None:
        assert name in ONLY_BEFORE | PASSES[BACKEND]
        return
    found = explain(text)
    assert found is not None, text
    assert not CASES[name].rule or CASES[name].rule in found.message.rules, found.message.name


def test_what_was_collected_under_other_releases_is_explained() -> None:
    releases = {place for entry in COLLECTED for place in entry["seen"]}
    assert {"3.4.1 jax", "3.5.0 jax", "3.6.0 jax", "3.8.0 jax", "3.12.1 jax", "3.4.1 tensorflow"} <= releases
    for entry in COLLECTED:
        found = explain(entry["text"])
        assert found is not None, entry
        rule = CASES[entry["case"]].rule
        assert not rule or rule in found.message.rules, (entry["case"], entry["seen"], found.message.name)


def test_every_known_message_was_really_seen() -> None:
    assert {m.name: m.seen for m in MESSAGES} == seen()
    assert len(MESSAGES) == len({m.name for m in MESSAGES}) >= 60


@pytest.mark.parametrize("known", MESSAGES, ids=lambda m: m.name)
def test_the_table_is_well_made(known: Message) -> None:
    codes = {rule.code for rule in RULES}
    assert set(known.rules) <= codes and len(known.rules) == len(set(known.rules))
    assert 1 <= len(known.steps) <= 4
    groups = re.compile(known.pattern).groupindex
    assert set(re.findall(r"(?<!{){(\w+)}(?!})", " ".join([known.means, *known.steps]))) <= set(groups)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "ValueError: y_true and y_pred have different structures.\ny_true: ['*', '*', '*']\ny_pred: ['*', '*']\n",
            "The targets are arranged as ['*', '*', '*'], the outputs as ['*', '*']",
        ),
        (
            "Arguments `target` and `output` must have the same shape. Received: target.shape=(32,), output.shape=(32, 10)",
            "The targets have the shape (32,), the output (32, 10).",
        ),
        (
            "TypeError: sub got incompatible shapes for broadcasting: (4, 5), (4, 3).",
            "An array of the shape (4, 5) met one of the shape (4, 3)",
        ),
        (
            """KeyError: "The path: ('head.box',) in the `loss` argument, can't be found in either the model's output" """,
            "There is a loss for 'head.box', and",
        ),
        (
            "Received a label value of 255 which is outside the valid range of [0, 21).",
            "A target holds the class number 255, and the output has 21 classes",
        ),
        (
            "`loss_weights` must match the number of losses, got 1 losses and 3 weights.",
            "got 3 loss weights and 1 losses",
        ),
    ],
)
def test_the_message_s_own_shapes_and_keys_are_said(text: str, said: str) -> None:
    found = explain(text)
    assert found is not None and said in found.means
    assert "{" not in re.sub(r"\{'", "", found.means + "".join(found.steps))


def _traceback(name: str) -> str:
    try:
        CASES[name].provoke()
    except Exception:
        return traceback.format_exc()
    raise AssertionError(name)


def test_whole_tracebacks() -> None:
    plain = _traceback("three targets, losses in a list")
    wanted = explain(
        "ValueError: y_true and y_pred have different structures.\ny_true: ['*', '*', '*']\ny_pred: ['*', '*']"
    )
    pasted = {
        "plain": plain,
        "indented": "".join(f"    {line}\n" for line in plain.split("\n")),
        "windows": plain.replace("\n", "\r\n"),
        "coloured": plain.replace("ValueError", "\x1b[31mValueError\x1b[0m"),
        "after a log": "Epoch 1/3\n1/7 - loss: 3.1\n" + plain,
        "by a rank": "".join(f"[rank0]: {line}\n" for line in plain.split("\n")),
        "pytest": "\n".join(
            [
                "    def test():",
                ">       model.fit(x, y)",
                *(f"E       {line}" for line in plain[plain.rindex("ValueError:") :].strip().split("\n")),
                "a.py:3: ValueError",
            ]
        ),
        "notebook": "-----\nValueError                     Traceback (most recent call last)\nCell In[3], line 1\n----> 1 model.fit(x, y)\n\n"
        "File /site-packages/keras/src/trainers/compile_utils.py:690, in CompileLoss.build()\n    689 raise\n\n"
        + plain[plain.rindex("ValueError:") :],
    }
    for how, text in pasted.items():
        found = explain(text)
        assert found is not None and wanted is not None and found.message is wanted.message, how
        assert not found.earlier and found.error.startswith("ValueError: y_true"), how


def test_of_chained_exceptions_the_last_counts() -> None:
    first = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: No loss to compute. Provide a `loss` argument in `compile()`.\n'
    join = "\nDuring handling of the above exception, another exception occurred:\n\n"
    known = 'Traceback (most recent call last):\n  File "a.py", line 2, in f\n    h()\nValueError: You must call `compile()` before using the model.\n'
    other = (
        'Traceback (most recent call last):\n  File "a.py", line 2, in f\n    h()\nmy.app.StepFailed: the run ended\n'
    )
    last = explain(first + join + known)
    assert last is not None and last.message.name == "not compiled" and not last.earlier
    earlier = explain(first + join + other)
    assert earlier is not None and earlier.message.name == "no loss" and earlier.earlier


def test_the_command(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = call(capfd, "explain", "ValueError: No loss to compute. Provide a `loss` argument in `compile()`.")
    assert (code, err) == (0, "")
    assert "compiled without a loss" in out and "LD505" in out and "no-loss" in out
    assert "lossdoctor rule LD505" in out and "lossdoctor check MODEL BATCH" in out and "Seen on Keras 3.4.1 to" in out
    code, out, _ = call(capfd, "explain", "ValueError: You must call compile() after calling the model, or before that")
    assert code == 1 and "not known" in out and "You must call `compile()` before" in out
    code, out, _ = call(capfd, "explain", "qwertz")
    assert code == 1 and "not known" in out and "nearest" not in out
    for empty in ([" "], [""], ["Traceback (most recent call last):"]):
        code, out, err = call(capfd, "explain", *empty)
        assert (code, out) == (2, "") and "no error to explain" in err


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_the_error_may_come_from_stdin(arguments: list[str]) -> None:
    text = b'\xff log\nTraceback (most recent call last):\n  File "a.py", line 1\nKeyError: "The path: (2,) in the `loss` argument, can\'t be found"\n'
    done = subprocess.run([COMMAND, "explain", *arguments], input=text, capture_output=True, check=False)
    assert done.returncode == 0 and b"LD503" in done.stdout and done.stderr == b""
    assert (
        subprocess.run([COMMAND, "explain", *arguments], input=b"\n", capture_output=True, check=False).returncode == 2
    )


def test_a_hostile_text_is_printed_safely(capfd: Any) -> None:
    code, out, _ = call(capfd, "explain", "ValueError: Could not interpret loss identifier: a\x1b]0;title\x07b\u202ec")
    assert code == 0 and "\x1b" not in out and "\x07" not in out and "\u202e" not in out
    huge = "ValueError: " + "['*', " * 200_000 + "y_true: " * 1000
    assert explain(huge) is None and nearest("") == []


def test_a_stream_without_unicode_can_show_it() -> None:
    from rich.console import Console

    from lossdoctor.explain.told import known

    found = explain("ValueError: No loss to compute. Provide a `loss` argument in `compile()`.")
    assert found is not None
    buffer = io.StringIO()
    known(found, Console(file=buffer, width=60, no_color=True))
    assert buffer.getvalue().isascii() and max(map(len, buffer.getvalue().splitlines())) <= 60
    assert sys.stdout is not buffer
