"""Agents of one copy that end each in its own way: flags, what each algorithm takes to follow a last row, and the values learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import algorithms
from marl.external import vectorize
from marl.game import RUNNING, TERMINATED, TRUNCATED
from marl.schedule import Schedule
from marl.train import Run
from tests.foreign import Shifts
from tests.lanes import lanes

GAMMA = 0.9
TOGETHER = ((5, True), (5, False))
"""Both end in the fifth tick: a_0 terminated, b_0 truncated."""
ALONE = ((5, True), (3, False))
"""b_0 is truncated in the third tick, alone; a_0 terminates in the fifth."""
BOTH_CUT = ((5, False), (3, False))


def flags(ends: Any) -> list[list[list[bool]]]:
    """own_ends [tick, terminated or truncated, agent] of one episode."""
    copies = vectorize(lambda: Shifts(ends))
    copies.reset(0)
    told = []
    for _ in range(5):
        copies.step(copies.action)
        told.append([x[0].tolist() for x in copies.own_ends])
    return told


def test_each_agents_own_end_is_shown() -> None:
    none, nobody = [False, False], [[False, False], [False, False]]
    assert flags(TOGETHER) == [nobody] * 4 + [[[True, False], [False, True]]]
    assert flags(ALONE) == [nobody, nobody, [none, [False, True]], nobody, [[True, False], none]]
    assert flags(BOTH_CUT) == [nobody, nobody, [none, [False, True]], nobody, [none, [True, False]]]
    assert flags(((3, True), (5, False))) == [nobody, nobody, [[True, False], none], nobody, [none, [False, True]]]


def test_an_episodes_status_is_what_it_was() -> None:
    for ends, last in ((TOGETHER, TRUNCATED), (ALONE, TERMINATED), (BOTH_CUT, TRUNCATED)):
        copies = vectorize(lambda ends=ends: Shifts(ends), 2)
        copies.reset(0)
        seen = []
        for _ in range(5):
            copies.step(copies.action)
            seen.append(copies.status.tolist())
        assert seen == [[RUNNING] * 2] * 4 + [[last] * 2]


@pytest.mark.parametrize(
    ("seated", "terminated", "shown"),
    [(["a_0"], [False, True], [[False, True], [False, False]]), (["a_0", "b_0"], [False, True], [[False, False], [False, False]])],
)
def test_who_is_both_has_terminated_and_who_goes_on_has_not_ended(seated: list[str], terminated: list[bool], shown: Any) -> None:
    """b_0 is told to be both terminated and truncated after two ticks: over where it is no longer among the agents, else not."""

    class Odd(Shifts):
        def step(self, actions: dict[str, Any]) -> Any:
            seen, paid, over, cut, infos = super().step(actions)
            if self.t == 2:
                self.agents, over = list(seated), dict(zip(self.possible_agents, terminated))
                cut = over
            return seen, paid, over, cut, infos

    copies = vectorize(lambda: Odd(((5, True), (5, True))))
    copies.reset(0)
    copies.step(copies.action)
    copies.step(copies.action)
    assert copies.status[0] == RUNNING
    assert [x[0].tolist() for x in copies.own_ends] == shown
    assert copies.alive[0].tolist() == [True, "b_0" in seated]


def test_a_copy_that_broke_cuts_those_who_acted() -> None:
    class Broken(Shifts):
        def step(self, actions: dict[str, Any]) -> Any:
            told = super().step(actions)
            if self.t == 4:
                raise RuntimeError("the roof fell in")
            return told

    copies = vectorize(lambda: Broken(ALONE), on_error="restart")
    copies.reset(0)
    for _ in range(4):
        copies.step(copies.action)
    assert copies.status[0] == TRUNCATED
    assert [x[0].tolist() for x in copies.own_ends] == [[False, False], [True, False]]


def rolled(name: str, ends: Any, ticks: int, **given: Any) -> Any:
    here = lanes(vectorize(lambda: Shifts(ends), 2), name, gamma=GAMMA, **given)
    here.collect(ticks)
    return here


def shown(buffer: Any, ticks: int) -> list[tuple[str, list[bool]]]:
    """Per flag, of the first lane's rows."""
    return [(name, buffer._lanes[name][0, 0, :ticks].tolist()) for name in ("terminated", "truncated", "alive")]


@pytest.mark.parametrize("name", ["ippo", "idqn"])
def test_rows_are_flagged_each_in_its_own_way(name: str) -> None:
    here = rolled(name, TOGETHER, 5, **({"rollout": 5} if name == "ippo" else {}))
    last = [False] * 4 + [True]
    assert shown(here.buffers["a"], 5) == [("terminated", last), ("truncated", [False] * 5), ("alive", [True] * 5)]
    assert shown(here.buffers["b"], 5) == [("terminated", [False] * 5), ("truncated", last), ("alive", [True] * 5)]
    here = rolled(name, ALONE, 5, **({"rollout": 5} if name == "ippo" else {}))
    left = [("terminated", [False] * 3 + [True] * 2), ("truncated", [False, False, True, False, False])]
    assert shown(here.buffers["b"], 5) == [*left, ("alive", [True] * 3 + [False] * 2)]
    assert shown(here.buffers["a"], 5)[:2] == [("terminated", last), ("truncated", [False] * 5)]


def test_a_team_and_a_terminal_time_limit_end_as_they_did() -> None:
    """A team's return goes on for who is cut before it, as for who left; under `terminal` a cut is an end."""
    for given in ({"reward": "team_sum"}, {"time_limit": "terminal"}):
        here = rolled("ippo", ALONE, 5, rollout=5, **given)
        assert shown(here.buffers["b"], 5)[:2] == [("terminated", [False, False, True, True, True]), ("truncated", [False] * 5)]
    here = rolled("ippo", TOGETHER, 5, rollout=5, reward="team_sum")
    assert here.buffers["a"]._lanes["truncated"][0, 0, 4] and not here.buffers["a"]._lanes["terminated"][0, 0, 4]


def valued(learner: Any) -> None:
    """A critic that says 7 of every row, whatever its shape."""
    last = [m for m in learner.critic.modules() if isinstance(m, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(7.0)


@pytest.mark.parametrize("ends", [TOGETHER, ALONE, BOTH_CUT])
@pytest.mark.parametrize(
    ("name", "given"),
    [("ippo", {}), ("ia2c", {}), ("mappo", {"normalise_values": False}), ("mappo", {"normalise_values": False, "critic": "pooled"})],
)
def test_returns_by_hand(name: str, given: dict[str, Any], ends: Any) -> None:
    """At lambda 1: the sum of what is still paid to the agent's own end, and 7 where that is a cut, of the rows in which it acted."""
    here = rolled(name, ends, 5, rollout=5, gae_lambda=1.0, sharing="all", **given)
    learner, buffer = here.team.learners["all"], here.buffers["all"]
    valued(learner)
    batch, index = buffer.sample(0)
    found = learner._preprocess_batch(batch, buffer, index).returns
    known = []
    for ticks, terminated in ends:
        tail = 0.0 if terminated else 7.0
        own = [sum(GAMMA**k for k in range(ticks - t)) + GAMMA ** (ticks - t) * tail for t in range(ticks)]
        known.append(own + [None] * (5 - ticks))
    acted = [x for own in known for _ in range(2) for x in own if x is not None]
    rows = found.flatten() if name != "mappo" else found.flatten()[torch.from_numpy(buffer.alive)]
    assert rows.tolist() == pytest.approx(acted, rel=1e-5)


@pytest.mark.parametrize("name", ["idqn", "isac", "rainbow"])
def test_targets_of_last_rows_by_hand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 where the agent terminated, 1 + .9 x 7 where it was cut, alone or not, from the observation that it ended with."""
    for ends in (TOGETHER, ALONE):
        here = rolled(name, ends, 5, replay=20)
        for part, (ticks, terminated) in zip("ab", ends):
            learner, buffer = here.team.learners[part], here.buffers[part]
            last = np.array([ticks - 1])
            assert buffer.obs_next[last].tolist() == [[1.0, 1.0]]
            assert buffer.terminated[last][0] == terminated and buffer.done[last][0]
            if name != "rainbow":
                monkeypatch.setattr(learner, "_target_q", lambda b, i: torch.full((len(i),), 7.0))
                found = learner._preprocess_batch(buffer[last], buffer, last).returns.flatten().tolist()
                assert found == pytest.approx([1.0 if terminated else 1.0 + GAMMA * 7.0], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("ends", "clock"), [(TOGETHER, (True, True)), (ALONE, (True, False))])
def test_values_are_learned_right(ends: Any, clock: tuple[bool, bool], tmp_path: Path) -> None:
    """a_0, which terminates: 4.10 3.44 2.71 1.90 1.00. b_0, cut while a_0 goes on, in a game that would: 10."""
    torch.set_num_threads(1)
    run = Run(
        lambda stage, n: vectorize(lambda: Shifts(ends, clock), n),
        algorithms.load("ippo"),
        algorithms.settings_of("ippo")(hidden=[32, 32], gamma=GAMMA, rollout=20, lr=3e-3, anneal=True),
        Schedule(32_000, evaluation_every=32_000, checkpoint_every=32_000, evaluation_episodes=2),
        seed=0,
        n_envs=16,
        folder=tmp_path,
    )
    run.start()
    run.run()
    learners: Any = run.team.learners
    with torch.no_grad():
        of_a = learners["a"].critic(torch.tensor([[t / 5, 1.0] for t in range(5)])).flatten().tolist()
        of_b = learners["b"].critic(torch.tensor([[0.5, 1.0]])).item()
    assert of_a == pytest.approx([4.0951, 3.439, 2.71, 1.9, 1.0], abs=0.1)
    if ends == ALONE:
        assert of_b == pytest.approx(10.0, abs=0.3)
