"""Classic games of the literature on the contract of every other game here, each equal to its original."""

from __future__ import annotations

from envs.classic.bertrand import BERTRAND
from envs.classic.bit_flip import BIT_FLIP
from envs.classic.foraging import FORAGING
from envs.classic.matrix import CLIMBING, PENALTY, ROCK_PAPER_SCISSORS
from envs.classic.memory import MEMORY
from envs.classic.speaker_listener import SPEAKER_LISTENER
from envs.classic.spread import SPREAD
from envs.classic.two_step import TWO_STEP
from envs.classic.warehouse import WAREHOUSE

CLASSIC = (CLIMBING, PENALTY, ROCK_PAPER_SCISSORS, TWO_STEP, MEMORY, SPREAD, SPEAKER_LISTENER, FORAGING, BERTRAND, WAREHOUSE, BIT_FLIP)
