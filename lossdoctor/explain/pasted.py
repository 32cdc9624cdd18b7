"""The exceptions in a pasted text: a bare message, a Python or IPython traceback, or what pytest prints of one."""

from __future__ import annotations

import re
import textwrap
from itertools import groupby

from lossdoctor.near import with_tuples

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PYTEST = re.compile(r"^E(?:   |$)")
_RANK = re.compile(r"^\[rank\d+\]: ?")
_HEADER = re.compile(r"^(?:[\w.]+ +)?Traceback \(most recent call last\)")
_CHAIN = re.compile(r"^(?:During handling of the above exception|The above exception was the direct cause)")
# "ValueError: ...", "keras.src.X.SomeError: ...", "KeyError"; the name of an exception begins with a capital.
_ERROR = re.compile(r"^(?:[a-z_][\w.]*\.)?(?P<name>[A-Z]\w*)(?:: (?P<text>.*)|:?)$")
# What is compared with the patterns; messages that hold whole arrays are longer.
_MOST = 20_000


def exceptions(text: str) -> list[str]:
    """The exceptions of `text`, "ValueError: ...", the one that was raised last first; the text itself where it has no traceback."""
    lines = _plain(text).split("\n")
    if any(_PYTEST.match(line) for line in lines):
        blocks = [list(group) for shown, group in groupby(lines, lambda line: bool(_PYTEST.match(line))) if shown]
        return [_joined([line[1:].strip() for line in block]) for block in reversed(blocks)]
    headers = [i for i, line in enumerate(lines) if _HEADER.match(line)]
    if not headers:
        return [_joined(lines)] if any(line.strip() for line in lines) else []
    ends = [*headers[1:], len(lines)]
    found = [_raised(lines[start + 1 : end]) for start, end in zip(headers, ends, strict=True)]
    return [one for one in reversed(found) if one]


def _plain(text: str) -> str:
    text = _COLOUR.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", ""))
    return textwrap.dedent("\n".join(_RANK.sub("", line) for line in with_tuples(text).split("\n")))


def _raised(lines: list[str]) -> str:
    """The exception below the frames of one traceback, with all lines of its message; "" where there is none."""
    start = next((i for i, line in enumerate(lines) if _ERROR.match(line)), None)
    if start is None:
        return ""
    end = next((i for i in range(start, len(lines)) if _CHAIN.match(lines[i])), len(lines))
    return _joined(lines[start:end])


def _joined(lines: list[str]) -> str:
    text = "\n".join(lines).strip()
    match = _ERROR.match(text.split("\n", 1)[0])
    if match:
        rest = text.split("\n", 1)[1:]
        text = "\n".join([f"{match['name']}: {match['text'] or ''}".rstrip(), *rest])
    return text if len(text) <= _MOST else text[: _MOST // 2] + "\n" + text[-_MOST // 2 :]
