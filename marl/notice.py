"""What long work says on stderr while somebody waits: what it is, and every few seconds how far, until it ends.

A command is never silent for longer than ten seconds. Work says what it does with `working`, `at` and `count`, which cost nothing
beside it; a thread says so aloud once it has lasted. Where a progress bar is up, `shown` keeps that thread still.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite

EVERY = 9.0
"""Seconds of silence after which work that goes on says so again."""
SOON = 2.0
"""Seconds after which work says for the first time what it is."""
LOOK = 0.25
"""Seconds between looks of the thread at the work."""


@dataclass(eq=False)
class _Work:
    text: str  # "": somebody else shows how far it is
    first: float  # s until its first line
    began: float = field(default_factory=time.monotonic)
    told: bool = False
    detail: str = ""
    counted: str = ""

    def line(self, now: float) -> str:
        """What there is to say at the time `now`."""
        parts = [f"{self.text} ({now - self.began:.0f} s)" if self.told else self.text, self.detail, self.counted]
        return ", ".join(part for part in parts if part)


_works: list[_Work] = []
_spoke = time.monotonic()
_thread: threading.Thread | None = None


def say(text: str) -> None:
    """A line on stderr."""
    heard()
    print(f"marl: {text}", file=sys.stderr, flush=True)


def heard() -> None:
    """Something was shown just now: the next line can wait."""
    global _spoke
    _spoke = time.monotonic()


@contextmanager
def working(text: str, first: float = SOON) -> Iterator[None]:
    """Work that may last. Says `text` once it has lasted `first` seconds (0: at once), then every few seconds how far it is."""
    work = _Work(text, first)
    if first <= 0 and isfinite(EVERY):
        say(work.line(work.began))
        work.told = True
    with _pushed(work):
        yield


@contextmanager
def shown() -> Iterator[None]:
    """Work whose progress somebody else shows: nothing is said but of work within it."""
    with _pushed(_Work("", 0.0)):
        yield


@contextmanager
def _pushed(work: _Work) -> Iterator[None]:
    _works.append(work)
    _watch()
    try:
        yield
    finally:
        _works.remove(work)


def at(detail: str) -> None:
    """What the innermost work is at."""
    if _works:
        _works[-1].detail, _works[-1].counted = detail, ""


def count(unit: str, done: int, total: int | None = None) -> None:
    """How many of what the innermost work has done."""
    if _works:
        _works[-1].counted = f"{unit} {done:,}" if total is None else f"{unit} {done:,} of {total:,}"


def _watch() -> None:
    global _thread
    if _thread is None or not _thread.is_alive():  # a forked process has none
        _thread = threading.Thread(target=_look, name="marl-notice", daemon=True)
        _thread.start()


def _look() -> None:
    """Say what is due, while there is work."""
    while _works:
        time.sleep(LOOK)
        now, works = time.monotonic(), _works[-1:]
        for work in works:
            silent = now - _spoke if work.told else min(now - work.began, now - _spoke + EVERY - work.first)
            if work.text and silent >= (EVERY if work.told else work.first) and isfinite(EVERY):
                say(work.line(now))
                work.told = True
