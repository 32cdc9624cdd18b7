"""`make fuzz N=300`: runs generated cases until N new ones were judged, or the time is over. Resumable by its log."""

from __future__ import annotations

import argparse
import collections
import gc
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tests.quick import compile_quickly

ROUND = 100  # cases drawn from one seed
FORGET = 150  # cases after which Keras's and the backend's memory of models is cleared


def draw(seed: int) -> list[Any]:
    """The distinct cases of one round."""
    import hypothesis

    from tests.fuzz.cases import cases

    found: dict[str, Any] = {}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases())
    def collect(case: Any) -> None:
        found[case.key] = case

    collect()
    return list(found.values())


class Log:
    """One line of JSON a case: what was judged already, and the rounds that were finished."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows, self.rounds = path, {}, 0
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            row = json.loads(line)
            if "round" in row:
                self.rounds = row["round"] + 1
            else:
                self.rows[row["key"]] = row

    def add(self, row: dict[str, Any]) -> None:
        """One more line."""
        if "key" in row:
            self.rows[row["key"]] = row
        else:
            self.rounds = row["round"] + 1
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def judged(case: Any, whole: bool, repairs: bool) -> dict[str, Any]:
    """One case as a line of the log."""
    from tests.fuzz import judge, repaired

    began = time.process_time()
    row: dict[str, Any] = {"key": case.key}
    try:
        found = judge.judge(case, whole)
        row |= {"truth": found.truth, "said": found.said, "agree": found.agree, "whole": whole}
        if not found.agree or found.truth == "ambiguous":
            row |= {"why": found.why, "codes": found.codes, "case": repr(case)}
        if found.truth == "right" and found.warned:
            row |= {"warned": found.warned, "case": repr(case)}
        if repairs and found.agree and found.truth in ("silent", "raises"):
            tried, wrong = repaired.judge_repairs(case)
            row |= {"repairs": tried, "agree": not wrong}
            if wrong:
                row |= {"why": "; ".join(wrong), "case": repr(case), "said": "repair"}
    except Exception as error:
        text = "".join(traceback.format_exception(error)[-3:])
        row |= {"truth": "?", "said": "crash", "agree": False, "why": text, "case": repr(case)}
    return row | {"seconds": round(time.process_time() - began, 3)}


def run(arguments: argparse.Namespace) -> int:
    """Judges new cases; 1 where there was a disagreement."""
    import keras

    from tests.fuzz.spec import read

    log = Log(arguments.log)
    if arguments.again:
        todo = [read(row["case"]) for row in list(log.rows.values()) if not row["agree"]]
        return report([judged(case, False, row_repairs(log, case)) | {"case": repr(case)} for case in todo], 0)
    rows: list[dict[str, Any]] = []
    began, drawn = time.monotonic(), 0
    while len(rows) < arguments.cases:
        number = log.rounds
        cases = draw(arguments.seed * 1_000_000 + number)
        drawn += len(cases)
        for case in cases:
            if case.key in log.rows:
                continue
            done = len(log.rows)
            row = judged(case, done % arguments.whole == 0, bool(arguments.repairs) and done % arguments.repairs == 0)
            log.add(row)
            rows.append(row)
            if not row["agree"]:
                print(f"\n{row['truth']} / {row['said']}  {row.get('codes', '')} {row['why'][:300]}\n  {row['case']}")
            if len(rows) % 25 == 0:
                wrong = sum(not r["agree"] for r in rows)
                print(
                    f"\r{len(rows)} cases, {wrong} disagreements, {time.monotonic() - began:.0f} s",
                    end="",
                    file=sys.stderr,
                )
            if len(rows) % FORGET == 0:
                keras.utils.clear_session()
                gc.collect()
            if len(rows) >= arguments.cases or time.monotonic() - began > arguments.seconds:
                print(file=sys.stderr)
                return finish(rows, log, arguments)
        log.add({"round": number})
    print(file=sys.stderr)
    return finish(rows, log, arguments)


def row_repairs(log: Log, case: Any) -> bool:
    """True where the disagreement was on a repair."""
    return bool(log.rows[case.key].get("said") == "repair")


def finish(rows: list[dict[str, Any]], log: Log, arguments: argparse.Namespace) -> int:
    """The summary, and the first disagreements made smaller."""
    from tests.fuzz import shrink
    from tests.fuzz.spec import read

    code = report(rows, len(log.rows))
    for row in [r for r in rows if not r["agree"] and r["said"] != "repair"][: arguments.shrink]:
        small = shrink.shrink(read(row["case"]), (row["truth"], row["said"]))
        print(f"shrunk {row['key']}: {row['truth']} / {row['said']}\n  {small!r}")
    return code


def report(rows: list[dict[str, Any]], known: int) -> int:
    """Prints what came out; 1 where there was a disagreement."""
    counts = collections.Counter(f"{row['truth']} / {row['said']}" for row in rows)
    wrong = [row for row in rows if not row["agree"]]
    for kind, count in counts.most_common():
        print(f"{count:6d}  {kind}")
    seconds = sum(row["seconds"] for row in rows) / max(len(rows), 1)
    tried = sum(row.get("repairs", 0) for row in rows)
    ambiguous = sum(row["truth"] == "ambiguous" for row in rows)
    warned = sum("warned" in row for row in rows)
    print(
        f"{len(rows)} distinct cases, {len(wrong)} disagreements, {ambiguous} ambiguous, {warned} right with a warning, "
        f"{tried} repairs tried; {seconds:.2f} s of processor a case; {known} cases in the log"
    )
    return int(bool(wrong))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--cases", type=int, default=300, help="new distinct cases to judge")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--whole", type=int, default=10, help="every so many cases, the real step is left as Keras compiles it"
    )
    parser.add_argument(
        "--repairs", type=int, default=8, help="every so many cases, the repairs are tried on the real model; 0: never"
    )
    parser.add_argument("--shrink", type=int, default=3, help="how many disagreements to make smaller")
    parser.add_argument("--again", action="store_true", help="judge the log's disagreements again")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    parser.add_argument("--log", type=Path, default=Path(tempfile.gettempdir()) / f"lossdoctor-fuzz-{backend}.jsonl")
    arguments = parser.parse_args()
    compile_quickly()
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
