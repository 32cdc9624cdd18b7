"""Finished reports, built by hand, that every renderer is shown."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import replace

from lossdoctor.types import Checks, Environment, Finding, Fix, InputSpec, Outcome, Pair, ReportData, Spec

Boxes = namedtuple("Boxes", ["z", "a"])

SPEC = Spec((8, 1), "float32")
PAIR = Pair("y_pred['z']", "y[1]", "mean_squared_error", "loss", 1.0, "sum_over_batch_size", (8, 1), (8, 1), 0, 2.4357)
SWAP = Finding(
    "LD203",
    "sorted-key-pairing",
    "key-order",
    "error",
    "silent",
    "y_pred['z'] is trained on y[1], not on y[0].",
    ("y_pred['z']", "y[1]"),
    {"loss as Keras pairs": 6.3854, "loss paired as declared": 5.7677, "rows": {"x": 8, "y[0]": 8}, "shape": [8, 1]},
    (Fix("name the targets", "batch", "safe", "y = {'z': y[0], 'a': y[1]}"),),
)
LONG = Finding(
    "LD801",
    "whole-tree-loss-called-per-output",
    "custom-loss",
    "warning",
    "risk",
    "Keras calls détection once for each output. " * 8,
    (),
    {f"fact {i}": float(i) for i in range(9)} | {"nan": float("nan"), "none": None, "text": "ü" * 400},
    (
        Fix("a loss for each output", "loss", "review", "def f(y, p):\n    return 0", True),
        Fix("or nest them", "model", "manual"),
    ),
)
CLEAN = ReportData(
    environment=Environment("0.1.0", "3.15.1", "tensorflow", "3.11.7"),
    model_source="model.keras",
    output_names=("a", "z"),
    outputs={"z": SPEC, "a": SPEC},
    inputs=[InputSpec("image", (None, 4), "float32")],
    batch_source="batch.npz",
    x=Spec((8, 4), "float32"),
    y={"z": SPEC, "a": SPEC},
    sample_weight=None,
    outcomes={
        "fit": Outcome("ok", loss=6.3854),
        "train_on_batch": Outcome("ok", loss=6.3854),
        "direct": Outcome("skipped", reason="losses are configured per output"),
    },
    pairs=(PAIR, replace(PAIR, output="y_pred['a']", target="y[0]", value=3.9497, call=1)),
    findings=(),
    checks=Checks(("LD101", "LD203"), {}, ()),
    verdict="clean",
    rows=8,
    compile_source="the model file",
)
RAISED = Outcome("raises", error="ValueError: y_true and y_pred have different structures. " + "x" * 300)

REPORTS: dict[str, ReportData] = {
    "clean": CLEAN,
    "silent": replace(CLEAN, y=[SPEC, SPEC], findings=(SWAP,), verdict="silent"),
    "raises": replace(
        CLEAN,
        y=(2.0, None, True),
        pairs=(),
        findings=(replace(SWAP, impact="raises", fixes=(), evidence={}),),
        outcomes={"fit": RAISED, "train_on_batch": RAISED, "direct": RAISED},
        checks=Checks(("LD101",), {"LD402": "fit raises", "LD703": "fit raises"}, ("the predictions",)),
        verdict="raises",
    ),
    "long": replace(CLEAN, findings=(SWAP, LONG, replace(LONG, severity="info")), verdict="silent"),
    "strange": replace(
        CLEAN,
        outputs=OrderedDict(größe=Boxes(SPEC, (SPEC,)), label=SPEC),
        inputs=None,
        x=None,
        sample_weight=[Spec((8,), "float32")],
        pairs=(
            replace(PAIR, output="y_pred['größe'].z", target=None, target_shape=None, value=float("nan"), weight=0.5),
            replace(PAIR, output="y_pred['label']", reduction=None, value=None, output_shape=(8,), target_shape=()),
        ),
        outcomes={**CLEAN.outcomes, "fit": Outcome("ok", loss=float("inf"))},
    ),
}
