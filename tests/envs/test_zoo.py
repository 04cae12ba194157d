"""PettingZoo's registry holds the games."""

from __future__ import annotations

import subprocess
import sys

import pettingzoo
import pytest
from pettingzoo.env_registry.registration import aec_registry, parallel_registry

import envs
from envs import zoo
from marl import UserError
from marl.parallel import ParallelGame
from tests.commons import COMMONS


def test_every_game_is_there_under_its_version() -> None:
    names = set(zoo.register())
    assert len(names) == len(envs.GAMES) and "market_marl/auction-v" in " ".join(names)
    assert names <= set(parallel_registry) and names <= set(aec_registry)


def test_games_are_made_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(envs.GAMES, "harvest", COMMONS)
    zoo.register()
    view = pettingzoo.make("parallel", "market_marl/harvest-v0", n_agents=2, render_mode="ansi")
    assert isinstance(view, ParallelGame) and view.params.n_agents == 2 and view.render_mode == "ansi"
    assert pettingzoo.make("parallel", "market_marl/harvest", max_cycles=7).params.horizon == 7
    turns = pettingzoo.make("aec", "market_marl/harvest-v0", n_agents=2)
    turns.reset(seed=0)
    assert turns.agent_selection == "harvester_0"
    with pytest.raises(UserError, match="no parameter 'horizn'"):
        pettingzoo.make("parallel", "market_marl/harvest-v0", horizn=3)
    for registry in (parallel_registry, aec_registry):
        del registry["market_marl/harvest-v0"]


@pytest.mark.parametrize("first", ["import pettingzoo, envs", "import envs.zoo, pettingzoo"])
def test_importing_is_enough(first: str) -> None:
    code = f"{first}; print(pettingzoo.spec('parallel', 'market_marl/commons').id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("market_marl/commons-v"), done.stderr
