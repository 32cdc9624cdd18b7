"""Models are examined without their weights: none is given a value, in this check or in the next one of the process."""

from __future__ import annotations

from pathlib import Path

import lossdoctor
from tests.hostile.build import archive, called, dense, functional, sound, tensor


def test_weights_never_get_values(tmp_path: Path) -> None:
    # Keras's Orthogonal raises where it is asked for a vector, which a file that was damaged may do.
    odd = functional(called(dense(bias_initializer="Orthogonal"), tensor("i")))
    (tmp_path / "odd.keras").write_bytes(archive(odd))
    _, batch = sound(tmp_path)
    outcomes = []
    for name in ("odd.keras", "m.keras"):
        (result,) = lossdoctor.check_many([(tmp_path / name, tmp_path / batch)], cache=False)
        assert result.report is not None, result.error
        outcomes.append(result.report.data.outcomes["fit"])
    assert [o.status for o in outcomes] == ["ok", "ok"], outcomes
