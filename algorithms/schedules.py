"""How a number moves over a run."""

from __future__ import annotations


def linear(first: float, last: float, done: float, total: float) -> float:
    """From `first` at none of `total` to `last` at all of it, and no further: first + (last - first) min(1, done / total)."""
    return first + (last - first) * min(1.0, done / total)
