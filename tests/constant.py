"""Policies that always do the same, and copies of the auction with known answers: for tests of what a policy is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import envs
from marl.copies import Copies
from marl.team import ScriptedPolicy
from marl.vector import VectorGame


def always(*values: float) -> ScriptedPolicy:
    """Every row of actions is `values`, in the units of the table."""
    return ScriptedPolicy(lambda _, obs, __: np.tile(np.array(values), (len(obs), 1)), None)


def auction(preset: str, n: int, params: Mapping[str, Any] | None = None) -> Copies:
    """Copies of the auction in a setting of its presets."""
    return VectorGame(envs.GAMES["auction"], n, preset=preset, **(params or {}))
