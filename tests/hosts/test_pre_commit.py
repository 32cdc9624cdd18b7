"""The hook under the real pre-commit, in real repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_cli import FIXTURES

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / ".pre-commit-hooks.yaml"
BIN = Path(sys.executable).parent
CASE = FIXTURES / "keras_20346"

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="pre-commit works on git repositories")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PRE_COMMIT", "FORCE_COLOR"))}
    return kept | {
        "PRE_COMMIT_HOME": str(tmp_path / "home"),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }


def call(folder: Path, environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def make_repository(folder: Path, environment: dict[str, str], files: dict[str, str | bytes]) -> str:
    """A git repository with these files; its commit."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        done = call(folder, environment, "git", *command)
        assert done.returncode == 0, done.stderr
    return call(folder, environment, "git", "rev-parse", "HEAD").stdout.strip()


def case(batch: str) -> dict[str, str | bytes]:
    return {"model.keras": (CASE / "dict.keras").read_bytes(), "batch.npz": (CASE / batch).read_bytes()}


def test_the_manifest_is_valid(tmp_path: Path, environment: dict[str, str]) -> None:
    done = call(tmp_path, environment, "pre-commit", "validate-manifest", str(MANIFEST))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("batch", "code"), [("positional.npz", 1), ("named.npz", 0)])
def test_a_repository_that_uses_the_hook(tmp_path: Path, environment: dict[str, str], batch: str, code: int) -> None:
    # `language: python` would build an environment with TensorFlow in it: the one word that is changed here.
    manifest = MANIFEST.read_text(encoding="utf-8")
    assert manifest.count("language: python") == 1
    shared = manifest.replace("language: python", "language: system")
    commit = make_repository(tmp_path / "lossdoctor", environment, {".pre-commit-hooks.yaml": shared})
    hook = {"id": "lossdoctor", "args": ["model.keras", "batch.npz"]}
    config = {"repos": [{"repo": str(tmp_path / "lossdoctor"), "rev": commit, "hooks": [hook]}]}
    files = {**case(batch), ".pre-commit-config.yaml": yaml.safe_dump(config), "README": "a repository"}
    repository = tmp_path / "repository"
    make_repository(repository, environment, files)

    done = call(repository, environment, "pre-commit", "run", "--all-files", "--color", "never")
    assert done.returncode == code, done.stdout + done.stderr
    assert ("LD203" in done.stdout) == bool(code) and f"lossdoctor{'.' * 10}" in done.stdout

    # A change that cannot matter does not pay for a check; a changed batch does.
    (repository / "README").write_text("a changed repository", encoding="utf-8")
    call(repository, environment, "git", "add", "-A")
    done = call(repository, environment, "pre-commit", "run", "--color", "never")
    assert done.returncode == 0 and "(no files to check)Skipped" in done.stdout


def test_the_hook_that_init_writes(tmp_path: Path, environment: dict[str, str]) -> None:
    repository = tmp_path / "repository"
    make_repository(repository, environment, case("positional.npz"))
    assert call(repository, environment, "lossdoctor", "init").returncode == 0
    path = repository / ".pre-commit-config.yaml"
    assert call(repository, environment, "pre-commit", "validate-config", str(path)).returncode == 0
    config: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["repos"][0]["hooks"][0]["args"] = ["model.keras", "batch.npz"]
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert call(repository, environment, "pre-commit", "install").returncode == 0
    call(repository, environment, "git", "add", "-A")
    done = call(repository, environment, "git", "commit", "-m", "second")
    assert done.returncode == 1 and "LD203" in done.stdout + done.stderr
    assert call(repository, environment, "git", "rev-list", "--count", "HEAD").stdout.strip() == "1"


def test_both_hooks_are_the_same() -> None:
    import lossdoctor

    template = Path(lossdoctor.__file__).parent / "templates" / "init" / "hook.yaml"
    (written,) = yaml.safe_load(template.read_text(encoding="utf-8"))[0]["hooks"]
    (shared,) = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    for key in ("id", "entry", "pass_filenames", "files"):
        assert written[key] == shared[key]
