"""Random damage ends in `CaseError` or is read; `tests.hostile.fuzz` goes on for as long as one likes."""

from __future__ import annotations

import random

import pytest

from tests.hostile.fuzz import TARGETS, attempt

SEEDS = {"batch": 150, "tree": 400, "document": 100, "config": 40, "argument": 300}


@pytest.mark.parametrize("target", TARGETS)
def test_random_damage_is_read_or_refused(target: str) -> None:
    for seed in range(SEEDS[target]):
        error = attempt(target, random.Random(seed))
        assert error is None, (target, seed, error)
