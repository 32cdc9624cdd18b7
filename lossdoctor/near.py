"""Small pieces of sentences: "did you mean" for a name that was not found, and what an exception says in a line."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Nobody slips in a longer name, or sees which of more is meant; the time grows with the square of the one and with the other.
_MOST_LETTERS, _MOST_NAMES = 200, 1000


def shortened(text: str, most: int = 60) -> str:
    """`text`, cut to `most` letters with dots at its end."""
    return text if len(text) <= most else text[: most - 3] + "..."


def nearest(name: str, known: Iterable[str], count: int = 1) -> list[str]:
    """The `count` most similar of `known`, best first; empty where none is similar enough to be a slip."""
    from rapidfuzz import fuzz, process, utils

    names = sorted({n for n in known if len(n) <= _MOST_LETTERS})
    if len(name) > _MOST_LETTERS or len(names) > _MOST_NAMES:
        return []
    found = process.extract(
        name, names, scorer=fuzz.WRatio, processor=utils.default_process, score_cutoff=60, limit=count
    )
    return [match for match, _, _ in found]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean 'box'?)", or an empty string."""
    found = nearest(name, known)
    return f" (did you mean {found[0]!r}?)" if found else ""


def without_node(text: str) -> str:
    """A backend's sentence without what TensorFlow puts around it: the node that failed, and the operation."""
    text = text.split("{{function_node")[-1].split("}} ")[-1] if "{{function_node" in text else text
    return text.split(" [Op:")[0]


_SIZE = re.compile(r"torch\.Size\(\[([\d, ]*)\]\)")


def with_tuples(text: str) -> str:
    """PyTorch's shapes, "torch.Size([4, 3])", as Python's tuples."""
    return _SIZE.sub(lambda size: f"({size[1]},)" if size[1].isdigit() else f"({size[1]})", text)


def ending(error: BaseException) -> str:
    """What code said that left by `sys.exit(...)`, or by an exception that programs are not meant to catch.

    >>> ending(SystemExit("set DATA_DIR"))
    "ends the program ('set DATA_DIR')"
    """
    if not isinstance(error, SystemExit):
        return f"ends the program ({type(error).__name__}{': ' * bool(str(error))}{first_line(error) if str(error) else ''})"
    said = f"{error.code!r}" if isinstance(error.code, str) else f"sys.exit({'' if error.code is None else error.code})"
    return f"ends the program ({said[:300]})"


_BOLD = re.compile(r"\x1b\[\d*m")


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, at most 300 characters; its type's name where it says nothing.

    Keras puts the layer in front of what was raised in it (`traceback_utils.inject_argument_info_in_traceback`), and that in bold.
    """
    lines = [line for part in str(error).splitlines() if (line := _BOLD.sub("", part).strip())]
    told = len(lines) > 1 and lines[0].startswith("Exception encountered when calling ")
    text = lines[told] if lines else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
