"""What a game is, copies stepped together, rollout, replay, evaluation, checkpoint, statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marl.errors import UserError
from marl.game import Column, Component, Discrete, Game, Params, Role, array, index
from marl.params import choice, derived, param, text

if TYPE_CHECKING:
    from marl.parallel import ParallelGame
    from marl.vector import VectorGame

__version__ = "0.1.0"

_LAZY = {"VectorGame": "marl.vector", "ParallelGame": "marl.parallel"}


def __getattr__(name: str) -> Any:
    """`marl.VectorGame` and `marl.ParallelGame`, imported when first asked for (they bring numba and pettingzoo)."""
    import importlib

    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'marl' has no attribute {name!r}")


__all__ = [
    "Column", "Component", "Discrete", "Game", "ParallelGame", "Params", "Role", "UserError", "VectorGame", "array",
    "choice", "derived", "index", "param", "text",
]  # fmt: skip
