"""Sound models and batches with options, settings and outputs that are broken or mean harm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.build import SOUND, Case, archive, function, layer, sound, with_options
from tests.hostile.models import bytecode

DEEP = "[" * 100_000
NESTED = "[" * 900 + "]" * 900


def _option(*options: str, **more: Any) -> Case:
    return Case(with_options(*options), **more)


def _file(name: str, text: str | bytes, *options: str, **more: Any) -> Case:
    data = text if isinstance(text, bytes) else text.encode()
    return Case(with_options(*options, prepare=lambda folder: (folder / name).write_bytes(data)), **more)


def _put(make: Callable[[Path], object], *options: str, **more: Any) -> Case:
    return Case(with_options(*options, prepare=make), **more)


def _loss(value: Any) -> Case:
    return _option("--loss", json.dumps(value))


LOSSES = {
    "--loss no JSON": _option("--loss", "{'a': 'mse'}"),
    "--loss empty": _option("--loss", "", codes=(1, 2)),
    "--loss 100000 levels deep": _option("--loss", DEEP),
    "--loss 900 levels deep": _option("--loss", NESTED, codes=(1, 2)),
    "--loss a number": _option("--loss", "3"),
    "--loss a number of 5000 digits": _option("--loss", "9" * 5000),
    "--loss an expression": _option("--loss", "__import__('os').system('touch MARKER')"),
    "--loss an unknown name": _option("--loss", "no_such_loss"),
    "--loss a dunder": _option("--loss", "__class__"),
    "--loss get": _option("--loss", "get", codes=(1, 2)),
    "--loss deserialize": _option("--loss", "deserialize", codes=(1, 2)),
    "--loss of os.system": _loss(function("os", "system")),
    "--loss of get_file": _loss(function("keras.utils", "get_file")),
    "--loss of bytecode": _loss(bytecode("MARKER")),
    "--loss with bytecode inside": _loss(
        {**layer("MeanSquaredError", "keras.losses"), "config": {"fn": bytecode("MARKER")}}
    ),
    "--loss a class of os": _loss({"class_name": "system", "module": "os", "config": {"command": "touch MARKER"}}),
    "--loss a class without a config": _option("--loss", '{"class_name": "MeanSquaredError"}', codes=(0, 1, 2)),
    "--loss a class that is a list": _loss({"class_name": ["a"], "config": {}}),
    "--loss a missing file": _option("--loss", "gone.json"),
    "--loss a FIFO": _put(lambda f: os.mkfifo(f / "l.json"), "--loss", "l.json"),
    "--loss a folder": _put(lambda f: (f / "l.json").mkdir(), "--loss", "l.json"),
    "--loss a link to itself": _put(lambda f: (f / "l.json").symlink_to("l.json"), "--loss", "l.json"),
    "--loss a link to /dev/zero": _put(lambda f: (f / "l.json").symlink_to("/dev/zero"), "--loss", "l.json"),
    "--loss a file not UTF-8": _file("l.json", b"\xff\xfe", "--loss", "l.json"),
    "--loss a file of 5 MiB": _file("l.json", b" " * (5 << 20), "--loss", "l.json"),
    "--loss-weights text": _option("--loss-weights", '"a"'),
    "--loss-weights NaN": _option("--loss-weights", "NaN", codes=(1, 2)),
    "--loss-weights infinite": _option("--loss-weights", "1e999", codes=(1, 2)),
    "--loss-weights of 400 digits": _option("--loss-weights", "9" * 400),
    "--loss-weights a list of 400 digits": _option("--loss-weights", f"[{'9' * 400}]", codes=(1, 2)),
    "--loss-weights deep": _option("--loss-weights", NESTED, codes=(1, 2)),
    "--metrics a number": _option("--metrics", "3"),
    "--metrics of os.system": _option("--metrics", json.dumps([function("os", "system")])),
    "--metrics of bytecode": _option("--metrics", json.dumps([bytecode("MARKER")])),
    "--metrics deep": _option("--metrics", NESTED, codes=(0, 1, 2)),
}

OBJECTS = {
    "--objects missing": _option("--objects", "gone.py"),
    "--objects a folder": _put(lambda f: (f / "o.py").mkdir(), "--objects", "o.py"),
    "--objects a FIFO": _put(lambda f: os.mkfifo(f / "o.py"), "--objects", "o.py"),
    "--objects /dev/null": _option("--objects", "/dev/null"),
    "--objects bytes": _file("o.py", b"\x00\xff\xfe", "--objects", "o.py"),
    "--objects a syntax error": _file("o.py", "def f(:\n", "--objects", "o.py"),
    "--objects deep brackets": _file("o.py", "(" * 5000, "--objects", "o.py"),
    "--objects that end the program": _file("o.py", "raise SystemExit(0)", "--objects", "o.py"),
    "--objects that recurse": _file("o.py", "def f():\n    f()\nf()", "--objects", "o.py"),
    "--objects an empty name": _option("--objects", ""),
    "--objects a dotted name": _option("--objects", "..evil"),
    "--objects a name with a NUL": _option("--objects", "evil\0.py"),
}

BIG = "a = [" + "[" * 50_000


def _config(text: str | bytes, name: str = "l.toml") -> Case:
    return _file(name, text, "--config", name)


CONFIGS = {
    "--config missing": _option("--config", "gone.toml"),
    "--config a FIFO": _put(lambda f: os.mkfifo(f / "l.toml"), "--config", "l.toml"),
    "--config a folder": _put(lambda f: (f / "l.toml").mkdir(), "--config", "l.toml"),
    "--config /dev/zero": _option("--config", "/dev/zero"),
    "--config a link to itself": _put(lambda f: (f / "l.toml").symlink_to("l.toml"), "--config", "l.toml"),
    "--config not UTF-8": _config(b"\xff\xfe"),
    "--config no TOML": _config("[[["),
    "--config deep": _config(BIG),
    "--config deep tables": _config("a" + ".a" * 20_000 + " = 1"),
    "--config of 5 MiB": _config(b"#" * (5 << 20)),
    "--config an unknown key": _config("evil = 1"),
    "--config a wrong type": _config("select = 3"),
    "--config a huge number": _config("baseline = " + "9" * 5000),
    "--config a date": _config("[[cases]]\nmodel = 'm'\nbatch = 'b'\nloss = 1979-05-27"),
    "--config a NUL in a name": _config('baseline = "a\\u0000b"', "l.toml"),
    "--config without a table": _config("[tool]\n", "pyproject.toml"),
    "--config a code that climbs": _config('select = ["../../etc"]'),
}


def _known(text: str | bytes) -> Case:
    return _file("known.json", text, "--baseline", "known.json")


BASELINES = {
    "--baseline missing": _option("--baseline", "gone.json"),
    "--baseline a FIFO": _put(lambda f: os.mkfifo(f / "k.json"), "--baseline", "k.json"),
    "--baseline a folder": _option("--baseline", "."),
    "--baseline /dev/zero": _option("--baseline", "/dev/zero"),
    "--baseline no JSON": _known("{"),
    "--baseline deep": _known(DEEP),
    "--baseline not UTF-8": _known(b"\xff"),
    "--baseline a list": _known("[]"),
    "--baseline of another version": _known('{"version": 99, "findings": []}'),
    "--baseline findings that are none": _known('{"version": 1, "findings": [1]}'),
    "--baseline a number of 5000 digits": _known("9" * 5000),
}


def _output(path: str, *more: str, outputs: tuple[str, ...] = (), **others: Any) -> Case:
    return _option("--format", "json", "--output", path, *more, outputs=outputs or (path,), **others)


def _linked(name: str, target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).symlink_to(target)


OUTPUTS = {
    "--output a folder": _output("."),
    "--output in no folder": _output("gone/r.json"),
    "--output inside a file": _output("m.keras/r.json"),
    "--output a name too long": _output("r" * 5000),
    "--output an empty name": _output(""),
    "--output /dev/full": _output("/dev/full", outputs=("/dev/full",)),
    "--output /dev/null": _output("/dev/null", codes=(0,)),
    "--output in /proc": _output("/proc/r.json"),
    "--output in /sys": _output("/sys/r.json"),
    "--output a FIFO that nobody reads": _put(
        lambda f: os.mkfifo(f / "r.json"), "--format", "json", "--output", "r.json", outputs=("r.json",)
    ),
    "--output a link to itself": _put(_linked("r.json", "r.json"), "--output", "r.json"),
    "--output a link into no folder": _put(_linked("r.json", "gone/r.json"), "--output", "r.json", outputs=("r.json",)),
    "--output twice the same": _output("r.json", "--format", "html", "--output", "r.json"),
    "--output the model": _option("--output", "m.keras", says="would be lost"),
    "--output the batch": _option("--output", "b.npz", says="would be lost"),
    "--output the model by a link": _put(_linked("r.json", "m.keras"), "--output", "r.json", says="would be lost"),
    "--output the settings": _file("l.toml", "", "--config", "l.toml", "--output", "l.toml", says="would be lost"),
    "--output the objects": _file("o.py", "", "--objects", "o.py", "--output", "o.py", says="would be lost"),
    "--patch the model": _option("--patch", "m.keras", says="would be lost"),
    "--write-baseline a folder": _option("--write-baseline", "."),
    "--write-baseline in no folder": _option("--write-baseline", "gone/k.json", outputs=("gone/k.json",)),
    "--write-baseline the model": _option("--write-baseline", "m.keras"),
    "--patch in no folder": Case(with_options("--patch", "gone/p.py"), codes=(0, 2)),
    "--output through a link": _put(
        _linked("r.json", "real.json"), "--format", "json", "--output", "r.json", codes=(0,), outputs=("real.json",)
    ),
}


def _command(*words: str, **more: Any) -> Case:
    return Case(lambda folder: (sound(folder), [*words])[1], **more)


def _evil(folder: Path, *words: str) -> list[str]:
    sound(folder)
    (folder / "m.keras").write_bytes(archive({**SOUND, "compile_config": {"loss": function("os", "system")}}))
    return [*words]


COMMANDS = {
    "show of a payload": Case(lambda f: _evil(f, "show", "m.keras", "b.npz")),
    "patch of a payload": Case(lambda f: _evil(f, "patch", "m.keras", "b.npz", "-o", "p.py")),
    "check with --forward of a file without weights": Case(with_options("--forward")),
    "explain nothing": _command("explain", "-"),
    "explain ten million brackets": Case(
        lambda f: ["explain", "-"], stdin=b"ValueError: " + b"(" * 10_000_000, codes=(0, 1, 2)
    ),
    "explain 300000 lines": Case(lambda f: ["explain", "-"], stdin=b"ValueError: a\n" * 300_000, codes=(0, 1, 2)),
    "explain bytes": Case(lambda f: ["explain", "-"], stdin=bytes(range(256)) * 4000, codes=(0, 1, 2)),
    "explain shapes without an end": Case(
        lambda f: ["explain", "-"], stdin=b"ValueError: Shapes " + b"(None, 1), " * 200_000, codes=(0, 1, 2)
    ),
    "rule of a path": _command("rule", "../../../etc/passwd"),
}

CASES: dict[str, Case] = {**LOSSES, **OBJECTS, **CONFIGS, **BASELINES, **OUTPUTS, **COMMANDS}
