"""What foreign environments answer: every malformed reset, step or state is one line, and what can be served is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces as gym
from pettingzoo.test import parallel_api_test, parallel_seed_test

from marl import UserError
from marl.external import WIDE, ExternalCopies, vectorize
from marl.game import TERMINATED, TRUNCATED
from tests.foreign import Endless, Lanes


def stepping(change: Callable[..., Any], kind: type[Lanes] = Lanes) -> type[Lanes]:
    return type("Changed", (kind,), {"step": lambda self, actions: change(self, *kind.step(self, actions))})


def resetting(change: Callable[..., Any]) -> type[Lanes]:
    return type("Changed", (Lanes,), {"reset": lambda self, seed=None, options=None: change(self, *Lanes.reset(self))})


def played(make: Callable[[], Any], ticks: int = 1) -> ExternalCopies:
    copies = vectorize(make, 1)
    copies.reset(0)
    for _ in range(ticks):
        copies.step(np.full(copies.action.shape, 2.0))
    return copies


PAIR = "a pair (observations, infos) of dicts by agent is expected"
RESETS = {
    "observations alone": (lambda _, o, i: o, f"reset gave a dict, observations alone (PettingZoo before 1.23): {PAIR}"),
    "no infos": (lambda _, o, i: (o, None), "infos are None: a dict by agent is expected"),
    "a list of observations": (lambda _, o, i: list(o.values()), "observations are array("),
    "a list of infos": (lambda _, o, i: (o, [{}, {}]), "infos are [{}, {}]: a dict by agent is expected"),
    "nothing": (lambda _, o, i: None, f"reset gave None: {PAIR}"),
    "three": (lambda _, o, i: (o, i, 1), f"reset gave 3 values: {PAIR}"),
    "nobody": (lambda self, o, i: (setattr(self, "agents", []), (o, i))[1], "nobody is among its agents after reset"),
    "a stranger": (lambda self, o, i: (self.agents.append("guest_0"), (o, i))[1], "agent 'guest_0' is none of possible_agents"),
    "somebody twice": (lambda self, o, i: (self.agents.append("driver_0"), (o, i))[1], "agent 'driver_0' is twice among"),
    "no agents at all": (lambda self, o, i: (delattr(self, "agents"), (o, i))[1], "its agents: "),
}


@pytest.mark.parametrize(("change", "text"), RESETS.values(), ids=RESETS)
def test_a_malformed_reset_is_one_line(change: Callable[..., Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        played(resetting(change))
    said = str(caught.value)
    assert said.startswith("lanes_v0, ") and "reset" in said and text in said and "\n" not in said


def alike(value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: dict.fromkeys(given, value)


STEPS = {
    "four": (lambda _, o, r, e, c, i: (o, r, e, i), "step gave 4 values (PettingZoo before 1.22 gave four, with dones): observations,"),
    "nothing": (lambda *_: None, "step gave None: observations, rewards, terminations, truncations and infos, dicts by agent,"),
    "one reward for all": (lambda _, o, r, e, c, i: (o, 1.0, e, c, i), "rewards are 1.0: a dict by agent is expected"),
    "one end for all": (lambda _, o, r, e, c, i: (o, r, False, c, i), "terminations are False: a dict by agent"),
    "no infos": (lambda _, o, r, e, c, i: (o, r, e, c, None), "infos are None: a dict by agent"),
    "an info that is a list": (lambda _, o, r, e, c, i: (o, r, e, c, alike([])(i)), "info of driver_0 = []: a dict is expected"),
    "observations None": (lambda _, o, r, e, c, i: (None, r, e, c, i), "observations are None"),
    "text to see": (lambda _, o, r, e, c, i: (alike(["a", "b", "c"])(o), r, e, c, i), "observation of driver_0 = ['a', 'b', 'c']: "),
    "nothing to see": (lambda _, o, r, e, c, i: (alike(None)(o), r, e, c, i), "observation of driver_0 = None: ValueError: numbers are"),
    "rows of two lengths": (lambda _, o, r, e, c, i: (alike([[1], [1, 2]])(o), r, e, c, i), "observation of driver_0 = [[1], [1, 2]]: "),
    "too much to see": (lambda _, o, r, e, c, i: (alike(np.zeros(4))(o), r, e, c, i), "observation of driver_0 has 4 numbers, its space 3"),
    "reward NaN": (lambda _, o, r, e, c, i: (o, alike(float("nan"))(r), e, c, i), "reward of driver_0 is not finite"),
    "reward None": (lambda _, o, r, e, c, i: (o, alike(None)(r), e, c, i), "reward of driver_0 = None: a number is expected"),
    "reward in words": (lambda _, o, r, e, c, i: (o, alike("1")(r), e, c, i), "reward of driver_0 = '1': a number is expected"),
    "several rewards": (
        lambda _, o, r, e, c, i: (o, alike(np.zeros(3))(r), e, c, i),
        "reward of driver_0 has 3 numbers: one is expected; a vector of objectives is made one number by a wrapper like MOMAland's Linear",
    ),
    "no reward": (lambda _, o, r, e, c, i: (o, {"driver_0": 1.0}, e, c, i), "reward of driver_1 is missing"),
    "a stranger's reward": (
        lambda _, o, r, e, c, i: (o, r | {"bus": 1.0}, e, c, i),
        "rewards have the key 'bus', which is none of",
    ),
    "a stranger's end": (lambda _, o, r, e, c, i: (o, r, e | {"bus": True}, c, i), "terminations have the key 'bus'"),
    "an end None": (lambda _, o, r, e, c, i: (o, r, alike(None)(e), c, i), "termination of driver_0 = None: true or false is expected"),
    "an end of two": (lambda _, o, r, e, c, i: (o, r, e, alike([True, False])(c), i), "truncation of driver_0 = [True, False]: true or"),
    "the end of all alone": (
        lambda _, o, r, e, c, i: (o, r, e, c | {"__all__": True}, i),
        "truncations['__all__'] is true, but driver_0 goes on: an agent's end is told by its own key",
    ),
    "somebody vanishes": (
        lambda self, o, r, e, c, i: (self.agents.remove("driver_1"), (o, r, e, c, i))[1],
        "gone is driver_1, which neither terminated nor truncated",
    ),
    "all vanish": (
        lambda self, o, r, e, c, i: (self.agents.clear(), (o, r, e, c, i))[1],
        "no agents are left, but driver_0 neither terminated nor truncated",
    ),
}


@pytest.mark.parametrize(("change", "text"), STEPS.values(), ids=STEPS)
def test_a_malformed_step_is_one_line(change: Callable[..., Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        played(stepping(change))
    said = str(caught.value)
    assert said.startswith("lanes_v0, copy 0, step 1 of episode 0: ") and text in said and "\n" not in said


def raises(self: Any, agent: str = "") -> Any:
    raise ValueError("not yet\nmaybe later")


UNMADE = {
    "a space that raises": ({"observation_space": raises}, "observation_space('driver_0') of lanes_v0: ValueError: not yet; a method"),
    "spaces as an attribute": ({"action_space": {}}, "action_space('driver_0') of lanes_v0: TypeError: 'dict' object is not callable"),
    "no space": ({"sight": lambda self, agent: 3}, "observation space of driver_0 in lanes_v0 is a builtins.int, no gymnasium space: one"),
    "nothing to choose": ({"deed": lambda self, agent: gym.Box(0, 1, (0,))}, "at least one number to choose is expected"),
    "nothing to see": ({"sight": lambda self, agent: gym.Box(0, 1, (0,))}, "at least one number to see is expected"),
    "state() that raises": ({"state": raises}, "lanes_v0, first reset: state(): ValueError: not yet; the global state as an array"),
    "a state in words": ({"state": lambda self: "calm"}, "lanes_v0, first reset: state() is 'calm': an array of numbers is expected"),
    "a state of NaN": ({"state": lambda self: [0, np.nan]}, "lanes_v0, first reset: state() is not finite, number 1"),
    "old reset": ({"reset": lambda self: None}, "lanes_v0, first reset: TypeError: "),
}


@pytest.mark.parametrize(("own", "text"), UNMADE.values(), ids=UNMADE)
def test_what_cannot_be_read_is_refused_when_it_is_made(own: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        vectorize(type("Changed", (Lanes,), own))
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_possible_agents_of_nobody() -> None:
    def nobody() -> Lanes:
        env = Lanes()
        env.possible_agents = []
        return env

    with pytest.raises(UserError, match="possible_agents of lanes_v0: nobody; the names of all agents are expected"):
        vectorize(nobody)
    with pytest.raises(UserError, match="vectorize has no option 'on_eror': legal are on_error, timeout, retries, longest"):
        vectorize(Lanes, on_eror="restart")


SERVED = {
    "rewards in arrays of one": lambda _, o, r, e, c, i: (o, {a: np.array([x]) for a, x in r.items()}, e, c, i),
    "rewards in lists of one": lambda _, o, r, e, c, i: (o, {a: [x] for a, x in r.items()}, e, c, i),
    "NumPy numbers": lambda _, o, r, e, c, i: (
        o, {a: np.float32(x) for a, x in r.items()}, {a: np.bool_(x) for a, x in e.items()}, {a: int(x) for a, x in c.items()}, i,
    ),
    "a list of five": lambda _, *five: list(five),
    "infos None by agent": lambda _, o, r, e, c, i: (o, r, e, c, dict.fromkeys(i)),
    "no infos of anybody": lambda _, o, r, e, c, i: (o, r, e, c, {}),
    "more to see and to tell": lambda _, o, r, e, c, i: (o | {"common": "fog"}, r, e, c, i | {"common": 3}),
    "the end of all that agrees": lambda _, o, r, e, c, i: (o, r, e | {"__all__": False}, c | {"__all__": all(c.values())}, i),
    "observations as lists": lambda _, o, r, e, c, i: ({a: x.tolist() for a, x in o.items()}, r, e, c, i),
}  # fmt: skip


@pytest.mark.parametrize("change", SERVED.values(), ids=SERVED)
def test_what_can_be_read_is(change: Callable[..., Any]) -> None:
    copies = played(stepping(change), 4)
    assert copies.reward.tolist() == [[1.0, 1.0]] and copies.status[0] == TRUNCATED and copies.episode[0] == 1


def test_actions_are_what_the_space_samples_in_the_order_of_the_agents() -> None:
    """PettingZoo's own tests send NumPy integers in the order of `agents`: environments that pass them may lean on both."""

    class Strict(Lanes):
        def __init__(self) -> None:
            super().__init__()
            self.possible_agents = ["driver_1", "cart_0", "driver_0"]

        def sight(self, agent: str) -> Any:
            return gym.Box(0.0, 1.0, (3,))

        def observation_space(self, agent: str) -> Any:
            return self._seen["driver_0"]

        def action_space(self, agent: str) -> Any:
            return self._acts["driver_0"]

        def step(self, actions: dict[str, Any]) -> Any:
            assert list(actions) == self.agents and all(a.dtype == np.int64 and a.item() == 2 for a in actions.values())
            return super().step(actions)

    parallel_seed_test(Lanes, 10)
    assert played(Strict, 4).episode[0] == 1


class Pair(Lanes):
    """Chooses by a Tuple: a lane, and how fast."""

    def deed(self, agent: str) -> Any:
        return gym.Tuple((gym.Discrete(3), gym.Box(0, 2, (1,))))

    def step(self, actions: dict[str, Any]) -> Any:
        assert all(self.action_space(a).contains(x) for a, x in actions.items())
        return super().step({a: x[0] for a, x in actions.items()})


def test_what_passes_pettingzoos_tests_is_played() -> None:
    for kind in (Lanes, Pair):
        parallel_api_test(kind(), 20)
        assert played(kind, 4).reward.tolist() == [[1.0, 1.0]]


class Over(Lanes):
    """Has a state of five numbers while somebody drives; afterwards it raises, or has none."""

    fault = "raises"

    def state(self) -> Any:
        if not self.agents and self.fault == "raises":
            raise AttributeError("'NoneType' object has no attribute 'position'")
        return np.full(5 if self.agents else 0, self.t, np.float32)


@pytest.mark.parametrize("fault", ["raises", "is empty"])
def test_a_state_that_fails_after_the_end_is_the_last_good_one(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    kind = type("Fails", (Over,), {"fault": fault})
    copies = vectorize(kind, 2)
    copies.reset(0)
    for _ in range(8):
        copies.step(np.zeros(copies.action.shape))
    assert copies.episode.tolist() == [2, 2] and (copies.final_state == 3).all() and (copies.state == 0).all()
    said = [record.message for record in caplog.records]
    assert len(said) == 1 and said[0].startswith("lanes_v0: state()") and said[0].endswith("its last good answer stands for it")


def test_a_state_that_fails_before_the_end_is_refused_and_one_that_nobody_needs_is_not_asked() -> None:
    kind = type("Fails", (Lanes,), {"state": lambda self: np.zeros(5 if self.t < 2 else 4)})
    with pytest.raises(UserError, match=r"step 2 of episode 0: state\(\) has 4 numbers, it had 5 after the first reset"):
        played(kind, 2)
    for never in (kind, type("Fails", (Lanes,), {"state": raises})):
        copies = vectorize(never, own_state=False)
        np.testing.assert_array_equal(copies.reset(0).reshape(1, -1), copies.state)
        copies.step(np.zeros(copies.action.shape))
        copies.step(np.zeros(copies.action.shape))


def test_an_episode_without_an_end_is_cut_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    copies = vectorize(Endless, 2, longest=3)
    copies.reset(0)
    for t in range(1, 7):
        copies.step(np.zeros(copies.action.shape))
        terminated, truncated = copies.own_ends
        assert (copies.status == (TRUNCATED if t % 3 == 0 else 0)).all() and not terminated.any() and truncated.all() == (t % 3 == 0)
    assert copies.episode.tolist() == [2, 2] and copies.obs[0, 0, 0] == 0 and copies.final_obs[0, 0, 0] == 0.75
    (said,) = (record for record in caplog.records)
    assert said.levelno == logging.WARNING and said.message.startswith("lanes_v0: an episode goes on after 3 ticks (env.longest)")
    with pytest.raises(UserError, match="longest = 0 ticks: legal are whole numbers from 1"):
        vectorize(Endless, longest=0)


def test_an_episode_that_ends_in_time_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    ends = stepping(lambda self, o, r, e, c, i: (o, r, dict(c), alike(False)(c), i))
    copies = vectorize(ends, longest=4)
    copies.reset(0)
    for _ in range(4):
        copies.step(np.zeros(copies.action.shape))
    assert copies.status[0] == TERMINATED and not caplog.records


def test_images_are_said(caplog: pytest.LogCaptureFixture) -> None:
    shape = (64, WIDE // 64 + 1)
    own = {"sight": lambda self, agent: gym.Box(0, 255, shape, np.uint8), "look": lambda self, agent: np.zeros(shape, np.uint8)}
    vectorize(type("Seen", (Lanes,), own), 2)
    (said,) = (record.message for record in caplog.records)
    assert said.startswith("lanes_v0: observations of driver, (64, 65), are flattened to 4,160 numbers: networks here have no convolutions")


def test_who_is_told_to_have_ended_but_stays_goes_on_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    copies = played(stepping(lambda _, o, r, e, c, i: (o, r, e | {"driver_1": True}, c, i)), 3)
    assert copies.alive.all() and copies.status[0] == 0 and copies.reward.tolist() == [[1.0, 1.0]]
    (said,) = (record.message for record in caplog.records)
    assert said == "lanes_v0: driver_1 is told to have ended, but is still among the agents: it goes on, as long as others do"
