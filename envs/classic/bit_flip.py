"""Bit flip: turn a row of bits into another, one bit a tick (Andrychowicz et al. 2017, Hindsight Experience Replay).

Every tick costs 1 until the row is the goal, which ends the game. With many bits a learner that explores at random never
sees another reward; what it reached instead could have been the goal, which the game declares. The limit of `horizon`
ticks is not seen and truncates.

Both rows are drawn uniformly, so that d ~ Binomial(n, 1/2) bits differ. The best play flips one of those a tick and
returns 1 - d, or -1 where none differs, since a flip is made in every tick: E = 1 - n / 2 - 2 * 2^-n where `horizon` is
at least n and 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from marl.compiled import rule
from marl.game import B1, F4, F8, I8, RUNNING, TERMINATED, TRUNCATED, Column, Component, Discrete, Game, Goal, Role, array
from marl.params import Params, param
from marl.rng import draw, stream

BITS = 0


@dataclass(frozen=True)
class BitFlipParams(Params):
    bits: int = param(10, 1, 64, "bits")
    horizon: int = param(20, 2, 100_000, "ticks", "after which an episode is cut")


class BitFlipState(NamedTuple):
    bit: I8 = array("bits")  # [B, bits] 0 or 1
    goal: I8 = array("bits")  # [B, bits] 0 or 1
    reached: I8 = array()  # [B] 1 where the row is the goal, after a tick


@rule
def begin(p, s, b):
    numbers = stream(s, b, BITS)
    s.reached[b] = 0
    for k in range(p.bits):
        s.bit[b, k] = int(2.0 * draw(numbers, k))
        s.goal[b, k] = int(2.0 * draw(numbers, p.bits + k))


@rule
def step(p, s, b, action, components, cost):
    k = int(action[b, 0, 0])
    s.bit[b, k] = 1 - s.bit[b, k]
    s.reached[b] = 1
    for i in range(p.bits):
        if s.bit[b, i] != s.goal[b, i]:
            s.reached[b] = 0
    components[b, 0, 0] = s.reached[b] - 1.0
    if s.reached[b] == 1:
        return TERMINATED
    return RUNNING if s.t[b] + 1 < p.horizon else TRUNCATED


@rule
def observe(p, s, b, obs):
    for k in range(p.bits):
        obs[b, 0, k] = s.bit[b, k]
        obs[b, 0, p.bits + k] = s.goal[b, k]


@rule
def measure(p, s, b, metrics):
    metrics[b, 0, 0] = s.reached[b]


def columns(p: BitFlipParams, name: str) -> tuple[str, ...]:
    """Names of the columns of one of the two rows."""
    return tuple(f"{name}_{k}" for k in range(p.bits))


def roles(p: BitFlipParams) -> tuple[Role]:
    seen = {name: Column(0, 1) for name in (*columns(p, "bit"), *columns(p, "goal"))}
    return (Role("flipper", 1, seen, {"flip": Discrete(p.bits)}),)


def outcome(p: BitFlipParams, achieved: F4, desired: F4) -> tuple[F4, B1]:
    """(reward [N], over [N]) of rows of bits [N, bits] under goals [N, bits]."""
    reached: B1 = (achieved == desired).all(1)
    return reached.astype(np.float32) - np.float32(1.0), reached


def known(p: BitFlipParams) -> dict[str, float]:
    """Expected return of the best play and its share of goals reached: sums over the number d of bits that differ at first."""
    chance = [math.comb(p.bits, d) / 2.0**p.bits for d in range(p.bits + 1)]
    ticks = [2, *range(1, p.bits + 1)]  # the last of which is free
    cost = sum(c * (t - 1 if t <= p.horizon else p.horizon) for c, t in zip(chance, ticks))
    return {"return": -cost, "reached": sum(c for c, t in zip(chance, ticks) if t <= p.horizon)}


def optimal(p: BitFlipParams, obs: F4, generator: np.random.Generator) -> F8:
    """Flip the first bit that is not the goal's; the first one where none is."""
    return (obs[:, : p.bits] != obs[:, p.bits :]).argmax(1)[:, None].astype(np.float64)


BIT_FLIP = Game(
    "bit_flip",
    version=0,
    params=BitFlipParams,
    state=BitFlipState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"reached": Column(0, 1, "share of episodes")},
    reward={"ticks": Component(1.0, "ticks")},
    baselines={"optimal": optimal},
    reference=lambda p: "optimal",
    known=known,
    together=known,
    goal=lambda p: {"flipper": Goal(columns(p, "bit"), columns(p, "goal"), outcome)},
    citation="Andrychowicz et al. 2017, Hindsight Experience Replay",
)
