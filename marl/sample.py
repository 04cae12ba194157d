"""Actions drawn from what policies learned, where that is a distribution: a game whose answer is mixed is not judged by modes.

A policy with a distribution has `drawn(rows, out, u)`: action rows like `out.act`, of its answer `out` to the rows, where the
uniform numbers u [N, U] stand for what is left to chance, one for each column of the action table. They are addressed
(`marl.rng`) by copy, episode, tick, agent and column: a policy does the same in every evaluation on one seed, forks of
copies meet the same draws, and no random stream of the training moves. A policy without has its reason in `certain`; it acts
as ever. A script draws by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from tianshou.algorithm.algorithm_base import Policy

from marl import rng
from marl.team import Part, ScriptedPolicy

PURPOSE = "policy"


def draws(policy: Policy) -> bool:
    """Whether the policy has a distribution to draw from."""
    return hasattr(policy, "drawn")


def reasons(policies: Mapping[str, Policy]) -> dict[str, str]:
    """Part -> why its policy has no distribution, of those that were learned and have none."""
    bare = {name: policy for name, policy in policies.items() if not draws(policy) and not isinstance(policy, ScriptedPolicy)}
    return {name: str(getattr(policy, "certain", "") or "it says of no distribution") for name, policy in bare.items()}


def drawn(policy: Policy, part: Part, address: rng.Address, rows: torch.Tensor, out: Any, first: int | None = None) -> Any:
    """Action rows [N, row] for the answer `out` to rows [B * n, width] of a part's agents, or of n agents from number `first` on."""
    if not draws(policy):
        return out.act
    lo = part.lo if first is None else first
    count = len(rows) // len(address[0])
    u = rng.uniforms(address, PURPOSE, lo, lo + count, part.group.action_width)
    own: Any = policy
    return own.drawn(rows, out, torch.from_numpy(u).flatten(0, 1).to(rows.device))
