"""What an exception says, in one line, and where in the user's code it came through."""

from __future__ import annotations

import linecache
import re
import traceback
from pathlib import Path

from lossdoctor.near import with_tuples, without_node

# Values dumped into an error message: arrays are never shown, their shapes are.
_TENSORS = re.compile(r"<tf\.Tensor: shape=(\([^)]*\)), dtype=\w+, numpy=.*?>", re.DOTALL)
_OURS = str(Path(__file__).parent.parent).replace("\\", "/") + "/"
_NODE = re.compile(r"\n([^\n]+)\n\s*\[\[\{\{node")
_LABELS = re.compile(r"\s*Label values: .*", re.DOTALL)
_ARRAYS = re.compile(r"(?:Array\()?\[[-+\d.eEna,\s\[\]]{8,}\](?:, dtype=\w+\))?")


def describe_error(error: BaseException) -> str:
    """ "ValueError: first paragraph", without the backend's op dump, at most 600 characters."""
    # A compiled TensorFlow step puts the message last, before the node that failed.
    node = _NODE.search(str(error))
    text = " ".join((node.group(1) if node else str(error).split("\n\n")[0]).split()) or "no message"
    text = text[1:-1] if isinstance(error, KeyError) and text[0] in "\"'" else text
    text = _LABELS.sub("", with_tuples(without_node(text)))
    text = _ARRAYS.sub("[...]", _TENSORS.sub(r"<tensor \1>", text))
    return f"{type(error).__name__}: {text if len(text) <= 600 else text[:597] + '...'}"


def is_user_file(name: str) -> bool:
    """True for a file that is neither ours nor installed."""
    name = name.replace("\\", "/")
    return not name.startswith(("<", _OURS)) and not any(
        part in name for part in ("site-packages", "dist-packages", "/lib/python")
    )


def user_line(error: BaseException) -> str | None:
    """ "file:line: source" of the innermost frame that is neither ours, Keras's, nor a backend's."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not is_user_file(frame.filename):
            continue
        line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
        return f"{frame.filename}:{frame.lineno}: {line}"
    return None
