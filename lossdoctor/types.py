"""The frozen values that every stage shares. This module imports nothing of ours.

A *tree* is a plain nested Python structure (dict, list, tuple, namedtuple ...) in the sense of
``keras.tree``; `Tree` is only a name for it. A *path* is typed as Python a user could type:
``y['detection']['bbox']``, ``y_pred[0]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

Tree = Any
Severity = Literal["error", "warning", "info"]
Impact = Literal["raises", "silent", "risk", "note"]
Grade = Literal["safe", "review", "manual"]
FixTarget = Literal["batch", "compile", "model", "loss"]
Verdict = Literal["clean", "raises", "silent", "risk"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


def at_least(severity: str, least: str) -> bool:
    """True where `severity` is `least` or worse."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(least)  # type: ignore[arg-type]


CATEGORIES = (
    "container",
    "key",
    "key-order",
    "rank",
    "shape",
    "dtype",
    "reduction",
    "loss-config",
    "loss-weights",
    "metrics",
    "sample-weight",
    "activation",
    "values",
    "custom-loss",
    "input",
    "environment",
)


class CaseError(Exception):
    """The case could not be read: one sentence that says what, where, and what to do. Exit code 2."""


@dataclass(frozen=True)
class Spec:
    """Shape and dtype of one leaf, known without its data.

    `shape` is in elements, axis 0 the samples; None is a size that only the data decide.
    `dtype` is a NumPy or Keras name ("float32", "int64", "bfloat16", "<U4", "object").
    """

    shape: tuple[int | None, ...]
    dtype: str


# What a model returns in the place of an output: None.
NOTHING = Spec((), "None")


@dataclass(frozen=True)
class InputSpec:
    """One `keras.Input` of a model: its name, shape (axis 0 the samples, usually None) and dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    optional: bool = False


@runtime_checkable
class ArrayRef(Protocol):
    """An array whose header is known and whose data are read only on request."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...

    def rows(self, count: int) -> np.ndarray:
        """The first `count` entries along axis 0 (the whole array where it is 0-d)."""
        ...


@dataclass(frozen=True, eq=False)
class HeldArray:
    """An array that is already in memory, seen as an `ArrayRef`."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> str:
        return self.array.dtype.name

    def rows(self, count: int) -> np.ndarray:
        return self.array[:count] if self.array.ndim else self.array


@dataclass(frozen=True, eq=False)
class Batch:
    """One sample batch. Leaves of the trees are `ArrayRef`, a Python scalar (int, float), or None.

    `sample_weight` is None where the batch has none; `x` and `y` may be None too.
    `total_rows` is the size of axis 0 in the file where fewer rows than that are examined. `notes` say what of it was
    examined in another form.
    """

    source: str
    x: Tree = None
    y: Tree = None
    sample_weight: Tree = None
    total_rows: int | None = None
    notes: tuple[str, ...] = ()


# The arguments of `model.compile` that pair something with outputs.
COMPILE_ARGUMENTS = ("loss", "loss_weights", "metrics", "weighted_metrics")


@dataclass(frozen=True, eq=False)
class CompileArgs:
    """What `model.compile` is given, as live Keras objects, strings or functions.

    `source` says where they come from: "the model", "the model file", "the command line", "the call", "nothing". `compiled` is true where the
    model has an optimizer; `others` are further arguments that are not Keras's defaults (steps_per_execution ...).
    `jit_compile` is what Keras made of it ("auto" where that is not known); `loss_scale` the factor by which the optimizer scales
    the loss before its gradient, and `dynamic_scale` is true where it halves that factor until the gradient is finite.
    """

    loss: Tree = None
    loss_weights: Tree = None
    metrics: Tree = None
    weighted_metrics: Tree = None
    run_eagerly: bool = False
    jit_compile: bool | Literal["auto"] = "auto"
    steps_per_execution: int = 1
    loss_scale: float | None = None
    dynamic_scale: bool = False
    source: str = "nothing"
    compiled: bool = False
    others: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Tail:
    """The last operations before one output: variables of `start` go in, the output comes out.

    `blocked`: the operation among them that has no gradient ("argmax"), "" for none.
    """

    start: Spec
    operations: tuple[Callable[[Any], Any], ...] = ()
    names: tuple[str, ...] = ()
    blocked: str = ""


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """What is known of a model without its weights.

    `outputs` holds `Spec` leaves in the containers that calling the model returns; `inputs` holds
    `InputSpec` leaves, or is None where the model declares no `keras.Input` (subclassed models).
    `tails`, `activation_layers`, `activations` (the name of the function each output leaves through, "linear" for none,
    None where the graph does not show it) and `masks` have one entry an output leaf in Keras's flat order (dict keys sorted).
    `activation_layers` is the code of the layers of the model whose attribute `activation` that is, ``get_layer('scores')`` (None where there is none).
    `predictions` holds arrays where the caller gave them or the model made them; `behind` then has, an output leaf, the
    values in front of its activation where Keras's losses look at those (else None). `call_error` is what the model's own
    symbolic call on the batch's x raised ("ValueError: ..."); the outputs are then those of the
    declared inputs; `preprocessor` is the class of the model's preprocessor where that raised it. `moved_layers` are (saved, loaded) names of layers that a file's weights will not
    go back to; `overridden` the trainer methods that the class replaces, `adds_losses` is true where layers add losses of their own, `trains_added` where such a layer is trainable, `step_calls` what of Keras's own each of them calls (None
    where its source cannot be had), `step_error` what `fit` raises in them, `hands_on` "as it is" or "changed" where the model's own `train_step` was seen to hand the batch on so
    (the batch is then what it hands on), `own_losses` the method of the model's own that trains without any of the compiled losses ("" for none); `stored_code` is true where Lambda code of the file was run (`--unsafe`); `strategy` the
    `tf.distribute` strategy that a live model was made under, where it has several replicas.
    """

    source: str
    kind: Literal["functional", "sequential", "subclassed", "outputs"]
    outputs: Tree
    output_names: tuple[str, ...] | None = None
    inputs: Tree = None
    tails: tuple[Tail | None, ...] = ()
    activations: tuple[str | None, ...] = ()
    activation_layers: tuple[str | None, ...] = ()
    masks: tuple[Spec | None, ...] = ()
    predictions: Tree = None
    behind: tuple[Any, ...] = ()
    call_error: str | None = None
    preprocessor: str | None = None
    unknown_objects: tuple[str, ...] = ()
    moved_layers: tuple[tuple[str, str], ...] = ()
    overridden: tuple[str, ...] = ()
    adds_losses: bool = False
    trains_added: bool = False
    step_calls: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    step_error: str | None = None
    hands_on: str | None = None
    own_losses: str = ""
    stored_code: bool = False
    notes: tuple[str, ...] = ()
    strategy: Any = None


@dataclass(frozen=True)
class Environment:
    """The versions a report was made with. `python` is major.minor.micro."""

    lossdoctor: str
    keras: str
    backend: str
    python: str


@dataclass(frozen=True, eq=False)
class Case:
    """What is given: a model, a batch, compile arguments. `rows` is the number of samples examined."""

    model: ModelSpec
    batch: Batch
    compile: CompileArgs
    environment: Environment
    rows: int
    live: Any = None

    @property
    def forward(self) -> bool:
        """True where the model's own predictions were asked for; `live` is then the model with its weights."""
        return self.live is not None


@dataclass(frozen=True)
class Outcome:
    """One entry point, called once. `loss` is Keras's value, None where it raised, was skipped or is no scalar."""

    status: Literal["ok", "raises", "skipped"]
    error: str | None = None
    loss: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Pair:
    """One output leaf as Keras trained it: with which target leaf, under which loss and weight.

    Paths are Python code; `target` is None where Keras showed the loss no leaf of the batch.
    `call` numbers the loss call: the leaves of a subtree loss share one. `value` is what that call
    returned on the predictions used, before its weight (None where it is no finite scalar).
    `weight` is the factor observed in the total loss (NaN where a step that raises did not show it), `weight_path` the leaf of the given loss_weights that has
    that value (None where none has, or it cannot be told which). Shapes are in elements, axis 0 the samples.
    """

    output: str
    target: str | None
    loss: str
    loss_path: str
    weight: float
    reduction: str | None
    output_shape: tuple[int, ...]
    target_shape: tuple[int, ...] | None
    call: int = 0
    value: float | None = None
    weight_path: str | None = None


@dataclass(frozen=True)
class BatchEdit:
    """One statement on x, y or sample_weight, as a user would type it: ``y = {'a': y[0], 'b': y[1]}``.

    Its names are x, y, sample_weight, np and keras; paths inside it were written with `repr`.
    """

    code: str


@dataclass(frozen=True)
class At:
    """The loss, weight or metric that stands at `path` ("loss['a']") now, with `changes` in its configuration."""

    path: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewLoss:
    """A new loss function: its Python source, and the losses that the source calls by these names."""

    name: str
    source: str
    uses: Mapping[str, At] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """A loss of Keras's own by its class's name, with these arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CompileEdit:
    """One argument of `model.compile` anew: "loss", "loss_weights", "metrics" or "weighted_metrics".

    The leaves of `tree` are `At`, `NewLoss`, `Made`, Keras's names (str), numbers, or None.
    """

    argument: str
    tree: Tree


@dataclass(frozen=True, eq=False)
class OutputsEdit:
    """The model's outputs in other containers: the leaves of `tree` are paths of outputs, ``y_pred[0]``."""

    tree: Tree


@dataclass(frozen=True)
class ActivationEdit:
    """Another activation on the last layer before one output, by Keras's name."""

    output: str
    activation: str


Edit = BatchEdit | CompileEdit | OutputsEdit | ActivationEdit


@dataclass(frozen=True)
class Fix:
    """One repair of a finding.

    `edits` are what it changes, empty where only a person can change it (`why` then says why). `code` is
    what a user types. `verified`: the edited case was examined again, Keras ran it, the finding is gone and nothing
    new came. `effect` says what it changed, in numbers.
    """

    title: str
    target: FixTarget
    grade: Grade
    code: str = ""
    verified: bool = False
    edits: tuple[Edit, ...] = ()
    why: str = ""
    effect: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing a rule saw. `message` says what and what follows; `where` the paths; `evidence` measured values only."""

    code: str
    name: str
    category: str
    severity: Severity
    impact: Impact
    message: str
    where: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fixes: tuple[Fix, ...] = ()


@dataclass(frozen=True)
class Checks:
    """Which rules ran, which could not and why (code -> one sentence), and remarks on what was not looked at."""

    ran: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """A finished report, ready for any renderer. Trees hold `Spec`, `InputSpec`, Python scalars or None.

    `loss` and `loss_weights` are those compiled, in their containers: names of losses, and numbers.
    """

    environment: Environment
    model_source: str
    output_names: tuple[str, ...]
    outputs: Tree
    inputs: Tree
    batch_source: str
    x: Tree
    y: Tree
    sample_weight: Tree
    outcomes: Mapping[str, Outcome]
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]
    checks: Checks
    verdict: Verdict
    rows: int
    compile_source: str
    loss: Tree = None
    loss_weights: Tree = None

    @property
    def summary(self) -> dict[str, int]:
        """How many findings there are of each severity."""
        return {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}
