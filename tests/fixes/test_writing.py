"""What repairs write: the model file, the batch, the patch; and the expressions they are made of."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossdoctor
from lossdoctor import trees
from lossdoctor.case.arguments import CompileArgs
from lossdoctor.doctor import examine_with_exam, plan_repairs
from lossdoctor.files import write_text
from lossdoctor.fixes.apply import EditError, run_statement
from lossdoctor.fixes.code import Needs, thing_code
from lossdoctor.fixes.writing import write_batch, write_model
from lossdoctor.rules.repairs import put
from lossdoctor.types import Batch, CaseError, HeldArray

FIXTURES = Path(__file__).parents[2] / "fixtures"
Point = namedtuple("Point", ["left", "right"])

_TREES = st.recursive(
    st.just("leaf"),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=10),
        st.lists(inner, min_size=1, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, min_size=1, max_size=3),
        st.dictionaries(st.text(max_size=3), inner, min_size=1, max_size=3).map(OrderedDict),
        st.tuples(inner, inner).map(lambda pair: Point(*pair)),
    ),
    max_leaves=12,
)


@given(_TREES, st.data())
@settings(deadline=None, max_examples=200)
def test_one_leaf_is_replaced_and_nothing_else(tree: Any, data: st.DataObject) -> None:
    """The expression keeps every container's type and order, and changes nothing in place."""
    arrays = trees.map_leaves(lambda _: np.zeros(2), tree)
    paths = [path for path, _ in trees.leaves("y", arrays)]
    path = data.draw(st.sampled_from(paths))
    before = [leaf.copy() for leaf in trees.values(arrays)]
    after = eval(put(arrays, "y", path, f"{path} + 1"), {"y": arrays})
    assert [p for p, _ in trees.declared_leaves("y", after)] == [p for p, _ in trees.declared_leaves("y", arrays)]
    assert [type(n) for n in _nodes(after)] == [type(n) for n in _nodes(arrays)]
    for where, leaf in trees.leaves("y", after):
        assert leaf.sum() == (2.0 if where == path else 0.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, trees.values(arrays), strict=True))


def _nodes(tree: Any) -> list[Any]:
    return [tree, *(n for _, child in trees.children(tree) for n in _nodes(child))]


def test_a_statement_that_does_not_fit_is_an_edit_error() -> None:
    batch = Batch("here", HeldArray(np.zeros((4, 2))), [HeldArray(np.zeros((4, 1)))])
    with pytest.raises(EditError, match="IndexError"):
        run_statement(batch, "y = [y[0], y[1]]")
    done = run_statement(batch, "y = {'a': y[0] + 1}")
    assert done.y["a"].rows(4).sum() == 4 and batch.y[0].rows(4).sum() == 0
    assert done.x is batch.x


def _planned(model: Path, batch: Path) -> Any:
    _, exam = examine_with_exam(str(model), str(batch))
    return plan_repairs(exam)


def test_only_the_compile_arguments_of_a_model_file_change(tmp_path: Path) -> None:
    """Weights byte for byte; the written file trains the nested losses that the dotted ones meant."""
    folder = FIXTURES / "keras_20351"
    plan = _planned(folder / "dotted.keras", folder / "batch.npz")
    target = tmp_path / "fixed.keras"
    start, end = plan.start.case, plan.end.case
    write_model(start.model.source, target, start.compile, end.compile, plan.edits)
    with zipfile.ZipFile(folder / "dotted.keras") as old, zipfile.ZipFile(target) as new:
        assert old.namelist() == new.namelist()
        assert [n for n in old.namelist() if old.read(n) != new.read(n)] == ["config.json"]
        a, b = json.loads(old.read("config.json")), json.loads(new.read("config.json"))
    changed = {k for k in a["compile_config"] if a["compile_config"][k] != b["compile_config"][k]}
    assert changed == {"loss"}
    assert {k: v for k, v in a.items() if k != "compile_config"} == {
        k: v for k, v in b.items() if k != "compile_config"
    }
    model = keras.saving.load_model(target)
    held = lossdoctor.load_batch(folder / "batch.npz")
    x, y = (trees.map_leaves(lambda leaf: leaf.rows(leaf.shape[0]), t) for t in (held.x, held.y))
    predicted = model.predict(x, verbose=0)
    by_hand = (
        np.mean(keras.losses.mean_squared_error(y["detection"]["bbox"], predicted["detection"]["bbox"]))
        + np.mean(keras.losses.binary_crossentropy(y["detection"]["confidence"], predicted["detection"]["confidence"]))
        + np.mean(keras.losses.categorical_crossentropy(y["classification"], predicted["classification"]))
    )
    logged = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    assert logged == pytest.approx(float(by_hand), rel=1e-4)
    assert not [f for f in lossdoctor.check(model, (x, y)).findings if f.severity == "error"]


def test_what_a_model_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    folder = FIXTURES / "keras_20654"
    _, exam = examine_with_exam(
        str(folder / "function.keras"), str(folder / "batch.npz"), objects=(str(folder / "losses.py"),)
    )
    plan = plan_repairs(exam)
    start, end = plan.start.case, plan.end.case
    with pytest.raises(CaseError, match="changes the model itself"):
        write_model(start.model.source, tmp_path / "m.keras", start.compile, end.compile, plan.edits)
    assert list(tmp_path.iterdir()) == []


def test_the_whole_batch_is_repaired(tmp_path: Path) -> None:
    """More rows than a check examines: all of them are written, in the repaired containers."""
    rows = 3000
    i = keras.Input((2,))
    model = keras.Model(i, {"z": keras.layers.Dense(1, name="z")(i), "a": keras.layers.Dense(1, name="a")(i)})
    model.compile(loss="mse")
    model.save(tmp_path / "m.keras")
    z, a = np.arange(rows, dtype="float32")[:, None], -np.arange(rows, dtype="float32")[:, None]
    lossdoctor.save_batch(tmp_path / "b.npz", np.ones((rows, 2), "float32"), [z, a])
    plan = _planned(tmp_path / "m.keras", tmp_path / "b.npz")
    assert plan.start.case.rows < rows
    assert write_batch(plan.start.case.batch, tmp_path / "fixed.npz", plan.edits, ((), ())) == rows
    written = np.load(tmp_path / "fixed.npz")
    assert np.array_equal(written["y/z"], z) and np.array_equal(written["y/a"], a)
    assert "LD203" not in [f.code for f in _planned(tmp_path / "m.keras", tmp_path / "fixed.npz").start.findings]


BUILT_IN = sorted(
    name
    for name in dir(keras.losses)
    if isinstance(getattr(keras.losses, name), type)
    and issubclass(getattr(keras.losses, name), keras.losses.Loss)
    and name != "Loss"
)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_loss_is_written_as_it_was_made(name: str) -> None:
    """The expression makes a loss of the same class with the same configuration, and names only what is not the default."""
    cls = getattr(keras.losses, name)
    for arguments in ({}, {"reduction": "sum"}, {"name": "mine"}):
        made = cls(**arguments)
        code = thing_code(made, Needs())
        again = eval(code, {"keras": keras})
        assert type(again) is cls and again.get_config() == made.get_config(), code
        assert all(key in code for key in arguments), code
        if not arguments:
            assert code == f"keras.losses.{name}()"


def test_arguments_of_losses_and_metrics_are_kept() -> None:
    for made in (
        keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
        keras.losses.SparseCategoricalCrossentropy(ignore_class=255),
        keras.losses.Huber(delta=2.5, reduction=None),
        keras.metrics.BinaryAccuracy(threshold=0.3),
        keras.metrics.AUC(num_thresholds=50, name="auc_50"),
        keras.metrics.TopKCategoricalAccuracy(k=3),
    ):
        again = eval(thing_code(made, Needs()), {"keras": keras})
        assert again.get_config() == made.get_config()


def test_a_patch_imports_custom_losses_from_where_they_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = FIXTURES / "keras_20654"
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location("losses", folder / "losses.py")
    assert spec is not None and spec.loader is not None
    report, exam = examine_with_exam(
        str(folder / "function.keras"), str(folder / "batch.npz"), objects=(str(folder / "losses.py"),)
    )
    text = lossdoctor.Report(report, exam).patch()
    assert text is not None and "from losses import" in text and "def squared_loss" not in text
    assert compile(text, "patch", "exec")


def test_nothing_to_repair_is_no_patch() -> None:
    i = keras.Input((2,))
    model = keras.Model(i, keras.layers.Dense(1)(i))
    model.compile(loss="mse")
    assert lossdoctor.check(model, (np.ones((8, 2), "float32"), np.arange(8.0)[:, None])).patch() is None


def test_a_report_that_was_read_back_says_so() -> None:
    import pickle

    i = keras.Input((2,))
    model = keras.Model(i, {"z": keras.layers.Dense(1)(i), "a": keras.layers.Dense(1)(i)})
    model.compile(loss="mse")
    y = [np.ones((8, 1)), np.zeros((8, 1))]
    report = lossdoctor.check(model, (np.ones((8, 2), "float32"), y))
    assert report.patch() is not None
    again = pickle.loads(pickle.dumps(lossdoctor.Report(report.data)))
    with pytest.raises(CaseError, match="read back"):
        again.patch()


def test_compile_arguments_that_were_right_are_kept() -> None:
    """Optimizer, metrics and steps stay; what is Keras's default is not written."""
    i = keras.Input((2,))
    model = keras.Model(i, {"z": keras.layers.Dense(1)(i), "a": keras.layers.Dense(1)(i)})
    model.compile("adam", loss=["mse", "mae"], metrics={"z": ["mae"], "a": ["mse"]}, steps_per_execution=2)
    y = {"z": np.ones((8, 1)), "a": np.zeros((8, 1))}
    text = lossdoctor.check(model, (np.ones((8, 2), "float32"), y)).patch()
    assert text is not None
    space: dict[str, Any] = {}
    exec(text, space)
    optimizer = model.optimizer
    patched = space["compile_model"](model)
    config = patched._compile_config.config
    assert patched.optimizer is optimizer
    assert config["loss"] == {"z": "mse", "a": "mae"} and config["metrics"] == {"z": ["mae"], "a": ["mse"]}
    assert config["steps_per_execution"] == 2 and "run_eagerly" not in text


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaseError):
        write_text(tmp_path / "none" / "patch.py", "x")
    assert list(tmp_path.iterdir()) == []
    assert CompileArgs().compiled is False


_PREFIX = """\
def two(y_true, y_pred):
    return ops.mean(ops.square(y_true[0] - y_pred[0])) + ops.mean(ops.abs(y_true[1] - y_pred[1]))
"""


def test_a_loss_that_wants_two_of_three_outputs_is_nested_with_them(tmp_path: Path) -> None:
    """The generated regrouping, run on the real model: its loss is the custom loss of those two outputs alone."""
    (tmp_path / "two_losses.py").write_text("from keras import ops\n\n\n" + _PREFIX, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("two_losses", tmp_path / "two_losses.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["two_losses"] = module
    i = keras.Input((4,))
    model = keras.Model(i, [keras.layers.Dense(2)(i), keras.layers.Dense(3)(i), keras.layers.Dense(1)(i)])
    model.compile("sgd", loss=module.two)
    x, rng = np.ones((16, 4), "float32"), np.random.default_rng(3)
    y = [rng.normal(size=(16, n)).astype("float32") for n in (2, 3, 1)]
    finding = next(f for f in lossdoctor.check(model, (x, y)).findings if f.code == "LD801")
    assert finding.fixes[0].verified and "y_pred[0] and y_pred[1]" in finding.fixes[0].title
    text = lossdoctor.check(model, (x, y)).patch()
    assert text is not None
    space: dict[str, Any] = {}
    exec(text, space)
    predicted = model.predict(x, verbose=0)
    patched = space["compile_model"](space["adapt_model"](model))
    x2, y2, _ = space["adapt_batch"](x, y)
    by_hand = float(module.two(y, predicted))
    assert patched.evaluate(x2, y2, batch_size=16, verbose=0) == pytest.approx(by_hand, rel=1e-4)
    assert not [f for f in lossdoctor.check(patched, (x2, y2)).findings if f.severity == "error"]
