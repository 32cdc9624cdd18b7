"""What differs between Keras releases and backends, each fact measured: tests/test_releases.py provokes every one.

Rules, their pages and the tests ask this table and no other place for what an older release does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FIRST = "3.4"


@dataclass(frozen=True)
class Fact:
    """One behaviour of Keras, true from release `first` to `last` (None: to the newest that was tried), both inclusive.

    `backends` names the only ones that show it, none means every one. `rules` are the codes that draw on it.
    """

    id: str
    fact: str
    first: str = FIRST
    last: str | None = None
    backends: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    def holds(self, keras: str, backend: str | None = None) -> bool:
        """True where this Keras release, on this backend, shows it; without a backend, where any does."""
        fits = not self.backends or backend is None or backend in self.backends
        after = self.last is not None and _minor(keras) > _minor(self.last)
        return fits and _minor(keras) >= _minor(self.first) and not after

    def span(self) -> str:
        """ "Keras 3.5 to 3.6", "Keras 3.7 and later, JAX"."""
        if self.last == self.first:
            releases = self.first
        elif self.last is not None:
            releases = f"{self.first} to {self.last}"
        else:
            releases = "every release" if self.first == FIRST else f"{self.first} and later"
        named = releases if releases == "every release" else f"Keras {releases}"
        return named + (f", {' and '.join(_NAMES[b] for b in self.backends)}" if self.backends else "")


_NAMES = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}


def _minor(release: str) -> tuple[int, int]:
    """(3, 15) of "3.15.1" or "3.15"."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


FACTS = (
    Fact(
        "layer-names",
        "A dict of outputs is trained by its layers' names, not by its keys: where they differ, nothing is trained, without a word.",
        last="3.4",
        rules=("LD506",),
    ),
    Fact(
        "left-out",
        "Targets, outputs and losses are paired as flat lists, and what has no partner is left out without a word.",
        last="3.6",
        rules=("LD102", "LD103", "LD104"),
    ),
    Fact(
        "unknown-keys-left-out",
        "A misspelt key of targets is left out, and so is its output, without a word.",
        last="3.4",
        rules=("LD201", "LD202"),
    ),
    Fact(
        "dict-for-one-output",
        "A dict with one target is accepted for the single output of a model (3.4 wants its layer's name, else trains nothing); later releases raise.",
        last="3.6",
        rules=("LD102",),
    ),
    Fact(
        "dict-targets-sorted",
        "A dict of targets for a list of outputs is paired in sorted-key order, not by name.",
        first="3.5",
        last="3.6",
        rules=("LD206",),
    ),
    Fact(
        "dict-losses-sorted",
        "A dict of losses for a list of outputs is paired in sorted-key order, not by name.",
        first="3.5",
        last="3.6",
        rules=("LD206",),
    ),
    Fact(
        "partial-losses-raise",
        "A dict of losses that leaves an output of a dict out raises KeyError.",
        first="3.5",
        last="3.5",
        rules=("LD502",),
    ),
    Fact(
        "partial-losses-of-a-list",
        "A dict of losses for a list of outputs may leave outputs out; later releases raise.",
        last="3.4",
        rules=("LD502",),
    ),
    Fact(
        "several-losses-for-one-output",
        "A list of losses for a single output is taken, and only its first loss counts; earlier releases raise.",
        first="3.7",
        rules=("LD506",),
    ),
    Fact(
        "unknown-weights",
        "loss_weights with keys that no output has are applied by position to the outputs of a dict; earlier releases raise.",
        first="3.5",
        rules=("LD511",),
    ),
    Fact(
        "weights-in-another-container",
        "A dict of weights for a list of losses, or a list for a dict, is paired in sorted-key order; earlier releases raise.",
        first="3.5",
        rules=("LD511",),
    ),
    Fact(
        "weights-of-one-shared-loss",
        "One loss for several outputs takes a list of weights, one for each output; later releases raise.",
        last="3.6",
        rules=("LD512",),
    ),
    Fact(
        "nested-losses",
        "Losses may be nested like the outputs; earlier releases raise.",
        first="3.5",
        rules=("LD501",),
    ),
    Fact(
        "subtree-losses",
        "A loss given for a subtree of the outputs is called with the whole subtree; earlier releases raise.",
        first="3.7",
        rules=("LD501", "LD504", "LD801"),
    ),
    Fact(
        "trees-in-a-direct-call",
        "loss(y_true, y_pred) takes two lists of equal length; earlier releases raise.",
        first="3.7",
        rules=("LD101",),
    ),
    Fact(
        "complex-targets",
        "Complex targets train on their real part; earlier releases raise.",
        first="3.6",
        rules=("LD307",),
    ),
    Fact(
        "none-targets",
        "None may stand for the target of an output without a loss; earlier releases raise AttributeError.",
        first="3.12",
        rules=("LD105",),
    ),
    Fact(
        "metrics-by-layer-names",
        "Metrics go by the outputs' layers' names: fit raises for a dict of outputs with other keys.",
        last="3.11",
        rules=("LD521", "LD522"),
    ),
    Fact(
        "metrics-key-ignored",
        "The keys of metrics are ignored where the model has a single output; earlier releases raise for an unknown one.",
        first="3.14",
        rules=("LD522",),
    ),
    Fact(
        "masks-on-jax",
        "A mask reaches the loss on JAX (3.6: in a compiled fit only), so that targets (N, T) of a masked output (N, T, 1) raise; before, JAX's arrays lose it.",
        first="3.6",
        rules=("LD302",),
    ),
    Fact(
        "list-of-x-sorted",
        "A dict of x for a list of inputs is dealt out in sorted-key order, not by name.",
        last="3.6",
        rules=("LD901",),
    ),
    Fact(
        "names-of-x-checked",
        "fit raises for a misspelt name in a dict of x; on JAX earlier releases do so only where the model has metrics.",
        first="3.5",
        rules=("LD902",),
    ),
    Fact(
        "unreduced-loss-raises",
        "fit raises for a loss with reduction=None; TensorFlow trains on its sum.",
        backends=("jax", "torch"),
        rules=("LD401", "LD954"),
    ),
    Fact(
        "labels-unchecked",
        "Class numbers that no unit stands for give a loss of 0; TensorFlow and PyTorch raise.",
        backends=("jax",),
        rules=("LD702", "LD954"),
    ),
    Fact(
        "ignored-class-nan",
        "SparseCategoricalCrossentropy(ignore_class=-1) has a gradient of NaN where a label is -1: one step makes the weights NaN.",
        last="3.14",
        backends=("jax",),
        rules=("LD702", "LD805"),
    ),
    Fact(
        "binary-targets-checked",
        "binary_crossentropy raises for targets outside of 0 to 1; elsewhere they train.",
        backends=("torch",),
        rules=("LD703",),
    ),
    Fact(
        "logits-behind-the-activation",
        "Cross-entropies use the values in front of a softmax or sigmoid, where the output remembers them.",
        backends=("tensorflow",),
        rules=("LD601", "LD603", "LD954"),
    ),
)

BY_ID = {fact.id: fact for fact in FACTS}


def holds(id: str, keras: str, backend: str | None = None) -> bool:
    """True where this Keras release shows the behaviour of that name. Raises `KeyError` for an unknown name."""
    return BY_ID[id].holds(keras, backend)


def since(keras: str, release: str) -> bool:
    """True where `keras` is that release or a later one: "3.7.0" is since "3.7"."""
    return _minor(keras) >= _minor(release)


def drawn_on_by(code: str) -> tuple[Fact, ...]:
    """The facts that one rule draws on."""
    return tuple(fact for fact in FACTS if code in fact.rules)


__all__ = ["BY_ID", "FACTS", "FIRST", "Fact", "drawn_on_by", "holds", "since"]
