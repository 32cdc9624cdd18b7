"""Puts the tool's real output into README.md: `python tests/readme.py write`; `check` fails where it is stale."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
_BLOCK = re.compile(r"(<!-- output: (?P<command>[^>]+?) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
# Versions differ from machine to machine; they are not what the reader is shown.
_VERSIONS = re.compile(r"; Keras \S+ on \w+, lossdoctor \S+")


def output(command: str) -> str:
    """What `command` prints on a terminal of 80 columns."""
    program = [str(Path(sys.executable).parent / command.split()[0]), *command.split()[1:]]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env={**_environment(), "COLUMNS": "80"})
    text = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip("\n")
    return "```text\n" + _VERSIONS.sub("", text) + "\n```\n"


def _environment() -> dict[str, str]:
    import os

    kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "COLUMNS", "LINES")}
    return {**kept, "KERAS_BACKEND": "tensorflow", "PYTHONIOENCODING": "utf-8", "TF_CPP_MIN_LOG_LEVEL": "3"}


def refreshed(text: str) -> str:
    """README's text with every output block made anew."""
    return _BLOCK.sub(lambda m: m[1] + output(m["command"]) + m[4], text)


def main() -> None:
    """`write` refreshes README.md, `check` exits 1 where it is stale."""
    old = README.read_text(encoding="utf-8")
    new = refreshed(old)
    if sys.argv[1:] == ["write"]:
        README.write_text(new, encoding="utf-8")
    elif old != new:
        raise SystemExit("README.md is stale; run `make readme`.")


if __name__ == "__main__":
    main()
