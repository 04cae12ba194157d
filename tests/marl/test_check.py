"""The contract checks: every game passes all of them, and each catches games that break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
import pytest
from mpe2 import simple_spread_v3

import envs
from marl import UserError
from marl.check import CHECKS, Trial, check_game, check_parallel, digest
from marl.game import Column, Discrete, Game
from marl.parallel import ParallelGame
from marl.params import Params, choice, param
from marl.vector import VectorGame
from tests.foreign import Walk
from tests.games import EVERY
from tests.marl.faulty import FAULTS, POND, PondParams

THREADS = pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba was given one thread")


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("game", [*EVERY.values(), POND], ids=[*EVERY, "pond"])
def test_every_game_keeps_the_contract(game: Game, check: str) -> None:
    check_game(game, only=check)


PRESETS = [(game, preset) for game in EVERY.values() for preset in game.presets if game.make_params(preset) != game.make_params()]
"""Presets that are not the defaults under another name."""


@pytest.mark.parametrize(("game", "preset"), PRESETS, ids=[f"{game.name}-{preset}" for game, preset in PRESETS])
def test_every_preset_keeps_the_contract(game: Game, preset: str) -> None:
    """Of presets with long episodes, shorter ones; of markets with many auctions, fewer, and users who do not stay."""
    params = vars(game.make_params(preset))
    shorter = {"horizon": 500, **({"warm_up": 0} if params.get("warm_up") else {})} if params.get("horizon", 0) > 2_000 else {}
    if params.get("mode") == "advertising":
        shorter = {"horizon": min(params["horizon"], 40), "auctions_per_tick": 16, "persist": False, "cohort": 50}
    check_game(game, preset=preset, **shorter)


@pytest.mark.parametrize(
    ("check", "fault", "text"),
    [
        ("values", "obs_range", "obs of fisher_0, column 'level', is 1.001: its range is [0, 1]"),
        ("values", "obs_nan", "obs of fisher_0, number 2, is nan: a finite number is expected"),
        ("values", "padding", "obs of guard is not zero beyond its 1 columns"),
        ("values", "metric_nan", "metrics[0, 0, 0] is not finite"),
        ("values", "metric_range", "metrics, column 'purse', is -1: its range is [0, inf]"),
        ("values", "cost_range", "cost, column 'effort', is -1: its range is [0, 1]"),
        ("values", "state_range", "state, column 'level', is 2: its range is [0, 1]"),
        ("values", "component_nan", "components[0, 0, 1] is not finite"),
        ("values", "reward_overflow", "reward[0, 0] is not finite"),
        ("balance", "mint", "audit 'cash' is off by"),
        ("balance", "mint_when_hostile", "under hostile actions"),
        ("clock", "tick", "a rule changed the state's field 't', which is the driver's"),
        ("clock", "key", "a rule changed the state's field 'key'"),
        ("seeds", "own_chance", "the same seed and actions gave other numbers the second time"),
        ("batch", "neighbour", "copy 37 of 64 differs from the same copy alone after"),
        pytest.param("threads", "thread", "one thread and two differ after 1 steps", marks=THREADS),
        ("masks", "no_choice", "the mask leaves fisher_0 no legal choice in column 'gear'"),
        ("living", "comes_back", "fisher_0 left and came back in the same episode"),
        ("living", "paid_after", "fisher_0 is paid after it left"),
        ("living", "all_left", "all agents left, but the episode goes on"),
        ("ends", "observed_cut", "an episode is TRUNCATED where fisher sees its end in column 'time_left' (0 to 0 there"),
        ("ends", "endless", "no episode ended within 5000 ticks"),
        ("begin", "leftover", "an episode after an auto-reset is not that of a fresh copy"),
        ("begin", "hidden_leftover", "begin leaves something over"),
    ],
)
def test_a_broken_rule_is_caught(check: str, fault: str, text: str) -> None:
    with pytest.raises(UserError) as caught:
        check_game(POND, only=check, fault=fault)
    assert str(caught.value).startswith("pond: ") and text in str(caught.value) and "\n" not in str(caught.value)


def test_every_fault_is_tested() -> None:
    cases = test_a_broken_rule_is_caught.pytestmark[0].args[1]
    tested = {(case if type(case) is tuple else case.values)[1] for case in cases}
    assert tested == set(FAULTS) - {"none", "still"}


@dataclass(frozen=True)
class StillParams(PondParams):
    fault: str = choice("still", FAULTS)


def test_rules_that_draw_without_effect_are_caught() -> None:
    with pytest.raises(UserError, match="the rules draw, but every seed gave the same numbers"):
        check_game(replace(POND, params=StillParams), only="seeds")
    check_game(replace(POND, params=StillParams, presets={"lively": {"fault": "none"}}), only="seeds")


@dataclass(frozen=True)
class LenientParams(PondParams):
    def __post_init__(self) -> None:
        """Forgets to check."""


@dataclass(frozen=True)
class UnboundedParams(PondParams):
    depth: float = param(1.0, 0.0, float("inf"), "m")


@dataclass(frozen=True)
class DeafParams(PondParams):
    depth: float = param(1.0, 0.0, 9.0, "m")

    def _checked(self, name: str, kind: type, limits: Any, value: Any) -> Any:
        return value if name == "depth" else super()._checked(name, kind, limits, value)


@dataclass(frozen=True)
class BareParams(Params):
    n: int = 3

    def __post_init__(self) -> None:
        """Nothing is declared."""


@pytest.mark.parametrize(
    ("changes", "check", "text"),
    [
        ({"params": LenientParams}, "params", "parameter fault = 'no such option' is accepted: it is illegal"),
        ({"params": UnboundedParams}, "params", "parameter 'depth' has the range [0, inf]: finite ends are expected"),
        ({"params": DeafParams}, "params", "parameter depth = nan is accepted: it is illegal"),
        ({"params": BareParams, "roles": lambda p: ()}, "params", "parameter 'n' is not declared by param, choice or text"),
        ({"reference": lambda p: "best"}, "names", "reference baseline 'best': legal are random"),
        ({"naive": "worst"}, "names", "naive baseline 'worst': legal are random"),
        ({"presets": {"big": {"n_fishers": 99}}}, "names", "PondParams.n_fishers = 99 agents: legal range is [1, 16]"),
        ({"known": lambda p: {"optimum": np.inf}}, "names", "known value 'optimum' is inf"),
        ({"action_grid": lambda p: {"pirate": np.zeros((1, 1))}}, "names", "action_grid of 'pirate': roles are fisher, guard"),
        ({"action_grid": lambda p: {"fisher": np.array([[0.0, 3.0]])}}, "names", "action_grid of fisher is not [K, 2] rows inside"),
    ],
)
def test_a_broken_declaration_is_caught(changes: dict[str, Any], check: str, text: str) -> None:
    with pytest.raises(UserError) as caught:
        check_game(replace(POND, **changes), only=check)
    assert text in str(caught.value)


class WrongSum(VectorGame):
    def tick(self) -> None:
        super().tick()
        self.reward[0, 0] += 0.01


class Unclipped(VectorGame):
    def step(self, action: Any) -> None:
        super().step(action)
        self.reward[:, 0] += 1e-3 * np.asarray(action)[:, 0, 0]


class TakesTheHighest(VectorGame):
    def step(self, action: Any) -> None:
        changed = np.array(action)
        illegal = ~np.take_along_axis(self.action_mask[:, 0, :3], changed[:, 0, 1:2].astype(np.int64), 1)[:, 0]
        changed[illegal, 0, 1] = 1
        super().step(changed)


class Forgets(VectorGame):
    def tick(self) -> None:
        super().tick()
        self.final_obs[:] = self.obs


class Hides(VectorGame):
    steps = 0

    def tick(self) -> None:
        super().tick()
        self.steps += 1
        self.obs[0, 0, 0] = 0.001 * self.steps


class Sticky(VectorGame):
    def restore(self, source: Any, copies: Any = None) -> None:
        super().restore(source, copies)
        self.world.level[0] *= 0.5


@pytest.mark.parametrize(
    ("check", "kind", "text"),
    [
        ("reward", WrongSum, "the reward is not the weighted sum of its components"),
        ("clipping", Unclipped, "an action outside its columns differs from the nearest one inside: reward"),
        ("masks", TakesTheHighest, "an illegal choice differs from the lowest legal one"),
        ("final", Forgets, "final_obs is the next episode's first observation"),
        ("fork", Hides, "copies loaded from state_dict differ"),
        ("fork", Sticky, "restored copies differ from what they were"),
    ],
)
def test_broken_copies_are_caught(check: str, kind: type[VectorGame], text: str) -> None:
    params = PondParams()
    trial = Trial(POND, params, lambda n, threads: kind(POND, n, params, threads=threads), lambda: ParallelGame(POND))
    with pytest.raises(UserError) as caught:
        CHECKS[check](trial)
    assert text in str(caught.value)


class ViewOf(ParallelGame):
    """A view that changes what a step returns."""

    def __init__(self, change: Callable[..., None]) -> None:
        super().__init__(POND)
        self.change = change

    def step(self, actions: Any) -> Any:
        given = super().step(actions)
        self.change(self, *given)
        return given


def lose(view: Any, seen: Any, rewards: Any, terminated: Any, truncated: Any, infos: Any) -> None:
    del rewards["guard_0"]


def haunt(view: Any, seen: Any, rewards: Any, terminated: Any, truncated: Any, infos: Any) -> None:
    infos["ghost"] = {}


def stretch(view: Any, seen: Any, rewards: Any, terminated: Any, truncated: Any, infos: Any) -> None:
    seen["guard_0"] = seen["guard_0"] + 2


def bribe(view: Any, seen: Any, rewards: Any, terminated: Any, truncated: Any, infos: Any) -> None:
    rewards["guard_0"] += 1.0


def explode(view: Any, seen: Any, rewards: Any, terminated: Any, truncated: Any, infos: Any) -> None:
    rewards["guard_0"] = np.nan


def cut(view: Any, seen: Any, rewards: Any, terminated: Any, truncated: Any, infos: Any) -> None:
    for agent in terminated:
        terminated[agent], truncated[agent] = False, terminated[agent]


def keep(view: Any, seen: Any, rewards: Any, terminated: Any, truncated: Any, infos: Any) -> None:
    view.agents = view.agents or view.possible_agents[:]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lose, "pond_v0, step 1: rewards lack 'guard_0', acting were fisher_0, fisher_1, guard_0"),
        (haunt, "pond_v0, step 1: infos have 'ghost'"),
        (stretch, "pond_v0, step 1: observation of guard_0 is outside its space"),
        (explode, "pond_v0, step 1: reward of guard_0 is nan"),
        (keep, "pond_v0, step 12: agents are ['fisher_0', 'fisher_1', 'guard_0'], those that did not end are []"),
        (bribe, "pond: view and copies show guard_0 something else"),
        (cut, "pond: view and copies end fisher_0 differently"),
    ],
)
def test_broken_views_are_caught(change: Callable[..., None], text: str) -> None:
    params = PondParams()
    trial = Trial(POND, params, lambda n, threads: VectorGame(POND, n, params), lambda: ViewOf(change))
    with pytest.raises(UserError) as caught:
        CHECKS["view"](trial)
    assert str(caught.value).startswith(text)


def test_foreign_environments_are_checked_too() -> None:
    check_parallel(simple_spread_v3.parallel_env(max_cycles=10))
    with pytest.raises(UserError, match=r"walk_v0, step 2: observations lack 'walker_0'"):
        check_parallel(Walk(fault="missing", at=2), seed=1)


def test_games_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(envs.GAMES, "pond", POND)
    check_game("pond", only="params")
    with pytest.raises(UserError, match=r"game 'puddle': no such game, legal are .*pond"):
        check_game("puddle")
    with pytest.raises(UserError, match="check 'speed': legal are params, names"):
        check_game(POND, only="speed")
    with pytest.raises(UserError, match=r"PondParams.n_fishers = 99"):
        check_game(POND, n_fishers=99)


def test_digests_tell_trajectories_apart() -> None:
    def of(steps: int, start: int, **options: Any) -> str:
        copies = VectorGame(POND, 3)
        copies.reset(start)
        return digest(copies, steps, **options)

    assert of(9, 1) == of(9, 1)
    assert len({of(9, 1), of(8, 1), of(9, 2), of(9, 1, hostile=True), of(9, 1, seed=3)}) == 5


def test_action_grids_and_mixed_columns_of_the_pond_are_what_the_tests_assume() -> None:
    fisher, guard = POND.roles(PondParams())
    assert [type(c) for c in fisher.action.values()] == [Column, Discrete] and fisher.mask_width == 3 and guard.mask_width == 2
