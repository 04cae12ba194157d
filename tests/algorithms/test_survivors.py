"""Under a team's reward who left is worth what the team earns afterwards, for every algorithm and whoever shares parameters.

All on tests/sacrifice.py: the team has 6 where the first stays and 2 + 1 + 10 = 13 where it leaves after the first of three ticks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import algorithms
from marl.game import Column, Discrete, Game, Role
from marl.replay import LaneBuffer
from marl.schedule import Schedule
from marl.team import parts, scripted
from marl.train import Run
from marl.vector import VectorGame
from tests.lanes import Lanes, lanes
from tests.payday import OBSERVATION, PAYDAY
from tests.sacrifice import LEAVES, SACRIFICE, STAYS

SEEN = {"second": Column(0, 1), "tick": Column(0, 1), "gone": Column(0, 1)}


def sacrifice(*roles: Role) -> Game:
    return Game(**{**SACRIFICE.__dict__, "roles": lambda p: roles})


LINE = sacrifice(Role("player", 2, SEEN, {"move": Column(0, 1)}))
MIXED = sacrifice(Role("player", 2, SEEN, {"move": Discrete(2), "bid": Column(0, 1)}))
ROLES = sacrifice(Role("first", 1, SEEN, {"move": Discrete(2)}), Role("second", 1, SEEN, {"move": Discrete(2)}))
"""Two parts even where groups share."""
WAYS = {"all": (SACRIFICE, "all"), "group": (SACRIFICE, "group"), "none": (SACRIFICE, "none"), "roles": (ROLES, "group")}


def table(name: str, game: Game) -> Game:
    return {"itd3": LINE, "hybrid": MIXED}.get(name, game)


# ---- on-policy: returns by hand ------------------------------------------------------------------------------------


def first_returns(here: Lanes) -> dict[float, set[float]]:
    """What follows each move of the first at tick 0, [move: returns], without values."""
    found: dict[float, set[float]] = {0.0: set(), 1.0: set()}
    for name, learner in here.team.learners.items():
        with torch.no_grad():
            for p in getattr(learner, "critic", torch.nn.Module()).parameters():
                p.zero_()
        buffer, central = here.buffers[name], here.buffers[name].central
        batch = learner._preprocess_batch(buffer.sample(0)[0], buffer, np.arange(len(buffer)))
        obs, act = (x.flatten(0, 1) if central else x for x in (batch.obs, batch.act))
        returns = (batch.returns.expand(len(batch.obs), -1) if central else batch.returns).flatten()
        for row, move, value in zip(obs.tolist(), act[:, 0].tolist(), returns.tolist()):
            if row[0] == 0.0 and row[1] == 0.0:
                found[move].add(round(value, 4))
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["ippo", "ia2c", "ippo_lagrangian", "mappo", "reinforce"])
def test_a_rollout_returns_to_the_leaver_what_the_team_earns(name: str, way: str) -> None:
    """Undiscounted, without values: 6 of who stays, 13 of who leaves."""
    how = {"reinforce": {"standardise": False}, "mappo": {"gae_lambda": 1.0, "normalise_values": False}}.get(name, {"gae_lambda": 1.0})
    game, sharing = WAYS[way]
    if name == "ippo_lagrangian":
        game = Game(**{**game.__dict__, "cost": {"hours": Column(0, 1, "h")}})
    here = lanes(VectorGame(game, 32), name, sharing, reward="team_sum", rollout=3, gamma=1.0, **how)
    here.collect(3)
    assert first_returns(here) == {0.0: {STAYS}, 1.0: {LEAVES}}


@pytest.mark.parametrize("ticks", [1, 2, 4, 5])
@pytest.mark.parametrize("sharing", ["group", "none"])
def test_a_rollout_that_cuts_episodes_values_what_is_left_as_those_see_it_who_are_there(sharing: str, ticks: int) -> None:
    """V is 100 of a row of the first and 7 of one of the second: a leaver whose rollout ends at once is worth 2 + 7, later 3 + 7."""
    here = lanes(VectorGame(SACRIFICE, 16), "ippo", sharing, reward="team_sum", rollout=ticks, gamma=1.0, gae_lambda=1.0)
    for learner in here.team.learners.values():
        learner._values = lambda obs, *_: np.where(np.asarray(obs)[:, 0] == 1.0, 7.0, 100.0).astype(np.float32)  # type: ignore[union-attr]
    here.collect(ticks)
    expected = {1: {0.0: {102.0}, 1.0: {9.0}}, 2: {0.0: {104.0}, 1.0: {10.0}}, 4: {0.0: {6.0, 102.0}, 1.0: {13.0, 9.0}}}
    expected[5] = {0.0: {6.0, 104.0}, 1.0: {13.0, 10.0}}
    assert first_returns(here) == expected[ticks]


def test_the_worst_share_counts_episodes_of_who_left() -> None:
    """Of a part whose one member leaves, too, the team's episodes are what the quantile is of."""
    here = lanes(VectorGame(SACRIFICE, 32), "ippo", "none", reward="team_sum", rollout=3, gamma=1.0, gae_lambda=1.0, cvar=0.5)
    here.collect(3)
    first_returns(here)
    tails = [learner.tail for learner in here.team.learners.values()]  # type: ignore[union-attr]
    assert [sorted(set(tail.returns[: int(tail.seen)].tolist())) for tail in tails] == [[STAYS, LEAVES]] * 2
    assert [int(tail.seen) for tail in tails] == [32, 32]


# ---- off-policy: targets by hand -----------------------------------------------------------------------------------


def by_who(rows: Any) -> Any:
    """What the values that stand in for a network's say of rows [..., width]: 7 of the second's, 100 of the first's."""
    return 7.0 * (rows[..., 0] == 1.0) + 100.0 * (rows[..., 0] == 0.0)


def stub(learner: Any, name: str) -> None:
    """Values of what follows are `by_who` is there."""
    if name in ("vdn", "qmix"):
        learner._mixed = lambda batch: by_who(batch.obs_next[0])
    elif name in ("maddpg", "matd3"):
        learner._following = lambda batch: by_who(batch.obs_next[0])[None]
    elif learner.policy.state_width:
        learner._along = lambda slices, after: by_who(torch.as_tensor(after))
    else:
        learner._value = lambda buffer, index: by_who(torch.as_tensor(buffer.obs_next[index]))


def targets(here: Lanes, name: str, n_step: int = 1) -> dict[tuple[int, int, float, float], set[float]]:
    """(who, tick, whether the first is gone, move) -> targets."""
    found: dict[tuple[int, int, float, float], set[float]] = {}
    for part, learner in here.team.learners.items():
        buffer = here.buffers[part]
        raw, index = buffer.sample(2_000)
        batch: Any = learner._preprocess_batch(raw, buffer, index)
        if buffer.central:
            y = learner._targets(batch).flatten()
            rows = [tuple(buffer.lanes(x)[m, index] for x in ("obs", "act", "alive")) for m in range(buffer.agents)]
        else:
            kept = buffer.alive[index]
            y = batch.returns.flatten()
            rows = [(buffer.obs[index][kept], buffer.act[index][kept], buffer.alive[index][kept])]
        for obs, act, alive in rows:
            moves = act[:, -1]  # of one-hot segments the second
            for row, move, value, there in zip(obs.tolist(), moves.tolist(), y.tolist(), alive.tolist()):
                if there:
                    leaves = float(move >= 0.5) if name != "itd3" else float(move >= 0.0)
                    found.setdefault((int(row[0]), round(2 * row[1]), row[2], leaves), set()).add(round(value, 3))
    return found


@pytest.mark.parametrize("n_step", [1, 2, 3])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["idqn", "isac", "itd3"])
def test_a_value_of_a_leavers_row_is_what_those_expect_who_are_there(name: str, way: str, n_step: int) -> None:
    """Undiscounted. After one tick 2 + 7 of who leaves, 2 + 100 of who stays; after two 3 + 7 and 4 + 100; after three 13 and 6."""
    game, sharing = WAYS[way]
    if name == "itd3" and way == "roles":
        game = sacrifice(Role("first", 1, SEEN, {"move": Column(0, 1)}), Role("second", 1, SEEN, {"move": Column(0, 1)}))
    own = game if way == "roles" else table(name, game)
    here = lanes(VectorGame(own, 16), name, sharing, reward="team_sum", gamma=1.0, n_step=n_step, replay=600)
    here.collect(9)
    for learner in here.team.learners.values():
        stub(learner, name)
    found = targets(here, name, n_step)
    leaves, stays = {1: (9.0, 102.0), 2: (10.0, 104.0), 3: (13.0, 6.0)}[n_step]
    assert found[0, 0, 0.0, 1.0] == {leaves} and found[0, 0, 0.0, 0.0] == {stays}
    assert found[1, 2, 1.0, 0.0] == {10.0} and found[1, 2, 0.0, 1.0] == {2.0}


@pytest.mark.parametrize("name", ["vdn", "qmix", "maddpg", "matd3"])
@pytest.mark.parametrize("way", ["none", "roles"])
def test_a_part_that_nobody_is_left_of_goes_on_with_the_others(name: str, way: str) -> None:
    game, sharing = WAYS[way]
    here = lanes(VectorGame(game, 16), name, sharing, reward="team_sum", gamma=1.0, replay=600)
    here.collect(9)
    for learner in here.team.learners.values():
        stub(learner, name)
    found = targets(here, name)
    assert found[0, 0, 0.0, 1.0] == {9.0} and found[0, 0, 0.0, 0.0] == {102.0} and found[1, 2, 1.0, 0.0] == {10.0}


@pytest.mark.parametrize(("name", "sharing"), [("idqn", "none"), ("idqn", "group"), ("vdn", "none"), ("qmix", "none")])
def test_sequences_of_memory_are_asked_along_the_same_ticks(name: str, sharing: str) -> None:
    how = {"memory": "gru", "memory_width": 4, "sequence": 4, "burn_in": 2}
    here = lanes(VectorGame(SACRIFICE, 16), name, sharing, reward="team_sum", gamma=1.0, replay=600, **how)
    here.collect(14)
    here.update()  # by the networks themselves
    for learner in here.team.learners.values():
        stub(learner, name)
    found = targets(here, name)
    assert found[0, 0, 0.0, 1.0] == {9.0} and found[0, 0, 0.0, 0.0] == {102.0} and found[1, 2, 1.0, 0.0] == {10.0}


def test_what_a_memory_expects_is_what_it_expects_in_its_own_update() -> None:
    """Asked along slices, a learner with memory says what stands in its own targets."""
    here = lanes(VectorGame(SACRIFICE, 8), "idqn", "none", reward="team_sum", memory="gru", sequence=4, burn_in=2, replay=600)
    here.collect(14)
    learner: Any = here.team.learners["player_1"]
    buffer: Any = here.buffers["player_1"]
    raw, index = buffer.sample(64)
    own = learner._along(raw.slices.to(torch.device("cpu")), raw.obs_next)
    assert np.allclose(learner.expects(buffer, buffer.stretched(index)).ravel(), own.numpy())


@pytest.mark.parametrize("sharing", ["group", "none"])
def test_a_distribution_of_a_leavers_row_is_that_of_those_who_are_there(sharing: str) -> None:
    """All mass at 7 of a row of the second and at 1 of one of the first, beside atoms of whole numbers: 9 and 3 after a tick."""
    how = {"lowest": 0.0, "highest": 20.0, "atoms": 21, "n_step": 1, "gamma": 1.0, "replay": 600, "warm_up": 600}
    here = lanes(VectorGame(SACRIFICE, 16), "rainbow", sharing, reward="team_sum", **how)
    here.collect(9)
    means: dict[tuple[float, float], set[float]] = {}
    for name, own in [(name, _certain(learner)) for name, learner in here.team.learners.items()]:
        buffer = here.buffers[name]
        raw, index = buffer.sample(500)
        batch = own._preprocess_batch(raw, buffer, index)
        with own.policy.learning(), torch.no_grad():
            target = own._target_dist(batch)
        for row, move, mean in zip(buffer.obs[index], buffer.act[index, 0], (target * own.policy.support).sum(1).tolist()):
            if row[0] == 0.0 and row[1] == 0.0:
                means.setdefault((float(row[1]), float(move)), set()).add(round(mean, 3))
    assert means == {(0.0, 0.0): {3.0}, (0.0, 1.0): {9.0}}


def _certain(learner: Any) -> Any:
    """The learner, whose networks put all mass on 7 of the second's rows and on 1 of the first's."""

    class Sure(torch.nn.Module):
        def forward(self, obs: Any, state: Any = None) -> tuple[Tensor, Any]:
            at = torch.where(torch.as_tensor(obs)[:, 0] == 1.0, 7, 1)
            return torch.nn.functional.one_hot(at, 21).float().unsqueeze(1).expand(-1, 2, -1), state

    kept = learner.policy.model
    sure = Sure()
    sure.masks = kept.masks  # type: ignore[assignment]
    learner.policy.model = learner.model_old = sure
    return learner


def test_hybrid_keeps_what_the_team_is_expected_to_earn() -> None:
    """A leaver's row is paid 2 + .9 (7) in the replay and nothing follows it."""
    here = lanes(VectorGame(MIXED, 16), "hybrid", "none", reward="team_sum", rollout=3, gamma=0.9, column="bid")
    for learner in here.team.learners.values():
        learner._values = lambda obs, *_: np.where(np.asarray(obs)[:, 0] == 1.0, 7.0, 100.0).astype(np.float32)  # type: ignore[union-attr]
    here.collect(3)
    first_returns(here)
    ring = here.team.learners["player_0"].ring  # type: ignore[union-attr]
    rows = [(float(a[0]), round(float(r), 4), float(f)) for o, a, r, f in zip(ring.obs, ring.act, ring.reward, ring.follows) if o[1] == 0]
    assert set(rows[:16]) == {(0.0, 2.0, 1.0), (1.0, 8.3, 0.0)}


# ---- whose game it is ----------------------------------------------------------------------------------------------


def test_the_team_is_over_where_its_last_learner_leaves_and_a_cut_leaves_who_is_gone_behind() -> None:
    """Payday: the last worker leaves after a tick. As a team of its own it is over then; of two the other's game is cut after four."""
    alone = lanes(VectorGame(PAYDAY, 1, n_agents=1, horizon=3, leave=1), "ippo", reward="team_sum", rollout=3)
    alone.collect(3)
    assert alone.buffers["worker"].left.tolist() == [False] * 3
    here = lanes(VectorGame(PAYDAY, 1, n_agents=2, horizon=4, leave=1, end="truncated"), "ippo", "none", reward="team_sum", rollout=4)
    here.collect(4)
    first, second = here.buffers.values()
    assert first.left.tolist() == [False] * 4 and second.left.tolist() == [True] * 4
    assert second.ends()[1].tolist() == [False, False, False, True] and second.ends()[0].tolist() == [False] * 4


def test_agents_that_do_not_learn_are_nobodys_survivors() -> None:
    """The first learns, the second plays a script: when the first has left, its team is over."""
    copies = VectorGame(SACRIFICE, 8)
    still = {"player_1": scripted(copies, parts(copies, "none")["player_1"], "random")}
    here = lanes(copies, "idqn", "none", frozen=still, reward="team_sum")
    here.collect(6)
    assert not here.buffers["player_0"].left.any()


@pytest.mark.parametrize("name", ["ippo", "idqn"])
def test_individual_rewards_end_with_who_leaves(name: str) -> None:
    here = lanes(VectorGame(SACRIFICE, 16), name, "none", reward="individual", rollout=3)
    here.collect(3)
    assert not any(buffer.left.any() for buffer in here.buffers.values()) and here.buffers.survivors is None


def test_parts_of_a_team_hold_the_same_ticks() -> None:
    """Three carriers and one clerk: 120 rows are 10 ticks of four copies' carriers; alone the clerk's ring would be longer."""
    two = (Role("carrier", 3, OBSERVATION, {"shift": Discrete(3)}), Role("clerk", 1, OBSERVATION, {"shift": Discrete(2)}))
    game = Game(**{**PAYDAY.__dict__, "name": "carriers", "roles": lambda p: two})
    rows = {}
    for reward in ("individual", "team_sum"):
        here = lanes(VectorGame(game, 4, n_agents=4, leave=2), "idqn", reward=reward, replay=120)
        rows[reward] = {name: buffer.rows for name, buffer in here.buffers.items()}
        here.collect(25)
        here.update()
    assert rows == {"individual": {"carrier": 10, "clerk": 30}, "team_sum": {"carrier": 10, "clerk": 10}}


def test_parts_that_standardise_a_teams_reward_do_so_by_the_same_moments() -> None:
    here = lanes(VectorGame(SACRIFICE, 4), "idqn", "none", reward="team_sum", standardise=True)
    first, second = (learner.ret_rms for learner in here.team.learners.values())  # type: ignore[union-attr]
    assert first is second
    apart = lanes(VectorGame(SACRIFICE, 4), "idqn", "none", standardise=True)
    first, second = (learner.ret_rms for learner in apart.team.learners.values())  # type: ignore[union-attr]
    assert first is not second


def test_a_tick_is_found_in_every_buffer_by_its_age() -> None:
    long, short = (LaneBuffer(n, 2, 4, 1, 1, fields=(), keep_next=True, seed=0) for n in (1, 3))
    for t in range(6):
        for buffer, n in ((long, 1), (short, 3)):
            obs = np.full((2, n, 1), 10.0 * t) + np.arange(2)[:, None, None] + 0.1 * np.arange(n)[:, None]
            buffer.write({"obs": obs, "act": obs, "rew": obs[..., 0], "obs_next": obs}, None, None)
    copy, age = long.when(np.arange(8))
    assert short.obs[short.seats(copy, age)][:, :, 0] == pytest.approx(long.obs[:, 0] + np.array([[0.0], [0.1], [0.2]]), rel=1e-6)


# ---- learned -------------------------------------------------------------------------------------------------------

ROLLED: dict[str, Any] = {"rollout": 6, "lr": 5e-3}
REPLAYED: dict[str, Any] = {"warm_up": 300, "batch": 64, "lr": 3e-3}
GREEDY: dict[str, Any] = {**REPLAYED, "epsilon_steps": 3_000}
LEARNED: dict[str, dict[str, Any]] = {
    "ippo": ROLLED,
    "ia2c": ROLLED,
    "mappo": ROLLED,
    "reinforce": ROLLED,
    "idqn": {**GREEDY, "target": 50},
    "rainbow": {**REPLAYED, "lowest": 0.0, "highest": 20.0, "target": 50},
    "isac": {**REPLAYED, "alpha": 0.05, "tau": 0.05},
    "itd3": {**REPLAYED, "tau": 0.05, "noise": 0.5},
    "vdn": {**GREEDY, "tau": 0.05},
    "qmix": {**GREEDY, "tau": 0.05},
    "maddpg": {**REPLAYED, "tau": 0.05},
    "matd3": {**REPLAYED, "tau": 0.05},
    "hybrid": {**ROLLED, "levels": 3, "column": "bid", "epsilon_steps": 3_000},
}
ASKED_BY_HAND = {"ippo_lagrangian"}
"""Ippo's returns and a cost that this game does not have."""
QUICK = {("ia2c", "none"), ("ia2c", "group"), ("reinforce", "none"), ("reinforce", "group")}


def learned(name: str, sharing: str, folder: Path) -> float:
    """What the team earns after 6,000 steps."""
    settings = algorithms.settings_of(name)(**{"hidden": [32, 32], "gamma": 0.99, **LEARNED[name]})
    game = table(name, SACRIFICE)
    how = Schedule(6_000, evaluation_every=6_000, checkpoint_every=6_000, evaluation_episodes=8)
    where: dict[str, Any] = {"seed": 0, "n_envs": 16, "folder": folder, "reward": "team_sum", "sharing": sharing}
    run = Run(lambda _, n: VectorGame(game, n), algorithms.load(name), settings, how, **where)
    run.start()
    run.run()
    return float(run.judge(8).evaluation.returns.sum(1).mean())


@pytest.mark.parametrize(
    ("name", "sharing"),
    [pytest.param(n, s, marks=() if (n, s) in QUICK else pytest.mark.slow) for n in LEARNED for s in ("all", "group", "none")],
)
def test_the_first_leaves_for_the_team_whoever_shares(name: str, sharing: str, tmp_path: Path) -> None:
    assert learned(name, sharing, tmp_path) == LEAVES


def test_every_algorithm_is_asked() -> None:
    assert set(LEARNED) | ASKED_BY_HAND == set(algorithms.ALGORITHMS)
