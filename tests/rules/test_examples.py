"""Every example of every rule, run on real Keras: the page's examples are the rule's tests."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import pytest

import lossdoctor
from lossdoctor import releases
from lossdoctor.rules import RULES, Example, Rule
from tests.agree import agree_with_keras

_PRELUDE = "import keras\nimport numpy as np\nfrom keras import layers, ops\n\n"
_NUMBER = itertools.count()

BAD = [pytest.param(rule, e, id=f"{rule.code}-{i}") for rule in RULES for i, e in enumerate(rule.bad)]
GOOD = [pytest.param(rule, e, id=f"{rule.code}-{i}") for rule in RULES for i, e in enumerate(rule.good)]


def load(example: Example, folder: Path) -> ModuleType:
    """The example as a module with a file of its own, so that its source can be read."""
    name = f"lossdoctor_example_{next(_NUMBER)}"
    path = folder / f"{name}.py"
    path.write_text(_PRELUDE + example.code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def examine(example: Example, folder: Path) -> tuple[ModuleType, lossdoctor.Report]:
    module = load(example, folder)
    batch = batch_of(module)
    if getattr(module, "saved", False):
        return module, check_saved(module, batch, folder)
    return module, lossdoctor.check(module.model, batch, forward=getattr(module, "forward", False), repairs=False)


def batch_of(module: ModuleType) -> tuple[object, ...]:
    return (module.x, module.y, *([module.sample_weight] if hasattr(module, "sample_weight") else []))


def check_saved(module: ModuleType, batch: tuple[object, ...], folder: Path) -> lossdoctor.Report:
    from lossdoctor.doctor import examine as run

    module.model.save(folder / "model.keras")
    lossdoctor.save_batch(folder / "batch.npz", *batch)
    unsafe = getattr(module, "unsafe", False)
    return lossdoctor.Report(run(str(folder / "model.keras"), str(folder / "batch.npz"), unsafe=unsafe))


def is_elsewhere(example: Example, module: ModuleType, report: lossdoctor.Report) -> bool:
    """True where the installed Keras treats the example otherwise than the rule's page says; what it does is told all the same."""
    if not releases.since(keras.__version__, example.since):
        return True
    if not has_foreign_keys(module.model):
        return False
    # Keras 3.4 trains a dict of outputs by its layers' names: nothing is trained, or fit raises. It is never clean.
    assert [f for f in report.findings if f.severity == "error"] or report.data.outcomes["fit"].status == "skipped"
    return True


def has_foreign_keys(model: Any) -> bool:
    """True where the outputs are a dict whose keys are not its layers' names, and the installed Keras goes by those."""
    outputs = model.output if hasattr(model, "_inputs_struct") or hasattr(model, "inputs") else None
    named = isinstance(outputs, dict) and set(outputs) != set(getattr(model, "output_names", None) or ())
    return named and releases.holds("layer-names", keras.__version__)


@pytest.mark.parametrize(("rule", "example"), BAD)
def test_bad_example_is_told(rule: Rule, example: Example, tmp_path: Path) -> None:
    if "tensorflow" in example.severity and keras.backend.backend() != "tensorflow":
        pytest.skip("told on TensorFlow only")
    module, report = examine(example, tmp_path)
    agree_with_keras(module.model, batch_of(module), report)
    if is_elsewhere(example, module, report):
        return
    mine = [f for f in report.findings if f.code == rule.code]
    assert mine, [f"{f.code} {f.message}" for f in report.findings]
    assert mine[0].severity in example.severity.split("|")
    assert (mine[0].name, mine[0].category) == (rule.name, rule.category)


@pytest.mark.parametrize(("rule", "example"), GOOD)
def test_good_example_is_clean(rule: Rule, example: Example, tmp_path: Path) -> None:
    module, report = examine(example, tmp_path)
    agree_with_keras(module.model, batch_of(module), report)
    if is_elsewhere(example, module, report):
        return
    assert not [f"{f.code} {f.message}" for f in report.findings if f.severity != "info"]
    if "on purpose" not in example.title:
        assert rule.code not in [f.code for f in report.findings]
