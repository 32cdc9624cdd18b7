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
    (
        Fix(
            "name the targets",
            "batch",
            "safe",
            "y = {'z': y[0], 'a': y[1]}",
            True,
            effect="total loss on this batch 6.385 -> 5.768; y_pred['z'] now trains on y[0]",
        ),
    ),
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
        Fix("or nest them", "model", "manual", why="which belongs to which is not written"),
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
    loss="mean_squared_error",
)
RAISED = Outcome("raises", error="ValueError: y_true and y_pred have different structures. " + "x" * 300)

BOX, SCORE, LABEL = Spec((16, 4), "float32"), Spec((16, 1), "float32"), Spec((16, 20), "float32")
DETECTOR = replace(
    CLEAN,
    model_source="runs/detector.keras",
    batch_source="runs/batch.npz",
    output_names=("box", "score", "label"),
    outputs=OrderedDict(detection={"box": BOX, "score": SCORE}, label=LABEL),
    y={"detection": {"box": BOX, "score": SCORE}, "label": LABEL},
    loss={"detection": {"score": "binary_crossentropy", "box": "huber"}, "label": "categorical_crossentropy"},
    loss_weights=[10.0, 1.0, 0.1],
    pairs=(
        Pair(
            "y_pred['detection']['box']",
            "y['detection']['box']",
            "huber",
            "loss['detection']['box']",
            1.0,
            "sum_over_batch_size",
            (16, 4),
            (16, 4),
            0,
            0.8123,
            "loss_weights[1]",
        ),
        Pair(
            "y_pred['detection']['score']",
            "y['detection']['score']",
            "binary_crossentropy",
            "loss['detection']['score']",
            10.0,
            "sum_over_batch_size",
            (16, 1),
            (16, 1),
            1,
            0.6931,
            "loss_weights[0]",
        ),
        Pair(
            "y_pred['label']",
            "y['label']",
            "categorical_crossentropy",
            "loss['label']",
            0.1,
            "sum_over_batch_size",
            (16, 20),
            (16, 20),
            2,
            2.9957,
            "loss_weights[2]",
        ),
    ),
    findings=(
        Finding(
            "LD511",
            "weights-mispaired",
            "loss-weights",
            "error",
            "silent",
            "The loss of y_pred['detection']['box'] counts 1 times, not 10 times.",
            ("y_pred['detection']['box']", "y_pred['detection']['score']"),
            {"y_pred['detection']['box'] weight": {"named": 10.0, "measured": 1.0}},
            (Fix("weights by name", "compile", "safe", "loss_weights={'box': 10, 'score': 1, 'label': 0.1}", True),),
        ),
        Finding(
            "LD603",
            "activation-loss-mismatch",
            "activation",
            "warning",
            "risk",
            "y_pred['label'] leaves through sigmoid, and its loss is categorical.",
            ("y_pred['label']",),
            {"activation": "sigmoid"},
            (Fix("a softmax, or binary_crossentropy", "model", "manual"),),
        ),
        Finding(
            "LD106",
            "container-lost-on-save",
            "container",
            "info",
            "note",
            "The saved file holds the outputs in other containers than they were given in.",
            ("y_pred['detection']",),
        ),
    ),
    verdict="silent",
    rows=16,
)

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
    "detector": DETECTOR,
    "strange": replace(
        CLEAN,
        loss=None,
        model_source="läufe/größe 1.keras",
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
