"""Foreign environments as arrays: groups, actions, masks, ends, resets, replay, coroutines, refusals."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces as gym
from mpe2 import simple_speaker_listener_v4, simple_tag_v3

from marl import UserError
from marl.copies import SHOWN
from marl.external import ExternalCopies, from_factory, vectorize
from marl.game import RUNNING, TERMINATED, TRUNCATED, Column, Discrete
from marl.parallel import ParallelGame
from marl.replayed import InexactResume
from marl.spaces import codec, eye
from marl.vector import VectorGame
from tests.bazaar import BAZAAR
from tests.foreign import Echo, Walk

WAIT, GO = 1.0, 2.0


def hostile(copies: ExternalCopies, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    return generator.uniform(-2, 4, copies.action.shape)


def walks(*moves: float) -> np.ndarray[Any, Any]:
    """[1, 3, 3]: moves of the two walkers; the judge has order (0, 1) and weight .5."""
    action = np.zeros((1, 3, 3))
    action[0, :2, 0], action[0, 2] = moves, (0, 1, 0.5)
    return action


def test_agents_are_grouped_by_stem_and_spaces() -> None:
    copies = vectorize(Walk, 2)
    assert copies.agents == ("walker_0", "walker_1", "judge_0") and copies.name == "walk_v0" and copies.masked
    walker, judge = (copies.groups[name].group for name in ("walker", "judge"))
    assert (walker.n, walker.width, dict(walker.action)) == (2, 2, {"action": Discrete(3)})
    assert walker.observation["o0"] == Column(0, 3)
    assert dict(judge.action) == {"order_0": Discrete(2), "order_1": Discrete(2), "weight": Column(-1, 1)}
    assert judge.width == 18, "a MultiDiscrete([9, 9]) observation is one-hot"
    copies.reset(0)
    assert copies.groups["walker"].obs.shape == (2, 2, 2) and copies.state.shape == (2, 2 * 2 + 18)


def test_same_stem_with_other_spaces_is_another_group() -> None:
    class Odd(Walk):
        def observation_space(self, agent: str) -> Any:
            return gym.Box(-9.0, 9.0, (1, 2)) if agent == "walker_1" else super().observation_space(agent)

    assert list(vectorize(Odd).groups) == ["walker_0", "judge", "walker_1"]


def test_speaker_listener_has_two_widths_and_its_own_state() -> None:
    copies = vectorize(lambda: simple_speaker_listener_v4.parallel_env(max_cycles=5), 3)
    own = [simple_speaker_listener_v4.parallel_env(max_cycles=5) for _ in range(3)]
    copies.reset(4)
    for b, env in enumerate(own):
        env.reset(seed=copies._seed(b))
    assert [(g.group.name, g.group.width) for g in copies.groups.values()] == [("speaker", 3), ("listener", 11)]
    for t in range(5):
        copies.step(np.array([[[1.0], [3.0]]] * 3))
        for b, env in enumerate(own):
            seen, rewards, *_ = env.step({"speaker_0": 1, "listener_0": 3})
            np.testing.assert_array_equal(copies.groups["speaker"].final_obs[b, 0], seen["speaker_0"])
            np.testing.assert_array_equal(copies.groups["listener"].final_obs[b, 0], seen["listener_0"])
            np.testing.assert_array_equal(copies.final_state[b], env.state().astype(np.float32))
            np.testing.assert_allclose(copies.reward[b], list(rewards.values()), rtol=1e-6)
        assert (copies.status == (TRUNCATED if t == 4 else RUNNING)).all()
    assert (copies.episode == 1).all() and not np.array_equal(copies.obs, copies.final_obs)
    assert not copies.obs[:, 0, 3:].any()


def test_actions_come_back_in_the_environments_own_form() -> None:
    copies = vectorize(Walk)
    copies.reset(0)
    copies.step(walks(GO, WAIT))
    given = copies._envs[0].calls[-1]
    assert given["walker_0"] == 1 and given["walker_1"] == 0
    np.testing.assert_array_equal(given["judge_0"]["order"], [0, 1])
    assert given["judge_0"]["weight"] == pytest.approx(0.5)


def test_what_is_outside_is_clipped_rounded_and_made_legal() -> None:
    copies = vectorize(Walk)
    copies.reset(0)
    np.testing.assert_array_equal(copies.groups["walker"].action_mask, [[[False, True, True]] * 2])
    copies.step(np.full((1, 3, 3), -7.0))
    assert copies.action[0].tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, -1]], "a step back is illegal at 0, the lowest legal one is to wait"
    copies.step(np.full((1, 3, 3), 99.0))
    np.testing.assert_array_equal(copies.groups["walker"].action_mask, [[[True, True, True]] * 2])
    copies._envs[0].verdicts = [0, 0, 0, 1]
    copies.step(np.zeros((1, 3, 3)))
    assert copies.groups["judge"].action_mask[0, 0].tolist() == [True, True, False, True], "no legal choice leaves a column free"
    copies._envs[0].verdicts = [1, 1, 1]
    with pytest.raises(UserError, match="action mask of judge_0: 3 entries, its choices are 4"):
        copies.step(np.zeros((1, 3, 3)))
    with pytest.raises(UserError, match="action of judge_0 in copy 0, column 'weight', is NaN"):
        copies.step(np.where(np.arange(9).reshape(1, 3, 3) == 8, np.nan, 0.0))


def test_one_who_leaves_is_paid_once_on_a_terminated_row() -> None:
    copies = vectorize(lambda: Walk(length=1, horizon=3))
    copies.reset(0)
    copies.step(walks(GO, WAIT))
    assert copies.alive.tolist() == [[False, True, True]] and copies.reward.tolist() == [[10.0, 1.0, 1.0]]
    assert copies.final_obs[0, 0, 0] == 1.0 and copies.status[0] == RUNNING
    copies.step(walks(GO, WAIT))
    assert copies.reward.tolist() == [[0.0, 1.0, 1.0]] and not copies.obs[0, 0].any()
    copies.step(walks(GO, WAIT))
    assert copies.status[0] == TRUNCATED and copies.alive.all() and copies.components[0, :, 0].tolist() == [0.0, 1.0, 1.0]


def test_an_end_of_all_is_terminated_and_keeps_its_last_observation() -> None:
    class Alone(Walk):
        def step(self, actions: dict[str, Any]) -> Any:
            seen, rewards, home, cut, infos = super().step(actions)
            if self.t == 2:
                self.agents, home = [], dict.fromkeys(home, True)
            return seen, rewards, home, cut, infos

    copies = vectorize(Alone)
    copies.reset(0)
    copies.step(walks(GO, GO))
    copies.step(walks(GO, GO))
    assert copies.status[0] == TERMINATED
    assert copies.final_obs[0, :2, 0].tolist() == [2, 2] and copies.obs[0, :2, 0].tolist() == [0, 0]
    assert not copies.action_mask[0, 0, 0] and copies.final_mask[0, 0, 0]


def test_seeds_address_copies_and_episodes() -> None:
    many, one = vectorize(Walk, 5), vectorize(Walk, 1)
    many.reset(9)
    one.reset(9, first=3)
    seen = []
    for _ in range(14):
        many.step(np.repeat(walks(WAIT, WAIT), 5, 0))
        one.step(walks(WAIT, WAIT))
        np.testing.assert_array_equal(many.obs[3], one.obs[0])
        seen.append(many.obs[:, 0, 1].copy())
    assert len(np.unique(seen)) == np.size(seen)
    many.reset(9)
    first = many.obs.copy()
    many.reset(9)
    np.testing.assert_array_equal(many.obs, first)
    many.reset(10)
    assert (many.obs[:, 0, 1] != first[:, 0, 1]).all()


MAKERS: dict[str, Callable[[], Any]] = {
    "walk": Walk,
    "bazaar": lambda: ParallelGame(BAZAAR, horizon=7, purse=50),
    "tag": lambda: simple_tag_v3.parallel_env(max_cycles=6, continuous_actions=True),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_resume_and_fork_are_exact(make: Callable[[], Any]) -> None:
    copies, generator = vectorize(make, 3), np.random.default_rng(0)
    copies.reset(1)
    for _ in range(11):
        copies.step(hostile(copies, generator))
    resumed = vectorize(make, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.load_state_dict(copies.state_dict())
        forked = copies.fork([2, 0])
    for _ in range(9):
        action = hostile(copies, generator)
        copies.step(action)
        resumed.step(action)
        forked.step(action[[2, 0]])
        for name in SHOWN:
            np.testing.assert_array_equal(getattr(copies, name), getattr(resumed, name), err_msg=name)
            np.testing.assert_array_equal(getattr(copies, name)[[2, 0]], getattr(forked, name), err_msg=name)


def test_a_resume_that_cannot_be_exact_says_so() -> None:
    copies = vectorize(lambda: Walk(fault="chance"), 2)
    copies.reset(1)
    copies.step(np.repeat(walks(GO, WAIT), 2, 0))
    with pytest.warns(InexactResume, match="walk_v0 did not repeat its episode in copies 0, 1: it is not deterministic"):
        vectorize(lambda: Walk(fault="chance"), 2).load_state_dict(copies.state_dict())


def test_a_replay_that_ends_early_goes_on_with_the_next_episode() -> None:
    copies = vectorize(Walk)
    copies.reset(1)
    for _ in range(4):
        copies.step(walks(WAIT, WAIT))
    shorter = vectorize(lambda: Walk(horizon=3))
    with pytest.warns(InexactResume):
        shorter.load_state_dict(copies.state_dict())
    assert shorter.episode[0] == 1 and shorter.alive.all()
    shorter.step(walks(WAIT, WAIT))


def test_saved_arrays_of_another_size_are_refused() -> None:
    copies = vectorize(Walk, 2)
    copies.reset(0)
    with pytest.raises(UserError, match=r"saved state of walk_v0, array 'key': shape \(2,\), expected shape \(1,\)"):
        vectorize(Walk).load_state_dict(copies.state_dict())
    with pytest.raises(UserError, match="lacks 'taken'"):
        copies.load_state_dict({k: v for k, v in copies.state_dict().items() if k != "taken"})


def test_a_game_through_its_view_is_the_game() -> None:
    """The way out and the way in together: copies of the view give what the compiled copies give."""
    outside, inside = vectorize(lambda: ParallelGame(BAZAAR, horizon=9, purse=60)), VectorGame(BAZAAR, horizon=9, purse=60)
    outside.reset(0)
    inside.reset(outside._seed(0))
    generator = np.random.default_rng(1)
    for _ in range(9):
        assert not inside.status.any()
        action = generator.uniform(inside._low, inside._high, inside.action.shape)
        inside.step(action)
        acted = outside.alive[0].copy()
        outside.step(action)
        np.testing.assert_array_equal(inside.final_obs[0, acted], outside.final_obs[0, acted])
        np.testing.assert_array_equal(inside.final_state, outside.final_state)
        np.testing.assert_array_equal(inside.final_mask[0, acted], outside.final_mask[0, acted])
        np.testing.assert_array_equal(inside.reward[0, acted], outside.reward[0, acted])
        np.testing.assert_array_equal(inside.status, outside.status)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("raise", "walk_v0, copy 1, step 3 of episode 0: RuntimeError: a walker fell"),
        ("nan", "walk_v0, copy 1, step 3 of episode 0: observation of walker_0 is not finite, number 1"),
        ("missing", "walk_v0, copy 1, step 3 of episode 0: observation of walker_0 is missing"),
    ],
)
def test_a_broken_environment_is_refused_or_restarted(fault: str, text: str) -> None:
    def make(wrong: list[str]) -> Callable[[], Walk]:
        return lambda: Walk(fault=wrong.pop(0))

    copies = vectorize(make(["", fault]), 2)
    copies.reset(0)
    action = np.repeat(walks(WAIT, WAIT), 2, 0)
    copies.step(action)
    copies.step(action)
    with pytest.raises(UserError) as caught:
        copies.step(action)
    assert str(caught.value) == text
    lenient = vectorize(make(["", fault, ""]), 2, on_error="restart")
    lenient.reset(0)
    lenient.step(action)
    lenient.step(action)
    before = lenient.obs[1].copy()
    lenient.step(action)
    assert lenient.status.tolist() == [RUNNING, TRUNCATED] and lenient.restarts.tolist() == [0, 1] and lenient.episode.tolist() == [0, 1]
    np.testing.assert_array_equal(lenient.final_obs[1], before)
    assert not lenient.reward[1].any() and lenient.reward[0].all()
    lenient.step(action)
    assert lenient.status.tolist() == [RUNNING, RUNNING]


def test_a_reset_that_fails_for_good_is_refused() -> None:
    with pytest.raises(UserError, match="walk_v0, first reset: RuntimeError: the line is closed"):
        vectorize(lambda: Walk(fault="reset"))
    faults = ["", "reset", "reset", "reset"]
    copies = vectorize(lambda: Walk(fault=faults.pop(0)), 2, on_error="restart", retries=2)
    with pytest.raises(UserError, match="copy 1, reset of episode 0 failed 3 times in a row: RuntimeError: the line is closed"):
        copies.reset(0)


def test_coroutines_are_stepped_together() -> None:
    counter = [0, 0]
    copies = vectorize(lambda: Echo(counter=counter), 8)
    copies.reset(0)
    for _ in range(4):
        copies.step(np.full((8, 1, 2), 0.5))
    assert counter[1] == 8, "eight calls were under way at once"
    assert (copies.status == TERMINATED).all() and (copies.final_obs == 4).all() and (copies.reward == 1.0).all()
    assert not copies.restarts.any()
    copies.close()
    copies.close()
    assert counter[0] == -1


def test_a_coroutine_that_hangs_or_raises_is_restarted_and_counted() -> None:
    plans = [{}, {"hang_at": 2}, {"fail_at": 2}, {}, {"dead_resets": 1}, {}]
    copies = vectorize(lambda: Echo(**plans.pop(0)), 3, timeout=0.2)
    copies.reset(0)
    copies.step(np.zeros((3, 1, 2)))
    copies.step(np.zeros((3, 1, 2)))
    assert copies.status.tolist() == [RUNNING, TRUNCATED, TRUNCATED]
    assert copies.final_obs[:, 0, 0].tolist() == [2, 1, 1] and copies.obs[:, 0, 0].tolist() == [2, 0, 0]
    assert copies.restarts.tolist() == [0, 1, 2], "the third copy's first new environment did not reset"
    copies.close()


def test_a_coroutine_may_be_refused_instead() -> None:
    copies = vectorize(lambda: Echo(hang_at=1), timeout=0.05, on_error="raise")
    copies.reset(0)
    with pytest.raises(UserError, match=r"Echo, copy 0, step 1 of episode 0: TimeoutError: no answer within 0.05 s"):
        copies.step(np.zeros((1, 1, 2)))
    copies.close()


def test_factories_by_name() -> None:
    copies = from_factory("tests.foreign:walk", 2, horizon=1)
    copies.reset(0)
    copies.step(np.zeros((2, 3, 3)))
    assert copies.status.tolist() == [TRUNCATED, TRUNCATED]


@pytest.mark.parametrize(
    ("factory", "arguments", "text"),
    [
        ("tests.foreign", {}, "env.factory = 'tests.foreign': module:name is expected"),
        ("no_such_place:walk", {}, "env.factory = 'no_such_place': no module named 'no_such_place'"),
        ("tests.foreign:run", {}, "env.factory = 'tests.foreign:run': module 'tests.foreign' has no 'run'"),
        ("tests.foreign:NUMBER", {}, "env.factory = 'tests.foreign:NUMBER' is a int: a function is expected"),
        ("tests.foreign:walk", {"at": "x", "fault": "reset"}, "walk_v0, first reset: RuntimeError: the line is closed"),
        (
            "tests.foreign:Walk",
            {"speed": 1},
            "env.factory = 'tests.foreign:Walk' with {'speed': 1}: got an unexpected keyword argument 'speed'",
        ),
        ("builtins:dict", {}, "made a dict, which is not a PettingZoo ParallelEnv: it lacks possible_agents"),
        ("mpe2.simple_tag_v3:env", {}, "made a OrderEnforcingWrapper, which is not a PettingZoo ParallelEnv: it takes turns"),
    ],
)
def test_a_wrong_factory_is_one_line(factory: str, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        from_factory(factory, 1, **arguments)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_spaces_that_cannot_be_columns_are_refused() -> None:
    with pytest.raises(UserError, match="column 1 in \\[0, inf\\]: a range with finite ends is expected"):
        codec(gym.Box(np.float32([0, 0]), np.float32([1, np.inf])), "x")
    with pytest.raises(UserError, match="legal are Box, Discrete"):
        codec(gym.Text(3), "x")
    with pytest.raises(UserError, match="one that flattens into a Box is expected"):
        eye(gym.Sequence(gym.Discrete(2)), "x")
    with pytest.raises(UserError, match="on_error = 'ignore'"):
        vectorize(Walk, on_error="ignore")


@pytest.mark.parametrize(
    "space",
    [
        gym.Box(-1, 2, (2, 2)),
        gym.Box(0, 9, (3,), np.int64),
        gym.Discrete(4, start=2),
        gym.MultiDiscrete([[2, 3], [4, 5]]),
        gym.MultiBinary(3),
        gym.Dict({"b": gym.Discrete(2), "a": gym.Dict({"x": gym.Box(0, 1, (2,)), "y": gym.MultiDiscrete([2, 2])})}),
    ],
)
def test_every_row_of_a_table_is_an_action_of_its_space(space: gym.Space[Any]) -> None:
    coder, generator = codec(space, "x"), np.random.default_rng(0)
    for _ in range(50):
        row = [generator.integers(c.k) if isinstance(c, Discrete) else generator.uniform(c.low, c.high) for c in coder.table.values()]
        assert space.contains(coder.decode(np.array(row, np.float64)))
