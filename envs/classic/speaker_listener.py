"""Speaker and listener: one knows which of three landmarks is the goal, the other can go there (Lowe et al. 2017).

The speaker says one of three words a tick, the listener hears it after the tick. Both are paid minus the square of the
listener's distance to the goal. Published returns are the sum of both agents' returns. The time limit is not seen and
truncates. The part `team` (weight 0) is the sum over both, for the convention of a team's reward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from envs.classic.clairvoyant import least_squares
from envs.classic.particles import DISCRETE, KINDS, MOTIONS, glide, moves, push, scatter, towards
from marl.compiled import rule
from marl.game import F4, F8, I8, RUNNING, TRUNCATED, ActionTable, Column, Component, Discrete, Game, Role, array, inf
from marl.params import Params, choice, param
from marl.rng import draw, stream

LANDMARKS = 3
FAINT, BRIGHT = 0.15, 0.65
"""Shades of a landmark's colour: bright in the channel of its own number."""

SPEAKER, LISTENER = 0, 1
PLACES = 0


@dataclass(frozen=True)
class SpeakerListenerParams(Params):
    horizon: int = param(25, 1, 100_000, "ticks")
    actions: str = choice("discrete", KINDS)
    motion: str = choice("mpe2", MOTIONS, "whether a push moves a particle in the same tick")


class SpeakerListenerState(NamedTuple):
    place: F8 = array(1, 2)  # [B, 1, 2] the listener's
    speed: F8 = array(1, 2)  # [B, 1, 2] the listener's
    landmark: F8 = array(LANDMARKS, 2)  # [B, 3, 2]
    goal: I8 = array()  # [B]
    word: F8 = array(LANDMARKS)  # [B, 3] what was said in the last tick
    square: F8 = array()  # [B] squared distance of the listener to the goal
    squares: F8 = array()  # [B] summed over the episode


@rule
def begin(p, s, b):
    numbers = stream(s, b, PLACES)
    s.goal[b] = int(LANDMARKS * draw(numbers, 0))
    scatter(s.place, b, 1, numbers, 1)
    scatter(s.landmark, b, LANDMARKS, numbers, 3)
    s.speed[b, 0, 0] = s.speed[b, 0, 1] = s.square[b] = s.squares[b] = 0.0
    for k in range(LANDMARKS):
        s.word[b, k] = 0.0


@rule
def step(p, s, b, action, components, cost):
    s.square[b] = 0.0
    for axis in range(2):
        glide(s.place, s.speed, b, 0, axis, push(action, b, LISTENER, p.actions, axis), p.motion)
        way = s.place[b, 0, axis] - s.landmark[b, s.goal[b], axis]
        s.square[b] += way * way
    for k in range(LANDMARKS):
        said = 1.0 if int(action[b, SPEAKER, 0]) == k else 0.0
        s.word[b, k] = said if p.actions == 0 else action[b, SPEAKER, k]
    s.squares[b] += s.square[b]
    for a in range(2):
        components[b, a, 0] = -s.square[b]
        components[b, a, 1] = -2.0 * s.square[b]
    return TRUNCATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def observe(p, s, b, obs):
    for k in range(LANDMARKS):
        obs[b, SPEAKER, k] = BRIGHT if s.goal[b] == k else FAINT
        obs[b, LISTENER, 8 + k] = s.word[b, k]
        for axis in range(2):
            obs[b, LISTENER, 2 + 2 * k + axis] = s.landmark[b, k, axis] - s.place[b, 0, axis]
    for axis in range(2):
        obs[b, LISTENER, axis] = s.speed[b, 0, axis]


@rule
def measure(p, s, b, metrics):
    for a in range(2):
        metrics[b, a, 0] = -2.0 * s.squares[b]
        metrics[b, a, 1] = math.sqrt(s.square[b])


SPEAKER_SEES = {f"goal_colour_{k}": Column(FAINT, BRIGHT, "shade") for k in range(LANDMARKS)}
PAIRS = ("speed", *(f"landmark_{k}" for k in range(LANDMARKS)))
LISTENER_SEES = {f"{name}_{axis}": Column(-inf, inf, "half-widths") for name in PAIRS for axis in "xy"}
LISTENER_SEES |= {f"heard_{k}": Column(0, 1) for k in range(LANDMARKS)}


def words(kind: str) -> ActionTable:
    """One of three words, or three loudnesses."""
    if kind == DISCRETE:
        return {"word": Discrete(LANDMARKS)}
    return {f"word_{k}": Column(0, 1, "loudness") for k in range(LANDMARKS)}


def roles(p: SpeakerListenerParams) -> tuple[Role, ...]:
    """The speaker sees the goal's colour; the listener its speed, the way to each landmark, and the last word."""
    return Role("speaker", 1, SPEAKER_SEES, words(p.actions)), Role("listener", 1, LISTENER_SEES, moves(p.actions))


def told(p: SpeakerListenerParams, obs: F4, generator: np.random.Generator) -> F8:
    """The speaker names the goal; the listener goes there, until a first word is said to the middle of all landmarks."""
    if obs.shape[1] == LANDMARKS:
        goal = obs.argmax(1)
        return goal[:, None].astype(np.float64) if p.actions == DISCRETE else np.eye(LANDMARKS)[goal]
    ways, heard = obs[:, 2:8].astype(np.float64).reshape(-1, LANDMARKS, 2), obs[:, 8:]
    named = ways[np.arange(len(obs)), heard.argmax(1)]
    return towards(p.actions, obs[:, :2].astype(np.float64), np.where(heard.any(1, keepdims=True), named, ways.mean(1)))


LONGEST = 200
"""Ticks up to which the bound on returns is computed."""


@lru_cache(maxsize=8)
def bound(p: SpeakerListenerParams) -> float:
    """What no pair's mean return exceeds, with the goal known from the first tick on (`envs.classic.clairvoyant`).

    The way from start to goal along an axis is the difference of two uniform numbers: its size w has density 1 - w / 2 on [0, 2].
    The mean over both axes is taken by Gauss-Legendre quadrature.
    """
    nodes, weights = np.polynomial.legendre.leggauss(16)
    size = 1.0 + nodes
    weights = weights * (1.0 - size / 2.0)
    ways = np.stack(np.meshgrid(size, size), -1).reshape(-1, 2)
    return -2.0 * float(np.outer(weights, weights).ravel() @ least_squares(ways, p.horizon, p.motion))


SPEAKER_LISTENER = Game(
    "speaker_listener",
    version=0,
    params=SpeakerListenerParams,
    state=SpeakerListenerState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={
        "published_return": Column(-inf, 0, "sum over both agents"),
        "distance": Column(0, inf, "half-widths from the listener to the goal at the end"),
    },
    reward={"square": Component(1.0, "squared half-widths"), "team": Component(0.0, "sum over both agents")},
    baselines={"told": told},
    reference=lambda p: "told",
    known=lambda p: {"published_return_at_most": bound(p)} if p.horizon <= LONGEST else {},
    presets={"simple_speaker_listener_v4": {}, "mpe_2017": {"motion": "mpe_2017"}},
    citation="Lowe et al. 2017, Multi-agent actor-critic for mixed cooperative-competitive environments",
)
