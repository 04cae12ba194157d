"""QMIX: the team's value rises with each of its members' (Rashid et al. 2018).

J = E[(r + gamma M'(q', s') - M(q, s))^2], from team rows, the global state and the team's reward: `algorithms.mixture`. The
weights of M in q, given by networks of the state, are not negative (`algorithms.networks.MonotonicMixer`), so that each
member finds the team's best choice in its own values alone.
"""

from __future__ import annotations

from algorithms import settings
from algorithms.mixture import Mixture
from algorithms.networks import MonotonicMixer
from marl.team import Part


class QMIX(Mixture):
    """QMIX for one part of the agents. `updates` is the number of updates in the run."""

    Settings = settings.QMIX

    def __init__(self, s: settings.QMIX, part: Part, updates: int) -> None:
        super().__init__("qmix", s, part, updates, MonotonicMixer(part.n, part.state_width, s.embed, s.hypernet))
