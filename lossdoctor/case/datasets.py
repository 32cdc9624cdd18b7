"""The first batch of whatever `fit` takes: data sets of every kind, generators, loaders, or one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import GeneratorType
from typing import Any

from lossdoctor.near import ending, first_line
from lossdoctor.types import CaseError


def first_batch(data: Any, source: str = "") -> tuple[tuple[Any, ...], Any]:
    """(the first batch of `data` as a tuple, the data with nothing missing). Raises `CaseError` where there is none.

    `source` says where the data come from, for the sentence.
    """
    if isinstance(data, tuple):
        return data, data
    said = f"{source}: the data" if source else "the data"
    if isinstance(data, list):
        return _of_list(data, said), data
    if isinstance(data, Mapping | str | bytes) or hasattr(data, "__array__"):
        raise CaseError(
            f"{said} are a {type(data).__name__}, which is no data set; give (x, y), or something that yields (x, y)."
        )
    try:
        return _taken(data, said)
    except CaseError:
        raise
    except StopIteration:
        raise CaseError(f"{said} yield no batch; they must give at least one (x, y).") from None
    except (SystemExit, GeneratorExit) as error:
        raise CaseError(f"{said} give no first batch: their code {ending(error)}; they must yield (x, y).") from error
    except Exception as error:  # the user's own iterator
        raise CaseError(
            f"{said} give no first batch ({type(error).__name__}: {first_line(error)}); they must yield (x, y)."
        ) from error


def _of_list(data: list[Any], said: str) -> tuple[Any, ...]:
    """A list is one batch [x, y], as in `lossdoctor.check`, or a list of batches, as its entries show."""
    if not data:
        raise CaseError(f"{said} are an empty list; give at least one (x, y).")
    if not all(isinstance(entry, tuple) for entry in data):
        return tuple(data)
    if len(data) in (2, 3):
        raise CaseError(
            f"{said.removesuffix('the data')}a list of {len(data)} tuples may be one batch or {len(data)}; give one batch as a tuple (x, y), several as iter(...)."
        )
    return _as_batch(data[0])


def _taken(data: Any, said: str) -> tuple[tuple[Any, ...], Any]:
    from keras.utils import PyDataset

    if isinstance(data, PyDataset):
        if data.num_batches == 0:
            raise StopIteration
        return _as_batch(data[0]), data
    if hasattr(data, "element_spec") and hasattr(data, "take"):
        # Without `take`, a pipeline that fetches ahead would go on doing so.
        return _as_batch(next(iter(data.take(1)))), data
    if not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
        raise CaseError(f"{said} are a {type(data).__name__}, which yields nothing; give (x, y), or a data set.")
    iterator = iter(data)
    first = next(iterator)
    if isinstance(data, GeneratorType) and not isinstance(first, tuple):
        raise CaseError(
            f"{said} yield a {type(first).__name__}, and fit takes nothing but tuples from a generator; yield (x, y)."
        )
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


__all__ = ["first_batch"]
