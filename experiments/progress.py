"""Progress on stderr: a bar on a terminal, a few plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from marl import notice

if TYPE_CHECKING:
    from marl.schedule import Progress

LINES = 10
"""Plain lines of a run that writes to no terminal."""


def score_of(row: Any) -> str:
    """What the latest evaluation says: the score where there is one, else the return."""
    for key in ("evaluation/score", "evaluation/return"):
        if key in row:
            return f"{key.removeprefix('evaluation/')} {row[key]:.4g}"
    return ""


class Bar:
    """Watches a run. Shows progress in the schedule's unit, environment steps a second of this process, the latest score."""

    def __init__(self, unit: str, out: TextIO | None = None) -> None:
        self._out, self._unit = sys.stderr if out is None else out, unit
        self._bar: Any = None
        self._began, self._first, self._line = time.monotonic(), -1, -1
        self._score = ""
        self.speed: float | None = None

    def __call__(self, progress: Progress) -> None:
        """Take what the run tells."""
        if self._first < 0:
            self._began, self._first = time.monotonic(), progress.steps
        else:
            self.speed = (progress.steps - self._first) / max(time.monotonic() - self._began, 1e-9)
        self._score = score_of(progress.row) or self._score
        notice.heard()
        if self._out.isatty():
            self._draw(progress)
        else:
            self._print(progress)

    def _draw(self, progress: Progress) -> None:
        from tqdm import tqdm

        if self._bar is None:
            form = "{percentage:3.0f}%|{bar}| {n:,.0f}/{total:,.0f} {unit} [{elapsed}<{remaining}{postfix}]"
            self._bar = tqdm(total=progress.total, unit=self._unit, file=self._out, bar_format=form, initial=progress.done)
        self._bar.n = min(progress.done, progress.total)
        self._bar.set_postfix_str(self._said())

    def _print(self, progress: Progress) -> None:
        line = LINES * progress.done // progress.total
        if line > self._line:
            share = min(1.0, progress.done / progress.total)
            print(f"{share:4.0%} of {progress.total:,} {self._unit}, {self._said()}".rstrip(", "), file=self._out, flush=True)
        self._line = max(line, self._line)

    def _said(self) -> str:
        speed = "" if self.speed is None else f"{self.speed:,.0f} env steps/s"
        return ", ".join(text for text in (speed, self._score) if text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()
