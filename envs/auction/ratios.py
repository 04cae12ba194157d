# mypy: allow-untyped-defs, allow-incomplete-defs
"""Ratios as the views of mode advertising show them: of order 1, cut at 10."""

from __future__ import annotations

from marl.compiled import rule
from marl.game import Column

HIGHEST = 10.0
RATIO = Column(0, HIGHEST, "ratio, cut at 10")


@rule
def cut(x):
    return min(max(x, 0.0), HIGHEST)


@rule
def over(x, y):
    return min(max(x / y, 0.0), HIGHEST) if y > 0 else 0.0
