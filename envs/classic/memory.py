"""A cue to remember: it is shown in the first tick only, and asked for in the last.

What an agent sees when it must answer does not depend on the cue, so a policy without memory is right once in `cues`
times; one that remembers is always right. After the T-maze of Bakker 2002, "Reinforcement learning with long short-term memory".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from marl.compiled import rule
from marl.game import I8, RUNNING, TERMINATED, Column, Component, Discrete, Game, Role, array
from marl.params import Params, param
from marl.rng import uniform


@dataclass(frozen=True)
class MemoryParams(Params):
    n_agents: int = param(1, 1, 128, "agents", "each with a cue of its own")
    cues: int = param(4, 2, 64, "cues")
    delay: int = param(8, 1, 10_000, "ticks", "from the cue to the answer")


CUE = 0


class MemoryState(NamedTuple):
    cue: I8 = array("agents")  # [B, A]
    right: I8 = array("agents")  # [B, A] 1 where the answer was right


@rule
def begin(p, s, b):
    for a in range(p.n_agents):
        s.cue[b, a] = int(p.cues * uniform(s, b, CUE, a))
        s.right[b, a] = 0


@rule
def step(p, s, b, action, components, cost):
    if s.t[b] < p.delay:
        return RUNNING
    for a in range(p.n_agents):
        s.right[b, a] = 1 if int(action[b, a, 0]) == s.cue[b, a] else 0
        components[b, a, 0] = s.right[b, a]
    return TERMINATED


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        for k in range(p.cues):
            obs[b, a, k] = 1.0 if s.t[b] == 0 and s.cue[b, a] == k else 0.0
        obs[b, a, p.cues] = 1.0 if s.t[b] == p.delay else 0.0


@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.right[b, a]


def roles(p: MemoryParams) -> tuple[Role, ...]:
    """Agents see the cue one-hot in the first tick, nothing after it, and at last that the answer is due."""
    seen = {f"cue_{k}": Column(0, 1) for k in range(p.cues)} | {"answer_now": Column(0, 1)}
    return (Role("agent", p.n_agents, seen, {"answer": Discrete(p.cues)}),)


def known(p: MemoryParams) -> dict[str, float]:
    """Return and share of right answers of whoever remembers, and that share of whoever does not."""
    return {"return": 1.0, "right": 1.0, "memoryless": 1 / p.cues}


MEMORY = Game(
    "memory",
    version=0,
    params=MemoryParams,
    state=MemoryState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"right": Column(0, 1, "1 where the answer was right")},
    reward={"right": Component(1.0, "points")},
    known=known,
    together=known,
    citation="Bakker 2002, Reinforcement learning with long short-term memory",
)
