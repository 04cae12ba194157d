"""MATD3: MADDPG with two critics, of which the lower is believed, noise on target actions and a delayed actor.

J_Q = sum_j E[(Q_ji(s, a) - y_i)^2],  y_i = r_i + gamma min_j Q'_ji(s', a'): the equations and shapes of `algorithms.maddpg`
with j = 1, 2 (Ackermann et al. 2019; Fujimoto, van Hoof and Meger 2018).
"""

from __future__ import annotations

from algorithms import settings
from algorithms.maddpg import MADDPG


class MATD3(MADDPG):
    """MATD3 for one part of the agents."""

    Settings = settings.MATD3
    name, critics = "matd3", 2
