"""The five public problems that lossdoctor started from, end to end through the command line.

Every silent claim is held against Keras: the loss that the real model computes, against the loss computed output by output.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import lossdoctor
from lossdoctor import releases, trees

FIXTURES = Path(__file__).parent.parent / "fixtures"
OBJECTS = {"keras_20654": "losses.py", "keras_20351": "whole.py"}


# Keras before 3.7 raises for a loss at a subtree of the outputs.
NESTS = pytest.mark.skipif(not releases.holds("subtree-losses", keras.__version__), reason="raises before Keras 3.7")
LEAVES_OUT = releases.holds("left-out", keras.__version__)


@functools.cache
def built(folder: str) -> Path:
    """The committed files of a fixture, or those that its build.py writes where another Keras release is installed: an older
    one cannot read what a newer one saved."""
    model = next((FIXTURES / folder).glob("*.keras"))
    with zipfile.ZipFile(model) as archive:
        saved_by = json.loads(archive.read("metadata.json"))["keras_version"]
    if saved_by == keras.__version__:
        return FIXTURES / folder
    made = tempfile.TemporaryDirectory()
    atexit.register(made.cleanup)
    build(folder).build(Path(made.name))
    return Path(made.name)


def build(folder: str) -> Any:
    """The script that writes a fixture, as a module."""
    spec = importlib.util.spec_from_file_location(f"build_{folder}", FIXTURES / folder / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(capfd: Any, folder: str, model: str, batch: str, *options: str) -> tuple[int, dict[str, Any]]:
    """(exit code, JSON document) of `lossdoctor check`, run in this process."""
    from lossdoctor.cli import main

    objects = ["--objects", str(FIXTURES / folder / OBJECTS[folder])] if folder in OBJECTS else []
    arguments = [
        "check",
        str(built(folder) / model),
        str(built(folder) / batch),
        "--format",
        "json",
        *objects,
        *options,
    ]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["lossdoctor", *arguments])
        main.run()
    out, err = capfd.readouterr()
    assert out, err
    return int(ended.value.code or 0), json.loads(out)


def codes(document: dict[str, Any], severity: str = "error") -> list[str]:
    return [f["code"] for f in document["findings"] if f["severity"] == severity]


def pairs(document: dict[str, Any]) -> dict[str, str]:
    return {p["output"]: p["target"] for p in document["pairs"]}


def load(folder: str, model: str, batch: str) -> tuple[Any, Any, Any]:
    """The real model with its real weights, x and y."""
    if folder in OBJECTS:
        from lossdoctor.case.references import import_objects

        import_objects(str(FIXTURES / folder / OBJECTS[folder]))
    data = lossdoctor.load_batch(built(folder) / batch)
    x, y = (trees.map_leaves(lambda a: a.rows(10**6) if hasattr(a, "rows") else a, t) for t in (data.x, data.y))
    return keras.saving.load_model(built(folder) / model), x, y


def mse(target: Any, output: Any) -> float:
    return float(np.mean(np.square(np.asarray(target) - keras.ops.convert_to_numpy(output))))


def mean(values: Any) -> float:
    return float(np.mean(keras.ops.convert_to_numpy(values)))


# keras-team/keras#20373: three entry points, three answers


def test_20373_tells_the_three_entry_points_apart(capfd: Any) -> None:
    code, document = check(capfd, "keras_20373", "model.keras", "tuple.npz")
    model, x, y = load("keras_20373", "model.keras", "tuple.npz")
    with pytest.raises((ValueError, AttributeError), match="tuple|structure|shape"):
        keras.losses.MeanSquaredError()(y, model(x))
    assert np.isfinite(model.test_on_batch(x, y)).all()
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])
    assert {name: o["status"] for name, o in document["outcomes"].items()} == {
        "fit": "ok",
        "train_on_batch": "ok",
        "direct": "raises",
    }
    assert (code, document["verdict"]) == (0, "clean")
    assert codes(document, "info") == ["LD101"]
    assert pairs(document) == {"y_pred[0]": "y[0]", "y_pred[1]": "y[1]", "y_pred[2]": "y[2]"}


def test_20373_numbers_as_targets(capfd: Any) -> None:
    code, document = check(capfd, "keras_20373", "model.keras", "scalars.npz")
    model, x, y = load("keras_20373", "model.keras", "scalars.npz")
    assert y == (2.0, 6.0, 10.0)
    with pytest.raises(ValueError, match="Unrecognized data type"):
        model.fit(x, y, verbose=0)
    outputs = model(x)
    expected = sum(mse(t, o) for t, o in zip(y, outputs, strict=True))
    if (backend := keras.backend.backend()) == "torch":
        with pytest.raises(AttributeError, match="shape"):
            model.train_on_batch(x, y)
    else:
        assert model.train_on_batch(x, y, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-5)
    assert (code, codes(document)) == (1, ["LD304"])
    assert document["outcomes"]["fit"]["status"] == "raises"
    assert document["outcomes"]["train_on_batch"]["status"] == ("raises" if backend == "torch" else "ok")


def test_20373_one_array_for_three_outputs(capfd: Any) -> None:
    code, document = check(capfd, "keras_20373", "model.keras", "one_array.npz")
    model, x, y = load("keras_20373", "model.keras", "one_array.npz")
    if LEAVES_OUT:
        first = mse(y, model(x)[0])
        assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(first, rel=1e-5)
        assert (code, "LD104" in codes(document)) == (1, True)
        assert [p["output"] for p in document["pairs"]] == ["y_pred[0]"]
    else:
        with pytest.raises(KeyError):
            model.fit(x, y, verbose=0)
        assert (code, codes(document), document["pairs"]) == (1, ["LD104"], [])
    fix = next(f for f in document["findings"] if f["code"] == "LD104")["fixes"][0]["code"]
    assert fix == "y = [y[:, 0:1], y[:, 1:2], y[:, 2:3]]"
    namespace = {"y": y}
    exec(fix, namespace)
    assert lossdoctor.check(model, (x, namespace["y"])).data.verdict == "clean"


def test_20373_repaired(capfd: Any) -> None:
    code, document = check(capfd, "keras_20373", "model.keras", "repaired.npz")
    assert (code, document["findings"]) == (0, [])
    assert {name for name, o in document["outcomes"].items() if o["status"] == "ok"} >= {"fit", "train_on_batch"}
    whole = releases.holds("trees-in-a-direct-call", keras.__version__)
    assert document["outcomes"]["direct"]["status"] == ("ok" if whole else "raises")


# keras-team/keras#20654: one custom loss, called once per output


@pytest.mark.parametrize("name", ["function", "subclass"])
def test_20654_the_index_slices_the_batch(capfd: Any, name: str) -> None:
    code, document = check(capfd, "keras_20654", f"{name}.keras", "batch.npz")
    assert (code, document["verdict"], codes(document)) == (1, "silent", ["LD801"])
    model, x, y = load("keras_20654", f"{name}.keras", "batch.npz")
    outputs = model.predict(x, verbose=0)
    # What Keras minimizes is the loss of two samples, for each output ...
    per_output = sum(mse(t[0], o[0]) + mse(t[1], o[1]) for t, o in zip(y, outputs, strict=True))
    # ... not the loss of two outputs, which its author wrote.
    meant = sum(mse(t, o) for t, o in zip(y, outputs, strict=True))
    real = model.test_on_batch(x, y, return_dict=True)["loss"]
    assert real == pytest.approx(per_output, rel=1e-5)
    assert abs(per_output - meant) > 0.01
    finding = document["findings"][0]
    assert "y_pred[0]" in finding["message"] and "losses.py:" in finding["evidence"]["line"]
    assert finding["evidence"]["y_pred[0] samples with a gradient"] == "2 of 8"
    line = int(finding["evidence"]["line"].split(":")[1])
    assert "y_pred[0]" in (FIXTURES / "keras_20654" / "losses.py").read_text().splitlines()[line - 1]
    # On the real predictions lossdoctor's numbers are Keras's.
    report = lossdoctor.check(outputs=outputs, output_names=model.output_names, batch=(x, y), loss=model.loss)
    assert report.data.outcomes["fit"].loss == pytest.approx(per_output, rel=1e-5)
    assert report.data.outcomes["direct"].loss == pytest.approx(meant, rel=1e-5)


@pytest.mark.parametrize(("model", "batch"), [pytest.param("nested", "nested", marks=NESTS), ("per_output", "batch")])
def test_20654_repaired(capfd: Any, model: str, batch: str) -> None:
    code, document = check(capfd, "keras_20654", f"{model}.keras", f"{batch}.npz")
    assert (code, document["verdict"], codes(document)) == (0, "clean", [])
    live, x, y = load("keras_20654", f"{model}.keras", f"{batch}.npz")
    if model == "nested":
        outputs = live.predict(x, verbose=0)
        meant = sum(mse(y["detection"][k], outputs["detection"][k]) for k in ("bbox", "classification"))
        assert live.test_on_batch(x, y, return_dict=True)["loss"] == pytest.approx(meant, rel=1e-5)


@NESTS
@pytest.mark.parametrize("name", ["function", "subclass"])
def test_20654_the_regrouping_of_the_report_repairs_it(name: str) -> None:
    model, x, y = load("keras_20654", f"{name}.keras", "batch.npz")
    finding = next(f for f in lossdoctor.check(model, (x, y)).findings if f.code == "LD801")
    losses = importlib.import_module("losses")  # registered by --objects
    namespace = {**vars(losses), "keras": keras, "model": model, "y": y}
    fix = finding.fixes[0]
    assert fix.verified
    exec(fix.code, namespace)
    repaired, targets = namespace["model"], namespace["y"]
    repaired.compile(optimizer=model.optimizer, loss=namespace["loss"])
    assert lossdoctor.check(repaired, (x, targets)).data.verdict == "clean"
    outputs = model.predict(x, verbose=0)
    meant = sum(mse(t, o) for t, o in zip(y, outputs, strict=True))
    assert repaired.test_on_batch(x, targets, return_dict=True)["loss"] == pytest.approx(meant, rel=1e-5)


def test_20654_without_source_the_gradient_tells() -> None:
    """A Loss subclass that hands on to another function: its own body indexes nothing."""
    model, x, y = load("keras_20654", "function.keras", "batch.npz")
    spec = importlib.util.find_spec("losses")
    losses = importlib.import_module("losses") if spec else None
    assert losses is not None
    model.compile(loss=losses.DetectionLoss())
    report = lossdoctor.check(model, (x, y))
    assert [f.code for f in report.findings if f.severity == "error"] == ["LD801"]
    assert "line" not in report.findings[0].evidence


# keras-team/keras#20346 and #20596: dictionaries re-sorted


@pytest.mark.parametrize("batch", ["positional", "tuple"])
def test_20346_the_swap_and_both_losses(capfd: Any, batch: str) -> None:
    code, document = check(capfd, "keras_20346", "dict.keras", f"{batch}.npz")
    assert (code, document["verdict"], codes(document)) == (1, "silent", ["LD203"])
    assert pairs(document) == {"y_pred['zoom']": "y[1]", "y_pred['angle']": "y[0]"}
    model, x, y = load("keras_20346", "dict.keras", f"{batch}.npz")
    outputs = model.predict(x, verbose=0)
    outputs = {name: outputs[name] for name in ("zoom", "angle")}  # 3.12's predict on JAX sorts them
    swapped = mse(y[1], outputs["zoom"]) + mse(y[0], outputs["angle"])
    declared = mse(y[0], outputs["zoom"]) + mse(y[1], outputs["angle"])
    assert abs(swapped - declared) > 0.1
    assert model.test_on_batch(x, y, return_dict=True)["loss"] == pytest.approx(swapped, rel=1e-5)
    report = lossdoctor.check(outputs=outputs, output_names=model.output_names, batch=(x, y), loss="mse")
    evidence = next(f.evidence for f in report.findings if f.code == "LD203")
    assert evidence["loss as Keras pairs"] == pytest.approx(swapped, rel=1e-5)
    assert evidence["loss paired as declared"] == pytest.approx(declared, rel=1e-5)


@pytest.mark.parametrize("batch", ["named", "named_sorted"])
@pytest.mark.parametrize("model", ["dict", "list"])
def test_20346_names_pair_rightly(capfd: Any, model: str, batch: str) -> None:
    code, document = check(capfd, "keras_20346", f"{model}.keras", f"{batch}.npz")
    if model == "list" and releases.holds("dict-targets-sorted", keras.__version__):
        assert (code, document["verdict"], codes(document)) == (1, "silent", ["LD203"])
        return
    assert (code, document["verdict"]) == (0, "clean")
    zoom, angle = ("y_pred['zoom']", "y_pred['angle']") if model == "dict" else ("y_pred[0]", "y_pred[1]")
    assert pairs(document) == {zoom: "y['zoom']", angle: "y['angle']"}
    live, x, y = load("keras_20346", f"{model}.keras", f"{batch}.npz")
    outputs = live.predict(x, verbose=0)
    outputs = outputs if model == "dict" else dict(zip(("zoom", "angle"), outputs, strict=True))
    declared = mse(y["zoom"], outputs["zoom"]) + mse(y["angle"], outputs["angle"])
    assert live.test_on_batch(x, y, return_dict=True)["loss"] == pytest.approx(declared, rel=1e-5)
    # A dict of targets for a list of outputs is paired otherwise by Keras 3.5 and 3.6.
    assert ("LD206" in codes(document, "info")) == (model == "list")


def test_20346_lists_are_paired_by_place(capfd: Any) -> None:
    code, document = check(capfd, "keras_20346", "list.keras", "positional.npz")
    assert (code, document["findings"]) == (0, [])
    assert pairs(document) == {"y_pred[0]": "y[0]", "y_pred[1]": "y[1]"}


def test_20346_the_fix_of_the_report_repairs_it() -> None:
    model, x, y = load("keras_20346", "dict.keras", "positional.npz")
    fix = next(f for f in lossdoctor.check(model, (x, y)).findings if f.code == "LD203").fixes[0]
    namespace = {"y": y}
    exec(fix.code, namespace)
    assert lossdoctor.check(model, (x, namespace["y"])).data.verdict == "clean"
    outputs = model.predict(x, verbose=0)
    declared = mse(y[0], outputs["zoom"]) + mse(y[1], outputs["angle"])
    assert model.test_on_batch(x, namespace["y"], return_dict=True)["loss"] == pytest.approx(declared, rel=1e-5)


# keras-team/keras#20351 and #20358: nested outputs, dotted paths


@NESTS
def test_20351_dotted_paths_raise_and_are_converted(capfd: Any) -> None:
    code, document = check(capfd, "keras_20351", "dotted.keras", "batch.npz")
    model, x, y = load("keras_20351", "dotted.keras", "batch.npz")
    with pytest.raises(KeyError, match="detection.bbox"):
        model.fit(x, y, verbose=0)
    assert (code, document["verdict"], codes(document)) == (1, "raises", ["LD501"])
    fix = document["findings"][0]["fixes"][0]["code"]
    loss = eval(fix.removeprefix("loss="))
    report = lossdoctor.check(model, (x, y), loss=loss)
    assert report.data.verdict == "clean"


@NESTS
def test_20351_a_subtree_loss_gets_the_whole_subtree_and_both_levels_add_up(capfd: Any) -> None:
    code, document = check(capfd, "keras_20351", "both_levels.keras", "batch.npz")
    assert (code, document["verdict"], codes(document, "info")) == (0, "clean", ["LD504"])
    whole = [p for p in document["pairs"] if p["loss"] == "whole_detection"]
    assert [p["output"] for p in whole] == ["y_pred['detection']['bbox']", "y_pred['detection']['confidence']"]
    assert {p["loss_path"] for p in document["pairs"]} == {
        "loss['detection'][0]",
        "loss['detection'][1]['bbox']",
        "loss['detection'][1]['confidence']",
        "loss['classification']",
    }
    model, x, y = load("keras_20351", "both_levels.keras", "batch.npz")
    out = model.predict(x, verbose=0)
    box = np.mean(np.square(y["detection"]["bbox"] - out["detection"]["bbox"]), axis=-1)
    parts = [
        float(np.mean(box * y["detection"]["confidence"][:, 0])),
        float(np.mean(box)),
        mean(keras.losses.binary_crossentropy(y["detection"]["confidence"], out["detection"]["confidence"])),
        mean(keras.losses.categorical_crossentropy(y["classification"], out["classification"])),
    ]
    assert model.test_on_batch(x, y, return_dict=True)["loss"] == pytest.approx(sum(parts), rel=1e-4)


@NESTS
def test_20351_repaired(capfd: Any) -> None:
    code, document = check(capfd, "keras_20351", "nested.keras", "batch.npz")
    assert (code, document["findings"]) == (0, [])


@NESTS
def test_20351_dotted_paths_on_the_command_line(capfd: Any) -> None:
    code, document = check(
        capfd,
        "keras_20351",
        "nested.keras",
        "batch.npz",
        "--loss",
        '{"detection.bbox": "mse", "detection.confidence": "mae", "classification": "mse"}',
    )
    assert (code, document["verdict"], codes(document)) == (0, "clean", [])


# keras-team/keras#20395: what one call returns under each reduction


@pytest.mark.parametrize(
    ("kind", "reduction", "shape"),
    [
        ("nd", "default", ()),
        ("nd", "sum", ()),
        ("nd", "none", (8,)),
        ("ntd", "default", ()),
        ("ntd", "sum", ()),
        ("ntd", "none", (8, 5)),
    ],
)
def test_20395_what_one_call_returns(capfd: Any, kind: str, reduction: str, shape: tuple[int, ...]) -> None:
    model, x, y = load("keras_20395", f"{kind}_{reduction}.keras", f"{kind}.npz")
    assert tuple(model.loss(y, model(x)).shape) == shape
    code, document = check(capfd, "keras_20395", f"{kind}_{reduction}.keras", f"{kind}.npz")
    assert (
        document["pairs"] == []
        or document["pairs"][0]["reduction"]
        == {
            "default": "sum_over_batch_size",
            "sum": "sum",
            "none": None,
        }[reduction]
    )
    expected = {
        ("nd", "default"): [],
        ("ntd", "default"): [],
        ("nd", "sum"): ["LD402"],
        ("ntd", "sum"): ["LD402"],
        ("nd", "none"): ["LD401"],
        ("ntd", "none"): ["LD401", "LD405"],
    }[kind, reduction]
    # LD954 says, on TensorFlow alone, what the other backends do.
    assert [f["code"] for f in document["findings"] if f["code"] != "LD954"] == expected
    if reduction == "none":
        assert document["findings"][0]["evidence"]["returned shape"] == list(shape)
        assert code == 1


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="on JAX and PyTorch fit raises, which LD401 says")
def test_20395_unreduced_under_compile_follows_the_sum() -> None:
    """The weights move N times as far as with the default reduction, and the logged loss is the same."""
    moved, logged = {}, {}
    for reduction in ("default", "none"):
        model, x, y = load("keras_20395", f"nd_{reduction}.keras", "nd.npz")
        model.optimizer.learning_rate = 1e-3
        before = model.get_weights()[0].copy()
        logged[reduction] = model.train_on_batch(x, y)
        moved[reduction] = np.linalg.norm(model.get_weights()[0] - before)
        report = lossdoctor.check(model, (x, y))
        if reduction == "none":
            evidence = report.findings[0].evidence
            times = evidence["gradient norm"] / evidence["gradient norm, default reduction"]
    assert logged["default"] == pytest.approx(logged["none"], rel=1e-5)
    assert moved["none"] / moved["default"] == pytest.approx(8, rel=1e-3)
    assert times == pytest.approx(8, rel=1e-3)


def test_the_fixtures_are_what_their_scripts_write(tmp_path: Path) -> None:
    """The committed batches and graphs are those that build.py makes with the installed Keras."""
    for folder in sorted(p.name for p in FIXTURES.iterdir() if p.name.startswith("keras_")):
        (tmp_path / folder).mkdir()
        build(folder).build(tmp_path / folder)
        written = sorted(p.name for p in (tmp_path / folder).iterdir())
        assert written == sorted(p.name for p in (FIXTURES / folder).iterdir() if p.suffix in (".keras", ".npz"))
        for name in (n for n in written if n.endswith(".npz")):
            built, kept = (lossdoctor.load_batch(root / folder / name) for root in (tmp_path, FIXTURES))
            for a, b in zip(trees.values((built.x, built.y)), trees.values((kept.x, kept.y)), strict=True):
                np.testing.assert_allclose(*(v.rows(100) if hasattr(v, "rows") else v for v in (a, b)), rtol=1e-6)
