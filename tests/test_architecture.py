"""Imports point one way, and what is quick stays quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lossdoctor

PACKAGE = Path(lossdoctor.__file__).parent
# From left to right; a module may import from its own place and from those before it.
PLACES = [
    {"types"},
    {"facts"},
    {"trees", "near", "files", "limits", "stored", "releases", "signals"},
    {"paths", "nesting"},
    {"request"},
    {"_feeding", "_keras", "_graph", "_legacy", "_state", "_tracing", "quiet"},
    {"_compiled"},
    {"nested"},
    {"installed"},
    {"environments"},
    {"matrix"},
    {"case"},
    {"exam"},
    {"rules"},
    {"fixes"},
    {"report"},
    {"settings"},
    {"explain"},
    {"doctor"},
    {"fingerprint"},
    {"cached", "baseline"},
    {"api"},
    {"many"},
    {"guard", "scaffold"},
    {"pytest_plugin"},
    {"cli", "demo"},
    {"__main__"},
]


def place(module: str) -> int:
    name = module.split(".")[1] if "." in module else "__init__"
    return next(i for i, names in enumerate(PLACES) if name in names)


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lossdoctor"):
            found += [
                f"{node.module}.{a.name}" if node.module == "lossdoctor" else str(node.module) for a in node.names
            ]
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("lossdoctor.")]
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_left(path: Path) -> None:
    own = ".".join(["lossdoctor", *path.relative_to(PACKAGE).with_suffix("").parts])
    for name in imports(path):
        # `api` uses the pipeline, and `Report.to_json` the renderers: both lie before it.
        assert place(name) <= place(own), f"{own} imports {name}"


def test_only_the_adapters_touch_private_keras() -> None:
    for path in MODULES:
        private = [
            line for line in path.read_text(encoding="utf-8").splitlines() if "keras.src" in line and "import" in line
        ]
        assert not private or path.name in ("_feeding.py", "_keras.py", "_legacy.py"), (path, private)


def test_modules_are_of_a_size_to_hold_one_idea() -> None:
    assert {p.name: n for p in MODULES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 450} == {}


HEAVY = ("keras", "tensorflow", "jax", "numpy", "optree", "libcst")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["check", "--help"], 0),
        (["rule"], 0),
        (["rule", "LD203"], 0),
        (["check", "--bogus"], 2),
        (["check"], 2),
        (["check", "gone.keras", "gone.npz"], 2),
        (["check", "--schema"], 0),
        (["check", "--config", "gone.toml"], 2),
        (["init", "--dir", "gone"], 2),
        (["explain", "ValueError: No loss to compute. Provide a `loss` argument"], 0),
        (["explain", "ValueError: nobody ever said this"], 1),
        (["explain", " "], 2),
        (["show", "--help"], 0),
        (["show", "gone.keras"], 2),
        (["matrix", "gone.keras", "gone.npz", "--keras", "3.15.1"], 2),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else str(v),
)
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: list[str], code: int) -> None:
    script = (
        "import sys\nfrom lossdoctor.cli import main\n"
        f"sys.argv = ['lossdoctor', *{arguments!r}]\n"
        "try:\n    main.run()\nexcept SystemExit as end:\n    code = end.code or 0\n"
        f"loaded = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "print('\\n@', code, loaded)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == f"@ {code} []", done.stdout + done.stderr
