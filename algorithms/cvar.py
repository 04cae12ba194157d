"""The conditional value at risk of an episode's return as what PPO maximises: the mean of the worst share of episodes.

CVaR_a(R) = E[R | R <= v] = max_v { v - E[(v - R)+] / a }, the maximum at the a-quantile v of R (Rockafellar and Uryasev 2000).
By the envelope theorem the policy's gradient is that at fixed v,
    grad CVaR_a = E[grad log p(episode) (R - v) 1{R <= v}] / a   (Tamar, Glassner and Mannor 2015),
and (R - v) 1{R <= v} = min(R, v) - v. So an agent that is paid, instead of r_t, the increments
    r'_t = min(R_t, v) - min(R_t-1, v),   R_t = r_0 + ... + r_t, R_-1 = 0,
has the return min(R, v) - min(0, v), whose expected gradient is a grad CVaR_a; advantages being normalised, the factor a does not
matter. R_t runs over the rollouts that an episode is cut into, so that a tick is paid at once and an episode need not be whole;
where it is truncated or cut by the rollout's end the critic values what is still to come, as for any reward. With a = 1, v is
the largest return and r'_t = r_t. The quantile is that of the latest `cvar_episodes` episodes, of all the rollout's where it
ended more; before the first has ended, v is infinite.

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


def running(paid: Array, over: Array, before: Array) -> tuple[Array, Array]:
    """What each lane's episode has paid (up to and with, before) every row: both [L, T] f64.

    paid [L, T], over [L, T] rows that end an episode, before [L] what the episode at the first row had paid already.
    """
    upto = np.empty(paid.shape, np.float64)
    ahead = np.empty(paid.shape, np.float64)
    total = before.astype(np.float64)
    for t in range(paid.shape[1]):
        ahead[:, t] = total
        upto[:, t] = total + paid[:, t]
        total = np.where(over[:, t], 0.0, upto[:, t])
    return upto, ahead


class Tail(nn.Module):
    """The worst share `level` of returns: their quantile over recent episodes, and rewards whose return is cut there."""

    returns: Tensor
    seen: Tensor

    def __init__(self, level: float, episodes: int) -> None:
        super().__init__()
        self.level = level
        self.register_buffer("returns", torch.zeros(episodes, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.quantile, self.worst = np.inf, np.nan

    def told(self) -> dict[str, float]:
        """What the last rollout said: the quantile and the mean of the worst share; nothing before an episode has ended."""
        return {"quantile": self.quantile, "cvar": self.worst} if self.seen else {}

    def paid(self, paid: Array, over: Array, alive: Array, before: Array) -> Array:
        """r' [L, T] of rewards r [L, T]; rows of lanes that had left are not `alive` and end nothing."""
        upto, ahead = running(paid, over, before)
        self._observe(upto[over & alive])
        cut: Array = np.minimum(upto, self.quantile) - np.minimum(ahead, self.quantile)
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
