"""VDN: the team's value is the sum of its members' (Sunehag et al. 2018).

J = E[(r + gamma sum_i Q'(o'_i, a*_i) - sum_i Q(o_i, a_i))^2], from team rows and the team's reward: `algorithms.mixture`.
It cannot represent a payoff in which what one choice is worth depends on another's.
"""

from __future__ import annotations

from algorithms import settings
from algorithms.mixture import Mixture
from algorithms.networks import Sum
from marl.team import Part


class VDN(Mixture):
    """VDN for one part of the agents. `updates` is the number of updates in the run."""

    Settings = settings.VDN

    def __init__(self, s: settings.VDN, part: Part, updates: int) -> None:
        super().__init__("vdn", s, part, updates, Sum())
