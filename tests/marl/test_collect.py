"""The rollout against a loop by hand: episodes, ends, agents that leave, parts of different widths, policies that do not learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tianshou.algorithm.algorithm_base import TrainingStats

from algorithms.ippo import IPPO
from algorithms.networks import Actor
from marl.errors import UserError
from marl.game import TERMINATED, TRUNCATED
from marl.team import parts, scripted, seen
from marl.vector import VectorGame
from tests.bazaar import BAZAAR
from tests.commons import COMMONS
from tests.crossing import CROSSING
from tests.lanes import Lanes, lanes
from tests.payday import PAYDAY

SHOWN = ("obs", "final_obs", "reward", "cost", "status", "alive", "metrics", "action_mask", "final_mask")


def watched(copies: Any) -> list[dict[str, Any]]:
    """What every later step is given ("action", and "before": the observation and mask in front of it) and what it shows."""
    log: list[dict[str, Any]] = []
    step: Callable[[Any], None] = copies.step

    def recorded(action: Any) -> None:
        before = {"before": copies.obs.copy(), "mask": copies.action_mask.copy(), "action": action.copy()}
        step(action)
        log.append(before | {name: getattr(copies, name).copy() for name in SHOWN})

    copies.step = recorded
    return log


def lane(values: np.ndarray, agent: int, copy: int, here: Lanes) -> np.ndarray:
    """The rows [T, ...] of one lane in a flat array of a buffer of all agents."""
    return values.reshape(here.copies.n_agents, here.copies.n_envs, -1, *values.shape[1:])[agent, copy]


# ---- episodes ------------------------------------------------------------------------------------------------------


def by_hand(log: list[dict[str, Any]], copy: int) -> list[tuple[Any, ...]]:
    """(return [A], length, metrics [A, K], cost [A, C], tick of its end) of every finished episode of one copy."""
    found, total, cost, length = [], 0.0, 0.0, 0
    for tick, row in enumerate(log):
        total, cost, length = total + row["reward"][copy].astype(float), cost + row["cost"][copy], length + 1
        if row["status"][copy]:
            found.append((total, length, row["metrics"][copy], cost, tick))
            total, cost, length = 0.0, 0.0, 0
    return found


def test_finished_episodes_are_those_of_a_loop_by_hand() -> None:
    """Two roles, costs, agents that leave, collected in uneven pieces, with episodes that span them."""
    copies = VectorGame(BAZAAR, 3, horizon=7, purse=60)
    here, log = lanes(copies, rollout=1), watched(copies)
    told = [here.collect(ticks) for ticks in (3, 4, 9, 1, 11)]
    finished = here.collector.take_finished()
    expected = sorted((episode for copy in range(3) for episode in by_hand(log, copy)), key=lambda e: e[-1])
    assert len(expected) == len(finished) == sum(t.n_collected_episodes for t in told) >= 9
    for i, found in enumerate([finished.returns, finished.lengths, finished.metrics, finished.costs]):
        assert np.allclose(np.concatenate(found), np.stack([e[i] for e in expected]))
    assert np.concatenate([t.returns for t in told]) == pytest.approx([e[0].mean() for e in expected])
    assert np.concatenate([t.lens for t in told]).tolist() == [e[1] for e in expected]
    assert any((row["cost"] > 0).any() for row in log)
    assert any((~row["alive"]).any() for row in log)
    assert len(here.collector.take_finished()) == 0


def test_steps_are_ticks_of_a_copy() -> None:
    here = lanes(VectorGame(PAYDAY, 3, n_agents=5), rollout=2)
    assert here.collect(2).n_collected_steps == 6
    assert here.collector.collect_step == 6
    with pytest.raises(UserError, match="n_step=7"), pytest.warns(UserWarning, match="multiple"):
        here.collector.collect(n_step=7)


def test_a_restored_collector_goes_on_within_episodes() -> None:
    def fresh() -> tuple[VectorGame, Lanes]:
        copies = VectorGame(COMMONS, 2, n_agents=3, horizon=10)
        return copies, lanes(copies, rollout=1)

    (one, a), (two, b) = fresh(), fresh()
    a.collect(7)
    saved = one.state_dict(), a.collector.state_dict()
    two.load_state_dict(saved[0])
    b.collector.load_state_dict(saved[1])
    for here in (a, b):
        torch.manual_seed(5)
        here.collect(5)
    assert a.collector.collect_step == b.collector.collect_step == 24
    for x, y in zip(a.collector.finished.returns + a.collector.finished.costs, b.collector.finished.returns + b.collector.finished.costs):
        assert x.tobytes() == y.tobytes()
    assert len(b.collector.finished) == 2


# ---- rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ippo", "isac"])
def test_rows_of_two_roles_are_what_each_saw_did_and_got(name: str) -> None:
    """Every part has its true width; raw actions are kept, the game gets them in the units of the table, padding stays 0."""
    copies = VectorGame(BAZAAR, 2, horizon=5)
    here, log = lanes(copies, name, rollout=4), watched(copies)
    here.collect(4)
    assert {n: p.width for n, p in here.plan.items()} == {"seller": 3 + 3, "buyer": 2 + 3 + 3}
    for part_name, part in here.plan.items():
        buffer, learner = here.buffers[part_name], here.team.learners[part_name]
        shape = (part.n, 2, buffer.rows)
        obs, act = buffer.obs.reshape(*shape, -1)[:, :, :4], buffer.act.reshape(*shape, -1)[:, :, :4]
        for t, row in enumerate(log):
            assert obs[:, :, t].swapaxes(0, 1).tobytes() == part.rows(row["before"], row["mask"]).tobytes()
            units = learner.policy.map_action(torch.from_numpy(act[:, :, t].reshape(part.n * 2, -1).copy()))
            given = row["action"][:, part.lo : part.hi].swapaxes(0, 1).reshape(part.n * 2, -1)
            assert np.allclose(given[:, : part.group.action_width], units)
            assert (row["reward"][:, part.lo : part.hi] == buffer.rew.reshape(shape)[:, :, t].T).all()
            if name == "isac":
                after = buffer.obs_next.reshape(*shape, -1)[:, :, t].swapaxes(0, 1)
                assert after.tobytes() == part.rows(row["final_obs"], row["final_mask"]).tobytes()


@pytest.mark.parametrize("sharing", ["all", "group", "none"])
def test_sharing_cuts_lanes_and_changes_none(sharing: str) -> None:
    """Who shares parameters is no matter of what a lane saw and got: the game's arrays, agent by agent."""
    copies = VectorGame(PAYDAY, 2, n_agents=3, horizon=3)
    here, log = lanes(copies, sharing=sharing), watched(copies)
    here.collect(4)
    assert list(here.buffers) == {"all": ["worker"], "group": ["worker"], "none": ["worker_0", "worker_1", "worker_2"]}[sharing]
    assert len({id(learner) for learner in here.team.learners.values()}) == len(here.plan)
    for field, shown in (("rew", "reward"), ("obs", "before")):
        own = np.concatenate([getattr(buffer, field) for buffer in here.buffers.values()])
        for agent in range(3):
            for copy in range(2):
                assert lane(own, agent, copy, here).tolist() == [row[shown][copy, agent].tolist() for row in log]


def test_sharing_all_joins_roles_of_equal_columns_only() -> None:
    with pytest.raises(UserError, match="seller, buyer have different columns"):
        parts(VectorGame(BAZAAR), "all")
    with pytest.raises(UserError, match="sharing = 'some': legal are all, group, none"):
        parts(VectorGame(PAYDAY), "some")
    plan = parts(VectorGame(BAZAAR), "none", learners=1)
    assert [(p.name, p.lo, p.hi) for p in plan.values()] == [
        ("seller_0", 0, 1),
        ("buyer_0", 2, 3),
        ("seller_rivals", 1, 2),
        ("buyer_rivals", 3, 5),
    ]


# ---- ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ippo", "isac"])
@pytest.mark.parametrize(("end", "status"), [("terminated", TERMINATED), ("truncated", TRUNCATED)])
def test_an_end_shows_the_observation_that_it_led_to(name: str, end: str, status: int) -> None:
    """No time is left at the end of an episode; all of it in what the auto-reset shows, which bootstraps nothing."""
    copies = VectorGame(PAYDAY, 2, n_agents=2, horizon=3, end=end)
    here = lanes(copies, name, rollout=5)
    here.collect(5)
    buffer = here.buffers["worker"]
    flags = {n: getattr(buffer, n).reshape(4, -1)[:, :5].tolist() for n in ("terminated", "truncated", "done")}
    third, never = [[False, False, True, False, False]] * 4, [[False] * 5] * 4
    assert flags["done"] == third
    assert flags["terminated"] == (third if status == TERMINATED else never)
    assert flags["truncated"] == (third if status == TRUNCATED else never)
    left = [1.0, 2 / 3, 1 / 3, 1.0, 2 / 3]
    assert buffer.obs.reshape(4, -1, 2)[:, :5, 1] == pytest.approx(np.tile(left, (4, 1)))
    assert buffer.tail[:, 1] == pytest.approx(np.full(4, 1 / 3))
    if name == "isac":
        assert buffer.obs_next.reshape(4, -1, 2)[:, :5, 1] == pytest.approx(np.tile([2 / 3, 1 / 3, 0.0, 2 / 3, 1 / 3], (4, 1)), abs=1e-6)
    elif status == TRUNCATED:
        ((index, final),) = buffer.cuts
        assert index.tolist() == [2, 7, 12, 17]
        assert final[:, 1].tolist() == [0.0] * 4
    else:
        assert buffer.cuts == []


def test_who_is_missing_from_the_next_episode_did_not_leave_the_last_one() -> None:
    """Of a copy that is over `alive` shows the next episode, in which a foreign environment may seat others."""

    class Reseated(VectorGame):
        def step(self, action: Any) -> None:
            super().step(action)
            self.alive[self.status != 0, 0] = False

    here = lanes(Reseated(PAYDAY, 1, n_agents=2, horizon=2, end="truncated"), rollout=2)
    here.collect(2)
    buffer = here.buffers["worker"]
    assert buffer.truncated.tolist() == [False, True] * 2
    assert not buffer.terminated.any()


def test_an_agent_that_leaves_ends_there_and_its_later_rows_reach_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of three workers leaves after two ticks of four. What its rows show later would wreck any return."""
    copies = VectorGame(PAYDAY, 2, n_agents=3, horizon=4, leave=2, ghost=1e8)
    here = lanes(copies, rollout=8, gamma=1.0, gae_lambda=1.0, anneal=False)
    here.collect(8)
    buffer = here.buffers["worker"]
    for copy in range(2):
        assert lane(buffer.alive, 2, copy, here).tolist() == [True, True, False, False] * 2
        assert lane(buffer.terminated, 2, copy, here)[[1, 5]].tolist() == [True, True]
        assert lane(buffer.rew, 2, copy, here)[[0, 1]].tolist() == [30.0, 31.0]
        for agent in range(2):
            assert lane(buffer.alive, agent, copy, here).all()
            assert lane(buffer.terminated, agent, copy, here).tolist() == [False, False, False, True] * 2
    batches: list[Any] = []
    monkeypatch.setattr(IPPO, "_update_with_batch", lambda self, batch, *_, **__: batches.append(batch) or TrainingStats())
    here.update()
    returns = [46.0, 36.0, 25.0, 13.0] * 4 + [86.0, 66.0, 45.0, 23.0] * 4 + [61.0, 31.0] * 4
    assert batches[0].returns.numpy() == pytest.approx(np.array(returns), rel=1e-5)
    assert {len(v) for v in batches[0].__dict__.values() if v is not None} == {len(returns)}
    assert batches[0].obs[-1].tolist() == pytest.approx([1.0, 0.75])


@pytest.mark.parametrize("name", ["ippo", "isac"])
def test_a_part_whose_agents_all_left_waits(name: str) -> None:
    """Rollouts, and rings, that hold no row of a living agent are neither an error nor an endless search."""
    copies = VectorGame(PAYDAY, 1, n_agents=2, horizon=50, leave=3)
    own = {"rollout": 2} if name == "ippo" else {"rollout": 2, "replay": 4}
    here = lanes(copies, name, sharing="none", **own)
    learned = []
    for _ in range(6):
        here.collect(2)
        learned.append({key.split("/")[0] for key in here.update().get_loss_stats_dict()})
    assert learned[0] == {"worker_0", "worker_1"}
    assert learned[-1] == {"worker_0"}


@pytest.mark.parametrize("name", ["ippo", "isac"])
@pytest.mark.parametrize("rollout", [1, 2, 3, 5])
def test_one_agent_in_one_copy(name: str, rollout: int) -> None:
    """The smallest team learns: parameters move and stay finite, however few rows a rollout has."""
    here = lanes(VectorGame(PAYDAY, 1, n_agents=1, horizon=4), name, rollout=rollout, anneal=False)
    before = [p.detach().clone() for p in here.team.parameters()]
    for _ in range(3):
        here.collect(rollout)
        here.update()
    after = list(here.team.parameters())
    assert all(bool(p.isfinite().all()) for p in after)
    assert any(not torch.equal(p, q) for p, q in zip(before, after)) == (name == "isac" or rollout > 1)


# ---- who plays -----------------------------------------------------------------------------------------------------


def test_frozen_policies_play_their_mode_while_others_explore() -> None:
    """A learned policy as buyers that do not learn: no noise, no rows, no change; the sellers explore."""
    copies = VectorGame(BAZAAR, 64, horizon=5)
    learned = lanes(VectorGame(BAZAAR, 1)).team.learners["buyer"].policy
    here, log = lanes(copies, frozen={"buyer": learned}), watched(copies)
    before = [p.detach().clone() for p in learned.parameters()]
    here.collect(4)
    here.update()
    assert list(here.buffers) == ["seller"]
    assert all(torch.equal(p, q) for p, q in zip(before, learned.parameters()))
    for row in log:
        for name, explores in (("buyer", False), ("seller", True)):
            part = here.plan[name]
            policy = here.team.member(name) if explores else learned
            rows = torch.from_numpy(part.rows(row["before"], row["mask"]).reshape(-1, part.width))
            with torch.no_grad():
                mode = policy.map_action(policy(seen(rows)).act)
            did = row["action"][:, part.lo : part.hi, : part.group.action_width].reshape(len(mode), -1)
            assert np.array_equal(mode, did) != explores


def test_scripted_policies_play_among_learners() -> None:
    """Actions of a baseline are in the units of the table already."""
    copies = VectorGame(BAZAAR, 16, horizon=5)
    plan = parts(copies, "group")
    here, log = lanes(copies, frozen={"seller": scripted(copies, plan["seller"], "random")}), watched(copies)
    here.collect(4)
    prices = np.stack([row["action"][:, :2, 0] for row in log])
    assert prices.min() >= 1.0
    assert prices.max() <= 20.0
    assert prices.std() == pytest.approx(19.0 / 12**0.5, rel=0.2)
    with pytest.raises(UserError, match="baseline 'clever' of bazaar: legal are random"):
        scripted(copies, plan["seller"], "clever")


def test_nobody_learns_is_refused() -> None:
    copies = VectorGame(PAYDAY)
    with pytest.raises(UserError, match="nobody learns"):
        lanes(copies, frozen={"worker": scripted(copies, parts(copies, "group")["worker"], "random")})


@pytest.mark.parametrize("name", ["ippo", "isac"])
@pytest.mark.parametrize("game", [COMMONS, CROSSING, BAZAAR])
def test_a_diverged_network_is_one_line(name: str, game: Any) -> None:
    """Whatever kind of columns it acts on: NaN is told as the policy's, and no step is taken with it."""
    copies = VectorGame(game, 2)
    here = lanes(copies, name)
    here.collect(2)
    spoilt = list(here.team.learners)[-1]
    with torch.no_grad():
        for p in here.team.learners[spoilt].policy.actor.net.parameters():
            p.fill_(float("nan"))
    at = copies.world.t.copy()
    with pytest.raises(UserError, match=f"policy of {spoilt} acts NaN after 4 steps.*lower algorithm.lr") as error:
        here.collect(1)
    assert "\n" not in str(error.value)
    assert (copies.world.t == at).all()


def test_an_error_of_a_healthy_policy_is_not_called_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    here = lanes(VectorGame(PAYDAY, 2))

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Actor, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        here.collect(1)
