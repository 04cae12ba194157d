"""Lanes as a Gymnasium VectorEnv: what the game pays and shows, ends, seeds, masks, refusals, and Gymnasium's own wrappers on them."""

from __future__ import annotations

import copy
import pickle
import sys
import types
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import ClipAction, RecordEpisodeStatistics

import envs
from marl import UserError, VectorGame
from marl.evaluate import choose
from marl.lanes import LaneEnv
from marl.stable import stable_baselines
from marl.team import parts, scripted
from tests.bazaar import BAZAAR
from tests.commons import COMMONS
from tests.games import TOYS


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("game", TOYS.values(), ids=TOYS)
def test_every_role_is_played_within_its_spaces(game: Any, flatten: bool) -> None:
    for role in VectorGame(game, 1).groups:
        lanes = LaneEnv(game, 3, role, flatten=flatten)
        assert isinstance(lanes, VectorEnv) and lanes.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        assert lanes.num_envs == 3 * lanes.copies.groups[role].group.n == len(lanes.agents)
        obs, infos = lanes.reset(seed=1)
        lanes.action_space.seed(0)
        for _ in range(40):
            assert lanes.observation_space.contains(obs) and obs.dtype == np.float32
            assert obs.shape == (lanes.num_envs, *lanes.single_observation_space.shape)
            obs, *rest, infos = lanes.step(lanes.action_space.sample())
            assert [x.shape for x in rest] == [(lanes.num_envs,)] * 3 and [x.dtype.kind for x in rest] == ["f", "b", "b"]
            assert all(row is None or lanes.single_observation_space.contains(row) for row in infos.get("final_obs", []))


def test_lanes_are_what_the_copies_pay_and_show() -> None:
    """The first agent learns, the others draw: the same game by hand."""
    lanes, copies = LaneEnv(COMMONS, 4, others="random", n_agents=3, horizon=5), VectorGame(COMMONS, 4, n_agents=3, horizon=5)
    obs, _ = lanes.reset(seed=7)
    copies.reset(7)
    plan = parts(copies, "group")
    script = scripted(copies, plan["harvester"], "random", 7)
    assert lanes.agents == ("harvester_0",) * 4
    for t in range(1, 12):
        np.testing.assert_array_equal(obs, copies.obs[:, 0])
        mine = np.linspace(0, 1, 4)[:, None]
        action = np.array(choose(script, plan["harvester"], copies))
        action[:, 0] = mine
        copies.step(action)
        obs, reward, terminated, truncated, infos = lanes.step(mine)
        np.testing.assert_array_equal(reward, copies.reward[:, 0])
        np.testing.assert_array_equal(infos["reward/waste"], copies.components[:, 0, 1])
        assert terminated.all() == (t % 5 == 0) and not truncated.any() and ("final_obs" in infos) == (t % 5 == 0)
        if t % 5 == 0:
            np.testing.assert_array_equal(np.stack(infos["final_obs"]), copies.final_obs[:, 0])
            np.testing.assert_array_equal(infos["final_info"]["metric/harvested"], copies.metrics[:, 0, 0])
            assert infos["_final_obs"].all() and obs[0, 1] == 1.0 and infos["final_obs"][0][1] == 0.0


def test_a_role_is_as_many_lanes_as_agents() -> None:
    lanes, copies = LaneEnv(COMMONS, 2, "harvester", n_agents=3), VectorGame(COMMONS, 2, n_agents=3)
    lanes.reset(seed=0)
    copies.reset(0)
    actions = np.arange(6, dtype=np.float32)[:, None] / 6
    _, reward, *_ = lanes.step(actions)
    copies.step(actions.reshape(2, 3, 1))
    np.testing.assert_array_equal(reward, copies.reward.reshape(-1))
    assert lanes.agents == ("harvester_0", "harvester_1", "harvester_2") * 2


def test_seeds() -> None:
    def played(lanes: LaneEnv, seed: int | None) -> Any:
        lanes.reset(seed=seed)
        return [lanes.step(np.full((2, 1), 0.3))[1].tolist() for _ in range(6)]

    one, two = (LaneEnv(COMMONS, 2, others="random", n_agents=2, horizon=4) for _ in range(2))
    first = played(one, 5)
    assert first == played(two, 5) != played(two, 6) and first == played(two, 5), "also a second time"
    assert played(one, None) != first, "the next episode"
    assert one.np_random_seed == 5
    assert played(LaneEnv(COMMONS, 2, n_agents=2), None) != played(LaneEnv(COMMONS, 2, n_agents=2), None)
    for seed, text in ((-1, "seed = -1: legal are whole numbers from 0"), ([1, 2], "one seed for all lanes is expected")):
        with pytest.raises(UserError, match=text):
            one.reset(seed=seed)  # type: ignore[arg-type]


def test_arrays_may_be_kept() -> None:
    lanes = LaneEnv(COMMONS, 2, n_agents=1)
    obs, _ = lanes.reset(seed=0)
    kept = [obs, *lanes.step(np.ones((2, 1)))[:4]]
    before = copy.deepcopy(kept)
    lanes.step(np.zeros((2, 1)))
    for one, other in zip(kept, before):
        np.testing.assert_array_equal(one, other)


def test_masks() -> None:
    seller = LaneEnv(BAZAAR, 2, "seller", purse=20, n_sellers=1, n_buyers=1)
    _, infos = seller.reset(seed=0)
    assert infos["action_mask/quality"].tolist() == [[1, 1, 0]] * 2 and infos["_action_mask/quality"].all()
    _, infos = LaneEnv(BAZAAR, 2, "buyer_0", purse=20, n_sellers=1, n_buyers=1).reset(seed=0)
    assert infos["action_mask"].tolist() == [[1, 1, 1, 1, 0]] * 2


def test_gymnasiums_wrappers_serve() -> None:
    wrapped = RecordEpisodeStatistics(ClipAction(LaneEnv(COMMONS, 3, n_agents=2, horizon=4)))
    wrapped.reset(seed=0)
    paid = np.zeros(3)
    for t in range(1, 5):
        _, reward, terminated, _, infos = wrapped.step(np.full((3, 1), 0.5, np.float32))
        paid += reward
        assert terminated.all() == (t == 4)
    told = infos["episode"] if "episode" in infos else infos["final_info"]["episode"]
    np.testing.assert_allclose(told["r"], paid, rtol=1e-6)
    assert told["l"].tolist() == [4, 4, 4]


def test_plain_pickle_goes_on_alike() -> None:
    lanes = LaneEnv(COMMONS, 2, others="random", n_agents=2)
    lanes.reset(seed=1)
    lanes.step(np.ones((2, 1)))
    other = pickle.loads(pickle.dumps(lanes))
    for _ in range(3):
        np.testing.assert_array_equal(lanes.step(np.ones((2, 1)))[1], other.step(np.ones((2, 1)))[1])


@pytest.mark.parametrize(
    ("actions", "text"),
    [
        (np.zeros((3, 1)), r"actions of commons of shape \(3, 1\), float64: numbers of shape \(2, 1\) are expected"),
        (np.array([[np.nan], [0.0]]), "actions of commons: lane 0 is NaN"),
        (np.array([["a"], ["b"]]), "numbers of shape"),
    ],
)
def test_wrong_actions_are_refused(actions: Any, text: str) -> None:
    lanes = LaneEnv(COMMONS, 2, n_agents=1)
    with pytest.raises(UserError, match="step of commons before reset"):
        lanes.step(np.zeros((2, 1)))
    lanes.reset(seed=0)
    with pytest.raises(UserError, match=text):
        lanes.step(actions)
    named = LaneEnv(BAZAAR, 2, "seller_0")
    named.reset(seed=0)
    with pytest.raises(UserError, match="a dict with the columns price, quality is expected"):
        named.step({"price": np.ones(2)})


def test_wrong_names_are_refused() -> None:
    with pytest.raises(UserError, match="agent = 'bob' of commons: legal are harvester_0, harvester"):
        LaneEnv(COMMONS, 1, "bob", n_agents=1)
    with pytest.raises(UserError, match="baseline 'greedy' of commons"):
        LaneEnv(COMMONS, 1, others="greedy")


def test_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(envs.GAMES, "harvest", COMMONS)
    lanes = envs.vector_env("harvest", 3, "harvester_1", others="random", n_agents=2)
    assert lanes.num_envs == 3 and lanes.agents == ("harvester_1",) * 3 and lanes.single_action_space == gymnasium.spaces.Box(0, 1, (1,))
    lanes.close()
    lanes.close()


def test_without_stable_baselines_its_view_of_lanes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(UserError, match="stable_baselines3 is not installed: pip install stable-baselines3"):
        stable_baselines(LaneEnv(COMMONS, 1))


def test_lanes_for_stable_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it reads of a vector environment, on a base class that is as its own where it matters."""

    class VecEnv:
        def __init__(self, num_envs: int, seen: Any, acts: Any) -> None:
            self.num_envs, self.observation_space, self.action_space, self._seeds = num_envs, seen, acts, [4] * num_envs

        def _reset_seeds(self) -> None:
            self._seeds = [None] * self.num_envs

        def _get_indices(self, indices: Any) -> Any:
            return range(self.num_envs) if indices is None else indices

    module = types.ModuleType("stable_baselines3.common.vec_env")
    module.VecEnv = VecEnv  # type: ignore[attr-defined]
    for name in ("stable_baselines3", "stable_baselines3.common"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    served, own = (LaneEnv(COMMONS, 2, n_agents=1, horizon=2) for _ in range(2))
    env = stable_baselines(served)
    np.testing.assert_array_equal(env.reset(), own.reset(seed=4)[0])
    for t in (1, 2):
        env.step_async(np.ones((2, 1)))
        (obs, reward, over, infos), (seen, paid, *_, told) = env.step_wait(), own.step(np.ones((2, 1)))
        np.testing.assert_array_equal(obs, seen)
        np.testing.assert_array_equal(reward, paid)
        assert over.tolist() == [t == 2] * 2
    assert infos[1]["terminal_observation"].tolist() == told["final_obs"][1].tolist() and not infos[0]["TimeLimit.truncated"]
    assert infos[0]["metric/harvested"] == told["final_info"]["metric/harvested"][0]
    assert env.get_attr("render_mode") == [None, None] and env.env_is_wrapped(object, [0]) == [False]
