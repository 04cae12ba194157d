"""VectorGame: auto-reset, final observations, forks, saved states, refusals, batches, threads, and the uncompiled rules."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from marl import UserError, VectorGame
from marl.check import digest
from marl.copies import SHOWN
from marl.game import RUNNING, TERMINATED, TRUNCATED, Game
from marl.trial import difference, drawn, played
from tests.bazaar import BAZAAR
from tests.commons import COMMONS
from tests.games import TOYS

ROOT = Path(__file__).parents[2]
toys = pytest.mark.parametrize("game", TOYS.values(), ids=TOYS)


def started(game: Game, n_envs: int = 3, seed: int = 0, first: int = 0, **params: Any) -> VectorGame:
    copies = VectorGame(game, n_envs, **params)
    copies.reset(seed, first)
    return copies


def test_an_episode_ends_and_the_next_begins_in_the_same_step() -> None:
    copies = started(COMMONS, 2, n_agents=3, horizon=4)
    for t in range(9):
        copies.step(np.full((2, 3, 1), 0.2))
        ended = (t + 1) % 4 == 0
        assert (copies.status == (TERMINATED if ended else RUNNING)).all()
        assert np.allclose(copies.final_obs[:, :, 1], 1 - (t % 4 + 1) / 4), "the observation that the step led to"
        assert np.allclose(copies.obs[:, :, 1], 1.0 if ended else 1 - (t % 4 + 1) / 4), "the observation to act on"
        assert (copies.obs[:, :, 0] == 1.0).all() if ended else (copies.obs == copies.final_obs).all()
        assert (copies.world.episode == (t + 1) // 4).all() and (copies.world.t == (t + 1) % 4).all()


def test_metrics_are_those_of_the_episode_that_ended() -> None:
    copies, total = started(COMMONS, 2, n_agents=3, horizon=4), np.zeros((2, 3))
    for t in range(8):
        copies.step(np.full((2, 3, 1), 0.1 * (1 + t // 4)))
        total = copies.components[:, :, 0] + (0 if t % 4 == 0 else total)
        if t % 4 == 3:
            np.testing.assert_allclose(copies.metrics[:, :, 0], total)


def test_rewards_are_weighted_components_and_costs_are_apart() -> None:
    copies = started(COMMONS, weights={"waste": 2.0})
    for _ in played(copies, 20):
        np.testing.assert_allclose(copies.reward, copies.components[:, :, 0] + 2 * copies.components[:, :, 1], rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(copies.cost[:, :, 0], copies.components[:, :, 0])
    assert copies.weights == {"harvest": 1.0, "waste": 2.0}


def test_the_cut_of_a_continuing_game_is_truncated_and_masks_and_states_survive_it() -> None:
    copies = started(BAZAAR, 1, horizon=3, n_sellers=1, n_buyers=1, purse=50, income=0)
    buy = np.array([[[20.0, 0], [1, 2]]])
    for _ in range(3):
        copies.step(buy)
    assert copies.status[0] == TRUNCATED and copies.alive.all()
    assert copies.final_state[0].tolist() == [0, 20] and copies.state[0].tolist() == [0, 0]
    assert copies.final_mask[0, 1].tolist()[2:] == [True, False, False] and copies.action_mask[0, 1].tolist()[2:] == [True, True, True]
    assert copies.final_obs[0, 1, 0] == 10 and copies.obs[0, 1, 0] == 50


def test_an_agent_that_leaves_is_paid_once() -> None:
    copies = started(BAZAAR, 1, n_sellers=1, n_buyers=2, purse=40, income=0)
    copies.step(np.array([[[20.0, 0], [1, 2], [0, 0]]]))
    assert copies.alive.tolist() == [[True, False, True]] and copies.reward[0, 1] != 0 and copies.status[0] == RUNNING
    copies.step(np.array([[[20.0, 0], [1, 2], [0, 0]]]))
    assert copies.reward[0, 1] == 0 and copies.reward[0, 0] == 0


def test_the_state_is_the_observations_in_a_row_or_the_games_own() -> None:
    commons, bazaar = started(COMMONS, 2, n_agents=3), started(BAZAAR, 2)
    assert commons.state.shape == (2, 6) and bazaar.state.shape == (2, 2)
    for _ in played(commons, 5):
        np.testing.assert_array_equal(commons.state, commons.obs.reshape(2, 6))


def test_groups_are_views_of_true_width() -> None:
    copies = started(BAZAAR, 2)
    seller, buyer = copies.groups["seller"], copies.groups["buyer"]
    assert seller.obs.shape == (2, 2, 3) and buyer.obs.shape == (2, 3, 2) and buyer.action_mask.shape == (2, 3, 6)
    assert buyer.obs.base is not None and np.shares_memory(buyer.obs, copies.obs)
    assert copies.agents == ("seller_0", "seller_1", "buyer_0", "buyer_1", "buyer_2")
    assert not copies.obs[:, 2:, 2].any()


@toys
def test_copy_37_of_64_is_the_copy_alone(game: Game) -> None:
    assert_same(started(game, 64), started(game, 1, first=37), slice(37, 38))


def assert_same(many: VectorGame, few: VectorGame, rows: Any, steps: int = 90) -> None:
    generator = np.random.default_rng(0)
    for _ in range(steps):
        action = drawn(many, generator, hostile=True)
        many.step(action)
        few.step(action[rows])
        assert difference(many, few, rows) is None


@toys
def test_a_fork_goes_on_alike_and_alone(game: Game) -> None:
    copies = started(game, 5)
    for _ in played(copies, 7):
        pass
    assert_same(copies, copies.fork([4, 1]), [4, 1], 60)
    fork = copies.fork()
    before = {name: getattr(copies, name).copy() for name in SHOWN}
    for _ in played(fork, 5):
        pass
    assert all(np.array_equal(getattr(copies, name), before[name]) for name in SHOWN)


@toys
def test_restore_and_saved_states_are_exact(game: Game) -> None:
    copies = started(game, 4)
    for _ in played(copies, 9):
        pass
    saved, origin = copies.state_dict(), copies.fork()
    after = digest(copies, 30)
    copies.restore(origin)
    assert digest(copies, 30) == after
    other = VectorGame(game, 4)
    other.load_state_dict(saved)
    assert digest(other, 30) == after
    one = origin.fork([2])
    copies.restore(one, [0])
    assert difference(copies, one, slice(0, 1)) is None


@toys
def test_a_deep_copy_is_a_fork(game: Game) -> None:
    copies = started(game, 3)
    for _ in played(copies, 7):
        pass
    other = copy.deepcopy(copies)
    assert other.game is game and not np.shares_memory(other.obs, copies.obs)
    assert digest(other, 30) == digest(copies, 30)


def test_the_next_episode_is_the_one_that_an_end_leads_to() -> None:
    played_out, skipped = started(COMMONS, 3, horizon=5), started(COMMONS, 3, horizon=5)
    for _ in played(played_out, 5):
        pass
    skipped.next_episode()
    assert (skipped.status == RUNNING).all() and (skipped.final_obs == skipped.obs).all()
    left, right = digest(played_out, 4), digest(skipped, 4)
    assert left != right, "metrics of the episode before are still shown"
    played_out.metrics[:] = skipped.metrics[:] = 0
    assert difference(played_out, skipped) is None
    skipped.next_episode([1])
    assert skipped.world.episode.tolist() == [1, 2, 1] and skipped.world.t.tolist() == [4, 0, 4]


def test_seeds() -> None:
    assert digest(started(COMMONS, seed=1), 20) == digest(started(COMMONS, seed=1), 20) != digest(started(COMMONS, seed=2), 20)
    copies = started(COMMONS, seed=1)
    first = digest(copies, 20)
    copies.reset(1)
    copies.metrics[:] = 0
    assert digest(copies, 20) == first


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba was given one thread")
@pytest.mark.parametrize("n_envs", [63, 64, 257])
def test_threads_change_nothing(n_envs: int) -> None:
    one, two = started(BAZAAR, n_envs), started(BAZAAR, n_envs, threads=2)
    assert two._spread is (n_envs >= 64)
    assert digest(one, 60) == digest(two, 60)


def test_actions_are_clipped_rounded_and_made_legal() -> None:
    copies = started(BAZAAR, 1, n_sellers=1, n_buyers=1, purse=25)
    copies.step(np.array([[[99.0, 2.0], [0.5, 7.0]]]))
    assert copies.action[0].tolist() == [[20, 0], [1, 0]], "best needs cash, and 25 cents buy one unit at most: the lowest legal choice"
    copies.step(np.array([[[-5.0, 0.49], [-1.0, 0.5]]]))
    assert copies.action[0].tolist() == [[1, 0], [0, 1]]


def nan_at(*where: int) -> np.ndarray[Any, Any]:
    action = np.zeros((2, 5, 2))
    action[where] = np.nan
    return action


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (nan_at(1, 0, 1), "action of seller_0 in copy 1, column 'quality', is NaN: a number is expected"),
        (nan_at(0, 4, 0), "action of buyer_2 in copy 0, column 'seller', is NaN"),
        (np.zeros((2, 5)), "action of bazaar has shape (2, 5): expected [n_envs, agents, columns] = (2, 5, 2)"),
        (np.zeros((1, 5, 2)), "action of bazaar has shape (1, 5, 2)"),
        (np.full((2, 5, 2), None), "action of bazaar has dtype object: numbers are expected"),
        (np.full((2, 5, 2), "1"), "action of bazaar has dtype <U1: numbers are expected"),
        ([[1, 2], [3]], "action of bazaar: an array of shape (2, 5, 2) is expected, its rows differ in length"),
    ],
)
def test_actions_that_are_none_are_refused(action: Any, text: str) -> None:
    copies = started(BAZAAR, 2)
    before = digest(copies.fork(), 3)
    with pytest.raises(UserError) as caught:
        copies.step(action)
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert digest(copies, 3) == before


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UserError, match=r"step of commons before reset: call reset\(seed\) first"):
        VectorGame(COMMONS).step(np.zeros((1, 4, 1)))
    with pytest.raises(UserError, match=r"commons\.weights has no component 'honour': legal are harvest, waste"):
        VectorGame(COMMONS, weights={"honour": 1.0})
    with pytest.raises(UserError, match=r"commons\.weights\.waste = nan: a finite number is expected"):
        VectorGame(COMMONS, weights={"waste": float("nan")})
    with pytest.raises(UserError, match="give params or parameters by name, not both"):
        VectorGame(COMMONS, 1, COMMONS.make_params(), n_agents=2)
    copies = started(COMMONS, 2)
    with pytest.raises(UserError, match=r"saved state of commons, array 'world.key': shape \(2,\), expected shape \(3,\)"):
        VectorGame(COMMONS, 3).load_state_dict(copies.state_dict())
    with pytest.raises(UserError, match="array 'obs': nothing"):
        copies.load_state_dict({k: v for k, v in copies.state_dict().items() if k != "obs"})
    with pytest.raises(UserError, match="restore of commons: a fork of the same game and parameters with 2 copies is expected"):
        copies.restore(started(COMMONS, 2, n_agents=3))


PLAIN = """
import sys, numpy as np
from marl import VectorGame
from marl.trial import drawn
from tests.games import TOYS
shown = {}
for name, game in TOYS.items():
    copies, generator, kept = VectorGame(game, 3), np.random.default_rng(0), []
    copies.reset(5)
    for t in range(45):
        copies.step(drawn(copies, generator, hostile=t % 2 == 0))
        arrays = copies.obs, copies.reward, copies.cost, copies.state, copies.status, copies.alive, copies.residual
        kept.append([np.ravel(a) for a in arrays])
    shown[name] = np.concatenate([np.concatenate(row) for row in kept])
np.savez(sys.argv[1], **shown)
"""


def test_the_uncompiled_rules_give_the_same_numbers(tmp_path: Path) -> None:
    for off in "01":
        given = {**os.environ, "NUMBA_DISABLE_JIT": off, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-W", "error::RuntimeWarning", "-c", PLAIN, str(tmp_path / off)],
            env=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    compiled, plain = np.load(tmp_path / "0.npz"), np.load(tmp_path / "1.npz")
    for name in TOYS:
        assert len(compiled[name]) > 1000
        np.testing.assert_allclose(plain[name], compiled[name], rtol=2e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("seed", [None, "a", 1.5, True])
def test_a_seed_that_is_no_whole_number_is_refused(seed: Any) -> None:
    copies = VectorGame(COMMONS, 2)
    with pytest.raises(UserError, match=r"seed = .*: a whole number is expected"):
        copies.reset(seed)


def test_whole_numbers_of_numpy_are_numbers() -> None:
    copies = VectorGame(COMMONS, np.int64(2), threads=np.int64(1))
    assert (copies.reset(np.int64(7)) == VectorGame(COMMONS, 2).reset(7)).all()


def test_arguments_of_another_kind_are_refused_by_name() -> None:
    for given, text in (({"threads": "2"}, "threads = '2'"), ({"weights": {"harvest": "x"}}, "weights.harvest = 'x'")):
        with pytest.raises(UserError, match=text):
            VectorGame(COMMONS, 2, **given)


@pytest.mark.parametrize(
    ("chosen", "named"), [([9], "copy 9"), ([0, -1], "copy -1"), ([0.5], r"copy 0\.5"), (1, "copy 1"), (["a"], "copy a")]
)
def test_a_copy_that_is_not_there_is_refused(chosen: Any, named: str) -> None:
    copies = VectorGame(COMMONS, 3)
    copies.reset(0)
    other = copies.fork([0])
    for call in (copies.fork, copies.next_episode, lambda c: copies.restore(other, c)):
        with pytest.raises(UserError, match=rf"{named} of commons: legal is a list of whole numbers in \[0, 2\]"):
            call(chosen)
