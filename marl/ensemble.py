"""Ensembles: policies of several runs act as one. They are combined column by column of the action table, row by row.

With members m of weights w_m, actions a_m, probabilities p_m and uncertainties u_m, of a continuous column on its scale
(logarithms where the column is logarithmic) and of a Discrete column with choices k:

mean         a = sum_m w_m a_m / sum_m w_m;  argmax_k sum_m w_m p_mk (Boltzmann addition, Wiering and van Hasselt 2008).
vote         the weighted median, which no other action beats by a majority where each prefers what is nearer to its own
             (Black 1948);  argmax_k sum_m w_m 1[a_m = k], of those with equal votes the one of the largest sum_m w_m p_mk.
uncertainty  the mean with w_m / u_m for w_m: u_m the variance of the member's action (of all weights that sum to 1 these give
             the mean of independent unbiased estimates the least variance, Cochran 1937);  u_m the entropy of its choice
             (Misra, Bourlard and Tyagi 2003).

The probabilities of a member that has values Q are softmax(Q / temperature), its variance that of the actions so drawn. A
member that says nothing of its uncertainty is as uncertain as the members are apart: the variance of the a_m, or the
entropy of the mean of the p_m. One member alone is followed as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from tianshou.algorithm.algorithm_base import Policy
from tianshou.data import Batch
from torch import Tensor, nn

from marl.convention import ENSEMBLES
from marl.errors import UserError
from marl.game import F8, I8, ActionTable, Column, Discrete
from marl.opinion import Opinion, in_units, on_scale, opinion_of, share
from marl.team import LightPolicy, Part, seen

SUREST_VARIANCE = 1e-6
"""Least variance that a member is believed to have: a thousandth of the column's range, squared."""
SUREST_ENTROPY = 1e-3
"""Least entropy that a member is believed to have, in nats."""
EVEN = 1e-9
"""Difference of votes up to which they are equal."""


def combine(kind: str, opinions: Sequence[Opinion], table: ActionTable, weights: npt.ArrayLike) -> F8:
    """Actions [N, U] in the units of `table` of what the members would do; `weights` [M]. Raises UserError for an unknown kind."""
    if kind not in ENSEMBLES:
        raise UserError(f"ensemble = {kind!r}: legal are {', '.join(ENSEMBLES)}")
    if len(opinions) == 1:
        return opinions[0].action
    given, own = np.stack([o.action for o in opinions]), np.asarray(weights, np.float64)[:, None]
    out = np.empty(given.shape[1:])
    continuous = [u for u, c in enumerate(table.values()) if isinstance(c, Column)]
    for u, column in enumerate(table.values()):
        if isinstance(column, Discrete):
            d = u - sum(c < u for c in continuous)
            out[:, u] = _choice(kind, given[:, :, u], _chances(opinions, d, u, column.k), own)
        else:
            c = continuous.index(u)
            stated = [None if o.variance is None else o.variance[:, c] for o in opinions]
            out[:, u] = _value(kind, given[:, :, u], stated, own, column)
    return out


def _chances(opinions: Sequence[Opinion], d: int, u: int, k: int) -> list[tuple[F8, bool]]:
    """Each member's probabilities [N, k] of Discrete column d, which is column u, and whether they say how sure it is."""
    certain = np.eye(k)
    return [(certain[o.action[:, u].astype(np.int64)], False) if o.chances is None else (o.chances[d], True) for o in opinions]


def _choice(kind: str, chosen: F8, chances: Sequence[tuple[F8, bool]], weights: F8) -> I8:
    """[N] choices of one Discrete column: chosen [M, N], weights [M, 1]."""
    p = np.stack([x for x, _ in chances])
    if kind == "uncertainty":
        apart = _entropy(p.mean(0))
        unsure = np.stack([_entropy(x) if said else apart for x, said in chances])
        weights = weights / np.maximum(unsure, SUREST_ENTROPY)
    summed = (weights[:, :, None] * p).sum(0)
    if kind != "vote":
        return summed.argmax(1)
    votes = (weights[:, :, None] * np.eye(p.shape[2])[chosen.astype(np.int64)]).sum(0)
    leads = votes >= votes.max(1, keepdims=True) - EVEN * weights.sum()
    return np.where(leads, summed, -np.inf).argmax(1)


def _entropy(p: F8) -> F8:
    """[N] nats of probabilities [N, k]."""
    entropy: F8 = -(p * np.log(np.maximum(p, 1e-300))).sum(1)
    return entropy


def _value(kind: str, given: F8, stated: Sequence[F8 | None], weights: F8, column: Column) -> F8:
    """[N] values of one continuous column: given [M, N] in units, stated variances [N] of each member, weights [M, 1]."""
    x = on_scale(column, given)
    if kind == "vote":
        return in_units(column, _median(x, np.broadcast_to(weights, x.shape)))
    if kind == "uncertainty":
        apart = share(column, given).var(0)
        unsure = np.stack([apart if own is None else own for own in stated])
        weights = weights / np.maximum(unsure, SUREST_VARIANCE)
    return in_units(column, (weights * x).sum(0) / np.broadcast_to(weights, x.shape).sum(0))


def _median(x: F8, weights: F8) -> F8:
    """Weighted medians [N] of x [M, N]: where the weight below and above is the same, the middle of the two values between."""
    order = x.argsort(0, kind="stable")
    x, weights = np.take_along_axis(x, order, 0), np.take_along_axis(weights, order, 0)
    below, half = weights.cumsum(0), weights.sum(0) / 2.0
    lower = (below >= half * (1.0 - EVEN)).argmax(0)[None]
    upper = (below > half * (1.0 + EVEN)).argmax(0)[None]
    middle: F8 = (np.take_along_axis(x, lower, 0)[0] + np.take_along_axis(x, upper, 0)[0]) / 2.0
    return middle


def checked_weights(weights: Sequence[float] | None, members: int) -> F8:
    """[M] weights that sum to 1; equal ones where none are given. Raises UserError."""
    given = np.ones(members) if weights is None else np.asarray(weights, np.float64)
    if given.shape != (members,) or not np.isfinite(given).all() or (given < 0.0).any() or not given.any():
        said = ", ".join(f"{w:g}" for w in given.ravel())
        raise UserError(f"weights = {said}: legal are {members} numbers from 0, one for each member, not all of them 0")
    total: F8 = given / given.sum()
    return total


@dataclass(frozen=True)
class _Shown:
    """What N agents see: obs [N, O], agents [N] their numbers, mask [N, M]."""

    obs: npt.NDArray[Any]
    agents: I8
    mask: npt.NDArray[Any]


class EnsemblePolicy(LightPolicy):
    """The members' policies as one policy of `part`, whose rows name their agents: members may share parameters in any way.

    `members`: of each run, its parts and their policies.
    """

    certain = "an ensemble combines what its members do to one action"

    def __init__(
        self, part: Part, members: Sequence[Sequence[tuple[Part, Policy]]], kind: str, weights: F8, temperature: float = 1.0
    ) -> None:
        super().__init__(action_space=spaces.Box(-np.inf, np.inf, (1,)), action_bound_method=None)
        self.part, self.kind, self.weights, self.temperature = part, kind, weights, temperature
        self._seats = [[p for p, _ in member] for member in members]
        self.policies = nn.ModuleList(nn.ModuleList(policy for _, policy in member) for member in members)
        self._widths = [int(getattr(member[0][1], "state_width", 0)) for member in members]
        self.state_width = sum(self._widths)

    def initial(self, n: int) -> Tensor:
        """What all members remember of n lanes whose episode begins, side by side: [n, S]."""
        firsts: list[Any] = [own[0] for own in self.policies]  # type: ignore[index]
        return torch.cat([own.initial(n).cpu() for own, width in zip(firsts, self._widths, strict=True) if width], 1)

    def advance(self, rows: Tensor, state: Tensor) -> Tensor:
        """The next state of lanes that see the rows [n, width] while somebody else chooses."""
        found: Tensor = self(seen(rows), state).state
        return found

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """Batch(act [N, U], state [N, S] or None), actions in the units of the action table."""
        rows = np.asarray(batch.obs.cpu() if isinstance(batch.obs, Tensor) else batch.obs, np.float32)
        width, observed = self.part.group.width, self.part.observed
        agents = self.part.origin + rows[:, width:observed].argmax(1)
        if state is None and self.state_width:
            state = self.initial(len(rows))
        states = [None] * len(self._widths) if state is None else list(state.cpu().clone().split(self._widths, 1))
        shown = _Shown(rows[:, :width], agents, rows[:, observed:])
        opinions = [
            self._opinion(seats, policies, shown, before if remembered else None)  # type: ignore[arg-type]
            for seats, policies, before, remembered in zip(self._seats, self.policies, states, self._widths, strict=True)
        ]
        after = None if state is None else torch.cat([s for s in states if s is not None], 1)
        return Batch(act=combine(self.kind, opinions, self.part.group.action, self.weights), state=after)

    def _opinion(self, seats: Sequence[Part], policies: Sequence[Policy], shown: _Shown, state: Tensor | None) -> Opinion:
        """One member's opinion on all rows, each by the policy of the part that its agent is in; what it remembers is moved on."""
        found = []
        for part, policy in zip(seats, policies, strict=True):
            which = np.flatnonzero((shown.agents >= part.lo) & (shown.agents < part.hi))
            if len(which):
                own = torch.from_numpy(own_rows(part, shown.obs[which], shown.agents[which], shown.mask[which]))
                opinion, after = opinion_of(policy, own, self.temperature, None if state is None else state[which])
                found.append((which, opinion))
                if state is not None and after is not None:
                    state[which] = after.cpu()
        return found[0][1] if len(found) == 1 else _joined(found, len(shown.obs))

    def map_action(self, act: Any) -> Any:
        """They are in units already."""
        return act


def own_rows(part: Part, obs: npt.NDArray[Any], agents: I8, mask: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Rows [N, width] as the part's policy reads them, of agents [N] with obs [N, O] and mask [N, M]."""
    pieces = [obs, np.eye(part.ids)[agents - part.origin], mask] if part.ids else [obs, mask]
    return np.concatenate(pieces, 1, dtype=np.float32)


def _joined(found: Sequence[tuple[I8, Opinion]], n: int) -> Opinion:
    """Opinions on some of n rows each, as one on all. What one of them does not say, none says: parts of a run have one algorithm."""
    order = np.concatenate([which for which, _ in found]).argsort()
    opinions = [o for _, o in found]
    variances = [o.variance for o in opinions if o.variance is not None]
    chances = [o.chances for o in opinions if o.chances is not None]
    return Opinion(
        np.concatenate([o.action for o in opinions])[order],
        np.concatenate(variances)[order] if len(variances) == len(opinions) else None,
        tuple(np.concatenate(column)[order] for column in zip(*chances, strict=True)) if len(chances) == len(opinions) else None,
    )


def ensemble_parts(plan: Mapping[str, Part], groups: Sequence[Any]) -> dict[str, Part]:
    """Parts of an ensemble among agents of a member's plan: of each group those that learn, named, and the scripted ones as they are."""
    found: dict[str, Part] = {}
    for group in groups:
        learning = [p for p in plan.values() if p.learns and p.lo < group.hi and group.lo < p.hi]
        lo, hi = max(group.lo, min(p.lo for p in learning)), min(group.hi, max(p.hi for p in learning))
        found[group.name] = replace(learning[0], name=group.name, group=group, lo=lo, hi=hi, ids=0).named()
    return found | {name: part for name, part in plan.items() if not part.learns}
