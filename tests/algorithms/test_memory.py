"""Memories: a tick and many ticks are one function, episodes do not reach into each other, gradients are those of a direct unroll."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from algorithms.memory import Memory, memory_of
from algorithms.onpolicy import SequenceRows, pieces
from algorithms.recurrent import Trunk
from algorithms.settings import IPPO
from marl.sequences import Slices

KINDS = ["gru", "lstm", "attention"]
TICKS, LANES, INPUTS, WIDTH, LENGTH = 9, 5, 3, 4, 3


def memory(kind: str) -> Memory:
    torch.manual_seed(1)
    made = memory_of(kind, INPUTS, WIDTH, LENGTH)
    for p in made.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return made


def drawn(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features [T, n, F] and where episodes begin [T, n]."""
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(TICKS, LANES, INPUTS, generator=chance), torch.rand(TICKS, LANES, generator=chance) < 0.2


def lived(made: Memory, seed: int = 7) -> Tensor:
    """States after two ticks of other rows."""
    features, _ = drawn(seed)
    state = made.initial(LANES)
    for row in features[:2]:
        state = made.step(row, state)[1]
    return state.detach()


@pytest.mark.parametrize("kind", KINDS)
def test_many_ticks_at_once_are_one_tick_many_times(kind: str) -> None:
    made, (features, reset) = memory(kind), drawn()
    state = begun = lived(made)
    out, states = made.unroll(features, begun, reset, every=True)
    last = made.unroll(features, begun, reset)[1]
    for t in range(TICKS):
        state = torch.where(reset[t].unsqueeze(1), made.initial(LANES), state)
        one, state = made.step(features[t], state)
        assert torch.allclose(out[t], one, atol=1e-6)
        assert torch.allclose(states[t], state, atol=1e-6)
    assert torch.equal(last, states[-1])
    assert out.shape == (TICKS, LANES, WIDTH) == (TICKS, LANES, made.width)
    assert not (begun == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_before_an_episode_changes_nothing_in_it(kind: str) -> None:
    """However large the rows and the state were."""
    made, (features, _) = memory(kind), drawn()
    reset = torch.zeros(TICKS, LANES, dtype=torch.bool)
    reset[4, 1:] = True
    other = features.clone()
    other[:4] = 1e3 * torch.randn(4, LANES, INPUTS)
    one, two = (made.unroll(x, begun, reset)[0] for x, begun in ((features, lived(made)), (other, 5.0 * lived(made))))
    assert torch.equal(one[4:, 1:], two[4:, 1:])
    assert not torch.allclose(one[4:, 0], two[4:, 0])


def test_attention_looks_at_so_many_rows_and_not_beyond() -> None:
    made, (features, _) = memory("attention"), drawn()
    reset = torch.zeros(TICKS, LANES, dtype=torch.bool)
    whole = made.unroll(features, made.initial(LANES), reset)[0]
    for t in range(TICKS):
        changed = features.clone()
        changed[t] += 1.0
        moved = (made.unroll(changed, made.initial(LANES), reset)[0] != whole).any(2).any(1)
        assert moved.nonzero().flatten().tolist() == list(range(t, min(t + LENGTH + 1, TICKS)))


def test_attention_by_hand() -> None:
    """The third tick of an episode, with its two predecessors, in numpy."""
    made: Any = memory("attention")
    features, _ = drawn()
    out = made.unroll(features[:3], made.initial(LANES), torch.zeros(3, LANES, dtype=torch.bool))[0][2, 0]
    weight = {name: p.detach().double().numpy() for name, p in made.named_parameters()}
    rows = [weight["embed.weight"] @ x.double().numpy() + weight["embed.bias"] for x in features[:3, 0]]
    query = weight["query.weight"] @ rows[2]
    score = np.array([query @ (weight["key.weight"] @ rows[2 - a]) / 2.0 + weight["age"][a] for a in range(3)])
    share = np.exp(score) / np.exp(score).sum()
    found = sum(share[a] * (weight["value.weight"] @ rows[2 - a]) for a in range(3))
    expected = np.tanh(weight["mix.weight"] @ np.concatenate([rows[2], found]) + weight["mix.bias"])
    assert out.detach().numpy() == pytest.approx(expected, abs=1e-5)


def test_gru_and_lstm_by_hand() -> None:
    """Their equations in numpy; the LSTM's state is its output, then its cell."""

    def gates(cell: Any, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = {n: p.detach().double().numpy() for n, p in cell.named_parameters()}
        return own["weight_ih"] @ x + own["bias_ih"], own["weight_hh"] @ h + own["bias_hh"]

    def sigmoid(z: np.ndarray) -> np.ndarray:
        found: np.ndarray = 1.0 / (1.0 + np.exp(-z))
        return found

    x = drawn()[0][0, 0].double().numpy()
    gru: Any = memory("gru")
    state = lived(gru)
    h = state[0].double().numpy()
    (ir, iz, inew), (hr, hz, hnew) = (np.split(g, 3) for g in gates(gru.cell, h))
    update = sigmoid(iz + hz)
    expected = (1.0 - update) * np.tanh(inew + sigmoid(ir + hr) * hnew) + update * h
    assert gru.step(drawn()[0][0], state)[0][0].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    lstm: Any = memory("lstm")
    state = lived(lstm)
    h, c = np.split(state[0].double().numpy(), 2)
    i, f, g, o = np.split(sum(gates(lstm.cell, h)), 4)
    cell = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    out, after = lstm.step(drawn()[0][0], state)
    assert after[0].tolist() == pytest.approx([*(sigmoid(o) * np.tanh(cell)), *cell], abs=1e-5)
    assert torch.equal(out, after[:, :WIDTH])


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_through_time_equals_finite_differences(kind: str) -> None:
    made = memory(kind).double()
    features, reset = drawn()
    features, begun = features.double(), lived(memory(kind)).double()
    goal = torch.randn(TICKS, LANES, WIDTH, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def loss() -> Tensor:
        return (made.unroll(features, begun, reset)[0] * goal).sum()

    loss().backward()
    for name, p in made.named_parameters():
        assert p.grad is not None, name
        for at in torch.randperm(p.numel(), generator=torch.Generator().manual_seed(4))[:3].tolist():
            kept, ends = float(p.data.view(-1)[at]), []
            for step in (1e-6, -1e-6):
                p.data.view(-1)[at] = kept + step
                ends.append(float(loss().detach()))
            p.data.view(-1)[at] = kept
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float(p.grad.view(-1)[at]), rel=1e-5, abs=1e-7), name


def slices(burn_in: int, kind: str = "gru", kept: Tensor | None = None) -> tuple[Trunk, Slices]:
    torch.manual_seed(2)
    trunk = Trunk(INPUTS, IPPO(memory=kind, memory_width=WIDTH, memory_length=LENGTH, hidden=[6]))
    features, reset = drawn()
    reset[0] = False
    begun = trunk.memory.initial(LANES) + 0.1
    if kind == "attention":
        begun[:, -1] = 1.0
    return trunk, Slices(features.transpose(0, 1), begun, reset.T, burn_in, kept)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("burn_in", [0, 4])
def test_a_stored_slice_gives_the_gradient_of_a_direct_unroll_from_its_state(burn_in: int, kind: str) -> None:
    """Truncated backpropagation: through the rows to learn from and no further; burn-in gives a state and no gradient."""
    trunk, s = slices(burn_in, kind)
    out = trunk.kept(s)
    out.square().sum().backward()
    found = [p.grad.clone() for p in trunk.parameters() if p.grad is not None]
    trunk.zero_grad()
    state, total = s.state, torch.zeros(())
    for t in range(TICKS):
        state = torch.where(s.reset[:, t : t + 1], trunk.memory.initial(LANES), state)
        state = state.detach() if t <= burn_in else state
        row, state = trunk.step(s.rows[:, t], state)
        if t >= burn_in:
            assert torch.allclose(out.view(LANES, -1, WIDTH)[:, t - burn_in], row, atol=1e-6)
            total = total + row.square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    direct = [p.grad for p in trunk.parameters() if p.grad is not None]
    assert len(found) == len(direct) >= 4
    for one, other in zip(found, direct):
        assert other is not None
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("size", [1, 7, 12, 1_000, -1])
def test_minibatches_are_whole_slices_with_their_own_rows(size: int) -> None:
    """Every kept row is in one minibatch, beside the fields that belong to it; none but the last is smaller than asked."""
    torch.manual_seed(5)
    kept = torch.rand(LANES * TICKS).lt(0.6).nonzero().flatten()
    _, s = slices(0, kept=kept)
    number = s.rows.flatten(0, 1)[kept][:, 0]
    batch = SequenceRows.over(s, {"number": number})
    assert len(batch) == len(kept)
    seen = []
    for rows in batch.split(size, merge_last=True):
        own = rows.obs.rows.flatten(0, 1)
        own = own if rows.obs.kept is None else own[rows.obs.kept]
        assert torch.equal(own[:, 0], rows.number)
        assert len(rows) == len(rows.number) >= min(size, len(kept))
        seen += rows.number.tolist()
    assert sorted(seen) == sorted(number.tolist())


def test_pieces_reach_their_size_and_the_rest_joins_the_last() -> None:
    order = torch.tensor([4, 2, 0, 1, 3])
    assert [p.tolist() for p in pieces(np.array([2, 0, 3, 2, 1]), order, 3)] == [[4, 2, 0], [1, 3]]
    assert [p.tolist() for p in pieces(np.array([2, 1, 3, 2, 0]), order, 3)] == [[4, 2], [0, 1, 3]]
    assert [p.tolist() for p in pieces(np.array([1, 1, 1, 1, 1]), order, 9)] == [[4, 2, 0, 1, 3]]
