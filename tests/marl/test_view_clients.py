"""What other people's learners and tools ask of a view: forms of actions, rounding, pickles, generators, seeds."""

from __future__ import annotations

import io
import multiprocessing
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import envs
from marl import UserError, VectorGame
from marl.copies import Group
from marl.external import vectorize
from marl.game import Column, Game, Role
from marl.parallel import ParallelGame
from marl.seats import Seats
from tests.bazaar import BAZAAR
from tests.commons import COMMONS
from tests.crossing import CROSSING
from tests.foreign import Lanes
from tests.games import EVERY

FORMS = {
    "a number": float, "NumPy's": np.float32, "shape ()": np.array, "(1,)": lambda x: np.array([x]), "(1, 1)": lambda x: np.array([[x]]),
    "a list": lambda x: [x], "a tensor": torch.tensor, "a tensor of one": lambda x: torch.tensor([x]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_one_number_is_read_in_every_form(form: Any) -> None:
    """AgileRL squeezes a Box of one column to shape (), others keep axes of one."""
    box, choice = ParallelGame(COMMONS, n_agents=2), ParallelGame(CROSSING)
    named = ParallelGame(BAZAAR, n_sellers=1, n_buyers=1)
    for view in (box, choice, named):
        view.reset(seed=0)
    box.step({a: form(0.5) for a in box.agents})
    choice.step({a: form(1) for a in choice.agents})
    named.step({"seller_0": {"price": form(2.0), "quality": form(1)}, "buyer_0": [1, 1]})
    assert box.copies.action.tolist() == [[[0.5], [0.5]]] and choice.copies.action.tolist() == [[[1.0], [1.0]]]
    assert named.copies.action.tolist() == [[[2.0, 1.0], [1.0, 1.0]]]


def test_agents_may_differ_in_form() -> None:
    view = ParallelGame(COMMONS, n_agents=3)
    view.reset(seed=0)
    view.step({"harvester_0": 0.25, "harvester_1": np.float32([0.5]), "harvester_2": [[1]]})
    assert view.copies.action.tolist() == [[[0.25], [0.5], [1.0]]]
    flat = ParallelGame(BAZAAR, n_sellers=1, n_buyers=1, flatten=True)
    flat.reset(seed=0)
    flat.step({"seller_0": np.array([[2.0, 1.0]]), "buyer_0": np.array([[1.0], [1.0]])})
    assert flat.copies.action.tolist() == [[[2.0, 1.0], [1.0, 1.0]]]


@pytest.mark.parametrize("value", [[0.5, 0.5], [], None, "half", [[0.5], [0.1, 0.2]]])
def test_what_is_not_one_number_is_refused(value: Any) -> None:
    view = ParallelGame(COMMONS, n_agents=1)
    view.reset(seed=0)
    with pytest.raises(UserError, match=r"action of harvester_0 = .* expected are numbers of shape"):
        view.step({"harvester_0": value})


def squashed(tanh: float, low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What actors of SAC and TD3 make of tanh(x) in float32."""
    return (np.float32(tanh) * (high - low) / 2 + (high + low) / 2).astype(np.float32)


@pytest.mark.parametrize(("low", "high"), [(0.1, 4.0), (0.05, 1.0), (-3.0, 0.7), (0.0, 1.5), (1e3, 1e6)])
def test_what_rounding_put_beside_a_bound_is_the_bound(low: float, high: float) -> None:
    """Of a column in [.1, 4], .1 comes out several units of the last place too low."""
    action = np.zeros((1, 1))
    seats = Seats(Group("bidder", 0, 1, {}, {"multiplier": Column(low, high)}), ("bidder_0",), action, flatten=False)
    for tanh, bound in ((-1.0, seats.low), (1.0, seats.high)):
        assert seats.read({"bidder_0": squashed(tanh, seats.low, seats.high)})
        assert action[0, 0] == bound[0]
    assert not seats.read({"bidder_0": seats.high + np.float32(1e-4) * np.abs(seats.high)})
    assert squashed(-1.0, np.float32([0.1]), np.float32([4.0]))[0] < np.float32(0.1), "what this is about"


def test_a_step_of_the_last_place_outside_is_inside_and_ten_are_not() -> None:
    view = ParallelGame(BAZAAR, n_sellers=1, n_buyers=1)
    view.reset(seed=0)
    above = np.nextafter(np.float32(20), np.float32(21))
    view.step({"seller_0": {"price": above, "quality": 0}, "buyer_0": [0, 0]})
    assert view.copies.action[0, 0, 0] == 20.0
    with pytest.raises(UserError, match=r"column 'price' = 20\.0000191 cents: legal range is \[1, 20\]"):
        view.step({"seller_0": {"price": np.float32(20) + 10 * (above - np.float32(20)), "quality": 0}, "buyer_0": [0, 0]})
    with pytest.raises(UserError, match=r"column 'quality' = 2\.00000024: legal range is whole numbers from 0 to 2"):
        view.step({"seller_0": {"price": 2.0, "quality": np.nextafter(np.float32(2), np.float32(3))}, "buyer_0": [0, 0]})


every = pytest.mark.parametrize("name", EVERY)


@every
def test_a_game_pickles_as_where_it_is_found(name: str) -> None:
    game = EVERY[name]
    for each in (game, *game.variants.values()):
        assert pickle.loads(pickle.dumps(each)) is each


def test_a_registered_game_of_a_module_pickles_by_its_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(envs.GAMES, "harvest", COMMONS)
    assert pickle.loads(pickle.dumps(envs.GAMES["harvest"])) is envs.GAMES["harvest"]
    assert pickle.loads(pickle.dumps(replace(COMMONS, name="unknown"))).name == "unknown"


def drivers(p: Any) -> tuple[Role, ...]:
    return CROSSING.roles(p)


def test_a_game_that_no_module_has_pickles_as_what_it_is_made_of() -> None:
    own = replace(CROSSING, citation="mine", roles=drivers)
    assert pickle.loads(pickle.dumps(own)) == own
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(replace(own, known=lambda p: {}))


CLONES = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "torch.save": lambda x: _through_torch(x)}


def _through_torch(thing: Any) -> Any:
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("clone", CLONES.values(), ids=CLONES)
@pytest.mark.parametrize("game", [COMMONS, BAZAAR, CROSSING], ids=lambda game: game.name)
def test_views_and_vectors_go_through_plain_pickle(clone: Any, game: Game) -> None:
    view, copies = ParallelGame(game), VectorGame(game, 3)
    view.reset(seed=4)
    copies.reset(4)
    generator = np.random.default_rng(0)
    for _ in range(2):
        if view.agents:
            view.step({a: view.action_space(a).sample(view.sampling_mask(a)) for a in view.agents})
        copies.step(generator.random(copies.action.shape))
    view.np_random.random(5)
    other, more = clone(view), clone(copies)
    assert other.game is view.game and more.game is copies.game
    np.testing.assert_array_equal(other.state(), view.state())
    assert other.np_random.random() == view.np_random.random() and other.np_random_seed == view.np_random_seed == 4
    action = generator.random(copies.action.shape)
    copies.step(action)
    more.step(action)
    np.testing.assert_array_equal(copies.obs, more.obs)


def _stepped(view: ParallelGame, pipe: Any) -> None:
    view.step(dict.fromkeys(view.agents, 0.5))
    pipe.send(view.state())


def test_a_view_goes_to_a_spawned_process() -> None:
    view = ParallelGame(COMMONS, n_agents=2)
    view.reset(seed=1)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_stepped, args=(view, there))
    child.start()
    assert here.poll(120)
    state = here.recv()
    child.join()
    view.step(dict.fromkeys(view.agents, 0.5))
    np.testing.assert_array_equal(state, view.state())


def test_a_generator_for_wrappers() -> None:
    one, two = ParallelGame(COMMONS), ParallelGame(COMMONS)
    assert isinstance(one.np_random, np.random.Generator), "also before a reset"
    one.reset(seed=3)
    two.reset(seed=3)
    assert one.np_random.random() == two.np_random.random() and one.np_random_seed == 3
    one.reset()
    assert one.np_random.random() == two.np_random.random(), "a reset without a seed leaves it"
    one.np_random = np.random.default_rng(9)
    assert one.np_random.random() == np.random.default_rng(9).random()


def test_after_the_end_nobody_answers() -> None:
    view = ParallelGame(COMMONS, n_agents=2, horizon=1)
    with pytest.raises(UserError, match="before reset"):
        view.step({})
    view.reset(seed=0)
    with pytest.raises(UserError, match="action of harvester_0 is missing"):
        view.step({})
    view.step(dict.fromkeys(view.agents, 1.0))
    assert view.step({}) == view.step({}) == ({}, {}, {}, {}, {}) and view.tick == 1


@pytest.mark.parametrize("make", [lambda: ParallelGame(COMMONS), lambda: VectorGame(COMMONS, 2), lambda: vectorize(Lanes, 2)])
def test_a_seed_below_zero_is_refused(make: Any) -> None:
    for seed in (-1, np.int64(-7)):
        with pytest.raises(UserError, match=rf"seed = {seed}: legal are whole numbers from 0"):
            make().reset(seed=seed)
    with pytest.raises(UserError, match=r"seed = 1\.5: a whole number is expected"):
        make().reset(seed=1.5)


def test_what_a_view_says_of_itself() -> None:
    assert ParallelGame(COMMONS).metadata == {
        "name": "commons_v0", "render_modes": ["rgb_array", "ansi", "human"], "render_fps": 4, "is_parallelizable": True,
    }  # fmt: skip
