"""Guesses at a slip take no time that grows with what a file holds."""

from __future__ import annotations

import time

from lossdoctor.near import did_you_mean, nearest, shortened


def test_a_slip_is_seen() -> None:
    assert nearest("boxx", ["label", "box"]) == ["box"]
    assert did_you_mean("boxx", ["label", "box"]) == " (did you mean 'box'?)"
    assert nearest("a" * 199 + "b", ["a" * 200]) == ["a" * 200]


def test_long_names_and_many_of_them_get_no_guess() -> None:
    began = time.process_time()
    assert nearest("ab cd " * 1_000_000, [f"ab cd{i} " * 6000 for i in range(60)]) == []
    assert nearest("box", ["ab cd " * 1_000_000, "boxx"]) == ["boxx"]
    assert nearest("name", [f"name{i}" for i in range(20_000)]) == []
    assert time.process_time() - began < 1


def test_names_are_cut() -> None:
    assert shortened("a" * 60) == "a" * 60
    assert shortened("a" * 61) == "a" * 57 + "..."
