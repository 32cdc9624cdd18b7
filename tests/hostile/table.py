"""The whole table in one process: `python -m tests.hostile.table RESULTS.json [NAME...]`."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.hostile import audit
from tests.hostile.build import Case

MOST_MEMORY = 6 << 30


def cases() -> dict[str, Case]:
    from tests.hostile import advisories, arguments, batches, computing, models, options

    return {**advisories.CASES, **arguments.CASES, **models.CASES, **computing.CASES, **batches.CASES, **options.CASES}


def snapshot(folder: Path) -> dict[str, str]:
    """What stands in a folder: kind, mode and contents of everything, links as links."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            status = path.lstat()
            whole = path.is_file() and not path.is_symlink()
            kept = hashlib.sha256(path.read_bytes()).hexdigest() if whole else ""
            found[str(path.relative_to(folder))] = f"{status.st_mode:o} {kept}"
    return found


def run(name: str, case: Case) -> dict[str, Any]:
    """One case in a folder of its own, and what it did there."""
    with tempfile.TemporaryDirectory(prefix="hostile") as place:
        folder = Path(place)
        arguments = case.make(folder)
        before = snapshot(folder)
        began = time.process_time()
        done = audit.run(arguments, folder, case.stdin)
        seconds = time.process_time() - began
        after = snapshot(folder)
        changed = {p for p in {*before, *after} if before.get(p) != after.get(p)}
        return {
            "code": done.code,
            "out": done.out[:5000],
            "err": done.err,
            "executed": done.executed,
            "written": sorted({w for w in done.written if not _harmless(w, case, folder)}),
            "changed": sorted(changed - set(case.outputs)),
            "seconds": round(seconds, 2),
        }


def _harmless(path: str, case: Case, folder: Path) -> bool:
    """True for the null device, our own cache, and the named outputs with what is made beside them."""
    own = os.environ["LOSSDOCTOR_CACHE_DIR"]
    if path == os.devnull or path.startswith("/proc/self/fd/") or os.path.abspath(path).startswith(own):
        return True
    real = os.path.realpath(os.path.join(folder, path))
    for output in case.outputs:
        place, name = os.path.split(os.path.realpath(os.path.join(folder, output)))
        if real == os.path.join(place, name) or real.startswith(os.path.join(place, f".{name}.")):
            return True
    return False


def main(results: str, names: list[str]) -> None:
    from lossdoctor.quiet import import_keras_quietly

    import_keras_quietly()
    import lossdoctor.cli.main  # noqa: F401
    from lossdoctor.doctor import examine  # noqa: F401

    audit.listen()
    audit.limit_memory(MOST_MEMORY)
    table = cases()
    found = {}
    for name in [
        n for n in table if n in names or not names or any(a.endswith("*") and n.startswith(a[:-1]) for a in names)
    ]:
        found[name] = run(name, table[name])
        if names:
            print(name, json.dumps(found[name], indent=1), file=sys.stderr, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    Path(results).write_text(json.dumps({"cases": found, "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
