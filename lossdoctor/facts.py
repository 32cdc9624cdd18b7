"""What Keras was observed to do with a case: the frozen facts that the exam hands to the rules. No judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lossdoctor.types import Case, Outcome, Tree

if TYPE_CHECKING:
    import numpy as np

# Gradients of two outputs are far apart where one's norm is more than so many times the other's.
FAR_APART = 100.0


@dataclass(frozen=True)
class Broadcast:
    """Whether one loss broadcasts its target against its output, measured on seeded arrays of the same shapes.

    `shape` is the common shape; `as_given` what the loss returned on the two shapes, `explicit` what
    it returned once both were expanded to `shape` by hand. `observed` says that they agree, and that
    the target counts. `crossed` says that one sample's target meets another sample's output. `rows`:
    with how many that was measured, where the batch has one, which shows nothing of it. `leaf`: which of the call's outputs.
    `sliced`: the loss does so to columns of the output, and not once the target has a last axis of size 1 (`explicit`).
    """

    shape: tuple[int, ...]
    as_given: float
    explicit: float
    observed: bool
    crossed: bool = False
    rows: int | None = None
    leaf: int = 0
    sliced: bool = False


@dataclass(frozen=True)
class LossCall:
    """One call of one loss, as Keras made it in a train step.

    `outputs` and `targets` are the leaves it was handed, in Keras's order (None: a tensor that is no
    leaf of the batch). `value` is the returned scalar, `value_shape` the returned shape,
    `weight` its factor in the total (NaN where a step that raises did not show it).
    `arguments` are what a built-in loss hands to its function (from_logits, ignore_class, axis ...). `builtin` is true for Keras's own losses; `wrapped` for functions, whose arguments Keras squeezes.
    `containers` are those of the targets and of the outputs, each leaf its place in `targets` and `outputs`, where the loss got a subtree.
    `metric`: the name of the class of a `Metric` in the place of a loss, and whether Keras has a `Loss` of that name (None: it is none).
    `takes`: of a call that raised, another shape of its one target, seeded, on which `fit` gets past it (None: none that was tried).
    `weights_container`: the kind of container that its sample weights came in (None for one array).
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
    containers: tuple[Tree, Tree] | None
    sample_weight_shape: tuple[int, ...] | None = None
    weights_container: str | None = None
    value: float | None = None
    value_shape: tuple[int, ...] | None = None
    weight: float = 1.0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    broadcast: Broadcast | None = None
    takes: tuple[int, ...] | None = None
    metric: tuple[str, bool] | None = None

    @property
    def subtree(self) -> bool:
        """True where the loss got a subtree of the outputs, not one."""
        return self.containers is not None


@dataclass(frozen=True)
class Gradient:
    """d(total loss)/d(output), at one output leaf. `norm` is Euclidean; `reached` counts the entries along
    axis 0 that have any non-zero gradient, `rows` all of them, `first_unreached` the first that has none.
    `connected` is false where the backend says that no path leads from the loss to the output (TensorFlow)."""

    output: str
    norm: float
    finite: bool
    reached: int
    rows: int
    first_unreached: int | None = None
    connected: bool = True


@dataclass(frozen=True)
class Share:
    """What one pair has of the whole: of the sum of all weighted losses, and of the sum of the gradients' norms.

    Both are between 0 and 1, None where they were not measured; the pairs of one call (a subtree) share one loss, which the first of them tells.
    """

    loss: float | None
    gradient: float | None


@dataclass(frozen=True)
class Run:
    """One real `fit` or `train_on_batch` on a fresh stand-in.

    `stage` is where it raised: "model" (calling the model on x), "step" (the model's own train_step or compute_loss), "data" (before the loss was reached),
    "dispatch" (Keras pairing targets, outputs and losses), "loss" (inside call number `failed_call`),
    "gradient" (after the losses returned), "metrics" (only with the compiled metrics). `error_at` is "file:line: source" of the user's code, where
    the error came through it. `cause` is what it raises inside that call, where the metrics raise before any loss is reached.
    `losses`: the names of Keras's own losses, where it raises that a name is none of them.
    """

    outcome: Outcome
    calls: tuple[LossCall, ...] = ()
    gradients: tuple[Gradient, ...] = ()
    stage: str | None = None
    failed_call: int | None = None
    error_at: str | None = None
    cause: str | None = None
    losses: tuple[str, ...] = ()


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
class Values:
    """The values of one target or weight leaf, as far as they were read.

    `data` holds the first `read` of `rows` rows as read (text, objects and complex numbers too);
    `numbers` the same as float64, or None where they are no real numbers. `counted` is false at the
    entries whose sample weight is 0 (None: no weights, all count).
    """

    path: str
    dtype: str
    rows: int
    read: int
    data: np.ndarray = field(repr=False)
    numbers: np.ndarray | None = field(repr=False)
    counted: np.ndarray | None = field(default=None, repr=False)

    def where(self, wrong: np.ndarray) -> Wrong | None:
        """How many counted entries are `wrong` (boolean, the shape of `numbers`), and the first of them."""
        if self.counted is not None:
            wrong = wrong & self.counted
        places = wrong.nonzero()
        if not places[0].size:
            return None
        index = tuple(int(axis[0]) for axis in places)
        value = self.data[index]
        return Wrong(int(places[0].size), int(wrong.size), index, value.item() if hasattr(value, "item") else value)

    def kept(self) -> Any:
        """The finite counted numbers, flat; empty where there are none."""
        import numpy as np

        if self.numbers is None:
            return np.zeros(0)
        flat = self.numbers if self.counted is None else self.numbers[self.counted]
        return flat[np.isfinite(flat)].reshape(-1)


@dataclass(frozen=True)
class Wrong:
    """How many of `entries` entries are wrong, and the index and value of the first."""

    count: int
    entries: int
    index: tuple[int, ...]
    value: Any


@dataclass(frozen=True)
class Activation:
    """What one output can be, measured by pushing seeded normals of growing scale through its last layers.

    `name` is None where the graph does not show it. `low` and `high` are the bounds (None: none, or not known).
    `sums_to_one` is the axis along which the entries always add up to 1; `constant` is true where
    the output is the same whatever goes in; `measured` where its last layers could be tried.
    """

    output: str
    name: str | None
    low: float | None = None
    high: float | None = None
    sums_to_one: int | None = None
    constant: bool = False
    measured: bool = False


@dataclass(frozen=True)
class Readings:
    """One cross-entropy on the same predictions, read in several ways (no sample weights).

    `trained` is what Keras computes on the model's output tensor; `probabilities` and `logits` what the
    loss returns on the plain values with `from_logits` False and True; `behind` what it returns on the
    values in front of the activation with `from_logits=True` (None where there are none). `mask`, of an overlap (Dice, Tversky), which takes
    probabilities and has no `from_logits`: its value with the target as the prediction, and with ten times the target.
    """

    call: int
    from_logits: bool
    trained: float
    probabilities: float
    logits: float
    behind: float | None = None
    mask: tuple[float, float] | None = None


@dataclass(frozen=True)
class Draw:
    """One eager step on other seeded predictions: the total, the value of each loss call, the gradient's norm at each output."""

    loss: float | None
    values: tuple[float | None, ...]
    norms: Mapping[str, float]


@dataclass(frozen=True)
class Coupling:
    """Changing one row of the targets (or predictions) moved the gradient of `reached` other rows of this output."""

    output: str
    changed: str
    row: int
    reached: int
    rows: int
    first: int | None


@dataclass(frozen=True)
class Minimum:
    """The loss of one call with the target itself as the prediction, against seeded noise.

    `noise` are the losses of several random predictions, `near` those of small steps away from the
    target, in random directions and their opposites.
    """

    call: int
    at_target: float
    noise: tuple[float, ...]
    near: tuple[float, ...]


@dataclass(frozen=True)
class Zeroed:
    """The weight of one sample set to 0: the gradient norm of that row before and after, and of the column of the
    same number (`column_*` None where the output has no second axis of the batch's size)."""

    output: str
    row: int
    before: float
    after: float
    column_before: float | None = None
    column_after: float | None = None


@dataclass(frozen=True)
class MetricCall:
    """One metric that met one output in Keras's own `compute_metrics`.

    `function` names Keras's own function or class (None for the user's); `threshold` is that of a
    metric that counts predictions above one, `arguments` some of Keras's own: `from_logits`, `sparse_y_pred` and `num_classes`, where it has them.
    """

    metric_path: str
    label: str
    function: str | None
    output: str | None
    target: str | None
    output_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    value: float | None = None
    threshold: float | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Probes:
    """Metamorphic relations on the stand-in, each on Keras's own train step.

    `draws` holds the step on the seeded predictions, and two more where that one shows what a rule tells only if all agree. `permuted` holds the loss
    as given and with the rows in another order. `zeroed` holds the given sample weights with one sample's at 0;
    `values` maps the number of a custom call to the shape of what its loss, called by hand, returns before Keras reduces it; `swapped` maps a
    call's number to its loss on the seeded predictions as Keras calls it and with the two arguments exchanged. `resized` is the case with `resized_rows` rows, a number close by
    that is neither an axis nor the number of outputs, run where the number of rows equals another axis. `scales` maps an output to the gradient's
    norm over that with every loss reduced by "sum_over_batch_size"; `doubled`, of a batch of one row, that with all sample weights twice over that
    as they are; `turned` the outputs whose gradient is the same with every row's weights in reverse order; `ones`, where a loss gets the weights of several outputs, that with all of them 1 over that without.
    `slopes` maps an output, where rows of a categorical cross-entropy do not sum to 1, to (the rise of the loss along its gradient, the gradient's norm).
    """

    draws: tuple[Draw, ...] = ()
    coupled: tuple[Coupling, ...] = ()
    permuted: tuple[float, float] | None = None
    minima: tuple[Minimum, ...] = ()
    zeroed: tuple[Zeroed, ...] = ()
    values: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    swapped: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    resized: Run | None = None
    resized_rows: int = 0
    scales: Mapping[str, float] = field(default_factory=dict)
    doubled: Mapping[str, float] = field(default_factory=dict)
    turned: tuple[str, ...] = ()
    ones: Mapping[str, float] = field(default_factory=dict)
    slopes: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def scalar(self) -> tuple[int, ...]:
        """The numbers of the custom calls whose loss returns one number for the whole batch."""
        return tuple(number for number, shape in self.values.items() if shape == ())


@dataclass(frozen=True)
class Replicated:
    """One real `fit` of the first `rows` rows under the model's own strategy, each replica on its share of them.

    `loss` is what `fit` logs with one replica and with all; `gradients` maps an output to (its gradient's norm with one replica, that with
    all, the norm of their difference).
    """

    strategy: str
    replicas: int
    rows: int
    loss: tuple[float | None, float | None] = (None, None)
    gradients: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Exam:
    """What Keras does with the case: observed facts, no judgement.

    `direct` is one call of the loss on the whole trees. `repeats` holds the case with its rows
    repeated twice and three times, `reduced` the case with every `reduction=None` replaced by
    "sum_over_batch_size" (None where there is none). `values` maps the path of a target or weight leaf to what is
    in it, `activations` an output's path to its range, `readings` the number of a cross-entropy call to its values,
    `replicated` is the case under the strategy that the model was made under (None: there is none),
    `swapped_names` a loss's path to the names of its first two parameters where they stand in the other order. `skipped` maps a probe that could not run to the reason.
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
    swapped_names: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    values: Mapping[str, Values] = field(default_factory=dict)
    activations: Mapping[str, Activation] = field(default_factory=dict)
    readings: Mapping[int, Readings] = field(default_factory=dict)
    metrics: tuple[MetricCall, ...] = ()
    probes: Probes = field(default_factory=Probes)
    replicated: Replicated | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    # What was worked out from these facts, kept as long as they are: no exam is made twice.
    known: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def run(self) -> Run:
        """What tells the pairing: `fit`, or `train_on_batch` where `fit` raises."""
        return self.fit if self.fit.outcome.status == "ok" or not self.train_on_batch.calls else self.train_on_batch
