"""LaneBuffer against a plain list of rows: where rows lie, what follows them, what is sampled, and that it resumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marl.assemble import make_buffers
from marl.replay import Buffers, LaneBuffer
from marl.team import parts
from marl.vector import VectorGame
from tests.bazaar import BAZAAR
from tests.lanes import lanes
from tests.payday import PAYDAY

AGENTS, COPIES, ROWS, WIDTH, RAW = 3, 2, 5, 2, 1


def ring(rows: int = ROWS, keep_next: bool = True, seed: int = 0) -> LaneBuffer:
    return LaneBuffer(AGENTS, COPIES, rows, WIDTH, RAW, fields=("logp",), keep_next=keep_next, seed=seed)


def stamp(step: int) -> np.ndarray:
    """[B, A] a number that names copy, agent and step."""
    return 1000.0 * step + 10.0 * np.arange(AGENTS)[None, :] + np.arange(COPIES)[:, None]


def put(buffer: LaneBuffer, step: int, ended: np.ndarray | None = None, living: np.ndarray | None = None) -> None:
    """Write step number `step`; every column of a row is derived from its stamp."""
    mark = stamp(step)
    row = {"obs": np.stack([mark, -mark], -1), "act": mark[..., None] + 0.25, "rew": mark + 0.5, "logp": mark + 0.75}
    if buffer.keep_next:
        row["obs_next"] = np.stack([mark + 1000.0, -mark], -1)
    buffer.write(row, ended, living)


def flat(agent: int, copy: int, t: int, rows: int = ROWS) -> int:
    return (agent * COPIES + copy) * rows + t


def done_at(*lanes: tuple[int, int], kind: int = 0) -> np.ndarray:
    """[3, B, A] flags with the (copy, agent) lanes terminated (kind 0) or truncated (kind 1)."""
    flags = np.zeros((3, COPIES, AGENTS), np.bool_)
    for copy, agent in lanes:
        flags[[kind, 2], copy, agent] = True
    return flags


# ---- where rows lie ------------------------------------------------------------------------------------------------


def test_rows_are_agent_major() -> None:
    buffer = ring()
    for step in range(3):
        put(buffer, step)
    assert len(buffer) == AGENTS * COPIES * 3
    for agent in range(AGENTS):
        for copy in range(COPIES):
            for t in range(3):
                i, mark = flat(agent, copy, t), stamp(t)[copy, agent]
                assert buffer.obs[i].tolist() == [mark, -mark]
                assert (buffer.act[i, 0], buffer.rew[i]) == (mark + 0.25, mark + 0.5)
                assert buffer.recorded["logp"][i] == mark + 0.75
                assert buffer.obs_next[i, 0] == mark + 1000.0


@given(st.integers(1, 6), st.integers(0, 20))
def test_a_ring_holds_the_newest_rows(rows: int, steps: int) -> None:
    buffer = ring(rows)
    for step in range(steps):
        put(buffer, step)
    kept = list(range(max(0, steps - rows), steps))
    assert len(buffer) == AGENTS * COPIES * len(kept)
    assert buffer.full == (steps >= rows)
    for lane in range(AGENTS * COPIES):
        held = buffer.rew[buffer.sample_indices(0).reshape(AGENTS * COPIES, -1)[lane]] if kept else np.array([])
        assert held.tolist() == [stamp(step)[lane % COPIES, lane // COPIES] + 0.5 for step in kept]


def test_flags_of_a_row_that_is_written_over_are_gone() -> None:
    """A ring that comes round to a row that ended, or whose agent had left, forgets both."""
    buffer = ring(rows=2)
    living = np.ones((COPIES, AGENTS), np.bool_)
    living[1, 2] = False
    put(buffer, 0, done_at((0, 1)), living)
    put(buffer, 1, done_at((1, 0), kind=1))
    assert np.flatnonzero(buffer.done).tolist() == [flat(0, 1, 1, 2), flat(1, 0, 0, 2)]
    assert np.flatnonzero(buffer.terminated).tolist() == [flat(1, 0, 0, 2)]
    assert np.flatnonzero(buffer.truncated).tolist() == [flat(0, 1, 1, 2)]
    assert np.flatnonzero(~buffer.alive).tolist() == [flat(2, 1, 0, 2)]
    put(buffer, 2)
    put(buffer, 3)
    assert not buffer.done.any()
    assert not buffer.terminated.any()
    assert not buffer.truncated.any()
    assert buffer.alive.all()


def test_a_reset_forgets_flags_and_cuts() -> None:
    buffer = ring(keep_next=False)
    put(buffer, 0, done_at((0, 0), kind=1), np.zeros((COPIES, AGENTS), np.bool_))
    buffer.write_cut(done_at((0, 0))[0], np.zeros((COPIES, AGENTS, WIDTH), np.float32))
    buffer.reset()
    assert (len(buffer), buffer.cuts) == (0, [])
    put(buffer, 1)
    assert not buffer.done.any()
    assert buffer.alive.all()
    assert buffer.unfinished_index().tolist() == [flat(a, b, 0) for a in range(AGENTS) for b in range(COPIES)]


# ---- what follows --------------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 13), st.integers(0, 12))
def test_next_stops_at_ends_and_at_the_newest_row(rows: int, steps: int, over: int) -> None:
    """Episodes of every lane end at step `over`; the newest row and an ended row follow themselves."""
    buffer = ring(rows)
    everyone = [(copy, agent) for copy in range(COPIES) for agent in range(AGENTS)]
    for step in range(steps):
        put(buffer, step, done_at(*everyone) if step == over else None)
    for step in range(max(0, steps - rows), steps):
        index = [flat(a, b, step % rows, rows) for a in range(AGENTS) for b in range(COPIES)]
        expected = step if step in (over, steps - 1) else step + 1
        assert buffer.next(index).tolist() == [flat(a, b, expected % rows, rows) for a in range(AGENTS) for b in range(COPIES)]
    newest = [] if over == steps - 1 else [flat(a, b, (steps - 1) % rows, rows) for a in range(AGENTS) for b in range(COPIES)]
    assert buffer.unfinished_index().tolist() == newest


def test_an_empty_buffer_has_nothing_unfinished() -> None:
    assert ring().unfinished_index().tolist() == []
    assert not ring().hasnull()


def test_cuts_name_the_row_and_the_observation_that_it_led_to() -> None:
    buffer, final = ring(keep_next=False), np.arange(COPIES * AGENTS * WIDTH, dtype=np.float32).reshape(COPIES, AGENTS, WIDTH)
    put(buffer, 0)
    flags = done_at((1, 0), (0, 2), kind=1)
    put(buffer, 1, flags)
    buffer.write_cut(flags[1], final)
    ((index, seen),) = buffer.cuts
    assert index.tolist() == [flat(0, 1, 1), flat(2, 0, 1)]
    assert seen.tolist() == [final[1, 0].tolist(), final[0, 2].tolist()]


def test_the_tail_is_lane_by_lane() -> None:
    buffer, obs = ring(), np.arange(COPIES * AGENTS * WIDTH, dtype=np.float32).reshape(COPIES, AGENTS, WIDTH)
    buffer.write_tail(obs)
    assert buffer.tail.tolist() == [obs[b, a].tolist() for a in range(AGENTS) for b in range(COPIES)]


# ---- sampling ------------------------------------------------------------------------------------------------------


def test_a_whole_rollout_comes_as_views() -> None:
    buffer = ring(keep_next=False)
    for step in range(ROWS):
        put(buffer, step)
    batch, index = buffer.sample(0)
    assert index.tolist() == list(range(AGENTS * COPIES * ROWS))
    for name in ("obs", "act", "rew", "terminated", "truncated", "done"):
        assert np.shares_memory(getattr(batch, name), getattr(buffer, name)), name


def test_a_sample_is_the_rows_of_its_indices() -> None:
    buffer = ring()
    for step in range(7):
        put(buffer, step)
    batch, index = buffer.sample(16)
    assert (batch.obs[:, 0] + 0.5 == batch.rew).all()
    assert (batch.rew == buffer.rew[index]).all()
    assert (batch.obs_next[:, 0] == batch.obs[:, 0] + 1000.0).all()
    everything = buffer.sample_indices(None)
    assert sorted(everything.tolist()) == list(range(AGENTS * COPIES * ROWS))
    assert everything.tolist() != sorted(everything.tolist())


@pytest.mark.parametrize("steps", [3, 12])
@pytest.mark.parametrize("dead", [0, 2, 6])
def test_sampling_is_uniform_over_rows_of_agents_that_acted(steps: int, dead: int) -> None:
    """Chi-square against equal counts, and never a row of an agent that had left, in a ring that is part full or came round.

    In seven steps of eight `dead` of six lanes had left: some or most rows cannot be learned from.
    """
    buffer = ring(seed=7)
    for step in range(steps):
        living = np.ones(COPIES * AGENTS, np.bool_)
        living[: dead if step % 8 else 0] = False
        put(buffer, step, None, None if living.all() else living.reshape(COPIES, AGENTS))
    held = buffer.sample_indices(0)
    legal = held[buffer.alive[held]]
    assert (len(legal) < len(held)) == (dead > 0)
    assert len(legal) == buffer.living
    draws = 400 * len(legal)
    counts = np.bincount(buffer.sample_indices(draws), minlength=buffer.maxsize)
    assert counts.sum() == counts[legal].sum() == draws
    statistic, freedom = ((counts[legal] - 400.0) ** 2 / 400.0).sum(), len(legal) - 1
    assert abs(statistic - freedom) < 4.5 * np.sqrt(2.0 * freedom)  # mean and variance of chi-square: k and 2k


def test_a_ring_of_agents_that_all_left_is_told_not_searched() -> None:
    """No row to sample is no endless search: the rows that can be sampled are counted, and sampling from none is refused."""
    buffer = ring(rows=1)
    put(buffer, 0, None, np.zeros((COPIES, AGENTS), np.bool_))
    assert (len(buffer), buffer.living) == (AGENTS * COPIES, 0)
    with pytest.raises(ValueError, match="no row"):
        buffer.sample_indices(4)
    put(buffer, 1)
    assert buffer.living == AGENTS * COPIES


# ---- resume --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 12), st.booleans())
def test_a_restored_ring_goes_on_as_the_original(steps: int, dead: bool) -> None:
    """The same rows, the same sequence of samples, and the same place to write."""
    buffer, other = ring(seed=3), ring(seed=99)
    living = np.ones((COPIES, AGENTS), np.bool_)
    living[0, 0] = not dead
    for step in range(steps):
        put(buffer, step, done_at((1, 1)) if step % 4 == 3 else None, living if dead and step == 2 else None)
    if steps:
        buffer.sample_indices(5)
    put(other, 500)
    other.load_state_dict(buffer.state_dict())
    for step in range(steps, steps + 3):
        for one in (buffer, other):
            put(one, step)
        (a, i), (b, j) = buffer.sample(8), other.sample(8)
        assert i.tolist() == j.tolist()
        for name in ("obs", "act", "rew", "obs_next", "done"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
        assert buffer.next(i).tolist() == other.next(j).tolist()
        assert buffer.recorded["logp"][i].tobytes() == other.recorded["logp"][j].tobytes()


def test_saved_rows_are_copies() -> None:
    buffer = ring()
    put(buffer, 0)
    saved = buffer.state_dict()
    put(buffer, 1)
    buffer.reset()
    put(buffer, 2)
    assert saved["rows"]["rew"][:, :, 0].tolist() == (stamp(0) + 0.5).T.tolist()


# ---- several buffers, masks ----------------------------------------------------------------------------------------


def test_buffers_are_one_to_the_trainer() -> None:
    both = Buffers({"a": ring(), "b": ring()})
    put(both["a"], 0)
    assert len(both) == AGENTS * COPIES
    assert not both.hasnull()
    both.reset()
    assert len(both) == 0


def test_masks_are_further_columns() -> None:
    """Of a seller: cash, sold and the share of buyers, then a column for each of three qualities."""
    game = VectorGame(BAZAAR, COPIES)
    game.reset(0)
    plan: dict[str, Any] = parts(game, "group")
    part = plan["seller"]
    rows = part.rows(game.obs, game.action_mask)
    assert (part.width, rows.shape, rows.dtype) == (6, (COPIES, 2, 6), np.float32)
    assert rows[:, :, :3].tobytes() == game.groups["seller"].obs.tobytes()
    assert rows[:, :, 3:].tolist() == game.groups["seller"].action_mask.astype(float).tolist()
    assert rows[:, :, 5].tolist() == [[0.0, 0.0]] * COPIES  # without cash the best quality is forbidden


def test_no_two_parts_stages_or_seeds_draw_from_one_stream() -> None:
    """Of neighbouring seeds, in which part i of one had the stream of part i - 1 of the next."""
    drawn = []
    for seed in range(4):
        here = lanes(VectorGame(PAYDAY, 2), "isac", "none", seed=seed)
        for stage in ("", "stage at 100", "stage at 200"):
            for buffer in make_buffers(here.team, 2, here.settings, seed, stage).values():
                drawn.append(tuple(buffer._random_state.randint(0, 1 << 30, 8)))
    assert len(set(drawn)) == len(drawn) == 4 * 3 * 3
    again = lanes(VectorGame(PAYDAY, 2), "isac", "none", seed=3).buffers["worker_0"]
    assert tuple(again._random_state.randint(0, 1 << 30, 8)) == drawn[27]
