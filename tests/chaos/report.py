"""What came of a run under faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Report:
    """The figures of one run or of several. A run is good if `problems` is empty.

    Attributes:
        target: What was tested.
        seconds: For how long items were issued.
        items: How many were issued.
        right: How many were answered correctly.
        own_errors: How many failed that had to: poison items.
        refused: How many failed with the reason that a part had changed.
        lost, duplicated, wrong: Items without an answer, with more than one, with another answer than the right one.
        unexpected: The errors of items that should have been answered.
        silence_s: The longest time without an answer while items were waiting, before any part was changed.
        injected: How often each kind of fault was made to happen.
        faults: How often the executor recorded each kind of fault.
        pauses_s: By kind of fault, the longest time without an answer from when it was injected until the next one was.
        recoveries_s: By kind of fault, from the executor's detection of each to the next answer.
        left: What was left behind.
    """

    target: str
    seconds: float = 0.0
    items: int = 0
    right: int = 0
    own_errors: int = 0
    refused: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    unexpected: tuple[str, ...] = ()
    silence_s: float = 0.0
    injected: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    pauses_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    recoveries_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    left: tuple[str, ...] = ()

    def problems(self, longest_silence_s: float) -> list[str]:
        """Everything that must not be, in words."""
        counts = [(self.lost, "lost"), (self.duplicated, "answered twice"), (self.wrong, "answered wrongly")]
        found = [f"{count} of {self.items} items {what}" for count, what in counts if count]
        if self.unexpected:
            found.append(f"{len(self.unexpected)} items failed that should not: {self.unexpected[0]}")
        if self.silence_s > longest_silence_s:
            found.append(f"no answer for {self.silence_s:.1f} s, expected at most {longest_silence_s:g} s")
        if self.left:
            found.append(f"left behind: {', '.join(self.left)}")
        return found

    def recovery_s(self, share: float) -> float:
        """The quantile of the recoveries from all faults; NaN without any."""
        return quantile((value for values in self.recoveries_s.values() for value in values), share)

    def __str__(self) -> str:
        recovery = "/".join(f"{self.recovery_s(share):.2f}" for share in (0.5, 0.99, 1))
        return (
            f"{self.target}: {self.seconds:.0f} s, {self.items} items, {self.right} right, {self.own_errors} own errors, "
            f"{self.refused} refused, {self.lost} lost, {self.duplicated} twice, {self.wrong} wrong, "
            f"{len(self.unexpected)} unexpected; {sum(self.injected.values())} faults injected, "
            f"{sum(self.faults.values())} recorded; recovery {recovery} s (median/p99/max), "
            f"longest silence {self.silence_s:.2f} s; pause after {self._pauses()} (median/max)"
        )

    def _pauses(self) -> str:
        each = (
            f"{kind} {quantile(values, 0.5):.2f}/{max(values):.2f} s of {len(values)}"
            for kind, values in sorted(self.pauses_s.items())
        )
        return ", ".join(each) or "no fault"


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which this share of them lies; NaN without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def _merged(mappings: Iterable[Mapping[str, tuple[float, ...]]]) -> dict[str, tuple[float, ...]]:
    merged: dict[str, tuple[float, ...]] = {}
    for mapping in mappings:
        for kind, values in mapping.items():
            merged[kind] = (*merged.get(kind, ()), *values)
    return merged


def joined(target: str, reports: Iterable[Report]) -> Report:
    """Several runs as one."""
    each = list(reports)
    sums = {
        name: sum(getattr(report, name) for report in each)
        for name in ("seconds", "items", "right", "own_errors", "refused", "lost", "duplicated", "wrong")
    }
    return Report(
        target,
        **sums,
        unexpected=tuple(error for report in each for error in report.unexpected),
        silence_s=max((report.silence_s for report in each), default=0.0),
        injected=sum((report.injected for report in each), Counter()),
        faults=sum((report.faults for report in each), Counter()),
        pauses_s=_merged(report.pauses_s for report in each),
        recoveries_s=_merged(report.recoveries_s for report in each),
        left=tuple(name for report in each for name in report.left),
    )
