"""The same case under several Keras releases. Reports are real ones of the installed Keras, told as of other releases."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import keras
import numpy as np
import pytest

import lossdoctor
from lossdoctor import environments
from lossdoctor.cli.matrix import arguments as handed_on
from lossdoctor.cli.matrix import exit_code
from lossdoctor.environments import Release, VirtualEnvironment
from lossdoctor.matrix import Run, changes, explained, partings, releases, run_one
from lossdoctor.report import matrix as told
from lossdoctor.report.schema import schema_text
from lossdoctor.types import CaseError
from tests.cli.test_cli import DICT, NAMED, POSITIONAL, call

OLD, MIDDLE, NEW = ("3.5.0", "3.6.0", "3.15.1")
Z, A = np.ones((4, 1), "float32"), np.full((4, 1), 3, "float32")


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """A swapped, a right, and a raising case of one and the same model."""
    outputs = {"z": ((4, 1), "float32"), "a": ((4, 1), "float32")}
    targets = {"swapped": [Z, A], "right": {"z": Z, "a": A}, "raises": {"zz": Z, "a": A}}
    losses = {"z": "mse", "a": "mse"}
    return {
        name: json.loads(lossdoctor.check(outputs=outputs, batch=(None, y), loss=losses, repairs=False).to_json())
        for name, y in targets.items()
    }


def runs_of(*reports: Any) -> list[Run]:
    """A run for each report, or for each sentence."""
    return [
        Run(Release(r), error=d) if isinstance(d, str) else Run(Release(r), d)
        for r, d in zip((OLD, MIDDLE, NEW), reports, strict=False)
    ]


def said(runs: list[Run]) -> str:
    return "\n".join(told.sentences(runs, partings(runs)))


def test_releases_that_do_the_same(documents: dict[str, Any]) -> None:
    right, swapped = documents["right"], documents["swapped"]
    for report, fail_on, code in ((right, "error", 0), (swapped, "error", 1), (swapped, "never", 0)):
        runs = runs_of(report, report, report)
        assert partings(runs) == () and exit_code(runs, (), fail_on) == code
    assert told.headline(runs_of(swapped, swapped), ()) == (
        "Both do the same. Keras will train, silently, on the wrong thing."
    )


def test_where_the_pairs_change(documents: dict[str, Any]) -> None:
    runs = runs_of(documents["swapped"], documents["swapped"], documents["right"])
    parts = partings(runs)
    assert [(a.release.keras, b.release.keras) for a, b in changes(runs, parts)] == [(MIDDLE, NEW)]
    assert told.headline(runs, parts) == "The releases part: between 3.6.0 and 3.15.1."
    text = said(runs)
    assert "y_pred['z'] is trained on y[1] in 3.5.0 and 3.6.0; y['z'] in 3.15.1." in text
    assert "y_pred['a'] is trained on y[0] in 3.5.0 and 3.6.0; y['a'] in 3.15.1." in text
    assert "is found (error) in 3.5.0 and 3.6.0; not found in 3.15.1." in text and "LD203" in text
    assert exit_code(runs, parts, "error") == 1 and exit_code(runs, parts, "never") == 0
    newer = runs_of(documents["swapped"], documents["right"], documents["right"])
    assert "on y[1] in 3.5.0; y['z'] from 3.6.0 on." in said(newer)


def test_a_parting_fails_the_gate_where_no_finding_does(documents: dict[str, Any]) -> None:
    other = {**documents["right"], "findings": [], "outcomes": {**documents["right"]["outcomes"]}}
    other["outcomes"]["direct"] = {"status": "raises", "error": "ValueError: no", "loss": None}
    runs = runs_of(documents["right"], other)
    assert "loss(y, y_pred)" in said(runs) and exit_code(runs, partings(runs), "error") == 1


def test_where_fit_raises(documents: dict[str, Any]) -> None:
    runs = runs_of(documents["raises"], documents["right"], documents["right"])
    parts = partings(runs)
    assert said(runs).startswith("fit() raises (") and "in 3.5.0; works from 3.6.0 on." in said(runs)
    # What raised has no pairs and no loss: that is one parting, not three.
    assert {part.aspect for part in parts} == {"outcome", "findings"}
    assert told.rows(runs)[0][2:5] == ("raises", ["none"], "")


@pytest.mark.parametrize(("factor", "parted"), [(1.00001, False), (1.01, True)])
def test_losses_are_compared_with_a_tolerance(documents: dict[str, Any], factor: float, parted: bool) -> None:
    right = documents["right"]
    fit = right["outcomes"]["fit"]
    other = {**right, "outcomes": {**right["outcomes"], "fit": {**fit, "loss": fit["loss"] * factor}}}
    runs = runs_of(right, other)
    assert [part.aspect for part in partings(runs)] == (["loss"] if parted else [])
    assert not parted or f"The total loss is {fit['loss']:.6g} in 3.5.0; " in said(runs)


def test_a_weight_and_a_loss_that_change(documents: dict[str, Any]) -> None:
    right = documents["right"]
    heavier = {**right, "pairs": [{**pair, "weight": 2.0} for pair in right["pairs"]]}
    assert "is trained with weight 1 in 3.5.0; 2 in 3.6.0." in said(runs_of(right, heavier))
    renamed = {**right, "pairs": [{**pair, "loss": "mean_absolute_error"} for pair in right["pairs"]]}
    assert "under mean_squared_error in 3.5.0; mean_absolute_error in 3.6.0." in said(runs_of(right, renamed))
    fewer = {**right, "pairs": right["pairs"][:1]}
    assert "in 3.5.0; not trained in 3.6.0." in said(runs_of(right, fewer))


def test_a_release_that_cannot_read_the_case_is_a_row(documents: dict[str, Any]) -> None:
    runs = runs_of("m.keras cannot be read.", documents["right"])
    assert exit_code(runs, partings(runs), "error") == 1
    assert "In 3.5.0 the case is not read: m.keras cannot be read." in said(runs)
    assert "not read" in told.as_text(runs, partings(runs))
    none = runs_of("m.keras cannot be read.", "m.keras is odd.")
    assert exit_code(none, partings(none), "error") == 2
    assert exit_code([replace(runs[0], built=False), runs[1]], partings(runs), "error") == 2
    assert exit_code([replace(runs[0], bug=True), runs[1]], partings(runs), "error") == 3


def test_a_file_of_a_later_keras_is_told_as_such() -> None:
    runs = [
        Run(Release(r), error="m.keras cannot be rebuilt by Keras (long); check that it was saved") for r in (OLD, NEW)
    ]
    older, newer = explained(runs, "m.keras", "3.15.1")
    assert older.error and older.error.startswith("m.keras was saved by Keras 3.15.1") and newer == runs[1]
    assert explained(runs, "m.keras", None) == runs == explained(runs, "m.keras", "odd")


def test_two_backends(documents: dict[str, Any]) -> None:
    swapped, right = documents["swapped"], documents["right"]
    runs = [
        Run(Release(r, b), d)
        for r in (OLD, NEW)
        for b, d in (("jax", right), ("tensorflow", swapped if r == OLD else right))
    ]
    parts = partings(runs)
    assert told.headline(runs, parts) == "The releases part: between 3.5.0 and 3.15.1 on tensorflow."
    assert "y[1] in 3.5.0 on tensorflow" in said(runs)
    runs = [replace(run, report=right if run.release.backend == "jax" else swapped) for run in runs]
    assert told.headline(runs, partings(runs)) == "The backends part."
    assert "on y['z'] on jax; y[1] on tensorflow." in said(runs)


def test_every_format_tells_it(documents: dict[str, Any]) -> None:
    runs = runs_of(documents["swapped"], "m.keras \x1b[31m cannot be read.", documents["right"])
    parts = partings(runs)
    text = told.as_text(runs, parts, width=80)
    assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith(" 3.")] == [OLD, MIDDLE, NEW]
    narrow = told.as_text([replace(run, packages={"jax": "0.10.2"}) for run in runs], parts, width=62)
    for shown in (text, narrow):
        assert all(word in shown for word in ("y_pred['z']", "LD203", "0.10.2" if shown is narrow else "jax"))
        assert max(map(len, shown.splitlines())) <= (80 if shown is text else 62)
    markdown = told.as_markdown(runs, parts)
    assert [line.split(" | ")[2] for line in markdown.splitlines() if line.startswith("| 3.")] == [
        "works",
        "not read",
        "works",
    ]
    assert "\x1b" not in markdown and markdown.startswith("## lossdoctor: The releases part")
    document = json.loads(told.as_json(runs, parts, "1.0"))
    assert document["agree"] is False and [r["keras"] for r in document["runs"]] == [OLD, MIDDLE, NEW]
    for run in (document["runs"][0], document["runs"][2]):
        jsonschema.validate(run["report"], json.loads(schema_text()))
    pairs = next(p for p in document["partings"] if p["what"] == "y_pred['z']")
    assert pairs["ways"][0] == {"how": "is trained on y[1]", "runs": [{"keras": OLD, "backend": "jax"}]}
    assert told.as_json(runs, parts, "1.0") == told.as_json(runs, partings(runs), "1.0")


def test_releases_as_typed() -> None:
    assert [r.keras for r in releases(["3.15.1", "3.6.0,3.10", "3.10.0"])] == ["3.6.0", "3.10.0", "3.15.1"]
    assert [(r.keras, r.backend) for r in releases(["3.6.0"], ["jax", "torch", "jax"])] == [
        ("3.6.0", "jax"),
        ("3.6.0", "torch"),
    ]
    for typed in ("newest", "", "2.15.0", "3.3.3"):
        with pytest.raises(CaseError, match="--keras"):
            releases([typed])
    with pytest.raises(CaseError, match="--with ./mine names no package.* PYTHONPATH"):
        releases(["3.15.1"], extra=["./mine"])


def test_requirements_name_one_keras_and_one_backend() -> None:
    old, new = (environments.requirements(Release(r)) for r in ("3.4.1", "3.15.1"))
    assert "keras==3.4.1" in old and "keras==3.15.1" in new
    assert [r for r in old if r.startswith("jax")] != [r for r in new if r.startswith("jax")]
    names = {r.split("=")[0].split(">")[0].split("<")[0] for r in new}
    assert {"rich", "typer", "optree"} <= names and not {"tensorflow", "torch", "pytest"} & names
    asked = environments.requirements(Release("3.15.1", "tensorflow", ("pandas",)))
    assert {"tensorflow", "pandas"} <= set(asked) and not [r for r in asked if r.startswith("jax")]


def test_our_own_code_is_copied_once_whoever_asks() -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: environments.own_code(), range(4)))
    (folder,) = folders
    assert list(folder.parent.iterdir()) == [folder]
    source = Path(lossdoctor.__file__).parent
    assert (folder / "lossdoctor" / "report" / "schema.json").read_bytes() == (
        source / "report" / "schema.json"
    ).read_bytes()


def test_a_check_in_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    here = VirtualEnvironment(Path(sys.prefix), {"keras": keras.__version__})
    release = Release(keras.__version__)
    run = run_one(release, here, ["--", DICT, POSITIONAL])
    assert run.report is not None, run.error
    assert run.report["environment"]["backend"] == "jax" and run.report["verdict"] == "silent"
    # The second answer comes from the cache of checks.
    other = run_one(release, replace(here, packages={"keras": "3.4.1"}), ["--", DICT, POSITIONAL])
    assert other.report is None and "in place of" in (other.error or "")
    gone = run_one(release, here, ["--", str(tmp_path / "gone.keras"), POSITIONAL])
    assert gone.error and gone.error.startswith("there is no model file") and not gone.bug
    odd = run_one(release, here, ["--bogus", "--", DICT, POSITIONAL])
    assert odd.error and "code 2 and without a report" in odd.error


def test_a_damaged_environment_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "env"
    subprocess.run(
        [environments.find_uv(), "venv", "-q", "--no-project", "--python", sys.executable, str(folder)], check=True
    )
    (site,) = folder.glob("[Ll]ib/**/site-packages")
    (site / "thing.py").write_text("x = 1\n")
    info = site / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "RECORD").write_text("thing.py,sha256=x,6\nthing-1.0.dist-info/RECORD,,\n")
    marker = folder / "lossdoctor.json"
    assert environments.packages_of(folder) is None  # never finished
    marker.write_text(json.dumps({"packages": {"thing": "1.0"}}))
    assert environments.packages_of(folder) == {"thing": "1.0"}
    (site / "thing.py").write_text("x\n")
    assert environments.packages_of(folder) is None
    (site / "thing.py").write_text("x = 1\n")
    shutil.rmtree(info)
    assert environments.packages_of(folder) is None
    assert environments.packages_of(tmp_path / "gone") is None


def test_flags_are_handed_on_as_typed() -> None:
    flags = {"loss": '{"zoom": "mae"}', "unsafe": True, "forward": False, "objects": ["a.py", "b"], "no_cache": True}
    assert handed_on(DICT, NAMED, {**flags, "config": None}) == [
        '--loss={"zoom": "mae"}',
        "--unsafe",
        "--objects=a.py",
        "--objects=b",
        "--no-cache",
        "--",
        DICT,
        NAMED,
    ]


KERAS = ("--keras", "3.14.0", "--keras", "3.15.0")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((DICT, POSITIONAL), "matrix needs a model, a batch and releases"),
        ((DICT, *KERAS), "matrix needs a model, a batch and releases"),
        (("gone.keras", POSITIONAL, *KERAS), "there is no model file gone.keras"),
        ((DICT, "gone.npz", *KERAS), "there is no batch gone.npz"),
        ((DICT, str(Path(DICT).parent), *KERAS), "is a saved dataset, which only TensorFlow reads"),
        ((DICT, POSITIONAL, "--keras", "latest"), "--keras latest is no release"),
        ((DICT, POSITIONAL, *KERAS, "--config", "gone.toml"), "gone.toml"),
        ((DICT, POSITIONAL, *KERAS), "the package index cannot be reached"),
    ],
)
def test_bad_use_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, capfd: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    code, out, err = call(capfd, "matrix", *arguments)
    assert (code, out) == (2, "") and sentence in err and len(err.splitlines()) == 1, err


def test_without_uv(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", "")
    code, out, err = call(capfd, "matrix", DICT, POSITIONAL, *KERAS)
    assert (code, out) == (2, "") and "uv is not installed" in err and len(err.splitlines()) == 1


@pytest.fixture
def by_position(tmp_path: Path) -> tuple[str, str]:
    """A list of outputs with targets in a dict: Keras 3.5 and 3.6 sort the targets, later ones do not."""
    (tmp_path / "case.py").write_text(
        "import keras\n\ndef build():\n"
        "    x = keras.Input((4,))\n"
        "    heads = [keras.layers.Dense(1, name=n)(x) for n in ('d', 'c')]\n"
        "    model = keras.Model(x, heads)\n    model.compile('sgd', ['mse', 'mse'])\n    return model\n"
    )
    lossdoctor.save_batch(tmp_path / "batch.npz", np.ones((4, 4), "float32"), {"d": Z, "c": 9 * A})
    return f"{tmp_path / 'case.py'}:build", str(tmp_path / "batch.npz")


@pytest.mark.uv
def test_two_releases_end_to_end(
    by_position: tuple[str, str], capfd: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    typed = ("matrix", *by_position, "--keras", NEW, "--keras", MIDDLE)
    code, out, err = call(capfd, *typed, "--format", "json")
    assert (code, err) == (1, "")
    document = json.loads(out)
    assert [run["report"]["environment"]["keras"] for run in document["runs"]] == [MIDDLE, NEW]
    assert [run["report"]["pairs"][0]["target"] for run in document["runs"]] == ["y['c']", "y['d']"]
    # A release that is not there is said before anything is run, and what is there stays.
    assert "there is no Keras 3.99.0" in call(capfd, *typed, "--keras", "3.99")[2]
    # From here on neither uv nor a network is needed.
    with monkeypatch.context() as offline:
        offline.setitem(sys.modules, "uv", None)
        offline.setenv("PATH", "")
        code, out, _ = call(capfd, *typed, "--ignore", "LD2")
        assert code == 1 and "The releases part: between 3.6.0 and 3.15.1." in out
    # A damaged environment is made anew, by two at the same time as well.
    kept = environments.existing(Release(MIDDLE))
    assert kept is not None
    next(kept.folder.rglob("keras/__init__.py")).unlink()
    assert environments.existing(Release(MIDDLE)) is None
    uv = environments.find_uv()
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: environments.make(uv, Release(MIDDLE)), range(2)))
    assert environments.existing(Release(MIDDLE)) in made and not kept.folder.exists()
    assert not list(kept.folder.parent.glob(".new-*"))
