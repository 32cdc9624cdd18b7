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
    `total_rows` is the size of axis 0 in the file where fewer rows than that are examined.
    """

    source: str
    x: Tree = None
    y: Tree = None
    sample_weight: Tree = None
    total_rows: int | None = None


@dataclass(frozen=True, eq=False)
class CompileArgs:
    """What `model.compile` is given, as live Keras objects, strings or functions.

    `source` says where they come from: "the model file", "--loss", "the call", "nothing".
    """

    loss: Tree = None
    loss_weights: Tree = None
    metrics: Tree = None
    weighted_metrics: Tree = None
    run_eagerly: bool = False
    source: str = "nothing"


@dataclass(frozen=True, eq=False)
class Tail:
    """The last operations before one output: variables of `start` go in, the output comes out."""

    start: Spec
    operations: tuple[Callable[[Any], Any], ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """What is known of a model without its weights.

    `outputs` holds `Spec` leaves in the containers that calling the model returns; `inputs` holds
    `InputSpec` leaves, or is None where the model declares no `keras.Input` (subclassed models).
    `tails` and `masks` have one entry an output leaf in Keras's flat order (dict keys sorted).
    `predictions` holds arrays where the caller gave them. `call_error` is what the model's own
    symbolic call on the batch's x raised ("ValueError: ..."); the outputs are then those of the
    declared inputs.
    """

    source: str
    kind: Literal["functional", "sequential", "subclassed", "outputs"]
    outputs: Tree
    output_names: tuple[str, ...] | None = None
    inputs: Tree = None
    tails: tuple[Tail | None, ...] = ()
    masks: tuple[Spec | None, ...] = ()
    predictions: Tree = None
    call_error: str | None = None
    unknown_objects: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


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
    `weight` is the factor observed in the total loss. Shapes are in elements, axis 0 the samples.
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


@dataclass(frozen=True)
class Fix:
    """One edit that repairs a finding. `verified`: the edited case was examined again and is clean of it."""

    title: str
    target: FixTarget
    grade: Grade
    code: str = ""
    verified: bool = False


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
    """A finished report, ready for any renderer. Trees hold `Spec`, `InputSpec`, Python scalars or None."""

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

    @property
    def summary(self) -> dict[str, int]:
        """How many findings there are of each severity."""
        return {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}


@dataclass(frozen=True)
class Broadcast:
    """Whether one loss broadcasts its target against its output, measured on seeded arrays of the same shapes.

    `shape` is the common shape; `as_given` what the loss returned on the two shapes, `explicit` what
    it returned once both were expanded to `shape` by hand. `observed` says that they agree.
    """

    shape: tuple[int, ...]
    as_given: float
    explicit: float
    observed: bool


@dataclass(frozen=True)
class LossCall:
    """One call of one loss, as Keras made it in a train step.

    `outputs` and `targets` are the leaves it was handed, in Keras's order (None: a tensor that is no
    leaf of the batch). `value` is the returned scalar, `value_shape` the returned shape.
    `builtin` is true for Keras's own losses; `wrapped` for functions, whose arguments Keras squeezes.
    """

    number: int
    loss_path: str
    label: str
    reduction: str | None
    builtin: bool
    wrapped: bool
    outputs: tuple[str | None, ...]
    targets: tuple[str | None, ...]
    output_shapes: tuple[tuple[int, ...], ...]
    target_shapes: tuple[tuple[int, ...], ...]
    output_dtypes: tuple[str, ...]
    target_dtypes: tuple[str, ...]
    subtree: bool
    sample_weight_shape: tuple[int, ...] | None = None
    value: float | None = None
    value_shape: tuple[int, ...] | None = None
    weight: float = 1.0
    broadcast: Broadcast | None = None


@dataclass(frozen=True)
class Gradient:
    """d(total loss)/d(output), at one output leaf. `norm` is Euclidean; `reached` counts the entries along
    axis 0 that have any non-zero gradient, `rows` all of them, `first_unreached` the first that has none."""

    output: str
    norm: float
    finite: bool
    reached: int
    rows: int
    first_unreached: int | None = None


@dataclass(frozen=True)
class Run:
    """One real `fit` or `train_on_batch` on a fresh stand-in.

    `stage` is where it raised: "model" (calling the model on x), "data" (before the loss was reached),
    "dispatch" (Keras pairing targets, outputs and losses), "loss" (inside call number `failed_call`),
    "gradient" (after the losses returned), "metrics" (only with the compiled metrics). `error_at` is "file:line: source" of the user's code, where
    the error came through it.
    """

    outcome: Outcome
    calls: tuple[LossCall, ...] = ()
    gradients: tuple[Gradient, ...] = ()
    stage: str | None = None
    failed_call: int | None = None
    error_at: str | None = None


@dataclass(frozen=True)
class Declared:
    """The same case with everything written by position tied to the names it was declared with.

    `targets`, `losses` and `weights` map an output's path to what was declared for it; `changed` says which of "y",
    "loss", "loss_weights" were tied, `out_of_order` which of them Keras would read in another order
    than written. `run` is the tied case under the real `fit`.
    """

    targets: Mapping[str, str]
    losses: Mapping[str, str]
    weights: Mapping[str, float]
    changed: tuple[str, ...]
    run: Run


@dataclass(frozen=True)
class InputPair:
    """Which leaf of x reached which `Input` when Keras called the model; None where none of x's leaves did."""

    input: str
    x: str | None
    input_shape: tuple[int | None, ...]
    x_shape: tuple[int, ...] | None


@dataclass(frozen=True)
class InputRun:
    """The input stand-in, called on arrays of x's shapes. `error` is what Keras raised, or None."""

    pairs: tuple[InputPair, ...] = ()
    error: str | None = None


@dataclass(frozen=True, eq=False)
class Exam:
    """What Keras does with the case: observed facts, no judgement.

    `direct` is one call of the loss on the whole trees. `repeats` holds the case with its rows
    repeated twice and three times, `reduced` the case with every `reduction=None` replaced by
    "sum_over_batch_size" (None where there is none). `skipped` maps a probe that could not run to the reason.
    """

    case: Case
    fit: Run
    train_on_batch: Run
    direct: Outcome
    inputs: InputRun | None = None
    declared: Declared | None = None
    repeats: tuple[Run, ...] = ()
    reduced: Run | None = None
    loss_source: Mapping[str, Any] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        """What tells the pairing: `fit`, or `train_on_batch` where `fit` raises."""
        return self.fit if self.fit.outcome.status == "ok" or not self.train_on_batch.calls else self.train_on_batch
