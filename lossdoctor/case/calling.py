"""What a model returns for the batch's x: traced without weights, else with them, else by a real call on the batch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lossdoctor import trees
from lossdoctor.case.leaves import array_of
from lossdoctor.near import first_line
from lossdoctor.types import CaseError, Tree

_WRAPPED = re.compile(r"Exception encountered when calling [^\n]*\n+(?:\x1b\[1m)?([^\n\x1b]+)")


@dataclass(frozen=True, eq=False)
class Called:
    """The specs of what came out, and of its masks; `notes` say how they were had where that was not by a trace alone."""

    outputs: Tree
    masks: Tree
    notes: tuple[str, ...] = ()


def call_for_specs(model: Any, source: str, x: Tree, specs: Tree, whole: Callable[[], Any]) -> Called:
    """Call a model without `keras.Input` on x (`specs` are its specs). `whole` gives one with weights that may be called.

    Raises `CaseError` where the real call raises too.
    """
    from lossdoctor import _keras

    try:
        return Called(*_keras.call_specs(model, specs))
    except Exception as error:
        traced = error
    loaded = whole()
    if loaded.built:
        try:
            outputs, masks = _keras.call_specs(loaded, specs, weights=True)
        except Exception as error:
            traced = error
        else:
            return Called(
                outputs, masks, ("the model without its weights: its call() reads them, so they were loaded",)
            )
    try:
        outputs, masks = _keras.called_specs(loaded, trees.map_leaves(array_of, x))
    except NotImplementedError as error:
        if "`call()` method implemented" not in str(error):
            raise _uncallable(model, source, error) from error
        raise CaseError(f"{source} has no call(), so only its own steps know what it returns; {_BY_HAND}.") from error
    except Exception as error:
        raise _uncallable(model, source, error) from error
    note = (
        f"a symbolic trace of the model: its call() needs real values ({type(traced).__name__}: {cause(traced)}), so it was called on "
        "the batch; `fit` traces it too, and raises, unless the model is compiled with run_eagerly=True on TensorFlow"
    )
    return Called(outputs, masks, (note,))


_BY_HAND = "check the losses that they call: lossdoctor.check(outputs=..., batch=(None, y), loss=...)"


def _uncallable(model: Any, source: str, error: BaseException) -> CaseError:
    """A GAN's call takes noise, and its own step images: then the error says nothing against x."""
    from lossdoctor import _keras

    if isinstance(error, _keras.NoTensor):
        return CaseError(f"{source} cannot be examined: {error}; return a dict, a tuple or a list of tensors.")
    said = f"{source} cannot be called on the batch's x ({cause(error)})"
    if "train_step" in _keras.overridden(model):
        return CaseError(f"{said}, and what its own train_step does with x only that knows; {_BY_HAND}.")
    return CaseError(f"{said}; check x.")


def call_for_sizes(model: Any, x: Tree, outputs: Tree, masks: Tree) -> tuple[Tree, Tree, str]:
    """(outputs, masks, what is to be said) of a model whose layers leave sizes open that only a call on the batch shows."""
    from lossdoctor import _keras

    try:
        called = _keras.called_specs(model, trees.map_leaves(array_of, x))
    except Exception as error:  # what the model does with this batch `fit` and the probes show
        return (
            outputs,
            masks,
            f"the sizes of outputs that the model leaves open, which were assumed: its call raises {cause(error)}",
        )
    return (
        *called,
        "the model's outputs by a trace alone: it leaves sizes open that only data show, so it was called on the batch",
    )


def cause(error: BaseException) -> str:
    """What went wrong inside a layer's call, without the sentence that Keras puts in front of it."""
    found = _WRAPPED.findall(str(error))
    text = found[-1].strip() if found else first_line(error)
    return (text if len(text) <= 300 else text[:297] + "...").rstrip(".")


__all__ = ["Called", "call_for_sizes", "call_for_specs", "cause"]
