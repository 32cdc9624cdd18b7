"""Models whose parts Keras makes, and which cannot run, or hold numbers that no float does."""

from __future__ import annotations

from typing import Any

from tests.hostile.build import SOUND, Case, called, dense, function, functional, layer, sequential, tensor, with_model

NO_FLOAT = 10**400


def _compiled(loss: Any = "mse", **more: Any) -> dict[str, Any]:
    return {**sequential(dense(units=3)), "compile_config": {"loss": loss, **more}}


def _loss(**config: Any) -> dict[str, Any]:
    return layer("SparseCategoricalCrossentropy", "keras.losses", **config)


def _optimizer(kind: str, **config: Any) -> dict[str, Any]:
    return layer(kind, "keras.optimizers", **config)


UNCALLABLE = {
    "an activation of two arguments": sequential(dense(activation=function("keras.ops", "add"))),
    "a softmax over an axis that is not there": sequential(dense(), layer("Softmax", name="s", axis=10**9)),
    "an output of text": sequential(dense(dtype="string")),
}
MEAN = {"module": "keras.src.ops.numpy", "class_name": "Mean", "config": {"name": "o"}, "registered_name": "Mean"}
RAISING = {
    **{f"classes along the axis {axis!r}": _compiled(_loss(axis=axis)) for axis in (10**9, None, "x", [1], {})},
    "three classes to ignore": _compiled(_loss(ignore_class=[1e308] * 3)),
    "a weight that no float holds": _compiled(loss_weights=NO_FLOAT),
}
RUNNING = {
    "an output just small enough": sequential(dense(units=16_000_000)),
    "three thresholds for one": {
        **SOUND,
        "compile_config": {"loss": "mse", "metrics": [layer("BinaryAccuracy", "keras.metrics", threshold=[1e308] * 3)]},
    },
    "a loss scale that no float holds": {
        **SOUND,
        "compile_config": {"loss": "mse", "optimizer": _optimizer("Adam", loss_scale_factor=NO_FLOAT)},
    },
    "a first loss scale that no float holds": {
        **SOUND,
        "compile_config": {
            "loss": "mse",
            "optimizer": _optimizer("LossScaleOptimizer", inner_optimizer=_optimizer("SGD"), initial_scale=NO_FLOAT),
        },
    },
    "one number for the whole batch": functional(
        called(dense(), tensor("i")), called(MEAN, tensor("d", (None, 1)), name="o"), output=["o", 0, 0]
    ),
}

LARGE = {
    "an output of 1.9 GB": sequential(dense(units=59_000_000)),
    "twenty outputs of 1.9 GB": functional(
        called(dense("d", units=59_000_000), tensor("i")), output=[["d", 0, 0] for _ in range(20)]
    ),
}

CASES: dict[str, Case] = {
    **{name: Case(with_model(config), "take over 256 MiB") for name, config in LARGE.items()},
    **{name: Case(with_model(config), "last layers cannot be called") for name, config in UNCALLABLE.items()},
    **{name: Case(with_model(config), codes=(1,)) for name, config in RAISING.items()},
    **{name: Case(with_model(config), codes=(0, 1)) for name, config in RUNNING.items()},
}
