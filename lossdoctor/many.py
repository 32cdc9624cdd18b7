"""Many cases at once: in this process, in worker processes, or on any `concurrent.futures.Executor`."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import logging
import multiprocessing.util
import os
import signal
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossdoctor import stored
from lossdoctor.api import Report
from lossdoctor.near import ending, first_line
from lossdoctor.request import CheckCase, as_cases
from lossdoctor.signals import raise_again
from lossdoctor.types import CaseError

# A case examined elsewhere comes back as text alone: name, stored report, error, whether the error is a bug of ours.
_Outcome = tuple[str, str | None, str | None, bool]
# Imports, registries and file descriptors are the process's: one case at a time in each.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, eq=False)
class CaseResult:
    """What became of one case: its report, or the sentence that says why there is none (`bug`: a bug of lossdoctor)."""

    name: str
    report: Report | None = None
    error: str | None = None
    bug: bool = False

    @property
    def ok(self) -> bool:
        """True where there is a report without an error."""
        return self.report is not None and self.report.ok


def check_many(
    cases: Iterable[Any],
    *,
    executor: Executor | None = None,
    cache: bool = True,
    progress: Callable[[CaseResult], None] = lambda _: None,
) -> list[CaseResult]:
    """Check many cases and return their results in the order given; one that cannot be read does not stop the others.

    A case is a `CheckCase`, `(model, batch, options, name)` with the last two optional, or a dict of `CheckCase`'s
    fields. `executor` is any `concurrent.futures.Executor`, for example a `ProcessPoolExecutor` with the "spawn"
    context, or Dask's `client.get_executor()`; paths are then read where the work is done. Without one the cases are
    examined in this process, one by one. `progress` is called with each result as it arrives. Raises `CaseError` for a
    case that is none.
    """
    asked = as_cases(cases)
    if executor is None:
        return [_told(_result(run_case(case, cache)), progress) for case in asked]
    futures = [executor.submit(run_case, case, cache) for case in asked]
    try:
        return _collected(futures, asked, progress)
    finally:
        for future in futures:
            future.cancel()


def check_in_processes(
    cases: Sequence[CheckCase],
    jobs: int,
    *,
    cache: bool = True,
    progress: Callable[[CaseResult], None] = lambda _: None,
) -> list[CaseResult]:
    """As `check_many`, with `jobs` worker processes; a case that ends its worker costs no other case its result."""
    found: dict[str, CaseResult] = {}
    waiting = [list(cases)]
    while waiting:
        group = waiting.pop(0)

        def tell(result: CaseResult, alone: bool = len(group) == 1) -> None:
            if alone or not isinstance(result, _Lost):
                progress(result)

        with _pool(min(jobs, len(group))) as pool:
            futures = [pool.submit(_run_in_worker, run_case, case, cache) for case in group]
            found |= {r.name: r for r in _collected(futures, group, tell)}
        lost = [case for case in group if isinstance(found[case.name], _Lost)]
        if len(group) > 1:  # one of them ended its worker, and with it the pool; halves find out which
            middle = len(lost) // 2
            waiting += [half for half in (lost[:middle], lost[middle:]) if half]
    return [found[case.name] for case in cases]


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    others = {*multiprocessing.active_children()}
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    try:
        yield pool
    except BaseException:  # Ctrl-C, SIGTERM: what the workers are at is not waited for
        _end([p for p in multiprocessing.active_children() if p not in others])
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_TO_TIDY_UP = 3.0  # seconds


def _end(workers: Sequence[Any]) -> None:
    for worker in workers:
        worker.terminate()
    last = time.monotonic() + _TO_TIDY_UP
    for worker in workers:
        worker.join(max(0.0, last - time.monotonic()))
        worker.kill()


class _Ended(KeyboardInterrupt):
    """SIGTERM in a worker: raised, so that what is half written is tidied up."""


_working = False


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    signal.signal(signal.SIGTERM, _end_worker)
    raise_again(_Ended)
    multiprocessing.util.Finalize(
        None, _leave, exitpriority=-1000
    )  # after all that `multiprocessing` itself has to finish


def _leave() -> None:
    """The end of a worker, with all that was registered for it, but without taking TensorFlow down module by module (a second)."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _end_worker(number: int, frame: Any) -> None:
    if _working:
        raise _Ended
    os._exit(128 + number)


def _run_in_worker(run: Callable[[CheckCase, bool], _Outcome], case: CheckCase, cache: bool) -> _Outcome:
    """`run` in a worker process, which a SIGTERM ends at once."""
    global _working
    _working = True
    try:
        outcome = run(case, cache)
        _settle()
        return outcome
    except _Ended:
        os._exit(128 + signal.SIGTERM)
    finally:
        _working = False


@functools.cache
def _settle() -> None:
    """What the first case has left (Keras, TensorFlow's definitions) stays for good: walking it again at each collection is a tenth of all time."""
    gc.collect()
    gc.freeze()


class _Lost(CaseResult):
    """A case whose worker ended."""


def _collected(
    futures: Sequence[Future[_Outcome]], cases: Sequence[CheckCase], progress: Callable[[CaseResult], None]
) -> list[CaseResult]:
    names = dict(zip(futures, (case.name for case in cases), strict=True))
    results = {future: _told(_fetched(future, names[future]), progress) for future in as_completed(futures)}
    return [results[future] for future in futures]


def _fetched(future: Future[_Outcome], name: str) -> CaseResult:
    try:
        return _result(future.result())
    except Exception as error:  # whatever an executor says of a worker that ended
        what = f"{type(error).__name__}: {first_line(error)}".rstrip(".")
        return _Lost(
            name, error=f"{name}: the process that examined it ended ({what}); check it alone, with more memory."
        )


def _told(result: CaseResult, progress: Callable[[CaseResult], None]) -> CaseResult:
    progress(result)
    return result


def _result(outcome: _Outcome) -> CaseResult:
    name, text, error, bug = outcome
    return CaseResult(name, None if text is None else Report(stored.load(text)), error, bug)


def run_case(case: CheckCase, cache: bool) -> _Outcome:
    """One case, examined in this process as if it were alone in it. Raises nothing."""
    from lossdoctor import cached

    with _ONE_AT_A_TIME:
        try:
            found = cached.lookup(case) if cache else None
            report = _examined(case, cache) if found is None else found
            return case.name, stored.dump(report), None, False
        except CaseError as error:
            return case.name, None, str(error), False
        except SystemExit as error:
            return case.name, None, f"{case.name}: its code {ending(error)}; let it return, or raise an error.", False
        except Exception as error:  # ours: a case's own errors are `CaseError`s
            if os.environ.get("LOSSDOCTOR_DEBUG") == "1":
                import traceback

                traceback.print_exc()
            return case.name, None, f"a bug in lossdoctor ({type(error).__name__}: {first_line(error)})", True


def _examined(case: CheckCase, cache: bool) -> Any:
    from lossdoctor.cached import examine_anew
    from lossdoctor.case.archive import read_model_config
    from lossdoctor.case.references import is_reference
    from lossdoctor.quiet import captured_output, import_keras_quietly, uncollected

    if not is_reference(case.model):
        read_model_config(case.model)  # what is no model answers without Keras
    with captured_output(), _own_modules(case), _without_advice():
        with uncollected():
            import_keras_quietly()
        from lossdoctor import _state

        with _state.preserved_state():
            return examine_anew(case, cache=cache)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """TensorFlow's logger advises against tracing many functions in one process, which is what many cases are."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _own_modules(case: CheckCase) -> Iterator[None]:
    """What the case imports of the user's own is forgotten afterwards: two cases may each have a losses.py."""
    modules, path = set(sys.modules), list(sys.path)
    named = [name.rpartition(":")[0] for name in (case.model, case.batch or "")]
    files = [name for name in (*case.objects, *named) if name.endswith(".py")]
    roots = (
        {os.path.realpath(Path(f).parent) for f in files} | {os.getcwd()} | ({case.folder} if case.folder else set())
    )
    installed = tuple(os.path.realpath(sysconfig.get_path(kind)) + os.sep for kind in ("purelib", "platlib", "stdlib"))
    inside = tuple(os.path.realpath(root) + os.sep for root in roots)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            places = _places(sys.modules[name])
            if name.split(".")[0] != "lossdoctor" and any(
                place.startswith(inside) and not place.startswith(installed) for place in places
            ):
                del sys.modules[name]


def _places(module: Any) -> list[str]:
    try:
        return [
            os.path.realpath(p) for p in (module.__dict__.get("__file__"), *module.__dict__.get("__path__", ())) if p
        ]
    except Exception:  # a module may be any object
        return []


__all__ = ["CaseResult", "check_in_processes", "check_many", "run_case"]
