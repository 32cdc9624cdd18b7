"""What a `check` gates on: its cases, from the command line or the settings, the least severity, and the baseline."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossdoctor.cli.boundary import UNREADABLE, Stop
from lossdoctor.near import did_you_mean

if TYPE_CHECKING:
    from lossdoctor.baseline import Entry
    from lossdoctor.request import CheckCase
    from lossdoctor.types import Finding, ReportData


@dataclass(frozen=True)
class Gate:
    """The cases of one run and what makes them fail. `names` are all cases of the settings, None for a single case."""

    cases: tuple[CheckCase, ...]
    fail_on: str = "error"
    known: tuple[Entry, ...] = ()
    baseline: str | None = None
    write_baseline: str | None = None
    names: tuple[str, ...] | None = None

    def fails(self, report: ReportData) -> bool:
        """True where there is a finding at or above the least severity."""
        from lossdoctor.types import at_least

        return self.fail_on != "never" and any(at_least(f.severity, self.fail_on) for f in report.findings)

    def settled(self, found: Mapping[str, ReportData]) -> dict[str, tuple[ReportData, tuple[Finding, ...]]]:
        """The reports (by case name) without what the baseline knows, and that; stale entries are told on stderr.

        Writes the new baseline first where one was asked for.
        """
        if self.write_baseline is None and self.baseline is None:
            return {name: (report, ()) for name, report in found.items()}
        from lossdoctor import baseline

        known = self.known
        if self.write_baseline is not None:
            baseline.write(self.write_baseline, found, self._kept(found))
            known = baseline.read(self.write_baseline)
        elif old := self.stale(found):
            print(f"lossdoctor: {baseline.stale_sentence(old, str(self.baseline))}", file=sys.stderr)
        return {
            name: (baseline.without(report, name, known), baseline.known_of(report, name, known))
            for name, report in found.items()
        }

    def stale(self, found: Mapping[str, ReportData]) -> list[Entry]:
        """The baseline's entries that no longer occur."""
        from lossdoctor import baseline

        return [] if self.write_baseline is not None else baseline.stale(self.known, found, self.names)

    def _kept(self, found: Mapping[str, ReportData]) -> list[Entry]:
        """The old entries of cases that were not examined now, and are still there as far as is known."""
        from lossdoctor import baseline

        assert self.write_baseline is not None
        old = baseline.read(self.write_baseline) if Path(self.write_baseline).exists() else ()
        return [e for e in old if e.case not in found and (self.names is None or e.case in self.names)]


def make_gate(
    model: str | None,
    batch: str | None,
    *,
    config: Path | None,
    names: Sequence[str],
    options: Mapping[str, Any],
    general: Mapping[str, Any],
    write_baseline: Path | None,
) -> Gate:
    """What to check, by the settings with the flags that were given (`options` of a case, `general` ones) in their place.

    Raises `Stop` where there is nothing to check, `CaseError` for settings or a baseline that cannot be read.
    """
    from lossdoctor.request import CheckCase
    from lossdoctor.settings.read import read_settings

    if model is not None and names:
        raise Stop(UNREADABLE, "--case names cases of the settings; leave out the model, or leave out --case.")
    found = read_settings(None if config is None else str(config))
    given = {key: _plain(value) for key, value in general.items() if value is not None}
    if "select" in given or "ignore" in given:
        _check_codes(given.get("select", ()), given.get("ignore", ()))
    shared = replace(found.general, **given)
    flags = {key: value for key, value in options.items() if value not in (None, False)}
    if model is not None:
        cases: tuple[CheckCase, ...] = (CheckCase(model, batch, name=model),)
    else:
        cases = _chosen(found.cases, names, found.file)
    if "select" in given:
        cases = tuple(replace(case, select=()) for case in cases)
    cases = tuple(shared.apply(replace(case, **flags)) for case in cases)
    gate = Gate(cases, shared.fail_on, names=None if model is not None else tuple(c.name for c in found.cases))
    if write_baseline is not None:
        return replace(gate, write_baseline=str(write_baseline))
    if shared.baseline is None:
        return gate
    from lossdoctor import baseline

    return replace(gate, baseline=shared.baseline, known=baseline.read(shared.baseline))


def _check_codes(select: Sequence[str], ignore: Sequence[str]) -> None:
    """Raises `CaseError` for a code that no rule has, before any model is read."""
    from lossdoctor.rules import RULES
    from lossdoctor.rules.selection import choose

    choose(RULES, select, ignore)


def _plain(value: Any) -> Any:
    """A flag's value as the settings hold it."""
    return tuple(value) if isinstance(value, list) else str(getattr(value, "value", value))


def _chosen(cases: tuple[CheckCase, ...], names: Sequence[str], file: str | None) -> tuple[CheckCase, ...]:
    if not cases:
        where = f"{file} has no cases; add some, or name them: " if file else "check needs a model and a batch: "
        raise Stop(UNREADABLE, f"{where}lossdoctor check model.keras batch.npz.")
    known = [case.name for case in cases]
    for name in names:
        if name not in known:
            raise Stop(
                UNREADABLE,
                f"--case {name}: {file} has no such case{did_you_mean(name, known)}; it has {_listed(known)}.",
            )
    return tuple(case for case in cases if case.name in names) if names else cases


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
