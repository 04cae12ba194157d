"""How often, and on how many episodes, a run on a foreign environment is evaluated where nothing is said.

A game of ours plays an evaluation in a moment, whatever it does; a foreign environment is stepped in Python, and 20 evaluations of
32 episodes may take many times the run. So a few episodes of drawn actions are played first, and evaluations are made to fit into a
quarter of the run's steps; what they come to is said before the run begins.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.compose import Setup

if TYPE_CHECKING:
    from marl.copies import Copies

SHARE = 4
"""Evaluations take at most one step in so many of those that are trained on, where the two least numbers below allow it."""
PLANS = ((32, 20), (16, 20), (8, 20), (8, 10), (4, 10), (4, 5), (2, 5), (2, 2), (2, 1))
"""(episodes of an evaluation, evaluations on the way), most first. An interval needs two episodes."""
BESIDE = 4
"""Evaluations beside those on the way: at the start, of the result, of the run's other checkpoint, of drawn actions."""
TRIED, TRIAL = 3, 20
"""Episodes of drawn actions that are tried, in one of so many of the run's steps at most."""


def measured(setup: Setup) -> Setup:
    """The run with `evaluation.every` and `evaluation.episodes` filled in, and said, of a foreign environment; another as it is."""
    if setup.game is not None:
        return setup
    config, asked = setup.config, setup.config["evaluation"]
    in_steps = config["total_episodes"] is None
    total = config["total_steps"] if in_steps else config["total_episodes"]
    length = _length(setup, max(1, total // TRIAL) if in_steps else 0)
    length = length if in_steps else 1
    episodes, every = plan(total, length or config["env"]["longest"], asked["episodes"], asked["every"])
    played = taken(total, episodes, every)
    if not in_steps:
        cost = f"{played:,} episodes in all"
    elif length is None:
        longest = config["env"]["longest"]
        cost = f"drawn actions ended none within {total // TRIAL:,} ticks: up to {played * longest:,} steps (env.longest={longest})"
    else:
        cost = f"at {length:,} ticks each {played * length:,} steps, {100 * played * length / total:.0f} % of the training's"
    unit = "steps" if in_steps else "episodes"
    said = f"evaluation.episodes={episodes} evaluation.every={every}: {episodes} episodes every {every:,} {unit}, {cost}"
    print(f"marl: {said}", file=sys.stderr, flush=True)
    return replace(setup, config={**config, "evaluation": {**asked, "episodes": episodes, "every": every}})


def plan(total: int, length: int, episodes: int | None = None, every: int | None = None) -> tuple[int, int]:
    """(episodes, every) of a run of `total` whose episodes take `length`, both in its unit; what is given counts."""
    last = 0, 0
    for last in _candidates(total, episodes, every):
        if SHARE * taken(total, *last) * length <= total:
            break
    return last


def taken(total: int, episodes: int, every: int) -> int:
    """Episodes that all evaluations of a run play together."""
    return (total // every + BESIDE) * episodes


def _candidates(total: int, episodes: int | None, every: int | None) -> Iterator[tuple[int, int]]:
    seen = set()
    for e, k in PLANS:
        found = e if episodes is None else episodes, max(1, total // k) if every is None else every
        if found not in seen:
            seen.add(found)
            yield found


def _length(setup: Setup, limit: int) -> int | None:
    """Ticks of the longest of a few episodes of drawn actions; None where none ended within `limit` ticks."""
    from experiments.build import copies_of

    copies = copies_of(setup)({}, 1)
    try:
        _check_learners(setup, copies)
        return longest(copies, setup.config["seed"], limit)
    finally:
        copies.close()


def _check_learners(setup: Setup, copies: Copies) -> None:
    """Raise UserError where the run's learners cannot be made, before anything is played or said."""
    import algorithms
    from marl.team import parts

    config = setup.config
    learner = algorithms.load(config["algorithm"]["name"])
    for part in parts(copies, config["sharing"], None if config["opponents"] is None else 1, config["reward"]).values():
        if part.learns:
            learner(setup.settings, part, 1)


def longest(copies: Copies, seed: int, limit: int) -> int | None:
    """Ticks of the longest of up to `TRIED` episodes that one copy ends within `limit` ticks of drawn actions; None where it ends none."""
    from marl.evaluate import choose, seed_of
    from marl.team import parts, scripted

    plan = parts(copies, "group")
    drawn = {name: scripted(copies, part, "random", seed) for name, part in plan.items()}
    action, lengths, ticks = copies.action.copy(), [], 0
    copies.reset(seed_of(seed, "length"))
    for _ in range(limit):
        for name, part in plan.items():
            action[:, part.lo : part.hi, : part.group.action_width] = choose(drawn[name], part, copies)
        copies.step(action)
        ticks += 1
        if copies.status[0]:
            lengths.append(ticks)
            ticks = 0
            if len(lengths) == TRIED:
                break
    return max(lengths, default=None)
