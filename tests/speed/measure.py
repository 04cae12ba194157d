"""Ratios of speeds inside one run: both sides warmed up, whole turns in alternation, processor time, median of the turns' ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ratio:
    """How many times faster `ours` is than `theirs`: median, lowest and highest of the turns; `rate` is ours, per CPU second."""

    name: str
    median: float
    low: float
    high: float
    rate: float
    unit: str
    at_least: float | None = None

    @property
    def holds(self) -> bool:
        return self.at_least is None or self.median >= self.at_least


def seconds(turn: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    turn()
    return clock() - begin


def ratio(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    work: tuple[float, float],
    *,
    unit: str,
    turns: int = 7,
    at_least: float | None = None,
    clock: Callable[[], float] = time.process_time,
) -> Ratio:
    """`work` is what one turn of ours and of theirs gets done, in `unit`. The sides take turns after one turn each to warm up.

    Wall time (`clock=time.perf_counter`) where the sides use different numbers of threads.
    """
    ours(), theirs()
    pairs = np.array([(seconds(ours, clock), seconds(theirs, clock)) for _ in range(turns)])
    rates = np.array(work) / pairs
    ratios = rates[:, 0] / rates[:, 1]
    return Ratio(name, float(np.median(ratios)), float(ratios.min()), float(ratios.max()), float(np.median(rates[:, 0])), unit, at_least)


@dataclass(frozen=True)
class Rate:
    """What one side gets done in a CPU second: median of the turns. An absolute figure, which is the machine's as well."""

    name: str
    rate: float
    unit: str
    at_least: float

    @property
    def holds(self) -> bool:
        return self.rate >= self.at_least


def rate(name: str, turn: Callable[[], object], work: float, *, unit: str, at_least: float, turns: int = 7) -> Rate:
    """`work` is what one turn gets done, in `unit`; one turn more warms up."""
    turn()
    return Rate(name, float(np.median([work / seconds(turn, time.process_time) for _ in range(turns)])), unit, at_least)
