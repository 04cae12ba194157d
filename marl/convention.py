"""What a learner is paid, and what the time limit of a continuing game means: conventions that published returns depend on.

A team is all agents that learn. `team_sum` pays each of them the sum of what those who acted earned, `team_mean` that sum
over all n learners, whether they still act or not (as the common reward of EPyMARL, Papoudakis et al. 2021).
Under `bootstrap` a horizon that cuts a continuing game only ends the sum of rewards: the value of what would follow
stands for the rest (Pardo et al. 2018). Under `terminal` nothing follows, which is what code does that reads "done" alone.
A third one: the ways in which several policies act as one, whose formulas are in `marl.ensemble`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

INDIVIDUAL = "individual"
REWARDS = (INDIVIDUAL, "team_sum", "team_mean")
BOOTSTRAP, TERMINAL = "bootstrap", "terminal"
TIME_LIMITS = (BOOTSTRAP, TERMINAL)
ENSEMBLES = ("mean", "vote", "uncertainty")
LONGEST = 10_000
"""Ticks after which an episode of a foreign environment is cut that has not ended."""


def pay(
    convention: str, reward: npt.NDArray[np.float32], learners: npt.NDArray[np.bool_], acted: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.float32]:
    """[B, A] what a tick pays under the convention, from reward [B, A]; `acted` [B, A] is None where everybody did.

    Rows of agents that had left are nobody's, whatever stands in them.
    """
    if convention == INDIVIDUAL:
        return reward
    own = reward[:, learners]
    if acted is not None:
        own = np.where(acted[:, learners], own, np.float32(0.0))
    total = own.sum(1, dtype=np.float32, keepdims=True)
    if convention == "team_mean":
        total = total / np.float32(own.shape[1])
    shared: npt.NDArray[np.float32] = np.broadcast_to(total, reward.shape)
    return shared
