"""The conditional value at risk of an episode's return as what PPO maximises: the mean of the worst share of episodes.

CVaR_a(R) = E[R | R <= v] = max_v { v - E[(v - R)+] / a }, the maximum at the a-quantile v of R (Rockafellar and Uryasev 2000).
By the envelope theorem the policy's gradient is that at fixed v,
    grad CVaR_a = E[grad log p(episode) (R - v) 1{R <= v}] / a   (Tamar, Glassner and Mannor 2015),
and (R - v) 1{R <= v} = min(R, v) - v. R = sum_t gamma^t r_t, as in all that PPO maximises. So an agent that is paid, instead of r_t,
    r'_t = gamma^-t (min(R_t, v) - min(R_t-1, v)),   R_t = r_0 + ... + gamma^t r_t, R_-1 = 0,
has the discounted return min(R, v) - min(0, v), whose expected gradient is a grad CVaR_a; advantages being normalised, the factor a
does not matter (the gamma^t of a tick's own gradient PPO leaves out, here as elsewhere). |r'_t| <= |r_t|, since R_t grows by
gamma^t r_t. R_t runs over the rollouts that an episode is cut into, so that a tick is paid at once and an episode need not be
whole; where it is truncated or cut by the rollout's end the critic values what is still to come, as for any reward. With a = 1,
v is the largest return and r'_t = r_t. The quantile is that of the latest `cvar_episodes` episodes, of all the rollout's where
it ended more; before the first has ended, v is infinite.

What it cannot do: (a) the best policy under this objective may depend on R_t (Baeuerle and Ott 2011), which neither network
sees; where it matters the game must show it. (b) Where more than a share a of episodes ends at the worst return of all,
r' tells nothing apart ("blindness to success", Greenberg et al. 2022): an entropy bonus keeps the policy off such plateaus.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Array = npt.NDArray[Any]
SMALLEST, LARGEST = 1e-300, 1e30
"""Where gamma^t has vanished; and more than any reward, in place of an infinite quantile."""


def running(paid: Array, over: Array, before: Array) -> tuple[Array, Array]:
    """What each lane's episode has paid (up to and with, before) every row: both [L, T] f64.

    paid [L, T], over [L, T] rows that end an episode, before [L] what the episode at the first row had paid already.
    """
    upto, ahead, _ = discounted(paid, over, np.stack([before, np.ones(len(before))]), 1.0)
    return upto, ahead


def discounted(paid: Array, over: Array, head: Array, gamma: float) -> tuple[Array, Array, Array]:
    """The same of gamma^t r_t in an episode's tick t, and these gamma^t: [L, T] f64 each. head [2, L] is what the first row finds."""
    upto, ahead, weight = (np.empty(paid.shape, np.float64) for _ in range(3))
    total, factor = head.astype(np.float64)
    for t in range(paid.shape[1]):
        ahead[:, t], weight[:, t] = total, factor
        upto[:, t] = total + factor * paid[:, t]
        total, factor = np.where(over[:, t], 0.0, upto[:, t]), np.where(over[:, t], 1.0, factor * gamma)
    return upto, ahead, weight


class Tail(nn.Module):
    """The worst share `level` of returns: their quantile over recent episodes, and rewards whose return is cut there."""

    returns: Tensor
    seen: Tensor

    def __init__(self, level: float, episodes: int, gamma: float = 1.0) -> None:
        super().__init__()
        self.level, self.gamma = level, gamma
        self.register_buffer("returns", torch.zeros(episodes, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.quantile, self.worst = np.inf, np.nan

    def told(self) -> dict[str, float]:
        """What the last rollout said: the quantile and the mean of the worst share; nothing before an episode has ended."""
        return {"quantile": self.quantile, "cvar": self.worst} if self.seen else {}

    def paid(self, paid: Array, over: Array, alive: Array, head: Array) -> Array:
        """r' [L, T] of rewards r [L, T]; rows of lanes that had left are not `alive` and end nothing.

        head [2, L]: what the episode at the first row had paid already, discounted, and gamma^t there.
        """
        upto, ahead, weight = discounted(paid, over, head, self.gamma)
        self._observe(upto[over & alive])
        room = np.clip((self.quantile - ahead) / np.maximum(weight, SMALLEST), -LARGEST, LARGEST)
        cut: Array = np.minimum(paid, room) - np.minimum(0.0, room)
        return cut

    def _observe(self, totals: Array) -> None:
        """Returns [E] of the episodes that a rollout ended."""
        size = len(self.returns)
        kept = self.returns[: min(int(self.seen), size)].cpu().numpy()
        latest = np.concatenate([kept, totals])[-max(size, len(totals)) :]
        self.seen += len(totals)
        self.returns[: min(len(latest), size)] = torch.from_numpy(latest[-size:].copy())
        if len(latest):
            self.quantile = float(np.quantile(latest, self.level, method="inverted_cdf"))
            self.worst = self._mean_of_worst(latest)

    def _mean_of_worst(self, returns: Array) -> float:
        """CVaR of a sample: the mean of its worst share, the return at the share's edge counted in part."""
        ordered, share = np.sort(returns), self.level * len(returns)
        weight = np.clip(share - np.arange(len(ordered)), 0.0, 1.0)
        return float((weight * ordered).sum() / share)
