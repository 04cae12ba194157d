"""Scripted agents of the supply chain, who see what learners see."""

from __future__ import annotations

import numpy as np

from envs.supply_chain.params import SupplyChainParams
from envs.supply_chain.sight import action
from marl.game import F4, F8


def naive(p: SupplyChainParams, obs: F4, generator: np.random.Generator) -> F8:
    """Pass-through."""
    return np.zeros((len(obs), len(action(p))))
