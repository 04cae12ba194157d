"""Sequences: every slice is what one lane went through, in order, with the state that was stored at its beginning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from marl.sequences import SequenceBuffer, Stretch, TeamSequenceBuffer

AGENTS, COPIES = 2, 3


def ring(stretch: Stretch, least: int = 1, team: bool = False, keep_next: bool = True) -> Any:
    rows = stretch.ring(least) if keep_next else stretch.length * 2
    how: dict[str, Any] = {"fields": (), "keep_next": keep_next, "seed": 4, "stretch": stretch}
    if team:
        return TeamSequenceBuffer(AGENTS, COPIES, rows, 1, 1, state_width=1, **how)
    return SequenceBuffer(AGENTS, COPIES, rows, 1, 1, **how)


def tick(buffer: Any, t: int, ended: bool = False, living: Any = None) -> None:
    """At tick t everything of lane (b, a) is 1000 t + 10 b + a, its state the negative."""
    number = 1000.0 * t + 10.0 * np.arange(COPIES)[:, None] + np.arange(AGENTS)
    row = {"obs": number[..., None], "act": number[..., None], "rew": number, "memory": -number[..., None].repeat(buffer.stretch.width, 2)}
    if buffer.keep_next:
        row["obs_next"] = number[..., None] + 1000.0
    if buffer.central:
        row["state"] = number[:, :1]
    if buffer.central and buffer.keep_next:
        row["state_next"] = number[:, :1] + 1000.0
    done = np.full((3, COPIES, AGENTS), ended)
    done[1] = False
    buffer.write(row, done if ended else None, living)


@pytest.mark.parametrize("team", [False, True])
@pytest.mark.parametrize("stretch", [Stretch(2, 4, 2, 3), Stretch(1, 5, 2, 0), Stretch(1, 1, 1, 0), Stretch(3, 6, 3, 1)])
def test_slices_are_consecutive_and_never_cross_the_write_head(stretch: Stretch, team: bool) -> None:
    """At every moment of three laps, from every slice that may be drawn."""
    buffer = ring(stretch, team=team)
    assert buffer.rows % stretch.stride == 0 and buffer.rows >= stretch.whole + stretch.stride
    drawn = set()
    for t in range(3 * buffer.rows):
        tick(buffer, t)
        if buffer.living == 0:
            assert t + 1 < stretch.whole
            continue
        rows, index = buffer.sample(8 * stretch.length)
        s = rows.slices
        lanes, ticks = s.rows[:, :, 0] % 1000, s.rows[:, :, 0] // 1000
        assert len(s.rows) == 8 * (AGENTS if team else 1)
        assert s.rows.shape[1] == stretch.whole
        assert (np.diff(ticks, axis=1) == 1).all()
        assert (lanes == lanes[:, :1]).all()
        assert (s.state == -s.rows[:, 0]).all()
        assert ticks.min() > t - buffer.rows and ticks.max() <= t
        learned = rows.obs.reshape(-1) if team else rows.act[:, 0]
        assert (learned == s.rows[:, stretch.burn_in :, 0].reshape(-1)).all()
        assert len(index) == 8 * stretch.length
        if team:
            assert (rows.state[:, 0] == rows.obs[0, :, 0]).all()
            assert (s.rows.reshape(AGENTS, 8, -1)[1] == s.rows.reshape(AGENTS, 8, -1)[0] + 1).all()
        drawn |= {(float(lane), float(first)) for lane, first in zip(lanes[:, 0], ticks[:, 0])}
    assert {lane for lane, _ in drawn} == {10.0 * b + a for b in range(COPIES) for a in range(AGENTS)}
    assert {first % stretch.stride for _, first in drawn} == {0.0}
    assert max(first for _, first in drawn) > buffer.rows  # starts in later laps as well


def test_an_episode_begins_after_the_row_that_ended_one() -> None:
    """The first row of a slice never needs it: the state stored there is that of an episode that began."""
    buffer = ring(Stretch(1, 6, 1, 0), 12)
    for t in range(12):
        tick(buffer, t, ended=t % 4 == 3)
    rows, _ = buffer.sample(60)
    ticks = rows.slices.rows[:, :, 0] // 1000
    expected = ticks % 4 == 0
    expected[:, 0] = False
    assert (rows.slices.reset == expected).all()


@pytest.mark.parametrize("team", [False, True])
def test_rows_of_those_who_left_are_not_learned_from(team: bool) -> None:
    """Of lanes, a slice of nobody is not drawn; of teams, one in which no member acted."""
    buffer = ring(Stretch(1, 3, 3, 2), 12, team)
    living = np.ones((COPIES, AGENTS), np.bool_)
    for t in range(buffer.rows):
        living[0], living[1, 1] = False, t < 4
        tick(buffer, t, living=living.copy())
    for _ in range(20):
        rows, _ = buffer.sample(30)
        s = rows.slices
        copy, agent, ticks = (s.rows[:, 2:, 0] % 1000) // 10, s.rows[:, 2:, 0] % 10, s.rows[:, 2:, 0] // 1000
        acted = (copy > 0) & ((copy != 1) | (agent == 0) | (ticks < 4))
        if team:
            assert (rows.alive.reshape(-1) == acted.reshape(-1)).all()
            assert (copy > 0).all()
        else:
            assert acted.any(1).all()
            kept = np.arange(acted.size) if s.kept is None else s.kept
            assert (kept == np.flatnonzero(acted)).all()


def test_nothing_can_be_learned_before_a_slice_is_whole() -> None:
    buffer = ring(Stretch(1, 4, 2, 3))
    for t in range(6):
        tick(buffer, t)
        assert buffer.living == 0
    with pytest.raises(ValueError, match="no slice of 7 rows to sample: lanes hold 6 rows"):
        buffer.sample(4)
    tick(buffer, 6)
    assert buffer.living == 7 * AGENTS * COPIES


@pytest.mark.parametrize("team", [False, True])
def test_a_rollout_is_cut_end_to_end(team: bool) -> None:
    buffer = ring(Stretch(2, 3, 3), team=team, keep_next=False)
    for t in range(6):
        tick(buffer, t, ended=t == 1)
    s = buffer.rollout()
    assert s.kept is None and s.burn_in == 0
    assert s.rows[:, :, 0].ravel().tolist() == buffer.obs[:, 0].tolist()
    assert (s.state == -s.rows[:, 0]).all()
    assert s.reset.tolist() == [[False, False, True], [False, False, False]] * AGENTS * COPIES
    assert len(s) == len(buffer)


@pytest.mark.parametrize("ticks", [5, 29])
def test_a_buffer_continues_where_it_was_saved(ticks: int) -> None:
    one, two = ring(Stretch(2, 4, 2, 1), 10), ring(Stretch(2, 4, 2, 1), 10)
    for t in range(ticks):
        tick(one, t)
    two.load_state_dict(one.state_dict())
    for buffer in (one, two):
        tick(buffer, ticks)
    a, b = (buffer.sample(40)[0] for buffer in (one, two))
    assert np.array_equal(a.slices.rows, b.slices.rows) and np.array_equal(a.slices.state, b.slices.state)
    assert np.array_equal(one.memory, two.memory)
