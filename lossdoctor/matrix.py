"""The same case under several Keras releases: run in environments of their own, then compared by what the reports say."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from lossdoctor import environments
from lossdoctor.environments import Release, VirtualEnvironment
from lossdoctor.releases import FIRST
from lossdoctor.types import CaseError

Document = Mapping[str, Any]
ENTRY_POINTS = {"fit": "fit()", "train_on_batch": "train_on_batch()", "direct": "loss(y, y_pred)"}
# Two losses or weights this close, relative to the larger, are the same: float32 sums in another order differ by less.
TOLERANCE = 1e-4
READ = "is read"
_MOST_LETTERS = 200


@dataclass(frozen=True)
class Run:
    """What one release said: its report as the contract's JSON, or the sentence why there is none.

    `packages` are those of its environment. `bug`: lossdoctor failed; `built` is false where no environment could be made.
    """

    release: Release
    report: Document | None = None
    error: str | None = None
    bug: bool = False
    built: bool = True
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Parting:
    """One thing in which runs differ: what, and each way it goes with the numbers of the runs in which it goes so."""

    aspect: str
    what: str
    ways: tuple[tuple[str, tuple[int, ...]], ...]


def releases(
    named: Iterable[str], backends: Sequence[str] = ("jax",), extra: Sequence[str] = ()
) -> tuple[Release, ...]:
    """Every release that is named, oldest first, on every backend. Raises `CaseError` for what is none."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion, Version

    found: dict[Version, str] = {}
    for text in (part.strip() for name in named for part in name.split(",")):
        try:
            version = Version(text)
        except InvalidVersion:
            raise CaseError(f"--keras {text or repr(text)} is no release; write its number, such as 3.15.1.") from None
        if version < Version(FIRST):
            raise CaseError(f"--keras {text}: lossdoctor examines Keras {FIRST} and later; leave it out.")
        # 3.14 is 3.14.0, as for pip.
        found[version] = text if len(version.release) > 2 else f"{version.major}.{version.minor}.0"
    chosen = tuple(dict.fromkeys(backends))
    for text in extra:
        try:
            Requirement(text)
        except InvalidRequirement:
            raise CaseError(
                f"--with {text} names no package; write it as pandas or 'pandas>=2.2'; a folder of your own goes on "
                "PYTHONPATH."
            ) from None
    return tuple(Release(found[v], b, tuple(extra)) for v in sorted(found) for b in chosen)


def run_all(
    asked: Sequence[Release],
    arguments: Sequence[str],
    *,
    jobs: int,
    progress: Callable[[Release, str], None] = lambda *_: None,
) -> list[Run]:
    """`lossdoctor check` with these arguments under every release, `jobs` at a time, in the order asked.

    Nothing is run before every environment is there or can be made; `CaseError` says which cannot.
    """
    with ThreadPoolExecutor(jobs) as pool:
        try:
            found = list(pool.map(environments.existing, asked))
            missing = [r for r, environment in zip(asked, found, strict=True) if environment is None]
            uv = environments.find_uv() if missing else ""
            for release in missing:
                progress(release, "asking the package index")
            list(pool.map(lambda release: environments.require_installable(uv, release), missing))

            def run(release: Release, environment: VirtualEnvironment | None) -> Run:
                try:
                    if environment is None:
                        progress(release, "installing")
                        environment = environments.make(uv, release)
                except CaseError as error:
                    return Run(release, error=str(error), built=False)
                progress(release, "examining")
                done = run_one(release, environment, arguments)
                progress(release, "done")
                return done

            return list(pool.map(run, asked, found))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def explained(runs: Sequence[Run], model: str, saved_by: str | None) -> list[Run]:
    """The same runs; where a release cannot rebuild a file that a later one saved, that is what is said."""
    from packaging.version import InvalidVersion, Version

    try:
        saved = Version(str(saved_by))
    except InvalidVersion:
        return list(runs)
    why = (
        f"{model} was saved by Keras {saved_by}, and older releases cannot rebuild it; save it under the oldest, or name "
        "the model in Python, as file.py:name"
    )
    return [
        replace(run, error=why + ".")
        if run.built and "cannot be rebuilt" in (run.error or "") and Version(run.release.keras) < saved
        else run
        for run in runs
    ]


def run_one(release: Release, environment: VirtualEnvironment, arguments: Sequence[str]) -> Run:
    """`lossdoctor check` in one environment; whatever becomes of it is a `Run`."""
    # -P: what lies in the working directory is not meant to stand for Keras or for us.
    command = [str(environment.python), "-P", "-m", "lossdoctor.cli.main", "check"]
    command += ["--format", "json", "--fail-on", "never", *arguments]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env={**environments.variables(release), "PYTHONUTF8": "1"},
    )
    packages = environment.packages
    report = _document(done.stdout) if done.returncode == 0 else None
    if report is None:
        return Run(release, error=_said(done), bug=done.returncode == 3, packages=packages)
    ran = report["environment"]["keras"]
    if ran != packages.get("keras"):
        error = f"Keras {ran} was imported in place of {release.keras}; take the folder that holds it from PYTHONPATH."
        return Run(release, error=error, packages=packages)
    return Run(release, report, packages=packages)


def _document(text: str) -> Document | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "outcomes" in found else None


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """The sentence that `check` ended with, or how its process ended."""
    _, found, sentence = f"\n{done.stderr}".rpartition("\nlossdoctor: ")
    if found:
        return " ".join(sentence.split())
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
    last = (done.stderr.strip().splitlines() or [""])[-1].strip()[:200]
    return f"its process ended with {how} and without a report" + (f" ({last})" if last else "") + "."


def jobs_for(count: int) -> int:
    """How many releases are run at a time where nobody says it: each takes a core and some hundred megabytes."""
    return max(1, min(count, (os.cpu_count() or 2) // 2 + 1, 8))


def partings(runs: Sequence[Run]) -> tuple[Parting, ...]:
    """Everything in which the runs differ: reading, entry points, pairs, total loss, findings."""
    read = [i for i, run in enumerate(runs) if run.report is not None]
    reports = {i: run.report for i, run in enumerate(runs) if run.report is not None}
    found = [_parting("reading", "the case", [_reading(run) for run in runs], range(len(runs)))]
    for name, label in ENTRY_POINTS.items():
        ways = [_called(reports[i]["outcomes"][name]) for i in read]
        found.append(_parting("outcome", label, ways, read))
    paired = [i for i in read if reports[i]["pairs"]]
    found += _pairs([_by_output(reports[i]) for i in paired], paired)
    # A step of `fit` is compared with one of `fit` only.
    steps = ([i for i in read if reports[i]["outcomes"][name]["status"] == "ok"] for name in ("fit", "train_on_batch"))
    worked = next((places for places in steps if places), [])
    found.append(_parting("loss", "the total loss", _losses([total_loss(reports[i]) for i in worked]), worked))
    found += _findings([reports[i] for i in read], read)
    return tuple(parting for parting in found if parting is not None)


def total_loss(report: Document) -> float | None:
    """The loss that one step of `fit` gave, of `train_on_batch` where `fit` raises; None where it is no finite number."""
    outcomes = report["outcomes"]
    name = "fit" if outcomes["fit"]["status"] == "ok" else "train_on_batch"
    return outcomes[name]["loss"]  # type: ignore[no-any-return]


def findings_of(runs: Sequence[Run]) -> dict[tuple[str, tuple[str, ...]], dict[int, Document]]:
    """(rule, where) -> number of the run -> the finding, in the order of first appearance."""
    found: dict[tuple[str, tuple[str, ...]], dict[int, Document]] = {}
    for i, run in enumerate(runs):
        for finding in run.report["findings"] if run.report else ():
            found.setdefault((finding["code"], tuple(finding["where"])), {})[i] = finding
    return found


def changes(runs: Sequence[Run], parts: Sequence[Parting]) -> list[tuple[Run, Run]]:
    """Neighbouring releases on one backend between which something changes."""
    marks = [_mark(i, parts) for i in range(len(runs))]
    found = []
    for backend in dict.fromkeys(run.release.backend for run in runs):
        places = [i for i, run in enumerate(runs) if run.release.backend == backend]
        found += [(runs[a], runs[b]) for a, b in pairwise(places) if marks[a] != marks[b]]
    return found


def _mark(place: int, parts: Sequence[Parting]) -> tuple[int | None, ...]:
    """Which way a run goes in each parting."""
    return tuple(next((n for n, (_, runs) in enumerate(p.ways) if place in runs), None) for p in parts)


def _parting(aspect: str, what: str, ways: Sequence[tuple[str, str]], places: Sequence[int]) -> Parting | None:
    """None where all go the same way. `ways` has (key, text) for each of the runs `places`; the newest text of a key is kept."""
    told: dict[str, str] = {}
    runs: dict[str, list[int]] = {}
    for (key, text), place in zip(ways, places, strict=True):
        told[key] = text
        runs.setdefault(key, []).append(place)
    if len(runs) < 2:
        return None
    return Parting(aspect, what, tuple((told[key], tuple(found)) for key, found in runs.items()))


def _reading(run: Run) -> tuple[str, str]:
    if run.error is None:
        return "", READ
    how = "is not read" if run.built and not run.bug else "is not run"
    return run.error, f"{how}: {_short(run.error.rstrip('.'))}"


def _called(outcome: Document) -> tuple[str, str]:
    status = outcome["status"]
    if status == "raises":
        return status, f"raises ({_short(str(outcome['error']))})"
    return status, "works" if status == "ok" else "is not called"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_LETTERS else line[: _MOST_LETTERS - 3] + "..."


def _losses(values: Sequence[float | None]) -> list[tuple[str, str]]:
    """Values within the tolerance of an earlier one get its name."""
    names: list[tuple[float | None, str]] = []
    found = []
    for value in values:
        name = next((name for known, name in names if _same(known, value)), None)
        if name is None:
            name = "no finite number" if value is None else f"{value:.6g}"
            names.append((value, name))
        found.append((name, f"is {name}"))
    return found


def _same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-9)


# The pairs of one output: target, loss, weight.
_Met = tuple[tuple[str, str, float | None], ...]


def _by_output(report: Document) -> dict[str, _Met]:
    found: dict[str, _Met] = {}
    for pair in report["pairs"]:
        met = (pair["target"] or "nothing of y", pair["loss"], pair["weight"])
        found[pair["output"]] = (*found.get(pair["output"], ()), met)
    return {output: tuple(sorted(met, key=str)) for output, met in found.items()}


def _pairs(pairings: Sequence[Mapping[str, _Met]], places: Sequence[int]) -> list[Parting | None]:
    """One parting an output and what differs: its target first, else its loss, else its weight."""
    outputs = dict.fromkeys(output for pairing in pairings for output in pairing)
    return [_output(output, [pairing.get(output, ()) for pairing in pairings], places) for output in outputs]


def _output(output: str, mets: Sequence[_Met], places: Sequence[int]) -> Parting | None:
    targets = [_listed(target for target, _, _ in met) for met in mets]
    losses = [_listed(loss for _, loss, _ in met) for met in mets]
    weights = [_listed(name for name, _ in _losses([weight for _, _, weight in met])) for met in mets]
    for texts, phrase in (
        (targets, "is trained on"),
        (losses, "is trained under"),
        (weights, "is trained with weight"),
    ):
        ways = [(text, f"{phrase} {text}" if met else "is not trained") for text, met in zip(texts, mets, strict=True)]
        parting = _parting("pairs", output, ways, places)
        if parting is not None:
            return parting
    return None


def _listed(texts: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(texts))


def _findings(reports: Sequence[Document], places: Sequence[int]) -> list[Parting | None]:
    """One parting for all findings that come and go together."""
    severities: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for i, report in enumerate(reports):
        for finding in report["findings"]:
            key = (finding["code"], tuple(finding["where"]))
            severities.setdefault(key, ["is not found"] * len(reports))[i] = f"is found ({finding['severity']})"
    together: dict[tuple[str, ...], list[str]] = {}
    for (code, where), ways in severities.items():
        together.setdefault(tuple(ways), []).append(f"{code} at {', '.join(where)}" if where else code)
    return [
        _parting("findings", "; ".join(names), [(way, way) for way in ways], places) for ways, names in together.items()
    ]
