"""Scripted tenants and arbiters of the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.resource_allocation import theory
from envs.resource_allocation.accounts import ARBITER_WIDTH, EACH, OF_TENANT, WIDTH, arbiter_columns, tenant_
from envs.resource_allocation.params import ClusterParams
from marl.game import F4, F8, Column, index

SERIOUS = 0.05
"""Share of its credits that a scripted tenant bids in a tick where all bid the same."""
NOTHING = 1e-3
"""Smallest bid, as a share of own credits: as good as nothing, whoever bids it is served last, for a fiftieth of the income."""
NARROW = 0.03
"""Smallest request, as a share of a resource: hardly more than one job at a time."""
LOWEST = 0.05
"""Smallest weight that an arbiter gives."""
CALM, RISE, MOST, WAITED = 0.0005, 1.5, 0.2, 0.2
"""Of `urgent`: bid of a job that has not waited where all is granted, its growth with the wait over the work, the largest bid; an
arbiter's weight of a job that has not waited."""
of_ = index(OF_TENANT)


def tenant_action(p: ClusterParams) -> dict[str, Any]:
    """What a tenant does; the bid is of no effect but under proportional_share.

    Requests and bids spread over decades: a job holds a hundredth to a tenth of the cluster, and a bid of a hundredth of the credits
    wins where others bid less. Spread linearly nine tenths of their ranges would be one plateau.
    """
    held = "most that it holds of resource {}, share of it; a job may always run alone"
    asked = {f"request_{r}": Column(NARROW, 1, held.format(r), scale="log") for r in range(p.resources)}
    bid = Column(NOTHING, 1, "share of own credits; the least is as good as nothing", scale="log")
    return asked | {"bid": bid, "defer": Column(0, 1, "share of own waiting jobs that are held back; parts of a job add up over ticks")}


def arbiter_action(p: ClusterParams) -> dict[str, Any]:
    """What the arbiter does: a weight for each tenant."""
    return {f"weight_{a}": Column(LOWEST, 1, f"of tenant {a}", scale="log") for a in range(p.n_agents)}


def _is_arbiter(p: ClusterParams, obs: F4) -> bool:
    """Whether rows are the arbiter's, whose width differs from the tenants'."""
    return p.agents > p.n_agents and obs.shape[1] == len(arbiter_columns(p))


def _tenant(p: ClusterParams, obs: F4, request: Any, bid: Any, defer: Any) -> F8:
    """Actions [N, U], requests and bids inside their ranges."""
    actions = np.zeros((len(obs), p.resources + 2))
    actions[:, : p.resources] = np.clip(request, NARROW, 1.0)
    actions[:, p.resources], actions[:, p.resources + 1] = np.clip(bid, NOTHING, 1.0), defer
    return actions


def _waiting(p: ClusterParams, obs: F4) -> npt.NDArray[np.bool_]:
    """Whether a tenant has jobs waiting, [N]."""
    return np.asarray(obs[:, WIDTH : WIDTH + p.classes].sum(axis=1) > 0)


def _of(p: ClusterParams, obs: F4, name: str) -> F8:
    """A column of each tenant in the arbiter's rows, [N, A]."""
    first = ARBITER_WIDTH + p.resources
    return np.asarray(obs[:, first + getattr(of_, name) : first + EACH * p.n_agents : EACH], np.float64)


def _weights(score: F8) -> F8:
    """Scores [N, A] as legal weights: the best 1, in proportion, at least the lowest."""
    top = score.max(axis=1, keepdims=True)
    return np.clip(np.divide(score, top, out=np.ones_like(score), where=top > 0), LOWEST, 1.0)


def idle(p: ClusterParams, obs: F4, generator: np.random.Generator) -> F8:
    """Tenants do nothing: all jobs are held back. The arbiter weighs all alike."""
    return np.ones((len(obs), p.n_agents)) if _is_arbiter(p, obs) else _tenant(p, obs, 0.0, 0.0, 1.0)


def ask_for_all(p: ClusterParams, obs: F4, generator: np.random.Generator) -> F8:
    """Tenants ask for everything and bid all they have at once; the arbiter weighs all alike."""
    return np.ones((len(obs), p.n_agents)) if _is_arbiter(p, obs) else _tenant(p, obs, 1.0, 1.0, 0.0)


def steady(p: ClusterParams, obs: F4, generator: np.random.Generator) -> F8:
    """Tenants ask for everything and bid a twentieth of their credits while they have jobs waiting; the arbiter weighs all alike."""
    if _is_arbiter(p, obs):
        return np.ones((len(obs), p.n_agents))
    return _tenant(p, obs, 1.0, SERIOUS * _waiting(p, obs), 0.0)


def shaded(p: ClusterParams, obs: F4, generator: np.random.Generator) -> F8:
    """As steady, with the bid of Kelly's equilibrium of one tick, (n-1)/n^2 of the income that a tick brings, for a queue."""
    if _is_arbiter(p, obs):
        return np.ones((len(obs), p.n_agents))
    money = np.maximum(obs[:, tenant_.credits].astype(np.float64) * p.purse, 1e-9)
    bid = theory.kelly_bid(max(2, p.n_agents), p.income) / money
    return _tenant(p, obs, 1.0, bid * _waiting(p, obs), 0.0)


def urgent(p: ClusterParams, obs: F4, generator: np.random.Generator) -> F8:
    """As steady, with a bid that grows with the oldest job's wait w over its work, and with how little was granted of late, g:

    min(MOST, CALM e^(RISE w) / g^2) of the credits. Where capacity is to be had next to nothing is paid; where it is not, those who
    waited longest spend what they have. No closed form is known for bids that are lost every tick until one wins: the numbers are
    those of a search over populations that play the rule (CALM .0002 to .01, RISE 0 to 4, MOST .2 to 1, powers of g 0 to 2.5; constant
    bids, bids for shares of the cluster and bids by utilisation beside it). They are the ones from which one tenant gains least by
    any constant bid, or constant while it has jobs waiting, over loads of .6 to 1.05, with bursts, outages and deadlines.

    The arbiter weighs so that the job that has waited longest over its work comes first: (WAITED + w) x the dominant share with it.
    """
    if _is_arbiter(p, obs):
        return _weights((WAITED + _of(p, obs, "wait")) * (_of(p, obs, "share") + _of(p, obs, "need")))
    wait, granted = (obs[:, i].astype(np.float64) for i in (tenant_.wait, tenant_.granted))
    bid = CALM * np.exp(np.minimum(RISE * wait, 20.0)) / np.maximum(granted, 0.01) ** 2
    return _tenant(p, obs, 1.0, np.minimum(bid, MOST) * _waiting(p, obs), 0.0)


def equal_split(p: ClusterParams, obs: F4, generator: np.random.Generator) -> F8:
    """Tenants hold at most 1/A of each resource, or what one job needs; the arbiter weighs the longest queues most."""
    if _is_arbiter(p, obs):
        return _weights(_of(p, obs, "queue"))
    need = obs[:, WIDTH + p.classes : WIDTH + p.classes + p.resources].astype(np.float64)
    return _tenant(p, obs, np.maximum(1.0 / p.n_agents, np.minimum(need * (1 + 1e-6), 1.0)), SERIOUS, 0.0)


def green(p: ClusterParams, obs: F4, generator: np.random.Generator) -> F8:
    """As steady, but tenants hold half of their jobs back while the carbon intensity is above its mean; the arbiter weighs those most
    who held least of late."""
    if _is_arbiter(p, obs):
        return _weights(1.0 - _of(p, obs, "recent"))
    actions = steady(p, obs, generator)
    actions[:, p.resources + 1] = 0.5 * (obs[:, tenant_.carbon] > 1.0)
    return actions


def action_grid(p: ClusterParams) -> Mapping[str, npt.NDArray[Any]]:
    """11 actions of a tenant: hold everything back, or ask for .05, .1, .2, .4 or all of each resource with a low or a high bid.

    The arbiter: all alike, or one tenant above the others.
    """
    rows = [[NARROW] * p.resources + [NOTHING, 1.0]]
    rows += [[share] * p.resources + [bid, 0.0] for share in (0.05, 0.1, 0.2, 0.4, 1.0) for bid in (0.005, SERIOUS)]
    grids = {"tenant": np.array(rows)}
    if p.agents > p.n_agents:
        favours = np.full((p.n_agents + 1, p.n_agents), 1.0)
        favours[1:][~np.eye(p.n_agents, dtype=bool)] = 0.5
        grids["arbiter"] = favours
    return grids


def known(p: ClusterParams) -> dict[str, float]:
    """With arrivals `events`: Erlang's C and M/M/c's queue for a lone tenant, and the wait in ticks, of which 1/mu has load x c + c."""
    if p.arrivals != "events" or p.n_agents != 1:
        return {}
    servers, load = p.slots, p.load * p.slots
    wait = theory.mmc_wait(servers, load) * (load + servers)
    return {"delayed": theory.erlang_c(servers, load), "queue": theory.mmc_queue(servers, load), "wait": wait}
