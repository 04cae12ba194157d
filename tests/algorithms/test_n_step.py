"""n-step targets of a team by hand, at ends, at cuts, at the newest row and around the ring; and what a window shows Tianshou."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import algorithms
from marl.errors import UserError
from marl.game import Game
from marl.team import parts
from marl.vector import VectorGame
from tests.branches import BRANCHES
from tests.lanes import Lanes, lanes
from tests.payday import PAYDAY

GAMMA, LATER = 0.5, 100.0
PAYDAY_GRID = Game(**{**PAYDAY.__dict__, "name": "payday_grid", "action_grid": lambda p: {"worker": np.array([[-1.0], [1.0]])}})
HORIZON = 4


def one(here: Lanes) -> tuple[Any, Any]:
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    return learner, buffer


def expected(tick: int, last: int, end: str, leave: int, steps: int) -> float:
    """y of the row of `tick` where `last` is the tick of the newest row of its episode: workers earn 10 + t and 20 + t."""
    y, power = 0.0, 0
    for t in range(tick, min(tick + steps, last + 1)):
        y += GAMMA**power * (10.0 + t + (20.0 + t if not leave or t < leave else 0.0))
        power += 1
    final = tick + power - 1
    if final == HORIZON - 1 and end == "terminated":
        return y
    return y + GAMMA**power * (LATER + (LATER if not leave or final + 1 < leave else 0.0))


@pytest.mark.parametrize("leave", [0, 2])
@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize(("ticks", "rows"), [(3, 50), (10, 50), (13, 6)])
@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_targets_of_a_team_by_hand(steps: int, ticks: int, rows: int, end: str, leave: int) -> None:
    copies = VectorGame(PAYDAY_GRID, 2, n_agents=2, horizon=HORIZON, end=end, leave=leave, ghost=1e6)
    here = lanes(copies, "vdn", reward="team_sum", gamma=GAMMA, n_step=steps, replay=2 * 2 * rows)
    here.collect(ticks)
    learner, buffer = one(here)
    with torch.no_grad():
        for p in learner.model_old.parameters():
            p.zero_()
        learner.model_old.module.net[-1].bias += LATER
    batch, index = buffer.sample(300)
    found = learner._targets(learner._preprocess_batch(batch, buffer, index)).tolist()
    age = (index % rows - buffer._at) % rows if buffer.full else index % rows
    tick = ticks - min(ticks, rows) + age  # since the first of all
    newest = np.minimum(tick // HORIZON * HORIZON + HORIZON, ticks) - 1
    assert set(tick) == set(range(ticks - min(ticks, rows), ticks))
    y = [expected(t % HORIZON, last % HORIZON, end, leave, steps) for t, last in zip(tick.tolist(), newest.tolist())]
    assert found == pytest.approx(y, rel=1e-5)


def test_qmix_values_the_state_that_the_last_of_the_steps_led_to() -> None:
    """Of the two-step game's first tick, two steps on is the end: only the payoff counts, whatever the networks say."""
    here = lanes(VectorGame(BRANCHES, 4), "qmix", reward="team_mean", gamma=GAMMA, n_step=2)
    here.collect(6)
    learner, buffer = one(here)
    batch, index = buffer.sample(60)
    first = batch.state[:, 0] == 1
    paid = buffer.lanes("rew")[0][(index + 1) % buffer.maxsize]
    target = learner._targets(learner._preprocess_batch(batch, buffer, index)).numpy()
    assert first.any() and target[first] == pytest.approx(GAMMA * paid[first])


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", ["idqn", "isac", "itd3"])
def test_a_window_shows_tianshou_what_the_whole_buffer_would(name: str, steps: int) -> None:
    """The same targets, bit for bit, from Tianshou's estimator on the buffer itself."""
    game = PAYDAY if name == "itd3" else PAYDAY_GRID
    here = lanes(VectorGame(game, 2, n_agents=2, horizon=HORIZON, end="truncated", leave=3), name, n_step=steps, replay=28)
    here.collect(17)
    learner, buffer = one(here)
    index = buffer.sample_indices(40)
    target = torch.from_numpy(np.random.default_rng(0).standard_normal(buffer.maxsize).astype(np.float32))

    def of_window(window: Any, rows: Any) -> Any:
        return target[window.rows[rows]]

    window = buffer.window(buffer[index], index, steps)
    args = {"gamma": 0.9, "n_step": steps}
    found = learner.compute_nstep_return(buffer[index], window, window.index, of_window, **args).returns
    whole = learner.compute_nstep_return(buffer[index], buffer, index, lambda _, rows: target[rows], **args).returns
    assert torch.equal(found, whole)
    assert (window.obs_next[window.index] == buffer.obs_next[index]).all()


def test_steps_with_a_memory_are_refused() -> None:
    part = parts(VectorGame(BRANCHES), "group", reward="team_sum")["player"]
    with pytest.raises(UserError, match=r"algorithm.n_step = 3 with algorithm.memory = 'gru': legal is 1"):
        algorithms.load("vdn")(algorithms.settings_of("vdn")(n_step=3, memory="gru"), part, 10)
