"""Isolated environments, one for each Keras release and backend, made by uv and kept in the user's cache.

An environment is a virtual environment under a name of its own, made beside and renamed when it is whole: two runs at the
same time disturb each other in nothing, at worst there are two of a kind. lossdoctor itself is not installed into
it: a copy of the running source lies in a folder for PYTHONPATH, so that an edit of lossdoctor costs no environment.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lossdoctor.files import cache_folder
from lossdoctor.installed import own_version
from lossdoctor.types import CaseError

BACKENDS = ("jax", "tensorflow", "torch")
# The first Keras release that needs no older JAX than this: measured by training small models under each pair. The
# newest JAX that a release can run on is taken, so that as little as possible differs besides Keras.
_JAX = (("3.10", "jax>=0.4.34"), ("3.4", "jax>=0.4.30,<0.5"))
# Of what is installed beside Keras: its own requirements and the backends are chosen here, not by ours.
_CHOSEN_HERE = {"keras", "tensorflow", "jax", "torch"}
_MARKER = "lossdoctor.json"
_STALE_SECONDS = 24 * 3600
_UNUSED_SECONDS = 90 * 24 * 3600
# What a uv that is told to make one environment must not take from the one around it.
_NOT_OURS = ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_BREAK_SYSTEM_PACKAGES", "PYTHONHOME")
_UNREACHABLE = re.compile(
    r"network was disabled|not found in the cache|error sending request|failed to fetch|could not connect|"
    r"client error|dns error|timed out|connection|request failed",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Release:
    """A Keras release on a backend, and what else shall be in its environment."""

    keras: str
    backend: str = "jax"
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class VirtualEnvironment:
    """A whole environment: its folder, and the version of every package in it."""

    folder: Path
    packages: Mapping[str, str]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return _python(self.folder)


def requirements(release: Release) -> tuple[str, ...]:
    """What is installed for a release: that Keras, its backend, and what lossdoctor itself needs besides, sorted."""
    return tuple(sorted({f"keras=={release.keras}", _backend(release), *own_requirements(), *release.extra}))


def _backend(release: Release) -> str:
    if release.backend != "jax":
        return release.backend  # its own bounds on Keras and NumPy let uv choose
    from packaging.version import Version

    return next(jax for first, jax in _JAX if Version(release.keras) >= Version(first))


def own_requirements() -> tuple[str, ...]:
    """lossdoctor's runtime dependencies, without Keras and TensorFlow, as its package says them."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    try:
        found = [Requirement(text) for text in requires("lossdoctor") or ()]
    except PackageNotFoundError as error:
        raise CaseError("lossdoctor is not installed as a package; install it with pip install lossdoctor.") from error
    kept = [r for r in found if r.name.lower() not in _CHOSEN_HERE and (r.marker is None or r.marker.evaluate())]
    return tuple(f"{r.name}{r.specifier}" for r in kept)


def find_uv() -> str:
    """uv's program: that of the PyPI package `uv`, else the one on PATH. Raises `CaseError`."""
    with contextlib.suppress(ImportError, OSError):
        import uv

        return str(uv.find_uv_bin())
    found = shutil.which("uv")
    if found is None:
        raise CaseError(
            "uv is not installed, and only it makes the environments of other Keras releases; "
            "install it with pip install 'lossdoctor[matrix]'."
        )
    return found


def existing(release: Release) -> VirtualEnvironment | None:
    """The kept environment of a release; None where there is none that is whole."""
    for folder in _candidates(release):
        packages = packages_of(folder)
        if packages is not None:
            with contextlib.suppress(OSError):
                os.utime(folder)  # what nobody uses for long is removed
            return VirtualEnvironment(folder, packages)
    return None


def packages_of(folder: Path) -> dict[str, str] | None:
    """The packages of an environment; None where its interpreter or a file of a package is gone or cut short."""
    try:
        packages = json.loads((folder / _MARKER).read_text(encoding="utf-8"))["packages"]
        site = _site(folder)
        if not _python(folder).exists() or _installed(folder) != packages:
            return None
        for record in site.glob("*.dist-info/RECORD"):
            with record.open(encoding="utf-8", newline="") as lines:
                if any(size and (site / name).stat().st_size != int(size) for name, _, size in csv.reader(lines)):
                    return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(packages)


def require_installable(uv: str, release: Release) -> None:
    """Ask the package index, without installing anything. Raises `CaseError`: no such release, no index, no solution."""
    asked = "\n".join(requirements(release)) + "\n"
    _uv(
        uv,
        release,
        "pip",
        "compile",
        "-q",
        "--no-header",
        "--python",
        sys.executable,
        *_torch(release),
        "-",
        given=asked,
    )


def make(uv: str, release: Release) -> VirtualEnvironment:
    """A new environment for a release, in place of any damaged one. Raises `CaseError`."""
    home = _home()
    # Another run's is whole before it has its name: what is damaged now nobody is just making.
    damaged = [folder for folder in _candidates(release) if packages_of(folder) is None]
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
    try:
        _uv(uv, release, "venv", "-q", "--no-project", "--relocatable", "--python", sys.executable, str(new / "env"))
        python = str(_python(new / "env"))
        _uv(uv, release, "pip", "install", "-q", "--python", python, *_torch(release), *requirements(release))
        packages = _installed(new / "env")
        (new / "env" / _MARKER).write_text(json.dumps({"packages": packages}), encoding="utf-8")
        folder = home / f"{_name(release)}-{new.name.removeprefix('.new-')}"
        os.rename(new / "env", folder)
    except OSError as error:
        raise CaseError(
            f"{home} cannot be written ({error.strerror}); make room, or set LOSSDOCTOR_CACHE_DIR."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    for old in damaged:
        shutil.rmtree(old, ignore_errors=True)
    _prune(home)
    return VirtualEnvironment(folder, packages)


def own_code() -> Path:
    """A folder for PYTHONPATH that holds a copy of the running lossdoctor, with the metadata that name its version."""
    source = Path(__file__).parent
    files = sorted(p for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    total = hashlib.sha256(own_version().encode())
    for path in files:
        total.update(f"{path.relative_to(source).as_posix()}\0{path.stat().st_size}\0".encode())
        total.update(path.read_bytes())
    home = _home("code")
    folder = home / total.hexdigest()[:16]
    if not folder.is_dir():
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
        try:
            shutil.copytree(source, new / "lossdoctor", ignore=shutil.ignore_patterns("__pycache__"))
            metadata = new / f"lossdoctor-{own_version().replace('-', '_')}.dist-info" / "METADATA"
            metadata.parent.mkdir()
            metadata.write_text(
                f"Metadata-Version: 2.1\nName: lossdoctor\nVersion: {own_version()}\n", encoding="utf-8"
            )
            with contextlib.suppress(OSError):  # another run was first
                os.rename(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    os.utime(folder)
    _prune(home)
    return folder


def variables(release: Release) -> dict[str, str]:
    """The process environment in which a release's Python runs our own code and finds the user's."""
    kept = {k: v for k, v in os.environ.items() if k not in _NOT_OURS}
    paths = [str(own_code()), *filter(None, [os.environ.get("PYTHONPATH")])]
    # A device that the user's own JAX can use, this one need not have.
    platforms = {"JAX_PLATFORMS": "cpu"} if release.backend == "jax" else {}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "KERAS_BACKEND": release.backend, **platforms}


def _uv(uv: str, release: Release, *arguments: str, given: str | None = None) -> str:
    """uv's output. Raises `CaseError` with one sentence where it fails."""
    kept = {k: v for k, v in os.environ.items() if k not in _NOT_OURS}
    # Settings of the project in the working directory are not meant for these environments.
    done = subprocess.run(
        [uv, *arguments], input=given, capture_output=True, text=True, check=False, env=kept, cwd=_home()
    )
    if done.returncode:
        raise CaseError(_sentence(release, done.stderr))
    return done.stdout


def _sentence(release: Release, said: str) -> str:
    lines = " ".join(said.split())
    if re.search(rf"no version of keras\s*==\s*{re.escape(release.keras)}\b", lines):
        return (
            f"there is no Keras {release.keras} on the package index; name releases that "
            "https://pypi.org/project/keras/#history lists."
        )
    if _UNREACHABLE.search(lines):
        pytorch = "the index of PyTorch, download.pytorch.org," if "pytorch.org" in lines else "the package index"
        return (
            f"the environment of Keras {release.keras} on {release.backend} is not in the cache, and {pytorch} cannot be "
            "reached; run it once with a network."
        )
    cause = re.search(r"cause: (?:Because )?(.*?)(?:, we can conclude.*| hint:.*)?$", lines)
    return (
        f"uv cannot make an environment for Keras {release.keras} on {release.backend} with Python "
        f"{platform.python_version()} ({(cause[1] if cause else lines)[:300].rstrip('. ')}); leave this release out."
    )


def _torch(release: Release) -> tuple[str, ...]:
    """The CPU's build is a tenth of the size of the others."""
    chosen = release.backend == "torch" and "UV_TORCH_BACKEND" not in os.environ
    return ("--torch-backend", "cpu") if chosen else ()


def _home(part: str = "environments") -> Path:
    folder = cache_folder() / part
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaseError(
            f"{folder} cannot be made ({error.strerror}); set LOSSDOCTOR_CACHE_DIR to a folder that is yours."
        ) from error
    return folder


def _name(release: Release) -> str:
    """What every environment of a release begins with: the same requirements, Python and machine give the same."""
    python = (os.path.realpath(sys.executable), platform.python_version(), sysconfig.get_platform())
    key = hashlib.sha256(repr((requirements(release), python)).encode()).hexdigest()[:12]
    return f"{release.keras}-{release.backend}-{key}"


def _candidates(release: Release) -> list[Path]:
    return sorted(_home().glob(f"{_name(release)}-*"))


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _site(folder: Path) -> Path:
    """Where the packages of a virtual environment lie."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))


def _installed(folder: Path) -> dict[str, str]:
    from importlib.metadata import distributions

    return dict(sorted((d.metadata["Name"].lower(), d.version) for d in distributions(path=[str(_site(folder))])))


def _prune(home: Path) -> None:
    """Remove what a killed run left half made, and what nobody has used for long."""
    now = time.time()
    for entry in os.scandir(home):
        with contextlib.suppress(OSError):
            age = now - entry.stat().st_mtime
            if age > (_STALE_SECONDS if entry.name.startswith(".new-") else _UNUSED_SECONDS):
                shutil.rmtree(entry.path, ignore_errors=True)


__all__ = [
    "BACKENDS",
    "Release",
    "VirtualEnvironment",
    "existing",
    "find_uv",
    "make",
    "own_code",
    "require_installable",
    "requirements",
    "variables",
]
