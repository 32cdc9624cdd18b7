"""The targets of `tests.hostile.fuzz` guided by atheris: `python -m tests.hostile.guided SECONDS [TARGET ...]`, one after the other.

Every choice of a target is read from libFuzzer's bytes, which it changes towards branches of lossdoctor that no input took before.
Needs `pip install atheris`. What is found is printed as bytes, to be kept in `tests/hostile/test_fuzz.py`.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MOST_BYTES = 2048
STARTS = 100


class Chosen(random.Random):
    """A source of chance that reads its choices from bytes, and zeros after their end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0
        super().__init__(0)

    def getrandbits(self, k: int) -> int:
        """The next k bits, from whole bytes."""
        count = (k + 7) // 8
        taken = self.data[self.place : self.place + count].ljust(count, b"\0")
        self.place += count
        return int.from_bytes(taken, "little") & ((1 << k) - 1)

    def random(self) -> float:
        """One byte's worth of [0, 1): enough for the comparisons here."""
        return self.getrandbits(8) / 256


def guide(target: str, seconds: float, corpus: str) -> None:
    """Runs one target in this process, which libFuzzer ends."""
    import atheris
    import keras  # noqa: F401  (before the instrumentation, which is for lossdoctor alone)

    with atheris.instrument_imports(include=["lossdoctor"]):
        from lossdoctor.case import allowed, archive, arguments, batch, model, rows, tree_json  # noqa: F401
        from tests.hostile.fuzz import attempt, tell
    seen: set[Any] = set()

    def one(data: bytes) -> None:
        error = attempt(target, Chosen(data))
        if error is not None:
            tell(target, data.hex(), error, seen)

    options = [f"-max_total_time={seconds:.0f}", f"-max_len={MOST_BYTES}", "-timeout=10", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, "-verbosity=0", corpus], one)
    atheris.Fuzz()


def main(seconds: float, targets: list[str]) -> None:
    """Each target in a process of its own, from random bytes, for its share of the time."""
    from tests.hostile.fuzz import TARGETS

    targets = targets or list(TARGETS)
    for target in targets:
        with tempfile.TemporaryDirectory() as corpus:
            for seed in range(STARTS):
                chance = random.Random(seed)
                (Path(corpus) / str(seed)).write_bytes(chance.randbytes(chance.randrange(16, MOST_BYTES)))
            print(target, flush=True)
            share = str(seconds / len(targets))
            subprocess.run([sys.executable, "-m", "tests.hostile.guided", "--one", target, share, corpus], check=False)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        guide(sys.argv[2], float(sys.argv[3]), sys.argv[4])
    else:
        main(float(sys.argv[1]), sys.argv[2:])
