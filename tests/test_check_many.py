"""Many cases: the same results in this process, in worker processes, on threads and on Dask."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import lossdoctor
from lossdoctor.many import CaseResult, check_in_processes, run_case
from lossdoctor.request import CheckCase

FIXTURES = Path(__file__).parents[1] / "fixtures"
DICT = str(FIXTURES / "keras_20346" / "dict.keras")
POSITIONAL, NAMED = (str(FIXTURES / "keras_20346" / n) for n in ("positional.npz", "named.npz"))
WHOLE = FIXTURES / "keras_20654"
CASES = [
    {"model": DICT, "batch": POSITIONAL, "name": "positional"},
    (DICT, NAMED, {"loss": {"zoom": "mae", "angle": "mse"}}, "named"),
    CheckCase("gone.keras", NAMED, "gone"),
    CheckCase(str(WHOLE / "subclass.keras"), str(WHOLE / "batch.npz"), "objects", objects=(str(WHOLE / "losses.py"),)),
    CheckCase(str(WHOLE / "subclass.keras"), str(WHOLE / "batch.npz"), "no objects"),
    CheckCase(DICT, POSITIONAL, "ignored", ignore=("LD203",)),
    CheckCase(DICT, POSITIONAL, "info", severity={"LD2": "off", "LD203": "info"}),
]


def told(results: list[CaseResult]) -> list[tuple[str, str | None, str | None]]:
    """Name, whole report as JSON, error."""
    return [(r.name, r.report.to_json() if r.report else None, r.error) for r in results]


pytestmark = [pytest.mark.xdist_group("many"), pytest.mark.usefixtures("fresh_keras")]  # its fixture is made once


@pytest.fixture(scope="module")
def expected(fresh_keras: None) -> list[CaseResult]:
    return lossdoctor.check_many(CASES, cache=False)


def test_results_come_in_order_and_errors_stop_nothing(expected: list[CaseResult]) -> None:
    seen: dict[str, CaseResult] = {r.name: r for r in expected}
    assert list(seen) == ["positional", "named", "gone", "objects", "no objects", "ignored", "info"]
    assert [f.code for f in seen["positional"].report.findings] == ["LD203"]
    assert seen["named"].ok and not seen["positional"].ok and not seen["gone"].ok
    assert {p.loss for p in seen["named"].report.pairs} == {"mean_absolute_error", "mean_squared_error"}
    assert seen["gone"].error == "there is no model file gone.keras; check the path."
    assert "LD801" in [f.code for f in seen["objects"].report.findings]
    # What --objects registered for one case is gone in the next.
    assert "--objects" in str(seen["no objects"].error)
    assert seen["ignored"].report.findings == () and not any(r.bug for r in expected)
    (finding,) = seen["info"].report.findings
    assert (finding.code, finding.severity, seen["info"].report.data.verdict) == ("LD203", "info", "clean")
    assert not {"LD201", "LD202"} & set(seen["info"].report.data.checks.ran)


def test_the_order_of_the_cases_changes_no_result(expected: list[CaseResult]) -> None:
    again = lossdoctor.check_many(list(reversed(CASES)), cache=False)
    assert told(again) == told(expected)[::-1]


def test_results_survive_pickle(expected: list[CaseResult]) -> None:
    assert told(pickle.loads(pickle.dumps(expected))) == told(expected)


def test_worker_processes(expected: list[CaseResult]) -> None:
    seen: list[str] = []
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        results = lossdoctor.check_many(CASES, executor=pool, cache=False, progress=lambda r: seen.append(r.name))
    assert told(results) == told(expected)
    assert sorted(seen) == sorted(r.name for r in expected)


def test_threads_take_turns(expected: list[CaseResult]) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert told(lossdoctor.check_many(CASES[:4], executor=pool, cache=False)) == told(expected[:4])


def test_dask(expected: list[CaseResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    cluster = distributed.LocalCluster(
        processes=True, n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
    )
    with cluster, distributed.Client(cluster) as client:
        results = lossdoctor.check_many(CASES[:4], executor=client.get_executor(), cache=False)
    assert told(results) == told(expected[:4])


def test_a_case_that_ends_its_process_costs_no_other_its_result(tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import os\nos._exit(9)\n")
    cases = [
        CheckCase(DICT, NAMED, "deadly", objects=(str(tmp_path / "deadly.py"),)),
        CheckCase(DICT, NAMED, "after"),
    ]
    seen: list[str] = []
    deadly, after = check_in_processes(cases, 2, cache=False, progress=lambda r: seen.append(r.name))
    assert after.ok
    assert deadly.report is None and "the process that examined it ended" in str(deadly.error)
    assert sorted(seen) == ["after", "deadly"]


def _losses(folder: Path, factor: int) -> tuple[str, ...]:
    folder.mkdir()
    (folder / "helper.py").write_text(f"FACTOR = {factor}\n")
    (folder / "losses.py").write_text(
        "import keras\nfrom helper import FACTOR\n\n"
        "def mine(y, p):\n    return FACTOR * keras.ops.mean(keras.ops.square(y - p), axis=-1)\n"
    )
    return (str(folder / "losses.py"),)


def test_two_cases_may_each_have_a_losses_py(tmp_path: Path) -> None:
    cases = [
        CheckCase(DICT, NAMED, str(factor), loss="mine", objects=_losses(tmp_path / str(factor), factor))
        for factor in (1, 3)
    ]
    path, modules = list(sys.path), set(sys.modules)
    one, three = (r.report.data.outcomes["fit"].loss for r in lossdoctor.check_many(cases, cache=False))
    assert three == pytest.approx(3 * one)
    assert sys.path == path and not {"losses", "helper"} & (set(sys.modules) - modules)


CODE: dict[str, Callable[[], str]] = {
    "configures Keras": lambda: "import keras\nkeras.config.set_floatx('float64')\nkeras.config.set_epsilon(0.5)\n",
    "registers": lambda: "import keras\n@keras.saving.register_keras_serializable('p')\nclass Thing:\n    pass\n",
}


def test_progress_tells_every_case_once_whatever_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for what ended a pool, without Keras: workers that end on some names."""
    monkeypatch.setattr("lossdoctor.many.run_case", _perhaps_end)
    cases = [CheckCase("m", "b", f"{'deadly' if n in (2, 5) else 'fine'} {n}") for n in range(7)]
    seen: list[str] = []
    results = check_in_processes(cases, 2, progress=lambda r: seen.append(r.name))
    assert [r.name for r in results] == [c.name for c in cases] and sorted(seen) == sorted(c.name for c in cases)
    assert {r.name for r in results if "process that examined it ended" in str(r.error)} == {"deadly 2", "deadly 5"}
    assert {r.error for r in results if r.name.startswith("fine")} == {"said"}


def _perhaps_end(case: CheckCase, cache: bool) -> tuple[str, None, str, bool]:
    if case.name.startswith("deadly"):
        os._exit(9)
    return case.name, None, "said", False


@pytest.mark.parametrize("name", CODE)
def test_keras_is_left_as_it_was(name: str, tmp_path: Path) -> None:
    import keras

    (tmp_path / "own.py").write_text(CODE[name]())
    registered = dict(keras.saving.get_custom_objects())
    lossdoctor.check_many([CheckCase(DICT, NAMED, objects=(str(tmp_path / "own.py"),))], cache=False)
    assert (keras.config.floatx(), keras.config.epsilon()) == ("float32", 1e-7)
    assert keras.config.dtype_policy().name == "float32"
    assert dict(keras.saving.get_custom_objects()) == registered


def test_a_module_beside_the_settings_is_found(tmp_path: Path) -> None:
    _losses(tmp_path / "there", 2)
    case = CheckCase(DICT, NAMED, loss="mine", objects=("losses",), folder=str(tmp_path / "there"))
    (result,) = lossdoctor.check_many([case], cache=False)
    assert result.ok, result.error


def test_code_that_ends_the_program_and_bugs_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text("import sys\ndef build():\n    sys.exit(7)\n")
    name, text, error, bug = run_case(CheckCase(f"{tmp_path}/train.py:build", NAMED, "ends"), False)
    assert (name, text, bug) == ("ends", None, False) and "ends the program" in str(error)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a slip")

    monkeypatch.setattr("lossdoctor.doctor.apply_rules", broken)
    _, text, error, bug = run_case(CheckCase(DICT, NAMED, "bug"), False)
    assert (text, bug) == (None, True) and error == "a bug in lossdoctor (ZeroDivisionError: a slip)"


def test_kept_answers_are_used(tmp_path: Path) -> None:
    shutil.copy(DICT, tmp_path / "m.keras")
    np.savez(tmp_path / "b.npz", **{"x": np.ones((8, 5)), "y/zoom": np.ones((8, 1)), "y/angle": np.ones((8, 1))})
    case = (tmp_path / "m.keras", tmp_path / "b.npz")
    first = told(lossdoctor.check_many([case]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lossdoctor.doctor.examine_with_exam", lambda *_, **__: 1 / 0)
        assert told(lossdoctor.check_many([case])) == first
        assert lossdoctor.check_many([case], cache=False)[0].bug
