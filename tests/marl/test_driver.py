"""The generated driver: edits are seen, the cache is hit, one compilation serves every size, broken declarations are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import envs
from marl import UserError, VectorGame, driver
from marl.check import check_game
from marl.compiled import rule
from marl.game import F8, I8, RUNNING, TERMINATED, Column, Game, Role, array
from marl.params import Params, param
from tests.bazaar import BAZAAR, BazaarParams
from tests.commons import COMMONS, begin, measure, observe

ROOT = Path(__file__).parents[2]

PACKAGE = {
    "__init__.py": "",
    "law.py": """
from marl.compiled import rule
GAIN = 2.0

@rule
def pay(effort):
    return GAIN * effort
""",
    "data.py": "import numpy as np\nRATE = 0.5\nTABLE = np.zeros(5000)\nTABLE[2500] = 0.0\n",
    "unread.py": "GAIN = 9.0",
    "rules.py": """
from dataclasses import dataclass
from typing import NamedTuple
from marl.compiled import rule
from marl.game import F8, TERMINATED, Column, Game, Role, array
from marl.params import Params, param
from till import data
from till.data import TABLE
from till.law import pay

@dataclass(frozen=True)
class TillParams(Params):
    n_agents: int = param(2, 1, 9, "agents")

class TillState(NamedTuple):
    paid: F8 = array("agents")

@rule
def begin(p, s, b):
    for a in range(p.n_agents):
        s.paid[b, a] = 0.0

@rule
def step(p, s, b, action, components, cost):
    for a in range(p.n_agents):
        components[b, a, 0] = (a + 1) * pay(action[b, a, 0]) * data.RATE + TABLE[2500]
    return TERMINATED

@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        obs[b, a, 0] = 1.0

@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.paid[b, a]

TILL = Game("till", 0, TillParams, TillState, lambda p: (Role("clerk", p.n_agents, {"one": Column(0, 1)}, {"effort": Column(0, 1)}),),
            begin, step, observe, measure, {"paid": Column(0, 1)})
""",
}

RUN = """
import json, sys
from marl import driver
from till.rules import TILL
out = {"mark": driver.fingerprint(TILL, driver.source(TILL))}
if sys.argv[1] == "run":
    from marl import VectorGame
    for n in (2, 3):
        copies = VectorGame(TILL, 2, n_agents=n)
        copies.reset(0)
        copies.step(copies.action + 0.5)
        out[str(n)] = copies.reward.tolist()
    stats = driver.load(TILL).serial.stats
    out["hits"], out["misses"] = sum(stats.cache_hits.values()), sum(stats.cache_misses.values())
    out["compiled"] = len(driver.load(TILL).serial.signatures)
print(json.dumps(out))
"""


def written(folder: Path) -> Path:
    (folder / "till").mkdir()
    for name, text in PACKAGE.items():
        (folder / "till" / name).write_text(text)
    return folder


@pytest.fixture
def till(tmp_path: Path) -> Path:
    return written(tmp_path)


@pytest.fixture(scope="module")
def mark(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name that the package as it stands gives to its driver, in whatever folder."""
    return str(run(written(tmp_path_factory.mktemp("unedited")), "mark")["mark"])


def run(folder: Path, what: str) -> dict[str, Any]:
    """The game in a process of its own, with a cache of its own."""
    given = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "MARL_CACHE": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", RUN, what], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def edit(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / "till" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_second_process_finds_the_cache_and_an_edit_is_seen(till: Path) -> None:
    first = run(till, "run")
    assert first["2"] == [[0.5, 1.0]] * 2 and first["3"] == [[0.5, 1.0, 1.5]] * 2
    assert first["compiled"] == 1 and first["misses"] == 1 and first["hits"] == 0
    second = run(till, "run")
    assert second["misses"] == 0 and second["hits"] == 1 and second["3"] == first["3"]
    edit(till, "law.py", "return GAIN * effort", "return GAIN * effort + 1.0")
    third = run(till, "run")
    assert third["2"] == [[1.0, 2.0]] * 2 and third["misses"] == 1


@pytest.mark.parametrize(
    ("file", "old", "new", "seen"),
    [
        ("rules.py", "(a + 1) *", "(a + 2) *", True),
        ("law.py", "GAIN = 2.0", "GAIN = 3.0", True),
        ("data.py", "RATE = 0.5", "RATE = 0.25", True),
        ("data.py", "TABLE[2500] = 0.0", "TABLE[2500] = 1.0", True),
        ("unread.py", "9.0", "8.0", False),
    ],
)
def test_what_the_rules_reach_names_the_driver(till: Path, mark: str, file: str, old: str, new: str, seen: bool) -> None:
    """Functions, constants by name and through their module, and the middle of a large table; and nothing that rules do not reach."""
    edit(till, file, old, new)
    assert (run(till, "mark")["mark"] != mark) is seen


def test_two_numbers_of_agents_are_right_in_one_process() -> None:
    """Against the rules of the commons written out for one tick after the other; all on one compilation."""
    batches = {n: VectorGame(COMMONS, 3, n_agents=n, noise=0.0, horizon=50) for n in (1, 4, 9, 4)}
    for copies in batches.values():
        copies.reset(0)
    stock = dict.fromkeys(batches, 100.0)
    for t in range(40):
        for n, copies in batches.items():
            share = 0.1 + 0.02 * ((t + np.arange(n)) % 5)
            copies.step(np.broadcast_to(share[:, None], copies.action.shape))
            taken = share * stock[n] / n
            np.testing.assert_allclose(copies.reward, np.broadcast_to(taken, (3, n)), rtol=1e-6)
            stock[n] -= taken.sum()
            stock[n] += min(0.25 * stock[n] * (1 - stock[n] / 100), 100 - stock[n])
            np.testing.assert_allclose(copies.obs[:, :, 0], stock[n] / 100, rtol=1e-6)
    assert len(driver.load(COMMONS).serial.signatures) == 1


def test_what_every_tick_calls_is_part_of_the_loop() -> None:
    """Whatever the game says: a call hands on every number and array of the state. What an episode calls once stays as the game has it."""
    game = envs.make("supply_chain").game
    module = driver.load(game)
    assert not game.observe.targetoptions.get("forceinline") and not game.begin.targetoptions.get("forceinline")
    assert all(getattr(module, name).targetoptions["forceinline"] for name in ("step", "observe", "balance"))
    assert module.begin is game.begin and module.measure is game.measure


def test_a_driver_is_imported_once() -> None:
    assert driver.load(COMMONS) is driver.load(replace(COMMONS, naive="other"))
    assert driver.cache_folder() in Path(driver.load(COMMONS).__file__ or "").parents


class Unshaped(NamedTuple):
    stock: F8
    cash: I8 = array()


class Reserved(NamedTuple):
    t: I8 = array()


class UnknownDim(NamedTuple):
    stock: F8 = array("warehouses")
    harvested: F8 = array("agents")
    grown: F8 = array()


class FractionalDim(NamedTuple):
    stock: F8 = array("capacity")
    harvested: F8 = array("agents")
    grown: F8 = array()


@dataclass(frozen=True)
class NoOne(Params):
    n_agents: int = param(0, 0, 9, "agents")


def nested() -> Any:
    @rule
    def begin_here(p: Any, s: Any, b: Any) -> None:
        s.stock[b] = 1.0

    return begin_here


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: VectorGame(replace(COMMONS, state=Unshaped)),
            "state of game 'commons': field 'stock' lacks its shape, write `= array(...)`",
        ),
        (lambda: replace(COMMONS, state=Reserved), "state Reserved of game 'commons': fields ['t'] are the driver's"),
        (
            lambda: VectorGame(replace(COMMONS, state=UnknownDim)),
            "state field 'stock' of commons: dim 'warehouses' is neither 'agents' nor",
        ),
        (lambda: VectorGame(replace(COMMONS, state=FractionalDim)), "state field 'stock' of commons: dim 'capacity' is neither"),
        (lambda: replace(COMMONS, state_table={"x": Column(0, 1)}), "overview goes with state_table, balance with audit"),
        (lambda: replace(BAZAAR, audit=()), "overview goes with state_table, balance with audit"),
        (lambda: VectorGame(replace(COMMONS, begin=nested())), "nested.<locals>.begin_here must stand at the top of a module"),
        (lambda: VectorGame(replace(COMMONS, roles=lambda p: ())), "commons has no agents: at least one is needed"),
        (lambda: VectorGame(replace(COMMONS, roles=lambda p: (Role("x", 0, {}, {}),))), "commons has no agents: at least one is needed"),
        (lambda: VectorGame(COMMONS, 0), "n_envs = 0: legal are whole numbers from 1"),
        (lambda: VectorGame(COMMONS, threads=1000), "threads = 1000: legal range here is [1, "),
        (lambda: Column(1, 1), "Column low=1 high=1: low must be below high"),
    ],
)
def test_broken_declarations_are_refused(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_shapes_follow_the_parameters() -> None:
    copies = VectorGame(BAZAAR, 2, BazaarParams(n_sellers=3, n_buyers=4))
    assert copies.world.cash.shape == (2, 7) and copies.world.taste.shape == (2, 4) and copies.world.guild.shape == (2,)
    assert copies.world.cash.dtype == np.int64 and copies.world.gone.dtype == np.bool_


@dataclass(frozen=True)
class NothingParams(Params):
    """No parameter at all."""


class NothingState(NamedTuple):
    """Nothing beside the key, the episode and the tick."""


@rule
def begin_nothing(p, s, b):
    pass


@rule
def guess(p, s, b, action, components, cost):
    for a in range(components.shape[1]):
        components[b, a, 0] = action[b, a, 0] - s.t[b]
    return RUNNING if s.t[b] < 2 else TERMINATED


@rule
def see_the_clock(p, s, b, obs):
    for a in range(obs.shape[1]):
        obs[b, a, 0] = s.t[b] / 3.0


@rule
def measure_nothing(p, s, b, metrics):
    pass


@dataclass(frozen=True)
class UnreadParams(Params):
    n_agents: int = param(2, 1, 9, "agents")


def first_game(params: type[Params], agents: Callable[[Any], int]) -> Game:
    """A game whose rules read no parameter, as a newcomer's first one does."""
    seen, done = {"clock": Column(0, 1, "share of the episode")}, {"guess": Column(0, 1, "$")}
    return Game(
        "first", 0, params, NothingState, lambda p: (Role("player", agents(p), seen, done),), begin_nothing, guess, see_the_clock,
        measure_nothing, {},
    )  # fmt: skip


@pytest.mark.parametrize(("params", "agents"), [(NothingParams, lambda p: 1), (UnreadParams, lambda p: p.n_agents)])
def test_rules_that_read_no_parameter_compile(params: type[Params], agents: Callable[[Any], int]) -> None:
    """They keep the contract as they stand; three ticks pay the action less the tick."""
    game = first_game(params, agents)
    assert driver.numbers_of(game) == []
    check_game(game)
    copies = VectorGame(game, 3)
    copies.reset(0)
    paid = []
    for _ in range(3):
        copies.step(copies.action * 0.0 + 0.5)
        paid.append(copies.reward[:, 0].tolist())
    assert paid == [[0.5] * 3, [-0.5] * 3, [-1.5] * 3]
    assert copies.status.tolist() == [TERMINATED] * 3


def test_the_games_of_this_file_are_whole() -> None:
    assert isinstance(COMMONS, Game) and COMMONS.begin is begin and COMMONS.observe is observe and COMMONS.measure is measure
