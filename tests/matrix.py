"""The core tests under several Keras releases: `python tests/matrix.py [--short] [3.4.1 3.8.0 ...]`, or `make test-matrix`.

Each release runs on JAX in an environment of its own without TensorFlow, which uv makes and the user's cache keeps; then the
installed release on TensorFlow, and on PyTorch where that is installed, in the environment that runs this. A table comes last;
exit code 1 where a test failed, or an environment could not be made.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement

from lossdoctor import environments
from lossdoctor.environments import Release
from lossdoctor.types import CaseError

ROOT = Path(__file__).parent.parent
# The oldest that is supported, those around each change that lossdoctor/releases.py knows, the installed one.
RELEASES = ("3.4.1", "3.5.0", "3.6.0", "3.8.0", "3.12.4")
CORE = (
    "tests/rules",
    "tests/exam",
    "tests/test_broken.py",
    "tests/test_founding.py",
    "tests/test_legitimate.py",
    "tests/test_releases.py",
    "tests/test_silent.py",
)
# What differs most between releases: how targets, losses and weights are paired.
SHORT_RELEASES = ("3.4.1", "3.6.0")
SHORT = ("tests/test_releases.py", "tests/rules/test_examples.py")
SHORT_CHOICE = "test_releases or LD102 or LD103 or LD104 or LD201 or LD202 or LD206 or LD501 or LD502 or LD506 or LD511"
_TOOLS = ("pytest", "pytest-xdist", "hypothesis", "jsonschema", "pyyaml")


@dataclass(frozen=True)
class Result:
    """What the tests of one release came to. `problem`: why there are no numbers."""

    keras: str
    backend: str
    beside: str = ""
    passed: int = 0
    failed: tuple[str, ...] = ()
    skipped: int = 0
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem and not self.failed and self.passed > 0


def main(arguments: Sequence[str]) -> int:
    """Run every release asked for, print the table, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "releases", nargs="*", help="Keras releases on JAX; where none is given, all, and the installed"
    )
    parser.add_argument("--short", action="store_true", help="few releases, and the tests that tell them apart")
    parser.add_argument("-n", default="2", help="how many processes run tests (default: 2)")
    given = parser.parse_args(arguments)
    results = []
    for release in planned(given.releases, given.short):
        started = time.monotonic()
        results.append(run(release, given.short, given.n))
        print(f"{line(results[-1])}  ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    print(table(results))
    return 0 if all(result.ok for result in results) else 1


def planned(releases: Sequence[str], short: bool) -> Iterator[Release]:
    """The releases to run, in order."""
    installed = version("keras")
    chosen = releases or (SHORT_RELEASES if short else (*RELEASES, installed))
    yield from (Release(keras, "jax", extra=tools()) for keras in dict.fromkeys(chosen))
    if not releases and not short:
        here = [("tensorflow", "tensorflow"), ("torch", "torch")]
        yield from (Release(installed, name) for name, module in here if importlib.util.find_spec(module))


def tools() -> tuple[str, ...]:
    """What the tests need, as the package's dev extra says it."""
    found = [Requirement(text) for text in requires("lossdoctor") or ()]
    dev = [r for r in found if r.marker is not None and r.marker.evaluate({"extra": "dev"}) and r.name in _TOOLS]
    return tuple(sorted(f"{r.name}{r.specifier}" for r in dev))


def run(release: Release, short: bool, processes: str) -> Result:
    """The core tests under one release."""
    try:
        python, packages = interpreter(release)
    except CaseError as error:
        return Result(release.keras, release.backend, problem=str(error))
    beside = ", ".join(f"{name} {packages[name]}" for name in (release.backend, "numpy") if name in packages)
    chosen = [*SHORT, "-k", SHORT_CHOICE] if short else [*CORE]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [python, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", f"--junit-xml={report}"]
        workers = ["-n", processes, "--dist", "loadgroup"] if processes != "0" else ["-p", "no:xdist"]
        done = subprocess.run([*command, *workers, *chosen], cwd=ROOT, env=surroundings(release), check=False)
        if not report.exists():
            return Result(release.keras, release.backend, beside, problem=f"pytest ended with {done.returncode}")
        return counted(release, beside, report)


def interpreter(release: Release) -> tuple[str, Mapping[str, str]]:
    """(Python, {package: version}) that has this release. Raises `CaseError` where it cannot be made."""
    if release.backend != "jax":
        return sys.executable, {name: version(name) for name in (release.backend, "numpy")}
    found = environments.existing(release) or environments.make(environments.find_uv(), release)
    return str(found.python), found.packages


def surroundings(release: Release) -> dict[str, str]:
    """The process environment: the tests and the source of this folder, whatever else is installed."""
    found = environments.variables(release)
    path = os.pathsep.join([str(ROOT), found.get("PYTHONPATH", "")])
    return {**found, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


def counted(release: Release, beside: str, report: Path) -> Result:
    """A JUnit report in numbers."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c for c in cases if c.find("skipped") is not None]
    names = tuple(f"{c.get('classname')}::{c.get('name')}" for c in failed)
    passed = len(cases) - len(failed) - len(skipped)
    return Result(release.keras, release.backend, beside, passed, names, len(skipped))


def line(result: Result) -> str:
    """One row of the table."""
    numbers = result.problem or f"{result.passed:>6} passed {len(result.failed):>4} failed {result.skipped:>4} skipped"
    return f"{result.keras:<8} {result.backend:<11} {result.beside:<34} {numbers}"


def table(results: Sequence[Result]) -> str:
    """Every failed test, then a row a release."""
    failed = [f"FAILED Keras {r.keras} {r.backend}: {name}" for r in results for name in r.failed]
    return "\n".join(["", *failed, "", *(line(result) for result in results)])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
