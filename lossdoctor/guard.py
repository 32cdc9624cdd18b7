"""`preflight`: a check right before `fit`, on the first batch of what `fit` will be given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import GeneratorType
from typing import Any, Literal

from lossdoctor.api import Report, check
from lossdoctor.near import first_line
from lossdoctor.types import SEVERITIES, CaseError

FailOn = Literal["error", "warning", "info", "never"]


def preflight(model: Any, data: Any, *, fail_on: FailOn = "error", show: bool = True, **options: Any) -> Any:
    """Check `model` with the first batch of `data`, and return the data to train on::

        data = lossdoctor.preflight(model, data)
        model.fit(data)

    `data` is what `fit` takes: a `tf.data.Dataset`, a `PyDataset`, a loader, a generator, or a whole `(x, y)` or
    `(x, y, sample_weight)`. What can be iterated anew is returned as it is. From a generator or another iterator the
    first batch has to be taken; what is returned is a generator that yields it first, so train on that one. (A
    `tf.data.Dataset` with a seeded shuffle counts this look as one iteration: `fit` gets the order of the next.)

    Raises `FindingsError` for a finding of severity `fail_on` or worse ("never": for none). Other findings are printed
    to stderr, unless `show` is False. `options` are those of `lossdoctor.check` (loss, select, ignore, forward ...).
    The model is not changed. Raises `CaseError` where `data` gives no batch.
    """
    if fail_on not in (*SEVERITIES, "never"):
        raise ValueError(f"preflight's fail_on takes one of {', '.join(SEVERITIES)}, never; not {fail_on!r}")
    batch, kept = first_batch(data)
    report = check(model, batch, **options)
    if fail_on != "never":
        report.raise_for_findings(fail_on)
    if show and report.findings:
        _print(report)
    return kept


def first_batch(data: Any) -> tuple[tuple[Any, ...], Any]:
    """(the first batch of `data` as a tuple, the data with nothing missing). Raises `CaseError` where there is none."""
    if isinstance(data, tuple):
        return data, data
    if isinstance(data, list):
        return _of_list(data), data
    if isinstance(data, Mapping | str | bytes) or hasattr(data, "__array__"):
        raise CaseError(
            f"the data are a {type(data).__name__}, which is no data set; give (x, y), or something that yields (x, y)."
        )
    try:
        return _taken(data)
    except CaseError:
        raise
    except StopIteration:
        raise CaseError("the data yield no batch; they must give at least one (x, y).") from None
    except Exception as error:  # the user's own iterator
        raise CaseError(
            f"the data give no first batch ({type(error).__name__}: {first_line(error)}); they must yield (x, y)."
        ) from error


def _of_list(data: list[Any]) -> tuple[Any, ...]:
    """A list is one batch [x, y], as in `lossdoctor.check`, or a list of batches, as its entries show."""
    if not data:
        raise CaseError("the data are an empty list; give at least one (x, y).")
    if not all(isinstance(entry, tuple) for entry in data):
        return tuple(data)
    if len(data) in (2, 3):
        raise CaseError(
            f"a list of {len(data)} tuples may be one batch or {len(data)}; give one batch as a tuple (x, y), several as iter(...)."
        )
    return _as_batch(data[0])


def _taken(data: Any) -> tuple[tuple[Any, ...], Any]:
    from keras.utils import PyDataset

    if isinstance(data, PyDataset):
        return _as_batch(data[0]), data
    if hasattr(data, "element_spec") and hasattr(data, "take"):
        # Without `take`, a pipeline that fetches ahead would go on doing so.
        return _as_batch(next(iter(data.take(1)))), data
    if not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
        raise CaseError(f"the data are a {type(data).__name__}, which yields nothing; give (x, y), or a data set.")
    iterator = iter(data)
    first = next(iterator)
    # Python's own iterators cost nothing to ask for again; a loader's may start processes.
    plain = type(iterator).__module__ in ("builtins", "itertools")
    if iterator is data or (plain and iter(data) is iterator):
        return _as_batch(first), _put_back(first, iterator)
    if isinstance(iterator, GeneratorType):
        iterator.close()  # frees what the generator behind `__iter__` holds
    return _as_batch(first), data


def _put_back(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    # A generator and no itertools.chain: of iterators, `fit` takes generators only.
    yield first
    yield from rest


def _as_batch(item: Any) -> tuple[Any, ...]:
    """An item of a data set as Keras unpacks it: a list is a tuple, anything else is x alone."""
    return tuple(item) if isinstance(item, tuple | list) else (item,)


def _print(report: Report) -> None:
    from rich.console import Console

    from lossdoctor.report import text

    text.render(report.data, Console(stderr=True, highlight=False))


__all__ = ["first_batch", "preflight"]
