"""One message of Keras, and what it means."""

from __future__ import annotations

from dataclasses import dataclass

# A shape in a message, as Python writes it and as TensorFlow does.
SHAPE = r"\([\d, None]*\)"
SIZES = r"\[[\d, ?]*\]"


@dataclass(frozen=True)
class Message:
    """`pattern` is searched in "ValueError: ..." (`.` matches ends of lines too); `means` and `steps` name its groups in braces.

    `seen` are the releases and backends on which it was provoked (tests/explain/messages.json), `like` its words with
    nothing put in, for the comparison with a message that no pattern knows.
    """

    name: str
    like: str
    pattern: str
    means: str
    rules: tuple[str, ...]
    steps: tuple[str, ...]
    seen: str = ""
