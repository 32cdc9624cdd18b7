"""The cache: the same inputs give the same bytes without Keras; every changed input gives a fresh answer."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lossdoctor import cached, fingerprint, stored
from lossdoctor.request import CheckCase
from tests.report.cases import CLEAN, REPORTS

FIXTURES = Path(__file__).parents[1] / "fixtures"

pytestmark = pytest.mark.usefixtures("fresh_keras")


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str, bool]:
    """(exit code, stdout, stderr, whether Keras was imported) of the command in a process of its own."""
    script = (
        "import sys, atexit\nfrom lossdoctor.cli.main import run\n"
        "atexit.register(lambda: print('@', 'keras' in sys.modules, file=sys.stderr))\n"
        f"sys.argv = ['lossdoctor', *{arguments!r}]\nrun()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
        timeout=120,
    )
    lines = done.stderr.splitlines()
    marks = [line for line in lines if line.startswith("@ ")]
    said = "\n".join(line for line in lines if not line.startswith("@ "))
    return done.returncode, done.stdout, said, marks == ["@ True"]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckCase:
    """A model and a batch in the working directory, with a loss of the user's own and what that imports."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(FIXTURES / "keras_20346" / "dict.keras", "m.keras")
    np.savez("b.npz", **{"x": np.ones((8, 5)), "y/zoom": np.ones((8, 1)), "y/angle": np.zeros((8, 1))})
    Path("kept_helper.py").write_text("K = 1\n")
    Path("kept_losses.py").write_text(
        "import keras\nfrom kept_helper import K\n\n"
        "def mine(y, p):\n    return K * keras.ops.mean(keras.ops.square(y - p), axis=-1)\n"
    )
    Path("loss.json").write_text('"mine"')
    return CheckCase("m.keras", "b.npz", loss="loss.json", objects=("kept_losses.py",))


def test_a_second_run_prints_the_same_bytes_without_keras(tmp_path: Path) -> None:
    model, batch = (str(FIXTURES / "keras_20346" / n) for n in ("dict.keras", "positional.npz"))
    first = run(tmp_path, "check", model, batch)
    again = run(tmp_path, "check", model, batch)
    assert first[3] and not again[3]
    assert first[:3] == again[:3] and first[0] == 1 and "LD203" in first[1]
    # Every renderer and gate works on the kept report.
    assert '"verdict": "silent"' in run(tmp_path, "check", model, batch, "--format", "json")[1]
    assert run(tmp_path, "check", model, batch, "--fail-on", "never")[::3] == (0, False)
    assert run(tmp_path, "check", model, batch, "--no-cache") == first


def test_the_key_says_everything_that_is_read(case: CheckCase, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = replace(case, forward=True)
    before, before_forward = cached.key_of(case), cached.key_of(fresh)
    assert before is not None and before_forward is not None
    assert cached.key_of(case) == before
    seen = {before, before_forward}

    def changed(what: CheckCase = case) -> bool:
        key = cached.key_of(what)
        new = key is not None and key not in seen
        seen.add(str(key))
        return new

    os.utime("b.npz", (1, 1))
    assert cached.key_of(case) == before  # a file's age is no input
    assert changed(replace(case, loss="mse"))
    assert changed(replace(case, ignore=("LD2",)))
    assert changed(replace(case, severity={"LD2": "off"}))
    assert changed(replace(case, unsafe=True))
    np.savez("b.npz", **{"x": np.ones((8, 5)), "y/zoom": np.ones((8, 1)), "y/angle": np.full((8, 1), 2.0)})
    assert changed()
    Path("loss.json").write_text('"mse"')
    assert changed()
    Path("kept_losses.py").write_text(Path("kept_losses.py").read_text() + "\n# another\n")
    assert changed()
    Path("kept_helper.py").write_text("K = 2\n")
    assert changed()
    for words in (b"a b", b"a b c"):  # which a preprocessor of the model's own reads
        _rewrite("m.keras", "assets/preprocessor/tokenizer/vocabulary.txt", words)
        assert changed()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert changed()
    monkeypatch.setenv("KERAS_HOME", str(Path.cwd()))
    assert changed()
    Path("keras.json").write_text('{"image_data_format": "channels_last", "floatx": "float32"}')
    assert changed()
    monkeypatch.setattr(fingerprint, "own_code", lambda: "another release")
    assert changed()
    monkeypatch.setattr(fingerprint, "_version", lambda name: "0")
    assert changed()


def _rewrite(path: str, name: str, data: bytes) -> None:
    """The zip file with one member replaced."""
    with zipfile.ZipFile(path) as old:
        members = {i.filename: old.read(i) for i in old.infolist()}
    with zipfile.ZipFile(path, "w") as new:
        for member, content in {**members, name: data}.items():
            new.writestr(member, content)


def test_weights_count_only_where_they_are_loaded(case: CheckCase) -> None:
    forward = replace(case, forward=True)
    before, before_forward = cached.key_of(case), cached.key_of(forward)
    _rewrite("m.keras", "model.weights.h5", b"other weights")
    assert cached.key_of(case) == before
    assert cached.key_of(forward) != before_forward
    _rewrite("m.keras", "config.json", b"{}")
    assert cached.key_of(case) not in (None, before)


def test_an_hdf5_file_counts_whole(case: CheckCase) -> None:
    shutil.copy(FIXTURES / "releases" / "functional_2.21.0.h5", "m.h5")
    legacy = replace(case, model="m.h5")
    before = cached.key_of(legacy)
    with open("m.h5", "ab") as file:
        file.write(b"more")
    assert before is not None and cached.key_of(legacy) not in (None, before, cached.key_of(case))


def test_a_large_batch_is_known_by_its_directory(case: CheckCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "_WHOLE", 100)
    monkeypatch.setattr(cached, "_model", lambda path, forward: b"")
    before = cached.key_of(case)
    np.savez("b.npz", **{"x": np.ones((8, 5)), "y/zoom": np.ones((8, 1)), "y/angle": np.full((8, 1), 2.0)})
    assert before is not None and cached.key_of(case) not in (None, before)


def test_what_is_not_known_without_running_it_is_not_kept(case: CheckCase) -> None:
    for unknown in (
        replace(case, model="train.py:build"),
        replace(case, batch="pkg.data:batch"),
        replace(case, batch=None),
        replace(case, batch="."),
        replace(case, model="gone.keras"),
        replace(case, objects=("gone.py",)),
        replace(case, objects=("no_such_module",)),
    ):
        assert cached.key_of(unknown) is None, unknown
    Path("kept_losses.py").write_text("import no_such_module\n")
    assert cached.key_of(case) is None
    Path("kept_losses.py").write_text("def broken(:\n")
    assert cached.key_of(case) is None
    os.mkfifo("pipe")
    for pipe in (
        replace(case, model="pipe"),
        replace(case, batch="pipe"),
        replace(case, objects=("./pipe",)),
    ):
        assert cached.key_of(pipe) is None, pipe
    Path("b.npz").write_bytes(b"PK no zip")
    assert cached.key_of(replace(case, objects=())) is not None  # a key of what no check can read: nothing is kept
    Path("m.keras").write_bytes(b"PK no zip")
    assert cached.key_of(replace(case, objects=())) is None


def test_objects_named_as_a_package_count_with_all_their_files(case: CheckCase) -> None:
    Path("pkg/inner").mkdir(parents=True)
    for name in ("pkg/__init__.py", "pkg/inner/__init__.py", "pkg/inner/losses.py"):
        Path(name).write_text("import numpy\n")
    named = replace(case, objects=("pkg.inner.losses",))
    before = cached.key_of(named)
    Path("pkg/__init__.py").write_text("import keras\n")
    assert before is not None and cached.key_of(named) not in (None, before)


def test_a_process_that_changed_keras_keeps_nothing(case: CheckCase) -> None:
    import keras

    before = cached.key_of(case)
    keras.config.set_epsilon(1e-3)
    try:
        assert before is not None and cached.key_of(case) is None
    finally:
        keras.config.set_epsilon(1e-7)
    assert cached.key_of(case) == before
    keras.saving.get_custom_objects()["Mine>Thing"] = CheckCase
    assert cached.key_of(case) == before  # lossdoctor's own
    keras.saving.get_custom_objects()["Mine>Thing"] = Path
    try:
        assert cached.key_of(case) is None
    finally:
        del keras.saving.get_custom_objects()["Mine>Thing"]


def _entries() -> list[Path]:
    return sorted(Path(os.environ["LOSSDOCTOR_CACHE_DIR"]).iterdir())


def test_a_kept_report_answers_and_a_damaged_one_does_not(case: CheckCase) -> None:
    first = cached.examine(case)
    assert first.verdict == "clean"
    (entry,) = _entries()
    whole = entry.read_bytes()
    assert cached.lookup(case) == first
    # Kept reports answer: another one in its place is what comes out.
    cached._write(entry.stem, REPORTS["silent"])
    assert cached.examine(case) == REPORTS["silent"]
    assert cached.examine(case, cache=False) == first
    for damaged in (whole[:-20], whole.replace(b'"rows":8', b'"rows":9'), b"", b"\xff\n{}", b"x" * 64 + b"\n{}"):
        entry.write_bytes(damaged)
        assert cached.lookup(case) is None
    assert cached.examine(case) == first and entry.read_bytes() == whole


def test_what_no_check_wrote_there_is_no_entry(case: CheckCase, tmp_path: Path) -> None:
    cached.examine(case)
    (entry,) = _entries()
    whole = entry.read_bytes()
    (tmp_path / "elsewhere").write_bytes(whole)
    entry.unlink()

    def sparse() -> None:
        with open(entry, "wb") as file:
            file.truncate(cached._MOST_ENTRY + 1)

    for make in (
        lambda: os.mkfifo(entry),
        lambda: entry.symlink_to("/dev/zero"),
        lambda: entry.symlink_to(tmp_path / "elsewhere"),
        lambda: entry.symlink_to(entry.name),
        entry.mkdir,
        sparse,
    ):
        make()
        assert cached.lookup(case) is None
        entry.rmdir() if entry.is_dir() else entry.unlink()
    entry.write_bytes(whole)
    assert cached.lookup(case) is not None


def test_a_file_that_changes_meanwhile_is_not_kept(case: CheckCase) -> None:
    def change(stage: str) -> None:
        Path("kept_helper.py").write_text(f"K = 1  # {stage}\n")

    cached.examine(case, progress=change)
    assert _entries() == []


def test_an_unwritable_cache_is_no_cache(case: CheckCase, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("")
    for folder in ("file", "file/inside", "/proc/none"):
        monkeypatch.setenv("LOSSDOCTOR_CACHE_DIR", folder)
        cached._write("key", CLEAN)
        assert cached.lookup(case) is None
    assert Path("file").read_text() == ""


def test_the_oldest_entries_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSDOCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cached, "MOST_ENTRIES", 3)
    (tmp_path / ".half.json.abc").write_text("left by a killed process")
    os.utime(tmp_path / ".half.json.abc", (1, 1))
    for number in range(5):
        cached._write(f"key{number}", CLEAN)
        os.utime(tmp_path / f"key{number}.json", (number + 10, number + 10))
    assert [p.name for p in _entries()] == ["key2.json", "key3.json", "key4.json"]


def _hammer(folder: str, number: int) -> int:
    os.environ["LOSSDOCTOR_CACHE_DIR"] = folder
    cached.MOST_ENTRIES = 2
    wrong = 0
    for turn in range(40):
        cached._write(f"key{turn % 4}", CLEAN)
        for path in Path(folder).glob("key*.json"):
            try:
                checksum, text = path.read_text().split("\n", 1)
            except FileNotFoundError:  # removed by another process
                continue
            wrong += checksum != cached._checksum(text) or stored.load(text) != CLEAN
    return wrong


def test_concurrent_runs_never_see_half_an_entry(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.starmap(_hammer, [(str(tmp_path), n) for n in range(3)]) == [0, 0, 0]
    assert all(p.name.startswith("key") for p in tmp_path.iterdir())
