"""The PettingZoo view: PettingZoo's own tests on every game, spaces, refusals, ends of episodes, pictures."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo.test import parallel_api_test, parallel_seed_test, render_test
from pettingzoo.utils.conversions import parallel_to_aec

from marl import UserError, VectorGame
from marl.game import Column, Discrete, Game
from marl.parallel import ParallelGame
from marl.picture import Gauge
from tests.bazaar import BAZAAR
from tests.commons import COMMONS
from tests.crossing import CROSSING
from tests.games import EVERY

every_game = pytest.mark.parametrize("game", EVERY.values(), ids=EVERY)


def sample(view: ParallelGame, infos: dict[str, Any]) -> dict[str, Any]:
    return {a: view.action_space(a).sample(view.sampling_mask(a)) for a in view.agents}


@every_game
@pytest.mark.parametrize("flatten", [False, True])
def test_pettingzoo_api(game: Game, flatten: bool) -> None:
    parallel_api_test(ParallelGame(game, flatten=flatten), 200)


@every_game
def test_pettingzoo_seed(game: Game) -> None:
    parallel_seed_test(lambda: ParallelGame(game), 100)


@every_game
def test_pettingzoo_render(game: Game) -> None:
    render_test(lambda render_mode: parallel_to_aec(ParallelGame(game, render_mode=render_mode)))


@every_game
def test_observations_and_states_lie_in_their_spaces(game: Game) -> None:
    view = ParallelGame(game)
    obs, infos = view.reset(seed=3)
    for _ in range(100):
        assert all(view.observation_space(a).contains(row) for a, row in obs.items())
        assert view.state_space.contains(view.state())
        if not view.agents:
            obs, infos = view.reset()
        obs, _, _, _, infos = view.step(sample(view, infos))


def test_action_spaces_follow_the_columns() -> None:
    seller, buyer = ParallelGame(BAZAAR).action_space("seller_0"), ParallelGame(BAZAAR).action_space("buyer_2")
    assert seller == spaces.Dict({"price": spaces.Box(1, 20, (1,)), "quality": spaces.Discrete(3)})
    assert buyer == spaces.MultiDiscrete([3, 3])
    assert ParallelGame(BAZAAR, flatten=True).action_space("seller_0") == spaces.Box(np.float32([1, 0]), np.float32([20, 2]))
    assert ParallelGame(CROSSING).action_space("driver_1") == spaces.Discrete(2)
    assert ParallelGame(COMMONS).action_space("harvester_0") == spaces.Box(0, 1, (1,))


def test_widths_names_and_the_global_state_are_the_games_own() -> None:
    view = ParallelGame(BAZAAR, n_sellers=1, n_buyers=2)
    assert view.possible_agents == ["seller_0", "buyer_0", "buyer_1"] and view.agents == []
    obs, _ = view.reset(seed=0)
    assert [row.shape for row in obs.values()] == [(3,), (2,), (2,)] and view.state_space.shape == (2,)
    commons = ParallelGame(COMMONS, n_agents=3)
    seen, _ = commons.reset(seed=0)
    np.testing.assert_array_equal(commons.state(), np.concatenate(list(seen.values())))


def test_a_dict_is_read_by_name_and_gives_what_the_flat_action_gives() -> None:
    named, flat = ParallelGame(BAZAAR), ParallelGame(BAZAAR, flatten=True)
    named.reset(seed=5)
    flat.reset(seed=5)
    for price, quality in ((3.0, 1), (7.5, 0), (19.0, 2)):
        buyers = {a: np.array([1, 2]) for a in named.agents if a.startswith("buyer")}
        sellers = [a for a in named.agents if a.startswith("seller")]
        left = named.step(buyers | {a: {"quality": quality, "price": np.float32([price])} for a in sellers})
        right = flat.step(buyers | {a: np.float32([price, quality]) for a in sellers})
        assert left[1] == right[1] and left[1]["seller_0"] == 6 * int(price) - (3 if quality == 2 else 0)


def test_the_view_pays_what_the_vector_pays() -> None:
    view, copies = ParallelGame(COMMONS, n_agents=3), VectorGame(COMMONS, n_agents=3)
    view.reset(seed=11)
    copies.reset(11)
    for _ in range(20):
        actions = {a: view.action_space(a).sample() for a in view.agents}
        obs, rewards, *_, infos = view.step(actions)
        copies.step(np.array([list(actions.values())]))
        np.testing.assert_array_equal(np.array(list(obs.values())), copies.obs[0])
        assert list(rewards.values()) == copies.reward[0].tolist()
        parts = [[i["reward/harvest"], i["reward/waste"], i["cost/depletion"]] for i in infos.values()]
        np.testing.assert_array_equal(parts, np.hstack([copies.components[0], copies.cost[0]]))


def test_weights_and_presets_reach_the_game() -> None:
    view = ParallelGame(COMMONS, n_agents=1, weights={"harvest": 0.0, "waste": 1.0})
    view.reset(seed=0)
    _, rewards, *_ = view.step({"harvester_0": np.float32([1.0])})
    assert rewards == {"harvester_0": -50.0}
    with pytest.raises(UserError, match=r"commons\.preset = 'x'"):
        ParallelGame(COMMONS, preset="x")


def test_an_episode_ends_with_its_own_last_observation_and_metrics() -> None:
    view = ParallelGame(COMMONS, n_agents=2, horizon=3)
    view.reset(seed=1)
    for t in range(3):
        obs, _, terminated, truncated, infos = view.step(dict.fromkeys(view.agents, np.float32([0.5])))
        assert set(terminated.values()) == {t == 2} and set(truncated.values()) == {False}
    assert obs["harvester_0"][1] == 0.0 and view.state()[1] == 0.0 and view.agents == []
    assert infos["harvester_0"]["metric/harvested"] == infos["harvester_1"]["metric/harvested"] > 0
    with pytest.raises(UserError, match="step of commons after the end of an episode"):
        view.step({"harvester_0": np.float32([0.5])})
    assert view.step({}) == ({}, {}, {}, {}, {}), "as PettingZoo's own do: nobody is left to act"
    obs, _ = view.reset()
    assert obs["harvester_0"][1] == 1.0 == view.state()[1]


def test_the_cut_of_a_continuing_game_is_truncated() -> None:
    view = ParallelGame(BAZAAR, horizon=2)
    view.reset(seed=1)
    for _ in range(2):
        *_, terminated, truncated, _ = view.step({a: view.action_space(a).sample() for a in view.agents})
    assert all(truncated.values()) and not any(terminated.values())


def test_an_agent_that_leaves_is_paid_once_and_asked_no_more() -> None:
    view = ParallelGame(BAZAAR, n_sellers=1, n_buyers=2, purse=40, income=0)
    view.reset(seed=2)
    seller = {"price": np.float32([20.0]), "quality": 0}
    _, rewards, terminated, truncated, _ = view.step({"seller_0": seller, "buyer_0": np.array([1, 2]), "buyer_1": np.array([0, 0])})
    assert terminated == {"seller_0": False, "buyer_0": True, "buyer_1": False} and not any(truncated.values())
    assert rewards["buyer_0"] != 0.0 and view.agents == ["seller_0", "buyer_1"]
    with pytest.raises(UserError, match="action of 'buyer_0': left the episode"):
        view.step({"seller_0": seller, "buyer_0": np.array([1, 2]), "buyer_1": np.array([0, 0])})
    obs, rewards, *_, infos = view.step({"seller_0": seller, "buyer_1": np.array([1, 1])})
    assert set(obs) == set(rewards) == set(infos) == {"seller_0", "buyer_1"} and rewards["seller_0"] == 20.0
    obs, _ = view.reset()
    assert view.agents == view.possible_agents == list(obs)


def test_masks_have_the_form_that_the_space_samples_with() -> None:
    view = ParallelGame(BAZAAR, purse=20, n_sellers=1, n_buyers=1)
    _, infos = view.reset(seed=0)
    np.testing.assert_array_equal(view.sampling_mask("seller_0")["quality"], [1, 1, 0])
    np.testing.assert_array_equal(infos["buyer_0"]["action_mask"][1], [1, 1, 0])
    for _ in range(50):
        assert view.action_space("seller_0").sample(view.sampling_mask("seller_0"))["quality"] < 2
        assert view.action_space("buyer_0").sample(infos["buyer_0"]["action_mask"])[1] < 2
    assert "action_mask" not in ParallelGame(COMMONS).reset(seed=0)[1]["harvester_0"]
    assert ParallelGame(COMMONS).sampling_mask("harvester_0") is None


def test_masks_beside_a_dict_and_a_box_are_arrays_by_column() -> None:
    """Others make tensors of every entry of an info, and take "action_mask" for that of a choice alone (torchrl's PettingZooWrapper)."""
    named, flat = (ParallelGame(BAZAAR, purse=20, n_sellers=1, n_buyers=1, flatten=flatten) for flatten in (False, True))
    for view, agents in ((named, ["seller_0"]), (flat, ["seller_0", "buyer_0"])):
        _, infos = view.reset(seed=0)
        for agent in agents:
            masks = {name: row for name, row in infos[agent].items() if "mask" in name}
            assert "action_mask" not in masks and all(row.dtype == np.int8 and row.ndim == 1 for row in masks.values())
        assert infos["seller_0"]["action_mask/quality"].tolist() == [1, 1, 0]
    assert [infos["buyer_0"][f"action_mask/{name}"].tolist() for name in ("seller", "amount")] == [[1, 1], [1, 1, 0]]
    assert flat.sampling_mask("buyer_0") is None, "a Box samples with none"


@pytest.mark.parametrize(("flatten", "agent"), [(False, "seller_0"), (True, "seller_0"), (True, "buyer_0")])
def test_infos_with_masks_by_column_have_their_keys_from_the_first(flatten: bool, agent: str) -> None:
    view = ParallelGame(BAZAAR, flatten=flatten, horizon=3)
    _, infos = view.reset(seed=0)
    keys, told = set(infos[agent]), []
    while view.agents:
        *_, infos = view.step(sample(view, infos))
        assert set(infos[agent]) == keys
        told.append([infos[agent][f"metric/{name}"] for name in view.copies.metric_names])
    assert not np.any(told[:2]) and told[2] == view.copies.metrics[0, view.copies.agents.index(agent)].tolist()


def test_seeds() -> None:
    def episode(view: ParallelGame, seed: int | None) -> list[float]:
        view.reset(seed=seed)
        return [view.step({"harvester_0": np.float32([0.1])})[0]["harvester_0"][0] for _ in range(20)]

    view = ParallelGame(COMMONS, n_agents=1)
    first, second = episode(view, 7), episode(view, None)
    assert first != second
    other = ParallelGame(COMMONS, n_agents=1)
    assert episode(other, 7) == first and episode(other, None) == second and episode(other, 8) != first
    assert episode(ParallelGame(COMMONS, n_agents=1), None) != episode(ParallelGame(COMMONS, n_agents=1), None)


def test_observations_may_be_kept() -> None:
    view = ParallelGame(COMMONS, n_agents=1)
    kept, _ = view.reset(seed=0)
    before = kept["harvester_0"].copy()
    view.step({"harvester_0": np.float32([1.0])})
    np.testing.assert_array_equal(kept["harvester_0"], before)


GOOD = {"seller_0": {"price": np.float32([3.0]), "quality": 1}, "buyer_0": np.array([1, 1])}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"seller_0": {"price": np.float32([math.nan]), "quality": 1}},
            "action of seller_0, column 'price' = nan cents: legal range is [1, 20]",
        ),
        ({"seller_0": {"price": np.float32([20.5]), "quality": 1}}, "column 'price' = 20.5 cents: legal range is [1, 20]"),
        ({"seller_0": {"price": np.float32([2, 2]), "quality": 1}}, "column 'price' = [2.0, 2.0]: one number is expected"),
        ({"seller_0": {"price": 2.0, "quality": 1.5}}, "column 'quality' = 1.5: legal range is whole numbers from 0 to 2"),
        ({"seller_0": {"price": 2.0, "quality": "best"}}, "column 'quality' = 'best': one number is expected"),
        ({"seller_0": {"price": 2.0}}, "action of seller_0, column 'quality': missing, the columns are price, quality"),
        ({"seller_0": {"price": 2.0, "quality": 1, "x": 0}}, "column 'x': unknown"),
        ({"seller_0": np.array([2.0, 1.0])}, "a dict is expected, with the columns price, quality"),
        ({"buyer_0": np.array([1, 3])}, "action of buyer_0, column 'amount' = 3: legal range is whole numbers from 0 to 2"),
        ({"buyer_0": np.array([1, -1])}, "column 'amount' = -1"),
        ({"buyer_0": np.array([0.5, 1])}, "column 'seller' = 0.5: legal range is whole numbers from 0 to 1"),
        ({"buyer_0": np.array([1, 1, 1])}, "has shape (3,): expected are numbers of shape (2,) for seller, amount"),
        ({"buyer_0": [[1], [1, 2]]}, "has no numbers"),
        ({"buyer_0": None}, "action of buyer_0 = None has no numbers"),
        ({"guild": 1}, "action of 'guild': no such agent, acting are seller_0, buyer_0"),
    ],
)
def test_a_wrong_action_is_refused_by_name(wrong: dict[str, Any], text: str) -> None:
    view = ParallelGame(BAZAAR, n_sellers=1, n_buyers=1)
    view.reset(seed=0)
    with pytest.raises(UserError) as caught:
        view.step(GOOD | wrong)
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert view.tick == 0
    view.step(GOOD)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64, np.uint64, np.bool_])
def test_numbers_of_every_kind_are_read(kind: Any) -> None:
    views = ParallelGame(COMMONS, n_agents=2), ParallelGame(CROSSING), ParallelGame(BAZAAR, n_sellers=1, n_buyers=1)
    for view in views:
        view.reset(seed=0)
    views[0].step({a: np.array([1], kind) for a in views[0].agents})
    views[1].step({a: kind(1) for a in views[1].agents})
    views[2].step({"seller_0": {"price": kind(1), "quality": kind(1)}, "buyer_0": np.array([1, 1], kind)})
    assert views[0].copies.action.tolist() == [[[1], [1]]] == views[1].copies.action.tolist()
    assert views[2].copies.action.tolist() == [[[1, 1], [1, 1]]]


def test_a_wrong_call_is_refused() -> None:
    view = ParallelGame(CROSSING)
    with pytest.raises(UserError, match="step of crossing before reset"):
        view.step({"driver_0": 1, "driver_1": 0})
    with pytest.raises(UserError, match="render of crossing before reset"):
        ParallelGame(CROSSING, render_mode="ansi").render()
    with pytest.raises(UserError, match="state of crossing before reset"):
        view.state()
    view.reset(seed=0)
    with pytest.raises(UserError, match="action of driver_1 is missing"):
        view.step({"driver_0": 1})
    with pytest.raises(UserError, match="a dict from agent to action is expected"):
        view.step([1, 0])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"render_mode = 'pdf': legal are rgb_array, ansi, human and None"):
        ParallelGame(CROSSING, render_mode="pdf")


def test_pictures_show_the_tick_and_keep_their_size() -> None:
    view = ParallelGame(BAZAAR, render_mode="rgb_array", horizon=2)
    _, infos = view.reset(seed=0)
    pictures = [view.render()]
    for _ in range(2):
        *_, infos = view.step(sample(view, infos))
        pictures.append(view.render())
    assert len({p.shape for p in pictures}) == 1 and pictures[0].dtype == np.uint8
    assert (pictures[0] != pictures[1]).any() and (pictures[1] != pictures[2]).any()
    assert ParallelGame(COMMONS).render() is None


def test_text_shows_what_is_seen_and_done() -> None:
    view = ParallelGame(CROSSING, render_mode="ansi")
    view.reset(seed=0)
    view.step({"driver_0": 1, "driver_1": 0})
    lines = view.render().splitlines()
    assert lines[0] == "crossing  episode 0   tick 1   terminated"
    assert "does move go" in lines[1] and "+1" in lines[1] and "does move wait" in lines[2]


@pytest.mark.parametrize(
    ("value", "column", "span"),
    [
        (0.25, Column(0, 1), (0.0, 0.25)),
        (-1.0, Column(-1, 1), (0.0, 0.5)),
        (1.0, Column(0, math.inf), (0.0, 0.5)),
        (1.0, Column(-math.inf, math.inf), (0.5, 0.75)),
        (10.0, Column(1, 100, scale="log"), (0.0, 0.5)),
        (math.nan, Column(0, 1), (0.0, 0.0)),
        (1.0, Discrete(3), (0.0, 0.5)),
    ],
)
def test_bars_stand_where_the_value_stands(value: float, column: Column | Discrete, span: tuple[float, float]) -> None:
    assert Gauge("x", value, column).span == pytest.approx(span)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: cloudpickle.loads(cloudpickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_a_cloned_view_goes_on_alike_and_alone(clone: Callable[[ParallelGame], ParallelGame]) -> None:
    """As vector environments of others clone it: views of arrays must not come apart, and agents that left stay away."""
    view = ParallelGame(BAZAAR, n_sellers=1, n_buyers=3, purse=40, income=0, weights={"guild": -2.0})
    fresh = clone(view)
    assert fresh.agents == [] and fresh.reset(seed=1)[0].keys() == set(view.possible_agents)
    view.reset(seed=2)
    view.step({"seller_0": {"price": 20.0, "quality": 0}, **{a: np.array([1, 2 if a == "buyer_1" else 0]) for a in view.agents[1:]}})
    other = clone(view)
    assert other.agents == view.agents == ["seller_0", "buyer_0", "buyer_2"] and other.params == view.params
    for _ in range(60):
        if not view.agents:
            for one in (view, other):
                one.reset()
        actions = {a: view.action_space(a).sample() for a in view.agents}
        left, right = view.step(actions), other.step(actions)
        for one, two in zip(left, right):
            assert one.keys() == two.keys()
        assert left[1:4] == right[1:4] and all(np.array_equal(row, right[0][a]) for a, row in left[0].items())
        np.testing.assert_array_equal(view.state(), other.state())
    before = view.state()
    if other.agents:
        other.step({a: other.action_space(a).sample() for a in other.agents})
    np.testing.assert_array_equal(view.state(), before)
